package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// network is network.json.
type network struct {
	Fabric       string      `json:"fabric"`      // version
	Complete     bool        `json:"complete"`    // false: it never came up, and holds nothing
	Endorsement  Endorsement `json:"endorsement"` // of what is deployed next
	BatchTimeout string      `json:"batchTimeout"`
	TimeWindow   string      `json:"timeWindow,omitempty"` // "": that of core.yaml
	BasePort     int         `json:"basePort"`             // its ports are this one and the next portsOfNetwork - 1
	Hosts        bool        `json:"hosts"`                // its servers are hosts of their names, not processes here: see MakeHosts
	Chaincodes   []chaincode `json:"chaincodes"`
}

const stateFile = "network.json"

// ErrNoNetwork: a folder is not a network's.
var ErrNoNetwork = errors.New("no network is here")

// open opens a network's folder.
func open(dir string, tied bool) (*Fabric, error) {
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoNetwork)
	}
	if err != nil {
		return nil, err
	}
	p, err := NewProcesses(dir, tied)
	if err != nil {
		return nil, err
	}
	f := &Fabric{dir: p.dir, procs: p}
	if err := json.Unmarshal(text, &f.state); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(stateFile), err)
	}
	return f, nil
}

// openLocked opens a network's folder for whoever changes more than one process of it.
func openLocked(ctx context.Context, dir string, tied bool) (*Fabric, func(), error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: %w", dir, ErrNoNetwork) // and no lock in it
	}
	unlock, err := lock(ctx, filepath.Join(dir, lockFile))
	if err != nil {
		return nil, nil, err
	}
	f, err := open(dir, tied)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return f, unlock, nil
}

const lockFile = "lock"

// claim makes a folder a network's, unless it is one: an empty one, or one that isn't there. Much is removed from a
// network's folder when the network is, so it must not be somebody's home.
func claim(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == stateFile {
			return nil
		}
	}
	for _, e := range entries {
		if e.Name() != lockFile {
			return fmt.Errorf("%s is not empty, and no network: choose another folder", dir)
		}
	}
	return writeFile(filepath.Join(dir, stateFile), []byte("{}\n"), 0o600)
}

func (f *Fabric) save() error {
	text, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(f.path(stateFile), append(text, '\n'), 0o600)
}

// StopFabric stops everything that runs in a network's folder, whatever state it is in. Keys and data stay.
func StopFabric(ctx context.Context, dir string) error {
	f, unlock, err := openLocked(ctx, dir, false)
	if err != nil {
		return err
	}
	defer unlock()
	return f.stopAll()
}

// RemoveFabric stops everything that runs in a network's folder, and removes the network with its keys and data.
func RemoveFabric(ctx context.Context, dir string) error {
	f, unlock, err := openLocked(ctx, dir, false)
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.clear(); err != nil {
		return err
	}
	if err := errors.Join(os.Remove(f.path(stateFile)), os.Remove(f.path(lockFile))); err != nil {
		return err
	}
	if left, err := os.ReadDir(f.dir); err != nil || len(left) > 0 {
		return err // something of somebody's is in it
	}
	return os.Remove(f.dir)
}

// clear removes what a network consists of, but for the file that makes the folder a network's.
func (f *Fabric) clear() error {
	if err := f.stopAll(); err != nil {
		return err
	}
	for _, name := range []string{"connection.yaml", "crypto-config", "config", "engines", "bin", "chaincode", "data", "tmp", "log", "run"} {
		if err := os.RemoveAll(f.path(name)); err != nil {
			return err
		}
	}
	return nil
}
