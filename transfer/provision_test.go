package transfer_test

import (
	"fmt"
	"sync"
	"testing"

	"cardflow/model"
	"cardflow/transfer"
)

func logins(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("openid-%03d", i))
	}
	return list
}

var keeper = transfer.Caller{Participant: transfer.PlatformID, Role: "platform", Person: "p-ops", Roles: []string{"ops"}}

// Logins that are known beforehand are consumers on the ledger before they come, each once.
func TestProvision(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := r.registered("openid-001")
	wants(t, "a consumer", errOf(r.Provision(r.ctx, old, "wx", logins(0, 3), false)), "FORBIDDEN")

	want := func(what string, list []string, dry bool, want transfer.Provisioned) transfer.Provisioned {
		t.Helper()
		got, err := r.Provision(r.ctx, keeper, "wx", list, dry)
		check(t, err)
		act := got.Act
		if got.Act = ""; got != want || (act != "") != (want.Listed > 0) {
			t.Errorf("%s: %+v, act %q, want %+v", what, got, act, want)
		}
		got.Act = act
		return got
	}
	list := append(logins(0, 3), "openid-002") // twice
	want("dry", list, true, transfer.Provisioned{Known: 1, New: 2})
	done := want("done", list, false, transfer.Provisioned{Known: 1, New: 2, Made: 2, Listed: 2})
	want("again", list, false, transfer.Provisioned{Known: 3})
	r.await(transfer.Act{ID: done.Act}, "")
	r.onLedger("RegisterBatch", 1)
	if c := r.registered("openid-001"); c.Participant != old.Participant {
		t.Error("who had a pseudonym has another one")
	}
	for _, name := range logins(0, 3) {
		c, err := r.ConsumerFor(r.ctx, "wx", name)
		check(t, err)
		if p := r.participant(c.Participant); p.State != model.ParticipantRegistered || p.KeyID == "" {
			t.Errorf("%s: %+v", name, p)
		}
	}
	r.noneUnfinished()
	r.fsck()
}

// Whatever it was stopped at, by two at once, and with a consumer who comes meanwhile: who asks again finishes it.
func TestProvisionStopped(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	m.early = true
	m.set(transfer.ErrSealed)
	if _, err := r.Provision(r.ctx, keeper, "wx", logins(0, 5), false); err == nil {
		t.Fatal("it went through")
	}
	m.set(nil)
	early := r.registered("openid-000") // alone, for he was pending
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if _, err := r.Provision(r.ctx, keeper, "wx", logins(0, 6), false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := r.registered("openid-000"); got.Participant != early.Participant {
		t.Error("he is somebody else")
	}
	for _, name := range logins(1, 6) {
		r.registered(name)
	}

	// An act that fails leaves them pending, and they are asked for anew.
	m.set(transfer.ErrKeyStopped)
	m.early = false
	p, err := r.Provision(r.ctx, keeper, "wx", logins(6, 9), false)
	check(t, err)
	r.await(transfer.Act{ID: p.Act}, "KEY_STOPPED")
	m.set(nil)
	p, err = r.Provision(r.ctx, keeper, "wx", logins(6, 9), false)
	check(t, err)
	if p.Begun != 3 || p.Made != 0 || p.Listed != 3 {
		t.Errorf("%+v", p)
	}
	r.await(transfer.Act{ID: p.Act}, "")
	r.noneUnfinished()
	r.fsck()
}

func errOf[T any](_ T, err error) error { return err }
