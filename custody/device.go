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

// An organisation's account key publishes keys of its terminals, and no others. Somebody who works there asks for it before
// the terminal has shown its key: what he asks for is one device, which may sign what devices sign. The first key that is named
// for it is bound to it; whoever has taken over the web process by then can name one of his own, once for each ticket, and
// for nothing but that.

// deviceFunctions are those that a terminal's key may sign, in the order in which they stand on the ledger.
var deviceFunctions = []string{"Cancel", "Confirm", "Decline", "Merge", "Offer", "Return", "RevokeKey", "RotateKey", "SuspendKey"}

// namedDevice is what the act is called that publishes the key of a device which was asked for under a name.
func namedDevice(asked string) string { return asked + "-key" }

// AuthoriseDevice stores that whoever shows a token asks for one device of his organisation: under this name its key may be
// named within a day (NameDevice), and published until notAfter (ms). It authorises nothing by itself. It works while custody
// is sealed. Errors: those of Authorise.
func (c *Custody) AuthoriseDevice(ctx context.Context, token LoginToken, asked string, notAfter int64) error {
	s, err := c.staffSession(ctx, token)
	if err == nil {
		err = c.storeAsked(ctx, s, publishing, asked, c.anyDevice(s.Participant), notAfter)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("authorise a device: %w", err)
	return c.refuse(ctx, Ask{Owner: s.Participant, Slot: Account, Subject: asked, Attempt: 1, NotAfter: notAfter, Actor: actorOf(s)}, publishing, err)
}

var publishing = request.PublishKey{}.Function()

// anyDevice is the digest of what is asked for while there is no key: no request has it.
func (c *Custody) anyDevice(owner string) string {
	sum := gm.SM3(bind(append([]string{"cardflow/custody/device/1", c.channel, owner}, deviceFunctions...)...))
	return hex.EncodeToString(sum[:])
}

// NameDevice names the key of the device that was asked for under this name: from then on it may be published, as the act
// that is named after that, and no other. Named twice it is the same. It works while custody is sealed. Errors: ErrBody if it
// is no device's key; ErrUnauthorised if nobody asked, or too long ago, or another one was named; ErrLoginForged.
func (c *Custody) NameDevice(ctx context.Context, asked string, body request.PublishKey) error {
	err := c.nameDevice(ctx, asked, body)
	if errors.Is(err, model.ErrConflict) { // the other of two at once has just named one: this one finds that
		err = c.nameDevice(ctx, asked, body)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("name a device of %s: %w", clip(body.Participant), err)
	ask := Ask{Owner: body.Participant, Slot: Account, Subject: asked, Attempt: 1, NotAfter: int64(c.now()) + partsWithin.Milliseconds(), Actor: "relay"}
	return c.refuse(ctx, ask, publishing, err)
}

var serialHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (c *Custody) nameDevice(ctx context.Context, asked string, body request.PublishKey) error {
	k := body.Key
	if k.Public.IsZero() || k.Kind != request.DeviceKey || !slices.Equal(k.Functions, deviceFunctions) || k.ValidUntil != 0 || !serialHash.MatchString(k.SerialHash) {
		return fmt.Errorf("a key for more, or for less, than a device's: %w", ErrBody)
	}
	return c.db.Write(ctx, func(tx *model.Tx) error {
		row, err := tx.CustodyAuthorisation(body.Participant, publishing, asked)
		switch {
		case errors.Is(err, model.ErrNotFound):
			return ErrUnauthorised
		case err != nil:
			return err
		}
		if err := c.tagged(row.Tag, authorisationFields(row)...); err != nil {
			return err
		}
		if row.Digest != c.anyDevice(body.Participant) {
			return fmt.Errorf("something else was asked for: %w", ErrUnauthorised)
		}
		named := row
		named.Subject, named.Digest = namedDevice(asked), c.wanted(body)
		before, err := tx.CustodyAuthorisation(named.Owner, named.Function, named.Subject)
		switch {
		case err == nil && before.Digest == named.Digest:
			return c.tagged(before.Tag, authorisationFields(before)...)
		case err == nil:
			return fmt.Errorf("another key was named: %w", ErrUnauthorised)
		case !errors.Is(err, model.ErrNotFound):
			return err
		case c.now() > row.AskedAt+model.Millis(partsWithin.Milliseconds()), row.NotAfter <= c.now():
			return fmt.Errorf("asked for too long ago: %w", ErrUnauthorised)
		}
		if named.Tag, err = c.tag(authorisationFields(named)...); err != nil {
			return err
		}
		return tx.AddCustodyAuthorisation(named)
	})
}

// gatewayKey reports whether a registrar publishes a key that signs answers to terminals, of the platform itself. Such a key
// is kept by the web process and not here; it signs no request that a contract takes.
func gatewayKey(key model.CustodyKey, body request.Body) bool {
	b, ok := body.(request.PublishKey)
	return ok && key.Role == string(request.Platform) && key.Slot == string(Registrar) &&
		b.Participant == key.Owner && b.Key.Kind == request.GatewayKey && len(b.Key.Functions) == 0
}
