//go:build crash

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	enterprise "cardflow/terminal"
	"cardflow/terminal/protocol"
)

// terminalPoints are those of a terminal's way from the scanner to the end of a request, and what a kill there leaves: scans, or a
// request in the queue.
var terminalPoints = []struct {
	at   string
	left string // "", scans, queue
}{
	{enterprise.AtKeeping, ""}, {enterprise.AtKept, "scans"}, {enterprise.AtQueueing, "scans"}, {enterprise.AtQueued, "queue"}, {enterprise.AtSending, "queue"},
	{enterprise.AtSent, "queue"}, {enterprise.AtNoted, "queue"},
}

// TestCrashTerminal: a terminal dies at every point of `out` and of `in`, against a real server. Switched on again it goes on where
// it was; each request goes out exactly once, and the cards are where they belong.
func TestCrashTerminal(t *testing.T) {
	t.Parallel()
	dir, config := demoWorld(t), filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(crashConfig), 0o600))
	args := []string{"--config", config, "--data", dir, "serve"}
	p := served(t, nil, args)
	program := filepath.Join(t.TempDir(), "terminal")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "crash", "-o", program, "cardflow/cmd/terminal").CombinedOutput(); err != nil {
		t.Fatalf("build the terminal: %v\n%s", err, out)
	}
	seller, shop := newCrashTerminal(t, program, p.url, "hualian", "SN-CRASH-1"), newCrashTerminal(t, program, p.url, "xiaowang", "SN-CRASH-2")
	before := shop.stock()
	for n, point := range terminalPoints {
		first, last := fmt.Sprintf("898604B7192270274%d", 200+2*n), fmt.Sprintf("898604B7192270274%d", 201+2*n)
		scans := "box\n" + first + "\n" + last + "\n"
		seller.dies(point.at, point.left, scans, "out", "--to", "xiaowang", "--yes")
		offers := shop.offers(1)
		if offers[0].Count != 2 || offers[0].Segments[0] != (protocol.Span{Start: first, End: last}) {
			t.Fatalf("out, killed at %s: the shop is offered %+v", point.at, offers)
		}
		shop.dies(point.at, point.left, scans, "in", "--trade", offers[0].Trade, "--yes")
		shop.offers(0)
		var life protocol.Trace
		shop.says(&life, "trace", first)
		if hop := life.Hops[len(life.Hops)-1]; !life.Mine || len(life.Hops) != 1 || hop.Device != "SN-CRASH-1" || hop.EndDevice != "SN-CRASH-2" {
			t.Errorf("killed at %s, a card's life is %+v", point.at, life)
		}
	}
	if got, want := shop.stock()-before, uint64(2*len(terminalPoints)); got != want {
		t.Errorf("the shop has %d cards more, not %d", got, want)
	}
	for _, m := range []*crashTerminal{seller, shop} {
		m.onlyOnce(len(terminalPoints))
	}
	p.stop(t)
	fsck(t, 1000, args[:4])
}

// crashTerminal is a terminal that dies now and then.
type crashTerminal struct {
	t                 *testing.T
	program, dir, pin string
}

// newCrashTerminal enrols a terminal of a demo's organisation.
func newCrashTerminal(t *testing.T, program, url, username, serial string) *crashTerminal {
	t.Helper()
	m := &crashTerminal{t, program, filepath.Join(t.TempDir(), "terminal"), filepath.Join(t.TempDir(), "pin")}
	check(t, os.WriteFile(m.pin, []byte("314159\n"), 0o600))
	admin := &visitor{newClient(url, username), t}
	check(t, admin.login(soon(t), username, demoPassword))
	var made struct{ Ticket string }
	until(t, "a gateway key to be on the ledger", func() bool {
		return admin.call(soon(t), http.MethodPost, "/devices", map[string]string{"name": "终端 " + serial}, &made) == nil
	})
	m.says(nil, "enrol", "--server", url, "--ticket", made.Ticket, "--serial", serial)
	until(t, "the terminal's key to be on the ledger", func() bool {
		var status struct{ Device protocol.Device }
		m.says(&status, "status")
		return status.Device.State == protocol.DeviceActive
	})
	return m
}

