//go:build cgo

package custody

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/miekg/pkcs11"

	"cardflow/gm"
	"cardflow/gm/cryptoki"
)

// HasPKCS11 tells whether this program was built to talk to tokens.
const HasPKCS11 = true

// tokenPatience is how long a token may take for one answer. Transactions wait for it.
const tokenPatience = 10 * time.Second

// tokenRoot is a root key in a token. It keeps a session there and opens another one when that is gone.
type tokenRoot struct {
	module, label, key string
	pin                veiled
	id                 string

	turn chan struct{} // holds one while somebody uses what is below: a token that hangs must not take its callers along
	lib  *pkcs11.Ctx
	open bool
	at   pkcs11.SessionHandle
	with pkcs11.ObjectHandle
	no   error // a PIN that was refused is not tried again: a token locks after few wrong ones
}

// TokenRoot finds the root key in a token. Errors: ErrPIN, ErrToken for everything else: no such library, token or key,
// or a key that could be taken out.
func TokenRoot(t Token) (RootKey, error) {
	r := &tokenRoot{module: t.Module, label: t.Label, key: t.Key, pin: veil(t.PIN), turn: make(chan struct{}, 1)}
	if _, err := r.use(context.Background(), nil, func() ([]byte, error) { return nil, nil }); err != nil {
		return nil, err
	}
	return r, nil
}

// MakeTokenRoot makes the root key in a token, unless it is there.
func MakeTokenRoot(t Token, random io.Reader) (RootKey, error) {
	root, err := TokenRoot(t)
	if !errors.Is(err, errNoKey) {
		return root, err
	}
	r := &tokenRoot{module: t.Module, label: t.Label, key: t.Key, pin: veil(t.PIN), turn: make(chan struct{}, 1)}
	id := make([]byte, 16)
	if _, err := io.ReadFull(random, id); err != nil {
		return nil, fmt.Errorf("%w: %w", gm.ErrRandom, err)
	}
	if err := r.login(true); err != nil {
		return nil, fmt.Errorf("make a root key in the token: %w", err)
	}
	_, err = r.lib.GenerateKey(r.at, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32), pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.Key), pkcs11.NewAttribute(pkcs11.CKA_ID, id),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
	})
	r.hangUp()
	if err != nil {
		return nil, fmt.Errorf("make a root key in the token: %w: %w", ErrToken, err)
	}
	return TokenRoot(t)
}

var errNoKey = errors.New("there is no such key in the token")

func (r *tokenRoot) ID() string { return r.id }

func (r *tokenRoot) Kind() RootKind { return InToken }

const (
	gcmNonce = 12
	gcmTag   = 16
)

// tokenBinding adds to the associated data what a token does otherwise than the other roots.
func tokenBinding(ad []byte) []byte {
	return bind("cardflow/custody/root/pkcs11/1", "AES-256-GCM", string(ad))
}

// Wrap answers nonce, ciphertext and tag.
func (r *tokenRoot) Wrap(ctx context.Context, random io.Reader, key gm.Secret, ad []byte) ([]byte, error) {
	nonce := make([]byte, gcmNonce)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, fmt.Errorf("%w: %w", gm.ErrRandom, err)
	}
	mine := slices.Clone(key) // whoever asks clears his as soon as he has stopped waiting
	return r.use(ctx, mine, func() ([]byte, error) { return r.encrypt(nonce, mine, tokenBinding(ad)) })
}

// Unwrap opens what Wrap sealed.
func (r *tokenRoot) Unwrap(ctx context.Context, wrapped, ad []byte) (gm.Secret, error) {
	if len(wrapped) < gcmNonce+gcmTag {
		return nil, gm.ErrOpen
	}
	return r.use(ctx, nil, func() ([]byte, error) {
		key, err := r.decrypt(wrapped, tokenBinding(ad))
		if err == nil || errors.Is(err, ErrToken) {
			return key, err
		}
		// Tokens say all sorts of things of a tag that isn't right. If the key still does its work, that is what it was.
		probe, probeErr := r.encrypt(wrapped[:gcmNonce], []byte("probe"), []byte("cardflow/custody/root/probe"))
		if probeErr == nil {
			_, probeErr = r.decrypt(probe, []byte("cardflow/custody/root/probe"))
		}
		if probeErr != nil {
			return nil, errors.Join(probeErr, err)
		}
		return nil, gm.ErrOpen
	})
}

func (r *tokenRoot) encrypt(nonce, plain, ad []byte) ([]byte, error) {
	params := pkcs11.NewGCMParams(nonce, ad, 8*gcmTag)
	defer params.Free()
	if err := r.lib.EncryptInit(r.at, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, r.with); err != nil {
		return nil, err
	}
	sealed, err := r.lib.Encrypt(r.at, plain)
	if err != nil {
		return nil, err
	}
	if iv := params.IV(); len(iv) == gcmNonce { // some tokens draw their own
		nonce = iv
	}
	return append(append([]byte(nil), nonce...), sealed...), nil
}

func (r *tokenRoot) decrypt(wrapped, ad []byte) ([]byte, error) {
	params := pkcs11.NewGCMParams(wrapped[:gcmNonce], ad, 8*gcmTag)
	defer params.Free()
	if err := r.lib.DecryptInit(r.at, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, r.with); err != nil {
		return nil, err
	}
	return r.lib.Decrypt(r.at, wrapped[gcmNonce:])
}

