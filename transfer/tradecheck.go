package transfer

import (
	"context"
	"errors"
	"fmt"

	"cardflow/ledger/contract"
	"cardflow/model"
)

func (c *check) trades(ctx context.Context) error {
	seen := map[string]bool{}
	err := pages(ctx, c, (*model.Tx).AllTrades, func(t model.Trade) string { return t.ID }, func(tx *model.Tx, row model.Trade) error {
		c.report.Trades++
		seen[row.ID] = true
		problem, err := verdict(ctx, c.truth, c.truth.trades, row.ID, c.seen, func(t *contract.Trade) string { return tradeDiffers(row, t) })
		switch {
		case err != nil:
			return err
		case problem != "":
			c.report.find(c.mendTrade(row.ID, problem))
		case waits(row.State):
			a, err := tx.Act(row.PendingAct)
			if errors.Is(err, model.ErrNotFound) || err == nil && a.State.Finished() {
				c.report.find(c.mendWait(row.ID, fmt.Sprintf("is %s, and no act is under way", row.State)))
				return nil
			}
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range missed(c, c.truth.trades, seen) {
		c.report.find(c.mendTrade(id, "is on the ledger and not in the database"))
	}
	return nil
}

// waits reports whether a trade in this state waits for an act that is to end it.
func waits(s model.TradeState) bool {
	switch s {
	case model.TradeConfirming, model.TradeDeclining, model.TradeCancelling, model.TradeReleasing:
		return true
	}
	return false
}

func tradeDiffers(row model.Trade, t *contract.Trade) string {
	if t == nil {
		if row.State != model.TradeOffering && row.State != model.TradeFailed {
			return fmt.Sprintf("is %s here and not on the ledger", row.State)
		}
		return ""
	}
	want, ok := tradeStates[t.State]
	switch {
	case !ok || row.State != want && !(want == model.TradeOffered && waits(row.State)):
		return fmt.Sprintf("is %s here and %s on the ledger", row.State, t.State)
	case row.Seller != t.Seller || row.Receiver != t.Receiver || row.LotHash != t.Lot || row.Mode != string(t.Mode) || int64(row.ExpiresAt) != t.ExpiresAt:
		return "sides, lot, mode or expiry differ"
	case row.State.Ended() && row.EndTx != t.EndTx:
		return fmt.Sprintf("ended by %s here and by %s on the ledger", row.EndTx, t.EndTx)
	}
	return ""
}
