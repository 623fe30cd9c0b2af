package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"cardflow/gm"
	"cardflow/gm/keyboard"
	"cardflow/terminal"
)

// keyboard is where a PIN is typed: standard input if that is a terminal, else the terminal that the process has, since the
// scanner may be on standard input.
func (e *environment) keyboard() (f *os.File, release func(), err error) {
	if f, ok := keyboard.Is(e.stdin); ok {
		return f, func() {}, nil
	}
	f, err = os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, &terminal.Error{Code: "PIN_UNASKED", Err: err}
	}
	return f, func() { _ = f.Close() }, nil
}

// asksPIN tells whether the PIN comes from a person, who may be asked again.
func (e *environment) asksPIN() bool { return e.pins == "" }

// pin asks for a PIN without showing it, or reads the file. The caller clears it.
func (e *environment) pin(question string) (gm.Secret, error) {
	if e.pins != "" {
		return e.pinFromFile()
	}
	f, release, err := e.keyboard()
	if err != nil {
		return nil, err
	}
	defer release()
	pin, err := keyboard.Secret(e.ctx, f, e.stderr, question)
	if err != nil {
		return nil, fmt.Errorf("no PIN: %w", err)
	}
	return pin, nil
}

func (e *environment) pinFromFile() (gm.Secret, error) {
	info, err := os.Stat(e.pins)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 || !info.Mode().IsRegular() {
		return nil, &terminal.Error{Code: "PIN_FILE_MODE", Err: fmt.Errorf("%s is %s", e.pins, info.Mode())}
	}
	b, err := os.ReadFile(e.pins)
	return bytes.TrimRight(b, "\r\n"), err
}

// newPIN asks for a PIN twice.
func (e *environment) newPIN() (gm.Secret, error) {
	pin, err := e.pin(e.words.say("ask-new-pin"))
	if err != nil || !e.asksPIN() {
		return pin, err
	}
	again, err := e.pin(e.words.say("ask-pin-again"))
	defer again.Clear()
	if err == nil && !bytes.Equal(pin, again) {
		err = terminal.Refusal("PIN_DIFFERS")
	}
	if err != nil {
		pin.Clear()
	}
	return pin, err
}

// line asks for what may be seen.
func (e *environment) line(question string) (string, error) {
	fmt.Fprint(e.stderr, question)
	text, err := e.lines.ReadString('\n')
	if errors.Is(err, io.EOF) && text != "" {
		err = nil
	}
	if err != nil {
		fmt.Fprintln(e.stderr) // what is said next is no part of the question
		return "", terminal.Refusal("NO_ANSWER")
	}
	text = strings.TrimSpace(text)
	if _, ok := keyboard.Is(e.stdin); !ok {
		fmt.Fprintln(e.stderr, text) // nobody has seen it typed
	}
	return text, nil
}

// agrees asks whether to go on; only a clear yes is one.
func (e *environment) agrees(question string) error {
	text, err := e.line(question)
	if err != nil {
		return err
	}
	if yes[strings.ToLower(text)] {
		return nil
	}
	return terminal.Refusal("NOT_AGREED")
}

// What is a yes, and what a no.
var (
	yes = map[string]bool{"y": true, "yes": true, "是": true, "好": true, "确认": true}
	no  = map[string]bool{"n": true, "no": true, "否": true, "不": true}
)
