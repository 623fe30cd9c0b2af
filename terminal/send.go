package terminal

import (
	"context"
	"errors"
	"slices"
	"time"

	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// passing are refusals that may be another thing the next time: of this moment, not of the request.
var passing = []string{
	"UNAVAILABLE", "LOT_BUSY", "TRADE_BUSY", "RATE_LIMITED", "REQUEST_TIMEOUT", "REQUEST_ABANDONED", "INTERNAL", "CLOCK_SKEW", "REPLAYED",
	"DEVICE_REFUSED", "LOOKUP_LIMIT", "CUSTODY_SEALED", "KEY_INACTIVE",
}

// stopping are refusals of this terminal, whatever it sends: a person has to mend something before the next one goes out.
var stopping = []string{"CLOCK_SKEW", "DEVICE_REFUSED"}

// Send sends what is in the queue, oldest first, each request as the same bytes as ever, under an envelope of its own. One that
// is refused or committed has ended; one whose answer was lost, or isn't the gateway's, is sent again by the next Send, and the
// platform knows it by its ID. It stops at the first that got no answer, or where the terminal itself is
// refused. Errors: OFFLINE, CLOCK_SKEW, DEVICE_REFUSED and the refusals of answers; what became of each request stands in the
// queue.
func (t *Terminal) Send(ctx context.Context) ([]Entry, error) {
	queue, err := t.state.Queue()
	if err != nil {
		return nil, err
	}
	var sent []Entry
	for _, e := range queue {
		if e.Ended() {
			continue
		}
		e, err := t.sendOne(ctx, e)
		sent = append(sent, e)
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// Deliver sends the queue until an entry has ended, or for as long as patience allows, and answers the entry. What is being sent
// when patience ends is not cut off: a large request takes the platform its time, and would take it again.
func (t *Terminal) Deliver(ctx context.Context, sequence uint64, patience time.Duration) (Entry, error) {
	late := time.After(patience)
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		_, err := t.Send(ctx)
		queue, failed := t.state.Queue()
		if failed != nil {
			return Entry{}, failed
		}
		i := slices.IndexFunc(queue, func(e Entry) bool { return e.Sequence == sequence })
		if i < 0 {
			return Entry{}, failf("STATE_CORRUPT", "entry %d of the queue is gone", sequence)
		}
		if err != nil || queue[i].Ended() {
			return queue[i], err
		}
		select {
		case <-ctx.Done():
			return queue[i], nil
		case <-late:
			return queue[i], nil
		case <-time.After(pause):
		}
	}
}

// sendOne sends an entry once. An error means that there was no answer, or none that says anything of the request.
func (t *Terminal) sendOne(ctx context.Context, e Entry) (Entry, error) {
	in, req, err := e.submission()
	if err != nil {
		return e, err
	}
	if req.Channel = t.profile.Channel; req.ID() != e.RequestID || in.Signature.KeyID == "" {
		return e, failf("STATE_CORRUPT", "entry %d of the queue is not what was signed", e.Sequence)
	}
	e, err = t.state.change(e.Sequence, func(e *Entry) { e.State, e.Attempts, e.Error = Sent, e.Attempts+1, nil })
	if err != nil {
		return e, err
	}
	t.state.pass(AtSending)
	var got protocol.Submitted
	err = t.client.postBytes(ctx, protocol.PathSubmit, e.Body, &got)
	t.state.pass(AtSent)
	if err == nil {
		err = t.believe(ctx, e, got)
	}
	if refusal, status := refusedByGateway(err); refusal != nil {
		why := &protocol.Refusal{Code: refusal.Code}
		why.Message, _ = refusal.Facts["message"].(string)
		final := status < 500 && !slices.Contains(passing, refusal.Code)
		e, err = t.note(e, func(e *Entry) {
			if e.Error = why; final {
				e.State, e.EndedAt = Failed, t.now().UnixMilli()
			}
		})
		if err == nil && slices.Contains(stopping, refusal.Code) {
			err = refusal
		}
		return e, err
	}
	if err != nil {
		return e, err
	}
	e, err = t.note(e, func(e *Entry) {
		switch e.TxID, e.BlockNumber, e.Error = got.TxID, got.BlockNumber, got.Error; got.State {
		case "committed":
			e.State, e.EndedAt, e.Error = Committed, t.now().UnixMilli(), nil
		case "failed":
			e.State, e.EndedAt = Failed, t.now().UnixMilli()
		}
	})
	if err == nil && e.State == Committed {
		// So that the platform shows what the ledger knows. It gets there without us, too.
		_ = t.client.post(ctx, protocol.PathSuccess, protocol.Success{TxID: e.TxID}, new(protocol.Settled))
	}
	return e, err
}

func (t *Terminal) note(e Entry, do func(*Entry)) (Entry, error) {
	e, err := t.state.change(e.Sequence, do)
	if err == nil {
		t.state.pass(AtNoted)
	}
	return e, err
}

// believe holds what the platform says of a request against the transaction that it names: the ledger's record of it must hold
// the very bytes that were signed, and this terminal's key. Errors: SUBMITTED_WRONG, TX_WRONG.
func (t *Terminal) believe(ctx context.Context, e Entry, got protocol.Submitted) error {
	states := []string{"accepted", "signed", "submitted", "committed", "failed"}
	switch {
	case got.RequestID != e.RequestID:
		return failf("SUBMITTED_WRONG", "it is about another request")
	case !slices.Contains(states, got.State) || got.State == "failed" && got.Error == nil:
		return failf("SUBMITTED_WRONG", "state %q", got.State)
	case got.State != "committed":
		return nil
	case got.TxID == "":
		return failf("SUBMITTED_WRONG", "committed, by no transaction")
	}
	in, req, err := e.submission()
	if err != nil {
		return err
	}
	req.Channel = t.profile.Channel
	var tx protocol.Transaction
	if err := t.query(ctx, protocol.Query{What: protocol.QueryTransaction, TxID: got.TxID}, &tx); err != nil {
		if refusal, status := refusedByGateway(err); refusal != nil && status < 500 && refusal.Code == "NOT_FOUND" {
			return Refusal("TX_WRONG").With("tx", got.TxID)
		}
		return errors.Join(&Error{Code: "TX_UNCHECKED"}, unanswered(err))
	}
	on := request.Request{Channel: req.Channel, Contract: tx.Contract, Function: tx.Function, Args: tx.Args}
	// Another terminal of the organisation may have confirmed the same trade: the act is one, the signature the other's.
	if tx.TxID != got.TxID || tx.BlockNumber != got.BlockNumber || tx.Validation != "VALID" || tx.RequestID != e.RequestID || on.ID() != e.RequestID ||
		len(tx.Signers) == 0 || in.Openings != nil && !slices.Contains(tx.Signers, in.Signature.KeyID) {
		return Refusal("TX_WRONG").With("tx", got.TxID)
	}
	return nil
}

// unanswered makes of a refusal of another request an error without its status: it is no word on this one.
func unanswered(err error) error {
	if refusal, _ := refusedByGateway(err); refusal != nil {
		return errors.New(refusal.Code)
	}
	return err
}
