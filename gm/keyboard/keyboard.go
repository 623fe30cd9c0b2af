// Package keyboard asks a person for a secret.
//
// The promise: what is typed isn't shown, goes nowhere but to the caller, and a terminal is left as it was found, also when
// the program is interrupted while it waits.
package keyboard

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"cardflow/gm"
)

// Secret writes a question to out, and reads the answer from a terminal without showing it. The caller clears it. Nothing ends a
// read of a terminal: when ctx ends meanwhile the terminal is restored, and the process with it ends, with status 1.
func Secret(ctx context.Context, terminal *os.File, out io.Writer, question string) (gm.Secret, error) {
	fd := int(terminal.Fd())
	shown, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() {
		_ = term.Restore(fd, shown)
		fmt.Fprintln(out)
		os.Exit(1)
	})()
	fmt.Fprint(out, question)
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(out)
	return b, err
}

// Is reports whether a reader is a terminal, at which somebody may be asked.
func Is(in io.Reader) (*os.File, bool) {
	f, ok := in.(*os.File)
	return f, ok && term.IsTerminal(int(f.Fd()))
}
