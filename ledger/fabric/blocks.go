package fabric

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"cardflow/ledger"

	"github.com/hyperledger/fabric-protos-go/common"
)

// Blocks follows the channel, on one peer as long as it can, else on another. See ledger.Ledger.
//
// It ends with an error when no peer can be followed for a while, when a block doesn't follow on the one before it, and
// with ErrClosed when the ledger is closed; without one when ctx ends.
func (l *Ledger) Blocks(ctx context.Context, from uint64) iter.Seq2[ledger.Block, error] {
	return func(yield func(ledger.Block, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(l.ctx, cancel)()
		previous := ""
		for raw, err := range follow(ctx, from, l.source()) {
			if l.open() != nil {
				err = ErrClosed
			}
			var b ledger.Block
			if err == nil {
				b, err = decodeBlock(raw)
			}
			if err == nil && previous != "" && b.PreviousHash != previous {
				err = fmt.Errorf("%w: block %d does not follow on the one before it", ErrDamaged, b.Number)
			}
			if err == nil {
				l.chain.tell(b.Number + 1)
				previous = b.Hash
			}
			if !yield(b, err) || err != nil {
				return
			}
		}
		if l.open() != nil {
			yield(ledger.Block{}, ErrClosed)
		}
	}
}

// source is where blocks come from.
type source struct {
	// open begins to deliver the blocks from a number on: next waits for one. A number that is skipped is fetched; one
	// that comes again is passed over.
	open  func(ctx context.Context, from uint64) (next func(context.Context) (*common.Block, error), end func(), err error)
	fetch func(ctx context.Context, number uint64) (*common.Block, error)
	pause func(ctx context.Context)
}

// giveUp is how often in a row a stream may fail before a follower is told.
const giveUp = 5

// follow yields every block from a number on, in order, until ctx ends or nothing can be had any more.
func follow(ctx context.Context, from uint64, s source) iter.Seq2[*common.Block, error] {
	return func(yield func(*common.Block, error) bool) {
		for number, failures := from, 0; ; {
			had := number
			err := stretch(ctx, s, &number, yield)
			if err == nil || ctx.Err() != nil { // the reader has had enough
				return
			}
			if failures++; number > had {
				failures = 0
			}
			if failures == giveUp {
				yield(nil, fmt.Errorf("block %d: %w", number, err))
				return
			}
			s.pause(ctx)
		}
	}
}

// stretch yields blocks as long as one stream lasts, and moves number on. Its error is the stream's; there is none if the
// reader has had enough.
func stretch(ctx context.Context, s source, number *uint64, yield func(*common.Block, error) bool) error {
	next, end, err := s.open(ctx, *number)
	if err != nil {
		return err
	}
	defer end()
	for {
		block, err := next(ctx)
		if err != nil {
			return err
		}
		if block.GetHeader() == nil {
			return errors.New("a block without a header came")
		}
		for ; *number < block.Header.Number; *number++ {
			missed, err := s.fetch(ctx, *number)
			if err != nil {
				return fmt.Errorf("block %d was left out, and can't be fetched: %w", *number, err)
			}
			if !yield(missed, nil) {
				return nil
			}
		}
		if block.Header.Number < *number {
			continue
		}
		*number++ // before the reader has it: he doesn't want it twice
		if !yield(block, nil) {
			return nil
		}
	}
}

// source is the peers, the most preferred first that is followed; the next one when it fails or falls behind.
func (l *Ledger) source() source {
	shunned := map[*peer]time.Time{}
	return source{
		open: func(ctx context.Context, from uint64) (func(context.Context) (*common.Block, error), func(), error) {
			p := l.choosePeer(shunned)
			if p == nil {
				return nil, nil, l.nobody(from)
			}
			s, err := l.network.openStream(ctx, l.config.Channel, p, whole, from, false)
			if err != nil {
				shunned[p] = time.Now()
				return nil, nil, fmt.Errorf("peer %s: %w", p.name, err)
			}
			due := from
			next := func(ctx context.Context) (*common.Block, error) {
				block, err := l.nextOf(ctx, s, due)
				if err != nil {
					shunned[p] = time.Now()
					return nil, fmt.Errorf("peer %s: %w", p.name, err)
				}
				due = block.GetHeader().GetNumber() + 1
				return block, nil
			}
			return next, s.close, nil
		},
		fetch: func(ctx context.Context, number uint64) (*common.Block, error) {
			block, err := l.rawBlock(ctx, number)
			if err == nil {
				l.at(AtFetched)
			}
			return block, err
		},
		pause: func(ctx context.Context) {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
			}
		},
	}
}

// choosePeer is whom to follow: the one that failed us longest ago, or never, among those that are up.
func (l *Ledger) choosePeer(shunned map[*peer]time.Time) (best *peer) {
	s, _ := l.chain.now()
	for _, p := range l.peers {
		if p.roles.EventSource && s.heights[p] > 0 && (best == nil || shunned[p].Before(shunned[best])) {
			best = p
		}
	}
	return best
}

// nextOf waits for a stream's next block. A peer that has nothing to deliver for a while, of what others have committed,
// hangs or is cut off.
func (l *Ledger) nextOf(ctx context.Context, s *stream, due uint64) (*common.Block, error) {
	for behind := false; ; {
		waiting, cancel := context.WithTimeout(ctx, l.slow)
		response, err := s.next(waiting)
		cancel()
		switch {
		case err == nil && response.GetBlock() == nil:
			return nil, fmt.Errorf("it delivered a %T", response.Type)
		case err == nil:
			return response.GetBlock(), nil
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		}
		now, _ := l.chain.now()
		if now.height() > due {
			if behind {
				return nil, fmt.Errorf("it has not delivered block %d, which others have", due)
			}
			behind = true
		}
	}
}
