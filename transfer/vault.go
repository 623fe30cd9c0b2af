package transfer

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"cardflow/gm"
	"cardflow/iccid"
)

// Vault holds the platform's data keys: what seals openings, codes and personal data at rest, and what hashes codes and
// accounts for look-ups. They are apart from custody's root key, so that look-ups and accepting go on while custody is
// sealed, and a leak of the one is not a leak of the other.
type Vault struct {
	seal   gm.Secret // openings, codes, personal data
	index  gm.Secret // keyed hashes
	cardID gm.Secret // opaque card IDs
	issue  gm.Secret // the issue key, pinned on the ledger
	stamp  gm.Secret // what custody recognises its own rows of logins by
	random io.Reader
}

// NewVault derives the data keys from a root of 32 bytes.
func NewVault(root gm.Secret, random io.Reader) (*Vault, error) {
	if len(root) != 32 {
		return nil, fmt.Errorf("data key of %d bytes, not 32", len(root))
	}
	return &Vault{
		seal:   gm.Derive(root, "cardflow/seal/1", 16),
		index:  gm.Derive(root, "cardflow/index/1", 32),
		cardID: gm.Derive(root, "cardflow/card-id/1", 16),
		issue:  gm.Derive(root, "cardflow/issue/1", 32),
		stamp:  gm.Derive(root, "cardflow/stamp/1", 32),
		random: random,
	}, nil
}

// OpenVault reads the data key of a folder, or makes it on first use. A crash while making it leaves a temporary file
// and no key; the next start makes another, which is safe because nothing has been sealed yet.
func OpenVault(path string, random io.Reader) (*Vault, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, 32)
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("make data key: %w", err)
		}
		err = writeOnce(path, b)
	}
	if err != nil {
		return nil, fmt.Errorf("data key: %w", err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("data key %s: others may read it, want mode 0600", filepath.Base(path))
	}
	return NewVault(b, random)
}

// KeepDataKey writes down a data key that another process of this platform has, for [OpenVault] to find. It is never written
// over another.
func KeepDataKey(path string, key gm.Secret) error {
	if len(key) != 32 {
		return fmt.Errorf("data key of %d bytes, not 32", len(key))
	}
	return writeOnce(path, key)
}

// OpenServerName reads the name by which this server is known among those on one database, or makes it on first use.
// Like the journal beside it, it belongs to one folder and so to one process at a time: a server that starts again on its
// folder takes up at once what it had left.
func OpenServerName(path string, random io.Reader) (string, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b = []byte(randomID(random, 8))
		err = writeOnce(path, b)
	}
	if err != nil {
		return "", fmt.Errorf("server name: %w", err)
	}
	if !serverName.Match(b) {
		return "", fmt.Errorf("server name: %s holds no name: remove the file, and the next start makes one", filepath.Base(path))
	}
	return string(b), nil
}

var serverName = regexp.MustCompile(`^[0-9a-f]{16}$`)

// writeOnce writes a file whole or not at all, and never over another.
func writeOnce(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a new name in a folder last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal encrypts bytes for a place: opened at another place, they don't open.
func (v *Vault) Seal(place string, plain []byte) ([]byte, error) {
	return gm.Seal(v.seal, v.random, plain, []byte(place))
}

// Open decrypts what Seal made for the same place.
func (v *Vault) Open(place string, sealed []byte) ([]byte, error) {
	return gm.Open(v.seal, sealed, []byte(place))
}

// sealJSON seals a value.
func (v *Vault) sealJSON(place string, value any) ([]byte, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return v.Seal(place, b)
}

// openJSON opens a value.
func (v *Vault) openJSON(place string, sealed []byte, value any) error {
	b, err := v.Open(place, sealed)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, value)
}

// Index is a keyed hash of a value for look-ups by equality, hex. kind keeps the indexes apart.
func (v *Vault) Index(kind, value string) string {
	h := gm.HMAC(v.index, []byte(kind), []byte(value))
	return hex.EncodeToString(h[:])
}

// IssueKey is the key under which blocks of issued cards are marked on the ledger.
func (v *Vault) IssueKey() []byte { return append([]byte(nil), v.issue...) }

// Stamp is the key by which custody recognises its own rows of logins and of what people asked for.
func (v *Vault) Stamp() gm.Secret { return append(gm.Secret(nil), v.stamp...) }

// CardID is the opaque name of a card in URLs: ICCIDs never stand there. It is the same whenever it is asked for, and
// only this platform can turn it back.
func (v *Vault) CardID(rule iccid.Rule, c iccid.Card) string {
	b, err := gm.SealDeterministic(v.cardID, []byte(string(rule)+"|"+rule.Format(c)), []byte("card"))
	if err != nil {
		panic("transfer: a card ID always seals: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// Card turns a card ID back into the card. Any other string is CARD_NOT_FOUND.
func (v *Vault) Card(id string) (iccid.Rule, iccid.Card, error) {
	if len(id) > 128 {
		return "", iccid.Card{}, errNoSuchCard
	}
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return "", iccid.Card{}, errNoSuchCard
	}
	plain, err := gm.OpenDeterministic(v.cardID, b, []byte("card"))
	if err != nil {
		return "", iccid.Card{}, errNoSuchCard
	}
	for i, c := range plain {
		if c == '|' {
			rule := iccid.Rule(plain[:i])
			card, err := rule.Parse(string(plain[i+1:]))
			return rule, card, err
		}
	}
	return "", iccid.Card{}, errNoSuchCard
}
