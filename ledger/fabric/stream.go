package fabric

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hyperledger/fabric-protos-go/common"
	pb "github.com/hyperledger/fabric-protos-go/peer"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/options"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/chconfig"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/comm"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/events/client/dispatcher"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/events/deliverclient/connection"
	"github.com/hyperledger/fabric-sdk-go/pkg/fab/events/deliverclient/seek"
)

// stream is what a peer delivers, from some block on. It is the SDK's connection without its event client: that one would
// reconnect by itself, and then nobody knows what was skipped.
type stream struct {
	conn   *connection.DeliverConnection
	events chan any
}

// connectTimeout is how long a peer may take to accept a connection that is to be kept.
const connectTimeout = 5 * time.Second

// whole and filtered are the two ways to be told of a block: with everything, or with IDs and verdicts only.
var whole, filtered = connection.Deliver, connection.DeliverFiltered

// openStream asks a peer for its blocks from a number on, or for the newest and what follows if newest is set.
func (n *network) openStream(ctx context.Context, channel string, p *peer, kind connection.StreamProvider, from uint64, newest bool) (*stream, error) {
	opts := append(comm.OptsFromPeerConfig(&p.config), comm.WithConnectTimeout(connectTimeout), comm.WithParentContext(ctx))
	conn, err := connection.New(n.client, chconfig.NewChannelCfg(channel), kind, p.config.URL, []options.Opt(opts)...)
	if err != nil {
		return nil, err
	}
	info := seek.InfoFrom(from)
	if newest {
		info = seek.InfoNewest()
	}
	if err := conn.Send(info); err != nil {
		conn.Close()
		return nil, err
	}
	s := &stream{conn, make(chan any)}
	go func() {
		conn.Receive(s.events) // which says nothing when the peer ends the stream, and hangs on a reader who has left
		close(s.events)
	}()
	return s, nil
}

// next waits for a block, or for the end.
func (s *stream) next(ctx context.Context) (*pb.DeliverResponse, error) {
	select {
	case event, ok := <-s.events:
		if !ok {
			return nil, errors.New("the peer ended the stream")
		}
		switch e := event.(type) {
		case *dispatcher.DisconnectedEvent:
			return nil, e.Err
		case *connection.Event:
			response, ok := e.Event.(*pb.DeliverResponse)
			if !ok {
				return nil, fmt.Errorf("the peer delivered a %T", e.Event)
			}
			if status, ok := response.Type.(*pb.DeliverResponse_Status); ok {
				return nil, fmt.Errorf("the peer ended the stream: %s", common.Status_name[int32(status.Status)])
			}
			return response, nil
		default:
			return nil, fmt.Errorf("the stream holds a %T", event)
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// close ends the stream and the goroutine that reads it.
func (s *stream) close() {
	s.conn.Close()
	for range s.events {
	}
}
