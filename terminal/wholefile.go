package terminal

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// writeWhole puts data in the place of a file, or leaves it as it was: it has its name when it is whole and on the disk, and
// when writeWhole answers, the name is on the disk, too. A process that is killed leaves another name, which begins with a dot.
func writeWhole(name string, mode fs.FileMode, data []byte) (err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	for _, step := range []func() error{func() error { return f.Chmod(mode) }, f.Sync} {
		if err == nil {
			err = step()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
