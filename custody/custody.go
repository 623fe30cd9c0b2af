// Package custody keeps the SM2 keys of participants who have no device of
// their own, and the platform's, and signs with them.
//
// # The promise
//
//   - A stolen database holds no usable key. Each private scalar is sealed under
//     a key-encryption key, and that one under a root key which is not in the
//     database. A row that was moved to another owner, or edited so that its key
//     may sign more, no longer opens.
//   - A running server signs only what the owner of the key asked for. There is
//     no way in for bytes: Sign takes one of the request types by value, looks up
//     which field of it must name the owner, and builds the bytes itself.
//   - Nothing is signed that isn't written down first. Key, deadline and digest
//     of each signature stand in the sign log before the key is touched; a second
//     digest for the same attempt at the same act is refused and raises an alarm.
//   - A record can't be changed unnoticed. Every key made, every intent and every
//     refusal is a row of an audit chain; it is appended in the transaction that
//     makes it true, and if it can't be, nothing is made, signed or refused.
//
// # The threat
//
// Who holds the database and the root key holds the keys. Who can run code in
// this process can ask for signatures, and leaves a trace of each. Who can write
// to the database can stop signing, and can cut the newest rows off the audit
// together with its head by putting back an older state of both; the anchors
// on the ledger are for that.
package custody

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cardflow/gm"
	"cardflow/model"
)

// Config is what a custody needs. Logger and Metrics may be left out.
type Config struct {
	DB      *model.DB
	Root    RootKey
	Shares  bool   // instead of Root: it is in shares, and custody is sealed until people have brought them
	Channel string // of the ledger whose requests are signed
	// Stamp is the key, of 32 bytes, under which custody recognises its own rows of logins and of what people asked for. It
	// doesn't hang from the root, and is the same for all servers on one database. Without it nobody logs in, and no
	// consumer's key signs.
	Stamp   gm.Secret
	Clock   func() time.Time // time.Now outside of tests
	Random  io.Reader        // crypto/rand.Reader outside of tests; read by several goroutines at once
	Logger  *slog.Logger
	Metrics Metrics
	// Keep, if set, is given every new key as it is stored, sealed, before its transaction commits, and makes it last
	// elsewhere: Restore takes it back. A key that can't be kept is not made. It may get a key that never comes to be.
	Keep func(...model.CustodyKey) error
	// Founds: a trial's. The system puts organisations on the ledger and gives out prefixes without being asked for it.
	Founds bool
	// Tool is a program beside the servers: where signing was stopped by hand it may look, and lifts nothing.
	Tool bool
	// Look opens a custody whose audit has a false head, too, so that VerifyAudit can say what is wrong with it. It signs
	// nothing.
	Look bool
	At   func(point string) // called at the points of point.go, for the crash suite; nil outside of it
	// Unguarded lets keys sign as much as they are asked to: for measurements and nothing else.
	Unguarded bool
	// LoginAge is how old a consumer's login may be when he asks for something that his key signs; 0 means any.
	LoginAge time.Duration
	// StepUpAge is the same where cards change hands (he confirms, or returns), if that is to be less; 0 means LoginAge. What
	// was asked for before it was set is signed all the same.
	StepUpAge time.Duration
	// Anchored: servers anchor the audit on a ledger, and what two people want waits for that. See vouch.go.
	Anchored bool
	// ProposalLife is how long a proposal waits for a second person; 0 means 24 h.
	ProposalLife time.Duration
	// RewrapEvery is how often Run looks for keys that are not under the newest key-encryption key; 0 means 15 s.
	RewrapEvery time.Duration
}

// Metrics are told what happens, if they are set. Each may be called by several
// goroutines at once, and none gets anything secret or personal.
type Metrics struct {
	Signed  func(function string, took time.Duration) // a signature was made and stored
	Refused func(code string)                         // any refusal, alarms too
	Alarm   func(code string)                         // what should never happen: someone has to look
	// Writable: the audit can't be written any more, and nothing is signed; or it can be again.
	Writable func(can bool)
}

// Custody keeps keys and signs with them. It is safe for concurrent use, also by
// several servers on one database.
type Custody struct {
	db      *model.DB
	channel string
	stamp   func() gm.Secret // a function, so that whoever prints a custody doesn't print it
	clock   func() time.Time
	random  io.Reader
	logger  *slog.Logger
	metrics Metrics
	keepKey func(...model.CustodyKey) error
	tool    bool
	look    bool

	provider RootKey // nil if the root is in shares
	keys     *keyring
	brought  *brought
	lifted   atomic.Int64 // which stop is being lifted here, or was: when it began, ms
	atPoint  func(point string)
	sink     sink

	reconciled atomic.Bool // see reconcile.go

	// Dangerous are the operations that take two people.
	Dangerous    *Dangerous
	proposalLife time.Duration
	anchored     bool
	founds       bool
	unguarded    bool
	loginAge     time.Duration
	stepUpAge    time.Duration
	rewrapEvery  time.Duration
	everybody    meter // of the signatures of all keys

	steps *model.Gather[step] // of those who sign: those who come at the same moment share a transaction

	run     context.Context // of what goes on in the background
	stop    context.CancelFunc
	running sync.WaitGroup
}

