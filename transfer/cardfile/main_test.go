package cardfile_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"cardflow/transfer/cardfile"
)

// childCommand makes the test binary the child process that reads a .xls, as the server binary has a hidden command.
const childCommand = "cardfile-xls-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case childCommand:
			os.Exit(cardfile.XLSMain(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
		case "hang":
			select {}
		case "babble":
			for {
				if _, err := os.Stdout.WriteString("{\"row\":"); err != nil {
					os.Exit(1)
				}
			}
		case "panic":
			_, _ = io.Copy(io.Discard, os.Stdin)
			panic("as a parser does")
		}
	}
	os.Exit(m.Run())
}

func child() []string { return []string{os.Args[0], childCommand} }

// result is all that Read answered.
type result struct {
	rows   []cardfile.Row
	faults []cardfile.Fault
	sum    cardfile.Summary
	code   string // of the FileError, if any
}

func put(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, name string, content []byte, opts cardfile.Options) result {
	t.Helper()
	return readPath(t, put(t, name, content), name, opts)
}

func readPath(t testing.TB, path, name string, opts cardfile.Options) result {
	t.Helper()
	if opts.Self == nil {
		opts.Self = child()
	}
	var r result
	sum, err := cardfile.Read(context.Background(), path, name, opts,
		func(row cardfile.Row) error { r.rows = append(r.rows, row); return nil },
		func(f cardfile.Fault) error { r.faults = append(r.faults, f); return nil })
	r.sum = sum
	var fe *cardfile.FileError
	switch {
	case errors.As(err, &fe):
		r.code = fe.Code
		if fe.Message == "" {
			t.Errorf("%s has no message", fe.Code)
		}
	case err != nil:
		t.Fatalf("neither nil nor a FileError: %v", err)
	}
	return r
}
