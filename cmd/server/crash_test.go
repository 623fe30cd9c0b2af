//go:build crash

package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
	"cardflow/ledger"
	"cardflow/ledger/fabric"
)

// The crash suite: people trade, and servers, databases, peers, networks and disks fail under them, at every point of a
// write's way and at moments that nobody chose. Whatever happens, who was told that something is done is never told
// otherwise; every write that was accepted ends; each trade has one valid end on the ledger; and everybody has the cards that
// he confirmed, no more, no less.

// crashAll asks for the long form: many kills at each point, and as many transfers and kills as the suite promises.
var crashAll = flag.Bool("crash.all", false, "the crash suite in full: 10,000 transfers and 200 kills at least")

// What the long form comes to, at least.
const (
	crashTransfers = 10_000
	crashKills     = 200
)

// short and all choose by the form of the run.
func form[T any](short, all T) T {
	if *crashAll {
		return all
	}
	return short
}

// crashConfig lets a crowd in, takes up soon what a dead server left, and has some offers expire.
const crashConfig = `
relay: {lease: 3s, grace: 1m, poll_interval: 50ms, backoff_min: 10ms, backoff_max: 500ms}
trade: {min_expiry: 1s, sweep_interval: 200ms}
limits:
  wrong_codes: 100 per 1s
  wrong_codes_per_address: 1000000 per 1m
  wrong_codes_platform: 1000000 per 1m
  lookups_per_address: 1000000 per 1m
  lookups_platform: 1000000 per 1m
  logins_per_address: 1000000 per 1m
  requests_per_address: 1000000 per 1m
log: {level: warn}
`

// world is a shop and its customers, the engines under them, and the servers that run.
type world struct {
	*testing.T
	name   string
	dir    string
	config string
	full   *local.Full // nil: everything is in the server
	ledger ledger.Ledger
	db     *sql.DB
	market *market
	cards  int
	record *record
	line   *line // of the scene that is played
	kills  int
	beside []*process // servers that go on while another one dies

	mu      sync.Mutex
	servers []*process
}

// scene is one scenario.
type scene struct {
	name string
	play func(*world)
}

// TestCrash runs on MariaDB, Redis and a Fabric network, all of which keep what they acknowledge.
func TestCrash(t *testing.T) {
	t.Parallel()
	w := newFullWorld(t)
	smallDisk(t, w.data(ownDisk), 4<<20)
	w.plays([]scene{
		{"a server dies at every point", (*world).everyPoint},
		{"a server dies at random", (*world).atRandom},
		{"one of two servers dies", (*world).twoServers},
		{"one of two dies at every point", (*world).everyPointOfTwo},
		{"a server stands still", (*world).standsStill},
		{"a server is added", (*world).serverAdded},
		{"MariaDB dies", (*world).mariadbDies},
		{"Redis dies and forgets", (*world).redisForgets},
		{"a peer dies", (*world).peersDie},
		{"the orderers' leader dies", (*world).leaderDies},
		{"the network is cut", (*world).networkCut},
		{"MariaDB's answers are lost", (*world).answersLost},
		{"a peer leaves blocks out", (*world).blocksLeftOut},
		{"an older database is put back", (*world).restored},
		{"the journal's disk is full", (*world).journalFull},
	})
	if *crashAll {
		w.plays([]scene{{"a server dies at random, again", (*world).untilThereAreEnough}})
	}
}

// TestCrashEmbedded runs on what a trial has: SQLite, the ledger in a file, Redis in the server.
func TestCrashEmbedded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	smallDisk(t, dir, form(128, 1024)<<20)
	w := newEmbeddedWorld(t, "embedded", dir, "")
	w.plays([]scene{
		{"a server dies at every point, embedded", (*world).everyPoint},
		{"a server dies at random, embedded", (*world).atRandom},
		{"an older database is put back, embedded", (*world).restored},
		{"the disk is full, embedded", (*world).diskFull},
	})
	if *crashAll {
		w.plays([]scene{{"a server dies at random, embedded, again", (*world).untilThereAreEnough}})
	}
}

