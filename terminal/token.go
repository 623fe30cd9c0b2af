package terminal

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

// Token says where a token is and which one: Serial is its own number, by which it is told from another of the same label.
type Token struct {
	Module string `json:"module"` // path of the vendor's library
	Label  string `json:"label"`
	Serial string `json:"serial"`
}

// tokenFormat names the layout of a TokenSIM's file, and how its key is derived.
const tokenFormat = "cardflow/token-sim/1"

// rootLabel is the label of the root in a token.
const rootLabel = "cardflow-terminal"

// tokenFile is what a directory knows of its token: no secret.
type tokenFile struct {
	Format string       `json:"format"`
	Token  Token        `json:"token"`
	Serial string       `json:"serial"` // the terminal's
	Public gm.PublicKey `json:"public"`
}

// seedOf is what a token computes the HMAC of, under its root, to give the seed of a terminal's key.
func seedOf(serial string) []byte { return []byte("cardflow/terminal/token/1/" + serial) }

// rooted is a session in a token, logged in.
type rooted interface {
	// hmac is HMAC-SHA256 under the root, which the token computes: 32 bytes.
	hmac(message []byte) (gm.Secret, error)
	close()
}

// TokenSIM is an SE-SIM whose root is in a PKCS#11 token and can't be taken out. No token that is sold everywhere signs with SM2 by a
// mechanism that has one number everywhere; all of them compute HMACs. So the token computes, for each signature, the seed of the
// terminal's key from the root and the serial number; the key is in this process's memory while it signs, and then is cleared.
//
// What it promises: a stolen directory is worth nothing without the token, a stolen token nothing without its PIN, whose wrong
// tries the token counts, as many as its maker lets it: who copies the disk has nothing to try PINs on. What it can't: who
// has taken over this machine while the token is in it and unlocked can have the seed computed, and then has the terminal's key for
// good, which a chip that signs by itself would not give him. Then the terminal is reported lost.
type TokenSIM struct {
	path string
	file tokenFile
	mu   sync.Mutex
	at   rooted // nil while locked
}

// CreateTokenSIM makes a terminal's key in a token, by its PIN, or finds the one that was made there before. It leaves it
// unlocked. Errors: SERIAL_INVALID, STORE_EXISTS, NO_PKCS11, TOKEN_MISSING, TOKEN_UNFIT, TOKEN_PIN_WRONG, TOKEN_PIN_LOCKED.
func CreateTokenSIM(path, serial, module, label string, pin gm.Secret) (*TokenSIM, error) {
	if !protocol.ValidSerial(serial) {
		return nil, Refusal("SERIAL_INVALID")
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, failf("STORE_EXISTS", "%s: %w", path, errors.Join(err, fs.ErrExist))
	}
	at, token, err := openToken(Token{Module: module, Label: label}, pin, true)
	if err != nil {
		return nil, err
	}
	t := &TokenSIM{path: path, at: at, file: tokenFile{Format: tokenFormat, Token: token, Serial: serial}}
	key, err := t.key()
	if err == nil {
		t.file.Public = key.Public()
		key.Clear()
		var data []byte
		if data, err = json.MarshalIndent(t.file, "", "  "); err == nil {
			err = writeWhole(path, 0o600, append(data, '\n'))
		}
	}
	if err != nil {
		t.Lock()
		return nil, err
	}
	return t, nil
}

// OpenTokenSIM opens one that is there, locked; the token need not be in its socket yet. Errors: STORE_MISSING,
// STORE_CORRUPT, STORE_MODE.
func OpenTokenSIM(path string) (*TokenSIM, error) {
	data, err := readOwn(path) // it names a library that is loaded into this process, and given the PIN
	if err != nil {
		return nil, err
	}
	t := &TokenSIM{path: path}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&t.file); err != nil || t.file.Format != tokenFormat || !protocol.ValidSerial(t.file.Serial) || t.file.Public.IsZero() ||
		t.file.Token.Module == "" || t.file.Token.Label == "" {
		return nil, failf("STORE_CORRUPT", "%s: %w", path, errors.Join(err, errors.New("it is no token's file")))
	}
	return t, nil
}

// Unlock logs in to the token. Errors: TOKEN_PIN_WRONG, without how many tries are left, which is between the
// token and its maker; TOKEN_PIN_LOCKED; NO_PKCS11; TOKEN_MISSING;
// TOKEN_OTHER if another token is in its place, or its root is another; TOKEN_UNFIT.
func (t *TokenSIM) Unlock(pin gm.Secret) error {
	t.Lock()
	at, token, err := openToken(t.file.Token, pin, false)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.at = at
	t.mu.Unlock()
	key, err := t.key()
	if err == nil {
		key.Clear()
		if token != t.file.Token {
			err = Refusal("TOKEN_OTHER")
		}
	}
	if err != nil {
		t.Lock()
	}
	return err
}

// key has the token compute the seed of the key. The caller clears it.
func (t *TokenSIM) key() (*gm.PrivateKey, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at == nil {
		return nil, Refusal("SIM_LOCKED")
	}
	seed, err := t.at.hmac(seedOf(t.file.Serial))
	if err != nil {
		return nil, err
	}
	defer seed.Clear()
	if len(seed) != rootSize {
		return nil, failf("TOKEN_UNFIT", "an HMAC of %d bytes", len(seed))
	}
	key, err := gm.DeriveKey(seed, deviceLabel+t.file.Serial)
	if err != nil {
		return nil, fmt.Errorf("the terminal's key: %w", err)
	}
	if !t.file.Public.IsZero() && key.Public() != t.file.Public {
		key.Clear()
		return nil, Refusal("TOKEN_OTHER")
	}
	return key, nil
}

// Tries implements [Store].
func (t *TokenSIM) Tries() int { return TriesUntold }

// Token is which one it is.
func (t *TokenSIM) Token() Token { return t.file.Token }

// Serial implements [Element].
func (t *TokenSIM) Serial() string { return t.file.Serial }

// Public implements [Element].
func (t *TokenSIM) Public() gm.PublicKey { return t.file.Public }

// Sign implements [Element]. Errors: SIM_LOCKED; TOKEN_GONE if the token was taken out.
func (t *TokenSIM) Sign(message []byte) (gm.Signature, error) {
	key, err := t.key()
	if err != nil {
		return nil, err
	}
	defer key.Clear()
	return key.Sign(rand.Reader, message)
}

// Lock implements [Element]: it logs out.
func (t *TokenSIM) Lock() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at != nil {
		t.at.close()
	}
	t.at = nil
}

// String says whose it is.
func (t *TokenSIM) String() string { return "[SE-SIM " + t.file.Serial + " in a token]" }
