package modeltest

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"cardflow/model"
)

// Fate is what becomes of a command that goes over a [Wire].
type Fate int

// The fates of a command.
const (
	Heard   Fate = iota // it is carried out, and its answer arrives
	Unheard             // it is carried out, and the connection breaks before its answer arrives
	Lost                // the connection breaks before it arrives
)

// Wire is a network between a database and its client, on which commands and answers get lost. It understands as much
// of MySQL's protocol as it takes to do that to one command and not to another. Nothing is encrypted on it.
type Wire struct {
	// Config is the database as seen from behind the wire.
	Config model.Config

	listener net.Listener
	server   string
	mu       sync.Mutex
	fate     func(conn int, sql string) Fate
	last     int // connection
	cut      bool
	conns    map[net.Conn]bool
	all      sync.WaitGroup
}

// NewWire lays a wire to a MySQL database. It is taken away when the test ends.
func NewWire(t testing.TB, to model.Config) *Wire {
	t.Helper()
	dsn, err := mysql.ParseDSN(to.DSN)
	if err != nil {
		t.Fatal("a wire leads to a MySQL database")
	}
	w := &Wire{Config: to, server: dsn.Addr, conns: map[net.Conn]bool{}, fate: heard}
	if w.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	dsn.Addr = w.listener.Addr().String()
	w.Config.DSN = dsn.FormatDSN()
	w.all.Go(w.accept)
	t.Cleanup(func() {
		_ = w.listener.Close()
		w.Cut()
		w.all.Wait()
	})
	return w
}

func heard(int, string) Fate { return Heard }

// Decide has every command's fate decided by a function, which sees the number of the connection and the SQL, and may be
// called from several goroutines. nil lets everything be heard.
func (w *Wire) Decide(fate func(conn int, sql string) Fate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fate = fate; fate == nil {
		w.fate = heard
	}
}

// Cut breaks all connections, and lets none be made until Mend.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		_ = c.Close()
	}
}

// Mend lets connections be made again.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

func (w *Wire) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.all.Go(func() { w.carry(client) })
	}
}

// hold remembers a connection that Cut has to break, unless all are broken.
func (w *Wire) hold(c net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.cut {
		w.conns[c] = true
	}
	return !w.cut
}

func (w *Wire) drop(c net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.conns, c)
	_ = c.Close()
}

func (w *Wire) carry(client net.Conn) {
	defer w.drop(client)
	if !w.hold(client) {
		return
	}
	w.mu.Lock()
	w.last++
	number := w.last
	w.mu.Unlock()
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		return
	}
	defer w.drop(server)
	if !w.hold(server) {
		return
	}
	deaf := make(chan struct{}) // closed when the next answer is not to arrive
	var answers sync.WaitGroup
	defer answers.Wait()
	answers.Go(func() {
		defer client.Close()
		defer server.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			select {
			case <-deaf:
				return
			default:
			}
			if _, e := client.Write(buffer[:n]); err != nil || e != nil {
				return
			}
		}
	})
	defer server.Close()
	for {
		sql, packet, err := readPacket(client)
		if err != nil {
			return
		}
		switch w.fateOf(number, sql) {
		case Lost:
			return
		case Unheard:
			close(deaf)
			_, _ = server.Write(packet)
			answers.Wait() // the answer has come, so it is done
			return
		}
		if _, err := server.Write(packet); err != nil {
			return
		}
	}
}

func (w *Wire) fateOf(conn int, sql string) Fate {
	if sql == "" {
		return Heard
	}
	w.mu.Lock()
	fate := w.fate
	w.mu.Unlock()
	return fate(conn, sql)
}

// readPacket reads one packet of a client, and answers its SQL if it is a query.
func readPacket(from io.Reader) (sql string, packet []byte, err error) {
	header := make([]byte, 4)
	if _, err := io.ReadFull(from, header); err != nil {
		return "", nil, err
	}
	n := int(header[0]) | int(header[1])<<8 | int(header[2])<<16
	if n == 1<<24-1 {
		return "", nil, errors.New("a packet in several parts")
	}
	packet = append(header, make([]byte, n)...)
	if _, err := io.ReadFull(from, packet[4:]); err != nil {
		return "", nil, err
	}
	const query = 3 // COM_QUERY; packets with a sequence number belong to a log-in
	if header[3] == 0 && n > 1 && packet[4] == query {
		sql = string(packet[5:])
	}
	return sql, packet, nil
}
