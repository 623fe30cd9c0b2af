package iccid

import (
	"crypto/sha256"
	"strings"
)

// maxCanonical is the length of MaxSegments segments, each two ICCIDs and two signs.
const maxCanonical = MaxSegments * (2*fullLen + 2)

// Canonical returns the one string that stands for this set of cards under its rule
// (paper §2.4.1): `A1-An,B1,C1-Cm`, printed ICCIDs, runs joined, sorted by the first
// ICCID of each run. An empty set gives "".
func (s Set) Canonical() string {
	var b strings.Builder
	b.Grow(len(s.segs) * (2*fullLen + 2))
	for i, seg := range s.Segments() {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s.Rule.Format(seg.First()))
		if seg.Lo < seg.Hi {
			b.WriteByte('-')
			b.WriteString(s.Rule.Format(seg.Last()))
		}
	}
	return b.String()
}

// ParseCanonical reads a canonical form. It takes nothing else: the result's
// Canonical is s, byte for byte, so that a hash over s names one set of cards.
// What it costs is bounded by MaxSegments before anything is read.
//
// Errors: ICCID_EMPTY, ICCID_TOO_MANY_SEGMENTS, ICCID_DUPLICATE, those of
// [Rule.Range], and ICCID_NOT_CANONICAL if s says the same in another form.
func ParseCanonical(rule Rule, s string) (Set, error) {
	switch {
	case s == "":
		return Set{}, emptyError()
	case len(s) > maxCanonical || strings.Count(s, ",") >= MaxSegments:
		return Set{}, tooManyError()
	}
	var segs []Segment
	for part := range strings.SplitSeq(s, ",") {
		start, end, run := strings.Cut(part, "-")
		if !run {
			end = start
		}
		seg, err := rule.Range(start, end)
		if err != nil {
			return Set{}, err
		}
		segs = append(segs, seg)
	}
	set, err := NewSet(rule, segs...)
	if err != nil {
		return Set{}, err
	}
	if set.Canonical() != s {
		return Set{}, newError(CodeNotCanonical, "号段串不是规范写法（应排好序、合并相连的号段、不带空格），请重新生成", s)
	}
	return set, nil
}

// PlainHash is the 物权 hash of the paper (§2.4.1): SHA-256 of the canonical form.
// It hides nothing: with the issuer's prefix known, a box of cards is found by trying.
// Whatever leaves the owner's hands uses [LotHash].
func PlainHash(s Set) [32]byte { return sha256.Sum256([]byte(s.Canonical())) }

// LotHash names a lot on the ledger: SHA-256(tag ‖ salt ‖ canonical form), where tag
// is `cardflow/lot/1/` and the rule's name. The tag keeps one form under two rules
// apart; the 32 random bytes of salt make the cards unguessable.
func LotHash(set Set, salt [32]byte) [32]byte {
	h := sha256.New()
	h.Write([]byte("cardflow/lot/1/" + string(set.Rule)))
	h.Write(salt[:])
	h.Write([]byte(set.Canonical()))
	return [32]byte(h.Sum(nil))
}
