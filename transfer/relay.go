package transfer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// RelayConfig bounds the relay.
type RelayConfig struct {
	Workers int           // acts under way at once on this server
	Lease   time.Duration // within which another server has taken over what a dead one had; longer than any step takes
	Poll    time.Duration // how often to look for work that nobody announced
	// Grace is how long a transaction that was sent, and that the ledger would refuse by now, may take to turn up in a
	// block before it is given up. A peer that lags refuses wrongly, and not for so long.
	Grace      time.Duration
	BackoffMin time.Duration
	BackoffMax time.Duration
	// AnswerWithin is how long a request waits to show the end of what it asked for, before it answers how far that is.
	AnswerWithin time.Duration
}

func (c RelayConfig) withDefaults() RelayConfig {
	if c.Workers <= 0 {
		c.Workers = 64
	}
	if c.Lease <= 0 {
		c.Lease = 30 * time.Second
	}
	if c.Poll <= 0 {
		c.Poll = time.Second
	}
	if c.Grace <= 0 {
		c.Grace = 10 * time.Minute
	}
	if c.BackoffMin <= 0 {
		c.BackoffMin = 50 * time.Millisecond
	}
	if c.BackoffMax <= 0 {
		c.BackoffMax = 30 * time.Second
	}
	if c.AnswerWithin <= 0 {
		c.AnswerWithin = 5 * time.Second
	}
	return c
}

// leased is how long something is one server's. The quarter that is left of Lease is for the others to notice, on a machine
// that has enough to do with what it has taken over.
func (c RelayConfig) leased() time.Duration { return c.Lease * 3 / 4 }

// kick tells the relay that there is work.
func (s *Service) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// relay takes acts by lease and walks each as far as it goes. A server that dies keeps its leases until they run out;
// then any server takes the acts up from the state that was recorded.
//
// It begins when the database has followed the ledger to where that was at the start: a database that was put back to an
// older copy learns first what has happened to its acts, and nothing is signed again that stands in a block.
func (s *Service) relay(ctx context.Context) {
	for ctx.Err() == nil && s.comeUpToDate(ctx) != nil {
		pause(ctx, s.Relay.Poll)
	}
	free := make(chan struct{}, s.Relay.Workers)
	for range s.Relay.Workers {
		free <- struct{}{}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		for {
			n := len(free)
			if n == 0 { // whoever becomes free kicks
				if s.Crier != nil {
					s.Crier.Cry(relayWaits)
				}
				break
			}
			acts, err := s.lease(ctx, n)
			if err != nil && ctx.Err() == nil {
				s.Logger.Error("relay: lease", "error", err)
			}
			for _, a := range acts {
				<-free
				s.wg.Go(func() {
					s.carry(ctx, a)
					free <- struct{}{}
					s.kick()
				})
			}
			if len(acts) < n {
				break
			}
		}
		timer.Reset(s.Relay.Poll)
	}
}

// comeUpToDate waits for the listener, and lets custody know.
func (s *Service) comeUpToDate(ctx context.Context) error {
	err := s.CatchUp(ctx)
	if err == nil {
		err = s.Signer.Reconciled(ctx)
	}
	return err
}

func (s *Service) lease(ctx context.Context, n int) (acts []model.Act, err error) {
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		now := s.now()
		acts, err = tx.LeaseActs(s.worker(), now, s.leaseEnd(), n)
		return err
	})
	if len(acts) > 0 && err == nil {
		s.at(AtLeased)
	}
	return acts, err
}

// later is why an act waits: nothing is wrong with it, its time has not come.
type later struct {
	after    time.Duration
	waitsFor string // act, if it waits for one
	err      error
}

func (l *later) Error() string { return fmt.Sprintf("later: %v", l.err) }
func (l *later) Unwrap() error { return l.err }

// errHandedOver: the act is on the ledger's side now, and the block listener will settle it.
var errHandedOver = errors.New("handed over")

// carry walks an act until it ends, has to wait, or is the listener's to settle. ctx ending stops it between two
// steps, never inside one that could be half done: each step records what it did before the next begins.
func (s *Service) carry(ctx context.Context, a model.Act) {
	for {
		if ctx.Err() != nil {
			return // the lease runs out, or this server's next start takes it up
		}
		next, err := s.step(ctx, a)
		if next.ID != "" {
			a = next // a step that ends in an error may have come some way, and what follows starts from there
		}
		if err == nil {
			s.tell(a.ID)
			if a.State.Finished() {
				return
			}
			continue
		}
		if errors.Is(err, errHandedOver) {
			return
		}
		if errors.Is(err, model.ErrState) {
			return // somebody else moved it: the listener settled it, or another server took it up
		}
		if ctx.Err() != nil {
			return
		}
		var definite *Error
		if errors.As(err, &definite) {
			s.fail(ctx, a, definite)
			return
		}
		s.postpone(ctx, a, err)
		return
	}
}

