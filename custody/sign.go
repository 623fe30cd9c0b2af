package custody

import (
	"context"
	"encoding/hex"
	"fmt"
	"regexp"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Ask says for whom, for which act and until when a signature is wanted.
type Ask struct {
	Owner    string // participant whose key signs
	Slot     Slot
	Subject  string // the act: the same for each attempt at it, and for nothing else of this owner and function
	Attempt  int    // from 1; the next one only after CloseAttempt
	NotAfter int64  // ms since 1970: the ledger takes the signature until then
	Actor    string // session or job that asks, for the audit
}

// printable is what subjects and actors are made of: they stand in the audit.
var printable = regexp.MustCompile(`^[!-~]{1,128}$`)

func (a Ask) check() error {
	if !participantID.MatchString(a.Owner) || !printable.MatchString(string(a.Slot)) || !printable.MatchString(a.Subject) ||
		a.Attempt < 1 || a.NotAfter <= 0 || !printable.MatchString(a.Actor) {
		return fmt.Errorf("an ask has owner, slot, subject, attempt, deadline and actor: %w", ErrAsk)
	}
	return nil
}

// Sign signs a request of the ask's owner with the key in the ask's slot, and answers the signature and the request as
// it was signed. body is one of the request types, by value; anything else is refused (ErrBody), and so is a request
// that names another signer (ErrOwner) or that the key's post doesn't cover (ErrFunction). What people ask for is signed as
// they have asked for it (Authorise), and nothing else (ErrUnauthorised); what the system signs of itself is a short list.
//
// It may be asked again after any failure, with the same ask and body: it goes on where it was, and there is only ever
// one signature for an attempt. Another body or deadline for the same attempt is ErrDigestConflict. An error that is
// no *Error decided nothing.
//
// Sign takes as long as two database transactions, and more the more others sign: call it from a worker.
func (c *Custody) Sign(ctx context.Context, ask Ask, body request.Body) (request.Signature, request.Request, error) {
	if err := c.reconciledYet(ctx); err != nil {
		return request.Signature{}, request.Request{}, fmt.Errorf("sign: %w", err) // and nothing is written into an audit that is not up to date
	}
	sig, req, err := c.sign(ctx, ask, body)
	if err != nil {
		return request.Signature{}, request.Request{}, c.refuse(ctx, ask, req.Function, fmt.Errorf("sign: %w", err))
	}
	return sig, req, nil
}

func (c *Custody) sign(ctx context.Context, ask Ask, body request.Body) (request.Signature, request.Request, error) {
	began := c.clock()
	claim, ok := claimOf(body)
	if !ok {
		return request.Signature{}, request.Request{}, fmt.Errorf("%T: %w", body, ErrBody)
	}
	req := request.New(c.channel, body)
	if len(req.Args) > request.MaxArgs {
		return request.Signature{}, req, fmt.Errorf("%s of %d bytes: %w", req.Function, len(req.Args), ErrBody)
	}
	if err := ask.check(); err != nil {
		return request.Signature{}, req, err
	}

	i := &intent{ctx: ctx, ask: ask, body: body, req: req, claim: claim}
	if err := c.intend(i); err != nil {
		return request.Signature{}, req, err
	}
	line := i.line
	message := req.SigningBytes(line.KeyID, ask.NotAfter)
	bytes := gm.Signature(line.Signature)
	var made gm.Signature
	if bytes == nil {
		var err error
		c.at(AtIntended)
		if made, err = c.make(ctx, i.key, message); err != nil {
			return request.Signature{}, req, err
		}
		c.at(AtSigned)
		if bytes, err = c.keep(ctx, line, made); err != nil {
			return request.Signature{}, req, err
		}
		c.at(AtKept)
		if c.metrics.Signed != nil {
			c.metrics.Signed(req.Function, c.clock().Sub(began))
		}
	}
	if !own(made, bytes) {
		// It comes from the database: look at it once more. The public key is the one whose hash is the key ID in the
		// signed bytes.
		public, err := gm.ParsePublicKey(i.key.Public)
		if err == nil && public.KeyID() == line.KeyID {
			err = gm.Verify(public, message, bytes)
		}
		if err != nil {
			return request.Signature{}, req, fmt.Errorf("stored signature of attempt %d: %w: %w", line.Attempt, ErrKeyUnreadable, err)
		}
	}
	return request.Signature{KeyID: line.KeyID, NotAfter: ask.NotAfter, Bytes: bytes}, req, nil
}

// make opens the key, signs (gm verifies with the other implementation) and clears the key. A crash here leaves what a
// crash after intend leaves.
func (c *Custody) make(ctx context.Context, row model.CustodyKey, message []byte) (gm.Signature, error) {
	key, err := c.open(ctx, row)
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	return key.Sign(c.random, message)
}

func digest(req request.Request, keyID string, notAfter int64) string {
	sum := gm.SM3(req.SigningBytes(keyID, notAfter))
	return hex.EncodeToString(sum[:])
}

// refuse records a refusal before anyone hears of it. What is no *Error is none: nothing was decided.
func (c *Custody) refuse(ctx context.Context, ask Ask, function string, cause error) error {
	e, ok := codeOf(cause)
	if !ok {
		return cause
	}
	detail := map[string]any{"code": e.Code}
	if ask.check() == nil { // else its names could be anything
		detail["owner"], detail["slot"], detail["attempt"] = ask.Owner, ask.Slot, ask.Attempt
	} else {
		ask.Actor, ask.Subject = "", ""
	}
	if function != "" {
		detail["function"] = function
	}
	if c.metrics.Refused != nil {
		c.metrics.Refused(e.Code)
	}
	if unable(e) {
		if alarming[e] {
			c.alarm(e, "owner", detail["owner"], "function", function, "attempt", ask.Attempt, "actor", ask.Actor)
		}
		return cause // no record can be made
	}
	// Whoever hangs up isn't let off.
	ctx = context.WithoutCancel(ctx)
	said := false
	err := c.write(ctx, func(tx *model.Tx) (err error) {
		if said, err = c.saidBefore(tx, e, ask); err != nil || said {
			return err
		}
		if e == ErrUnusual {
			if err := c.stopKey(ctx, tx, ask.Owner, ask.Slot); err != nil {
				return err
			}
		}
		return c.record(ctx, tx, entry{ask.Actor, actRefuse, ask.Subject, detail})
	})
	if alarming[e] && !said {
		c.alarm(e, "owner", detail["owner"], "function", function, "attempt", ask.Attempt, "actor", ask.Actor)
	}
	if err != nil {
		return fmt.Errorf("%w: while refusing: %w", err, cause)
	}
	return cause
}
