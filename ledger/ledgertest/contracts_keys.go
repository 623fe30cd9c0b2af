package ledgertest

import (
	"testing"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

func keysRefused(t *testing.T, s *Stage) {
	shop := s.Join(t, request.Retailer)
	for _, c := range []struct {
		name string
		role request.Role
		code string
		bend func(*Actor, *request.NewKey)
	}{
		{"as it should be", request.Retailer, "", func(*Actor, *request.NewKey) {}},
		{"an account key", request.Retailer, "", func(_ *Actor, k *request.NewKey) { k.Kind, k.SerialHash = request.AccountKey, "" }},
		{"a gateway key of a platform", request.Platform, "", func(_ *Actor, k *request.NewKey) { k.Kind, k.Functions = request.GatewayKey, nil }},
		{"a consumer's device", request.Consumer, contract.BadArguments, func(_ *Actor, k *request.NewKey) {
			k.Kind, k.SerialHash = request.DeviceKey, Commitment("serial")
		}},
		{"a retailer's platform key", request.Retailer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Kind = request.PlatformKey }},
		{"a retailer's gateway key", request.Retailer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Kind = request.GatewayKey }},
		{"a platform's account key", request.Platform, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Kind = request.AccountKey }},
		{"no kind", request.Retailer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Kind = "" }},
		{"a platform key for all functions", request.Platform, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Functions = nil }},
		{"a device without serial", request.Retailer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.SerialHash = "" }},
		{"a serial in the clear", request.Consumer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.SerialHash = "SE-2024-00017" }},
		{"a function that is a sentence", request.Consumer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Functions = []string{"Confirm for Li Lei"} }},
		{"33 functions", request.Consumer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Functions = make([]string, 33) }},
		{"validity in the past", request.Consumer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.ValidUntil = 1 }},
		{"no possession", request.Consumer, contract.BadArguments, func(_ *Actor, k *request.NewKey) { k.Possession = nil }},
		{"possession by another key", request.Consumer, contract.PossessionUnproven, func(a *Actor, k *request.NewKey) {
			k.Possession = s.sign(s.GenerateKey(), request.PossessionBytes(s.Ledger.Channel(), a.ID, k.Public))
		}},
		{"possession for another participant", request.Consumer, contract.PossessionUnproven, func(a *Actor, k *request.NewKey) {
			k.Possession = s.sign(a.Key, request.PossessionBytes(s.Ledger.Channel(), shop.ID, k.Public))
		}},
		{"possession on another channel", request.Consumer, contract.PossessionUnproven, func(a *Actor, k *request.NewKey) {
			k.Possession = s.sign(a.Key, request.PossessionBytes("other", a.ID, k.Public))
		}},
		{"a key someone has", request.Consumer, contract.KeyExists, func(a *Actor, k *request.NewKey) {
			k.Public = shop.Key.Public()
			k.Possession = s.sign(shop.Key, request.PossessionBytes(s.Ledger.Channel(), a.ID, k.Public))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.Stranger(c.role)
			r := s.Registration(a)
			c.bend(a, &r.Key)
			signed := s.Sign(request.Register{Registration: r}, s.Registrars(c.role)...)
			if c.code == "" {
				s.Must(t, signed)
			} else {
				s.Refused(t, c.code, signed)
			}
		})
	}
	// A body without a public key can't be encoded by Encode at all; on the wire it must not bring an endorser down.
	for _, args := range []string{
		`{"participant":"abc-1","role":"consumer","key":{"public":null,"kind":"account","possession":""}}`,
		`{"participant":"abc-1","role":"consumer","key":{"kind":"account"}}`,
		`{"participant":"abc-1","role":"consumer"}`,
	} {
		s.Refused(t, contract.BadArguments, Signed{Request: request.Request{Contract: request.Identity, Function: "Register", Args: []byte(args)}})
	}
}

