package ledgertest

import (
	"context"
	"errors"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"
)

func testRefusal(t *testing.T, c *channel) {
	p := c.prepare(Put(c.key("a"), "1"), Emit("never", ""), Refuse("INPUT_SPENT", map[string]any{"lot": "abc", "segments": 3}))
	_, err := c.Submit(context.Background(), p, nil, func() error {
		t.Error("a refused transaction is about to be sent")
		return nil
	})
	f := c.wantFailure(err, ledger.Refused)
	if !errors.Is(err, &contract.Error{Code: "INPUT_SPENT"}) || f.Refusal.Message != "as the script says" {
		t.Errorf("the refusal is %v", f.Refusal)
	}
	if f.Refusal.Details["lot"] != "abc" || f.Refusal.Details["segments"] != 3.0 { // a number, as JSON knows them
		t.Errorf("its details are %#v", f.Refusal.Details)
	}
	c.absent(p.TxID)
	if got := c.value(c.key("a")); got != "" {
		t.Errorf("a refused transaction wrote %q", got)
	}
}

func testFault(t *testing.T, c *channel) {
	for name, step := range map[string][]byte{"fault": Fault(), "panic": Panic(), "no step": []byte("{")} {
		p := c.prepare(Put(c.key(name), "1"), step)
		_, err := c.Submit(context.Background(), p, nil, func() error {
			t.Errorf("%s: it is about to be sent", name)
			return nil
		})
		if f := c.wantFailure(err, ledger.NotSent); f.Err == nil || f.Refusal != nil {
			t.Errorf("%s: failure is %+v, want a cause and no refusal", name, f)
		}
		c.absent(p.TxID)
	}
	p, err := c.Prepare("no-such-contract", Script, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Submit(context.Background(), p, nil, nothing)
	c.wantFailure(err, ledger.NotSent)
	if err := c.Ready(context.Background()); err != nil {
		t.Errorf("Ready: %v", err)
	}
	c.submit(Put(c.key("a"), "still working"))
}

func testSending(t *testing.T, c *channel) {
	p := c.prepare(Put(c.key("a"), "1"))
	cause, calls := errors.New("the database is down"), 0
	_, err := c.Submit(context.Background(), p, nil, func() error {
		calls++
		c.absent(p.TxID)
		return cause
	})
	c.wantFailure(err, ledger.NotSent)
	if !errors.Is(err, cause) || calls != 1 {
		t.Errorf("error is %v after %d calls, want the hook's after one", err, calls)
	}
	c.absent(p.TxID)
	if got := c.value(c.key("a")); got != "" {
		t.Errorf("what was not sent wrote %q", got)
	}
	commit, err := c.Submit(context.Background(), p, nil, func() error { calls++; return nil })
	if err != nil || calls != 2 || commit.TxID != p.TxID {
		t.Fatalf("the second try: %v, %d calls, ID %s", err, calls, commit.TxID)
	}
	if got := c.value(c.key("a")); got != "1" {
		t.Errorf("the second try wrote %q", got)
	}
}

func testCancelled(t *testing.T, c *channel) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	p := c.prepare(Put(c.key("a"), "1"))
	_, err := c.Submit(ended, p, nil, nothing)
	c.wantFailure(err, ledger.NotSent)
	c.absent(p.TxID)
	if _, err := c.Query(ended, Outer, Script, Get(c.key("a"))); err == nil {
		t.Error("a query ran in a context that had ended")
	}

	// In the hook nobody can tell any more, except by its ID.
	ending, cancel := context.WithCancel(context.Background())
	_, err = c.Submit(ending, p, nil, func() error { cancel(); return nil })
	switch class := ledger.ClassOf(err); {
	case err != nil && class == ledger.NotSent:
		c.absent(p.TxID)
	case err != nil && class != ledger.Unknown:
		t.Errorf("error is %v, want NotSent or Unknown", err)
	}
	_, err = c.Submit(context.Background(), p, nil, nothing)
	if err != nil && ledger.ClassOf(err) != ledger.Duplicate {
		t.Errorf("the same proposal again: %v, want a commit or Duplicate", err)
	}
	if tx := c.transaction(p.TxID); tx.Validation != ledger.Valid || c.value(c.key("a")) != "1" {
		t.Errorf("transaction is %+v", tx)
	}
}

