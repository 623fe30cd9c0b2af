package custody

import (
	"context"
	"errors"

	"cardflow/model"
)

// A signature takes two transactions: its intent is on disk before it is made, and it is on disk before it leaves. What one
// wants written before and another one after share them: while a commit is on its way to the disk, those of the one before
// sign, and the next commit takes their signatures and the intents of all who have come meanwhile.

// step is what somebody who signs wants of the database: one of the two.
type step struct {
	intent *intent
	kept   *kept
}

// mostSteps bounds those who share a transaction.
const mostSteps = 192

// errUnserved is what one has who waited behind a leader that died.
var errUnserved = errors.New("whoever wrote for several of them has failed")

// serveAll serves those who have come together. Two attempts at one act are not judged by the same rows.
func (c *Custody) serveAll(all []step) {
	var made []*kept
	var intents []*intent
	for _, s := range all {
		if s.kept != nil {
			made = append(made, s.kept)
		} else {
			intents = append(intents, s.intent)
		}
	}
	for len(made)+len(intents) > 0 {
		var some, rest []*intent
		seen := map[model.SignedAct]bool{}
		for _, i := range intents {
			if err := i.ctx.Err(); err != nil {
				i.err = err
				continue
			}
			if act := i.act(); !seen[act] {
				seen[act] = true
				some = append(some, i)
			} else {
				rest = append(rest, i)
			}
		}
		c.serve(made, some)
		made, intents = nil, rest
	}
}

// serve takes some through one transaction: signatures first, so that whoever asks again for one of them finds it. What they
// are told is told after the commit, and not before: whoever leads may die on the way.
func (c *Custody) serve(made []*kept, some []*intent) {
	var ctx context.Context
	switch {
	case len(made) > 0:
		ctx = made[0].ctx
	case len(some) > 0:
		ctx = some[0].ctx
	default:
		return
	}
	// Nobody's context may end what others wait for.
	ctx = context.WithoutCancel(ctx)
	var found []keeping
	var j *judgement
	err := c.write(ctx, func(tx *model.Tx) (err error) {
		if found, err = c.store(tx, made); err != nil {
			return err
		}
		if j, err = c.judge(tx, some); err != nil {
			return err
		}
		return j.write(ctx)
	})
	if len(made)+len(some) > 1 && refusedRow(err) {
		for _, k := range made {
			c.serve([]*kept{k}, nil)
		}
		for _, i := range some {
			c.serve(nil, []*intent{i})
		}
		return
	}
	for n, k := range made {
		if k.err = err; err == nil {
			k.keeping = found[n]
		}
	}
	for n, i := range some {
		if i.err = err; err == nil { // else nothing of what was found holds
			i.err = j.verdicts[n]
		}
	}
	if err == nil {
		c.everybody.put(j.taken)
	}
}

// refusedRow reports whether what several wrote together failed for what one of them wrote: the others are not to pay for it,
// and each is tried by himself. A database that is away, or full, is away for each of them.
func refusedRow(err error) bool {
	e, said := codeOf(err)
	return err != nil && (!said || e == ErrAuditUnwritable) && !errors.Is(err, model.ErrUnavailable)
}
