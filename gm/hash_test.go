package gm_test

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"hash"
	"strings"
	"testing"

	"cardflow/gm"

	emmansun "github.com/emmansun/gmsm/sm3"
	tjfoc "github.com/tjfoc/gmsm/sm3"
	"pgregory.net/rapid"
)

// GB/T 32905-2016, A.1 and A.2, in both libraries.
func TestStandardSM3(t *testing.T) {
	for text, want := range map[string]string{
		"abc":                      "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
		strings.Repeat("abcd", 16): "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732",
	} {
		sum := gm.SM3([]byte(text))
		if !bytes.Equal(sum[:], unhex(t, want)) {
			t.Errorf("emmansun: SM3(%q) = %x", text, sum)
		}
		if got := tjfoc.Sm3Sum([]byte(text)); !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("tjfoc: SM3(%q) = %x", text, got)
		}
		h := gm.NewSM3()
		for _, c := range []byte(text) {
			h.Write([]byte{c})
		}
		if !bytes.Equal(h.Sum(nil), unhex(t, want)) || h.Size() != 32 || h.BlockSize() != 64 {
			t.Errorf("running: %x", h.Sum(nil))
		}
	}
}

func TestSM3Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 0, 5).Draw(t, "parts")
		whole := bytes.Join(parts, nil)
		sum := gm.SM3(parts...)
		if sum != gm.SM3(whole) {
			t.Fatal("the parts aren't one string")
		}
		if !bytes.Equal(sum[:], tjfoc.Sm3Sum(whole)) {
			t.Fatal("the libraries disagree")
		}
	})
}

func TestHMACKeepsBorders(t *testing.T) {
	key := []byte("key")
	seen := map[[32]byte]int{}
	for i, parts := range [][]string{
		{}, {""}, {"", ""}, {"abc"}, {"ab", "c"}, {"a", "bc"}, {"a", "b", "c"}, {"abc", ""}, {"", "abc"},
		{"\x00\x00\x00\x00\x00\x00\x00\x00"},
	} {
		var b [][]byte
		for _, part := range parts {
			b = append(b, []byte(part))
		}
		tag := gm.HMAC(key, b...)
		if other, ok := seen[tag]; ok {
			t.Errorf("lists %d and %d are alike", other, i)
		}
		seen[tag] = i
	}
	if gm.HMAC([]byte("other"), []byte("abc")) == gm.HMAC(key, []byte("abc")) {
		t.Error("the key doesn't matter")
	}
}

// HMAC is RFC 2104 over the length-prefixed parts, by the other library's SM3.
func TestHMACProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "key")
		parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 100), 0, 4).Draw(t, "parts")
		var message []byte
		for _, part := range parts {
			message = binary.BigEndian.AppendUint64(message, uint64(len(part)))
			message = append(message, part...)
		}
		tag := gm.HMAC(key, parts...)
		if want := macByHand(key, message); !hmac.Equal(tag[:], want) {
			t.Fatalf("%x, want %x", tag, want)
		}
	})
}

// macByHand is RFC 2104, section 2, with tjfoc's SM3.
func macByHand(key, message []byte) []byte {
	if len(key) > 64 {
		key = tjfoc.Sm3Sum(key)
	}
	inner, outer := bytes.Repeat([]byte{0x36}, 64), bytes.Repeat([]byte{0x5c}, 64)
	for i, k := range key {
		inner[i] ^= k
		outer[i] ^= k
	}
	return tjfoc.Sm3Sum(append(outer, tjfoc.Sm3Sum(append(inner, message...))...))
}

// RFC 5869 has no example with SM3; its construction by hand stands in.
func TestDeriveIsHKDF(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root := rapid.SliceOfN(rapid.Byte(), 16, 80).Draw(t, "root")
		label := rapid.String().Draw(t, "label")
		n := rapid.IntRange(1, 200).Draw(t, "n")
		extracted := macByHand(make([]byte, 32), root)
		var want, block []byte
		for i := byte(1); len(want) < n; i++ {
			block = macByHand(extracted, append(append(bytes.Clone(block), label...), i))
			want = append(want, block...)
		}
		if got := gm.Derive(root, label, n); !bytes.Equal(got, want[:n]) {
			t.Fatalf("%x, want %x", []byte(got), want[:n])
		}
	})
}

func TestDeriveRefuses(t *testing.T) {
	root := make(gm.Secret, 32)
	for name, derive := range map[string]func(){
		"no root":      func() { gm.Derive(nil, "l", 16) },
		"a short root": func() { gm.Derive(root[:15], "l", 16) },
		"no bytes":     func() { gm.Derive(root, "l", 0) },
		"minus one":    func() { gm.Derive(root, "l", -1) },
		"too many":     func() { gm.Derive(root, "l", 255*32+1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("derived")
				}
			}()
			derive()
		})
	}
	if got := gm.Derive(root, "l", 255*32); len(got) != 255*32 {
		t.Errorf("%d bytes", len(got))
	}
	if bytes.Equal(gm.Derive(root, "a", 16), gm.Derive(root, "b", 16)) {
		t.Error("the label doesn't matter")
	}
}

func TestConcurrentHashes(t *testing.T) {
	want, tag, key := gm.SM3([]byte("m")), gm.HMAC([]byte("k"), []byte("m")), gm.Derive(make(gm.Secret, 16), "l", 16)
	each(8, func(int) {
		for range 50 {
			if gm.SM3([]byte("m")) != want || gm.HMAC([]byte("k"), []byte("m")) != tag ||
				!bytes.Equal(gm.Derive(make(gm.Secret, 16), "l", 16), key) {
				t.Error("differs")
			}
		}
	})
}

func BenchmarkSM3(b *testing.B) {
	data := make([]byte, 8192)
	for name, h := range map[string]hash.Hash{"emmansun": emmansun.New(), "tjfoc": tjfoc.New()} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				h.Reset()
				h.Write(data)
				h.Sum(nil)
			}
		})
	}
}
