package transfer

import (
	"context"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Stats is what an organisation's charts show.
type Stats struct {
	Lots     int64
	Cards    int64
	Sold     map[string]int64 // trades by state
	Received map[string]int64
	Days     []Day
}

// Day is a day of the series.
type Day struct {
	Date       string
	Offered    int64
	Confirmed  int64
	Declined   int64
	Cancelled  int64
	Released   int64
	CardsMoved int64
}

// china is the zone in which days begin.
var china = time.FixedZone("CST", 8*60*60)

// maxStatsDays bounds a series.
const maxStatsDays = 366

// Stats counts what the caller's organisation has and trades; for a regulator, everything.
func (s *Service) Stats(ctx context.Context, c Caller, days int) (Stats, error) {
	if days <= 0 {
		days = 30
	}
	days = min(days, maxStatsDays)
	whose := c.Participant
	if c.Role == request.Regulator {
		whose = ""
	}
	var out Stats
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		t, err := tx.Totals(whose)
		if err != nil {
			return err
		}
		series, err := tx.Daily(whose, s.Clock(), china, days)
		if err != nil {
			return err
		}
		out = Stats{Lots: t.Lots, Cards: t.Cards, Sold: byState(t.Sold), Received: byState(t.Received)}
		for _, d := range series {
			out.Days = append(out.Days, Day(d))
		}
		return nil
	})
	return out, err
}

func byState(in map[model.TradeState]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range in {
		out[string(k)] = v
	}
	return out
}

// Ready names each part that the use cases need, with what is wrong with it, nil if nothing is.
func (s *Service) Ready(ctx context.Context) map[string]error {
	return map[string]error{
		"database": s.DB.Ready(ctx),
		"ledger":   s.Ledger.Ready(ctx),
		"journal":  s.Journal.Ready(),
		"listener": s.Following(),
	}
}
