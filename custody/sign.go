package custody

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"

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
// that names another signer (ErrOwner) or that the key's post doesn't cover (ErrFunction). A consumer's key signs what
// he has asked for (Authorise), and nothing else (ErrUnauthorised).
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

	line, key, err := c.intend(ctx, ask, claim, body, req)
	if err != nil {
		return request.Signature{}, req, err
	}
	message := req.SigningBytes(line.KeyID, ask.NotAfter)
	bytes := gm.Signature(line.Signature)
	if bytes == nil {
		c.at(AtIntended)
		if bytes, err = c.make(ctx, key, message); err != nil {
			return request.Signature{}, req, err
		}
		c.at(AtSigned)
		if bytes, err = c.keep(ctx, line, bytes); err != nil {
			return request.Signature{}, req, err
		}
		c.at(AtKept)
		if c.metrics.Signed != nil {
			c.metrics.Signed(req.Function, c.clock().Sub(began))
		}
	}
	// What goes out is what the database says is the signature: look at it once more. The public key is the one whose
	// hash is the key ID in the signed bytes.
	public, err := gm.ParsePublicKey(key.Public)
	if err == nil && public.KeyID() == line.KeyID {
		err = gm.Verify(public, message, bytes)
	}
	if err != nil {
		return request.Signature{}, req, fmt.Errorf("stored signature of attempt %d: %w: %w", line.Attempt, ErrKeyUnreadable, err)
	}
	return request.Signature{KeyID: line.KeyID, NotAfter: ask.NotAfter, Bytes: bytes}, req, nil
}

// intend is the first transaction: it fixes key, deadline and digest of the attempt, or finds them fixed to the same.
//
// A crash before its commit leaves nothing. A crash after it leaves a line without a signature, and an audit row that
// says what was to be signed: whoever asks again gets past here with the same digest, and nobody with another one.
func (c *Custody) intend(ctx context.Context, ask Ask, claim claim, body request.Body, req request.Request) (line model.CustodySignature, key model.CustodyKey, err error) {
	var taken share
	write := func(tx *model.Tx) error {
		var fixed bool
		taken = share{}
		if line, key, fixed, err = c.attempt(tx, ask, claim, req); err != nil || fixed {
			return err
		}
		asked, err := c.asked(tx, key, ask, body)
		if err != nil {
			return err
		}
		if err := foreign(tx, key, body); err != nil {
			return err
		}
		if taken, err = c.admit(tx, key, req.Function); err != nil {
			return err
		}
		if line, err = tx.AddSignature(line); err != nil {
			return err
		}
		detail := map[string]any{
			"owner": line.Owner, "function": line.Purpose, "attempt": line.Attempt, "key": line.KeyID,
			"request": line.RequestID, "digest": line.Digest, "notAfter": int64(line.NotAfter),
		}
		if asked.Session != "" { // who asked, and by which login
			detail["session"], detail["loginAt"], detail["askedAt"] = asked.Session, int64(asked.LoginAt), int64(asked.AskedAt)
		}
		err = c.record(ctx, tx, entry{ask.Actor, actIntent, ask.Subject, detail})
		if err == nil {
			c.at(AtIntending)
		}
		return err
	}
	err = c.write(ctx, write)
	if errors.Is(err, model.ErrConflict) {
		// Someone wrote the line while we didn't hold the same key's lock: the key was replaced in between, or two of
		// the owner's keys were asked for one act. Now the line is there to be compared.
		err = c.write(ctx, write)
	}
	if err == nil {
		c.everybody.put(taken)
	}
	return line, key, err
}

// attempt checks all that can forbid the attempt, and answers its line: as it stands in the log (fixed), or as it is
// to be written.
func (c *Custody) attempt(tx *model.Tx, ask Ask, claim claim, req request.Request) (line model.CustodySignature, key model.CustodyKey, fixed bool, err error) {
	key, err = tx.LockNewestCustodyKey(ask.Owner, string(ask.Slot))
	if key, err = active(key, err, ask.Owner, ask.Slot); err != nil {
		return line, key, false, err
	}
	if err := permit(key, claim, req.Function); err != nil {
		return line, key, false, err
	}
	line, err = tx.Signature(ask.Owner, req.Function, ask.Subject, ask.Attempt)
	switch {
	case err == nil:
		key, err = c.resume(tx, ask, req, line, key)
		return line, key, true, err
	case !errors.Is(err, model.ErrNotFound):
		return line, key, false, err
	}
	if err := c.before(tx, ask, req.Function); err != nil {
		return line, key, false, err
	}
	if ask.NotAfter <= int64(c.now()) {
		return line, key, false, fmt.Errorf("%s: %w", req.Function, ErrExpired)
	}
	return model.CustodySignature{
		Owner: ask.Owner, Purpose: req.Function, Subject: ask.Subject, Attempt: ask.Attempt, KeyID: key.ID,
		Digest: digest(req, key.ID, ask.NotAfter), RequestID: req.ID(), NotAfter: model.Millis(ask.NotAfter), Actor: ask.Actor, CreatedAt: c.now(),
	}, key, false, nil
}

