package custody

import (
	"context"
	"slices"

	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Machine is a role that only these tests have: what it signs it signs of itself, so that they need nobody who asks for it.
const Machine request.Role = "machine"

func init() {
	duties[Machine] = map[Slot]duty{Account: {request.AccountKey, asBuyer, forShop}}
	system[Machine] = map[Slot][]string{Account: asBuyer}
}

// OfItself reports whether a key in a post signs this without that anybody asks.
func OfItself(role request.Role, slot Slot, function string) bool {
	return ofItself(model.CustodyKey{Role: string(role), Slot: string(slot)}, function)
}

// OfTwo reports whether two people have to want this.
func OfTwo(function string) bool { return slices.Contains(ofTwo, function) }

// DeviceFunctions is what the key of a terminal may sign.
var DeviceFunctions = deviceFunctions

// Scalar opens a key, so that a test can look for it where it must not be.
func (c *Custody) Scalar(ctx context.Context, keyID string) (gm.Secret, error) {
	row, err := c.row(ctx, keyID)
	if err != nil {
		return nil, err
	}
	key, err := c.open(ctx, row)
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	return key.Scalar(), nil
}

// KEK copies a key-encryption key out of memory, for the same purpose.
func (c *Custody) KEK(version int) (gm.Secret, error) { return c.keys.copyOf(version) }

// ApproveOnly approves, and carries nothing out.
func (c *Custody) ApproveOnly(ctx context.Context, person, id string) error {
	_, err := c.approve(ctx, person, id)
	return err
}

// Carry carries a proposal out as far as it goes, here and not beside.
func (c *Custody) Carry(ctx context.Context, id string) { c.carry(ctx, id) }

// ValueOf is what is secret in a share.
func ValueOf(s Share) []byte { return s.value }

// RotateRoot does what two people let a server do.
func (c *Custody) RotateRoot(ctx context.Context, next RootKey, actor string) error {
	if err := c.PrepareRoot(ctx, next, actor); err != nil {
		return err
	}
	return c.write(ctx, func(tx *model.Tx) error {
		detail, err := c.swapRoot(ctx, tx, next.ID())
		if err != nil {
			return err
		}
		return c.record(ctx, tx, entry{actor, actRoot, next.ID(), detail})
	})
}

// NewKEK does what two people let a server do, and answers the version.
func (c *Custody) NewKEK(ctx context.Context, actor string) (int, error) {
	newest, _, err := c.rootNow(ctx)
	if err != nil {
		return 0, err
	}
	made, err := c.followingKEK(ctx, newest.Version)
	if err != nil {
		return 0, err
	}
	if err := c.write(ctx, func(tx *model.Tx) error { return c.addKEK(ctx, tx, made, actor, map[string]any{}) }); err != nil {
		c.keys.forget(made.Version)
		return 0, err
	}
	return made.Version, nil
}

// ForgetLogins does what Start does once an hour.
func (c *Custody) ForgetLogins(ctx context.Context) error { return c.forgetLogins(ctx) }

// WithValue is a share with another value in it, as a forger makes one.
func WithValue(s Share, value []byte) Share {
	s.value = gm.Secret(value)
	return s
}

// Waiting is how many wait for what they want signed to be written down, or for their signatures to be stored.
func (c *Custody) Waiting() int { return c.steps.Waiting() }

// Taken reports whether somebody serves those who sign, and all of them who have come.
func (c *Custody) Taken() bool { return c.steps.Led() && c.steps.Waiting() == 0 }
