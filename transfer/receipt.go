package transfer

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Receipt proves to anyone, without us, that its holder owns these cards: salt and canonical form give the lot hash,
// which the ledger shows as his; the signature over the request is his.
type Receipt struct {
	ConfirmationID string
	TradeID        string
	SellerName     string
	Buyer          string // pseudonym
	Segments       []Span
	Count          uint64
	LotHash        string
	Rule           string
	Salt           string // hex
	Canonical      string
	Channel        string
	RequestID      string
	Arguments      string // the signed body
	KeyID          string
	NotAfter       int64
	Signature      string // hex, DER
	TxID           string
	BlockNumber    uint64
	BlockHash      string
	ConfirmedAt    time.Time
}

// Receipt makes the receipt of the caller's own confirmation.
func (s *Service) Receipt(ctx context.Context, c Caller, confirmation string) (Receipt, error) {
	var r Receipt
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		a, err := tx.Act(confirmation)
		if errors.Is(err, model.ErrNotFound) || err == nil && (a.Actor != c.Participant || a.Function != "Confirm" || a.State != model.ActCommitted) {
			return fail("NOT_FOUND")
		}
		if err != nil {
			return err
		}
		t, err := tx.Trade(a.Subject)
		if err != nil {
			return err
		}
		l, set, err := s.lotCards(tx, t.LotHash)
		if err != nil {
			return err
		}
		opening, err := s.lotOpening(tx, l)
		if err != nil {
			return err
		}
		seller, err := tx.Participant(t.Seller)
		if err != nil {
			return err
		}
		proof, err := request.DecodeProof(a.Proof)
		if err != nil {
			return err
		}
		sig := proof.Signatures[0]
		r = Receipt{
			ConfirmationID: a.ID, TradeID: t.ID, SellerName: seller.Name, Buyer: c.Participant, Segments: spans(set), Count: set.Count(),
			LotHash: l.Hash, Rule: opening.Rule, Salt: hex.EncodeToString(opening.Salt), Canonical: opening.Canonical, Channel: s.Ledger.Channel(),
			RequestID: a.RequestID, Arguments: string(a.Body), KeyID: sig.KeyID, NotAfter: sig.NotAfter, Signature: hex.EncodeToString(sig.Bytes),
			TxID: a.TxID, BlockNumber: uint64(a.BlockNumber), ConfirmedAt: a.CommittedAt.Time(),
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	b, err := s.Ledger.Block(ctx, r.BlockNumber)
	r.BlockHash = b.Hash
	return r, err
}
