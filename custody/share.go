package custody

import (
	"bytes"
	"crypto/hmac"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"cardflow/gm"
)

// A share is 50 bytes, written as 16 groups of 5 characters, which people read, write down and type:
//
//	format 1 | set 8 | threshold 1 | shares 1 | index 1 | value 32 | check 6
//
// The set is the beginning of the root's ID, which the database has, so a share of another root is told at once. The
// check is a hash of all before it: it finds a slip of the pen, and whoever can compute it has the share already. That
// a share is false although all of this fits is seen only when the root is put together: of a root nothing but its ID is
// known, so nothing here tells whoever guesses how near he is.

// MaxShares is how many shares a root may have.
const MaxShares = 16

// Sizes in bytes.
const (
	setSize    = 8
	valueSize  = 32
	checkSize  = 6
	headSize   = 1 + setSize + 3
	shareSize  = headSize + valueSize + checkSize
	groupSize  = 5
	textGroups = shareSize * 8 / 5 / groupSize
)

const shareFormat = 1

// crockford is base32 without letters that look like others. People's O, I and L are read as 0 and 1.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// Share is one share of a root key. It prints as [secret] but for Text.
type Share struct {
	Set       string // 16 hex digits: the beginning of the root's ID
	Threshold int    // shares that are needed
	Shares    int    // that there are
	Index     int    // of this one, from 1
	value     gm.Secret
}

// Clear overwrites the value.
func (s Share) Clear() { s.value.Clear() }

// Format prints which share it is.
func (s Share) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "share %d of %d, set %s", s.Index, s.Shares, s.Set)
}

// Text is the share for its holder, in two lines of 8 groups. The caller clears it.
func (s Share) Text() gm.Secret {
	raw := s.bytes()
	defer raw.Clear()
	text := make(gm.Secret, crockford.EncodedLen(len(raw)))
	defer text.Clear()
	crockford.Encode(text, raw)
	out := make(gm.Secret, 0, len(text)+textGroups)
	for i := 0; i < len(text); i += groupSize {
		out = append(out, text[i:i+groupSize]...)
		switch {
		case i+groupSize == len(text):
		case i+groupSize == len(text)/2:
			out = append(out, '\n')
		default:
			out = append(out, ' ')
		}
	}
	return out
}

func (s Share) bytes() gm.Secret {
	set, err := hex.DecodeString(s.Set)
	if err != nil || len(set) != setSize || len(s.value) != valueSize {
		panic("custody: a share that nobody made")
	}
	raw := make(gm.Secret, 0, shareSize)
	raw = append(raw, shareFormat)
	raw = append(raw, set...)
	raw = append(raw, byte(s.Threshold), byte(s.Shares), byte(s.Index))
	raw = append(raw, s.value...)
	return append(raw, checkOf(raw)...)
}

func checkOf(raw []byte) []byte {
	sum := gm.SM3([]byte("cardflow/custody/share/1"), raw)
	return sum[:checkSize]
}

// ParseShare reads what a person typed: any case, any spaces, dashes or ends of lines between the characters. What is no
// share, or has a slip in it, is ErrShareMistyped, and the error says no more.
func ParseShare(text []byte) (Share, error) {
	const most = 4 * shareSize * 8 / 5
	chars := make(gm.Secret, 0, shareSize*8/5)
	defer func() { chars.Clear() }()
	if len(text) > most {
		return Share{}, ErrShareMistyped
	}
	for _, c := range text {
		switch {
		case c == ' ' || c == '-' || c == '\t' || c == '\r' || c == '\n':
			continue
		case c >= 'a' && c <= 'z':
			c -= 'a' - 'A'
		}
		switch c {
		case 'O':
			c = '0'
		case 'I', 'L':
			c = '1'
		}
		if len(chars) == cap(chars) { // append would move it and leave a copy
			return Share{}, ErrShareMistyped
		}
		chars = append(chars, c)
	}
	raw := make(gm.Secret, shareSize)
	defer raw.Clear()
	if len(chars) != cap(chars) {
		return Share{}, ErrShareMistyped
	}
	if _, err := crockford.Decode(raw, chars); err != nil {
		return Share{}, ErrShareMistyped
	}
	body := raw[:shareSize-checkSize]
	s := Share{
		Set: hex.EncodeToString(raw[1 : 1+setSize]), Threshold: int(raw[1+setSize]), Shares: int(raw[2+setSize]), Index: int(raw[3+setSize]),
	}
	if !hmac.Equal(checkOf(body), raw[shareSize-checkSize:]) || raw[0] != shareFormat || s.Threshold < 2 || s.Threshold > s.Shares ||
		s.Shares > MaxShares || s.Index < 1 || s.Index > s.Shares {
		return Share{}, ErrShareMistyped
	}
	s.value = gm.Secret(bytes.Clone(body[headSize:]))
	if group.Ristretto255.NewScalar().UnmarshalBinary(s.value) != nil {
		s.Clear()
		return Share{}, ErrShareMistyped
	}
	return s, nil
}

