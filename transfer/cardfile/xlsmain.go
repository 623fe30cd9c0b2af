package cardfile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
)

// XLSMain is the child process that reads a .xls: the program's main calls it for the hidden command that Options.Self
// names, and exits with what it answers. It reads the file from stdin, writes frames to stdout and takes no arguments.
// Its first act is to give itself limits on memory and processor time that it can't lift again.
//
// A crash here is expected: the format comes from strangers and its containers are read by a library. The parent takes
// any end but an orderly one for a damaged file, so nothing is recovered from and nothing is written to stderr.
func XLSMain(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		_, _ = io.WriteString(stderr, "this command is the server's own and takes no arguments\n")
		return 2
	}
	if err := limitSelf(); err != nil {
		_, _ = io.WriteString(stderr, "limits: "+err.Error()+"\n")
		return 2
	}
	out := bufio.NewWriterSize(stdout, 64<<10)
	enc := json.NewEncoder(out)
	err := serveXLS(stdin, enc)
	var ours *FileError
	switch {
	case err == nil:
		err = enc.Encode(frame{Done: true})
	case errors.As(err, &ours):
		err = enc.Encode(frame{Error: ours})
	}
	if err != nil || out.Flush() != nil {
		return 1
	}
	return 0
}

func serveXLS(stdin io.Reader, enc *json.Encoder) error {
	content, err := io.ReadAll(io.LimitReader(stdin, maxXLS+1))
	if err != nil {
		return err
	}
	if len(content) > maxXLS {
		return tooLarge(".xls 超过上限")
	}
	book, err := openBIFF(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	t, head, err := find(book)
	if err != nil {
		return err
	}
	rows := 0
	if sheet, ok := t.(*biffTable); ok {
		rows = sheet.last + 1
	}
	if err := enc.Encode(frame{Head: &wireHead{Names: head.name, Rows: rows}}); err != nil {
		return err
	}
	return drain(context.Background(), t, head, func(r record) error {
		w := &wireRow{Line: r.line, Hidden: r.hidden, Merged: r.merged}
		for i, c := range r.cells {
			w.Kinds[i], w.Texts[i] = c.kind, c.text
			if len(c.text) > 4*maxValue { // too long to be anything; the mark keeps what is left from being something
				w.Texts[i] = string([]rune(c.text)[:maxValue-1]) + "…"
			}
		}
		return enc.Encode(frame{Row: w})
	})
}
