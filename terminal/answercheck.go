package terminal

import (
	"errors"
	"sync"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

// recentRequests is how many requests are remembered for naming what a wrong answer is.
const recentRequests = 64

// recent are the last requests of this process, newest last.
type recent struct {
	mu       sync.Mutex
	list     []protocol.Request
	answered map[protocol.Nonce]bool
}

func (r *recent) sent(req protocol.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answered == nil {
		r.answered = map[protocol.Nonce]bool{}
	}
	if r.list = append(r.list, req); len(r.list) > recentRequests {
		delete(r.answered, r.list[0].Nonce)
		r.list = r.list[1:]
	}
}

func (r *recent) done(req protocol.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered[req.Nonce] = true
}

// others are the requests besides one, and which of them were answered.
func (r *recent) others(req protocol.Request) (list []protocol.Request, answered []bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.list {
		if o.Nonce != req.Nonce {
			list, answered = append(list, o), append(answered, r.answered[o.Nonce])
		}
	}
	return list, answered
}

// check holds an answer against the pinned keys, and says what a wrong one is. Errors: ANSWER_UNSIGNED without an envelope;
// ANSWER_STATUS if the status was changed; ANSWER_REPLAYED, an answer that was given before; ANSWER_OF_ANOTHER, another
// request's; GATEWAY_UNKNOWN, signed by a key that isn't pinned; ANSWER_FORGED, anything else that the signature doesn't fit.
// Whichever it is, there was no answer.
func (c *Client) check(req protocol.Request, a answer) error {
	err := protocol.Check(req, a.status, a.header, a.body, c.pins)
	if err == nil {
		c.recent.done(req)
		return nil
	}
	if errors.Is(err, protocol.ErrEnvelope) {
		return Refusal("ANSWER_UNSIGNED").With("http", a.status)
	}
	by := a.header.Get(protocol.HeaderGateway)
	var key gm.PublicKey
	for _, k := range c.pins {
		if k.KeyID() == by {
			key = k
		}
	}
	if key.IsZero() {
		return Refusal("GATEWAY_UNKNOWN").With("key", by)
	}
	var sig gm.Signature
	if err := sig.UnmarshalText([]byte(a.header.Get(protocol.HeaderSignature))); err != nil {
		return Refusal("ANSWER_FORGED")
	}
	fits := func(of protocol.Request, status int) bool {
		r := protocol.Response{Channel: of.Channel, Gateway: by, Request: of.Digest(), Status: status, Body: a.body}
		return gm.Verify(key, r.SigningBytes(), sig) == nil
	}
	others, answered := c.recent.others(req)
	for i, o := range others {
		switch {
		case !fits(o, a.status):
		case answered[i]:
			return Refusal("ANSWER_REPLAYED")
		default:
			return Refusal("ANSWER_OF_ANOTHER")
		}
	}
	for status := 200; status < 600; status++ {
		if status != a.status && fits(req, status) {
			return Refusal("ANSWER_STATUS").With("signed", status).With("http", a.status)
		}
	}
	return Refusal("ANSWER_FORGED")
}
