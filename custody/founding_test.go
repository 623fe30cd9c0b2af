package custody_test

import (
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
)

// TestFounding: outside of a trial the system puts nobody on the ledger by itself but consumers, and the platform at its first
// start.
func TestFounding(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		keys := r.openAs(func(c *custody.Config) { c.Founds = false })
		r.ensure("platform", request.Platform, custody.Registrar)
		r.ensure("administrator-1", request.Administrator, custody.Account)
		for _, c := range []struct {
			what, signer string
			slot         custody.Slot
			body         func(key request.NewKey) request.Body
			role         request.Role
			want         error
		}{
			{"a consumer", "platform", custody.Registrar, one(request.Consumer), request.Consumer, nil},
			{"a retailer", "platform", custody.Registrar, one(request.Retailer), request.Retailer, custody.ErrUnauthorised},
			{"a distributor among others", "platform", custody.Registrar, many(request.Distributor), request.Distributor, custody.ErrUnauthorised},
			{"a carrier", "administrator-1", custody.Account, one(request.Carrier), request.Carrier, custody.ErrUnauthorised},
			{"a regulator", "administrator-1", custody.Account, one(request.Regulator), request.Regulator, custody.ErrUnauthorised},
			{"an issuer", "administrator-1", custody.Account, func(request.NewKey) request.Body {
				return request.SetIssuer{Prefix: "89860", Carrier: "cmcc", Rule: "SERIAL"}
			}, request.Carrier, custody.ErrUnauthorised},
		} {
			key := r.ensure("new-"+string(c.role), c.role, custody.Account)
			ask := custody.Ask{Owner: c.signer, Slot: c.slot, Subject: strings.ReplaceAll(c.what, " ", "-"), Attempt: 1, NotAfter: until, Actor: "relay"}
			_, _, err := keys.Sign(t.Context(), ask, c.body(request.NewKey{Public: key.Public, Kind: request.AccountKey}))
			if c.want == nil && err != nil {
				t.Errorf("%s: %v", c.what, err)
			} else if c.want != nil {
				wantErr(t, err, c.want)
			}
		}
	})
}

// one registers a newcomer.
func one(role request.Role) func(request.NewKey) request.Body {
	return func(key request.NewKey) request.Body {
		return request.Register{Registration: request.Registration{Participant: "new-" + string(role), Role: role, Key: key}}
	}
}

// many registers him in a batch.
func many(role request.Role) func(request.NewKey) request.Body {
	return func(key request.NewKey) request.Body {
		return request.RegisterBatch{Items: []request.Registration{{Participant: "new-" + string(role), Role: role, Key: key}}}
	}
}
