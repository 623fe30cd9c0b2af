package custody

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"sync/atomic"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// provisionMost and provisionLeast bound how many keys are made in one transaction. Whoever signs meanwhile waits for as long
// as it takes to store them; and each transaction waits for the disk, and for the database's answers.
const (
	provisionMost  = 250 // and some that would be left
	provisionLeast = 100
)

// provisionTries bounds how often a batch is prepared again. Each time somebody else has got ahead.
const provisionTries = 10

// batchesAhead is how many batches may be ready beside the one that is stored: a disk that now and then takes longer isn't
// waited for.
const batchesAhead = 2

// inBatches cuts a list. The last batches are smaller: nothing is drawn any more while they are stored. Few that are left go
// with the last one.
func inBatches(owners []string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for len(owners) > 0 {
			n := min(max(provisionLeast, len(owners)/3), provisionMost, len(owners))
			if len(owners)-n < provisionLeast/2 { // each transaction waits for the disk, also for few
				n = len(owners)
			}
			if !yield(owners[:n:n]) {
				return
			}
			owners = owners[n:]
		}
	}
}

// Provision is Ensure for many owners with the same role and slot: it makes the keys of those who have none, many in a
// transaction, and answers the keys of all of them, as the ledger wants to hear of them, and how many it has made. An owner
// whose key doesn't sign gets none, and the zero value stands in his place; so does one who holds the slot in another role. Each
// key is recorded as one that was made alone. Between transactions it leaves room for those who sign.
//
// Whoever is killed leaves whole transactions, and whoever asks again, or at the same moment, finds what is there: no owner
// gets a second key.
func (c *Custody) Provision(ctx context.Context, owners []string, role request.Role, slot Slot, actor string) (keys []request.NewKey, made int, err error) {
	for _, owner := range owners {
		if _, err := (Post{owner, role, slot}).duty(); err != nil {
			return nil, 0, fmt.Errorf("provision: %w", err)
		}
	}
	if !printable.MatchString(actor) {
		return nil, 0, fmt.Errorf("provision: no actor: %w", ErrAsk)
	}
	var pace pace
	var storing sync.Mutex
	store := func(b *batch) error {
		if c.db.Driver() != model.SQLite { // which is no network, and works here
			storing.Lock()
			defer storing.Unlock()
		}
		return c.storeBatch(ctx, &pace, b, actor)
	}
	ahead, stop := c.prepareAll(ctx, owners, role, slot, &storing)
	defer stop()
	for b := range ahead {
		err := store(b)
		// Somebody has just made one of them: who stored his key first, his it is.
		for tries := 0; tries < provisionTries && errors.Is(err, model.ErrConflict); tries++ {
			b = c.prepare(ctx, b.owners, role, slot, &storing)
			err = store(b)
		}
		if err != nil {
			return nil, made, fmt.Errorf("provision: %w", err)
		}
		made += len(b.drawn)
		keys = append(keys, b.keys...)
		if len(b.drawn) > 0 && len(keys) < len(owners) {
			if err := pace.rest(ctx, 0); err != nil {
				return nil, made, err
			}
		}
	}
	return keys, made, nil
}

// prepareAll prepares batches for all owners, in order, a little ahead of whoever stores them: drawing keys takes several
// times as long as storing them does, and goes on while the disk is waited for. Once stop has returned nothing is left of
// what wasn't stored.
func (c *Custody) prepareAll(ctx context.Context, owners []string, role request.Role, slot Slot, storing *sync.Mutex) (ahead <-chan *batch, stop func()) {
	out, stopped := make(chan *batch, batchesAhead), make(chan struct{})
	go func() {
		defer close(out)
		for some := range inBatches(owners) {
			b := c.prepare(ctx, some, role, slot, storing)
			select {
			case out <- b:
			case <-stopped:
				b.clear()
				return
			}
		}
	}()
	return out, func() {
		close(stopped)
		for b := range out {
			b.clear()
		}
	}
}

// batch is what goes into one transaction: keys for those owners who have none.
type batch struct {
	owners []string
	keys   []request.NewKey // of each owner, once they are stored
	drawn  []drawn
	err    error
}

func (b *batch) clear() {
	for _, d := range b.drawn {
		d.scalar.Clear()
	}
}

