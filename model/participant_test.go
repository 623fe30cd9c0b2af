package model_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cardflow/model"
)

func TestParticipant(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		want := model.Participant{ID: "full", Role: "distributor", Kind: model.Organisation, Name: "分销商 𠮷", State: model.ParticipantRegistering, RegisterAct: "act",
			KeyID: "key", TxID: "tx", Frozen: []string{"carrier", "regulator"}, CreatedAt: now, RegisteredAt: now}
		write(t, db, func(tx *model.Tx) error { return tx.AddParticipant(want) })
		if got := read(t, db, func(tx *model.Tx) (model.Participant, error) { return tx.Participant("full") }); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddParticipant(want) })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.Participant("none"); return err })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { return tx.LockParticipant("none") })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { return tx.SetFrozen("none", nil) })

		ids := func(role string) (ids []string) {
			for _, p := range read(t, db, func(tx *model.Tx) ([]model.Participant, error) { return tx.Participants(role) }) {
				ids = append(ids, p.ID)
			}
			return ids
		}
		if got := ids(""); !slices.Equal(got, []string{"carrier", "full", "retailer"}) {
			t.Errorf("all: %v", got)
		}
		if got := ids("carrier"); !slices.Equal(got, []string{"carrier"}) {
			t.Errorf("carriers: %v", got)
		}
		names := read(t, db, func(tx *model.Tx) (map[string]string, error) {
			return tx.ParticipantNames([]string{"full", "ann", "none"})
		})
		if !maps.Equal(names, map[string]string{"full": "分销商 𠮷"}) {
			t.Errorf("names: %v", names)
		}
		write(t, db, func(tx *model.Tx) error { return errors.Join(tx.SetFrozen("full", nil), tx.SetKey("full", "key2")) })
		if got := read(t, db, func(tx *model.Tx) (model.Participant, error) { return tx.Participant("full") }); got.Frozen != nil || got.KeyID != "key2" || got.Name == "" {
			t.Errorf("thawed: %+v", got)
		}
	})
}

func TestMarkRegistered(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		for i := range 2 {
			write(t, db, func(tx *model.Tx) error {
				return tx.MarkRegistered("ann", numbered("key", i), "tx", now+model.Millis(i))
			})
		}
		got := read(t, db, func(tx *model.Tx) (model.Participant, error) { return tx.Participant("ann") })
		if got.State != model.ParticipantRegistered || got.KeyID != "key000" || got.RegisteredAt != now {
			t.Errorf("%+v", got)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { return tx.MarkRegistered("none", "", "", 0) })
	})
}

// TestAccounts: one openid has one participant and one participant one openid.
func TestAccounts(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		a := model.Account{ID: "a1", AppID: "wx1", OpenIDIndex: strings.Repeat("a", 64), OpenIDSealed: []byte{1}, ParticipantID: "ann", CreatedAt: now, LastLoginAt: now}
		write(t, db, func(tx *model.Tx) error { return tx.AddAccount(a) })
		got := read(t, db, func(tx *model.Tx) (model.Account, error) { return tx.AccountByOpenID("wx1", a.OpenIDIndex) })
		if !reflect.DeepEqual(got, a) {
			t.Errorf("got %+v", got)
		}
		same, other := a, a
		same.ID, same.ParticipantID = "a2", "bob"
		other.ID, other.OpenIDIndex = "a3", strings.Repeat("b", 64)
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddAccount(same) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddAccount(other) })
		same.AppID = "wx2" // another mini-program gives another openid, which may look the same
		write(t, db, func(tx *model.Tx) error { return tx.AddAccount(same) })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.AccountByOpenID("wx3", a.OpenIDIndex); return err })

		write(t, db, func(tx *model.Tx) error { return tx.NoteAccountLogin("a1", now+1) })
		if got := read(t, db, func(tx *model.Tx) (model.Account, error) { return tx.AccountByOpenID(a.AppID, a.OpenIDIndex) }); got.LastLoginAt != now+1 || got.ID != "a1" {
			t.Errorf("after a login: %+v", got)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { return tx.NoteAccountLogin("none", now) })
	})
}

func TestPeople(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		p := model.Person{ID: "p1", ParticipantID: "retailer", Username: "Shop01", PasswordHash: "hash", Roles: []string{"retailer", "ops"}, MustChange: true,
			State: model.PersonActive, CreatedAt: now, LastLoginAt: 1, FailedLogins: 2, LockedUntil: 3}
		write(t, db, func(tx *model.Tx) error { return tx.AddPerson(p) })
		p.Username = "shop01"
		got := read(t, db, func(tx *model.Tx) (model.Person, error) { return tx.PersonByUsername("SHOP01") })
		if !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v", got)
		}
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error {
			return tx.AddPerson(model.Person{ID: "p2", ParticipantID: "carrier", Username: "SHOP01", State: model.PersonActive})
		})

		fail := func() (p model.Person) {
			write(t, db, func(tx *model.Tx) (err error) { p, err = tx.NoteFailedLogin("p1", 4, now+600_000); return err })
			return p
		}
		if p := fail(); p.FailedLogins != 3 || p.LockedUntil != 3 {
			t.Errorf("third failure: %+v", p)
		}
		if p := fail(); p.FailedLogins != 4 || p.LockedUntil != now+600_000 {
			t.Errorf("fourth failure: %+v", p)
		}
		person := func() model.Person {
			return read(t, db, func(tx *model.Tx) (model.Person, error) { return tx.Person("p1") })
		}
		if p := person(); p.LockedUntil != now+600_000 {
			t.Errorf("the lock isn't stored: %+v", p)
		}
		write(t, db, func(tx *model.Tx) error { return tx.SetPassword("p1", "hash2", false) })
		if p := person(); p.PasswordHash != "hash2" || p.MustChange || p.FailedLogins != 0 || p.LockedUntil != 0 {
			t.Errorf("after a new password: %+v", p)
		}
		fail()
		write(t, db, func(tx *model.Tx) error { return tx.NoteLogin("p1", now) })
		if p := person(); p.FailedLogins != 0 || p.LastLoginAt != now {
			t.Errorf("after a login: %+v", p)
		}
		for who, want := range map[string]int{"retailer": 1, "carrier": 0, "": 1} {
			if got := read(t, db, func(tx *model.Tx) ([]model.Person, error) { return tx.PeopleOf(who) }); len(got) != want {
				t.Errorf("people of %q: %v", who, got)
			}
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { return tx.SetPassword("none", "", false) })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { return tx.NoteLogin("none", now) })
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.NoteFailedLogin("none", 1, now); return err })
	})
}