// run runs a command, which may be killed at a point.
func (m *crashTerminal) run(at, stdin string, args ...string) (stdout, stderr string, err error) {
	m.t.Helper()
	cmd := exec.CommandContext(m.t.Context(), m.program, append([]string{"--json", "--dir", m.dir, "--pin-file", m.pin}, args...)...)
	cmd.Env, cmd.Stdin = append(plainEnvironment(), "NO_PROXY=*", "no_proxy=*", crashAtVariable+"="+at), strings.NewReader(stdin)
	var out, log strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &log
	err = cmd.Run()
	return out.String(), log.String(), err
}

// says runs a command that has to end well, and reads what it says.
func (m *crashTerminal) says(into any, args ...string) {
	m.t.Helper()
	out, log, err := m.run("", "", args...)
	if err == nil && into != nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		m.t.Fatalf("terminal %s: %v\n%s%s", strings.Join(args, " "), err, out, log)
	}
}

// dies runs a command until it is killed at a point, and then goes on as a person would.
func (m *crashTerminal) dies(at, left, scans string, args ...string) {
	m.t.Helper()
	out, log, err := m.run(at, scans, args...)
	if status, ok := exitOf(err); !ok || status.Signal() != syscall.SIGKILL {
		m.t.Fatalf("terminal %s, to be killed at %s: %v\n%s%s", args[0], at, err, out, log)
	}
	defer m.ends()
	if left == "queue" {
		return
	}
	if left == "" {
		// Nothing was counted on the disk: it begins anew.
		if out, log, err = m.run("", scans, args...); err != nil {
			m.t.Fatalf("terminal %s after a kill at %s: %v\n%s%s", args[0], at, err, out, log)
		}
		return
	}
	if out, log, err = m.run("", scans, args...); err == nil || !strings.Contains(out, "SCANS_UNFINISHED") {
		m.t.Fatalf("terminal %s after a kill at %s forgets what was scanned: %v\n%s%s", args[0], at, err, out, log)
	}
	m.says(nil, append(args, "--continue")...)
}

// ends sends what is in the queue until all of it has ended: a slow server has it for a while.
func (m *crashTerminal) ends() {
	m.t.Helper()
	until(m.t, "the queue to end", func() bool {
		var queue struct{ Requests []enterprise.Entry }
		m.says(&queue, "queue", "send")
		return !slices.ContainsFunc(queue.Requests, func(e enterprise.Entry) bool { return !e.Ended() })
	})
}

func exitOf(err error) (syscall.WaitStatus, bool) {
	exit, ok := err.(*exec.ExitError)
	if !ok {
		return 0, false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return status, ok
}

func (m *crashTerminal) stock() uint64 {
	var stock struct{ Count uint64 }
	m.says(&stock, "stock")
	return stock.Count
}

// offers waits until so many trades are offered.
func (m *crashTerminal) offers(want int) []protocol.Trade {
	m.t.Helper()
	var list protocol.Trades
	until(m.t, fmt.Sprintf("%d trades to be offered", want), func() bool {
		m.says(&list, "in", "--list")
		return len(list.Trades) == want
	})
	return list.Trades
}

// onlyOnce demands that the queue holds so many requests, and that each was carried out by a transaction of its own.
func (m *crashTerminal) onlyOnce(want int) {
	m.t.Helper()
	var queue struct{ Requests []enterprise.Entry }
	m.says(&queue, "queue")
	txs := map[string]bool{}
	for _, e := range queue.Requests {
		if txs[e.TxID] = true; e.State != enterprise.Committed {
			m.t.Errorf("request %d is %s", e.Sequence, e.State)
		}
	}
	if len(queue.Requests) != want || len(txs) != want {
		m.t.Errorf("%d requests in %d transactions, not %d", len(queue.Requests), len(txs), want)
	}
}
