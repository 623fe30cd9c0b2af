//go:build crash

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"cardflow/cmd/stack/local"
	"cardflow/ledger/fabric"
	"cardflow/model"
	"cardflow/model/modeltest"
)

// answersLost: MariaDB does what it is told, and now and then the connection breaks before it can say so, at a commit more
// often than elsewhere.
func (w *world) answersLost() {
	wire := modeltest.NewWire(w.T, model.Config{Driver: model.MySQL, DSN: w.full.MariaDB.DSN()})
	// Nothing is encrypted on a wire that understands what goes over it.
	text, err := os.ReadFile(w.config)
	check(w, err)
	plain := filepath.Join(w.full.Dir, "server-by-wire.yaml")
	lines := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.Contains(line, w.full.MariaDB.CA())
	})
	check(w, os.WriteFile(plain, []byte(strings.Join(lines, "\n")), 0o600))
	before := w.config
	w.config = plain
	defer func() { w.config = before }()
	var lost atomic.Int64
	w.both(func() {
		wire.Decide(func(_ int, sql string) modeltest.Fate {
			n := 400
			if strings.HasPrefix(sql, "COMMIT") {
				n = 40
			}
			switch rand.IntN(n) {
			case 0:
				lost.Add(1)
				return modeltest.Unheard
			case 1:
				return modeltest.Lost
			}
			return modeltest.Heard
		})
		w.hears(form(60, 600))
		wire.Decide(nil)
	}, "CARDFLOW_DATABASE_DSN="+wire.Config.DSN)
	w.say("%d answers of MariaDB were lost", lost.Load())
}

// blocksLeftOut: the peer that the listener follows leaves blocks out. They are fetched; and a server dies in the middle of
// that.
func (w *world) blocksLeftOut() {
	peer := newForgetful(w.T, w.full.Fabric, platformPeer)
	env := []string{"CARDFLOW_LEDGER_FABRIC_PROFILE=" + peer.profile}
	for round := range form(2, 8) {
		w.diesAt(crashPoint{point: "ledger: " + fabric.AtFetched, env: env}, 1+2*round)
	}
	w.both(func() { w.hears(form(40, 200)) }, env...)
	if peer.forgot.Load() == 0 {
		w.Error("the peer left nothing out")
	}
	w.say("%d blocks were left out", peer.forgot.Load())
}

// forgetful is a peer that now and then does not deliver a block: it stands before a real one, with its certificate, and
// passes everything else on.
type forgetful struct {
	profile string
	forgot  atomic.Int64
	peer    *grpc.ClientConn
}

func newForgetful(t testing.TB, network *local.Fabric, name string) *forgetful {
	t.Helper()
	_, domain, _ := strings.Cut(name, ".")
	folder := filepath.Join(network.Dir(), "crypto-config", "peerOrganizations", domain, "peers", name, "tls")
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "server.crt"), filepath.Join(folder, "server.key"))
	check(t, err)
	pem, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	check(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	addr := ""
	for _, s := range network.Servers() {
		if s.Name == name {
			addr = local.Address(s.Port)
		}
	}
	f := &forgetful{}
	f.peer, err = grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, "")))
	check(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&pair)), grpc.ForceServerCodec(asItIs{}), grpc.UnknownServiceHandler(f.pass))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		check(t, f.peer.Close())
	})
	text, err := os.ReadFile(network.Profile())
	check(t, err)
	f.profile = filepath.Join(network.Dir(), "connection-forgetful.yaml") // beside the certificates
	check(t, os.WriteFile(f.profile, []byte(strings.ReplaceAll(string(text), "url: "+addr, "url: "+listener.Addr().String())), 0o600))
	return f
}

// pass passes a call on.
func (f *forgetful) pass(_ any, client grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(client)
	peer, err := f.peer.NewStream(client.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, grpc.ForceCodec(asItIs{}))
	if err != nil {
		return err
	}
	go func() {
		for {
			var message []byte
			if err := client.RecvMsg(&message); err != nil {
				_ = peer.CloseSend()
				return
			}
			if peer.SendMsg(&message) != nil {
				return
			}
		}
	}()
	for {
		var message []byte
		err := peer.RecvMsg(&message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		const block = 2<<3 | 2 // the field of protos.DeliverResponse that holds one
		if method == "/protos.Deliver/Deliver" && message[0] == block && rand.IntN(5) == 0 {
			f.forgot.Add(1)
			continue
		}
		if err := client.SendMsg(&message); err != nil {
			return err
		}
	}
}

// asItIs is a codec that leaves messages encoded.
type asItIs struct{}

func (asItIs) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (asItIs) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = slices.Clone(data)
	return nil
}
func (asItIs) Name() string { return "proto" }
