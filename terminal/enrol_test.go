package terminal

import (
	"crypto/rand"
	"testing"
	"time"

	"cardflow/terminal/protocol"
	"cardflow/terminal/terminaltest"
)

// TestEnrolTwice: cut off after it was shown, a ticket is good for the same terminal again, and for no other one.
func TestEnrolTwice(t *testing.T) {
	g := newGateway(t)
	ticket := g.Ticket(seller)
	sim, path := newSIM(t)
	state, err := OpenState(path + ".state")
	check(t, err)
	defer state.Close()
	g.Locked(func() {
		g.Lie = func(r *terminaltest.Reply) { r.Cut = r.Request.Path == protocol.PathEnrol }
	})
	_, err = Enrol(t.Context(), sim, state, g.URL, ticket, time.Now)
	wants(t, "cut off", err, "OFFLINE")
	p, err := state.Profile()
	check(t, err)
	if p.Enrolled() || p.SerialSalt == "" {
		t.Errorf("remembered: %+v", p)
	}
	g.Locked(func() { g.Lie = nil })
	d, err := Enrol(t.Context(), sim, state, g.URL, ticket, time.Now)
	check(t, err)
	if d.KeyID != sim.Public().KeyID() || d.Participant != seller {
		t.Errorf("enrolled as %+v", d)
	}
	_, err = Enrol(t.Context(), sim, state, g.URL, ticket, time.Now)
	wants(t, "enrolled already", err, "ENROLLED_ALREADY")

	other, otherPath := newSIM(t)
	otherState, err := OpenState(otherPath + ".state")
	check(t, err)
	defer otherState.Close()
	_, err = Enrol(t.Context(), other, otherState, g.URL, ticket, time.Now)
	wants(t, "another terminal", err, "TICKET_USED")
}

// TestEnrolLies: a server that isn't the ticket's is refused before the ticket is shown to it.
func TestEnrolLies(t *testing.T) {
	impostor := terminaltest.Key(t)
	for _, c := range []struct {
		name, code string
		lie        func(*terminaltest.Reply)
	}{
		{"another gateway", "GATEWAY_NOT_TICKETS", nil},
		{"no signature", "ANSWER_UNSIGNED", func(r *terminaltest.Reply) { r.Key = nil }},
		{"signed by another", "ANSWER_FORGED", func(r *terminaltest.Reply) { r.Key = impostor }},
		{"another list", "ANSWER_FORGED", func(r *terminaltest.Reply) { r.SignedBody = []byte("{}") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t)
			ticket := g.Ticket(seller)
			if c.lie == nil {
				g = newGateway(t)
			}
			g.Locked(func() { g.Lie = c.lie })
			state, err := OpenState(storeIn(t) + ".state")
			check(t, err)
			defer state.Close()
			sim, err := createSoftSIM(storeIn(t), "SN-0001", goodPIN(), quickKDF, rand.Reader)
			check(t, err)
			_, err = Enrol(t.Context(), sim, state, g.URL, ticket, time.Now)
			wants(t, c.name, err, c.code)
			for _, a := range g.Answers() {
				if a.Path != protocol.PathGateway {
					t.Errorf("asked %s", a.Path)
				}
			}
		})
	}
	g := newGateway(t)
	_, err := Enrol(t.Context(), nil, nil, g.URL, "nonsense", time.Now)
	wants(t, "no ticket", err, "TICKET_INVALID")
}

// TestSelfTest: an honest gateway passes all of it, and one that forgets nonces or signs no refusals doesn't.
func TestSelfTest(t *testing.T) {
	r := newRig(t, newGateway(t), seller, "SN-0001")
	for _, v := range r.SelfTest(t.Context()) {
		if v.Fault != "" {
			t.Errorf("%s: %s", v.Name, v.Fault)
		}
	}
	r.g.Locked(func() {
		r.g.Lie = func(reply *terminaltest.Reply) {
			if reply.Status != 200 {
				reply.Key = nil
			}
		}
	})
	faults := map[string]bool{}
	for _, v := range r.SelfTest(t.Context()) {
		faults[v.Name] = v.Fault != ""
	}
	for name, want := range map[string]bool{
		"gateway": false, "device": false, "once": false, "no-envelope": false, "refusal-signed": true, "replay": true, "clock": true, "route": true, "body": true, "stranger": true,
	} {
		if got, ok := faults[name]; !ok || got != want {
			t.Errorf("%s: a fault %v, not %v", name, got, want)
		}
	}
	if v := CheckVectors(); v.Fault != "" {
		t.Error(v.Fault)
	}
}
