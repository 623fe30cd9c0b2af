// Package transfer holds the use cases: issue, offer, confirm, decline, cancel, release, return, merge, trace; and the
// relay that carries each signed request to the ledger and settles it in the database, exactly once.
//
// The promise: asking twice is harmless. A double tap, a retry, two servers, a crash at any instruction end in one
// transfer or none, and whoever asked is told which. To keep it, a write first becomes an act: a row that says what was
// asked, in the same database transaction that sets the cards or the trade aside. Workers walk acts through recorded
// states (see relay.go); the ledger decides; the database follows committed blocks (see settle.go). An outcome that is
// not known is asked about, never guessed.
package transfer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Signer is the custody of keys. It signs typed requests, never bytes, and it signs one digest for one attempt at one
// act: asked again, it gives the signature it gave before.
type Signer interface {
	// Enrol makes the owner's key in a slot if there is none, and proves its possession for the ledger.
	Enrol(ctx context.Context, owner string, role request.Role, slot string) (request.NewKey, error)
	// Authorise tells custody, before an act is accepted, that whoever has this session asks for it: the request, as far as
	// it is his to decide, under the act's ID. It may be signed until notAfter (ms). Asked twice it is one authorisation. It
	// works while custody is sealed. ErrSessionOver, ErrLoginOld: he has to log in again. ErrTooLate: notAfter has passed.
	Authorise(ctx context.Context, session SessionToken, subject string, body request.Body, notAfter int64) error
	// AuthoriseParts names, once and for all, the lots of an import that was asked for as an Issue of no lot, on these terms:
	// from then on they may be signed, and no others. Named twice they are the same. ErrUnauthorised: it was not asked for, or
	// too long ago, or others were named.
	AuthoriseParts(ctx context.Context, asked string, terms request.Issue, parts []Part) error
	// AuthoriseDevice tells custody that whoever has this session asks for one terminal of his organisation, under a name, whose
	// key may be published until notAfter (ms) once it is named, within a day. Errors: those of Authorise.
	AuthoriseDevice(ctx context.Context, session SessionToken, asked string, notAfter int64) error
	// NameDevice names the key of the device that was asked for under a name. It may then be signed as the act asked+"-key", and
	// no other key. Named twice it is the same. ErrUnauthorised: nobody asked, or too long ago, or another one was named.
	NameDevice(ctx context.Context, asked string, body request.PublishKey) error
	// EnrolAll does that for many owners at once, and answers how many keys it has made. The key of an owner whose key was
	// stopped is the zero one. actor is the person who asks.
	EnrolAll(ctx context.Context, owners []string, role request.Role, slot, actor string) (keys []request.NewKey, made int, err error)
	// ActiveKey is the ID of the owner's key in a slot.
	ActiveKey(ctx context.Context, owner, slot string) (string, error)
	// Sign signs a request for the owner of the key. ErrKeyStopped: the key is suspended or revoked. ErrKeyReplaced:
	// another key has taken its place since the attempt was fixed to it. ErrUnauthorised: its owner is a consumer, and
	// didn't ask for this. ErrSealed: later.
	Sign(ctx context.Context, ask Ask, body request.Body) (request.Signature, error)
	// CloseAttempt says that an attempt can never commit, so that another digest may be signed for the same act.
	CloseAttempt(ctx context.Context, ask Ask, why AttemptEnd) error
	SignLog
	KeyLife
}

// Part is an act of an import, and the lot that it issues.
type Part struct {
	Subject string // the act
	Rule    string
	Lot     string
}

// Ask says for which act a signature is wanted.
type Ask struct {
	Owner    string
	Slot     string
	Purpose  string // the contract function
	Subject  string // the act
	Attempt  int
	KeyID    string
	NotAfter int64  // ms
	Actor    string // who or what asked, for the audit
}

// AttemptEnd is why an attempt can never commit.
type AttemptEnd string

// The reasons to close an attempt.
const (
	NeverBroadcast    AttemptEnd = "never_broadcast"
	DefinitelyInvalid AttemptEnd = "definitely_invalid"
)

