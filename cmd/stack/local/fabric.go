package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	dir    string
	procs  *Processes
	tools  string // folder of Fabric's programs
	source string // folder of the definition: configs/fabric
	state  network
}

// FabricConfig says which network.
type FabricConfig struct {
	Dir          string
	Endorsement  Endorsement   // TwoOfThree if ""
	BatchTimeout time.Duration // how long a block waits for more transactions; 200 ms if 0
	TimeWindow   time.Duration // how far a proposal's time may be from the peers' clocks; core.yaml's 2 minutes if 0
	BasePort     int           // the network takes 100 ports from here on; free ones if 0
	Probes       bool          // deploys the conformance suite's contracts, too
	Tied         bool          // see NewProcesses
	Say          Say           // hears of each step; may be nil
}

// StartFabric makes a network, or starts one that is there with all that it holds, and returns when it can be used: every
// organisation's endorsers are found and answer. What runs already goes on. An existing network keeps its ports; another
// endorsement policy or batch timeout than it has is an error.
func StartFabric(ctx context.Context, config FabricConfig) (*Fabric, error) {
	say := config.Say
	if say == nil {
		say = func(string, ...any) {}
	}
	if err := claim(config.Dir); err != nil {
		return nil, err
	}
	f, unlock, err := openLocked(ctx, config.Dir, config.Tied)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := f.equip(ctx, say); err != nil {
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

// OpenFabric is the network in a folder, running or not, that StartFabric has made.
func OpenFabric(dir string) (*Fabric, error) {
	f, err := open(dir, false)
	if err != nil {
		return nil, err
	}
	if !f.state.Complete {
		return nil, fmt.Errorf("the network in %s never came up: start it to have it made anew", dir)
	}
	if f.state.Hosts {
		return nil, fmt.Errorf("the servers of the network in %s are hosts of their own, not processes here", dir)
	}
	return f, f.equip(context.Background(), func(string, ...any) {})
}

// equip finds what a network is made with in CardFlow's source: Fabric's programs, and the definition.
func (f *Fabric) equip(ctx context.Context, say Say) error {
	root, err := Root()
	if err != nil {
		return err
	}
	f.source = filepath.Join(root, "configs", "fabric")
	f.tools, err = fabricTools(ctx, say)
	return err
}

// Dir is the network's folder.
func (f *Fabric) Dir() string { return f.dir }

func (f *Fabric) path(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

func (f *Fabric) crypto() string { return f.path("crypto-config") }

// settle brings together what is asked for and what is there.
func (f *Fabric) settle(config FabricConfig) error {
	timeout := ""
	if config.BatchTimeout != 0 {
		timeout = config.BatchTimeout.String()
	}
	if f.state.Complete {
		switch {
		case f.state.Hosts:
			return fmt.Errorf("the servers of the network in %s are hosts of their own, not processes here", f.dir)
		case f.state.Fabric != fabricVersion:
			return fmt.Errorf("the network in %s is of Fabric %s, this is %s: remove it", f.dir, f.state.Fabric, fabricVersion)
		case config.Endorsement != "" && slices.ContainsFunc(f.state.Chaincodes, func(c chaincode) bool {
			return slices.Contains(contracts, c.Name) && c.Endorsement != config.Endorsement
		}):
			return fmt.Errorf("the contracts in %s are not endorsed by %s: upgrade them", f.dir, config.Endorsement)
		case timeout != "" && timeout != f.state.BatchTimeout:
			return fmt.Errorf("the network in %s has a batch timeout of %s: remove it to have another", f.dir, f.state.BatchTimeout)
		case config.BasePort != 0 && config.BasePort != f.state.BasePort:
			return fmt.Errorf("the network in %s has its ports from %d on: remove it to have others", f.dir, f.state.BasePort)
		}
		return nil
	}
	f.state = network{Fabric: fabricVersion, Endorsement: config.Endorsement, BatchTimeout: timeout, BasePort: config.BasePort}
	if config.TimeWindow != 0 {
		f.state.TimeWindow = config.TimeWindow.String()
	}
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
	if err := f.save(); err != nil {
		return err
	}
	for _, sub := range []string{"run", "log", "config", "bin", "chaincode", "data", "tmp"} {
		if err := os.MkdirAll(f.path(sub), 0o700); err != nil {
			return err
		}
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
	host, _, _ := strings.Cut(leader, ".")
	say("all have joined channel %s, %s leads", Channel, host)
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

// stopGrace is how long servers may take to end.
const stopGrace = 20 * time.Second

func (f *Fabric) stopAll() error { return f.procs.Stop(stopGrace) }

// Kill ends one server with SIGKILL, as a crash would, and returns when it is gone.
func (f *Fabric) Kill(name string) error { return f.procs.Kill(name) }

// Stop asks one server to end, and returns when it has.
func (f *Fabric) Stop(name string) error { return f.procs.Stop(stopGrace, name) }

// Start starts one server that does not run and returns when it listens. A peer still has to fetch the blocks that it has
// missed, see Height and WaitUsable.
func (f *Fabric) Start(ctx context.Context, name string) error {
	for _, s := range f.Servers() {
		if s.Name == name {
			return f.start(ctx, s)
		}
	}
	return fmt.Errorf("the network has no server %q", name)
}

// StopAll stops every server. Keys and data stay.
func (f *Fabric) StopAll() error { return f.stopAll() }

// StartAll starts every server that does not run, and waits until the network can be used.
func (f *Fabric) StartAll(ctx context.Context) error {
	return f.restart(ctx, func(string, ...any) {})
}

// Running reports whether a server runs.
func (f *Fabric) Running(name string) bool { return f.procs.Running(name) }

// Log is the file of what a server says.
func (f *Fabric) Log(name string) string { return f.procs.Log(name) }

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
	if err := f.procs.Start(f.process(s)); err != nil && !errors.Is(err, ErrRunning) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f.procs.WaitFor(ctx, s.Name, func() error {
		ports := []int{s.Port}
		if s.operations != 0 {
			ports = append(ports, s.operations)
		}
		if s.Kind == KindOrderer {
			ports = append(ports, s.admin) // which an orderer opens last
		}
		for _, port := range ports {
			if err := Listening(Address(port)); err != nil {
				return err
			}
		}
		return nil
	})
}

// patience is how long a step of a network may take on a machine that has much else to do.
const patience = 2 * time.Minute

// Profile is the file of the network's connection profile.
func (f *Fabric) Profile() string { return f.path("connection.yaml") }
