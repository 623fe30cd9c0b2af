package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/transfer"
)

// site is a whole server in this process: the one that serve runs, on a port of its own.
type site struct {
	*App
	t   *testing.T
	log *lockedBuffer // its JSON log, from debug on
}

// openSite starts a server on a data directory.
func openSite(t *testing.T, dir string, change ...func(*Config)) *site {
	t.Helper()
	c := DefaultConfig()
	c.DataDir, c.HTTP.Listen = dir, "127.0.0.1:0"
	c.Relay.AnswerWithin = 50 * time.Second // however slow the machine
	engines(t, &c)
	for _, f := range change {
		f(&c)
	}
	check(t, c.Validate())
	s := &site{t: t, log: &lockedBuffer{}}
	app, err := Open(soon(t), c, newLogger(LogConfig{Level: "debug", Format: "json"}, s.log))
	check(t, err)
	s.App = app
	t.Cleanup(func() { s.close(t) })
	check(t, app.Listen())
	return s
}

// close stops the server; a second time it does nothing.
func (s *site) close(t *testing.T) {
	if err := s.App.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
}

// crowded lifts the limits that count by address: everybody in a test has the same one.
func crowded(c *Config) {
	many := Rate{Count: 100_000, Per: time.Minute}
	l := &c.Limits
	l.WrongCodesPerAddress, l.WrongCodesPlatform, l.LookupsPerAddress, l.LookupsPlatform = many, many, many, many
	l.LoginsPerAddress, l.RequestsPerAddress = many, many
}

// fsck demands that database, ledger, audit agree.
func (s *site) fsck() transfer.Report {
	s.t.Helper()
	ctx := soon(s.t)
	check(s.t, s.Service.CatchUp(ctx))
	check(s.t, s.LedgerFile.Verify(ctx, nil))
	audit, err := s.verifyAudit(ctx, "", true, io.Discard)
	check(s.t, err)
	check(s.t, audit.Err())
	r, err := s.Service.Check(ctx, nil)
	check(s.t, err)
	for _, f := range r.Findings {
		s.t.Errorf("fsck: %s %s %s", f.Kind, f.Subject, f.Problem)
	}
	return r
}

// visitor is somebody at the API, whose failures are the test's.
type visitor struct {
	*client
	t *testing.T
}

func (s *site) visitor(name string) *visitor {
	c := newClient(s.URL, name)
	s.t.Cleanup(c.http.CloseIdleConnections)
	return &visitor{c, s.t}
}

// staff logs a member of the demo's staff in.
func (s *site) staff(username string) *visitor {
	s.t.Helper()
	v := s.visitor(username)
	check(s.t, v.login(soon(s.t), username, demoPassword))
	return v
}

// consumer logs the WeChat user of that name in.
func (s *site) consumer(name string) *visitor {
	s.t.Helper()
	v := s.visitor("wechat") // the client's name goes into headers, which are ASCII
	check(s.t, v.wechat(soon(s.t), "demo:"+name))
	return v
}

func (v *visitor) get(path string, out any) {
	v.t.Helper()
	if err := v.call(soon(v.t), http.MethodGet, path, nil, out); err != nil {
		v.t.Fatalf("%s: GET %s: %v", v.name, path, err)
	}
}

func (v *visitor) post(path string, body, out any) {
	v.t.Helper()
	if err := v.call(soon(v.t), http.MethodPost, path, body, out); err != nil {
		v.t.Fatalf("%s: POST %s: %v", v.name, path, err)
	}
}

// refused demands that the API says no with this status and code, and says something to a person.
func (v *visitor) refused(status int, code, method, path string, body any) {
	v.t.Helper()
	err := v.call(soon(v.t), method, path, body, nil)
	var e *apiError
	if !errors.As(err, &e) || e.Status != status || e.Code != code || !chinese(e.Message) {
		v.t.Errorf("%s: %s %s: %v, want %d %s and a sentence", v.name, method, path, err, status, code)
	}
}

// chinese reports whether a sentence is for the people who use this.
func chinese(s string) bool {
	for _, r := range s {
		if r >= 0x4e00 && r <= 0x9fff {
			return true
		}
	}
	return false
}

// done makes a write and waits until it is on the ledger.
func (v *visitor) done(path string, body any) confirmation {
	v.t.Helper()
	var c confirmation
	v.post(path, body, &c)
	end, err := v.await(soon(v.t), c.ConfirmationID)
	if err != nil || end.TxID == "" || end.BlockNumber == 0 {
		v.t.Fatalf("%s: POST %s ended as %+v, %v", v.name, path, end, err)
	}
	return end
}

// answer is an HTTP answer as it came.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// raw makes a request whose answer is no JSON, or whose headers matter. headers are name, value, ….
func (v *visitor) raw(method, url string, body any, headers ...string) answer {
	v.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		check(v.t, err)
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(soon(v.t), method, url, r)
	check(v.t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if v.token != "" {
		req.Header.Set("Authorization", "Bearer "+v.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := v.http.Do(req)
	check(v.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(v.t, err)
	return answer{resp.StatusCode, resp.Header, b}
}

// party is a participant as answers show him.
type party struct{ ID, Name string }

// span is a run of cards as answers show it.
type span struct {
	Start, End string
	Count      int
}

// trade is a trade as answers show it.
type trade struct {
	TradeID, Mode, Code, Link, State  string
	Seller, Receiver                  party
	Segments                          []span
	Count                             int
	OfferTx, EndTx, LotHash, Reverses string
	Reason, ReasonText                string
	EndBlock                          uint64
	ExpiresAt                         time.Time
}

// lot is a lot as answers show it.
type lot struct {
	Hash, Status, TxID string
	Owner              party
	Count              int
	Segments           []span
	Restrictions       []string
}

// items is a list as answers show it.
type items[T any] struct {
	Items      []T
	NextCursor string
}

// offers makes a trade of a run of cards.
func (v *visitor) offers(mode, to string, segments ...map[string]string) trade {
	v.t.Helper()
	body := map[string]any{"mode": mode, "segments": segments}
	if to != "" {
		body["to"] = to
	}
	var r struct{ Trades []trade }
	v.post("/trades", body, &r)
	if len(r.Trades) != 1 {
		v.t.Fatalf("%s offers %v: %+v", v.name, segments, r.Trades)
	}
	offered := r.Trades[0]
	until(v.t, "an offer to be on the ledger", func() bool { // it is answered sooner than that where servers are slow
		if offered.State == "offering" {
			v.get("/trades/"+offered.TradeID, &offered)
		}
		return offered.State != "offering"
	})
	if offered.State != "offered" || offered.OfferTx == "" {
		v.t.Fatalf("%s offers %v: %+v", v.name, segments, offered)
	}
	return offered
}

// cards is a segment of a request.
func cards(first, last string) map[string]string {
	return map[string]string{"start": first, "end": last}
}

// shows is what proves to the API that its holder may end a BEARER trade.
func shows(t trade) map[string]string {
	return map[string]string{"code": t.Code, "iccidLast6": iccid.Last6(t.Segments[0].Start)}
}
