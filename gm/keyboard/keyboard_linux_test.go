package keyboard_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cardflow/gm/keyboard"
)

// pair opens a terminal: what is typed at one end, a program reads at the other; what is shown comes back.
func pair(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return person, terminal
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// until reads what a terminal shows, up to and with a text.
func until(t *testing.T, person io.Reader, text string) string {
	t.Helper()
	var shown []byte
	for b := make([]byte, 1); !bytes.HasSuffix(shown, []byte(text)); {
		if _, err := person.Read(b); err != nil {
			t.Fatalf("%q, and then %v", shown, err)
		}
		shown = append(shown, b...)
	}
	return string(shown)
}

// TestSecret: what is typed is answered and not shown, and the terminal echoes again.
func TestSecret(t *testing.T) {
	person, terminal := pair(t)
	if f, ok := keyboard.Is(terminal); !ok || f != terminal {
		t.Error("a terminal is none")
	}
	if _, ok := keyboard.Is(strings.NewReader("")); ok {
		t.Error("a string is a terminal")
	}
	type answer struct {
		secret string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		secret, err := keyboard.Secret(t.Context(), terminal, terminal, "PIN? ")
		answered <- answer{string(secret), err}
	}()
	until(t, person, "PIN? ")
	for echoes(t, terminal) { // asked, and about to be read
	}
	if _, err := person.WriteString("314159\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got.err != nil || got.secret != "314159" {
		t.Errorf("%q, %v", got.secret, got.err)
	}
	if shown := until(t, person, "\n"); strings.Contains(shown, "3") {
		t.Errorf("the terminal shows %q", shown)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal doesn't echo any more")
	}
}

// TestInterrupted: who interrupts the question has his terminal as it was.
func TestInterrupted(t *testing.T) {
	if os.Getenv("KEYBOARD_TEST_ASKS") != "" {
		ctx, stop := context.WithCancel(context.Background())
		go func() {
			_, _ = os.Stdin.Read(make([]byte, 1))
			stop()
		}()
		_, err := keyboard.Secret(ctx, os.Stdout, os.Stdout, "PIN? ")
		t.Fatalf("it went on: %v", err)
	}
	person, terminal := pair(t)
	child := exec.Command(os.Args[0], "-test.run=^TestInterrupted$")
	child.Env = append(os.Environ(), "KEYBOARD_TEST_ASKS=1")
	child.Stdout = terminal
	interrupt, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, person, "PIN? ")
	for echoes(t, terminal) {
	}
	if _, err := interrupt.Write([]byte{'x'}); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); child.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal doesn't echo any more")
	}
}
