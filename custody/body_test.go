package custody_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
)

// post is a key that some of the requests below may be signed with.
type post struct {
	owner string
	role  request.Role
	slot  custody.Slot
}

var posts = map[string]post{
	"consumer":      {"c-0001", request.Consumer, custody.Account},
	"retailer":      {"r-0001", request.Retailer, custody.Account},
	"distributor":   {"d-0001", request.Distributor, custody.Account},
	"carrier":       {"m-0001", request.Carrier, custody.Account},
	"regulator":     {"g-0001", request.Regulator, custody.Account},
	"administrator": {"a-0001", request.Administrator, custody.Account},
	"registrar":     {"platform", request.Platform, custody.Registrar},
	"ticket":        {"platform", request.Platform, custody.Ticket},
	"release":       {"platform", request.Platform, custody.Release},
	"anchor":        {"platform", request.Platform, custody.Anchor},
	"audit":         {"platform", request.Platform, custody.Audit},
}

// bodies makes each request that there is, named for an owner who signs with a key, and says who may sign it.
var bodies = map[string]struct {
	of    func(owner, key string) request.Body
	posts string
	named bool // the body names its signer
}{
	"Confirm":     {func(o, _ string) request.Body { return request.Confirm{Trade: "t", Lot: "l", Receiver: o} }, "consumer retailer distributor carrier", true},
	"Decline":     {func(o, _ string) request.Body { return request.Decline{Trade: "t", Receiver: o, Reason: "OTHER"} }, "consumer retailer distributor carrier", true},
	"Return":      {func(o, _ string) request.Body { return request.Return{Offer: request.Offer{Seller: o}, Reverses: "t"} }, "consumer retailer distributor carrier", true},
	"Cancel":      {func(string, string) request.Body { return request.Cancel{Trade: "t"} }, "consumer retailer distributor carrier", false},
	"Offer":       {func(o, _ string) request.Body { return request.Offer{Seller: o, Mode: request.Bearer} }, "retailer distributor carrier", true},
	"Merge":       {func(o, _ string) request.Body { return request.Merge{Owner: o} }, "retailer distributor carrier", true},
	"Issue":       {func(o, _ string) request.Body { return request.Issue{Carrier: o} }, "carrier", true},
	"Approve":     {func(o, _ string) request.Body { return request.Approve{Carrier: o} }, "carrier", true},
	"Retire":      {func(string, string) request.Body { return request.Retire{LotAct: request.LotAct{Lot: "l"}} }, "carrier", false},
	"Freeze":      {func(string, string) request.Body { return request.Freeze{LotAct: request.LotAct{Lot: "l"}} }, "carrier regulator registrar", false},
	"Unfreeze":    {func(string, string) request.Body { return request.Unfreeze{LotAct: request.LotAct{Lot: "l"}} }, "carrier regulator registrar", false},
	"Ticket":      {func(string, string) request.Body { return request.Ticket{Trade: "t", Receiver: "c-0001"} }, "ticket", false},
	"Release":     {func(string, string) request.Body { return request.Release{Trade: "t"} }, "release", false},
	"Anchor":      {func(string, string) request.Body { return request.Anchor{Stream: "custody", Sequence: 1} }, "anchor", false},
	"AuditExport": {func(string, string) request.Body { return request.AuditExport{Stream: "custody", First: 1, Last: 2} }, "audit", false},
	"Register": {func(string, string) request.Body {
		return request.Register{Registration: aRegistration}
	}, "registrar administrator", false},
	"RegisterBatch": {func(string, string) request.Body {
		return request.RegisterBatch{Items: []request.Registration{aRegistration}}
	}, "registrar administrator", false},
	"SuspendKey":          {func(string, string) request.Body { return request.SuspendKey{} }, "retailer distributor carrier registrar administrator", false},
	"ResumeKey":           {func(string, string) request.Body { return request.ResumeKey{} }, "registrar administrator", false},
	"RevokeKey":           {func(string, string) request.Body { return request.RevokeKey{} }, "retailer distributor carrier registrar administrator", false},
	"SetIssuer":           {func(string, string) request.Body { return request.SetIssuer{} }, "administrator", false},
	"SetPolicy":           {func(string, string) request.Body { return request.SetPolicy{} }, "administrator", false},
	"FreezeParticipant":   {func(string, string) request.Body { return request.FreezeParticipant{} }, "regulator registrar", false},
	"UnfreezeParticipant": {func(string, string) request.Body { return request.UnfreezeParticipant{} }, "regulator registrar", false},
	"RevokeApproval":      {func(o, _ string) request.Body { return request.RevokeApproval{Carrier: o} }, "carrier", true},
	"PublishKey": {func(o, _ string) request.Body {
		return request.PublishKey{Participant: o, Key: request.NewKey{Public: aPublicKey}}
	},
		"retailer distributor carrier regulator administrator registrar", true},
	"RotateKey": {func(o, k string) request.Body {
		return request.RotateKey{Participant: o, OldKey: k, Key: request.NewKey{Public: aPublicKey}}
	}, "retailer distributor carrier regulator administrator", true},
}

var aRegistration = request.Registration{Participant: "c-0002", Role: request.Consumer, Key: request.NewKey{Public: aPublicKey, Kind: request.AccountKey}}

