package transfer

import (
	"context"
	"errors"

	"cardflow/ledger/request"
	"cardflow/model"
)

// authorised names a new act about a trade and, if a consumer asks for it, tells custody so before it is accepted: his key
// signs nothing that custody doesn't know from himself. A wish that was seen before has its authorisation; so has one that he
// made on another phone (once is the function that is asked for once on a trade, if any). A crash after this leaves an
// authorisation of an act that never comes to be.
func (s *Service) authorised(ctx context.Context, c Caller, idem Idem, once string, find func(tx *model.Tx) (model.Trade, error), body func(model.Trade) request.Body) (act string, err error) {
	act = s.newID()
	if c.Role != request.Consumer {
		return act, nil
	}
	if idem.Key == "" {
		return "", fail("IDEMPOTENCY_KEY_REQUIRED")
	}
	var t model.Trade
	seen := false
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		_, err := tx.Recall(c.actor(), idem.Route, idem.Key)
		if seen = err == nil; seen || !errors.Is(err, model.ErrNotFound) {
			return err
		}
		if t, err = find(tx); err != nil || once == "" {
			return err
		}
		_, err = s.ownAct(tx, c, t, once)
		if seen = err == nil; !errors.Is(err, model.ErrNotFound) {
			return err
		}
		return nil
	})
	if err != nil || seen {
		return act, err
	}
	asked := body(t)
	notAfter := s.now() + model.Millis(signWithin.Milliseconds())
	switch asked.(type) {
	case request.Confirm, request.Decline:
		if notAfter = t.ExpiresAt; s.now() >= notAfter {
			return act, nil // it is too late, and nothing is accepted
		}
	}
	err = s.Signer.Authorise(ctx, c.Session, act, asked, int64(notAfter))
	switch {
	case errors.Is(err, ErrSessionOver), errors.Is(err, ErrLoginOld):
		err = &Error{Code: "LOGIN_TOO_OLD", Err: err}
	case errors.Is(err, ErrCustodyAway), errors.Is(err, ErrSealed):
		err = &Error{Code: "UNAVAILABLE", Err: err}
	case errors.Is(err, ErrKeyStopped):
		err = &Error{Code: "KEY_STOPPED", Err: err}
	}
	if err == nil {
		s.at(AtAuthorised)
	}
	return act, err
}
