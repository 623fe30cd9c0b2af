package ledgertest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
)

func testProposal(t *testing.T, c *channel) {
	args := [][]byte{Put(c.key("a"), "1")}
	p, q := c.prepare(args...), c.prepare(args...)
	sum := sha256.Sum256(slices.Concat(p.Nonce, p.Creator))
	if p.TxID != hex.EncodeToString(sum[:]) {
		t.Errorf("ID is %s, want SHA-256(nonce ‖ creator)", p.TxID)
	}
	if p.TxID == q.TxID {
		t.Error("two proposals have one ID")
	}
	if p.Contract != Outer || p.Function != Script || len(p.Args) != 1 || !bytes.Equal(p.Args[0], args[0]) {
		t.Errorf("proposal is of %s %s %q", p.Contract, p.Function, p.Args)
	}
	c.absent(p.TxID)

	forged := p
	forged.TxID = q.TxID
	_, err := c.Submit(context.Background(), forged, nil, func() error {
		t.Error("a proposal with another's ID is about to be sent")
		return errors.New("stop")
	})
	c.wantFailure(err, ledger.NotSent)
	c.absent(q.TxID)
}

func testCommit(t *testing.T, c *channel) {
	begun := time.Now()
	commit, seen := c.submit(Self(), Put(c.key("b"), "2"), Put(c.key("a"), "1"), Delete(c.key("c")))
	tx := c.transaction(commit.TxID)
	if seen[0].Channel != c.Channel() || seen[0].TxID != commit.TxID || seen[0].Creator == "" || seen[0].Creator != tx.Creator {
		t.Errorf("the contract saw %+v, creator is %q", seen[0], tx.Creator)
	}
	if !seen[0].Time.Equal(tx.Time) || tx.Time.Sub(begun).Abs() > time.Hour {
		t.Errorf("time is %v, the contract saw %v, the test %v", tx.Time, seen[0].Time, begun)
	}
	if tx.ID != commit.TxID || tx.BlockNumber != commit.BlockNumber || tx.Validation != ledger.Valid {
		t.Errorf("transaction is %s in block %d, %s; commit %+v", tx.ID, tx.BlockNumber, tx.Validation, commit)
	}
	if tx.Contract != Outer || tx.Function != Script || len(tx.Args) != 4 || !bytes.Equal(tx.Args[1], Put(c.key("b"), "2")) {
		t.Errorf("call is %s %s %q", tx.Contract, tx.Function, tx.Args)
	}
	want := writes([]ledger.Write{
		{Contract: Outer, Key: c.key("a"), Value: []byte("1")},
		{Contract: Outer, Key: c.key("b"), Value: []byte("2")},
		{Contract: Outer, Key: c.key("c"), Deleted: true},
	})
	if got := writes(tx.Writes); got != want {
		t.Errorf("writes are\n%s, want\n%s", got, want)
	}

	commit, _ = c.submit(Get(c.key("a"))) // one that only reads takes a block too
	if tx := c.transaction(commit.TxID); tx.Validation != ledger.Valid || len(tx.Writes) != 0 {
		t.Errorf("a transaction that only reads is %+v", tx)
	}
}

func testOwnWrites(t *testing.T, c *channel) {
	c.submit(Put(c.key("a"), "1"), Put(c.key("b"), "1"))
	_, seen := c.submit(
		Put(c.key("a"), "2"), Delete(c.key("b")), Put(c.key("c"), "2"),
		Get(c.key("a")), Get(c.key("b")), Get(c.key("c")), Range(c.space, c.end()), History(c.key("a")))
	if string(seen[3].Value) != "1" || string(seen[4].Value) != "1" || seen[5].Found {
		t.Errorf("a transaction saw its own writes: %q %q %q", seen[3].Value, seen[4].Value, seen[5].Value)
	}
	if got := pairs(c, seen[6].List); got != "a=1 b=1" {
		t.Errorf("a range showed %s, want what was there before", got)
	}
	if len(seen[7].History) != 1 {
		t.Errorf("history showed %d writes, want that of before", len(seen[7].History))
	}
	if got := pairs(c, c.query(Range(c.space, c.end()))[0].List); got != "a=2 c=2" {
		t.Errorf("afterwards there is %s", got)
	}
	c.submit(Put(c.key("a"), "3"), Put(c.key("a"), "4"), Delete(c.key("c")), Put(c.key("c"), "5"))
	if got := pairs(c, c.query(Range(c.space, c.end()))[0].List); got != "a=4 c=5" {
		t.Errorf("of several writes of a key the last counts, but there is %s", got)
	}
}

