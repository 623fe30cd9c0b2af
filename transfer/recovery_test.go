package transfer_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// recovery looks at somebody's recovery.
func (r *rig) recovery(participant string) transfer.RecoveryView {
	r.t.Helper()
	return must2(r.Recovery(r.ctx, participant))(r.t)
}

func (r *rig) recovers(participant, state string) transfer.RecoveryView {
	r.t.Helper()
	r.until("the recovery is "+state, func() bool { return r.recovery(participant).State == state })
	return r.recovery(participant)
}

// released is what two people decide.
func (r *rig) released(participant string) {
	r.t.Helper()
	for _, id := range []string{"ops-1", "ops-2"} {
		err := r.db.Write(r.ctx, func(tx *model.Tx) error {
			if _, err := tx.Person(id); !errors.Is(err, model.ErrNotFound) {
				return err
			}
			return tx.AddPerson(model.Person{ID: id, ParticipantID: transfer.PlatformID, Username: id, Roles: []string{"ops"}, State: model.PersonActive, CreatedAt: 1})
		})
		check(r.t, err)
	}
	p, err := r.keys.Propose(r.ctx, custody.Draft{Person: "ops-1", Name: "release-" + participant, Operation: custody.OperationRecover,
		Arguments: []byte(`{"participant":"` + participant + `"}`), Reason: "核实过"})
	check(r.t, err)
	_, err = r.keys.Approve(r.ctx, "ops-2", p.ID)
	check(r.t, err)
}

// A consumer whose key was stolen: nothing is signed with it any more, nothing moves to or from him, he gets another key,
// and trades again when a person has made sure of him.
func TestRecoveryAfterTheft(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	r.confirm(ann, r.offer(retailer, 1, 1), 1)
	stolen := r.keyOf(ann.Participant)
	v, err := r.StartRecovery(r.ctx, ann.Participant, "ops")
	check(t, err)
	if v.State != "stopping" || v.KeyID != stolen.ID || !v.Steps[0].Done || r.key(stolen.ID).State != "revoked" {
		t.Errorf("begun: %+v, the key is %s", v, r.key(stolen.ID).State)
	}
	v = r.recovers(ann.Participant, "waiting")
	if v.NewKeyID == "" || v.NewKeyID == stolen.ID || r.ledgerKey(stolen.ID).Status != contract.KeyRevoked || r.ledgerKey(v.NewKeyID).Status != contract.KeyActive {
		t.Errorf("waits: %+v", v)
	}
	again, err := r.StartRecovery(r.ctx, ann.Participant, "ops-2")
	check(t, err)
	if again.ID != v.ID || again.State != "waiting" || again.Actor != "ops" {
		t.Errorf("begun twice: %+v", again)
	}
	trade := r.offer(retailer, 2, 2)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(2))
	check(t, err)
	r.await(act, contract.ParticipantFrozen)
	r.released(ann.Participant)
	v = r.recovers(ann.Participant, "done")
	for _, step := range v.Steps {
		if !step.Done || step.Not {
			t.Errorf("step %+v", step)
		}
	}
	r.confirm(ann, trade, 2)
	r.fsck()

	// It may happen again.
	_, err = r.StartRecovery(r.ctx, ann.Participant, "ops")
	check(t, err)
	if next := r.recovers(ann.Participant, "waiting"); next.ID == v.ID || next.KeyID != v.NewKeyID {
		t.Errorf("the second one: %+v", next)
	}
}

