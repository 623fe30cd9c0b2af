package request

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"cardflow/iccid"
)

// TransientOpenings is the name of the transient field that carries Openings.
const TransientOpenings = "openings"

// Openings open the hashes that stand in a request's signed arguments. Endorsers see them while they check, nobody
// stores, returns or emits them. They aren't signed: a wrong one opens nothing.
type Openings struct {
	Lots     map[string]LotOpening  `json:"lots,omitempty"`     // by lot hash
	Codes    map[string]CodeOpening `json:"codes,omitempty"`    // by trade
	IssueKey []byte                 `json:"issueKey,omitempty"` // Issue only
}

// LotOpening is what a lot hash hides.
type LotOpening struct {
	Rule      string `json:"rule"`
	Salt      []byte `json:"salt"` // 32 bytes
	Canonical string `json:"canonical"`
}

// CodeOpening is what a code hash hides.
type CodeOpening struct {
	Salt []byte `json:"salt"` // 16 bytes, fresh for every trade
	Code string `json:"code"`
}

// String hides the opening, so that one printed by mistake shows nothing.
func (LotOpening) String() string { return "[opening]" }

// GoString hides the opening.
func (LotOpening) GoString() string { return "[opening]" }

// String hides the opening, so that one printed by mistake shows nothing.
func (CodeOpening) String() string { return "[opening]" }

// GoString hides the opening.
func (CodeOpening) GoString() string { return "[opening]" }

// Transient encodes openings as a transaction's transient fields.
func (o Openings) Transient() map[string][]byte {
	b, err := json.Marshal(o)
	if err != nil {
		panic(fmt.Sprintf("request: openings always encode: %v", err))
	}
	return map[string][]byte{TransientOpenings: b}
}

// DecodeOpenings reads the transient fields of a transaction; none gives empty openings.
func DecodeOpenings(transient map[string][]byte) (Openings, error) {
	var o Openings
	b, ok := transient[TransientOpenings]
	if !ok {
		return o, nil
	}
	if err := decodeStrict(b, &o); err != nil {
		return Openings{}, fmt.Errorf("openings: %w", err)
	}
	return o, nil
}

// OpeningOf makes the opening of a set of cards, and the lot hash it opens.
func OpeningOf(set iccid.Set, salt [32]byte) (hash string, opening LotOpening) {
	h := iccid.LotHash(set, salt)
	return hex.EncodeToString(h[:]), LotOpening{Rule: string(set.Rule), Salt: salt[:], Canonical: set.Canonical()}
}

// Set reads the cards of an opening and the lot hash they make with its salt.
func (o LotOpening) Set() (set iccid.Set, hash string, err error) {
	if len(o.Salt) != 32 {
		return iccid.Set{}, "", fmt.Errorf("salt of %d bytes, not 32", len(o.Salt))
	}
	set, err = iccid.ParseCanonical(iccid.Rule(o.Rule), o.Canonical)
	if err != nil {
		return iccid.Set{}, "", err
	}
	h := iccid.LotHash(set, [32]byte(o.Salt))
	return set, hex.EncodeToString(h[:]), nil
}

// crockford is base 32 without I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// TradeCode computes the 8-character code of a trade: Crockford base 32 of CRC-40/GSM over the length-prefixed offer
// time (ms), seller, lot hash and trade salt. The paper (§2.4.2) asks for a CRC over time stamp, seller and hash in at
// most 8 bytes; the fresh 16-byte salt is what makes it unguessable. CRC is affine, so a salt used for two trades lets
// one code tell the other.
func TradeCode(offeredAt int64, seller, lotHash string, salt []byte) string {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(offeredAt))
	c := crc40(lengthPrefixed(at[:], []byte(seller), []byte(lotHash), salt))
	var out [8]byte
	for i := 7; i >= 0; i-- {
		out[i] = crockford[c&31]
		c >>= 5
	}
	return string(out[:])
}

// CodeHash is what the ledger keeps of a code: HMAC-SHA256(salt, trade ‖ code), hex. The salt is as secret as the code
// and lives as long as the trade, so nothing long-lived leaves the platform, and a leaked opening opens one trade.
func CodeHash(trade, code string, salt []byte) string {
	m := hmac.New(sha256.New, salt)
	m.Write(lengthPrefixed([]byte(trade), []byte(code)))
	return hex.EncodeToString(m.Sum(nil))
}

// crc40 is CRC-40/GSM: polynomial 0x0004820009, initial value 0, no reflection, final XOR 0xffffffffff.
// Its check value for "123456789" is 0xd4164fc646.
func crc40(data []byte) uint64 {
	const poly, mask = uint64(0x0004820009), uint64(1)<<40 - 1
	var c uint64
	for _, b := range data {
		c ^= uint64(b) << 32
		for range 8 {
			if c&(1<<39) != 0 {
				c = c<<1 ^ poly
			} else {
				c <<= 1
			}
		}
		c &= mask
	}
	return c ^ mask
}

// IssueKeyCommitment is what Init pins of the issue key: hex SHA-256 over a tag and the key. The key itself reaches
// endorsers in Issue's openings only.
func IssueKeyCommitment(key []byte) string {
	h := sha256.Sum256(append([]byte("cardflow/issue-key/1/"), key...))
	return hex.EncodeToString(h[:])
}

// IssueMark is the ledger's name of a block of cards: HMAC-SHA256(issue key, block), base64url without padding.
func IssueMark(issueKey []byte, rule iccid.Rule, block iccid.Block) string {
	m := hmac.New(sha256.New, issueKey)
	m.Write([]byte(block.Key(rule)))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}
