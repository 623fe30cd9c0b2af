package custody

import (
	"context"

	"cardflow/gm"
)

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
