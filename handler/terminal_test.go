package handler_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/handler"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

const channel = "cardflow"

var gatewayKey = sync.OnceValue(func() *gm.PrivateKey { return generated() })

func generated() *gm.PrivateKey {
	key, err := gm.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

var terminalDevice = protocol.Device{ID: "device-1", Name: "一号仓", State: protocol.DeviceActive, Serial: "SN-0001", SerialHash: strings.Repeat("5e", 32), KeyID: strings.Repeat("ab", 16),
	Participant: protocol.Party{ID: "retailer-1", Name: "城南手机店", Role: request.Retailer}}

func (s *fakeService) Gateway(context.Context) (protocol.Gateway, error) {
	key := gatewayKey().Public()
	return protocol.Gateway{Channel: channel, Now: start.UnixMilli(), Keys: []protocol.GatewayKey{{ID: key.KeyID(), Public: key, TxID: "tx-1"}}}, s.note("Gateway")
}

func (s *fakeService) AnswerSigner(_ context.Context, want string) (transfer.AnswerSigner, error) {
	return transfer.AnswerSigner{Channel: channel, KeyID: gatewayKey().Public().KeyID(), Sign: func(message []byte) (gm.Signature, error) {
		return gatewayKey().Sign(rand.Reader, message)
	}}, s.note("AnswerSigner %s", want)
}

func (s *fakeService) Terminal(_ context.Context, keyID string) (transfer.Caller, gm.PublicKey, error) {
	if err := s.note("Terminal"); err != nil {
		return transfer.Caller{}, gm.PublicKey{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	public, ok := s.handsets[keyID]
	if !ok {
		return transfer.Caller{}, gm.PublicKey{}, bad("DEVICE_REFUSED")
	}
	return transfer.Caller{Participant: "retailer-1", Role: request.Retailer, Device: "device-1"}, public, nil
}

func (s *fakeService) Enrol(_ context.Context, in protocol.Enrol) (protocol.Device, error) {
	if in.Ticket != "CFT1.good" {
		return protocol.Device{}, bad("TICKET_INVALID")
	}
	return terminalDevice, s.note("Enrol %s", in.Serial)
}

func (s *fakeService) TerminalSeen(_ context.Context, c transfer.Caller, gateway string) error {
	return s.note("TerminalSeen %s by %q", c.Device, gateway)
}

func (s *fakeService) TerminalDevice(_ context.Context, c transfer.Caller) (protocol.Device, error) {
	return terminalDevice, s.note("TerminalDevice %s of %s", c.Device, c.Participant)
}

func (s *fakeService) TerminalKey(_ context.Context, c transfer.Caller, keyID string) (transfer.LedgerKey, error) {
	if keyID != gatewayKey().Public().KeyID() {
		return transfer.LedgerKey{}, bad("NOT_FOUND")
	}
	k := transfer.LedgerKey{ParticipantVersion: 3}
	k.ID, k.Participant, k.Public, k.Kind = keyID, "platform", gatewayKey().Public(), request.GatewayKey
	k.Status, k.ValidFrom, k.Version, k.TxID = "ACTIVE", 1, 1, "tx-1"
	return k, s.note("TerminalKey")
}

// handset is a terminal whose key is known, or not.
func (r *rig) handset(known bool) *gm.PrivateKey {
	key := generated()
	if known {
		r.service.mu.Lock()
		defer r.service.mu.Unlock()
		if r.service.handsets == nil {
			r.service.handsets = map[string]gm.PublicKey{}
		}
		r.service.handsets[key.Public().KeyID()] = key.Public()
	}
	return key
}

// enveloped is a request that a terminal has signed.
func (r *rig) enveloped(key *gm.PrivateKey, path string, body any, change ...func(*protocol.Request)) (protocol.Request, ask) {
	r.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req := protocol.Request{Channel: channel, Method: "POST", Path: path, KeyID: key.Public().KeyID(), Nonce: protocol.NewNonce(), Time: r.clock.Now().UnixMilli(), Body: b}
	for _, f := range change {
		f(&req)
	}
	h := http.Header{}
	if err := req.Seal(h, func(m []byte) (gm.Signature, error) { return key.Sign(rand.Reader, m) }); err != nil {
		r.t.Fatal(err)
	}
	a := ask{method: "POST", path: path, body: req.Body, header: map[string]string{}}
	for name := range h {
		a.header[name] = h.Get(name)
	}
	return req, a
}

// answers sends a request, and insists on its answer's signature, its status and its code.
func (r *rig) answers(req protocol.Request, a ask, status int, code string) answer {
	r.t.Helper()
	got := r.want(status, code, a)
	if err := protocol.Check(req, got.status, got.header, got.body, []gm.PublicKey{gatewayKey().Public()}); err != nil {
		r.t.Errorf("%s: %d %s: %v", a.path, got.status, got.body, err)
	}
	return got
}

// unsigned insists that a refusal has no envelope.
func (r *rig) unsigned(a ask, status int, code string) {
	r.t.Helper()
	if got := r.want(status, code, a); got.header.Get(protocol.HeaderSignature) != "" {
		r.t.Errorf("%s is signed", code)
	}
}

var askDevice = protocol.Query{What: protocol.QueryDevice}

// TestEnvelopes: a terminal's request counts once, on its route, within minutes, by the key that it was signed with; each
// answer to it is signed, refusals too.
func TestEnvelopes(t *testing.T) {
	r := newRig(t)
	key := r.handset(true)
	req, a := r.enveloped(key, protocol.PathQuery, askDevice)
	var d protocol.Device
	r.answers(req, a, 200, "").into(t, &d)
	if d != terminalDevice || r.service.called("TerminalDevice device-1 of retailer-1") != 1 {
		t.Errorf("%+v", d)
	}
	r.answers(req, a, 409, "REPLAYED")
	other := r.another()
	other.answers(req, a, 409, "REPLAYED") // whichever server it comes to
	for name, age := range map[string]time.Duration{"old": -5*time.Minute - time.Second, "of tomorrow": 24 * time.Hour, "at the edge of time": 1 << 62} {
		req, a := r.enveloped(key, protocol.PathQuery, askDevice, func(req *protocol.Request) { req.Time += age.Milliseconds() })
		if got := r.answers(req, a, 403, "CLOCK_SKEW"); !bytes.Contains(got.body, []byte(`"now":`)) {
			t.Errorf("%s: %s", name, got.body)
		}
	}
	for _, age := range []time.Duration{-5 * time.Minute, 5 * time.Minute} {
		req, a := r.enveloped(key, protocol.PathQuery, askDevice, func(req *protocol.Request) { req.Time += age.Milliseconds() })
		r.answers(req, a, 200, "")
		r.advance(4 * time.Minute) // a nonce is remembered as long as its time is good
		if age > 0 {
			r.answers(req, a, 409, "REPLAYED")
		}
	}
	stranger := r.handset(false)
	req, a = r.enveloped(stranger, protocol.PathQuery, askDevice)
	r.answers(req, a, 403, "DEVICE_REFUSED")
	// What is not refused has its nonce still: who forges requests uses up nobody's.
	req, a = r.enveloped(key, protocol.PathQuery, askDevice)
	forged := a
	forged.body = []byte(`{"what":"key"}`)
	altered := req
	altered.Body = forged.body.([]byte)
	r.answers(altered, forged, 403, "DEVICE_REFUSED")
	r.answers(req, a, 200, "")

	for name, change := range map[string]func(*protocol.Request){
		"for another route":   func(req *protocol.Request) { req.Path = protocol.PathSubmit },
		"for another method":  func(req *protocol.Request) { req.Method = "PUT" },
		"on another channel":  func(req *protocol.Request) { req.Channel = "other" },
		"by another's key":    func(req *protocol.Request) { req.KeyID = r.handset(true).Public().KeyID() },
		"by a key of nothing": func(req *protocol.Request) { req.KeyID = strings.Repeat("0", 32) },
	} {
		req, a := r.enveloped(key, protocol.PathQuery, askDevice, change)
		a.path = protocol.PathQuery
		req.Channel, req.Method, req.Path = channel, "POST", protocol.PathQuery // as it comes in
		t.Run(name, func(t *testing.T) { r.answers(req, a, 403, "DEVICE_REFUSED") })
	}
	// Nothing comes by the query, which nobody has signed.
	req, a = r.enveloped(key, protocol.PathQuery, askDevice)
	a.path += "?what=key"
	r.answers(req, a, 400, "QUERY_UNKNOWN")
	for body, code := range map[string]string{`{"what":`: "BODY_TRUNCATED", `{"what":"weather"}`: "FIELD_INVALID", `{"when":"now"}`: "FIELD_UNKNOWN"} {
		req, a := r.enveloped(key, protocol.PathQuery, nil, func(req *protocol.Request) { req.Body = []byte(body) })
		r.answers(req, a, 400, code)
	}
	req, a = r.enveloped(key, protocol.PathQuery, askDevice)
	a.header["Content-Type"] = "text/plain"
	r.answers(req, a, 415, "CONTENT_TYPE_UNSUPPORTED")
	req, a = r.enveloped(key, protocol.PathQuery, protocol.Query{What: protocol.QueryKey, KeyID: "00"})
	r.answers(req, a, 404, "NOT_FOUND")
	req, a = r.enveloped(key, protocol.PathQuery, protocol.Query{What: protocol.QueryKey, KeyID: gatewayKey().Public().KeyID()})
	r.answers(req, a, 200, "")
	if log := r.logs.String(); strings.Contains(log, a.header[protocol.HeaderSignature]) || strings.Contains(log, req.Nonce.String()) {
		t.Error("an envelope is in the log")
	}
}

// TestNoEnvelope: what has none, or half of one, is refused without a signature: there is nothing to bind it to. A console's
// token opens no terminal's route, and a terminal's signature no console's.
func TestNoEnvelope(t *testing.T) {
	r := newRig(t)
	key := r.handset(true)
	r.unsigned(post("/terminal/query", "", askDevice), 400, "ENVELOPE_INVALID")
	r.unsigned(post("/terminal/query", r.staff("retailer"), askDevice), 400, "ENVELOPE_INVALID")
	for _, name := range []string{protocol.HeaderKey, protocol.HeaderNonce, protocol.HeaderTime, protocol.HeaderSignature} {
		for _, value := range []string{"", "x", strings.Repeat("F", 32), "-1", "01"} {
			_, a := r.enveloped(key, protocol.PathQuery, askDevice)
			a.header[name] = value
			r.unsigned(a, 400, "ENVELOPE_INVALID")
		}
	}
	_, a := r.enveloped(key, protocol.PathQuery, askDevice)
	twice := r.request(a)
	twice.Header.Add(protocol.HeaderTime, a.header[protocol.HeaderTime])
	if got := r.serve(twice); got.code(t) != "ENVELOPE_INVALID" {
		t.Errorf("two times: %s", got.body)
	}
	r.unsigned(get("/terminal/gateway", ""), 400, "ENVELOPE_INVALID")
	_, a = r.enveloped(key, "/api/v1/devices", fields{"name": "x"})
	r.want(401, "UNAUTHENTICATED", a)
	r.service.fail = errors.New("no gateway key")
	_, a = r.enveloped(key, protocol.PathQuery, askDevice)
	r.unsigned(a, 500, "INTERNAL")
}

// TestFaultsAreSigned: what goes wrong inside is told under a signature, and not more of it than anybody is told.
func TestFaultsAreSigned(t *testing.T) {
	r := newRig(t)
	key := r.handset(true)
	ask := func() (protocol.Request, ask) { return r.enveloped(key, protocol.PathQuery, askDevice) }
	req, a := ask()
	r.redis.SetDown(true)
	got := r.answers(req, a, 503, "UNAVAILABLE")
	if got.header.Get("Retry-After") == "" || bytes.Contains(got.body, []byte("redis")) {
		t.Errorf("%s", got.body)
	}
}

// TestTwoServersReplayed: of one request at two servers at once one is answered, and the other replayed.
func TestTwoServersReplayed(t *testing.T) {
	r := newRig(t)
	servers := []*rig{r, r.another()}
	_, a := r.enveloped(r.handset(true), protocol.PathQuery, askDevice)
	status := make([]int, 8)
	var all sync.WaitGroup
	for i := range status {
		all.Go(func() { status[i] = servers[i%2].do(a).status })
	}
	all.Wait()
	n := 0
	for _, s := range status {
		switch s {
		case 200:
			n++
		case 409:
		default:
			t.Error(s)
		}
	}
	if n != 1 {
		t.Errorf("%d were answered", n)
	}
}

// TestGateway: whoever has a nonce is told who answers, under a signature.
func TestGateway(t *testing.T) {
	r := newRig(t)
	n := protocol.NewNonce()
	a := get("/terminal/gateway", "")
	a.header = map[string]string{protocol.HeaderNonce: n.String(), protocol.HeaderGateway: "00"}
	var g protocol.Gateway
	r.answers(protocol.Asking(channel, n), a, 200, "").into(t, &g)
	if len(g.Keys) != 1 || g.Keys[0].Public != gatewayKey().Public() || r.service.called("AnswerSigner 00") != 1 {
		t.Errorf("%+v", g)
	}
}

// shown is what a terminal shows to be enrolled.
func shown(r *rig, key *gm.PrivateKey) protocol.Enrol {
	r.t.Helper()
	sig, err := key.Sign(rand.Reader, []byte("possession"))
	if err != nil {
		r.t.Fatal(err)
	}
	return protocol.Enrol{Ticket: "CFT1.good", Serial: "SN-0001", SerialSalt: strings.Repeat("00", 32), Public: key.Public(), Possession: sig}
}

// TestEnrol: a terminal that isn't known signs with the key that it shows.
func TestEnrol(t *testing.T) {
	r := newRig(t)
	key := r.handset(false)
	in := shown(r, key)
	req, a := r.enveloped(key, protocol.PathEnrol, in)
	r.answers(req, a, 200, "")
	r.answers(req, a, 409, "REPLAYED")
	req, a = r.enveloped(r.handset(false), protocol.PathEnrol, in)
	r.answers(req, a, 403, "DEVICE_REFUSED")
	bad := in
	bad.Ticket = "CFT1.bad"
	req, a = r.enveloped(key, protocol.PathEnrol, bad)
	r.answers(req, a, 403, "TICKET_INVALID")
	req, a = r.enveloped(key, protocol.PathEnrol, fields{"ticket": "x"})
	r.answers(req, a, 403, "DEVICE_REFUSED")
	if strings.Contains(r.logs.String(), in.Ticket) {
		t.Error("the ticket is in the log")
	}
}

var oneDevice = transfer.DeviceView{ID: "device-1", Name: "一号仓", Holder: "p-retailer", HolderName: "retailer", State: "active", Serial: "SN-0001", SerialHash: strings.Repeat("5e", 32),
	KeyID: strings.Repeat("ab", 16), LedgerStatus: "ACTIVE", LedgerVersion: 1, TxID: "tx-1", CreatedAt: start, EnrolledAt: &start}

func (s *fakeService) onDevice(c transfer.Caller, i transfer.Idem, what, id string) (transfer.DeviceView, error) {
	if err := s.note("%s %s", what, id); err != nil {
		return transfer.DeviceView{}, err
	}
	if i.Key == "" || c.Session == "" {
		return transfer.DeviceView{}, errors.New("no wish of anybody")
	}
	if id != oneDevice.ID {
		return transfer.DeviceView{}, bad("DEVICE_NOT_FOUND")
	}
	d := oneDevice
	d.State, d.OrderID, d.StoppedAt = what, "act-1", &start
	return d, nil
}

func (s *fakeService) CreateDevice(_ context.Context, c transfer.Caller, i transfer.Idem, in transfer.NewDevice) (transfer.Ticket, error) {
	d := transfer.DeviceView{ID: "device-2", Name: in.Name, State: "ticketed", TicketUntil: &start, CreatedAt: start}
	return transfer.Ticket{Device: d, Text: "CFT1.secret"}, s.note("CreateDevice %s for %s", in.Name, in.Holder)
}

func (s *fakeService) ReplaceDevice(_ context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.Ticket, error) {
	d, err := s.onDevice(c, i, "ticketed", id)
	return transfer.Ticket{Device: d, Text: "CFT1.secret"}, err
}

func (s *fakeService) Devices(_ context.Context, c transfer.Caller, state, cursor string, limit int) (transfer.Page[transfer.DeviceView], error) {
	return transfer.Page[transfer.DeviceView]{Items: []transfer.DeviceView{oneDevice}, Next: "next"}, s.note("Devices %s %s %d", state, cursor, limit)
}

func (s *fakeService) Device(_ context.Context, c transfer.Caller, id string) (transfer.DeviceView, error) {
	if id != oneDevice.ID {
		return transfer.DeviceView{}, bad("DEVICE_NOT_FOUND")
	}
	return oneDevice, s.note("Device")
}

func (s *fakeService) SuspendDevice(_ context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.DeviceView, error) {
	return s.onDevice(c, i, string(model.DeviceSuspended), id)
}

func (s *fakeService) LoseDevice(_ context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.DeviceView, error) {
	return s.onDevice(c, i, string(model.DeviceLost), id)
}

func (s *fakeService) RevokeDevice(_ context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.DeviceView, error) {
	return s.onDevice(c, i, string(model.DeviceRevoked), id)
}

// TestDevices: what an organisation's people do with its terminals.
func TestDevices(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	var made struct {
		Device struct{ ID, Name, State string }
		Ticket string
	}
	r.want(201, "", r.wish("/devices", token, fields{"name": "二号仓", "holder": "p-retailer"})).into(t, &made)
	if made.Ticket != "CFT1.secret" || made.Device.State != "ticketed" || r.service.called("CreateDevice 二号仓 for p-retailer") != 1 {
		t.Errorf("%+v", made)
	}
	r.want(400, "FIELD_INVALID", r.wish("/devices", token, fields{}))
	r.want(400, "IDEMPOTENCY_KEY_REQUIRED", post("/devices", token, fields{"name": "x"}))
	for what, state := range map[string]string{"suspend": "suspended", "lost": "lost", "revoke": "revoked"} {
		var d struct{ State, ConfirmationID string }
		r.want(202, "", r.wish("/devices/device-1/"+what, token, nil)).into(t, &d)
		if d.State != state || d.ConfirmationID != "act-1" {
			t.Errorf("%s: %+v", what, d)
		}
		r.want(404, "DEVICE_NOT_FOUND", r.wish("/devices/device-9/"+what, token, nil))
	}
	r.want(201, "", r.wish("/devices/device-1/replace", token, nil)).into(t, &made)
	var page struct {
		Items []struct {
			ID     string
			Holder struct{ Name string }
			Ledger struct{ Version int }
		}
		NextCursor string
	}
	r.want(200, "", get("/devices?state=active&limit=7", token)).into(t, &page)
	if len(page.Items) != 1 || page.Items[0].Holder.Name != "retailer" || page.Items[0].Ledger.Version != 1 || page.NextCursor != "next" || r.service.called("Devices active  7") != 1 {
		t.Errorf("%+v", page)
	}
	r.want(400, "QUERY_INVALID", get("/devices?state=broken", token))
	r.want(404, "DEVICE_NOT_FOUND", get("/devices/device-9", token))
	if strings.Contains(r.logs.String(), "CFT1.secret") {
		t.Error("the ticket is in the log")
	}
}

var _ handler.Terminals = (*fakeService)(nil)
