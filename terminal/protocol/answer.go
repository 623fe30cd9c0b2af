package protocol

import (
	"encoding/json"

	"cardflow/ledger/request"
)

// Stock is a page of what an organisation has and can sell, each lot opened. A page may have fewer lots than Limit; there is
// more as long as it has a Next.
type Stock struct {
	Lots []StockLot `json:"lots"`
	Next string     `json:"next,omitempty"`
}

// StockLot is a lot that is free: nobody froze it, and no act has it in hand.
type StockLot struct {
	Lot          string               `json:"lot"`
	Opening      request.LotOpening   `json:"opening"`
	Segments     []Span               `json:"segments"`
	Count        uint64               `json:"count"`
	Issuer       Party                `json:"issuer"`
	Restrictions []string             `json:"restrictions,omitempty"`
	RetailPolicy request.RetailPolicy `json:"retailPolicy"`
	Trade        string               `json:"trade,omitempty"` // that brought its cards: what a return names
	Since        int64                `json:"since"`           // ms
}

// Trades is a page of trades, newest first.
type Trades struct {
	Trades []Trade `json:"trades"`
	Next   string  `json:"next,omitempty"`
}

// Trade is a trade as its sides see it. Code is there for the seller, while somebody can use it.
type Trade struct {
	Trade     string       `json:"trade"`
	State     string       `json:"state"`
	Mode      request.Mode `json:"mode"`
	Lot       string       `json:"lot"`
	Segments  []Span       `json:"segments"`
	Count     uint64       `json:"count"`
	Seller    Party        `json:"seller"`
	Receiver  *Party       `json:"receiver,omitempty"`
	Code      string       `json:"code,omitempty"`
	Reverses  string       `json:"reverses,omitempty"`
	Reason    string       `json:"reason,omitempty"`
	OfferedAt int64        `json:"offeredAt"` // ms
	ExpiresAt int64        `json:"expiresAt"` // ms
	EndedAt   int64        `json:"endedAt,omitempty"`
	OfferTx   string       `json:"offerTx,omitempty"`
	EndTx     string       `json:"endTx,omitempty"`
}

// Participants are the organisations to which one can sell.
type Participants struct {
	Participants []Party `json:"participants"`
}

// Trace is the life of a card, oldest first, as far as the asker's organisation was a side of it.
type Trace struct {
	ICCID string `json:"iccid"`
	Mine  bool   `json:"mine"`
	Hops  []Hop  `json:"hops"`
}

// Hop is one step: an issue, a trade, a return. A device is a terminal's serial number where the asker may know it, else its
// hash; WECHAT for a consumer, ACCOUNT for an organisation at its console.
type Hop struct {
	Kind        string   `json:"kind"` // ISSUE, TRADE, RETURN
	From        string   `json:"from,omitempty"`
	To          string   `json:"to,omitempty"`
	OfferedAt   int64    `json:"offeredAt"`             // ms
	ConfirmedAt int64    `json:"confirmedAt,omitempty"` // ms
	Device      string   `json:"device,omitempty"`      // through which it went out
	EndDevice   string   `json:"endDevice,omitempty"`   // through which it came in
	TxIDs       []string `json:"txIds"`
	BlockNumber uint64   `json:"blockNumber"`
	Trade       string   `json:"trade,omitempty"`
	Lot         string   `json:"lot"`
}

// Transaction is a transaction of the ledger: hashes and pseudonyms, which everyone on the ledger sees.
type Transaction struct {
	TxID        string          `json:"txId"`
	BlockNumber uint64          `json:"blockNumber"`
	Time        int64           `json:"time"` // ms
	Contract    string          `json:"contract"`
	Function    string          `json:"function"`
	Args        json.RawMessage `json:"args"`
	RequestID   string          `json:"requestId"`
	Signers     []string        `json:"signers"` // key IDs
	Validation  string          `json:"validation"`
}
