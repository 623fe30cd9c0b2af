package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/text/width"

	"cardflow/model/modeltest"
)

// TestCommands runs the scripts in testdata, each in a directory of its own, with the server in PATH. Beside what
// testscript knows they have:
//
//	exits N command args…   runs a command, which must end with exit status N
//	played dir file         copies the data that a demo kept, and what it printed
//	columns N file          demands that no line of a file (or of stdout) is wider than N terminal columns
//	damage dir              gives a lot to somebody else in the database; $LOT is its hash
//	key NAME file           takes the first key's ID out of a list in JSON
//	proposal file           finds the ID of a proposal in a file (or in stdout); $PROPOSAL is it
//	tamper dir sql…         drops the guards of the audit in the database and changes it
//	consumer NAME file      takes the first consumer out of such a list
//	recovered dir WHO       waits until the recovery of somebody is done
//	hold dir                runs a server on a directory until the script ends; $HELD is where it listens. Where its root is
//	                        it reads in CARDFLOW_CUSTODY_…
//	stop dir                stops it before, and demands that it has said nothing that is secret
//	sold WHO FROM TO        sells cards of the shop's, by their last two digits, at $HELD, to somebody of WeChat who confirms
//	handset WHO             enrols a terminal for somebody's organisation at $HELD
//	named NAME file         takes the first ID out of what is printed in JSON
//	asks WANT BY            has it ask with $HELD for an answer by one gateway key, which another one must sign ("" is any)
//	parted dir              takes a directory apart: $KEEPER is its custodian's configuration, $SERVER the server's. From then on
//	                        hold and stop know keeper and server
//	papers file NAME        makes of what a ceremony printed the files NAME1, NAME2…, a share each, of two lines
//
// [sqlite] and [mysql] before a line say on which database it is run.
func TestCommands(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Condition: func(engine string) (bool, error) { return engine == modeltest.Engine(t), nil },
		Setup: func(e *testscript.Env) error {
			for _, pair := range os.Environ() {
				name, value, _ := strings.Cut(pair, "=")
				switch {
				case strings.HasPrefix(name, "CARDFLOW_TEST_"):
					e.Setenv(name, value) // which engines this run is about
				case strings.HasPrefix(name, "CARDFLOW_"):
					e.Setenv(name, "")
				}
			}
			// The directories that scripts use have databases.
			for _, dir := range []string{"data", "other", "fresh", "new", "third"} {
				placeOf(t, filepath.Join(e.WorkDir, dir))
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "columns": narrow, "proposal": proposalIn,
			"damage":    func(ts *testscript.TestScript, _ bool, args []string) { damage(t, ts, args[0]) },
			"key":       takeKey(func(k listedKey) string { return k.ID }),
			"recovered": recovered,
			"consumer":  takeKey(func(k listedKey) string { return map[bool]string{true: k.Owner}[k.Role == "consumer"] }),
			"hold":      func(ts *testscript.TestScript, _ bool, args []string) { hold(t, ts, args[0]) },
			"stop":      func(ts *testscript.TestScript, _ bool, args []string) { stop(t, ts, args[0]) },
			"papers":    papers,
			"sold":      func(ts *testscript.TestScript, _ bool, args []string) { sold(t, ts, args[0], args[1], args[2]) },
			"handset":   func(ts *testscript.TestScript, _ bool, args []string) { enrolled(t, ts, args[0]) },
			"asks":      handsetAsks,
			"named": func(ts *testscript.TestScript, _ bool, args []string) {
				m := regexp.MustCompile(`"id":"([0-9a-f]+)"`).FindStringSubmatch(ts.ReadFile(args[1]))
				if m == nil {
					ts.Fatalf("nothing in %s has an ID", args[1])
				}
				ts.Setenv(args[0], m[1])
			},
			"parted": func(ts *testscript.TestScript, _ bool, args []string) { takeApart(t, ts, args[0]) },
			"tamper": func(ts *testscript.TestScript, _ bool, args []string) { tamper(t, ts, args[0], args[1:]) },
			"played": func(ts *testscript.TestScript, _ bool, args []string) {
				p := demoPlayed(t)
				ts.Check(p.err)
				p.copyTo(t, ts.MkAbs(args[0]))
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(p.stdout), 0o600))
			},
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

func proposalIn(ts *testscript.TestScript, _ bool, args []string) {
	id := regexp.MustCompile(`[0-9a-f]{32}`).FindString(ts.ReadFile(args[0]))
	if id == "" {
		ts.Fatalf("there is no proposal in %s", args[0])
	}
	ts.Setenv("PROPOSAL", id)
}

func narrow(ts *testscript.TestScript, _ bool, args []string) {
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		if n := terminalColumns(strings.TrimSuffix(line, "\n")); n > most {
			ts.Fatalf("%d columns: %s", n, line)
		}
	}
}

