package model_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// registration is ann's with a carrier, waiting for its people.
func registration(id string, state model.RealNameState) model.RealName {
	return model.RealName{
		ID: id, Consumer: "ann", Carrier: "carrier", State: state, Method: "ID_NUMBER", Person: hash("p"), IdentitySealed: []byte{1, 0, 2},
		Consent: "1", CreatedAt: now,
	}
}

// TestOneRealNameAtATime: a consumer has one registration with a carrier that is not over, and another one after it.
func TestOneRealNameAtATime(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error { return tx.AddRealName(registration("r1", model.RealNameReviewing)) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddRealName(registration("r2", model.RealNameChecking)) })
		got := read(t, db, func(tx *model.Tx) (model.RealName, error) { return tx.RealName("r1") })
		if !got.Waiting || got.Live != "ann/carrier" || !slices.Equal(got.IdentitySealed, []byte{1, 0, 2}) {
			t.Errorf("%+v", got)
		}
		write(t, db, func(tx *model.Tx) error {
			_, err := tx.MoveRealName("r1", model.RealNameReviewing, model.RealNameRefused, func(r *model.RealName) { r.Reason = "OTHER" })
			return err
		})
		write(t, db, func(tx *model.Tx) error { return tx.AddRealName(registration("r3", model.RealNameChecking)) })
		list := read(t, db, func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesOf("ann", "carrier", 10) })
		if len(list) != 2 || list[0].ID != "r3" || list[1].Live != "" {
			t.Errorf("%+v", list)
		}
	})
}

// TestWhoHeIsGoes: whatever is written, a row that nobody decides about any more holds no identity, and one that was taken
// back does not tell whose it was.
func TestWhoHeIsGoes(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		write(t, db, func(tx *model.Tx) error { return tx.AddRealName(registration("r1", model.RealNameApproving)) })
		steps := []struct {
			from, to         model.RealNameState
			identity, person bool
		}{
			{model.RealNameApproving, model.RealNameReviewing, true, true},
			{model.RealNameReviewing, model.RealNameApproved, false, true},
			{model.RealNameApproved, model.RealNameWithdrawing, false, true},
			{model.RealNameWithdrawing, model.RealNameWithdrawn, false, false},
		}
		for _, s := range steps {
			write(t, db, func(tx *model.Tx) error {
				_, err := tx.MoveRealName("r1", s.from, s.to, nil)
				return err
			})
			got := read(t, db, func(tx *model.Tx) (model.RealName, error) { return tx.RealName("r1") })
			if (len(got.IdentitySealed) > 0) != s.identity || (got.Person != "") != s.person {
				t.Errorf("%s: %+v", s.to, got)
			}
		}
		for _, sql := range []string{"UPDATE real_names SET identity_sealed = 'x'", "UPDATE real_names SET person = 'x'"} {
			if err := db.Write(t.Context(), func(tx *model.Tx) error { return tx.Exec(sql) }); err == nil {
				t.Errorf("the database takes %s", sql)
			}
		}
	})
}

