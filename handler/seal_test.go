package handler_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
)

// SealStatus implements handler.Seals.
func (f *fakeCustody) SealStatus(context.Context) (custody.SealStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seal, f.fail
}

// Unseal implements handler.Seals.
func (f *fakeCustody) Unseal(_ context.Context, share []byte, actor string) (custody.SealStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shares = append(f.shares, actor+" "+string(share))
	clear(share)
	if f.refused != nil {
		return custody.SealStatus{}, fmt.Errorf("unseal: %w", f.refused)
	}
	f.seal.Entered = append(f.seal.Entered, len(f.seal.Entered)+1)
	f.seal.Sealed = len(f.seal.Entered) < f.seal.Threshold
	return f.seal, f.fail
}

// Seal implements handler.Seals.
func (f *fakeCustody) Seal(context.Context, string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refused != nil {
		return f.refused
	}
	f.seal.Sealed, f.seal.Stopped = true, start
	return f.fail
}

type sealBody struct {
	Sealed    bool
	StoppedAt time.Time
	Kind      string
	Threshold int
	Entered   []int
}

func TestSealAndUnseal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.custody.seal = custody.SealStatus{
		Sealed: true, Kind: custody.InShares, RootID: strings.Repeat("ab", 16), Set: strings.Repeat("ab", 8), Threshold: 2, Shares: 3,
	}
	ops := r.staff("ops")
	status := func(a ask) (s sealBody) {
		t.Helper()
		r.want(http.StatusOK, "", a).into(t, &s)
		return s
	}
	const at = "/api/v1/custody/seal"
	if s := status(ask{method: "GET", path: at, token: ops}); !s.Sealed || s.Kind != "shamir" || s.Entered == nil || len(s.Entered) != 0 {
		t.Errorf("%+v", s)
	}
	const first = "AAAAA BBBBB-CCCCC"
	if s := status(ask{method: "POST", path: at + "/unseal", token: ops, body: map[string]string{"share": first + "\n\tDDDDD"}}); !s.Sealed || !slices.Equal(s.Entered, []int{1}) {
		t.Errorf("%+v", s)
	}
	if s := status(ask{method: "POST", path: at + "/unseal", token: ops, body: map[string]string{"share": "EEEEE"}}); s.Sealed {
		t.Errorf("%+v", s)
	}
	// Who brought what; and of it nothing but that is anywhere.
	if len(r.custody.shares) != 2 || !strings.HasSuffix(r.custody.shares[0], " "+first+"  DDDDD") || strings.HasPrefix(r.custody.shares[0], " ") {
		t.Errorf("%q", r.custody.shares)
	}
	if log := r.logs.String(); strings.Contains(log, "BBBBB") || strings.Contains(log, "DDDDD") {
		t.Error("a share stands in the log")
	}
	if s := status(ask{method: "POST", path: at, token: ops}); !s.Sealed || !s.StoppedAt.Equal(start) {
		t.Errorf("stopped: %+v", s)
	}
	status(ask{method: "POST", path: at + "/unseal", token: ops}) // none, to lift it
	if len(r.custody.shares) != 3 {
		t.Errorf("%q", r.custody.shares)
	}
}

func TestSealRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ops := r.staff("ops")
	for e, status := range map[*custody.Error]int{
		custody.ErrShareMistyped: 400, custody.ErrShareForeign: 422, custody.ErrSharesWrong: 422, custody.ErrShareRepeated: 409,
		custody.ErrShareUnwanted: 409, custody.ErrAuditUnwritable: 503, custody.ErrToken: 503, custody.ErrRootMismatch: 503,
		custody.ErrAuditBroken: 503,
	} {
		r.custody.refused = e
		got := r.want(status, e.Code, ask{method: "POST", path: "/api/v1/custody/seal/unseal", token: ops, body: map[string]string{"share": "SECRET"}})
		if !strings.Contains(string(got.body), e.Message) || strings.Contains(string(got.body), "SECRET") {
			t.Errorf("%s: %s", e.Code, got.body)
		}
	}
	r.custody.refused = custody.ErrKeyUnreadable // ops find it in the log
	r.want(http.StatusInternalServerError, "INTERNAL", ask{method: "POST", path: "/api/v1/custody/seal/unseal", token: ops, body: `{}`})
	r.custody.refused = custody.ErrSealed
	r.want(http.StatusServiceUnavailable, "CUSTODY_SEALED", ask{method: "POST", path: "/api/v1/custody/seal", token: ops})
	for _, body := range []string{`{"share":1}`, `{"share":["A"]}`, `{"share":{"a":"b"}}`} {
		r.want(http.StatusBadRequest, "FIELD_INVALID", ask{method: "POST", path: "/api/v1/custody/seal/unseal", token: ops, body: body})
	}
	seller := r.staff("retailer")
	for _, a := range []ask{{method: "GET", path: "/api/v1/custody/seal"}, {method: "POST", path: "/api/v1/custody/seal"}, {method: "POST", path: "/api/v1/custody/seal/unseal"}} {
		a.token = seller
		r.want(http.StatusForbidden, "FORBIDDEN", a)
	}
	if strings.Contains(r.logs.String(), "SECRET") {
		t.Error("a share stands in the log")
	}
}

// TestShareFlood: one person can't fill the audit with shares that don't help, and is in nobody else's way.
func TestShareFlood(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.custody.refused = custody.ErrShareMistyped
	ops, other := r.staff("ops"), r.staff("ops2")
	enter := ask{method: "POST", path: "/api/v1/custody/seal/unseal", token: ops, body: map[string]string{"share": "AAAAA"}}
	for range 30 {
		r.want(http.StatusBadRequest, custody.ErrShareMistyped.Code, enter)
	}
	got := r.want(http.StatusTooManyRequests, "RATE_LIMITED", enter)
	if got.header.Get("Retry-After") == "" || len(r.custody.shares) != 30 {
		t.Errorf("%v, %d entries", got.header, len(r.custody.shares))
	}
	enter.token = other
	r.want(http.StatusBadRequest, custody.ErrShareMistyped.Code, enter)
}

// TestReadyWhileSealed: a sealed custody is named, and the server stays in service.
func TestReadyWhileSealed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.service.custody = fmt.Errorf("look: %w", custody.ErrSealed)
	var v struct {
		Status string
		Checks map[string]string
	}
	r.want(http.StatusOK, "", ask{method: "GET", path: "/readyz"}).into(t, &v)
	if v.Status != "ready" || v.Checks["custody"] != "sealed" {
		t.Errorf("%+v", v)
	}
	r.service.custody = errors.New("broken")
	got := r.do(ask{method: "GET", path: "/readyz"})
	if got.into(t, &v); got.status != http.StatusServiceUnavailable || v.Checks["custody"] != "failed" {
		t.Errorf("%d %+v", got.status, v)
	}
}
