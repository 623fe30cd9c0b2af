package custody_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
)

// TestOnlyWhatWasAskedFor: a consumer's key signs what he has asked for while he was logged in, as the act for which he
// did; everything else is refused, recorded, and raises an alarm.
func TestOnlyWhatWasAskedFor(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("c-0002", request.Consumer, custody.Account)
		ann, bob := r.logIn("c-0001"), r.logIn("c-0002")
		authorise := func(token custody.LoginToken, subject string, body request.Body) {
			t.Helper()
			if err := r.Authorise(t.Context(), token, subject, body, until); err != nil {
				t.Fatal(err)
			}
		}
		ask, body := confirm("act-1")
		refused := func(what string, ask custody.Ask, body request.Body, want error) {
			t.Helper()
			before := len(r.heard(&r.alarms))
			sig, _, err := r.Sign(t.Context(), ask, body)
			if !errors.Is(err, want) || sig.Bytes != nil {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
			if after := len(r.heard(&r.alarms)); after != before+1 {
				t.Errorf("%s: %d alarms", what, after-before)
			}
		}
		refused("nobody asked", ask, body, custody.ErrUnauthorised)

		authorise(ann, ask.Subject, body)
		authorise(ann, ask.Subject, body) // twice is once
		other := body
		other.Lot = strings.Repeat("cd", 32)
		if err := r.Authorise(t.Context(), ann, ask.Subject, other, until); !errors.Is(err, custody.ErrAuthorisationConflict) {
			t.Errorf("something else as the same act: %v", err)
		}
		refused("another lot", ask, other, custody.ErrUnauthorised)
		refused("another function", ask, request.Decline{Trade: body.Trade, Receiver: body.Receiver, Reason: "DAMAGED"}, custody.ErrUnauthorised)
		elsewhere := ask
		elsewhere.Subject = "act-2"
		refused("another act", elsewhere, body, custody.ErrUnauthorised)
		his := ask
		his.Owner = "c-0002"
		refused("in ann's name, with bob's key", his, body, custody.ErrOwner)
		toHim := body
		toHim.Receiver = "c-0002"
		refused("bob's key by ann's authorisation", his, toHim, custody.ErrUnauthorised)

		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("what ann asked for: %v", err)
		}

		// A session asks for its own owner, and for what his key may do.
		for what, x := range map[string]struct {
			token custody.LoginToken
			body  request.Body
			want  error
		}{
			"in another's name": {bob, body, custody.ErrOwner},
			"a sale":            {ann, request.Offer{Seller: "c-0001", Mode: request.Bearer}, custody.ErrFunction},
			"a registration":    {ann, request.Register{Registration: aRegistration}, custody.ErrFunction},
			"no request":        {ann, pretender{body}, custody.ErrBody},
			"no token":          {"", body, custody.ErrSessionOver},
			"a stranger":        {custody.LoginToken(strings.Repeat("A", 43)), body, custody.ErrSessionOver},
			"rubbish":           {"' OR 1=1 --", body, custody.ErrSessionOver},
		} {
			if err := r.Authorise(t.Context(), x.token, "act-9", x.body, until); !errors.Is(err, x.want) {
				t.Errorf("%s: %v, want %v", what, err, x.want)
			}
		}
		if err := r.Authorise(t.Context(), ann, "act-9", body, start.UnixMilli()); !errors.Is(err, custody.ErrExpired) {
			t.Errorf("until now: %v", err)
		}
		r.whole()
	})
}

