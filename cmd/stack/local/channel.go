package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"
)

// writeConfig makes everything that has to be there before the first node starts: the files of configs/fabric with this
// network's addresses, keys and certificates, the genesis block.
func (f *Fabric) writeConfig(ctx context.Context) error {
	source := f.source
	if err := os.CopyFS(f.path("config", "ccaas"), os.DirFS(filepath.Join(source, "ccaas"))); err != nil {
		return err
	}
	if err := f.run(ctx, f.env(source), "cryptogen", "generate", "--config="+filepath.Join(source, "crypto-config.yaml"), "--output="+f.crypto()); err != nil {
		return err
	}
	if err := lowerRoots(f.crypto()); err != nil {
		return err
	}
	if err := f.writeNodeConfigs(); err != nil {
		return err
	}
	if err := f.writeConfigtx(filepath.Join(source, "configtx.yaml")); err != nil {
		return err
	}
	if err := f.writeProfile(filepath.Join(source, "connection.yaml")); err != nil {
		return err
	}
	return f.run(ctx, f.env(f.path("config")), "configtxgen", "-configPath", f.path("config"), "-profile", "CardFlow", "-channelID", Channel, "-outputBlock", f.genesis())
}

// writeNodeConfigs puts core.yaml or orderer.yaml beside each node's identity.
func (f *Fabric) writeNodeConfigs() error {
	for kind, name := range map[Kind]string{KindOrderer: "orderer.yaml", KindPeer: "core.yaml"} {
		text, err := os.ReadFile(filepath.Join(f.source, name))
		if err != nil {
			return err
		}
		for _, s := range f.servers(kind) {
			if err := writeFile(filepath.Join(s.folder, name), text, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Fabric) genesis() string { return f.path("config", Channel+".block") }

// addresses are where the hosts of configs/fabric are in this network.
func (f *Fabric) addresses() map[string]Server {
	at := map[string]Server{}
	for _, s := range f.Servers() {
		if s.Kind != KindChaincode {
			at[net.JoinHostPort(s.Name, strconv.Itoa(portsOfHost[s.Kind].service))] = s
		}
	}
	return at
}

// writeConfigtx writes configtx.yaml with this network's addresses, paths and batch timeout.
func (f *Fabric) writeConfigtx(source string) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	var whole any
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	servers, seen := f.addresses(), map[string]bool{}
	var walk func(node any) any
	walk = func(node any) any {
		switch n := node.(type) {
		case map[string]any:
			if host, ok := n["Host"].(string); ok {
				at := fmt.Sprintf("%s:%v", host, n["Port"])
				if s, ok := servers[at]; ok {
					seen[at] = true
					n["Host"], n["Port"] = s.Host, s.Port
				}
			}
			for key, value := range n {
				n[key] = walk(value)
				if key == "BatchTimeout" {
					n[key] = f.state.BatchTimeout
				}
			}
		case []any:
			for i := range n {
				n[i] = walk(n[i])
			}
		case string:
			if s, ok := servers[n]; ok {
				seen[n] = true
				return s.at(s.Port)
			}
			if strings.HasPrefix(n, "crypto-config/") {
				return f.path(filepath.FromSlash(n))
			}
		}
		return node
	}
	whole = walk(whole)
	if len(seen) != len(servers) {
		return fmt.Errorf("%s: of %d nodes only %d are in it", source, len(servers), len(seen))
	}
	out, err := yaml.Marshal(whole)
	if err != nil {
		return err
	}
	head := "# Made from configs/fabric/configtx.yaml, with the addresses of this network.\n"
	return writeFile(f.path("config", "configtx.yaml"), append([]byte(head), out...), 0o644)
}

// writeProfile writes the connection profile with this network's addresses.
func (f *Fabric) writeProfile(source string) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	profile := string(text)
	for at, s := range f.addresses() {
		if !strings.Contains(profile, at) {
			return fmt.Errorf("%s: %s is not in it", source, at)
		}
		profile = strings.ReplaceAll(profile, at, s.at(s.Port))
	}
	return writeFile(f.path("connection.yaml"), []byte(profile), 0o644)
}

// join has every orderer and every peer join the channel.
func (f *Fabric) join(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range f.servers(KindOrderer) {
		group.Go(func() error { return f.joinOrderer(ctx, s) })
	}
	for _, o := range organisations {
		group.Go(func() error { return f.peer(ctx, o, "channel", "join", "-b", f.genesis()) })
	}
	return group.Wait()
}

func (f *Fabric) joinOrderer(ctx context.Context, s Server) error {
	out, err := f.osnadmin(ctx, s, "join", "--channelID", Channel, "--config-block", f.genesis())
	if err != nil {
		return err
	}
	if !strings.Contains(out, "Status: 201") { // its exit status is 0 whatever the orderer says
		return fmt.Errorf("%s does not join: %s", s.Name, strings.TrimSpace(out))
	}
	return nil
}

// osnadmin runs the channel command of an orderer's administrator. Its exit status says nothing of the orderer's answer.
func (f *Fabric) osnadmin(ctx context.Context, s Server, command string, args ...string) (string, error) {
	tls := filepath.Join(s.folder, "tls")
	return f.output(ctx, f.env(s.folder), "osnadmin", slices.Concat([]string{"channel", command}, args, []string{
		"-o", s.at(s.admin), "--ca-file", filepath.Join(tls, "ca.crt"),
		"--client-cert", filepath.Join(tls, "server.crt"), "--client-key", filepath.Join(tls, "server.key"),
	})...)
}

// toOrderer are the flags by which the peer command finds an orderer.
func (f *Fabric) toOrderer() []string {
	s := f.servers(KindOrderer)[0]
	return []string{"-o", s.at(s.Port), "--tls", "--cafile", filepath.Join(s.folder, "tls", "ca.crt")}
}

// PeerCommand is the peer command as an organisation's administrator, on its peer: the program, and its environment. The
// organisation is carrier, platform or regulator.
func (f *Fabric) PeerCommand(organisation string) (path string, env []string, err error) {
	for _, o := range organisations {
		if strings.EqualFold(o.name, organisation) {
			return filepath.Join(f.tools, "peer"), f.peerEnv(o), nil
		}
	}
	return "", nil, fmt.Errorf("the network has no organisation %q", organisation)
}

// peer runs the peer command as an organisation's administrator, on its peer.
func (f *Fabric) peer(ctx context.Context, o organisation, args ...string) error {
	return f.run(ctx, f.peerEnv(o), "peer", args...)
}

func (f *Fabric) peerEnv(o organisation) []string {
	p := f.peerOf(o)
	return append(f.env(p.folder),
		"CORE_PEER_LOCALMSPID="+o.msp,
		"CORE_PEER_MSPCONFIGPATH="+o.userMSP(f.crypto(), "Admin"),
		"CORE_PEER_ADDRESS="+p.at(p.Port),
	)
}

// run runs one of Fabric's commands.
func (f *Fabric) run(ctx context.Context, env []string, name string, args ...string) error {
	_, err := f.output(ctx, env, name, args...)
	return err
}

// output runs one of Fabric's commands and returns its standard output; an error has all that it said. Each is written to log/commands.log so that a person can
// do it again.
func (f *Fabric) output(ctx context.Context, env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	cmd := exec.CommandContext(ctx, filepath.Join(f.tools, name), args...)
	cmd.Env, cmd.Dir = env, f.dir
	cmd.WaitDelay = time.Second
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	said := strings.TrimSpace(complaints.String() + out.String())
	if ctx.Err() != nil {
		err = errors.Join(err, context.Cause(ctx))
	}
	line := &strings.Builder{}
	for _, variable := range env {
		if strings.HasPrefix(variable, "CORE_") || strings.HasPrefix(variable, "FABRIC_CFG") {
			fmt.Fprintf(line, "%s ", variable)
		}
	}
	fmt.Fprint(line, name)
	for _, a := range args {
		if strings.ContainsAny(a, " '()") {
			a = strconv.Quote(a)
		}
		fmt.Fprintf(line, " %s", a)
	}
	fmt.Fprintf(line, "\n# %.1f s, %v\n%s\n", time.Since(begun).Seconds(), err, said[:min(len(said), 4000)])
	if e := appendFile(f.path("log", "commands.log"), line.String()); e != nil {
		return "", errors.Join(err, e)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args[:min(3, len(args))], " "), err, said)
	}
	return out.String(), nil
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
