package custody_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// anchorsOf makes the anchors that a ledger would have of some rows, as they are now.
func (r *rig) anchorsOf(rows ...int64) []model.AuditAnchor {
	r.t.Helper()
	var list []model.AuditAnchor
	for _, n := range rows {
		a := model.AuditAnchor{Stream: custody.AuditStream, Sequence: n, TxID: fmt.Sprint("tx-", n), BlockNumber: n}
		if err := r.raw.QueryRowContext(r.t.Context(), `SELECT hash FROM custody_audit WHERE seq = ?`, n).Scan(&a.Digest); err != nil {
			r.t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

func each2(list []model.AuditAnchor) iter.Seq2[model.AuditAnchor, error] {
	return func(yield func(model.AuditAnchor, error) bool) {
		for _, a := range list {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// TestVerifyAuditAgainstAnchors: what someone does who has the database and the keys, or an older copy of all of it, is
// found by what the ledger has anchored.
func TestVerifyAuditAgainstAnchors(t *testing.T) {
	signs := func(r *rig, from, to int) {
		r.t.Helper()
		for i := from; i < to; i++ {
			ask, body := confirm(fmt.Sprintf("other-%d", i))
			if _, _, err := r.Sign(r.t.Context(), ask, body); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	cases := map[string]struct {
		does func(r *rig, back func())
		want string
	}{
		"nothing":                     {func(*rig, func()) {}, ""},
		"more since":                  {func(r *rig, _ func()) { signs(r, 0, 3) }, ""},
		"head and rows put back":      {func(_ *rig, back func()) { back() }, "ROLLED_BACK 4-7"},
		"put back, less signed since": {func(r *rig, back func()) { back(); signs(r, 0, 2) }, "FORKED 4-5, ROLLED_BACK 6-7"},
		"put back, more signed since": {func(r *rig, back func()) { back(); signs(r, 0, 6) }, "FORKED 4-5, FORKED 6-7"},
		"written anew, without keys":  {func(r *rig, _ func()) { r.forge() }, "FORKED 4-5, FORKED 6-7, FALSE_HEAD 7-7"},
		"tail cut, head moved back": {func(r *rig, _ func()) {
			r.exec(`DELETE FROM custody_audit WHERE seq > 5`)
			r.exec(`UPDATE custody_audit_head SET seq = 5, hash = (SELECT hash FROM custody_audit WHERE seq = 5)`)
		}, "FALSE_HEAD 5-5, CUT 6-7"},
		"edited row that was anchored":  {func(r *rig, _ func()) { r.exec(`UPDATE custody_audit SET actor = 'x' WHERE seq = 5`) }, "EDITED 5-5"},
		"deleted row that was anchored": {func(r *rig, _ func()) { r.exec(`DELETE FROM custody_audit WHERE seq = 5`) }, "DELETED 5-5"},
	}
	for name, c := range cases {
		each(t, func(t *testing.T, r *rig) {
			r.ensure("c-0001", custody.Machine, custody.Account)
			r.unguarded()
			stored := []string{"custody_audit", "custody_audit_head"}
			names := map[string]string{"custody_audit": auditColumns, "custody_audit_head": "id, seq, hash, kek_version, seal"}
			for _, table := range stored {
				r.exec(`CREATE TABLE ` + table + `_kept AS SELECT ` + names[table] + ` FROM ` + table)
			}
			for i := range 4 {
				ask, body := confirm(fmt.Sprintf("trade-%d", i))
				if _, _, err := r.Sign(r.t.Context(), ask, body); err != nil {
					t.Fatal(err)
				}
			}
			anchors := r.anchorsOf(3, 5, 7)
			c.does(r, func() {
				for _, table := range stored {
					r.exec(`DELETE FROM ` + table)
					r.exec(`INSERT INTO ` + table + ` (` + names[table] + `) SELECT ` + names[table] + ` FROM ` + table + `_kept`)
				}
			})
			report, err := r.VerifyAudit(t.Context(), custody.VerifyOptions{Anchors: each2(anchors)})
			if err != nil {
				t.Fatal(err)
			}
			if got := kinds(report); got != c.want || report.Anchors != 3 {
				t.Errorf("%s: found %q, want %q: %v, %d anchors", name, got, c.want, report.Findings, report.Anchors)
			}
			if (report.Err() == nil) != (c.want == "") || c.want != "" && !errors.Is(report.Err(), custody.ErrAuditBroken) {
				t.Errorf("%s: error %v", name, report.Err())
			}
			r.declares(name, c.want, report, anchors, func() { signs(r, 10, 14) })
		})
	}
}

// declares says in the audit that what was found is a restore's: that goes where it is one, and what comes after is
// found as before.
func (r *rig) declares(name, found string, report custody.AuditReport, anchors []model.AuditAnchor, more func()) {
	r.t.Helper()
	err := r.DeclareRestore(r.t.Context(), report.Findings, "an older copy was put back", "cli:root")
	if found == "" || strings.ContainsAny(strings.NewReplacer("FORKED", "", "ROLLED_BACK", "").Replace(found), "ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		if !errors.Is(err, custody.ErrNoRestore) {
			r.t.Errorf("%s: it may be declared: %v", name, err)
		}
		return
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for _, step := range []func(){
		func() {},
		more,
		func() {
			anchors = append(anchors, r.anchorsOf(int64(r.count("SELECT MAX(seq) FROM custody_audit")))...)
		},
	} {
		step()
		report, err = r.VerifyAudit(r.t.Context(), custody.VerifyOptions{Anchors: each2(anchors)})
		if err != nil || len(report.Findings) > 0 || len(report.Declared) == 0 {
			r.t.Errorf("%s, declared: found %q, declared %q, %v", name, report.Findings, report.Declared, err)
		}
	}
	r.exec(`UPDATE custody_audit SET actor = 'x' WHERE act = 'audit.restored'`)
	if report, err = r.VerifyAudit(r.t.Context(), custody.VerifyOptions{Anchors: each2(anchors)}); err != nil || len(report.Declared) > 0 || len(report.Findings) < 2 {
		r.t.Errorf("%s: a declaration that somebody has written anew is believed: %q, %q, %v", name, report.Findings, report.Declared, err)
	}
}

// TestDeclareRestoreInWords: a reason is what people write, on either engine, and stays readable.
func TestDeclareRestoreInWords(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		found := []custody.Finding{{Kind: custody.RolledBack, From: 4, To: 7}}
		for _, reason := range []string{"", " ", "a\nb", "\x1b[8m", "\xff", strings.Repeat("长", 501)} {
			if err := r.DeclareRestore(t.Context(), found, reason, "cli:root"); !errors.Is(err, custody.ErrReason) {
				t.Errorf("%.20q: %v", reason, err)
			}
		}
		for _, reason := range []string{"恢复了昨天的备份 😀 é", strings.Repeat("长", 500)} {
			if err := r.DeclareRestore(t.Context(), found, reason, "cli:root"); err != nil {
				t.Fatal(err)
			}
			page, err := r.Audit(t.Context(), model.AuditFilter{Act: "audit.restored"}, "", 1)
			if err != nil {
				t.Fatal(err)
			}
			var said struct{ Reason string }
			if err := json.Unmarshal([]byte(page.Items[0].Detail), &said); err != nil || said.Reason != reason {
				t.Errorf("it says %q, %v", said.Reason, err)
			}
		}
		r.whole()
		if got := r.heard(&r.alarms); len(got) != 0 {
			t.Errorf("alarms %q", got)
		}
	})
}

// TestVerifyAuditThatCantBeRead: what keeps it from being looked at is no finding.
func TestVerifyAuditThatCantBeRead(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		away := errors.New("the ledger is away")
		_, err := r.VerifyAudit(t.Context(), custody.VerifyOptions{Anchors: func(yield func(model.AuditAnchor, error) bool) {
			yield(model.AuditAnchor{}, away)
		}})
		if !errors.Is(err, away) {
			t.Errorf("error %v", err)
		}
		if got := r.heard(&r.alarms); len(got) != 0 {
			t.Errorf("alarms %q", got)
		}
	})
}

// TestVerifyAuditOfManyPages tells how far it is, and finds one row in many.
func TestVerifyAuditOfManyPages(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for i := range 450 {
			ask, body := confirm(fmt.Sprintf("trade-%d", i))
			if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrKeyNotFound) { // a row for each refusal
				t.Fatal(err)
			}
		}
		r.unguarded()
		r.exec(`UPDATE custody_audit SET subject = 'trade-x' WHERE seq = 333`)
		var told []int64
		report, err := r.VerifyAudit(t.Context(), custody.VerifyOptions{Progress: func(done, total int64) {
			told = append(told, done)
			if total != 452 {
				t.Errorf("%d of %d", done, total)
			}
		}})
		if err != nil || kinds(report) != "EDITED 333-333" || report.Rows != 452 || report.Last != 452 {
			t.Errorf("%+v, %v", report, err)
		}
		if fmt.Sprint(told) != "[200 400 452]" {
			t.Errorf("told %v", told)
		}
	})
}

// TestAuditHead moves with everything but the anchoring of it.
func TestAuditHead(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		head := func(since int64) custody.AuditHead {
			t.Helper()
			h, err := r.AuditHead(t.Context(), since)
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		r.ensure("platform", request.Platform, custody.Anchor)
		h := head(0)
		if !h.Moved || h.Sequence != 3 {
			t.Fatalf("head %+v", h)
		}
		ask := custody.Ask{Owner: "platform", Slot: custody.Anchor, Subject: "anchor-3", Attempt: 1, NotAfter: until, Actor: "test"}
		if _, _, err := r.Sign(t.Context(), ask, request.Anchor{Stream: custody.AuditStream, Sequence: 3, Digest: h.Hash}); err != nil {
			t.Fatal(err)
		}
		if h := head(3); h.Moved || h.Sequence != 4 {
			t.Errorf("after an anchor: %+v", h)
		}
		r.ensure("c-0001", custody.Machine, custody.Account)
		if h := head(3); !h.Moved || h.Sequence != 5 {
			t.Errorf("after a key: %+v", h)
		}
		if h := head(5); h.Moved {
			t.Errorf("since the end: %+v", h)
		}
	})
}
