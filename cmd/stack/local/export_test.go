package local

import (
	"context"
	"os"
	"runtime"
)

// CanTie: see tie.
var CanTie = runtime.GOOS == "linux"

// What the tests look at from inside.
var (
	LowerRoots = lowerRoots
	FindMetric = findMetric
	Claim      = claim
)

// WriteFiles writes configtx.yaml and connection.yaml of a network that begins at a port, from two source files.
func WriteFiles(dir string, base int, configtx, connection string) error {
	p, err := NewProcesses(dir, true)
	if err != nil {
		return err
	}
	f := &Fabric{dir: p.dir, procs: p, state: network{BasePort: base, BatchTimeout: "123ms"}}
	if err := f.writeConfigtx(configtx); err != nil {
		return err
	}
	return f.writeProfile(connection)
}

// Unjoined is a network on loopback whose servers run and have been told nothing yet: what JoinHosts finds where a network
// of hosts has just been started.
func Unjoined(ctx context.Context, dir string, say Say) (*Fabric, error) {
	if err := claim(dir); err != nil {
		return nil, err
	}
	f, err := open(dir, true)
	if err != nil {
		return nil, err
	}
	if err := f.equip(ctx, say); err != nil {
		return nil, err
	}
	if err := f.settle(FabricConfig{}); err != nil {
		return nil, err
	}
	for _, sub := range []string{"config", "bin", "chaincode", "data", "tmp"} {
		if err := os.MkdirAll(f.path(sub), 0o700); err != nil {
			return nil, err
		}
	}
	if f.state.BasePort, err = FreePorts(portsOfNetwork); err != nil {
		return nil, err
	}
	if err := f.writeConfig(ctx); err != nil {
		return nil, err
	}
	if err := f.startNodes(ctx); err != nil {
		return f, err
	}
	for _, name := range contracts {
		c, err := f.define(name, 1, TwoOfThree, nil)
		if err == nil {
			err = f.packAll(&c)
		}
		if err == nil {
			err = f.build(ctx, c)
		}
		if err == nil {
			err = f.startServers(ctx, c)
		}
		if err != nil {
			return f, err
		}
		f.state.Chaincodes = append(f.state.Chaincodes, c)
	}
	return f, nil
}

// Join is what JoinHosts does.
func (f *Fabric) Join(ctx context.Context, say Say) error { return f.joinHosts(ctx, say) }
