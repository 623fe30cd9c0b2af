package embedded_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"
)

var update = flag.Bool("update", false, "write testdata")

// submit submits a script of the probe.
func submit(l *embedded.Ledger, steps ...[]byte) (ledger.Commit, error) {
	p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, steps)
	if err != nil {
		return ledger.Commit{}, err
	}
	return l.Submit(context.Background(), p, nil, nil)
}

// mustSubmit submits a script that must commit.
func mustSubmit(t testing.TB, l *embedded.Ledger, steps ...[]byte) ledger.Commit {
	t.Helper()
	commit, err := submit(l, steps...)
	if err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return commit
}

func wantClass(t *testing.T, err error, class ledger.Class) {
	t.Helper()
	var f *ledger.Failure
	if !errors.As(err, &f) || f.Class != class {
		t.Fatalf("error is %v, want a failure of class %s", err, class)
	}
}

func TestOpenRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	good := embedded.Config{Path: path, Channel: "cards", Organisation: "PlatformMSP"}
	for name, spoil := range map[string]func(*embedded.Config){
		"no path":             func(c *embedded.Config) { c.Path = "" },
		"no channel":          func(c *embedded.Config) { c.Channel = "" },
		"no organisation":     func(c *embedded.Config) { c.Organisation = "" },
		"no folder":           func(c *embedded.Config) { c.Path = filepath.Join(path, "no", "such") },
		"negative window":     func(c *embedded.Config) { c.TimeWindow = -1 },
		"negative interval":   func(c *embedded.Config) { c.BlockInterval = -1 },
		"negative block":      func(c *embedded.Config) { c.MaxBlockTransactions = -1 },
		"contract twice":      func(c *embedded.Config) { c.Contracts = append(ledgertest.Probes(), ledgertest.Probes()...) },
		"contract unnamed":    func(c *embedded.Config) { c.Contracts = []contract.Contract{ledgertest.Probe("")} },
		"contract with NUL":   func(c *embedded.Config) { c.Contracts = []contract.Contract{ledgertest.Probe("a\x00b")} },
		"contract not in UTF": func(c *embedded.Config) { c.Contracts = []contract.Contract{ledgertest.Probe("\xff")} },
	} {
		c := good
		spoil(&c)
		if l, err := embedded.Open(c); err == nil {
			l.Close()
			t.Errorf("%s: Open took it", name)
		}
	}
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) > 0 {
		t.Errorf("what was refused left files %v, %v", left, err)
	}
	open(t, embedded.Config{Path: path})
	if left, err := filepath.Glob(path + "*"); err != nil || len(left) != 1 {
		t.Errorf("there are files %v, %v, want the ledger alone", left, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	config := embedded.Config{Path: filepath.Join(t.TempDir(), "ledger.db"), Channel: "cards", Organisation: "PlatformMSP"}
	l, err := embedded.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Open(config); !errors.Is(err, embedded.ErrInUse) {
		t.Errorf("the second Open: %v, want ErrInUse", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*embedded.Config){
		"channel":      func(c *embedded.Config) { c.Channel = "other" },
		"organisation": func(c *embedded.Config) { c.Organisation = "OtherMSP" },
	} {
		c := config
		spoil(&c)
		if _, err := embedded.Open(c); !errors.Is(err, embedded.ErrForeign) {
			t.Errorf("another %s: %v, want ErrForeign", name, err)
		}
	}
	open(t, config) // none of them has kept it
}

func TestManyCreateOneLedger(t *testing.T) {
	config := embedded.Config{Path: filepath.Join(t.TempDir(), "ledger.db"), Channel: "cards", Organisation: "PlatformMSP"}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			l, err := embedded.Open(config)
			if err == nil {
				err = l.Close()
			}
			if err != nil && !errors.Is(err, embedded.ErrInUse) {
				t.Errorf("Open: %v", err)
			}
		})
	}
	all.Wait()
	if l := open(t, config); l.Verify(context.Background(), nil) != nil {
		t.Error("it is not whole")
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, embedded.Config{Path: path})
	genesis, err := l.Block(context.Background(), 0)
	if err != nil || len(genesis.Transactions) != 1 || genesis.Transactions[0].Contract != "" || genesis.PreviousHash != "" {
		t.Fatalf("block 0 is %+v, %v", genesis, err)
	}
	commit := mustSubmit(t, l, ledgertest.Put("a", "1"))
	before := dump(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Ready":       l.Ready(context.Background()),
		"Block":       second(l.Block(context.Background(), 0)),
		"Transaction": second(l.Transaction(context.Background(), commit.TxID)),
		"Query":       second(l.Query(context.Background(), ledgertest.Outer, ledgertest.Script)),
		"Submit":      second(submit(l)),
	} {
		if !errors.Is(err, embedded.ErrClosed) {
			t.Errorf("%s of a closed ledger: %v", name, err)
		}
	}
	l = open(t, embedded.Config{Path: path})
	if after := dump(t, l); after != before {
		t.Errorf("there was\n%s, there is\n%s", before, after)
	}
	mustSubmit(t, l, ledgertest.Get("a"), ledgertest.Put("a", "2"))
	var steps []uint64
	if err := l.Verify(context.Background(), func(done, height uint64) { steps = append(steps, done, height) }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(steps) != "[1 3 2 3 3 3]" {
		t.Errorf("progress was %v", steps)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := l.Verify(ended, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify in an ended context: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestChain pins the format: with the same clock and randomness the same blocks come out, byte for byte, in every release.
func TestChain(t *testing.T) {
	clock := time.Date(2024, 5, 6, 7, 8, 9, 10, time.UTC)
	l := open(t, embedded.Config{
		Clock:  func() time.Time { return clock },
		Random: rand.NewChaCha8([32]byte{1}),
	})
	mustSubmit(t, l, ledgertest.Put("a", "1"), ledgertest.Call(ledgertest.Inner, ledgertest.Put("a", "2")), ledgertest.Emit("put", "a"))
	p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Get("a"), ledgertest.Delete("a")})
	if err != nil {
		t.Fatal(err)
	}
	q, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Get("a")})
	if err != nil {
		t.Fatal(err)
	}
	l.CommitTogether(p, q, p)
	golden(t, "chain.golden", dump(t, l))
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}

