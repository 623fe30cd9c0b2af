// Package terminaltest is a gateway for the tests of terminals: honest by itself, with a ledger of its own that counts what it
// applies, and as dishonest as a test makes it. It shares no code with package terminal beyond the protocol's own.
package terminaltest

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// Channel is the gateway's.
const Channel = "cardflow"

// Reply is an answer on its way out. Whoever lies changes it before it is signed, or what is sent in place of what is signed.
type Reply struct {
	Status int
	Body   []byte

	Key        *gm.PrivateKey // that signs; nil: nobody
	Named      string         // the key ID that the answer names
	Request    protocol.Request
	Signed     int         // the status that is signed; 0: Status
	SignedBody []byte      // the body that is signed; nil: Body
	Replay     http.Header // headers of another answer in place of its own
	Cut        bool        // the connection breaks off instead
}

// Gateway answers terminals.
type Gateway struct {
	URL string
	// Lie may change any reply. It is called with the gateway locked.
	Lie func(r *Reply)
	// Alter may change a draft before it goes out.
	Alter func(d *protocol.Draft)
	// Now is its clock.
	Now func() time.Time

	t       testing.TB
	mu      sync.Mutex
	keys    []*gm.PrivateKey // newest last
	retired map[string]bool
	nonces  map[string]bool
	devices map[string]*device
	tickets map[string]protocol.Party
	applied map[string]Applied
	lots    map[string]*lot
	trades  map[string]*trade
	sent    []Sent
	block   uint64
}

// Sent is an answer as it went out.
type Sent struct {
	Path   string
	Header http.Header
	Status int
	Body   []byte
}

type device struct {
	protocol.Device
	public gm.PublicKey
}

// New starts a gateway that stops with the test.
func New(t testing.TB) *Gateway {
	g := &Gateway{
		t: t, Now: time.Now, retired: map[string]bool{}, nonces: map[string]bool{}, devices: map[string]*device{}, tickets: map[string]protocol.Party{},
		applied: map[string]Applied{}, lots: map[string]*lot{}, trades: map[string]*trade{},
	}
	g.NewKey()
	s := httptest.NewServer(http.HandlerFunc(g.serve))
	t.Cleanup(s.Close)
	g.URL = s.URL
	return g
}

// Key draws a key.
func Key(t testing.TB) *gm.PrivateKey {
	k, err := gm.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// NewKey makes a further gateway key, and answers its ID.
func (g *Gateway) NewKey() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	k := Key(g.t)
	g.keys = append(g.keys, k)
	return k.Public().KeyID()
}

// Retire takes a key out of the list; it signs nothing more.
func (g *Gateway) Retire(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retired[id] = true
}

// Ticket is a ticket for one terminal of an organisation.
func (g *Gateway) Ticket(of protocol.Party) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	secret := ""
	for len(secret) < 26 {
		n := protocol.NewNonce()
		for _, b := range n {
			secret += string("abcdefghijklmnopqrstuvwxyz234567"[b&31])
		}
	}
	t, err := protocol.NewTicket(of.ID, secret[:26], g.signer("").Public().KeyID())
	if err != nil {
		g.t.Fatal(err)
	}
	g.tickets[t.Secret()] = of
	return t.Text()
}

// Locked has a test look at the gateway, or change it, while nobody is served.
func (g *Gateway) Locked(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
}

// Stop suspends a terminal's key.
func (g *Gateway) Stop(keyID string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.devices[keyID].State = protocol.DeviceSuspended
}

// Answers are all answers that went out, oldest first.
func (g *Gateway) Answers() []Sent {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]Sent(nil), g.sent...)
}

// signer is the wanted key, or the newest.
func (g *Gateway) signer(want string) *gm.PrivateKey {
	var newest *gm.PrivateKey
	for _, k := range g.keys {
		id := k.Public().KeyID()
		if g.retired[id] {
			continue
		}
		if newest = k; id == want {
			return k
		}
	}
	return newest
}

type refusal struct {
	status  int
	code    string
	details map[string]any
}

func refuse(status int, code string) *refusal { return &refusal{status: status, code: code} }

func (g *Gateway) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	g.mu.Lock()
	reply := g.reply(r, body)
	if g.Lie != nil {
		g.Lie(&reply)
	}
	h := http.Header{}
	if reply.Key != nil {
		g.seal(reply, h)
	}
	if reply.Replay != nil {
		h = reply.Replay
	}
	if !reply.Cut {
		g.sent = append(g.sent, Sent{r.URL.Path, h.Clone(), reply.Status, reply.Body})
	}
	g.mu.Unlock()
	if reply.Cut {
		panic(http.ErrAbortHandler)
	}
	for name := range h {
		w.Header().Set(name, h.Get(name))
	}
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body)
}

func (g *Gateway) seal(r Reply, h http.Header) {
	answer := protocol.Response{Channel: Channel, Gateway: r.Named, Request: r.Request.Digest(), Status: r.Status, Body: r.Body}
	if r.Signed != 0 {
		answer.Status = r.Signed
	}
	if r.SignedBody != nil {
		answer.Body = r.SignedBody
	}
	if err := answer.Seal(h, func(m []byte) (gm.Signature, error) { return r.Key.Sign(rand.Reader, m) }); err != nil {
		g.t.Error(err)
	}
}

