package model

import (
	"fmt"
	"strings"

	"gorm.io/gorm"
)

// RealNameState is how far the registration of a real name is.
type RealNameState string

// The states of a registration.
const (
	RealNameChecking    RealNameState = "checking"    // the verifier is asked
	RealNameReviewing   RealNameState = "reviewing"   // the carrier's approver decides
	RealNameApproving   RealNameState = "approving"   // he has approved; the act is on its way to the ledger
	RealNameApproved    RealNameState = "approved"    // on the ledger, until its time is over
	RealNameRefused     RealNameState = "refused"     // by the verifier, by the approver, or because nobody decided in time
	RealNameWithdrawing RealNameState = "withdrawing" // the consumer takes it back; the carrier has to sign that on the ledger
	RealNameRevoking    RealNameState = "revoking"    // he has; the act is on its way
	RealNameWithdrawn   RealNameState = "withdrawn"
)

// RealNameMoves: what the ledger says counts, whatever was thought here; what is over is over, and the next try is
// another registration.
var RealNameMoves = Machine[RealNameState]{
	{RealNameChecking, []RealNameState{RealNameReviewing, RealNameApproved, RealNameRefused, RealNameWithdrawn}},
	{RealNameReviewing, []RealNameState{RealNameApproving, RealNameApproved, RealNameRefused, RealNameWithdrawn}},
	{RealNameApproving, []RealNameState{RealNameReviewing, RealNameApproved}},
	{RealNameApproved, []RealNameState{RealNameWithdrawing, RealNameWithdrawn}},
	{RealNameRefused, nil},
	{RealNameWithdrawing, []RealNameState{RealNameRevoking, RealNameWithdrawn}},
	{RealNameRevoking, []RealNameState{RealNameWithdrawing, RealNameWithdrawn}},
	{RealNameWithdrawn, nil},
}

// Asked reports whether somebody still has to decide about what the consumer gave: only then is it kept.
func (s RealNameState) Asked() bool {
	return s == RealNameChecking || s == RealNameReviewing || s == RealNameApproving
}

// Waits reports whether it is the carrier's people who have to do something.
func (s RealNameState) Waits() bool { return s == RealNameReviewing || s == RealNameWithdrawing }

// live reports whether it keeps the consumer from another one with the same carrier.
func (s RealNameState) live() bool {
	return s.Asked() || s == RealNameWithdrawing || s == RealNameRevoking
}

// RealName is a consumer's registration of his real name with a carrier. Who he is stands in it, sealed, while somebody
// has to decide, and is gone after that; Person, a keyed hash, tells that two registrations are of one person.
type RealName struct {
	ID               string `gorm:"primaryKey"`
	Consumer         string
	Carrier          string
	Live             string `gorm:"serializer:null"` // filled in here: there is one of a consumer with a carrier that is not over
	State            RealNameState
	Waiting          bool   // filled in here: for the carrier's people
	Method           string // ID_NUMBER, CREDENTIAL
	Person           string `gorm:"serializer:null"`
	IdentitySealed   []byte
	Consent          string // version of what he agreed to
	Verifier         string // who checked
	Finding          string // what that said
	Reason           string // code, of a refusal
	ReasonTextSealed []byte
	Decider          string `gorm:"serializer:null"` // a person of the carrier
	Act              string `gorm:"serializer:null"` // that carries the decision to the ledger
	ValidUntil       Millis
	Tries            int
	NextAt           Millis // when the verifier may be asked again
	CreatedAt        Millis `gorm:"autoCreateTime:milli"`
	DecidedAt        Millis
	UpdatedAt        Millis `gorm:"autoUpdateTime:milli"`
}

// TableName places the record.
func (RealName) TableName() string { return "real_names" }

// settled fills in what follows from the state, and lets go of what nobody needs any more.
func (r *RealName) settled() {
	r.Live, r.Waiting = "", r.State.Waits()
	if r.State.live() {
		r.Live = r.Consumer + "/" + r.Carrier
	}
	if !r.State.Asked() {
		r.IdentitySealed = nil
	}
	if r.State == RealNameWithdrawn {
		r.Person = ""
	}
}

