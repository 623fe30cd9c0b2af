package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/model"
)

// TestLastAnchor stops a server after something was signed: the ledger vouches for all of the audit but the row that the
// last anchor itself leaves, and the metrics say so.
func TestLastAnchor(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	first := openSite(t, dir)
	first.staff("xiaowang").offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	first.close(t)

	second := openSite(t, dir)
	ctx := soon(t)
	check(t, second.Service.CatchUp(ctx))
	var newest model.AuditAnchor
	check(t, second.DB.Read(ctx, func(tx *model.Tx) (err error) {
		newest, err = tx.NewestAuditAnchor(custody.AuditStream)
		return err
	}))
	head, err := second.Custody.AuditHead(ctx, newest.Sequence)
	if err != nil || head.Moved || head.Sequence != newest.Sequence+1 {
		t.Errorf("the audit ends at row %d (%v), the newest anchor is of row %d", head.Sequence, err, newest.Sequence)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, second.URL+"/metrics", nil)
	check(t, err)
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(t, err)
	for _, line := range []string{"cardflow_audit_anchor_lag_rows 0\n", "cardflow_audit_anchor_age_seconds ", "cardflow_audit_rows ", "cardflow_audit_anchored_row "} {
		if !strings.Contains(string(text), "\n"+line) {
			t.Errorf("metrics don't say %q", line)
		}
	}
}
