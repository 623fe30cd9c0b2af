package terminal

import (
	"context"

	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// Offers lists what waits for the terminal's organisation, newest first.
func (t *Terminal) Offers(ctx context.Context) ([]protocol.Trade, error) {
	return t.trades(ctx, "receiver")
}

// Sales lists what the terminal's organisation has offered and nobody has confirmed yet, newest first.
func (t *Terminal) Sales(ctx context.Context) ([]protocol.Trade, error) {
	return t.trades(ctx, "seller")
}

func (t *Terminal) trades(ctx context.Context, side string) ([]protocol.Trade, error) {
	list := []protocol.Trade{}
	cursor := ""
	for range maxPages {
		var page protocol.Trades
		if err := t.query(ctx, protocol.Query{What: protocol.QueryTrades, Side: side, Cursor: cursor, Limit: 100}, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Trades...)
		if cursor = page.Next; cursor == "" {
			return list, nil
		}
	}
	return nil, failf("ANSWER_MALFORMED", "the list of trades has no end")
}

// Cancel signs that an offer is taken back, and queues it: it goes out after the offer itself. Whoever confirms first has the
// cards. Errors: TRADE_INVALID if that is no trade's ID.
func (t *Terminal) Cancel(trade protocol.Trade) (Entry, error) {
	if !tradeName.MatchString(trade.Trade) {
		return Entry{}, Refusal("TRADE_INVALID")
	}
	e := Entry{Count: trade.Count, Trade: trade.Trade}
	if trade.Receiver != nil {
		e.Party = trade.Receiver.ID
	}
	req := request.New(t.profile.Channel, request.Cancel{Trade: trade.Trade})
	e, err := t.signed(req, t.now().Add(longestWait).UnixMilli(), e, protocol.Submit{})
	if err != nil {
		return Entry{}, err
	}
	return one(t.state.Enqueue(nil, e))
}
