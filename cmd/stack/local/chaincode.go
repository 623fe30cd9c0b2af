package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"cardflow/cmd/chaincode/pack"
)

// The chaincodes that this package can deploy.
var (
	contracts = []string{"identity", "ownership"}
	probes    = []string{"probe", "probe-inner"} // of the conformance suite; they do whatever anybody tells them
)

// program builds the servers of a chaincode: name and package.
func program(name string) (program, pkg string, err error) {
	switch {
	case slices.Contains(contracts, name):
		return "chaincode", "cmd/chaincode", nil
	case slices.Contains(probes, name):
		return "probes", "cmd/chaincode/probes", nil
	}
	return "", "", fmt.Errorf("there is no chaincode %q", name)
}

// chaincode is a chaincode of the channel, in the version that is committed.
type chaincode struct {
	Name        string            `json:"name"`
	Sequence    int               `json:"sequence"` // 1, and one more with each upgrade; it is also the version's name
	Endorsement Endorsement       `json:"endorsement"`
	Program     string            `json:"program"`    // in bin/
	Ports       map[string]int    `json:"ports"`      // of its servers, by MSP ID
	PackageIDs  map[string]string `json:"packageIds"` // by MSP ID
}

// label names a package for people. Its part before the underscore is the contract.
func (c chaincode) label() string { return c.Name + "_" + strconv.Itoa(c.Sequence) }

// host is the name of a chaincode's server in an organisation. An upgrade's runs beside the old one for a while.
func (c chaincode) host(o organisation) string {
	if c.Sequence == 1 {
		return c.Name + "." + o.domain
	}
	return c.Name + "-" + strconv.Itoa(c.Sequence) + "." + o.domain
}

func (f *Fabric) packageFile(c chaincode, o organisation) string {
	return f.path("chaincode", o.domain, c.label()+".tgz")
}

// build builds the programs of chaincodes.
func (f *Fabric) build(ctx context.Context, chaincodes ...chaincode) error {
	built := map[string]bool{}
	for _, c := range chaincodes {
		name, pkg, err := program(c.Name)
		if err != nil {
			return err
		}
		if built[name] {
			continue
		}
		if err := buildProgram(ctx, pkg, f.path("bin", name)); err != nil {
			return err
		}
		built[name] = true
	}
	return nil
}

// deployMissing deploys those of the chaincodes that aren't, side by side, and waits until all can be used.
func (f *Fabric) deployMissing(ctx context.Context, say Say, names ...string) error {
	var missing []chaincode
	for _, name := range names {
		if slices.ContainsFunc(f.state.Chaincodes, func(c chaincode) bool { return c.Name == name }) {
			continue
		}
		c, err := f.define(name, 1, f.state.Endorsement, missing)
		if err != nil {
			return err
		}
		missing = append(missing, c)
	}
	if len(missing) == 0 {
		return nil
	}
	if err := f.build(ctx, missing...); err != nil {
		return err
	}
	var deployed []string
	for _, c := range missing {
		deployed = append(deployed, c.Name)
	}
	deploying, ctx2 := errgroup.WithContext(ctx)
	for i := range missing {
		deploying.Go(func() error { return f.deploy(ctx2, &missing[i]) })
	}
	if err := deploying.Wait(); err != nil {
		return err
	}
	say("%s deployed, %s", strings.Join(deployed, ", "), f.state.Endorsement)
	f.state.Chaincodes = append(f.state.Chaincodes, missing...)
	if err := f.save(); err != nil {
		return err
	}
	return f.waitUsable(ctx, say, missing)
}

// Upgrade replaces a chaincode by the one that is built from the source as it is now, under an endorsement policy that may
// be another: packages, approvals of every organisation, one commit with the next sequence number. The old servers are
// stopped when the new ones have taken over.
func (f *Fabric) Upgrade(ctx context.Context, name string, endorsement Endorsement) error {
	unlock, err := lock(ctx, f.path(lockFile))
	if err != nil {
		return err
	}
	defer unlock()
	at := slices.IndexFunc(f.state.Chaincodes, func(c chaincode) bool { return c.Name == name })
	if at < 0 {
		return fmt.Errorf("chaincode %q is not deployed", name)
	}
	old := f.state.Chaincodes[at]
	c, err := f.define(name, old.Sequence+1, endorsement, nil)
	if err != nil {
		return err
	}
	if err := f.build(ctx, c); err != nil {
		return err
	}
	if err := f.deploy(ctx, &c); err != nil {
		return err
	}
	f.state.Chaincodes[at] = c
	if err := f.save(); err != nil {
		return err
	}
	if err := f.waitUsable(ctx, func(string, ...any) {}, []chaincode{c}); err != nil {
		return err
	}
	for _, o := range organisations {
		if err := f.procs.Stop(stopGrace, old.host(o)); err != nil {
			return err
		}
	}
	return nil
}