// AddRealName stores a new registration. Errors: ErrConflict if the consumer has one with the carrier that is not over.
func (tx *Tx) AddRealName(r RealName) error {
	r.settled()
	return named("real name", r.ID, tx.db.Create(&r).Error)
}

// RealName fetches one. Errors: ErrNotFound.
func (tx *Tx) RealName(id string) (RealName, error) {
	r, err := one[RealName](tx.db.Where("id = ?", id))
	return r, named("real name", id, err)
}

// LockRealName fetches one that nobody else changes before this transaction ends. Errors: ErrNotFound.
func (tx *Tx) LockRealName(id string) (RealName, error) {
	r, err := one[RealName](tx.locked().Where("id = ?", id))
	return r, named("real name", id, err)
}

// RealNamesOf lists the registrations of a consumer, newest first, with one carrier or, for "", with all.
func (tx *Tx) RealNamesOf(consumer, carrier string, limit int) ([]RealName, error) {
	query := tx.db.Where("consumer = ?", consumer)
	if carrier != "" {
		query = query.Where("carrier = ?", carrier)
	}
	return many[RealName](query.Order("created_at DESC, id DESC").Limit(limit))
}

// RealNamesSince counts the registrations of a consumer, and those of a person, since a time.
func (tx *Tx) RealNamesSince(consumer, person string, since Millis) (byConsumer, byPerson int64, err error) {
	byConsumer, err = tx.counted(tx.db.Model(&RealName{}).Where("consumer = ? AND created_at >= ?", consumer, since))
	if err == nil && person != "" {
		byPerson, err = tx.counted(tx.db.Model(&RealName{}).Where("person = ? AND created_at >= ?", person, since))
	}
	return byConsumer, byPerson, err
}

// AccountsOfPerson counts the consumers whose registration is the same person's, and stands.
func (tx *Tx) AccountsOfPerson(person string) (n int64, err error) {
	return tx.counted(tx.db.Model(&RealName{}).Where("person = ? AND state = ?", person, RealNameApproved).Distinct("consumer"))
}

// RealNamesWith lists the registrations with a carrier, newest first: those that wait for its people, or all.
func (tx *Tx) RealNamesWith(carrier string, waiting bool, cursor string, limit int) (Page[RealName], error) {
	query := tx.db.Where("carrier = ?", carrier)
	if waiting {
		query = query.Where("waiting = ?", true)
	} else {
		query = query.Where("waiting IN ?", []bool{false, true}) // which keeps to the index
	}
	return newestFirst(query, "id", cursor, limit, func(r RealName) newest { return newest{int64(r.CreatedAt), r.ID} })
}

// RealNamesDue lists the registrations whose verifier is to be asked by now.
func (tx *Tx) RealNamesDue(now Millis, limit int) ([]RealName, error) {
	return many[RealName](tx.db.Where("state = ? AND (next_at <= ? OR next_at > ?)", RealNameChecking, now, now+farNext).Order("next_at").Limit(limit))
}

// RealNamesUndecided lists the registrations that were made before a time, and nobody has decided about.
func (tx *Tx) RealNamesUndecided(before Millis, limit int) ([]RealName, error) {
	return many[RealName](tx.db.Where("state IN ? AND created_at < ?", []RealNameState{RealNameChecking, RealNameReviewing}, before).
		Order("created_at").Limit(limit))
}

// RealNamesWaiting counts what waits for carriers' people, and says since when the oldest does; 0 if nothing does.
func (tx *Tx) RealNamesWaiting() (n int64, oldest Millis, err error) {
	err = tx.db.Model(&RealName{}).Where("state IN ?", []RealNameState{RealNameReviewing, RealNameWithdrawing}).
		Select("COUNT(*), COALESCE(MIN(updated_at), 0)").Row().Scan(&n, &oldest)
	return n, oldest, translate(err)
}

