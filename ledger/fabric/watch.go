package fabric

import (
	"context"
	"errors"
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
		response, err := l.nextOrAlive(ctx, s, p)
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

// aliveTimeout is how long a peer may take to say that it is there.
const aliveTimeout = 3 * time.Second

// nextOrAlive waits for a block. A stream on which nothing comes is quiet, or dead: a cable that was pulled, a firewall that
// has forgotten. So when it has been quiet for a while the peer is asked, and if it doesn't answer its connection is given up.
func (l *Ledger) nextOrAlive(ctx context.Context, s *stream, p *peer) (*pb.DeliverResponse, error) {
	for {
		waiting, cancel := context.WithTimeout(ctx, l.quiet)
		response, err := s.next(waiting)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return response, err
		}
		asking, cancel := context.WithTimeout(ctx, aliveTimeout)
		_, err = l.evaluate(asking, p, "qscc", "GetChainInfo", [][]byte{[]byte(l.config.Channel)})
		late := asking.Err() != nil
		cancel()
		if late && ctx.Err() == nil {
			l.network.drop(p.name)
		}
		if err != nil {
			return nil, fmt.Errorf("it is silent: %w", err)
		}
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
