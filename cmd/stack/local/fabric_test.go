//go:build stack

package local_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
	"cardflow/ledger/ledgertest"
)

// fabric is the network of TestFabric.
type fabric struct {
	*local.Fabric
	t *testing.T
}

const (
	carrierPeer   = "peer0.carrier.cardflow.example"
	platformPeer  = "peer0.platform.cardflow.example"
	regulatorPeer = "peer0.regulator.cardflow.example"
)

// TestFabric is the life of one network, from a first try that is interrupted to its removal. The parts build on each
// other: making a network is what takes time.
func TestFabric(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net work") // a space in a path is what breaks scripts
	t.Cleanup(func() {
		if err := local.StopTree(filepath.Dir(dir), 0); err != nil {
			t.Error(err)
		}
	})
	if !t.Run("interrupted", func(t *testing.T) { interrupted(t, dir) }) {
		return
	}
	f := &fabric{t: t}
	if !t.Run("up", func(t *testing.T) { f.Fabric = up(t, dir) }) {
		return
	}
	for _, each := range []struct {
		name string
		test func(*testing.T, *fabric)
	}{
		{"status", testStatus},
		{"loopback only", testLoopback},
		{"TLS everywhere", testTLS},
		{"stale proposals", testStale},
		{"a peer is killed", testPeerKilled},
		{"the leader is killed", testLeaderKilled},
		{"a chaincode server is killed", testChaincodeKilled},
		{"upgrade to 3-of-3", testThreeOfThree},
		{"stop and start", testRestart},
		{"remove", testRemove},
	} {
		if !t.Run(each.name, func(t *testing.T) { each.test(t, &fabric{f.Fabric, t}) }) {
			t.Fatalf("what follows needs what failed; logs: %s", logs(dir))
		}
	}
}

// logs is the end of each log.
func logs(dir string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "log", "*.log"))
	var b strings.Builder
	for _, file := range files {
		text, _ := os.ReadFile(file)
		fmt.Fprintf(&b, "\n== %s\n%s", filepath.Base(file), text[max(0, len(text)-1500):])
	}
	return b.String()
}

func up(t *testing.T, dir string) *local.Fabric {
	t.Helper()
	f, err := local.StartFabric(late(t), local.FabricConfig{Dir: dir, Probes: true, Tied: true, Say: t.Logf})
	if err != nil {
		t.Fatalf("%v; logs: %s", err, logs(dir))
	}
	return f
}

