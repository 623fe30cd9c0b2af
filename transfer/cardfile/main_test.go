package cardfile_test

import (
	"bytes"
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
		case "hog":
			os.Exit(cardfile.XLSMain(nil, &hog{}, os.Stdout, os.Stderr))
		case "panic":
			_, _ = io.Copy(io.Discard, os.Stdin)
			panic("as a parser does")
		}
	}
	os.Exit(m.Run())
}

// hog is a file whose reading takes two gigabytes. If there is that much, the file is sound.
type hog struct {
	held [][]byte
	file io.Reader
}

func (h *hog) Read(p []byte) (int, error) {
	for len(h.held) < 32 {
		block := make([]byte, 64<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		h.held = append(h.held, block)
	}
	if h.file == nil {
		h.file = bytes.NewReader(xls(xlsSheet{name: "卡", rows: [][]any{{"ICCID"}, {cmcc(1)}}}))
	}
	return h.file.Read(p)
}

// child is the command for Options.Self. The race detector makes every process sleep a second before it exits, and the
// child's environment is cleared: so env sets it anew.
func child() []string { return command(childCommand) }

func command(name string) []string {
	return []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0", os.Args[0], name}
}

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
