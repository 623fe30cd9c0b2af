package handler_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/transfer"
)

const keyID = "d910adfd46b45e16a2c8f0d7b3e5194c6a8b0c2d4e6f8091a3b5c7d9e1f20314"

func (s *fakeService) CustodyKeys(ctx context.Context, c transfer.Caller, f transfer.KeyFilter, cursor string, limit int) (transfer.Page[transfer.KeyView], error) {
	s.take(f)
	if cursor == "other" {
		return transfer.Page[transfer.KeyView]{}, bad("CURSOR_INVALID")
	}
	return transfer.Page[transfer.KeyView]{Items: []transfer.KeyView{s.key()}, Next: "next"}, s.note("CustodyKeys %d", limit)
}

func (s *fakeService) key() transfer.KeyView {
	return transfer.KeyView{
		ID: keyID, Owner: "c-1", Role: "consumer", Slot: "account", Version: 1, Kind: "account", Functions: []string{"Confirm"}, Public: "04", State: "suspended",
		CreatedAt: start, KEKVersion: 1, LedgerStatus: "SUSPENDED", LedgerVersion: 2, Wishes: []transfer.KeyWishView{{What: "resume", Actor: "p-ops", CreatedAt: start}},
	}
}

func (s *fakeService) CustodyKey(ctx context.Context, c transfer.Caller, id string) (transfer.KeyView, error) {
	if id != keyID {
		return transfer.KeyView{}, bad("CUSTODY_KEY_NOT_FOUND")
	}
	return s.key(), s.note("CustodyKey")
}

func (s *fakeService) onKey(c transfer.Caller, i transfer.Idem, function, id string) (transfer.Act, error) {
	if err := s.note("%s", function); err != nil {
		return transfer.Act{}, err
	}
	if id != keyID {
		return transfer.Act{}, bad("CUSTODY_KEY_NOT_FOUND")
	}
	return s.once(c, i, function, "")
}

func (s *fakeService) SuspendKey(ctx context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.Act, error) {
	return s.onKey(c, i, "SuspendKey", id)
}

func (s *fakeService) ResumeKey(ctx context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.Act, error) {
	return s.onKey(c, i, "ResumeKey", id)
}

func (s *fakeService) RotateKey(ctx context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.Act, error) {
	return s.onKey(c, i, "RotateKey", id)
}

func (s *fakeService) RevokeKey(ctx context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.Act, error) {
	return s.onKey(c, i, "RevokeKey", id)
}

func (s *fakeService) Provision(ctx context.Context, c transfer.Caller, appID string, openIDs []string, dry bool) (transfer.Provisioned, error) {
	p := transfer.Provisioned{Known: 1, New: len(openIDs) - 1}
	if !dry {
		p.Made, p.Act, p.Listed = p.New, "act-1", p.New
	}
	return p, s.note("Provision %s %d %t", appID, len(openIDs), dry)
}

func TestProvisionOfKeys(t *testing.T) {
	r := newRig(t)
	token := r.staff("ops")
	post := func(body any) ask { return ask{method: "POST", path: "/api/v1/custody/keys", token: token, body: body} }
	var got map[string]any
	r.want(200, "", post(map[string]any{"openIds": []string{"oA-1_", "oB"}, "dry": true})).into(t, &got)
	if got["known"] != 1.0 || got["new"] != 1.0 || got["made"] != 0.0 || got["confirmationId"] != nil {
		t.Errorf("dry: %v", got)
	}
	r.want(202, "", post(map[string]any{"openIds": []string{"oA-1_", "oB"}})).into(t, &got)
	if got["made"] != 1.0 || got["registering"] != 1.0 || got["confirmationId"] != "act-1" {
		t.Errorf("done: %v", got)
	}
	for _, bad := range []any{[]string{}, make([]string, transfer.MostLogins+1), []string{""}, []string{"李"}, []string{"a b"}, []string{strings.Repeat("a", 65)}} {
		r.want(400, "FIELD_INVALID", post(map[string]any{"openIds": bad}))
	}
	r.service.fail = &transfer.Error{Code: "CUSTODY_SEALED", Err: custody.ErrSealed}
	r.want(503, "CUSTODY_SEALED", post(map[string]any{"openIds": []string{"oA"}}))
	r.service.fail = custody.ErrUnreconciled
	r.want(503, "CUSTODY_UNRECONCILED", post(map[string]any{"openIds": []string{"oA"}}))
	r.service.fail = nil
	r.want(403, "FORBIDDEN", ask{method: "POST", path: "/api/v1/custody/keys", token: r.staff("auditor"), body: map[string]any{"openIds": []string{"oA"}}})
}

