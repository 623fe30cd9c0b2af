package backup

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"filippo.io/age"
)

// Kit is what a recovery key leaves with those who make backups. Nothing in it is secret: the key itself is sealed under a
// root whose shares its holders have. It stands at the head of each bundle, so that a bundle and enough shares are all
// that a restore takes.
type Kit struct {
	Recipient string `json:"recipient"` // age1…: what bundles are encrypted for
	Sealed    []byte `json:"sealed"`    // the identity, for SealedFor
	Set       string `json:"set"`       // of the shares
	Threshold int    `json:"threshold"` // shares that are needed
	Shares    int    `json:"shares"`    // that there are
}

// magic is a bundle's first line; the kit is its second.
const magic = "cardflow backup 1\n"

// kitLine bounds the second line, in bytes.
const kitLine = 4096

// Identity is a recovery key, which opens bundles.
type Identity = age.Identity

// NewIdentity draws a recovery key, as text, and answers whom it makes bundles for. The caller seals the text for SealedFor and
// forgets it.
func NewIdentity() (text []byte, recipient string, err error) {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", err
	}
	return []byte(i.String()), i.Recipient().String(), nil
}

// ParseIdentity reads a recovery key from its text.
func ParseIdentity(text []byte) (Identity, error) {
	id, err := age.ParseX25519Identity(string(text))
	if err != nil {
		return nil, err // and no identity that is there and holds nothing
	}
	return id, nil
}

// SealedFor is the associated data under which a recovery key is sealed.
func SealedFor(recipient string) []byte { return []byte("cardflow/recovery/1|" + recipient) }

// recipient is whom bundles are encrypted for.
func (k Kit) recipient() (age.Recipient, error) {
	r, err := age.ParseX25519Recipient(k.Recipient)
	if err != nil {
		return nil, fmt.Errorf("the recovery kit names no recipient: %w", err)
	}
	return r, nil
}

// check demands what a kit that was made has: what one says is shown to people, and says how many of them are waited for.
func (k Kit) check() error {
	set, err := hex.DecodeString(k.Set)
	if err != nil || len(set) != 8 || len(k.Sealed) == 0 || k.Threshold < 2 || k.Threshold > k.Shares || k.Shares > math.MaxUint8 {
		return errors.New("nobody made it")
	}
	_, err = k.recipient()
	return err
}

// ReadKit reads a kit's file.
func ReadKit(r io.Reader) (k Kit, err error) {
	b, err := io.ReadAll(io.LimitReader(r, kitLine+1))
	if err == nil && len(b) > kitLine {
		err = errors.New("it is too long")
	}
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err == nil {
		err = k.check()
	}
	if err != nil {
		return Kit{}, fmt.Errorf("recovery kit: %w", err)
	}
	return k, nil
}

// head writes a bundle's first two lines.
func (k Kit) head(w io.Writer) error {
	b, err := json.Marshal(k)
	if err == nil && len(b) >= kitLine {
		err = errors.New("the recovery kit is too long")
	}
	if err == nil {
		_, err = io.WriteString(w, magic+string(b)+"\n")
	}
	return err
}

// Bundle is a bundle whose head has been read.
type Bundle struct {
	Kit  Kit
	rest io.Reader
}

// Open reads a bundle's head. Errors: ErrNoBundle.
func Open(r io.Reader) (*Bundle, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	first := make([]byte, len(magic))
	if _, err := io.ReadFull(in, first); err != nil || string(first) != magic {
		return nil, ErrNoBundle
	}
	var line []byte
	for len(line) < kitLine {
		b, err := in.ReadByte()
		if err != nil {
			return nil, ErrNoBundle
		}
		if b == '\n' {
			break
		}
		line = append(line, b)
	}
	var k Kit
	if err := json.Unmarshal(line, &k); err != nil {
		return nil, ErrNoBundle
	}
	if k.check() != nil {
		return nil, ErrNoBundle
	}
	return &Bundle{k, in}, nil
}
