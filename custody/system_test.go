package custody_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

func lot(n string) string { return strings.Repeat(n, 32) }

// TestOnlyWhatStaffAskedFor: an organisation's key signs what somebody asked for who works there and was logged in. Left
// open is what depends on how its cards stand when the act's turn comes, and nothing else.
func TestOnlyWhatStaffAskedFor(t *testing.T) {
	offer := request.Offer{Seller: "m-0001", Mode: request.Named, Receiver: "d-0001", ExpiresAt: 3_600_000, Outputs: []request.Output{{Lot: lot("a1")}, {Lot: lot("a2")}}}
	planned := offer
	planned.OfferedAt, planned.ExpiresAt = 1_000, 3_601_000
	planned.Inputs, planned.Remainders = []string{lot("01")}, []string{lot("02")}
	planned.Outputs = []request.Output{{Trade: "t1", Lot: lot("a1")}, {Trade: "t2", Lot: lot("a2")}}
	issue := request.Issue{Lot: lot("b1"), Carrier: "m-0001", Rule: "SERIAL", RetailPolicy: request.Open, Restrictions: []string{"NO_SMS"}}
	split := request.LotAct{Lot: lot("c1"), Subset: lot("c2"), Rest: lot("c3")}
	later := split
	later.Version = 3
	others := func(change func(*request.Offer)) request.Body {
		o := planned
		o.Outputs = slices.Clone(o.Outputs)
		change(&o)
		return o
	}
	for name, x := range map[string]struct {
		asked, signed request.Body
		refused       map[string]request.Body
	}{
		"offer": {offer, planned, map[string]request.Body{
			"other cards":    others(func(o *request.Offer) { o.Outputs[1].Lot = lot("ff") }),
			"more cards":     others(func(o *request.Offer) { o.Outputs = append(o.Outputs, request.Output{Lot: lot("ff")}) }),
			"another buyer":  others(func(o *request.Offer) { o.Receiver = "r-0001" }),
			"whoever comes":  others(func(o *request.Offer) { o.Mode, o.Receiver = request.Bearer, "" }),
			"for longer":     others(func(o *request.Offer) { o.ExpiresAt++ }),
			"a return of it": request.Return{Offer: planned, Reverses: "t0"},
		}},
		"issue": {issue, issue, map[string]request.Body{
			"other cards":   request.Issue{Lot: lot("ff"), Carrier: "m-0001", Rule: "SERIAL", RetailPolicy: request.Open, Restrictions: []string{"NO_SMS"}},
			"other terms":   request.Issue{Lot: lot("b1"), Carrier: "m-0001", Rule: "SERIAL", RetailPolicy: request.RealName, Restrictions: []string{"NO_SMS"}},
			"without terms": request.Issue{Lot: lot("b1"), Carrier: "m-0001", Rule: "SERIAL", RetailPolicy: request.Open},
		}},
		"merge": {
			request.Merge{Owner: "m-0001", Inputs: []string{lot("01"), lot("02")}},
			request.Merge{Owner: "m-0001", Inputs: []string{lot("01"), lot("02")}, Output: lot("03")},
			map[string]request.Body{"another lot": request.Merge{Owner: "m-0001", Inputs: []string{lot("01"), lot("ff")}, Output: lot("03")}},
		},
		"freeze": {request.Freeze{LotAct: split}, request.Freeze{LotAct: later}, map[string]request.Body{
			"other cards of it": request.Freeze{LotAct: request.LotAct{Lot: lot("c1"), Subset: lot("ff"), Rest: lot("c3")}},
			"all of it":         request.Freeze{LotAct: request.LotAct{Lot: lot("c1")}},
			"another lot":       request.Freeze{LotAct: request.LotAct{Lot: lot("ff"), Subset: lot("c2"), Rest: lot("c3")}},
			"for ever":          request.Retire{LotAct: split},
		}},
		"retire": {request.Retire{LotAct: split}, request.Retire{LotAct: later}, map[string]request.Body{"all of it": request.Retire{LotAct: request.LotAct{Lot: lot("c1")}}}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r *rig) {
				r.ensure("m-0001", request.Carrier, custody.Account)
				ask := custody.Ask{Owner: "m-0001", Slot: custody.Account, Subject: "act-1", Attempt: 1, NotAfter: until, Actor: "p-m-0001"}
				if _, _, err := r.Sign(t.Context(), ask, x.signed); !errors.Is(err, custody.ErrUnauthorised) {
					t.Errorf("nobody asked: %v", err)
				}
				r.asks(ask, x.asked)
				for what, body := range x.refused {
					if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrUnauthorised) {
						t.Errorf("%s: %v", what, err)
					}
				}
				if _, _, err := r.Sign(t.Context(), ask, x.signed); err != nil {
					t.Error(err)
				}
				if got := r.heard(&r.alarms); len(got) != 1+len(x.refused) {
					t.Errorf("alarms %v", got)
				}
				r.whole()
			})
		})
	}
}