// CanSplit tells whether a root can be split so. Errors: ErrShareCount.
func CanSplit(threshold, shares int) error {
	if threshold < 2 || threshold > shares || shares > MaxShares {
		return fmt.Errorf("split into %d shares of which %d are needed: %w", shares, threshold, ErrShareCount)
	}
	return nil
}

// Split makes a new root key and its shares, any threshold of which bring it back (Shamir's scheme, over the scalars of
// ristretto255). The root is usable as long as the answer is kept. Errors: ErrShareCount.
func Split(threshold, shares int, random io.Reader) (RootKey, []Share, error) {
	if err := CanSplit(threshold, shares); err != nil {
		return nil, nil, err
	}
	// Wide, so that the reduction favours nobody.
	wide := make(gm.Secret, 64)
	defer wide.Clear()
	if _, err := io.ReadFull(random, wide); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", gm.ErrRandom, err)
	}
	scalar := group.Ristretto255.HashToScalar(wide, []byte("cardflow/custody/root/scalar/1"))
	defer scalar.SetUint64(0)
	root, err := rootOfScalar(scalar)
	if err != nil {
		return nil, nil, err
	}
	made := make([]Share, shares)
	for i, part := range secretsharing.New(random, uint(threshold-1), scalar).Share(uint(shares)) {
		value, err := part.Value.MarshalBinary()
		if err != nil {
			return nil, nil, err
		}
		part.Value.SetUint64(0)
		made[i] = Share{setOf(root.id), threshold, shares, i + 1, value}
	}
	root.threshold, root.shares = threshold, shares
	return root, made, nil
}

// Combine puts a root key together. Errors: ErrSharesWrong if it isn't the root whose set the shares name: one of them
// was made by somebody else. Shares of two sets, of one index, or too few, are the caller's to keep apart; here they are
// ErrSharesWrong, too.
func Combine(shares []Share) (RootKey, error) {
	var parts []secretsharing.Share
	defer func() {
		for _, p := range parts {
			p.Value.SetUint64(0)
		}
	}()
	for i, s := range shares {
		same := func(o Share) bool { return o.Index == s.Index || o.Set != s.Set || o.Threshold != s.Threshold }
		if len(shares) < s.Threshold || slices.ContainsFunc(shares[:i], same) {
			return nil, ErrSharesWrong
		}
		value := group.Ristretto255.NewScalar()
		if err := value.UnmarshalBinary(s.value); err != nil {
			return nil, ErrSharesWrong
		}
		parts = append(parts, secretsharing.Share{ID: group.Ristretto255.NewScalar().SetUint64(uint64(s.Index)), Value: value})
	}
	if len(parts) == 0 {
		return nil, ErrSharesWrong
	}
	scalar, err := secretsharing.Recover(uint(shares[0].Threshold-1), parts)
	if err != nil {
		return nil, ErrSharesWrong
	}
	defer scalar.SetUint64(0)
	root, err := rootOfScalar(scalar)
	if err != nil || setOf(root.id) != shares[0].Set {
		return nil, ErrSharesWrong
	}
	root.threshold, root.shares = shares[0].Threshold, shares[0].Shares
	return root, nil
}

func rootOfScalar(scalar group.Scalar) (*heldRoot, error) {
	secret, err := scalar.MarshalBinary()
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	return holdRoot(InShares, secret), nil
}

// setOf is the set of the shares of a root.
func setOf(rootID string) string { return rootID[:2*setSize] }
