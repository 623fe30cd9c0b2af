package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/transfer"
)

// rounds is how often the server dies at least: of four times one by an operator's word, the others by a kill.
const rounds = 11

// killedConfig takes up what a dead server left soon, and lets a crowd in from one address.
const killedConfig = `
relay: {lease: 1s, poll_interval: 50ms, backoff_min: 10ms, backoff_max: 500ms}
limits:
  wrong_codes: 100 per 1s
  wrong_codes_per_address: 100000 per 1m
  wrong_codes_platform: 100000 per 1m
  lookups_per_address: 100000 per 1m
  lookups_platform: 100000 per 1m
  logins_per_address: 100000 per 1m
  requests_per_address: 1000000 per 1m
log: {level: warn}
`

// TestKilled kills a server under load, at moments that nobody chose, again and again on the same data. At the end
// every write that it had accepted has happened exactly once, whoever was told "committed" was told the truth, and
// database and ledger agree.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	cards := stock(t, dir, 2000)
	config := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(killedConfig), 0o600))
	args := []string{"--config", config, "--data", dir}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	m := newMarket(t, cards)
	for round := 0; round < rounds || !m.busy(); round++ {
		p := startProcess(t, append(args, "serve")...)
		end, status := p.kill, -1
		switch round % 4 {
		case 2: // once in a while an operator stops it, in the middle of everything: it must end well
			end, status = p.terminate, 0
		case 3: // while it starts, mostly
			time.AfterFunc(time.Duration(rand.IntN(int(time.Second))), p.kill)
		}
		var why error
		if p.listening() {
			why = m.run(ctx, p.url, 3+rand.IntN(12), end)
		}
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Fatalf("round %d: the server lives, and everybody has stopped: %v\n%s", round, why, p.errs)
		}
		if got := p.cmd.ProcessState.ExitCode(); got != status {
			t.Fatalf("round %d: the server ended with %d, %v, want %d\n%s", round, got, p.err, status, p.errs)
		}
		if t.Failed() {
			t.Fatalf("round %d:\n%s", round, p.errs)
		}
	}

	p := startProcess(t, append(args, "serve")...)
	if !p.listening() {
		t.Fatalf("the server does not start:\n%s", p.errs)
	}
	if m.unanswered == 0 {
		t.Error("the server was never killed while it had something to answer")
	}
	check(t, m.finish(ctx, p.url))
	m.settled()
	m.owned()
	p.stop(t)
	fsck := exec.Command("server", append(args, "fsck")...)
	fsck.Env = plainEnvironment()
	out, err := fsck.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "✓ 数据库与账本逐行一致") || !strings.Contains(string(out), "在册卡 3000") {
		t.Errorf("fsck: %v\n%s", err, out)
	}
}

// stock gives the shop cards to sell.
func stock(t *testing.T, dir string, count int) []string {
	t.Helper()
	s := openSite(t, dir)
	defer s.close(t)
	number := func(n int) string { return fmt.Sprintf("898604B71922703%05d", n) }
	_, err := s.Service.Issue(soon(t), demoCaller("cmcc"), demoWish("stock"), transfer.IssueInput{
		Segments: []transfer.Span{{Start: number(0), End: number(count - 1)}},
	})
	check(t, err)
	check(t, s.seedSale(soon(t), "cmcc", "xiaowang", number(0), number(count-1)))
	cards := make([]string, count)
	for n := range cards {
		cards[n] = number(n)
	}
	return cards
}

// settled waits until every write that was accepted has ended, and demands that it is committed: what is accepted has
// its trade to itself. Nobody who was told so before may be told otherwise now.
func (m *market) settled() {
	m.t.Helper()
	told := map[string]int{}
	for _, id := range slices.Sorted(maps.Keys(m.fates)) {
		f := m.fates[id]
		var now confirmation
		until(m.t, f.what+" "+id+" to end", func() bool {
			check(m.t, f.who.call(soon(m.t), http.MethodGet, "/confirmations/"+id, nil, &now))
			return now.State == "committed" || now.State == "failed"
		})
		if now.State != "committed" {
			m.t.Errorf("%s of trade %s was accepted and has failed: %+v", f.what, f.trade.TradeID, now.Error)
		}
		if f.txID != "" && now.TxID != f.txID {
			m.t.Errorf("%s of trade %s was committed in %s and is now in %q", f.what, f.trade.TradeID, f.txID, now.TxID)
		}
		if f.txID != "" {
			told[f.what]++
		}
	}
	m.t.Logf("%d offers; %d requests that got no answer; %d writes accepted, of which the server said before it died that they are committed: %v",
		len(m.offered), m.unanswered, len(m.fates), told)
}

// owned demands that each buyer has exactly the cards that he confirmed, and that no trade was ended twice.
func (m *market) owned() {
	m.t.Helper()
	want, ended := map[*hand][]string{}, map[string]string{}
	for id, f := range m.fates {
		if other, twice := ended[f.trade.TradeID]; twice {
			m.t.Errorf("trade %s was ended by %s and by %s", f.trade.TradeID, other, id)
		}
		ended[f.trade.TradeID] = id
		if f.what == "confirm" {
			want[f.who] = append(want[f.who], f.trade.Segments[0].Start)
		}
	}
	for _, h := range m.hands {
		if h.sells() {
			continue
		}
		slices.Sort(want[h])
		v := &visitor{h.client, m.t}
		if got := numbers(v.owns()); !slices.Equal(got, want[h]) {
			m.t.Errorf("%s confirmed %v and owns %v", h.name, want[h], got)
		}
	}
}
