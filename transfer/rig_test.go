package transfer_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/model/modeltest"
	"cardflow/transfer"
	"cardflow/transfer/custodial"
)

// rig is the use cases over real parts: a database, the embedded ledger with both contracts, custody with a root key file.
type rig struct {
	t       *testing.T
	dir     string
	place   *modeltest.Place // of the database
	ctx     context.Context
	stop    context.CancelFunc
	db      *model.DB
	ledger  ledger.Ledger
	file    *embedded.Ledger
	journal *transfer.Journal
	keys    *custody.Custody
	*transfer.Service
	consoles *consoles

	clock *clock
	wrap  func(ledger.Ledger) ledger.Ledger
	// config, if not nil, changes what a service is made of: log, randomness, signer.
	config   func(*transfer.Config)
	anchored bool               // custody waits for anchors
	dbClock  func() time.Time   // the database's, if it is not the rig's
	at       func(point string) // is called at the points of a write's way; nil is fine
}

// clock runs with the machine's, shifted by what a test says.
type clock struct{ shift atomic.Int64 }

func (c *clock) now() time.Time                  { return time.Now().Add(time.Duration(c.shift.Load())) }
func (c *clock) forward(d time.Duration)         { c.shift.Add(int64(d)) }
func (r *rig) path(elem string) string           { return filepath.Join(r.dir, elem) }
func (r *rig) reopen(t *testing.T)               { r.close(); r.open(t) }
func (r *rig) close()                            { r.stop(); r.Wait(); r.file.Close(); r.journal.Close(); r.db.Close() }
func must[T any](t *testing.T, v T, err error) T { t.Helper(); check(t, err); return v }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRig(t *testing.T) *rig { return newRigWith(t, nil) }

// newRigWith lets a test put something between the relay and the ledger.
func newRigWith(t *testing.T, wrap func(ledger.Ledger) ledger.Ledger) *rig {
	t.Helper()
	r := rigOn(t)
	r.wrap = wrap
	fresh.copyTo(r)
	r.start(t)
	return r
}

// rigOn is a rig with a folder and a database of its own, in which there is nothing yet.
func rigOn(t *testing.T) *rig {
	return &rig{t: t, dir: t.TempDir(), place: modeltest.Empty(t), clock: &clock{}, consoles: &consoles{}}
}

// start opens the rig's folder until the test ends.
func (r *rig) start(t *testing.T) {
	t.Helper()
	r.open(t)
	t.Cleanup(func() { r.close() })
}

// world is a data folder, with its database, in which a story has begun. It is played once; every test that starts there gets a copy,
// because under the race detector each signature takes its time.
type world struct {
	once  sync.Once
	play  func(*rig)
	files map[string][]byte
	rows  modeltest.Copy
}

func (w *world) copyTo(to *rig) {
	t := to.t
	t.Helper()
	w.once.Do(func() {
		r := rigOn(t)
		r.open(t)
		w.play(r)
		r.close()
		files := map[string][]byte{}
		check(t, filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			files[path[len(r.dir):]] = b
			return err
		}))
		w.files, w.rows = files, r.place.Copy(t)
	})
	if w.files == nil {
		t.Fatal("the world could not be made: see the first test that wanted it")
	}
	for name, b := range w.files {
		check(t, os.MkdirAll(filepath.Dir(to.dir+name), 0o700))
		check(t, os.WriteFile(to.dir+name, b, 0o600))
	}
	to.place.Put(t, w.rows)
}

// fresh is a ledger with its platform and the tests' organisations, and no cards.
var fresh = world{play: func(r *rig) {
	check(r.t, r.Bootstrap(r.ctx))
	r.organisations()
}}

// stocked is fresh, with cards 1 to 100,000 issued, those up to 50,000 with the distributor, those up to 10,000 with the
// retailer; and four consumers whom the ledger knows.
var stocked = world{play: func(r *rig) {
	r.close()
	r.dir = r.path("fresh")
	fresh.copyTo(r)
	r.open(r.t)
	r.issue(1, 100_000)
	r.sell(carrier, distributor, 1, 50_000)
	r.sell(distributor, retailer, 1, 10_000)
	for _, name := range []string{"ann", "bob", "cat", "dan"} {
		r.registered(name)
	}
}}

// newStocked is a rig in a stocked world.
func newStocked(t *testing.T) *rig { return newStockedWith(t, nil, nil) }

func newStockedWith(t *testing.T, wrap func(ledger.Ledger) ledger.Ledger, config func(*transfer.Config)) *rig {
	t.Helper()
	r := rigOn(t)
	r.wrap, r.config = wrap, config
	stocked.copyTo(r)
	r.start(t)
	return r
}

