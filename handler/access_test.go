package handler_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cardflow/handler"
	"cardflow/transfer"
)

func TestHeaders(t *testing.T) {
	for _, tls := range []bool{false, true} {
		r := newRig(t, func(c *handler.Config) { c.TLS = tls })
		for _, a := range []ask{get("/me", r.consumer("小王")), get("/me", ""), get("/nothing", ""), {method: "GET", path: "/healthz"}, {method: "GET", path: "/docs"}, {method: "GET", path: "/t/" + oneCode}} {
			got := r.do(a)
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			} {
				if got.header.Get(name) != want {
					t.Errorf("%s: %s is %q", a.path, name, got.header.Get(name))
				}
			}
			csp := got.header.Get("Content-Security-Policy")
			if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: policy %q", a.path, csp)
			}
			if hsts := got.header.Get("Strict-Transport-Security"); (hsts != "") != tls {
				t.Errorf("%s: HSTS %q with TLS %v", a.path, hsts, tls)
			}
			if len(got.header.Get("X-Request-Id")) != 32 {
				t.Errorf("%s: request ID %q", a.path, got.header.Get("X-Request-Id"))
			}
			if got.header.Get("Access-Control-Allow-Origin") != "" || got.header.Get("Server") != "" {
				t.Errorf("%s: %v", a.path, got.header)
			}
		}
	}
}

// TestRequestIDIsOurs: a client can't choose it, and it is the one in the body and the log.
func TestRequestIDIsOurs(t *testing.T) {
	r := newRig(t)
	a := get("/me", "")
	a.header = map[string]string{"X-Request-Id": "forged\nline"}
	got := r.do(a)
	id := got.header.Get("X-Request-Id")
	if strings.Contains(id, "forged") || !strings.Contains(string(got.body), id) || !strings.Contains(r.logs.String(), id) || strings.Contains(r.logs.String(), "forged") {
		t.Errorf("%q in %s", id, r.logs)
	}
	if other := r.do(a).header.Get("X-Request-Id"); other == id {
		t.Error("two requests have one ID")
	}
}

// TestLogsHoldNoSecrets plays every kind of request with values that must not be in a log, and looks for them.
func TestLogsHoldNoSecrets(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: wrongCodes, LoginsPerAccount: wrongCodes}))
	consumer, retailer, carrier := r.consumer("秘密人"), r.staff("retailer"), r.staff("carrier")
	upload, kind := form("秘密文件.csv", oneCard)
	for _, a := range []ask{
		post("/trade-codes/lookup", consumer, fields{"code": oneCode, "iccidLast6": oneLast6}),
		post("/trade-codes/lookup", consumer, fields{"code": "SECRET88", "iccidLast6": "123321"}),
		r.wish("/trades/trade-1/confirm", consumer, fields{"code": oneCode, "iccidLast6": oneLast6}),
		r.wish("/trades/trade-1/decline", consumer, fields{"code": "SECRET88", "iccidLast6": "123321", "reason": "OTHER", "text": "秘密的话"}),
		post("/cards/find", retailer, fields{"iccid": oneCard}),
		get("/cards?iccid="+oneCard, retailer),
		get("/trades/"+oneCard, retailer),
		get("/"+oneCard, retailer),
		{method: "GET", path: "/t/" + oneCode},
		{method: "GET", path: "/t/" + oneCode + "?from=SECRET88"},
		get("/trades/trade-1/qr.png", retailer), get("/trades/trade-1/wxacode", retailer),
		r.wish("/trades", retailer, fields{"mode": "BEARER", "segments": []fields{{"iccid": oneCard}}}),
		r.wish("/trades", retailer, `{"`+oneCard+`":1}`),
		post("/auth/login", "", fields{"username": "retailer", "password": "SecretPassword"}),
		post("/wechat/login", "", fields{"code": "abcdefgh&appid=SECRET88"}),
		r.uploadAsk(carrier, "", upload, kind),
		get("/me", "SecretToken"),
		{method: "SECRET88", path: "/api/v1/me"},
	} {
		r.do(a)
	}
	r.service.panics = "SECRET88 in a panic"
	r.do(post("/cards/find", retailer, fields{"iccid": oneCard}))
	log := r.logs.String()
	for _, secret := range []string{oneCode, oneCard, oneLast6, "SECRET88", "123321", "秘密", "SecretPassword", "SecretToken", passwordOf("retailer"), consumer, retailer, carrier, "demo:", "192.0.2.1", "wish-000"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has %q", secret)
		}
	}
	for _, wanted := range []string{`"route":"/api/v1/trade-codes/lookup"`, `"route":"/t/{code}"`, `"route":"unmatched"`, `"participant":"retailer-1"`, `"status":404`, `"code":"TRADE_CODE_NOT_FOUND"`, `"took":`, `"request":"`} {
		if !strings.Contains(log, wanted) {
			t.Errorf("the log lacks %s", wanted)
		}
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
}

