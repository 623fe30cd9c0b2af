package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// fabricVersion is what the pin in configs/fabric/tools/go.mod is of.
const fabricVersion = "3.1.1"

// Say takes a line about a step that is done.
type Say = func(format string, args ...any)

// cacheDir is a folder for what can be made again, outside of the source: all checkouts share it.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil { // no HOME, as in some build containers
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache")
	}
	return filepath.Join(dir, "cardflow"), nil
}

// BuildFabric builds Fabric's programs, if they have not been built yet: whatever needs them later starts at once.
func BuildFabric(ctx context.Context, say Say) error {
	_, err := fabricTools(ctx, say)
	return err
}

// fabricTools returns the folder of Fabric's programs, which are built from the Go module proxy if they have not been yet:
// that takes a minute or two, and a second process that wants them waits.
func fabricTools(ctx context.Context, say Say) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "configs", "fabric", "tools")
	hash := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "fabric-"+fabricVersion+"-"+runtime.Version()+"-"+hex.EncodeToString(hash.Sum(nil))[:12])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	bin := filepath.Join(dir, "bin")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	say("building Fabric %s: the first time takes a minute or two", fabricVersion)
	temp, err := os.MkdirTemp(dir, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-X github.com/hyperledger/fabric/common/metadata.Version=v"+fabricVersion,
		"-o", temp+string(filepath.Separator), "tool")
	build.Dir = source
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building Fabric in %s: %w\n%s", source, err, strings.TrimSpace(string(out)))
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(temp, bin); err != nil {
		return "", err
	}
	say("Fabric %s is built", fabricVersion)
	return bin, nil
}

// buildProgram builds one of our programs into a folder. What runs there already goes on with the old one.
func buildProgram(ctx context.Context, pkg, path string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	temp := path + ".new"
	build := exec.CommandContext(ctx, "go", "build", "-o", temp, "./"+pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", pkg, err, strings.TrimSpace(string(out)))
	}
	return os.Rename(temp, path)
}

// lock takes a lock that other processes take, too, and waits for it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = Wait(ctx, func() error {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%s is held by another process", path)
		}
		return err
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
