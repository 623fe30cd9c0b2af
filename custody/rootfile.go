package custody

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cardflow/gm"
)

// RootSize is the length of a root key file in bytes.
const RootSize = 32

// FileRoot reads the root key from a file of RootSize bytes that only its owner
// may read, and makes it on first use. It refuses a file that others can read, a
// file of another size, and anything that isn't a plain file (ErrRootFile).
//
// Whoever loses this file loses every key under it: there is no other way in.
func FileRoot(path string, random io.Reader) (RootKey, error) {
	secret, err := readRoot(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeRoot(path, random); err != nil {
			return nil, fmt.Errorf("make a root key: %w: %w", ErrRootFile, err)
		}
		secret, err = readRoot(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the root key: %w: %w", ErrRootFile, err)
	}
	defer secret.Clear()
	return holdRoot(InFile, secret), nil
}

func readRoot(path string) (gm.Secret, error) {
	// Lstat first: a link could lead to a file that someone else exchanges.
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	if loose := info.Mode().Perm() & 0o077; loose != 0 {
		return nil, fmt.Errorf("%s can be used by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	if info.Size() != RootSize {
		return nil, fmt.Errorf("%s has %d bytes instead of %d", path, info.Size(), RootSize)
	}
	secret := make(gm.Secret, RootSize)
	if _, err := io.ReadFull(file, secret); err != nil {
		secret.Clear()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return secret, nil
}

// makeRoot writes a new root key beside its place and links it there, which fails
// if a file is there already: of two servers that start at once the first one's
// key stays, and both read it. A crash before the link leaves a file that no one
// uses; a crash after it leaves the whole key. The place never holds half a key.
func makeRoot(path string, random io.Reader) error {
	secret := make(gm.Secret, RootSize)
	defer secret.Clear()
	if _, err := io.ReadFull(random, secret); err != nil {
		return fmt.Errorf("%w: %w", gm.ErrRandom, err)
	}
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // O_EXCL, 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(secret)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	parent, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}
