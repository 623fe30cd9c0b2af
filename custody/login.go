package custody

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Custody knows by itself who is logged in: it made the token, and keeps its digest. Whoever relays people's requests to it
// shows the token that he was shown, and has nothing to show for those who aren't there.
//
// The rows of logins and authorisations carry a tag under a key that doesn't hang from the root: people log in, and ask,
// while custody is sealed.

// LoginToken is what a client shows to prove a login: 256 random bits.
type LoginToken string

// Format keeps tokens out of everything that is printed; string(t) is the value.
func (LoginToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// tokenBytes is how many random bytes a token has.
const tokenBytes = 32

// digest is what the database has of a token; empty if it can't be one.
func (t LoginToken) digest() string {
	if raw, err := base64.RawURLEncoding.DecodeString(string(t)); err != nil || len(raw) != tokenBytes {
		return ""
	}
	sum := sha256.Sum256([]byte(t))
	return hex.EncodeToString(sum[:])
}

// Login is somebody who has shown who he is.
type Login struct {
	Participant string
	Role        request.Role
	Person      string // of staff; consumers: ""
}

// Session is a login, and the token that proves it.
type Session struct {
	Login
	Token     LoginToken // of a session that was only looked up: ""
	LoginAt   time.Time
	ExpiresAt time.Time
}

// LogIn opens a session for somebody who has just shown who he is, and answers its token: nobody else knows it.
func (c *Custody) LogIn(ctx context.Context, who Login, life time.Duration) (Session, error) {
	if !participantID.MatchString(who.Participant) || life <= 0 {
		return Session{}, fmt.Errorf("log in: %w", ErrAsk)
	}
	raw := make([]byte, tokenBytes)
	if _, err := io.ReadFull(c.random, raw); err != nil {
		return Session{}, fmt.Errorf("log in: %w: %w", gm.ErrRandom, err)
	}
	now := c.clock()
	s := Session{Login: who, Token: LoginToken(base64.RawURLEncoding.EncodeToString(raw)), LoginAt: now.UTC(), ExpiresAt: now.UTC().Add(life).Truncate(time.Second)}
	row := model.CustodySession{
		Digest: s.Token.digest(), Participant: who.Participant, Role: string(who.Role), Person: who.Person,
		LoginAt: model.MillisOf(s.LoginAt), ExpiresAt: model.MillisOf(s.ExpiresAt),
	}
	var err error
	if row.Tag, err = c.tag(sessionFields(row)...); err == nil {
		err = c.db.WriteTogether(ctx, func(tx *model.Tx) error { return tx.AddCustodySession(row) })
	}
	if err != nil {
		return Session{}, fmt.Errorf("log in: %w", err)
	}
	return s, nil
}

// LogOut ends a session. One that is over already is no error.
func (c *Custody) LogOut(ctx context.Context, token LoginToken) error {
	digest := token.digest()
	if digest == "" {
		return nil
	}
	return c.db.WriteTogether(ctx, func(tx *model.Tx) error { return tx.EndCustodySession(digest) })
}

// LogOutPerson ends all sessions of a member of staff.
func (c *Custody) LogOutPerson(ctx context.Context, person string) error {
	return c.db.WriteTogether(ctx, func(tx *model.Tx) error { return tx.EndCustodySessionsOf(person) })
}

// Session answers who is logged in with a token. Errors: ErrSessionOver.
func (c *Custody) Session(ctx context.Context, token LoginToken) (s Session, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		row, err := c.session(tx, token)
		s = Session{
			Login:   Login{Participant: row.Participant, Role: request.Role(row.Role), Person: row.Person},
			LoginAt: row.LoginAt.Time(), ExpiresAt: row.ExpiresAt.Time(),
		}
		return err
	})
	return s, err
}

func (c *Custody) session(tx *model.Tx, token LoginToken) (model.CustodySession, error) {
	digest := token.digest()
	if digest == "" {
		return model.CustodySession{}, fmt.Errorf("no token: %w", ErrSessionOver)
	}
	row, err := tx.CustodySession(digest)
	if errors.Is(err, model.ErrNotFound) {
		return row, ErrSessionOver
	}
	if err != nil {
		return row, err
	}
	if err := c.tagged(row.Tag, sessionFields(row)...); err != nil {
		return row, fmt.Errorf("session of %s: %w", row.Participant, err)
	}
	if row.ExpiresAt <= c.now() {
		return row, fmt.Errorf("of %s: %w", row.Participant, ErrSessionOver)
	}
	return row, nil
}

func sessionFields(s model.CustodySession) []string {
	return []string{"session", s.Digest, s.Participant, s.Role, s.Person, number(s.LoginAt), number(s.ExpiresAt)}
}

func number(n model.Millis) string { return strconv.FormatInt(int64(n), 10) }

// tag is the keyed hash of a row's fields.
func (c *Custody) tag(fields ...string) ([]byte, error) {
	if len(c.stamp()) == 0 {
		return nil, errors.New("custody was opened without the key that logins are stamped with")
	}
	sum := gm.HMAC(c.stamp(), parts(fields)...)
	return sum[:], nil
}

// tagged says whether custody wrote a row. ErrLoginForged: somebody else did.
func (c *Custody) tagged(tag []byte, fields ...string) error {
	want, err := c.tag(fields...)
	if err == nil && !hmac.Equal(want, tag) {
		err = ErrLoginForged
	}
	return err
}

func parts(fields []string) [][]byte {
	out := make([][]byte, len(fields))
	for i, f := range fields {
		out[i] = []byte(f)
	}
	return out
}

// keepLogins is how long what is over stays, in case that somebody asks.
const keepLogins = 24 * time.Hour

// forgetLogins deletes logins and authorisations that have been over for a while.
func (c *Custody) forgetLogins(ctx context.Context) error {
	before := c.now() - model.Millis(keepLogins.Milliseconds())
	return c.db.Write(ctx, func(tx *model.Tx) error {
		return errors.Join(tx.ForgetCustodyLogins(before), tx.ForgetErasureSessions(before))
	})
}

// steppedUp are the functions for which a login must be younger than for others, where the platform wants that: with them
// cards change hands, or he ceases to be anybody. A token that was stolen from a phone is of no use for them, as who has it can't
// log in to WeChat.
var steppedUp = []string{"Confirm", "Return", functionErase}

// ageFor is how old a consumer's login may be when he asks for a function; 0 means any.
func (c *Custody) ageFor(function string) time.Duration {
	if c.stepUpAge > 0 && slices.Contains(steppedUp, function) {
		return c.stepUpAge
	}
	return c.loginAge
}

// age says whether a consumer's login is young enough, at most so old, for what he asks now.
func (c *Custody) age(most time.Duration, role string, loginAt, askedAt model.Millis) error {
	if most == 0 || role != string(request.Consumer) {
		return nil
	}
	age, now := int64(askedAt-loginAt), c.now()
	if age > most.Milliseconds() || age < -skew.Milliseconds() || askedAt > now+model.Millis(skew.Milliseconds()) {
		return fmt.Errorf("asked %d ms after the login: %w", age, ErrLoginOld)
	}
	return nil
}

// actorOf is who is named in the audit.
func actorOf(s model.CustodySession) string { return cmp.Or(s.Person, s.Participant, "nobody") }
