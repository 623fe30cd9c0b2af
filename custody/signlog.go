package custody

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Standing is what the sign log says of a signature that stands on the ledger.
type Standing string

// The standings.
const (
	Foreign  Standing = "foreign"  // the key is not kept here: a terminal's, or another platform's
	Recorded Standing = "recorded" // the sign log has this very signature
	Missing  Standing = "missing"  // the key is kept here, and the sign log does not have it
)

// StandingOf looks a signature up that stands on the ledger under a request.
func (c *Custody) StandingOf(ctx context.Context, req request.Request, sig request.Signature) (s Standing, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		s, err = standing(tx, req, sig)
		return err
	})
	return s, err
}

func standing(tx *model.Tx, req request.Request, sig request.Signature) (Standing, error) {
	if _, err := tx.CustodyKey(sig.KeyID); errors.Is(err, model.ErrNotFound) {
		return Foreign, nil
	} else if err != nil {
		return "", err
	}
	lines, err := tx.SignaturesOfRequest(req.ID(), sig.KeyID)
	if err != nil {
		return "", err
	}
	for _, l := range lines {
		if bytes.Equal(l.Signature, sig.Bytes) {
			return Recorded, nil
		}
	}
	return Missing, nil
}

// Adopt notes a signature that stands on the ledger and that the sign log does not have: it was made after the copy was
// taken to which this database was put back. Whoever asks for that act again finds it applied; nothing is signed here.
// txID is the ledger's transaction. Adopting what is recorded, or a key that is not kept here, changes nothing. A
// signature that does not verify is no evidence: ErrKeyUnreadable.
//
// It raises an alarm (ErrUnnoted): where nothing was put back, somebody else has the key.
func (c *Custody) Adopt(ctx context.Context, txID string, req request.Request, sig request.Signature) error {
	adopted := false
	err := c.write(ctx, func(tx *model.Tx) error {
		adopted = false
		s, err := standing(tx, req, sig)
		if err != nil || s != Missing {
			return err
		}
		key, err := tx.LockCustodyKey(sig.KeyID)
		if err != nil {
			return err
		}
		public, err := gm.ParsePublicKey(key.Public)
		if err == nil {
			err = gm.Verify(public, req.SigningBytes(sig.KeyID, sig.NotAfter), sig.Bytes)
		}
		if err != nil {
			return fmt.Errorf("signature in transaction %s: %w: %w", txID, ErrKeyUnreadable, err)
		}
		line := model.CustodySignature{
			Owner: key.Owner, Purpose: req.Function, Subject: "ledger:" + txID, Attempt: 1, KeyID: sig.KeyID,
			Digest: digest(req, sig.KeyID, sig.NotAfter), RequestID: req.ID(), NotAfter: model.Millis(sig.NotAfter), Actor: "ledger", CreatedAt: c.now(),
		}
		if line, err = tx.AddSignature(line); err != nil {
			return err
		}
		if err := tx.StoreSignatures([]model.MadeSignature{{Line: line.ID, Bytes: sig.Bytes}}, c.now()); err != nil {
			return err
		}
		err = c.record(ctx, tx, entry{line.Actor, actAdopt, line.Subject, map[string]any{
			"owner": line.Owner, "function": line.Purpose, "attempt": line.Attempt, "key": line.KeyID,
			"request": line.RequestID, "digest": line.Digest, "notAfter": int64(line.NotAfter),
		}})
		adopted = true
		return err
	})
	if errors.Is(err, model.ErrConflict) {
		return nil // another server has just adopted it
	}
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	if adopted {
		c.alarm(ErrUnnoted, "tx", txID, "function", req.Function, "key", sig.KeyID)
	}
	return nil
}

// SignLogFault is a line of the sign log, or an intent in the audit, that is not as it should be.
type SignLogFault struct {
	Subject string // the act
	Problem string
}

