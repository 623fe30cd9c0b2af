package handler_test

import (
	"bytes"
	"strings"
	"testing"

	"cardflow/terminal/protocol"
)

// TestTerminalsAreSeen: who asks, and by which gateway key if that signs, is noted of what counts alone; what is refused is counted.
func TestTerminalsAreSeen(t *testing.T) {
	r := newRig(t)
	key := r.handset(true)
	req, a := r.enveloped(key, protocol.PathQuery, askDevice)
	r.answers(req, a, 200, "")
	r.answers(req, a, 409, "REPLAYED")
	req, a = r.enveloped(key, protocol.PathQuery, askDevice)
	a.header[protocol.HeaderGateway] = gatewayKey().Public().KeyID()
	r.answers(req, a, 200, "")
	req, a = r.enveloped(key, protocol.PathQuery, askDevice)
	a.header[protocol.HeaderGateway] = strings.Repeat("0", 32)
	r.answers(req, a, 200, "")
	req, a = r.enveloped(r.handset(false), protocol.PathQuery, askDevice)
	r.answers(req, a, 403, "DEVICE_REFUSED")
	for what, want := range map[string]int{`TerminalSeen device-1 by ""`: 2, `TerminalSeen device-1 by "` + gatewayKey().Public().KeyID() + `"`: 1} {
		if n := r.service.called(what); n != want {
			t.Errorf("%s: %d times", what, n)
		}
	}
	r.unsigned(post("/terminal/query", "", askDevice), 400, "ENVELOPE_INVALID")
	for range 2 {
		req, a = r.enveloped(key, protocol.PathSubmit, terminalCancel)
		r.answers(req, a, 200, "")
	}
	late := terminalCancel
	late.Code, late.ICCIDLast6 = "00000000", "000017"
	req, a = r.enveloped(key, protocol.PathSubmit, late)
	r.answers(req, a, 404, "TRADE_CODE_NOT_FOUND")
	got := r.want(200, "", ask{method: "GET", path: "/metrics"})
	for _, line := range []string{
		`cardflow_terminal_refused_total{code="CLOCK_SKEW"} 0`, `cardflow_terminal_refused_total{code="DEVICE_REFUSED"} 1`,
		`cardflow_terminal_refused_total{code="ENVELOPE_INVALID"} 1`, `cardflow_terminal_refused_total{code="REPLAYED"} 1`,
		`cardflow_terminal_submits_total{end="committed"} 2`, `cardflow_terminal_submits_total{end="refused"} 1`, `cardflow_terminal_submits_total{end="failed"} 0`,
	} {
		if !bytes.Contains(got.body, []byte(line+"\n")) {
			t.Errorf("no line %s", line)
		}
	}
}
