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
	"time"

	"golang.org/x/sync/errgroup"
)

// HostsConfig says which network of hosts.
type HostsConfig struct {
	Dir          string        // all keys and certificates, the genesis block, the chaincodes' packages
	Identities   string        // MakeHosts: a folder for each host, by its name, with what it needs and nothing else
	Endorsement  Endorsement   // TwoOfThree if ""
	BatchTimeout time.Duration // how long a block waits for more transactions; 200 ms if 0
	Tools        string        // folder of Fabric's programs; built from the source that this runs in if ""
	Definition   string        // configs/fabric; of the source that this runs in if ""
	Say          Say           // hears of each step; may be nil
}

// The hosts that aren't Fabric's: CardFlow's server, which gets its identity and the connection profile, its custodian, and the
// engines, which get certificates.
const (
	gatewayHost   = "server"
	custodianHost = "custodian"
	mysqlHost     = "mysql"
	redisHost     = "redis"
)

// MakeHosts makes what a network of hosts needs before it starts: three organisations' keys and certificates, the genesis
// block, a package and a certificate for each chaincode server. The hosts have the names and ports of configs/fabric and
// run whatever runs hosts: the containers of docker-compose.yml, machines. It is what StartFabric does for a network on
// loopback, by the same code.
//
// A network that is there stays as it is, and its hosts get what they have once more: someone may have lost it, and
// core.yaml or orderer.yaml may be newer. What a crash left unfinished is made anew; nobody has had anything of it.
func MakeHosts(ctx context.Context, config HostsConfig) error {
	if err := claim(config.Dir); err != nil {
		return err
	}
	f, unlock, err := openHosts(ctx, &config)
	if err != nil {
		return err
	}
	defer unlock()
	if f.state.Complete {
		if config.Endorsement != "" && config.Endorsement != f.state.Endorsement {
			return fmt.Errorf("the network in %s endorses by %s", f.dir, f.state.Endorsement)
		}
		config.Say("keys, certificates and genesis block are there")
	} else {
		if err := f.makeHosts(ctx, config); err != nil {
			return err
		}
		config.Say("keys, certificates and genesis block are made, %s", f.state.Endorsement)
	}
	if err := f.writeNodeConfigs(); err != nil {
		return err
	}
	if err := f.handOut(config.Identities); err != nil {
		return err
	}
	config.Say("every host has what it needs")
	return nil
}

// openHosts opens a network of hosts and completes its configuration.
func openHosts(ctx context.Context, config *HostsConfig) (*Fabric, func(), error) {
	if config.Say == nil {
		config.Say = func(string, ...any) {}
	}
	f, unlock, err := openLocked(ctx, config.Dir, false)
	if err != nil {
		return nil, nil, err
	}
	if f.state.Complete && !f.state.Hosts {
		err = fmt.Errorf("the network in %s consists of processes of this machine", f.dir)
	} else if config.Tools == "" || config.Definition == "" {
		err = f.equip(ctx, config.Say)
	}
	if err != nil {
		unlock()
		return nil, nil, err
	}
	if config.Tools != "" {
		f.tools = config.Tools
	}
	if config.Definition != "" {
		f.source = config.Definition
	}
	return f, unlock, nil
}

func (f *Fabric) makeHosts(ctx context.Context, config HostsConfig) error {
	if err := f.clear(); err != nil {
		return err
	}
	for _, sub := range []string{"run", "log", "config", "chaincode", "tmp"} {
		if err := os.MkdirAll(f.path(sub), 0o700); err != nil {
			return err
		}
	}
	f.state = network{}
	if err := f.settle(FabricConfig{Endorsement: config.Endorsement, BatchTimeout: config.BatchTimeout}); err != nil {
		return err
	}
	f.state.Hosts = true
	if err := f.writeConfig(ctx); err != nil {
		return err
	}
	for _, name := range contracts {
		c, err := f.define(name, 1, f.state.Endorsement, nil)
		if err == nil {
			err = f.packAll(&c)
		}
		if err != nil {
			return err
		}
		f.state.Chaincodes = append(f.state.Chaincodes, c)
	}
	for _, host := range []string{mysqlHost, redisHost} {
		dir := f.path("engines", host)
		if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700), certify(dir, host)); err != nil {
			return err
		}
	}
	f.state.Complete = true
	return f.save()
}

