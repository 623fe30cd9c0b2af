package request

// Mode says to whom an offer goes.
type Mode string

// The modes.
const (
	Named  Mode = "NAMED"  // to one participant, who needs no code
	Bearer Mode = "BEARER" // to whoever opens the code hash, with the platform's ticket
)

// RetailPolicy says what must stand on the ledger before a consumer may own a card.
type RetailPolicy string

// The retail policies, loosest first.
const (
	Open     RetailPolicy = "OPEN"
	RealName RetailPolicy = "REAL_NAME"
)

// Issue is the first registration of cards, once per card for ever. Signed by the carrier that holds their prefix.
type Issue struct {
	Lot          string       `json:"lot"` // lot hash, hex
	Carrier      string       `json:"carrier"`
	Rule         string       `json:"rule"`
	RetailPolicy RetailPolicy `json:"retailPolicy"`
	Restrictions []string     `json:"restrictions,omitempty"` // sorted, each once: NO_VOICE, NO_SMS, …
}

// Output is one trade of an offer: the lot that goes into it.
type Output struct {
	Trade    string `json:"trade"` // 32 hex characters, made by the seller's side
	Lot      string `json:"lot"`
	CodeHash string `json:"codeHash,omitempty"` // BEARER: see CodeHash
}

// MaxOutputs bounds the trades of one offer.
const MaxOutputs = 500

// Offer is the transfer-out (转出申请, paper §2.4.2): inputs are spent, each output becomes a lot in a trade of its own,
// remainders become lots of the seller. Outputs and remainders together must exactly partition the inputs.
// Signed by the owner of all inputs.
type Offer struct {
	Seller     string   `json:"seller"`
	Mode       Mode     `json:"mode"`
	Receiver   string   `json:"receiver,omitempty"` // NAMED
	OfferedAt  int64    `json:"offeredAt"`          // ms; goes into the trade code
	ExpiresAt  int64    `json:"expiresAt"`          // ms
	Inputs     []string `json:"inputs"`
	Outputs    []Output `json:"outputs"`
	Remainders []string `json:"remainders,omitempty"`
}

// Return offers cards back to the one they came from: a NAMED offer with a single output that names the trade it
// reverses. Signed by the owner, who may be a consumer.
type Return struct {
	Offer
	Reverses string `json:"reverses"` // trade
}

// Ticket is the platform's word that its guards let this receiver at this BEARER trade. It is signed by a platform key
// and travels inside the proof of Confirm or Decline; it is no function of its own.
type Ticket struct {
	Trade    string `json:"trade"`
	Receiver string `json:"receiver"`
}

// Confirm is the transfer-in (转入确认, paper §2.4.3). Signed by the receiver.
type Confirm struct {
	Trade    string `json:"trade"`
	Lot      string `json:"lot"`
	Receiver string `json:"receiver"`
}

// Decline sends the cards back. Signed by the receiver, with the same proof as Confirm.
type Decline struct {
	Trade    string `json:"trade"`
	Receiver string `json:"receiver"`
	Reason   string `json:"reason"` // a code from Reasons; a person's words stay off the ledger
}

// Reasons a receiver can give.
var Reasons = map[string]bool{"NOT_MINE": true, "WRONG_CARDS": true, "DAMAGED": true, "CHANGED_MIND": true, "OTHER": true}

// Cancel takes an open offer back. Signed by the seller.
type Cancel struct {
	Trade string `json:"trade"`
}

// Release ends an expired offer. Signed by the platform or anyone registered.
type Release struct {
	Trade string `json:"trade"`
}

// Merge makes one lot of several. Signed by their owner.
type Merge struct {
	Owner  string   `json:"owner"`
	Inputs []string `json:"inputs"`
	Output string   `json:"output"`
}

// Approve is a carrier's real-name approval of a consumer. Signed by the carrier.
type Approve struct {
	Carrier    string `json:"carrier"`
	Consumer   string `json:"consumer"`
	Commitment string `json:"commitment"` // keyed hash of the ID number, hex: the same person, whatever the account
	ValidUntil int64  `json:"validUntil"` // ms
	Version    int    `json:"version"`    // 0 for the first approval of this consumer
}

// RevokeApproval takes an approval back. Signed by the carrier.
type RevokeApproval struct {
	Carrier  string `json:"carrier"`
	Consumer string `json:"consumer"`
	Version  int    `json:"version"`
}

// LotAct names a lot at a version, and, where only some of its cards are meant, the two lots it splits into.
type LotAct struct {
	Lot     string `json:"lot"`
	Version int    `json:"version"`
	Subset  string `json:"subset,omitempty"` // lot hash of the cards that are meant
	Rest    string `json:"rest,omitempty"`   // lot hash of the others
}

// Freeze stops cards where they are. Signed by the carrier (its own), a regulator, or the platform for consumers it
// registered.
type Freeze struct{ LotAct }

// Unfreeze lets them go again. Signed by the role that froze them.
type Unfreeze struct{ LotAct }

// Retire ends the life of cards. Signed by their carrier.
type Retire struct{ LotAct }

// ParticipantAct names a participant at the version of his freeze record (0 before the first).
type ParticipantAct struct {
	Participant string `json:"participant"`
	Version     int    `json:"version"`
}

// FreezeParticipant stops everything a participant has or is offered.
type FreezeParticipant struct{ ParticipantAct }

// UnfreezeParticipant lets him trade again.
type UnfreezeParticipant struct{ ParticipantAct }

// Contract and Function place each body.
func (Issue) Contract() string               { return Ownership }
func (Issue) Function() string               { return "Issue" }
func (Offer) Contract() string               { return Ownership }
func (Offer) Function() string               { return "Offer" }
func (Return) Contract() string              { return Ownership }
func (Return) Function() string              { return "Return" }
func (Ticket) Contract() string              { return Ownership }
func (Ticket) Function() string              { return "Ticket" }
func (Confirm) Contract() string             { return Ownership }
func (Confirm) Function() string             { return "Confirm" }
func (Decline) Contract() string             { return Ownership }
func (Decline) Function() string             { return "Decline" }
func (Cancel) Contract() string              { return Ownership }
func (Cancel) Function() string              { return "Cancel" }
func (Release) Contract() string             { return Ownership }
func (Release) Function() string             { return "Release" }
func (Merge) Contract() string               { return Ownership }
func (Merge) Function() string               { return "Merge" }
func (Approve) Contract() string             { return Ownership }
func (Approve) Function() string             { return "Approve" }
func (RevokeApproval) Contract() string      { return Ownership }
func (RevokeApproval) Function() string      { return "RevokeApproval" }
func (LotAct) Contract() string              { return Ownership }
func (Freeze) Function() string              { return "Freeze" }
func (Unfreeze) Function() string            { return "Unfreeze" }
func (Retire) Function() string              { return "Retire" }
func (ParticipantAct) Contract() string      { return Ownership }
func (FreezeParticipant) Function() string   { return "FreezeParticipant" }
func (UnfreezeParticipant) Function() string { return "UnfreezeParticipant" }
