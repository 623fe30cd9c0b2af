package custody_test

import (
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/terminal/protocol"
)

// aDevice is the publication of a terminal's key.
func aDevice(t *testing.T, owner string) request.PublishKey {
	t.Helper()
	key, err := gm.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return request.PublishKey{Participant: owner, Key: request.NewKey{
		Public: key.Public(), Kind: request.DeviceKey, SerialHash: strings.Repeat("5e", 32), Functions: slices.Clone(protocol.Functions),
	}}
}

// TestOneKeyForOneDevice: an organisation's key publishes the key of a terminal that somebody of it has asked for: the first
// one that is named, for what terminals do, once; and none of another kind, whoever has asked for what.
func TestOneKeyForOneDevice(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("m-0001", request.Carrier, custody.Account)
		r.ensure("d-0001", request.Distributor, custody.Account)
		token, other := r.employed("m-0001", request.Carrier), r.employed("d-0001", request.Distributor)
		ask := custody.Ask{Owner: "m-0001", Slot: custody.Account, Subject: "device-1-key", Attempt: 1, NotAfter: until, Actor: "p-m-0001"}
		body := aDevice(t, "m-0001")
		refused := func(what string, err error, want *custody.Error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		sign := func(ask custody.Ask, body request.Body) error {
			_, _, err := r.Sign(t.Context(), ask, body)
			return err
		}
		name := func(asked string, body request.PublishKey) error { return r.NameDevice(t.Context(), asked, body) }
		with := func(change func(*request.PublishKey)) request.PublishKey {
			b := body
			b.Key.Functions = slices.Clone(b.Key.Functions)
			change(&b)
			return b
		}

		refused("a key that was named at once", r.Authorise(t.Context(), token, "device-0", body, until), custody.ErrFunction)
		refused("named, and nobody asked", name("device-1", body), custody.ErrUnauthorised)
		refused("nobody is logged in", r.AuthoriseDevice(t.Context(), "", "device-1", until), custody.ErrSessionOver)
		r.ensure("c-0001", request.Consumer, custody.Account)
		refused("a consumer's", r.AuthoriseDevice(t.Context(), r.logIn("c-0001"), "device-1", until), custody.ErrFunction)
		for range 2 { // twice is once
			if err := r.AuthoriseDevice(t.Context(), token, "device-1", until); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.AuthoriseDevice(t.Context(), other, "device-2", until); err != nil {
			t.Fatal(err)
		}
		refused("signed before it is named", sign(ask, body), custody.ErrUnauthorised)
		open := ask
		open.Subject = "device-1"
		refused("signed as what was asked for", sign(open, body), custody.ErrUnauthorised)
		refused("by another's wish", name("device-2", body), custody.ErrUnauthorised)
		for what, b := range map[string]request.PublishKey{
			"an account's key":     with(func(b *request.PublishKey) { b.Key.Kind = request.AccountKey }),
			"a gateway's key":      with(func(b *request.PublishKey) { b.Key.Kind = request.GatewayKey }),
			"for everything":       with(func(b *request.PublishKey) { b.Key.Functions = nil }),
			"for one thing more":   with(func(b *request.PublishKey) { b.Key.Functions = append(b.Key.Functions, "PublishKey") }),
			"for another thing":    with(func(b *request.PublishKey) { b.Key.Functions[0] = "Issue" }),
			"without its serial":   with(func(b *request.PublishKey) { b.Key.SerialHash = "" }),
			"for a time":           with(func(b *request.PublishKey) { b.Key.ValidUntil = until }),
			"without a public key": with(func(b *request.PublishKey) { b.Key.Public = gm.PublicKey{} }),
		} {
			refused(what, name("device-1", b), custody.ErrBody)
		}
		r.clock.ahead.Store(26 * hour)
		refused("too late", name("device-1", body), custody.ErrUnauthorised)
		r.clock.ahead.Store(0)

		// Two servers at once, with two keys: one of them is the device's.
		thief := aDevice(t, "m-0001")
		custodies := []*custody.Custody{r.Custody, r.open()}
		errs := make([]error, 8)
		var all sync.WaitGroup
		for i := range errs {
			b := []request.PublishKey{body, thief}[i/2%2]
			all.Go(func() { errs[i] = custodies[i%2].NameDevice(t.Context(), "device-1", b) })
		}
		all.Wait()
		if errs[0] != nil {
			body, thief = thief, body
		}
		for i, err := range errs {
			if won := (i/2%2 == 0) == (errs[0] == nil); won != (err == nil) || err != nil && !errors.Is(err, custody.ErrUnauthorised) {
				t.Errorf("%d: %v, and the first %v", i, err, errs[0])
			}
		}

		// The version is the ledger's; all else is as it was named.
		planned := with(func(b *request.PublishKey) { b.Version = 3 })
		planned.Key.Public = body.Key.Public
		refused("another key", sign(ask, thief), custody.ErrUnauthorised)
		moved := planned
		moved.Key.SerialHash = strings.Repeat("ff", 32)
		refused("another serial", sign(ask, moved), custody.ErrUnauthorised)
		elsewhere := ask
		elsewhere.Subject = "device-9-key"
		refused("as another act", sign(elsewhere, planned), custody.ErrUnauthorised)
		if err := sign(ask, planned); err != nil {
			t.Error(err)
		}
		if err := name("device-1", body); err != nil {
			t.Errorf("named again: %v", err)
		}
		// Planned anew it is the same device, and no other.
		if err := r.CloseAttempt(t.Context(), "m-0001", "PublishKey", ask.Subject, 1, model.NeverBroadcast, "relay"); err != nil {
			t.Fatal(err)
		}
		ask.Attempt = 2
		refused("another key, in the next attempt", sign(ask, thief), custody.ErrUnauthorised)
		planned.Version = 4
		if err := sign(ask, planned); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}

// TestDeviceKeysAreStopped: an organisation's key stops the very key that was asked for, at whatever version it is by then.
func TestDeviceKeysAreStopped(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("m-0001", request.Carrier, custody.Account)
		for function, of := range map[string]func(request.KeyAct) request.Body{
			"SuspendKey": func(at request.KeyAct) request.Body { return request.SuspendKey{KeyAct: at} },
			"RevokeKey":  func(at request.KeyAct) request.Body { return request.RevokeKey{KeyAct: at} },
		} {
			ask := custody.Ask{Owner: "m-0001", Slot: custody.Account, Subject: "act-" + function, Attempt: 1, NotAfter: until, Actor: "p-m-0001"}
			r.asks(ask, of(request.KeyAct{Key: "k1"}))
			if _, _, err := r.Sign(t.Context(), ask, of(request.KeyAct{Key: "k2", Version: 1})); !errors.Is(err, custody.ErrUnauthorised) {
				t.Errorf("%s of another key: %v", function, err)
			}
			if _, _, err := r.Sign(t.Context(), ask, of(request.KeyAct{Key: "k1", Version: 7})); err != nil {
				t.Errorf("%s: %v", function, err)
			}
		}
		r.whole()
	})
}

