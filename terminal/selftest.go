package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"cardflow/terminal/protocol"
)

// Verdict is what one check of a self-test found; Fault is empty if all is well.
type Verdict struct {
	Name  string `json:"name"`
	Fault string `json:"fault,omitempty"`
}

func verdict(name string, err error) Verdict {
	if err != nil {
		return Verdict{name, err.Error()}
	}
	return Verdict{Name: name}
}

// CheckVectors holds this program against the published vectors.
func CheckVectors() Verdict {
	v, err := protocol.ReadVectors()
	if err == nil {
		err = v.Check()
	}
	return verdict("vectors", err)
}

// SelfTest tries the gateway: that it answers under its signature, refusals too, and refuses what it must. Nothing is changed by
// it but its memory of nonces.
func (t *Terminal) SelfTest(ctx context.Context) []Verdict {
	body, err := json.Marshal(protocol.Query{What: protocol.QueryDevice})
	if err != nil {
		return []Verdict{verdict("query", err)}
	}
	envelope := func() protocol.Request { return t.client.envelope(protocol.PathQuery, body) }
	var out []Verdict
	add := func(name string, err error) { out = append(out, verdict(name, err)) }

	add("gateway", t.repin(ctx))
	var d protocol.Device
	add("device", t.query(ctx, protocol.Query{What: protocol.QueryDevice}, &d))
	add("refusal-signed", instead("FIELD_INVALID", t.query(ctx, protocol.Query{What: "nothing-of-that-name"}, &d)))

	once := envelope()
	h, err := t.client.sealed(once)
	if err == nil {
		_, err = t.client.send(ctx, once, h.Clone())
	}
	add("once", err)
	add("replay", t.client.refuses(ctx, "REPLAYED", once, h))

	late := envelope()
	late.Time -= 2 * protocol.MaxSkew.Milliseconds()
	h, err = t.client.sealed(late)
	add("clock", errors.Join(err, t.client.refuses(ctx, "CLOCK_SKEW", late, h)))

	moved := envelope()
	h, err = t.client.sealed(moved)
	moved.Path = protocol.PathSuccess
	add("route", errors.Join(err, t.client.refuses(ctx, "DEVICE_REFUSED", moved, h)))

	changed := envelope()
	h, err = t.client.sealed(changed)
	changed.Body = append([]byte(nil), body[:len(body)-1]...)
	changed.Body = append(changed.Body, " }"...)
	add("body", errors.Join(err, t.client.refuses(ctx, "DEVICE_REFUSED", changed, h)))

	add("stranger", t.client.stranger(ctx, envelope()))
	add("no-envelope", t.client.bare(ctx, envelope(), http.Header{"Content-Type": {"application/json"}}))
	return out
}

// sealed puts an envelope into headers.
func (c *Client) sealed(req protocol.Request) (http.Header, error) {
	h := http.Header{"Content-Type": {"application/json"}}
	return h, req.Seal(h, c.element.Sign)
}

// refuses sends what must be refused with a code, under the gateway's signature.
func (c *Client) refuses(ctx context.Context, code string, req protocol.Request, h http.Header) error {
	a, err := c.send(ctx, req, h.Clone())
	if err == nil {
		err = c.read(req, a, new(json.RawMessage))
	}
	return instead(code, err)
}

// instead is nil if err is the refusal that was to come.
func instead(code string, err error) error {
	if refusal, _ := refusedByGateway(err); refusal != nil && refusal.Code == code {
		return nil
	}
	if err == nil {
		return fmt.Errorf("let through, instead of %s", code)
	}
	return fmt.Errorf("%w, instead of %s", err, code)
}

// stranger asks by a key that nobody knows.
func (c *Client) stranger(ctx context.Context, req protocol.Request) error {
	key, err := newPasser()
	if err != nil {
		return err
	}
	defer key.Lock()
	req.KeyID = key.Public().KeyID()
	h := http.Header{"Content-Type": {"application/json"}}
	err = req.Seal(h, key.Sign)
	return errors.Join(err, c.refuses(ctx, "DEVICE_REFUSED", req, h))
}

// bare sends what is no envelope; that refusal alone isn't signed.
func (c *Client) bare(ctx context.Context, req protocol.Request, h http.Header) error {
	a, err := c.exchange(ctx, req, h.Clone())
	if err != nil {
		return err
	}
	return instead("ENVELOPE_INVALID", c.read(req, a, new(json.RawMessage)))
}
