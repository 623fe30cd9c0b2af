package protocol

import (
	"cardflow/gm"
	"cardflow/ledger/request"
)

// The routes, under the API's base. All but Gateway are POST and signed.
const (
	Base           = "/api/v1/terminal"
	PathGateway    = Base + "/gateway" // GET, with a nonce and no key: whoever has none yet asks
	PathEnrol      = Base + "/enrol"   // signed by the key that is to be enrolled
	PathRecentHash = Base + "/transRecentHash"
	PathConfirm    = Base + "/transConfirm"
	PathSuccess    = Base + "/transSuccess"
	PathSubmit     = Base + "/submit"
	PathQuery      = Base + "/query"
)

// Functions are those of the contract that a device key may sign; they stand in its record on the ledger, in this order.
var Functions = []string{"Cancel", "Confirm", "Decline", "Merge", "Offer", "Return", "RevokeKey", "RotateKey", "SuspendKey"}

// Gateway is who answers, and by which keys: a terminal that has pinned one of them learns the others.
type Gateway struct {
	Channel string       `json:"channel"`
	Now     int64        `json:"now"` // ms
	Keys    []GatewayKey `json:"keys"`
}

// GatewayKey is a key that signs answers, as it stands on the ledger.
type GatewayKey struct {
	ID         string       `json:"id"`
	Public     gm.PublicKey `json:"public"`
	ValidUntil int64        `json:"validUntil,omitempty"` // ms; 0: no end is known
	TxID       string       `json:"txId"`                 // that published it
}

// Span is a run of cards: first and last ICCID; End empty for one card.
type Span struct {
	Start string `json:"start"`
	End   string `json:"end,omitempty"`
}

// Party is a participant.
type Party struct {
	ID   string       `json:"id"`
	Name string       `json:"name"`
	Role request.Role `json:"role"`
}

// Enrol shows a ticket and the key that it is for. Asked again with the same key it answers how far that is.
type Enrol struct {
	Ticket     string       `json:"ticket"`
	Serial     string       `json:"serial"`     // 4 to 32 of A-Z, 0-9 and '-': what is printed on the label
	SerialSalt string       `json:"serialSalt"` // hex, 32 bytes, the terminal's
	Public     gm.PublicKey `json:"public"`
	Possession gm.Signature `json:"possession"` // request.PossessionBytes(channel, participant, public)
}

// States of a device.
const (
	DeviceEnrolling = "enrolling" // its key is on its way to the ledger
	DeviceActive    = "active"
	DeviceSuspended = "suspended"
	DeviceLost      = "lost" // suspended, and said to be lost
	DeviceRevoked   = "revoked"
)

// Device is a terminal as the platform knows it.
type Device struct {
	ID          string `json:"id"`
	Name        string `json:"name"` // what its organisation calls it
	State       string `json:"state"`
	Serial      string `json:"serial"`
	SerialHash  string `json:"serialHash"` // SerialHash(salt, serial), on the ledger
	KeyID       string `json:"keyId"`
	Participant Party  `json:"participant"`
}

// RecentHash asks for the draft of an offer, or with Reverses of a return.
type RecentHash struct {
	Segments  []Span       `json:"segments"`
	Mode      request.Mode `json:"mode"`
	To        string       `json:"to,omitempty"`        // participant, for NAMED
	ExpiresIn int64        `json:"expiresIn,omitempty"` // ms; 0: the platform's default
	Reverses  string       `json:"reverses,omitempty"`  // trade
}

// Draft is an offer that wants a signature. Args are the exact bytes of the request's body; Openings open every lot and code
// in it, also the inputs, so that all of it can be checked.
type Draft struct {
	Contract  string           `json:"contract"`
	Function  string           `json:"function"`
	Args      string           `json:"args"`
	RequestID string           `json:"requestId"`
	Openings  request.Openings `json:"openings"`
	Count     uint64           `json:"count"` // cards
}

// ConfirmAsk asks what a trade holds: of one that is for the terminal's organisation by its ID, of any other by its code
// and the last six characters of a card in it.
type ConfirmAsk struct {
	Trade      string `json:"trade,omitempty"`
	Code       string `json:"code,omitempty"`
	ICCIDLast6 string `json:"iccidLast6,omitempty"`
}

