package handler

import (
	"context"
	"errors"
	"net/http"

	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// TerminalTraders are what terminals do (paper §2.4.2 and §2.4.3): they are told what they may sign, hand in what they have
// signed, and ask what came of it.
type TerminalTraders interface {
	// TransRecentHash drafts an offer, of which nothing is kept.
	TransRecentHash(ctx context.Context, c transfer.Caller, in protocol.RecentHash) (protocol.Draft, error)
	// TransConfirm shows a trade to the one who may confirm it. With a code every failure is TRADE_CODE_NOT_FOUND.
	TransConfirm(ctx context.Context, c transfer.Caller, in protocol.ConfirmAsk) (protocol.Offered, error)
	TransSuccess(ctx context.Context, c transfer.Caller, txID string) (protocol.Settled, error)
	// SubmitSigned relays a signed request; the same request again is the same act.
	SubmitSigned(ctx context.Context, c transfer.Caller, in protocol.Submit) (protocol.Submitted, error)
	TerminalRequest(ctx context.Context, c transfer.Caller, requestID string) (protocol.Submitted, error)
	TerminalStock(ctx context.Context, c transfer.Caller, cursor string, limit int) (protocol.Stock, error)
	TerminalTrades(ctx context.Context, c transfer.Caller, state, side, cursor string, limit int) (protocol.Trades, error)
	TerminalParticipants(ctx context.Context, c transfer.Caller) (protocol.Participants, error)
	TerminalTrace(ctx context.Context, c transfer.Caller, iccid string) (protocol.Trace, error)
	TerminalTransaction(ctx context.Context, c transfer.Caller, txID string) (protocol.Transaction, error)
}

// transRecentHash is POST /terminal/transRecentHash.
func transRecentHash(c *call) error {
	in, err := bind(c, func(in protocol.RecentHash) error {
		return bounded(128, "mode", string(in.Mode), "to", in.To, "reverses", in.Reverses)
	})
	if err != nil {
		return err
	}
	draft, err := c.Service.TransRecentHash(c.ctx(), c.caller(), in)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, draft)
}

// transConfirm is POST /terminal/transConfirm.
func transConfirm(c *call) error {
	in, err := bind(c, func(in protocol.ConfirmAsk) error {
		return bounded(64, "trade", in.Trade, "code", in.Code, "iccidLast6", in.ICCIDLast6)
	})
	if err != nil {
		return err
	}
	var offered protocol.Offered
	if err := c.mayGuess(in.Code, in.ICCIDLast6, func() (err error) {
		offered, err = c.Service.TransConfirm(c.ctx(), c.caller(), in)
		return err
	}); err != nil {
		return err
	}
	return render(c, http.StatusOK, offered)
}

// mayGuess makes a call under the guards against guessing if it shows a code or a card.
func (c *call) mayGuess(code, last6 string, do func() error) error {
	if code == "" && last6 == "" {
		return do()
	}
	return c.guessed(code, last6, do)
}

// transSuccess is POST /terminal/transSuccess.
func transSuccess(c *call) error {
	in, err := bind(c, func(in protocol.Success) error {
		return errors.Join(required("txId", in.TxID), bounded(128, "txId", in.TxID))
	})
	if err != nil {
		return err
	}
	settled, err := c.Service.TransSuccess(c.ctx(), c.caller(), in.TxID)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, settled)
}

// submit is POST /terminal/submit.
func submit(c *call) error {
	in, err := bind(c, func(in protocol.Submit) error {
		return bounded(64, "contract", in.Contract, "function", in.Function, "keyId", in.Signature.KeyID, "code", in.Code, "iccidLast6", in.ICCIDLast6)
	})
	if err != nil {
		return err
	}
	var submitted protocol.Submitted
	err = c.mayGuess(in.Code, in.ICCIDLast6, func() (err error) {
		submitted, err = c.Service.SubmitSigned(c.ctx(), c.caller(), in)
		return err
	})
	c.metrics.submitted(submitted.State, err)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, submitted)
}

// terminalPage is how many a page for a terminal may have.
const terminalPage = 200

// pageLimit refuses more; 0 is the usual page.
func pageLimit(limit int) error {
	if limit < 0 || limit > terminalPage {
		return field("limit", "应为 1 到 200")
	}
	return nil
}