// dump prints everything that can be seen of a ledger.
func dump(t testing.TB, l *embedded.Ledger) string {
	t.Helper()
	s, err := tryDump(l)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func tryDump(l *embedded.Ledger) (string, error) {
	var s strings.Builder
	height, err := l.Height(context.Background())
	if err != nil {
		return "", err
	}
	for number := range height {
		b, err := l.Block(context.Background(), number)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "block %d %s on %s\n", b.Number, b.Hash, b.PreviousHash)
		for _, tx := range b.Transactions {
			fmt.Fprintf(&s, "  %d %s %s %v %s %q %s %q\n", tx.Index, tx.ID, tx.Validation, tx.Time, tx.Creator, tx.Contract, tx.Function, tx.Args)
			for _, w := range tx.Writes {
				fmt.Fprintf(&s, "    %s %q = %q %t\n", w.Contract, w.Key, w.Value, w.Deleted)
			}
			if tx.Event != nil {
				fmt.Fprintf(&s, "    event %s %q\n", tx.Event.Name, tx.Event.Payload)
			}
			first, err := l.Transaction(context.Background(), tx.ID)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&s, "    first in block %d\n", first.BlockNumber)
		}
	}
	state, err := stateOf(l)
	if err != nil {
		return "", err
	}
	return s.String() + state, nil
}

