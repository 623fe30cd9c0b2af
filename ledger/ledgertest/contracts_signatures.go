package ledgertest

import (
	"bytes"
	"errors"
	"regexp"
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

var signatureScenes = []scene{
	{"every function: signatures and replay", false, everyFunction},
	{"an expired trade: signatures and replay", true, func(t *testing.T, s *Stage) {
		c := s.Carrier(t, iccid.Serial)
		l := s.Stock(t, c, c.Cards(0, 9))
		trade := s.Sell(t, Deal{Seller: c, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
		s.Later(25 * time.Hour)
		attackSignatures(t, s, example{body: request.Release{Trade: trade.ID}, by: []*Actor{c}})
	}},
	{"done stays done", true, doneStaysDone},
}

// example is a request that is good as it stands.
type example struct {
	body     request.Body
	by       []*Actor
	openings request.Openings
	ticket   *request.Signature
}

func (e example) sign(s *Stage, notAfter time.Time, by ...*Actor) Signed {
	c := s.SignUntil(notAfter, e.body, by...)
	c.Openings, c.Proof.Ticket = e.openings, e.ticket
	return c
}

// everyFunction bends the signatures of a good request of each function, sends it as it was, and sends it again.
func everyFunction(t *testing.T, s *Stage) {
	seen := map[string]bool{}
	for _, e := range examples(t, s) {
		seen[e.body.Function()] = true
		t.Run(e.body.Function(), func(t *testing.T) { attackSignatures(t, s, e) })
	}
	for _, f := range []string{
		"Register", "RegisterBatch", "PublishKey", "RotateKey", "SuspendKey", "ResumeKey", "RevokeKey", "SetIssuer", "SetPolicy", "Anchor",
		"Issue", "Offer", "Return", "Confirm", "Decline", "Cancel", "Merge", "Approve", "RevokeApproval", "Freeze", "Unfreeze", "Retire",
		"FreezeParticipant", "UnfreezeParticipant",
	} {
		if !seen[f] {
			t.Errorf("no example of %s", f)
		}
	}
}

// examples has a good request of each function that needs no clock to be moved. They don't get in each other's way.
func examples(t *testing.T, s *Stage) []example {
	c, shop, buyer := s.Carrier(t, iccid.Luhn), s.Join(t, request.Retailer), s.Join(t, request.Consumer)
	next := uint32(0)
	fresh := func() Lot {
		next += 10
		return s.Stock(t, c, c.Cards(next, next+9))
	}
	offered := func(to *Actor) Trade {
		l := fresh()
		return s.Sell(t, Deal{Seller: c, Receiver: to, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})[0]
	}
	plain := func(body request.Body, by ...*Actor) example { return example{body: body, by: by} }
	with := func(body request.Body, by *Actor, c Signed) example {
		return example{body: body, by: []*Actor{by}, openings: c.Openings, ticket: c.Proof.Ticket}
	}
	extraKey := func(a *Actor, suspended bool) request.KeyAct {
		k := a.WithKey(s.GenerateKey())
		s.Must(t, s.Sign(request.PublishKey{Participant: a.ID, Version: s.Participant(t, a).Version, Key: s.NewKey(k)}, a))
		at := request.KeyAct{Key: k.Key.Public().KeyID(), Version: 1}
		if suspended {
			s.Must(t, s.Sign(request.SuspendKey{KeyAct: at}, a))
			at.Version++
		}
		return at
	}

	suspend, resume, revoke := extraKey(shop, false), extraKey(shop, true), extraKey(shop, false)
	lotA, lotB, lotC := fresh(), fresh(), fresh()
	frozen := fresh()
	s.Must(t, s.Sign(request.Freeze{LotAct: s.At(t, frozen)}, s.Regulator))
	suspect := s.Join(t, request.Consumer)
	s.Must(t, s.Sign(request.FreezeParticipant{ParticipantAct: request.ParticipantAct{Participant: suspect.ID}}, s.Regulator))
	known := s.Join(t, request.Consumer)
	s.Must(t, s.Approve(c, known, known.ID, 0))

	issue := s.Lot(c.Cards(9_000_000, 9_000_009))
	openIssue := Signed{}.With(issue).Openings
	openIssue.IssueKey = s.IssueKey
	offer, _, openOffer := s.Body(Deal{Seller: c, Inputs: []Lot{lotA}, Outputs: []Lot{s.Lot(lotA.Set)}})
	bought := s.Hand(t, c, shop, fresh())
	back, _, openBack := s.Body(Deal{Seller: shop, Receiver: c, Inputs: []Lot{bought.Lot}, Outputs: []Lot{s.Lot(bought.Lot.Set)}})
	bearer, declined, cancelled := offered(nil), offered(nil), offered(nil)
	both, err := lotB.Set.Union(lotC.Set)
	if err != nil {
		t.Fatal(err)
	}
	merged := s.Lot(both)
	rotated := shop.WithKey(s.GenerateKey())
	second := s.Join(t, request.Retailer)
	published := second.WithKey(s.GenerateKey())
	rotate := s.Join(t, request.Retailer)
	rotated.ID = rotate.ID

	return []example{
		plain(request.Register{Registration: s.Registration(s.Stranger(request.Consumer))}, s.Platform),
		plain(request.Register{Registration: s.Registration(s.Stranger(request.Carrier))}, s.Admins...),
		plain(request.RegisterBatch{Items: []request.Registration{
			s.Registration(s.Stranger(request.Consumer)), s.Registration(s.Stranger(request.Retailer)),
		}}, s.Platform),
		plain(request.PublishKey{Participant: second.ID, Version: 1, Key: s.NewKey(published)}, second),
		plain(request.RotateKey{Participant: rotate.ID, Version: 1, OldKey: rotate.Key.Public().KeyID(), Key: s.NewKey(rotated)}, s.Admins...),
		plain(request.SuspendKey{KeyAct: suspend}, shop),
		plain(request.ResumeKey{KeyAct: resume}, s.Platform),
		plain(request.RevokeKey{KeyAct: revoke}, s.Admins...),
		plain(request.SetIssuer{Prefix: c.Prefix, Carrier: c.ID, Rule: string(c.Rule), Version: 1}, s.Admins...),
		plain(request.SetPolicy{Name: request.PolicySegmentsMax, Value: 1000}, s.Admins...),
		plain(request.Anchor{Stream: "audit", Sequence: 1, Digest: Commitment("head")}, s.Platform),

		{body: request.Issue{Lot: issue.Hash, Carrier: c.ID, Rule: string(c.Rule), RetailPolicy: request.Open}, by: []*Actor{c}, openings: openIssue},
		{body: offer, by: []*Actor{c}, openings: openOffer},
		{body: request.Return{Offer: back, Reverses: bought.ID}, by: []*Actor{shop}, openings: openBack},
		with(request.Confirm{Trade: bearer.ID, Lot: bearer.Lot.Hash, Receiver: buyer.ID}, buyer, s.Confirm(bearer, buyer)),
		with(request.Decline{Trade: declined.ID, Receiver: buyer.ID, Reason: "OTHER"}, buyer, s.Decline(declined, buyer, "OTHER")),
		plain(request.Cancel{Trade: cancelled.ID}, c),
		{body: request.Merge{Owner: c.ID, Inputs: Hashes(lotB, lotC), Output: merged.Hash}, by: []*Actor{c}, openings: Signed{}.With(lotB, lotC, merged).Openings},
		plain(request.Approve{Carrier: c.ID, Consumer: buyer.ID, Commitment: Commitment("p"), ValidUntil: s.Now().Add(time.Hour).UnixMilli()}, c),
		plain(request.RevokeApproval{Carrier: c.ID, Consumer: known.ID, Version: 1}, c),
		plain(request.Freeze{LotAct: s.At(t, fresh())}, s.Regulator),
		plain(request.Unfreeze{LotAct: s.At(t, frozen)}, s.Regulator),
		plain(request.Retire{LotAct: s.At(t, fresh())}, c),
		plain(request.FreezeParticipant{ParticipantAct: request.ParticipantAct{Participant: known.ID}}, s.Platform),
		plain(request.UnfreezeParticipant{ParticipantAct: request.ParticipantAct{Participant: suspect.ID, Version: 1}}, s.Regulator),
	}
}

var aHash = regexp.MustCompile(`[0-9a-f]{32}`)

func attackSignatures(t *testing.T, s *Stage, e example) {
	soon := s.Now().Add(time.Hour)
	good := e.sign(s, soon, e.by...)
	bent := func(change func(*request.Signature)) Signed {
		c := good
		c.Proof.Signatures = append([]request.Signature(nil), good.Proof.Signatures...)
		change(&c.Proof.Signatures[0])
		return c
	}
	signedFor := func(change func(*request.Request)) Signed {
		return bent(func(sig *request.Signature) {
			r := good.Request
			change(&r)
			*sig = s.Signature(r, e.by[0], soon)
		})
	}
	stranger := s.Stranger(request.Retailer)

	s.Refused(t, contract.SignatureMissing, e.sign(s, soon))
	s.Refused(t, contract.SignatureMissing, e.sign(s, soon, e.by[0], e.by[0]))
	s.Refused(t, contract.KeyUnknown, e.sign(s, soon, append([]*Actor{stranger}, e.by[1:]...)...))
	s.Refused(t, contract.RequestExpired, e.sign(s, s.Now().Add(-time.Minute), e.by...))
	s.Refused(t, contract.NotAfterTooFar, e.sign(s, s.Now().Add(31*24*time.Hour), e.by...))
	s.Refused(t, contract.SignatureInvalid, bent(func(sig *request.Signature) { sig.NotAfter++ }))
	s.Refused(t, contract.BadArguments, bent(func(sig *request.Signature) { sig.Bytes = nil }))
	s.Refused(t, contract.KeyUnknown, bent(func(sig *request.Signature) { sig.KeyID = "" }))
	s.Refused(t, contract.BadArguments, bent(func(sig *request.Signature) { sig.KeyID = "a\x00b" }))
	s.Refused(t, contract.SignatureInvalid, bent(func(sig *request.Signature) {
		sig.Bytes = s.Signature(good.Request, stranger, soon).Bytes // another key's, under this key's name
	}))
	s.Refused(t, contract.SignatureInvalid, signedFor(func(r *request.Request) { r.Channel += "2" }))
	s.Refused(t, contract.SignatureInvalid, signedFor(func(r *request.Request) { r.Function = "Ticket" }))
	s.Refused(t, contract.SignatureInvalid, signedFor(func(r *request.Request) { r.Contract += "x" }))
	s.Refused(t, contract.SignatureInvalid, signedFor(func(r *request.Request) { r.Args = append([]byte(" "), r.Args...) }))
	if len(e.by) == 2 {
		s.Refused(t, contract.RoleForbidden, e.sign(s, soon, e.by[0]))
		s.Refused(t, contract.RoleForbidden, e.sign(s, soon, e.by[0], s.Regulator))
	}
	if len(e.by) == 1 && e.body.Function() != "Release" { // which whoever is registered may ask for, in company too
		refusedSomehow(t, s, "in company", e.sign(s, soon, e.by[0], s.Join(t, request.Distributor)))
		refusedSomehow(t, s, "by someone else", e.sign(s, soon, s.Join(t, request.Distributor)))
	}
	refusedSomehow(t, s, "arguments changed after signing", func() Signed {
		c := good
		at := aHash.FindIndex(c.Request.Args)
		if at == nil {
			c.Request.Args = bytes.Replace(c.Request.Args, []byte(`1000`), []byte(`2000`), 1) // SetPolicy, SetIssuer…
			c.Request.Args = bytes.Replace(c.Request.Args, []byte(`"version":1}`), []byte(`"version":2}`), 1)
			c.Request.Args = bytes.Replace(c.Request.Args, []byte(`"participant":"`), []byte(`"participant":"x`), 1)
		} else {
			c.Request.Args = bytes.Clone(c.Request.Args)
			if digit := &c.Request.Args[at[0]]; *digit == '0' {
				*digit = '1'
			} else {
				*digit = '0'
			}
		}
		if bytes.Equal(c.Request.Args, good.Request.Args) {
			t.Fatalf("nothing was changed in %s", good.Request.Args)
		}
		return c
	}())
	s.malformed(t, good)

	swapped := good
	if len(e.by) == 2 { // the order of two signatures means nothing
		swapped.Proof.Signatures = []request.Signature{good.Proof.Signatures[1], good.Proof.Signatures[0]}
	}
	done := s.Must(t, swapped)
	for name, again := range map[string]Signed{
		"as it was": good, "unsigned": e.sign(s, soon), "signed afresh": e.sign(s, soon.Add(time.Second), e.by...),
		"late": e.sign(s, s.Now().Add(-time.Minute), e.by...), "without openings": {Request: good.Request, Proof: good.Proof},
	} {
		refusal := s.Refused(t, contract.AlreadyApplied, again)
		if refusal.Details["txId"] != done.TxID {
			t.Errorf("%s: applied by %v, want %s", name, refusal.Details, done.TxID)
		}
	}
}

// malformed sends what can't be decoded.
func (s *Stage) malformed(t *testing.T, good Signed) {
	t.Helper()
	args, proof := good.Request.Args, good.Proof.Encode()
	for name, list := range map[string][][]byte{
		"nothing":                {},
		"no proof":               {args},
		"one too many":           {args, proof, proof},
		"not JSON":               {[]byte("x"), proof},
		"null":                   {[]byte("null"), proof},
		"nothing in it":          {[]byte("{}"), proof},
		"white space":            {append([]byte(" "), args...), proof},
		"a second value":         {append(bytes.Clone(args), "{}"...), proof},
		"an unknown member":      {append([]byte(`{"x":1,`), args[1:]...), proof},
		"a member twice":         {append(append(bytes.Clone(args[:len(args)-1]), ','), args[1:]...), proof},
		"far too large":          {bytes.Repeat([]byte(" "), request.MaxArgs+1), proof},
		"proof is not JSON":      {args, []byte("[")},
		"proof of three":         {args, []byte(`{"signatures":[{},{},{}]}`)},
		"proof with a stowaway":  {args, []byte(`{"signatures":[],"by":"me"}`)},
		"proof with a lax bytes": {args, []byte(`{"signatures":[{"keyId":"a","notAfter":1,"signature":"3006"}]}`)},
	} {
		p, err := s.Ledger.Prepare(good.Request.Contract, good.Request.Function, list)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Ledger.Submit(t.Context(), p, nil, nil)
		if contract.CodeOf(err) != contract.BadArguments {
			t.Errorf("%s, %s: got %v, want %s", good.Request.Function, name, err, contract.BadArguments)
		}
	}
}

// refusedSomehow is for lies that more than one check may catch first.
func refusedSomehow(t T, s *Stage, what string, c Signed) {
	t.Helper()
	_, err := s.Submit(c)
	var refusal *contract.Error
	if !errors.As(err, &refusal) || refusal.Code == contract.AlreadyApplied || ledger.ClassOf(err) != ledger.Refused {
		t.Errorf("%s, %s: got %v, want a refusal", c.Request.Function, what, err)
	}
}

// doneStaysDone asks for what was done when the request has long expired, the trade has ended and the key is revoked.
func doneStaysDone(t *testing.T, s *Stage) {
	c, shop := s.Carrier(t, iccid.Serial), s.Join(t, request.Retailer)
	l := s.Stock(t, c, c.Cards(0, 9))
	offer, trades := s.Offer(Deal{Seller: c, Receiver: shop, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}})
	offerTx := s.Must(t, offer).TxID
	confirm := s.Confirm(trades[0], shop)
	confirmTx := s.Must(t, confirm).TxID
	s.Must(t, s.Sign(request.RevokeKey{KeyAct: request.KeyAct{Key: shop.Key.Public().KeyID(), Version: 1}}, shop))
	s.Later(400 * 24 * time.Hour)
	if got := s.Refused(t, contract.AlreadyApplied, offer).Details["txId"]; got != offerTx {
		t.Errorf("offer applied by %v, want %s", got, offerTx)
	}
	if got := s.Refused(t, contract.AlreadyApplied, confirm).Details["txId"]; got != confirmTx {
		t.Errorf("confirmation applied by %v, want %s", got, confirmTx)
	}
}