// An operator asks over the network: nobody else does, and what he asks for again for want of an answer is the same recovery,
// also when it has ended since.
func TestRecoveryByAnOperator(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	other := operator
	other.Person = "person-ops-2"
	foreign := operator
	foreign.Participant, foreign.Role = retailer.Participant, request.Retailer
	auditor := operator
	auditor.Roles = []string{"auditor"}
	for _, c := range []transfer.Caller{ann, retailer, carrier, foreign, auditor, {}} {
		if _, err := r.Recover(r.ctx, c, idem("recover"), ann.Participant); transfer.CodeOf(err) != "FORBIDDEN" {
			t.Errorf("%+v: %v", c, err)
		}
		if _, err := r.RecoveryOf(r.ctx, c, ann.Participant); transfer.CodeOf(err) != "FORBIDDEN" {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := r.Recover(r.ctx, operator, transfer.Idem{Route: "recover"}, ann.Participant); transfer.CodeOf(err) != "IDEMPOTENCY_KEY_REQUIRED" {
		t.Errorf("without a name: %v", err)
	}
	for who, code := range map[string]string{transfer.Admin1: "KEY_PROTECTED", transfer.PlatformID: "CUSTODY_KEY_NOT_FOUND", "nobody": "CUSTODY_KEY_NOT_FOUND"} {
		if _, err := r.Recover(r.ctx, operator, idem("recover"), who); transfer.CodeOf(err) != code {
			t.Errorf("%s: %v", who, err)
		}
	}
	if _, err := r.RecoveryOf(r.ctx, operator, ann.Participant); transfer.CodeOf(err) != "NOT_FOUND" || r.keyOf(ann.Participant).State != "active" {
		t.Fatalf("before anybody may: %v", err)
	}

	stolen := r.keyOf(ann.Participant)
	wish := idem("recover")
	var all sync.WaitGroup
	answers := make([]transfer.RecoveryView, 6)
	for i := range answers {
		all.Go(func() {
			who, w := operator, wish
			if i%3 == 2 {
				who, w = other, idem("recover") // somebody else at the same moment
			}
			v, err := r.Recover(r.ctx, who, w, ann.Participant)
			if err != nil {
				t.Error(err)
			}
			answers[i] = v
		})
	}
	all.Wait()
	for _, v := range answers {
		if v.ID != answers[0].ID || v.KeyID != stolen.ID || !v.Steps[0].Done || v.Participant != ann.Participant {
			t.Fatalf("%+v and %+v", v, answers[0])
		}
	}
	if r.key(stolen.ID).State != "revoked" {
		t.Errorf("the key is %s", r.key(stolen.ID).State)
	}
	reused := wish
	reused.BodyDigest = "y"
	if _, err := r.Recover(r.ctx, operator, reused, retailer.Participant); transfer.CodeOf(err) != "IDEMPOTENCY_KEY_REUSED" || r.keyOf(retailer.Participant).State != "active" {
		t.Errorf("the same name for somebody else: %v", err)
	}
	r.recovers(ann.Participant, "waiting")
	r.released(ann.Participant)
	r.recovers(ann.Participant, "done")
	again, err := r.Recover(r.ctx, operator, wish, ann.Participant)
	check(t, err)
	if again.ID != answers[0].ID || again.State != "done" || r.keyOf(ann.Participant).State != "active" {
		t.Errorf("asked again at the end: %+v, his key is %s", again, r.keyOf(ann.Participant).State)
	}
	r.fsck()
	next, err := r.Recover(r.ctx, operator, idem("recover"), ann.Participant)
	check(t, err)
	if shown := must2(r.RecoveryOf(r.ctx, operator, ann.Participant))(t); next.ID == again.ID || shown.ID != next.ID || next.KeyID != again.NewKeyID {
		t.Errorf("another theft: %+v, shown %+v", next, shown)
	}
}

// An organisation is frozen by the regulator, if at all: its recovery is its key's. System keys have no recovery.
func TestRecoveryOfAnOrganisation(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	stolen := r.keyOf(retailer.Participant)
	_, err := r.StartRecovery(r.ctx, retailer.Participant, "ops")
	check(t, err)
	v := r.recovers(retailer.Participant, "done")
	for _, step := range v.Steps {
		if step.Done == step.Not {
			t.Errorf("step %+v", step)
		}
	}
	if v.KeyID != stolen.ID || v.NewKeyID == "" {
		t.Errorf("%+v", v)
	}
	r.confirm(r.consumer("ann"), r.offer(retailer, 1, 1), 1)
	for _, who := range []string{transfer.Admin1, transfer.PlatformID, "nobody"} {
		if _, err := r.StartRecovery(r.ctx, who, "ops"); err == nil {
			t.Errorf("recovered %s", who)
		}
	}
	r.fsck()
}

// Whoever is frozen for another reason stays so.
func TestRecoveryLeavesOtherFreezes(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	_, err := r.StartRecovery(r.ctx, ann.Participant, "ops")
	check(t, err)
	r.recovers(ann.Participant, "waiting")
	// As if that one had never been: what has frozen him is none of the next one's business.
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		last, err := tx.LastRecovery(ann.Participant)
		if err == nil {
			_, err = tx.MoveRecovery(last.ID, model.RecoveryWaiting, model.RecoveryReleasing, nil)
		}
		if err == nil {
			_, err = tx.MoveRecovery(last.ID, model.RecoveryReleasing, model.RecoveryDone, nil)
		}
		return err
	}))
	_, err = r.StartRecovery(r.ctx, ann.Participant, "ops")
	check(t, err)
	if v := r.recovers(ann.Participant, "done"); !v.Steps[1].Not || !v.Steps[5].Not {
		t.Errorf("steps %+v", v.Steps)
	}
	b, err := r.ledger.Query(r.ctx, request.Ownership, "GetFreeze", []byte(ann.Participant))
	check(t, err)
	if !strings.Contains(string(b), `"platform"`) {
		t.Errorf("freeze %s", b)
	}
}

