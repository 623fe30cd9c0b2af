package custody

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"cardflow/model"
)

// LedgerStatus is what the ledger says of a key, in its own words.
type LedgerStatus string

// The ledger's words.
const (
	LedgerActive    LedgerStatus = "ACTIVE"
	LedgerSuspended LedgerStatus = "SUSPENDED"
	LedgerRotated   LedgerStatus = "ROTATED"
	LedgerRevoked   LedgerStatus = "REVOKED"
)

// LedgerKey is a key as a transaction of the ledger left it.
type LedgerKey struct {
	ID      string
	Status  LedgerStatus
	Version int // of this record on the ledger, from 1
}

// ledgerMoves says where a key here goes when the ledger says something of it. What isn't in the table changes nothing: a
// key that has come further here than there is waited for. The ledger lets a key sign again only if nobody here wants it
// stopped.
var ledgerMoves = map[LedgerStatus]map[model.CustodyKeyState]model.CustodyKeyState{
	LedgerActive:    {model.CustodySuspended: model.CustodyActive},
	LedgerSuspended: {model.CustodyActive: model.CustodySuspended},
	LedgerRotated:   {model.CustodyActive: model.CustodyRotated, model.CustodySuspended: model.CustodyRotated},
	LedgerRevoked:   {model.CustodyActive: model.CustodyRevoked, model.CustodySuspended: model.CustodyRevoked, model.CustodyRotated: model.CustodyRevoked},
}

// follows answers the state of a key after the ledger has said something of it.
func follows(state model.CustodyKeyState, wish string, said LedgerStatus) model.CustodyKeyState {
	if said == LedgerActive && wish == model.WishSuspend {
		return state
	}
	return cmp.Or(ledgerMoves[said][state], state)
}

// granted reports whether a wish is at its end when the ledger has said something: it has come true, or never will.
func granted(wish string, said LedgerStatus) bool {
	switch wish {
	case model.WishSuspend:
		return said != LedgerActive
	case model.WishResume:
		return said != LedgerSuspended
	case model.WishRevoke:
		return said == LedgerRevoked
	}
	return false
}

// Follow takes over what one transaction of the ledger says of keys, whoever asked for it: another gateway, an
// administrator, this platform. Keys that are not kept here are passed over, and so is what is older than what was taken
// over before. A key that waited takes over when the ledger has it. Followed twice it changes nothing. txID is the
// transaction, for the audit.
func (c *Custody) Follow(ctx context.Context, txID string, keys []LedgerKey) error {
	return c.follow(ctx, txID, keys, false)
}

// Mend is Follow for what the ledger says now: it is taken over though something of the same age had been, before the
// database was damaged.
func (c *Custody) Mend(ctx context.Context, keys []LedgerKey) error {
	return c.follow(ctx, "fsck", keys, true)
}