// TestCrashMariaDB runs on a MariaDB with a small disk; the rest is embedded.
func TestCrashMariaDB(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), t.TempDir()
	smallDisk(t, disk, 400<<20)
	m, err := local.StartMariaDB(soon(t), local.MariaDBConfig{Dir: disk, Tied: true})
	check(t, err)
	t.Cleanup(func() { check(t, m.Stop()) })
	w := newEmbeddedWorld(t, "mariadb", dir, fmt.Sprintf("database: {driver: mysql, dsn: %q, ca_file: %q}\n", m.DSN(), m.CA()))
	w.plays([]scene{
		{"MariaDB's disk is full", func(w *world) { w.mariadbFull(m, disk) }},
	})
}

// plays plays one scene after the other.
func (w *world) plays(scenes []scene) {
	for _, s := range scenes {
		if !w.T.Run(s.name, func(t *testing.T) { w.scene(t, s) }) {
			w.Fatal("what follows would stand on what went wrong")
		}
	}
}

// newFullWorld starts the engines, and a shop with cards to sell.
func newFullWorld(t *testing.T) *world {
	w := &world{T: t, name: "full", dir: t.TempDir(), record: recordOf(t)}
	w.say("starting MariaDB, Redis and Fabric")
	full, err := local.StartFull(within(t, 5*patience), local.FullConfig{Dir: w.dir, Tied: true, BatchTimeout: 50 * time.Millisecond})
	t.Cleanup(func() { check(t, local.StopTree(w.dir, 20*time.Second)) })
	check(t, err)
	w.full, w.config = full, filepath.Join(w.dir, "server.yaml")
	check(t, full.WriteServerConfig(w.config))
	w.extend(w.config, crashConfig)
	certificate, key := full.Fabric.Gateway()
	l, err := fabric.Open(fabric.Config{
		Profile: full.Fabric.Profile(), Channel: local.Channel, MSPID: organisation, Certificate: certificate, Key: key,
	})
	check(t, err)
	t.Cleanup(func() { check(t, l.Close()) })
	w.ledger = l
	w.db, err = sql.Open("mysql", full.MariaDB.DSN())
	check(t, err)
	t.Cleanup(func() { w.db.Close() }) // which finds that MariaDB was started again since
	w.open()
	return w
}

// newEmbeddedWorld is a server with everything in it but for what a configuration says, and a shop with cards to sell.
func newEmbeddedWorld(t *testing.T, name, dir, config string) *world {
	w := &world{T: t, name: name, dir: dir, record: recordOf(t)}
	w.config = filepath.Join(w.dir, "server.yaml")
	check(t, os.WriteFile(w.config, []byte(config), 0o600))
	w.extend(w.config, crashConfig)
	w.open()
	return w
}

// extend adds sections to a configuration.
func (w *world) extend(file, text string) {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	check(w, err)
	_, err = f.WriteString(text)
	check(w, errors.Join(err, f.Close()))
}

// open makes the demo's organisations and people, and gives the shop cards to sell.
func (w *world) open() {
	w.say("making organisations, people and cards")
	p := w.start(1, []string{"--demo"})
	w.market = newMarket(w.T, form(2, 6), form(12, 48), goods{each: form(10, 20), brief: 3 * time.Second})
	lots, each := form(2, 6), form(2500, 8000)
	w.cards = 1000 + lots*each
	visit := func(username string) *visitor {
		v := &visitor{newClient(p.url, username), w.T}
		check(w, v.login(soon(w.T), username, demoPassword))
		return v
	}
	carrier, shop := visit("yidong"), visit("xiaowang")
	for lot := range lots {
		number := func(n int) string { return fmt.Sprintf("898604B7192271%d%05d", lot, n) }
		run := cards(number(0), number(each-1))
		var made struct{ Confirmations []confirmation }
		carrier.post("/lots", map[string]any{"segments": []any{run}}, &made)
		for _, c := range made.Confirmations {
			_, err := carrier.await(soon(w.T), c.ConfirmationID)
			check(w, err)
		}
		sale := carrier.offers("NAMED", "xiaowang", run)
		shop.done("/trades/"+sale.TradeID+"/confirm", map[string]string{})
		var list []string
		for n := range each {
			list = append(list, number(n))
		}
		w.market.shelve(lot, list)
	}
	p.stop(w.T)
	w.T.Cleanup(func() { w.say("%s", w.market) })
}

