package custody

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// provisionBatch is how many keys are made in one transaction: whoever signs meanwhile waits for as long as it takes to store
// them.
const provisionBatch = 100

// Provision is Ensure for many owners with the same role and slot: it makes the keys of those who have none, a hundred in a
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
	prepare := func(first int) <-chan *batch {
		out := make(chan *batch, 1)
		if first >= len(owners) {
			close(out)
			return out
		}
		go func() { out <- c.prepare(ctx, owners[first:min(first+provisionBatch, len(owners))], role, slot) }()
		return out
	}
	next := prepare(0)
	defer func() {
		if b := <-next; b != nil {
			b.clear()
		}
	}()
	for first := 0; first < len(owners); first += provisionBatch {
		b := <-next
		next = prepare(first + provisionBatch) // drawn on the other processors, while this one is stored
		err := c.storeBatch(ctx, &pace, b, actor)
		if errors.Is(err, model.ErrConflict) { // somebody has just made one of them: who stored his key first, his it is
			again := c.prepare(ctx, b.owners, role, slot)
			b, err = again, c.storeBatch(ctx, &pace, again, actor)
		}
		if err != nil {
			return nil, made, fmt.Errorf("provision: %w", err)
		}
		made += len(b.drawn)
		keys = append(keys, b.keys...)
		if len(b.drawn) > 0 && len(keys) < len(owners) {
			if err := pace.rest(ctx); err != nil {
				return nil, made, err
			}
		}
	}
	return keys, made, nil
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
func (c *Custody) prepare(ctx context.Context, owners []string, role request.Role, slot Slot) *batch {
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
	if b.drawn, b.err = c.drawKeys(missing, role, slot); b.err != nil {
		return b
	}
	for _, d := range b.drawn {
		have[d.row.Owner] = d.row
	}
	b.err = inParallel(len(owners), func(i int) (err error) {
		row := have[owners[i]]
		if row.State != model.CustodyActive || row.Role != string(role) {
			return nil
		}
		if !seen[owners[i]] {
			b.keys[i], err = c.possession(row)
			return err
		}
		key, err := keyOf(row) // its proof was made here just now
		b.keys[i] = request.NewKey{Public: key.Public, Kind: key.Kind, Functions: key.Functions, Possession: row.Possession}
		return err
	})
	return b
}

// drawn is a key that nobody knows yet.
type drawn struct {
	row    model.CustodyKey
	scalar gm.Secret
}

func (c *Custody) drawKeys(owners []string, role request.Role, slot Slot) ([]drawn, error) {
	keys := make([]drawn, len(owners))
	err := inParallel(len(owners), func(i int) error {
		post := Post{owners[i], role, slot}
		duty, err := post.duty()
		if err == nil {
			keys[i].row, keys[i].scalar, err = c.newKey(post, duty.kind, duty.functions, 1)
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
		newest, err := newestKEK(tx)
		if err != nil {
			return err
		}
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

// inParallel runs do for 0 to n-1, on all processors, and answers the first error.
func inParallel(n int, do func(i int) error) error {
	var all sync.WaitGroup
	workers := min(n, runtime.GOMAXPROCS(0))
	errs := make([]error, workers)
	for w := range workers {
		all.Go(func() {
			for i := w; i < n && errs[w] == nil; i += workers {
				errs[w] = do(i)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}
