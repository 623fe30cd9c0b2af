package transfer_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// operator runs the platform's custody.
var operator = transfer.Caller{Participant: transfer.PlatformID, Role: request.Platform, Person: "person-ops", Roles: []string{"ops"}}

// keyOf is the key with which somebody signs, or had last.
func (r *rig) keyOf(owner string) transfer.KeyView {
	r.t.Helper()
	page, err := r.CustodyKeys(r.ctx, operator, transfer.KeyFilter{Owner: owner}, "", 10)
	check(r.t, err)
	newest := transfer.KeyView{}
	for _, k := range page.Items {
		if k.Version > newest.Version {
			newest = k
		}
	}
	return newest
}

// key looks at a key.
func (r *rig) key(id string) transfer.KeyView {
	r.t.Helper()
	return must2(r.CustodyKey(r.ctx, operator, id))(r.t)
}

// ledgerKey is a key as the ledger has it.
func (r *rig) ledgerKey(id string) contract.Key {
	r.t.Helper()
	b, err := r.ledger.Query(r.ctx, request.Identity, "GetKey", []byte(id))
	check(r.t, err)
	var k contract.Key
	check(r.t, json.Unmarshal(b, &k))
	return k
}

// ordered asks for something about a key and waits for its end on the ledger.
func (r *rig) ordered(what func(context.Context, transfer.Caller, transfer.Idem, string) (transfer.Act, error), keyID string) transfer.Act {
	r.t.Helper()
	act, err := what(r.ctx, operator, idem("keys"), keyID)
	check(r.t, err)
	return r.await(act, "")
}

// A key goes through its life in custody and on the ledger together; what one has stopped, the other refuses.
func TestLifeOfAKey(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	key := r.keyOf(ann.Participant)
	stands := func(id, here string, there contract.KeyStatus, version int) {
		t.Helper()
		if k, l := r.key(id), r.ledgerKey(id); k.State != here || l.Status != there || l.Version != version || len(k.Wishes) != 0 {
			t.Errorf("key is %s here (%+v), %s in version %d on the ledger; want %s, %s, %d", k.State, k.Wishes, l.Status, l.Version, here, there, version)
		}
	}
	stands(key.ID, "active", contract.KeyActive, 1)

	r.ordered(r.SuspendKey, key.ID)
	stands(key.ID, "suspended", contract.KeySuspended, 2)
	trade := r.offer(retailer, 1, 1)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.await(act, "KEY_STOPPED")

	r.ordered(r.ResumeKey, key.ID)
	stands(key.ID, "active", contract.KeyActive, 3)
	r.confirm(ann, trade, 1)

	r.ordered(r.RotateKey, key.ID)
	stands(key.ID, "rotated", contract.KeyRotated, 4)
	next := r.keyOf(ann.Participant)
	if next.ID == key.ID || next.Version != 2 {
		t.Fatalf("the next key is %+v", next)
	}
	stands(next.ID, "active", contract.KeyActive, 1)
	r.confirm(ann, r.offer(retailer, 2, 2), 2)

	r.ordered(r.RevokeKey, key.ID)
	stands(key.ID, "revoked", contract.KeyRevoked, 5)
	r.ordered(r.RevokeKey, next.ID)
	stands(next.ID, "revoked", contract.KeyRevoked, 2)

	// He who has no key any more gets one beside the revoked ones.
	r.ordered(r.RotateKey, next.ID)
	last := r.keyOf(ann.Participant)
	stands(last.ID, "active", contract.KeyActive, 1)
	r.confirm(ann, r.offer(retailer, 3, 3), 3)
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error { return tx.DestroyCustodyKey(key.ID) })) // as two people have decided
	r.fsck()
}

// Keys of those whom two administrators have registered, and the platform's own, take the same ways.
func TestLifeOfOtherKeys(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	for _, owner := range []string{carrier.Participant, regulator.Participant, retailer.Participant} {
		key := r.keyOf(owner)
		r.ordered(r.SuspendKey, key.ID)
		r.ordered(r.ResumeKey, key.ID)
		r.ordered(r.RotateKey, key.ID)
	}
	page, err := r.CustodyKeys(r.ctx, operator, transfer.KeyFilter{Owner: transfer.PlatformID}, "", 10)
	check(t, err)
	for _, key := range page.Items {
		r.ordered(r.SuspendKey, key.ID)
		r.ordered(r.ResumeKey, key.ID)
		r.ordered(r.RotateKey, key.ID)
	}
	admin := r.keyOf(transfer.Admin1)
	_, err = r.SuspendKey(r.ctx, operator, idem("keys"), admin.ID)
	wants(t, "suspend an administrator", err, "KEY_PROTECTED")
	_, err = r.RevokeKey(r.ctx, operator, idem("keys"), admin.ID)
	wants(t, "revoke an administrator", err, "KEY_PROTECTED")
	r.ordered(r.RotateKey, admin.ID)
	r.ordered(r.RotateKey, r.keyOf(transfer.Admin2).ID)
	// All of them work with their new keys.
	r.issue(200_001, 200_010)
	r.sell(carrier, distributor, 200_001, 200_010)
	r.registered("new")
	r.confirm(r.consumer("ann"), r.offer(retailer, 1, 1), 1)
	r.fsck()
}

