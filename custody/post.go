package custody

import (
	"regexp"

	"cardflow/ledger/request"
)

// Slot is which of its owner's keys a key is.
type Slot string

// The slots. Every participant but the platform has one key, the account's. The
// platform has a key for each of its jobs, so that the one which is used a
// thousand times a second can't register anybody.
const (
	Account   Slot = "account"
	Registrar Slot = "registrar"
	Ticket    Slot = "ticket"
	Release   Slot = "release"
	Anchor    Slot = "anchor"
	Audit     Slot = "audit" // signs exports of the audit; no contract request
)

// Post is the place that a key has: whose it is, in what role, for what job.
type Post struct {
	Owner string       // participant ID
	Role  request.Role // on the ledger, for ever
	Slot  Slot
}

// duty is what comes with a post.
type duty struct {
	kind      request.KeyKind
	functions []string // what a key there may sign; at most 32, which is what the ledger takes
	allowance
}

// allowance is how much a key may sign.
type allowance struct {
	daily  int64 // signatures a day, where no quota was set
	minute int64 // signatures a minute; this many at once
	usual  int64 // so many a day are nothing unusual, whatever the key has done before; see guard.go
}

// The allowances. The platform's own keys work for everybody: they stop where everybody stops.
var (
	forPerson   = allowance{daily: 500, minute: 60, usual: 100}
	forShop     = allowance{daily: 50_000, minute: 1_200, usual: 5_000}
	forTrader   = allowance{daily: 200_000, minute: 6_000, usual: 20_000}
	forOfficial = allowance{daily: 10_000, minute: 600, usual: 2_000}
	forPlatform = allowance{daily: everybodyDaily, minute: 600_000, usual: everybodyDaily}
)

// everybodyDaily is how many signatures all keys together may make in a day, where no quota was set.
const everybodyDaily = 10_000_000

// A consumer's key signs that he takes cards or gives them back, and nothing else.
var asBuyer = []string{"Confirm", "Decline", "Return", "Cancel"}

// Organisations also sell, and look after their own keys (a terminal's is added, and stopped, by the account's).
var asTrader = append([]string{"Offer", "Merge", "PublishKey", "RotateKey", "SuspendKey", "RevokeKey"}, asBuyer...)

// duties says what a key in each post is, may sign, and how much of it. The functions are sealed into the key when it
// is made, and stand on the ledger beside it: taking a function away here stops old keys at once, adding one is for new
// keys only.
var duties = map[request.Role]map[Slot]duty{
	request.Consumer:    {Account: {request.AccountKey, asBuyer, forPerson}},
	request.Retailer:    {Account: {request.AccountKey, asTrader, forShop}},
	request.Distributor: {Account: {request.AccountKey, asTrader, forTrader}},
	request.Carrier: {Account: {request.AccountKey,
		append([]string{"Issue", "Retire", "Freeze", "Unfreeze", "Approve", "RevokeApproval"}, asTrader...), forTrader}},
	request.Regulator: {Account: {request.AccountKey,
		[]string{"Freeze", "Unfreeze", "FreezeParticipant", "UnfreezeParticipant", "PublishKey", "RotateKey"}, forOfficial}},
	request.Administrator: {Account: {request.AccountKey,
		[]string{"Register", "RegisterBatch", "PublishKey", "RotateKey", "SuspendKey", "ResumeKey", "RevokeKey", "SetIssuer", "SetPolicy"}, forOfficial}},
	request.Platform: {
		Registrar: {request.PlatformKey, []string{"Register", "RegisterBatch", "PublishKey", "SuspendKey", "ResumeKey", "RevokeKey",
			"Freeze", "Unfreeze", "FreezeParticipant", "UnfreezeParticipant"}, forPlatform},
		Ticket:  {request.PlatformKey, []string{"Ticket"}, forPlatform},
		Release: {request.PlatformKey, []string{"Release"}, forPlatform},
		Anchor:  {request.PlatformKey, []string{"Anchor"}, forOfficial},
		Audit:   {request.PlatformKey, []string{"AuditExport"}, forOfficial},
	},
}

func (p Post) duty() (duty, error) {
	d, ok := duties[p.Role][p.Slot]
	if !ok || !participantID.MatchString(p.Owner) {
		return duty{}, ErrPost
	}
	return d, nil
}

// participantID is the ledger's alphabet for participants.
var participantID = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]{2,62}$`)
