package model

import "errors"

// Subscription is one message that a consumer has let be sent to him. While nothing has happened that is worth it, it waits;
// then it says what he is to be told, and since when; who sends it deletes it first.
type Subscription struct {
	ID          string `gorm:"primaryKey"`
	Participant string
	Kind        string // of message
	Event       string `gorm:"serializer:null"` // what he is to be told
	Subject     string `gorm:"serializer:null"` // what that happened to
	HappenedAt  Millis
	DueAt       Millis // when he may be told; 0 while there is nothing
	CreatedAt   Millis `gorm:"autoCreateTime:milli"`
}

// AddSubscription stores a new one.
func (tx *Tx) AddSubscription(s Subscription) error {
	return named("subscription", s.ID, tx.db.Create(&s).Error)
}

// SubscriptionsOf counts the messages of a kind that a participant has let be sent and that nothing has happened for.
func (tx *Tx) SubscriptionsOf(participant, kind string) (int64, error) {
	return tx.counted(tx.db.Model(&Subscription{}).Where("participant = ? AND kind = ? AND due_at = 0", participant, kind))
}

// UseSubscription has the oldest message of a kind that a participant has let be sent say what has happened: event, to subject,
// to be told from a time on, which isn't 0. false if he has let none be sent.
func (tx *Tx) UseSubscription(participant, kind, event, subject string, happened, due Millis) (used bool, err error) {
	s, err := one[Subscription](tx.locked().Where("participant = ? AND kind = ? AND due_at = 0", participant, kind).Order("created_at, id"))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		err = tx.db.Model(&Subscription{}).Where("id = ?", s.ID).
			Updates(map[string]any{"event": event, "subject": subject, "happened_at": happened, "due_at": due}).Error
	}
	return err == nil, named("subscription of", participant, err)
}

// SubscriptionsAbout lists the messages that are to be sent about a subject.
func (tx *Tx) SubscriptionsAbout(subject string) ([]Subscription, error) {
	return many[Subscription](tx.db.Where("subject = ?", subject))
}

// ReturnSubscriptions gives the messages that are to be sent about a subject back to those who let them be sent: they know.
func (tx *Tx) ReturnSubscriptions(subject string) error {
	return named("subscriptions about", subject, tx.db.Model(&Subscription{}).Where("subject = ?", subject).
		Updates(map[string]any{"event": nil, "subject": nil, "happened_at": 0, "due_at": 0}).Error)
}

// SubscriptionsDue lists messages that may be sent at a time, the longest due first.
func (tx *Tx) SubscriptionsDue(now Millis, limit int) ([]Subscription, error) {
	return many[Subscription](tx.db.Where("due_at > 0 AND due_at <= ?", now).Order("due_at, id").Limit(limit))
}

// TakeSubscription deletes a message that is to be sent: whoever has deleted it may send it. false if somebody else has, or if it
// isn't to be sent any more.
func (tx *Tx) TakeSubscription(s Subscription) (taken bool, err error) {
	done := tx.db.Where("id = ? AND due_at = ? AND due_at > 0", s.ID, s.DueAt).Delete(&Subscription{})
	return done.RowsAffected == 1, named("subscription", s.ID, done.Error)
}

// DropSubscriptionsOf deletes all of a participant's.
func (tx *Tx) DropSubscriptionsOf(participant string) error {
	return named("subscriptions of", participant, tx.db.Where("participant = ?", participant).Delete(&Subscription{}).Error)
}
