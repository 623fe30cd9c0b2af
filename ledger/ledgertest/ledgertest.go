// Package ledgertest holds every ledger to one behaviour. What a caller or a contract may rely on is in its suite; what
// isn't may differ between ledgers.
//
// The suite asks nothing of a ledger but the contracts of Probes: it need not be empty or fresh, others may write to it
// meanwhile, and it stays usable afterwards. Each test keeps to keys of its own. So its tests run side by side, and it can
// run on a network that is there already, again and again. Its random histories take some 2,000 transactions; where one
// takes long, run it with -rapid.checks=5.
package ledgertest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
)

// Run runs the suite. open returns a ledger with the given contracts deployed, and closes it when its test ends.
func Run(t *testing.T, open func(t *testing.T, contracts ...contract.Contract) ledger.Ledger) {
	l := open(t, Probes()...)
	for _, each := range []struct {
		name string
		test func(*testing.T, *channel)
	}{
		{"proposal", testProposal},
		{"commit", testCommit},
		{"own writes are invisible", testOwnWrites},
		{"called contract", testCalledContract},
		{"keys and values", testKeys},
		{"history", testHistory},
		{"events", testEvents},
		{"query", testQuery},
		{"transient fields", testTransient},
		{"refusal", testRefusal},
		{"fault and panic", testFault},
		{"sending", testSending},
		{"cancelled", testCancelled},
		{"conflicts", testConflicts},
		{"invalid leaves nothing", testInvalid},
		{"duplicate", testDuplicate},
		{"one key, many writers", testOneKey},
		{"many keys, many writers", testManyKeys},
		{"transfers", testTransfers},
		{"lookup", testLookup},
		{"blocks", testBlocks},
		{"followers", testFollowers},
		{"random history", testRandomHistory},
	} {
		t.Run(each.name, func(t *testing.T) {
			t.Parallel()
			each.test(t, newChannel(t, l))
		})
	}
}

// failer is what a test and a rapid check have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// channel is a ledger as one test sees it: with a space of keys that no one else uses.
type channel struct {
	ledger.Ledger
	t     failer
	space string
}

func newChannel(t failer, l ledger.Ledger) *channel {
	var space [8]byte
	if _, err := rand.Read(space[:]); err != nil {
		t.Fatalf("random: %v", err)
	}
	return &channel{l, t, hex.EncodeToString(space[:]) + "/"}
}

// key is a key of this test.
func (c *channel) key(name string) string { return c.space + name }

// end is beyond all keys of this test.
func (c *channel) end() string { return c.space[:len(c.space)-1] + "0" } // '0' follows '/'

// prepare makes a proposal of a script.
func (c *channel) prepare(steps ...[]byte) ledger.Proposal {
	c.t.Helper()
	p, err := c.Prepare(Outer, Script, steps)
	if err != nil {
		c.t.Fatalf("Prepare: %v", err)
	}
	return p
}

// try submits a script.
func (c *channel) try(steps ...[]byte) (ledger.Proposal, ledger.Commit, error) {
	c.t.Helper()
	p := c.prepare(steps...)
	commit, err := c.Submit(context.Background(), p, nil, nothing)
	return p, commit, err
}

// submit submits a script that must commit.
func (c *channel) submit(steps ...[]byte) (ledger.Commit, []Seen) {
	c.t.Helper()
	_, commit, err := c.try(steps...)
	if err != nil {
		c.t.Fatalf("Submit: %v", err)
	}
	return commit, c.read(commit.Result)
}

// query runs a script without committing it.
func (c *channel) query(steps ...[]byte) []Seen {
	c.t.Helper()
	result, err := c.Query(context.Background(), Outer, Script, steps...)
	if err != nil {
		c.t.Fatalf("Query: %v", err)
	}
	return c.read(result)
}

func (c *channel) read(result []byte) []Seen {
	c.t.Helper()
	seen, err := Read(result)
	if err != nil {
		c.t.Fatalf("result: %v", err)
	}
	return seen
}

// value returns the committed value of a key, "" if there is none.
func (c *channel) value(key string) string {
	c.t.Helper()
	return string(c.query(Get(key))[0].Value)
}

// transaction finds a transaction that must be there.
func (c *channel) transaction(id string) ledger.Transaction {
	c.t.Helper()
	tx, err := c.Transaction(context.Background(), id)
	if err != nil {
		c.t.Fatalf("Transaction: %v", err)
	}
	return tx
}

// absent wants that no block holds an ID.
func (c *channel) absent(id string) {
	c.t.Helper()
	if _, err := c.Transaction(context.Background(), id); !errors.Is(err, ledger.ErrNotFound) {
		c.t.Fatalf("Transaction: %v, want ErrNotFound", err)
	}
}

// nothing is a sending hook that does nothing.
func nothing() error { return nil }

// wantFailure wants a *ledger.Failure of a class.
func (c *channel) wantFailure(err error, class ledger.Class) *ledger.Failure {
	c.t.Helper()
	var f *ledger.Failure
	if !errors.As(err, &f) || f.Class != class {
		c.t.Fatalf("error is %v, want a failure of class %s", err, class)
	}
	return f
}

// held is a transaction that has been endorsed and waits in its sending hook: what it read is fixed, its place is not.
type held struct {
	proposal ledger.Proposal
	release  chan struct{}
	result   chan outcome
}

type outcome struct {
	commit ledger.Commit
	err    error
}

// hold endorses a proposal and holds it.
func (c *channel) hold(p ledger.Proposal) *held {
	c.t.Helper()
	h := &held{p, make(chan struct{}), make(chan outcome, 1)}
	endorsed := make(chan struct{})
	go func() {
		commit, err := c.Submit(context.Background(), p, nil, func() error {
			close(endorsed)
			<-h.release
			return nil
		})
		h.result <- outcome{commit, err}
	}()
	select {
	case <-endorsed:
	case o := <-h.result:
		c.t.Fatalf("Submit ended before it sent anything: %v", o.err)
	}
	return h
}

// send lets a held transaction go and waits for its end.
func (h *held) send() (ledger.Commit, error) {
	close(h.release)
	o := <-h.result
	return o.commit, o.err
}

// writes prints writes, for comparison.
func writes(list []ledger.Write) string {
	s := ""
	for _, w := range list {
		s += fmt.Sprintf("%s %q = %q deleted %t\n", w.Contract, w.Key, w.Value, w.Deleted)
	}
	return s
}