// A server that dies, again and again, at whatever it has come to, loses nothing: each start takes the next step.
func TestRecoveryGoesOnAfterDeaths(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	_, err := r.StartRecovery(r.ctx, ann.Participant, "ops")
	check(t, err)
	states := map[string]bool{}
	released := false
	for deaths := 0; ; deaths++ {
		r.reopen(t) // in the middle of whatever it was at
		ann = r.consumer("ann")
		v := r.recovery(ann.Participant)
		states[v.State] = true
		if v.State == "done" {
			break
		}
		if v.State == "waiting" && !released {
			r.released(ann.Participant)
			released = true
		}
		// It gets a moment that grows, so that it comes on in the end.
		ctx, cancel := context.WithTimeout(r.ctx, time.Duration(deaths*deaths)*time.Millisecond)
		<-ctx.Done()
		cancel()
	}
	if !states["stopping"] {
		t.Errorf("it was met %v", states)
	}
	stolen := r.recovery(ann.Participant).KeyID
	if k := r.ledgerKey(stolen); k.Version != 2 || k.Status != contract.KeyRevoked {
		t.Errorf("the stolen key %+v", k)
	}
	page, err := r.CustodyKeys(r.ctx, operator, transfer.KeyFilter{Owner: ann.Participant}, "", 10)
	check(t, err)
	if len(page.Items) != 2 {
		t.Errorf("he has %d keys", len(page.Items))
	}
	r.confirm(ann, r.offer(retailer, 1, 1), 1)
	r.fsck()
}

// A recovery that can't go on keeps no other from it, and what one waits for is asked for once.
func TestRecoveriesDontWaitForEachOther(t *testing.T) {
	t.Parallel()
	var s *stubborn
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		s = &stubborn{Signer: c.Signer, asked: map[string]int{}}
		c.Signer = s
	})
	stuck, other := r.consumer("ann").Participant, r.consumer("bob").Participant
	if stuck > other {
		stuck, other = other, stuck
	}
	stolen := r.keyOf(other)
	s.keep(r.keyOf(stuck).ID)
	for _, who := range []string{stuck, other} {
		_, err := r.StartRecovery(r.ctx, who, "ops")
		check(t, err)
	}
	r.recovers(stuck, "replacing")
	r.recovers(other, "waiting")
	s.mu.Lock()
	if n := s.asked[stolen.ID]; n != 1 {
		t.Errorf("another key was asked for %d times", n)
	}
	s.mu.Unlock()
	s.keep("")
	r.recovers(stuck, "waiting")
	r.fsck()
}

