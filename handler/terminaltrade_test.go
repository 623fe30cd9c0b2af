package handler_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"cardflow/gm"
	"cardflow/handler"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

var (
	terminalLot     = strings.Repeat("a1", 32)
	terminalTrade   = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	terminalSpans   = []protocol.Span{{Start: "89860400000000000017", End: "89860400000000000116"}}
	terminalSeller  = protocol.Party{ID: "distributor-3", Name: "华东分销", Role: request.Distributor}
	terminalOpening = request.LotOpening{Rule: "SERIAL", Salt: make([]byte, 32), Canonical: "89860400000000000017-89860400000000000116"}
	terminalCancel  = protocol.Submit{Contract: "ownership", Function: "Cancel", Args: `{"trade":"` + terminalTrade + `"}`, Signature: request.Signature{KeyID: "ab", NotAfter: 1, Bytes: []byte{0x30, 6, 2, 1, 1, 2, 1, 1}}}
	committed       = protocol.Submitted{RequestID: strings.Repeat("2d", 32), State: "committed", TxID: "tx-1", BlockNumber: 7}
)

// terminalAsks are good requests, by path.
var terminalAsks = map[string]any{
	protocol.PathRecentHash: protocol.RecentHash{Segments: terminalSpans, Mode: request.Named, To: "distributor-3"},
	protocol.PathConfirm:    protocol.ConfirmAsk{Trade: terminalTrade},
	protocol.PathSuccess:    protocol.Success{TxID: "tx-1"},
	protocol.PathSubmit:     terminalCancel,
}

func (s *fakeService) TransRecentHash(_ context.Context, c transfer.Caller, in protocol.RecentHash) (protocol.Draft, error) {
	return protocol.Draft{Contract: "ownership", Function: "Offer", Args: "{}", RequestID: committed.RequestID, Count: 100,
		Openings: request.Openings{Lots: map[string]request.LotOpening{terminalLot: terminalOpening}}}, s.note("TransRecentHash %s %d", c.Participant, len(in.Segments))
}

func (s *fakeService) TransConfirm(_ context.Context, c transfer.Caller, in protocol.ConfirmAsk) (protocol.Offered, error) {
	if in.Code != "" && in.Code != oneCode {
		return protocol.Offered{}, bad("TRADE_CODE_NOT_FOUND")
	}
	return protocol.Offered{Trade: terminalTrade, Lot: terminalLot, Opening: terminalOpening, Segments: terminalSpans, Count: 100, Mode: request.Named,
		Seller: terminalSeller, Issuer: protocol.Party{ID: "carrier", Name: "电信", Role: request.Carrier}, OfferedAt: 1, ExpiresAt: 2, RetailPolicy: request.Open}, s.note("TransConfirm %s", c.Participant)
}

func (s *fakeService) TransSuccess(_ context.Context, _ transfer.Caller, txID string) (protocol.Settled, error) {
	return protocol.Settled{TxID: txID, BlockNumber: 7, Lots: []protocol.SettledLot{{Lot: terminalLot, Status: "OWNED", Mine: true}},
		Trades: []protocol.SettledTrade{{Trade: terminalTrade, State: "CONFIRMED", Lot: terminalLot}}}, s.note("TransSuccess %s", txID)
}

func (s *fakeService) SubmitSigned(_ context.Context, c transfer.Caller, in protocol.Submit) (protocol.Submitted, error) {
	if in.Code != "" && in.Code != oneCode {
		return protocol.Submitted{}, bad("TRADE_CODE_NOT_FOUND")
	}
	return committed, s.note("SubmitSigned %s %s of %s", in.Function, in.Args, c.Participant)
}

func (s *fakeService) TerminalRequest(_ context.Context, _ transfer.Caller, id string) (protocol.Submitted, error) {
	return protocol.Submitted{RequestID: id, State: "failed", Error: &protocol.Refusal{Code: "INPUT_SPENT", Message: "这些卡已经转出"}}, s.note("TerminalRequest")
}

func (s *fakeService) TerminalStock(_ context.Context, _ transfer.Caller, cursor string, limit int) (protocol.Stock, error) {
	return protocol.Stock{Lots: []protocol.StockLot{{Lot: terminalLot, Opening: terminalOpening, Segments: terminalSpans, Count: 100, Issuer: terminalSeller, RetailPolicy: request.Open, Since: 1}}, Next: "more"},
		s.note("TerminalStock %q %d", cursor, limit)
}

func (s *fakeService) TerminalTrades(_ context.Context, _ transfer.Caller, state, side, cursor string, limit int) (protocol.Trades, error) {
	return protocol.Trades{Trades: []protocol.Trade{{Trade: terminalTrade, State: "offered", Mode: request.Bearer, Lot: terminalLot, Segments: terminalSpans, Count: 100, Seller: terminalSeller,
		Code: oneCode, OfferedAt: 1, ExpiresAt: 2}}}, s.note("TerminalTrades %q %q %q %d", state, side, cursor, limit)
}

func (s *fakeService) TerminalParticipants(context.Context, transfer.Caller) (protocol.Participants, error) {
	return protocol.Participants{Participants: []protocol.Party{terminalSeller}}, s.note("TerminalParticipants")
}