// published is a body that publishes a key, with one that is kept here for its owner: the platform publishes no other.
func published(body request.Body, owner string, public gm.PublicKey) request.Body {
	switch b := body.(type) {
	case request.PublishKey:
		b.Key.Public = public
		return b
	case request.RotateKey:
		b.Key.Public = public
		return b
	case request.Register:
		b.Participant, b.Key.Public = owner, public
		return b
	case request.RegisterBatch:
		one := aRegistration
		one.Participant, one.Key.Public = owner, public
		return request.RegisterBatch{Items: []request.Registration{one}}
	}
	return body
}

// TestWhoSignsWhat asks every key for every request, in its owner's name and in another's.
func TestWhoSignsWhat(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		for holder, p := range posts {
			key := r.ensure(p.owner, p.role, p.slot)
			for function, b := range bodies {
				ask := custody.Ask{Owner: p.owner, Slot: p.slot, Subject: function + "-" + holder, Attempt: 1, NotAfter: until, Actor: "test"}
				allowed := slices.Contains(strings.Fields(b.posts), holder)

				body := published(b.of(p.owner, key.ID), p.owner, key.Public)
				person := p.role != request.Platform && p.role != request.Administrator
				asked := allowed && person && !custody.OfTwo(function) && function != "PublishKey" // which is asked for without the key
				if asked {
					r.asks(ask, body)
				}
				_, req, err := r.Sign(t.Context(), ask, body)
				switch {
				case allowed && !asked && (!custody.OfItself(p.role, p.slot, function) || function == "ResumeKey"): // the ledger would take it; nobody asks for it, or not alone
					if !errors.Is(err, custody.ErrUnauthorised) {
						t.Errorf("%s by %s of itself: %v", function, holder, err)
					}
				case allowed && err != nil:
					t.Errorf("%s by %s: %v", function, holder, err)
				case allowed && req.Function != function:
					t.Errorf("%s by %s signed %s", function, holder, req.Function)
				case !allowed && !errors.Is(err, custody.ErrFunction):
					t.Errorf("%s by %s: %v, want ErrFunction", function, holder, err)
				}

				// In someone else's name. Administrators do that with keys: it is how a lost one is replaced.
				if !allowed || !b.named || p.role == request.Administrator {
					continue
				}
				ask.Subject += "-other"
				if _, _, err := r.Sign(t.Context(), ask, b.of("x-0001", key.ID)); !errors.Is(err, custody.ErrOwner) {
					t.Errorf("%s by %s for another: %v, want ErrOwner", function, holder, err)
				}
				if _, _, err := r.Sign(t.Context(), ask, b.of("", key.ID)); !errors.Is(err, custody.ErrOwner) {
					t.Errorf("%s by %s for nobody: %v, want ErrOwner", function, holder, err)
				}
			}
		}
		r.whole()
	})
}

func TestAKeyReplacesItselfOnly(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("m-0001", request.Carrier, custody.Account)
		ask := custody.Ask{Owner: "m-0001", Slot: custody.Account, Subject: "rotate", Attempt: 1, NotAfter: until, Actor: "test"}
		body := request.RotateKey{Participant: "m-0001", OldKey: "another", Key: request.NewKey{Public: key.Public}}
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrOwner) {
			t.Errorf("another key of his: %v", err)
		}
		admin := r.ensure("a-0001", request.Administrator, custody.Account)
		ask.Owner = admin.Owner
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("recovery by an administrator: %v", err)
		}
	})
}

// pretender says that it is a Confirm.
type pretender struct{ request.Confirm }

// trap fails the test if anything is asked of it.
type trap struct{ t *testing.T }

func (b trap) Contract() string {
	b.t.Error("asked a stranger for its contract")
	return request.Ownership
}
func (b trap) Function() string { b.t.Error("asked a stranger for its function"); return "Confirm" }

func TestStrangersAreRefused(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("a-0001", request.Administrator, custody.Account)
		mine := request.Confirm{Trade: "t", Lot: "l", Receiver: "c-0001"}
		for _, owner := range []string{"c-0001", "a-0001"} {
			for name, body := range map[string]request.Body{
				"nothing":           nil,
				"a pointer":         &mine,
				"a nil pointer":     (*request.Confirm)(nil),
				"a wrapped request": pretender{mine},
				"a stranger":        trap{t},
				"Init":              request.Init{},
				"no key":            request.Register{},
				"no key in a batch": request.RegisterBatch{Items: []request.Registration{aRegistration, {}}},
				"no key to publish": request.PublishKey{Participant: owner},
				"no key to rotate":  request.RotateKey{Participant: owner},
			} {
				ask := custody.Ask{Owner: owner, Slot: custody.Account, Subject: "s", Attempt: 1, NotAfter: until, Actor: "test"}
				sig, req, err := r.Sign(t.Context(), ask, body)
				if !errors.Is(err, custody.ErrBody) || sig.Bytes != nil || req.Args != nil {
					t.Errorf("%s by %s: %v", name, owner, err)
				}
			}
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_signatures`); n != 0 {
			t.Errorf("%d lines in the sign log", n)
		}
		if n := r.refusals(custody.ErrBody); n != 20 {
			t.Errorf("%d refusals in the audit, want 20", n)
		}
	})
}

func TestAnOversizedRequestIsRefused(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("d-0001", request.Distributor, custody.Account)
		ask := custody.Ask{Owner: "d-0001", Slot: custody.Account, Subject: "s", Attempt: 1, NotAfter: until, Actor: "test"}
		body := request.Merge{Owner: "d-0001", Inputs: []string{strings.Repeat("0", request.MaxArgs)}}
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrBody) {
			t.Error(err)
		}
	})
}