// Signer's errors.
var (
	ErrKeyStopped  = errors.New("key may not sign")
	ErrKeyReplaced = errors.New("key has been replaced")
	ErrSealed      = errors.New("custody is sealed")
	ErrLoginOld    = errors.New("the login behind the act is too old")
	ErrSessionOver = errors.New("nobody is logged in by this session")
	ErrTooLate     = errors.New("what was asked for could be asked for until now")
	// ErrUnauthorised: custody has no record that its owner asked for it.
	ErrUnauthorised = errors.New("the owner of the key did not ask for this")
	// ErrCustodyAway: custody can't be reached. Whether it did anything, asking again finds out.
	ErrCustodyAway = errors.New("custody can't be reached")
)

// Wait is a signer's refusal that is over by itself: a quota is used up, a key signs too fast. The act waits, and ends
// only if its own time is over first.
type Wait struct {
	After time.Duration // when to ask again
	Err   error
}

// Error is the reason.
func (w *Wait) Error() string { return w.Err.Error() }

// Unwrap gives the reason.
func (w *Wait) Unwrap() error { return w.Err }

// Slots of keys in custody.
const (
	SlotAccount   = "account"
	SlotRegistrar = "registrar"
	SlotTicket    = "ticket"
	SlotRelease   = "release"
	SlotAnchor    = "anchor"
	SlotAudit     = "audit"
)

// The participants that the system itself is.
const (
	PlatformID = "platform"
	Admin1     = "administrator-1"
	Admin2     = "administrator-2"
)

// Caller is who asks, as the session says.
type Caller struct {
	Participant string // pseudonym on the ledger
	Role        request.Role
	Person      string   // staff: the person; consumers: ""
	Roles       []string // staff: what the person may do
	Device      string   // a terminal: its ID here
	Session     SessionToken
}

// Session is a login: who it is, and until when.
type Session struct {
	Caller
	LoginAt   time.Time
	ExpiresAt time.Time
}

type sessionKey struct{}

// WithSession is a context in which somebody is logged in, for a custody in another process that asks for proof of it.
func WithSession(ctx context.Context, token SessionToken) context.Context {
	return context.WithValue(ctx, sessionKey{}, token)
}

// SessionOf is the token of whoever is logged in, or "".
func SessionOf(ctx context.Context) SessionToken {
	token, _ := ctx.Value(sessionKey{}).(SessionToken)
	return token
}

// SessionToken proves to custody that somebody is logged in.
type SessionToken string