func (c *Custody) follow(ctx context.Context, txID string, keys []LedgerKey, again bool) error {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b LedgerKey) int { // what stops comes first: a successor takes the place of its predecessor
		return cmp.Compare(lets(a.Status), lets(b.Status))
	})
	f := following{Custody: c, txID: txID, again: again}
	pass := func(tx *model.Tx) (moves bool, err error) {
		f.stopped = map[string]bool{}
		for _, k := range keys {
			some, err := f.one(ctx, tx, k)
			if err != nil {
				return false, err
			}
			moves = moves || some
		}
		return moves, nil
	}
	moves := false
	err := c.db.Read(ctx, func(tx *model.Tx) (err error) {
		moves, err = pass(tx)
		return err
	})
	if err == nil && moves { // mostly there is nothing to do: keys that have just been registered
		f.do = true
		err = c.write(ctx, func(tx *model.Tx) error {
			_, err := pass(tx)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("follow transaction %s: %w", txID, err)
	}
	return nil
}

func lets(s LedgerStatus) int {
	if s == LedgerActive {
		return 1
	}
	return 0
}

// following is one pass over the keys of a transaction: it takes over what the ledger says, or only looks whether there is
// anything to take over.
type following struct {
	*Custody
	txID    string
	again   bool
	do      bool
	stopped map[string]bool // owner and slot of keys that the ledger rotated while they were to be suspended here
}

func (f following) one(ctx context.Context, tx *model.Tx, k LedgerKey) (bool, error) {
	read := tx.CustodyKey
	if f.do {
		read = tx.LockCustodyKey
	}
	row, err := read(k.ID)
	if errors.Is(err, model.ErrNotFound) {
		return f.takeOver(ctx, tx, k)
	}
	if err != nil {
		return false, err
	}
	if k.Version <= 1 && k.Status == LedgerActive && row.State == model.CustodyActive {
		return false, nil // it has just been registered
	}
	seen, err := tx.LedgerKey(k.ID)
	if err != nil {
		return false, err
	}
	if k.Version < seen.Version || k.Version == seen.Version && !f.again {
		return false, nil
	}
	wish, err := tx.KeyWish(k.ID, model.KeyStanding)
	if err = ignored(err, model.ErrNotFound); err != nil {
		return false, err
	}
	to, done := follows(row.State, wish.Wish, k.Status), granted(wish.Wish, k.Status)
	if k.Version <= 1 && to == row.State && !done {
		return false, nil // as it was registered
	}
	if !f.do {
		return true, nil
	}
	if to != row.State {
		f.stopped[row.Owner+"/"+row.Slot] = row.State == model.CustodySuspended && wish.Wish != model.WishResume
		if err := tx.MoveCustodyKey(row.ID, row.State, to); err != nil {
			return true, err
		}
	}
	if done {
		if err := tx.DropKeyWish(row.ID, model.KeyStanding); err != nil {
			return true, err
		}
	}
	if err := tx.SetLedgerKey(model.CustodyLedgerKey{KeyID: k.ID, Version: k.Version, Status: string(k.Status)}); err != nil {
		return true, err
	}
	return true, f.record(ctx, tx, entry{"ledger", actFollow, row.ID, map[string]any{
		"owner": row.Owner, "from": row.State, "to": to, "status": k.Status, "version": k.Version, "tx": f.txID,
	}})
}

// takeOver makes a key of one that waited, because the ledger has it. If its owner was suspended meanwhile he stays so: his
// new key is suspended, and the ledger will be told.
func (f following) takeOver(ctx context.Context, tx *model.Tx, k LedgerKey) (bool, error) {
	waiting, err := tx.Successor(k.ID)
	if errors.Is(err, model.ErrNotFound) {
		return false, nil // nobody's of ours
	}
	if err != nil || !f.do {
		return err == nil, err
	}
	old, err := tx.LockNewestCustodyKey(waiting.Owner, waiting.Slot)
	if err != nil {
		return true, err
	}
	if old.State.Live() {
		// The ledger has given its owner this key beside the other one, which nobody here asks for.
		f.alarm(ErrKeyUnfollowed, "key", k.ID, "beside", old.ID, "tx", f.txID)
		return true, nil
	}
	row := waiting.Key()
	wish, err := tx.KeyWish(old.ID, model.KeySuccessor)
	if err = ignored(err, model.ErrNotFound); err != nil {
		return true, err
	}
	keep := k.Status == LedgerActive && f.stopped[row.Owner+"/"+row.Slot]
	switch {
	case k.Status == LedgerRevoked:
		row.State = model.CustodyRevoked
	case k.Status == LedgerRotated:
		row.State = model.CustodyRotated
	case k.Status == LedgerSuspended, keep:
		row.State = model.CustodySuspended
	}
	for _, err := range []error{tx.DropSuccessor(k.ID), tx.AddCustodyKey(row), tx.DropKeyWish(old.ID, model.KeySuccessor),
		tx.SetLedgerKey(model.CustodyLedgerKey{KeyID: k.ID, Version: k.Version, Status: string(k.Status)})} {
		if err != nil {
			return true, err
		}
	}
	if keep {
		id, err := f.wishID()
		if err != nil {
			return true, err
		}
		if err := tx.SetKeyWish(model.CustodyWish{
			KeyID: row.ID, Matter: model.KeyStanding, Wish: model.WishSuspend, ID: id, Actor: cmp.Or(wish.Actor, "ledger"), CreatedAt: f.now(),
		}); err != nil {
			return true, err
		}
	}
	return true, f.record(ctx, tx, entry{"ledger", actTakeOver, row.ID, map[string]any{
		"owner": row.Owner, "to": row.State, "after": old.ID, "status": k.Status, "version": k.Version, "tx": f.txID,
	}})
}