func (s *fakeService) TerminalTrace(_ context.Context, _ transfer.Caller, iccid string) (protocol.Trace, error) {
	return protocol.Trace{ICCID: iccid, Mine: true, Hops: []protocol.Hop{{Kind: "TRADE", From: "甲", To: "乙", OfferedAt: 1, ConfirmedAt: 2, Device: "SN-00017", EndDevice: "WECHAT", TxIDs: []string{"tx-1"}, BlockNumber: 7, Trade: terminalTrade, Lot: terminalLot}}},
		s.note("TerminalTrace %s", iccid)
}

func (s *fakeService) TerminalTransaction(_ context.Context, _ transfer.Caller, txID string) (protocol.Transaction, error) {
	return protocol.Transaction{TxID: txID, BlockNumber: 7, Time: 1, Contract: "ownership", Function: "Cancel", Args: json.RawMessage(`{"trade":"x"}`), RequestID: committed.RequestID, Signers: []string{"ab"}, Validation: "VALID"},
		s.note("TerminalTransaction %s", txID)
}

// TestTerminalsTrade: what a terminal asks for reaches the use cases as its organisation's, its signed bytes unchanged.
func TestTerminalsTrade(t *testing.T) {
	r := newRig(t)
	key := r.handset(true)
	for _, c := range []struct {
		path  string
		body  any
		noted string
	}{
		{protocol.PathRecentHash, terminalAsks[protocol.PathRecentHash], "TransRecentHash retailer-1 1"},
		{protocol.PathConfirm, protocol.ConfirmAsk{Code: oneCode, ICCIDLast6: "000017"}, "TransConfirm retailer-1"},
		{protocol.PathSuccess, terminalAsks[protocol.PathSuccess], "TransSuccess tx-1"},
		{protocol.PathSubmit, terminalCancel, `SubmitSigned Cancel {"trade":"` + terminalTrade + `"} of retailer-1`},
		{protocol.PathQuery, protocol.Query{What: protocol.QueryStock, Cursor: "c", Limit: 200}, `TerminalStock "c" 200`},
		{protocol.PathQuery, protocol.Query{What: protocol.QueryTrades, State: "offered", Side: "receiver"}, `TerminalTrades "offered" "receiver" "" 0`},
		{protocol.PathQuery, protocol.Query{What: protocol.QueryParticipants}, "TerminalParticipants"},
		{protocol.PathQuery, protocol.Query{What: protocol.QueryRequest, RequestID: committed.RequestID}, "TerminalRequest"},
		{protocol.PathQuery, protocol.Query{What: protocol.QueryTrace, ICCID: "89860400000000000017"}, "TerminalTrace 89860400000000000017"},
		{protocol.PathQuery, protocol.Query{What: protocol.QueryTransaction, TxID: "tx-1"}, "TerminalTransaction tx-1"},
	} {
		req, a := r.enveloped(key, c.path, c.body)
		r.answers(req, a, http.StatusOK, "")
		if !strings.Contains(strings.Join(r.service.calls, "\n"), c.noted) {
			t.Errorf("%s %v: not among what was asked: %q", c.path, c.body, c.noted)
		}
	}
	book := terminalCancel
	book.Function = strings.Repeat("x", 65)
	for name, c := range map[string]struct {
		path string
		body any
	}{
		"too many a page":      {protocol.PathQuery, protocol.Query{What: protocol.QueryStock, Limit: 201}},
		"less than none":       {protocol.PathQuery, protocol.Query{What: protocol.QueryStock, Limit: -1}},
		"no transaction":       {protocol.PathSuccess, protocol.Success{}},
		"a function of a book": {protocol.PathSubmit, book},
	} {
		req, a := r.enveloped(key, c.path, c.body)
		if got := r.answers(req, a, http.StatusBadRequest, "FIELD_INVALID"); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, got.status)
		}
	}
}

// TestTerminalsGuess: terminals guess under the same guards as people: so often wrong, and the organisation is stopped, with
// all of its terminals, for what shows a code. What shows none goes on.
func TestTerminalsGuess(t *testing.T) {
	r := newRig(t, limited(handler.Limits{WrongCodes: wrongCodes}))
	key, other := r.handset(true), r.handset(true)
	wrong := protocol.ConfirmAsk{Code: "00000000", ICCIDLast6: "000017"}
	stopped := 0
	for n := range 40 {
		path, body := protocol.PathConfirm, any(wrong)
		if n%2 == 1 {
			sub := terminalCancel
			sub.Code, sub.ICCIDLast6 = wrong.Code, wrong.ICCIDLast6
			path, body = protocol.PathSubmit, sub
		}
		req, a := r.enveloped(key, path, body)
		got := r.do(a)
		if err := protocol.Check(req, got.status, got.header, got.body, []gm.PublicKey{gatewayKey().Public()}); err != nil {
			t.Fatal(err)
		}
		if got.status == http.StatusTooManyRequests {
			stopped = n
			break
		}
		if got.status != http.StatusNotFound {
			t.Fatalf("a wrong code: %d %s", got.status, got.body)
		}
	}
	if stopped == 0 {
		t.Fatal("nobody stops it")
	}
	req, a := r.enveloped(other, protocol.PathConfirm, protocol.ConfirmAsk{Code: oneCode, ICCIDLast6: "000017"})
	r.answers(req, a, http.StatusTooManyRequests, "LOOKUP_LIMIT")
	req, a = r.enveloped(other, protocol.PathConfirm, protocol.ConfirmAsk{Trade: terminalTrade})
	r.answers(req, a, http.StatusOK, "")
}
