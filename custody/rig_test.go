package custody_test

import (
	"bytes"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/model/modeltest"
)

const channel = "cardflow-test"

// start is when the tests' clock begins; until is a deadline well after it.
var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

const (
	second = int64(1000)
	hour   = 3600 * second
)

var until = start.UnixMilli() + hour

// rig is a custody on a database of its own, with everything that a test wants to turn.
type rig struct {
	t      testing.TB
	cfg    model.Config
	db     *model.DB
	raw    *sql.DB // past everything that package model forbids
	root   string
	clock  *clock
	random *random
	log    *buffer
	*custody.Custody

	mu      sync.Mutex
	refused []string
	alarms  []string
	signed  atomic.Int64
	at      atomic.Pointer[func(point string)] // is told the points of point.go, of custody and of its database
}

// each runs a test on a rig, as a subtest that has the engine's name.
func each(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Run(modeltest.Engine(t), func(t *testing.T) {
		t.Parallel()
		test(t, newRig(t))
	})
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := bareRig(t)
	r.Custody = r.open()
	return r
}

// bareRig is a rig whose custody hasn't been opened.
func bareRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, cfg: modeltest.Fresh(t).Config, root: filepath.Join(t.TempDir(), "root.key"), clock: &clock{}, random: &random{}, log: &buffer{}}
	r.cfg.At = r.passes
	r.cfg.Logger = slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.db = modeltest.OpenConfig(t, r.cfg)
	dsn := r.cfg.DSN
	if r.cfg.Driver == model.SQLite {
		dsn += "?_pragma=busy_timeout(5000)"
	}
	raw, err := sql.Open(r.cfg.Driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := raw.Close(); err != nil {
			t.Error(err)
		}
	})
	r.raw = raw
	return r
}

// open opens a custody on the rig's database, as another server would.
func (r *rig) open() *custody.Custody {
	r.t.Helper()
	return r.openAs(func(*custody.Config) {})
}

// openAs opens one that is configured otherwise.
func (r *rig) openAs(change func(*custody.Config)) *custody.Custody {
	r.t.Helper()
	config := r.config()
	change(&config)
	c, err := custody.Open(r.t.Context(), config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

func (r *rig) config() custody.Config {
	r.t.Helper()
	root, err := custody.FileRoot(r.root, rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	note := func(list *[]string) func(string) {
		return func(code string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			*list = append(*list, code)
		}
	}
	return custody.Config{
		DB: r.db, Root: root, Channel: channel, Stamp: gm.Secret("the stamp of logins of all tests"), Clock: r.clock.now, Random: r.random, Logger: r.cfg.Logger, At: r.passes, Founds: true,
		Metrics: custody.Metrics{
			Signed:  func(string, time.Duration) { r.signed.Add(1) },
			Refused: note(&r.refused),
			Alarm:   note(&r.alarms),
		},
	}
}

func (r *rig) passes(point string) {
	if at := r.at.Load(); at != nil {
		(*at)(point)
	}
}

// ensure makes the key of a post.
func (r *rig) ensure(owner string, role request.Role, slot custody.Slot) custody.Key {
	r.t.Helper()
	key, err := r.Ensure(r.t.Context(), custody.Post{Owner: owner, Role: role, Slot: slot}, "test")
	if err != nil {
		r.t.Fatal(err)
	}
	return key
}

// logIn is a consumer's login.
func (r *rig) logIn(owner string) custody.LoginToken {
	r.t.Helper()
	s, err := r.LogIn(r.t.Context(), custody.Login{Participant: owner, Role: request.Consumer}, 1000*time.Hour)
	if err != nil {
		r.t.Error(err)
	}
	return s.Token
}

// employed is the login of somebody who works for an organisation.
func (r *rig) employed(owner string, role request.Role) custody.LoginToken {
	r.t.Helper()
	person := "p-" + owner
	err := r.db.Write(r.t.Context(), func(tx *model.Tx) error {
		if _, err := tx.Person(person); !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if err := tx.AddParticipant(model.Participant{ID: owner, Role: string(role), Kind: model.Organisation, State: model.ParticipantRegistered, CreatedAt: 1}); err != nil {
			return err
		}
		return tx.AddPerson(model.Person{ID: person, ParticipantID: owner, Username: owner, PasswordHash: "x", Roles: []string{string(role)}, State: model.PersonActive, CreatedAt: 1})
	})
	if err != nil {
		r.t.Error(err)
	}
	s, err := r.LogIn(r.t.Context(), custody.Login{Participant: owner, Role: role, Person: person}, 1000*time.Hour)
	if err != nil {
		r.t.Error(err)
	}
	return s.Token
}

// asks has somebody ask for what is to be signed for him, or for whom he works for.
func (r *rig) asks(ask custody.Ask, body request.Body) {
	r.t.Helper()
	login := r.logIn
	if key, err := r.ActiveKey(r.t.Context(), ask.Owner, ask.Slot); err == nil && key.Role != request.Consumer {
		login = func(owner string) custody.LoginToken { return r.employed(owner, key.Role) }
	}
	if err := r.Authorise(r.t.Context(), login(ask.Owner), ask.Subject, body, ask.NotAfter); err != nil {
		r.t.Error(err)
	}
}

// exec changes the database by hand.
func (r *rig) exec(statement string, args ...any) {
	r.t.Helper()
	if _, err := r.raw.ExecContext(r.t.Context(), statement, args...); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

// unguarded drops the triggers, as someone with the rights of the database's owner can.
func (r *rig) unguarded() {
	r.t.Helper()
	for _, trigger := range []string{
		"custody_keys_moves", "custody_signatures_moves", "custody_audit_update", "custody_audit_head_moves",
		"custody_keks_delete", "custody_keys_delete", "custody_signatures_delete", "custody_audit_delete", "custody_audit_head_delete",
	} {
		r.exec("DROP TRIGGER " + trigger)
	}
}

func (r *rig) count(query string, args ...any) int {
	r.t.Helper()
	var n int
	if err := r.raw.QueryRowContext(r.t.Context(), query, args...).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return n
}

// refusals counts the audit's refusals with a code.
func (r *rig) refusals(e *custody.Error) int {
	r.t.Helper()
	return r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'sign.refuse' AND detail LIKE ?`, `%"code":"`+e.Code+`"%`)
}

// whole fails the test unless the audit is.
func (r *rig) whole() custody.AuditReport {
	r.t.Helper()
	report, err := r.VerifyAudit(r.t.Context(), custody.VerifyOptions{})
	if err = errors.Join(err, report.Err()); err != nil {
		r.t.Error(err)
	}
	return report
}

func (r *rig) heard(list *[]string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), *list...)
}

// clock is a clock that a test moves, and that can be told to call something when it is read.
type clock struct {
	ahead atomic.Int64 // ms
	call  atomic.Pointer[func()]
}

func (c *clock) now() time.Time {
	if call := c.call.Load(); call != nil {
		(*call)()
	}
	return start.Add(time.Duration(c.ahead.Load()) * time.Millisecond)
}

// random is real randomness that can be told to do something else.
type random struct{ instead atomic.Pointer[func() error] }

func (r *random) Read(p []byte) (int, error) {
	if instead := r.instead.Load(); instead != nil {
		if err := (*instead)(); err != nil {
			return 0, err
		}
	}
	return rand.Read(p)
}

func (r *random) set(f func() error) { r.instead.Store(&f) }

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
