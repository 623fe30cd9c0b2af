//go:build !linux

package custody

import "errors"

// KeepOffDisk can't keep this process's memory out of core dumps and swap on this system, and says so.
func KeepOffDisk() error {
	return errors.New("core dumps and swap: this system is not known well enough to keep memory off its disks")
}
