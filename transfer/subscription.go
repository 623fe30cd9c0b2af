package transfer

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// A consumer lets one message be sent at a time, when he begins to wait for something. That is a row; what he waits for turns it
// into a message in the very transaction in which it happens; whoever sends it deletes it first. So there is one message or none,
// however often a transaction is settled, a server is killed, or two look at once. One that is lost was in the inbox anyway.

const (
	// mostSubscriptions is how many messages of a kind may wait for something to happen. Who lets more be sent has let enough.
	mostSubscriptions = 5
	// messagePatience is how long a message about a confirmation waits, because he may be looking: who has seen its end is not told.
	messagePatience = 5 * time.Second
	// messageAge is when nobody wants to be told any more.
	messageAge = 24 * time.Hour
	// messagePause is how long nothing is sent after there was no answer: what waits is lost otherwise, one by one.
	messagePause = 30 * time.Second
	messageBatch = 50
)

// Subscribe notes that the caller lets one message of a kind be sent to him. Errors: SUBSCRIPTION_INVALID.
func (s *Service) Subscribe(ctx context.Context, c Caller, idem Idem, kind string) error {
	if c.Role != request.Consumer {
		return fail("FORBIDDEN")
	}
	if !slices.Contains(MessageKinds, kind) {
		return fail("SUBSCRIPTION_INVALID")
	}
	_, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		id := s.newID()
		if err := tx.LockParticipant(c.Participant); err != nil { // of two at once the second counts the first
			return "", err
		}
		if is, err := erased(tx, c.Participant); is || err != nil { // by a request that was faster
			return "", cmp.Or[error](err, fail("LOGIN_TOO_OLD"))
		}
		n, err := tx.SubscriptionsOf(c.Participant, kind)
		if err != nil || n >= mostSubscriptions {
			return id, err
		}
		return id, tx.AddSubscription(model.Subscription{ID: id, Participant: c.Participant, Kind: kind, CreatedAt: s.now()})
	})
	return err
}

// happens notes, in the transaction in which it does, what a consumer is to be told if he has let a message about it be sent.
func (s *Service) happens(tx *model.Tx, participant string, e Event, subject string, at model.Millis) error {
	now := s.now()
	if s.Messenger == nil || now-at > model.Millis(messageAge.Milliseconds()) {
		return nil // such as what a restored database learns anew
	}
	due := now
	if e.Kind() == "confirmation" {
		due += model.Millis(messagePatience.Milliseconds())
	}
	_, err := tx.UseSubscription(participant, e.Kind(), string(e), subject, at, due)
	return err
}

// confirmed tells the buyer of the end of a confirmation.
func (s *Service) confirmed(tx *model.Tx, a model.Act, e Event) error {
	if a.Function != "Confirm" || a.Person != "" {
		return nil
	}
	return s.happens(tx, a.Actor, e, a.ID, cmp.Or(a.CommittedAt, s.now()))
}

// answered tells who returned cards what has come of that.
func (s *Service) answered(tx *model.Tx, t model.Trade) error {
	e := Event("return." + string(t.State))
	if _, told := messageTexts[e]; !told || t.Reverses == "" {
		return nil
	}
	return s.happens(tx, t.Seller, e, t.ID, t.EndedAt)
}

// toldOf reports whether somebody who is about to be shown the end of an act is to be told of it by a message.
func (s *Service) toldOf(tx *model.Tx, c Caller, a Act) (bool, error) {
	if s.Messenger == nil || c.Role != request.Consumer || a.Function != "Confirm" || !a.Ended() {
		return false, nil
	}
	about, err := tx.SubscriptionsAbout(a.ID)
	return len(about) > 0, err
}

// seen gives the message back to him who let it be sent: he knows, and may want to be told of another end.
func (s *Service) seen(ctx context.Context, a Act) {
	err := s.DB.Write(ctx, func(tx *model.Tx) error { return tx.ReturnSubscriptions(a.ID) })
	if err != nil && ctx.Err() == nil {
		s.Logger.Warn("a message about something that was seen may be sent", "act", a.ID, "error", err)
	}
}

// message sends messages until ctx ends. Every server does: a row that is gone is somebody else's to send.
func (s *Service) message(ctx context.Context) {
	wait := cmp.Or(max(s.Trade.SweepInterval, 0), 5*time.Second)
	for pause(ctx, wait); ctx.Err() == nil; pause(ctx, wait) {
		answered, err := s.SendMessages(ctx)
		if err != nil && ctx.Err() == nil {
			s.Logger.Error("messages", "error", err)
		}
		if !answered {
			pause(ctx, messagePause)
		}
	}
}

// SendMessages sends what is due. answered is false if there was none to a message: what is left is for later.
func (s *Service) SendMessages(ctx context.Context) (answered bool, err error) {
	for {
		var due []model.Subscription
		err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			due, err = tx.SubscriptionsDue(s.now(), messageBatch)
			return err
		})
		if err != nil {
			return true, err
		}
		for _, d := range due {
			end, err := s.send(ctx, d)
			if err != nil {
				return true, err
			}
			if end == MessageAway {
				return false, nil
			}
		}
		if len(due) < messageBatch {
			return true, nil
		}
	}
}

// send sends one message, if it is still there to be sent; "" if not.
func (s *Service) send(ctx context.Context, d model.Subscription) (Delivery, error) {
	taken := false
	err := s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		taken, err = tx.TakeSubscription(d)
		s.at(AtMessaging)
		return err
	})
	if err != nil || !taken {
		return "", err
	}
	s.at(AtMessage)
	m := Message{Participant: d.Participant, Event: Event(d.Event), Subject: d.Subject, At: d.HappenedAt.Time()}
	end := MessageLate
	if s.now()-d.HappenedAt <= model.Millis(messageAge.Milliseconds()) {
		if end, err = s.Messenger.Message(ctx, m); err != nil {
			end = MessageAway
			s.Logger.Warn("a message may not have been sent", "event", m.Event, "subject", m.Subject, "error", err)
		}
	}
	s.Metrics.Message(m.Event.Kind(), string(end))
	return end, nil
}

// OpenIDOf is who a consumer is to a mini-program. Only custody's process can read it. Errors: model.ErrNotFound.
func (s *Service) OpenIDOf(ctx context.Context, appID, participant string) (string, error) {
	var a model.Account
	err := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		a, err = tx.AccountOf(participant)
		return err
	})
	if err == nil && a.AppID != appID {
		err = fmt.Errorf("account of %s: another mini-program's: %w", participant, model.ErrNotFound)
	}
	if err != nil {
		return "", err
	}
	open, err := s.Vault.Open("openid", a.OpenIDSealed)
	return string(open), err
}
