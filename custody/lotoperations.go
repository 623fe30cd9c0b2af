package custody

import (
	"context"

	"cardflow/ledger/request"
	"cardflow/model"
)

// OperationUnfreeze lets cards go again that an organisation has frozen: two of its people want it.
const OperationUnfreeze = "lot.unfreeze"

// UnfreezeLot are the arguments of lot.unfreeze.
type UnfreezeLot struct {
	Organisation string      `json:"organisation"`       // which has frozen, and whose key signs
	Lot          string      `json:"lot"`                // its hash
	Segments     []CardRange `json:"segments,omitempty"` // of its cards; none: all
}

// CardRange are cards from one number to another.
type CardRange struct {
	Start string `json:"start"`
	End   string `json:"end,omitempty"` // "": one card
}

// Office implements officed: who freezes also unfreezes.
func (u UnfreezeLot) Office() Office {
	return Office{u.Organisation, []request.Role{request.Carrier, request.Regulator}}
}

// Lots knows what lots are, which custody doesn't, in the database that custody is in.
type Lots interface {
	// DescribeUnfreezing says which cards would be let go; see Operate. role is the organisation's.
	DescribeUnfreezing(tx *model.Tx, u UnfreezeLot, role request.Role) (string, error)
	// AcceptUnfreezing accepts the act that does it, under an ID, and answers what is to be signed as it, until when (ms).
	AcceptUnfreezing(tx *model.Tx, act, person string, u UnfreezeLot, role request.Role) (body request.Body, until int64, err error)
}

const actUnfreeze = "lot.unfreeze"

// OperateLots registers what is done to lots and takes two people. The act has the ID of its proposal: there is one, whatever is
// killed, because it is accepted, and authorised, in the transaction that ends the proposal as executed.
func (c *Custody) OperateLots(lots Lots) {
	Operate(c.Dangerous, OperationUnfreeze,
		func(_ context.Context, tx *model.Tx, u UnfreezeLot) (string, error) {
			role, err := roleOf(tx, u.Organisation)
			if err != nil {
				return "", err
			}
			return lots.DescribeUnfreezing(tx, u, role)
		},
		func(ctx context.Context, x *Execution, u UnfreezeLot) error {
			return x.Commit(ctx, func(tx *model.Tx) error {
				role, err := roleOf(tx, u.Organisation)
				if err != nil {
					return err
				}
				body, until, err := lots.AcceptUnfreezing(tx, x.ID, x.Approver, u, role)
				if err != nil {
					return err
				}
				if err := x.Authorise(tx, u.Organisation, x.ID, body, until); err != nil {
					return err
				}
				return x.Record(ctx, tx, actUnfreeze, u.Lot, map[string]any{"owner": u.Organisation})
			})
		})
}
