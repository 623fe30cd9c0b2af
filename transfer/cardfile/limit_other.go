//go:build !linux

package cardfile

import "runtime/debug"

// limitSelf is weaker where there are no such limits as Linux has: the collector works hard from here on, and the
// parent's clock ends what takes too long.
func limitSelf() error {
	debug.SetMemoryLimit(512 << 20)
	return nil
}