// TestNothingOfItIsLeft: what was in a row that has let go of it is not in the database's files either.
func TestNothingOfItIsLeft(t *testing.T) {
	t.Parallel()
	place := modeltest.Empty(t)
	db, err := model.Open(t.Context(), place.Config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	settle(t, db)
	secret := []byte(strings.Repeat("sealed identity ", 12))
	r := registration("r1", model.RealNameReviewing)
	r.IdentitySealed = secret
	another := registration("r2", model.RealNameReviewing)
	another.Consumer = "bob"
	write(t, db, func(tx *model.Tx) error {
		if err := tx.AddRealName(r); err != nil {
			return err
		}
		return tx.AddRealName(another) // so that its place is not taken by what it becomes
	})
	if !bytes.Contains(place.Bytes(t), secret) {
		t.Fatal("the search does not find what is there")
	}
	write(t, db, func(tx *model.Tx) error {
		_, err := tx.MoveRealName("r1", model.RealNameReviewing, model.RealNameRefused, nil)
		return err
	})
	if err := db.Close(); err != nil { // which empties SQLite's log of changes
		t.Fatal(err)
	}
	if bytes.Contains(place.Bytes(t), secret[:16]) { // any piece of it
		t.Error("it is still there")
	}
}

// TestRealNamesThatWait: each list has what it is for, and a registration that is being checked is one worker's.
func TestRealNamesThatWait(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		due, review := registration("r1", model.RealNameChecking), registration("r2", model.RealNameReviewing)
		review.Consumer = "bob"
		due.NextAt = now
		write(t, db, func(tx *model.Tx) error {
			if err := tx.AddRealName(due); err != nil {
				return err
			}
			return tx.AddRealName(review)
		})
		ids := func(list []model.RealName) (out []string) {
			for _, r := range list {
				out = append(out, r.ID)
			}
			return out
		}
		of := func(fn func(tx *model.Tx) ([]model.RealName, error)) []string { return ids(read(t, db, fn)) }
		with := func(waiting bool) []string {
			return ids(read(t, db, func(tx *model.Tx) (model.Page[model.RealName], error) {
				return tx.RealNamesWith("carrier", waiting, "", 10)
			}).Items)
		}
		later := now + model.Millis(time.Minute.Milliseconds())
		for what, list := range map[string]struct{ got, want []string }{
			"waiting":   {with(true), []string{"r2"}},
			"all":       {with(false), []string{"r2", "r1"}},
			"due":       {of(func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesDue(now, 10) }), []string{"r1"}},
			"not yet":   {of(func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesDue(now-1, 10) }), nil},
			"undecided": {of(func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesUndecided(later, 10) }), []string{"r1", "r2"}},
			"new":       {of(func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesUndecided(now, 10) }), nil},
		} {
			slices.Sort(list.got)
			slices.Sort(list.want)
			if !slices.Equal(list.got, list.want) {
				t.Errorf("%s: %v, want %v", what, list.got, list.want)
			}
		}
		write(t, db, func(tx *model.Tx) error { return tx.LeaseRealName("r1", now, later) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.LeaseRealName("r1", now, later) })
		write(t, db, func(tx *model.Tx) error { return tx.LeaseRealName("r1", later, later+1) })
		if got := read(t, db, func(tx *model.Tx) (model.RealName, error) { return tx.RealName("r1") }); got.Tries != 2 {
			t.Errorf("%d tries", got.Tries)
		}
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.LeaseRealName("r2", later, later) })
		write(t, db, func(tx *model.Tx) error {
			n, oldest, err := tx.RealNamesWaiting()
			if n != 1 || oldest == 0 {
				t.Errorf("%d wait, since %d", n, oldest)
			}
			byConsumer, byPerson, err2 := tx.RealNamesSince("ann", hash("p"), now)
			if byConsumer != 1 || byPerson != 2 || err2 != nil {
				t.Errorf("%d, %d, %v", byConsumer, byPerson, err2)
			}
			return err
		})
	})
}

// TestApprovals: newer news of the ledger replace older ones, and not the other way round.
func TestApprovals(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		at := func() model.Approval {
			return read(t, db, func(tx *model.Tx) (model.Approval, error) { return tx.Approval("carrier", "ann") })
		}
		if a := at(); a.Version != 0 || a.Valid(now) {
			t.Errorf("%+v", a)
		}
		set := func(version int, until model.Millis, revoked bool) {
			write(t, db, func(tx *model.Tx) error {
				return tx.SetApproval(model.Approval{Carrier: "carrier", Consumer: "ann", Commitment: hash("p"), ValidUntil: until, Revoked: revoked, Version: version, TxID: "t", UpdatedAt: now})
			})
		}
		set(1, now+1, false)
		if a := at(); !a.Valid(now) || a.Valid(now+1) {
			t.Errorf("%+v", a)
		}
		set(3, now+9, true)
		set(2, now+9, false)
		if a := at(); a.Version != 3 || !a.Revoked || a.Valid(now) {
			t.Errorf("%+v", a)
		}
		write(t, db, func(tx *model.Tx) error {
			return tx.SetApproval(model.Approval{Carrier: "another", Consumer: "ann", Commitment: hash("p"), ValidUntil: now, Version: 1, TxID: "t"})
		})
		var keys []string
		for after := ""; ; {
			page := read(t, db, func(tx *model.Tx) ([]model.Approval, error) { return tx.AllApprovals(after, 1) })
			if len(page) == 0 {
				break
			}
			after = page[0].Key()
			keys = append(keys, after)
		}
		if !slices.Equal(keys, []string{"ann/another", "ann/carrier"}) {
			t.Errorf("%v", keys)
		}
		if list := read(t, db, func(tx *model.Tx) ([]model.Approval, error) { return tx.ApprovalsOf("ann") }); len(list) != 2 {
			t.Errorf("%+v", list)
		}
	})
}
