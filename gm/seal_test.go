package gm_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"testing"

	"cardflow/gm"

	emmansun "github.com/emmansun/gmsm/sm4"
	tjfoc "github.com/tjfoc/gmsm/sm4"
	"pgregory.net/rapid"
)

const standardKey4 = "0123456789ABCDEFFEDCBA9876543210"

// GB/T 32907-2016, A.1 and A.2, in both libraries.
func TestStandardSM4(t *testing.T) {
	for name, open := range map[string]func([]byte) (cipher.Block, error){"emmansun": emmansun.NewCipher, "tjfoc": tjfoc.NewCipher} {
		t.Run(name, func(t *testing.T) {
			block, err := open(unhex(t, standardKey4))
			if err != nil {
				t.Fatal(err)
			}
			b := unhex(t, standardKey4)
			block.Encrypt(b, b)
			if !bytes.Equal(b, unhex(t, "681EDF34D206965E86B3E94F536E4246")) {
				t.Errorf("one round %x", b)
			}
			block.Decrypt(b, b)
			if !bytes.Equal(b, unhex(t, standardKey4)) {
				t.Errorf("back %x", b)
			}
			for range 1_000_000 {
				block.Encrypt(b, b)
			}
			if !bytes.Equal(b, unhex(t, "595298C7C6FD271F0402F804C33D3F66")) {
				t.Errorf("a million rounds %x", b)
			}
		})
	}
}

// RFC 8998, A.1. The native GCM of tjfoc/gmsm computes another tag.
func TestStandardSM4GCM(t *testing.T) {
	nonce := unhex(t, "00001234567800000000ABCD")
	ad := unhex(t, "FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
	plaintext := unhex(t, "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBCCCCCCCCCCCCCCCCDDDDDDDDDDDDDDDDEEEEEEEEEEEEEEEEFFFFFFFFFFFFFFFFEEEEEEEEEEEEEEEEAAAAAAAAAAAAAAAA")
	ciphertext := unhex(t, "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D")
	tag := unhex(t, "83DE3541E4C2B58177E065A9BF7B62EC")
	want := bytes.Join([][]byte{nonce, ciphertext, tag}, nil)

	sealed, err := gm.Seal(unhex(t, standardKey4), bytes.NewReader(nonce), plaintext, ad)
	if err != nil || !bytes.Equal(sealed, want) {
		t.Fatalf("sealed %x, %v", sealed, err)
	}
	opened, err := gm.Open(unhex(t, standardKey4), want, ad)
	if err != nil || !bytes.Equal(opened, plaintext) {
		t.Errorf("opened %x, %v", opened, err)
	}

	// The other library's block under the standard library's GCM agrees.
	block, err := tjfoc.NewCipher(unhex(t, standardKey4))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	if got := aead.Seal(nil, nonce, plaintext, ad); !bytes.Equal(got, want[len(nonce):]) {
		t.Errorf("tjfoc's block: %x", got)
	}
	if _, native, err := tjfoc.Sm4GCM(unhex(t, standardKey4), nonce, plaintext, ad, true); err != nil || bytes.Equal(native, tag) {
		t.Errorf("the trap is gone: %x, %v", native, err)
	}
}

// A box is either way of sealing; both owe the same properties.
type box struct {
	name     string
	overhead int
	seal     func(key gm.Secret, plaintext, ad []byte) ([]byte, error)
	open     func(key gm.Secret, sealed, ad []byte) ([]byte, error)
}

var boxes = []box{
	{"random", gm.SealOverhead, func(key gm.Secret, plaintext, ad []byte) ([]byte, error) {
		return gm.Seal(key, rand.Reader, plaintext, ad)
	}, gm.Open},
	{"deterministic", gm.DeterministicOverhead, gm.SealDeterministic, gm.OpenDeterministic},
}

func TestSealOpenProperty(t *testing.T) {
	for _, box := range boxes {
		t.Run(box.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				some := rapid.SliceOfN(rapid.Byte(), 0, 100)
				key := gm.Secret(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key"))
				plaintext, ad := some.Draw(t, "plaintext"), some.Draw(t, "ad")
				keptText, keptAD := bytes.Clone(plaintext), bytes.Clone(ad)
				sealed, err := box.seal(key, plaintext, ad)
				if err != nil || len(sealed) != len(plaintext)+box.overhead {
					t.Fatalf("seal: %d bytes, %v", len(sealed), err)
				}
				kept := bytes.Clone(sealed)
				opened, err := box.open(key, sealed, ad)
				if err != nil || !bytes.Equal(opened, plaintext) {
					t.Fatalf("open: %x, %v", opened, err)
				}
				if !bytes.Equal(sealed, kept) || !bytes.Equal(plaintext, keptText) || !bytes.Equal(ad, keptAD) {
					t.Fatal("an argument changed")
				}
				refused := func(what string, key gm.Secret, sealed, ad []byte) {
					if got, err := box.open(key, sealed, ad); !errors.Is(err, gm.ErrOpen) || got != nil {
						t.Fatalf("%s: %x, %v", what, got, err)
					}
				}
				for bit := range len(sealed) * 8 {
					refused("a bit", key, flip(sealed, bit), ad)
				}
				refused("a key bit", flip(key, rapid.IntRange(0, 127).Draw(t, "key bit")), sealed, ad)
				refused("longer", key, append(bytes.Clone(sealed), 0), ad)
				refused("shorter", key, sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")], ad)
				refused("longer ad", key, sealed, append(bytes.Clone(ad), 0))
				if len(ad) > 0 {
					refused("an ad bit", key, sealed, flip(ad, rapid.IntRange(0, len(ad)*8-1).Draw(t, "ad bit")))
					refused("no ad", key, sealed, nil)
				}
			})
		})
	}
}

