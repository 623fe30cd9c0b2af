package main

import (
	"os"
	"syscall"
)

// execCommand is how `run` starts its command: by this program, which becomes the command only once its process is on
// record. If `run` is killed in between, there is nobody whom the guard would not know.
type execCommand struct {
	Path    string   `arg:"" help:"Program."`
	Command []string `arg:"" passthrough:"" help:"Its name and arguments."`
}

func (c *execCommand) Run() error {
	onRecord := os.NewFile(3, "on record")
	if _, err := onRecord.Read(make([]byte, 1)); err != nil {
		return status(1) // whoever started us is gone
	}
	onRecord.Close()
	return syscall.Exec(c.Path, c.Command, os.Environ())
}
