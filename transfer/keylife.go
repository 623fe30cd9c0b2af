package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// A key lives in two places: custody signs with it, the identity contract accepts what it signed. What stops a key is true
// in custody first, what lets one sign is true on the ledger first, and each learns from the other. Custody keeps a wish
// for what the ledger has still to follow. A wish is carried by an act that is named after it, so that whoever carries it,
// however often, carries it once; what it says to the ledger is found out when its turn comes, from how the key stands
// there by then. The wish goes when the ledger has followed, whoever made it.

// KeyLife is how custody's keys live.
type KeyLife interface {
	// OrderKey makes a wish: suspend, resume, revoke or replace. Errors: CUSTODY_KEY_NOT_FOUND, CUSTODY_KEY_TRANSITION.
	OrderKey(ctx context.Context, keyID, what, actor string) (KeyWish, error)
	// KeyWishes walks what the ledger has still to follow, by ID.
	KeyWishes(ctx context.Context, after string, limit int) ([]KeyWish, error)
	// PrepareKey makes the key that is to come after another one, if it isn't made yet.
	PrepareKey(ctx context.Context, keyID, actor string) (request.NewKey, error)
	// FollowKeys takes over what a transaction says of keys; older news than what is known change nothing.
	FollowKeys(ctx context.Context, txID string, keys []contract.Key) error
	// MendKeys takes over what the ledger says now, whatever is known.
	MendKeys(ctx context.Context, keys []contract.Key) error
	// Keys lists keys, newest first; Key shows one. Errors: CURSOR_INVALID; CUSTODY_KEY_NOT_FOUND.
	Keys(ctx context.Context, f KeyFilter, cursor string, limit int) (Page[KeyView], error)
	Key(ctx context.Context, keyID string) (KeyView, error)
}

// KeyWish is what custody wants of the ledger.
type KeyWish struct {
	ID    string
	KeyID string
	What  string // suspend, resume, revoke, replace
	Actor string
	Owner string
	Role  request.Role
	State model.CustodyKeyState // of the key
}

// KeyFilter says which keys are listed; zero fields don't restrict.
type KeyFilter struct {
	Owner string
	State string
	From  time.Time // of creation
	To    time.Time
}

// KeyView is a custodial key as those see it who run the custody.
type KeyView struct {
	ID            string
	Owner         string
	Role          string
	Slot          string
	Version       int
	Kind          string
	Functions     []string
	Public        string // hex
	State         string
	CreatedAt     time.Time
	KEKVersion    int
	LedgerStatus  string // "" as it was registered
	LedgerVersion int
	Wishes        []KeyWishView
	Successor     string
}

// KeyWishView is a wish as those see it who wait for it.
type KeyWishView struct {
	What      string
	Actor     string
	CreatedAt time.Time
}

// keyPlan is an act on a key before it is known what to say of it.
type keyPlan struct {
	Key  string // in custody
	Wish string
	Name string // the wish's ID
}

// SuspendKey stops a key here at once, and on the ledger.
func (s *Service) SuspendKey(ctx context.Context, c Caller, idem Idem, keyID string) (Act, error) {
	return s.orderKey(ctx, c, idem, keyID, model.WishSuspend)
}

// ResumeKey lets a suspended key sign again, when the ledger has it.
func (s *Service) ResumeKey(ctx context.Context, c Caller, idem Idem, keyID string) (Act, error) {
	return s.orderKey(ctx, c, idem, keyID, model.WishResume)
}

// RevokeKey stops a key here at once, and on the ledger, for ever.
func (s *Service) RevokeKey(ctx context.Context, c Caller, idem Idem, keyID string) (Act, error) {
	return s.orderKey(ctx, c, idem, keyID, model.WishRevoke)
}

// RotateKey gives the owner of a key the next version of it. The old one signs until the ledger has the new one.
func (s *Service) RotateKey(ctx context.Context, c Caller, idem Idem, keyID string) (Act, error) {
	return s.orderKey(ctx, c, idem, keyID, model.WishReplace)
}

// CustodyKeys lists the custodial keys, newest first.
func (s *Service) CustodyKeys(ctx context.Context, c Caller, f KeyFilter, cursor string, limit int) (Page[KeyView], error) {
	if err := operates(c); err != nil {
		return Page[KeyView]{}, err
	}
	return s.Signer.Keys(ctx, f, cursor, limit)
}

