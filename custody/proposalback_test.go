package custody_test

import (
	"context"
	"testing"

	"cardflow/custody"
	"cardflow/model"
)

// TestProposalPutBack: whoever can write to the database puts an older state of a proposal back, seal and all. Nothing is
// done on its word, whichever state it is, and somebody hears of it.
func TestProposalPutBack(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		register(r.Custody, countOnce)
		r.exec(`DROP TRIGGER custody_proposals_moves`)
		save := func(id string) { r.exec(`CREATE TABLE kept AS SELECT * FROM custody_proposals WHERE id = ?`, id) }
		putBack := func(id string) {
			r.exec(`DROP TRIGGER IF EXISTS custody_proposals_delete`)
			r.exec(`DELETE FROM custody_proposals WHERE id = ?`, id)
			r.exec(`INSERT INTO custody_proposals SELECT * FROM kept`)
			r.exec(`DROP TABLE kept`)
		}
		alarms := func() int { return len(r.heard(&r.alarms)) }

		rejected := r.proposeCount("rejected")
		save(rejected)
		if _, err := r.Reject(t.Context(), "p-wang", rejected, "不需要"); err != nil {
			t.Fatal(err)
		}
		putBack(rejected)
		before := alarms()
		_, err := r.Approve(t.Context(), "p-wang", rejected)
		wantErr(t, err, custody.ErrProposalForged)
		if n := r.counted("rejected"); n != 0 || alarms() != before+1 {
			t.Errorf("rejected, put back: done %d times, %d alarms", n, alarms()-before)
		}

		var x *custody.Execution
		custody.Operate(r.Dangerous, "test.saved", func(context.Context, *model.Tx, counter) (string, error) { return "计数加一", nil },
			func(ctx context.Context, now *custody.Execution, a counter) error {
				if x == nil {
					save(now.ID)
				}
				x = now
				return countOnce(ctx, now, a)
			})
		p, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: "wish-saved", Operation: "test.saved", Arguments: []byte(`{"name":"executed"}`), Reason: "试"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Approve(t.Context(), "p-wang", p.ID); err != nil {
			t.Fatal(err)
		}
		putBack(p.ID)
		r.clock.ahead.Add(2 * 60 * second)
		before = alarms()
		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if n := r.counted("executed"); n != 1 || alarms() == before {
			t.Errorf("executed, put back: done %d times, %d alarms", n, alarms()-before)
		}
	})
}

// TestForgedProposalIsHeardOf by whoever carries proposals out, and not by those alone who happen to look.
func TestForgedProposalIsHeardOf(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		register(r.Custody, countOnce)
		id := r.proposeCount("forged")
		r.exec(`UPDATE custody_proposals SET state = 'approved', decider = 'p-wang', decided_at = 1 WHERE id = ?`, id)
		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if alarms := r.heard(&r.alarms); len(alarms) != 1 || alarms[0] != custody.ErrProposalForged.Code {
			t.Errorf("alarms %q", alarms)
		}
	})
}
