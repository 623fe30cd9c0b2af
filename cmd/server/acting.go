package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"cardflow/custody"
	"cardflow/transfer"
)

// acting is the person for whom a command acts. He logs in at the running server like everybody, and the server does what
// is asked: who has a shell on its machine is not two people by that, and all that a command does is under the same roles,
// limits and records as the console. It also works where only one process may have the ledger's file.
type acting struct {
	As           string `help:"User name of the person who acts." placeholder:"USERNAME" required:""`
	PasswordFile string `help:"File with the person's password, in one line, mode 0600. Without it the terminal asks." placeholder:"FILE" type:"path"`
	Server       string `help:"Address of the server, https unless it is on this machine; by default the one that runs here with this configuration." placeholder:"URL"`
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
	base, err := serverAt(e.config, "--server", a.Server)
	if err != nil {
		return nil, nil, err
	}
	c = newClient(base, "command")
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
	if custodian := (*custody.Error)(nil); errors.As(err, &custodian) {
		return fmt.Errorf("%s（%s）", custody.MessageOf(custodian.Code), custodian.Code)
	}
	if errors.Is(err, transfer.ErrCustodyAway) {
		return fmt.Errorf("密钥托管进程（server custodian）没有应答：%w", err)
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

// serverAt is where the server is that a flag names, or else the one that runs here with this configuration. What people
// type (passwords, shares) goes over TLS, or doesn't leave the machine.
func serverAt(c Config, flag, address string) (string, error) {
	if address == "" {
		return "http://" + reachable(c.HTTP.Listen), nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("%s must be an address such as https://cards.example.com", flag)
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return "", fmt.Errorf("%s must be https, unless the server is on this machine: what is typed would be read on the way", flag)
	}
	return strings.TrimRight(address, "/"), nil
}

// askPassword asks for a password at the terminal.
func askPassword(e *environment, prompt string) (string, error) {
	ask := e.asker()
	if _, ok := ask.keyboard(); !ok {
		return "", errors.New("there is no terminal to ask for the password: give --password-file")
	}
	password, err := ask.secret(prompt)
	defer password.Clear()
	return string(password), err
}
