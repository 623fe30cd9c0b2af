package main

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cardflow/model"
	"cardflow/transfer"
	"cardflow/wechat"
	"cardflow/wechat/sandbox"
)

// known are accounts of people by their names, as the sandbox has them.
type known struct {
	accounts
	sandbox *sandbox.Sandbox
}

func (k known) OpenIDOf(_ context.Context, _, participant string) (string, error) {
	if participant == "gone" {
		return "", fmt.Errorf("account: %w", model.ErrNotFound)
	}
	return k.sandbox.OpenID(participant), nil
}

// What is said is said in the template's fields, to whoever is meant; what WeChat makes of it is told apart.
func TestMessageByWeChat(t *testing.T) {
	s := sandbox.New(sandbox.Config{Pages: []string{"pages/progress/progress", "pages/inbox/inbox"}})
	server := httptest.NewServer(s.Handler())
	defer server.Close()
	platform, err := wechat.New(wechat.Config{AppID: sandboxAppID, AppSecret: wechat.Secret(strings.Repeat("0", 32)), BaseURL: server.URL, InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig().WeChat
	c.Templates.Confirmation = TemplateConfig{ID: "template-1", Result: "thing7", Time: "date2"}
	c.Sandbox = false // only the kind with a template is on
	if ids := c.templateIDs(); len(ids) != 1 || ids["confirmation"] != "template-1" {
		t.Fatalf("templates: %v", ids)
	}
	d := door{accounts: known{sandbox: s}, wechat: platform, templates: c.templates()}
	m := transfer.Message{Participant: "小李", Event: transfer.ConfirmationDone, Subject: strings.Repeat("0a", 16), At: time.Date(2026, 11, 27, 2, 3, 0, 0, time.UTC)}
	send := func(m transfer.Message, want transfer.Delivery) {
		t.Helper()
		got, err := d.Message(t.Context(), m)
		if got != want || (err != nil) != (want == transfer.MessageAway) {
			t.Errorf("%s is %s, %v, not %s", m.Event, got, err, want)
		}
	}
	script := func(f sandbox.Fault) {
		t.Helper()
		f.Path = "/cgi-bin/message/subscribe/send"
		if err := s.Script(f); err != nil {
			t.Fatal(err)
		}
	}
	send(m, transfer.MessageSent)
	sent := s.MessagesTo("小李")
	if len(sent) != 1 || sent[0].TemplateID != "template-1" || sent[0].Page != "pages/progress/progress?id="+m.Subject ||
		fmt.Sprint(sent[0].Data) != "map[date2:2026年11月27日 10:03 thing7:收卡成功]" {
		t.Errorf("sent is %+v", sent)
	}
	script(sandbox.Fault{ErrCode: 43101, Times: 1})
	send(m, transfer.MessageRefused)
	script(sandbox.Fault{ErrCode: 47003, Times: 1})
	send(m, transfer.MessageFailed)
	script(sandbox.Fault{ErrCode: 42001, Times: 1}) // the token is over: another is fetched
	send(m, transfer.MessageSent)
	script(sandbox.Fault{ErrCode: 45009, Times: 1})
	send(m, transfer.MessageAway)
	off, unknown, gone := m, m, m
	off.Event, unknown.Event, gone.Participant = transfer.ReturnTaken, "confirmation.won", "gone"
	send(off, transfer.MessageFailed)
	send(unknown, transfer.MessageFailed)
	send(gone, transfer.MessageRefused)
	d.accounts = broken{}
	send(m, transfer.MessageAway)
	d.accounts = known{sandbox: s}
	server.Close()
	send(m, transfer.MessageAway)
	if n := len(s.Messages("")); n != 2 {
		t.Errorf("%d messages were sent", n)
	}
}

// broken are accounts whose database is away.
type broken struct{ accounts }

func (broken) OpenIDOf(context.Context, string, string) (string, error) {
	return "", errors.New("the database is away")
}
