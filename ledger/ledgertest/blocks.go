package ledgertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"cardflow/ledger"
)

const writers = 64

// testOneKey has many read one version of a key and write it: there can be one.
func testOneKey(t *testing.T, c *channel) {
	k := c.key("k")
	for round := range 2 {
		all := make([]*held, writers)
		for i := range all {
			all[i] = c.hold(c.prepare(Get(k), Put(k, fmt.Sprint(round, i))))
		}
		won := ""
		for _, h := range all {
			close(h.release)
		}
		for i, h := range all {
			o := <-h.result
			switch {
			case o.err == nil && won == "":
				won = fmt.Sprint(round, i)
			case o.err == nil:
				t.Errorf("%s and %d both wrote one version", won, i)
			case ledger.ClassOf(o.err) != ledger.Conflict:
				t.Errorf("writer %d: %v", i, o.err)
			}
			if tx := c.transaction(h.proposal.TxID); (tx.Validation == ledger.Valid) != (o.err == nil) {
				t.Errorf("writer %d: %s in its block, told %v", i, tx.Validation, o.err)
			}
		}
		if got := c.value(k); got != won {
			t.Errorf("round %d left %q, won by %q", round, got, won)
		}
	}
	if got := len(c.query(History(k))[0].History); got != 2 {
		t.Errorf("history has %d writes, want one of each round", got)
	}
}

// testManyKeys has many write keys of their own: none is in another's way.
func testManyKeys(t *testing.T, c *channel) {
	var all sync.WaitGroup
	for i := range writers {
		k := c.key(strconv.Itoa(i))
		p := c.prepare(Get(k), Put(k, "1"))
		all.Go(func() {
			if _, err := c.Submit(context.Background(), p, nil, nothing); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if got := len(c.query(Range(c.space, c.end()))[0].List); got != writers {
		t.Errorf("%d keys are there, want %d", got, writers)
	}
}

// testTransfers moves money between accounts as fast as it can. Whatever conflicts, the sum stays, and the state is what
// the valid transactions wrote, in the order of the blocks.
func testTransfers(t *testing.T, c *channel) {
	const accounts, workers, moves = 4, 8, 8
	account := func(i int) string { return c.key(strconv.Itoa(i % accounts)) }
	var steps [][]byte
	for i := range accounts {
		steps = append(steps, Put(account(i), "100"))
	}
	first, _ := c.submit(steps...)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for m := range moves {
				from, to := account(w+m), account(w+2*m+1)
				if from == to {
					continue
				}
				if err := c.move(from, to, m+1); err != nil && ledger.ClassOf(err) != ledger.Conflict {
					t.Errorf("worker %d: %v", w, err)
				}
			}
		})
	}
	all.Wait()

	replayed := map[string]string{}
	height, err := c.Height(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for number := first.BlockNumber; number < height; number++ {
		b, err := c.Block(context.Background(), number)
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Transactions {
			for _, w := range tx.Writes {
				if w.Contract == Outer {
					replayed[w.Key] = string(w.Value)
				}
			}
		}
	}
	sum := 0
	for _, kv := range c.query(Range(c.space, c.end()))[0].List {
		n, err := strconv.Atoi(string(kv.Value))
		if err != nil {
			t.Fatal(err)
		}
		sum += n
		if replayed[kv.Key] != string(kv.Value) {
			t.Errorf("account %s has %s, by its blocks %s", kv.Key, kv.Value, replayed[kv.Key])
		}
	}
	if sum != accounts*100 {
		t.Errorf("the accounts hold %d, want %d", sum, accounts*100)
	}
}

// move reads two accounts and writes them, in one transaction that depends on both: a probe can't add, so what it is to
// write has been worked out from a query, and the reads in it are checked against what the query saw.
func (c *channel) move(from, to string, amount int) error {
	result, err := c.Query(context.Background(), Outer, Script, Get(from), Get(to))
	if err != nil {
		return err
	}
	before, err := Read(result)
	if err != nil {
		return err
	}
	left, err1 := strconv.Atoi(string(before[0].Value))
	right, err2 := strconv.Atoi(string(before[1].Value))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	p, err := c.Prepare(Outer, Script, [][]byte{
		Expect(from, string(before[0].Value)), Expect(to, string(before[1].Value)),
		Put(from, strconv.Itoa(left-amount)), Put(to, strconv.Itoa(right+amount)),
	})
	if err != nil {
		return err
	}
	_, err = c.Submit(context.Background(), p, nil, nothing)
	if ledger.ClassOf(err) == ledger.Refused {
		return nil // someone was faster, and it showed before it was sent
	}
	return err
}

func testLookup(t *testing.T, c *channel) {
	commit, _ := c.submit(Put(c.key("a"), "1"))
	b, err := c.Block(context.Background(), commit.BlockNumber)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(b.Transactions, func(tx ledger.Transaction) bool { return tx.ID == commit.TxID })
	if at < 0 {
		t.Fatalf("block %d has not the transaction that was committed in it", commit.BlockNumber)
	}
	if got, want := asJSON(b.Transactions[at]), asJSON(c.transaction(commit.TxID)); got != want {
		t.Errorf("in its block it is\n%s, by its ID\n%s", got, want)
	}
	for i, tx := range b.Transactions {
		if tx.Index != i || tx.BlockNumber != b.Number {
			t.Errorf("entry %d of block %d says it is %d of %d", i, b.Number, tx.Index, tx.BlockNumber)
		}
	}
	height, err := c.Height(context.Background())
	if err != nil || height <= commit.BlockNumber {
		t.Errorf("height is %d, %v, after block %d", height, err, commit.BlockNumber)
	}
	if _, err := c.Block(context.Background(), height+1_000_000); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("a block far away: %v, want ErrNotFound", err)
	}
	for _, id := range []string{"", "nonsense", c.prepare().TxID} {
		c.absent(id)
	}
}

