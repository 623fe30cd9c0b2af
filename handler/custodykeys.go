package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
)

// KeyKeepers are what the platform's operators do with the keys in custody. Each order is an act on its way to the ledger;
// what stops a key is true here before it answers.
type KeyKeepers interface {
	CustodyKeys(ctx context.Context, c transfer.Caller, f transfer.KeyFilter, cursor string, limit int) (transfer.Page[transfer.KeyView], error)
	CustodyKey(ctx context.Context, c transfer.Caller, keyID string) (transfer.KeyView, error)
	SuspendKey(ctx context.Context, c transfer.Caller, idem transfer.Idem, keyID string) (transfer.Act, error)
	ResumeKey(ctx context.Context, c transfer.Caller, idem transfer.Idem, keyID string) (transfer.Act, error)
	RotateKey(ctx context.Context, c transfer.Caller, idem transfer.Idem, keyID string) (transfer.Act, error)
	RevokeKey(ctx context.Context, c transfer.Caller, idem transfer.Idem, keyID string) (transfer.Act, error)
	// Provision is the same however often it is asked.
	Provision(ctx context.Context, c transfer.Caller, appID string, openIDs []string, dry bool) (transfer.Provisioned, error)
}

type keyView struct {
	ID         string         `json:"id"`
	Owner      string         `json:"owner"`
	Role       string         `json:"role"`
	Slot       string         `json:"slot"`
	Version    int            `json:"version"`
	Kind       string         `json:"kind"`
	Functions  []string       `json:"functions"`
	Public     string         `json:"public"`
	State      string         `json:"state"`
	CreatedAt  time.Time      `json:"createdAt"`
	KEKVersion int            `json:"kekVersion"`
	Ledger     *ledgerKeyView `json:"ledger,omitempty"`
	Wishes     []keyWishView  `json:"wishes"`
	Successor  string         `json:"successor,omitempty"`
}

type ledgerKeyView struct {
	Status  string `json:"status"`
	Version int    `json:"version"`
}

type keyWishView struct {
	Wish      string    `json:"wish"`
	Actor     string    `json:"actor"`
	CreatedAt time.Time `json:"createdAt"`
}

func viewKey(k transfer.KeyView) keyView {
	v := keyView{
		ID: k.ID, Owner: k.Owner, Role: k.Role, Slot: k.Slot, Version: k.Version, Kind: k.Kind, Functions: texts(k.Functions), Public: k.Public,
		State: k.State, CreatedAt: k.CreatedAt, KEKVersion: k.KEKVersion, Successor: k.Successor,
		Wishes: each(k.Wishes, func(w transfer.KeyWishView) keyWishView { return keyWishView{w.What, w.Actor, w.CreatedAt} }),
	}
	if k.LedgerVersion > 0 {
		v.Ledger = &ledgerKeyView{k.LedgerStatus, k.LedgerVersion}
	}
	return v
}

// listKeys is GET /custody/keys.
func listKeys(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	from, to, err := c.between()
	if err != nil {
		return err
	}
	state := c.QueryParam("state")
	if state != "" && !known(state) {
		return queryInvalid("state")
	}
	page, err := c.Service.CustodyKeys(c.ctx(), c.caller(), transfer.KeyFilter{Owner: c.QueryParam("owner"), State: state, From: from, To: to}, cursor, limit)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[keyView]{each(page.Items, viewKey), page.Next})
}

// known reports whether keys have such a state.
func known(state string) bool {
	for _, s := range model.CustodyKeyMoves.States() {
		if state == string(s) {
			return true
		}
	}
	return false
}

// showKey is GET /custody/keys/{id}.
func showKey(c *call) error {
	k, err := c.Service.CustodyKey(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewKey(k))
}

// suspendKey is POST /custody/keys/{id}/suspend.
func suspendKey(c *call) error { return c.onKey(c.Service.SuspendKey) }

// resumeKey is POST /custody/keys/{id}/resume.
func resumeKey(c *call) error { return c.onKey(c.Service.ResumeKey) }

// rotateKey is POST /custody/keys/{id}/rotate.
func rotateKey(c *call) error { return c.onKey(c.Service.RotateKey) }

// revokeKey is POST /custody/keys/{id}/revoke.
func revokeKey(c *call) error { return c.onKey(c.Service.RevokeKey) }

// destroyKey is POST /custody/keys/{id}/destroy: a proposal, for another person to approve. There is no way back from it.
func destroyKey(c *call) error {
	in, err := bind[struct {
		Reason string `json:"reason"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("reason", in.Reason), bounded(4096, "reason", in.Reason)); err != nil {
		return err
	}
	arguments, err := json.Marshal(custody.DestroyKey{Key: c.Param("id")})
	if err != nil {
		return err
	}
	return c.propose(custody.OperationDestroy, arguments, in.Reason)
}

func (c *call) onKey(do func(context.Context, transfer.Caller, transfer.Idem, string) (transfer.Act, error)) error {
	return c.accepted(do(c.ctx(), c.caller(), c.idem(), c.Param("id")))
}

type provisionedView struct {
	Known        int    `json:"known"`
	Begun        int    `json:"begun"`
	New          int    `json:"new"`
	Made         int    `json:"made"`
	Registering  int    `json:"registering"`
	Confirmation string `json:"confirmationId,omitempty"`
}

// provision is POST /custody/keys.
func provision(c *call) error {
	in, err := bind[struct {
		OpenIDs []string `json:"openIds"`
		Dry     bool     `json:"dry"`
	}](c)
	if err != nil {
		return err
	}
	if n := len(in.OpenIDs); n < 1 || n > transfer.MostLogins {
		return field("openIds", "每次 1 至 200 个")
	}
	for _, id := range in.OpenIDs {
		if !openID.MatchString(id) {
			return field("openIds", "其中有一个不是 openid")
		}
	}
	p, err := c.Service.Provision(c.ctx(), c.caller(), c.AppID, in.OpenIDs, in.Dry)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if p.Act != "" {
		status = http.StatusAccepted
	}
	return render(c, status, provisionedView{p.Known, p.Begun, p.New, p.Made, p.Listed, p.Act})
}

// openID is what WeChat makes of a user for a mini-program.
var openID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
