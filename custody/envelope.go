package custody

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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

// keyring holds the root and the key-encryption keys: all that stays in memory. While custody is sealed it is empty.
type keyring struct {
	shares bool // the root is put together from shares, and cleared with the rest

	mu     sync.RWMutex
	root   RootKey        // nil while sealed; guarded by mu
	keks   map[int]veiled // by version; guarded by mu
	closed bool           // guarded by mu
}

func newKeyring(shares bool) *keyring { return &keyring{shares: shares, keks: map[int]veiled{}} }

// open takes a root; the key-encryption keys are fetched when they are asked for.
func (r *keyring) open(root RootKey) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return ErrClosed
	}
	r.root = root
	return nil
}

// holder is the root, or why there is none.
func (r *keyring) holder() (RootKey, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch {
	case r.closed:
		return nil, ErrClosed
	case r.root == nil:
		return nil, ErrSealed
	}
	return r.root, nil
}

// take opens a key-encryption key and keeps it.
func (r *keyring) take(ctx context.Context, k model.CustodyKEK) error {
	root, err := r.holder()
	if err != nil {
		return err
	}
	if k.RootID != root.ID() {
		err := fmt.Errorf("key-encryption key %d is under root %s, this is root %s: %w", k.Version, k.RootID, root.ID(), ErrRootMismatch)
		if r.shares { // the root was rotated while this server ran: it needs the new shares
			r.seal()
			return fmt.Errorf("%w: %w", ErrSealed, err)
		}
		return err
	}
	secret, err := root.Unwrap(ctx, k.Wrapped, kekBinding(k))
	if errors.Is(err, gm.ErrOpen) {
		return fmt.Errorf("key-encryption key %d: %w: %w", k.Version, ErrKeyUnreadable, err)
	}
	if err != nil {
		return fmt.Errorf("key-encryption key %d: %w", k.Version, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.root != root {
		secret.Clear()
		if r.closed {
			return ErrClosed
		}
		return ErrSealed
	}
	if old, ok := r.keks[k.Version]; ok {
		old().Clear() // of a transaction that was rolled back; whoever uses it has a copy
	}
	r.keks[k.Version] = veil(secret)
	return nil
}

// forget drops a key-encryption key: the transaction that made it may have come to nothing, and another one may have
// made another of that version. It is fetched again when it is needed.
func (r *keyring) forget(version int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.keks[version]; ok {
		old().Clear()
		delete(r.keks, version)
	}
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
	case r.root == nil:
		return nil, ErrSealed
	case !ok:
		return nil, model.ErrNotFound
	}
	return slices.Clone(kek()), nil
}

// seal empties the ring until open.
func (r *keyring) seal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kek := range r.keks {
		kek().Clear()
	}
	clear(r.keks)
	if held, ok := r.root.(*heldRoot); ok && r.shares {
		held.Clear()
	}
	r.root = nil
}

// clear empties it for good.
func (r *keyring) clear() {
	r.seal()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// newestKEK is the version of the key-encryption key that the audit's head is sealed with, which is the newest.
func newestKEK(tx *model.Tx) (int, error) {
	h, err := tx.AuditHead()
	return h.KEKVersion, err
}

// seal puts a scalar into its row, under the newest key-encryption key. The row must be complete but for that and Wrapped.
func (c *Custody) seal(ctx context.Context, tx *model.Tx, row *model.CustodyKey, scalar gm.Secret) error {
	var err error
	if row.KEKVersion, err = newestKEK(tx); err != nil {
		return err
	}
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
	borrow := func(kek gm.Secret) error {
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
	}
	kek, err := c.keys.copyOf(row.KEKVersion)
	switch {
	case err == nil: // as nearly always, without the database
		err = borrow(kek)
		kek.Clear()
	case errors.Is(err, model.ErrNotFound):
		err = c.db.Read(ctx, func(tx *model.Tx) error { return c.keys.use(ctx, tx, row.KEKVersion, borrow) })
	}
	if err != nil {
		return nil, fmt.Errorf("custodial key %s: %w", row.ID, err)
	}
	return key, nil
}
