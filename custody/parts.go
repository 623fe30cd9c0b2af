package custody

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// An import is asked for as a whole, an Issue of no lot: which cards it issues is known when its file has been read, and
// whoever sent it may have gone by then. As soon as they are known they are named here, once and for all: from then on each lot
// is authorised as if he had asked for it himself, and there are no others, whoever asks and whatever the web process's
// database says.

// Part is one act of what was asked for as a whole.
type Part struct {
	Subject string // the act: the whole's and more
	Rule    string
	Lot     string
}

// partsWithin is how long after somebody asked for a whole its parts may be named: longer than a file waits to be read.
const partsWithin = 25 * time.Hour

// AuthoriseParts names the lots of what was asked for as a whole, on these terms, an Issue of no lot. Each may be signed
// until the whole may. Named twice they are the same; others are refused, as is what comes too late. It works while custody is
// sealed. Errors: ErrUnauthorised, ErrLoginForged, ErrAsk.
//
// All of it is one transaction: after a crash either all lots are named or none.
func (c *Custody) AuthoriseParts(ctx context.Context, asked string, terms request.Issue, parts []Part) error {
	err := c.authoriseParts(ctx, asked, terms, parts)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("authorise the parts of %s: %w", terms.Carrier, err)
	ask := Ask{Owner: terms.Carrier, Slot: Account, Subject: asked, Attempt: 1, NotAfter: int64(c.now()) + partsWithin.Milliseconds(), Actor: "relay"}
	return c.refuse(ctx, ask, terms.Function(), err)
}

func (c *Custody) authoriseParts(ctx context.Context, asked string, terms request.Issue, parts []Part) error {
	named := make([]string, 0, 1+3*len(parts))
	named = append(named, "cardflow/custody/parts/1")
	for _, p := range parts {
		if !strings.HasPrefix(p.Subject, asked+"-") || !printable.MatchString(p.Subject) || p.Lot == "" {
			return fmt.Errorf("a part has a lot, and a name that begins with the whole's: %w", ErrAsk)
		}
		named = append(named, p.Subject, p.Rule, p.Lot)
	}
	sum := gm.SM3(bind(named...))
	err := c.nameParts(ctx, asked, terms, parts, hex.EncodeToString(sum[:]))
	if errors.Is(err, model.ErrConflict) { // the other of two at once has just named them: this one finds that
		err = c.nameParts(ctx, asked, terms, parts, hex.EncodeToString(sum[:]))
	}
	if errors.Is(err, model.ErrConflict) {
		err = fmt.Errorf("one of them is something else: %w: %w", ErrAuthorisationConflict, err)
	}
	return err
}

func (c *Custody) nameParts(ctx context.Context, asked string, terms request.Issue, parts []Part, digest string) error {
	return c.db.Write(ctx, func(tx *model.Tx) error {
		whole, err := tx.CustodyAuthorisation(terms.Carrier, terms.Function(), asked)
		switch {
		case errors.Is(err, model.ErrNotFound):
			return ErrUnauthorised
		case err != nil:
			return err
		}
		if err := c.tagged(whole.Tag, authorisationFields(whole)...); err != nil {
			return err
		}
		terms.Rule, terms.Lot = "", ""
		if whole.Digest != c.wanted(terms) {
			return fmt.Errorf("on other terms: %w", ErrUnauthorised)
		}
		// One row says which they are.
		all := whole
		all.Subject, all.Digest = asked+".parts", digest
		before, err := tx.CustodyAuthorisation(all.Owner, all.Function, all.Subject)
		switch {
		case err == nil && before.Digest == digest:
			return c.tagged(before.Tag, authorisationFields(before)...)
		case err == nil:
			return fmt.Errorf("others were named: %w", ErrUnauthorised)
		case !errors.Is(err, model.ErrNotFound):
			return err
		case c.now() > whole.AskedAt+model.Millis(partsWithin.Milliseconds()), whole.NotAfter <= c.now():
			return fmt.Errorf("asked for too long ago: %w", ErrUnauthorised)
		}
		rows := make([]model.CustodyAuthorisation, 0, len(parts)+1)
		for _, p := range parts {
			row, lot := whole, terms
			lot.Rule, lot.Lot = p.Rule, p.Lot
			row.Subject, row.Digest = p.Subject, c.wanted(lot)
			rows = append(rows, row)
		}
		rows = append(rows, all)
		for i := range rows {
			if rows[i].Tag, err = c.tag(authorisationFields(rows[i])...); err != nil {
				return err
			}
		}
		return tx.AddCustodyAuthorisations(rows)
	})
}