// TestInternalErrorsTellNothing to the client, and everything to the log.
func TestInternalErrorsTellNothing(t *testing.T) {
	for name, err := range map[string]error{
		"an unknown error":      errors.New("dial tcp 10.1.2.3:3306: refused"),
		"an internal code":      (&transfer.Error{Code: "LEDGER_INVALID", Err: errors.New("dial tcp 10.1.2.3:3306: refused")}).With("peer", "10.1.2.3"),
		"a code nobody knows":   &transfer.Error{Code: "WHATEVER", Err: errors.New("10.1.2.3")},
		"a wrapped unknown one": fmt.Errorf("offer: %w", errors.New("10.1.2.3")),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			token := r.staff("retailer")
			r.service.fail = err
			got := r.want(500, "INTERNAL", get("/lots", token))
			if strings.Contains(string(got.body), "10.1.2.3") || strings.Contains(string(got.body), "details") {
				t.Errorf("%s", got.body)
			}
			if !strings.Contains(r.logs.String(), "10.1.2.3") || !strings.Contains(r.logs.String(), `"level":"ERROR"`) {
				t.Errorf("the log does not say why: %s", r.logs)
			}
		})
	}
	r := newRig(t)
	token := r.staff("retailer")
	r.service.fail = (&transfer.Error{Code: "CUSTODY_SEALED"}).With("host", "10.1.2.3")
	got := r.want(503, "CUSTODY_SEALED", r.wish("/trades", token, fields{"mode": "BEARER"}))
	if strings.Contains(string(got.body), "10.1.2.3") || !strings.Contains(string(got.body), transfer.MessageOf("CUSTODY_SEALED")) {
		t.Errorf("%s", got.body)
	}
}

// TestErrorsCarryDetails where the fault is the client's.
func TestErrorsCarryDetails(t *testing.T) {
	r := newRig(t)
	r.service.fail = nil
	token := r.staff("retailer")
	r.service.fail = (&transfer.Error{Code: "EXPIRY_INVALID"}).With("max", "168h")
	got := r.want(400, "EXPIRY_INVALID", r.wish("/trades", token, fields{"mode": "BEARER"}))
	if !strings.Contains(string(got.body), `"details":{"max":"168h"}`) || !strings.Contains(string(got.body), transfer.MessageOf("EXPIRY_INVALID")) {
		t.Errorf("%s", got.body)
	}
}

// TestPanicsAreAnswered, and the next request is served.
func TestPanicsAreAnswered(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	r.service.panics = "boom " + oneCard
	got := r.want(500, "INTERNAL", get("/lots", token))
	if strings.Contains(string(got.body), "boom") || strings.Contains(r.logs.String(), oneCard) || !strings.Contains(r.logs.String(), "handler_test.(*fakeService).Lots") {
		t.Errorf("%s %s", got.body, r.logs)
	}
	r.service.panics = nil
	r.want(200, "", get("/lots", token))
}

// TestSlowWorkTimesOut and says that the same wish may be asked again.
func TestSlowWorkTimesOut(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	r.service.fail = fmt.Errorf("await: %w", context.DeadlineExceeded)
	r.want(503, "REQUEST_TIMEOUT", r.wish("/trades", token, fields{"mode": "BEARER"}))
	r.service.fail = fmt.Errorf("await: %w", context.Canceled)
	if got := r.do(r.wish("/trades", token, fields{"mode": "BEARER"})); got.status != 499 {
		t.Errorf("%d", got.status)
	}
}

// TestWorkHasADeadline: the context of a use case ends.
func TestWorkHasADeadline(t *testing.T) {
	r := newRig(t, func(c *handler.Config) { c.Timeout = time.Hour })
	r.service.deadline = make(chan time.Time, 1)
	r.want(200, "", get("/me", r.consumer("小王")))
	if d := <-r.service.deadline; d.IsZero() {
		t.Error("no deadline")
	}
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.do(get("/me", ""))
	r.do(get("/me", ""))
	r.do(get("/"+oneCard, ""))
	r.do(ask{method: "BREW", path: "/api/v1/me"})
	got := r.want(200, "", ask{method: "GET", path: "/metrics"})
	for _, line := range []string{
		`cardflow_http_requests_total{method="GET",route="/api/v1/me",status="401"} 2`,
		`cardflow_http_requests_total{method="GET",route="unmatched",status="404"} 1`,
		`cardflow_http_requests_total{method="other",route="unmatched",status="405"} 1`,
		`cardflow_http_request_seconds_count{method="GET",route="/api/v1/me"} 2`,
		`cardflow_http_requests_in_flight 1`,
		`cardflow_ready{part="redis"} 1`,
	} {
		if !strings.Contains(string(got.body), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if strings.Contains(string(got.body), oneCard) || strings.Contains(string(got.body), "BREW") {
		t.Error("a label holds what a client sent")
	}
}

func TestNewNamesAllFaults(t *testing.T) {
	_, err := handler.New(handler.Config{TrustedProxies: []string{"10.0.0.0"}})
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, part := range []string{"Service", "Logins", "WeChat", "Redis", "Registry", "PublicURL", "TrustedProxies"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not name %s", err, part)
		}
	}
}
