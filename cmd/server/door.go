package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/wechat"
)

// door lets people in who show who they are: it exchanges WeChat codes and checks passwords, and custody makes the tokens.
type door struct {
	custody   *custody.Custody
	accounts  accounts
	wechat    *wechat.Platform
	appID     string
	ttl       SessionConfig
	templates map[string]TemplateConfig
}

// accounts are who may come in.
type accounts interface {
	ConsumerFor(ctx context.Context, appID, openID string) (transfer.Caller, error)
	Login(ctx context.Context, username, password string) (transfer.Caller, transfer.PersonView, error)
	ChangePassword(ctx context.Context, c transfer.Caller, old, new string) error
	Erase(tx *model.Tx, consumer string, cards int64) error
	NoteErasure(consumer string)
	OpenIDOf(ctx context.Context, appID, participant string) (string, error)
	transfer.Accounts
}

var (
	_ handler.Logins     = door{}
	_ transfer.Messenger = door{}
)

// LogInConsumer implements handler.Logins.
func (d door) LogInConsumer(ctx context.Context, code string) (transfer.Session, error) {
	who, err := d.wechat.Login(ctx, code)
	if err != nil {
		return transfer.Session{}, err
	}
	c, err := d.accounts.ConsumerFor(ctx, d.appID, who.OpenID)
	if err != nil {
		return transfer.Session{}, err
	}
	return d.open(ctx, c)
}

// LogInStaff implements handler.Logins.
func (d door) LogInStaff(ctx context.Context, username, password string) (transfer.Session, transfer.PersonView, error) {
	c, person, err := d.accounts.Login(ctx, username, password)
	if err != nil {
		return transfer.Session{}, transfer.PersonView{}, err
	}
	s, err := d.open(ctx, c)
	return s, person, err
}

// ChangePassword implements handler.Logins. A crash after the first step leaves the other sessions open until they end by
// themselves; the person sees an error, and changes it again.
func (d door) ChangePassword(ctx context.Context, c transfer.Caller, old, new string) (transfer.Session, error) {
	if err := d.accounts.ChangePassword(ctx, c, old, new); err != nil {
		return transfer.Session{}, err
	}
	if err := d.custody.LogOutPerson(ctx, c.Person); err != nil {
		return transfer.Session{}, err
	}
	return d.open(ctx, c)
}

// LogOut implements handler.Logins.
func (d door) LogOut(ctx context.Context, c transfer.Caller) error {
	return d.custody.LogOut(ctx, custody.LoginToken(c.Session))
}

// Erase implements handler.Logins. It is one transaction; what comes after it is noted again by the next start.
func (d door) Erase(ctx context.Context, token transfer.SessionToken, cards int64) (transfer.Erasure, error) {
	e, err := d.custody.Erase(ctx, custody.LoginToken(token), cards, func(tx *model.Tx, consumer string) error {
		return d.accounts.Erase(tx, consumer, cards)
	})
	if err != nil {
		return transfer.Erasure{}, unerased(err)
	}
	d.accounts.NoteErasure(e.Participant)
	return transfer.Erasure{Participant: e.Participant, Cards: e.Cards, At: e.ErasedAt.Time()}, nil
}

// unerased gives custody's refusals the codes under which a consumer meets them.
func unerased(err error) error {
	var kept *custody.Error
	switch {
	case !errors.As(err, &kept):
		return err
	case kept == custody.ErrSessionOver:
		return transfer.ErrSessionOver
	case kept == custody.ErrFunction:
		return &transfer.Error{Code: "FORBIDDEN", Err: errors.New(err.Error())}
	case kept == custody.ErrLoginOld:
		return &transfer.Error{Code: "LOGIN_TOO_OLD", Err: errors.New(err.Error())}
	case kept == custody.ErrKeyTransition: // another key is on its way to him
		return &transfer.Error{Code: "ERASURE_BUSY", Err: errors.New(err.Error())}
	}
	return &transfer.Error{Code: "ERASURE_UNAVAILABLE", Err: errors.New(err.Error())}
}

// open opens a session for somebody who has shown who he is.
func (d door) open(ctx context.Context, c transfer.Caller) (transfer.Session, error) {
	life := d.ttl.StaffTTL
	if c.Role == request.Consumer {
		life = d.ttl.ConsumerTTL
	}
	return openSession(ctx, d.custody, c, life)
}

func openSession(ctx context.Context, keys *custody.Custody, c transfer.Caller, life time.Duration) (transfer.Session, error) {
	s, err := keys.LogIn(ctx, custody.Login{Participant: c.Participant, Role: c.Role, Person: c.Person}, life)
	if err != nil {
		return transfer.Session{}, err
	}
	c.Session = transfer.SessionToken(s.Token)
	return transfer.Session{Caller: c, LoginAt: s.LoginAt, ExpiresAt: s.ExpiresAt}, nil
}

// AddConsumers implements transfer.Accounts, for the logins of this mini-program.
func (d door) AddConsumers(ctx context.Context, appID string, openIDs []string) error {
	if appID != d.appID {
		return fmt.Errorf("another mini-program's logins: %w", custody.ErrAsk)
	}
	return d.accounts.AddConsumers(ctx, appID, openIDs)
}
