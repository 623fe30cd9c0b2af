package main

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// signerRig is one way to custody, and custody itself, behind it.
type signerRig struct {
	*testing.T
	transfer.Signer
	keys   *custody.Custody
	db     *model.DB
	behind *App   // the custodian
	place  string // names of this way's own
	until  int64
}

// TestSigner: what the relay is promised of a signer holds whichever way it goes: by a call, by the custodian's socket, by
// mutual TLS. The errors that it acts upon are the same ones, too.
func TestSigner(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	a.config.Custody.StepUpAge = stepUp
	a.overTLS()
	byTLS, err := tlsApp(t, a.tls).reach()
	check(t, err)
	ways := []struct {
		name   string
		signer transfer.Signer
	}{
		{"inside", a.custodian.inside(a.custodian.Service)},
		{"socket", newRemote(bySocket(a.config.Custody.Socket))},
		{"tls", byTLS},
	}
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			for name, promise := range signerPromises {
				t.Run(name, func(t *testing.T) {
					promise(&signerRig{
						T: t, Signer: w.signer, keys: a.custodian.Custody, db: a.custodian.DB, behind: a.custodian, place: w.name + "-" + strings.ReplaceAll(name, " ", "-"),
						until: time.Now().Add(time.Hour).UnixMilli(),
					})
				})
			}
		})
	}
	// Sealed it is last, and for all.
	check(t, a.custodian.Custody.Seal(soon(t), "test"))
	for _, w := range ways {
		r := &signerRig{T: t, Signer: w.signer, keys: a.custodian.Custody, db: a.custodian.DB, behind: a.custodian, place: w.name + "-sealed", until: time.Now().Add(time.Hour).UnixMilli()}
		session := r.logIn(r.owner())
		ask, body := r.confirm(r.owner(), "act")
		check(t, r.Authorise(soon(t), session, ask.Subject, body, r.until)) // which takes no key
		_, err := r.Sign(soon(t), ask, body)
		r.is(err, transfer.ErrSealed, custody.ErrSealed)
		_, err = r.Enrol(soon(t), r.owner(), request.Consumer, transfer.SlotAccount)
		r.is(err, transfer.ErrSealed)
	}
}

