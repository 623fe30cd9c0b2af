package custody_test

import (
	"errors"
	"slices"
	"strings"
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

// TestImportIsAskedForAsAWhole: which cards an import issues is known when whoever asked has gone. Its terms are bound, and
// that it is an import's.
func TestImportIsAskedForAsAWhole(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("m-0001", request.Carrier, custody.Account)
		asked := request.Issue{Carrier: "m-0001", RetailPolicy: request.RealName}
		part := custody.Ask{Owner: "m-0001", Slot: custody.Account, Subject: "import-1-0-0", Asked: "import-1", Attempt: 1, NotAfter: until, Actor: "p-m-0001"}
		r.asks(part, asked)
		body := asked
		body.Lot, body.Rule = lot("aa"), "SERIAL"
		open := body
		open.RetailPolicy = request.Open
		other, alone, elsewhere, exact := part, part, part, part
		other.Asked, other.Subject = "import-2", "import-2-0-0"
		alone.Asked = ""
		elsewhere.Subject = "import-10-0"
		exact.Asked, exact.Subject = "", "import-1"
		for what, x := range map[string]struct {
			ask  custody.Ask
			body request.Body
		}{
			"on other terms":    {part, open},
			"another import":    {other, body},
			"not as a part":     {alone, body},
			"named otherwise":   {elsewhere, body},
			"as the whole":      {exact, body},
			"another function":  {part, request.Offer{Seller: "m-0001", Mode: request.Bearer}},
			"cards to be taken": {part, request.Retire{LotAct: request.LotAct{Lot: lot("aa")}}},
		} {
			if _, _, err := r.Sign(t.Context(), x.ask, x.body); !errors.Is(err, custody.ErrUnauthorised) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for n := range 3 {
			part.Subject = "import-1-0-" + string(rune('0'+n))
			body.Lot = lot("b" + string(rune('0'+n)))
			if _, _, err := r.Sign(t.Context(), part, body); err != nil {
				t.Error(err)
			}
		}
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