// CustodyKey shows one.
func (s *Service) CustodyKey(ctx context.Context, c Caller, keyID string) (KeyView, error) {
	if err := operates(c); err != nil {
		return KeyView{}, err
	}
	return s.Signer.Key(ctx, keyID)
}

// operates refuses everybody but the platform's operators.
func operates(c Caller) error {
	if c.Role != request.Platform || !slices.Contains(c.Roles, "ops") {
		return fail("FORBIDDEN")
	}
	return nil
}

// orderKey makes the wish, then the act that carries it. A crash in between leaves the wish, which is taken up by whoever
// sweeps, and by the caller who asks again.
func (s *Service) orderKey(ctx context.Context, c Caller, idem Idem, keyID, what string) (Act, error) {
	if err := operates(c); err != nil {
		return Act{}, err
	}
	if idem.Key == "" {
		return Act{}, fail("IDEMPOTENCY_KEY_REQUIRED")
	}
	if id, err := s.recalled(ctx, c, idem); id != "" || err != nil {
		return s.answer(ctx, id, err)
	}
	if err := s.spared(ctx, keyID, what); err != nil {
		return Act{}, err
	}
	w, err := s.Signer.OrderKey(ctx, keyID, what, c.actor())
	if err != nil {
		return Act{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) { return s.carryWish(tx, w) })
	return s.answer(ctx, id, err)
}

// spared keeps the administrators' keys from being stopped: both of them must sign to let one go on, or to replace it.
func (s *Service) spared(ctx context.Context, keyID, what string) error {
	k, err := s.Signer.Key(ctx, keyID)
	if err == nil && k.Role == string(request.Administrator) && what != model.WishReplace {
		err = fail("KEY_PROTECTED")
	}
	return err
}

// recalled finds the act of a wish that was accepted before, "" if there is none. Errors: IDEMPOTENCY_KEY_REUSED.
func (s *Service) recalled(ctx context.Context, c Caller, idem Idem) (id string, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		old, err := tx.Recall(c.actor(), idem.Route, idem.Key)
		if errors.Is(err, model.ErrNotFound) {
			return nil
		}
		if err == nil && old.BodyDigest != idem.BodyDigest {
			err = fail("IDEMPOTENCY_KEY_REUSED")
		}
		id = old.ActID
		return err
	})
	return id, err
}

// carryWish finds the act that carries a wish, or accepts it.
func (s *Service) carryWish(tx *model.Tx, w KeyWish) (string, error) {
	return s.carryAgain(tx, "key-"+w.ID, func(id string) draft { return keyDraft(id, w) })
}

// carryAgain finds the act of a name, or accepts it. After one that has failed comes another, when some time has passed: its
// cause is likely one that a person has to mend.
func (s *Service) carryAgain(tx *model.Tx, name string, make func(id string) draft) (string, error) {
	for n := 1; ; n++ {
		id := name
		if n > 1 {
			id = fmt.Sprintf("%s-%d", name, n)
		}
		a, err := tx.Act(id)
		if errors.Is(err, model.ErrNotFound) {
			_, err = s.accept(tx, make(id))
			return id, err
		}
		if err != nil || a.State != model.ActFailed || s.now() < a.UpdatedAt+model.Millis(releasePause.Milliseconds()) {
			return id, err
		}
	}
}

// keyDraft is the act that carries a wish. The registrar signs for those whom it has registered; for the others, and to
// give anybody another key, two administrators do.
func keyDraft(id string, w KeyWish) draft {
	function := map[string]string{model.WishSuspend: "SuspendKey", model.WishResume: "ResumeKey", model.WishRevoke: "RevokeKey"}[w.What]
	parties := overKeysOf(w.Role)
	switch {
	case w.What == model.WishReplace && w.State.Live():
		function = "RotateKey"
	case w.What == model.WishReplace:
		function = "PublishKey"
	}
	if w.What == model.WishReplace {
		parties = administrators()
	}
	return draft{
		ID: id, Contract: request.Identity, Function: function, Actor: PlatformID, Person: w.Actor, Subject: w.KeyID,
		Fields: fields{Parties: parties, Key: &keyPlan{Key: w.KeyID, Wish: w.What, Name: w.ID}},
	}
}

