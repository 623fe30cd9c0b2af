package custody_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
)

// auditColumns are the columns of a row that are stored; one more is computed.
const auditColumns = "seq, at, actor, act, subject, detail, prev_hash, hash"

// story makes an audit of seven rows: its beginning, the first key-encryption key, a key, four intents.
func story(r *rig) {
	r.t.Helper()
	r.ensure("c-0001", custody.Machine, custody.Account)
	for i := range 4 {
		ask, body := confirm(fmt.Sprintf("trade-%d", i))
		if _, _, err := r.Sign(r.t.Context(), ask, body); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestVerifyAuditOfAWholeOne(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		if report := r.whole(); report.Rows != 2 {
			t.Errorf("a new audit has %d rows", report.Rows)
		}
		story(r)
		report := r.whole()
		if report.Rows != 7 || report.Hash == "" {
			t.Errorf("report %+v", report)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE seq = 7 AND hash = ?`, report.Hash); n != 1 {
			t.Error("the report doesn't name the last row's hash")
		}
	})
}

// TestAuditOfManyWriters: more than a page of rows, by two servers at once, in one chain.
func TestAuditOfManyWriters(t *testing.T) {
	r := newRig(t)
	r.ensure("c-0001", custody.Machine, custody.Account)
	servers := []*custody.Custody{r.Custody, r.open()}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 30 {
				ask, body := confirm(fmt.Sprintf("trade-%d-%d", i, j))
				body.Receiver = "c-0002"
				if _, _, err := servers[i%2].Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrOwner) {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if report := r.whole(); report.Rows != 3+8*30 {
		t.Errorf("%d rows", report.Rows)
	}
}

func TestVerifyAuditNamesWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		does   func(r *rig)
		want   string // the findings: kinds and rows
		silent bool   // Sign doesn't notice, only VerifyAudit
	}{
		"time edited":    {func(r *rig) { r.exec(`UPDATE custody_audit SET at = at + 1 WHERE seq = 4`) }, "EDITED 4-4", true},
		"actor edited":   {func(r *rig) { r.exec(`UPDATE custody_audit SET actor = 'session-2' WHERE seq = 4`) }, "EDITED 4-4", true},
		"act edited":     {func(r *rig) { r.exec(`UPDATE custody_audit SET act = 'sign.refuse' WHERE seq = 4`) }, "EDITED 4-4", true},
		"subject edited": {func(r *rig) { r.exec(`UPDATE custody_audit SET subject = 'trade-9' WHERE seq = 4`) }, "EDITED 4-4", true},
		"detail edited":  {func(r *rig) { r.exec(`UPDATE custody_audit SET detail = '{}' WHERE seq = 4`) }, "EDITED 4-4", true},
		"border moved": {func(r *rig) {
			r.exec(`UPDATE custody_audit SET actor = 'session-1s', act = 'ign.intent' WHERE seq = 4`)
		}, "EDITED 4-4", true},
		"hash edited":    {func(r *rig) { r.exec(`UPDATE custody_audit SET hash = prev_hash WHERE seq = 4`) }, "EDITED 4-4", true},
		"link edited":    {func(r *rig) { r.exec(`UPDATE custody_audit SET prev_hash = hash WHERE seq = 4`) }, "EDITED 4-4", true},
		"first row gone": {func(r *rig) { r.exec(`DELETE FROM custody_audit WHERE seq = 1`) }, "DELETED 1-1", true},
		"row gone":       {func(r *rig) { r.exec(`DELETE FROM custody_audit WHERE seq = 4`) }, "DELETED 4-4", true},
		"rows exchanged": {func(r *rig) { r.renumber(4, 99); r.renumber(5, 4); r.renumber(99, 5) }, "REORDERED 4-4, REORDERED 5-5", true},
		"row gone, rest moved up": {func(r *rig) {
			r.exec(`DELETE FROM custody_audit WHERE seq = 4`)
			r.renumber(5, 4)
			r.renumber(6, 5)
			r.renumber(7, 6)
		}, "DELETED 4-4, REORDERED 4-6", true},
		"row put in between": {func(r *rig) {
			r.renumber(7, 8)
			r.renumber(6, 7)
			r.exec(`INSERT INTO custody_audit (` + auditColumns + `) SELECT 6, at, actor, act, subject, detail, prev_hash, hash FROM custody_audit WHERE seq = 5`)
		}, "INSERTED 6-6, REORDERED 7-8", true},
		"row put at the end": {func(r *rig) {
			r.exec(`INSERT INTO custody_audit (` + auditColumns + `) SELECT 8, at, actor, act, subject, detail, prev_hash, hash FROM custody_audit WHERE seq = 7`)
		}, "INSERTED 8-8", true},
		"tail cut":      {func(r *rig) { r.exec(`DELETE FROM custody_audit WHERE seq > 5`) }, "CUT 6-7", true},
		"all rows gone": {func(r *rig) { r.exec(`DELETE FROM custody_audit`) }, "CUT 1-7", true},
		"tail cut, head moved back": {func(r *rig) {
			r.exec(`DELETE FROM custody_audit WHERE seq > 5`)
			r.exec(`UPDATE custody_audit_head SET seq = 5, hash = (SELECT hash FROM custody_audit WHERE seq = 5)`)
		}, "FALSE_HEAD 5-5", false},
		"head's number edited": {func(r *rig) { r.exec(`UPDATE custody_audit_head SET seq = 6`) }, "FALSE_HEAD 7-7", false},
		"head's seal edited":   {func(r *rig) { r.exec(`UPDATE custody_audit_head SET seal = ?`, []byte("seal")) }, "FALSE_HEAD 7-7", false},
		"head's key edited":    {func(r *rig) { r.exec(`UPDATE custody_audit_head SET kek_version = 2`) }, "FALSE_HEAD 7-7", false},
		"head gone":            {func(r *rig) { r.exec(`DELETE FROM custody_audit_head`) }, "FALSE_HEAD 7-7", false},
		"written anew":         {(*rig).forge, "FALSE_HEAD 7-7", false},
	}
	each(t, func(t *testing.T, r *rig) {
		story(r)
		r.unguarded()
		columns := map[string]string{"custody_audit": auditColumns, "custody_audit_head": "id, seq, hash, kek_version, seal"}
		for table, names := range columns {
			r.exec(`CREATE TABLE ` + table + `_kept AS SELECT ` + names + ` FROM ` + table)
		}
		for name, c := range cases {
			for table, names := range columns {
				r.exec(`DELETE FROM ` + table)
				r.exec(`INSERT INTO ` + table + ` (` + names + `) SELECT ` + names + ` FROM ` + table + `_kept`)
			}
			r.whole()
			alarms := len(r.heard(&r.alarms))
			c.does(r)
			report, err := r.VerifyAudit(t.Context(), custody.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got := kinds(report); got != c.want {
				t.Errorf("%s: found %s, want %s: %v", name, got, c.want, report.Findings)
			}
			if got := r.heard(&r.alarms); len(got) != alarms+1 || got[alarms] != custody.ErrAuditBroken.Code {
				t.Errorf("%s: alarms %q", name, got[alarms:])
			}
			if c.silent {
				continue
			}
			// A row that is appended to a false head would make it good.
			ask, body := confirm("trade-9")
			if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAuditBroken) {
				t.Errorf("%s: Sign: %v", name, err)
			}
			if err := r.Ready(t.Context()); !errors.Is(err, custody.ErrAuditBroken) {
				t.Errorf("%s: Ready: %v", name, err)
			}
			if _, err := custody.Open(t.Context(), r.config()); !errors.Is(err, custody.ErrAuditBroken) {
				t.Errorf("%s: Open: %v", name, err)
			}
			look := r.config()
			look.Look = true
			if c, err := custody.Open(t.Context(), look); err != nil {
				t.Errorf("%s: Open to look: %v", name, err)
			} else if _, _, err := c.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAuditBroken) {
				t.Errorf("%s: Sign after a look: %v", name, err)
			}
			if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE subject = 'trade-9'`); n != 0 {
				t.Errorf("%s: there is an intent without a record", name)
			}
		}
	})
}

