package local

import "runtime"

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
