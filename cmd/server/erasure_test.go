package main

import (
	"net/http"
	"testing"
	"time"

	"cardflow/transfer"
)

// TestErasureApart: where custody is a process of its own it is there that a consumer's data are deleted, by his token; no other
// session of his opens anything, asking again tells the same, and who comes again is somebody else.
func TestErasureApart(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	s := openSite(t, a.dir, a.web)
	one, other, back := s.visitor("one"), s.visitor("other"), s.visitor("back")
	check(t, one.wechat(soon(t), "demo:离开的人"))
	check(t, other.wechat(soon(t), "demo:离开的人"))
	var me struct {
		Participant struct{ ID, State string }
	}
	until(t, "the ledger to know him", func() bool {
		one.get("/me", &me)
		return me.Participant.State == "registered"
	})
	left := me.Participant.ID
	// He is told what he waits for by the custodian, which knows who he is to WeChat, and by nobody once he is gone.
	tell := func(want transfer.Delivery) {
		t.Helper()
		end, err := newRemote(bySocket(a.config.Custody.Socket)).Message(soon(t), transfer.Message{Participant: left, Event: transfer.ReturnTaken, At: time.Now()})
		if end != want || err != nil || len(a.custodian.Sandbox.MessagesTo("离开的人")) != 1 {
			t.Errorf("the message is %q, %v, want %s", end, err, want)
		}
	}
	tell(transfer.MessageSent)
	one.refused(409, "ERASURE_CARDS_CHANGED", http.MethodPost, "/me/erasure", map[string]int{"cards": 1})
	for range 2 {
		var done struct {
			Participant string
			Cards       int
		}
		one.post("/me/erasure", map[string]int{"cards": 0}, &done)
		if done.Participant != left || done.Cards != 0 {
			t.Errorf("%+v", done)
		}
	}
	tell(transfer.MessageRefused)
	one.refused(401, "UNAUTHENTICATED", http.MethodGet, "/me/cards", nil)
	other.refused(401, "UNAUTHENTICATED", http.MethodGet, "/me/cards", nil)
	other.refused(401, "UNAUTHENTICATED", http.MethodPost, "/me/erasure", map[string]int{"cards": 0})
	s.staff("xiaowang").refused(403, "FORBIDDEN", http.MethodPost, "/me/erasure", map[string]int{"cards": 0})
	check(t, back.wechat(soon(t), "demo:离开的人"))
	back.get("/me", &me)
	if me.Participant.ID == left {
		t.Error("who comes again is who he was")
	}
}
