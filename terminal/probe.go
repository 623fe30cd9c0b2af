package terminal

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// passer is an element whose key is made for one purpose, and forgotten after it.
type passer struct{ key *gm.PrivateKey }

func newPasser() (passer, error) {
	key, err := gm.GenerateKey(rand.Reader)
	return passer{key}, err
}

func (p passer) Serial() string                            { return "SN-PASSING-0001" }
func (p passer) Public() gm.PublicKey                      { return p.key.Public() }
func (p passer) Sign(message []byte) (gm.Signature, error) { return p.key.Sign(rand.Reader, message) }
func (p passer) Lock()                                     { p.key.Clear() }

// probe is one who tries a gateway that doesn't know him.
type probe struct {
	*Client
	key passer
}

// Probe tries a gateway as somebody whom it doesn't know, with a key made for it: everything up to the refusal of that key can
// be tried so. keyID is the gateway key that a ticket names; without one, what the gateway itself says is believed. Nothing is
// changed by it but the gateway's memory of nonces. Errors: SERVER_INVALID, SERVER_INSECURE.
func Probe(ctx context.Context, server, keyID string, now func() time.Time) ([]Verdict, error) {
	key, err := newPasser()
	if err != nil {
		return nil, err
	}
	defer key.Lock()
	c, err := newClient(server, "", key, nil, now)
	if err != nil {
		return nil, err
	}
	p := probe{c, key}
	var out []Verdict
	add := func(name string, err error) { out = append(out, verdict(name, err)) }

	keys, err := p.meets(ctx, keyID)
	add("gateway", err)
	if err != nil {
		return out, nil // nothing that it says can be judged
	}
	add("wanted-key", p.answersBy(ctx, keys))
	add("no-nonce", p.bare(ctx, protocol.Asking(p.channel, protocol.NewNonce()), http.Header{}))
	add("no-envelope", p.malformed(ctx))
	add("clock", errors.Join(p.late(ctx, -2*protocol.MaxSkew), p.late(ctx, 2*protocol.MaxSkew)))
	add("stranger", p.strange(ctx))

	enrol, err := p.enrol()
	if err != nil {
		return nil, err
	}
	req := p.envelope(protocol.PathEnrol, enrol)
	h, err := p.sealed(req)
	add("ticket", errors.Join(err, p.refuses(ctx, "TICKET_INVALID", req, h)))
	add("replay", p.refuses(ctx, "REPLAYED", req, h))
	add("body", p.changed(ctx, enrol))
	add("other-key", p.foreign(ctx, enrol))
	return out, nil
}

// meets asks for the keys of the gateway, which must be what they are called, and believes them.
func (p probe) meets(ctx context.Context, keyID string) ([]protocol.GatewayKey, error) {
	if keyID == "" {
		n := protocol.NewNonce()
		a, err := p.exchange(ctx, protocol.Asking("", n), askingHeader(n, ""))
		if err != nil {
			return nil, err
		}
		keyID = a.header.Get(protocol.HeaderGateway)
	}
	g, err := p.meet(ctx, keyID)
	if err != nil {
		return nil, err
	}
	p.pins = nil
	for _, k := range g.Keys {
		if k.ID != k.Public.KeyID() {
			return nil, fmt.Errorf("key %s is called by another name than its own", k.ID)
		}
		p.pins = append([]gm.PublicKey{k.Public}, p.pins...)
	}
	return g.Keys, nil
}

// answersBy wants the answer by each key, then by one that there is not: the newest answers.
func (p probe) answersBy(ctx context.Context, keys []protocol.GatewayKey) error {
	by := func(want, answers string) error {
		n := protocol.NewNonce()
		a, err := p.send(ctx, protocol.Asking(p.channel, n), askingHeader(n, want))
		if err == nil && a.header.Get(protocol.HeaderGateway) != answers {
			err = fmt.Errorf("%s was wanted, and %s answered", want, a.header.Get(protocol.HeaderGateway))
		}
		return err
	}
	err := by(strings.Repeat("0", 32), keys[0].ID)
	for _, k := range keys {
		err = errors.Join(err, by(k.ID, k.ID))
	}
	return err
}

