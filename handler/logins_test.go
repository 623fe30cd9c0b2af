package handler_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"sync"
	"time"

	"cardflow/ledger/request"
	"cardflow/transfer"
	"cardflow/wechat"
)

// fakeLogins keeps the promises of a custody that logs people in, with a real WeChat protocol.
type fakeLogins struct {
	service *fakeService
	wechat  *wechat.Platform
	tokens  sync.Map // transfer.SessionToken → transfer.Caller
}

func (l *fakeLogins) open(c transfer.Caller) transfer.Session {
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		panic(err)
	}
	c.Session = transfer.SessionToken(base64.RawURLEncoding.EncodeToString(raw))
	l.tokens.Store(c.Session, c)
	life := 12 * time.Hour
	if c.Role == request.Consumer {
		life = 7 * 24 * time.Hour
	}
	now := l.service.clock.Now().UTC()
	return transfer.Session{Caller: c, LoginAt: now, ExpiresAt: now.Add(life).Truncate(time.Second)}
}

func (l *fakeLogins) LogInConsumer(ctx context.Context, code string) (transfer.Session, error) {
	who, err := l.wechat.Login(ctx, code)
	if err != nil {
		return transfer.Session{}, err
	}
	c, err := l.service.ConsumerFor(ctx, "wx0000000000000000", who.OpenID)
	if err != nil {
		return transfer.Session{}, err
	}
	return l.open(c), nil
}

func (l *fakeLogins) LogInStaff(ctx context.Context, username, password string) (transfer.Session, transfer.PersonView, error) {
	c, person, err := l.service.Login(ctx, username, password)
	if err != nil {
		return transfer.Session{}, transfer.PersonView{}, err
	}
	return l.open(c), person, nil
}

func (l *fakeLogins) ChangePassword(ctx context.Context, c transfer.Caller, old, new string) (transfer.Session, error) {
	if err := l.service.ChangePassword(ctx, c, old, new); err != nil {
		return transfer.Session{}, err
	}
	return l.open(c), nil
}

func (l *fakeLogins) LogOut(context.Context, transfer.Caller) error { return l.service.note("LogOut") }

func (l *fakeLogins) Erase(_ context.Context, token transfer.SessionToken, cards int64) (transfer.Erasure, error) {
	who, ok := l.tokens.Load(token)
	if !ok {
		return transfer.Erasure{}, transfer.ErrSessionOver
	}
	c := who.(transfer.Caller)
	if c.Role != request.Consumer {
		return transfer.Erasure{}, bad("FORBIDDEN")
	}
	if err := l.service.note("Erase %s %d", c.Participant, cards); err != nil {
		return transfer.Erasure{}, err
	}
	return transfer.Erasure{Participant: c.Participant, Cards: cards, At: start}, nil
}