// asJSON prints what has pointers in it, for comparison.
func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func testBlocks(t *testing.T, c *channel) {
	c.submit(Put(c.key("a"), "1"))
	last, _ := c.submit(Put(c.key("a"), "2"))
	for _, from := range []uint64{0, 1, last.BlockNumber - 1, last.BlockNumber} {
		next, previous := from, ""
		for b, err := range c.Blocks(context.Background(), from) {
			if err != nil {
				t.Fatal(err)
			}
			if b.Number != next || (b.Number == 0) != (b.PreviousHash == "") || previous != "" && b.PreviousHash != previous {
				t.Fatalf("from %d: block %d follows on %s, want block %d on %s", from, b.Number, b.PreviousHash, next, previous)
			}
			same, err := c.Block(context.Background(), next)
			if err != nil || same.Hash != b.Hash || b.Hash == "" || asJSON(same) != asJSON(b) {
				t.Fatalf("block %d by its number is %v, %v", next, same, err)
			}
			next, previous = next+1, b.Hash
			if b.Number == last.BlockNumber {
				break
			}
		}
		if next != last.BlockNumber+1 {
			t.Errorf("from %d: the blocks ended before %d", from, next)
		}
	}
}

// testFollowers has some wait for blocks that aren't there yet, and counts that each sees every transaction once.
func testFollowers(t *testing.T, c *channel) {
	const followers, count = 8, 10
	height, err := c.Height(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var all sync.WaitGroup
	for f := range followers {
		all.Go(func() {
			next, seen := height, 0
			for b, err := range c.Blocks(ctx, height) {
				if err != nil || b.Number != next {
					t.Errorf("follower %d: block %d, %v, want %d", f, b.Number, err, next)
					return
				}
				next++
				for _, tx := range b.Transactions {
					for _, w := range tx.Writes {
						if w.Key == c.key(strconv.Itoa(seen)) {
							seen++
						}
					}
				}
				if seen == count {
					return
				}
			}
			t.Errorf("follower %d: the blocks ended after %d", f, seen)
		})
	}
	for i := range count {
		c.submit(Put(c.key(strconv.Itoa(i)), "1"))
	}
	all.Wait()

	// One who waits for what isn't there is let go when his context ends, with its error or none.
	all.Go(func() {
		for b, err := range c.Blocks(ctx, height+1_000_000) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a block far away: %d, %v", b.Number, err)
			}
		}
	})
	cancel()
	all.Wait()
}