// malformed sends envelopes that are none: each header left out, twice, and in a wrong spelling.
func (p probe) malformed(ctx context.Context) error {
	wrong := map[string][]string{
		protocol.HeaderKey:       {"", strings.Repeat("A", 32), strings.Repeat("0", 31)},
		protocol.HeaderNonce:     {"", strings.Repeat("A", 32), strings.Repeat("0", 34)},
		protocol.HeaderTime:      {"", "-1", "+1", "01", "0", "1e3", "99999999999999999999"},
		protocol.HeaderSignature: {"", "300602010102010100", "30060201010201", "300702020001020101", "308106020101020101", "3006020181020101", "zz"},
	}
	var faults error
	for name, spellings := range wrong {
		try := func(how string, change func(h http.Header)) {
			req := p.envelope(protocol.PathQuery, []byte(`{"what":"device"}`))
			h, err := p.sealed(req)
			if err == nil {
				change(h)
				err = p.bare(ctx, req, h)
			}
			if err != nil {
				faults = errors.Join(faults, fmt.Errorf("%s %s: %w", name, how, err))
			}
		}
		try("left out", func(h http.Header) { h.Del(name) })
		try("twice", func(h http.Header) { h.Add(name, h.Get(name)) })
		for _, s := range spellings {
			try(fmt.Sprintf("%q", s), func(h http.Header) { h.Set(name, s) })
		}
	}
	return faults
}

// late asks at another time than now: whose key it is matters less.
func (p probe) late(ctx context.Context, by time.Duration) error {
	req := p.envelope(protocol.PathQuery, []byte(`{"what":"device"}`))
	req.Time += by.Milliseconds()
	h, err := p.sealed(req)
	if err != nil {
		return err
	}
	a, err := p.send(ctx, req, h)
	if err != nil {
		return err
	}
	var r refused
	if json.Unmarshal(a.body, &r) != nil || r.Error.Details.Now <= 0 {
		return errors.New("it doesn't say what time it is")
	}
	return instead("CLOCK_SKEW", p.read(req, a, new(json.RawMessage)))
}

// strange asks on every route by a key that nobody knows.
func (p probe) strange(ctx context.Context) error {
	var faults error
	for _, path := range []string{protocol.PathQuery, protocol.PathSubmit, protocol.PathRecentHash, protocol.PathConfirm, protocol.PathSuccess} {
		req := p.envelope(path, []byte(`{}`))
		h, err := p.sealed(req)
		if err = errors.Join(err, p.refuses(ctx, "DEVICE_REFUSED", req, h)); err != nil {
			faults = errors.Join(faults, fmt.Errorf("%s: %w", path, err))
		}
	}
	return faults
}

// enrol shows a ticket that nobody has given out.
func (p probe) enrol() ([]byte, error) {
	const nobody = "nobody-at-all"
	t, err := protocol.NewTicket(nobody, strings.Repeat("a", 26), p.pins[0].KeyID())
	if err != nil {
		return nil, err
	}
	possession, err := p.key.Sign(request.PossessionBytes(p.channel, nobody, p.key.Public()))
	if err != nil {
		return nil, err
	}
	return json.Marshal(protocol.Enrol{
		Ticket: t.Text(), Serial: p.key.Serial(), SerialSalt: strings.Repeat("5a", 32), Public: p.key.Public(), Possession: possession,
	})
}

// changed sends another body than was signed.
func (p probe) changed(ctx context.Context, body []byte) error {
	req := p.envelope(protocol.PathEnrol, body)
	h, err := p.sealed(req)
	req.Body = append(append([]byte(nil), body[:len(body)-1]...), " }"...)
	return errors.Join(err, p.refuses(ctx, "DEVICE_REFUSED", req, h))
}

// foreign shows a key that the envelope wasn't signed by.
func (p probe) foreign(ctx context.Context, body []byte) error {
	other, err := newPasser()
	if err != nil {
		return err
	}
	defer other.Lock()
	req := p.envelope(protocol.PathEnrol, body)
	h := http.Header{"Content-Type": {"application/json"}}
	err = req.Seal(h, other.Sign)
	return errors.Join(err, p.refuses(ctx, "DEVICE_REFUSED", req, h))
}