// Only the platform's operators order keys about, each wish is one act, and what the state forbids is refused.
func TestWhoOrdersKeys(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	key := r.keyOf(r.consumer("ann").Participant)
	for _, c := range []transfer.Caller{carrier, retailer, regulator, r.consumer("ann"), {Participant: transfer.PlatformID, Role: request.Platform, Person: "auditor", Roles: []string{"auditor"}}} {
		_, err := r.SuspendKey(r.ctx, c, idem("keys"), key.ID)
		wants(t, "by "+c.Participant, err, "FORBIDDEN")
		_, err = r.CustodyKeys(r.ctx, c, transfer.KeyFilter{}, "", 1)
		wants(t, "list by "+c.Participant, err, "FORBIDDEN")
	}
	_, err := r.SuspendKey(r.ctx, operator, idem("keys"), "00")
	wants(t, "an unknown key", err, "CUSTODY_KEY_NOT_FOUND")
	_, err = r.ResumeKey(r.ctx, operator, idem("keys"), key.ID)
	wants(t, "resume an active key", err, "CUSTODY_KEY_TRANSITION")
	_, err = r.SuspendKey(r.ctx, operator, transfer.Idem{Route: "keys"}, key.ID)
	wants(t, "without a key of idempotency", err, "IDEMPOTENCY_KEY_REQUIRED")
	if r.key(key.ID).State != "active" {
		t.Fatal("it was stopped all the same")
	}
	wish := idem("keys")
	var all sync.WaitGroup
	acts := make([]transfer.Act, 8)
	for i := range acts {
		all.Go(func() {
			a, err := r.SuspendKey(r.ctx, operator, wish, key.ID)
			if err != nil {
				t.Error(err)
			}
			acts[i] = a
		})
	}
	all.Wait()
	for _, a := range acts {
		if a.ID != acts[0].ID || a.ID == "" {
			t.Errorf("acts %q and %q", a.ID, acts[0].ID)
		}
	}
	r.await(acts[0], "")
	// Asked again when all is done, the same wish has the same answer.
	again, err := r.SuspendKey(r.ctx, operator, wish, key.ID)
	check(t, err)
	if again.ID != acts[0].ID || again.State != "committed" {
		t.Errorf("asked again: %+v", again)
	}
	other := wish
	other.BodyDigest = "y"
	_, err = r.SuspendKey(r.ctx, operator, other, key.ID)
	wants(t, "another body", err, "IDEMPOTENCY_KEY_REUSED")
	_, err = r.SuspendKey(r.ctx, operator, idem("keys"), key.ID)
	wants(t, "suspended twice", err, "CUSTODY_KEY_TRANSITION")
	if v := r.ledgerKey(key.ID).Version; v != 2 {
		t.Errorf("version %d on the ledger", v)
	}
	r.fsck()
}

// byAdministrators moves a key on the ledger as somebody else than this platform's operators would: another gateway, with
// the administrators' signatures.
func (r *rig) byAdministrators(body request.Body) {
	r.t.Helper()
	req := request.New("test", body)
	var proof request.Proof
	for _, admin := range []string{transfer.Admin1, transfer.Admin2} {
		keyID, err := r.Signer.ActiveKey(r.ctx, admin, transfer.SlotAccount)
		check(r.t, err)
		sig, err := r.Signer.Sign(r.ctx, transfer.Ask{
			Owner: admin, Slot: transfer.SlotAccount, Purpose: body.Function(), Subject: "elsewhere-" + req.ID(), Attempt: 1, KeyID: keyID,
			NotAfter: r.clock.now().Add(time.Hour).UnixMilli(), Actor: "elsewhere",
		}, body)
		check(r.t, err)
		proof.Signatures = append(proof.Signatures, sig)
	}
	p, err := r.file.Prepare(request.Identity, body.Function(), [][]byte{req.Args, proof.Encode()})
	check(r.t, err)
	_, err = r.file.Submit(r.ctx, p, nil, func() error { return nil })
	check(r.t, err)
}