func (r *rig) open(t *testing.T) {
	t.Helper()
	r.ctx, r.stop = context.WithCancel(context.Background())
	now := r.clock.now
	if r.dbClock != nil {
		now = r.dbClock
	}
	database := r.place.Config
	database.Clock = now
	r.db = must2(model.Open(r.ctx, database))(t)
	if _, err := r.db.Migrate(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.file = must2(embedded.Open(embedded.Config{
		Path: r.path("ledger"), Channel: "test", Organisation: "PlatformMSP", Clock: r.clock.now, BlockInterval: time.Millisecond,
		Contracts: []contract.Contract{&contract.Identity{Deployer: "PlatformMSP"}, &contract.Ownership{}},
	}))(t)
	r.ledger = r.file
	if r.wrap != nil {
		r.ledger = r.wrap(r.file)
	}
	root := must2(custody.FileRoot(r.path("root.key"), rand.Reader))(t)
	vault := must2(transfer.OpenVault(r.path("data.key"), rand.Reader))(t)
	r.journal = must2(transfer.OpenJournal(r.path("journal"), vault))(t)
	r.keys = must2(custody.Open(r.ctx, custody.Config{
		DB: r.db, Root: root, Channel: "test", Stamp: vault.Stamp(), Clock: r.clock.now, Random: rand.Reader, At: r.at, Anchored: r.anchored, Founds: true,
		Keep: func(keys ...model.CustodyKey) error { return r.journal.Append(transfer.KeyEntries(keys)...) },
	}))(t)
	c := transfer.Config{
		DB: r.db, Ledger: r.ledger, Signer: custodial.Signer{Custody: r.keys}, Vault: vault, Journal: r.journal, Clock: r.clock.now, At: r.at,
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		Relay:   transfer.RelayConfig{Workers: 16, Lease: 2 * time.Second, Poll: 50 * time.Millisecond, BackoffMin: 5 * time.Millisecond, BackoffMax: 100 * time.Millisecond, AnswerWithin: 2 * time.Minute},
		Trade:   transfer.TradeConfig{DefaultExpiry: time.Hour, MinExpiry: time.Minute, MaxExpiry: 7 * 24 * time.Hour, SweepInterval: 50 * time.Millisecond},
		Imports: transfer.ImportConfig{Dir: r.path("imports"), MaxBytes: 64 << 20, MaxRows: 1_000_000, Keep: time.Hour, Self: xlsChild()},
	}
	if r.config != nil {
		r.config(&c)
	}
	r.Service = transfer.New(c)
	r.keys.OperateLots(lots{r.Service})
	check(t, r.Start(r.ctx))
}

func must2[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T { t.Helper(); check(t, err); return v }
}

// Callers of the tests' organisations.
var (
	carrier     = transfer.Caller{Participant: "cmcc", Role: request.Carrier, Person: "person-cmcc"}
	distributor = transfer.Caller{Participant: "dist-a", Role: request.Distributor, Person: "person-dist"}
	retailer    = transfer.Caller{Participant: "shop-a", Role: request.Retailer, Person: "person-shop"}
	regulator   = transfer.Caller{Participant: "miit", Role: request.Regulator, Person: "person-miit"}
)

// prefix is the carrier's, and head begins the tests' ICCIDs: 898604B71922 and 8 digits, the last 7 of which count.
const prefix = "898604"

func id(n int) string { return fmt.Sprintf("898604B71922%08d", n) }

// organisations registers a carrier, a distributor, a retailer and a regulator.
func (r *rig) organisations() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 30*time.Second)
	defer cancel()
	for _, o := range []struct {
		c    transfer.Caller
		name string
	}{{carrier, "中国移动"}, {distributor, "华联物联"}, {retailer, "小店"}, {regulator, "监管"}} {
		check(r.t, r.AddOrganisation(ctx, o.c.Participant, o.c.Role, o.name))
	}
	check(r.t, r.SetIssuer(ctx, prefix, carrier.Participant, "SERIAL"))
}

var wishes atomic.Int64

// idem is a wish of its own.
func idem(route string) transfer.Idem {
	return transfer.Idem{Key: fmt.Sprintf("wish-%d", wishes.Add(1)), Route: route, BodyDigest: "x"}
}

func span(a, b int) []transfer.Span { return []transfer.Span{{Start: id(a), End: id(b)}} }

// issue gives the carrier cards a to b.
func (r *rig) issue(a, b int) transfer.LotView {
	r.t.Helper()
	res, err := r.Issue(r.ctx, carrier, idem("issue"), transfer.IssueInput{Segments: span(a, b), RetailPolicy: "OPEN"})
	check(r.t, err)
	if len(res.Acts) != 1 {
		r.t.Fatalf("issued %+v", res.Lots)
	}
	r.await(res.Acts[0], "")
	return res.Lots[0]
}

// sell moves cards from one organisation to another, offer and confirmation.
func (r *rig) sell(from, to transfer.Caller, a, b int) {
	r.t.Helper()
	o, err := r.Offer(r.ctx, from, idem("offer"), transfer.OfferInput{Mode: "NAMED", To: to.Participant, Segments: span(a, b)})
	check(r.t, err)
	r.offered(from, o.Trades[0])
	act, err := r.Confirm(r.ctx, to, idem("confirm"), o.Trades[0].TradeID, "", "")
	check(r.t, err)
	r.await(act, "")
}