// stubborn is a custody that doesn't replace one key.
type stubborn struct {
	transfer.Signer
	mu    sync.Mutex
	kept  string         // guarded by mu
	asked map[string]int // for another key in the place of this one; guarded by mu
}

func (s *stubborn) keep(keyID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = keyID
}

func (s *stubborn) OrderKey(ctx context.Context, keyID, what, actor string) (transfer.KeyWish, error) {
	if what == model.WishReplace {
		s.mu.Lock()
		s.asked[keyID]++
		no := s.kept == keyID
		s.mu.Unlock()
		if no {
			return transfer.KeyWish{}, errWire
		}
	}
	return s.Signer.OrderKey(ctx, keyID, what, actor)
}

// A theft that is told while custody is sealed is not outrun by what the thief has asked for: when custody opens, the key
// stops before anything is signed with it that has waited.
func TestRecoveryOutrunsWhatWaits(t *testing.T) {
	t.Parallel()
	m := &moody{}
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		c.Trade.SweepInterval = time.Hour // nobody sweeps in time
		m.Signer = c.Signer
		c.Signer = m
	})
	ann := r.consumer("ann")
	key := r.keyOf(ann.Participant)
	trade := r.offer(retailer, 1, 1)
	m.set(transfer.ErrSealed)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.until("custody was asked", func() bool { return m.asked() > 0 })
	if _, err := r.Recover(r.ctx, operator, idem("recover"), ann.Participant); !errors.Is(err, transfer.ErrSealed) {
		t.Fatalf("while it is sealed: %v", err)
	}
	if now := r.keyOf(ann.Participant); now.State != "active" {
		t.Fatalf("the key is %s", now.State)
	}
	m.set(nil)
	r.await(act, "KEY_STOPPED")
	if now := must2(r.Signer.Key(r.ctx, key.ID))(t); now.State != "revoked" {
		t.Errorf("the key is %s", now.State)
	}
	r.fsck()
}

// A server whose custody is sealed leaves recoveries to one whose custody is open.
func TestRecoveryByAnotherServer(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	m := &moody{}
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		shared = *c
		m.Signer = c.Signer
		c.Signer = m
	})
	ann := r.consumer("ann")
	holder := func() (name string) {
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			leases, err := tx.Leases("sweep")
			for _, l := range leases {
				if l.Name == "sweep" && l.UntilAt > r.now() {
					name = l.Owner
				}
			}
			return err
		}))
		return name
	}
	r.until("the server sweeps", func() bool { return holder() == r.Service.Server })
	m.set(transfer.ErrSealed)
	if _, err := r.Recover(r.ctx, operator, idem("recover"), ann.Participant); !errors.Is(err, transfer.ErrSealed) {
		t.Fatalf("while it is sealed: %v", err)
	}
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })
	r.recovers(ann.Participant, "waiting")
	if h := holder(); h != other.Server {
		t.Errorf("%s sweeps, not %s", h, other.Server)
	}
	m.set(nil)
	for state, n := range map[string]int{"": 1, "waiting": 1, "done": 0} {
		if page, err := r.Recoveries(r.ctx, operator, state, "", 10); err != nil || len(page.Items) != n || n == 1 && page.Items[0].Participant != ann.Participant {
			t.Errorf("%q: %+v, %v", state, page, err)
		}
	}
	_, err := r.Recoveries(r.ctx, operator, "", "elsewhere", 10)
	wants(t, "a foreign cursor", err, "CURSOR_INVALID")
	_, err = r.Recoveries(r.ctx, retailer, "", "", 10)
	wants(t, "a shop", err, "FORBIDDEN")
	r.fsck()
}
