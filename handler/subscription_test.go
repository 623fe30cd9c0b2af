package handler_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"cardflow/transfer"
)

// templates are those of the tests' mini-program, which has none for returns.
var templates = map[string]string{"real_name": "template-of-real-names", "confirmation": "template-of-confirmations"}

func (s *fakeService) Subscribe(ctx context.Context, c transfer.Caller, i transfer.Idem, kind string) error {
	s.take(kind)
	if err := s.note("Subscribe %s %s", c.Participant, kind); err != nil {
		return err
	}
	if !slices.Contains(transfer.MessageKinds, kind) {
		return bad("SUBSCRIPTION_INVALID")
	}
	_, err := s.once(c, i, "Subscribe", "")
	return err
}

// Who logs in hears which messages he may be asked about; what he lets be sent is noted once for each key.
func TestSubscriptions(t *testing.T) {
	r := newRig(t)
	var me struct{ Templates map[string]string }
	r.want(200, "", post("/wechat/login", "", fields{"code": "demo:小王"})).into(t, &me)
	if len(me.Templates) != 2 || me.Templates["confirmation"] != "template-of-confirmations" {
		t.Errorf("the login says %v", me.Templates)
	}
	token := r.consumer("小王")
	const at = "/me/subscriptions"
	asked := r.wish(at, token, fields{"kind": "confirmation"})
	for range 2 {
		if got := r.want(204, "", asked); len(got.body) > 0 {
			t.Errorf("the answer is %q", got.body)
		}
	}
	other := asked
	other.body = fields{"kind": "return"}
	r.want(422, "IDEMPOTENCY_KEY_REUSED", other)
	unnamed := r.wish(at, token, fields{"kind": "return"})
	unnamed.key = ""
	r.want(400, "IDEMPOTENCY_KEY_REQUIRED", unnamed)
	before := r.service.called("Subscribe")
	for _, body := range []any{nil, "[]", fields{}, fields{"kind": ""}, fields{"kind": 1}, fields{"kind": strings.Repeat("x", 65)}, fields{"kind": "return", "participant": "c-2"}} {
		if got := r.do(r.wish(at, token, body)); !slices.Contains([]int{400, 415}, got.status) {
			t.Errorf("%.60v: %d %s", body, got.status, got.body)
		}
	}
	r.want(403, "FORBIDDEN", r.wish(at, r.staff("retailer"), fields{"kind": "return"}))
	r.want(401, "UNAUTHENTICATED", r.wish(at, "", fields{"kind": "return"}))
	if n := r.service.called("Subscribe"); n != before {
		t.Errorf("%d of them came through", n-before)
	}
	r.want(400, "SUBSCRIPTION_INVALID", r.wish(at, token, fields{"kind": "weather"}))
}