// TestImportIsAskedForAsAWhole: which cards an import issues is known when whoever asked has gone. Its terms are bound when
// it is asked for, and its lots when they are named, which is once.
func TestImportIsAskedForAsAWhole(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("m-0001", request.Carrier, custody.Account)
		terms := request.Issue{Carrier: "m-0001", RetailPolicy: request.RealName}
		parts := []custody.Part{{Subject: "import-1-0-0", Rule: "SERIAL", Lot: lot("b0")}, {Subject: "import-1-0-0.1", Rule: "SERIAL", Lot: lot("b1")}, {Subject: "import-1-0-1", Rule: "LUHN", Lot: lot("b2")}}
		as := func(subject string) custody.Ask {
			return custody.Ask{Owner: "m-0001", Slot: custody.Account, Subject: subject, Attempt: 1, NotAfter: until, Actor: "p-m-0001"}
		}
		of := func(p custody.Part) request.Issue {
			body := terms
			body.Rule, body.Lot = p.Rule, p.Lot
			return body
		}
		refused := func(what string, err error, want *custody.Error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		name := func(asked string, terms request.Issue, parts ...custody.Part) error {
			return r.AuthoriseParts(t.Context(), asked, terms, parts)
		}
		sign := func(subject string, body request.Body) error {
			_, _, err := r.Sign(t.Context(), as(subject), body)
			return err
		}
		refused("nobody asked", name("import-1", terms, parts...), custody.ErrUnauthorised)
		r.asks(as("import-1"), terms)
		refused("not named yet", sign(parts[0].Subject, of(parts[0])), custody.ErrUnauthorised)
		open := terms
		open.RetailPolicy = request.Open
		refused("on other terms", name("import-1", open, parts...), custody.ErrUnauthorised)
		refused("for another import", name("import-2", terms, custody.Part{Subject: "import-2-0", Lot: lot("b0")}), custody.ErrUnauthorised)
		refused("named otherwise", name("import-1", terms, custody.Part{Subject: "import-10-0", Lot: lot("b0")}), custody.ErrAsk)
		refused("of no lot", name("import-1", terms, custody.Part{Subject: "import-1-0"}), custody.ErrAsk)
		r.clock.ahead.Store(26 * hour)
		refused("too late", name("import-1", terms, parts...), custody.ErrUnauthorised)
		r.clock.ahead.Store(0)

		// Two servers at once name the same ones, and another one others: either all of these count, or none.
		custodies := []*custody.Custody{r.Custody, r.open()}
		errs := make([]error, 8)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { errs[i] = custodies[i%2].AuthoriseParts(t.Context(), "import-1", terms, parts) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
		refused("others", name("import-1", terms, custody.Part{Subject: "import-1-0-2", Rule: "SERIAL", Lot: lot("b3")}), custody.ErrUnauthorised)
		refused("more", name("import-1", terms, append(slices.Clone(parts), custody.Part{Subject: "import-1-0-2", Rule: "SERIAL", Lot: lot("b3")})...), custody.ErrUnauthorised)
		refused("less", name("import-1", terms, parts[:2]...), custody.ErrUnauthorised)
		refused("none", name("import-1", terms), custody.ErrUnauthorised)
		if err := name("import-1", terms, parts...); err != nil {
			t.Errorf("named again: %v", err)
		}

		refused("another lot", sign(parts[0].Subject, of(custody.Part{Rule: "SERIAL", Lot: lot("aa")})), custody.ErrUnauthorised)
		refused("a lot in another's place", sign(parts[0].Subject, of(parts[1])), custody.ErrUnauthorised)
		refused("another rule", sign(parts[0].Subject, of(custody.Part{Rule: "LUHN", Lot: lot("b0")})), custody.ErrUnauthorised)
		refused("on other terms, a lot that was named", sign(parts[0].Subject, func() request.Issue { b := of(parts[0]); b.RetailPolicy = request.Open; return b }()), custody.ErrUnauthorised)
		refused("one that was not named", sign("import-1-0-2", of(custody.Part{Rule: "SERIAL", Lot: lot("b3")})), custody.ErrUnauthorised)
		refused("as the whole", sign("import-1", of(parts[0])), custody.ErrUnauthorised)
		refused("as the list", sign("import-1.parts", of(parts[0])), custody.ErrUnauthorised)
		refused("cards to be taken", sign(parts[0].Subject, request.Retire{LotAct: request.LotAct{Lot: lot("b0")}}), custody.ErrUnauthorised)
		for _, p := range parts {
			if err := sign(p.Subject, of(p)); err != nil {
				t.Errorf("%s: %v", p.Subject, err)
			}
		}

		// Something else has been asked for under a name of theirs: it stays, and no part is named.
		r.asks(as("import-3"), terms)
		r.asks(as("import-3-1"), of(custody.Part{Rule: "SERIAL", Lot: lot("c1")}))
		refused("a name that is taken", name("import-3", terms, custody.Part{Subject: "import-3-0", Lot: lot("c0")}, custody.Part{Subject: "import-3-1", Lot: lot("c2")}), custody.ErrAuthorisationConflict)
		refused("a part of none", sign("import-3-0", of(custody.Part{Lot: lot("c0")})), custody.ErrUnauthorised)

		// Whoever has the database has copied what was asked for.
		r.exec("INSERT INTO custody_authorisations SELECT owner, a.`function`, 'import-9', digest, session, login_at, asked_at, not_after, tag FROM custody_authorisations a WHERE subject = 'import-3'")
		refused("a whole that somebody wrote", name("import-9", terms, custody.Part{Subject: "import-9-0", Lot: lot("c0")}), custody.ErrLoginForged)
		r.whole()
	})
}