// step does the one thing that comes next.
func (s *Service) step(ctx context.Context, a model.Act) (model.Act, error) {
	if a.Deadline != 0 && !a.Sent && a.State != model.ActSubmitted && s.now() >= a.Deadline {
		if (a.Function == "Confirm" || a.Function == "Decline") && (a.NotAfter == 0 || a.Deadline <= a.NotAfter) {
			return a, fail("TRADE_EXPIRED")
		}
		return a, fail("REQUEST_EXPIRED")
	}
	switch a.State {
	case model.ActAccepted:
		switch {
		case a.KeyID == "" && a.Function != "Init":
			return s.intend(ctx, a)
		case a.NotAfter != 0 && s.now() >= a.NotAfter:
			return a, fail("REQUEST_EXPIRED") // custody signs nothing that is too late, and nothing was sent
		}
		return s.sign(ctx, a)
	case model.ActSigned:
		return s.prepare(ctx, a)
	case model.ActPrepared:
		return s.submit(ctx, a)
	case model.ActSubmitted:
		return s.enquire(ctx, a)
	}
	return a, fmt.Errorf("act %s is %s", a.ID, a.State)
}

// postpone gives an act back with a time before which nobody takes it up.
func (s *Service) postpone(ctx context.Context, a model.Act, why error) {
	var l *later
	after := s.backoff(a.Tries)
	if errors.As(why, &l) {
		if l.after > 0 {
			after = l.after
		}
		a.WaitsFor = l.waitsFor
	} else {
		s.Logger.Warn("relay: will try again", "act", a.ID, "function", a.Function, "state", a.State, "tries", a.Tries, "in", after, "error", why)
	}
	a.Tries++
	a.NextAt = s.now() + model.Millis(after.Milliseconds())
	if a.Deadline > s.now() && !a.Sent {
		a.NextAt = min(a.NextAt, a.Deadline) // whoever waits for it is told when it is over
	}
	a.ErrorText = brief(why)
	a.LeaseUntil = 0
	err := s.DB.Write(ctx, func(tx *model.Tx) error { return tx.SaveAct(a) })
	if err != nil && ctx.Err() == nil && !errors.Is(err, model.ErrState) {
		s.Logger.Error("relay: postpone", "act", a.ID, "error", err)
	}
}

// brief is what a row says of an error: no more than a column takes, whatever a peer or a driver had to say.
func brief(err error) string {
	text := strings.ToValidUTF8(err.Error(), "?")
	if len(text) > mostText {
		text = strings.ToValidUTF8(text[:mostText], "") + "…"
	}
	return text
}

// mostText is in bytes.
const mostText = 4000

// either is how an act stands after a transaction: as it made it, or as it was if there was an error. A transaction runs
// again after a deadlock, so none may change the act that it starts from.
func either(next, before model.Act, err error) (model.Act, error) {
	if err != nil {
		return before, err
	}
	return next, nil
}

// backoff doubles from the least to the most, with a spread so that many acts don't come back at once.
func (s *Service) backoff(tries int) time.Duration {
	d := s.Relay.BackoffMin << min(tries, 20)
	if d <= 0 || d > s.Relay.BackoffMax {
		d = s.Relay.BackoffMax
	}
	return d/2 + time.Duration(rand.Int64N(int64(d/2)+1))
}