// reply is the honest answer.
func (g *Gateway) reply(r *http.Request, body []byte) Reply {
	key := g.signer(r.Header.Get(protocol.HeaderGateway))
	out := Reply{Key: key, Named: key.Public().KeyID()}
	say := func(v any, no *refusal) Reply {
		out.Status = http.StatusOK
		if no != nil {
			out.Status = no.status
			v = map[string]any{"error": map[string]any{"code": no.code, "message": "不行", "requestId": "00", "details": no.details}}
		}
		out.Body, _ = json.Marshal(v)
		return out
	}
	if r.Method == http.MethodGet && r.URL.Path == protocol.PathGateway {
		n, err := protocol.NonceOf(r.Header)
		if err != nil {
			out.Key = nil
			return say(nil, refuse(400, "ENVELOPE_INVALID"))
		}
		out.Request = protocol.Asking(Channel, n)
		return say(g.list(), nil)
	}
	req, sig, err := protocol.Open(Channel, r.Method, r.URL.Path, r.Header, body)
	if err != nil {
		out.Key = nil
		return say(nil, refuse(400, "ENVELOPE_INVALID"))
	}
	out.Request = req
	now := g.Now()
	if skew := req.Skew(now); skew > protocol.MaxSkew || skew < -protocol.MaxSkew {
		return say(nil, &refusal{403, "CLOCK_SKEW", map[string]any{"now": now.UnixMilli()}})
	}
	var d *device
	if req.Path == protocol.PathEnrol {
		var in protocol.Enrol
		if json.Unmarshal(body, &in) == nil && !in.Public.IsZero() {
			d = &device{public: in.Public}
		}
	} else if d = g.devices[req.KeyID]; d != nil && d.State != protocol.DeviceActive {
		d = nil
	}
	if d == nil || req.Verify(d.public, sig) != nil {
		return say(nil, refuse(403, "DEVICE_REFUSED"))
	}
	if g.nonces[req.KeyID+req.Nonce.String()] {
		return say(nil, refuse(409, "REPLAYED"))
	}
	g.nonces[req.KeyID+req.Nonce.String()] = true
	return say(g.answer(d, req))
}

func (g *Gateway) list() protocol.Gateway {
	out := protocol.Gateway{Channel: Channel, Now: g.Now().UnixMilli()}
	for _, k := range slices.Backward(g.keys) {
		if id := k.Public().KeyID(); !g.retired[id] {
			out.Keys = append(out.Keys, protocol.GatewayKey{ID: id, Public: k.Public(), TxID: "tx-" + id[:6]})
		}
	}
	return out
}

// answer is what a request that counts is answered.
func (g *Gateway) answer(d *device, req protocol.Request) (any, *refusal) {
	switch req.Path {
	case protocol.PathEnrol:
		return read(req, g.enrol)
	case protocol.PathRecentHash:
		return read(req, func(in protocol.RecentHash) (any, *refusal) { return g.draft(d, in) })
	case protocol.PathConfirm:
		return read(req, func(in protocol.ConfirmAsk) (any, *refusal) { return g.open(d, in) })
	case protocol.PathSubmit:
		return read(req, func(in protocol.Submit) (any, *refusal) { return g.submit(d, in) })
	case protocol.PathSuccess:
		return read(req, func(in protocol.Success) (any, *refusal) { return protocol.Settled{TxID: in.TxID}, nil })
	case protocol.PathQuery:
		return read(req, func(in protocol.Query) (any, *refusal) { return g.query(d, in) })
	}
	return nil, refuse(404, "NOT_FOUND")
}

func read[T any](req protocol.Request, do func(T) (any, *refusal)) (any, *refusal) {
	var in T
	if err := json.Unmarshal(req.Body, &in); err != nil {
		return nil, refuse(400, "JSON_INVALID")
	}
	return do(in)
}

func (g *Gateway) enrol(in protocol.Enrol) (any, *refusal) {
	t, err := protocol.ParseTicket(in.Ticket)
	party, ok := g.tickets[t.Secret()]
	if err != nil || !ok {
		return nil, refuse(403, "TICKET_INVALID")
	}
	if gm.Verify(in.Public, request.PossessionBytes(Channel, party.ID, in.Public), in.Possession) != nil {
		return nil, refuse(400, "POSSESSION_WRONG")
	}
	var salt [32]byte
	if n, err := hexDecode(salt[:], in.SerialSalt); err != nil || n != 32 {
		return nil, refuse(400, "DEVICE_INVALID")
	}
	hash := protocol.SerialHash(salt, in.Serial)
	for _, d := range g.devices {
		if d.Name == t.Secret() && (d.public != in.Public || d.SerialHash != hash) {
			return nil, refuse(409, "TICKET_USED")
		}
	}
	d := &device{public: in.Public, Device: protocol.Device{
		ID: "device-" + in.Serial, Name: t.Secret(), State: protocol.DeviceActive, Serial: in.Serial, SerialHash: hash, KeyID: in.Public.KeyID(), Participant: party,
	}}
	g.devices[d.KeyID] = d
	return d.Device, nil
}
