package terminal

import (
	"context"
	"encoding/json"
	"net/http"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

// meet asks a gateway for its keys and believes the one that a ticket names: a person has carried its ID here, and the ID is a
// hash of the key. Errors: GATEWAY_NOT_TICKETS if the gateway has no such key, ANSWER_… if that key hasn't signed the answer.
func (c *Client) meet(ctx context.Context, keyID string) (protocol.Gateway, error) {
	n := protocol.NewNonce()
	a, err := c.exchange(ctx, protocol.Asking("", n), askingHeader(n, keyID))
	if err != nil {
		return protocol.Gateway{}, err
	}
	var g protocol.Gateway
	if err := json.Unmarshal(a.body, &g); err != nil || a.status != http.StatusOK {
		if a.header.Get(protocol.HeaderSignature) == "" {
			return g, Refusal("ANSWER_UNSIGNED").With("http", a.status)
		}
		return g, failf("ANSWER_MALFORMED", "status %d", a.status)
	}
	c.channel, c.pins = g.Channel, nil // which channel it is, the signature says
	for _, k := range g.Keys {
		if k.ID == keyID && k.Public.KeyID() == keyID {
			c.pins = []gm.PublicKey{k.Public}
		}
	}
	if c.pins == nil {
		return g, Refusal("GATEWAY_NOT_TICKETS").With("key", keyID)
	}
	return g, c.check(protocol.Asking(c.channel, n), a)
}

// keys asks for the list of gateway keys; signer is the pinned one that has signed it.
func (c *Client) keys(ctx context.Context) (g protocol.Gateway, signer string, err error) {
	n := protocol.NewNonce()
	req := protocol.Asking(c.channel, n)
	a, err := c.send(ctx, req, askingHeader(n, ""))
	if err != nil {
		return g, "", err
	}
	if err := c.read(req, a, &g); err != nil {
		return g, "", err
	}
	if g.Channel != c.channel {
		return g, "", failf("GATEWAY_LIST_WRONG", "it names another channel")
	}
	return g, a.header.Get(protocol.HeaderGateway), nil
}

func askingHeader(n protocol.Nonce, want string) http.Header {
	h := http.Header{}
	h.Set(protocol.HeaderNonce, n.String())
	if want != "" {
		h.Set(protocol.HeaderGateway, want)
	}
	return h
}