// intend fixes what will be signed: the body, the key and the deadline, in one transaction. For an offer this is when
// its inputs are chosen, from the cards as they stand now. A crash after it finds the act with a key and signs what is
// recorded; custody holds one digest for one attempt, so nothing else could be signed for it.
func (s *Service) intend(ctx context.Context, a model.Act) (model.Act, error) {
	f, err := s.fieldsOf(a)
	if err != nil {
		return a, err
	}
	if err := s.unaltered(a, f); err != nil {
		return a, err
	}
	if len(f.Parties) == 0 {
		return a, fmt.Errorf("act %s has no signer", a.ID)
	}
	var enrolled *request.NewKey
	if f.Enrol != nil && a.Body == nil {
		k, err := s.Signer.Enrol(ctx, f.Enrol.Participant, f.Enrol.Role, f.Enrol.Slot)
		if err != nil {
			return a, stopped(err)
		}
		enrolled = &k
	}
	var asked request.Body // from what the ledger says
	switch {
	case a.Body != nil:
	case f.Key != nil:
		asked, err = s.keyBody(ctx, a, *f.Key)
	case f.Outside != nil:
		asked, err = s.outsideBody(ctx, a, *f.Outside)
	case f.Freeze != nil:
		asked, err = s.freezeBody(ctx, a, *f.Freeze)
	case f.Approval != nil:
		asked, err = s.approvalBody(ctx, a, *f.Approval)
	}
	if err != nil {
		return a, err
	}
	key, err := s.Signer.ActiveKey(ctx, f.Parties[0].Owner, f.Parties[0].Slot)
	if err != nil {
		return a, stopped(err)
	}
	var next model.Act
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		next = a // a body that was planned in a transaction that is rolled back names lots that nobody has
		if next.Body == nil {
			body, err := asked, error(nil)
			switch {
			case f.Key != nil:
				err = turn(tx, a, *f.Key)
			case body == nil:
				body, err = s.plan(tx, a, f, enrolled)
			}
			if err != nil {
				return err
			}
			next.Body = request.Encode(body)
			if next.FieldsSealed, err = s.sealFields(next, f); err != nil {
				return err
			}
		}
		req := request.Request{Channel: s.Ledger.Channel(), Contract: a.Contract, Function: a.Function, Args: next.Body}
		next.KeyID, next.RequestID = key, req.ID()
		next.NotAfter, next.LeaseUntil = s.notAfter(tx, a), s.leaseEnd()
		if err := tx.SaveAct(next); err != nil {
			return err
		}
		s.at(AtIntending)
		return nil
	})
	if err == nil {
		s.at(AtIntended)
	}
	return either(next, a, err)
}

// signWithin is how long a signature is good: within what the ledger's policy allows by default (7 days), with a day
// to spare for clocks and queues.
const signWithin = 6 * 24 * time.Hour

// notAfter is the deadline of the signature: the trade's expiry for its receiver, else some days.
func (s *Service) notAfter(tx *model.Tx, a model.Act) model.Millis {
	if a.Function == "Confirm" || a.Function == "Decline" {
		if t, err := tx.Trade(a.Subject); err == nil {
			return t.ExpiresAt
		}
	}
	return s.now() + model.Millis(signWithin.Milliseconds())
}

// sign gets the signatures that the act needs from custody. Custody records what it will sign before it signs, and
// gives the same signature when it is asked again, so a crash anywhere in here costs nothing.
func (s *Service) sign(ctx context.Context, a model.Act) (model.Act, error) {
	f, err := s.fieldsOf(a)
	if err != nil {
		return a, err
	}
	if err := s.unaltered(a, f); err != nil {
		return a, err
	}
	body, err := decodeBody(a.Function, a.Body)
	if err != nil {
		return a, err
	}
	var proof request.Proof
	if f.Given != nil {
		proof.Signatures = append(proof.Signatures, *f.Given)
	}
	for i, p := range f.Parties {
		key := a.KeyID
		if i > 0 {
			if key, err = s.Signer.ActiveKey(ctx, p.Owner, p.Slot); err != nil {
				return a, stopped(err)
			}
		}
		if err := s.outrun(ctx, p); err != nil {
			return a, stopped(err)
		}
		sig, err := s.Signer.Sign(ctx, s.ask(a, p, key), body)
		if err != nil {
			return a, stopped(err)
		}
		proof.Signatures = append(proof.Signatures, sig)
	}
	if f.Ticket != nil {
		p := party{PlatformID, SlotTicket}
		key, err := s.Signer.ActiveKey(ctx, p.Owner, p.Slot)
		if err != nil {
			return a, stopped(err)
		}
		ask := s.ask(a, p, key)
		ask.Purpose = f.Ticket.Function()
		sig, err := s.Signer.Sign(ctx, ask, *f.Ticket)
		if err != nil {
			return a, stopped(err)
		}
		proof.Ticket = &sig
	}
	s.at(AtSigned)
	var next model.Act
	err = s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		next, err = tx.MoveAct(a.ID, model.ActAccepted, model.ActSigned, func(r *model.Act) {
			r.Proof, r.Tries, r.LeaseUntil = proof.Encode(), 0, s.leaseEnd()
		})
		return err
	})
	if err == nil {
		s.at(AtStored)
	}
	return either(next, a, err)
}

func (s *Service) ask(a model.Act, p party, key string) Ask {
	actor := a.Person
	if actor == "" {
		actor = a.Actor
	}
	return Ask{
		Owner: p.Owner, Slot: p.Slot, Purpose: a.Function, Subject: a.ID, Attempt: a.Attempt, KeyID: key,
		NotAfter: int64(a.NotAfter), Actor: actor,
	}
}
