package local

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Leader is the orderer that leads, as the orderers that run see it; an error if none does, or several say so.
func (f *Fabric) Leader(ctx context.Context) (string, error) {
	var leaders []string
	var faults []error
	for _, s := range f.servers(KindOrderer) {
		if !f.state.Hosts && !f.Running(s.Name) {
			continue
		}
		v, err := f.metric(ctx, s, "consensus_etcdraft_is_leader")
		faults = append(faults, err) // it may be on its way up or down
		if v == 1 {
			leaders = append(leaders, s.Name)
		}
	}
	if len(leaders) != 1 {
		return "", errors.Join(append(faults, fmt.Errorf("%d orderers lead, not one", len(leaders)))...)
	}
	return leaders[0], nil
}

func (f *Fabric) waitForLeader(ctx context.Context) (leader string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = Wait(ctx, func() (err error) {
		leader, err = f.Leader(ctx)
		return err
	})
	return leader, err
}

// Height is the number of blocks that a peer has.
func (f *Fabric) Height(ctx context.Context, peer string) (uint64, error) {
	for _, s := range f.servers(KindPeer) {
		if s.Name == peer {
			v, err := f.metric(ctx, s, "ledger_blockchain_height")
			return uint64(v), err
		}
	}
	return 0, fmt.Errorf("the network has no peer %q", peer)
}

// WaitUsable waits until every peer finds endorsers of every chaincode in all organisations.
func (f *Fabric) WaitUsable(ctx context.Context) error {
	return f.waitUsable(ctx, func(string, ...any) {}, f.state.Chaincodes)
}

// waitUsable waits until each peer answers for each chaincode itself, and finds all endorsers. The second takes a while in
// a new network, until the peers have heard of each other; before that a client is told that there are no endorsers.
func (f *Fabric) waitUsable(ctx context.Context, say Say, chaincodes []chaincode) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, o := range organisations {
		group.Go(func() error {
			for _, c := range chaincodes {
				if err := waitEvery(ctx, between, func() error { return f.answers(ctx, o, c) }); err != nil {
					return fmt.Errorf("%s, chaincode %s: %w", o.peer(), c.Name, err)
				}
			}
			for _, c := range chaincodes {
				if err := waitEvery(ctx, between, func() error { return f.findsEndorsers(ctx, o, c) }); err != nil {
					return fmt.Errorf("%s, endorsers of %s: %w", o.peer(), c.Name, err)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	say("every peer answers and finds all endorsers")
	return nil
}

// between is how long to wait before a command that failed is tried again: each takes a process.
const between = 200 * time.Millisecond

// answers is nil if a chaincode answers on an organisation's peer, be it by refusing.
func (f *Fabric) answers(ctx context.Context, o organisation, c chaincode) error {
	// A function that no contract has: its refusal shows that the call got through.
	err := f.peer(ctx, o, "chaincode", "query", "-C", Channel, "-n", c.Name, "-c", `{"Args":["Ping"]}`)
	if err != nil && strings.Contains(err.Error(), "has no function") {
		return nil
	}
	return err
}

// findsEndorsers is nil if an organisation's peer knows endorsers of a chaincode in every organisation.
func (f *Fabric) findsEndorsers(ctx context.Context, o organisation, c chaincode) error {
	p := f.peerOf(o)
	user := o.userMSP(f.crypto(), "User1")
	out, err := f.output(ctx, f.env(p.folder), "discover", "endorsers",
		"--peerTLSCA", filepath.Join(p.folder, "tls", "ca.crt"), "--MSP", o.msp,
		"--userKey", filepath.Join(user, "keystore", "priv_sk"),
		"--userCert", filepath.Join(user, "signcerts", "User1@"+o.domain+"-cert.pem"),
		"--server", p.at(p.Port), "--channel", Channel, "--chaincode", c.Name)
	if err != nil {
		return err
	}
	var found []struct {
		EndorsersByGroups map[string][]struct{ MSPID string }
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		return fmt.Errorf("discover: %w: %s", err, out)
	}
	members := map[string]bool{}
	for _, each := range found {
		for _, group := range each.EndorsersByGroups {
			for _, endorser := range group {
				members[endorser.MSPID] = true
			}
		}
	}
	if len(members) < len(organisations) {
		return fmt.Errorf("only %d organisations' endorsers are known", len(members))
	}
	return nil
}

// Status is how a server of a network is.
type Status struct {
	Server
	Pid    int    // 0 if it does not run
	Height uint64 // blocks; 0 of a chaincode
	Leader bool
	Fault  string // why it can't be asked though it runs
}

// Status asks every server.
func (f *Fabric) Status(ctx context.Context) []Status {
	list := make([]Status, 0)
	for _, s := range f.Servers() {
		st := Status{Server: s, Pid: f.procs.Pid(s.Name)}
		metrics := map[string]*float64{}
		var height, leader float64
		switch s.Kind {
		case KindOrderer:
			metrics["consensus_etcdraft_committed_block_number"], metrics["consensus_etcdraft_is_leader"] = &height, &leader
		case KindPeer:
			metrics["ledger_blockchain_height"] = &height
		}
		for name, into := range metrics {
			if st.Pid == 0 {
				continue
			}
			v, err := f.metric(ctx, s, name)
			if err != nil {
				st.Fault = err.Error()
			}
			*into = v
		}
		st.Height, st.Leader = uint64(height), leader == 1
		if s.Kind == KindOrderer && st.Height > 0 {
			st.Height++ // from the last block's number
		}
		list = append(list, st)
	}
	return list
}

// metric is the value of one of a node's metrics for the channel; 0 if it has none yet.
func (f *Fabric) metric(ctx context.Context, s Server, name string) (float64, error) {
	config, err := clientTLS(s.folder)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.at(s.operations)+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("metrics of %s: %s", s.Name, response.Status)
	}
	return findMetric(response.Body, name+`{channel="`+Channel+`"} `)
}

// findMetric reads the value behind a name with its labels from Prometheus' text format.
func findMetric(text io.Reader, begin string) (float64, error) {
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), begin); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.Join(lines.Err())
}
