package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cardflow/gm"
	"cardflow/model"
)

// Keys that were made before the newest key-encryption key are put under it in the background, while everything else goes
// on, and so are those that wait to take over. How far that is stands in the rows themselves: whoever is killed has lost a
// batch at most, and whoever comes next finds what is left. One server does it at a time, by a lease that each batch prolongs
// in its own transaction, so that one who has lost it changes nothing more.
//
// The old key-encryption keys stay: copies of the database, and of keys outside of it, need them.

const (
	rewrapDuty  = "custody/rewrap"
	rewrapBatch = 256
	rewrapMost  = 1500 // keys in a second, beside those who sign: a million takes eleven minutes, and nobody waits for it
	rewrapLease = 30 * time.Second
	rewrapLook  = 15 * time.Second
	rewrapSulk  = time.Hour // after a walk that could do nothing
)

// ErrRewrapElsewhere: another server puts keys under the newest key-encryption key. No refusal, and nothing is wrong.
var ErrRewrapElsewhere = errors.New("another server is doing it")

// RewrapProgress is how far it is.
type RewrapProgress struct {
	Version    int   // of the key-encryption key that all shall be under
	Done       int64 // by this walk
	Left       int64 // as far as this walk knows
	Unreadable int64 // of those left: rows that don't open. An alarm was raised for each
}

// Rewrap puts all keys under the newest key-encryption key. owner names who does it, among servers. tell, if not nil,
// hears of each batch. Gently, it leaves room for those who sign: see pace.
func (c *Custody) Rewrap(ctx context.Context, owner string, gently bool, tell func(RewrapProgress)) (p RewrapProgress, err error) {
	w := &rewrapWalk{Custody: c, owner: owner, gently: gently, tell: tell}
	err = w.run(ctx)
	if !errors.Is(err, ErrRewrapElsewhere) {
		// Whoever wants to go on need not wait for the lease's end.
		back := c.db.Write(context.WithoutCancel(ctx), func(tx *model.Tx) error { return tx.GiveUpLease(rewrapDuty, owner) })
		err = errors.Join(err, back)
	}
	if err != nil {
		return w.progress, fmt.Errorf("rewrap: %w", err)
	}
	return w.progress, nil
}

// Run rewraps whenever there is something to do, until ctx ends.
func (c *Custody) Run(ctx context.Context, owner string) {
	wait := c.rewrapEvery
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = c.rewrapEvery
		if some, err := c.rewrapDue(ctx); err != nil || !some {
			continue // sealed, or the database is away, which others will say
		}
		p, err := c.Rewrap(ctx, owner, true, nil)
		switch {
		case ctx.Err() != nil, errors.Is(err, ErrRewrapElsewhere), errors.Is(err, ErrSealed):
		case err != nil:
			c.logger.Error("custody: rewrap", "error", err)
		default:
			c.logger.Info("custody: rewrapped", "kek", p.Version, "keys", p.Done, "unreadable", p.Unreadable)
			if p.Done == 0 {
				wait = rewrapSulk
			}
		}
	}
}

// rewrapDue tells whether there are keys under an older key-encryption key than the newest.
func (c *Custody) rewrapDue(ctx context.Context) (some bool, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		h, err := c.head(ctx, tx, tx.AuditHead)
		if err == nil {
			some, err = tx.CustodyKeysBefore(h.KEKVersion)
		}
		return err
	})
	return some, err
}

// rewrapWalk is one walk over all keys under older key-encryption keys.
type rewrapWalk struct {
	*Custody
	owner    string
	gently   bool
	tell     func(RewrapProgress)
	progress RewrapProgress
	pace     pace
}

func (w *rewrapWalk) run(ctx context.Context) error {
	var counts map[int]int64
	err := w.db.Read(ctx, func(tx *model.Tx) error {
		h, err := w.head(ctx, tx, tx.AuditHead)
		if err != nil {
			return err
		}
		w.progress.Version = h.KEKVersion
		counts, err = tx.CustodyKeyCounts()
		return err
	})
	if err != nil {
		return err
	}
	var old []int
	for version, n := range counts {
		if version < w.progress.Version {
			old = append(old, version)
			w.progress.Left += n
		}
	}
	slices.Sort(old)
	for _, version := range old {
		for _, s := range shelves {
			if err := w.walk(ctx, s, version); err != nil {
				return err
			}
		}
	}
	return nil
}

// shelf is where keys lie.
type shelf struct {
	under  func(tx *model.Tx, version int, after model.CustodyKey, limit int) ([]model.CustodyKey, error)
	rewrap func(tx *model.Tx, keys []model.CustodyKey, from, to int) (moved int64, err error)
}

// shelves are in the order of the walk: a key that takes over meanwhile goes from the first to the second.
var shelves = []shelf{
	{(*model.Tx).SuccessorsUnder, (*model.Tx).RewrapSuccessors},
	{(*model.Tx).CustodyKeysUnder, (*model.Tx).RewrapCustodyKeys},
}

