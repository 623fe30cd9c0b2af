package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gorm.io/gorm/clause"
)

// What the custody reads and writes for many signatures at once. A statement costs as much as what it does to a few rows, so
// those who sign at the same moment share them.

// CustodyPlace is where an owner has his key.
type CustodyPlace struct{ Owner, Slot string }

// LockNewestCustodyKeys fetches the keys that some owners have, or had last, in each of their slots, and keeps others from
// changing them until the transaction ends. Who never had one is not in the answer.
func (tx *Tx) LockNewestCustodyKeys(owners []string) (map[CustodyPlace]CustodyKey, error) {
	found := map[CustodyPlace]CustodyKey{}
	for some := range slices.Chunk(owners, listChunk) {
		keys, err := many[CustodyKey](tx.locked().Where("owner IN ?", some).Order("version"))
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			found[CustodyPlace{k.Owner, k.Slot}] = k
		}
	}
	return found, nil
}

// LockCustodyKeyStates fetches the states of some keys by ID, and keeps others from changing them until the transaction ends.
func (tx *Tx) LockCustodyKeyStates(ids []string) (map[string]CustodyKeyState, error) {
	found := map[string]CustodyKeyState{}
	for some := range slices.Chunk(ids, listChunk) {
		keys, err := many[CustodyKey](tx.locked().Select("id", "state").Where("id IN ?", some))
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			found[k.ID] = k.State
		}
	}
	return found, nil
}

// SignedAct is what attempts are made at, and what is authorised: an owner's act by one function of the contract.
type SignedAct struct{ Owner, Function, Subject string }

// SignaturesOf fetches all attempts at some acts, the oldest attempt first.
func (tx *Tx) SignaturesOf(acts []SignedAct) (map[SignedAct][]CustodySignature, error) {
	lines, err := ofActs[CustodySignature](tx, "custody_signatures", "purpose", acts)
	if err != nil {
		return nil, err
	}
	found := map[SignedAct][]CustodySignature{}
	slices.SortFunc(lines, func(a, b CustodySignature) int { return cmp.Compare(a.Attempt, b.Attempt) })
	for _, l := range lines {
		act := SignedAct{l.Owner, l.Purpose, l.Subject}
		found[act] = append(found[act], l)
	}
	return found, nil
}

// CustodyAuthorisations fetches what was asked for, of some acts.
func (tx *Tx) CustodyAuthorisations(acts []SignedAct) (map[SignedAct]CustodyAuthorisation, error) {
	list, err := ofActs[CustodyAuthorisation](tx, "custody_authorisations", "function", acts)
	if err != nil {
		return nil, err
	}
	found := map[SignedAct]CustodyAuthorisation{}
	for _, a := range list {
		found[SignedAct{a.Owner, a.Function, a.Subject}] = a
	}
	return found, nil
}

// actChunk is how many acts a statement names.
const actChunk = 100

// ofActs finds the rows of some acts, each by the index, in no order. On SQLite it is one value and one join, in that order:
// of a hundred alternatives it compares each with each while it plans.
func ofActs[T any](tx *Tx, table, function string, acts []SignedAct) (rows []T, err error) {
	if tx.db.Name() == SQLite {
		list := make([][3]string, len(acts))
		for i, a := range acts {
			list[i] = [3]string{a.Owner, a.Function, a.Subject}
		}
		text, err := json.Marshal(list)
		if err != nil {
			return nil, err
		}
		return many[T](tx.db.Raw("SELECT r.* FROM json_each(?) AS a CROSS JOIN "+table+" AS r"+
			" ON r.owner = a.value->>0 AND r."+function+" = a.value->>1 AND r.subject = a.value->>2", string(text)))
	}
	for some := range slices.Chunk(acts, actChunk) {
		any := make([]clause.Expression, len(some))
		for i, a := range some {
			any[i] = clause.And(clause.Eq{Column: "owner", Value: a.Owner}, clause.Eq{Column: clause.Column{Name: function}, Value: a.Function}, clause.Eq{Column: "subject", Value: a.Subject})
		}
		found, err := many[T](tx.db.Where(clause.Or(any...)))
		if err != nil {
			return nil, err
		}
		rows = append(rows, found...)
	}
	return rows, nil
}

