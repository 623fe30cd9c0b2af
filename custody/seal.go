package custody

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cardflow/model"
)

// A sealed custody has no key in memory: neither the root nor a key-encryption key. Where the root is in shares, every
// server starts sealed, and people bring their shares to each, one by one. And whoever runs the platform may stop signing
// on all servers at once: that seals them, a restart doesn't undo it, and a person has to lift it.
//
// While custody is sealed nothing can be appended to the audit, because its head is sealed with a key-encryption key. What
// people do to a sealed custody is kept aside, before it has an effect, and appended by whoever opens it, or by a server
// that is open.

// shareLife is how long a share waits for the others before it is dropped.
const shareLife = 30 * time.Minute

// brought are the shares that people have brought to this server. It is emptied when there are enough, or when they
// have waited too long.
type brought struct {
	mu     sync.Mutex
	shares []Share   // guarded by mu
	since  time.Time // when the last one came; guarded by mu
}

func (b *brought) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.empty()
}

func (b *brought) dropOld(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sift(now, "")
}

// sift drops what has waited too long, and shares of another set than the root's, if that is known: the root was rotated
// since they came. It is for whoever has the lock.
func (b *brought) sift(now time.Time, set string) {
	foreign := set != "" && len(b.shares) > 0 && b.shares[0].Set != set
	if foreign || now.Sub(b.since) >= shareLife {
		b.empty()
	}
}

// empty is for whoever has the lock.
func (b *brought) empty() {
	for _, s := range b.shares {
		s.Clear()
	}
	b.shares = nil
}

// indexes are those of the shares that are here. It is for whoever has the lock.
func (b *brought) indexes() []int {
	has := []int{}
	for _, s := range b.shares {
		has = append(has, s.Index)
	}
	slices.Sort(has)
	return has
}

// SealStatus is whether this server can sign, and what it needs if it can't.
type SealStatus struct {
	Sealed    bool
	Stopped   time.Time // when signing was stopped by hand, on all servers; zero: it was not
	Kind      RootKind
	RootID    string
	Set       string // of the shares, where the root is in shares
	Threshold int    // shares that are needed
	Shares    int    // that there are
	Entered   []int  // which have been brought to this server
}

// SealStatus answers whether this server is sealed, and what it takes to open it.
func (c *Custody) SealStatus(ctx context.Context) (SealStatus, error) {
	s, err := c.status(ctx)
	c.brought.mu.Lock()
	defer c.brought.mu.Unlock()
	c.brought.sift(c.clock(), s.Set)
	s.Entered = c.brought.indexes()
	return s, err
}

func (c *Custody) status(ctx context.Context) (s SealStatus, err error) {
	_, root, err := c.rootNow(ctx)
	if err != nil {
		return s, fmt.Errorf("seal status: %w", err)
	}
	s = SealStatus{Kind: RootKind(root.Kind), RootID: root.ID, Threshold: root.Threshold, Shares: root.Shares}
	if s.Kind == InShares {
		s.Set = setOf(root.ID)
	}
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		h, err := tx.AuditHead()
		if err != nil {
			return err
		}
		if h.StoppedAt != 0 {
			s.Stopped = h.StoppedAt.Time()
		}
		if err := c.awake(h); err != nil && !errors.Is(err, ErrSealed) {
			return err
		}
		return nil
	})
	s.Sealed = c.Sealed()
	return s, err
}

// Sealed tells whether there is no key in memory.
func (c *Custody) Sealed() bool {
	_, err := c.keys.holder()
	return err != nil
}

// awake looks at the head whether signing was stopped by hand. If so, this server seals itself. If that was lifted, and
// the root is at hand, it opens again.
func (c *Custody) awake(h model.AuditHead) error {
	if h.StoppedAt != 0 {
		if !c.tool && c.lifted.Load() != int64(h.StoppedAt) { // else this is an old look at what is being lifted
			c.keys.seal()
		}
		return fmt.Errorf("signing was stopped: %w", ErrSealed)
	}
	_, err := c.keys.holder()
	if errors.Is(err, ErrSealed) && c.provider != nil {
		err = c.keys.open(c.provider)
	}
	return err
}

