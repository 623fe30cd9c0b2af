package handler

import (
	"context"
	"errors"
	"net/http"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
	"cardflow/transfer"
)

// Terminals are who asks by a device's key, and who answers them.
type Terminals interface {
	Gateway(ctx context.Context) (protocol.Gateway, error)
	// AnswerSigner finds the gateway key by which an answer is wanted, or the newest.
	AnswerSigner(ctx context.Context, want string) (transfer.AnswerSigner, error)
	// Terminal finds who speaks by a device's key, and the key. Errors: DEVICE_REFUSED.
	Terminal(ctx context.Context, keyID string) (transfer.Caller, gm.PublicKey, error)
	// TerminalSeen notes that a terminal has asked, and by which gateway key if it has said.
	TerminalSeen(ctx context.Context, c transfer.Caller, gateway string) error
	Enrol(ctx context.Context, in protocol.Enrol) (protocol.Device, error)
	TerminalDevice(ctx context.Context, c transfer.Caller) (protocol.Device, error)
	TerminalKey(ctx context.Context, c transfer.Caller, keyID string) (transfer.LedgerKey, error)
}

// showGateway is GET /terminal/gateway.
func showGateway(c *call) error {
	g, err := c.Service.Gateway(c.ctx())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, g)
}

// enrol is POST /terminal/enrol.
func enrol(c *call) error {
	in, err := bind(c, func(in protocol.Enrol) error {
		return bounded(512, "ticket", in.Ticket, "serial", in.Serial, "serialSalt", in.SerialSalt)
	})
	if err != nil {
		return err
	}
	d, err := c.Service.Enrol(c.ctx(), in)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, d)
}

// queries are what a terminal can ask, by name.
var queries = map[string]func(*call, protocol.Query) (any, error){
	protocol.QueryDevice: func(c *call, _ protocol.Query) (any, error) { return c.Service.TerminalDevice(c.ctx(), c.caller()) },
	protocol.QueryKey: func(c *call, q protocol.Query) (any, error) {
		k, err := c.Service.TerminalKey(c.ctx(), c.caller(), q.KeyID)
		return viewLedgerKey(k), err
	},
	protocol.QueryStock: func(c *call, q protocol.Query) (any, error) {
		return c.Service.TerminalStock(c.ctx(), c.caller(), q.Cursor, q.Limit)
	},
	protocol.QueryTrades: func(c *call, q protocol.Query) (any, error) {
		return c.Service.TerminalTrades(c.ctx(), c.caller(), q.State, q.Side, q.Cursor, q.Limit)
	},
	protocol.QueryParticipants: func(c *call, _ protocol.Query) (any, error) {
		return c.Service.TerminalParticipants(c.ctx(), c.caller())
	},
	protocol.QueryRequest: func(c *call, q protocol.Query) (any, error) {
		return c.Service.TerminalRequest(c.ctx(), c.caller(), q.RequestID)
	},
	protocol.QueryTrace: func(c *call, q protocol.Query) (any, error) {
		return c.Service.TerminalTrace(c.ctx(), c.caller(), q.ICCID)
	},
	protocol.QueryTransaction: func(c *call, q protocol.Query) (any, error) {
		return c.Service.TerminalTransaction(c.ctx(), c.caller(), q.TxID)
	},
}

// answerTerminal is POST /terminal/query.
func answerTerminal(c *call) error {
	in, err := bind(c, func(q protocol.Query) error {
		return errors.Join(pageLimit(q.Limit), bounded(512, "cursor", q.Cursor), bounded(128, "what", q.What, "requestId", q.RequestID, "iccid", q.ICCID, "txId", q.TxID, "keyId", q.KeyID, "state", q.State, "side", q.Side))
	})
	if err != nil {
		return err
	}
	ask, ok := queries[in.What]
	if !ok {
		return field("what", "不认识这种查询")
	}
	answer, err := ask(c, in)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, answer)
}

// terminalKeyView is a key's record on the ledger.
type terminalKeyView struct {
	ID          string          `json:"id"`
	Participant string          `json:"participant"`
	Public      gm.PublicKey    `json:"public"`
	Kind        request.KeyKind `json:"kind"`
	SerialHash  string          `json:"serialHash,omitempty"`
	Functions   []string        `json:"functions,omitempty"`
	Status      string          `json:"status"`
	ValidFrom   int64           `json:"validFrom"`
	ValidUntil  int64           `json:"validUntil,omitempty"`
	Version     int             `json:"version"`
	TxID        string          `json:"txId"`
	// ParticipantVersion is what RotateKey names; of the organisation's own keys.
	ParticipantVersion int `json:"participantVersion,omitempty"`
}

func viewLedgerKey(k transfer.LedgerKey) terminalKeyView {
	return terminalKeyView{
		ID: k.ID, Participant: k.Participant, Public: k.Public, Kind: k.Kind, SerialHash: k.SerialHash, Functions: k.Functions, Status: string(k.Status),
		ValidFrom: k.ValidFrom, ValidUntil: k.ValidUntil, Version: k.Version, TxID: k.TxID, ParticipantVersion: k.ParticipantVersion,
	}
}
