package custody

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"sync"

	"cardflow/gm"
	"cardflow/model"
)

// The envelope: root key → key-encryption key → private scalar, each sealed with SM4-GCM for associated data that say
// what it is and whose. A sealed value that is put into another row doesn't open there.

// bind joins fields, each after its length (4 bytes), so that no two lists give the same bytes.
func bind(fields ...string) []byte {
	var out []byte
	for _, field := range fields {
		out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
		out = append(out, field...)
	}
	return out
}

func kekBinding(k model.CustodyKEK) []byte {
	return bind("cardflow/custody/kek/1", "SM4-GCM", k.RootID, strconv.Itoa(k.Version))
}

// keyBinding holds all that a row says of its key but the state, which changes: an edit of any of it makes the key
// unreadable. Functions come last, each a field of its own.
func keyBinding(k model.CustodyKey) []byte {
	sum := gm.SM3(k.Public)
	return bind(append([]string{
		"cardflow/custody/key/1", "SM2+SM4-GCM", k.ID, strconv.Itoa(k.Version), k.Owner, strconv.Itoa(k.KEKVersion), string(sum[:]),
		k.Role, k.Slot, k.Kind,
	}, k.Functions...)...)
}

// veiled keeps a secret where no printing gets: fmt looks into unexported fields without asking their methods, and,
// for some verbs, through pointers, but never into a function.
type veiled func() gm.Secret

func veil(secret gm.Secret) veiled { return func() gm.Secret { return secret } }

// keyring holds the key-encryption keys, the only ones that stay in memory.
type keyring struct {
	root RootKey

	mu     sync.RWMutex
	keks   map[int]veiled // by version; guarded by mu
	closed bool           // guarded by mu
}

func newKeyring(root RootKey) *keyring { return &keyring{root: root, keks: map[int]veiled{}} }

// take opens a key-encryption key and keeps it.
func (r *keyring) take(ctx context.Context, k model.CustodyKEK) error {
	if k.RootID != r.root.ID() {
		return fmt.Errorf("key-encryption key %d is under root %s, this is root %s: %w", k.Version, k.RootID, r.root.ID(), ErrRootMismatch)
	}
	secret, err := r.root.Unwrap(ctx, k.Wrapped, kekBinding(k))
	if errors.Is(err, gm.ErrOpen) {
		return fmt.Errorf("key-encryption key %d: %w: %w", k.Version, ErrKeyUnreadable, err)
	}
	if err != nil {
		return fmt.Errorf("key-encryption key %d: %w", k.Version, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		secret.Clear()
		return ErrClosed
	}
	if old, ok := r.keks[k.Version]; ok {
		old().Clear() // of a transaction that was rolled back; whoever uses it has a copy
	}
	r.keks[k.Version] = veil(secret)
	return nil
}

// newest is the version that new keys are sealed under.
func (r *keyring) newest() (int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed || len(r.keks) == 0 {
		return 0, ErrClosed
	}
	newest := 0
	for version := range r.keks {
		newest = max(newest, version)
	}
	return newest, nil
}

// use lends a key-encryption key to a function. One that another server has made since the start is fetched first.
func (r *keyring) use(ctx context.Context, tx *model.Tx, version int, borrow func(kek gm.Secret) error) error {
	kek, err := r.copyOf(version)
	if errors.Is(err, model.ErrNotFound) {
		row, rowErr := tx.CustodyKEK(version)
		if rowErr != nil {
			return rowErr
		}
		if err := r.take(ctx, row); err != nil {
			return err
		}
		kek, err = r.copyOf(version)
	}
	if err != nil {
		return err
	}
	defer kek.Clear()
	return borrow(kek)
}

// copyOf copies, so that clear doesn't pull a key away from under a cipher.
func (r *keyring) copyOf(version int) (gm.Secret, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	kek, ok := r.keks[version]
	switch {
	case r.closed:
		return nil, ErrClosed
	case !ok:
		return nil, model.ErrNotFound
	}
	return slices.Clone(kek()), nil
}

func (r *keyring) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kek := range r.keks {
		kek().Clear()
	}
	clear(r.keks)
	r.closed = true
}