// define chooses the ports of a chaincode that is about to be deployed.
func (f *Fabric) define(name string, sequence int, e Endorsement, also []chaincode) (chaincode, error) {
	program, _, err := program(name)
	if err != nil {
		return chaincode{}, err
	}
	c := chaincode{Name: name, Sequence: sequence, Endorsement: e, Program: program, Ports: map[string]int{}, PackageIDs: map[string]string{}}
	if f.state.Hosts {
		for _, o := range organisations {
			c.Ports[o.msp] = portsOfHost[KindChaincode].service
		}
		return c, nil
	}
	taken := map[int]bool{}
	for _, other := range slices.Concat(f.state.Chaincodes, also) {
		for _, port := range other.Ports {
			taken[port] = true
		}
	}
	port := f.state.BasePort + (orderers+len(organisations))*portsOfNode
	for _, o := range organisations {
		for taken[port] {
			port++
		}
		if port >= f.state.BasePort+portsOfNetwork {
			return c, errors.New("the network has no port left for chaincodes")
		}
		c.Ports[o.msp], taken[port] = port, true
	}
	return c, nil
}

// deploy does what the administrators of three organisations would do together: each packages the address of its own
// server, installs that on its peer, runs the server, approves; one commits.
func (f *Fabric) deploy(ctx context.Context, c *chaincode) error {
	if err := f.packAll(c); err != nil {
		return err
	}
	group, ctx2 := errgroup.WithContext(ctx)
	group.Go(func() error { return f.startServers(ctx2, *c) })
	for _, o := range organisations {
		group.Go(func() error {
			if err := f.install(ctx2, *c, o); err != nil {
				return err
			}
			return f.approve(ctx2, *c, o)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return f.commit(ctx, *c)
}

// packAll makes the package of each organisation, and the certificate of its server.
func (f *Fabric) packAll(c *chaincode) (err error) {
	for _, o := range organisations {
		s := f.serverOf(*c, o)
		if err := chaincodeCertificate(o, f.crypto(), s.Name, s.folder); err != nil {
			return err
		}
		if c.PackageIDs[o.msp], err = f.pack(*c, o); err != nil {
			return err
		}
	}
	return nil
}

// definition is what the organisations agree upon.
func (f *Fabric) definition(c chaincode) ([]string, error) {
	policy, err := c.Endorsement.Policy()
	return []string{
		"--channelID", Channel, "--name", c.Name, "--version", strconv.Itoa(c.Sequence), "--sequence", strconv.Itoa(c.Sequence),
		"--signature-policy", policy,
	}, err
}

func (f *Fabric) install(ctx context.Context, c chaincode, o organisation) error {
	return f.peer(ctx, o, "lifecycle", "chaincode", "install", f.packageFile(c, o))
}

func (f *Fabric) approve(ctx context.Context, c chaincode, o organisation) error {
	definition, err := f.definition(c)
	if err != nil {
		return err
	}
	return f.peer(ctx, o, slices.Concat(
		[]string{"lifecycle", "chaincode", "approveformyorg"}, f.toOrderer(), definition, []string{"--package-id", c.PackageIDs[o.msp]})...)
}

func (f *Fabric) commit(ctx context.Context, c chaincode) error {
	definition, err := f.definition(c)
	if err != nil {
		return err
	}
	args := slices.Concat([]string{"lifecycle", "chaincode", "commit"}, f.toOrderer(), definition)
	for _, o := range organisations {
		p := f.peerOf(o)
		args = append(args, "--peerAddresses", p.at(p.Port), "--tlsRootCertFiles", filepath.Join(p.folder, "tls", "ca.crt"))
	}
	return f.peer(ctx, carrier, args...)
}

// serverOf is an organisation's server of a chaincode.
func (f *Fabric) serverOf(c chaincode, o organisation) Server {
	name := c.host(o)
	return Server{
		Name: name, Kind: KindChaincode, Host: f.hostOf(name), Port: c.Ports[o.msp], org: o, chaincode: c,
		folder: filepath.Join(o.folder(f.crypto()), "chaincodes", name),
	}
}

// startServers starts a chaincode's servers that don't run, one in each organisation.
func (f *Fabric) startServers(ctx context.Context, c chaincode) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, o := range organisations {
		group.Go(func() error { return f.start(ctx, f.serverOf(c, o)) })
	}
	return group.Wait()
}

// pack writes an organisation's package of a chaincode, and answers its ID.
func (f *Fabric) pack(c chaincode, o organisation) (id string, err error) {
	tls := filepath.Join(f.peerOf(o).folder, "tls")
	server := f.serverOf(c, o)
	connection := pack.Connection{Address: server.at(server.Port), Host: server.Name}
	for file, into := range map[string]*[]byte{"ca.crt": &connection.RootCA, "server.crt": &connection.ClientCert, "server.key": &connection.ClientKey} {
		if *into, err = os.ReadFile(filepath.Join(tls, file)); err != nil {
			return "", err
		}
	}
	text, id, err := pack.Chaincode(c.label(), connection)
	if err != nil {
		return "", err
	}
	path := f.packageFile(c, o)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return id, writeFile(path, text, 0o600)
}
