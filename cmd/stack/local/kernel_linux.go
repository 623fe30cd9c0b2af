package local

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

// born is when a process began, in the kernel's ticks since boot, "" if there is none or it has ended. Together with its
// ID it names a process for ever.
func born(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The name, in parentheses, may hold anything; what follows it does not. See proc_pid_stat(5).
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return ""
	}
	if bytes.ContainsAny(fields[0], "ZX") {
		// Its first thread has ended and nobody has waited for it yet. The others may still hold its ports.
		if tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task"); err != nil || len(tasks) <= 1 {
			return ""
		}
	}
	return string(fields[19])
}

// tie has the kernel kill a process when the thread that started it ends.
func tie(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

var lasting = sync.OnceValue(func() chan func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread() // for ever: a thread that ended would take the tied processes with it
		for f := range work {
			f()
		}
	}()
	return work
})

// onLastingThread runs start on a thread that lives as long as this process.
func onLastingThread(start func() error) error {
	result := make(chan error)
	lasting() <- func() { result <- start() }
	return <-result
}