func publishAndRotate(t *testing.T, s *Stage) {
	shop, other := s.Join(t, request.Retailer), s.Join(t, request.Retailer)
	second := shop.WithKey(s.GenerateKey())
	publish := request.PublishKey{Participant: shop.ID, Version: 1, Key: s.NewKey(second)}
	s.Refused(t, contract.RoleForbidden, s.Sign(publish, other))
	s.Refused(t, contract.RoleForbidden, s.Sign(publish, s.Platform))
	s.Refused(t, contract.RoleForbidden, s.Sign(publish, s.Admins[0]))
	stale := publish
	stale.Version = 0
	if got := s.Refused(t, contract.VersionMismatch, s.Sign(stale, shop)); got.Details["version"] != 1.0 {
		t.Errorf("version %v", got.Details)
	}
	nobody := publish
	nobody.Participant = "nobody"
	s.Refused(t, contract.ParticipantUnknown, s.Sign(nobody, s.Admins...))
	s.Must(t, s.Sign(publish, shop))

	id := func(a *Actor) string { return a.Key.Public().KeyID() }
	third := shop.WithKey(s.GenerateKey())
	rotate := request.RotateKey{Participant: shop.ID, Version: 2, OldKey: id(second), Key: s.NewKey(third)}
	s.Refused(t, contract.RoleForbidden, s.Sign(rotate, shop)) // only by the key that is replaced
	s.Refused(t, contract.RoleForbidden, s.Sign(rotate, other))
	for _, c := range []struct {
		code string
		bend func(*request.RotateKey)
	}{
		{contract.VersionMismatch, func(r *request.RotateKey) { r.Version = 1 }},
		{contract.KeyUnknown, func(r *request.RotateKey) { r.OldKey = "none" }},
		{contract.KeyUnknown, func(r *request.RotateKey) { r.OldKey = id(other) }},
		{contract.KeyExists, func(r *request.RotateKey) { r.Key = s.NewKey(shop) }},
		{contract.BadArguments, func(r *request.RotateKey) { r.Key.Kind, r.Key.SerialHash = request.AccountKey, "" }},
	} {
		bad := rotate
		c.bend(&bad)
		s.Refused(t, c.code, s.Sign(bad, s.Admins...))
	}
	s.Must(t, s.Sign(rotate, second))
	s.Refused(t, contract.KeyInactive, s.Sign(request.PublishKey{Participant: shop.ID, Version: 3, Key: s.NewKey(shop.WithKey(s.GenerateKey()))}, second))
	again := rotate
	again.Version, again.Key = 3, s.NewKey(shop.WithKey(s.GenerateKey()))
	s.Refused(t, contract.TransitionForbidden, s.Sign(again, s.Admins...))

	// A lost key: two administrators, and the new key proves itself.
	fourth := shop.WithKey(s.GenerateKey())
	recovery := request.RotateKey{Participant: shop.ID, Version: 3, OldKey: id(third), Key: s.NewKey(fourth)}
	s.Must(t, s.Sign(recovery, s.Admins...))
	if p := s.Participant(t, shop); len(p.Keys) != 4 || p.Version != 4 {
		t.Errorf("participant %+v", p)
	}

	// A rotated key gains no functions.
	narrow := s.Stranger(request.Retailer)
	r := s.Registration(narrow)
	r.Key.Functions = []string{"Confirm", "RotateKey"}
	s.Must(t, s.Sign(request.Register{Registration: r}, s.Platform))
	wide := narrow.WithKey(s.GenerateKey())
	for _, functions := range [][]string{nil, {"Confirm", "Offer"}} {
		k := s.NewKey(wide)
		k.Functions = functions
		s.Refused(t, contract.BadArguments, s.Sign(request.RotateKey{Participant: narrow.ID, Version: 1, OldKey: id(narrow), Key: k}, narrow))
	}
	k := s.NewKey(wide)
	k.Functions = []string{"Confirm"}
	s.Must(t, s.Sign(request.RotateKey{Participant: narrow.ID, Version: 1, OldKey: id(narrow), Key: k}, narrow))
}

func keyStates(t *testing.T, s *Stage) {
	shop, other := s.Join(t, request.Retailer), s.Join(t, request.Retailer)
	id := shop.Key.Public().KeyID()
	at := func(v int) request.KeyAct { return request.KeyAct{Key: id, Version: v} }
	act := request.Anchor{Stream: "audit"} // refused for its role: the signature was good
	for _, by := range [][]*Actor{{other}, {s.Admins[0]}, {s.Regulator}, {s.Admins[0], s.Regulator}} {
		s.Refused(t, contract.RoleForbidden, s.Sign(request.SuspendKey{KeyAct: at(1)}, by...))
	}
	s.Refused(t, contract.KeyUnknown, s.Sign(request.SuspendKey{KeyAct: request.KeyAct{Key: "none", Version: 1}}, s.Platform))
	s.Refused(t, contract.VersionMismatch, s.Sign(request.SuspendKey{KeyAct: at(2)}, s.Platform))
	s.Refused(t, contract.TransitionForbidden, s.Sign(request.ResumeKey{KeyAct: at(1)}, s.Platform))
	s.Refused(t, contract.RoleForbidden, s.Sign(act, shop))

	s.Must(t, s.Sign(request.SuspendKey{KeyAct: at(1)}, shop))
	s.Refused(t, contract.KeyInactive, s.Sign(act, shop))
	s.Refused(t, contract.KeyInactive, s.Sign(request.ResumeKey{KeyAct: at(2)}, shop))
	s.Refused(t, contract.TransitionForbidden, s.Sign(request.SuspendKey{KeyAct: at(2)}, s.Platform))
	s.Must(t, s.Sign(request.ResumeKey{KeyAct: at(2)}, s.Platform))
	s.Refused(t, contract.RoleForbidden, s.Sign(act, shop))

	// He may stop himself with another key, and not start himself again.
	second := shop.WithKey(s.GenerateKey())
	s.Must(t, s.Sign(request.PublishKey{Participant: shop.ID, Version: 1, Key: s.NewKey(second)}, shop))
	s.Must(t, s.Sign(request.SuspendKey{KeyAct: at(3)}, second))
	s.Refused(t, contract.RoleForbidden, s.Sign(request.ResumeKey{KeyAct: at(4)}, second))
	s.Refused(t, contract.AlreadyApplied, s.Sign(request.ResumeKey{KeyAct: at(2)}, s.Platform)) // an old signature fits nothing
	s.Must(t, s.Sign(request.ResumeKey{KeyAct: at(4)}, s.Admins...))

	s.Must(t, s.Sign(request.RevokeKey{KeyAct: at(5)}, second))
	s.Refused(t, contract.KeyInactive, s.Sign(act, shop))
	for _, bad := range []request.Body{request.ResumeKey{KeyAct: at(6)}, request.SuspendKey{KeyAct: at(6)}, request.RevokeKey{KeyAct: at(6)}} {
		s.Refused(t, contract.TransitionForbidden, s.Sign(bad, s.Admins...))
	}
	s.Refused(t, contract.KeyExists, s.Sign(request.PublishKey{Participant: shop.ID, Version: 2, Key: s.NewKey(shop)}, second))

	// A key that two administrators' participant lost has no registrar to resume it.
	c := s.Carrier(t, iccid.Serial)
	k := request.KeyAct{Key: c.Key.Public().KeyID(), Version: 1}
	s.Refused(t, contract.RoleForbidden, s.Sign(request.SuspendKey{KeyAct: k}, s.Platform))
	s.Must(t, s.Sign(request.RevokeKey{KeyAct: k}, s.Admins...))
	s.Refused(t, contract.KeyInactive, s.Issue(c, s.Lot(c.Cards(0, 1)), request.Open))
}