// Offered is what a trade holds, for the one who may confirm it. Opening opens Lot.
type Offered struct {
	Trade        string               `json:"trade"`
	Lot          string               `json:"lot"`
	Opening      request.LotOpening   `json:"opening"`
	Segments     []Span               `json:"segments"`
	Count        uint64               `json:"count"`
	Mode         request.Mode         `json:"mode"`
	Seller       Party                `json:"seller"`
	Issuer       Party                `json:"issuer"`    // of the cards: the carrier
	OfferedAt    int64                `json:"offeredAt"` // ms
	ExpiresAt    int64                `json:"expiresAt"` // ms
	Reverses     string               `json:"reverses,omitempty"`
	Restrictions []string             `json:"restrictions,omitempty"`
	RetailPolicy request.RetailPolicy `json:"retailPolicy"`
}

// Submit relays a signed request. Openings are those of lots and codes that the terminal has made, as a draft brought them or
// by itself; the platform adds those of others. Code and ICCIDLast6 stand for Openings where a BEARER trade is confirmed or
// declined.
type Submit struct {
	Contract   string            `json:"contract"`
	Function   string            `json:"function"`
	Args       string            `json:"args"`
	Signature  request.Signature `json:"signature"`
	Openings   *request.Openings `json:"openings,omitempty"`
	Code       string            `json:"code,omitempty"`
	ICCIDLast6 string            `json:"iccidLast6,omitempty"`
}

// Submitted is how far a request is: accepted, signed, submitted, committed, failed. Whoever sees neither of the last two
// sends the same Submit again, or asks.
type Submitted struct {
	RequestID   string   `json:"requestId"`
	State       string   `json:"state"`
	TxID        string   `json:"txId,omitempty"`
	BlockNumber uint64   `json:"blockNumber,omitempty"`
	Error       *Refusal `json:"error,omitempty"`
}

// Refusal is why a request failed: a stable code, and a sentence for the person.
type Refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Success has the platform settle what the ledger has committed, and answers it.
type Success struct {
	TxID string `json:"txId"`
}

// Settled is what a transaction has made of lots and trades that are the terminal's organisation's to see.
type Settled struct {
	TxID        string         `json:"txId"`
	BlockNumber uint64         `json:"blockNumber"`
	Lots        []SettledLot   `json:"lots"`
	Trades      []SettledTrade `json:"trades"`
}

// SettledLot is a lot as the ledger has it.
type SettledLot struct {
	Lot    string `json:"lot"`
	Status string `json:"status"`
	Mine   bool   `json:"mine"`
}

// SettledTrade is a trade as the ledger has it.
type SettledTrade struct {
	Trade string `json:"trade"`
	State string `json:"state"`
	Lot   string `json:"lot"`
}

// Query asks one thing, named by What; the other members say of what.
type Query struct {
	What      string `json:"what"`
	RequestID string `json:"requestId,omitempty"` // request
	ICCID     string `json:"iccid,omitempty"`     // trace
	TxID      string `json:"txId,omitempty"`      // transaction
	KeyID     string `json:"keyId,omitempty"`     // key
	State     string `json:"state,omitempty"`     // trades: "" is offered
	Side      string `json:"side,omitempty"`      // trades: receiver, seller
	Cursor    string `json:"cursor,omitempty"`
	Limit     int    `json:"limit,omitempty"` // at most 200
}

// What can be asked.
const (
	QueryDevice       = "device"       // → Device: this terminal
	QueryStock        = "stock"        // → Stock: lots of its organisation that are free, opened
	QueryTrades       = "trades"       // → Trades
	QueryParticipants = "participants" // → Participants: to whom one can sell
	QueryRequest      = "request"      // → Submitted
	QueryTrace        = "trace"        // → Trace of a card
	QueryTransaction  = "transaction"  // → Transaction of the ledger that its organisation is a side of
	QueryKey          = "key"          // → a key's record on the ledger: of its own organisation, or the gateway's
)
