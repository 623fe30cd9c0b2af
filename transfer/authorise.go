package transfer

import (
	"context"
	"errors"
	"time"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Before an act is accepted custody is told what the person who is logged in asks for, and as which act: keys of people
// and organisations sign nothing that custody doesn't know from themselves. A crash after this leaves an authorisation of an
// act that never comes to be.

// wish is what a person asks for as one act.
type wish struct {
	act   string
	body  request.Body // as far as it is his to decide; see custody.Authorise
	until model.Millis // after which nothing is signed by it
}

// patient is how long what was asked for waits for its signature: an act that was not sent by then has failed.
const patient = signWithin

// spare is by how much an authorisation outlives the act: custody has its own clock.
const spare = time.Hour

// asks is a wish without a time of its own.
func (s *Service) asks(act string, body request.Body) wish {
	return wish{act, body, s.patience() + model.Millis(spare.Milliseconds())}
}

// patience is the deadline of an act that is accepted now and has no time of its own.
func (s *Service) patience() model.Millis { return s.now() + model.Millis(patient.Milliseconds()) }

// authorised has custody store what a caller asks for, unless he has asked before. wishes answers it as things stand; none
// is fine: then whoever accepts will say why not.
func (s *Service) authorised(ctx context.Context, c Caller, idem Idem, wishes func(tx *model.Tx) ([]wish, error)) error {
	if idem.Key == "" {
		return fail("IDEMPOTENCY_KEY_REQUIRED")
	}
	var list []wish
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		list = nil
		_, err := tx.Recall(c.actor(), idem.Route, idem.Key)
		if errors.Is(err, model.ErrNotFound) {
			list, err = wishes(tx)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.authorise(ctx, c, list...)
}

// authorise has custody store wishes of whoever shows his session.
func (s *Service) authorise(ctx context.Context, c Caller, wishes ...wish) error {
	for _, w := range wishes {
		err := s.Signer.Authorise(ctx, c.Session, w.act, w.body, int64(w.until))
		if err = unauthorised(err); err != nil {
			return err
		}
	}
	if len(wishes) > 0 {
		s.at(AtAuthorised)
	}
	return nil
}

// unauthorised is what a person is told whose wish custody has not taken.
func unauthorised(err error) error {
	switch {
	case errors.Is(err, ErrSessionOver), errors.Is(err, ErrLoginOld):
		return &Error{Code: "LOGIN_TOO_OLD", Err: err}
	case errors.Is(err, ErrCustodyAway), errors.Is(err, ErrSealed):
		return &Error{Code: "UNAVAILABLE", Err: err}
	case errors.Is(err, ErrKeyStopped):
		return &Error{Code: "KEY_STOPPED", Err: err}
	case errors.Is(err, ErrTooLate): // the only wishes with an end of their own are those about a trade
		return &Error{Code: "TRADE_EXPIRED", Err: err}
	}
	return err
}

// onTrade is what a caller asks for on a trade. once is a function that is asked for once on a trade: whoever did, perhaps
// on another phone, has asked for it already.
func (s *Service) onTrade(c Caller, act, once string, find func(tx *model.Tx) (model.Trade, error), body func(model.Trade) request.Body) func(tx *model.Tx) ([]wish, error) {
	return func(tx *model.Tx) ([]wish, error) {
		t, err := find(tx)
		if err != nil {
			return nil, err
		}
		if once != "" {
			if _, err := s.ownAct(tx, c, t, once); !errors.Is(err, model.ErrNotFound) {
				return nil, err
			}
		}
		w := s.asks(act, body(t))
		switch w.body.(type) {
		case request.Confirm, request.Decline:
			if w.until = t.ExpiresAt; s.now() >= w.until {
				return nil, nil // it is too late, and nothing is accepted
			}
		}
		return []wish{w}, nil
	}
}

// drawn is a lot that an act is going to make: its hash is what its owner asks for, so it is drawn before he does.
type drawn struct {
	cards iccid.Set
	hash  string
	salt  []byte
}

func draw(cards iccid.Set, salt [32]byte) drawn {
	hash, opening := request.OpeningOf(cards, salt)
	return drawn{cards, hash, opening.Salt}
}

// drawAll draws a lot of each set.
func (s *Service) drawAll(sets ...iccid.Set) []drawn {
	out := make([]drawn, len(sets))
	for i, set := range sets {
		out[i] = draw(set, s.salt())
	}
	return out
}

// drawFrom draws lots that can be drawn again: by a job that takes hours, and may be another server's by then.
func drawFrom(seed []byte, sets ...iccid.Set) []drawn {
	salts := gm.Secret(seed)
	out := make([]drawn, len(sets))
	for i, set := range sets {
		out[i] = draw(set, [32]byte(gm.Derive(salts, set.Canonical(), 32)))
	}
	return out
}