// walk does what lies on a shelf under one key-encryption key.
func (w *rewrapWalk) walk(ctx context.Context, s shelf, version int) error {
	for after, more := (model.CustodyKey{}), true; more; {
		began := time.Now()
		last, some, err := w.batch(ctx, s, version, after)
		if err != nil {
			return err
		}
		if w.tell != nil && last.ID != after.ID {
			w.tell(w.progress)
		}
		after, more = last, some
		if w.gently && more {
			err = w.pace.rest(ctx, time.Until(began.Add(rewrapBatch*time.Second/rewrapMost)))
		} else {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// batch does the next keys and answers the last one. What it opens and seals is done before its transaction, in which
// others queue behind it. A crash before the commit leaves the batch as it was.
func (w *rewrapWalk) batch(ctx context.Context, s shelf, version int, after model.CustodyKey) (last model.CustodyKey, more bool, err error) {
	var ready []model.CustodyKey // with their new envelopes
	var bad int64
	err = w.db.Read(ctx, func(tx *model.Tx) error {
		keys, err := s.under(tx, version, after, rewrapBatch)
		more, last, ready, bad = len(keys) == rewrapBatch, after, ready[:0], 0
		if err != nil || len(keys) == 0 {
			return err
		}
		return w.keys.use(ctx, tx, version, func(from gm.Secret) error {
			return w.keys.use(ctx, tx, w.progress.Version, func(to gm.Secret) error {
				for _, k := range keys {
					last = k
					wrapped, err := w.reseal(k, from, to)
					if errors.Is(err, ErrKeyUnreadable) {
						bad++
						w.alarm(ErrKeyUnreadable, "key", k.ID, "while", "rewrapping")
						continue
					}
					if err != nil {
						return err
					}
					k.Wrapped = wrapped
					ready = append(ready, k)
				}
				return nil
			})
		})
	})
	if err != nil || last.ID == after.ID {
		return after, false, err
	}
	var done int64
	err = w.write(ctx, func(tx *model.Tx) error {
		now := w.now()
		if mine, err := tx.TakeLease(rewrapDuty, w.owner, now, now+model.Millis(rewrapLease.Milliseconds())); err != nil || !mine {
			return errors.Join(err, ErrRewrapElsewhere)
		}
		if err := w.pace.begin(tx); err != nil {
			return err
		}
		// One that was destroyed, has taken over, or was rewrapped by another meanwhile is none of these: the next walk sees it.
		var err error
		if done, err = s.rewrap(tx, ready, version, w.progress.Version); err != nil {
			return err
		}
		if done > 0 {
			err = w.record(ctx, tx, entry{w.owner, actRewrap, last.ID, map[string]any{"from": version, "to": w.progress.Version, "keys": done}})
		}
		return errors.Join(err, w.pace.end(tx))
	})
	if err != nil {
		return after, false, err
	}
	w.progress.Done += done
	w.progress.Left -= done
	w.progress.Unreadable += bad
	return last, more, nil
}

// reseal opens a scalar under one key-encryption key and seals it under another, for the row as it will be. A destroyed
// key has nothing to seal.
func (w *rewrapWalk) reseal(k model.CustodyKey, from, to gm.Secret) ([]byte, error) {
	if k.State == model.CustodyDestroyed {
		return []byte{}, nil
	}
	scalar, err := gm.Open(from, k.Wrapped, keyBinding(k))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyUnreadable, err)
	}
	defer clear(scalar)
	k.KEKVersion = w.progress.Version
	return gm.Seal(to, w.random, scalar, keyBinding(k))
}

// RootStatus answers the status.
func (c *Custody) RootStatus(ctx context.Context) (RootStatus, error) { return LookAtRoot(ctx, c.db) }

// RootStatus is what there is to know of the root and what is under it, without any key.
type RootStatus struct {
	Root    model.CustodyRoot
	Set     string       // of its shares
	Stopped model.Millis // since when signing is stopped by hand
	KEKs    []KEKStatus  // oldest first
	Left    int64        // keys that are not under the newest, those that wait to take over among them
	Total   int64
	Next    *model.NextRoot // that waits for two people; nil: none does
}

// KEKStatus is a key-encryption key and how many keys are under it.
type KEKStatus struct {
	Version   int
	CreatedAt model.Millis
	Keys      int64
}

// LookAtRoot reads the status. Errors: ErrNoRoot in an empty database.
func LookAtRoot(ctx context.Context, db *model.DB) (s RootStatus, err error) {
	newest, root, err := (&Custody{db: db}).rootNow(ctx)
	if errors.Is(err, model.ErrNotFound) {
		err = ErrNoRoot
	}
	if err != nil {
		return s, fmt.Errorf("look at the root: %w", err)
	}
	s.Root = root
	if root.Kind == string(InShares) {
		s.Set = setOf(root.ID)
	}
	err = db.Read(ctx, func(tx *model.Tx) error {
		s.KEKs, s.Left, s.Total, s.Next = nil, 0, 0, nil
		h, err := tx.AuditHead()
		if err != nil {
			return err
		}
		s.Stopped = h.StoppedAt
		keks, err := tx.CustodyKEKs()
		if err != nil {
			return err
		}
		switch n, err := tx.NextRoot(); {
		case err == nil:
			n.KEKs, n.Seal = "", nil
			s.Next = &n
		case !errors.Is(err, model.ErrNotFound):
			return err
		}
		counts, err := tx.CustodyKeyCounts()
		for _, k := range keks {
			s.KEKs = append(s.KEKs, KEKStatus{k.Version, k.CreatedAt, counts[k.Version]})
			s.Total += counts[k.Version]
			if k.Version < newest.Version {
				s.Left += counts[k.Version]
			}
		}
		return err
	})
	return s, err
}
