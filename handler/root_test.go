package handler_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/model"
)

// RootStatus implements handler.Roots.
func (f *fakeCustody) RootStatus(context.Context) (custody.RootStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.root, f.fail
}

func TestRoot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	id := strings.Repeat("ab", 16)
	r.custody.root = custody.RootStatus{
		Root: model.CustodyRoot{ID: id, Kind: "shamir", Threshold: 3, Shares: 5}, Set: id[:16], Stopped: model.MillisOf(start), Total: 9, Left: 2,
		KEKs: []custody.KEKStatus{{Version: 1, CreatedAt: model.MillisOf(start), Keys: 2}, {Version: 2, CreatedAt: model.MillisOf(start), Keys: 7}},
		Next: &model.NextRoot{ID: "cd", Kind: "pkcs11", MadeBy: "cli:ops", MadeAt: model.MillisOf(start), KEKs: "WRAPPED", Seal: []byte("SEAL")},
	}
	var root struct {
		Root, Kind, Set         string
		Threshold, Shares, Left int
		StoppedAt               time.Time
		KEKs                    []struct{ Version, Keys int }
		Next                    *struct{ Root, Kind, MadeBy string }
	}
	got := r.want(200, "", get("/custody/root", r.staff("auditor")))
	got.into(t, &root)
	if root.Root != id || root.Threshold != 3 || root.Left != 2 || len(root.KEKs) != 2 || root.KEKs[1].Keys != 7 || !root.StoppedAt.Equal(start) {
		t.Errorf("%+v", root)
	}
	if root.Next == nil || root.Next.Root != "cd" || root.Next.MadeBy != "cli:ops" || strings.Contains(string(got.body), "WRAPPED") {
		t.Errorf("the next: %s", got.body)
	}
	r.want(403, "FORBIDDEN", get("/custody/root", r.staff("retailer")))
	r.custody.root.Next, r.custody.root.Stopped = nil, 0
	if got := r.want(200, "", get("/custody/root", r.staff("ops"))); strings.Contains(string(got.body), "next") {
		t.Errorf("none waits: %s", got.body)
	}
}

// TestRotateRoot: it is a proposal like others, once for one wish, and the root is only named.
func TestRotateRoot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ops := r.staff("ops")
	a := ask{method: "POST", path: "/api/v1/custody/root/rotate", token: ops, key: "wish-rotate", body: fields{"root": "cd", "reason": "一位保管人离职"}}
	var p, again proposal
	r.want(201, "", a).into(t, &p)
	r.want(201, "", a).into(t, &again)
	if p.ID != again.ID || len(r.custody.order) != 1 {
		t.Errorf("%+v, %+v, %q", p, again, r.custody.order)
	}
	if kept := r.custody.proposals[p.ID]; kept.Operation != custody.OperationRotateRoot || string(kept.Arguments) != `{"root":"cd"}` {
		t.Errorf("%+v", kept)
	}
	a.body = fields{"root": "ef", "reason": "一位保管人离职"}
	r.want(422, "IDEMPOTENCY_KEY_REUSED", a)
	for _, body := range []any{fields{"reason": "试"}, fields{"root": "cd"}, fields{"root": strings.Repeat("a", 65), "reason": "试"}, fields{"root": 7, "reason": "试"}} {
		a.key, a.body = "wish-bad", body
		r.want(400, "FIELD_INVALID", a)
	}
	a.body = fields{"root": "cd", "reason": "试", "share": "04XZ1"}
	r.want(400, "FIELD_UNKNOWN", a)
	for _, e := range []*custody.Error{custody.ErrRootNotPrepared, custody.ErrRootMoved} {
		r.custody.fail = e
		a.key, a.body = "wish-"+e.Code, fields{"root": "cd", "reason": "试"}
		r.want(409, e.Code, a)
	}
	r.custody.fail = custody.ErrSealed
	r.want(503, "CUSTODY_SEALED", a)
	r.custody.fail = nil
	for _, who := range []string{"auditor", "retailer", "regulator"} {
		a.token = r.staff(who)
		r.want(403, "FORBIDDEN", a)
	}
}

// verify is handler.Config's VerifyAudit.
func (f *fakeCustody) verify(ctx context.Context, person string, scan bool) (custody.AuditReport, error) {
	f.mu.Lock()
	f.verifier = person
	f.scans = append(f.scans, scan)
	walks, report, fail := f.walks, f.report, f.fail
	f.mu.Unlock()
	if walks != nil {
		select {
		case walks <- struct{}{}:
			<-walks
		case <-ctx.Done():
			return report, ctx.Err()
		}
	}
	return report, fail
}

// TestVerifyAudit: findings are an answer, one walk is enough for a server, and nobody keeps it walking.
func TestVerifyAudit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.custody.report = custody.AuditReport{First: 1, Last: 9, Rows: 9, Hash: "ab", Anchors: 2, Anchored: 7}
	a := ask{method: "POST", path: "/api/v1/custody/audit/verify", token: r.staff("auditor")}
	var report struct {
		Whole              bool
		Rows, Anchored     int
		Findings, Declared []struct {
			Kind, Text string
			From, To   int
		}
	}
	r.want(200, "", a).into(t, &report)
	if r.custody.verifier != "p-auditor" {
		t.Errorf("%q has it verified", r.custody.verifier)
	}
	if !report.Whole || report.Rows != 9 || report.Anchored != 7 || report.Findings == nil || report.Declared == nil {
		t.Errorf("%+v", report)
	}
	r.custody.report.Findings = []custody.Finding{{Kind: custody.Edited, From: 3, To: 4, Text: "two rows"}}
	a.body = fields{"scan": true}
	r.want(200, "", a).into(t, &report)
	if report.Whole || len(report.Findings) != 1 || report.Findings[0].Kind != "EDITED" || report.Findings[0].To != 4 || !r.custody.scans[1] || r.custody.scans[0] {
		t.Errorf("%+v, scans %v", report, r.custody.scans)
	}
	a.body = fields{"scan": "yes"}
	r.want(400, "FIELD_INVALID", a)
	a.body = fields{"rows": 1}
	r.want(400, "FIELD_UNKNOWN", a)
	r.want(403, "FORBIDDEN", ask{method: "POST", path: a.path, token: r.staff("retailer")})

	r.custody.fail = custody.ErrSealed
	a.body = nil
	r.want(503, "CUSTODY_SEALED", a)
	r.custody.fail = nil

	// While one walks, nobody else does.
	r.custody.walks = make(chan struct{})
	ended := make(chan struct{})
	a.token = r.staff("ops")
	go func() {
		defer close(ended)
		r.want(200, "", a)
	}()
	<-r.custody.walks
	other := a
	other.token = r.staff("ops2")
	if got := r.want(http.StatusTooManyRequests, "RATE_LIMITED", other); got.header.Get("Retry-After") == "" {
		t.Errorf("%v", got.header)
	}
	r.custody.walks <- struct{}{}
	<-ended
	r.custody.walks = nil
	for range 5 {
		r.want(200, "", a)
	}
	r.want(http.StatusTooManyRequests, "RATE_LIMITED", a)
}