// AddSignatures writes intents to sign. Errors: ErrConflict if there is a line for one of the attempts.
func (tx *Tx) AddSignatures(lines []CustodySignature) error {
	err := insertAll(tx, "`custody_signatures` (owner, purpose, subject, attempt, key_id, digest, request_id, not_after, actor, closed, created_at, signed_at, closed_at)", "",
		lines, func(l CustodySignature) ([]any, error) {
			return []any{l.Owner, l.Purpose, l.Subject, l.Attempt, l.KeyID, l.Digest, l.RequestID, l.NotAfter, l.Actor, l.Closed, l.CreatedAt, l.SignedAt, l.ClosedAt}, nil
		})
	return named("signatures", fmt.Sprintf("from %s of %s", lines[0].Purpose, lines[0].Subject), err)
}

// MadeSignature is a signature for a line of the sign log.
type MadeSignature struct {
	Line  int64
	Bytes []byte
}

// StoreSignatures puts signatures into lines that have none and are open, into all or none. Errors: ErrState.
func (tx *Tx) StoreSignatures(made []MadeSignature, at Millis) error {
	for some := range slices.Chunk(made, keyChunk) {
		ids, values := make([]int64, len(some)), make([]any, 0, 2*len(some)+2)
		for i, m := range some {
			ids[i] = m.Line
			values = append(values, m.Line, m.Bytes)
		}
		result := tx.db.Exec("UPDATE custody_signatures SET signature = CASE id"+strings.Repeat(" WHEN ? THEN ?", len(some))+
			" END, signed_at = ? WHERE id IN ? AND signature IS NULL AND closed = ''", append(values, at, ids)...)
		if result.Error == nil && result.RowsAffected != int64(len(some)) {
			result.Error = fmt.Errorf("%d of %d: %w", result.RowsAffected, len(some), ErrState)
		}
		if result.Error != nil {
			return fmt.Errorf("store signatures: %w", result.Error)
		}
	}
	return nil
}

// LockUsages fetches what some owners' keys have signed, and keeps others from changing it until the transaction ends.
func (tx *Tx) LockUsages(owners []string) (map[CustodyPlace]Usage, error) {
	found := map[CustodyPlace]Usage{}
	for some := range slices.Chunk(owners, listChunk) {
		list, err := many[Usage](tx.locked().Where("owner IN ?", some))
		if err != nil {
			return nil, err
		}
		for _, u := range list {
			found[CustodyPlace{u.Owner, u.Slot}] = u
		}
	}
	return found, nil
}

// SaveUsages stores what keys have signed, whether they have a row or not.
func (tx *Tx) SaveUsages(list []Usage) error {
	if len(list) == 0 {
		return nil
	}
	instead, of := "ON CONFLICT (owner, slot) DO UPDATE SET ", "excluded.%s"
	if tx.db.Name() != SQLite {
		instead, of = "ON DUPLICATE KEY UPDATE ", "VALUES(%s)"
	}
	for i, column := range []string{"day", "used", "usual", "busy_until", "stopped_at"} {
		instead += []string{"", ", "}[min(i, 1)] + column + " = " + fmt.Sprintf(of, column)
	}
	return named("usage from", list[0].Owner, insertAll(tx, "custody_usage (owner, slot, day, used, usual, busy_until, stopped_at)", instead,
		list, func(u Usage) ([]any, error) {
			return []any{u.Owner, u.Slot, u.Day, u.Used, u.Usual, u.BusyUntil, u.StoppedAt}, nil
		}))
}

// insertAll adds rows to a table, written out: each signature, and each of a million keys, comes through here. gorm would
// make a savepoint for each call, and SQLite then keeps a copy of each page that changes.
func insertAll[T any](tx *Tx, table, instead string, rows []T, columns func(T) ([]any, error)) error {
	var values []any
	n := 0
	flush := func() error {
		row := "(?" + strings.Repeat(", ?", len(values)/n-1) + ")"
		err := tx.db.Exec("INSERT INTO "+table+" VALUES "+row+strings.Repeat(", "+row, n-1)+" "+instead, values...).Error
		values, n = values[:0], 0
		return err
	}
	for _, r := range rows {
		v, err := columns(r)
		if err != nil {
			return err
		}
		values = append(values, v...)
		if n++; n == tx.rowsOf(len(v)) {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if n == 0 {
		return nil
	}
	return flush()
}

// rowsOf is how many rows of so many columns a statement inserts. Over the network it is the statement that costs; SQLite's
// driver looks for each value among all that were given to it.
func (tx *Tx) rowsOf(columns int) int {
	if tx.db.Name() == SQLite {
		return 256 / columns
	}
	return chunk
}
