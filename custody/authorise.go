package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardflow/ledger/request"
	"cardflow/model"
)

// An authorisation says that somebody asked for something while he was logged in. It is stored before his act is accepted,
// is bound to the request, and outlives his session: an act may wait long for its signature. Without one no key signs for a
// person or an organisation, whoever asks.

// Authorise stores that whoever shows a token asks for a request, as the act that has this subject, and that it may be
// signed until notAfter (ms). Left open is what depends on how his cards stand when its turn comes (see wanted), and of an
// import, which is asked for as an Issue of no lot, which cards its file names: see AuthoriseParts. Asked twice it is one
// authorisation. It works while custody is sealed.
//
// Errors: ErrSessionOver, ErrLoginOld, ErrBody, ErrOwner, ErrFunction, ErrTwoPeople, ErrExpired, ErrAuthorisationConflict if
// something else was asked for under this subject.
func (c *Custody) Authorise(ctx context.Context, token LoginToken, subject string, body request.Body, notAfter int64) error {
	s, err := c.staffSession(ctx, token)
	function := ""
	if err == nil {
		function, err = c.authorise(ctx, s, subject, body, notAfter)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("authorise: %w", err)
	return c.refuse(ctx, Ask{Owner: s.Participant, Slot: Account, Subject: subject, Attempt: 1, NotAfter: notAfter, Actor: actorOf(s)}, function, err)
}

// staffSession finds the session that a token opens, and of staff whether they still serve.
func (c *Custody) staffSession(ctx context.Context, token LoginToken) (s model.CustodySession, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		if s, err = c.session(tx, token); err != nil || s.Role == string(request.Consumer) {
			return err
		}
		return serving(tx, s)
	})
	return s, err
}

// serving says why a member of staff may ask for nothing in the name of his organisation, whatever session he has: he is
// disabled, or isn't there to trade.
func serving(tx *model.Tx, s model.CustodySession) error {
	p, err := tx.Person(s.Person)
	switch {
	case errors.Is(err, model.ErrNotFound), err == nil && (p.State != model.PersonActive || p.MustChange || p.ParticipantID != s.Participant):
		return fmt.Errorf("person %s: %w", s.Person, ErrSessionOver)
	case err == nil && !slices.Contains(p.Roles, s.Role):
		return fmt.Errorf("person %s of a %s: %w", s.Person, s.Role, ErrFunction)
	}
	return err
}

func (c *Custody) authorise(ctx context.Context, s model.CustodySession, subject string, body request.Body, notAfter int64) (string, error) {
	claim, ok := claimOf(body)
	if !ok {
		return "", fmt.Errorf("%T: %w", body, ErrBody)
	}
	function := body.Function()
	switch {
	case function == publishing:
		return function, fmt.Errorf("%s of a key that nobody has named: %w", function, ErrFunction) // see AuthoriseDevice
	case claim.named && claim.signer != s.Participant:
		return function, ErrOwner
	}
	return function, c.storeAsked(ctx, s, function, subject, c.wanted(body), notAfter)
}

// storeAsked stores what is asked for, by its digest, as somebody whose post's key may sign it.
func (c *Custody) storeAsked(ctx context.Context, s model.CustodySession, function, subject, digest string, notAfter int64) error {
	switch {
	case !printable.MatchString(subject):
		return fmt.Errorf("an authorisation has a subject: %w", ErrAsk)
	case notAfter <= int64(c.now()):
		return fmt.Errorf("%s: %w", function, ErrExpired)
	}
	duty, err := Post{Owner: s.Participant, Role: request.Role(s.Role), Slot: Account}.duty()
	switch {
	case err != nil:
		return err
	case !slices.Contains(duty.functions, function):
		return fmt.Errorf("%s by a %s: %w", function, s.Role, ErrFunction)
	case slices.Contains(ofTwo, function):
		return fmt.Errorf("%s by one person of %s: %w", function, s.Participant, ErrTwoPeople)
	}
	row := model.CustodyAuthorisation{
		Owner: s.Participant, Function: function, Subject: subject, Digest: digest, Session: s.Digest,
		LoginAt: s.LoginAt, AskedAt: c.now(), NotAfter: model.Millis(notAfter),
	}
	if err := c.age(c.ageFor(function), s.Role, row.LoginAt, row.AskedAt); err != nil {
		return err
	}
	if row.Tag, err = c.tag(authorisationFields(row)...); err != nil {
		return err
	}
	err = c.db.WriteTogether(ctx, func(tx *model.Tx) error { return tx.AddCustodyAuthorisation(row) })
	if !errors.Is(err, model.ErrConflict) {
		return err
	}
	return c.db.Read(ctx, func(tx *model.Tx) error {
		before, err := tx.CustodyAuthorisation(row.Owner, function, subject)
		if err == nil && before.Digest != row.Digest {
			err = ErrAuthorisationConflict
		}
		return err
	})
}

