package custody

import (
	"errors"
	"fmt"
	"slices"

	"cardflow/ledger/request"
	"cardflow/model"
)

// What the system signs of itself is a closed list: that somebody is registered, that a trade has expired, that a ticket was
// shown, where the audit is, and what custody itself wants of the ledger. It has keys of its own for it, which sign in nobody's
// name. Everything else is asked for by somebody who is logged in.
var system = map[request.Role]map[Slot][]string{
	request.Platform: {
		// Those who come; and keys that custody has stopped, or that ops want stopped or let go on, and their owners after a
		// theft. To let those trade again takes two people. And the keys by which the gateway answers terminals; see foreign.
		Registrar: {"Register", "RegisterBatch", "PublishKey", "SuspendKey", "ResumeKey", "RevokeKey", "FreezeParticipant"},
		Ticket:    {"Ticket"},
		Release:   {"Release"},
		Anchor:    {"Anchor"},
		Audit:     {"AuditExport"},
	},
	// Two together: the platform, their keys, and whoever gets another key; in a trial carriers and regulators, and their prefixes.
	request.Administrator: {Account: {"Register", "PublishKey", "RotateKey", "SuspendKey", "ResumeKey", "RevokeKey", "SetIssuer"}},
}

// ofItself reports whether a key signs this without that anybody has asked for it.
func ofItself(key model.CustodyKey, function string) bool {
	return slices.Contains(system[request.Role(key.Role)][Slot(key.Slot)], function)
}

// founding says why the system's keys don't put an organisation on the ledger, or give out a prefix: only a trial's do that by
// themselves. Elsewhere whoever has taken over the server could make a carrier of his own.
func (c *Custody) founding(body request.Body) error {
	if c.founds {
		return nil
	}
	list := []request.Registration{}
	switch b := body.(type) {
	case request.SetIssuer:
		return fmt.Errorf("SetIssuer that nobody has asked for: %w", ErrUnauthorised)
	case request.Register:
		list = append(list, b.Registration)
	case request.RegisterBatch:
		list = b.Items
	}
	for _, r := range list {
		if r.Role != request.Consumer && r.Role != request.Platform { // who comes by WeChat, and the platform at its first start
			return fmt.Errorf("Register of a %s that nobody has asked for: %w", clip(string(r.Role)), ErrUnauthorised)
		}
	}
	return nil
}

// ordered says why the system's keys don't let a key sign again: nobody who runs custody wants it, as far as custody knows.
// Errors: ErrUnauthorised; ErrKeyOvertaken if somebody did, and the wish has come true, or another one has taken its place.
func ordered(tx *model.Tx, body request.Body) error {
	b, ok := body.(request.ResumeKey)
	if !ok {
		return nil
	}
	w, err := tx.KeyWish(b.Key, model.KeyStanding)
	switch {
	case err == nil && w.Wish == model.WishResume:
		return nil
	case err == nil:
		return fmt.Errorf("custodial key %s: %w", clip(b.Key), ErrKeyOvertaken)
	case !errors.Is(err, model.ErrNotFound):
		return err
	}
	key, err := tx.CustodyKey(b.Key)
	if err = ignored(err, model.ErrNotFound); err != nil {
		return err
	}
	if key.State == model.CustodyActive {
		return fmt.Errorf("custodial key %s signs: %w", key.ID, ErrKeyOvertaken)
	}
	return fmt.Errorf("ResumeKey that nobody has ordered: %w", ErrUnauthorised)
}
