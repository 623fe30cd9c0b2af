package terminal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"cardflow/terminal/protocol"
	"cardflow/terminal/terminaltest"
)

// TestLies: each way in which whoever sits between, or the gateway, can lie in an answer has its name, and counts as no answer.
func TestLies(t *testing.T) {
	stranger := terminaltest.Key(t)
	for _, c := range []struct {
		name string
		code string
		lie  func(r *terminaltest.Reply, before http.Header, waiting protocol.Request)
	}{
		{"no envelope", "ANSWER_UNSIGNED", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) { r.Key = nil }},
		{"an envelope that is none", "ANSWER_UNSIGNED", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) {
			r.Replay = http.Header{protocol.HeaderGateway: {r.Named}, protocol.HeaderSignature: {"00"}}
		}},
		{"the status changed", "ANSWER_STATUS", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) { r.Signed, r.Status = r.Status, 201 }},
		{"a refusal made a success", "ANSWER_STATUS", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) { r.Signed = 409 }},
		{"the body changed", "ANSWER_FORGED", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) {
			r.SignedBody, r.Body = r.Body, []byte(strings.Replace(string(r.Body), "active", "revoked", 1))
		}},
		{"another's signature", "ANSWER_FORGED", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) { r.Key = stranger }},
		{"another's key", "GATEWAY_UNKNOWN", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) {
			r.Key, r.Named = stranger, stranger.Public().KeyID()
		}},
		{"an answer given before", "ANSWER_REPLAYED", func(r *terminaltest.Reply, before http.Header, _ protocol.Request) { r.Replay = before }},
		{"another request's answer", "ANSWER_OF_ANOTHER", func(r *terminaltest.Reply, _ http.Header, waiting protocol.Request) { r.Request = waiting }},
		{"cut off", "OFFLINE", func(r *terminaltest.Reply, _ http.Header, _ protocol.Request) { r.Cut = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, newGateway(t), seller, "SN-0001")
			ask := protocol.Query{What: protocol.QueryDevice}
			var d protocol.Device
			check(t, r.query(t.Context(), ask, &d))
			answers := r.g.Answers()
			before := answers[len(answers)-1]
			waiting := r.client.envelope(protocol.PathQuery, []byte(`{"what":"device"}`)) // sent, and never answered
			r.client.recent.sent(waiting)
			r.g.Locked(func() {
				r.g.Lie = func(reply *terminaltest.Reply) { c.lie(reply, before.Header, waiting) }
			})
			wants(t, c.name, r.query(t.Context(), ask, &d), c.code)
			r.g.Locked(func() { r.g.Lie = nil })
			check(t, r.query(t.Context(), ask, &d))
		})
	}
}

// TestClock: a clock that is off says by how much.
func TestClock(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	r.client.now = func() time.Time { return time.Now().Add(10 * time.Minute) }
	err := r.query(t.Context(), protocol.Query{What: protocol.QueryDevice}, new(protocol.Device))
	wants(t, "ten minutes off", err, "CLOCK_SKEW")
	refusal, status := refusedByGateway(err)
	if ahead, ok := refusal.Facts["ahead"].(time.Duration); !ok || ahead < 9*time.Minute || ahead > 10*time.Minute || status != 403 {
		t.Errorf("ahead by %v, status %d", refusal.Facts["ahead"], status)
	}
}

// TestStopped: a suspended terminal is told so.
func TestStopped(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	r.g.Stop(r.Public().KeyID())
	wants(t, "suspended", r.query(t.Context(), protocol.Query{What: protocol.QueryDevice}, new(protocol.Device)), "DEVICE_REFUSED")
}

// TestRollOver: new gateway keys are learnt from answers of a pinned one, a retired one is dropped, and a list by a stranger or
// without its signer isn't believed.
func TestRollOver(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	first := r.client.pins[0].KeyID()
	second := r.g.NewKey()
	check(t, r.RefreshStock(t.Context())) // whoever asks for his stock learns them, too
	if len(r.client.pins) != 2 {
		t.Fatalf("%d keys are pinned", len(r.client.pins))
	}
	if newest := r.client.pins[1].KeyID(); newest != second {
		t.Errorf("answers are wanted by %s, and the newest key is %s", newest, second)
	}
	r.g.Retire(first)
	_, err := r.Refresh(t.Context())
	check(t, err)
	pins, err := r.state.Pins()
	check(t, err)
	if len(pins) != 1 || pins[0].KeyID() != second {
		t.Errorf("pinned are %v", pins)
	}

	stranger := terminaltest.Key(t)
	list := []protocol.GatewayKey{{ID: stranger.Public().KeyID(), Public: stranger.Public()}}
	wants(t, "a list without its signer", r.state.Repin(list, second, 0), "GATEWAY_LIST_WRONG")
	list[0].ID = second
	wants(t, "a key under another's name", r.state.Repin(list, second, 0), "GATEWAY_LIST_WRONG")
	r.g.Locked(func() {
		r.g.Lie = func(reply *terminaltest.Reply) { reply.Key, reply.Named = stranger, stranger.Public().KeyID() }
	})
	_, err = r.Refresh(t.Context())
	wants(t, "a stranger's list", err, "GATEWAY_UNKNOWN")
	if pins, err = r.state.Pins(); err != nil || len(pins) != 1 || pins[0].KeyID() != second {
		t.Errorf("pinned are %v, %v", pins, err)
	}
}

func TestServerURL(t *testing.T) {
	for text, code := range map[string]string{
		"https://cards.example":       "",
		"https://cards.example:8443/": "",
		"http://localhost:8080":       "",
		"http://127.0.0.1:8080":       "",
		"http://[::1]:8080":           "",
		"http://cards.example":        "SERVER_INSECURE",
		"http://127.0.0.1.example":    "SERVER_INSECURE",
		"https://cards.example/api":   "SERVER_INVALID",
		"https://me:pw@cards.example": "SERVER_INVALID",
		"ftp://cards.example":         "SERVER_INVALID",
		"cards.example":               "SERVER_INVALID",
		"":                            "SERVER_INVALID",
	} {
		_, err := serverURL(text)
		wants(t, text, err, code)
	}
}
