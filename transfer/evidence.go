package transfer

import (
	"context"
	"fmt"

	"cardflow/ledger"
	"cardflow/ledger/request"
	"cardflow/model"
)

// SignLog is custody's record of what it signed, beside what stands on the ledger.
type SignLog interface {
	// Standing says what the record knows of a signature that stands on the ledger under a request.
	Standing(ctx context.Context, req request.Request, sig request.Signature) (Standing, error)
	// Adopt notes such a signature where the record lacks it: the database was put back to an older copy. txID is the
	// ledger's transaction.
	Adopt(ctx context.Context, txID string, req request.Request, sig request.Signature) error
	// Restore takes a key back, sealed as it was kept: the ledger names it, and it was made after the copy.
	Restore(ctx context.Context, key model.CustodyKey) error
	// VerifySignLog holds the record against custody's audit and calls find for each fault.
	VerifySignLog(ctx context.Context, find func(subject, problem string)) error
	// Reconciled says that the ledger has been followed to its end since this server started: a record that was put back
	// from a bundle may be added to again.
	Reconciled(ctx context.Context) error
}

// KeyOpener is a Signer that has the keys in its own process. One in another process opens none for a check: whoever has
// taken over a web process would keep it busy with that.
type KeyOpener interface {
	// VerifyKeys opens every key and clears it at once, calls find for each that doesn't open, and answers how many do.
	VerifyKeys(ctx context.Context, find func(keyID, problem string)) (opened int64, err error)
}

// Standing is what custody's record says of a signature on the ledger.
type Standing string

// The standings.
const (
	SignedElsewhere Standing = "foreign"  // by a key that custody does not keep
	SignedHere      Standing = "recorded" // this very signature is recorded
	SignedUnnoted   Standing = "missing"  // by a key that custody keeps, and it is not recorded
)

// consent is one signature of a transaction, with the request that it is under.
type consent struct {
	request   request.Request
	signature request.Signature
}

// consents lists the signatures that a transaction carries. A transaction that is no signed request of ours has none.
func (s *Service) consents(t ledger.Transaction) []consent {
	req, ok := s.requestOf(t)
	if !ok {
		return nil
	}
	proof, err := request.DecodeProof(t.Args[1])
	if err != nil {
		return nil
	}
	var list []consent
	for _, sig := range proof.Signatures {
		list = append(list, consent{req, sig})
	}
	if proof.Ticket == nil {
		return list
	}
	var ticket request.Ticket
	switch t.Function {
	case "Confirm":
		var b request.Confirm
		err = request.Decode(t.Args[0], &b)
		ticket = request.Ticket{Trade: b.Trade, Receiver: b.Receiver}
	case "Decline":
		var b request.Decline
		err = request.Decode(t.Args[0], &b)
		ticket = request.Ticket{Trade: b.Trade, Receiver: b.Receiver}
	default:
		return list
	}
	if err != nil {
		return list
	}
	return append(list, consent{request.New(s.Ledger.Channel(), ticket), *proof.Ticket})
}

// adopt tells custody of signatures in a block that it has made and does not know of, because the database was put back to
// an older copy, which does not have the act, or has it from before it was signed. Of an act whose row names the
// transaction there is nothing to ask. It comes before the block is settled, so that a crash between the two makes it happen
// again.
func (s *Service) adopt(ctx context.Context, b ledger.Block) error {
	var strange []ledger.Transaction
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		strange = strange[:0]
		var ids []string
		for _, t := range b.Transactions {
			if t.Validation == ledger.Valid {
				ids = append(ids, t.ID)
			}
		}
		ours, err := tx.KnownTransactions(ids)
		if err != nil {
			return err
		}
		for _, t := range b.Transactions {
			if t.Validation == ledger.Valid && !ours[t.ID] {
				strange = append(strange, t)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range strange {
		if err := s.recoverKeys(ctx, t); err != nil {
			return fmt.Errorf("transaction %s: %w", t.ID, err)
		}
		for _, c := range s.consents(t) {
			if err := s.adoptOne(ctx, t.ID, c); err != nil {
				return fmt.Errorf("transaction %s: %w", t.ID, err)
			}
		}
	}
	return nil
}

func (s *Service) adoptOne(ctx context.Context, txID string, c consent) error {
	standing, err := s.Signer.Standing(ctx, c.request, c.signature)
	if err != nil || standing != SignedUnnoted {
		return err
	}
	return s.Signer.Adopt(ctx, txID, c.request, c.signature)
}

// witness looks whether what custody has signed, and what stands on the ledger, stands in its record.
func (c *check) witness(ctx context.Context, t ledger.Transaction) error {
	for _, one := range c.consents(t) {
		standing, err := c.Signer.Standing(ctx, one.request, one.signature)
		if err != nil {
			return err
		}
		f := Finding{Kind: "SIGNATURE", Subject: t.ID}
		switch standing {
		case SignedHere:
			c.report.Signatures++
		case SignedUnnoted:
			f.Problem = "has a signature of key " + one.signature.KeyID + " that the sign log does not have"
			f.Remedy = "note it in the sign log"
			f.fix = func(ctx context.Context) error { return c.Signer.Adopt(ctx, t.ID, one.request, one.signature) }
			c.report.find(f)
		}
	}
	return nil
}

// signLog: what stands in custody's record was written down before it was signed.
func (c *check) signLog(ctx context.Context) error {
	return c.Signer.VerifySignLog(ctx, func(subject, problem string) {
		c.report.find(Finding{Kind: "SIGNATURE", Subject: subject, Problem: problem})
	})
}