// TestGatewayKeys: the platform's registrar publishes keys that answer terminals, which are not kept here, and no other key
// that isn't; nobody else does that.
func TestGatewayKeys(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("platform", request.Platform, custody.Registrar)
		r.ensure("a-0001", request.Administrator, custody.Account)
		gateway := request.PublishKey{Participant: "platform", Version: 1, Key: request.NewKey{Public: aPublicKey, Kind: request.GatewayKey}}
		ask := custody.Ask{Owner: "platform", Slot: custody.Registrar, Subject: "gateway", Attempt: 1, NotAfter: until, Actor: "relay"}
		admin := ask
		admin.Owner, admin.Slot = "a-0001", custody.Account
		if _, _, err := r.Sign(t.Context(), admin, gateway); !errors.Is(err, custody.ErrKeyForeign) {
			t.Errorf("by an administrator: %v", err)
		}
		for what, change := range map[string]func(*request.PublishKey){
			"that signs":     func(b *request.PublishKey) { b.Key.Kind = request.PlatformKey; b.Key.Functions = []string{"Ticket"} },
			"of an account":  func(b *request.PublishKey) { b.Key.Kind = request.AccountKey },
			"with functions": func(b *request.PublishKey) { b.Key.Functions = []string{"Ticket"} },
		} {
			b := gateway
			change(&b)
			if _, _, err := r.Sign(t.Context(), ask, b); !errors.Is(err, custody.ErrKeyForeign) {
				t.Errorf("one %s: %v", what, err)
			}
		}
		victim := gateway
		victim.Participant = "m-0001"
		if _, _, err := r.Sign(t.Context(), ask, victim); !errors.Is(err, custody.ErrOwner) {
			t.Errorf("for another: %v", err)
		}
		if _, _, err := r.Sign(t.Context(), ask, gateway); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}

// TestDeviceFunctions: what a terminal's key may sign is one list.
func TestDeviceFunctions(t *testing.T) {
	if !slices.Equal(custody.DeviceFunctions, protocol.Functions) {
		t.Errorf("custody has %q, terminals %q", custody.DeviceFunctions, protocol.Functions)
	}
}