// overKeysOf are those who may stop the keys of somebody of a role: who has registered him.
func overKeysOf(role request.Role) []party {
	switch role {
	case request.Consumer, request.Retailer, request.Distributor:
		return []party{{PlatformID, SlotRegistrar}}
	}
	return administrators()
}

func administrators() []party { return []party{{Admin1, SlotAccount}, {Admin2, SlotAccount}} }

// SweepKeys takes up the wishes that nobody carries: their server died, or they were made where there is no ledger.
func (s *Service) SweepKeys(ctx context.Context) error {
	for after := ""; ; {
		list, err := s.Signer.KeyWishes(ctx, after, sweepBatch)
		if err != nil {
			return err
		}
		for _, w := range list {
			err := s.DB.Write(ctx, func(tx *model.Tx) error {
				_, err := s.carryWish(tx, w)
				return err
			})
			if err != nil && !errors.Is(err, model.ErrConflict) { // else another server has just done it
				return fmt.Errorf("wish %s: %w", w.ID, err)
			}
			after = w.ID
		}
		if len(list) > 0 {
			s.kick()
		}
		if len(list) < sweepBatch {
			return nil
		}
	}
}

// keyBody finds out what is to be said to the ledger of a key, from how it stands there now. A wish that has come true
// already, by whoever's hand, ends its act with ALREADY_APPLIED.
func (s *Service) keyBody(ctx context.Context, a model.Act, p keyPlan) (request.Body, error) {
	if err := s.DB.Write(ctx, func(tx *model.Tx) error { return turn(tx, a, p) }); err != nil {
		return nil, err
	}
	k, err := s.ledgerKey(ctx, p.Key)
	switch {
	case contract.CodeOf(err) == contract.KeyUnknown:
		return nil, s.unregistered(ctx, p.Key, err)
	case err != nil:
		return nil, err
	}
	if known, err := s.Signer.Key(ctx, p.Key); err != nil {
		return nil, err
	} else if k.Version < known.LedgerVersion {
		return nil, behind("key " + k.ID)
	}
	if p.Wish == model.WishReplace {
		return s.replacement(ctx, a, k)
	}
	if keyStands(p.Wish, k.Status) {
		if err := s.Signer.MendKeys(ctx, []contract.Key{k}); err != nil {
			return nil, err
		}
		return nil, fail(contract.AlreadyApplied)
	}
	at := request.KeyAct{Key: k.ID, Version: k.Version}
	switch a.Function {
	case "SuspendKey":
		return request.SuspendKey{KeyAct: at}, nil
	case "ResumeKey":
		return request.ResumeKey{KeyAct: at}, nil
	case "RevokeKey":
		return request.RevokeKey{KeyAct: at}, nil
	}
	return nil, fmt.Errorf("act %s: no plan for %s", a.ID, a.Function)
}

// keyStands reports whether a key on the ledger is where a wish wants it, or can never get there.
func keyStands(wish string, is contract.KeyStatus) bool {
	switch wish {
	case model.WishSuspend:
		return is != contract.KeyActive
	case model.WishResume:
		return is != contract.KeySuspended
	}
	return is == contract.KeyRevoked
}

// replacement gives the owner of a key the next one: in the place of the old one, or beside it if that was revoked.
func (s *Service) replacement(ctx context.Context, a model.Act, old contract.Key) (request.Body, error) {
	next, err := s.Signer.PrepareKey(ctx, old.ID, "relay")
	if err != nil {
		return nil, err
	}
	p, err := query[contract.Participant](ctx, s.Ledger, request.Identity, "GetParticipant", old.Participant)
	if err != nil {
		return nil, waiting(err)
	}
	if slices.Contains(p.Keys, next.Public.KeyID()) {
		k, err := s.ledgerKey(ctx, next.Public.KeyID())
		if err == nil {
			err = s.Signer.MendKeys(ctx, []contract.Key{old, k})
		}
		if err == nil {
			err = fail(contract.AlreadyApplied)
		}
		return nil, err
	}
	if a.Function == "RotateKey" {
		return request.RotateKey{Participant: p.ID, Version: p.Version, OldKey: old.ID, Key: next}, nil
	}
	return request.PublishKey{Participant: p.ID, Version: p.Version, Key: next}, nil
}

func (s *Service) ledgerKey(ctx context.Context, id string) (contract.Key, error) {
	k, err := query[contract.Key](ctx, s.Ledger, request.Identity, "GetKey", id)
	return k, waiting(err)
}