// data is the directory of one server.
func (w *world) data(n int) string { return filepath.Join(w.dir, fmt.Sprint("server-", n)) }

func (w *world) args(n int) []string { return []string{"--config", w.config, "--data", w.data(n)} }

// begin starts a server, and does not wait for it.
func (w *world) begin(n int, more []string, env ...string) *process {
	env = append(env, "CARDFLOW_CUSTODY_GUARDS=false") // nobody buys as much as these buyers
	p := startProcessWith(w.T, env, slices.Concat(w.args(n), []string{"serve"}, more)...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers = append(w.servers, p)
	return p
}

// start starts a server and waits until it serves.
func (w *world) start(n int, more []string, env ...string) *process {
	w.Helper()
	p := w.begin(n, more, env...)
	if !p.listening() {
		w.Fatalf("server %d does not start:\n%s", n, p.errs)
	}
	return p
}

// gone waits until a server has ended, and demands that it was killed.
func (w *world) gone(p *process) {
	w.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		w.Fatalf("the server lives, and should have been killed\n%s", p.errs)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != -1 {
		w.Fatalf("the server ended with %d, %v, and not by a kill\n%s", got, p.err, p.errs)
	}
}

// never are words that no server may ever write: each says that something happened that nothing may bring about.
var never = []string{"custody alarm", "holds an invalid transaction", "has no opening here", "panic:", "DATA RACE"}

// expected is what a server says, and has to, when the database can't take what it writes.
var expected = regexp.MustCompile(`(?m)^.*"custody alarm" code=CUSTODY_AUDIT_UNWRITABLE .*$`)

// scene plays one scenario, and holds everything against everything at its end.
func (w *world) scene(t *testing.T, s scene) {
	before := w.T
	w.T, w.market.t = t, t
	defer func() { w.T, w.market.t = before, before }()
	w.line = w.record.begin(s.name, w.market)
	s.play(w)
	w.judge()
	w.line.end(w.market)
}

// judge starts a server on which everything comes to its end.
func (w *world) judge() {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	p := w.start(1, nil)
	defer func() {
		if w.Failed() {
			w.tells()
		}
	}()
	w.market.at(p)
	w.market.judge(ctx)
	if w.full != nil {
		w.market.onLedger(ctx, w.ledger)
	}
	p.stop(w.T)
	if w.full == nil {
		w.market.onEmbeddedLedger(ctx, w.data(1))
	}
	w.fsck(func(t *testing.T, cards int, args []string, env ...string) string {
		fsck(t, cards, args, env...)
		return ""
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.servers {
		text := expected.ReplaceAllString(p.errs.String(), "")
		for _, word := range never {
			if at := strings.Index(text, word); at >= 0 {
				w.Errorf("a server wrote %q:\n%s", word, text[max(0, at-1000):min(len(text), at+1000)])
			}
		}
	}
	if w.Failed() {
		w.FailNow()
	}
	w.servers = nil
}

// fsck has the command of that name read every server's journal.
func (w *world) fsck(demands func(t *testing.T, cards int, args []string, env ...string) string) {
	w.Helper()
	if w.full == nil {
		demands(w.T, w.cards, w.args(1))
		return
	}
	demands(w.T, w.cards, w.args(3), "CARDFLOW_VAULT_OTHER_JOURNALS="+strings.Join(w.journals(3), ","))
}

// journals are those that servers have written, but for one of them.
func (w *world) journals(but int) (files []string) {
	for n := 1; n <= ownDisk; n++ {
		if name := filepath.Join(w.data(n), "journal"); n != but && exists(name) {
			files = append(files, name)
		}
	}
	return files
}

// ready reports whether a server says of itself that it is.
func ready(p *process) bool {
	a, err := http.Get(p.url + "/readyz")
	if err != nil {
		return false
	}
	a.Body.Close()
	return a.StatusCode == http.StatusOK
}

// trade lets everybody work at a server, and at those that run beside it, until so many answers were given or it is dead.
func (w *world) trade(p *process, answers int) {
	ctx, enough := context.WithTimeout(p.living(context.Background()), patience)
	defer enough()
	w.market.at(append([]*process{p}, w.beside...)...)
	w.market.run(ctx, answers, enough)
}

// everyPoint kills a server at each point of a write's way, in turn.
func (w *world) everyPoint() {
	for _, c := range w.points() {
		w.diesAt(c, form(10, 60))
		w.say("died at %q", c.point)
	}
}

// everyPointOfTwo does so while another server goes on.
func (w *world) everyPointOfTwo() {
	w.beside = []*process{w.start(2, nil)}
	for n, c := range w.points() {
		if c.rare || !*crashAll && n%8 != 0 {
			continue
		}
		w.diesAt(c, form(20, 60))
		w.say("died at %q, beside another", c.point)
	}
	w.stop(w.beside...)
	w.beside = nil
}

// diesAt lets everybody work on a server until it dies at a point, at one of the first so many times that it comes there.
// It may need several starts: some points are those of a server that takes up what a dead one has left.
func (w *world) diesAt(c crashPoint, hits int) {
	w.Helper()
	for try := range 12 {
		if c.first != nil {
			c.first(w)
		}
		hit, answers := 1, form(100, 400)
		if c.rare {
			answers *= 4
		} else if try < 2 {
			hit += rand.IntN(hits)
		}
		p := w.begin(1, nil, append(c.env, crashAtVariable+"="+c.point, fmt.Sprint(crashHitVariable, "=", hit))...)
		if p.listening() {
			if c.duty && len(w.beside) > 0 { // who starts last has no duty
				w.stop(w.beside...)
				w.beside = []*process{w.start(2, nil)}
			}
			w.trade(p, answers)
		}
		p.kill() // if it has not died by itself
		w.died(p)
		if strings.Contains(p.errs.String(), crashed+c.point+"\n") {
			return
		}
	}
	w.Errorf("no server came by %q", c.point)
}

// atRandom kills a server at moments that nobody chose; some of them while it starts.
func (w *world) atRandom() {
	for n := range form(6, 15) {
		w.diesSometime(n, form(4*time.Second, 10*time.Second))
	}
}

// untilThereAreEnough goes on with that until there are as many kills and transfers, in all worlds, as the long form
// promises.
func (w *world) untilThereAreEnough() {
	enough := func() bool {
		all := w.record.total()
		return all.kills >= crashKills && all.count.transfers+w.market.count().less(w.line.before).transfers >= crashTransfers
	}
	for n := 0; !enough(); n++ {
		w.diesSometime(n, time.Minute)
	}
}

// diesSometime lets a server live for a while, at most.
func (w *world) diesSometime(n int, most time.Duration) {
	w.Helper()
	p := w.begin(1, nil)
	if n%4 == 3 {
		time.AfterFunc(rand.N(2*time.Second), p.kill)
	}
	if p.listening() {
		time.AfterFunc(rand.N(most), p.kill)
		w.trade(p, 0)
	}
	p.kill()
	w.died(p)
	w.say("died at random (%d); %d kills, %d transfers", n+1, w.kills, w.market.count().transfers)
}

// died notes that a server was killed.
func (w *world) died(p *process) {
	w.Helper()
	w.gone(p)
	w.counts()
}

// counts notes that something was killed.
func (w *world) counts() {
	w.line.kills++
	w.kills++
}

// tells logs, for whoever looks into a failure, what the scene's servers wrote and which writes have not come to a good end.
func (w *world) tells() {
	w.mu.Lock()
	for _, p := range w.servers {
		w.Logf("%s", p.errs)
	}
	w.mu.Unlock()
	if w.db == nil {
		return
	}
	rows, err := w.db.Query("SELECT id, function, subject, state, attempt, tries, next_at, lease_until, error_code, updated_at FROM acts WHERE state <> 'committed'")
	if err != nil {
		w.Log(err)
		return
	}
	defer rows.Close()
	for rows.Next() {
		v := make([]sql.NullString, 10)
		into := make([]any, len(v))
		for i := range v {
			into[i] = &v[i]
		}
		if err := rows.Scan(into...); err != nil {
			w.Log(err)
			return
		}
		var line []string
		for _, field := range v {
			line = append(line, field.String)
		}
		w.Log(strings.Join(line, " "))
	}
}
