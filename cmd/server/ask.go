package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/gm/keyboard"
)

// asker asks the person at the terminal, or reads the answers from standard input, one a line. Questions go to standard
// error, so that standard output can be kept.
type asker struct {
	ctx   context.Context
	in    io.Reader
	out   io.Writer
	lines *bufio.Reader
}

func (e *environment) asker() *asker {
	if e.asks == nil { // one for all: it may have read ahead
		e.asks = &asker{ctx: e.ctx, in: e.stdin, out: e.stderr, lines: bufio.NewReader(e.stdin)}
	}
	return e.asks
}

// keyboard is the terminal that answers come from, if they do.
func (a *asker) keyboard() (*os.File, bool) { return keyboard.Is(a.in) }

// line asks for what may be seen.
func (a *asker) line(question string) (string, error) {
	b, err := a.read(question)
	return string(b), err
}

func (a *asker) read(question string) ([]byte, error) {
	fmt.Fprint(a.out, question)
	b, err := a.lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) && len(b) > 0 {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("no answer to %q: %w", strings.TrimSpace(question), err)
	}
	return []byte(strings.TrimRight(string(b), "\r\n")), nil
}

// secret asks for what may not. The caller clears the answer.
func (a *asker) secret(question string) (gm.Secret, error) {
	f, ok := a.keyboard()
	if !ok {
		return a.read(question)
	}
	secret, err := keyboard.Secret(a.ctx, f, a.out, question)
	if err != nil {
		return nil, fmt.Errorf("no answer to %q: %w", strings.TrimSpace(question), err)
	}
	return secret, nil
}

// shareChars is how many characters a share has.
const shareChars = 80

// share asks for one share, which stands on paper in two lines and may come in as many.
func (a *asker) share(question string) (gm.Secret, error) {
	text, chars := gm.Secret{}, 0
	for range 4 {
		line, err := a.secret(question)
		if err != nil {
			text.Clear()
			return nil, err
		}
		n := len(line) - bytes.Count(line, []byte(" ")) - bytes.Count(line, []byte("-"))
		longer := slices.Concat(text, gm.Secret(" "), line)
		text.Clear()
		line.Clear()
		text, chars, question = longer, chars+n, "  its second line: "
		if n == 0 || chars >= shareChars {
			break
		}
	}
	return text, nil
}

// bringShares opens a custody that is sealed because its root is in shares, from a program beside the servers. What was
// stopped by hand stays stopped.
func (e *environment) bringShares(c *custody.Custody) error {
	s, err := c.SealStatus(e.ctx)
	if err != nil || !s.Sealed || s.Kind != custody.InShares {
		return err
	}
	ask := e.asker()
	fmt.Fprintf(e.stderr, "The root key is in shares, set %s: %d of %d are needed.\n", s.Set, s.Threshold, s.Shares)
	for s.Sealed {
		share, err := ask.share(fmt.Sprintf("Share %d of %d: ", len(s.Entered)+1, s.Threshold))
		if err != nil {
			return err
		}
		now, err := c.Unseal(e.ctx, share, operator())
		if known := (*custody.Error)(nil); errors.As(err, &known) && known != custody.ErrAuditUnwritable {
			if _, typing := ask.keyboard(); !typing {
				return err // nobody is there to try again
			}
			fmt.Fprintln(e.stderr, known.Message)
			if now, err = c.SealStatus(e.ctx); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		s = now
	}
	return nil
}
