package fabric

import (
	"context"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go/common"
	pb "github.com/hyperledger/fabric-protos-go/peer"
)

// watch follows a peer until ctx ends, from one connection to the next.
func (l *Ledger) watch(ctx context.Context, p *peer) {
	const least, most = 100 * time.Millisecond, 2 * time.Second
	pause, down := least, false
	for ctx.Err() == nil {
		heard := false
		err := l.watchOnce(ctx, p, func() {
			if down {
				l.log.Info("peer is followed again", "peer", p.name)
			}
			heard, down, pause = true, false, least
		})
		l.chain.lost(p)
		if ctx.Err() != nil {
			return
		}
		if heard || !down {
			l.log.Warn("peer can't be followed", "peer", p.name, "error", err.Error())
			down = true
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, most)
		case <-ctx.Done():
		}
	}
}

// watchOnce follows a peer until its connection ends. heard is called at the first block.
func (l *Ledger) watchOnce(ctx context.Context, p *peer, heard func()) error {
	from, known := l.chain.from(p)
	s, err := l.network.openStream(ctx, l.config.Channel, p, filtered, from, !known)
	if err != nil {
		return err
	}
	defer s.close()
	for {
		response, err := s.next(ctx)
		if err != nil {
			return err
		}
		block := response.GetFilteredBlock()
		switch {
		case block == nil:
			return fmt.Errorf("the peer delivered a %T", response.Type)
		case known && block.Number != from:
			return fmt.Errorf("the peer delivered block %d, where %d was due", block.Number, from)
		}
		l.chain.committed(p, block.Number, l.entries(block))
		if heard != nil {
			heard()
			heard = nil
		}
		from, known = block.Number+1, true
	}
}

func (l *Ledger) entries(block *pb.FilteredBlock) []entry {
	list := make([]entry, 0, len(block.FilteredTransactions))
	for _, tx := range block.FilteredTransactions {
		if tx.Type == common.HeaderType_CONFIG {
			l.members.expire() // who belongs to the channel, and by what keys, may have changed
			l.policies.expire()
		}
		if tx.Type == common.HeaderType_ENDORSER_TRANSACTION {
			list = append(list, entry{tx.Txid, int32(tx.TxValidationCode)})
		}
	}
	return list
}
