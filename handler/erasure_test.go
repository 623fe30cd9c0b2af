package handler_test

import (
	"context"
	"slices"
	"testing"

	"cardflow/transfer"
)

func (s *fakeService) Erased(_ context.Context, c transfer.Caller) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.erased[c.Participant], nil
}

func (s *fakeService) ErasureAhead(context.Context, transfer.Caller) (transfer.ErasureView, error) {
	if err := s.note("ErasureAhead"); err != nil {
		return transfer.ErasureView{}, err
	}
	return transfer.ErasureView{Cards: 2, Obstacle: s.obstacle}, nil
}

// TestErasure: what it means is told before; it is asked for with a token, and may be asked for again when the session is over;
// a session that is still about somewhere opens nothing more.
func TestErasure(t *testing.T) {
	r := newRig(t)
	one, other, shop := r.consumer("小王"), r.consumer("小王"), r.staff("retailer")
	var ahead struct {
		Cards    int
		Obstacle *struct{ Code, Message string }
	}
	r.want(200, "", get("/me/erasure", one)).into(t, &ahead)
	if ahead.Cards != 2 || ahead.Obstacle != nil {
		t.Errorf("%+v", ahead)
	}
	r.service.obstacle = "ERASURE_RETURN_OPEN"
	r.want(200, "", get("/me/erasure", one)).into(t, &ahead)
	if ahead.Obstacle == nil || ahead.Obstacle.Code != "ERASURE_RETURN_OPEN" || ahead.Obstacle.Message != transfer.MessageOf("ERASURE_RETURN_OPEN") {
		t.Errorf("%+v", ahead.Obstacle)
	}
	for _, bad := range []any{fields{}, fields{"cards": -1}, fields{"cards": nil}} {
		r.want(400, "FIELD_INVALID", post("/me/erasure", one, bad))
	}
	want := post("/me/erasure", one, fields{"cards": 2})
	for code, status := range map[string]int{"ERASURE_BUSY": 409, "ERASURE_RETURN_OPEN": 409, "ERASURE_FROZEN": 409, "ERASURE_CARDS_CHANGED": 409, "ERASURE_UNAVAILABLE": 503, "LOGIN_TOO_OLD": 401} {
		r.service.fail = bad(code)
		r.want(status, code, want)
	}
	r.service.fail = nil
	r.want(401, "UNAUTHENTICATED", post("/me/erasure", "", fields{"cards": 2}))
	r.want(401, "UNAUTHENTICATED", post("/me/erasure", "x", fields{"cards": 2}))
	r.want(403, "FORBIDDEN", post("/me/erasure", shop, fields{"cards": 2}))
	r.want(200, "", get("/me", one))
	for range 2 { // the second time the session here is over
		var v struct {
			Participant string
			Cards       int
		}
		r.want(200, "", want).into(t, &v)
		if v.Cards != 2 || v.Participant == "" {
			t.Errorf("%+v", v)
		}
		r.service.mu.Lock()
		r.service.erased = map[string]bool{v.Participant: true}
		r.service.mu.Unlock()
	}
	r.want(401, "UNAUTHENTICATED", get("/me", one))
	for _, path := range []string{"/me", "/me/cards", "/me/inbox"} {
		r.want(401, "UNAUTHENTICATED", get(path, other))
	}
	r.want(200, "", get("/me", shop))
	if n := len(slices.DeleteFunc(slices.Clone(r.service.calls), func(c string) bool { return c != "MyCards" })); n != 0 {
		t.Errorf("%d lists of cards were shown", n)
	}
}