// seal puts a scalar into its row. The row must be complete but for Wrapped.
func (c *Custody) seal(ctx context.Context, tx *model.Tx, row *model.CustodyKey, scalar gm.Secret) error {
	return c.keys.use(ctx, tx, row.KEKVersion, func(kek gm.Secret) (err error) {
		row.Wrapped, err = gm.Seal(kek, c.random, scalar, keyBinding(*row))
		return err
	})
}

// open takes the private key out of its row, for one signature: whoever calls clears it. It checks all that can be
// checked: that the row is the one that was sealed, that the scalar is one, and that it belongs to the public key.
func (c *Custody) open(ctx context.Context, row model.CustodyKey) (*gm.PrivateKey, error) {
	public, err := gm.ParsePublicKey(row.Public)
	if err != nil || public.KeyID() != row.ID {
		return nil, fmt.Errorf("custodial key %s, public half: %w", row.ID, ErrKeyUnreadable)
	}
	var key *gm.PrivateKey
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		return c.keys.use(ctx, tx, row.KEKVersion, func(kek gm.Secret) error {
			plain, err := gm.Open(kek, row.Wrapped, keyBinding(row))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrKeyUnreadable, err)
			}
			scalar := gm.Secret(plain)
			defer scalar.Clear()
			if key, err = gm.NewPrivateKey(scalar, public); err != nil {
				return fmt.Errorf("%w: %w", ErrKeyUnreadable, err)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("custodial key %s: %w", row.ID, err)
	}
	return key, nil
}

// begin loads the key-encryption keys, and makes the first one, and begins the audit, in an empty database. A crash
// leaves both or neither.
func (c *Custody) begin(ctx context.Context) error {
	empty, err := c.load(ctx)
	if err != nil || !empty {
		return err
	}
	first, err := c.firstKEK(ctx)
	if err != nil {
		return fmt.Errorf("make a key-encryption key: %w", err)
	}
	err = c.db.Write(ctx, func(tx *model.Tx) error {
		if err := tx.AddCustodyKEK(first); err != nil {
			return err
		}
		return c.beginAudit(ctx, tx, first)
	})
	// Of several servers that start on one empty database the first one's key stays; the others load it.
	if err != nil && !errors.Is(err, model.ErrConflict) {
		return err
	}
	if empty, err = c.load(ctx); err == nil && empty {
		err = fmt.Errorf("the key-encryption key that was made is not there: %w", ErrKeyUnreadable)
	}
	return err
}

// load takes all key-encryption keys and looks at the head of the audit.
func (c *Custody) load(ctx context.Context) (empty bool, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		keks, err := tx.CustodyKEKs()
		if empty = len(keks) == 0; err != nil || empty {
			return err
		}
		for _, k := range keks {
			if err := c.keys.take(ctx, k); err != nil {
				return err
			}
		}
		if _, err = c.head(ctx, tx, tx.AuditHead); c.look && errors.Is(err, ErrAuditBroken) {
			err = nil
		}
		return err
	})
	return empty, err
}

func (c *Custody) firstKEK(ctx context.Context) (model.CustodyKEK, error) {
	secret := make(gm.Secret, gm.KeySize)
	defer secret.Clear()
	if _, err := io.ReadFull(c.random, secret); err != nil {
		return model.CustodyKEK{}, fmt.Errorf("%w: %w", gm.ErrRandom, err)
	}
	k := model.CustodyKEK{Version: 1, RootID: c.keys.root.ID(), CreatedAt: c.now()}
	var err error
	k.Wrapped, err = c.keys.root.Wrap(ctx, c.random, secret, kekBinding(k))
	return k, err
}