// Unseal brings one share to this server; the bytes of it are cleared. With the last that is needed the keys are opened,
// and so is what was stopped by hand. Where the root is at hand it takes no share, and lifts what was stopped.
//
// Errors: ErrShareMistyped, ErrShareForeign, ErrShareRepeated: bring another one, those before stay. ErrSharesWrong: one
// of them was false; all are dropped. Each share that comes, or is refused, is recorded first.
func (c *Custody) Unseal(ctx context.Context, share []byte, actor string) (SealStatus, error) {
	defer clear(share)
	if !printable.MatchString(actor) {
		return SealStatus{}, fmt.Errorf("unseal: no actor: %w", ErrAsk)
	}
	b := c.brought
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := c.status(ctx)
	b.sift(c.clock(), s.Set)
	if err == nil && (s.Sealed || !s.Stopped.IsZero()) {
		err = c.bring(ctx, s, share, actor)
	}
	if err != nil {
		return SealStatus{}, fmt.Errorf("unseal: %w", err)
	}
	if s, err = c.status(ctx); err != nil {
		return SealStatus{}, fmt.Errorf("unseal: %w", err)
	}
	s.Entered = b.indexes()
	return s, nil
}

// bring is Unseal for whoever has the lock.
func (c *Custody) bring(ctx context.Context, s SealStatus, share []byte, actor string) error {
	if c.provider != nil {
		if len(share) > 0 {
			return ErrShareUnwanted
		}
		return c.reopen(ctx, s, c.provider, actor, map[string]any{"root": s.RootID})
	}
	b := c.brought
	parsed, err := ParseShare(share)
	detail := map[string]any{}
	if err == nil {
		detail["set"], detail["index"] = parsed.Set, parsed.Index
		switch {
		case parsed.Set != s.Set || parsed.Threshold != s.Threshold || parsed.Shares != s.Shares:
			err = ErrShareForeign
		case slices.ContainsFunc(b.shares, func(o Share) bool { return o.Index == parsed.Index }):
			err = ErrShareRepeated
		}
	}
	if err != nil {
		parsed.Clear()
		return c.refuseShare(ctx, actor, s, detail, err)
	}
	if err := c.wait(ctx, entry{actor, actShare, s.RootID, detail}); err != nil {
		parsed.Clear()
		return err
	}
	b.shares, b.since = append(b.shares, parsed), c.clock()
	if len(b.shares) < s.Threshold {
		return nil
	}
	indexes := b.indexes()
	root, err := Combine(b.shares)
	b.empty()
	if err == nil && root.ID() != s.RootID {
		err = ErrSharesWrong
	}
	if err != nil {
		return c.refuseShare(ctx, actor, s, map[string]any{"indexes": indexes}, err)
	}
	return c.reopen(ctx, s, root, actor, map[string]any{"root": s.RootID, "indexes": indexes})
}

func (c *Custody) refuseShare(ctx context.Context, actor string, s SealStatus, detail map[string]any, cause error) error {
	if e, ok := codeOf(cause); ok {
		detail["code"] = e.Code
		if c.metrics.Refused != nil {
			c.metrics.Refused(e.Code)
		}
	}
	if err := c.wait(context.WithoutCancel(ctx), entry{actor, actRefused, s.RootID, detail}); err != nil {
		return fmt.Errorf("%w: while refusing: %w", err, cause)
	}
	return cause
}

// wait keeps an entry for the audit until custody is open.
func (c *Custody) wait(ctx context.Context, e entry) error {
	detail, err := json.Marshal(e.detail)
	if err != nil {
		return err
	}
	c.logger.Info("custody", "act", e.act, "actor", e.actor, "detail", string(detail))
	err = c.db.Write(ctx, func(tx *model.Tx) error {
		return tx.AddAuditWaiting(model.AuditWaiting{At: c.now(), Actor: e.actor, Act: e.act, Subject: e.subject, Detail: string(detail)})
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAuditUnwritable, err)
	}
	return nil
}

