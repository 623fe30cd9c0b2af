package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// inFront makes a process group that is about to be started the foreground of our terminal, if we have one and are in
// front ourselves. back takes the terminal back: make, for one, would not.
func inFront(attr *syscall.SysProcAttr) (back func()) {
	tty := int(os.Stdin.Fd())
	front, err := unix.IoctlGetInt(tty, unix.TIOCGPGRP)
	if err != nil || front != unix.Getpgrp() {
		return func() {}
	}
	attr.Foreground, attr.Ctty = true, tty
	return func() {
		signal.Ignore(syscall.SIGTTOU) // else taking it from the background would stop us
		_ = unix.IoctlSetPointerInt(tty, unix.TIOCSPGRP, front)
	}
}
