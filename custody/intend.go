package custody

import (
	"context"
	"fmt"
	"slices"

	"cardflow/ledger/request"
	"cardflow/model"
)

// An intent is what is written down before anything is signed: which key signs which bytes for which attempt at which act.
// Those that come at the same moment are written together, in one transaction and by the same few statements: what they are
// judged by is read for all of them, each is judged by himself, and what stands then is written for all.

// intent is one who wants a signature.
type intent struct {
	ctx  context.Context
	ask  Ask
	body request.Body
	req  request.Request
	claim

	line model.CustodySignature // what is to be signed
	key  model.CustodyKey       // by whom
	err  error
}

// act is what the intent is an attempt at.
func (i *intent) act() model.SignedAct {
	return model.SignedAct{Owner: i.ask.Owner, Function: i.req.Function, Subject: i.ask.Subject}
}

// place is where the key is that is to sign.
func (i *intent) place() model.CustodyPlace {
	return model.CustodyPlace{Owner: i.ask.Owner, Slot: string(i.ask.Slot)}
}

// intend is the first transaction: it fixes key, deadline and digest of the attempt, or finds them fixed to the same.
//
// A crash before its commit leaves nothing. A crash after it leaves a line without a signature, and an audit row that
// says what was to be signed: whoever asks again gets past here with the same digest, and nobody with another one.
func (c *Custody) intend(i *intent) error {
	i.err = errUnserved
	c.steps.Do(step{intent: i})
	return i.err
}

// judgement is what intents are judged by, as it stands in the database, and what is to be written of them.
type judgement struct {
	c  *Custody
	tx *model.Tx

	keys   map[model.CustodyPlace]model.CustodyKey
	lines  map[model.SignedAct][]model.CustodySignature
	asked  map[model.SignedAct]model.CustodyAuthorisation
	usage  map[model.CustodyPlace]model.Usage
	quotas map[string]int64
	taken  share // of what all keys may sign, and not used yet

	verdicts []error // of each: told after the commit, and not before

	added   []model.CustodySignature
	used    map[model.CustodyPlace]bool // whose usage has changed
	entries []entry
}

// judge says of each intent what is to come of it: an error, a line as it stands in the log, or one that is to be written.
func (c *Custody) judge(tx *model.Tx, some []*intent) (*judgement, error) {
	j := &judgement{c: c, tx: tx, verdicts: make([]error, len(some)), used: map[model.CustodyPlace]bool{}}
	if len(some) == 0 {
		return j, nil
	}
	if err := j.read(some); err != nil {
		return nil, err
	}
	for n, i := range some {
		err := j.one(i)
		if _, said := codeOf(err); err != nil && !said {
			return nil, err // nothing was decided, and the transaction may be gone
		}
		j.verdicts[n] = err
	}
	return j, nil
}

// read fetches what the intents are judged by.
func (j *judgement) read(some []*intent) (err error) {
	owners := distinct(some, func(i *intent) string { return i.ask.Owner })
	acts := distinct(some, (*intent).act)
	if j.keys, err = j.tx.LockNewestCustodyKeys(owners); err != nil {
		return err
	}
	if j.lines, err = j.tx.SignaturesOf(acts); err != nil {
		return err
	}
	people := slices.DeleteFunc(slices.Clone(some), func(i *intent) bool { return ofItself(j.keys[i.place()], i.req.Function) })
	if len(people) > 0 {
		if j.asked, err = j.tx.CustodyAuthorisations(distinct(people, (*intent).act)); err != nil {
			return err
		}
	}
	if j.c.unguarded {
		return nil
	}
	if j.usage, err = j.tx.LockUsages(owners); err != nil {
		return err
	}
	names := []string{everybodyQuota}
	for _, key := range j.keys {
		p := Post{key.Owner, request.Role(key.Role), Slot(key.Slot)}
		names = append(names, ownerQuota(p), roleQuota(p))
	}
	slices.Sort(names)
	j.quotas, err = quotasSet(j.tx, slices.Compact(names))
	return err
}

// distinct lists what some have, each once.
func distinct[T comparable](some []*intent, of func(*intent) T) []T {
	seen := map[T]bool{}
	var list []T
	for _, i := range some {
		if v := of(i); !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	}
	return list
}

