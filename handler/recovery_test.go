package handler_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/transfer"
)

func (s *fakeService) recovery(participant string) (transfer.RecoveryView, error) {
	if participant != "c-1" {
		return transfer.RecoveryView{}, bad("NOT_FOUND")
	}
	return transfer.RecoveryView{
		ID: "r-1", Participant: "c-1", State: "waiting", KeyID: keyID, NewKeyID: strings.Repeat("0", 64), Actor: "p-ops", CreatedAt: start, UpdatedAt: start,
		Steps: []transfer.RecoveryStep{{Name: "stopped", Done: true}, {Name: "frozen", Not: true}, {Name: "revoked", Done: true}, {Name: "replaced"}},
	}, nil
}

func (s *fakeService) Recover(ctx context.Context, c transfer.Caller, i transfer.Idem, participant string) (transfer.RecoveryView, error) {
	s.take(i)
	if err := s.note("Recover %s %s", participant, c.Person); err != nil {
		return transfer.RecoveryView{}, err
	}
	return s.recovery(participant)
}

func (s *fakeService) RecoveryOf(ctx context.Context, c transfer.Caller, participant string) (transfer.RecoveryView, error) {
	if err := s.note("RecoveryOf"); err != nil {
		return transfer.RecoveryView{}, err
	}
	return s.recovery(participant)
}

func (s *fakeService) Recoveries(ctx context.Context, c transfer.Caller, state, cursor string, limit int) (transfer.Page[transfer.RecoveryView], error) {
	if err := s.note("Recoveries %s %s %d %s", state, cursor, limit, c.Person); err != nil {
		return transfer.Page[transfer.RecoveryView]{}, err
	}
	one, err := s.recovery("c-1")
	return transfer.Page[transfer.RecoveryView]{Items: []transfer.RecoveryView{one}, Next: "more"}, err
}

func TestListRecoveries(t *testing.T) {
	r := newRig(t)
	list := func(role, query string) ask {
		return ask{method: "GET", path: "/api/v1/custody/recoveries" + query, token: r.staff(role)}
	}
	var got struct {
		Items []struct {
			Participant, State string
			Steps              []any
		}
		NextCursor string
	}
	r.want(200, "", list("ops", "?state=waiting&limit=7&cursor=here")).into(t, &got)
	if len(got.Items) != 1 || got.Items[0].Participant != "c-1" || len(got.Items[0].Steps) != 3 || got.NextCursor != "more" || r.service.called("Recoveries waiting here 7 p-ops") != 1 {
		t.Errorf("%+v, %v", got, r.service.calls)
	}
	r.want(200, "", list("ops", ""))
	r.want(400, "QUERY_INVALID", list("ops", "?state=stolen"))
	r.want(400, "QUERY_UNKNOWN", list("ops", "?participant=c-1"))
	for _, role := range []string{"carrier", "distributor", "retailer", "auditor", "regulator"} {
		r.want(403, "FORBIDDEN", list(role, ""))
	}
	elsewhere := list("ops", "?cursor=elsewhere") // who asks has logged in before anything fails
	r.service.fail = bad("CURSOR_INVALID")
	r.want(400, "CURSOR_INVALID", elsewhere)
}

func TestRecoveries(t *testing.T) {
	r := newRig(t)
	token := r.staff("ops")
	const at = "/custody/recoveries"
	for _, a := range []answer{
		r.want(202, "", r.wish(at, token, fields{"participant": "c-1"})),
		r.want(200, "", ask{method: "GET", path: "/api/v1" + at + "/c-1", token: token}),
	} {
		var got struct {
			State, KeyID, NewKeyID, Actor string
			Steps                         []struct {
				Name string
				Done bool
			}
		}
		a.into(t, &got)
		if got.State != "waiting" || got.KeyID != keyID || got.NewKeyID == "" || got.Actor != "p-ops" || len(got.Steps) != 3 ||
			!got.Steps[0].Done || got.Steps[1].Name != "revoked" || got.Steps[2].Done {
			t.Errorf("%s", a.body)
		}
	}
	if i := r.service.input.(transfer.Idem); i.Key == "" || i.BodyDigest == "" || r.service.called("Recover c-1 p-ops") != 1 {
		t.Errorf("%+v, %v", i, r.service.calls)
	}
	r.want(404, "NOT_FOUND", ask{method: "GET", path: "/api/v1" + at + "/c-2", token: token})
	before := r.service.called("Recover")
	for _, body := range []any{
		nil, fields{}, fields{"participant": ""}, fields{"participant": 7}, fields{"participant": []string{"c-1"}}, fields{"participant": strings.Repeat("c", 65)},
		fields{"participant": "c-1", "keyId": keyID},
	} {
		if got := r.do(r.wish(at, token, body)); !slices.Contains([]int{400, 415}, got.status) {
			t.Errorf("%v: %d %s", body, got.status, got.body)
		}
	}
	unnamed := r.wish(at, token, fields{"participant": "c-1"})
	unnamed.key = ""
	r.want(400, "IDEMPOTENCY_KEY_REQUIRED", unnamed)
	for _, role := range []string{"carrier", "distributor", "retailer", "auditor", "regulator"} {
		r.want(403, "FORBIDDEN", r.wish(at, r.staff(role), fields{"participant": "c-1"}))
		r.want(403, "FORBIDDEN", ask{method: "GET", path: "/api/v1" + at + "/c-1", token: r.staff(role)})
	}
	r.want(403, "FORBIDDEN", r.wish(at, r.consumer("小王"), fields{"participant": "c-1"}))
	if n := r.service.called("Recover"); n != before {
		t.Errorf("%d of them came through", n-before)
	}
	for _, refused := range []struct {
		status int
		code   string
		err    error
	}{
		{404, "CUSTODY_KEY_NOT_FOUND", &transfer.Error{Code: "CUSTODY_KEY_NOT_FOUND", Err: custody.ErrKeyNotFound}},
		{409, "KEY_PROTECTED", bad("KEY_PROTECTED")},
		{422, "IDEMPOTENCY_KEY_REUSED", bad("IDEMPOTENCY_KEY_REUSED")},
		{503, "CUSTODY_SEALED", custody.ErrSealed},
		{503, "CUSTODY_AUDIT_UNWRITABLE", custody.ErrAuditUnwritable},
	} {
		r.service.fail = refused.err
		r.want(refused.status, refused.code, r.wish(at, token, fields{"participant": "c-1"}))
	}
}