// waiting makes an act wait for a ledger that can't be asked.
func waiting(err error) error {
	if errors.Is(err, fail("UNAVAILABLE")) {
		return &later{err: errors.New(err.Error())} // without its code, which would end the act
	}
	return err
}

// behind makes an act wait for a peer that doesn't have yet what is known here: from its answer nothing follows.
func behind(what string) error {
	return &later{after: waitForAct, err: errors.New("the peer that was asked is behind: " + what)}
}

// unregistered is why nothing can be said of a key that the ledger does not know: its owner is being registered, and the
// act waits; or he never was.
func (s *Service) unregistered(ctx context.Context, keyID string, cause error) error {
	k, err := s.Signer.Key(ctx, keyID)
	if err != nil {
		return err
	}
	var p model.Participant
	err = s.DB.Read(ctx, func(tx *model.Tx) (err error) {
		p, err = tx.Participant(k.Owner)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, model.ErrNotFound):
		return err
	case p.State == model.ParticipantRegistering:
		return &later{after: waitForAct, err: cause}
	}
	return failf(contract.KeyUnknown, "key %s of %s is not on the ledger", keyID, k.Owner)
}

// turn says why an act on a key may not say anything to the ledger now. Its wish must be the one that stands: one that was
// overtaken by another is not carried any more. And what another act has fixed to say of this key has to end first: what
// this one says depends on what that leaves. The wish is locked, so that nobody wishes something else until it is recorded
// what this act says, and finds it then.
func turn(tx *model.Tx, a model.Act, p keyPlan) error {
	matter := model.KeyStanding
	if p.Wish == model.WishReplace {
		matter = model.KeySuccessor
	}
	w, err := tx.LockKeyWish(p.Key, matter)
	switch {
	case errors.Is(err, model.ErrNotFound):
		return fail(contract.AlreadyApplied)
	case err != nil:
		return err
	case w.ID != p.Name:
		return fail("KEY_OVERTAKEN")
	}
	open, err := tx.UnfinishedActsOn(a.Subject)
	if err != nil {
		return err
	}
	for _, other := range open {
		if other.ID != a.ID && other.Body != nil {
			return &later{after: waitForAct, waitsFor: other.ID, err: fmt.Errorf("act %s on this key is under way", other.ID)}
		}
	}
	return nil
}

// followKeys tells custody what a transaction says of keys. It comes before the transaction is settled, so that a crash
// between the two makes it happen again, and whoever sees an act on a key committed finds custody where the ledger is.
func (s *Service) followKeys(ctx context.Context, t ledger.Transaction) error {
	if t.Validation != ledger.Valid {
		return nil
	}
	var keys []contract.Key
	for _, w := range t.Writes {
		if kind, _, _ := strings.Cut(w.Key, "/"); w.Contract != request.Identity || kind != "K" {
			continue
		}
		var k contract.Key
		if err := json.Unmarshal(w.Value, &k); err != nil {
			return fmt.Errorf("transaction %s, %s: %w", t.ID, w.Key, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil
	}
	return s.Signer.FollowKeys(ctx, t.ID, keys)
}

// replaced reports whether a key that an act was signed with, or its ticket, has been replaced by another one of its owner,
// with which it may be signed anew. One that was suspended or revoked has not: whoever stopped it wants nothing signed for
// him. One that the ledger has rotated and custody has not heard of yet will be: the act waits for that.
func (s *Service) replaced(ctx context.Context, a model.Act) (bool, error) {
	proof, err := request.DecodeProof(a.Proof)
	if err != nil {
		return false, nil
	}
	signed := proof.Signatures
	if proof.Ticket != nil {
		signed = append(signed, *proof.Ticket)
	}
	for _, sig := range signed {
		k, err := s.Signer.Key(ctx, sig.KeyID)
		switch {
		case err != nil:
			return false, err
		case k.State == string(model.CustodyRotated):
			return true, nil
		case k.State == string(model.CustodyActive):
			l, err := s.ledgerKey(ctx, k.ID)
			if err != nil {
				return false, err
			}
			if l.Status == contract.KeyRotated {
				return false, &later{err: fmt.Errorf("%s: custody has not heard yet that key %s was rotated", contract.KeyInactive, k.ID)}
			}
		}
	}
	return false, nil
}
