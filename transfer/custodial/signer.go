// Package custodial introduces custody to the relay: each was written without knowing the other. What custody says means here what the
// relay acts upon, and nothing is decided.
package custodial

import (
	"context"
	"errors"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// Signer introduces custody to the relay: each was written without knowing the other.
type Signer struct{ Custody *custody.Custody }

var (
	_ transfer.Signer    = Signer{}
	_ transfer.KeyOpener = Signer{}
)

// Enrol implements transfer.Signer.
func (s Signer) Enrol(ctx context.Context, owner string, role request.Role, slot string) (request.NewKey, error) {
	k, err := s.Custody.Ensure(ctx, custody.Post{Owner: owner, Role: role, Slot: custody.Slot(slot)}, "relay")
	if err != nil {
		return request.NewKey{}, translate(err)
	}
	n, err := s.Custody.Possession(ctx, k.ID)
	return n, translate(err)
}

// Authorise implements transfer.Signer.
func (s Signer) Authorise(ctx context.Context, session transfer.SessionToken, subject string, body request.Body, notAfter int64) error {
	return translate(s.Custody.Authorise(ctx, custody.LoginToken(session), subject, body, notAfter))
}

// AuthoriseParts implements transfer.Signer.
func (s Signer) AuthoriseParts(ctx context.Context, asked string, terms request.Issue, parts []transfer.Part) error {
	list := make([]custody.Part, len(parts))
	for i, p := range parts {
		list[i] = custody.Part(p)
	}
	return translate(s.Custody.AuthoriseParts(ctx, asked, terms, list))
}

// AuthoriseDevice implements transfer.Signer.
func (s Signer) AuthoriseDevice(ctx context.Context, session transfer.SessionToken, asked string, notAfter int64) error {
	return translate(s.Custody.AuthoriseDevice(ctx, custody.LoginToken(session), asked, notAfter))
}

// NameDevice implements transfer.Signer.
func (s Signer) NameDevice(ctx context.Context, asked string, body request.PublishKey) error {
	return translate(s.Custody.NameDevice(ctx, asked, body))
}

// EnrolAll implements transfer.Signer.
func (s Signer) EnrolAll(ctx context.Context, owners []string, role request.Role, slot, actor string) ([]request.NewKey, int, error) {
	keys, made, err := s.Custody.Provision(ctx, owners, role, custody.Slot(slot), actor)
	return keys, made, translate(err)
}

// ActiveKey implements transfer.Signer.
func (s Signer) ActiveKey(ctx context.Context, owner, slot string) (string, error) {
	k, err := s.Custody.ActiveKey(ctx, owner, custody.Slot(slot))
	return k.ID, translate(err)
}

// Sign implements transfer.Signer.
func (s Signer) Sign(ctx context.Context, ask transfer.Ask, body request.Body) (request.Signature, error) {
	sig, _, err := s.Custody.Sign(ctx, custody.Ask{
		Owner: ask.Owner, Slot: custody.Slot(ask.Slot), Subject: ask.Subject, Attempt: ask.Attempt, NotAfter: ask.NotAfter, Actor: ask.Actor,
	}, body)
	return sig, translate(err)
}

// CloseAttempt implements transfer.Signer. An attempt that was never recorded, or is closed, is closed.
func (s Signer) CloseAttempt(ctx context.Context, ask transfer.Ask, why transfer.AttemptEnd) error {
	err := s.Custody.CloseAttempt(ctx, ask.Owner, ask.Purpose, ask.Subject, ask.Attempt, model.AttemptEnd(why), ask.Actor)
	if errors.Is(err, custody.ErrAttemptUnknown) || errors.Is(err, custody.ErrAttemptClosed) {
		return nil
	}
	return translate(err)
}

// Standing implements transfer.SignLog.
func (s Signer) Standing(ctx context.Context, req request.Request, sig request.Signature) (transfer.Standing, error) {
	standing, err := s.Custody.StandingOf(ctx, req, sig)
	return transfer.Standing(standing), err
}

// Adopt implements transfer.SignLog.
func (s Signer) Adopt(ctx context.Context, txID string, req request.Request, sig request.Signature) error {
	return translate(s.Custody.Adopt(ctx, txID, req, sig))
}

// Restore implements transfer.SignLog.
func (s Signer) Restore(ctx context.Context, key model.CustodyKey) error {
	return translate(s.Custody.Restore(ctx, key))
}

// VerifySignLog implements transfer.SignLog.
func (s Signer) VerifySignLog(ctx context.Context, find func(subject, problem string)) error {
	_, err := s.Custody.VerifySignLog(ctx, func(f custody.SignLogFault) { find(f.Subject, f.Problem) })
	return err
}

// VerifyKeys implements transfer.KeyOpener.
func (s Signer) VerifyKeys(ctx context.Context, find func(keyID, problem string)) (int64, error) {
	n, err := s.Custody.VerifyKeys(ctx, find)
	return n, translate(err)
}

// Audit shows the relay what it anchors.
type Audit struct{ Custody *custody.Custody }

var _ transfer.Audit = Audit{}

// Stream implements transfer.Audit.
func (Audit) Stream() string { return custody.AuditStream }

// Head implements transfer.Audit.
func (a Audit) Head(ctx context.Context, since int64) (transfer.AuditHead, error) {
	h, err := a.Custody.AuditHead(ctx, since)
	if errors.Is(err, custody.ErrSealed) {
		err = errors.Join(transfer.ErrSealed, err)
	}
	return transfer.AuditHead(h), err
}

// Reconciled implements transfer.SignLog.
func (s Signer) Reconciled(ctx context.Context) error { return s.Custody.Reconciled(ctx, "relay") }

// translate gives custody's errors the meaning that the relay acts on.
func translate(err error) error {
	var later *custody.Later
	switch {
	case errors.Is(err, custody.ErrSessionOver):
		return errors.Join(transfer.ErrSessionOver, err)
	case errors.Is(err, custody.ErrUnauthorised), errors.Is(err, custody.ErrLoginForged):
		return errors.Join(transfer.ErrUnauthorised, err)
	case errors.Is(err, custody.ErrLoginOld):
		return errors.Join(transfer.ErrLoginOld, err)
	case errors.Is(err, custody.ErrExpired):
		return errors.Join(transfer.ErrTooLate, err)
	case errors.As(err, &later):
		return &transfer.Wait{After: later.After, Err: err}
	case errors.Is(err, custody.ErrUnusual), errors.Is(err, custody.ErrKeyStopped):
		return errors.Join(transfer.ErrKeyStopped, err)
	case errors.Is(err, custody.ErrKeyOvertaken):
		return &transfer.Error{Code: "KEY_OVERTAKEN", Err: err}
	case errors.Is(err, custody.ErrKeyReplaced):
		return errors.Join(transfer.ErrKeyReplaced, err)
	case errors.Is(err, custody.ErrKeyNotActive), errors.Is(err, custody.ErrFunction), errors.Is(err, custody.ErrOwner), errors.Is(err, custody.ErrPost):
		return errors.Join(transfer.ErrKeyStopped, err)
	case errors.Is(err, custody.ErrSealed), errors.Is(err, custody.ErrClosed), errors.Is(err, custody.ErrToken), errors.Is(err, custody.ErrRootMismatch),
		errors.Is(err, custody.ErrUnreconciled):
		return errors.Join(transfer.ErrSealed, err)
	}
	return err
}