// TestAuthorisationOutlivesTheLogin: whoever asked has gone, and what he asked for is signed; nothing new is asked for.
func TestAuthorisationOutlivesTheLogin(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		session, err := r.LogIn(t.Context(), custody.Login{Participant: "c-0001", Role: request.Consumer}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if who, err := r.Session(t.Context(), session.Token); err != nil || who.Participant != "c-0001" || who.Token != "" {
			t.Errorf("%+v, %v", who, err)
		}
		first, firstBody := confirm("first")
		second, secondBody := confirm("second")
		for _, x := range []struct {
			ask  custody.Ask
			body request.Body
		}{{first, firstBody}, {second, secondBody}} {
			if err := r.Authorise(t.Context(), session.Token, x.ask.Subject, x.body, x.ask.NotAfter); err != nil {
				t.Fatal(err)
			}
		}
		r.clock.ahead.Store(time.Minute.Milliseconds())
		if err := r.Authorise(t.Context(), session.Token, "late", firstBody, until); !errors.Is(err, custody.ErrSessionOver) {
			t.Errorf("an expired session: %v", err)
		}
		if _, _, err := r.Sign(t.Context(), first, firstBody); err != nil {
			t.Error(err)
		}
		again := r.logIn("c-0001")
		if err := r.LogOut(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		if err := r.LogOut(t.Context(), again); err != nil {
			t.Error(err)
		}
		if err := r.Authorise(t.Context(), again, "out", firstBody, until); !errors.Is(err, custody.ErrSessionOver) {
			t.Errorf("logged out: %v", err)
		}
		// It ends, too.
		r.clock.ahead.Store(time.Hour.Milliseconds())
		second.NotAfter += hour
		if _, _, err := r.Sign(t.Context(), second, secondBody); !errors.Is(err, custody.ErrUnauthorised) {
			t.Errorf("after its end: %v", err)
		}
		r.whole()
	})
}

// TestForgedLogins: a row of a login or of an authorisation that custody didn't write, or that somebody has edited, is
// worth nothing, and calls somebody.
func TestForgedLogins(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("c-0002", request.Consumer, custody.Account)
		ask, body := confirm("act-1")
		bob := r.logIn("c-0002")
		theirs := body
		theirs.Receiver = "c-0002"
		if err := r.Authorise(t.Context(), bob, ask.Subject, theirs, until); err != nil {
			t.Fatal(err)
		}
		// bob's authorisation, copied for ann; the trigger keeps rows from being edited.
		r.exec("INSERT INTO custody_authorisations SELECT 'c-0001', a.`function`, subject, digest, session, login_at, asked_at, not_after, tag FROM custody_authorisations a")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrLoginForged) {
			t.Errorf("a copied authorisation: %v", err)
		}
		r.exec("UPDATE custody_sessions SET participant = 'c-0001'")
		if err := r.Authorise(t.Context(), bob, "act-2", body, until); !errors.Is(err, custody.ErrLoginForged) {
			t.Errorf("an edited session: %v", err)
		}
		if got := r.heard(&r.alarms); len(got) != 2 || got[0] != custody.ErrLoginForged.Code || got[1] != got[0] {
			t.Errorf("alarms %v", got)
		}
	})
}

// TestReturnIsAuthorised: how a return is made up is decided when its turn comes; whose cards go back to whom is not.
func TestReturnIsAuthorised(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		ask, _ := confirm("act-1")
		asked := request.Return{Offer: request.Offer{Seller: "c-0001", Mode: request.Named, Receiver: "shop"}, Reverses: "trade-1"}
		r.asks(ask, asked)
		planned := asked
		planned.Inputs, planned.Outputs = []string{"in"}, []request.Output{{Trade: "back", Lot: "out"}}
		planned.OfferedAt, planned.ExpiresAt = start.UnixMilli(), until
		for what, change := range map[string]func(*request.Return){
			"to another":       func(b *request.Return) { b.Receiver = "thief" },
			"of another trade": func(b *request.Return) { b.Reverses = "trade-2" },
			"to anybody":       func(b *request.Return) { b.Mode, b.Receiver = request.Bearer, "" },
		} {
			b := planned
			change(&b)
			if _, _, err := r.Sign(t.Context(), ask, b); !errors.Is(err, custody.ErrUnauthorised) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, _, err := r.Sign(t.Context(), ask, planned); err != nil {
			t.Error(err)
		}
	})
}

// TestAskedAtOnce: of two different wishes as one act one is stored, and of two equal ones too.
func TestAskedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		ann := r.logIn("c-0001")
		servers := []*custody.Custody{r.Custody, r.open()}
		errs := make([]error, 16)
		var wg sync.WaitGroup
		for i := range errs {
			_, body := confirm("act")
			body.Lot = strings.Repeat([]string{"aa", "bb"}[i/2%2], 32)
			wg.Go(func() { errs[i] = servers[i%2].Authorise(t.Context(), ann, "act", body, until) })
		}
		wg.Wait()
		var stored [2]int
		for i, err := range errs {
			switch {
			case err == nil:
				stored[i/2%2]++
			case !errors.Is(err, custody.ErrAuthorisationConflict):
				t.Error(err)
			}
		}
		if stored != [2]int{8, 0} && stored != [2]int{0, 8} {
			t.Errorf("stored %v", stored)
		}
	})
}

