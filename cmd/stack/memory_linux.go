package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// temporary is where the folder of `run` is made: in memory where there is plenty of it, as databases that are made for
// one test each spend their time waiting for disks. Who sets TMPDIR has it there.
func temporary() string {
	const memory, room = "/dev/shm", 4 << 30 // containers often have 64 MB
	if os.Getenv("TMPDIR") != "" {
		return ""
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(memory, &fs); err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Bavail*uint64(fs.Bsize) < room || fs.Flags&unix.ST_NOEXEC != 0 {
		return ""
	}
	return memory
}
