package adapter

import (
	"context"
	"crypto/tls"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// Healthy asks a server of Serve whether it takes calls (the gRPC health protocol). It is nil if it does.
func Healthy(ctx context.Context, address string, transport *tls.Config) error {
	credential := insecure.NewCredentials()
	if transport != nil {
		credential = credentials.NewTLS(transport)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credential))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("%s is %s", address, answer.GetStatus())
	}
	return nil
}
