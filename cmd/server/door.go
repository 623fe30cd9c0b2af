package main

import (
	"context"
	"fmt"
	"time"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/ledger/request"
	"cardflow/transfer"
	"cardflow/wechat"
)

// door lets people in who show who they are: it exchanges WeChat codes and checks passwords, and custody makes the tokens.
type door struct {
	custody  *custody.Custody
	accounts accounts
	wechat   *wechat.Platform
	appID    string
	ttl      SessionConfig
}

// accounts are who may come in.
type accounts interface {
	ConsumerFor(ctx context.Context, appID, openID string) (transfer.Caller, error)
	Login(ctx context.Context, username, password string) (transfer.Caller, transfer.PersonView, error)
	ChangePassword(ctx context.Context, c transfer.Caller, old, new string) error
	transfer.Accounts
}

var _ handler.Logins = door{}

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
