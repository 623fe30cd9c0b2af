package fabric

import (
	"context"

	"google.golang.org/grpc"
)

// The points of a transaction's way at which a server dies in the crash suite: Config.At is called with their names.
// Between two of them a crash means the same; what one there leaves stands beside each.
const (
	// AtSent: an envelope has left for an orderer, and no answer is heard. It is in a block some day, or nowhere.
	AtSent = "sent"
	// AtAnswered: an orderer has it, or may have it, and its block is waited for. The same.
	AtAnswered = "answered"
	// AtFetched: a block that a peer's stream left out has been fetched, and nobody was given it. It is fetched again.
	AtFetched = "fetched"
)

// at tells the crash suite where a transaction is.
func (l *Ledger) at(point string) {
	if l.config.At != nil {
		l.config.At("ledger: " + point)
	}
}

// broadcasting is how the crash suite comes between an envelope and its answer: inside of the SDK, whose reader of answers
// hands on none before the sender has returned.
func broadcasting(at func(point string)) grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, desc, conn, method, opts...)
		if err != nil || method != "/orderer.AtomicBroadcast/Broadcast" {
			return s, err
		}
		return &outgoing{s, at}, nil
	})
}

// outgoing is a stream to an orderer.
type outgoing struct {
	grpc.ClientStream
	at func(point string)
}

// SendMsg implements grpc.ClientStream.
func (o *outgoing) SendMsg(m any) error {
	err := o.ClientStream.SendMsg(m)
	if err == nil {
		o.at("ledger: " + AtSent)
	}
	return err
}
