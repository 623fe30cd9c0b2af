//go:build unix && !linux

package local

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// born is when a process began, to the second, "" if there is none.
func born(pid int) string {
	out, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// tie can't be had here: what was started is stopped by its record only.
func tie(*syscall.SysProcAttr) {}

func onLastingThread(start func() error) error { return start() }
