package terminal

import (
	"crypto/rand"
	"strings"
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

// TestProbe: a gateway that is honest passes to whom it doesn't know, and each lie is found.
func TestProbe(t *testing.T) {
	faults := func(g *terminaltest.Gateway, keyID string) map[string]bool {
		t.Helper()
		verdicts, err := Probe(t.Context(), g.URL, keyID, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, v := range verdicts {
			if v.Fault != "" {
				t.Logf("%s: %s", v.Name, v.Fault)
				found[v.Name] = true
			}
		}
		return found
	}
	g := newGateway(t)
	ticket, err := protocol.ParseTicket(g.Ticket(seller))
	if err != nil {
		t.Fatal(err)
	}
	for _, keyID := range []string{"", ticket.Gateway} {
		if found := faults(g, keyID); len(found) > 0 {
			t.Errorf("an honest gateway: %v", found)
		}
	}
	if found := faults(g, strings.Repeat("0", 32)); !found["gateway"] {
		t.Error("a ticket's key that isn't the gateway's is taken")
	}
	for name, c := range map[string]struct {
		lie   func(r *terminaltest.Reply)
		found []string
	}{
		"signs no refusals":       {func(r *terminaltest.Reply) { refuse(r, func() { r.Key = nil }) }, []string{"clock", "stranger", "ticket", "replay", "body", "other-key"}},
		"signs another status":    {func(r *terminaltest.Reply) { refuse(r, func() { r.Signed = 200 }) }, []string{"clock", "stranger", "ticket", "replay", "body", "other-key"}},
		"signs another body":      {func(r *terminaltest.Reply) { r.SignedBody = []byte("{}") }, []string{"gateway"}},
		"names another key":       {func(r *terminaltest.Reply) { r.Named = strings.Repeat("0", 32) }, []string{"gateway"}},
		"answers another request": {func(r *terminaltest.Reply) { r.Request.Nonce = protocol.Nonce{} }, []string{"gateway"}},
		"says everything is well": {func(r *terminaltest.Reply) { refuse(r, func() { r.Status, r.Body = 200, []byte("{}") }) }, []string{"no-nonce", "no-envelope", "clock", "stranger", "ticket", "replay", "body", "other-key"}},
	} {
		g := newGateway(t)
		g.Locked(func() { g.Lie = c.lie })
		found := faults(g, "")
		for _, want := range c.found {
			if !found[want] {
				t.Errorf("%s: %s isn't found", name, want)
			}
		}
		if len(found) != len(c.found) {
			t.Errorf("%s: %v, not %v", name, found, c.found)
		}
	}
	if _, err := Probe(t.Context(), "http://gateway.example", "", time.Now); err == nil {
		t.Error("card numbers would go over a network in the clear")
	}
}

// refuse does something to refusals alone.
func refuse(r *terminaltest.Reply, do func()) {
	if r.Status != 200 {
		do()
	}
}