// kinds are the findings without their words.
func kinds(report custody.AuditReport) string {
	var list []string
	for _, f := range report.Findings {
		list = append(list, fmt.Sprintf("%s %d-%d", f.Kind, f.From, f.To))
	}
	return strings.Join(list, ", ")
}

func (r *rig) renumber(from, to int) {
	r.t.Helper()
	r.exec(`UPDATE custody_audit SET seq = ? WHERE seq = ?`, to, from)
}

// forge writes the chain anew after an edit, as someone can who has this source and the database, but no key.
func (r *rig) forge() {
	r.t.Helper()
	r.exec(`UPDATE custody_audit SET actor = 'session-2' WHERE seq = 4`)
	var prev string
	if err := r.raw.QueryRowContext(r.t.Context(), `SELECT hash FROM custody_audit WHERE seq = 3`).Scan(&prev); err != nil {
		r.t.Fatal(err)
	}
	for seq := 4; seq <= 7; seq++ {
		var at, actor, act, subject, detail string
		row := r.raw.QueryRowContext(r.t.Context(), `SELECT at, actor, act, subject, detail FROM custody_audit WHERE seq = ?`, seq)
		if err := row.Scan(&at, &actor, &act, &subject, &detail); err != nil {
			r.t.Fatal(err)
		}
		var link strings.Builder
		for _, field := range []string{"cardflow/custody/audit/1", fmt.Sprint(seq), at, actor, act, subject, detail, prev} {
			link.Write([]byte{0, 0, byte(len(field) >> 8), byte(len(field))})
			link.WriteString(field)
		}
		sum := gm.SM3([]byte(link.String()))
		hash := hex.EncodeToString(sum[:])
		r.exec(`UPDATE custody_audit SET prev_hash = ?, hash = ? WHERE seq = ?`, prev, hash, seq)
		prev = hash
	}
	r.exec(`UPDATE custody_audit_head SET hash = ?`, prev)
}

// TestTheDatabaseKeepsRecords: with its triggers in place it refuses what the tests above do without them.
func TestTheDatabaseKeepsRecords(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		story(r)
		for _, statement := range []string{
			`UPDATE custody_audit SET actor = 'x' WHERE seq = 4`, `DELETE FROM custody_audit WHERE seq = 7`,
			`UPDATE custody_audit_head SET seq = 5`, `DELETE FROM custody_audit_head`,
			`UPDATE custody_keys SET owner = 'c-0002'`, `UPDATE custody_keys SET functions = '[]'`, `UPDATE custody_keys SET public = possession`,
			`UPDATE custody_keys SET state = 'destroyed'`, `DELETE FROM custody_keys`, `DELETE FROM custody_keks`,
			`UPDATE custody_signatures SET digest = request_id`, `UPDATE custody_signatures SET signature = NULL`,
			`UPDATE custody_signatures SET attempt = 2`, `DELETE FROM custody_signatures`,
		} {
			if _, err := r.raw.ExecContext(t.Context(), statement); err == nil {
				t.Errorf("done: %s", statement)
			}
		}
		r.whole()
	})
}