// What the ledger learns first, custody follows.
func TestTheLedgerLearnsFirst(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	key := r.keyOf(ann.Participant)
	at := func(version int) request.KeyAct { return request.KeyAct{Key: key.ID, Version: version} }
	is := func(state string) func() bool { return func() bool { return r.key(key.ID).State == state } }
	r.byAdministrators(request.SuspendKey{KeyAct: at(1)})
	r.until("custody has suspended it", is("suspended"))
	// The administrators' keys are kept here, and let nobody sign again whom no operator here lets.
	ask := transfer.Ask{Owner: transfer.Admin1, Slot: transfer.SlotAccount, Purpose: "ResumeKey", Subject: "elsewhere", Attempt: 1,
		NotAfter: r.clock.now().Add(time.Hour).UnixMilli(), Actor: "elsewhere"}
	if _, err := r.Signer.Sign(r.ctx, ask, request.ResumeKey{KeyAct: at(2)}); !errors.Is(err, transfer.ErrUnauthorised) {
		t.Errorf("resumed by nobody's order: %v", err)
	}
	r.byAdministrators(request.RevokeKey{KeyAct: at(2)})
	r.until("custody has revoked it", is("revoked"))
	trade := r.offer(retailer, 2, 2)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(2))
	check(t, err)
	r.await(act, "KEY_STOPPED")
	r.fsck()
}

// Both learn it at once: the key is stopped once, and whoever came second is told that it is done.
func TestBothLearnAtOnce(t *testing.T) {
	t.Parallel()
	gate := make(chan struct{})
	hold := sync.Once{}
	open := func() { hold.Do(func() { close(gate) }) }
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { return &deafTo{Ledger: l, gate: gate} }, nil)
	t.Cleanup(open)
	key := r.keyOf(r.consumer("ann").Participant)
	act, err := r.SuspendKey(r.ctx, operator, idem("keys"), key.ID)
	check(t, err)
	if r.key(key.ID).State != "suspended" {
		t.Error("custody waits for the ledger")
	}
	r.byAdministrators(request.SuspendKey{KeyAct: request.KeyAct{Key: key.ID, Version: 1}})
	r.until("custody has heard of it", func() bool { return len(r.key(key.ID).Wishes) == 0 })
	open()
	r.await(act, contract.AlreadyApplied)
	if l := r.ledgerKey(key.ID); l.Status != contract.KeySuspended || l.Version != 2 {
		t.Errorf("on the ledger %+v", l)
	}
	// And the other way: what is asked last is what comes of it.
	first, err := r.ResumeKey(r.ctx, operator, idem("keys"), key.ID)
	check(t, err)
	second, err := r.SuspendKey(r.ctx, operator, idem("keys"), key.ID)
	check(t, err)
	for _, a := range []transfer.Act{first, second} {
		ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
		_, err := r.Await(ctx, a.ID)
		cancel()
		check(t, err)
	}
	r.until("nobody wishes anything", func() bool { return len(r.key(key.ID).Wishes) == 0 })
	if k, l := r.key(key.ID), r.ledgerKey(key.ID); k.State != "suspended" || l.Status != contract.KeySuspended {
		t.Errorf("it is %s here, %s there", k.State, l.Status)
	}
	r.fsck()
}

// deafTo answers nothing about keys before its gate is open.
type deafTo struct {
	ledger.Ledger
	gate chan struct{}
}

func (g *deafTo) Query(ctx context.Context, c, function string, args ...[]byte) ([]byte, error) {
	if function == "GetKey" {
		select {
		case <-g.gate:
		default:
			return nil, failure(ledger.NotSent)
		}
	}
	return g.Ledger.Query(ctx, c, function, args...)
}

// A wish whose server died before it had an act is carried by whoever comes next, once.
func TestAbandonedWishes(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann, bob, cat := r.keyOf(r.consumer("ann").Participant), r.keyOf(r.consumer("bob").Participant), r.keyOf(r.consumer("cat").Participant)
	for what, id := range map[string]string{model.WishSuspend: ann.ID, model.WishRevoke: bob.ID, model.WishReplace: cat.ID} {
		if _, err := r.Signer.OrderKey(r.ctx, id, what, "ops"); err != nil { // as on the command line, beside a server
			t.Fatal(err)
		}
	}
	r.reopen(t)
	for id, want := range map[string]contract.KeyStatus{ann.ID: contract.KeySuspended, bob.ID: contract.KeyRevoked, cat.ID: contract.KeyRotated} {
		r.until("the ledger has followed", func() bool { return len(r.key(id).Wishes) == 0 })
		if l := r.ledgerKey(id); l.Status != want || l.Version != 2 {
			t.Errorf("on the ledger %+v, want %s", l, want)
		}
	}
	r.confirm(r.consumer("cat"), r.offer(retailer, 1, 1), 1)
	r.fsck()
}

