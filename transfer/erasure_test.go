package transfer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/realname"
)

// erases has somebody's data deleted, as the server does.
func (r *rig) erases(c transfer.Caller, cards int64) (model.Erasure, error) {
	e, err := r.keys.Erase(r.ctx, custody.LoginToken(c.Session), cards, func(tx *model.Tx, consumer string) error {
		return r.Service.Erase(tx, consumer, cards)
	})
	if err == nil {
		r.NoteErasure(e.Participant)
	}
	return e, err
}

// read looks something up.
func read[T any](r *rig, look func(tx *model.Tx) (T, error)) (v T) {
	r.t.Helper()
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) (err error) {
		v, err = look(tx)
		return err
	}))
	return v
}

// What leads to a person is gone when his data are deleted, and what he leaves on the ledger stays what it was.
func TestErasure(t *testing.T) {
	t.Parallel()
	r := newStrict(t, 2, sandbox)
	const openid, words, key = "oXyZ-openid-of-eve-0001", "卡面有划痕-scratched", "a-key-of-hers-0001"
	eve := r.registered(openid)
	other := r.loggedIn(transfer.Caller{Participant: eve.Participant, Role: eve.Role})
	v := r.registers(eve, me("欧阳实名", 7), "pending")
	_, err := r.RefuseRealName(r.ctx, r.loggedIn(carrier), idem("refuse"), v.ID, "OTHER", "请本人来"+words)
	check(t, err)
	r.approved(eve, "欧阳实名", 7)
	strictly, open, declined := r.offer(retailer, strict, strict), r.offer(retailer, 1, 2), r.offer(retailer, 3, 3)
	r.confirm(eve, strictly, strict)
	r.confirm(eve, open, 1)
	act, err := r.Decline(r.ctx, eve, transfer.Idem{Key: key, Route: "decline", BodyDigest: "x"}, declined.TradeID, declined.Code, last6(3), "DAMAGED", words)
	check(t, err)
	r.await(act, "")
	ahead, err := r.ErasureAhead(r.ctx, eve)
	check(t, err)
	if ahead != (transfer.ErasureView{Cards: 3}) {
		t.Fatalf("ahead of her is %+v", ahead)
	}
	check(t, r.Subscribe(r.ctx, eve, idem("subscribe"), "return"))
	account := read(r, func(tx *model.Tx) (model.Account, error) {
		return tx.AccountByOpenID("wx", r.Vault.Index("openid", "wx|"+openid))
	})
	registrations := read(r, func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesOf(eve.Participant, "", 10) })
	reason := read(r, func(tx *model.Tx) (model.Trade, error) { return tx.Trade(declined.TradeID) })
	sum := sha256.Sum256([]byte(other.Session))
	gone := map[string][]byte{
		"openid": []byte(openid), "index": []byte(account.OpenIDIndex), "sealed openid": account.OpenIDSealed, "account": []byte(account.ID),
		"session": []byte(hex.EncodeToString(sum[:])), "reason": reason.ReasonTextSealed, "key of a wish": []byte(key),
		"name": []byte("欧阳实名"), "number": []byte(realname.Example(7)),
	}
	for _, n := range registrations {
		if n.State == model.RealNameRefused {
			gone["refusal"] = n.ReasonTextSealed
		}
	}
	for what, b := range gone {
		if len(b) < 8 {
			t.Fatalf("%s is %q", what, b)
		}
	}

	// Nothing of it stands if it can't all be done.
	failed := errors.New("the disk is full")
	_, err = r.keys.Erase(r.ctx, custody.LoginToken(eve.Session), 3, func(tx *model.Tx, consumer string) error {
		return errors.Join(r.Service.Erase(tx, consumer, 3), failed)
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	r.stands(eve, "approved")

	// Two taps at once, and once more for want of an answer: she hears the same.
	answers := make([]model.Erasure, 3)
	var wg sync.WaitGroup
	for i := range answers[:2] {
		wg.Go(func() {
			var err error
			if answers[i], err = r.erases(eve, 3); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	answers[2] = must2(r.erases(eve, 3))(t)
	if answers[0].Participant != eve.Participant || answers[0].Cards != 3 || answers[1] != answers[0] || answers[2] != answers[0] {
		t.Errorf("she hears %+v", answers)
	}
	if _, err := r.erases(other, 3); !errors.Is(err, custody.ErrSessionOver) {
		t.Errorf("her other phone: %v", err)
	}
	if is, err := r.Erased(r.ctx, other); err != nil || !is {
		t.Errorf("erased: %t %v", is, err)
	}
	rows, err := r.keys.Audit(r.ctx, model.AuditFilter{Act: "account.erase"}, "", 10)
	check(t, err)
	if len(rows.Items) != 1 || rows.Items[0].Actor != eve.Participant || rows.Items[0].Subject != eve.Participant || rows.Items[0].Detail != `{"cards":3}` {
		t.Errorf("the audit has %+v", rows.Items)
	}

	if n := r.waits(eve, "return"); n != 0 {
		t.Errorf("%d messages may be sent to her", n)
	}

	// Whatever still has her session does nothing with it.
	wants(t, "letting a message be sent", r.Subscribe(r.ctx, eve, idem("subscribe"), "return"), "LOGIN_TOO_OLD")
	_, err = r.SubmitRealName(r.ctx, eve, idem("real-name"), me("欧阳实名", 7))
	wants(t, "registering", err, "LOGIN_TOO_OLD")
	again := r.offer(retailer, 5, 5)
	_, err = r.Confirm(r.ctx, other, idem("confirm"), again.TradeID, again.Code, last6(5))
	wants(t, "confirming", err, "LOGIN_TOO_OLD")

	// The ledger follows: her key is revoked there, and the carrier takes its approval back.
	keys, err := r.Signer.Keys(r.ctx, transfer.KeyFilter{Owner: eve.Participant}, "", 10)
	check(t, err)
	if len(keys.Items) != 1 || keys.Items[0].State != "revoked" {
		t.Fatalf("her keys are %+v", keys.Items)
	}
	r.until("the ledger has revoked her key", func() bool {
		k, err := r.Signer.Key(r.ctx, keys.Items[0].ID)
		check(t, err)
		return k.LedgerStatus == "REVOKED" && len(k.Wishes) == 0
	})
	waiting, err := r.Approvals(r.ctx, r.loggedIn(carrier), true, "", 10)
	check(t, err)
	if len(waiting.Items) != 1 || waiting.Items[0].Kind != "REVOKE" || waiting.Items[0].Consumer != eve.Participant {
		t.Fatalf("the carrier has to decide about %+v", waiting.Items)
	}
	r.approve(waiting.Items[0].ID)
	r.until("nothing but a pseudonym is left of her registration", func() bool {
		left := read(r, func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesOf(eve.Participant, "", 10) })
		return len(left) == 1 && left[0].State == model.RealNameWithdrawn && left[0].Person == "" && len(left[0].IdentitySealed) == 0
	})

	// Who comes again is somebody else, also after a restart, when the journal is read.
	r.reopen(t)
	back := r.consumer(openid)
	if back.Participant == eve.Participant {
		t.Error("she is who she was")
	}
	r.fsck()
	delete(gone, "index") // which is her new account's, too
	r.close()
	database := r.place.Bytes(t)
	r.open(t)
	if !bytes.Contains(database, []byte(eve.Participant)) || !bytes.Contains(database, []byte(strictly.TradeID)) {
		t.Error("the trades are gone, or this is not the database")
	}
	for what, b := range gone {
		if bytes.Contains(database, b) {
			t.Errorf("the database holds her %s", what)
		}
	}
}

// What is on its way holds an erasure up, and each reason has its code.
func TestErasureRefused(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.registered("ann")
	trade := r.offer(retailer, 1, 1)
	r.confirm(ann, trade, 1)
	refused := func(what string, cards int64, code string) {
		t.Helper()
		_, err := r.erases(ann, cards)
		wants(t, what, err, code)
		ahead, err := r.ErasureAhead(r.ctx, ann)
		check(t, err)
		if code == "ERASURE_CARDS_CHANGED" {
			code = ""
		}
		if ahead.Obstacle != code || ahead.Cards != 1 {
			t.Errorf("%s: ahead of her is %+v", what, ahead)
		}
	}
	refused("other cards", 0, "ERASURE_CARDS_CHANGED")

	back, err := r.Return(r.ctx, ann, idem("return"), trade.TradeID, "")
	check(t, err)
	r.await(back, "")
	refused("a return", 1, "ERASURE_RETURN_OPEN")
	offers, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Side: "receiver", State: "offered"})
	check(t, err)
	act, err := r.Decline(r.ctx, retailer, idem("decline"), offers.Items[0].TradeID, "", "", "DAMAGED", "")
	check(t, err)
	r.await(act, "")

	later := model.MillisOf(time.Now().Add(time.Hour)) // nobody takes it up meanwhile
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		return tx.AddAct(model.Act{ID: "busy", Function: "Confirm", Contract: "ownership", Actor: ann.Participant, Subject: "none", State: model.ActAccepted, Attempt: 1, NextAt: later})
	}))
	refused("an act", 1, "ERASURE_BUSY")
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		_, err := tx.MoveAct("busy", model.ActAccepted, model.ActFailed, nil)
		return err
	}))

	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error { return tx.SetFrozen(ann.Participant, []string{"regulator"}) }))
	refused("a freeze", 1, "ERASURE_FROZEN")
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error { return tx.SetFrozen(ann.Participant, nil) }))

	staff := r.loggedIn(transfer.Caller{Participant: retailer.Participant, Role: retailer.Role, Person: retailer.Person})
	if _, err := r.erases(staff, 0); !errors.Is(err, custody.ErrFunction) {
		t.Errorf("staff: %v", err)
	}
	must2(r.erases(ann, 1))(t)
	r.fsck()
}

// A database that is put back to an older copy forgets again, also where the server was killed before the journal knew.
func TestErasureAfterRestore(t *testing.T) {
	t.Parallel()
	r := newStrict(t, 1, nil)
	ann, bob := r.registered("ann"), r.registered("bob")
	r.registers(ann, me("李雷", 1), "pending")
	copied := r.backUp()
	must2(r.erases(ann, 0))(t)
	must2(r.keys.Erase(r.ctx, custody.LoginToken(bob.Session), 0, func(tx *model.Tx, consumer string) error { return r.Service.Erase(tx, consumer, 0) }))(t)
	r.reopen(t) // which writes it down
	r.restore(copied)
	for name, c := range map[string]transfer.Caller{"ann": ann, "bob": bob} {
		if is, err := r.Erased(r.ctx, c); err != nil || !is {
			t.Errorf("%s: erased is %t %v", name, is, err)
		}
		if left := read(r, func(tx *model.Tx) ([]model.RealName, error) { return tx.RealNamesOf(c.Participant, "", 10) }); len(left) > 0 {
			t.Errorf("%s: %+v is back", name, left)
		}
		if now := r.consumer(name); now.Participant == c.Participant {
			t.Errorf("%s is who he was", name)
		}
	}
}
