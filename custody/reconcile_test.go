package custody_test

import (
	"errors"
	"testing"

	"cardflow/custody"
	"cardflow/model"
)

// A database that was put back from a bundle signs nothing and makes no key until it has been reconciled with the ledger;
// then it does, and the audit says so, once.
func TestNothingIsSignedBeforeReconciliation(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		write := func(fn func(tx *model.Tx) error) {
			t.Helper()
			if err := r.db.Write(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		write(func(tx *model.Tx) error { return tx.BeginRestore("b1") })
		rows := r.whole().Rows
		r.Custody = r.open() // as the server does that starts on it
		ask, body := confirm("trade-1")
		bob := custody.Post{Owner: "c-0002", Role: custody.Machine, Slot: custody.Account}
		for _, stage := range []string{"loading", "loaded"} {
			if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrUnreconciled) {
				t.Errorf("%s: it signs: %v", stage, err)
			}
			if _, err := r.Ensure(t.Context(), bob, "test"); !errors.Is(err, custody.ErrUnreconciled) {
				t.Errorf("%s: it makes a key: %v", stage, err)
			}
			if stage == "loading" {
				if err := r.Reconciled(t.Context(), "relay"); err != nil {
					t.Error(err)
				}
				write(func(tx *model.Tx) error { return tx.EndRestore("b1") })
			}
		}
		if now := r.whole().Rows; now != rows {
			t.Errorf("the audit has grown from %d to %d rows", rows, now)
		}
		for range 2 {
			if err := r.Reconciled(t.Context(), "relay"); err != nil {
				t.Fatal(err)
			}
		}
		if now := r.whole().Rows; now != rows+1 {
			t.Errorf("the audit has grown from %d to %d rows", rows, now)
		}
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("reconciled, it does not sign: %v", err)
		}
		if _, err := r.Ensure(t.Context(), bob, "test"); err != nil {
			t.Errorf("reconciled, it makes no key: %v", err)
		}
	})
}
