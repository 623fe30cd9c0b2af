package model_test

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"cardflow/model"
)

// TestCutInTheHandshake: a network that is cut while a connection is being made is a database that is away, at whatever
// packet: on none of them anything was decided.
func TestCutInTheHandshake(t *testing.T) {
	// Protocol::HandshakeV10 with CLIENT_SSL (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html).
	hello := append([]byte{10}, "8.0.36\x00"...)
	hello = append(hello, 1, 0, 0, 0)
	hello = append(hello, "8 bytes.\x00"...)
	capabilities := uint32(0x1 | 0x200 | 0x800 | 0x8000 | 0x80000)
	hello = binary.LittleEndian.AppendUint16(hello, uint16(capabilities))
	hello = append(hello, 45, 2, 0)
	hello = binary.LittleEndian.AppendUint16(hello, uint16(capabilities>>16))
	hello = append(hello, 21)
	hello = append(hello, make([]byte, 10)...)
	hello = append(hello, "12 more byte\x00mysql_native_password\x00"...)
	hello = append([]byte{byte(len(hello)), 0, 0, 0}, hello...)

	for name, serve := range map[string]func(net.Conn){
		"before a word":             func(net.Conn) {},
		"in the greeting":           func(c net.Conn) { c.Write(hello[:20]) },
		"after the greeting":        func(c net.Conn) { c.Write(hello) },
		"when TLS is asked for":     func(c net.Conn) { c.Write(hello); io.ReadFull(c, make([]byte, 36)) },
		"after the client's hello":  func(c net.Conn) { c.Write(hello); io.ReadFull(c, make([]byte, 36+200)) },
		"in the server's TLS hello": func(c net.Conn) { c.Write(hello); io.ReadFull(c, make([]byte, 36+200)); c.Write([]byte{22, 3, 3}) },
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					serve(c)
					c.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, c) // or what was not read makes it a reset
					c.Close()
				}
			}()
			db, err := model.Open(context.Background(), model.Config{Driver: model.MySQL, DSN: "u:p@tcp(" + listener.Addr().String() + ")/d", RootCAs: x509.NewCertPool()})
			if err == nil {
				db.Close()
				t.Fatal("opened")
			}
			// Any statement may have to make a connection first, and tells what it says as this.
			if err = model.Translate(err); !errors.Is(err, model.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		})
	}
}
