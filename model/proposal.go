package model

import "fmt"

// ProposalState is how far a dangerous act is that two people must want.
type ProposalState string

// The states of a proposal.
const (
	ProposalProposed  ProposalState = "proposed"  // one person wants it
	ProposalApproved  ProposalState = "approved"  // another one as well; nothing has been done
	ProposalExecuting ProposalState = "executing" // it has begun, and is carried on until it ends
	ProposalExecuted  ProposalState = "executed"
	ProposalFailed    ProposalState = "failed" // it could not be done, for good
	ProposalRejected  ProposalState = "rejected"
	ProposalWithdrawn ProposalState = "withdrawn"
	ProposalExpired   ProposalState = "expired"
)

// ProposalMoves: what two people have decided is done or fails; nobody takes it back half-way.
var ProposalMoves = Machine[ProposalState]{
	{ProposalProposed, []ProposalState{ProposalApproved, ProposalRejected, ProposalWithdrawn, ProposalExpired}},
	{ProposalApproved, []ProposalState{ProposalExecuting, ProposalFailed}},
	{ProposalExecuting, []ProposalState{ProposalExecuted, ProposalFailed}},
	{ProposalExecuted, nil},
	{ProposalFailed, nil},
	{ProposalRejected, nil},
	{ProposalWithdrawn, nil},
	{ProposalExpired, nil},
}

// Proposal is a dangerous act that one person wants and another one decides on. The database refuses to change what
// it says, and that one person be both.
type Proposal struct {
	ID            string `gorm:"primaryKey"`
	Operation     string
	Arguments     string // JSON, in the one form that its operation gives it
	Description   string // what will happen, as it stood when it was proposed
	Reason        string
	Organisation  string // whose people decide; "" the platform's
	State         ProposalState
	Proposer      string   // person
	ProposerMarks []string `gorm:"serializer:list"` // what showed then who that is; see Identity
	Decider       string   `gorm:"serializer:null"` // who approved, rejected or withdrew it
	DeciderMarks  []string `gorm:"serializer:list"`
	Decision      string   // the reason for a rejection or withdrawal
	ErrorCode     string   // of one that failed
	CreatedAt     Millis
	ExpiresAt     Millis // from then on nobody approves it
	DecidedAt     Millis
	BegunAt       Millis
	EndedAt       Millis
	LeaseOwner    string // who carries it out, until LeaseUntil
	LeaseUntil    Millis
	KEKVersion    int    `gorm:"column:kek_version"` // whose key made Seal
	Seal          []byte // keyed tag of everything above but the lease
}

// TableName places the record.
func (Proposal) TableName() string { return "custody_proposals" }

// Proposal fetches one. Errors: ErrNotFound.
func (tx *Tx) Proposal(id string) (Proposal, error) {
	p, err := one[Proposal](tx.db.Where("id = ?", id))
	return p, named("proposal", id, err)
}

// LockProposal fetches one and keeps others from moving it until the transaction ends. Errors: ErrNotFound.
func (tx *Tx) LockProposal(id string) (Proposal, error) {
	p, err := one[Proposal](tx.locked().Where("id = ?", id))
	return p, named("proposal", id, err)
}

// Proposals lists the proposals on which an organisation's people decide, or the platform's for "", in a state, or in any for
// "", newest first.
func (tx *Tx) Proposals(organisation string, state ProposalState, cursor string, limit int) (Page[Proposal], error) {
	query := tx.db.Where("organisation = ?", organisation)
	if state != "" {
		query = query.Where("state = ?", state)
	}
	return newestFirst(query, "id", cursor, limit, func(p Proposal) newest { return newest{int64(p.CreatedAt), p.ID} })
}

// AddProposal stores a new proposal. Errors: ErrConflict if its ID is taken.
func (tx *Tx) AddProposal(p Proposal) error { return named("proposal", p.ID, tx.db.Create(&p).Error) }

// MoveProposal stores p, which was fetched in state from and is now in p.State. Errors: ErrState if it isn't in from
// any more or the table doesn't allow the move.
func (tx *Tx) MoveProposal(from ProposalState, p Proposal) error {
	if !ProposalMoves.Can(from, p.State) {
		return fmt.Errorf("proposal %s: %s to %s: %w", p.ID, from, p.State, ErrState)
	}
	return swapped("proposal", p.ID, tx.db.Model(&p).Where("state = ?", from).Select("*").Updates(&p))
}

// LeaseProposal says who carries a proposal out and until when, if that is still for owner to say. Errors: ErrState.
func (tx *Tx) LeaseProposal(id, from, owner string, until Millis) error {
	return swapped("proposal", id, tx.db.Model(&Proposal{}).Where("id = ? AND state = ? AND lease_owner = ?", id, ProposalExecuting, from).
		Updates(map[string]any{"lease_owner": owner, "lease_until": until}))
}

// ProposalsToExpire lists the proposals that nobody has decided in time, oldest first.
func (tx *Tx) ProposalsToExpire(now Millis, limit int) ([]Proposal, error) {
	return many[Proposal](tx.db.Where("state = ? AND expires_at <= ?", ProposalProposed, now).Order("created_at, id").Limit(limit))
}

// ProposalsBegun reports whether a proposal is being carried out that began at a time or later.
func (tx *Tx) ProposalsBegun(since Millis) (bool, error) {
	found, err := many[Proposal](tx.db.Where("state = ? AND begun_at >= ?", ProposalExecuting, since).Limit(1))
	return len(found) > 0, err
}

// ProposalsToCarry lists the proposals that two people want and that nobody is carrying out, oldest first.
func (tx *Tx) ProposalsToCarry(now Millis, limit int) ([]Proposal, error) {
	return many[Proposal](tx.db.Where("state = ? OR (state = ? AND (lease_until <= ? OR lease_until > ?))", ProposalApproved, ProposalExecuting, now, now+farLease).
		Order("created_at, id").Limit(limit))
}
