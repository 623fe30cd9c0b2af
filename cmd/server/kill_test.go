package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/transfer"
)

// rounds is how often the server dies at least: of four times one by an operator's word, the others by a kill.
const rounds = 11

// killedConfig takes up what a dead server left soon, and lets a crowd in from one address.
const killedConfig = `
relay: {lease: 1s, poll_interval: 50ms, backoff_min: 10ms, backoff_max: 500ms}
trade: {min_expiry: 1s, sweep_interval: 200ms}
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
	config := filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(killedConfig), 0o600))
	args := []string{"--config", config, "--data", dir}
	m := newMarket(t, 2, 4, goods{each: 3, brief: 2 * time.Second})
	for seller, cards := range slices.Collect(slices.Chunk(stock(t, dir, 2000), 1000)) {
		m.shelve(seller, cards)
	}
	kinds := []string{"confirm", "decline", "cancel"}
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	for round := 0; round < rounds || !m.busy(kinds...); round++ {
		p := startProcess(t, append(args, "serve")...)
		end, status := p.kill, -1
		switch round % 4 {
		case 2: // once in a while an operator stops it, in the middle of everything: it must end well
			end, status = p.terminate, 0
		case 3: // while it starts, mostly
			time.AfterFunc(rand.N(time.Second), p.kill)
		}
		if p.listening() {
			m.at(p)
			m.run(p.living(ctx), 3+rand.IntN(12), end)
		}
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Fatalf("round %d: the server lives, and everybody has stopped\n%s", round, p.errs)
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
	m.at(p)
	m.judge(ctx)
	t.Log(m)
	p.stop(t)
	m.onEmbeddedLedger(ctx, dir)
	fsck(t, 3000, args)
}

// onEmbeddedLedger is onLedger, for the ledger of a server that does not run.
func (m *market) onEmbeddedLedger(ctx context.Context, dir string) {
	m.t.Helper()
	l, err := embedded.Open(embedded.Config{
		Path: filepath.Join(dir, "ledger.db"), Channel: DefaultConfig().Ledger.Channel, Organisation: organisation,
		Contracts: []contract.Contract{&contract.Identity{Deployer: organisation}, &contract.Ownership{}},
	})
	check(m.t, err)
	m.onLedger(ctx, l)
	check(m.t, l.Close())
}

// fsck runs the command of that name on a server's data, and demands that it finds nothing, so many cards, and no write
// that has not ended.
func fsck(t *testing.T, cards int, args []string, env ...string) {
	t.Helper()
	if out := fsckFindsNothing(t, cards, args, env...); !strings.Contains(out, "（未完成 0）") {
		t.Errorf("fsck: some writes have not ended\n%s", out)
	}
}

// fsckFindsNothing does so, while writes may be under way.
func fsckFindsNothing(t *testing.T, cards int, args []string, env ...string) string {
	t.Helper()
	cmd := exec.Command("server", append(slices.Clone(args), "fsck")...)
	cmd.Env = append(plainEnvironment(), env...)
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"✓ 数据库与账本逐行一致", fmt.Sprint("在册卡 ", cards)} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Fatalf("fsck: %v; it should say %s\n%s", err, want, out)
		}
	}
	return string(out)
}

// stock gives the shop cards to sell.
func stock(t *testing.T, dir string, count int) []string {
	t.Helper()
	s := openSite(t, dir)
	defer s.close(t)
	number := func(n int) string { return fmt.Sprintf("898604B71922703%05d", n) }
	carrier, err := s.atConsole(soon(t), "cmcc")
	check(t, err)
	_, err = s.Service.Issue(soon(t), carrier, demoWish("stock"), transfer.IssueInput{
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