func testConflicts(t *testing.T, c *channel) {
	for _, each := range []struct {
		name  string
		steps func(k func(string) string) [][]byte // endorsed before
		first func(k func(string) string) []byte   // commits before, on a, b, d with value 0
		want  ledger.Validation
	}{
		{"read and changed",
			func(k func(string) string) [][]byte { return [][]byte{Get(k("a"))} },
			func(k func(string) string) []byte { return Put(k("a"), "1") }, ledger.ReadConflict},
		{"read and written with the same value",
			func(k func(string) string) [][]byte { return [][]byte{Get(k("a"))} },
			func(k func(string) string) []byte { return Put(k("a"), "0") }, ledger.ReadConflict},
		{"read and deleted",
			func(k func(string) string) [][]byte { return [][]byte{Get(k("a"))} },
			func(k func(string) string) []byte { return Delete(k("a")) }, ledger.ReadConflict},
		{"absent and created",
			func(k func(string) string) [][]byte { return [][]byte{Get(k("c"))} },
			func(k func(string) string) []byte { return Put(k("c"), "1") }, ledger.ReadConflict},
		{"absent and deleted",
			func(k func(string) string) [][]byte { return [][]byte{Get(k("c"))} },
			func(k func(string) string) []byte { return Delete(k("c")) }, ledger.Valid},
		{"only written",
			func(k func(string) string) [][]byte { return [][]byte{Put(k("a"), "2"), Delete(k("b"))} },
			func(k func(string) string) []byte { return Put(k("a"), "1") }, ledger.Valid},
		{"another key",
			func(k func(string) string) [][]byte { return [][]byte{Get(k("a"))} },
			func(k func(string) string) []byte { return Put(k("b"), "1") }, ledger.Valid},
		{"another contract's key of that name",
			func(k func(string) string) [][]byte { return [][]byte{Get(k("a"))} },
			func(k func(string) string) []byte { return Call(Inner, Put(k("a"), "1")) }, ledger.Valid},
		{"range and inserted",
			func(k func(string) string) [][]byte { return [][]byte{Range(k("a"), k("d"))} },
			func(k func(string) string) []byte { return Put(k("c"), "1") }, ledger.PhantomConflict},
		{"range and changed",
			func(k func(string) string) [][]byte { return [][]byte{Range(k("a"), k("d"))} },
			func(k func(string) string) []byte { return Put(k("a"), "1") }, ledger.PhantomConflict},
		{"range and deleted",
			func(k func(string) string) [][]byte { return [][]byte{Range(k("a"), k("d"))} },
			func(k func(string) string) []byte { return Delete(k("b")) }, ledger.PhantomConflict},
		{"range and its end changed",
			func(k func(string) string) [][]byte { return [][]byte{Range(k("a"), k("d"))} },
			func(k func(string) string) []byte { return Put(k("d"), "1") }, ledger.Valid},
		{"empty range and inserted",
			func(k func(string) string) [][]byte { return [][]byte{Range(k("e"), k("z"))} },
			func(k func(string) string) []byte { return Put(k("f"), "1") }, ledger.PhantomConflict},
		{"read and in a range",
			func(k func(string) string) [][]byte { return [][]byte{Range(k("a"), k("d")), Get(k("a"))} },
			func(k func(string) string) []byte { return Put(k("a"), "1") }, ledger.ReadConflict},
		{"read by a called contract",
			func(k func(string) string) [][]byte { return [][]byte{Call(Inner, Get(k("a")))} },
			func(k func(string) string) []byte { return Call(Inner, Put(k("a"), "1")) }, ledger.ReadConflict},
		{"range of a called contract",
			func(k func(string) string) [][]byte { return [][]byte{Call(Inner, Range(k("a"), k("z")))} },
			func(k func(string) string) []byte { return Call(Inner, Put(k("a"), "1")) }, ledger.PhantomConflict},
		{"history",
			func(k func(string) string) [][]byte { return [][]byte{History(k("a"))} },
			func(k func(string) string) []byte { return Put(k("a"), "1") }, ledger.Valid},
	} {
		t.Run(each.name, func(t *testing.T) {
			t.Parallel()
			c := newChannel(t, c.Ledger)
			c.submit(Put(c.key("a"), "0"), Put(c.key("b"), "0"), Put(c.key("d"), "0"))
			h := c.hold(c.prepare(append(each.steps(c.key), Put(c.key("result"), "done"))...))
			c.submit(each.first(c.key))
			_, err := h.send()
			tx := c.transaction(h.proposal.TxID)
			if tx.Validation != each.want {
				t.Errorf("verdict is %s, want %s", tx.Validation, each.want)
			}
			if each.want == ledger.Valid {
				if err != nil || c.value(c.key("result")) != "done" {
					t.Errorf("Submit: %v, wrote %q", err, c.value(c.key("result")))
				}
				return
			}
			if f := c.wantFailure(err, ledger.Conflict); f.Validation != each.want {
				t.Errorf("failure is %+v", f)
			}
		})
	}
}

