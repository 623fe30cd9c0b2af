package custody_test

import (
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
)

// TestBacklog counts signatures of today, keys that are to be rewrapped, proposals; of a sealed custody, too.
func TestBacklog(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", request.Consumer, custody.Account)
		register(r.Custody, countOnce)
		ask := func() custody.Backlog {
			t.Helper()
			b, err := r.Backlog(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		before := ask()
		if before.Rewrap != 0 || before.Undecided != 0 || before.Waiting != 0 || before.Quota != 10_000_000 {
			t.Errorf("at first: %+v", before)
		}
		if err := r.signs(r.Custody, "backlog"); err != nil {
			t.Fatal(err)
		}
		id := r.proposeCount("waits")
		if _, err := r.NewKEK(t.Context(), "operator"); err != nil {
			t.Fatal(err)
		}
		now := ask()
		if now.Signed <= before.Signed || now.Rewrap < 1 || now.Undecided != 1 {
			t.Errorf("%+v, then %+v", before, now)
		}
		if _, err := r.Rewrap(t.Context(), "here", false, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Reject(t.Context(), "p-wang", id, "不需要"); err != nil {
			t.Fatal(err)
		}
		if err := r.Seal(t.Context(), "p-li"); err != nil {
			t.Fatal(err)
		}
		if b := ask(); b.Rewrap != 0 || b.Undecided != 0 || b.Signed != now.Signed {
			t.Errorf("sealed: %+v", b)
		}
	})
}
