package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// handsets are the terminals of scripts, by their working directories.
var handsets sync.Map

// enrolled gives somebody's organisation a terminal at the server that the script holds.
func enrolled(t *testing.T, ts *testscript.TestScript, who string) {
	boss := &visitor{newClient("http://"+ts.Getenv("HELD"), "boss"), t}
	ts.Check(boss.login(soon(t), who, demoPassword))
	var made struct{ Ticket string }
	boss.post("/devices", map[string]string{"name": "一号仓"}, &made)
	ticket, err := protocol.ParseTicket(made.Ticket)
	ts.Check(err)
	key, err := gm.GenerateKey(rand.Reader)
	ts.Check(err)
	keys := listed(ts)
	possession, err := key.Sign(rand.Reader, request.PossessionBytes(keys.Channel, ticket.Participant, key.Public()))
	ts.Check(err)
	in := protocol.Enrol{Ticket: made.Ticket, Serial: "SN-0001", SerialSalt: strings.Repeat("0a", 32), Public: key.Public(), Possession: possession}
	var d protocol.Device
	ts.Check(json.Unmarshal(sealed(ts, key, protocol.PathEnrol, in, ticket.Gateway, ticket.Gateway), &d))
	if d.State != protocol.DeviceActive {
		ts.Fatalf("enrolled: %+v", d)
	}
	handsets.Store(ts.Getenv("WORK"), key)
}

// handsetAsks demands that an answer which is wanted by one gateway key is signed by another, or the same.
func handsetAsks(ts *testscript.TestScript, _ bool, args []string) {
	key, ok := handsets.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("no terminal is enrolled")
	}
	sealed(ts, key.(*gm.PrivateKey), protocol.PathQuery, protocol.Query{What: protocol.QueryDevice}, args[0], args[1])
}

// listed are the gateway's keys.
func listed(ts *testscript.TestScript) (g protocol.Gateway) {
	n := protocol.NewNonce()
	req, err := http.NewRequest(http.MethodGet, "http://"+ts.Getenv("HELD")+protocol.PathGateway, nil)
	ts.Check(err)
	req.Header.Set(protocol.HeaderNonce, n.String())
	_, body := sent(ts, req)
	ts.Check(json.Unmarshal(body, &g))
	return g
}

// sealed sends what a terminal asks, and answers the body that the gateway key named by has signed.
func sealed(ts *testscript.TestScript, key *gm.PrivateKey, path string, body any, want, by string) []byte {
	b, err := json.Marshal(body)
	ts.Check(err)
	g := listed(ts)
	r := protocol.Request{Channel: g.Channel, Method: http.MethodPost, Path: path, KeyID: key.Public().KeyID(), Nonce: protocol.NewNonce(), Time: time.Now().UnixMilli(), Body: b}
	req, err := http.NewRequest(r.Method, "http://"+ts.Getenv("HELD")+path, bytes.NewReader(b))
	ts.Check(err)
	ts.Check(r.Seal(req.Header, func(m []byte) (gm.Signature, error) { return key.Sign(rand.Reader, m) }))
	req.Header.Set("Content-Type", "application/json")
	if want != "" {
		req.Header.Set(protocol.HeaderGateway, want)
	}
	answer, text := sent(ts, req)
	var pins []gm.PublicKey
	for _, k := range g.Keys {
		if k.ID == by {
			pins = append(pins, k.Public)
		}
	}
	if err := protocol.Check(r, answer.StatusCode, answer.Header, text, pins); err != nil || answer.StatusCode != http.StatusOK {
		ts.Fatalf("wanted by %s, to be signed by %s: %s %s: %v", want, by, answer.Status, text, err)
	}
	return text
}

func sent(ts *testscript.TestScript, req *http.Request) (*http.Response, []byte) {
	answer, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	return answer, text
}