// TestWhoAsksForAnOrganisation: somebody who works there now, to do this, whatever his session says.
func TestWhoAsksForAnOrganisation(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("m-0001", request.Carrier, custody.Account)
		r.ensure("m-0002", request.Carrier, custody.Account)
		body := request.Issue{Lot: lot("aa"), Carrier: "m-0001", Rule: "SERIAL", RetailPolicy: request.Open}
		theirs, ours := r.employed("m-0002", request.Carrier), r.employed("m-0001", request.Carrier)
		as := func(person string) custody.LoginToken {
			s, err := r.LogIn(t.Context(), custody.Login{Participant: "m-0001", Role: request.Carrier, Person: person}, 1000*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			return s.Token
		}
		r.write(func(tx *model.Tx) error {
			for id, change := range map[string]func(*model.Person){
				"p-books": func(p *model.Person) { p.Roles = []string{"auditor"} },
				"p-new":   func(p *model.Person) { p.MustChange = true },
			} {
				p := model.Person{ID: id, ParticipantID: "m-0001", Username: id, PasswordHash: "x", Roles: []string{"carrier"}, State: model.PersonActive, CreatedAt: 1}
				change(&p)
				if err := tx.AddPerson(p); err != nil {
					return err
				}
			}
			return nil
		})
		authorise := func(token custody.LoginToken) error {
			return r.Authorise(t.Context(), token, "act-1", body, until)
		}
		for what, x := range map[string]struct {
			token custody.LoginToken
			want  error
		}{
			"another organisation's": {theirs, custody.ErrOwner},
			"another one's, as ours": {as("p-m-0002"), custody.ErrSessionOver},
			"who isn't there":        {as("p-nobody"), custody.ErrSessionOver},
			"who looks on":           {as("p-books"), custody.ErrFunction},
			"with a first password":  {as("p-new"), custody.ErrSessionOver},
		} {
			if err := authorise(x.token); !errors.Is(err, x.want) {
				t.Errorf("%s: %v, want %v", what, err, x.want)
			}
		}
		if err := authorise(ours); err != nil {
			t.Error(err)
		}
		r.write(func(tx *model.Tx) error { return tx.MovePerson("p-m-0001", model.PersonActive, model.PersonDisabled) })
		if err := authorise(ours); !errors.Is(err, custody.ErrSessionOver) {
			t.Errorf("who has been disabled: %v", err)
		}
		r.whole()
	})
}