// stateOf prints the whole state.
func stateOf(l *embedded.Ledger) (string, error) {
	result, err := l.Query(context.Background(), ledgertest.Outer, ledgertest.Script,
		ledgertest.Range("", ""), ledgertest.Call(ledgertest.Inner, ledgertest.Range("", "")))
	if err != nil {
		return "", err
	}
	seen, err := ledgertest.Read(result)
	if err != nil {
		return "", err
	}
	s := ""
	for _, kv := range seen[0].List {
		s += fmt.Sprintf("%s %q = %q\n", ledgertest.Outer, kv.Key, kv.Value)
	}
	for _, kv := range seen[1].Inner[0].List {
		s += fmt.Sprintf("%s %q = %q\n", ledgertest.Inner, kv.Key, kv.Value)
	}
	return s, nil
}

func TestWithinOneBlock(t *testing.T) {
	l := open(t, embedded.Config{})
	mustSubmit(t, l, ledgertest.Put("a", "0"), ledgertest.Put("b", "0"))
	prepare := func(steps ...[]byte) ledger.Proposal {
		p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, steps)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := prepare(ledgertest.Get("a"), ledgertest.Put("a", "1"))
	all := []ledger.Proposal{
		first,
		prepare(ledgertest.Get("a"), ledgertest.Put("b", "lost")), // the first has changed it
		prepare(ledgertest.Range("a", "c"), ledgertest.Put("d", "lost")),
		prepare(ledgertest.Get("b"), ledgertest.Put("c", "1")), // what was invalid has changed nothing
		first,
		prepare(ledgertest.Get("c")), // absent when it was read
	}
	want := []ledger.Validation{
		ledger.Valid, ledger.ReadConflict, ledger.PhantomConflict, ledger.Valid, ledger.DuplicateID, ledger.ReadConflict,
	}
	errs := l.CommitTogether(all...)
	b, err := l.Block(context.Background(), 2)
	if err != nil || len(b.Transactions) != len(all) {
		t.Fatalf("block 2 is %+v, %v", b, err)
	}
	for i, tx := range b.Transactions {
		if tx.ID != all[i].TxID || tx.Validation != want[i] || (errs[i] == nil) != (want[i] == ledger.Valid) {
			t.Errorf("entry %d is %s, Submit said %v, want %s", i, tx.Validation, errs[i], want[i])
		}
	}
	wantClass(t, errs[4], ledger.Duplicate)
	if got, err := stateOf(l); err != nil || got != "probe \"a\" = \"1\"\nprobe \"b\" = \"0\"\nprobe \"c\" = \"1\"\n" {
		t.Errorf("it left %s, %v", got, err)
	}
	if tx, err := l.Transaction(context.Background(), first.TxID); err != nil || tx.Validation != ledger.Valid || tx.Index != 0 {
		t.Errorf("the ID leads to %+v, %v", tx, err)
	}
	if err := l.Verify(context.Background(), nil); err != nil {
		t.Error(err)
	}
}

