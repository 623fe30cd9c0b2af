package custody

import (
	"context"
	"encoding/json"
	"slices"

	"cardflow/model"
)

// A database that was put back to an older copy has an older audit, and the ledger has anchored what came after: from
// outside a restore can't be told from an intruder who winds the record back. So somebody who knows says what it was, in
// the audit itself, where that stays with his name. From then on verification tells of the rows that are lost as declared,
// and of anything else as before.

// DeclareRestore says in the audit that what the findings of a verification name was lost by a restore. Only rows that were
// rolled back, or anchored in a copy that went on, are that. Errors: ErrNoRestore as MayDeclare, ErrReason.
func (c *Custody) DeclareRestore(ctx context.Context, found []Finding, reason, actor string) error {
	if err := MayDeclare(found); err != nil {
		return err
	}
	if err := reasonFits(reason); err != nil {
		return err
	}
	var lost [][2]int64
	for _, f := range found {
		lost = append(lost, [2]int64{f.From, f.To})
	}
	return c.write(ctx, func(tx *model.Tx) error {
		return c.record(ctx, tx, entry{actor, actRestored, AuditStream, map[string]any{"lost": lost, "reason": reason}})
	})
}

// MayDeclare is nil if a restore, and nothing else, leaves such findings. Errors: ErrNoRestore if there are none, or others
// beside them.
func MayDeclare(found []Finding) error {
	if len(found) == 0 || slices.ContainsFunc(found, func(f Finding) bool { return !ofRestore(f) }) {
		return ErrNoRestore
	}
	return nil
}

// ofRestore reports whether a restore leaves such a finding.
func ofRestore(f Finding) bool { return f.Kind == RolledBack || f.Kind == Forked }

// declaredBy are the rows that a row of the audit declares as lost.
func declaredBy(r model.AuditRow) (lost []span) {
	var d struct {
		Lost [][2]int64 `json:"lost"`
	}
	if json.Unmarshal([]byte(r.Detail), &d) != nil {
		return nil
	}
	for _, l := range d.Lost {
		lost = append(lost, span{l[0], l[1]})
	}
	return lost
}

// declare sets apart what has been declared. A fork is found at an anchor, and begins somewhere behind the last one that
// agrees: the anchor says whether it is the one that was declared.
func (w *auditWalk) declare() {
	known := func(f Finding) bool {
		return ofRestore(f) && slices.ContainsFunc(w.declared, func(l span) bool { return l.from <= f.To && f.To <= l.to })
	}
	for _, f := range w.report.Findings {
		if known(f) {
			w.report.Declared = append(w.report.Declared, f)
		}
	}
	w.report.Findings = slices.DeleteFunc(w.report.Findings, known)
}