// late is for what may have to build Fabric first.
func late(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// interrupted: somebody presses Ctrl-C half way. Nothing runs afterwards, and the next try begins anew.
func interrupted(t *testing.T, dir string) {
	ctx, cancel := context.WithCancel(late(t))
	_, err := local.StartFabric(ctx, local.FabricConfig{Dir: dir, Tied: true, Say: func(format string, args ...any) {
		if strings.Contains(format, "listen") {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	p, err := local.NewProcesses(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := p.Names(); err != nil || len(left) != 0 {
		t.Errorf("these still run: %v, %v", left, err)
	}
	if _, err := local.OpenFabric(dir); err == nil {
		t.Error("half a network was opened")
	}
}

// put writes a key through the probe, endorsed by these peers.
func (f *fabric) put(contract, key, value string, endorsers ...string) error {
	args := []string{"chaincode", "invoke", "-C", local.Channel, "-n", contract, "--waitForEvent", "-c", input(ledgertest.Put(key, value))}
	for _, s := range f.Servers() {
		if s.Kind == local.KindOrderer && f.Running(s.Name) {
			args = append(args, "-o", local.Address(s.Port), "--tls", "--cafile", f.caOf(s.Name))
			break
		}
	}
	for _, s := range f.Servers() {
		if slices.Contains(endorsers, s.Name) {
			args = append(args, "--peerAddresses", local.Address(s.Port), "--tlsRootCertFiles", f.caOf(s.Name))
		}
	}
	_, err := f.run(args...)
	return err
}

// get reads a key through the probe on the platform's peer.
func (f *fabric) get(key string) string {
	f.t.Helper()
	out, err := f.run("chaincode", "query", "-C", local.Channel, "-n", ledgertest.Outer, "-c", input(ledgertest.Get(key)))
	if err != nil {
		f.t.Fatal(err)
	}
	seen, err := ledgertest.Read([]byte(strings.TrimSpace(out)))
	if err != nil || len(seen) != 1 {
		f.t.Fatalf("answer is %q, %v", out, err)
	}
	return string(seen[0].Value)
}

func input(step []byte) string {
	return fmt.Sprintf(`{"Args":[%q,%s]}`, ledgertest.Script, strconv.Quote(string(step)))
}

// run runs the peer command for the platform.
func (f *fabric) run(args ...string) (string, error) {
	path, env, err := f.PeerCommand("platform")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(soon(f.t), path, args...)
	cmd.Env = env
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("peer %s: %w: %s", args[1], err, complaints.String())
	}
	return string(out), err
}

// caOf is the TLS CA of a node.
func (f *fabric) caOf(node string) string {
	_, domain, _ := strings.Cut(node, ".")
	kind, sub := "peerOrganizations", "peers"
	if strings.HasPrefix(node, "orderer") {
		kind, sub = "ordererOrganizations", "orderers"
	}
	return filepath.Join(f.Dir(), "crypto-config", kind, domain, sub, node, "tls", "ca.crt")
}

// caughtUp waits until a peer has as many blocks as another.
func (f *fabric) caughtUp(peer, as string) {
	f.t.Helper()
	ctx := soon(f.t)
	want, err := f.Height(ctx, as)
	if err == nil {
		err = local.Wait(ctx, func() error {
			have, err := f.Height(ctx, peer)
			if err == nil && have < want {
				err = fmt.Errorf("%s has %d blocks of %d", peer, have, want)
			}
			return err
		})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func testStatus(t *testing.T, f *fabric) {
	var leaders, peers, chaincodes int
	for _, s := range f.Status(soon(t)) {
		if s.Pid == 0 || s.Fault != "" || s.Port == 0 {
			t.Errorf("%s: process %d, port %d, %s", s.Name, s.Pid, s.Port, s.Fault)
		}
		if s.Kind != local.KindChaincode && s.Height < 2 {
			t.Errorf("%s has %d blocks", s.Name, s.Height)
		}
		switch {
		case s.Leader:
			leaders++
		case s.Kind == local.KindPeer:
			peers++
		case s.Kind == local.KindChaincode:
			chaincodes++
		}
	}
	if leaders != 1 || peers != 3 || chaincodes != 4*3 {
		t.Errorf("there are %d leaders, %d peers, %d chaincode servers", leaders, peers, chaincodes)
	}
	if _, err := os.Stat(f.Profile()); err != nil {
		t.Error(err)
	}
	again := up(t, f.Dir()) // that all runs already is no error
	for _, s := range again.Servers() {
		if !f.Running(s.Name) {
			t.Errorf("%s does not run", s.Name)
		}
	}
	if _, err := local.StartFabric(soon(t), local.FabricConfig{Dir: f.Dir(), Endorsement: local.ThreeOfThree}); err == nil {
		t.Error("another policy was taken for this network's")
	}
	if _, err := local.StartFabric(soon(t), local.FabricConfig{Dir: f.Dir(), BatchTimeout: time.Second}); err == nil {
		t.Error("another batch timeout was taken for this network's")
	}
}

func testPeerKilled(t *testing.T, f *fabric) {
	if err := f.put(ledgertest.Outer, "a", "1", carrierPeer, platformPeer, regulatorPeer); err != nil {
		t.Fatal(err)
	}
	if err := f.Kill(regulatorPeer); err != nil {
		t.Fatal(err)
	}
	if f.Running(regulatorPeer) {
		t.Fatal("a killed peer runs")
	}
	if err := f.put(ledgertest.Outer, "a", "2", carrierPeer, platformPeer); err != nil {
		t.Errorf("with one of three down: %v", err)
	}
	for _, s := range f.Status(soon(t)) {
		if (s.Pid == 0) != (s.Name == regulatorPeer) {
			t.Errorf("%s is process %d", s.Name, s.Pid)
		}
	}
	if err := f.Start(soon(t), regulatorPeer); err != nil {
		t.Fatal(err)
	}
	f.caughtUp(regulatorPeer, platformPeer)
	if err := f.WaitUsable(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := f.put(ledgertest.Outer, "a", "3", carrierPeer, regulatorPeer); err != nil {
		t.Errorf("endorsed by the peer that came back: %v", err)
	}
	if got := f.get("a"); got != "3" {
		t.Errorf("a is %q", got)
	}
}

func testLeaderKilled(t *testing.T, f *fabric) {
	old, err := f.Leader(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Kill(old); err != nil {
		t.Fatal(err)
	}
	var leader string
	if err := local.Wait(soon(t), func() (err error) {
		leader, err = f.Leader(soon(t))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if leader == old {
		t.Fatalf("%s leads though it was killed", leader)
	}
	if err := local.Wait(soon(t), func() error { return f.put(ledgertest.Outer, "b", "1", carrierPeer, platformPeer) }); err != nil {
		t.Error(err)
	}
	if err := f.Start(soon(t), old); err != nil {
		t.Fatal(err)
	}
	if got := f.get("b"); got != "1" {
		t.Errorf("b is %q", got)
	}
}

// testChaincodeKilled: the peer finds the server that comes back by itself.
func testChaincodeKilled(t *testing.T, f *fabric) {
	name := "probe.carrier.cardflow.example"
	if err := f.Kill(name); err != nil {
		t.Fatal(err)
	}
	if err := f.put(ledgertest.Outer, "c", "1", carrierPeer, platformPeer); err == nil {
		t.Error("a peer without a chaincode endorsed")
	}
	if err := f.Start(soon(t), name); err != nil {
		t.Fatal(err)
	}
	if err := f.put(ledgertest.Outer, "c", "2", carrierPeer, platformPeer); err != nil {
		t.Error(err)
	}
}

// testThreeOfThree upgrades one chaincode to the stricter policy. The other keeps its own.
func testThreeOfThree(t *testing.T, f *fabric) {
	if err := f.Upgrade(soon(t), ledgertest.Outer, local.ThreeOfThree); err != nil {
		t.Fatal(err)
	}
	if out, err := f.run("lifecycle", "chaincode", "querycommitted", "-C", local.Channel, "-n", ledgertest.Outer); err != nil || !strings.Contains(out, "Sequence: 2") {
		t.Errorf("committed is %s, %v", out, err)
	}
	if f.Running("probe.carrier.cardflow.example") || !f.Running("probe-2.carrier.cardflow.example") {
		t.Error("the old server runs, or the new one doesn't")
	}
	if err := f.put(ledgertest.Outer, "d", "1", carrierPeer, platformPeer); err == nil || !strings.Contains(err.Error(), "ENDORSEMENT_POLICY_FAILURE") {
		t.Errorf("a write that two of three endorsed: %v", err)
	}
	if err := f.put(ledgertest.Outer, "d", "2", carrierPeer, platformPeer, regulatorPeer); err != nil {
		t.Errorf("a write that all endorsed: %v", err)
	}
	if got := f.get("d"); got != "2" {
		t.Errorf("d is %q", got)
	}
	if got := f.get("a"); got != "3" {
		t.Errorf("the upgrade has lost a: %q", got)
	}
	if err := f.put(ledgertest.Inner, "d", "1", carrierPeer, regulatorPeer); err != nil {
		t.Errorf("the other chaincode, by two of three: %v", err)
	}
}

func testRestart(t *testing.T, f *fabric) {
	height, err := f.Height(soon(t), platformPeer)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	var ports []int
	for _, s := range f.Status(soon(t)) {
		pids, ports = append(pids, s.Pid), append(ports, s.Port)
	}
	if err := f.Kill(carrierPeer); err != nil { // one has died before: that must not hinder
		t.Fatal(err)
	}
	if err := local.StopFabric(soon(t), f.Dir()); err != nil {
		t.Fatal(err)
	}
	for i, pid := range pids {
		if local.Listening(local.Address(ports[i])) == nil {
			t.Errorf("port %d answers after the stop", ports[i])
		}
		if text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil && len(text) > 0 && strings.Contains(string(text), f.Dir()) {
			t.Errorf("process %d still runs: %q", pid, text)
		}
	}
	if err := local.StopFabric(soon(t), f.Dir()); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	up(t, f.Dir())
	for i, s := range f.Servers() {
		if s.Port != ports[i] {
			t.Errorf("%s was on port %d and is on %d", s.Name, ports[i], s.Port)
		}
	}
	for _, peer := range []string{carrierPeer, platformPeer, regulatorPeer} {
		if got, err := f.Height(soon(t), peer); err != nil || got < height {
			t.Errorf("%s has %d blocks, %v, and had %d", peer, got, err, height)
		}
	}
	if got := f.get("d"); got != "2" {
		t.Errorf("d is %q", got)
	}
	if err := f.put(ledgertest.Outer, "e", "1", carrierPeer, platformPeer, regulatorPeer); err != nil {
		t.Error(err)
	}
}

func testRemove(t *testing.T, f *fabric) {
	other := filepath.Join(f.Dir(), "notes.txt")
	if err := os.WriteFile(other, []byte("somebody's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := local.RemoveFabric(soon(t), f.Dir()); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(f.Dir())
	if err != nil || len(entries) != 1 || entries[0].Name() != "notes.txt" {
		t.Errorf("left are %v, %v", entries, err)
	}
	for _, s := range f.Servers() {
		if local.Listening(local.Address(s.Port)) == nil {
			t.Errorf("%s still answers", s.Name)
		}
	}
}

// listening are the addresses that a process listens on, of any protocol.
func listening(t *testing.T, pid int) []string {
	t.Helper()
	mine := map[string]bool{} // inodes of its sockets
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && strings.HasPrefix(link, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	var list []string
	for table, state := range map[string]string{"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"} {
		text, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n")[1:] {
			fields := strings.Fields(line)
			if len(fields) < 10 || fields[3] != state || !mine[fields[9]] {
				continue
			}
			host, port, _ := strings.Cut(fields[1], ":")
			bits, err := hex.DecodeString(host)
			if err != nil {
				t.Fatal(err)
			}
			n, err := strconv.ParseUint(port, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			slices.Reverse(bits) // an IPv4 address in the machine's order; of IPv6 only whether it is one matters
			name := fmt.Sprint(bits)
			if len(bits) == 4 {
				name = fmt.Sprintf("%d.%d.%d.%d", bits[0], bits[1], bits[2], bits[3])
			}
			list = append(list, fmt.Sprintf("%s %s:%d", table, name, n))
		}
	}
	return list
}

func testLoopback(t *testing.T, f *fabric) {
	seen := 0
	for _, s := range f.Status(soon(t)) {
		for _, at := range listening(t, s.Pid) {
			seen++
			if !strings.HasPrefix(at, "tcp 127.0.0.1:") {
				t.Errorf("%s listens on %s", s.Name, at)
			}
		}
	}
	if want := 3*3 + 3*3 + 4*3; seen != want { // ports of orderers, of peers, of chaincode servers
		t.Errorf("%d ports are listened on, want %d", seen, want)
	}
}
