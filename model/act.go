package model

import (
	"fmt"
	"slices"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Act is one write to the ledger on its way there: what was asked, how far it is, who carries it now.
type Act struct {
	ID           string `gorm:"primaryKey"`
	Function     string // of the contract
	Contract     string
	Actor        string // participant who signs
	Person       string `gorm:"serializer:null"` // who asked, when he isn't the actor himself
	Subject      string // trade, lot or participant it is about
	State        ActState
	FieldsSealed []byte // what was asked, with openings
	Body         []byte // the encoded request, once it is fixed
	Attempt      int    // 1, 2, …: signed anew each time
	KeyID        string `gorm:"serializer:null"`
	NotAfter     Millis // of the signature
	RequestID    string `gorm:"serializer:null"` // of the request: the same for all attempts on the same body
	Proof        []byte // the encoded signatures
	Proposal     []byte // the transaction as prepared
	TxID         string `gorm:"serializer:null"` // unique
	Sent         bool   // any attempt has left this machine
	SentAt       Millis // when it last did
	Tries        int    // of the present step
	LeaseOwner   string `gorm:"serializer:null"`
	LeaseUntil   Millis
	NextAt       Millis // no worker takes it before
	ErrorCode    string `gorm:"serializer:null"` // stable, for the person
	ErrorText    string `gorm:"serializer:null"` // for ops
	WaitsFor     string `gorm:"serializer:null"` // act that must finish first; see WakeWaiters
	BlockNumber  int64
	CommittedAt  Millis
	Result       []byte
	CreatedAt    Millis `gorm:"autoCreateTime:milli"`
	UpdatedAt    Millis `gorm:"autoUpdateTime:milli"`
	Deadline     Millis // after which it isn't worth beginning
}

// unfinished are the states in which an act needs a worker.
var unfinished = []ActState{ActAccepted, ActSigned, ActPrepared, ActSubmitted}

// Act fetches one act. Errors: ErrNotFound.
func (tx *Tx) Act(id string) (Act, error) {
	a, err := one[Act](tx.db.Where("id = ?", id))
	return a, named("act", id, err)
}

// ActByTx finds the act whose present transaction has this ID. Errors: ErrNotFound.
func (tx *Tx) ActByTx(txID string) (Act, error) {
	a, err := one[Act](tx.db.Where("tx_id = ?", txID))
	return a, named("act of transaction", txID, err)
}

// KnownTransactions answers which of these transactions are the present ones of acts.
func (tx *Tx) KnownTransactions(txIDs []string) (map[string]bool, error) {
	return known(tx.db.Model(&Act{}), "tx_id", txIDs)
}

// known answers which of these keys a column has.
func known(table *gorm.DB, column string, keys []string) (map[string]bool, error) {
	out := map[string]bool{}
	for some := range slices.Chunk(keys, chunk) {
		var found []string
		if err := table.Session(&gorm.Session{}).Where(clause.IN{Column: clause.Column{Name: column}, Values: values(some)}).Pluck(column, &found).Error; err != nil {
			return nil, err
		}
		for _, key := range found {
			out[key] = true
		}
	}
	return out, nil
}

func values(keys []string) []any {
	out := make([]any, len(keys))
	for i, k := range keys {
		out[i] = k
	}
	return out
}

// LockAct fetches one act, and keeps others from moving it until the transaction ends. Errors: ErrNotFound.
func (tx *Tx) LockAct(id string) (Act, error) {
	a, err := one[Act](tx.locked().Where("id = ?", id))
	return a, named("act", id, err)
}

// LockActByTx is LockAct for the act whose present transaction has this ID.
func (tx *Tx) LockActByTx(txID string) (Act, error) {
	a, err := one[Act](tx.locked().Where("tx_id = ?", txID))
	return a, named("act of transaction", txID, err)
}

// LockActByRequest finds the latest act that makes this request, and keeps others from moving it until the transaction
// ends. Errors: ErrNotFound.
func (tx *Tx) LockActByRequest(requestID string) (Act, error) {
	a, err := one[Act](tx.locked().Where("request_id = ?", requestID).Order("created_at DESC, id DESC").Limit(1))
	return a, named("act of request", requestID, err)
}

// ActByRequest finds the latest act of a participant that makes this request. Errors: ErrNotFound.
func (tx *Tx) ActByRequest(actor, requestID string) (Act, error) {
	a, err := one[Act](tx.db.Where("request_id = ? AND actor = ?", requestID, actor).Order("created_at DESC, id DESC").Limit(1))
	return a, named("act of request", requestID, err)
}

// AddAct stores a new act, at its first attempt. Errors: ErrConflict if its ID or transaction ID is taken.
func (tx *Tx) AddAct(a Act) error {
	a.Attempt = max(a.Attempt, 1)
	return named("act", a.ID, tx.db.Create(&a).Error)
}

// MoveAct moves an act between two states and stores what change makes of it; whoever has its lease keeps it, except
// that a finished act has none. Errors: ErrNotFound; ErrState if it isn't in from (another worker was faster) or the
// table doesn't allow the move; ErrConflict if the transaction ID is taken.
func (tx *Tx) MoveAct(id string, from, to ActState, change func(*Act)) (Act, error) {
	a, err := tx.LockAct(id)
	if err != nil {
		return a, err
	}
	if a.State != from || !ActMoves.Can(from, to) {
		return a, fmt.Errorf("act %s: %w: %s, not %s to %s", id, ErrState, a.State, from, to)
	}
	if change != nil {
		change(&a)
	}
	a.ID, a.State = id, to
	if to.Finished() {
		a.LeaseOwner, a.LeaseUntil, a.WaitsFor = "", 0, ""
	}
	return a, swapped("act", id, tx.db.Model(&a).Where("state = ?", from).Select("*").Updates(&a))
}

// SaveAct stores an act that stays in its state, for the worker that leases it: a.LeaseOwner must still be who has
// the lease (set LeaseUntil to 0 to give it back). Errors: ErrState if the lease or the state is somebody else's by now.
func (tx *Tx) SaveAct(a Act) error {
	return swapped("act", a.ID, tx.db.Model(&a).Where("state = ? AND lease_owner = ?", a.State, a.LeaseOwner).Select("*").Updates(&a))
}

// LeaseActs takes up to limit unfinished acts whose time has come and that nobody has, for owner, until a time. Two
// workers never get the same act: they pass by each other's rows instead of waiting. Make owner a fresh word for each
// call; then a worker that overslept its lease can't be taken for its successor. What a clock far ahead put off, or leased,
// is due like anything else, and comes last.
func (tx *Tx) LeaseActs(owner string, now, until Millis, limit int) ([]Act, error) {
	due := func(when string, at Millis, limit int) ([]Act, error) {
		return many[Act](free(tx.skipLocked().Where("state IN ?", unfinished).Where(when, at), now, until).Order("next_at, id").Limit(limit))
	}
	acts, err := due("next_at <= ?", now, limit)
	if err == nil && len(acts) < limit { // two ranges of the index, not one walk along all that waits
		var late []Act
		late, err = due("next_at > ?", now+farNext, limit-len(acts))
		acts = append(acts, late...)
	}
	if err != nil || len(acts) == 0 {
		return nil, err
	}
	ids := make([]string, len(acts))
	for i := range acts {
		ids[i] = acts[i].ID
		acts[i].LeaseOwner, acts[i].LeaseUntil = owner, until
	}
	return acts, tx.db.Model(&Act{}).Where("id IN ?", ids).UpdateColumns(map[string]any{"lease_owner": owner, "lease_until": until}).Error
}

// farNext is later than any act, or any question to a verifier, is put off: the quota of a key comes back within a day. What is put off for longer was
// so by a clock that had jumped ahead.
const farNext Millis = 48 * 60 * 60 * 1000

// LeaseAct is LeaseActs for one act, by ID, whether or not its time has come. Errors: ErrNotFound; ErrState if it is
// finished or somebody has it.
func (tx *Tx) LeaseAct(id, owner string, now, until Millis) (Act, error) {
	a, err := tx.LockAct(id)
	if err != nil {
		return a, err
	}
	if a.State.Finished() || a.LeaseUntil > now && a.LeaseUntil <= far(now, until) {
		return a, named("act", id, ErrState)
	}
	a.LeaseOwner, a.LeaseUntil = owner, until
	return a, swapped("act", id, tx.db.Model(&Act{}).Where("id = ?", id).UpdateColumns(map[string]any{"lease_owner": owner, "lease_until": until}))
}

// skipLocked is locked without waiting for rows that others have locked.
func (tx *Tx) skipLocked() *gorm.DB {
	return tx.db.Clauses(clause.Locking{Strength: "UPDATE", Options: "SKIP LOCKED"})
}

// UnfinishedActsOn lists the acts about a trade, lot or participant that are under way, oldest first.
func (tx *Tx) UnfinishedActsOn(subject string) ([]Act, error) {
	return many[Act](tx.db.Where("subject = ? AND state IN ?", subject, unfinished).Order("created_at, id"))
}

// WakeWaiters makes the acts that wait for one due now, and answers how many there were. Call it in the transaction
// in which that act finishes. An act that begins to wait at the same moment may miss it, so let NextAt of a waiting act
// be some seconds ahead and not for ever: WaitsFor by itself keeps no worker away.
func (tx *Tx) WakeWaiters(actID string, now Millis) (int, error) {
	result := tx.db.Model(&Act{}).Where("waits_for = ?", actID).Updates(map[string]any{"waits_for": nil, "next_at": now})
	return int(result.RowsAffected), result.Error
}

// ActFilter says which acts ListActs lists; zero fields don't restrict.
type ActFilter struct {
	States    []ActState
	Function  string
	Functions []string // one of them
	Actor     string
	Person    string
	Subject   string
	From      Millis // of creation
	To        Millis // exclusive
}

// ListActs lists acts, newest first.
func (tx *Tx) ListActs(f ActFilter, cursor string, limit int) (Page[Act], error) {
	query := tx.db
	if len(f.States) > 0 {
		query = query.Where("state IN ?", f.States)
	}
	if len(f.Functions) > 0 {
		query = query.Where("`function` IN ?", f.Functions)
	}
	for _, c := range []struct{ column, value string }{
		{"function", f.Function}, {"actor", f.Actor}, {"person", f.Person}, {"subject", f.Subject},
	} {
		if c.value != "" {
			query = query.Where(clause.Eq{Column: clause.Column{Name: c.column}, Value: c.value})
		}
	}
	if f.From > 0 {
		query = query.Where("created_at >= ?", f.From)
	}
	if f.To > 0 {
		query = query.Where("created_at < ?", f.To)
	}
	return newestFirst(query, "id", cursor, limit, func(a Act) newest { return newest{int64(a.CreatedAt), a.ID} })
}

// CountActs counts acts by state.
func (tx *Tx) CountActs() (map[ActState]int64, error) {
	var lines []struct {
		State ActState
		N     int64
	}
	if err := tx.db.Model(&Act{}).Select("state, COUNT(*) AS n").Group("state").Scan(&lines).Error; err != nil {
		return nil, err
	}
	counts := map[ActState]int64{}
	for _, l := range lines {
		counts[l.State] = l.N
	}
	return counts, nil
}
