package custody_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
)

func TestFileRootIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	first, err := custody.FileRoot(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 || info.Size() != custody.RootSize {
		t.Errorf("%v, %v", info, err)
	}
	again, err := custody.FileRoot(path, nil) // needs no randomness any more
	if err != nil || again.ID() != first.ID() {
		t.Errorf("read again: another root, %v", err)
	}
	other, err := custody.FileRoot(path+"2", rand.Reader)
	if err != nil || other.ID() == first.ID() {
		t.Errorf("two files have one root, %v", err)
	}

	sealed, err := first.Wrap(t.Context(), rand.Reader, gm.Secret("0123456789abcdef"), []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	if key, err := again.Unwrap(t.Context(), sealed, []byte("ad")); err != nil || !bytes.Equal(key, []byte("0123456789abcdef")) {
		t.Errorf("unwrap: %v", err)
	}
	if _, err := again.Unwrap(t.Context(), sealed, []byte("da")); !errors.Is(err, gm.ErrOpen) {
		t.Errorf("for other associated data: %v", err)
	}
	if _, err := other.Unwrap(t.Context(), sealed, []byte("ad")); !errors.Is(err, gm.ErrOpen) {
		t.Errorf("by another root: %v", err)
	}
}

func TestFileRootByTwoServers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "root.key")
	ids := make([]string, 16)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			root, err := custody.FileRoot(path, rand.Reader)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = root.ID()
		})
	}
	group.Wait()
	if len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 1 {
		t.Errorf("not one root: %q", ids)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestFileRootRefuses(t *testing.T) {
	good := bytes.Repeat([]byte{7}, custody.RootSize)
	for name, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"readable by the group": {func(p string) error { return errors.Join(os.WriteFile(p, good, 0o600), os.Chmod(p, 0o640)) }, "chmod 600"},
		"writable by others":    {func(p string) error { return errors.Join(os.WriteFile(p, good, 0o600), os.Chmod(p, 0o602)) }, "chmod 600"},
		"empty":                 {func(p string) error { return os.WriteFile(p, nil, 0o600) }, "0 bytes"},
		"too short":             {func(p string) error { return os.WriteFile(p, good[1:], 0o600) }, "31 bytes"},
		"too long":              {func(p string) error { return os.WriteFile(p, append(good, '\n'), 0o600) }, "33 bytes"},
		"a folder":              {func(p string) error { return os.Mkdir(p, 0o700) }, "plain file"},
		"a link": {func(p string) error {
			return errors.Join(os.WriteFile(p+".elsewhere", good, 0o600), os.Symlink(p+".elsewhere", p))
		}, "plain file"},
		"a link to nowhere": {func(p string) error { return os.Symlink(p+".nowhere", p) }, "plain file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "root.key")
			if err := c.make(path); err != nil {
				t.Fatal(err)
			}
			_, err := custody.FileRoot(path, rand.Reader)
			if !errors.Is(err, custody.ErrRootFile) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestFileRootWithoutRandomnessLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	dry := &random{}
	dry.set(func() error { return errors.New("dry") })
	if _, err := custody.FileRoot(filepath.Join(dir, "root.key"), dry); !errors.Is(err, gm.ErrRandom) {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := custody.FileRoot(filepath.Join(dir, "none", "root.key"), rand.Reader); err == nil {
		t.Error("made a root in a folder that isn't there")
	}
}

func TestARootPrintsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "root.key")
	root, err := custody.FileRoot(path, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wrap := gm.Derive(secret, "cardflow/custody/root/wrap/1", gm.KeySize)
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		said := fmt.Sprintf(verb, root)
		for _, form := range append(forms(secret), forms(wrap)...) {
			if strings.Contains(said, form) {
				t.Errorf("%s prints the key", verb)
			}
		}
	}
}