// ofTwo are the functions that two people want, or nobody: what they want is an operation (dangerous.go), whose execution
// stores the authorisation, in the name of the proposal.
var ofTwo = []string{"Unfreeze", "UnfreezeParticipant"}

// byTwo begins what stands in an authorisation in the place of a session, where two people have asked.
const byTwo = "proposal/"

// wanted is the digest of what of a request is its signer's to decide. What depends on how his cards stand when its turn
// comes is left open; the ledger looks after it that it comes to the same cards.
func (c *Custody) wanted(body request.Body) string {
	switch b := body.(type) {
	case request.Return:
		b.Offer = request.Offer{Seller: b.Seller, Mode: b.Mode, Receiver: b.Receiver}
		body = b
	case request.Offer: // which cards, to whom, for how long; not out of which of his lots
		o := request.Offer{Seller: b.Seller, Mode: b.Mode, Receiver: b.Receiver, ExpiresAt: b.ExpiresAt - b.OfferedAt}
		for _, out := range b.Outputs {
			o.Outputs = append(o.Outputs, request.Output{Lot: out.Lot})
		}
		body = o
	case request.Merge: // the new name of the same cards
		body = request.Merge{Owner: b.Owner, Inputs: b.Inputs}
	case request.Freeze:
		b.Version = 0
		body = b
	case request.Unfreeze:
		b.Version = 0
		body = b
	case request.Retire:
		b.Version = 0
		body = b
	case request.UnfreezeParticipant:
		b.Version = 0
		body = b
	case request.PublishKey: // which key, for what; not after which of his others
		b.Version = 0
		body = b
	case request.SuspendKey:
		b.Version = 0
		body = b
	case request.RevokeKey:
		b.Version = 0
		body = b
	case request.Approve:
		b.Version = 0
		body = b
	case request.RevokeApproval:
		b.Version = 0
		body = b
	}
	return request.New(c.channel, body).ID()
}

func authorisationFields(a model.CustodyAuthorisation) []string {
	return []string{"authorisation", a.Owner, a.Function, a.Subject, a.Digest, a.Session, number(a.LoginAt), number(a.AskedAt), number(a.NotAfter)}
}

// asked finds the authorisation by which a key is to sign. What the system signs of itself needs none.
// Errors: ErrUnauthorised, ErrLoginForged, ErrLoginOld.
func (c *Custody) asked(all map[model.SignedAct]model.CustodyAuthorisation, i *intent) (model.CustodyAuthorisation, error) {
	function, owner := i.req.Function, i.ask.Owner
	if ofItself(i.key, function) {
		return model.CustodyAuthorisation{}, nil
	}
	a, ok := all[i.act()]
	if !ok {
		return a, fmt.Errorf("%s for %s: %w", function, owner, ErrUnauthorised)
	}
	if err := c.tagged(a.Tag, authorisationFields(a)...); err != nil {
		return a, fmt.Errorf("authorisation of %s: %w", owner, err)
	}
	if slices.Contains(ofTwo, function) && !strings.HasPrefix(a.Session, byTwo) { // by one, of before it took two
		return a, fmt.Errorf("%s for %s: %w", function, owner, ErrUnauthorised)
	}
	if a.Digest != c.wanted(i.body) {
		return a, fmt.Errorf("%s for %s: something else was asked for: %w", function, owner, ErrUnauthorised)
	}
	if a.NotAfter <= c.now() {
		return a, fmt.Errorf("%s for %s: asked for too long ago: %w", function, owner, ErrUnauthorised)
	}
	return a, c.age(c.loginAge, i.key.Role, a.LoginAt, a.AskedAt)
}