// A block takes who is waiting, up to its size.
func TestBlockSize(t *testing.T) {
	l := open(t, embedded.Config{MaxBlockTransactions: 3})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := submit(l, ledgertest.Put(fmt.Sprint(i), "1")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	height, err := l.Height(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for number := uint64(1); number < height; number++ {
		b, err := l.Block(context.Background(), number)
		if err != nil || len(b.Transactions) == 0 || len(b.Transactions) > 3 {
			t.Errorf("block %d has %d transactions, %v", number, len(b.Transactions), err)
		}
		count += len(b.Transactions)
	}
	if count != 20 {
		t.Errorf("the blocks have %d transactions, want 20", count)
	}
}

// Who stops reading a range depends on what he was given, and not on what follows.
func TestRangeStopped(t *testing.T) {
	for change, want := range map[string]ledger.Validation{"a": ledger.PhantomConflict, "aa": ledger.Valid, "b": ledger.Valid, "A": ledger.PhantomConflict} {
		l := open(t, embedded.Config{})
		mustSubmit(t, l, ledgertest.Put("a", "0"), ledgertest.Put("b", "0"))
		p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.First("", "")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Submit(context.Background(), p, nil, func() error {
			_, err := submit(l, ledgertest.Put(change, "1"))
			return err
		})
		tx, found := l.Transaction(context.Background(), p.TxID)
		if found != nil || tx.Validation != want || (err == nil) != (want == ledger.Valid) {
			t.Errorf("%q changed: %s, %v, want %s", change, tx.Validation, err, want)
		}
	}
}

func TestContractFaults(t *testing.T) {
	l := open(t, embedded.Config{})
	for name, steps := range map[string][][]byte{
		"a contract that calls itself": {ledgertest.Call(ledgertest.Outer, ledgertest.Get("a"))},
		"one that is called back":      {ledgertest.Call(ledgertest.Inner, ledgertest.Call(ledgertest.Outer))},
		"a key beyond all measure":     {ledgertest.Put(strings.Repeat("k", 1<<20), "1")},
		"such a key, read":             {ledgertest.Get(strings.Repeat("k", 1<<20))},
		"a key that is none":           {ledgertest.Get("")},
		"a history of no key":          {ledgertest.History("a\x00")},
	} {
		_, err := submit(l, steps...)
		var f *ledger.Failure
		if !errors.As(err, &f) || f.Class != ledger.NotSent {
			t.Errorf("%s: %v, want NotSent", name, err)
		}
	}
	mustSubmit(t, l, ledgertest.Put(strings.Repeat("k", 10_000), "1"))
	if err := l.Ready(context.Background()); err != nil {
		t.Error(err)
	}
}

// Arguments are recorded as they were proposed, and values as they were put.
func TestContractKeepsNothing(t *testing.T) {
	l := open(t, embedded.Config{Contracts: []contract.Contract{scribbler{}}})
	p, err := l.Prepare("scribbler", "", [][]byte{[]byte("argument")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Submit(context.Background(), p, map[string][]byte{"field": []byte("x")}, nil); err != nil {
		t.Fatal(err)
	}
	tx, err := l.Transaction(context.Background(), p.TxID)
	if err != nil || string(tx.Args[0]) != "argument" || string(tx.Writes[0].Value) != "value" || string(tx.Event.Payload) != "value" {
		t.Errorf("transaction is %+v, %v", tx, err)
	}
}

type scribbler struct{}

func (scribbler) Name() string { return "scribbler" }

func (scribbler) Invoke(stub contract.Stub, _ string, args [][]byte) ([]byte, error) {
	value := []byte("value")
	if err := errors.Join(stub.Put("k", value), stub.Emit("e", value)); err != nil {
		return nil, err
	}
	copy(value, "XXXXX")
	copy(args[0], "XXXXXXXX")
	delete(stub.Transient(), "field")
	if len(stub.Transient()) != 1 {
		return nil, errors.New("a transient field is gone")
	}
	return nil, nil
}

func TestForgedProposal(t *testing.T) {
	l := open(t, embedded.Config{})
	p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := p
	other.Creator = []byte("OtherMSP")
	other.TxID = fmt.Sprintf("%x", sha256.Sum256(append(bytes.Clone(p.Nonce), other.Creator...)))
	bare := p
	bare.Nonce = nil
	bare.TxID = fmt.Sprintf("%x", sha256.Sum256(p.Creator))
	nonce := p
	nonce.Nonce = append(bytes.Clone(p.Nonce), 0)
	for name, p := range map[string]ledger.Proposal{"another's": other, "without nonce": bare, "with another nonce": nonce} {
		_, err := l.Submit(context.Background(), p, nil, func() error { t.Errorf("%s: it is about to be sent", name); return nil })
		wantClass(t, err, ledger.NotSent)
	}
}

func TestNonceFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	open(t, embedded.Config{Path: path}).Close()
	l := open(t, embedded.Config{Path: path, Random: strings.NewReader("short")})
	if _, err := l.Prepare(ledgertest.Outer, ledgertest.Script, nil); err == nil {
		t.Error("a proposal was made of no randomness")
	}
	_, err := l.Query(context.Background(), ledgertest.Outer, ledgertest.Script)
	wantClass(t, err, ledger.NotSent)
}

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestTimeWindow(t *testing.T) {
	c := &clock{now: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)}
	l := open(t, embedded.Config{Clock: c.Now, TimeWindow: time.Minute})
	for name, each := range map[string]struct {
		held time.Duration
		ok   bool
	}{
		"at once":      {0, true},
		"in time":      {time.Minute, true},
		"late":         {time.Minute + 1, false},
		"set back":     {-time.Minute, true},
		"far set back": {-time.Minute - 1, false},
	} {
		p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Put(name, "1")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.Submit(context.Background(), p, nil, func() error { c.move(each.held); return nil })
		if each.ok != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
		if !each.ok {
			wantClass(t, err, ledger.NotSent)
			if _, err := l.Transaction(context.Background(), p.TxID); !errors.Is(err, ledger.ErrNotFound) {
				t.Errorf("%s: it stands in a block, %v", name, err)
			}
			if _, err := l.Submit(context.Background(), p, nil, nil); err != nil { // stamped anew
				t.Errorf("%s: the next try: %v", name, err)
			}
		}
	}
}

// Whoever gives up while his transaction is with the committer can't know, and finds it by its ID.
func TestGivenUp(t *testing.T) {
	var gate sync.Mutex // the committer looks at the clock; who holds the gate stops it there
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	armed, asked := false, make(chan struct{})
	var state sync.Mutex
	l := open(t, embedded.Config{Clock: func() time.Time {
		state.Lock()
		stop := armed
		armed = false
		state.Unlock()
		if stop {
			close(asked)
			gate.Lock()
			defer gate.Unlock()
		}
		return time.Now()
	}})
	p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Put("a", "1")})
	if err != nil {
		t.Fatal(err)
	}
	gate.Lock()
	go func() {
		<-asked
		cancel()
	}()
	_, err = l.Submit(ctx, p, nil, func() error {
		state.Lock()
		defer state.Unlock()
		armed = true
		return nil
	})
	wantClass(t, err, ledger.Unknown)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the context's", err)
	}
	gate.Unlock()
	for b, err := range l.Blocks(context.Background(), 1) {
		if err != nil || b.Transactions[0].ID != p.TxID || b.Transactions[0].Validation != ledger.Valid {
			t.Errorf("block 1 is %+v, %v", b, err)
		}
		break
	}
}

// Close lets followers and writers go.
func TestCloseWithWaiters(t *testing.T) {
	l := open(t, embedded.Config{})
	waiting := make(chan struct{})
	ended := make(chan error)
	go func() {
		for b, err := range l.Blocks(context.Background(), 0) {
			if err != nil {
				ended <- err
				return
			}
			if b.Number == 0 {
				close(waiting)
			}
		}
		ended <- nil
	}()
	<-waiting
	p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Put("a", "1")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Submit(context.Background(), p, nil, l.Close)
	wantClass(t, err, ledger.NotSent)
	if !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("Submit: %v", err)
	}
	if err := <-ended; !errors.Is(err, embedded.ErrClosed) {
		t.Errorf("Blocks ended with %v", err)
	}
}

// Openings are nowhere in the file.
func TestTransientNotInFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l := open(t, embedded.Config{Path: path})
	p, err := l.Prepare(ledgertest.Outer, ledgertest.Script, [][]byte{ledgertest.Transient(), ledgertest.Put("a", "in the open")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Submit(context.Background(), p, map[string][]byte{"opening": []byte("89860112345678901234")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, []byte("in the open")) || bytes.Contains(file, []byte("89860112345678901234")) {
		t.Error("the file has not the value, or has the transient field")
	}
}
