package main

import (
	"net/http"
	"testing"
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