// Format keeps tokens out of everything that is printed; string(t) is the value.
func (SessionToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// Accounts adds who may log in by WeChat. [Service] does so in its database.
type Accounts interface {
	// AddConsumers makes a participant and an account for each login, which none of them has. Errors: model.ErrConflict if
	// one has.
	AddConsumers(ctx context.Context, appID string, openIDs []string) error
}

// Config is what a Service needs.
type Config struct {
	DB     *model.DB
	Ledger ledger.Ledger
	Signer Signer
	// Accounts is where accounts are added; nil: here. Where custody is apart it has the accounts, too.
	Accounts Accounts
	Vault    *Vault
	Journal  *Journal
	// Journals are the files of other servers' journals, or of their copies: read when this one is asked to open what
	// those servers made.
	Journals []string
	// Server is the name of this server among those on one database, the same after a restart; "" makes one up. See
	// OpenServerName.
	Server  string
	Plan    *iccid.Plan
	Clock   func() time.Time
	Random  io.Reader
	Logger  *slog.Logger
	Metrics Metrics
	Relay   RelayConfig
	Trade   TradeConfig
	// Audit is what is anchored on the ledger; nil: nothing is.
	Audit  Audit
	Anchor AnchorConfig
	// Crier tells other servers what has moved here; nil if there are none, or they may look by themselves.
	Crier Crier
	// MSISDNPrefixes are those of the carriers' IoT numbers; nil means iccid's defaults.
	MSISDNPrefixes []string
	// Messenger sends what consumers are told outside of the app; nil: nothing is.
	Messenger Messenger
	// RealName is how real names are registered.
	RealName RealNameConfig
	// Imports is the folder where card files wait to be read.
	Imports ImportConfig
	// At is called at the points of point.go, for the crash suite; nil outside of it.
	At func(point string)
}

// TradeConfig bounds offers.
type TradeConfig struct {
	DefaultExpiry time.Duration
	MinExpiry     time.Duration
	MaxExpiry     time.Duration
	SweepInterval time.Duration
	// EachAtOnce is how many trades one ledger transaction opens when every card gets its own; more are a job of several.
	// 0 means request.MaxOutputs, the most there can be.
	EachAtOnce int
}

// Metrics receives what operators watch. Every method is called often and must not block.
type Metrics interface {
	// ActEnded: an act of a function reached an end, committed or failed with a code.
	ActEnded(function, outcome string, took time.Duration)
	// LedgerFailure: a submission failed, by class.
	LedgerFailure(class string)
	// Alarm: something that someone should look at, one of Alarms.
	Alarm(name string)
	// RealName: a registration of a real name has come to something, one of RealNameEvents.
	RealName(event string)
	// Message: one of a kind has come to an end, one of Deliveries.
	Message(kind, end string)
}

// Alarms are what Metrics.Alarm can be called with: the listener can't follow the ledger; a block holds an invalid
// transaction of ours for no known reason; the ledger has a lot that nothing here opens; the audit can't be anchored; the
// ledger has anchored another audit than this one; an act in the database asks for something else than was asked for.
var Alarms = []string{"listener", "ledger_invalid", "lot_without_opening", "anchor", "audit_fork", "act_altered"}

// RealNameEvents are what Metrics.RealName can be called with. Approvals are acts, and counted as such.
var RealNameEvents = []string{"submitted", "refused", "withdrawn", "expired"}

// Service is the use cases over one database and one ledger. Any number of servers may run one each.
type Service struct {
	Config
	hub  *hub
	wake chan struct{}
	wg   sync.WaitGroup

	trouble atomic.Pointer[error] // why the listener can't follow the ledger

	lost lost

	gateway sync.Map // *gm.PrivateKey by key ID
	devices sync.Map // seenDevice by device
}

// New makes a service. Nothing runs before Start.
func New(c Config) *Service {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Server == "" {
		c.Server = randomID(c.Random, 8)
	}
	if c.Plan == nil {
		c.Plan = iccid.DefaultPlan()
	}
	if c.Metrics == nil {
		c.Metrics = silent{}
	}
	if c.Trade.EachAtOnce <= 0 || c.Trade.EachAtOnce > request.MaxOutputs {
		c.Trade.EachAtOnce = request.MaxOutputs
	}
	c.Relay, c.RealName = c.Relay.withDefaults(), c.RealName.withDefaults()
	c.Anchor = c.Anchor.withDefaults()
	return &Service{Config: c, hub: newHub(), wake: make(chan struct{}, 1)}
}

// now is the time in ms.
func (s *Service) now() model.Millis { return model.MillisOf(s.Clock()) }

// newID makes an unguessable ID of 32 hex characters.
func (s *Service) newID() string { return randomID(s.Random, 16) }

// worker is a fresh name for one who leases work: this server's, and which of its workers.
func (s *Service) worker() string { return s.Server + "/" + s.newID() }

func (s *Service) salt() [32]byte {
	var b [32]byte
	fill(s.Random, b[:])
	return b
}

// randomID is n random bytes in hex. A machine without randomness can't go on.
func randomID(r io.Reader, n int) string {
	b := make([]byte, n)
	fill(r, b)
	return hex.EncodeToString(b)
}

func fill(r io.Reader, b []byte) {
	if _, err := io.ReadFull(r, b); err != nil {
		panic("transfer: no randomness: " + err.Error())
	}
}

type silent struct{}

func (silent) ActEnded(string, string, time.Duration) {}
func (silent) LedgerFailure(string)                   {}
func (silent) Alarm(string)                           {}
func (silent) RealName(string)                        {}
func (silent) Message(string, string)                 {}