// offer makes a BEARER trade.
func (r *rig) offer(from transfer.Caller, a, b int) transfer.TradeView {
	r.t.Helper()
	o, err := r.Offer(r.ctx, from, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(a, b)})
	check(r.t, err)
	if len(o.Trades) != 1 || len(o.Trades[0].Code) != 8 {
		r.t.Fatalf("offered %+v", o.Trades)
	}
	return r.offered(from, o.Trades[0])
}

// offered waits until a trade is open on the ledger: a busy machine answers before.
func (r *rig) offered(seller transfer.Caller, v transfer.TradeView) transfer.TradeView {
	r.t.Helper()
	r.until("the offer is on the ledger", func() bool {
		if v.State == "offering" {
			v = r.trade(seller, v.TradeID)
		}
		return v.State != "offering"
	})
	if v.State != "offered" {
		r.t.Fatalf("offered %+v", v)
	}
	return v
}

// each makes a BEARER trade for every card of a range, and waits until they are open.
func (r *rig) each(from transfer.Caller, a, b int) []transfer.TradeView {
	r.t.Helper()
	o, err := r.Offer(r.ctx, from, idem("offer"), transfer.OfferInput{Mode: "BEARER", Segments: span(a, b), Each: true, ExpiresIn: 24 * time.Hour})
	check(r.t, err)
	if len(o.Trades) != b-a+1 || o.JobID != "" {
		r.t.Fatalf("%d trades, job %q", len(o.Trades), o.JobID)
	}
	r.offered(from, o.Trades[0])
	return o.Trades
}

// await waits for the end of an act, which must be committed, or failed with a code.
func (r *rig) await(a transfer.Act, code string) transfer.Act {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.ctx, 2*time.Minute)
	defer cancel()
	end, err := r.Await(ctx, a.ID)
	check(r.t, err)
	switch {
	case code == "" && end.State != "committed":
		r.t.Fatalf("act %s of %s is %s: %+v", end.ID, end.Function, end.State, end.Error)
	case code != "" && (end.Error == nil || end.Error.Code != code):
		r.t.Fatalf("act %s of %s is %s (%+v), want %s", end.ID, end.Function, end.State, end.Error, code)
	}
	return end
}

func (r *rig) consumer(name string) transfer.Caller {
	r.t.Helper()
	c, err := r.ConsumerFor(r.ctx, "wx", name)
	check(r.t, err)
	return r.loggedIn(c)
}

// sessionLife is longer than any test's time.
const sessionLife = 60 * 24 * time.Hour

// loggedIn is a caller with a session of custody's.
func (r *rig) loggedIn(c transfer.Caller) transfer.Caller {
	r.t.Helper()
	s, err := r.keys.LogIn(r.ctx, custody.Login{Participant: c.Participant, Role: c.Role, Person: c.Person}, sessionLife)
	check(r.t, err)
	c.Session = transfer.SessionToken(s.Token)
	return c
}

// registered is a consumer whom the ledger knows.
func (r *rig) registered(name string) transfer.Caller {
	r.t.Helper()
	c := r.consumer(name)
	r.until("the ledger knows "+name, func() bool {
		p, err := r.Profile(r.ctx, c)
		check(r.t, err)
		return p.State == "registered"
	})
	return c
}

// until looks again and again whether something has come true.
func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-deadline.C:
			r.t.Fatal("never: ", what)
		case <-look.C:
		}
	}
}

// trade looks at a trade as its seller does.
func (r *rig) trade(seller transfer.Caller, id string) transfer.TradeView {
	r.t.Helper()
	v, err := r.GetTrade(r.ctx, seller, id)
	check(r.t, err)
	return v
}

// confirm takes a BEARER trade and waits for the end.
func (r *rig) confirm(c transfer.Caller, trade transfer.TradeView, card int) transfer.Act {
	r.t.Helper()
	act, err := r.Confirm(r.ctx, c, idem("confirm"), trade.TradeID, trade.Code, last6(card))
	check(r.t, err)
	return r.await(act, "")
}

// last6 is what a buyer types from a card.
func last6(n int) string { return id(n)[14:] }

// wants demands that an error has a code; "" is no error.
func wants(t *testing.T, what string, err error, code string) {
	t.Helper()
	switch {
	case err == nil && code != "":
		t.Errorf("%s: went through, want %s", what, code)
	case err != nil && transfer.CodeOf(err) != code:
		t.Errorf("%s: %v, want %q", what, err, code)
	}
}

// fsck demands that database and ledger agree.
func (r *rig) fsck() transfer.Report {
	r.t.Helper()
	rep, err := r.Check(r.ctx, nil)
	check(r.t, err)
	for _, f := range rep.Findings {
		r.t.Errorf("fsck: %s %s %s", f.Kind, f.Subject, f.Problem)
	}
	return rep
}
