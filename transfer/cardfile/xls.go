package cardfile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

const (
	// maxXLS is the most bytes of a .xls: 65,536 rows with some thirty columns.
	maxXLS = 64 << 20
	// maxFrame and maxOutput bound what the child may say: per line and in all.
	maxFrame  = 256 << 10
	maxOutput = 256 << 20
)

// frame is one line that the child writes: first a head, then rows, at the end done or an error.
type frame struct {
	Head  *wireHead  `json:"head,omitempty"`
	Row   *wireRow   `json:"row,omitempty"`
	Error *FileError `json:"error,omitempty"`
	Done  bool       `json:"done,omitempty"`
}

type wireHead struct {
	Names [fields]string
	Rows  int // the last line of the sheet
}

type wireRow struct {
	Line           int
	Hidden, Merged bool
	Kinds          [fields]kind
	Texts          [fields]string
}

// readXLS lets the child process read the file and checks the rows it answers. Whatever the child does (it crashes, is
// killed by its limits, hangs, talks nonsense), the worst for the caller is a file that counts as damaged.
func readXLS(ctx context.Context, file *os.File, size int64, opts Options, check *checker) error {
	if len(opts.Self) == 0 {
		return errors.New("read .xls: Options.Self doesn't name the child process")
	}
	if size > min(maxXLS, opts.MaxBytes) {
		return tooLarge(fmt.Sprintf(".xls 超过 %d MB，请另存为 .xlsx", min(maxXLS, opts.MaxBytes)>>20))
	}
	limited, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, opts.Self[0], opts.Self[1:]...)
	cmd.Stdin = file
	// The child gets no secret of ours from the environment.
	cmd.Env = []string{"GOTRACEBACK=none", "SYSTEMROOT=" + os.Getenv("SYSTEMROOT")}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("read .xls: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("read .xls: start the child process: %w", err)
	}
	verdict := listen(io.LimitReader(out, maxOutput), opts, check)
	if verdict != nil {
		cancel() // don't wait for a child that nobody listens to
	}
	failed := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case verdict != nil:
		return verdict
	case failed != nil:
		return damaged("解析失败")
	}
	return nil
}

// listen takes what the child says to the checks.
func listen(r io.Reader, opts Options, check *checker) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxFrame)
	rows, n := 0, 0
	for lines.Scan() {
		var f frame
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		if err := d.Decode(&f); err != nil {
			return damaged("解析失败")
		}
		switch {
		case f.Error != nil:
			return f.Error
		case f.Done:
			opts.OnProgress(int64(rows), int64(rows))
			return nil
		case f.Head != nil:
			check.head.name, rows = f.Head.Names, f.Head.Rows
		case f.Row != nil:
			rec := record{line: f.Row.Line, hidden: f.Row.Hidden, merged: f.Row.Merged}
			for i := range fields {
				rec.cells[i] = cell{kind: f.Row.Kinds[i], text: f.Row.Texts[i]}
			}
			if err := check.row(rec); err != nil {
				return err
			}
			if n++; n%reportEvery == 0 {
				opts.OnProgress(int64(min(rec.line, rows)), int64(rows))
			}
		}
	}
	return damaged("解析失败或超出资源限制")
}