// permit says whether a key may sign this: as its post was when it was made, as the post is now, and as its owner.
func permit(key model.CustodyKey, claim claim, function string) error {
	public, err := keyOf(key)
	if err != nil {
		return err
	}
	duty, err := public.Post.duty()
	if err != nil {
		return err
	}
	if !slices.Contains(key.Functions, function) || !slices.Contains(duty.functions, function) {
		return fmt.Errorf("%s by the %s key of a %s: %w", function, key.Slot, key.Role, ErrFunction)
	}
	return claim.fits(public)
}

// resume compares the ask with the line that was written for its attempt. The line's key signs, even if it has been
// replaced since; but then it makes no new signature.
func (c *Custody) resume(tx *model.Tx, ask Ask, req request.Request, line model.CustodySignature, key model.CustodyKey) (model.CustodyKey, error) {
	if digest(req, line.KeyID, ask.NotAfter) != line.Digest {
		return key, fmt.Errorf("%s, attempt %d: %w", req.Function, ask.Attempt, ErrDigestConflict)
	}
	if line.KeyID != key.ID {
		var err error
		if key, err = tx.CustodyKey(line.KeyID); err != nil {
			return key, err
		}
		if line.Signature == nil && key.State == model.CustodyRotated {
			return key, fmt.Errorf("%s, attempt %d, custodial key %s: %w", req.Function, ask.Attempt, key.ID, ErrKeyReplaced)
		}
	}
	if line.Closed != model.AttemptOpen {
		return key, fmt.Errorf("%s, attempt %d, %s: %w", req.Function, ask.Attempt, line.Closed, ErrAttemptClosed)
	}
	switch {
	case line.Signature != nil:
		return key, nil
	case key.State != model.CustodyActive:
		return key, fmt.Errorf("custodial key %s is %s: %w", key.ID, key.State, ErrKeyNotActive)
	case ask.NotAfter <= int64(c.now()):
		return key, fmt.Errorf("%s: %w", req.Function, ErrExpired)
	}
	return key, nil
}

// before looks at the attempt before this one: it must be closed, or two signed requests for one act could both reach
// the ledger.
func (c *Custody) before(tx *model.Tx, ask Ask, function string) error {
	if ask.Attempt == 1 {
		return nil
	}
	last, err := tx.Signature(ask.Owner, function, ask.Subject, ask.Attempt-1)
	switch {
	case errors.Is(err, model.ErrNotFound):
		return fmt.Errorf("%s, attempt %d: %w", function, ask.Attempt-1, ErrAttemptUnknown)
	case err == nil && last.Closed == model.AttemptOpen:
		return fmt.Errorf("%s, attempt %d: %w", function, last.Attempt, ErrAttemptOpen)
	}
	return err
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

// keep is the second transaction: it stores the signature in the line, unless there is one. SM2 is randomised, so two
// workers make two signatures; the first stored is the one that goes out, from both. A crash before the commit throws
// the signature away before anyone has seen it; a crash after it leaves a line that Sign answers without signing.
func (c *Custody) keep(ctx context.Context, line model.CustodySignature, made gm.Signature) (kept gm.Signature, err error) {
	err = c.write(ctx, func(tx *model.Tx) error {
		kept = made
		if stored, err := tx.StoreSignatureOf(line.KeyID, line.ID, made, c.now()); err != nil || stored {
			return err
		}
		// A key that was stopped since the intent has signed for nothing.
		key, err := tx.LockCustodyKey(line.KeyID)
		if err != nil {
			return err
		}
		if key.State == model.CustodyRotated {
			return fmt.Errorf("custodial key %s: %w", key.ID, ErrKeyReplaced)
		}
		if key.State != model.CustodyActive {
			return fmt.Errorf("custodial key %s is %s: %w", key.ID, key.State, ErrKeyNotActive)
		}
		err = tx.StoreSignature(line.ID, made, c.now())
		if !errors.Is(err, model.ErrState) {
			return err
		}
		line, err := tx.Signature(line.Owner, line.Purpose, line.Subject, line.Attempt)
		if err == nil && line.Closed != model.AttemptOpen {
			err = fmt.Errorf("%s, attempt %d, %s: %w", line.Purpose, line.Attempt, line.Closed, ErrAttemptClosed)
		}
		kept = line.Signature
		return err
	})
	return kept, err
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
