package request

import "cardflow/gm"

// Role is what a participant is on the ledger.
type Role string

// The roles.
const (
	Administrator Role = "administrator"
	Carrier       Role = "carrier"
	Distributor   Role = "distributor"
	Retailer      Role = "retailer"
	Consumer      Role = "consumer"
	Platform      Role = "platform"
	Regulator     Role = "regulator"
)

// KeyKind is where a participant's private key lives.
type KeyKind string

// The kinds of keys.
const (
	DeviceKey   KeyKind = "device"   // in a terminal's SE-SIM
	AccountKey  KeyKind = "account"  // in the platform's custody
	GatewayKey  KeyKind = "gateway"  // signs gateway responses; signs no contract request
	PlatformKey KeyKind = "platform" // the system's own: registrar, ticket, release, anchor
)

// NewKey is a public key that is to be put on the ledger.
type NewKey struct {
	Public     gm.PublicKey `json:"public"` // 65 bytes, hex
	Kind       KeyKind      `json:"kind"`
	SerialHash string       `json:"serialHash,omitempty"` // device keys: hex SHA-256 of the SE-SIM's serial, salted
	Functions  []string     `json:"functions,omitempty"`  // if set, the only functions it may sign
	ValidUntil int64        `json:"validUntil,omitempty"` // ms; 0 means no end
	Possession gm.Signature `json:"possession"`           // over PossessionBytes, by the key itself
}

// Init starts the identity contract: once, by the organisation the contract pins. It has no signatures; the
// administrators prove possession of their keys.
type Init struct {
	Administrators     []Registration `json:"administrators"`     // two or more
	IssueKeyCommitment string         `json:"issueKeyCommitment"` // hex; see IssueKeyCommitment
}

// Registration is one participant with its first key.
type Registration struct {
	Participant string `json:"participant"`
	Role        Role   `json:"role"`
	Key         NewKey `json:"key"`
}

// Register puts a participant on the ledger. Signed by the platform (consumers, retailers, distributors) or by two
// administrators (carriers, regulators, platforms).
type Register struct {
	Registration
}

// RegisterBatch is up to MaxBatch registrations in one transaction, all or none.
type RegisterBatch struct {
	Items []Registration `json:"items"`
}

// MaxBatch bounds RegisterBatch.
const MaxBatch = 500

// PublishKey gives a participant a further key. Signed by one of his active keys, or by two administrators.
type PublishKey struct {
	Participant string `json:"participant"`
	Version     int    `json:"version"` // the participant's version that this act was made for
	Key         NewKey `json:"key"`
}

// RotateKey replaces a key: the old one stays readable and signs nothing more. Signed by the old key, or by two
// administrators where it is lost.
type RotateKey struct {
	Participant string `json:"participant"`
	Version     int    `json:"version"` // the participant's
	OldKey      string `json:"oldKey"`
	Key         NewKey `json:"key"`
}

// KeyAct names a key at a version. Versions make an old signature fit nothing.
type KeyAct struct {
	Key     string `json:"key"`
	Version int    `json:"version"`
}

// SuspendKey stops a key for a while. Signed by its participant, the registrar or two administrators.
type SuspendKey struct{ KeyAct }

// ResumeKey lets a suspended key sign again. Signed by the registrar or two administrators.
type ResumeKey struct{ KeyAct }

// RevokeKey stops a key for ever. Signed by its participant, the registrar or two administrators.
type RevokeKey struct{ KeyAct }

// SetIssuer says which carrier issues the ICCIDs under a prefix, and by which numbering rule. Two administrators.
type SetIssuer struct {
	Prefix  string `json:"prefix"`
	Carrier string `json:"carrier"` // participant
	Rule    string `json:"rule"`    // iccid.Rule
	Version int    `json:"version"` // 0 for a new prefix
}

// SetPolicy sets one of the numbers in Policies. Two administrators.
type SetPolicy struct {
	Name    string `json:"name"`
	Value   int64  `json:"value"`
	Version int    `json:"version"` // 0 for the first setting
}

// The policies that live on the ledger, with their values before anyone sets them.
const (
	PolicyRealNameCap         = "realname.cap"     // cards one person may hold of one carrier
	PolicyReturnDays          = "return.days"      // days after confirmation in which a buyer may return cards
	PolicyExpiryMax           = "trade.expiry.max" // ms from offer to expiry, at most
	PolicyConsumerSells       = "consumer.sells"   // 1: consumers may sell on
	PolicySegmentsMax         = "lot.segments.max" // segments of one lot
	PolicyNotAfterMax         = "request.notafter" // ms from transaction to notAfter, at most, where a trade does not say more
	PolicyClockSkew           = "clock.skew"       // ms between the offer time in a request and the transaction's time
	dayMillis           int64 = 24 * 60 * 60 * 1000
)

// Policies are the defaults.
var Policies = map[string]int64{
	PolicyRealNameCap:   10,
	PolicyReturnDays:    7,
	PolicyExpiryMax:     30 * dayMillis,
	PolicyConsumerSells: 0,
	PolicySegmentsMax:   1000,
	PolicyNotAfterMax:   7 * dayMillis,
	PolicyClockSkew:     7 * dayMillis,
}

// Anchor writes the head of a hash chain that is kept elsewhere (the custody audit). Signed by a platform key.
// Sequence grows with each anchor of a stream.
type Anchor struct {
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
	Digest   string `json:"digest"` // hex
}

// Contract and Function place each body.
func (Init) Contract() string          { return Identity }
func (Init) Function() string          { return "Init" }
func (Register) Contract() string      { return Identity }
func (Register) Function() string      { return "Register" }
func (RegisterBatch) Contract() string { return Identity }
func (RegisterBatch) Function() string { return "RegisterBatch" }
func (PublishKey) Contract() string    { return Identity }
func (PublishKey) Function() string    { return "PublishKey" }
func (RotateKey) Contract() string     { return Identity }
func (RotateKey) Function() string     { return "RotateKey" }
func (KeyAct) Contract() string        { return Identity }
func (SuspendKey) Function() string    { return "SuspendKey" }
func (ResumeKey) Function() string     { return "ResumeKey" }
func (RevokeKey) Function() string     { return "RevokeKey" }
func (SetIssuer) Contract() string     { return Identity }
func (SetIssuer) Function() string     { return "SetIssuer" }
func (SetPolicy) Contract() string     { return Identity }
func (SetPolicy) Function() string     { return "SetPolicy" }
func (Anchor) Contract() string        { return Identity }
func (Anchor) Function() string        { return "Anchor" }
