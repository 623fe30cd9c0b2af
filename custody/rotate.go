package custody

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cardflow/gm"
	"cardflow/model"
)

// Init notes a new root in a database that has none, makes the first key-encryption key under it and begins the audit.
// The root must be in its holders' hands by then. Errors: ErrRootExists.
func Init(ctx context.Context, config Config) (*Custody, error) {
	if config.DB != nil {
		err := config.DB.Read(ctx, func(tx *model.Tx) error {
			keks, err := tx.CustodyKEKs()
			if err == nil && len(keks) > 0 {
				err = ErrRootExists
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("initialise the root: %w", err)
		}
	}
	return Open(ctx, config)
}

// A root is rotated in two steps. Whoever is at the machine makes the new one, gives it to its holders and has every
// key-encryption key sealed under it (PrepareRoot): that stands beside what is in use, and nothing depends on it. Two
// people then let it take the place of the old one (OperationRotateRoot): the server which carries that out has the rows,
// and needs neither root.

// nextLife is how long a new root waits for two people, in times of a proposal's life: whoever proposes it late still finds
// it when it is approved.
const nextLife = 2

// PrepareRoot seals every key-encryption key under another root, which is in its holders' hands by then, and keeps that
// until two people rotate to it, or it is too old. One that was prepared before is dropped.
//
// Errors: ErrRootExists if the root is, or was, this database's; ErrRootMoved if somebody has changed the root, or added
// a key-encryption key, meanwhile.
func (c *Custody) PrepareRoot(ctx context.Context, next RootKey, actor string) error {
	if !printable.MatchString(actor) {
		return fmt.Errorf("prepare a root: no actor: %w", ErrAsk)
	}
	if err := c.prepareRoot(ctx, next, actor); err != nil {
		return fmt.Errorf("prepare a root: %w", err)
	}
	return nil
}

func (c *Custody) prepareRoot(ctx context.Context, next RootKey, actor string) error {
	old, err := c.keys.holder()
	if err != nil {
		return err
	}
	var before []model.CustodyKEK
	err = c.db.Read(ctx, func(tx *model.Tx) (err error) {
		if before, err = tx.CustodyKEKs(); err != nil {
			return err
		}
		return neverRoot(tx, next.ID(), before)
	})
	if err != nil {
		return err
	}
	// A device may take its time, so this comes before the transaction, which holds up all who sign.
	var after []nextKEK
	for _, k := range before {
		if k.RootID != old.ID() {
			return ErrRootMoved
		}
		wrapped, err := c.moveKEK(ctx, k, old, next)
		if err != nil {
			return fmt.Errorf("key-encryption key %d: %w", k.Version, err)
		}
		after = append(after, nextKEK{k.Version, wrapped})
	}
	text, err := json.Marshal(after)
	if err != nil {
		return err
	}
	row := rootRow(next, c.now())
	n := model.NextRoot{
		ID: row.ID, Kind: row.Kind, Threshold: row.Threshold, Shares: row.Shares, MadeBy: actor, MadeAt: row.CreatedAt, BeforeID: old.ID(), KEKs: string(text),
	}
	return c.write(ctx, func(tx *model.Tx) error {
		if err := sameKEKs(tx, n.BeforeID, after); err != nil {
			return err
		}
		if n.KEKVersion, err = newestKEK(tx); err != nil {
			return err
		}
		err := c.keys.use(ctx, tx, n.KEKVersion, func(kek gm.Secret) error { n.Seal = nextTag(kek, n); return nil })
		if err != nil {
			return err
		}
		if err := tx.SetNextRoot(n); err != nil {
			return err
		}
		return c.record(ctx, tx, entry{actor, actNextRoot, n.ID, map[string]any{"from": n.BeforeID, "toKind": n.Kind}})
	})
}

// nextKEK is a key-encryption key as it will be under another root.
type nextKEK struct {
	Version int    `json:"version"`
	Wrapped []byte `json:"wrapped"`
}

// nextTag covers all that a row says: who can write to the database must not choose what the keys will be under.
func nextTag(kek gm.Secret, n model.NextRoot) []byte {
	key := gm.Derive(kek, "cardflow/custody/root/next/1", 32)
	defer key.Clear()
	number := func(i int64) string { return strconv.FormatInt(i, 10) }
	tag := gm.HMAC(key, bind(n.ID, n.Kind, number(int64(n.Threshold)), number(int64(n.Shares)), n.MadeBy, number(int64(n.MadeAt)), n.BeforeID, n.KEKs))
	return tag[:]
}

// neverRoot makes sure that a root neither is nor was in use.
func neverRoot(tx *model.Tx, id string, keks []model.CustodyKEK) error {
	_, err := tx.CustodyRoot(id)
	switch {
	case err == nil, slices.ContainsFunc(keks, func(k model.CustodyKEK) bool { return k.RootID == id }):
		return fmt.Errorf("a root that is in use, or was given up, isn't taken again: %w", ErrRootExists)
	case errors.Is(err, model.ErrNotFound):
		return nil
	}
	return err
}

// sameKEKs makes sure that the key-encryption keys are those for which a root was prepared, under the root of that time.
func sameKEKs(tx *model.Tx, before string, prepared []nextKEK) error {
	now, err := tx.CustodyKEKs()
	if err != nil {
		return err
	}
	if !slices.EqualFunc(now, prepared, func(a model.CustodyKEK, b nextKEK) bool { return a.Version == b.Version && a.RootID == before }) {
		return ErrRootMoved
	}
	return nil
}

// nextRoot finds the root that waits, if it is this one, custody has written it, and nothing has changed since. Errors:
// ErrRootNotPrepared, ErrRootMoved.
func (c *Custody) nextRoot(ctx context.Context, tx *model.Tx, id string) (n model.NextRoot, keks []nextKEK, err error) {
	n, err = tx.NextRoot()
	if errors.Is(err, model.ErrNotFound) || err == nil && n.ID != id {
		err = fmt.Errorf("root %q: %w", clip(id), ErrRootNotPrepared)
	}
	if err != nil {
		return n, nil, err
	}
	err = c.keys.use(ctx, tx, n.KEKVersion, func(kek gm.Secret) error {
		if !hmac.Equal(nextTag(kek, n), n.Seal) {
			c.alarm(ErrProposalForged, "root", n.ID)
			return fmt.Errorf("root %s, false seal: %w", n.ID, ErrRootNotPrepared)
		}
		return nil
	})
	if errors.Is(err, model.ErrNotFound) {
		err = fmt.Errorf("root %s names an unknown key: %w", n.ID, ErrRootNotPrepared)
	}
	if err == nil {
		err = json.Unmarshal([]byte(n.KEKs), &keks)
	}
	if err == nil {
		err = sameKEKs(tx, n.BeforeID, keks)
	}
	return n, keks, err
}

// swapRoot lets the root that waits take the place of the one in use: all of it, or nothing, is what a transaction leaves.
func (c *Custody) swapRoot(ctx context.Context, tx *model.Tx, id string) (detail map[string]any, err error) {
	n, keks, err := c.nextRoot(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	versions := []int{}
	for _, k := range keks {
		if err := tx.RewrapCustodyKEK(k.Version, n.BeforeID, n.ID, k.Wrapped); err != nil {
			return nil, err
		}
		versions = append(versions, k.Version)
	}
	err = tx.RetireCustodyRoot(n.BeforeID, c.now())
	if err == nil {
		err = tx.AddCustodyRoot(model.CustodyRoot{ID: n.ID, Kind: n.Kind, Threshold: n.Threshold, Shares: n.Shares, CreatedAt: n.MadeAt})
	}
	if err == nil {
		err = tx.DropNextRoot()
	}
	return map[string]any{"from": n.BeforeID, "to": n.ID, "toKind": n.Kind, "keks": versions}, err
}

// dropOldRoot forgets a root that has waited too long: who has it would open the key-encryption keys from this row.
func (c *Custody) dropOldRoot(ctx context.Context) error {
	var n model.NextRoot
	old := func(tx *model.Tx) (err error) {
		if n, err = tx.NextRoot(); err == nil && c.clock().Before(n.MadeAt.Time().Add(nextLife*c.proposalLife)) {
			err = model.ErrNotFound
		}
		return err
	}
	err := c.db.Read(ctx, old)
	if err == nil {
		err = c.write(ctx, func(tx *model.Tx) error {
			if err := old(tx); err != nil {
				return err
			}
			if err := tx.DropNextRoot(); err != nil {
				return err
			}
			return c.record(ctx, tx, entry{"custody", actDropRoot, n.ID, map[string]any{"from": n.BeforeID}})
		})
	}
	return ignored(ignored(err, model.ErrNotFound), ErrSealed)
}

// moveKEK opens a key-encryption key under one root and seals it under another.
func (c *Custody) moveKEK(ctx context.Context, k model.CustodyKEK, from, to RootKey) ([]byte, error) {
	secret, err := from.Unwrap(ctx, k.Wrapped, kekBinding(k))
	if errors.Is(err, gm.ErrOpen) {
		return nil, fmt.Errorf("%w: %w", ErrKeyUnreadable, err)
	}
	if err != nil {
		return nil, err
	}
	defer secret.Clear()
	k.RootID = to.ID()
	wrapped, err := to.Wrap(ctx, c.random, secret, kekBinding(k))
	if err != nil {
		return nil, err
	}
	// What can't be opened again must not take the place of what can.
	check, err := to.Unwrap(ctx, wrapped, kekBinding(k))
	if err == nil && !slices.Equal(check, secret) {
		err = ErrKeyUnreadable
	}
	check.Clear()
	return wrapped, err
}

// followingKEK draws the key-encryption key that follows one. It is none before addKEK has stored it. Errors: ErrRootMoved if
// the one before isn't the newest; ErrRootMismatch if this server was started with another root.
func (c *Custody) followingKEK(ctx context.Context, after int) (model.CustodyKEK, error) {
	root, err := c.keys.holder()
	if err != nil {
		return model.CustodyKEK{}, err
	}
	newest, now, err := c.rootNow(ctx)
	switch {
	case err != nil:
		return model.CustodyKEK{}, err
	case newest.Version != after:
		return model.CustodyKEK{}, fmt.Errorf("the newest key-encryption key is %d: %w", newest.Version, ErrRootMoved)
	case now.ID != root.ID():
		return model.CustodyKEK{}, fmt.Errorf("the key-encryption keys are under root %s, this is root %s: %w", now.ID, root.ID(), ErrRootMismatch)
	}
	return c.makeKEK(ctx, root, after+1)
}

// addKEK stores a key-encryption key, under which keys are sealed from then on. Other servers fetch it at their next
// transaction. Those that were made before stay under theirs until Rewrap. A transaction that comes to nothing must be
// followed by keys.forget. Errors: ErrRootMoved.
func (c *Custody) addKEK(ctx context.Context, tx *model.Tx, made model.CustodyKEK, actor string, detail map[string]any) error {
	keks, err := tx.CustodyKEKs()
	if err != nil {
		return err
	}
	if last := keks[len(keks)-1]; last.Version != made.Version-1 || last.RootID != made.RootID {
		return ErrRootMoved
	}
	if err := tx.AddCustodyKEK(made); err != nil {
		return err
	}
	detail["root"] = made.RootID
	if err := c.record(ctx, tx, entry{actor, actKEK, strconv.Itoa(made.Version), detail}); err != nil {
		return err
	}
	// From here on the head is sealed with it, which is how other servers hear of it.
	return c.append(ctx, tx, []model.AuditWaiting{{At: c.now(), Actor: actor, Act: actHead, Subject: strconv.Itoa(made.Version), Detail: "{}"}},
		func(h *model.AuditHead) { h.KEKVersion = made.Version })
}