// prepare looks who of some owners has a key, and draws keys for the others.
func (c *Custody) prepare(ctx context.Context, owners []string, role request.Role, slot Slot, storing *sync.Mutex) *batch {
	b := &batch{owners: owners, keys: make([]request.NewKey, len(owners))}
	var have map[string]model.CustodyKey
	b.err = c.db.Read(ctx, func(tx *model.Tx) (err error) {
		have, err = tx.NewestCustodyKeys(owners, string(slot))
		return err
	})
	if b.err != nil {
		return b
	}
	var missing []string
	seen := map[string]bool{}
	for _, owner := range owners {
		if _, ok := have[owner]; !ok && !seen[owner] {
			seen[owner] = true
			missing = append(missing, owner)
		}
	}
	if b.drawn, b.err = c.drawKeys(missing, role, slot, storing); b.err != nil {
		return b
	}
	fresh := make(map[string]request.NewKey, len(b.drawn))
	for _, d := range b.drawn {
		have[d.row.Owner], fresh[d.row.Owner] = d.row, d.known()
	}
	b.err = inParallel(len(owners), storing, func(i int) (err error) {
		row := have[owners[i]]
		if row.State != model.CustodyActive || row.Role != string(role) {
			return nil
		}
		if made, ok := fresh[owners[i]]; ok {
			b.keys[i] = made // it was proved just now
			return nil
		}
		b.keys[i], err = c.possession(row)
		return err
	})
	return b
}

// known is what the ledger will hear of it.
func (d drawn) known() request.NewKey {
	return request.NewKey{Public: d.public, Kind: request.KeyKind(d.row.Kind), Functions: d.row.Functions, Possession: d.row.Possession}
}

func (c *Custody) drawKeys(owners []string, role request.Role, slot Slot, storing *sync.Mutex) ([]drawn, error) {
	keys := make([]drawn, len(owners))
	err := inParallel(len(owners), storing, func(i int) error {
		post := Post{owners[i], role, slot}
		duty, err := post.duty()
		if err == nil {
			keys[i], err = c.newKey(post, duty.kind, duty.functions, 1)
		}
		return err
	})
	return keys, err
}

// storeBatch seals new keys and stores them, all or none. A crash before the commit leaves nothing: nobody knew of them.
func (c *Custody) storeBatch(ctx context.Context, pace *pace, b *batch, actor string) error {
	defer b.clear()
	if b.err != nil || len(b.drawn) == 0 {
		return b.err
	}
	if err := c.reconciledYet(ctx); err != nil {
		return err
	}
	keys := b.drawn
	rows := make([]model.CustodyKey, len(keys))
	entries := make([]entry, len(keys))
	return c.write(ctx, func(tx *model.Tx) error {
		if err := pace.begin(tx); err != nil {
			return err
		}
		h, err := tx.LockAuditHead()
		if err != nil {
			return err
		}
		newest := h.KEKVersion
		err = c.keys.use(ctx, tx, newest, func(kek gm.Secret) error {
			for i := range keys {
				row := &keys[i].row
				row.KEKVersion = newest
				var err error
				if row.Wrapped, err = gm.Seal(kek, c.random, keys[i].scalar, keyBinding(*row)); err != nil {
					return err
				}
				rows[i], entries[i] = *row, keyMade(*row, actor)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := tx.AddCustodyKeys(rows); err != nil {
			return err
		}
		if err := c.keepSealed(rows...); err != nil {
			return err
		}
		return errors.Join(c.record(ctx, tx, entries...), pace.end(tx))
	})
}

// inParallel runs do for 0 to n-1, on all processors, and answers the first error of each. Each takes the next one when it has
// done one: none waits for another that was held up. While somebody stores, one processor is left to him, and to the
// database's answers: Go looks after the network when a processor has nothing to do, or a hundred times a second, which
// is far too seldom for one who asks ten things in a row.
func inParallel(n int, storing sync.Locker, do func(i int) error) error {
	var all sync.WaitGroup
	var taken atomic.Int64
	errs := make([]error, min(n, runtime.GOMAXPROCS(0)))
	for w := range errs {
		all.Go(func() {
			for errs[w] == nil {
				if w == 0 {
					storing.Lock() // only to wait
					storing.Unlock()
				}
				i := int(taken.Add(1)) - 1
				if i >= n {
					return
				}
				errs[w] = do(i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