// handOut gives each host its identity, and the certificates by which it knows others. No CA's key and no administrator's
// leaves this folder.
func (f *Fabric) handOut(identities string) error {
	to := func(host string, elem ...string) string {
		return filepath.Join(append([]string{identities, host}, elem...)...)
	}
	for _, s := range f.Servers() {
		if err := copyTree(s.folder, to(s.Name), 0); err != nil {
			return err
		}
		if s.Kind != KindChaincode {
			continue
		}
		id := []byte(s.chaincode.PackageIDs[s.org.msp] + "\n")
		if err := errors.Join(
			copyFile(filepath.Join(f.peerOf(s.org).folder, "tls", "ca.crt"), to(s.Name, "client-ca.crt"), 0),
			writeFile(to(s.Name, "package.id"), id, 0o600),
		); err != nil {
			return err
		}
	}
	var faults []error
	gateway := func(path string) { // by the same paths as here, which are those of the profile
		path, err := filepath.Rel(f.dir, path)
		faults = append(faults, err, copyFile(f.path(path), to(gatewayHost, path), 0))
	}
	gateway(f.Profile())
	gateway(filepath.Join(f.crypto(), "ordererOrganizations", ordererDomain, "tlsca", "tlsca."+ordererDomain+"-cert.pem"))
	for _, o := range organisations {
		gateway(filepath.Join(o.folder(f.crypto()), "tlsca", "tlsca."+o.domain+"-cert.pem"))
	}
	// Its own identity, by the names in configs/production.yaml.
	user := platform.userMSP(f.crypto(), "User1")
	faults = append(faults,
		copyFile(filepath.Join(user, "signcerts", "User1@"+platform.domain+"-cert.pem"), to(gatewayHost, "user1-cert.pem"), 0),
		copyFile(filepath.Join(user, "keystore", "priv_sk"), to(gatewayHost, "user1-key.pem"), 0))
	// The custodian has a user of its own, too, and nothing to do with the ledger.
	faults = append(faults, copyFile(f.path("engines", mysqlHost, caFile), to(custodianHost, mysqlHost+"-"+caFile), 0o040))
	for _, host := range []string{mysqlHost, redisHost} {
		faults = append(faults,
			copyFile(f.path("engines", host, caFile), to(gatewayHost, host+"-"+caFile), 0),
			// The images of the engines have users of their own, which are given this folder's group.
			copyTree(f.path("engines", host), to(host), 0o040))
	}
	return errors.Join(faults...)
}

// copyTree copies a file or a folder of files. Those that are there are replaced, each as a whole; what else is there
// stays. Permissions are added to the source's.
func copyTree(from, to string, also os.FileMode) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o750)
		}
		return copyFile(path, filepath.Join(to, rel), also)
	})
}

func copyFile(from, to string, also os.FileMode) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	return writeFile(to, text, info.Mode().Perm()|also)
}

// JoinHosts makes the hosts of a network that MakeHosts has made a channel: orderers and peers join it, the chaincodes are
// installed, approved by each organisation and committed. What has been done already is left as it is, so a crash at any
// point is mended by another call. It returns when every peer answers and finds all endorsers.
func JoinHosts(ctx context.Context, config HostsConfig) error {
	f, unlock, err := openHosts(ctx, &config)
	if err != nil {
		return err
	}
	defer unlock()
	if !f.state.Complete {
		return fmt.Errorf("the network in %s was never finished: make it", f.dir)
	}
	return f.joinHosts(ctx, config.Say)
}

func (f *Fabric) joinHosts(ctx context.Context, say Say) error {
	group, ctx2 := errgroup.WithContext(ctx)
	for _, s := range f.servers(KindOrderer) {
		group.Go(func() error {
			joined, err := f.ordererHasJoined(ctx2, s)
			if err != nil || joined {
				return err
			}
			return f.joinOrderer(ctx2, s)
		})
	}
	for _, o := range organisations {
		group.Go(func() error {
			if f.peer(ctx2, o, "channel", "getinfo", "-c", Channel) == nil {
				return nil
			}
			return f.peer(ctx2, o, "channel", "join", "-b", f.genesis())
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	leader, err := f.waitForLeader(ctx)
	if err != nil {
		return err
	}
	say("all have joined channel %s, %s leads", Channel, leader)
	deploying, ctx3 := errgroup.WithContext(ctx)
	for _, c := range f.state.Chaincodes {
		deploying.Go(func() error { return f.deployOnHosts(ctx3, c) })
	}
	if err := deploying.Wait(); err != nil {
		return err
	}
	say("%s are deployed, %s", strings.Join(contracts, " and "), f.state.Endorsement)
	return f.waitUsable(ctx, say, f.state.Chaincodes)
}

func (f *Fabric) ordererHasJoined(ctx context.Context, s Server) (bool, error) {
	out, err := f.osnadmin(ctx, s, "list", "--channelID", Channel)
	switch {
	case err != nil:
		return false, err
	case strings.Contains(out, "Status: 200"): // its exit status is 0 whatever the orderer says
		return true, nil
	case strings.Contains(out, "Status: 404"):
		return false, nil
	}
	return false, fmt.Errorf("%s does not say whether it has joined: %s", s.Name, strings.TrimSpace(out))
}

// deployOnHosts brings a chaincode from wherever an earlier try has got to its end.
func (f *Fabric) deployOnHosts(ctx context.Context, c chaincode) error {
	query := func(o organisation, what string, args ...string) (string, error) {
		return f.output(ctx, f.peerEnv(o), "peer", slices.Concat([]string{"lifecycle", "chaincode", what, "--output", "json"}, args)...)
	}
	named := []string{"--channelID", Channel, "--name", c.Name}
	if _, err := query(carrier, "querycommitted", named...); err == nil {
		return nil
	}
	sequence := []string{"--sequence", strconv.Itoa(c.Sequence)}
	group, ctx2 := errgroup.WithContext(ctx)
	for _, o := range organisations {
		group.Go(func() error {
			there, err := query(o, "queryinstalled")
			if err != nil {
				return err
			}
			if !strings.Contains(there, strconv.Quote(c.PackageIDs[o.msp])) {
				if err := f.install(ctx2, c, o); err != nil {
					return err
				}
			}
			if _, err := query(o, "queryapproved", slices.Concat(named, sequence)...); err == nil {
				return nil
			}
			return f.approve(ctx2, c, o)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return f.commit(ctx, c)
}
