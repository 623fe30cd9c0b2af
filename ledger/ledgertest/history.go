package ledgertest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/contract"

	"pgregory.net/rapid"
)

// testRandomHistory plays random rounds on the ledger and on a model that a child could check. In a round some scripts are
// endorsed on one state and then sent one after the other, so that later ones may find their reads gone.
func testRandomHistory(t *testing.T, c *channel) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newChannel(rt, c.Ledger)
		m := &model{now: map[place]cell{}, history: map[place][]cell{}}
		for range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			scripts := rapid.SliceOfN(scriptOf(c), 1, 4).Draw(rt, "scripts")
			runs, holds := make([]*modelRun, len(scripts)), make([]*held, len(scripts))
			for i, s := range scripts {
				runs[i] = m.run(s)
				holds[i] = c.hold(c.prepare(s.args()...))
			}
			for i, h := range holds {
				commit, err := h.send()
				verdict := m.commit(runs[i], h.proposal.TxID)
				c.compare(h.proposal.TxID, runs[i], verdict, commit, err)
			}
		}
		c.compareState(m)
	})
}

// act is one step of a script, in one of the contracts.
type act struct {
	contract string
	do       string // get, put, delete, range, emit
	key, to  string
	value    string
}

type script []act

// scriptOf draws scripts over few keys, so that they meet.
func scriptOf(c *channel) *rapid.Generator[script] {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	acts := rapid.Custom(func(rt *rapid.T) act {
		a := act{
			contract: rapid.SampledFrom([]string{Outer, Outer, Inner}).Draw(rt, "contract"),
			do:       rapid.SampledFrom([]string{"get", "get", "put", "put", "put", "delete", "range", "emit"}).Draw(rt, "do"),
			key:      c.key(name.Draw(rt, "key")),
			value:    rapid.StringN(1, 3, -1).Draw(rt, "value"),
		}
		if a.do == "range" {
			a.to = c.key(name.Draw(rt, "to"))
		}
		return a
	})
	return rapid.Map(rapid.SliceOfN(acts, 1, 5), func(acts []act) script { return acts })
}

func (s script) args() [][]byte {
	var args [][]byte
	for _, a := range s {
		step := map[string][]byte{
			"get": Get(a.key), "put": Put(a.key, a.value), "delete": Delete(a.key),
			"range": Range(a.key, a.to), "emit": Emit("e", a.value),
		}[a.do]
		if a.contract == Inner {
			step = Call(Inner, step)
		}
		args = append(args, step)
	}
	return args
}

type place struct{ contract, key string }

// cell is a write: of what, by whom.
type cell struct {
	value   string
	deleted bool
	tx      string
}

// model is a ledger: what is there, and what was.
type model struct {
	now     map[place]cell
	history map[place][]cell
}

// modelRun is what a script saw, and wants.
type modelRun struct {
	script script
	before map[place]cell
	seen   []string // one for each act
	writes map[place]cell
	event  string
}

func (m *model) run(s script) *modelRun {
	r := &modelRun{script: s, before: maps.Clone(m.now), writes: map[place]cell{}}
	for _, a := range s {
		at, seen := place{a.contract, a.key}, ""
		switch a.do {
		case "get":
			seen = r.before[at].value
		case "put":
			r.writes[at] = cell{value: a.value}
		case "delete":
			r.writes[at] = cell{deleted: true}
		case "range":
			seen = show(a.between(r.before))
		case "emit":
			if a.contract == Outer {
				r.event = "e " + a.value
			}
		}
		r.seen = append(r.seen, seen)
	}
	return r
}

// line is one key of a range, and who wrote it.
type line struct {
	key string
	cell
}

// between is what a range holds.
func (a act) between(state map[place]cell) []line {
	var list []line
	for at, c := range state {
		if at.contract == a.contract && at.key >= a.key && at.key < a.to {
			list = append(list, line{at.key, c})
		}
	}
	slices.SortFunc(list, func(a, b line) int { return strings.Compare(a.key, b.key) })
	return list
}

// show prints a range without who wrote it.
func show(list []line) string {
	s := ""
	for _, each := range list {
		s += fmt.Sprintf("%q=%q ", each.key, each.value)
	}
	return s
}