var signerPromises = map[string]func(r *signerRig){
	"a key is made once": func(r *signerRig) {
		first := r.enrolled(r.owner())
		if again := r.enrolled(r.owner()); again.Public.KeyID() != first.Public.KeyID() {
			r.Error("asked twice, there are two keys")
		}
		if err := gm.Verify(first.Public, request.PossessionBytes(DefaultConfig().Ledger.Channel, r.owner(), first.Public), first.Possession); err != nil {
			r.Errorf("its possession: %v", err)
		}
		if id, err := r.ActiveKey(soon(r.T), r.owner(), transfer.SlotAccount); err != nil || id != first.Public.KeyID() {
			r.Errorf("the active key is %s, %v", id, err)
		}
		_, err := r.ActiveKey(soon(r.T), r.owner()+"-nobody", transfer.SlotAccount)
		r.is(err, custody.ErrKeyNotFound)
		_, err = r.Enrol(soon(r.T), r.owner()+"-x", request.Consumer, transfer.SlotRegistrar)
		r.is(err, custody.ErrPost)
	},
	"many keys": func(r *signerRig) {
		s, err := r.keys.LogIn(soon(r.T), custody.Login{Participant: transfer.PlatformID, Role: request.Platform, Person: "p-many"}, time.Hour)
		check(r.T, err)
		ctx := transfer.WithSession(soon(r.T), transfer.SessionToken(s.Token))
		owners := []string{r.owner() + "-1", r.owner() + "-2", r.owner() + "-3"}
		old := r.enrolled(owners[1])
		keys, made, err := r.EnrolAll(ctx, owners, request.Consumer, transfer.SlotAccount, "p-many")
		if err != nil || made != 2 || len(keys) != 3 || keys[1].Public.KeyID() != old.Public.KeyID() || keys[0].Public.IsZero() {
			r.Errorf("%d keys, %d made: %v", len(keys), made, err)
		}
		if _, made, err := r.EnrolAll(ctx, owners, request.Consumer, transfer.SlotAccount, "p-many"); err != nil || made != 0 {
			r.Errorf("again: %d made, %v", made, err)
		}
	},
	"what was asked for": func(r *signerRig) {
		key, session := r.enrolled(r.owner()), r.logIn(r.owner())
		ask, body := r.confirm(r.owner(), "act")
		_, err := r.Sign(soon(r.T), ask, body)
		r.is(err, transfer.ErrUnauthorised, custody.ErrUnauthorised)
		check(r.T, r.Authorise(soon(r.T), session, ask.Subject, body, r.until))
		check(r.T, r.Authorise(soon(r.T), session, ask.Subject, body, r.until))
		sig, err := r.Sign(soon(r.T), ask, body)
		check(r.T, err)
		req := request.New(DefaultConfig().Ledger.Channel, body)
		if err := gm.Verify(key.Public, req.SigningBytes(sig.KeyID, sig.NotAfter), sig.Bytes); err != nil || sig.KeyID != key.Public.KeyID() || sig.NotAfter != r.until {
			r.Errorf("the signature: %v", err)
		}
		other := body
		other.Trade = strings.Repeat("e", 32)
		r.is(r.Authorise(soon(r.T), session, ask.Subject, other, r.until), custody.ErrAuthorisationConflict)
		_, err = r.Sign(soon(r.T), ask, other)
		r.is(err, custody.ErrDigestConflict)
		if standing, err := r.Standing(soon(r.T), req, sig); err != nil || standing != transfer.SignedHere {
			r.Errorf("it stands as %q, %v", standing, err)
		}
		check(r.T, r.Adopt(soon(r.T), r.place, req, sig)) // which is known
		check(r.T, r.VerifySignLog(soon(r.T), func(subject, problem string) { r.Errorf("sign log: %s %s", subject, problem) }))
	},
	"the key of a terminal": func(r *signerRig) {
		owner := "m-" + r.place
		_, err := r.keys.Ensure(soon(r.T), custody.Post{Owner: owner, Role: request.Carrier, Slot: custody.Account}, "test")
		check(r.T, err)
		key, err := gm.GenerateKey(rand.Reader)
		check(r.T, err)
		possession, err := key.Sign(rand.Reader, request.PossessionBytes(DefaultConfig().Ledger.Channel, owner, key.Public()))
		check(r.T, err)
		body := request.PublishKey{Participant: owner, Key: request.NewKey{
			Public: key.Public(), Kind: request.DeviceKey, SerialHash: strings.Repeat("5e", 32), Functions: protocol.Functions, Possession: possession,
		}}
		asked := "device-" + r.place
		r.is(r.AuthoriseDevice(soon(r.T), "no session", asked, r.until), transfer.ErrSessionOver, custody.ErrSessionOver)
		r.is(r.NameDevice(soon(r.T), asked, body), transfer.ErrUnauthorised, custody.ErrUnauthorised)
		check(r.T, r.AuthoriseDevice(soon(r.T), r.works(owner, request.Carrier), asked, r.until))
		check(r.T, r.NameDevice(soon(r.T), asked, body))
		check(r.T, r.NameDevice(soon(r.T), asked, body))
		account := body
		account.Key.Kind = request.AccountKey
		r.is(r.NameDevice(soon(r.T), asked, account), custody.ErrBody)
		ask := transfer.Ask{Owner: owner, Slot: transfer.SlotAccount, Purpose: body.Function(), Subject: asked + "-key", Attempt: 1, NotAfter: r.until, Actor: "test"}
		body.Version = 2
		_, err = r.Sign(soon(r.T), ask, body)
		check(r.T, err)
	},
	"lots of an import": func(r *signerRig) {
		terms := request.Issue{Carrier: "m-" + r.place, RetailPolicy: request.Open, Restrictions: []string{"NO_SMS"}}
		_, err := r.keys.Ensure(soon(r.T), custody.Post{Owner: terms.Carrier, Role: request.Carrier, Slot: custody.Account}, "test")
		check(r.T, err)
		asked := "import-" + r.place
		parts := []transfer.Part{{Subject: asked + "-0-0", Rule: "SERIAL", Lot: strings.Repeat("c", 64)}}
		r.is(r.AuthoriseParts(soon(r.T), asked, terms, parts), transfer.ErrUnauthorised, custody.ErrUnauthorised)
		check(r.T, r.Authorise(soon(r.T), r.works(terms.Carrier, request.Carrier), asked, terms, r.until))
		check(r.T, r.AuthoriseParts(soon(r.T), asked, terms, parts))
		check(r.T, r.AuthoriseParts(soon(r.T), asked, terms, parts))
		r.is(r.AuthoriseParts(soon(r.T), asked, terms, nil), transfer.ErrUnauthorised, custody.ErrUnauthorised)
		body := terms
		body.Rule, body.Lot = parts[0].Rule, parts[0].Lot
		ask := transfer.Ask{Owner: terms.Carrier, Slot: transfer.SlotAccount, Purpose: body.Function(), Subject: parts[0].Subject, Attempt: 1, NotAfter: r.until, Actor: "test"}
		_, err = r.Sign(soon(r.T), ask, body)
		check(r.T, err)
		ask.Subject = asked + "-0-1"
		_, err = r.Sign(soon(r.T), ask, body)
		r.is(err, transfer.ErrUnauthorised, custody.ErrUnauthorised)
	},
	"one signature for all who ask": func(r *signerRig) {
		r.enrolled(r.owner())
		ask, body := r.confirm(r.owner(), "act")
		check(r.T, r.Authorise(soon(r.T), r.logIn(r.owner()), ask.Subject, body, r.until))
		var all sync.WaitGroup
		var signatures [16]request.Signature
		ctx := soon(r.T)
		for i := range signatures {
			all.Go(func() {
				sig, err := r.Sign(ctx, ask, body)
				if err != nil {
					r.Error(err)
				}
				signatures[i] = sig
			})
		}
		all.Wait()
		for _, sig := range signatures[1:] {
			if string(sig.Bytes) != string(signatures[0].Bytes) {
				r.Fatal("there are several signatures of one attempt")
			}
		}
	},
	"attempts": func(r *signerRig) {
		r.enrolled(r.owner())
		ask, body := r.confirm(r.owner(), "act")
		check(r.T, r.CloseAttempt(soon(r.T), ask, transfer.NeverBroadcast)) // nobody made one
		check(r.T, r.Authorise(soon(r.T), r.logIn(r.owner()), ask.Subject, body, r.until))
		_, err := r.Sign(soon(r.T), ask, body)
		check(r.T, err)
		next := ask
		next.Attempt, next.NotAfter = 2, ask.NotAfter-1
		_, err = r.Sign(soon(r.T), next, body)
		r.is(err, custody.ErrAttemptOpen)
		check(r.T, r.CloseAttempt(soon(r.T), ask, transfer.DefinitelyInvalid))
		check(r.T, r.CloseAttempt(soon(r.T), ask, transfer.DefinitelyInvalid))
		_, err = r.Sign(soon(r.T), ask, body)
		r.is(err, custody.ErrAttemptClosed)
		_, err = r.Sign(soon(r.T), next, body)
		check(r.T, err)
	},
	"a login that is too old": loginOld,
	"what nobody signs": func(r *signerRig) {
		key := r.enrolled(r.owner())
		session := r.logIn(r.owner())
		ask, body := r.confirm(r.owner(), "act")
		check(r.T, r.Authorise(soon(r.T), session, ask.Subject, body, r.until))
		foreign := body
		foreign.Receiver = r.owner() + "-else"
		r.is(r.Authorise(soon(r.T), session, "else", foreign, r.until), custody.ErrOwner)
		r.is(r.Authorise(soon(r.T), "no session", "else", body, r.until), transfer.ErrSessionOver, custody.ErrSessionOver)
		r.is(r.Authorise(soon(r.T), session, "else", request.PublishKey{Participant: r.owner(), Key: key}, r.until), custody.ErrFunction)
		_, err := r.Sign(soon(r.T), ask, foreign)
		r.is(err, transfer.ErrKeyStopped, custody.ErrOwner)
		late := ask
		late.NotAfter = time.Now().Add(-time.Second).UnixMilli()
		_, err = r.Sign(soon(r.T), late, body)
		r.is(err, custody.ErrExpired)
		nobody := ask
		nobody.Subject = ""
		_, err = r.Sign(soon(r.T), nobody, body)
		r.is(err, custody.ErrAsk)
	},
	"the life of a key": func(r *signerRig) {
		public := r.enrolled(r.owner()).Public
		key := public.KeyID()
		session := r.logIn(r.owner())
		wish, err := r.OrderKey(r.asOps(), key, model.WishSuspend, "ops")
		if err != nil || wish.KeyID != key || wish.What != model.WishSuspend || wish.Owner != r.owner() || wish.Role != request.Consumer || wish.State != model.CustodySuspended {
			r.Errorf("%+v, %v", wish, err)
		}
		if wishes, err := r.KeyWishes(soon(r.T), "", 1000); err != nil || len(wishes) == 0 {
			r.Errorf("%d wishes, %v", len(wishes), err)
		}
		ask, body := r.confirm(r.owner(), "act")
		check(r.T, r.Authorise(soon(r.T), session, ask.Subject, body, r.until))
		_, err = r.Sign(soon(r.T), ask, body)
		r.is(err, transfer.ErrKeyStopped, custody.ErrKeyNotActive)
		check(r.T, r.FollowKeys(soon(r.T), r.place, []contract.Key{{ID: key, Public: public, Status: contract.KeySuspended, Version: 2}}))
		_, err = r.OrderKey(r.asOps(), key, model.WishSuspend, "ops")
		r.code(err, "CUSTODY_KEY_TRANSITION")
		_, err = r.OrderKey(r.asOps(), key, model.WishResume, "ops")
		check(r.T, err)
		check(r.T, r.FollowKeys(soon(r.T), r.place, []contract.Key{{ID: key, Public: public, Status: contract.KeyActive, Version: 3}}))
		_, err = r.Sign(soon(r.T), ask, body)
		check(r.T, err)
		_, err = r.OrderKey(r.asOps(), key, model.WishReplace, "ops")
		check(r.T, err)
		next, err := r.PrepareKey(soon(r.T), key, "ops")
		check(r.T, err)
		if err := gm.Verify(next.Public, request.PossessionBytes(DefaultConfig().Ledger.Channel, r.owner(), next.Public), next.Possession); err != nil || next.Public.KeyID() == key {
			r.Errorf("the key that comes next: %v", err)
		}
		view, err := r.Key(soon(r.T), key)
		if err != nil || view.Owner != r.owner() || view.State != string(model.CustodyActive) || view.Successor != next.Public.KeyID() {
			r.Errorf("%+v, %v", view, err)
		}
		page, err := r.Keys(soon(r.T), transfer.KeyFilter{Owner: r.owner()}, "", 10)
		if err != nil || len(page.Items) == 0 || page.Items[len(page.Items)-1].ID != key {
			r.Errorf("%d keys, %v", len(page.Items), err)
		}
		_, err = r.Key(soon(r.T), strings.Repeat("0", 32))
		r.code(err, "CUSTODY_KEY_NOT_FOUND")
		_, err = r.Keys(soon(r.T), transfer.KeyFilter{}, "no cursor", 10)
		r.code(err, "CURSOR_INVALID")
	},
	"a quota is waited for": func(r *signerRig) {
		r.enrolled(r.owner())
		session := r.logIn(r.owner())
		var wait *transfer.Wait
		for n := range 1000 { // a consumer signs 60 a minute
			ask, body := r.confirm(r.owner(), "act-"+strings.Repeat("x", n%50)+string(rune('a'+n/50)))
			check(r.T, r.Authorise(soon(r.T), session, ask.Subject, body, r.until))
			_, err := r.Sign(soon(r.T), ask, body)
			if err == nil {
				continue
			}
			if !errors.As(err, &wait) || wait.After <= 0 {
				r.Fatalf("%v, and no time to wait", err)
			}
			r.is(err, custody.ErrRate)
			return
		}
		r.Error("nothing stops it")
	},
	"who hangs up": func(r *signerRig) {
		r.enrolled(r.owner())
		ask, body := r.confirm(r.owner(), "act")
		ctx, cancel := context.WithCancel(soon(r.T))
		cancel()
		_, err := r.Sign(ctx, ask, body)
		r.is(err, context.Canceled)
		if errors.Is(err, transfer.ErrCustodyAway) {
			r.Error("he is told that custody is away")
		}
	},
}