// terminalColumns is how wide a terminal shows a line, by Unicode's own table (UAX #11) rather than by ours.
func terminalColumns(line string) int {
	n := 0
	for _, r := range line {
		n++
		if kind := width.LookupRune(r).Kind(); kind == width.EastAsianWide || kind == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}

// databaseOf opens the database of a directory past everything that package model forbids.
func databaseOf(t *testing.T, ts *testscript.TestScript, dir string) *sql.DB {
	driver, dsn := "sqlite", filepath.Join(ts.MkAbs(dir), "cardflow.db")
	if place := placeOf(t, ts.MkAbs(dir)); place != nil {
		driver, dsn = place.Config.Driver, place.Config.DSN
	}
	db, err := sql.Open(driver, dsn)
	ts.Check(err)
	return db
}

func tamper(t *testing.T, ts *testscript.TestScript, dir string, statements []string) {
	db := databaseOf(t, ts, dir)
	defer db.Close()
	for _, trigger := range []string{"custody_audit_update", "custody_audit_delete", "custody_audit_head_moves", "custody_anchors_update", "custody_anchors_delete"} {
		_, err := db.Exec("DROP TRIGGER IF EXISTS " + trigger)
		ts.Check(err)
	}
	for _, s := range statements {
		_, err := db.Exec(s)
		ts.Check(err)
	}
}

func damage(t *testing.T, ts *testscript.TestScript, dir string) {
	db := databaseOf(t, ts, dir)
	defer db.Close()
	var hash string
	ts.Check(db.QueryRow(`SELECT hash FROM lots WHERE owner = 'xiaowang' AND status = 'OWNED'`).Scan(&hash))
	_, err := db.Exec(`UPDATE lots SET owner = 'hualian' WHERE hash = ?`, hash)
	ts.Check(err)
	ts.Setenv("LOT", hash)
}

func recovered(ts *testscript.TestScript, _ bool, args []string) {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var all struct{ State string }
		ts.Check(ts.Exec("server", "--data", args[0], "keys", "recover", args[1], "--json"))
		ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &all))
		if all.State == "" { // it would begin another one: that one is done
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the recovery is still %s", all.State)
		}
	}
}

type listedKey struct{ ID, Owner, Role string }

// takeKey puts something of the first key in a list that has it into a variable.
func takeKey(of func(listedKey) string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		var list struct{ Items []listedKey }
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &list))
		for _, k := range list.Items {
			if text := of(k); text != "" {
				ts.Setenv(args[0], text)
				return
			}
		}
		ts.Fatalf("there is no such key")
	}
}

func hold(t *testing.T, ts *testscript.TestScript, dir string) {
	env := []string{"CARDFLOW_CUSTODY_GUARDS=true", "SOFTHSM2_CONF=" + ts.Getenv("SOFTHSM2_CONF")}
	for _, name := range []string{"KIND", "ROOT_KEY_FILE", "PKCS11_MODULE", "PKCS11_TOKEN", "PKCS11_PIN_FILE", "PKCS11_KEY"} {
		v := ts.Getenv("CARDFLOW_CUSTODY_" + name)
		if name == "PKCS11_PIN_FILE" && v != "" {
			v = ts.MkAbs(v)
		}
		if v != "" {
			env = append(env, "CARDFLOW_CUSTODY_"+name+"="+v)
		}
	}
	args := []string{"--data", ts.MkAbs(dir), "serve"}
	if file := ts.Getenv(map[string]string{"keeper": "KEEPER", "server": "SERVER"}[dir]); file != "" {
		args = []string{"--config", file, map[string]string{"keeper": "custodian", "server": "serve"}[dir]}
	}
	keeper := args[2] == "custodian"
	p := startProcessWith(t, env, args...)
	ts.Defer(func() { p.kill(); <-p.ended })
	if keeper && !p.keeping() || !keeper && !p.listening() {
		ts.Fatalf("no server on %s: %s", dir, p.errs)
	}
	held.Store(ts.MkAbs(dir), p)
	if keeper {
		return
	}
	ts.Setenv("HELD", strings.TrimPrefix(p.url, "http://"))
}

func sold(t *testing.T, ts *testscript.TestScript, who, from, to string) {
	at := "http://" + ts.Getenv("HELD")
	shop, buyer := &visitor{newClient(at, "shop"), t}, &visitor{newClient(at, "buyer-"+from), t}
	ts.Check(shop.login(soon(t), "xiaowang", demoPassword))
	ts.Check(buyer.wechat(soon(t), "demo:"+who))
	trade := shop.offers("BEARER", "", cards("898604B71922702740"+from, "898604B71922702740"+to))
	buyer.done("/trades/"+trade.TradeID+"/confirm", shows(trade))
}

func takeApart(t *testing.T, ts *testscript.TestScript, dir string) {
	p := newParted(t, ts.MkAbs(dir))
	ts.Setenv("KEEPER", p.keys)
	ts.Setenv("SERVER", p.web)
}

// held are the servers that scripts hold, by their directories.
var held sync.Map

func stop(t *testing.T, ts *testscript.TestScript, dir string) {
	p, ok := held.Load(ts.MkAbs(dir))
	if !ok {
		ts.Fatalf("no server is held on %s", dir)
	}
	p.(*process).stop(t)
	discreet(t, ts, p.(*process))
}

func papers(ts *testscript.TestScript, _ bool, args []string) {
	for n, share := range sharesIn([]byte(ts.ReadFile(args[0]))) {
		ts.Check(os.WriteFile(ts.MkAbs(fmt.Sprint(args[1], n+1)), []byte(share), 0o600))
	}
}

// TestNoDemoDataInProduction: the configuration has nothing against such a start, so the command itself refuses it.
func TestNoDemoDataInProduction(t *testing.T) {
	c := DefaultConfig()
	c.Mode, c.DataDir = Production, filepath.Join(t.TempDir(), "data")
	var out bytes.Buffer
	err := serveCommand{Demo: true}.Run(&environment{ctx: t.Context(), config: c, logger: slog.New(slog.DiscardHandler), stdout: &out, stderr: &out})
	if err == nil || !strings.Contains(err.Error(), "--demo") {
		t.Errorf("serve --demo in production: %v", err)
	}
	err = demoCommand{Keep: c.DataDir}.Run(&environment{ctx: t.Context(), config: c, logger: slog.New(slog.DiscardHandler), stdout: &out, stderr: &out})
	if err == nil || !strings.Contains(err.Error(), "production") {
		t.Errorf("demo in production: %v", err)
	}
	if _, err := os.Stat(c.DataDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has begun: %v", err)
	}
}
