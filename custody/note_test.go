package custody_test

import (
	"errors"
	"testing"

	"cardflow/custody"
	"cardflow/model"
)

// TestVerificationIsRecorded: who has had the audit verified stands in it; where something was found, as soon as a server goes on.
func TestVerificationIsRecorded(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		story(r)
		rows := func(act string) (n, waits int) {
			return r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = ?`, act), r.count(`SELECT COUNT(*) FROM custody_waiting WHERE act = ?`, act)
		}
		verify := func() custody.AuditReport {
			t.Helper()
			report, err := r.VerifyAudit(t.Context(), custody.VerifyOptions{Actor: "p-audit"})
			if err != nil {
				t.Fatal(err)
			}
			return report
		}
		if report := verify(); report.Rows != 7 || len(report.Findings) != 0 {
			t.Errorf("%+v", report)
		}
		if n, waits := rows("audit.verify"); n != 1 || waits != 0 {
			t.Errorf("%d rows, %d wait", n, waits)
		}
		if r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'audit.verify' AND actor = 'p-audit' AND detail LIKE '%"findings":0,%'`) != 1 {
			t.Error("who, and what he was told")
		}
		r.whole() // as nobody
		if n, _ := rows("audit.verify"); n != 1 {
			t.Errorf("%d rows", n)
		}
		r.unguarded()
		r.exec(`UPDATE custody_audit SET actor = 'x' WHERE seq = 3`)
		if report := verify(); len(report.Findings) != 1 {
			t.Errorf("%+v", report)
		}
		if n, waits := rows("audit.verify"); n != 1 || waits != 1 {
			t.Errorf("with a finding: %d rows, %d wait", n, waits)
		}
		if err := r.Attend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, waits := rows("audit.verify"); n != 2 || waits != 0 {
			t.Errorf("%d rows, %d wait", n, waits)
		}
	})
}

// TestNote: what is done beside custody stands in the audit as soon as a server is open, and only if it was done.
func TestNote(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		undone := errors.New("undone")
		for _, end := range []error{nil, undone} {
			err := r.db.Write(t.Context(), func(tx *model.Tx) error {
				if err := custody.Note(tx, 1, "cli:root", custody.PersonAdded, "p-9", map[string]any{"username": "李"}); err != nil {
					return err
				}
				return end
			})
			if !errors.Is(err, end) {
				t.Fatal(err)
			}
		}
		if err := r.Attend(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'person.add' AND actor = 'cli:root' AND subject = 'p-9' AND detail LIKE '%u674e%'`); n != 1 {
			t.Errorf("%d rows", n)
		}
		r.whole()
	})
}
