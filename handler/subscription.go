package handler

import (
	"context"
	"errors"
	"net/http"

	"cardflow/transfer"
)

// Subscribers are consumers who let messages be sent to them.
type Subscribers interface {
	// Subscribe notes that the caller lets one message of a kind be sent to him. SUBSCRIPTION_INVALID: there is no such kind.
	Subscribe(ctx context.Context, c transfer.Caller, idem transfer.Idem, kind string) error
}

// templates are never nil: none is {}.
func (s *server) templates() map[string]string {
	if s.Templates == nil {
		return map[string]string{}
	}
	return s.Templates
}

// subscribe is POST /me/subscriptions.
func subscribe(c *call) error {
	type input struct {
		Kind string `json:"kind"`
	}
	in, err := bind(c, func(in input) error { return errors.Join(required("kind", in.Kind), bounded(64, "kind", in.Kind)) })
	if err != nil {
		return err
	}
	if err := c.Service.Subscribe(c.ctx(), c.caller(), c.idem(), in.Kind); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