// An act that was signed with a key which is rotated before the act commits is signed anew, with the next key.
func TestRotationUnderWay(t *testing.T) {
	t.Parallel()
	wire := &heldWire{hold: map[string]bool{}, waiting: make(chan struct{}, 8)}
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { wire.Ledger = l; return wire }, nil)
	ann := r.consumer("ann")
	key := r.keyOf(ann.Participant)
	trade := r.offer(retailer, 1, 1)
	wire.set("Confirm", true)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	<-wire.waiting
	r.ordered(r.RotateKey, key.ID)
	wire.set("Confirm", false)
	r.await(act, "")

	// The platform's ticket is under the same confirmation.
	trade = r.offer(retailer, 2, 2)
	wire.set("Confirm", true)
	act, err = r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(2))
	check(t, err)
	for r.actRow(act.ID).State != model.ActPrepared {
		<-wire.waiting
	}
	r.ordered(r.RotateKey, must2(r.Signer.ActiveKey(r.ctx, transfer.PlatformID, transfer.SlotTicket))(t))
	wire.set("Confirm", false)
	r.await(act, "")
	r.fsck()
}

// The ledger has rotated the key, and custody has not heard of it: what it refuses meanwhile is not over.
func TestRotationNotHeardOfYet(t *testing.T) {
	t.Parallel()
	wire := &heldWire{hold: map[string]bool{}, waiting: make(chan struct{}, 8)}
	keys := &hardOfHearing{gate: make(chan struct{})}
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger { wire.Ledger = l; return wire }, func(c *transfer.Config) {
		keys.Signer = c.Signer
		c.Signer = keys
	})
	open := sync.OnceFunc(func() { close(keys.gate) })
	t.Cleanup(open)
	ann := r.consumer("ann")
	key := r.keyOf(ann.Participant)
	trade := r.offer(retailer, 1, 1)
	wire.set("Confirm", true)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	<-wire.waiting
	keys.deaf.Store(true)
	_, err = r.RotateKey(r.ctx, operator, idem("keys"), key.ID)
	check(t, err)
	r.until("the ledger has rotated it", func() bool { return r.ledgerKey(key.ID).Status == contract.KeyRotated })
	wire.set("Confirm", false)
	r.until("the ledger has refused it", func() bool {
		a := r.actRow(act.ID)
		return strings.Contains(a.ErrorText, contract.KeyInactive)
	})
	open()
	r.await(act, "")
	r.fsck()
}

// hardOfHearing is a custody that hears late of what the ledger says of keys.
type hardOfHearing struct {
	transfer.Signer
	deaf atomic.Bool
	gate chan struct{}
}

func (h *hardOfHearing) FollowKeys(ctx context.Context, txID string, keys []contract.Key) error {
	if h.deaf.Load() {
		select {
		case <-h.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return h.Signer.FollowKeys(ctx, txID, keys)
}

// heldWire keeps transactions of a function from being sent.
type heldWire struct {
	ledger.Ledger
	mu      sync.Mutex
	hold    map[string]bool
	waiting chan struct{}
}

func (w *heldWire) set(function string, hold bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hold[function] = hold
}

func (w *heldWire) Submit(ctx context.Context, p ledger.Proposal, transient map[string][]byte, sending func() error) (ledger.Commit, error) {
	w.mu.Lock()
	hold := w.hold[p.Function]
	w.mu.Unlock()
	if hold {
		select {
		case w.waiting <- struct{}{}:
		default:
		}
		return ledger.Commit{}, failure(ledger.NotSent)
	}
	return w.Ledger.Submit(ctx, p, transient, sending)
}

// fsck finds keys that are not as the ledger has them, and lets custody follow where the ledger proves something.
func TestFsckOfKeys(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	var ids []string
	for _, name := range []string{"ann", "bob", "cat", "dan"} {
		ids = append(ids, r.keyOf(r.consumer(name).Participant).ID)
	}
	r.ordered(r.SuspendKey, ids[0])
	r.ordered(r.RevokeKey, ids[1])
	if rep := r.fsck(); rep.Keys < 8 {
		t.Errorf("it looked at %d keys", rep.Keys)
	}
	// By hand: a suspended key is let go on, what custody heard of a revocation is undone, an active key is stopped.
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		return errors.Join(
			tx.MoveCustodyKey(ids[0], model.CustodySuspended, model.CustodyActive),
			tx.MoveCustodyKey(ids[2], model.CustodyActive, model.CustodySuspended),
		)
	}))
	rep, err := r.Check(r.ctx, nil)
	check(t, err)
	found := map[string]transfer.Finding{}
	for _, f := range rep.Findings {
		if f.Kind != "KEY" {
			t.Errorf("found %+v", f)
		}
		found[f.Subject] = f
	}
	if len(found) != 2 || found[ids[0]].Remedy == "" || found[ids[2]].Remedy != "" {
		t.Fatalf("found %+v", rep.Findings)
	}
	rep, err = r.Repair(r.ctx, nil)
	check(t, err)
	if r.key(ids[0]).State != "suspended" || r.key(ids[2]).State != "suspended" || rep.Clean() {
		t.Errorf("repaired to %s and %s", r.key(ids[0]).State, r.key(ids[2]).State)
	}
	// Only a person can say what shall be of the one that nobody had ordered to stop.
	act, err := r.ResumeKey(r.ctx, operator, idem("keys"), ids[2])
	check(t, err)
	r.await(act, contract.AlreadyApplied)
	if r.key(ids[2]).State != "active" {
		t.Errorf("it is %s", r.key(ids[2]).State)
	}
	r.fsck()
}

