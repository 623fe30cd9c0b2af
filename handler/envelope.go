package handler

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"cardflow/gm"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// Terminals log in nowhere: each request is signed by the device's key, each answer by one of the gateway's. The threat is
// whoever stands between them, and whoever has stolen a terminal or recorded what it sent: a request counts once, on its route,
// within minutes, while the ledger's record of its key says that it may.

// envelope is who has signed a request.
type envelope struct {
	caller transfer.Caller // the zero one where whoever asks isn't known yet
	keyID  string
	public gm.PublicKey
}

// clocks is by how much the clocks of servers may differ that share the nonces they have seen.
const clocks = time.Minute

// openEnvelope finds who has signed the request, and how its answer is to be signed. A request whose envelope can't be read
// has no digest to which an answer could be bound: that refusal alone isn't signed, nor is what comes before (a rate, a body
// that is too long) or while there is no gateway key.
func (c *call) openEnvelope() error {
	ctx, cancel := context.WithTimeout(c.ctx(), c.Timeout)
	defer cancel()
	r := c.Request()
	var err error
	if c.body, err = readBody(c.Response(), r, c.BodyLimit); err != nil {
		return err
	}
	signer, err := c.Service.AnswerSigner(ctx, r.Header.Get(protocol.HeaderGateway))
	if err != nil {
		return err
	}
	if c.route.method == get {
		nonce, err := protocol.NonceOf(r.Header)
		if err != nil {
			return &refusal{code: "ENVELOPE_INVALID", cause: err}
		}
		c.from = &envelope{}
		c.sealWith(signer, protocol.Asking(signer.Channel, nonce))
		return nil
	}
	req, sig, err := protocol.Open(signer.Channel, r.Method, r.URL.Path, r.Header, c.body)
	if err != nil {
		return &refusal{code: "ENVELOPE_INVALID", cause: err}
	}
	c.sealWith(signer, req)
	now := c.Clock.Now()
	if skew := req.Skew(now); skew > protocol.MaxSkew || skew < -protocol.MaxSkew {
		return &refusal{code: "CLOCK_SKEW", details: map[string]any{"now": now.UnixMilli()}}
	}
	if c.from, err = c.signedBy(ctx, req.KeyID); err != nil {
		return err
	}
	if err := req.Verify(c.from.public, sig); err != nil {
		return &refusal{code: "DEVICE_REFUSED", cause: err}
	}
	key := fmt.Sprintf("%snonce:%s:%s", c.KeyPrefix, req.KeyID, req.Nonce)
	fresh, err := c.Redis.SetNX(ctx, key, "", 2*protocol.MaxSkew+clocks).Result()
	if err != nil {
		return redisDown("nonce", err)
	}
	if !fresh {
		return refuse("REPLAYED")
	}
	if c.from.caller.Device == "" {
		return nil
	}
	asked := r.Header.Get(protocol.HeaderGateway)
	if asked != signer.KeyID {
		asked = "" // it signs no more, or never was a key
	}
	return c.Service.TerminalSeen(ctx, c.from.caller, asked)
}

// signedBy finds whose key it is: a device's; or, for who is to become one, the key that he shows.
func (c *call) signedBy(ctx context.Context, keyID string) (*envelope, error) {
	if c.route.who == anyone {
		in, err := decode[protocol.Enrol](c.body)
		if err != nil {
			return nil, err
		}
		if in.Public.IsZero() || in.Public.KeyID() != keyID {
			return nil, refuse("DEVICE_REFUSED")
		}
		return &envelope{keyID: keyID, public: in.Public}, nil
	}
	caller, public, err := c.Service.Terminal(ctx, keyID)
	if err != nil {
		return nil, err
	}
	c.Set(callerKey, caller.Participant)
	return &envelope{caller, keyID, public}, nil
}

// sealWith has whatever is answered from now on signed: by this gateway key, as the answer to this request.
func (c *call) sealWith(signer transfer.AnswerSigner, req protocol.Request) {
	digest := req.Digest()
	c.Set(sealKey, func(h http.Header, status int, body []byte) error {
		answer := protocol.Response{Channel: signer.Channel, Gateway: signer.KeyID, Request: digest, Status: status, Body: body}
		return answer.Seal(h, signer.Sign)
	})
}

// sealedJSON checks the type of a body that has been read with its envelope.
func (c *call) sealedJSON() error {
	kind, _, err := mediaType(c.Request().Header)
	if err != nil {
		return err
	}
	if kind != "application/json" {
		return refuse("CONTENT_TYPE_UNSUPPORTED")
	}
	return nil
}