// Open opens the custody in a migrated database. In an empty one it makes the
// first key-encryption key and begins the audit; without a root it answers
// ErrNoRoot there, and else stays sealed until Unseal. With another root key than
// the one that the database is under it answers ErrRootMismatch. What it costs
// doesn't depend on how many keys there are.
func Open(ctx context.Context, config Config) (*Custody, error) {
	switch {
	case config.DB == nil, (config.Root == nil) != config.Shares, config.Channel == "", config.Clock == nil, config.Random == nil:
		return nil, fmt.Errorf("custody: a database, a root key or shares of one, a channel, a clock and randomness are needed")
	case len(config.Stamp) != 0 && len(config.Stamp) != 32:
		return nil, fmt.Errorf("custody: a stamp of %d bytes, not 32", len(config.Stamp))
	case config.Logger == nil:
		config.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Custody{
		db: config.DB, channel: config.Channel, stamp: func() gm.Secret { return config.Stamp }, clock: config.Clock, random: config.Random,
		logger: config.Logger, metrics: config.Metrics, keepKey: config.Keep, tool: config.Tool, look: config.Look,
		provider: config.Root, keys: newKeyring(config.Shares), brought: &brought{}, atPoint: config.At,
		Dangerous: &Dangerous{}, proposalLife: cmp.Or(config.ProposalLife, 24*time.Hour), unguarded: config.Unguarded, loginAge: config.LoginAge,
		stepUpAge: config.StepUpAge, anchored: config.Anchored, founds: config.Founds, rewrapEvery: cmp.Or(config.RewrapEvery, rewrapLook),
	}
	c.steps = model.NewGather(mostSteps, c.serveAll)
	c.run, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.registerGuards()
	c.registerKeys()
	c.registerRoots()
	if err := c.begin(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("open custody: %w", err)
	}
	return c, nil
}

// Start lets custody look after proposals in the background, until Close: those that nobody decided in time end, and
// those that two people wanted and a server left are carried on. What people did at sealed servers meanwhile goes into the
// audit. Register all dangerous operations first.
func (c *Custody) Start() { c.running.Go(func() { c.attend(c.run) }) }

// Close stops what goes on in the background, between two steps, and overwrites the key-encryption keys in memory. From
// then on nothing is signed; what is under way may still be.
func (c *Custody) Close() {
	c.stop()
	c.running.Wait()
	c.brought.drop()
	c.keys.clear()
}

// token is a name that nobody else has.
func (c *Custody) token() string { return rand.Text() }

// Ready tells whether a signature could be made now: the keys are there, the
// database answers, the audit can be written, as far as is known, and its head is the one that was written last.
// ErrSealed: the keys aren't there, and everything else goes on.
func (c *Custody) Ready(ctx context.Context) error {
	c.brought.dropOld(c.clock())
	if err := c.probe(ctx); err != nil {
		return err
	}
	return c.db.Read(ctx, func(tx *model.Tx) error {
		if h, err := tx.AuditHead(); err == nil {
			if err := c.awake(h); err != nil {
				return err
			}
		}
		_, err := c.head(ctx, tx, tx.AuditHead)
		return err
	})
}

// write runs one transaction of custody's, together with others that come at the same moment. All of them lock the head of
// the audit, where each appends, and lock it first: then transactions of several servers queue in one place, and none
// holds the head while it waits for a key that another one has.
func (c *Custody) write(ctx context.Context, fn func(tx *model.Tx) error) error {
	return c.note(ctx, c.db.WriteTogether(ctx, func(tx *model.Tx) error {
		h, err := tx.LockAuditHead()
		if err == nil {
			err = c.awake(h)
		}
		if err != nil && !errors.Is(err, model.ErrNotFound) { // without a head nothing is appended
			return err
		}
		return fn(tx)
	}))
}

func (c *Custody) now() model.Millis { return model.MillisOf(c.clock()) }

// alarm says what should never happen where someone will see it.
func (c *Custody) alarm(e *Error, attrs ...any) {
	if c.metrics.Alarm != nil {
		c.metrics.Alarm(e.Code)
	}
	c.logger.Error("custody alarm", append([]any{"code", e.Code}, attrs...)...)
}