// LeaseRealName makes asking the verifier one worker's until a time. Errors: ErrState if it is another's.
func (tx *Tx) LeaseRealName(id string, now, until Millis) error {
	return swapped("real name", id, tx.db.Model(&RealName{}).Where("id = ? AND state = ? AND (next_at <= ? OR next_at > ?)", id, RealNameChecking, now, now+farNext).
		Updates(map[string]any{"next_at": until, "tries": gorm.Expr("tries + 1")}))
}

// MoveRealName moves a registration between two states and stores what change makes of it. What the new state has no need
// of goes. Errors: ErrNotFound; ErrState.
func (tx *Tx) MoveRealName(id string, from, to RealNameState, change func(*RealName)) (RealName, error) {
	r, err := one[RealName](tx.locked().Where("id = ?", id))
	if err != nil {
		return r, named("real name", id, err)
	}
	if r.State != from || !RealNameMoves.Can(from, to) {
		return r, fmt.Errorf("real name %s: %w: %s, not %s to %s", id, ErrState, r.State, from, to)
	}
	if change != nil {
		change(&r)
	}
	r.ID, r.State = id, to
	r.settled()
	return r, swapped("real name", id, tx.db.Model(&r).Where("state = ?", from).Select("*").Updates(&r))
}

// Approval is what a carrier has said on the ledger of a consumer's real name.
type Approval struct {
	Carrier     string `gorm:"primaryKey"`
	Consumer    string `gorm:"primaryKey"`
	Commitment  string // the person's keyed hash
	ValidUntil  Millis
	Revoked     bool
	Version     int
	TxID        string
	BlockNumber int64
	UpdatedAt   Millis `gorm:"autoUpdateTime:milli"`
}

// Valid reports whether it holds at a time.
func (a Approval) Valid(now Millis) bool { return a.Version > 0 && !a.Revoked && now < a.ValidUntil }

// Key names it.
func (a Approval) Key() string { return a.Consumer + "/" + a.Carrier }

// Approval fetches what a carrier says of a consumer; the zero one, at version 0, if it has said nothing.
func (tx *Tx) Approval(carrier, consumer string) (Approval, error) {
	found, err := many[Approval](tx.db.Where("carrier = ? AND consumer = ?", carrier, consumer))
	if err != nil || len(found) == 0 {
		return Approval{Carrier: carrier, Consumer: consumer}, err
	}
	return found[0], nil
}

// ApprovalsOf lists what carriers say of a consumer.
func (tx *Tx) ApprovalsOf(consumer string) ([]Approval, error) {
	return many[Approval](tx.db.Where("consumer = ?", consumer).Order("carrier"))
}

// AllApprovals walks all of them, for a check against the ledger. after is the last one seen, as Key answers it.
func (tx *Tx) AllApprovals(after string, limit int) ([]Approval, error) {
	consumer, carrier, _ := strings.Cut(after, "/")
	return many[Approval](tx.db.Where("consumer > ? OR (consumer = ? AND carrier > ?)", consumer, consumer, carrier).
		Order("consumer, carrier").Limit(limit))
}

// SetApproval takes over what the ledger says; older news than what is known change nothing.
func (tx *Tx) SetApproval(a Approval) error {
	before, err := many[Approval](tx.locked().Where("carrier = ? AND consumer = ?", a.Carrier, a.Consumer))
	switch {
	case err != nil:
		return err
	case len(before) == 0:
		return named("approval of", a.Consumer, tx.db.Create(&a).Error)
	case before[0].Version >= a.Version:
		return nil
	}
	return missing("approval of", a.Consumer, tx.db.Model(&a).Select("*").Updates(&a))
}

// DropApproval removes what is taken for a carrier's word, so that its word on the ledger can take the place.
func (tx *Tx) DropApproval(carrier, consumer string) error {
	return tx.db.Where("carrier = ? AND consumer = ?", carrier, consumer).Delete(&Approval{}).Error
}