// use runs an operation in the token, in one more session if the first one is gone. What fails in both is the token's
// fault, unless it is gm.ErrOpen. A token that doesn't answer in time is left to itself; whoever comes next waits for it
// as long, and no longer. mine is a secret that do reads, and is cleared at its end; what do answers when nobody waits any
// more is cleared, too.
func (r *tokenRoot) use(ctx context.Context, mine gm.Secret, do func() ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenPatience)
	defer cancel()
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		mine.Clear()
		return nil, fmt.Errorf("root key in a token: %w: %w", ErrToken, ctx.Err())
	}
	type answer struct {
		bytes []byte
		err   error
	}
	done := make(chan answer)
	go func() {
		defer func() { <-r.turn }()
		defer mine.Clear()
		var a answer
		for range 2 {
			if a.err = r.connect(); a.err != nil {
				break
			}
			if a.bytes, a.err = do(); a.err == nil || errors.Is(a.err, gm.ErrOpen) {
				break
			}
			r.hangUp()
		}
		select {
		case done <- a:
		case <-ctx.Done():
			clear(a.bytes)
		}
	}()
	select {
	case a := <-done:
		if a.err == nil || errors.Is(a.err, gm.ErrOpen) || errors.Is(a.err, ErrPIN) {
			return a.bytes, a.err
		}
		return nil, fmt.Errorf("root key in a token: %w: %w", ErrToken, a.err)
	case <-ctx.Done():
		return nil, fmt.Errorf("root key in a token: no answer: %w: %w", ErrToken, ctx.Err())
	}
}

// connect opens a session and finds the key, if that isn't done.
func (r *tokenRoot) connect() error {
	if r.open {
		return nil
	}
	if err := r.login(false); err != nil {
		return err
	}
	if err := r.find(); err != nil {
		r.hangUp()
		return err
	}
	return nil
}

func (r *tokenRoot) login(write bool) error {
	if r.no != nil {
		return r.no
	}
	var err error
	if r.lib, err = cryptoki.Library(r.module); err != nil {
		return fmt.Errorf("%w: %w", ErrToken, err)
	}
	slots, err := r.lib.GetSlotList(true)
	if cryptoki.Is(err, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED) {
		if err = r.lib.Initialize(); err == nil {
			slots, err = r.lib.GetSlotList(true)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrToken, err)
	}
	flags := uint(pkcs11.CKF_SERIAL_SESSION)
	if write {
		flags |= pkcs11.CKF_RW_SESSION
	}
	for _, slot := range slots {
		info, err := r.lib.GetTokenInfo(slot)
		if err != nil || cryptoki.Text(info.Label) != r.label {
			continue
		}
		if r.at, err = r.lib.OpenSession(slot, flags); err != nil {
			return fmt.Errorf("%w: %w", ErrToken, err)
		}
		r.open = true
		switch err := r.lib.Login(r.at, pkcs11.CKU_USER, string(r.pin())); {
		case err == nil, cryptoki.Is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
			return nil
		case cryptoki.Is(err, pkcs11.CKR_PIN_INCORRECT), cryptoki.Is(err, pkcs11.CKR_PIN_LOCKED), cryptoki.Is(err, pkcs11.CKR_PIN_INVALID), cryptoki.Is(err, pkcs11.CKR_PIN_LEN_RANGE),
			cryptoki.Is(err, pkcs11.CKR_PIN_EXPIRED):
			r.no = fmt.Errorf("token %q: %w: %w", r.label, ErrPIN, err)
			r.hangUp()
			return r.no
		default:
			r.hangUp()
			return fmt.Errorf("log in to token %q: %w: %w", r.label, ErrToken, err)
		}
	}
	return fmt.Errorf("there is no token %q: %w", r.label, ErrToken)
}

// find finds the key by its label, and refuses one that isn't what a root key has to be.
func (r *tokenRoot) find() error {
	err := r.lib.FindObjectsInit(r.at, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_LABEL, r.key),
	})
	if err != nil {
		return err
	}
	found, _, err := r.lib.FindObjects(r.at, 2)
	if err := errors.Join(err, r.lib.FindObjectsFinal(r.at)); err != nil {
		return err
	}
	switch len(found) {
	case 0:
		return fmt.Errorf("key %q: %w", r.key, errNoKey)
	case 1:
	default:
		return fmt.Errorf("the token has several keys %q", r.key)
	}
	wanted := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
	}
	got, err := r.lib.GetAttributeValue(r.at, found[0], append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil)}, wanted...))
	if err != nil {
		return err
	}
	for i, a := range wanted {
		if string(got[i+1].Value) != string(a.Value) {
			return fmt.Errorf("key %q is not an AES-256 key that can't be taken out (attribute %#x)", r.key, a.Type)
		}
	}
	if len(got[0].Value) == 0 {
		return fmt.Errorf("key %q has no CKA_ID", r.key)
	}
	id := hex.EncodeToString(tokenRootID(got[0].Value))
	if r.id != "" && r.id != id {
		return fmt.Errorf("the token has another key %q than before", r.key)
	}
	r.id, r.with = id, found[0]
	return nil
}

// hangUp closes the session, if there is one. It stays logged in as long as others have sessions.
func (r *tokenRoot) hangUp() {
	if r.open {
		_ = r.lib.CloseSession(r.at) // often it is gone
	}
	r.open = false
}
