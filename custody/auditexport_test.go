package custody_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

var updateExport = flag.Bool("update-export", false, "write testdata/audit-export.jsonl anew, with another key")

// exported makes an export of a story of eight rows, with anchors of two, and answers it with the ID of its key.
func exported(r *rig) (file []byte, key string, anchors []model.AuditAnchor) {
	r.t.Helper()
	story(r)
	anchors = r.anchorsOf(3, 7)
	if err := r.db.Write(r.t.Context(), func(tx *model.Tx) error {
		for _, a := range anchors {
			if err := tx.AddAuditAnchor(a); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	key = r.ensure("platform", request.Platform, custody.Audit).ID
	var out bytes.Buffer
	h, err := r.Export(r.t.Context(), &out, custody.ExportOptions{Owner: "platform", Actor: "test"})
	if err != nil || h.First != 1 || h.Last != 8 {
		r.t.Fatal(h, err)
	}
	return out.Bytes(), key, anchors
}

// verified demands that an export has just these findings.
func verified(t *testing.T, name string, file []byte, key string, anchors []model.AuditAnchor, want string) custody.ExportReport {
	t.Helper()
	report, err := custody.VerifyExport(bytes.NewReader(file), key, anchors, nil)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	} else if got := kinds(report.AuditReport); got != want {
		t.Errorf("%s: found %q, want %q: %v", name, got, want, report.Findings)
	}
	return report
}

func TestExport(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		file, key, anchors := exported(r)
		if report := verified(t, "by itself", file, key, nil, ""); report.Rows != 8 || report.Anchors != 2 || report.Anchored != 7 || report.KeyID != key {
			t.Errorf("report %+v", report)
		}
		verified(t, "beside the ledger", file, key, anchors, "")
		// What is in an export was in the audit before it; the export itself is a row after.
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE seq = 9 AND act = 'sign.intent' AND subject LIKE 'export-%' AND actor = 'test'`); n != 1 {
			t.Error("the audit does not tell of the export")
		}
		var part bytes.Buffer
		if _, err := r.Export(t.Context(), &part, custody.ExportOptions{From: 3, To: 6, Owner: "platform", Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		if report := verified(t, "a part", part.Bytes(), key, anchors, ""); report.First != 3 || report.Last != 6 || report.Rows != 4 || report.Anchors != 1 {
			t.Errorf("a part: %+v", report)
		}
		for _, o := range []custody.ExportOptions{{From: 99}, {From: 5, To: 4}, {To: 99}} {
			o.Owner, o.Actor = "platform", "test"
			if _, err := r.Export(t.Context(), &part, o); !errors.Is(err, custody.ErrAuditRows) {
				t.Errorf("rows %d to %d: %v", o.From, o.To, err)
			}
		}
		if _, err := r.Export(t.Context(), &part, custody.ExportOptions{Owner: "c-0001", Actor: "test"}); !errors.Is(err, custody.ErrKeyNotFound) {
			t.Errorf("signed by a consumer: %v", err)
		}
		r.whole()
	})
}

// TestExportThatWasChanged: whatever is done to the file is found, and has a name.
func TestExportThatWasChanged(t *testing.T) {
	r := newRig(t)
	file, key, anchors := exported(r)
	other := newRig(t)
	otherFile, otherKey, otherAnchors := exported(other)
	lines := strings.SplitAfter(string(file), "\n") // header, rows 1 to 3, anchor, rows 4 to 7, anchor, row 8, end
	if len(lines) != 13 {
		t.Fatalf("%d lines", len(lines))
	}
	join := func(some ...string) []byte { return []byte(strings.Join(some, "")) }
	without := func(n int) []byte {
		return join(append(append([]string{}, lines[:n]...), lines[n+1:]...)...)
	}
	swap := append([]string{}, lines...)
	swap[5], swap[6] = swap[6], swap[5]
	for name, c := range map[string]struct {
		file    []byte
		key     string
		anchors []model.AuditAnchor
		want    string
	}{
		"a row edited":        {bytes.Replace(file, []byte(`"actor":"session-1","act":"sign.intent","subject":"trade-1"`), []byte(`"actor":"session-2","act":"sign.intent","subject":"trade-1"`), 1), key, anchors, "EDITED 5-5, FILE_DAMAGED 8-8"},
		"a row gone":          {without(5), key, anchors, "DELETED 4-4, FILE_DAMAGED 8-8"},
		"rows exchanged":      {join(swap...), key, anchors, "DELETED 4-4, FILE_DAMAGED 5-5, FILE_DAMAGED 8-8"},
		"an anchor gone":      {without(4), key, anchors, "ANCHOR_MISSING 3-3, FILE_DAMAGED 8-8, FILE_DAMAGED 8-8"},
		"the tail gone":       {join(append(append([]string{}, lines[:8]...), lines[11])...), key, anchors, "FILE_DAMAGED 6-6, FILE_DAMAGED 6-6, CUT 7-8, ANCHOR_MISSING 7-7"},
		"the end gone":        {join(lines[:11]...), key, anchors, "FILE_DAMAGED 8-8"},
		"something after it":  {append(bytes.Clone(file), "\n"...), key, anchors, "FILE_DAMAGED 8-8"},
		"another's signature": {join(append(append([]string{}, lines[:11]...), strings.SplitAfter(string(otherFile), "\n")[11])...), key, anchors, "SIGNATURE_FALSE 1-8, FALSE_HEAD 8-8, FILE_DAMAGED 8-8"},
		"another platform's":  {otherFile, key, anchors, "FORKED 1-3, SIGNATURE_FALSE 1-8, ANCHOR_EDITED 3-3, FORKED 4-7, ANCHOR_EDITED 7-7"},
		"another key":         {file, otherKey, anchors, "SIGNATURE_FALSE 1-8"},
		"another's anchors":   {file, key, otherAnchors, "FORKED 1-3, ANCHOR_EDITED 3-3, FORKED 4-7, ANCHOR_EDITED 7-7"},
		"an anchor made up":   {file, key, anchors[:1], "ANCHOR_UNKNOWN 7-7"},
		"rows put back before the export": {file, key, append(append([]model.AuditAnchor{}, anchors...), model.AuditAnchor{
			Stream: custody.AuditStream, Sequence: 12, At: model.MillisOf(start) - 1,
		}), "ROLLED_BACK 9-12"},
		"rows since the export": {file, key, append(append([]model.AuditAnchor{}, anchors...), model.AuditAnchor{
			Stream: custody.AuditStream, Sequence: 12, At: model.MillisOf(start) + 1,
		}), ""},
	} {
		verified(t, name, c.file, c.key, c.anchors, c.want)
	}
	for name, file := range map[string]string{
		"nothing": "", "no JSON": "hello\n", "no header": lines[1], "a header alone, cut": strings.TrimSpace(lines[0]), "two members": `{"header":null}` + "\n",
		"spaces": strings.Replace(string(file), `{"header":`, `{ "header":`, 1), "an unknown field": strings.Replace(string(file), `{"row":{`, `{"row":{"x":1,`, 1),
		"a second header": lines[0] + lines[0], "a line too long": lines[0] + strings.Repeat("x", 2<<20),
	} {
		if _, err := custody.VerifyExport(strings.NewReader(file), key, nil, nil); !errors.Is(err, custody.ErrExport) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnchorFiles are read as they were written.
func TestAnchorFiles(t *testing.T) {
	want := []model.AuditAnchor{{Stream: custody.AuditStream, Sequence: 3, Digest: "aa", TxID: "tx", BlockNumber: 7, At: 1}, {Stream: custody.AuditStream, Sequence: 9}}
	var b bytes.Buffer
	for _, a := range want {
		if err := custody.WriteAnchor(&b, a); err != nil {
			t.Fatal(err)
		}
	}
	got, err := custody.ReadAnchors(&b)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %v, %v", got, err)
	}
	for _, bad := range []string{"x\n", `{"sequence":0}` + "\n", `{"sequence":1,"x":2}` + "\n", `{"sequence":1} {}` + "\n"} {
		if _, err := custody.ReadAnchors(strings.NewReader(bad)); !errors.Is(err, custody.ErrExport) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The golden export and the ID of the key that signed it: what was exported once can be checked for ever.
const goldenExport, goldenKey = "testdata/audit-export.jsonl", "testdata/audit-export.key"

func TestGoldenExport(t *testing.T) {
	if *updateExport {
		file, key, _ := exported(newRig(t))
		for name, b := range map[string][]byte{goldenExport: file, goldenKey: []byte(key + "\n")} {
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	file, key := golden(t)
	if report := verified(t, "the golden export", file, key, nil, ""); report.Rows != 8 || report.Header.Channel != channel {
		t.Errorf("report %+v", report)
	}
}

func golden(t testing.TB) (file []byte, key string) {
	t.Helper()
	file, err := os.ReadFile(goldenExport)
	if err != nil {
		t.Fatal(err)
	}
	id, err := os.ReadFile(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(id))
}

// FuzzVerifyExport: nothing that is read makes it fail, and nothing but what was signed is found whole.
func FuzzVerifyExport(f *testing.F) {
	file, key := golden(f)
	f.Add(file)
	for at := 0; at < len(file); at += 211 {
		f.Add(file[:at])
		bent := bytes.Clone(file)
		bent[at] ^= 1
		f.Add(bent)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		report, err := custody.VerifyExport(bytes.NewReader(b), key, nil, nil)
		if err == nil && report.Err() == nil && !bytes.Equal(b, file) {
			t.Errorf("whole, and not what was signed: %q", b)
		}
		_, _ = custody.ReadAnchors(bytes.NewReader(b))
	})
}
