package custodial

import (
	"context"
	"encoding/hex"
	"errors"

	"cardflow/custody"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

var _ transfer.KeyLife = Signer{}

// OrderKey implements transfer.KeyLife.
func (s Signer) OrderKey(ctx context.Context, keyID, what, actor string) (transfer.KeyWish, error) {
	w, err := s.Custody.Order(ctx, keyID, what, actor)
	return keyWish(w), translateLife(err)
}

// KeyWishes implements transfer.KeyLife.
func (s Signer) KeyWishes(ctx context.Context, after string, limit int) ([]transfer.KeyWish, error) {
	list, err := s.Custody.Wishes(ctx, after, limit)
	out := make([]transfer.KeyWish, len(list))
	for i, w := range list {
		out[i] = keyWish(w)
	}
	return out, err
}

func keyWish(w custody.Wish) transfer.KeyWish {
	return transfer.KeyWish{ID: w.ID, KeyID: w.Key.ID, What: w.What, Actor: w.Actor, Owner: w.Key.Owner, Role: w.Key.Role, State: w.Key.State}
}

// PrepareKey implements transfer.KeyLife.
func (s Signer) PrepareKey(ctx context.Context, keyID, actor string) (request.NewKey, error) {
	k, err := s.Custody.Prepare(ctx, keyID, actor)
	if err != nil {
		return request.NewKey{}, translate(err)
	}
	return s.Custody.Possession(ctx, k.ID)
}

// FollowKeys implements transfer.KeyLife.
func (s Signer) FollowKeys(ctx context.Context, txID string, keys []contract.Key) error {
	return s.Custody.Follow(ctx, txID, ledgerKeys(keys))
}

// MendKeys implements transfer.KeyLife.
func (s Signer) MendKeys(ctx context.Context, keys []contract.Key) error {
	return s.Custody.Mend(ctx, ledgerKeys(keys))
}

func ledgerKeys(keys []contract.Key) []custody.LedgerKey {
	out := make([]custody.LedgerKey, len(keys))
	for i, k := range keys {
		out[i] = custody.LedgerKey{ID: k.ID, Status: custody.LedgerStatus(k.Status), Version: k.Version}
	}
	return out
}

// Keys implements transfer.KeyLife.
func (s Signer) Keys(ctx context.Context, f transfer.KeyFilter, cursor string, limit int) (transfer.Page[transfer.KeyView], error) {
	filter := model.CustodyKeyFilter{Owner: f.Owner, State: model.CustodyKeyState(f.State)}
	if !f.From.IsZero() {
		filter.From = model.MillisOf(f.From)
	}
	if !f.To.IsZero() {
		filter.To = model.MillisOf(f.To)
	}
	page, err := s.Custody.Keys(ctx, filter, cursor, limit)
	out := transfer.Page[transfer.KeyView]{Next: page.Next}
	for _, k := range page.Items {
		out.Items = append(out.Items, keyView(k))
	}
	return out, translateLife(err)
}

// Key implements transfer.KeyLife.
func (s Signer) Key(ctx context.Context, keyID string) (transfer.KeyView, error) {
	k, err := s.Custody.KeyView(ctx, keyID)
	return keyView(k), translateLife(err)
}

func keyView(k custody.KeyView) transfer.KeyView {
	v := transfer.KeyView{
		ID: k.ID, Owner: k.Owner, Role: string(k.Role), Slot: string(k.Slot), Version: k.Version, Kind: string(k.Kind), Functions: k.Functions,
		State: string(k.State), CreatedAt: k.CreatedAt, KEKVersion: k.KEKVersion, LedgerStatus: k.Ledger.Status, LedgerVersion: k.Ledger.Version,
		Successor: k.Successor,
	}
	if !k.Public.IsZero() {
		v.Public = hex.EncodeToString(k.Public.Bytes())
	}
	for _, w := range k.Wishes {
		v.Wishes = append(v.Wishes, transfer.KeyWishView{What: w.Wish, Actor: w.Actor, CreatedAt: w.CreatedAt.Time()})
	}
	return v
}

// translateLife gives custody's refusals the codes under which people meet them.
func translateLife(err error) error {
	switch {
	case errors.Is(err, custody.ErrKeyTransition):
		return &transfer.Error{Code: "CUSTODY_KEY_TRANSITION", Err: err}
	case errors.Is(err, custody.ErrKeyNotFound):
		return &transfer.Error{Code: "CUSTODY_KEY_NOT_FOUND", Err: err}
	case errors.Is(err, model.ErrCursor):
		return &transfer.Error{Code: "CURSOR_INVALID", Err: err}
	}
	return translate(err)
}
