//go:build stack

package fabric

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/ledgertest"
)

// The servers that these tests deal with.
const (
	carrierPeer   = "peer0.carrier.cardflow.example"
	platformPeer  = "peer0.platform.cardflow.example"
	regulatorPeer = "peer0.regulator.cardflow.example"
	carrierProbe  = "probe.carrier.cardflow.example"
)

// TestOnePeerDown: with one of three endorsers down nothing fails, whichever of the two it is that can be spared: no write,
// no query, no look-up, no follower.
func TestOnePeerDown(t *testing.T) {
	o := newOutage(t, nil)
	f := o.follow(0)
	for _, name := range []string{platformPeer, regulatorPeer} {
		t.Run(name, func(t *testing.T) {
			before, _, err := o.submit(o.write(o.key("before")))
			if err != nil {
				t.Fatal(err)
			}
			o.kill(name)
			key := o.key("k")
			var last ledger.Commit
			for i := range 20 {
				if last, _, err = o.submit(o.write(fmt.Sprint(key, i))); err != nil {
					t.Fatalf("write %d: %v", i, err)
				}
				answer, err := o.Query(t.Context(), ledgertest.Outer, ledgertest.Script, ledgertest.Expect(fmt.Sprint(key, i), "1"))
				if err != nil {
					t.Fatalf("query %d: %v, %s", i, err, answer)
				}
			}
			for _, id := range []string{before.TxID, last.TxID} {
				if tx, err := o.Transaction(t.Context(), id); err != nil || tx.Validation != ledger.Valid {
					t.Errorf("transaction: %v, %s", err, tx.Validation)
				}
			}
			if _, err := o.Transaction(t.Context(), strings.Repeat("0", 64)); !errors.Is(err, ledger.ErrNotFound) {
				t.Errorf("a transaction that never was: %v", err)
			}
			if err := o.Ready(t.Context()); err != nil {
				t.Errorf("Ready: %v", err)
			}
			o.caughtUp(f, last.BlockNumber)
			o.start(name)
			o.eventually("the peer is followed again", func() error {
				s, _ := o.chain.now()
				if len(s.heights) < 3 {
					return o.nobody(0)
				}
				return nil
			})
		})
	}
}

// TestPeerHangs: one that is there and does nothing is passed over, and its followers go elsewhere.
func TestPeerHangs(t *testing.T) {
	o := newOutage(t, func(l *Ledger) { l.slow = 200 * time.Millisecond })
	f := o.follow(0)
	o.signal(platformPeer, syscall.SIGSTOP)
	defer o.signal(platformPeer, syscall.SIGCONT)
	for i := range 3 {
		commit, _, err := o.submit(o.write(o.key(fmt.Sprint(i))))
		if err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		if _, err := o.Query(t.Context(), ledgertest.Outer, ledgertest.Script, ledgertest.Self()); err != nil {
			t.Fatalf("query %d: %v", i, err)
		}
		o.caughtUp(f, commit.BlockNumber)
	}
}