func keyFunctions(t *testing.T, s *Stage) {
	c := s.Carrier(t, iccid.Serial)
	l := s.Stock(t, c, c.Cards(0, 9))
	narrow := c.WithKey(s.GenerateKey())
	k := s.NewKey(narrow)
	k.Functions = []string{"Return", "Confirm"}
	s.Must(t, s.Sign(request.PublishKey{Participant: c.ID, Version: 1, Key: k}, c))
	deal := Deal{Seller: narrow, Inputs: []Lot{l}, Outputs: []Lot{s.Lot(l.Set)}}
	offer, _ := s.Offer(deal)
	s.Refused(t, contract.KeyFunction, offer)
	// A return that reverses nothing is an offer by another name.
	body, _, openings := s.Body(deal)
	disguised := s.Sign(request.Return{Offer: body}, narrow)
	disguised.Openings = openings
	s.Refused(t, contract.NotReturnable, disguised)

	gateway := s.Platform.WithKey(s.GenerateKey())
	g := s.NewKey(gateway)
	g.Kind = request.GatewayKey
	version := s.Participant(t, s.Platform).Version
	s.Must(t, s.Sign(request.PublishKey{Participant: s.Platform.ID, Version: version, Key: g}, s.Platform))
	s.Refused(t, contract.KeyFunction, s.Sign(request.Anchor{Stream: "audit", Sequence: 9, Digest: Commitment("x")}, gateway))
}

func keyExpires(t *testing.T, s *Stage) {
	shop := s.Stranger(request.Retailer)
	r := s.Registration(shop)
	r.Key.ValidUntil = s.Now().Add(time.Hour).UnixMilli()
	s.Must(t, s.Sign(request.Register{Registration: r}, s.Platform))
	act := s.SignUntil(s.Now().Add(48*time.Hour), request.Anchor{Stream: "audit"}, shop)
	s.Later(time.Hour - time.Millisecond)
	s.Refused(t, contract.RoleForbidden, act) // good for its last millisecond
	s.Later(time.Millisecond)
	s.Refused(t, contract.KeyInactive, act)
}

func keyHistory(t *testing.T, s *Stage) {
	shop := s.Join(t, request.Retailer)
	id := shop.Key.Public().KeyID()
	s.Must(t, s.Sign(request.SuspendKey{KeyAct: request.KeyAct{Key: id, Version: 1}}, shop))
	s.Must(t, s.Sign(request.RevokeKey{KeyAct: request.KeyAct{Key: id, Version: 2}}, s.Platform))
	var list []contract.KeyVersion
	s.Query(t, &list, request.Identity, "KeyHistory", id)
	want := []contract.KeyStatus{contract.KeyRevoked, contract.KeySuspended, contract.KeyActive} // newest first
	if len(list) != len(want) {
		t.Fatalf("history %+v", list)
	}
	for i, v := range list {
		if v.Key.Status != want[i] || v.TxID == "" || v.Time.IsZero() || v.Key.Public != shop.Key.Public() {
			t.Errorf("version %d: %+v", i, v)
		}
	}
	s.QueryRefused(t, contract.KeyUnknown, request.Identity, "KeyHistory", "none")
}
