package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/model"
	"cardflow/transfer"
)

// deathVariable names a file. A server of the tests that comes to the point that stands in it removes the file, and dies
// there as a power cut would have it.
const deathVariable = "DEATH_FILE"

func deathIn(file string) func(string) {
	return func(point string) {
		if b, err := os.ReadFile(file); err != nil || string(b) != point || os.Remove(file) != nil {
			return
		}
		fmt.Fprintln(os.Stderr, "dies at "+point)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing happens here any more
	}
}

// mortal is a server and a custodian, either of which dies where a test wants it to, and is started again.
type mortal struct {
	*parted
	web, keys *process
	deaths    []string // on which side
}

func (m *mortal) file(side string) string { return filepath.Join(m.home, side+".death") }

// raise starts whoever is dead.
func (m *mortal) raise() {
	m.t.Helper()
	for _, x := range []struct {
		side string
		p    **process
		args []string
	}{{"custodian", &m.keys, []string{"--config", m.parted.keys, "custodian"}}, {"server", &m.web, []string{"--config", m.parted.web, "serve"}}} {
		if *x.p != nil {
			select {
			case <-(*x.p).ended:
				if (*x.p).cmd.ProcessState.ExitCode() != -1 {
					m.t.Fatalf("the %s ended by itself: %v\n%s", x.side, (*x.p).err, (*x.p).errs)
				}
				m.deaths = append(m.deaths, x.side)
			default:
				continue
			}
		}
		*x.p = startProcessWith(m.t, []string{deathVariable + "=" + m.file(x.side)}, x.args...)
		if x.side == "server" && !(*x.p).listening() {
			m.t.Fatalf("the server does not start:\n%s", (*x.p).errs)
		}
	}
}

