package transfer

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"cardflow/gm"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// A request that a terminal has signed becomes an act that is signed already: it has one attempt, and is never planned anew,
// for nobody here can sign it again. Its name for being asked twice is the request's ID. What its terminal can be told at
// once is checked before it is accepted, and nothing is stored of what is refused; the contract checks all of it once more.

// submission is a signed request, read.
type submission struct {
	request  request.Request
	id       string // the request's
	body     request.Body
	by       request.Signature
	openings request.Openings
	code     string
	last6    string
}

// SubmitSigned relays a request that a terminal of the caller's organisation has signed, and waits a little for its end. Sent
// again it is the same act, whichever server gets it, and also long after it has ended; a second signature under the same
// request counts only if the act of the first one has failed and made no lots. Errors: whatever the ledger would certainly
// say, and codes of its own where the terminal has to mend something.
func (s *Service) SubmitSigned(ctx context.Context, c Caller, in protocol.Submit) (protocol.Submitted, error) {
	sub, err := s.readSubmission(in)
	if err != nil {
		return protocol.Submitted{}, err
	}
	a, found, err := s.submitted(ctx, c, sub)
	if err != nil {
		return protocol.Submitted{}, err
	}
	if !found {
		if a.ID, err = s.acceptSubmission(ctx, c, sub); err != nil {
			if a, err = s.afterRefusal(ctx, c, sub, err); err != nil {
				return protocol.Submitted{}, err
			}
		}
	}
	wait, cancel := context.WithTimeout(ctx, s.Relay.AnswerWithin)
	defer cancel()
	end, err := s.Await(wait, a.ID)
	return submittedView(sub.id, end), err
}

// TerminalRequest says how far a request of the caller's organisation is. One that is not known here was never accepted, or
// was in a database that was lost since: whoever sends it again is told what the ledger says.
func (s *Service) TerminalRequest(ctx context.Context, c Caller, requestID string) (protocol.Submitted, error) {
	var a model.Act
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		a, err = tx.ActByRequest(c.Participant, requestID)
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		err = fail("NOT_FOUND")
	}
	return submittedView(requestID, actView(a)), err
}

func submittedView(requestID string, a Act) protocol.Submitted {
	v := protocol.Submitted{RequestID: requestID, State: a.State, TxID: a.TxID, BlockNumber: a.BlockNumber}
	if a.Error != nil {
		v.Error = &protocol.Refusal{Code: a.Error.Code, Message: a.Error.Message}
	}
	return v
}

// readSubmission reads a request in its one spelling.
func (s *Service) readSubmission(in protocol.Submit) (submission, error) {
	if !slices.Contains(protocol.Functions, in.Function) {
		return submission{}, fail("KEY_FUNCTION")
	}
	body, err := decodeBody(in.Function, []byte(in.Args))
	if err != nil || body.Contract() != in.Contract {
		return submission{}, &Error{Code: "REQUEST_INVALID", Err: err}
	}
	sub := submission{
		request: request.New(s.Ledger.Channel(), body), body: body, by: in.Signature, code: in.Code, last6: in.ICCIDLast6,
	}
	sub.id = sub.request.ID()
	if in.Openings != nil {
		sub.openings = *in.Openings
	}
	return sub, nil
}

// submitted finds the act of a request that was accepted before. One that has failed may be asked for again with another
// signature, unless it names lots: each is made once, so its terminal draws others.
func (s *Service) submitted(ctx context.Context, c Caller, sub submission) (a model.Act, found bool, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		a, found, err = s.submittedIn(tx, c, sub)
		return err
	})
	return a, found, err
}

func (s *Service) submittedIn(tx *model.Tx, c Caller, sub submission) (model.Act, bool, error) {
	a, err := tx.ActByRequest(c.Participant, sub.id)
	if errors.Is(err, model.ErrNotFound) {
		return a, false, nil
	}
	if err != nil || a.State != model.ActFailed || makesLots(a.Function) {
		return a, err == nil, err
	}
	f, err := s.fieldsOf(a)
	same := f.Given != nil && f.Given.KeyID == sub.by.KeyID && f.Given.NotAfter == sub.by.NotAfter && bytes.Equal(f.Given.Bytes, sub.by.Bytes)
	return a, same, err
}