// one judges one intent.
func (j *judgement) one(i *intent) error {
	fixed, err := j.attempt(i)
	if err != nil || fixed {
		return err
	}
	asked, err := j.c.asked(j.asked, i)
	if err != nil {
		return err
	}
	if err := foreign(j.tx, i.key, i.body); err != nil {
		return err
	}
	if err := j.c.founding(i.body); err != nil {
		return err
	}
	if err := ordered(j.tx, i.body); err != nil {
		return err
	}
	if err := j.admit(i.key, i.req.Function); err != nil {
		return err
	}
	j.added = append(j.added, i.line)
	detail := map[string]any{
		"owner": i.line.Owner, "function": i.line.Purpose, "attempt": i.line.Attempt, "key": i.line.KeyID,
		"request": i.line.RequestID, "digest": i.line.Digest, "notAfter": int64(i.line.NotAfter),
	}
	if asked.Session != "" { // who asked, and by which login
		detail["session"], detail["loginAt"], detail["askedAt"] = asked.Session, int64(asked.LoginAt), int64(asked.AskedAt)
	}
	j.entries = append(j.entries, entry{i.ask.Actor, actIntent, i.ask.Subject, detail})
	return nil
}

// write writes what has come of all.
func (j *judgement) write(ctx context.Context) error {
	if len(j.added) == 0 {
		return nil
	}
	used := make([]model.Usage, 0, len(j.used))
	for place := range j.used {
		used = append(used, j.usage[place])
	}
	if err := j.tx.SaveUsages(used); err != nil {
		return err
	}
	if err := j.tx.AddSignatures(j.added); err != nil {
		return err
	}
	err := j.c.record(ctx, j.tx, j.entries...)
	if err == nil {
		j.c.at(AtIntending)
	}
	return err
}

// attempt checks all that can forbid the attempt, and gives the intent its line: as it stands in the log (fixed), or as it
// is to be written.
func (j *judgement) attempt(i *intent) (fixed bool, err error) {
	key, known := j.keys[i.place()]
	if !known {
		err = model.ErrNotFound
	}
	if i.key, err = active(key, err, i.ask.Owner, i.ask.Slot); err != nil {
		return false, err
	}
	if err := permit(i.key, i.claim, i.req.Function); err != nil {
		return false, err
	}
	ask := i.ask
	lines := j.lines[i.act()]
	if n := slices.IndexFunc(lines, func(l model.CustodySignature) bool { return l.Attempt == ask.Attempt }); n >= 0 {
		i.line = lines[n]
		return true, j.resume(i)
	}
	if err := before(lines, ask, i.req.Function); err != nil {
		return false, err
	}
	if ask.NotAfter <= int64(j.c.now()) {
		return false, fmt.Errorf("%s: %w", i.req.Function, ErrExpired)
	}
	i.line = model.CustodySignature{
		Owner: ask.Owner, Purpose: i.req.Function, Subject: ask.Subject, Attempt: ask.Attempt, KeyID: i.key.ID,
		Digest: digest(i.req, i.key.ID, ask.NotAfter), RequestID: i.req.ID(), NotAfter: model.Millis(ask.NotAfter), Actor: ask.Actor, CreatedAt: j.c.now(),
	}
	return false, nil
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
func (j *judgement) resume(i *intent) error {
	line, ask := i.line, i.ask
	if digest(i.req, line.KeyID, ask.NotAfter) != line.Digest {
		return fmt.Errorf("%s, attempt %d: %w", i.req.Function, ask.Attempt, ErrDigestConflict)
	}
	if line.KeyID != i.key.ID {
		var err error
		if i.key, err = j.tx.CustodyKey(line.KeyID); err != nil {
			return err
		}
		if line.Signature == nil && i.key.State == model.CustodyRotated {
			return fmt.Errorf("%s, attempt %d, custodial key %s: %w", i.req.Function, ask.Attempt, i.key.ID, ErrKeyReplaced)
		}
	}
	if line.Closed != model.AttemptOpen {
		return fmt.Errorf("%s, attempt %d, %s: %w", i.req.Function, ask.Attempt, line.Closed, ErrAttemptClosed)
	}
	switch {
	case line.Signature != nil:
		return nil
	case i.key.State != model.CustodyActive:
		return fmt.Errorf("custodial key %s is %s: %w", i.key.ID, i.key.State, ErrKeyNotActive)
	case ask.NotAfter <= int64(j.c.now()):
		return fmt.Errorf("%s: %w", i.req.Function, ErrExpired)
	}
	return nil
}

// before looks at the attempt before this one: it must be closed, or two signed requests for one act could both reach
// the ledger.
func before(lines []model.CustodySignature, ask Ask, function string) error {
	if ask.Attempt == 1 {
		return nil
	}
	n := slices.IndexFunc(lines, func(l model.CustodySignature) bool { return l.Attempt == ask.Attempt-1 })
	switch {
	case n < 0:
		return fmt.Errorf("%s, attempt %d: %w", function, ask.Attempt-1, ErrAttemptUnknown)
	case lines[n].Closed == model.AttemptOpen:
		return fmt.Errorf("%s, attempt %d: %w", function, lines[n].Attempt, ErrAttemptOpen)
	}
	return nil
}
