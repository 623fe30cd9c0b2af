package model_test

import (
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// A message that somebody has let be sent is used once, the oldest first, is taken once, and goes back if he knows.
func TestSubscriptions(t *testing.T) {
	modeltest.Each(t, func(t *testing.T, db *model.DB) {
		use := func(kind, subject string, due model.Millis) (used bool) {
			write(t, db, func(tx *model.Tx) (err error) {
				used, err = tx.UseSubscription("ann", kind, kind+".happened", subject, due-1, due)
				return err
			})
			return used
		}
		waiting := func(want int64) {
			t.Helper()
			write(t, db, func(tx *model.Tx) error {
				n, err := tx.SubscriptionsOf("ann", "return")
				if n != want {
					t.Errorf("%d wait, want %d", n, want)
				}
				return err
			})
		}
		write(t, db, func(tx *model.Tx) error {
			for _, s := range []model.Subscription{
				{ID: "young", Participant: "ann", Kind: "return", CreatedAt: 2}, {ID: "old", Participant: "ann", Kind: "return", CreatedAt: 1},
				{ID: "other", Participant: "ann", Kind: "confirmation", CreatedAt: 1}, {ID: "bob", Participant: "bob", Kind: "return", CreatedAt: 1},
			} {
				if err := tx.AddSubscription(s); err != nil {
					return err
				}
			}
			return nil
		})
		waiting(2)
		if !use("return", "trade-1", 100) || !use("return", "trade-2", 50) || use("return", "trade-3", 10) {
			t.Error("two can be used, and no third")
		}
		waiting(0)
		var due []model.Subscription
		look := func(now model.Millis, want ...string) {
			t.Helper()
			write(t, db, func(tx *model.Tx) (err error) {
				due, err = tx.SubscriptionsDue(now, 10)
				return err
			})
			var got []string
			for _, s := range due {
				got = append(got, s.ID+" "+s.Event+" "+s.Subject)
			}
			if len(got) != len(want) {
				t.Fatalf("due at %d is %v, want %v", now, got, want)
			}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("due at %d is %v, want %v", now, got, want)
				}
			}
		}
		look(49)
		look(100, "young return.happened trade-2", "old return.happened trade-1")
		take := func(s model.Subscription) (taken bool) {
			write(t, db, func(tx *model.Tx) (err error) {
				taken, err = tx.TakeSubscription(s)
				return err
			})
			return taken
		}
		young, old := due[0], due[1]
		if !take(young) || take(young) {
			t.Error("a message is not taken once")
		}
		write(t, db, func(tx *model.Tx) error { return tx.ReturnSubscriptions("trade-1") })
		waiting(1)
		if take(old) {
			t.Error("a message was taken whose owner knows")
		}
		look(1000)
		if !use("return", "trade-4", 200) {
			t.Error("what was given back is not used again")
		}
		write(t, db, func(tx *model.Tx) error {
			about, err := tx.SubscriptionsAbout("trade-4")
			if len(about) != 1 || about[0].ID != "old" || about[0].HappenedAt != 199 {
				t.Errorf("about it are %+v", about)
			}
			return err
		})
		write(t, db, func(tx *model.Tx) error { return tx.DropSubscriptionsOf("ann") })
		look(1000)
		write(t, db, func(tx *model.Tx) error {
			n, err := tx.SubscriptionsOf("bob", "return")
			if n != 1 {
				t.Errorf("somebody else's: %d", n)
			}
			return err
		})
	})
}
