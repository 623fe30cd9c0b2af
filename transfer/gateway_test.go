package transfer_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/transfer"
)

// The platform's gateway keys: one is there from the start, another one signs beside it, and the old one goes.
func TestGatewayKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := must2(r.Gateway(r.ctx))(t)
	if len(first.Keys) != 1 || first.Channel != "test" || first.Keys[0].TxID == "" {
		t.Fatalf("%+v", first)
	}
	old := first.Keys[0].ID
	if k := r.ledgerKey(old); k.Kind != request.GatewayKey || k.Participant != transfer.PlatformID || k.Status != contract.KeyActive {
		t.Errorf("%+v", k)
	}
	if err := r.RetireGatewayKey(r.ctx, old, false); !errors.Is(err, transfer.ErrGatewayKeyLast) {
		t.Errorf("the last one: %v", err)
	}
	if err := r.RetireGatewayKey(r.ctx, "00", false); !errors.Is(err, transfer.ErrGatewayKeyUnknown) {
		t.Errorf("an unknown one: %v", err)
	}
	next := must2(r.AddGatewayKey(r.ctx))(t)
	r.until("both sign", func() bool { g := must2(r.Gateway(r.ctx))(t); return len(g.Keys) == 2 && g.Keys[0].ID == next })
	signs := func(want, by string) {
		t.Helper()
		s := must2(r.AnswerSigner(r.ctx, want))(t)
		message := []byte("answer")
		list := must2(r.GatewayKeys(r.ctx))(t)
		i := slices.IndexFunc(list, func(k transfer.GatewayKeyView) bool { return k.ID == by })
		if sig := must2(s.Sign(message))(t); s.KeyID != by || gm.Verify(list[i].Public, message, sig) != nil {
			t.Errorf("wanted by %q, signed by %s", want, s.KeyID)
		}
	}
	signs(old, old)
	signs("", next)
	signs("00", next)
	r.reopen(t)
	signs(old, old)
	check(t, r.RetireGatewayKey(r.ctx, old, false))
	signs(old, next) // at once
	r.until("the ledger has heard of it", func() bool { return r.ledgerKey(old).Status == contract.KeyRevoked })
	r.reopen(t) // and starts once more, without another one
	if g := must2(r.Gateway(r.ctx))(t); len(g.Keys) != 1 || g.Keys[0].ID != next {
		t.Errorf("%+v", g)
	}
	r.fsck()
}

// A gateway key is retired when every terminal has asked by another one, or on the word that some are left behind: those that
// work, and those whose ticket somebody may still show.
func TestGatewayKeysAreNeeded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := must2(r.Gateway(r.ctx))(t).Keys[0].ID
	id, h := r.equip(retailer)
	gone, _ := r.equip(retailer)
	r.ticket(retailer)
	who, _, err := r.Terminal(r.ctx, h.Public().KeyID())
	check(t, err)
	next := must2(r.AddGatewayKey(r.ctx))(t)
	r.until("both sign", func() bool { return len(must2(r.Gateway(r.ctx))(t).Keys) == 2 })
	needed := func(n, others int) { // how many count on the old key, and on the new one
		t.Helper()
		for _, k := range must2(r.GatewayKeys(r.ctx))(t) {
			if want := map[bool]int{true: n, false: others}[k.ID == old]; k.Terminals != want {
				t.Errorf("%d count on %s, not %d", k.Terminals, k.ID, want)
			}
		}
		var needs *transfer.GatewayKeyNeeded
		if err := r.RetireGatewayKey(r.ctx, old, false); !errors.As(err, &needs) || needs.Terminals != n {
			t.Errorf("retired: %v", err)
		}
	}
	needed(3, 0)
	r.ticket(retailer) // names the new key
	check(t, r.TerminalSeen(r.ctx, who, old))
	needed(3, 1)
	check(t, r.TerminalSeen(r.ctx, who, next))
	if v := r.device(retailer, id); v.SeenAt == nil {
		t.Errorf("never seen: %+v", v)
	}
	needed(2, 2)
	first := *r.device(retailer, id).SeenAt
	r.clock.forward(2 * time.Hour)
	check(t, r.TerminalSeen(r.ctx, who, "")) // by none in particular
	if v := r.device(retailer, id); !v.SeenAt.After(first) {
		t.Errorf("seen %v, and %v before", v.SeenAt, first)
	}
	needed(2, 2)
	r.stopped(retailer, "revoke", gone)
	needed(1, 2)
	r.clock.forward(25 * time.Hour) // nobody shows the ticket any more
	check(t, r.RetireGatewayKey(r.ctx, old, false))
	if g := must2(r.Gateway(r.ctx))(t); len(g.Keys) != 1 || g.Keys[0].ID != next {
		t.Errorf("%+v", g)
	}

	third := must2(r.AddGatewayKey(r.ctx))(t)
	r.until("both sign", func() bool { return len(must2(r.Gateway(r.ctx))(t).Keys) == 2 })
	var needs *transfer.GatewayKeyNeeded
	if err := r.RetireGatewayKey(r.ctx, next, false); !errors.As(err, &needs) {
		t.Errorf("retired: %v", err)
	}
	check(t, r.RetireGatewayKey(r.ctx, next, true))
	if g := must2(r.Gateway(r.ctx))(t); len(g.Keys) != 1 || g.Keys[0].ID != third {
		t.Errorf("%+v", g)
	}
}
