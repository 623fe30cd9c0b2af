package handler

import (
	"errors"
	"fmt"
	"time"

	"cardflow/transfer"
)

// wrongCode is the one answer to every code that leads this caller nowhere.
const wrongCode = "TRADE_CODE_NOT_FOUND"

// guessed makes a call that shows a trade code, under all the guards against guessing: how often this address and
// everybody may look, how often this person, this address and everybody may be wrong.
//
// A wrong guess answers the same bytes after the same time, whatever was wrong: whoever measures must not learn that a
// code exists, or existed. The wait is a multiple of Mask from the request's arrival here, so that a lookup that takes
// longer than one Mask shows no more than that.
func (c *call) guessed(code, last6 string, do func() error) error {
	start := c.Clock.Now()
	ctx, address := c.ctx(), addressKey(c.RealIP())
	for _, check := range []func() error{
		func() error {
			return c.limits.take(ctx, "RATE_LIMITED", "lookups:"+address, c.Limits.LookupsPerAddress)
		},
		func() error { return c.limits.take(ctx, "RATE_LIMITED", "lookups", c.Limits.LookupsPlatform) },
		func() error {
			return c.limits.peek(ctx, "LOOKUP_LIMIT", "wrong:"+address, c.Limits.WrongCodesPerAddress)
		},
		func() error { return c.limits.peek(ctx, "LOOKUP_LIMIT", "wrong", c.Limits.WrongCodesPlatform) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	// The name of a guess is the same for lookup and confirm: he who may look may confirm, at once.
	leave, err := c.guard.enter(ctx, "LOOKUP_LIMIT", "code:"+c.caller().Participant, code+"\x00"+last6, c.Limits.WrongCodes)
	if err != nil {
		return err
	}
	err = do()
	wrong := transfer.CodeOf(err) == wrongCode
	// Counted before the wait, so that the next guess, if it comes meanwhile, finds this one.
	if leaveErr := leave(wrong); leaveErr != nil {
		return errors.Join(leaveErr, err)
	}
	if !wrong {
		return err
	}
	for key, rate := range map[string]Rate{"wrong:" + address: c.Limits.WrongCodesPerAddress, "wrong": c.Limits.WrongCodesPlatform} {
		// Over the limit by guesses in flight: peek refuses the next one.
		var over *refusal
		if err := c.limits.take(ctx, "LOOKUP_LIMIT", key, rate); err != nil && !errors.As(err, &over) {
			return err
		}
	}
	if err := c.mask(start); err != nil {
		return err
	}
	return refuse(wrongCode) // without whatever details the error had
}

// mask waits until a whole number of Masks has passed since start.
func (c *call) mask(start time.Time) error {
	passed := c.Clock.Now().Sub(start)
	select {
	case <-c.Clock.After(c.Mask - passed%c.Mask):
		return nil
	case <-c.ctx().Done():
		return fmt.Errorf("mask: %w", c.ctx().Err())
	}
}