// TestNobodyEndorses: without the carrier's peer, or without its chaincode, nothing is sent; the same proposal goes when it
// is back.
func TestNobodyEndorses(t *testing.T) {
	for name, server := range map[string]string{"the peer is down": carrierPeer, "its chaincode is down": carrierProbe} {
		t.Run(name, func(t *testing.T) {
			o := newOutage(t, nil)
			p := o.write(o.key("k"))
			o.kill(server)
			_, sent, err := o.submit(p)
			if ledger.ClassOf(err) != ledger.NotSent || sent {
				t.Fatalf("sent %t: %v", sent, err)
			}
			if server == carrierPeer {
				if err := o.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "LEDGER_ENDORSERS") || !strings.Contains(err.Error(), "CarrierMSP) is down") {
					t.Errorf("Ready: %v", err)
				}
			}
			if _, err := o.Transaction(t.Context(), p.TxID); !errors.Is(err, ledger.ErrNotFound) {
				t.Errorf("what was not sent: %v", err)
			}
			o.start(server)
			if tx, err := o.insist(t.Context(), p); err != nil || tx.ID != p.TxID {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// TestNoOrderers: an orderer that isn't there has nothing; one that is there without a quorum may have it, until it knows.
// Whatever was answered, the same proposal is valid once in the end.
func TestNoOrderers(t *testing.T) {
	o := newOutage(t, func(l *Ledger) { l.config.CommitTimeout = time.Second })
	all := []string{"orderer0.orderer.cardflow.example", "orderer1.orderer.cardflow.example", "orderer2.orderer.cardflow.example"}
	proposals := []ledger.Proposal{}
	try := func() (bool, error) {
		p := o.write(o.key("k"))
		proposals = append(proposals, p)
		_, sent, err := o.submit(p)
		return sent, err
	}
	leader, err := o.network.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := slices.IndexFunc(all, func(name string) bool { return name != leader })
	o.kill(slices.Delete(slices.Clone(all), left, left+1)...)
	classes := map[ledger.Class]bool{}
	o.eventually("the last orderer says that it has no leader", func() error {
		sent, err := try()
		if class := ledger.ClassOf(err); !sent || class != ledger.Unknown && class != ledger.NotSent {
			t.Errorf("without a quorum: %t, %v", sent, err)
		}
		classes[ledger.ClassOf(err)] = true
		if !strings.Contains(err.Error(), "no Raft leader") {
			return err
		}
		return nil
	})
	if err := o.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "LEDGER_ORDERERS") {
		t.Errorf("Ready without a quorum: %v", err)
	}
	o.kill(all[left])
	if sent, err := try(); !sent || ledger.ClassOf(err) != ledger.NotSent {
		t.Errorf("without any: %t, %v", sent, err)
	}
	o.start(all...)
	o.eventually("ready", func() error { return o.Ready(t.Context()) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := o.follow(0)
	var last uint64
	for i, p := range proposals {
		tx, err := o.insist(ctx, p)
		if err != nil {
			t.Fatalf("proposal %d: %v", i, err)
		}
		last = max(last, tx.BlockNumber)
	}
	o.caughtUp(f, last)
	for i, p := range proposals {
		if n := f.seen[p.TxID]; n != 1 {
			t.Errorf("proposal %d is valid %d times", i, n)
		}
	}
	t.Logf("%d proposals, classes %v", len(proposals), classes)
}

// TestLeaderKilled: writers go on through the death of the leader; each of their proposals is valid, once.
func TestLeaderKilled(t *testing.T) {
	o := newOutage(t, nil)
	const writers, each = 16, 10
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	height, err := o.Height(ctx)
	if err != nil {
		t.Fatal(err)
	}
	f := o.follow(height - 1)
	var all sync.WaitGroup
	var mu sync.Mutex
	var ids []string
	var last uint64
	half := make(chan struct{})
	begun := time.Now()
	for w := range writers {
		all.Go(func() {
			for i := range each {
				p := o.write(o.key(fmt.Sprint(w)))
				tx, err := o.insist(ctx, p)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				mu.Lock()
				ids, last = append(ids, p.TxID), max(last, tx.BlockNumber)
				if len(ids) == writers*each/4 {
					close(half)
				}
				mu.Unlock()
				_ = i
			}
		})
	}
	<-half
	leader, err := o.network.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	o.kill(leader)
	killed := time.Now()
	all.Wait()
	t.Logf("%d writes, the leader killed after %s, all done %s later", len(ids), killed.Sub(begun).Round(time.Millisecond), time.Since(killed).Round(time.Millisecond))
	o.caughtUp(f, last)
	for _, id := range ids {
		if n := f.seen[id]; n != 1 {
			t.Errorf("transaction %s is valid %d times", id, n)
		}
	}
}

// TestUnknownThenFound: a caller who stopped waiting finds his transaction by its ID, and sending it again is a duplicate.
func TestUnknownThenFound(t *testing.T) {
	o := newOutage(t, func(l *Ledger) { l.config.CommitTimeout = time.Nanosecond })
	p := o.write(o.key("k"))
	if _, sent, err := o.submit(p); !sent || ledger.ClassOf(err) != ledger.Unknown {
		t.Fatalf("%t, %v", sent, err)
	}
	o.eventually("it is in a block", func() error {
		_, err := o.Transaction(t.Context(), p.TxID)
		return err
	})
	if _, _, err := o.submit(p); ledger.ClassOf(err) != ledger.Duplicate {
		t.Errorf("again: %v", err)
	}
	if tx, err := o.Transaction(t.Context(), p.TxID); err != nil || tx.Validation != ledger.Valid {
		t.Errorf("%v, %s", err, tx.Validation)
	}
}

// TestTooFewEndorsements: what the peers' policy is not satisfied by takes a block, and is invalid for good. It can only
// happen when the policy has just been changed: here the ledger is made to believe in another.
func TestTooFewEndorsements(t *testing.T) {
	o := newOutage(t, nil)
	o.policies.mu.Lock()
	o.policies.known[ledgertest.Outer] = &definition{func(msps []string) bool { return len(msps) > 0 }, time.Now().Add(time.Hour)}
	o.policies.mu.Unlock()
	p := o.write(o.key("k"))
	_, sent, err := o.submit(p)
	var f *ledger.Failure
	if !errors.As(err, &f) || f.Class != ledger.Invalid || f.Validation != "ENDORSEMENT_POLICY_FAILURE" || !sent {
		t.Fatalf("%t, %v", sent, err)
	}
	if tx, err := o.Transaction(t.Context(), p.TxID); err != nil || tx.Validation != "ENDORSEMENT_POLICY_FAILURE" || len(tx.Writes) > 0 {
		t.Errorf("%v, %+v", err, tx)
	}
	if _, _, err := o.submit(o.write(o.key("k"))); err != nil { // the policy was read again
		t.Errorf("the next one: %v", err)
	}
}

// TestNetworkRestarted: everything goes down and comes up again, and nobody has to open the ledger anew. One that is opened
// meanwhile says what is missing, and works when it is there.
func TestNetworkRestarted(t *testing.T) {
	o := newOutage(t, nil)
	f := o.follow(0)
	if err := o.network.StopAll(); err != nil {
		t.Fatal(err)
	}
	if _, sent, err := o.submit(o.write("x")); ledger.ClassOf(err) != ledger.NotSent || sent {
		t.Errorf("everything is down: %t, %v", sent, err)
	}
	if _, err := o.Query(t.Context(), ledgertest.Outer, ledgertest.Script); ledger.ClassOf(err) != ledger.NotSent {
		t.Errorf("a query: %v", err)
	}
	if _, err := o.Transaction(t.Context(), strings.Repeat("0", 64)); err == nil || errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a transaction: %v", err)
	}
	late, err := Open(o.config)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := late.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "LEDGER_ORDERERS") || !strings.Contains(err.Error(), "LEDGER_ENDORSERS") {
		t.Errorf("Ready: %v", err)
	}
	if err := o.network.StartAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Ledger{o.Ledger, late} {
		o.eventually("ready", func() error { return l.Ready(t.Context()) })
	}
	tx, err := o.insist(t.Context(), o.write(o.key("k")))
	if err != nil {
		t.Fatal(err)
	}
	o.caughtUp(f, tx.BlockNumber)
	o.eventually("the late one finds it", func() error {
		_, err := late.Transaction(t.Context(), tx.ID)
		return err
	})
}

// TestNothingIsLeft: whoever stops reading blocks, and whoever closes a ledger, leaves no goroutine behind.
func TestNothingIsLeft(t *testing.T) {
	o := newOutage(t, nil)
	commit, _, err := o.submit(o.write(o.key("k")))
	if err != nil {
		t.Fatal(err)
	}
	settled := func(what string, most int) {
		t.Helper()
		o.eventually(what, func() error {
			if n, stacks := ours(); n > most {
				return fmt.Errorf("%d goroutines, want at most %d:\n%s", n, most, stacks)
			}
			return nil
		})
	}
	before, _ := ours()
	for range 5 {
		for b, err := range o.Blocks(t.Context(), commit.BlockNumber-2) { // in the middle, and there is more
			if err != nil || b.Number != commit.BlockNumber-2 {
				t.Errorf("block %d: %v", b.Number, err)
			}
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range o.Blocks(ctx, commit.BlockNumber) { // and then wait for what does not come
			cancel()
		}
		cancel()
	}
	settled("readers have gone", before)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	for _, err := range o.Blocks(t.Context(), 0) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("blocks of a closed ledger: %v", err)
		}
	}
	settled("the ledger is closed", 0)
}