// pairs prints a range without the space.
func pairs(c *channel, list []contract.KV) string {
	var s []string
	for _, kv := range list {
		s = append(s, strings.TrimPrefix(kv.Key, c.space)+"="+string(kv.Value))
	}
	return strings.Join(s, " ")
}

func testCalledContract(t *testing.T, c *channel) {
	k := c.key("k")
	c.submit(Put(k, "outer"), Call(Inner, Put(k, "inner")))
	commit, seen := c.submit(
		Self(), Get(k), Call(Inner, Self(), Get(k), Put(k, "inner 2")),
		Call(Inner, Get(k), Range(c.space, c.end()))) // what the call before wrote is invisible to this one too
	self, inner := seen[0], seen[2].Inner
	if string(seen[1].Value) != "outer" || string(inner[1].Value) != "inner" {
		t.Errorf("contracts share keys: outer sees %q, inner %q", seen[1].Value, inner[1].Value)
	}
	if inner[0].TxID != self.TxID || !inner[0].Time.Equal(self.Time) || inner[0].Creator != self.Creator || inner[0].Channel != self.Channel {
		t.Errorf("a called contract runs in %+v, the caller in %+v", inner[0], self)
	}
	if again := seen[3].Inner; string(again[0].Value) != "inner" || pairs(c, again[1].List) != "k=inner" {
		t.Error("a called contract saw what an earlier call wrote")
	}
	want := writes([]ledger.Write{{Contract: Inner, Key: k, Value: []byte("inner 2")}})
	if got := writes(c.transaction(commit.TxID).Writes); got != want {
		t.Errorf("writes are %s, want %s", got, want)
	}

	p, _, err := c.try(Put(k, "never"), Call(Inner, Put(k, "never"), Refuse("INNER_NO", map[string]any{"at": "k"})))
	f := c.wantFailure(err, ledger.Refused)
	if f.Refusal.Code != "INNER_NO" || f.Refusal.Details["at"] != "k" {
		t.Errorf("the refusal of a called contract arrived as %+v", f.Refusal)
	}
	c.absent(p.TxID)
	_, _, err = c.try(Call("no-such-contract", Get(k)))
	c.wantFailure(err, ledger.NotSent)
	_, _, err = c.try(Call(Inner, Panic()))
	c.wantFailure(err, ledger.NotSent)
	if got := c.value(k); got != "outer" {
		t.Errorf("refused transactions left %q", got)
	}
}

func testKeys(t *testing.T, c *channel) {
	for _, key := range []string{"", "a\x00b", "\x00", "a\xff", "\xc3\x28"} {
		for _, step := range [][]byte{Put(key, "1"), Delete(key)} {
			p, _, err := c.try(step)
			c.wantFailure(err, ledger.NotSent)
			c.absent(p.TxID)
		}
	}
	_, _, err := c.try(Put(c.key("empty"), "")) // a deletion on Fabric, so nothing anywhere
	c.wantFailure(err, ledger.NotSent)

	names := []string{" ", "A", "a", "a b", "a/b", "aa", "~", "é", "中文", "\U0001f4b3"} // in byte order
	values := []string{"\x00", "\xff\xfe", "{}", strings.Repeat("long", 10_000)}
	var steps [][]byte
	for i, name := range names {
		steps = append(steps, Put(c.key(name), values[i%len(values)]))
	}
	slices.Reverse(steps)
	c.submit(steps...)
	for i, kv := range c.query(Range(c.space, c.end()))[0].List {
		if kv.Key != c.key(names[i]) || string(kv.Value) != values[i%len(values)] {
			t.Errorf("in place %d is key %q with %d bytes", i, kv.Key, len(kv.Value))
		}
	}
	for _, each := range []struct {
		from, to string
		want     int
	}{
		{c.key("a"), c.key("aa"), 3}, // "a", "a b", "a/b": the end is not in it
		{c.key("b"), c.key("a"), 0},
		{c.key("a"), c.key("a"), 0},
		{c.key("中"), c.end(), 2},
	} {
		if got := c.query(Range(each.from, each.to))[0].List; len(got) != each.want {
			t.Errorf("from %q to %q are %d keys, want %d", each.from, each.to, len(got), each.want)
		}
	}
	if got := c.query(First(c.space, c.end()))[0].List; len(got) != 1 || got[0].Key != c.key(" ") {
		t.Errorf("the first key is %v", got)
	}
	if got := len(c.query(Range(c.key("~"), ""))[0].List); got < 4 {
		t.Errorf("a range without end has %d keys, want all that follow", got)
	}
}

