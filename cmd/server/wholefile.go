package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// wholeFile writes a file that has its name when it is whole and on the disk, and not before: whatever fails, nothing of it
// is left that could be taken for it, or that holds up the next try. A process that is killed leaves another name, which
// begins with a dot. One that is there is not written over.
func wholeFile(name string, mode fs.FileMode, write func(io.Writer) error) (err error) {
	if exists(name) {
		return fmt.Errorf("%s is there already", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // where another one may be at it, too
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = write(f)
	for _, step := range []func() error{func() error { return f.Chmod(mode) }, f.Sync} {
		if err == nil {
			err = step()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	if d, failed := os.Open(filepath.Dir(name)); failed == nil {
		_ = d.Sync() // so that the name survives a power cut, on file systems that have such a thing
		_ = d.Close()
	}
	return nil
}
