package custody

import (
	"context"
	"encoding/hex"
	"io"
	"sync"

	"cardflow/gm"
	"cardflow/model"
)

// RootKey seals the key-encryption keys. It may be a file (FileRoot), shares that people bring (Combine), or a device
// that never gives its key away (TokenRoot). Nothing here asks for the key itself.
type RootKey interface {
	// ID tells this root from others, and tells nothing else about it.
	ID() string
	// Kind says how it is kept.
	Kind() RootKind
	// Wrap seals a key for the associated data ad.
	Wrap(ctx context.Context, random io.Reader, key gm.Secret, ad []byte) ([]byte, error)
	// Unwrap opens what Wrap sealed for the same ad. The caller clears the key. What was sealed otherwise is gm.ErrOpen.
	Unwrap(ctx context.Context, wrapped, ad []byte) (gm.Secret, error)
}

// RootKind is how a root key is kept.
type RootKind string

// The kinds of roots.
const (
	InFile   RootKind = "file"   // one file
	InShares RootKind = "shamir" // m of n people have to come
	InToken  RootKind = "pkcs11" // a device has it and uses it
)

// heldRoot is a root key in memory: not the root itself, but what was derived from it.
type heldRoot struct {
	kind              RootKind
	id                string
	threshold, shares int // of a root in shares

	mu   sync.RWMutex
	wrap veiled // nil once it was cleared; guarded by mu
}

// holdRoot derives what is held of a root. The caller clears the secret.
func holdRoot(kind RootKind, secret gm.Secret) *heldRoot {
	id := gm.Derive(secret, "cardflow/custody/root/id/1", 16)
	return &heldRoot{kind: kind, id: hex.EncodeToString(id), wrap: veil(gm.Derive(secret, "cardflow/custody/root/wrap/1", gm.KeySize))}
}

func (r *heldRoot) ID() string { return r.id }

func (r *heldRoot) Kind() RootKind { return r.kind }

func (r *heldRoot) Wrap(_ context.Context, random io.Reader, key gm.Secret, ad []byte) ([]byte, error) {
	r.mu.RLock() // for as long as the cipher reads the key: half of one would seal for nobody
	defer r.mu.RUnlock()
	if r.wrap == nil {
		return nil, ErrSealed
	}
	return gm.Seal(r.wrap(), random, key, ad)
}

func (r *heldRoot) Unwrap(_ context.Context, wrapped, ad []byte) (gm.Secret, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.wrap == nil {
		return nil, ErrSealed
	}
	return gm.Open(r.wrap(), wrapped, ad)
}

// Clear overwrites what is held. From then on it wraps and unwraps nothing.
func (r *heldRoot) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrap != nil {
		r.wrap().Clear()
		r.wrap = nil
	}
}

// rootRow is what is noted of a root.
func rootRow(root RootKey, at model.Millis) model.CustodyRoot {
	row := model.CustodyRoot{ID: root.ID(), Kind: string(root.Kind()), CreatedAt: at}
	if held, ok := root.(*heldRoot); ok {
		row.Threshold, row.Shares = held.threshold, held.shares
	}
	return row
}