func testInvalid(t *testing.T, c *channel) {
	a, b := c.key("a"), c.key("b")
	h := c.hold(c.prepare(Get(a), Put(b, "1"), Delete(a), Emit("never", "1")))
	c.submit(Put(a, "1"))
	_, err := h.send()
	c.wantFailure(err, ledger.Conflict)
	tx := c.transaction(h.proposal.TxID)
	if tx.Contract != Outer || tx.Function != Script || len(tx.Args) != 4 || tx.Time.IsZero() {
		t.Errorf("the entry of an invalid transaction is %+v", tx)
	}
	if len(tx.Writes) != 0 || tx.Event != nil {
		t.Errorf("an invalid transaction has writes %v, event %v", tx.Writes, tx.Event)
	}
	if got := pairs(c, c.query(Range(c.space, c.end()))[0].List); got != "a=1" {
		t.Errorf("it left %s", got)
	}
	seen := c.query(History(a), History(b))
	if len(seen[0].History) != 1 || len(seen[1].History) != 0 {
		t.Errorf("it stands in a history: %v", seen)
	}
	c.submit(Get(a), Put(b, "2")) // a new transaction succeeds
}

func testDuplicate(t *testing.T, c *channel) {
	a := c.key("a")
	t.Run("of a valid one", func(t *testing.T) {
		p := c.prepare(Put(a, "1"))
		commit, err := c.Submit(context.Background(), p, nil, nothing)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Submit(context.Background(), p, nil, nothing)
		c.wantFailure(err, ledger.Duplicate)
		if tx := c.transaction(p.TxID); tx.Validation != ledger.Valid || tx.BlockNumber != commit.BlockNumber {
			t.Errorf("its verdict is %s of block %d, want that of the first entry", tx.Validation, tx.BlockNumber)
		}
	})
	t.Run("of an invalid one", func(t *testing.T) {
		h := c.hold(c.prepare(Get(a), Put(a, "2")))
		c.submit(Put(a, "3"))
		if _, err := h.send(); ledger.ClassOf(err) != ledger.Conflict {
			t.Fatalf("Submit: %v", err)
		}
		_, err := c.Submit(context.Background(), h.proposal, nil, nothing)
		c.wantFailure(err, ledger.Duplicate)
		if tx := c.transaction(h.proposal.TxID); tx.Validation != ledger.ReadConflict {
			t.Errorf("its verdict is %s, want that of the first entry", tx.Validation)
		}
	})
	t.Run("of one on its way", func(t *testing.T) {
		p := c.prepare(Put(a, "4"))
		first, second := c.hold(p), c.hold(p)
		if _, err := first.send(); err != nil {
			t.Fatal(err)
		}
		c.submit(Put(a, "5"))
		_, err := second.send()
		c.wantFailure(err, ledger.Duplicate)
		if tx := c.transaction(p.TxID); tx.Validation != ledger.Valid {
			t.Errorf("its verdict is %s", tx.Validation)
		}
		if got := c.value(a); got != "5" {
			t.Errorf("it was applied twice: there is %q", got)
		}
	})
}
