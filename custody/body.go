package custody

import (
	"errors"
	"fmt"
	"slices"

	"cardflow/ledger/request"
	"cardflow/model"
)

// claim is what a body says about who must sign it.
type claim struct {
	named  bool   // the body names its signer
	signer string // whom
	// An act on keys may also be signed by administrators, where their owner has lost them. Otherwise it is the
	// owner's, and replacing a key is that very key's.
	recovery bool
	oldKey   string
}

func signedBy(participant string) (claim, bool) { return claim{named: true, signer: participant}, true }

// byDuty is for bodies that name no signer. Which key may sign them is a matter of the post; for acts on a trade or a
// lot the ledger also compares the signer with its own record, which custody doesn't have.
func byDuty() (claim, bool) { return claim{}, true }

// claimOf lists every body that custody signs. It takes values only: a pointer could change under our feet between the
// check and the encoding, and a type from elsewhere could say anything of itself. So no method of an unlisted body is
// called. Init is not in the list: nobody signs it. Neither is a key act without a key, which has no encoding.
func claimOf(body request.Body) (c claim, ok bool) {
	switch b := body.(type) {
	case request.Confirm:
		return signedBy(b.Receiver)
	case request.Decline:
		return signedBy(b.Receiver)
	case request.Offer:
		return signedBy(b.Seller)
	case request.Return:
		return signedBy(b.Seller)
	case request.Merge:
		return signedBy(b.Owner)
	case request.Issue:
		return signedBy(b.Carrier)
	case request.Approve:
		return signedBy(b.Carrier)
	case request.RevokeApproval:
		return signedBy(b.Carrier)
	case request.PublishKey:
		return claim{named: true, signer: b.Participant, recovery: true}, !b.Key.Public.IsZero()
	case request.RotateKey:
		return claim{named: true, signer: b.Participant, recovery: true, oldKey: b.OldKey}, !b.Key.Public.IsZero()
	case request.Register:
		return claim{}, !b.Key.Public.IsZero()
	case request.RegisterBatch:
		return claim{}, !slices.ContainsFunc(b.Items, func(r request.Registration) bool { return r.Key.Public.IsZero() })
	case request.Cancel, request.Release, request.Freeze, request.Unfreeze, request.Retire, // a trade's seller, a lot's role: on the ledger
		request.FreezeParticipant, request.UnfreezeParticipant,
		request.Ticket, request.Anchor, request.AuditExport,
		request.SuspendKey, request.ResumeKey, request.RevokeKey,
		request.SetIssuer, request.SetPolicy:
		return byDuty()
	}
	return claim{}, false
}

// foreign says whether the platform or its administrators are asked to publish somebody's key that isn't kept here for
// him: whoever could have that signed would sign in his place. An organisation publishes its own terminals' keys itself; and a
// gateway's key signs nothing in anybody's name.
func foreign(tx *model.Tx, key model.CustodyKey, body request.Body) error {
	if key.Role != string(request.Platform) && key.Role != string(request.Administrator) {
		return nil
	}
	if gatewayKey(key, body) {
		return nil
	}
	var list []request.Registration
	switch b := body.(type) {
	case request.Register:
		list = []request.Registration{b.Registration}
	case request.RegisterBatch:
		list = b.Items
	case request.PublishKey:
		list = []request.Registration{{Participant: b.Participant, Key: b.Key}}
	case request.RotateKey:
		list = []request.Registration{{Participant: b.Participant, Key: b.Key}}
	}
	for _, r := range list {
		id := r.Key.Public.KeyID()
		kept, err := tx.CustodyKey(id)
		owner := kept.Owner
		if errors.Is(err, model.ErrNotFound) {
			var next model.CustodySuccessor
			next, err = tx.Successor(id)
			owner = next.Owner
		}
		if errors.Is(err, model.ErrNotFound) || err == nil && owner != r.Participant {
			err = fmt.Errorf("key %s of %s: %w", id, r.Participant, ErrKeyForeign)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fits says why a key may not sign what claims this, nil if it may.
func (c claim) fits(key Key) error {
	switch {
	case !c.named, c.recovery && key.Role == request.Administrator:
		return nil
	case c.signer != key.Owner, c.oldKey != "" && c.oldKey != key.ID:
		return ErrOwner
	}
	return nil
}
