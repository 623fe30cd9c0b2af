package adapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"cardflow/ledger/contract"
)

// Served is one contract as peers find it. A peer says nowhere which of several it wants, so each has an address of its
// own.
type Served struct {
	Contract contract.Contract
	ID       string // package ID on the peer: label:hash
	Address  string // to listen on
}

// Bounds that the peer's side has too.
const (
	maxMessage = 100 << 20 // bytes
	pingEvery  = time.Minute
	pingWait   = 20 * time.Second
	pingLeast  = time.Minute
	handshake  = 5 * time.Second
)

// Serve serves contracts until ctx ends. Calls that run then are given grace to end, new ones are told to try again.
func Serve(ctx context.Context, served []Served, transport *tls.Config, grace time.Duration, log *slog.Logger) error {
	if len(served) == 0 {
		return errors.New("no contract to serve")
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, each := range served {
		if each.ID == "" {
			return fmt.Errorf("contract %s has no package ID", each.Contract.Name())
		}
		l, err := net.Listen("tcp", each.Address)
		if err != nil {
			return fmt.Errorf("contract %s: %w", each.Contract.Name(), err)
		}
		defer l.Close()
		log.Info("serving", "contract", each.Contract.Name(), "id", each.ID, "address", l.Addr().String(), "tls", transport != nil)
		group.Go(func() error { return serveOne(ctx, l, each, transport, grace, log) })
	}
	return group.Wait()
}

func serveOne(ctx context.Context, l net.Listener, s Served, transport *tls.Config, grace time.Duration, log *slog.Logger) error {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingLeast, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(handshake),
	}
	if transport != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(transport)))
	}
	server := grpc.NewServer(options...)
	chaincode := NewChaincode(s.Contract, log)
	peer.RegisterChaincodeServer(server, &shim.ChaincodeServer{CCID: s.ID, CC: chaincode})
	state := health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, state)

	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("contract %s: %w", s.Contract.Name(), err)
	case <-ctx.Done():
	}
	state.Shutdown()
	select {
	case <-chaincode.stop():
	case <-time.After(grace):
		log.Warn("calls are still running and will be cut off", "contract", s.Contract.Name())
	}
	// Not GracefulStop: it would wait for the peers to hang up, which they never do.
	server.Stop()
	<-ended
	log.Info("stopped", "contract", s.Contract.Name())
	return nil
}
