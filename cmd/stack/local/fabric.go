package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Fabric is a network of three organisations with a peer each and three raft orderers, in one folder:
//
//	network.json     what the network is: its ports, its policy, its chaincodes
//	connection.yaml  the connection profile, for the server
//	crypto-config/   keys and certificates, as cryptogen lays them out
//	                 (and each node's core.yaml or orderer.yaml beside its msp and tls)
//	config/          configtx.yaml, the genesis block, ccaas/ (the peers' external builder)
//	bin/             chaincode programs;  chaincode/  their packages
//	data/            what each node keeps;  log/  what it says;  run/  which process it is
//
// Servers are named by their hosts: peer0.carrier.cardflow.example, orderer0.orderer.cardflow.example,
// identity.carrier.cardflow.example (the chaincode identity of the carrier).
type Fabric struct {
	*Processes
	tools string // folder of Fabric's programs
	state network
}

// network is network.json.
type network struct {
	Fabric       string      `json:"fabric"`   // version
	Complete     bool        `json:"complete"` // false: it never came up, and holds nothing
	Endorsement  Endorsement `json:"endorsement"`
	BatchTimeout string      `json:"batchTimeout"`
	BasePort     int         `json:"basePort"` // its ports are this one and the next portsOfNetwork - 1
	Chaincodes   []chaincode `json:"chaincodes"`
}

// FabricConfig says which network.
type FabricConfig struct {
	Dir          string
	Endorsement  Endorsement   // TwoOfThree if ""
	BatchTimeout time.Duration // how long a block waits for more transactions; 200 ms if 0
	BasePort     int           // the network takes 100 ports from here on; free ones if 0
	Probes       bool          // deploys the conformance suite's contracts, too
	Tied         bool          // see NewProcesses
	Say          Say           // hears of each step; may be nil
}

// Up makes a network, or starts one that is there with all that it holds, and returns when it can be used: every
// organisation's endorsers are found and answer. What runs already goes on. An existing network keeps its ports; another
// endorsement policy or batch timeout than it has is an error.
func Up(ctx context.Context, config FabricConfig) (*Fabric, error) {
	say := config.Say
	if say == nil {
		say = func(string, ...any) {}
	}
	f, unlock, err := openLocked(ctx, config.Dir, config.Tied)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if f.tools, err = fabricTools(ctx, say); err != nil {
		return nil, err
	}
	if err := f.settle(config); err != nil {
		return nil, err
	}
	names := contracts
	if config.Probes {
		names = slices.Concat(contracts, probes)
	}
	if f.state.Complete {
		if err := f.restart(ctx, say); err != nil {
			return nil, err
		}
		return f, f.deployMissing(ctx, say, names...)
	}
	if err := f.create(ctx, say, names); err != nil {
		return nil, errors.Join(err, f.stopAll()) // it is of no use to anybody; its logs are
	}
	return f, nil
}

// OpenFabric is the network in a folder, running or not, that Up has made.
func OpenFabric(dir string) (*Fabric, error) {
	if _, err := os.Stat(filepath.Join(dir, stateFile)); err != nil {
		return nil, fmt.Errorf("no network: %w", err)
	}
	f, err := open(dir, false)
	if err != nil {
		return nil, err
	}
	if !f.state.Complete {
		return nil, fmt.Errorf("the network in %s never came up: up makes it anew", dir)
	}
	f.tools, err = fabricTools(context.Background(), func(string, ...any) {})
	return f, err
}

const stateFile = "network.json"

func open(dir string, tied bool) (*Fabric, error) {
	p, err := NewProcesses(dir, tied)
	if err != nil {
		return nil, err
	}
	f := &Fabric{Processes: p}
	text, err := os.ReadFile(f.path(stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &f.state); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(stateFile), err)
	}
	return f, nil
}