// commit gives the verdict, and applies what is valid.
func (m *model) commit(r *modelRun, tx string) ledger.Validation {
	for _, name := range []string{Outer, Inner} {
		for _, a := range r.script {
			if at := (place{name, a.key}); a.contract == name && a.do == "get" && m.now[at] != r.before[at] {
				return ledger.ReadConflict
			}
		}
		for _, a := range r.script {
			if a.contract == name && a.do == "range" && !slices.Equal(a.between(m.now), a.between(r.before)) {
				return ledger.PhantomConflict
			}
		}
	}
	for at, c := range r.writes {
		c.tx = tx
		m.history[at] = append(m.history[at], c)
		if m.now[at] = c; c.deleted {
			delete(m.now, at)
		}
	}
	return ledger.Valid
}

// compare holds a transaction against the model.
func (c *channel) compare(id string, r *modelRun, verdict ledger.Validation, commit ledger.Commit, err error) {
	tx := c.transaction(id)
	if tx.Validation != verdict {
		c.t.Fatalf("verdict on %v is %s, want %s", r.script, tx.Validation, verdict)
	}
	if verdict != ledger.Valid {
		if f := c.wantFailure(err, ledger.Conflict); f.Validation != verdict || len(tx.Writes) > 0 || tx.Event != nil {
			c.t.Fatalf("failure is %+v of %+v, want %s", f, tx, verdict)
		}
		return
	}
	if err != nil || commit.TxID != id {
		c.t.Fatalf("Submit: %v, %+v", err, commit)
	}
	for i, seen := range c.read(commit.Result) {
		if len(seen.Inner) == 1 {
			seen = seen.Inner[0]
		}
		got := string(seen.Value)
		for _, kv := range seen.List {
			got += fmt.Sprintf("%q=%q ", kv.Key, kv.Value)
		}
		if got != r.seen[i] {
			c.t.Errorf("step %d of %v saw %s, want %s", i, r.script, got, r.seen[i])
		}
	}
	var want []ledger.Write
	for at, w := range r.writes {
		want = append(want, ledger.Write{Contract: at.contract, Key: at.key, Value: []byte(w.value), Deleted: w.deleted})
	}
	slices.SortFunc(want, func(a, b ledger.Write) int {
		return strings.Compare(a.Contract+"\x00"+a.Key, b.Contract+"\x00"+b.Key)
	})
	if writes(tx.Writes) != writes(want) {
		c.t.Errorf("writes are\n%s, want\n%s", writes(tx.Writes), writes(want))
	}
	event := ""
	if tx.Event != nil {
		event = tx.Event.Name + " " + string(tx.Event.Payload)
	}
	if event != r.event {
		c.t.Errorf("event is %q, want %q", event, r.event)
	}
}

// compareState holds what is there, and what was, against the model.
func (c *channel) compareState(m *model) {
	for _, name := range []string{Outer, Inner} {
		ask := func(steps ...[]byte) []Seen {
			if name == Outer {
				return c.query(steps...)
			}
			return c.query(Call(Inner, steps...))[0].Inner
		}
		whole := act{contract: name, key: c.space, to: c.end()}
		got := ""
		for _, kv := range ask(Range(whole.key, whole.to))[0].List {
			got += fmt.Sprintf("%q=%q ", kv.Key, kv.Value)
		}
		if want := show(whole.between(m.now)); got != want {
			c.t.Errorf("%s holds %s, want %s", name, got, want)
		}
		for at, want := range m.history {
			if at.contract == name {
				c.compareHistory(ask(History(at.key))[0].History, want)
			}
		}
	}
}

func (c *channel) compareHistory(got []contract.Modification, want []cell) {
	slices.Reverse(got)
	if len(got) != len(want) {
		c.t.Fatalf("history has %d writes, want %d", len(got), len(want))
	}
	for i, w := range want {
		if g := (cell{string(got[i].Value), got[i].Deleted, got[i].TxID}); g != w {
			c.t.Errorf("write %d of a history is %+v, want %+v", i, g, w)
		}
	}
}
