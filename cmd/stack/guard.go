package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"cardflow/cmd/stack/local"
)

// guardCommand is how `run` starts itself a second time. The standard input ends when the first process closes it or has
// died, however it died.
type guardCommand struct {
	Dir  string `arg:"" help:"Folder of the servers."`
	Keep bool   `help:"Don't remove the folder."`
}

func (c *guardCommand) Run(env *environment) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	if err := local.StopTree(c.Dir, grace); err != nil {
		return fmt.Errorf("%w; what they left is in %s", err, c.Dir)
	}
	if c.Keep {
		fmt.Fprintf(env.say.to, "stack: data and logs are in %s\n", c.Dir)
		return nil
	}
	return os.RemoveAll(c.Dir)
}