func TestSealRefuses(t *testing.T) {
	for _, box := range boxes {
		t.Run(box.name, func(t *testing.T) {
			for _, size := range []int{0, 15, 17, 24, 32} {
				key := make(gm.Secret, size)
				if _, err := box.seal(key, nil, nil); !errors.Is(err, gm.ErrKeySize) {
					t.Errorf("seal, %d bytes: %v", size, err)
				}
				if _, err := box.open(key, make([]byte, 64), nil); !errors.Is(err, gm.ErrKeySize) {
					t.Errorf("open, %d bytes: %v", size, err)
				}
			}
			for size := range 65 {
				if _, err := box.open(make(gm.Secret, 16), make([]byte, size), nil); !errors.Is(err, gm.ErrOpen) {
					t.Errorf("%d zeros: %v", size, err)
				}
			}
		})
	}
}

func TestSealIsRandomised(t *testing.T) {
	key := make(gm.Secret, 16)
	seen := map[string]bool{}
	for range 64 {
		sealed, err := gm.Seal(key, rand.Reader, []byte("m"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if nonce := string(sealed[:12]); seen[nonce] {
			t.Fatal("a nonce came twice")
		} else {
			seen[nonce] = true
		}
	}
}

func TestSealDeterministicIsOpaque(t *testing.T) {
	key := gm.Derive(make(gm.Secret, 32), "test", 16)
	seal := func(plaintext, ad string) string {
		t.Helper()
		out, err := gm.SealDeterministic(key, []byte(plaintext), []byte(ad))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if seal("898604B7192270274511", "card") != seal("898604B7192270274511", "card") {
		t.Error("not deterministic")
	}
	// Neighbours share nothing: not the IV, not the keystream.
	first, second := seal("898604B7192270274511", "card"), seal("898604B7192270274512", "card")
	if first[:16] == second[:16] || first[16:32] == second[16:32] {
		t.Error("neighbours look alike")
	}
	// The border between plaintext and ad counts.
	if seal("ab", "c")[:16] == seal("a", "bc")[:16] || seal("", "x")[:16] == seal("x", "")[:16] {
		t.Error("plaintext and ad run into each other")
	}
	// One cannot be opened as the other.
	if _, err := gm.Open(key, []byte(first), []byte("card")); !errors.Is(err, gm.ErrOpen) {
		t.Errorf("deterministic opened as random: %v", err)
	}
}

// The bytes are pinned: IDs in circulation must open after an upgrade.
func TestSealDeterministicVector(t *testing.T) {
	key := gm.Secret(unhex(t, standardKey4))
	sealed, err := gm.SealDeterministic(key, []byte("898604B7192270274511"), []byte("card"))
	if err != nil {
		t.Fatal(err)
	}
	// By hand, from the other library's parts.
	derive := func(label string, n int) []byte {
		extracted := macByHand(make([]byte, 32), key)
		return macByHand(extracted, append([]byte(label), 1))[:n]
	}
	message := append([]byte{0, 0, 0, 0, 0, 0, 0, 4}, "card"...)
	message = append(append(message, 0, 0, 0, 0, 0, 0, 0, 20), "898604B7192270274511"...)
	want := macByHand(derive("cardflow/gm/siv/authenticate/1", 32), message)[:16]
	block, err := tjfoc.NewCipher(derive("cardflow/gm/siv/encrypt/1", 16))
	if err != nil {
		t.Fatal(err)
	}
	ciphertext := make([]byte, 20)
	cipher.NewCTR(block, want).XORKeyStream(ciphertext, []byte("898604B7192270274511"))
	if want = append(want, ciphertext...); !bytes.Equal(sealed, want) {
		t.Errorf("%x, by hand %x", sealed, want)
	}
}

// tjfoc's SM4 block mixes up what goroutines encrypt at once; sealing doesn't.
func TestConcurrentSealing(t *testing.T) {
	key := gm.Derive(make(gm.Secret, 16), "test", 16)
	for _, box := range boxes {
		t.Run(box.name, func(t *testing.T) {
			each(8, func(i int) {
				for j := range 100 {
					plaintext := bytes.Repeat([]byte{byte(i), byte(j)}, 1+j)
					sealed, err := box.seal(key, plaintext, []byte{byte(i)})
					if err != nil {
						t.Errorf("seal: %v", err)
						return
					}
					opened, err := box.open(key, sealed, []byte{byte(i)})
					if err != nil || !bytes.Equal(opened, plaintext) {
						t.Errorf("open: %v", err)
						return
					}
				}
			})
		})
	}
}

// FuzzOpen: nothing but what was sealed opens, and a deterministic box that
// opens is the one that sealing makes.
func FuzzOpen(f *testing.F) {
	key := gm.Derive(make(gm.Secret, 16), "fuzz", 16)
	for _, plaintext := range []string{"", "m", "898604B7192270274511"} {
		for _, box := range boxes {
			sealed, err := box.seal(key, []byte(plaintext), []byte("ad"))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(sealed, []byte("ad"), uint16(3))
		}
	}
	f.Add([]byte{}, []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, sealed, ad []byte, bit uint16) {
		for _, box := range boxes {
			plaintext, err := box.open(key, sealed, ad)
			if err != nil {
				if !errors.Is(err, gm.ErrOpen) || plaintext != nil {
					t.Fatalf("%s: %x, %v", box.name, plaintext, err)
				}
				continue
			}
			if len(plaintext)+box.overhead != len(sealed) {
				t.Fatalf("%s: %d bytes out of %d", box.name, len(plaintext), len(sealed))
			}
			if _, err := box.open(key, flip(sealed, int(bit)%(len(sealed)*8)), ad); !errors.Is(err, gm.ErrOpen) {
				t.Fatalf("%s: bit %d: %v", box.name, bit, err)
			}
		}
		if plaintext, err := gm.OpenDeterministic(key, sealed, ad); err == nil {
			if again, err := gm.SealDeterministic(key, plaintext, ad); err != nil || !bytes.Equal(again, sealed) {
				t.Fatalf("sealed again: %x, %v", again, err)
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	key, plaintext, ad := make(gm.Secret, 16), make([]byte, 32), make([]byte, 64)
	for _, box := range boxes {
		b.Run(box.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := box.seal(key, plaintext, ad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	key, plaintext, ad := make(gm.Secret, 16), make([]byte, 32), make([]byte, 64)
	for _, box := range boxes {
		sealed, err := box.seal(key, plaintext, ad)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(box.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := box.open(key, sealed, ad); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