// VerifySignLog holds the sign log against the audit: each line has one intent in the audit, with the same digest; each
// intent has its line. The audit itself is VerifyAudit's to check, and that a signature is its key's was checked before it
// was released. find is called for each fault; the answer is how many lines there are.
//
// It walks both side by side in pages, so it needs no more memory for a longer log, and may run while others sign.
func (c *Custody) VerifySignLog(ctx context.Context, find func(SignLogFault)) (lines int64, err error) {
	w := &signLogWalk{intents: map[string]string{}, find: find}
	for more := true; more && err == nil; {
		err = c.db.Read(ctx, func(tx *model.Tx) error {
			rows, err := tx.SignaturesAfter(w.line, auditPage)
			if err != nil {
				return err
			}
			for _, line := range rows {
				if err := w.check(tx, line); err != nil {
					return err
				}
				w.line = line.ID
				lines++
			}
			if more = len(rows) == auditPage; more {
				return nil
			}
			return w.leftOver(tx)
		})
	}
	if err != nil {
		return lines, fmt.Errorf("verify the sign log: %w", err)
	}
	return lines, nil
}

// signLogWalk is how far both have been walked.
type signLogWalk struct {
	line    int64             // the last line that was looked at
	seq     int64             // the last audit row
	intents map[string]string // digest by line, of intents whose lines have not been met
	find    func(SignLogFault)
}

// lineName is what a line of the sign log is found by.
type lineName struct {
	Owner    string `json:"owner"`
	Function string `json:"function"`
	Subject  string `json:"subject"`
	Attempt  int    `json:"attempt"`
}

func (n lineName) key() string {
	b, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings and a number
	}
	return string(b)
}

// check looks for the intent of a line. It committed together with the line, so a snapshot that has one has both, and
// it is not far: lines and intents are written in much the same order.
func (w *signLogWalk) check(tx *model.Tx, line model.CustodySignature) error {
	name := lineName{line.Owner, line.Purpose, line.Subject, line.Attempt}.key()
	for more := true; more; {
		if digest, ok := w.intents[name]; ok {
			delete(w.intents, name)
			if digest != line.Digest {
				w.find(SignLogFault{line.Subject, fmt.Sprintf("attempt %d has another digest than was intended", line.Attempt)})
			}
			return nil
		}
		var err error
		if more, err = w.read(tx); err != nil {
			return err
		}
	}
	w.find(SignLogFault{line.Subject, fmt.Sprintf("attempt %d stands in the sign log, and nobody intended it", line.Attempt)})
	return nil
}

// read takes in the next intents; false at the end of the audit.
func (w *signLogWalk) read(tx *model.Tx) (bool, error) {
	rows, err := tx.AuditRows(w.seq, auditPage)
	if err != nil {
		return false, err
	}
	for _, row := range rows {
		w.seq = row.Seq
		if row.Act != actIntent && row.Act != actAdopt {
			continue
		}
		var d struct {
			lineName
			Digest string `json:"digest"`
		}
		if err := json.Unmarshal([]byte(row.Detail), &d); err != nil {
			return false, fmt.Errorf("audit row %d: %w", row.Seq, err)
		}
		d.Subject = row.Subject
		name := d.key()
		if _, twice := w.intents[name]; twice {
			w.find(SignLogFault{row.Subject, fmt.Sprintf("attempt %d was intended twice", d.Attempt)})
		}
		w.intents[name] = d.Digest
	}
	return len(rows) > 0, nil
}

// leftOver finds the intents that have no line.
func (w *signLogWalk) leftOver(tx *model.Tx) error {
	for more := true; more; {
		var err error
		if more, err = w.read(tx); err != nil {
			return err
		}
	}
	for name := range w.intents {
		var n lineName
		if err := json.Unmarshal([]byte(name), &n); err != nil {
			return err
		}
		line, err := tx.Signature(n.Owner, n.Function, n.Subject, n.Attempt)
		switch {
		case errors.Is(err, model.ErrNotFound):
			w.find(SignLogFault{n.Subject, fmt.Sprintf("attempt %d was intended, and has no line in the sign log", n.Attempt)})
		case err != nil:
			return err
		case line.ID <= w.line:
			w.find(SignLogFault{n.Subject, fmt.Sprintf("attempt %d was intended twice", n.Attempt)})
		}
	}
	return nil
}
