package terminal

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// usualLife is how long an offer stands that was drafted without a network, if nobody says.
const usualLife = 24 * time.Hour

// Draft drafts an offer from the known stock, without a network: the same body that the platform would draft, but for what is
// drawn. Cards of more runs than one lot can hold go out as several trades of one offer, which is one request: all or none. It is checked like any other before it is signed. What it is built on may be spent meanwhile; then the platform, or
// the ledger, refuses it. Errors: NOT_IN_STOCK, SEVERAL_ISSUERS, TOO_MANY_LOTS, TOO_MANY_SEGMENTS.
func (w Wanted) Draft(stock []Lot, random io.Reader) (protocol.Draft, error) {
	inputs, err := cover(stock, w.Cards)
	if err != nil {
		return protocol.Draft{}, err
	}
	if w.trades() > 1 && w.Reverses != "" { // a return is one lot
		return protocol.Draft{}, Refusal("TOO_MANY_SEGMENTS").With("limit", lotSegments)
	}
	o := request.Offer{Seller: w.Seller, Mode: w.Mode, Receiver: w.To, OfferedAt: w.Now.UnixMilli()}
	o.ExpiresAt = o.OfferedAt + w.ExpiresIn.Milliseconds()
	if w.ExpiresIn == 0 {
		o.ExpiresAt = o.OfferedAt + usualLife.Milliseconds()
	}
	openings := request.Openings{Lots: map[string]request.LotOpening{}, Codes: map[string]request.CodeOpening{}}
	drawn := func(set iccid.Set) (string, error) {
		var salt [32]byte
		if err := fill(random, salt[:]); err != nil {
			return "", err
		}
		hash, opening := request.OpeningOf(set, salt)
		openings.Lots[hash] = opening
		return hash, nil
	}
	for segments := range slices.Chunk(w.Cards.Segments(), lotSegments) {
		cards, err := iccid.NewSet(w.Cards.Rule, segments...)
		if err != nil {
			return protocol.Draft{}, err
		}
		var name [16]byte
		if err := fill(random, name[:]); err != nil {
			return protocol.Draft{}, err
		}
		out := request.Output{Trade: hex.EncodeToString(name[:])}
		if out.Lot, err = drawn(cards); err != nil {
			return protocol.Draft{}, err
		}
		if w.Mode == request.Bearer {
			salt := make([]byte, 16)
			if err := fill(random, salt); err != nil {
				return protocol.Draft{}, err
			}
			code := request.CodeOpening{Salt: salt, Code: request.TradeCode(o.OfferedAt, o.Seller, out.Lot, salt)}
			openings.Codes[out.Trade] = code
			out.CodeHash = request.CodeHash(out.Trade, code.Code, salt)
		}
		o.Outputs = append(o.Outputs, out)
	}
	for _, l := range inputs {
		o.Inputs, openings.Lots[l.Lot] = append(o.Inputs, l.Lot), l.Opening
		for segments := range slices.Chunk(l.Cards.Minus(w.Cards).Segments(), lotSegments) {
			rest, err := iccid.NewSet(w.Cards.Rule, segments...)
			if err != nil {
				return protocol.Draft{}, err
			}
			hash, err := drawn(rest)
			if err != nil {
				return protocol.Draft{}, err
			}
			o.Remainders = append(o.Remainders, hash)
		}
	}
	if len(o.Remainders) > maxLots {
		return protocol.Draft{}, Refusal("TOO_MANY_LOTS").With("limit", maxLots)
	}
	var body request.Body = o
	if w.Reverses != "" {
		body = request.Return{Offer: o, Reverses: w.Reverses}
	}
	req := request.New(w.Channel, body)
	return protocol.Draft{
		Contract: req.Contract, Function: req.Function, Args: string(req.Args), RequestID: req.ID(), Openings: openings, Count: w.Cards.Count(),
	}, nil
}

func fill(random io.Reader, b []byte) error {
	if _, err := io.ReadFull(random, b); err != nil {
		return fmt.Errorf("no randomness: %w", err)
	}
	return nil
}