func (r *signerRig) owner() string { return "c-" + r.place }

func (r *signerRig) enrolled(owner string) request.NewKey {
	r.Helper()
	k, err := r.Enrol(soon(r.T), owner, request.Consumer, transfer.SlotAccount)
	check(r.T, err)
	return k
}

// asOps is a context of somebody of ops, who is logged in.
func (r *signerRig) asOps() context.Context {
	r.Helper()
	var p model.Person
	check(r.T, r.db.Read(soon(r.T), func(tx *model.Tx) (err error) {
		p, err = tx.PersonByUsername("zhiban")
		return err
	}))
	s, err := r.keys.LogIn(soon(r.T), custody.Login{Participant: p.ParticipantID, Role: request.Platform, Person: p.ID}, time.Hour)
	check(r.T, err)
	return transfer.WithSession(soon(r.T), transfer.SessionToken(s.Token))
}

func (r *signerRig) logIn(owner string) transfer.SessionToken {
	r.Helper()
	s, err := r.keys.LogIn(soon(r.T), custody.Login{Participant: owner, Role: request.Consumer}, time.Hour)
	check(r.T, err)
	return transfer.SessionToken(s.Token)
}

// works is the session of somebody who works for an organisation.
func (r *signerRig) works(owner string, role request.Role) transfer.SessionToken {
	r.Helper()
	check(r.T, r.db.Write(soon(r.T), func(tx *model.Tx) error {
		return errors.Join(
			tx.AddParticipant(model.Participant{ID: owner, Role: string(role), Kind: model.Organisation, State: model.ParticipantRegistered, CreatedAt: 1}),
			tx.AddPerson(model.Person{ID: "p-" + owner, Username: owner, PasswordHash: "x", ParticipantID: owner, Roles: []string{string(role)}, State: model.PersonActive, CreatedAt: 1}))
	}))
	s, err := r.keys.LogIn(soon(r.T), custody.Login{Participant: owner, Role: role, Person: "p-" + owner}, time.Hour)
	check(r.T, err)
	return transfer.SessionToken(s.Token)
}

// confirm is what somebody may ask for.
func (r *signerRig) confirm(owner, act string) (transfer.Ask, request.Confirm) {
	body := request.Confirm{Trade: strings.Repeat("a", 32), Lot: strings.Repeat("b", 64), Receiver: owner}
	return transfer.Ask{
		Owner: owner, Slot: transfer.SlotAccount, Purpose: body.Function(), Subject: r.place + "-" + act, Attempt: 1, NotAfter: r.until, Actor: owner,
	}, body
}

// is demands that an error is all of these.
func (r *signerRig) is(err error, all ...error) {
	r.Helper()
	for _, want := range all {
		if !errors.Is(err, want) {
			r.Errorf("%v, want %v", err, want)
		}
	}
}

func (r *signerRig) code(err error, want string) {
	r.Helper()
	if got := transfer.CodeOf(err); got != want {
		r.Errorf("%v with code %q, want %q", err, got, want)
	}
}
