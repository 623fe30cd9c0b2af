package fabric

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"cardflow/ledger"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/common"
)

// Transaction finds a transaction by its ID. See ledger.Ledger.
//
// A peer's index leads to the first entry of an ID, by block and place: later entries, which are found to be duplicates,
// stand behind it there. Its block is asked for, because the entry alone does not say in which block it is.
func (l *Ledger) Transaction(ctx context.Context, id string) (ledger.Transaction, error) {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 32 || hex.EncodeToString(raw) != id {
		return ledger.Transaction{}, ledger.ErrNotFound
	}
	block, err := l.fetch(ctx, "GetBlockByTxID", id)
	if err != nil {
		return ledger.Transaction{}, fmt.Errorf("transaction %s: %w", id, err)
	}
	for i := range block.GetData().GetData() {
		tx, is, err := decodeEntry(block, i)
		if err != nil {
			return ledger.Transaction{}, err
		}
		if is && tx.ID == id {
			l.chain.tell(tx.BlockNumber + 1)
			return tx, nil
		}
	}
	return ledger.Transaction{}, fmt.Errorf("%w: block %d has not the transaction that its ID leads to", ErrDamaged, block.GetHeader().GetNumber())
}

// Block returns a block. See ledger.Ledger.
func (l *Ledger) Block(ctx context.Context, number uint64) (ledger.Block, error) {
	block, err := l.rawBlock(ctx, number)
	if err != nil {
		return ledger.Block{}, err
	}
	return decodeBlock(block)
}

func (l *Ledger) rawBlock(ctx context.Context, number uint64) (*common.Block, error) {
	// A peer answers its newest block to the greatest number there is.
	s, _ := l.chain.now()
	if number == math.MaxUint64 || number >= s.told && len(s.heights) > 0 && number >= s.height() {
		if err := errors.Join(ctx.Err(), l.open()); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("block %d: %w", number, ledger.ErrNotFound)
	}
	block, err := l.fetch(ctx, "GetBlockByNumber", strconv.FormatUint(number, 10))
	if err != nil {
		return nil, fmt.Errorf("block %d: %w", number, err)
	}
	if got := block.GetHeader().GetNumber(); got != number {
		return nil, fmt.Errorf("%w: block %d came, where %d was asked for", ErrDamaged, got, number)
	}
	l.chain.tell(number + 1)
	return block, nil
}

// Height is the number of blocks: the most that any peer that is followed has committed.
func (l *Ledger) Height(ctx context.Context) (uint64, error) {
	if err := errors.Join(ctx.Err(), l.open()); err != nil {
		return 0, err
	}
	waiting, done := l.within(ctx, l.patience)
	defer done()
	var height uint64
	if !l.chain.until(waiting, func(s state) bool {
		height = max(s.height(), s.told)
		return len(s.heights) > 0
	}) {
		return 0, fmt.Errorf("height: %w", errors.Join(ctx.Err(), l.nobody(0)))
	}
	l.chain.tell(height)
	return height, nil
}

// fetch asks for a block. ledger.ErrNotFound is the answer only if every peer that could be asked has said so: one alone
// may lag behind what another has told its caller, who would send his transaction again, or look for another ledger.
func (l *Ledger) fetch(ctx context.Context, function, what string) (*common.Block, error) {
	if err := errors.Join(ctx.Err(), l.open()); err != nil {
		return nil, err
	}
	ctx, cancel := l.within(ctx, l.config.QueryTimeout)
	defer cancel()
	var mu sync.Mutex
	without := map[*peer]bool{}
	ask := func(ctx context.Context, p *peer) ([]byte, error) {
		answer, err := l.evaluate(ctx, p, "qscc", function, [][]byte{[]byte(l.config.Channel), []byte(what)})
		if isAbsent(err) {
			mu.Lock()
			defer mu.Unlock()
			without[p] = true
		}
		return answer, err
	}
	text, err := first(ctx, l, func(p *peer) bool { return p.roles.LedgerQuery }, ask, func(error) bool { return false })
	if err != nil {
		mu.Lock()
		defer mu.Unlock()
		if len(without) > 0 && ctx.Err() == nil {
			return nil, ledger.ErrNotFound
		}
		return nil, err
	}
	var block common.Block
	if err := proto.Unmarshal(text, &block); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return &block, nil
}
