package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// acting is the person for whom a command acts. He logs in at the running server like everybody, and the server does what
// is asked: who has a shell on its machine is not two people by that, and all that a command does is under the same roles,
// limits and records as the console. It also works where only one process may have the ledger's file.
type acting struct {
	As           string `help:"User name of the person who acts." placeholder:"USERNAME" required:""`
	PasswordFile string `help:"File with the person's password, in one line, mode 0600. Without it the terminal asks." placeholder:"FILE" type:"path"`
	Server       string `help:"Address of the server; by default the one that runs here with this configuration." placeholder:"URL"`
	JSON         bool   `name:"json" help:"JSON instead of text."`
}

// commandPatience is how long a command waits for the server.
const commandPatience = 2 * time.Minute

// login logs the person in; leave ends the session.
func (a acting) login(e *environment) (c *client, leave func(), err error) {
	password, err := a.password(e)
	if err != nil {
		return nil, nil, err
	}
	return a.loginWith(e, password)
}

func (a acting) loginWith(e *environment, password string) (c *client, leave func(), err error) {
	url := strings.TrimRight(a.Server, "/")
	if url == "" {
		url = "http://" + reachable(e.config.HTTP.Listen)
	}
	c = newClient(url, "command")
	c.http.Timeout = commandPatience
	if err := c.login(e.ctx, a.As, password); err != nil {
		return nil, nil, spoken(err)
	}
	return c, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), healthPatience)
		defer cancel()
		if err := c.call(ctx, "POST", "/auth/logout", nil, nil); err != nil {
			fmt.Fprintf(e.stderr, "server: the session could not be ended, and ends by itself: %v\n", err)
		}
	}, nil
}

// spoken is an error of the API as a person reads it.
func spoken(err error) error {
	var refused *apiError
	if errors.As(err, &refused) {
		return fmt.Errorf("%s（%s）", refused.Message, refused.Code)
	}
	return err
}

func (a acting) password(e *environment) (string, error) {
	if a.PasswordFile != "" {
		return passwordIn(a.PasswordFile)
	}
	return askPassword(e, a.As+" 的密码：")
}

// passwordIn reads a password from a file that nobody else can read.
func passwordIn(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others: chmod 600 it", name)
	}
	b, err := os.ReadFile(name)
	return strings.TrimRight(string(b), "\r\n"), err
}

// askPassword reads a line from the terminal without showing it.
func askPassword(e *environment, prompt string) (string, error) {
	fd := int(os.Stdin.Fd())
	shown, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", errors.New("there is no terminal to ask for the password: give --password-file")
	}
	hidden := *shown
	hidden.Lflag &^= unix.ECHO
	hidden.Lflag |= unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", err
	}
	show := func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, shown) }
	defer show()
	// Whoever interrupts gets his terminal back as it was.
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupted)
	go func() {
		if _, ok := <-interrupted; ok {
			show()
			os.Exit(1)
		}
	}()
	defer close(interrupted)
	fmt.Fprint(e.stderr, prompt)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Fprintln(e.stderr)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}