// acceptSubmission checks a request and accepts it.
func (s *Service) acceptSubmission(ctx context.Context, c Caller, sub submission) (id string, err error) {
	if err := s.checkSignature(ctx, c, sub); err != nil {
		return "", err
	}
	longest := s.now() + model.Millis(s.policy(ctx, request.PolicyNotAfterMax)+clockTolerance)
	run := func(tx *model.Tx) error {
		// Whoever submits the same at this moment is waited for here, and found below.
		if err := s.lockSubject(tx, c, sub.body); err != nil {
			return err
		}
		a, found, err := s.submittedIn(tx, c, sub)
		if id = a.ID; found || err != nil {
			return err
		}
		d := draft{ID: s.newID(), Body: sub.body, Actor: c.Participant, Person: c.Person, Fields: fields{Given: &sub.by}, Deadline: model.Millis(sub.by.NotAfter) + 1}
		if id, err = d.ID, s.acceptDraft(tx, c, sub, d, longest); err == nil {
			s.at(AtAccepting)
		}
		return err
	}
	err = s.DB.Write(ctx, run)
	if errors.Is(err, model.ErrConflict) {
		err = s.DB.Write(ctx, run) // another one has just taken a lot, a trade or a code of this name: this one finds it
	}
	if errors.Is(err, model.ErrConflict) {
		err = fail("CODE_TAKEN") // by someone who is nobody's business
	}
	if err != nil {
		return "", err
	}
	s.at(AtAccepted)
	s.kick()
	return id, nil
}

// clockTolerance is by how much, in ms, the ledger's clock may be off from this machine's: what lies within it the ledger
// decides.
const clockTolerance = 2 * 60 * 1000

// checkSignature says what the contract will say of a signature, before anything is accepted.
func (s *Service) checkSignature(ctx context.Context, c Caller, sub submission) error {
	stopped := false // here, before the ledger has it
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		d, err := tx.DeviceByKey(sub.by.KeyID)
		stopped = err == nil && d.Participant == c.Participant && d.State != model.DeviceActive
		return present(err)
	})
	if err == nil && stopped {
		err = fail(contract.KeyInactive)
	}
	if err != nil {
		return err
	}
	k, err := query[contract.Key](ctx, s.Ledger, request.Identity, "GetKey", sub.by.KeyID)
	var refusal *contract.Error
	switch {
	case errors.As(err, &refusal):
		return &Error{Code: contract.KeyUnknown, Err: err}
	case err != nil:
		return err
	case k.Participant != c.Participant || k.Kind != request.DeviceKey:
		return fail(contract.KeyUnknown) // whose it is, is not told
	case k.Status != contract.KeyActive || k.ValidUntil != 0 && int64(s.now()) >= k.ValidUntil:
		return fail(contract.KeyInactive)
	case len(k.Functions) > 0 && !slices.Contains(k.Functions, sub.request.Function):
		return fail(contract.KeyFunction)
	case gm.Verify(k.Public, sub.request.SigningBytes(sub.by.KeyID, sub.by.NotAfter), sub.by.Bytes) != nil:
		return fail("REQUEST_SIGNATURE_WRONG")
	case sub.by.NotAfter < int64(s.now()):
		return fail(contract.RequestExpired)
	}
	return nil
}

// lockSubject keeps others from accepting the same request: all that make it lock the same row.
func (s *Service) lockSubject(tx *model.Tx, c Caller, body request.Body) error {
	trade := ""
	switch b := body.(type) {
	case request.Confirm:
		trade = b.Trade
	case request.Decline:
		trade = b.Trade
	case request.Cancel:
		trade = b.Trade
	default:
		return tx.LockParticipant(c.Participant)
	}
	_, err := tx.LockTrade(trade)
	return ignore(err, model.ErrNotFound) // what a code leads to says whether there is one
}

// acceptDraft accepts what was submitted, as its function is accepted from the console.
func (s *Service) acceptDraft(tx *model.Tx, c Caller, sub submission, d draft, longest model.Millis) error {
	switch sub.body.(type) {
	case request.Confirm, request.Decline, request.Cancel:
		return s.acceptSignedEnd(tx, c, sub, d, longest) // its signature may last as long as the trade
	}
	if model.Millis(sub.by.NotAfter) > longest {
		return fail("NOT_AFTER_WRONG")
	}
	switch b := sub.body.(type) {
	case request.Offer:
		return s.acceptSignedOffer(tx, c, sub, d, b, "")
	case request.Return:
		return s.acceptSignedOffer(tx, c, sub, d, b.Offer, b.Reverses)
	case request.Merge:
		return s.acceptSignedMerge(tx, c, sub, d, b)
	}
	return s.acceptKeyAct(tx, c, sub, d)
}

