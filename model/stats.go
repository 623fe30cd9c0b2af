package model

import (
	"time"
)

// Totals are the counts of a participant, or of all.
type Totals struct {
	Lots     int64 // live
	Cards    int64 // in them
	Sold     map[TradeState]int64
	Received map[TradeState]int64
}

// Totals counts what a participant has and trades, all for "" (then Sold and Received are the same).
func (tx *Tx) Totals(participant string) (Totals, error) {
	var t Totals
	live := tx.db.Model(&Lot{}).Where("status IN ?", []LotStatus{LotOwned, LotInTrade, LotRetired})
	if participant != "" {
		live = live.Where("owner = ?", participant)
	}
	err := live.Select("COUNT(*), COALESCE(SUM(card_count), 0)").Row().Scan(&t.Lots, &t.Cards)
	if err != nil {
		return t, err
	}
	if t.Sold, err = tx.countTrades("seller", participant); err != nil {
		return t, err
	}
	t.Received, err = tx.countTrades("receiver", participant)
	return t, err
}

func (tx *Tx) countTrades(side, participant string) (map[TradeState]int64, error) {
	query := tx.db.Model(&Trade{})
	if participant != "" {
		query = query.Where(side+" = ?", participant)
	}
	var lines []struct {
		State TradeState
		N     int64
	}
	if err := query.Select("state, COUNT(*) AS n").Group("state").Scan(&lines).Error; err != nil {
		return nil, err
	}
	counts := map[TradeState]int64{}
	for _, l := range lines {
		counts[l.State] = l.N
	}
	return counts, nil
}

// Day is a day of a chart.
type Day struct {
	Date       string // 2006-01-02
	Offered    int64  // trades by OfferedAt
	Confirmed  int64  // trades by EndedAt, and so on
	Declined   int64
	Cancelled  int64
	Released   int64
	CardsMoved int64 // in the confirmed ones
}

// Daily is the series of the last days until now, oldest first, with days on which nothing happened. A participant's
// trades are those he sold or received; "" is everybody. Days begin at midnight in zone, by its offset of now: China
// has one all the year.
func (tx *Tx) Daily(participant string, now time.Time, zone *time.Location, days int) ([]Day, error) {
	now = now.In(zone)
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, zone)
	first := MillisOf(today.AddDate(0, 0, 1-days))
	series, at := make([]Day, days), map[int64]*Day{}
	for i := range series {
		day := today.AddDate(0, 0, 1-days+i)
		series[i].Date = day.Format(time.DateOnly)
		at[int64(i)] = &series[i]
	}
	offered, err := tx.perDay(participant, "offered_at", first)
	if err != nil {
		return nil, err
	}
	for _, l := range offered {
		if day := at[l.Day]; day != nil {
			day.Offered += l.N
		}
	}
	ended, err := tx.perDay(participant, "ended_at", first)
	if err != nil {
		return nil, err
	}
	for _, l := range ended {
		day := at[l.Day]
		if day == nil {
			continue
		}
		switch l.State {
		case TradeConfirmed:
			day.Confirmed, day.CardsMoved = day.Confirmed+l.N, day.CardsMoved+l.Cards
		case TradeDeclined:
			day.Declined += l.N
		case TradeCancelled:
			day.Cancelled += l.N
		case TradeReleased:
			day.Released += l.N
		}
	}
	return series, nil
}

type dayLine struct {
	Day   int64 // after the first
	State TradeState
	N     int64
	Cards int64
}

// perDay counts trades that reached the ledger, by the days since first and by state. x - x % day is a whole number
// of days on both databases, which don't agree on what / does.
func (tx *Tx) perDay(participant, column string, first Millis) ([]dayLine, error) {
	const day = int64(24 * time.Hour / time.Millisecond)
	since := "(" + column + " - ?)"
	query := tx.db.Model(&Trade{}).Where(column+" >= ? AND state NOT IN ?", first, []TradeState{TradeOffering, TradeFailed})
	if participant != "" {
		query = query.Where("(seller = ? OR receiver = ?)", participant, participant)
	}
	lines, err := many[dayLine](query.
		Select(since+" - "+since+" % ? AS day, state, COUNT(*) AS n, SUM(`count`) AS cards", first, first, day).
		Group("day, state"))
	for i := range lines {
		lines[i].Day /= day
	}
	return lines, err
}
