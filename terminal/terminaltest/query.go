package terminaltest

import (
	"cmp"
	"slices"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

func (g *Gateway) party(id string) protocol.Party {
	for _, d := range g.devices {
		if d.Participant.ID == id {
			return d.Participant
		}
	}
	return protocol.Party{ID: id, Name: id, Role: request.Distributor}
}

// parties are the organisations of the other terminals.
func (g *Gateway) parties(d *device) []protocol.Party {
	list := []protocol.Party{}
	for _, other := range g.devices {
		if p := other.Participant; p.ID != d.Participant.ID && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b protocol.Party) int { return cmp.Compare(a.ID, b.ID) })
	return list
}

func spans(set iccid.Set) []protocol.Span {
	list := []protocol.Span{}
	for _, s := range set.Segments() {
		p := protocol.Span{Start: set.Rule.Format(s.First())}
		if s.Lo < s.Hi {
			p.End = set.Rule.Format(s.Last())
		}
		list = append(list, p)
	}
	return list
}

func (g *Gateway) query(d *device, q protocol.Query) (any, *refusal) {
	switch q.What {
	case protocol.QueryDevice:
		return d.Device, nil
	case protocol.QueryStock:
		return g.stock(d, q), nil
	case protocol.QueryTrades:
		return g.offers(d, q.Side), nil
	case protocol.QueryParticipants:
		return protocol.Participants{Participants: g.parties(d)}, nil
	case protocol.QueryRequest:
		if a, ok := g.applied[q.RequestID]; ok {
			return committed(q.RequestID, a), nil
		}
		return nil, refuse(404, "NOT_FOUND")
	case protocol.QueryTransaction:
		for _, a := range g.applied {
			if a.Tx.TxID == q.TxID {
				return a.Tx, nil
			}
		}
		return nil, refuse(404, "NOT_FOUND")
	case protocol.QueryTrace:
		return g.trace(d, q)
	}
	return nil, refuse(400, "FIELD_INVALID")
}

// stock answers two lots a page, so that pages are tried.
func (g *Gateway) stock(d *device, q protocol.Query) protocol.Stock {
	var hashes []string
	for h, l := range g.lots {
		if l.owner == d.Participant.ID && !l.spent && l.trade == "" && h > q.Cursor {
			hashes = append(hashes, h)
		}
	}
	slices.Sort(hashes)
	out := protocol.Stock{Lots: []protocol.StockLot{}}
	for i, h := range hashes {
		if i == 2 {
			out.Next = hashes[1]
			break
		}
		l := g.lots[h]
		out.Lots = append(out.Lots, protocol.StockLot{
			Lot: h, Opening: l.opening, Segments: spans(l.set), Count: l.set.Count(), Issuer: protocol.Party{ID: "carrier-1", Name: "电信", Role: request.Carrier},
			RetailPolicy: request.Open, Since: g.Now().UnixMilli(),
		})
	}
	return out
}

func (g *Gateway) offers(d *device, side string) protocol.Trades {
	out := protocol.Trades{Trades: []protocol.Trade{}}
	for _, t := range g.trades {
		of := t.receiver
		if side == "seller" {
			of = t.seller
		}
		if of != d.Participant.ID || t.state != "OPEN" {
			continue
		}
		set := g.lots[t.lot].set
		out.Trades = append(out.Trades, protocol.Trade{
			Trade: t.id, State: "offered", Mode: t.offer.Mode, Lot: t.lot, Segments: spans(set), Count: set.Count(), Seller: g.party(t.seller),
			OfferedAt: t.offer.OfferedAt, ExpiresAt: t.offer.ExpiresAt,
		})
	}
	slices.SortFunc(out.Trades, func(a, b protocol.Trade) int {
		return cmp.Or(cmp.Compare(b.OfferedAt, a.OfferedAt), cmp.Compare(a.Trade, b.Trade))
	})
	return out
}

func (g *Gateway) open(d *device, in protocol.ConfirmAsk) (any, *refusal) {
	for _, t := range g.trades {
		l := g.lots[t.lot]
		named := in.Code == "" && t.id == in.Trade && t.receiver == d.Participant.ID
		coded := in.Code != "" && t.code.Code == in.Code && l.set.HasLast6(in.ICCIDLast6)
		if !named && !coded {
			continue
		}
		if t.state != "OPEN" {
			return nil, refuse(409, "TRADE_ENDED")
		}
		return protocol.Offered{
			Trade: t.id, Lot: t.lot, Opening: l.opening, Segments: spans(l.set), Count: l.set.Count(), Mode: t.offer.Mode, Seller: g.party(t.seller), Issuer: protocol.Party{ID: "carrier-1", Name: "电信", Role: request.Carrier},
			OfferedAt: t.offer.OfferedAt, ExpiresAt: t.offer.ExpiresAt, RetailPolicy: request.Open,
		}, nil
	}
	return nil, refuse(404, "TRADE_NOT_FOUND")
}

func (g *Gateway) trace(d *device, q protocol.Query) (any, *refusal) {
	card, err := iccid.Luhn.Parse(q.ICCID)
	if err != nil {
		return nil, refuse(400, "ICCID_FORMAT")
	}
	for h, l := range g.lots {
		if !l.set.Contains(card) || l.spent {
			continue
		}
		return protocol.Trace{ICCID: iccid.Luhn.Format(card), Mine: l.owner == d.Participant.ID, Hops: []protocol.Hop{
			{Kind: "ISSUE", To: "电信", OfferedAt: g.Now().UnixMilli(), Device: "ACCOUNT", TxIDs: []string{"tx-0"}, Lot: h},
		}}, nil
	}
	return nil, refuse(404, "CARD_NOT_FOUND")
}