// acceptKeyAct accepts what a terminal asks for its own key: no other one's.
func (s *Service) acceptKeyAct(tx *model.Tx, c Caller, sub submission, d draft) error {
	switch b := sub.body.(type) {
	case request.SuspendKey:
		d.Subject = b.Key
	case request.RevokeKey:
		d.Subject = b.Key
	case request.RotateKey:
		d.Subject = b.OldKey
		if b.Participant != c.Participant {
			return fail("FORBIDDEN")
		}
	}
	if d.Subject != sub.by.KeyID {
		return fail("FORBIDDEN")
	}
	_, err := s.accept(tx, d)
	return err
}

// afterRefusal looks at a request once more that was refused: it may be refused for what it has done itself, by another
// server at this very moment, or before the database was put back to an older copy. The ledger knows.
func (s *Service) afterRefusal(ctx context.Context, c Caller, sub submission, refused error) (model.Act, error) {
	var refusal *Error
	if !errors.As(refused, &refusal) {
		return model.Act{}, refused
	}
	if a, found, err := s.submitted(ctx, c, sub); err != nil || found {
		return a, err
	}
	t, err := s.appliedBy(ctx, c, sub)
	if err != nil {
		return model.Act{}, err
	}
	if t.ID == "" {
		return model.Act{}, refused
	}
	a := model.Act{
		ID: s.newID(), Function: t.Function, Contract: t.Contract, Actor: c.Participant, Person: c.Person, Subject: subjectOf(sub.body),
		State: model.ActCommitted, KeyID: sub.by.KeyID, NotAfter: model.Millis(sub.by.NotAfter), Sent: true, SentAt: model.MillisOf(t.Time),
		CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	s.carriedOut(t)(&a)
	if a.FieldsSealed, err = s.sealFields(a, fields{Given: &sub.by}); err != nil {
		return a, err
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error { return tx.AddAct(a) })
	if errors.Is(err, model.ErrConflict) { // another server has just noted it
		var found bool
		if a, found, err = s.submitted(ctx, c, sub); err == nil && !found {
			err = refused
		}
	}
	return a, err
}

// subjectOf is what a submitted request is about.
func subjectOf(body request.Body) string {
	switch b := body.(type) {
	case request.Confirm:
		return b.Trade
	case request.Decline:
		return b.Trade
	case request.Cancel:
		return b.Trade
	case request.Merge:
		if len(b.Inputs) > 0 {
			return slices.Min(b.Inputs)
		}
	case request.SuspendKey:
		return b.Key
	case request.RevokeKey:
		return b.Key
	case request.RotateKey:
		return b.OldKey
	}
	return ""
}

// appliedBy finds the transaction of the ledger that has carried out a request of which nothing is known here, by what it has
// made. None is the usual case.
func (s *Service) appliedBy(ctx context.Context, c Caller, sub submission) (ledger.Transaction, error) {
	var ids []string
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		ids = nil
		offered := func(o request.Offer) error {
			if o.Seller != c.Participant || len(o.Outputs) == 0 {
				return nil
			}
			t, err := tx.Trade(o.Outputs[0].Trade)
			ids = append(ids, t.OfferTx)
			return present(err)
		}
		ended := func(trade string) error {
			t, err := tx.Trade(trade)
			if t.Receiver == c.Participant || t.Seller == c.Participant {
				ids = append(ids, t.EndTx)
			}
			return present(err)
		}
		switch b := sub.body.(type) {
		case request.Offer:
			return offered(b)
		case request.Return:
			return offered(b.Offer)
		case request.Confirm:
			return ended(b.Trade)
		case request.Decline:
			return ended(b.Trade)
		case request.Cancel:
			return ended(b.Trade)
		case request.Merge:
			l, err := tx.Lot(b.Output)
			if l.Owner == c.Participant {
				ids = append(ids, l.MadeTx)
			}
			return present(err)
		}
		return nil
	})
	if err != nil {
		return ledger.Transaction{}, err
	}
	switch sub.body.(type) {
	case request.SuspendKey, request.RevokeKey, request.RotateKey:
		history, err := query[[]contract.KeyVersion](ctx, s.Ledger, request.Identity, "KeyHistory", subjectOf(sub.body))
		if err == nil {
			for _, v := range history {
				if v.Key.Participant == c.Participant {
					ids = append(ids, v.TxID)
				}
			}
		}
	}
	for _, id := range ids {
		if id == "" {
			continue
		}
		t, err := s.Ledger.Transaction(ctx, id)
		if errors.Is(err, ledger.ErrNotFound) {
			continue
		}
		if err != nil {
			return ledger.Transaction{}, err
		}
		if req, ok := s.requestOf(t); ok && t.Validation == ledger.Valid && req.ID() == sub.id {
			return t, nil
		}
	}
	return ledger.Transaction{}, nil
}