// fsck puts right which key a participant signs with: the one that he has now, not the one that he was registered with.
func TestFsckOfTheKeyThatSigns(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann").Participant
	r.ordered(r.RotateKey, r.keyOf(ann).ID)
	r.ordered(r.RotateKey, r.participant(transfer.PlatformID).KeyID)
	registrar := must2(r.Signer.ActiveKey(r.ctx, transfer.PlatformID, transfer.SlotRegistrar))(t)
	for owner, want := range map[string]string{ann: r.keyOf(ann).ID, transfer.PlatformID: registrar} {
		if now := r.participant(owner).KeyID; now != want {
			t.Errorf("%s signs with %s, want %s", owner, now, want)
		}
		check(t, r.db.Write(r.ctx, func(tx *model.Tx) error { return tx.SetKey(owner, "00") }))
		must2(r.Repair(r.ctx, nil))(t)
		if now := r.participant(owner).KeyID; now != want {
			t.Errorf("repaired: %s signs with %s, want %s", owner, now, want)
		}
	}
	r.fsck()
}

func (r *rig) participant(id string) (p model.Participant) {
	r.t.Helper()
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) (err error) {
		p, err = tx.Participant(id)
		return err
	}))
	return p
}

// A peer that is behind is no reason to call something done: what it says is older than what is known here.
func TestPeerBehind(t *testing.T) {
	t.Parallel()
	var peer *behind
	r := newStockedWith(t, func(l ledger.Ledger) ledger.Ledger {
		peer = &behind{Ledger: l, old: map[string][]byte{}, times: map[string]int{}}
		return peer
	}, nil)
	ann := r.consumer("ann").Participant
	key := r.keyOf(ann)
	peer.remember(t, request.Identity, "GetKey", key.ID)
	r.ordered(r.SuspendKey, key.ID)
	act, err := r.ResumeKey(r.ctx, operator, idem("keys"), key.ID)
	check(t, err)
	r.until("the old answer was given", func() bool { return peer.answered("GetKey") > 1 })
	peer.forget("GetKey")
	r.await(act, "")

	peer.remember(t, request.Ownership, "GetFreeze", ann) // nobody has frozen him
	_, err = r.StartRecovery(r.ctx, ann, "ops")
	check(t, err)
	r.recovers(ann, "waiting")
	before := peer.answered("GetFreeze")
	r.released(ann)
	r.until("the old answer was given", func() bool { return peer.answered("GetFreeze") > before+1 })
	peer.forget("GetFreeze")
	r.recovers(ann, "done")
	r.fsck()
}

// behind is a ledger of which one function's answer can be an old one.
type behind struct {
	ledger.Ledger
	mu    sync.Mutex
	old   map[string][]byte // by function; guarded by mu
	times map[string]int    // it was given; guarded by mu
}

func (b *behind) remember(t *testing.T, c, function, arg string) {
	t.Helper()
	answer, err := b.Ledger.Query(t.Context(), c, function, []byte(arg))
	check(t, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.old[function] = answer
}

func (b *behind) forget(function string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.old, function)
}

func (b *behind) answered(function string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.times[function]
}

func (b *behind) Query(ctx context.Context, c, function string, args ...[]byte) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if answer, ok := b.old[function]; ok {
		b.times[function]++
		return answer, nil
	}
	return b.Ledger.Query(ctx, c, function, args...)
}