func TestListOfKeys(t *testing.T) {
	r := newRig(t)
	token := r.staff("ops")
	page := r.want(200, "", ask{method: "GET", path: "/api/v1/custody/keys?owner=c-1&state=suspended&from=2026-03-01T08:00:00Z&limit=7", token: token})
	var got struct {
		Items []struct {
			ID     string
			Ledger struct{ Version int }
			Wishes []struct{ Wish string }
		}
		NextCursor string
	}
	page.into(t, &got)
	if len(got.Items) != 1 || got.Items[0].ID != keyID || got.Items[0].Ledger.Version != 2 || got.Items[0].Wishes[0].Wish != "resume" || got.NextCursor != "next" {
		t.Errorf("%s", page.body)
	}
	f := r.service.input.(transfer.KeyFilter)
	if f.Owner != "c-1" || f.State != "suspended" || !f.From.Equal(time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)) || !f.To.IsZero() || r.service.called("CustodyKeys 7") != 1 {
		t.Errorf("asked for %+v, %v", f, r.service.calls)
	}
	for query, code := range map[string]string{"state=dead": "QUERY_INVALID", "from=yesterday": "QUERY_INVALID", "limit=0": "QUERY_INVALID", "cursor=other": "CURSOR_INVALID", "key=1": "QUERY_UNKNOWN"} {
		r.want(400, code, ask{method: "GET", path: "/api/v1/custody/keys?" + query, token: token})
	}
	r.want(404, "CUSTODY_KEY_NOT_FOUND", ask{method: "GET", path: "/api/v1/custody/keys/" + strings.Repeat("0", 64), token: token})
}

func TestOrdersForKeys(t *testing.T) {
	r := newRig(t)
	token := r.staff("ops")
	for name, function := range map[string]string{"suspend": "SuspendKey", "resume": "ResumeKey", "rotate": "RotateKey", "revoke": "RevokeKey"} {
		r.want(202, "", r.wish("/custody/keys/"+keyID+"/"+name, token, nil))
		if r.service.called(function) != 1 {
			t.Errorf("%s: %v", name, r.service.calls)
		}
		r.want(404, "CUSTODY_KEY_NOT_FOUND", r.wish("/custody/keys/00/"+name, token, nil))
	}
	r.service.fail = bad("CUSTODY_KEY_TRANSITION")
	r.want(409, "CUSTODY_KEY_TRANSITION", r.wish("/custody/keys/"+keyID+"/resume", token, nil))
	// As the real one says it, with custody's own error inside.
	r.service.fail = &transfer.Error{Code: "CUSTODY_KEY_TRANSITION", Err: custody.ErrKeyTransition}
	r.want(409, "CUSTODY_KEY_TRANSITION", r.wish("/custody/keys/"+keyID+"/resume", token, nil))
	r.service.fail = &transfer.Error{Code: "CUSTODY_KEY_NOT_FOUND", Err: custody.ErrKeyNotFound}
	r.want(404, "CUSTODY_KEY_NOT_FOUND", r.wish("/custody/keys/"+keyID+"/resume", token, nil))
	r.service.fail = custody.ErrAuditUnwritable
	r.want(503, "CUSTODY_AUDIT_UNWRITABLE", r.wish("/custody/keys/"+keyID+"/revoke", token, nil))
	r.service.fail = bad("KEY_PROTECTED")
	r.want(409, "KEY_PROTECTED", r.wish("/custody/keys/"+keyID+"/revoke", token, nil))
}