// TestPartedKilled kills server and custodian, as kill -9 does, at each point of a confirmation's way through both, starts
// who is dead again, and asks again as the mini-program does. Each confirmation goes through once; custody has made one
// signature for it, and recorded just those that it made.
func TestPartedKilled(t *testing.T) {
	t.Parallel()
	points := []struct{ side, point string }{
		{"custodian", "custodian: asked LogInConsumer"},
		{"custodian", "custodian: did LogInConsumer"},
		{"custodian", "custodian: asked Authorise"},
		{"custodian", "custodian: did Authorise"},
		{"custodian", "custodian: asked Sign"},
		{"custodian", "custody: " + custody.AtIntending},
		{"custodian", "custody: " + custody.AtIntended},
		{"custodian", "custody: " + custody.AtSigned},
		{"custodian", "custody: " + custody.AtKept},
		{"custodian", "custodian: did Sign"},
		{"server", "transfer: " + transfer.AtAuthorised},
		{"server", "transfer: " + transfer.AtAccepting},
		{"server", "transfer: " + transfer.AtAccepted},
		{"server", "handler: " + handler.AtReply},
		{"server", "transfer: " + transfer.AtIntending},
		{"server", "transfer: " + transfer.AtIntended},
		{"server", "transfer: " + transfer.AtSigned},
		{"server", "transfer: " + transfer.AtStored},
		{"server", "transfer: " + transfer.AtLeaving},
		{"server", "transfer: " + transfer.AtSettling},
	}
	m := &mortal{parted: newParted(t, demoWorld(t))}
	m.raise()
	until(t, "the custodian", func() bool { return says(m.web, "ok") })
	shop := &visitor{newClient(m.web.url, "shop"), t}
	check(t, shop.login(soon(t), "xiaowang", demoPassword))
	var trades []trade
	for n := range points {
		number := fmt.Sprintf("898604B71922702740%02d", 20+n)
		var made struct{ Trades []trade }
		shop.post("/trades", map[string]any{"mode": "BEARER", "segments": []any{cards(number, number)}}, &made)
		trades = append(trades, made.Trades...)
	}
	for i := range trades {
		until(t, "an offer", func() bool {
			shop.get("/trades/"+trades[i].TradeID, &trades[i])
			return trades[i].State == "offered"
		})
	}
	li := &visitor{newClient(m.web.url, "li"), t}
	check(t, li.wechat(soon(t), "demo:小李"))
	before := len(li.owns())
	acts := map[string]bool{}
	for n, x := range points {
		m.deaths = nil
		check(t, os.WriteFile(m.file(x.side), []byte(x.point), 0o600))
		acts[m.confirms(fmt.Sprintf("confirms-%02d", n), trades[n])] = true
		if _, err := os.Stat(m.file(x.side)); err == nil || !slices.Equal(m.deaths, []string{x.side}) {
			t.Fatalf("to die at %q, died: %v", x.point, m.deaths)
		}
	}
	if len(acts) != len(points) {
		t.Errorf("%d acts of %d confirmations", len(acts), len(points))
	}
	li = &visitor{newClient(m.web.url, "li"), t}
	check(t, li.wechat(soon(t), "demo:小李"))
	if got := numbers(li.owns()); len(got) != before+len(points) {
		t.Errorf("he has %v", got)
	}
	m.web.stop(t)
	m.keys.stop(t)

	// fsck holds the sign log against the audit, and all of it against the ledger.
	fsck := exec.Command("server", "--config", m.parted.keys, "fsck")
	fsck.Env = append(plainEnvironment(), "CARDFLOW_LEDGER_FILE="+filepath.Join(m.dir, "ledger.db"), "CARDFLOW_VAULT_OTHER_JOURNALS="+filepath.Join(m.dir, "journal"))
	if out, err := fsck.CombinedOutput(); err != nil || !strings.Contains(string(out), "（未完成 0）") {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	m.signatures(acts)
}

// confirms asks for a confirmation, under one name, until it is done, and answers its act.
func (m *mortal) confirms(name string, of trade) (act string) {
	token, url := "", ""
	until(m.t, "confirmation "+name, func() bool {
		m.raise()
		if url != m.web.url {
			token, url = "", m.web.url // a restart has logged him out
		}
		v := newClient(url, name)
		defer v.http.CloseIdleConnections()
		v.token = token
		if token == "" {
			if err := v.wechat(soon(m.t), "demo:小李"); err != nil {
				return m.again(err)
			}
			token = v.token
		}
		var c confirmation
		if act == "" {
			b, err := json.Marshal(shows(of))
			check(m.t, err)
			r, err := http.NewRequestWithContext(soon(m.t), http.MethodPost, v.base+"/trades/"+of.TradeID+"/confirm", bytes.NewReader(b))
			check(m.t, err)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", name)
			if err := v.do(r, &c); err != nil {
				return m.again(err)
			}
			act = c.ConfirmationID
		}
		if err := v.call(soon(m.t), http.MethodGet, "/confirmations/"+act, nil, &c); err != nil {
			return m.again(err)
		}
		if c.Error != nil || c.State == "failed" {
			m.t.Fatalf("%s failed: %+v", name, c)
		}
		return c.State == "committed"
	})
	m.raise() // who died when it was as good as done
	return act
}

// again: what one is told while somebody dies. Everything else is a refusal.
func (m *mortal) again(err error) bool {
	var told *apiError
	if errors.As(err, &told) && told.Status != http.StatusServiceUnavailable && told.Code != "REQUEST_TIMEOUT" {
		m.t.Fatalf("refused: %v", err)
	}
	return false
}

// signatures demands one signature of each act, one intent of it in the audit, and none without the other.
func (m *mortal) signatures(acts map[string]bool) {
	t := m.t
	t.Helper()
	c, err := Load(m.parted.keys, nil)
	check(t, err)
	app := &App{Config: c, Logger: newLogger(LogConfig{}, os.Stderr), cancel: func() {}}
	check(t, app.openDatabase(soon(t), soon(t)))
	defer app.Close(soon(t))
	lines, intents := map[string]int{}, map[string]int{}
	check(t, app.DB.Read(soon(t), func(tx *model.Tx) error {
		all, err := tx.SignaturesAfter(0, 100_000)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Signature == nil {
				t.Errorf("of %s/%s there is an intent, and no signature", s.Owner, s.Subject)
			}
			if acts[s.Subject] && s.Purpose == "Confirm" {
				lines[s.Subject]++
			}
		}
		rows, err := tx.AuditRows(0, 100_000)
		for _, row := range rows {
			if row.Act == "sign.intent" && acts[row.Subject] && strings.Contains(row.Detail, `"Confirm"`) {
				intents[row.Subject]++
			}
		}
		return err
	}))
	for act := range acts {
		if lines[act] != 1 || intents[act] != 1 {
			t.Errorf("act %s has %d lines in the sign log, and %d intents in the audit", act, lines[act], intents[act])
		}
	}
}
