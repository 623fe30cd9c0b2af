//go:build stack

package fabric

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
	"cardflow/ledger"
	"cardflow/ledger/ledgertest"
)

// outage is a ledger on a network whose servers a test stops.
type outage struct {
	*Ledger
	t       *testing.T
	network *local.Fabric
}

// newOutage gives a test the private network with everything up, and puts it back so when the test ends. What is to be
// otherwise about the ledger is set before it begins.
func newOutage(t *testing.T, set func(*Ledger)) *outage {
	t.Helper()
	return outageOn(t, PrivateNetwork(t).Profile(), set)
}

func outageOn(t *testing.T, profile string, set func(*Ledger)) *outage {
	t.Helper()
	network := PrivateNetwork(t)
	config := StackConfig(t, network.Dir(), "PlatformMSP")
	config.Profile, config.Contracts = profile, []string{ledgertest.Outer, ledgertest.Inner}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := network.StartAll(ctx); err != nil {
			t.Errorf("the network does not come up again: %v", err)
		}
	})
	l, err := build(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	if set != nil {
		set(l)
	}
	l.start()
	o := &outage{l, t, network}
	o.eventually("ready", func() error { return l.Ready(t.Context()) })
	return o
}

// eventually waits until something works.
func (o *outage) eventually(what string, works func() error) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	if err := local.Wait(ctx, works); err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
}

func (o *outage) kill(names ...string) {
	o.t.Helper()
	for _, name := range names {
		if err := o.network.Kill(name); err != nil {
			o.t.Fatal(err)
		}
	}
}

func (o *outage) start(names ...string) {
	o.t.Helper()
	for _, name := range names {
		if err := o.network.Start(o.t.Context(), name); err != nil {
			o.t.Fatal(err)
		}
	}
}

// signal sends a signal to a server.
func (o *outage) signal(name string, sig syscall.Signal) {
	o.t.Helper()
	for _, s := range o.network.Status(o.t.Context()) {
		if s.Name == name && s.Pid > 0 {
			if err := syscall.Kill(s.Pid, sig); err != nil {
				o.t.Fatal(err)
			}
			return
		}
	}
	o.t.Fatalf("%s does not run", name)
}

// write prepares a transaction that writes one key.
func (o *outage) write(key string) ledger.Proposal {
	o.t.Helper()
	p, err := o.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Get(key), ledgertest.Put(key, "1")})
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

func (o *outage) key(name string) string { return "outage/" + o.write("x").TxID[:8] + "/" + name }

// submit submits a proposal once.
func (o *outage) submit(p ledger.Proposal) (commit ledger.Commit, sent bool, err error) {
	commit, err = o.Submit(o.t.Context(), p, nil, func() error { sent = true; return nil })
	return commit, sent, err
}

// insist submits one proposal, again and again, as the relay does, until it is known to be in a block; and wants it valid.
func (o *outage) insist(ctx context.Context, p ledger.Proposal) (ledger.Transaction, error) {
	for {
		_, err := o.Submit(ctx, p, nil, nil)
		switch class := ledger.ClassOf(err); {
		case err == nil, class == ledger.Unknown, class == ledger.Duplicate:
			tx, err := o.Transaction(ctx, p.TxID)
			if err == nil && tx.Validation != ledger.Valid {
				err = fmt.Errorf("it is %s", tx.Validation)
			}
			if err == nil || ctx.Err() != nil || !errors.Is(err, ledger.ErrNotFound) && class == "" {
				return tx, err
			}
		case class != ledger.NotSent:
			return ledger.Transaction{}, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ledger.Transaction{}, errors.Join(ctx.Err(), err)
		}
	}
}

// follower reads blocks, and holds them to be complete and in order.
type follower struct {
	mu   sync.Mutex
	last ledger.Block
	seen map[string]int // transactions by ID: how often valid
	err  error
	done chan struct{}
	stop context.CancelFunc
}

// follow begins to read at a block, and goes on when Blocks ends, as the listener does.
func (o *outage) follow(from uint64) *follower {
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{seen: map[string]int{}, done: make(chan struct{}), stop: cancel}
	o.t.Cleanup(func() { cancel(); <-f.done })
	go func() {
		defer close(f.done)
		next, previous := from, ""
		for ctx.Err() == nil {
			for b, err := range o.Blocks(ctx, next) {
				if err != nil {
					break
				}
				f.mu.Lock()
				if b.Number != next || previous != "" && b.PreviousHash != previous {
					f.err = errors.Join(f.err, fmt.Errorf("block %d on %s came, where %d on %s was due", b.Number, b.PreviousHash, next, previous))
				}
				for _, tx := range b.Transactions {
					if tx.Validation == ledger.Valid {
						f.seen[tx.ID]++
					}
				}
				f.last = b
				f.mu.Unlock()
				next, previous = b.Number+1, b.Hash
			}
		}
	}()
	return f
}

// caughtUp waits until a follower has a block, and tells what was wrong about what it read.
func (o *outage) caughtUp(f *follower, number uint64) {
	o.t.Helper()
	o.eventually(fmt.Sprintf("the follower reads block %d", number), func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.last.Number < number {
			return fmt.Errorf("it is at block %d", f.last.Number)
		}
		return nil
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		o.t.Error(f.err)
	}
}

// ours counts goroutines in which this package or the SDK runs, but for the tests.
func ours() (n int, stacks string) {
	text := make([]byte, 1<<20)
	for _, stack := range strings.Split(string(text[:runtime.Stack(text, true)]), "\n\n") {
		if (strings.Contains(stack, "cardflow/ledger/fabric.(") || strings.Contains(stack, "fabric-sdk-go")) && !strings.Contains(stack, "testing.tRunner") {
			n, stacks = n+1, stacks+stack+"\n\n"
		}
	}
	return n, stacks
}