// TestAskedWhileSealed: people log in and ask while custody is sealed.
func TestAskedWhileSealed(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		if err := r.Seal(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		ask, body := confirm("act-1")
		r.asks(ask, body)
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("sealed: %v", err)
		}
	})
}

// TestForeignKeys: neither the platform nor an administrator signs that somebody has a key which isn't kept here for him.
func TestForeignKeys(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		victim := r.ensure("c-0001", request.Consumer, custody.Account)
		mine := r.ensure("c-0002", request.Consumer, custody.Account)
		r.ensure("platform", request.Platform, custody.Registrar)
		r.ensure("a-0001", request.Administrator, custody.Account)
		for what, x := range map[string]struct {
			owner string
			slot  custody.Slot
			body  request.Body
		}{
			"registered":          {"platform", custody.Registrar, request.Register{Registration: aRegistration}},
			"registered in bulk":  {"platform", custody.Registrar, request.RegisterBatch{Items: []request.Registration{aRegistration}}},
			"published":           {"a-0001", custody.Account, request.PublishKey{Participant: "c-0001", Key: request.NewKey{Public: aPublicKey}}},
			"recovered":           {"a-0001", custody.Account, request.RotateKey{Participant: "c-0001", OldKey: victim.ID, Key: request.NewKey{Public: aPublicKey}}},
			"recovered, for mine": {"a-0001", custody.Account, request.RotateKey{Participant: "c-0001", OldKey: victim.ID, Key: request.NewKey{Public: mine.Public}}},
		} {
			ask := custody.Ask{Owner: x.owner, Slot: x.slot, Subject: strings.ReplaceAll(what, " ", "-"), Attempt: 1, NotAfter: until, Actor: "test"}
			if _, _, err := r.Sign(t.Context(), ask, x.body); !errors.Is(err, custody.ErrKeyForeign) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if got := r.heard(&r.alarms); len(got) != 5 || got[0] != custody.ErrKeyForeign.Code {
			t.Errorf("alarms %v", got)
		}
		r.whole()
	})
}

// TestLoginsAreForgotten: what has been over for a day goes, of logins and of what people asked for; all else stays.
func TestLoginsAreForgotten(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		login := func(life time.Duration) custody.LoginToken {
			s, err := r.LogIn(t.Context(), custody.Login{Participant: "c-0001", Role: request.Consumer}, life)
			if err != nil {
				t.Fatal(err)
			}
			return s.Token
		}
		short, long := login(time.Hour), login(100*time.Hour)
		for subject, notAfter := range map[string]int64{"trade-1": until, "trade-2": until + 72*hour} {
			_, body := confirm(subject)
			if err := r.Authorise(t.Context(), long, subject, body, notAfter); err != nil {
				t.Fatal(err)
			}
		}
		for _, at := range []struct {
			after            int64
			logins, askedFor int
		}{{0, 2, 2}, {25*hour - second, 2, 2}, {25*hour + second, 1, 1}, {72 * hour, 1, 1}} {
			r.clock.ahead.Store(at.after)
			if err := r.ForgetLogins(t.Context()); err != nil {
				t.Fatal(err)
			}
			logins, asked := r.count(`SELECT COUNT(*) FROM custody_sessions`), r.count(`SELECT COUNT(*) FROM custody_authorisations`)
			if logins != at.logins || asked != at.askedFor {
				t.Errorf("%d ms later %d logins and %d that were asked for", at.after, logins, asked)
			}
		}
		if _, err := r.Session(t.Context(), short); !errors.Is(err, custody.ErrSessionOver) {
			t.Errorf("the one that is over: %v", err)
		}
		if _, err := r.Session(t.Context(), long); err != nil {
			t.Errorf("the one that isn't: %v", err)
		}
	})
}