// openLocked opens a folder for whoever changes more than one process of it.
func openLocked(ctx context.Context, dir string, tied bool) (*Fabric, func(), error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
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

// Dir is the network's folder.
func (f *Fabric) Dir() string { return f.dir }

func (f *Fabric) path(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

func (f *Fabric) crypto() string { return f.path("crypto-config") }

func (f *Fabric) save() error {
	text, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(f.path(stateFile), append(text, '\n'), 0o600)
}

// settle brings together what is asked for and what is there.
func (f *Fabric) settle(config FabricConfig) error {
	timeout := ""
	if config.BatchTimeout != 0 {
		timeout = config.BatchTimeout.String()
	}
	if f.state.Complete {
		switch {
		case f.state.Fabric != fabricVersion:
			return fmt.Errorf("the network in %s is of Fabric %s, this is %s: remove it", f.dir, f.state.Fabric, fabricVersion)
		case config.Endorsement != "" && config.Endorsement != f.state.Endorsement:
			return fmt.Errorf("the network in %s endorses by %s: upgrade its chaincodes to change that", f.dir, f.state.Endorsement)
		case timeout != "" && timeout != f.state.BatchTimeout:
			return fmt.Errorf("the network in %s has a batch timeout of %s: remove it to have another", f.dir, f.state.BatchTimeout)
		case config.BasePort != 0 && config.BasePort != f.state.BasePort:
			return fmt.Errorf("the network in %s has its ports from %d on: remove it to have others", f.dir, f.state.BasePort)
		}
		return nil
	}
	f.state = network{Fabric: fabricVersion, Endorsement: config.Endorsement, BatchTimeout: timeout, BasePort: config.BasePort}
	if f.state.Endorsement == "" {
		f.state.Endorsement = TwoOfThree
	}
	if _, err := f.state.Endorsement.Policy(); err != nil {
		return err
	}
	if f.state.BatchTimeout == "" {
		f.state.BatchTimeout = "200ms"
	}
	return nil
}

// create makes a network from nothing. Until the last step it isn't complete, and the next try begins anew.
func (f *Fabric) create(ctx context.Context, say Say, names []string) error {
	if err := f.clear(); err != nil {
		return err
	}
	base, err := f.state.BasePort, error(nil)
	if base == 0 {
		base, err = FreePorts(portsOfNetwork)
	} else {
		err = portsFree(base, portsOfNetwork)
	}
	if err != nil {
		return err
	}
	f.state.BasePort = base
	for _, sub := range []string{"run", "log", "config", "bin", "chaincode", "data", "tmp"} {
		if err := os.MkdirAll(f.path(sub), 0o700); err != nil {
			return err
		}
	}
	if err := f.save(); err != nil {
		return err
	}
	if err := f.writeConfig(ctx); err != nil {
		return err
	}
	say("keys, certificates and genesis block, ports from %d on", base)
	if err := f.startNodes(ctx); err != nil {
		return err
	}
	say("%d orderers and %d peers listen", orderers, len(organisations))
	if err := f.join(ctx); err != nil {
		return err
	}
	leader, err := f.waitForLeader(ctx)
	if err != nil {
		return err
	}
	say("all have joined channel %s, %s leads", Channel, leader)
	if err := f.deployMissing(ctx, say, names...); err != nil {
		return err
	}
	f.state.Complete = true
	return f.save()
}

// restart starts what does not run.
func (f *Fabric) restart(ctx context.Context, say Say) error {
	if !slices.ContainsFunc(f.Servers(), func(s Server) bool { return f.Running(s.Name) }) {
		if err := f.build(ctx, f.state.Chaincodes...); err != nil { // all endorsers or none: they have to agree
			return err
		}
	}
	if err := f.startNodes(ctx); err != nil {
		return err
	}
	for _, c := range f.state.Chaincodes {
		if err := f.startServers(ctx, c); err != nil {
			return err
		}
	}
	say("everything listens, ports from %d on", f.state.BasePort)
	if _, err := f.waitForLeader(ctx); err != nil {
		return err
	}
	return f.waitUsable(ctx, say, f.state.Chaincodes)
}

// Down stops everything. Keys and data stay.
func Down(ctx context.Context, dir string) error {
	f, unlock, err := openLocked(ctx, dir, false)
	if err != nil {
		return err
	}
	defer unlock()
	return f.stopAll()
}

// stopGrace is how long servers may take to end.
const stopGrace = 20 * time.Second

func (f *Fabric) stopAll() error { return f.Processes.Stop(stopGrace) }

// Clean stops everything and removes the network with its keys and data.
func Clean(ctx context.Context, dir string) error {
	f, unlock, err := openLocked(ctx, dir, false)
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.clear(); err != nil {
		return err
	}
	for _, name := range []string{"run", "log"} { // openLocked has made them
		if err := os.RemoveAll(f.path(name)); err != nil {
			return err
		}
	}
	if err := os.Remove(f.path("lock")); err != nil {
		return err
	}
	if err := os.Remove(f.dir); err != nil && !errors.Is(err, os.ErrExist) { // something of somebody's is in it
		return nil
	}
	return nil
}

// clear removes a network, and only that: the folder may hold other things.
func (f *Fabric) clear() error {
	if err := f.stopAll(); err != nil {
		return err
	}
	for _, name := range []string{"connection.yaml", "crypto-config", "config", "bin", "chaincode", "data", "tmp", "log", "run", stateFile} {
		if err := os.RemoveAll(f.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends one server with SIGKILL, as a crash would.
func (f *Fabric) Kill(name string) error { return f.Processes.Kill(name) }

// StopServer asks one server to end, and waits for it.
func (f *Fabric) StopServer(name string) error { return f.Processes.Stop(stopGrace, name) }

// StartServer starts one server that does not run and returns when it listens. A peer still has to fetch the blocks that
// it has missed, see WaitUsable.
func (f *Fabric) StartServer(ctx context.Context, name string) error {
	for _, s := range f.Servers() {
		if s.Name == name {
			return f.start(ctx, s)
		}
	}
	return fmt.Errorf("the network has no server %q", name)
}

// StopAll stops every server, and keeps what they have: what Down does.
func (f *Fabric) StopAll() error { return f.stopAll() }

// StartAll starts every server that does not run, and waits until the network can be used.
func (f *Fabric) StartAll(ctx context.Context) error {
	return f.restart(ctx, func(string, ...any) {})
}

// startNodes starts orderers and peers that don't run, and waits until they listen.
func (f *Fabric) startNodes(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range f.Servers() {
		if s.Kind != KindChaincode {
			group.Go(func() error { return f.start(ctx, s) })
		}
	}
	return group.Wait()
}

// start starts a server if it does not run, and waits until it listens.
func (f *Fabric) start(ctx context.Context, s Server) error {
	if err := f.Processes.Start(f.process(s)); err != nil && !errors.Is(err, ErrRunning) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f.WaitFor(ctx, s.Name, func() error {
		if s.operations != 0 {
			if err := Listening(Address(s.operations)); err != nil {
				return err
			}
		}
		return Listening(Address(s.Port))
	})
}

// patience is how long a step of a network may take on a machine that has much else to do.
const patience = 2 * time.Minute

// Profile is the file of the network's connection profile.
func (f *Fabric) Profile() string { return f.path("connection.yaml") }