func testHistory(t *testing.T, c *channel) {
	k := c.key("k")
	var ids []string
	for _, step := range [][]byte{Put(k, "1"), Put(k, "2"), Delete(k), Put(k, "3")} {
		commit, _ := c.submit(step, Put(k+"k", "a neighbour"))
		ids = append(ids, commit.TxID)
	}
	want := []contract.Modification{{Value: []byte("3")}, {Deleted: true}, {Value: []byte("2")}, {Value: []byte("1")}}
	got := c.query(History(k))[0].History
	if len(got) != len(want) {
		t.Fatalf("history has %d writes, want %d", len(got), len(want))
	}
	for i, m := range got {
		id := ids[len(ids)-1-i]
		if m.TxID != id || !bytes.Equal(m.Value, want[i].Value) || m.Deleted != want[i].Deleted || !m.Time.Equal(c.transaction(id).Time) {
			t.Errorf("write %d from the newest is %+v, want %+v of %s", i, m, want[i], id)
		}
	}
	if got := c.query(History(c.key("never")))[0].History; len(got) != 0 {
		t.Errorf("a key that never was has the history %v", got)
	}
}

func testEvents(t *testing.T, c *channel) {
	for _, each := range []struct {
		name  string
		steps [][]byte
		want  string
	}{
		{"none", [][]byte{Get(c.key("a"))}, ""},
		{"one", [][]byte{Emit("sold", "1")}, "sold 1"},
		{"the last wins", [][]byte{Emit("sold", "1"), Emit("bought", "2")}, "bought 2"},
		{"not a called contract's", [][]byte{Call(Inner, Emit("inner", "1"))}, ""},
		{"not even the last", [][]byte{Emit("outer", "1"), Call(Inner, Emit("inner", "2"))}, "outer 1"},
	} {
		commit, _ := c.submit(each.steps...)
		got := ""
		if e := c.transaction(commit.TxID).Event; e != nil {
			got = e.Name + " " + string(e.Payload)
		}
		if got != each.want {
			t.Errorf("%s: event is %q, want %q", each.name, got, each.want)
		}
	}
	_, _, err := c.try(Emit("", "1"))
	c.wantFailure(err, ledger.NotSent)
}

func testQuery(t *testing.T, c *channel) {
	c.submit(Put(c.key("a"), "1"))
	seen := c.query(Self(), Put(c.key("a"), "2"), Call(Inner, Put(c.key("a"), "2")), Emit("asked", ""), Get(c.key("a")))
	if string(seen[4].Value) != "1" {
		t.Errorf("a query saw its own write: %q", seen[4].Value)
	}
	if got := c.value(c.key("a")); got != "1" {
		t.Errorf("a query wrote %q", got)
	}
	c.absent(seen[0].TxID)
	_, err := c.Query(context.Background(), Outer, Script, Refuse("NOT_YOU", map[string]any{"who": "you"}))
	f := c.wantFailure(err, ledger.Refused)
	if contract.CodeOf(err) != "NOT_YOU" || f.Refusal.Details["who"] != "you" {
		t.Errorf("the refusal of a query is %+v", f.Refusal)
	}
	_, err = c.Query(context.Background(), "no-such-contract", Script)
	c.wantFailure(err, ledger.NotSent)
	_, err = c.Query(context.Background(), Outer, Script, Fault())
	c.wantFailure(err, ledger.NotSent)
}

func testTransient(t *testing.T, c *channel) {
	secret := []byte(c.space + "nobody may find this")
	p := c.prepare(Transient(), Put(c.key("a"), "1"), Emit("done", "x"), Call(Inner, Transient()))
	commit, err := c.Submit(context.Background(), p, map[string][]byte{"opening": secret}, nothing)
	if err != nil {
		t.Fatal(err)
	}
	seen := c.read(commit.Result)
	if seen[0].Transient["opening"] != Digest(secret) || seen[3].Inner[0].Transient["opening"] != Digest(secret) {
		t.Errorf("the contracts saw %v and %v", seen[0].Transient, seen[3].Inner[0].Transient)
	}
	block, err := c.Block(context.Background(), commit.BlockNumber)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(block)
	if err != nil {
		t.Fatal(err)
	}
	for _, tx := range block.Transactions {
		plain = slices.Concat(append([][]byte{plain}, tx.Args...)...)
	}
	if !bytes.Contains(plain, []byte(commit.TxID)) || bytes.Contains(plain, secret) {
		t.Error("the block has not the transaction, or has its transient field")
	}
	if got := c.query(Transient())[0].Transient; len(got) != 0 {
		t.Errorf("a query saw transient fields %v", got)
	}
}