// reopen opens the keys with a root, appends what has waited, and lifts what was stopped. A crash before its last commit,
// or an error, leaves everything sealed; after it the other servers know that signing goes on.
func (c *Custody) reopen(ctx context.Context, s SealStatus, root RootKey, actor string, detail map[string]any) error {
	if !s.Stopped.IsZero() {
		c.lifted.Store(s.Stopped.UnixMilli())
	}
	if err := c.keys.open(root); err != nil {
		return err
	}
	err := c.db.Read(ctx, func(tx *model.Tx) error { // all of them open, or it isn't the root
		keks, err := tx.CustodyKEKs()
		for _, k := range keks {
			err = errors.Join(err, c.keys.take(ctx, k))
		}
		return err
	})
	for more := true; more && err == nil; {
		err = c.db.Write(ctx, func(tx *model.Tx) (err error) {
			more, err = c.catchUp(ctx, tx, s.Stopped, actor, detail)
			return err
		})
	}
	if err != nil {
		c.keys.seal()
	}
	return err
}

// catchUp appends what has waited, as much of it as one transaction takes, and with the last of it lifts the stop that
// whoever opens custody has seen. A later one stays: he was asked to undo another.
func (c *Custody) catchUp(ctx context.Context, tx *model.Tx, stopped time.Time, actor string, detail map[string]any) (more bool, err error) {
	h, err := tx.LockAuditHead()
	if err != nil {
		return false, err
	}
	if c.tool && h.StoppedAt != 0 {
		return false, nil // it looks; whoever lifts the stop appends what waits
	}
	if h.StoppedAt != 0 && !h.StoppedAt.Time().Equal(stopped) {
		return false, fmt.Errorf("signing was stopped meanwhile: %w", ErrSealed)
	}
	if more, err = c.takeWaiting(ctx, tx); err != nil || more {
		return more, err
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return false, err
	}
	return false, c.append(ctx, tx, []model.AuditWaiting{{At: c.now(), Actor: actor, Act: actUnseal, Subject: detail["root"].(string), Detail: string(text)}},
		func(h *model.AuditHead) { h.StoppedAt = 0 })
}

// takeWaiting appends some of what has waited; more tells that there may be others.
func (c *Custody) takeWaiting(ctx context.Context, tx *model.Tx) (more bool, err error) {
	waiting, err := tx.TakeAuditWaiting(auditPage)
	if err != nil {
		return false, err
	}
	return len(waiting) == auditPage, c.append(ctx, tx, waiting, nil)
}

// appendWaiting appends what people did at other servers that are sealed, if this one is open.
func (c *Custody) appendWaiting(ctx context.Context) error {
	for more := true; more; {
		err := c.db.Read(ctx, func(tx *model.Tx) (err error) {
			more, err = tx.AuditWaits()
			return err
		})
		if err == nil && more && !c.Sealed() {
			err = c.write(ctx, func(tx *model.Tx) (err error) {
				more, err = c.takeWaiting(ctx, tx)
				return err
			})
		} else {
			more = false
		}
		if err != nil {
			return ignored(err, ErrSealed)
		}
	}
	return nil
}

// Seal stops signing on all servers, at once: whatever hasn't been signed and stored by now waits. This server's keys are
// cleared before it returns, the others' at their next look. If that can't be recorded, this server is sealed all the
// same, and the error says that the others may not be. On a server that is sealed already, while signing wasn't stopped,
// it answers ErrSealed: it can't tell the others, and one that is open has to be asked.
func (c *Custody) Seal(ctx context.Context, actor string) error {
	if !printable.MatchString(actor) {
		return fmt.Errorf("seal: no actor: %w", ErrAsk)
	}
	err := c.db.Write(context.WithoutCancel(ctx), func(tx *model.Tx) error {
		h, err := tx.LockAuditHead()
		if err != nil || h.StoppedAt != 0 {
			return err
		}
		if err := c.awake(h); err != nil { // a stop before this one may have been lifted, which nobody here has noticed yet
			return err
		}
		return c.append(ctx, tx, []model.AuditWaiting{{At: c.now(), Actor: actor, Act: actSeal, Subject: c.channel, Detail: "{}"}},
			func(h *model.AuditHead) { h.StoppedAt = c.now() })
	})
	c.brought.drop()
	c.keys.seal()
	c.logger.Warn("custody: signing was stopped", "actor", actor)
	if err != nil {
		return fmt.Errorf("seal: this server is sealed, others may not be: %w", err)
	}
	return nil
}
