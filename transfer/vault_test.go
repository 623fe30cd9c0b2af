package transfer_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardflow/iccid"
	"cardflow/transfer"
)

func TestVaultOpensOnlyWhatItSealedAtThatPlace(t *testing.T) {
	v, other := newDiary(t).vault, newDiary(t).vault
	sealed, err := v.Seal("lot/1", []byte("salt"))
	check(t, err)
	if plain, err := v.Open("lot/1", sealed); err != nil || string(plain) != "salt" {
		t.Fatalf("%q, %v", plain, err)
	}
	if _, err := v.Open("lot/2", sealed); err == nil {
		t.Error("opened at another place")
	}
	if _, err := other.Open("lot/1", sealed); err == nil {
		t.Error("opened with another key")
	}
	for n := range sealed {
		hurt := bytes.Clone(sealed)
		hurt[n] ^= 1
		if _, err := v.Open("lot/1", hurt); err == nil {
			t.Errorf("opened with byte %d changed", n)
		}
	}
	if v.Index("code", "12345678") == other.Index("code", "12345678") || v.Index("code", "x") == v.Index("openid", "x") {
		t.Error("indexes of two keys, or of two kinds, agree")
	}
	if v.Index("code", "12345678") != v.Index("code", "12345678") {
		t.Error("an index changes")
	}
}

func TestVaultKeyIsMadeOnceAndKeptClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "data.key")
	v := must2(transfer.OpenVault(path, rand.Reader))(t)
	again := must2(transfer.OpenVault(path, rand.Reader))(t)
	if v.Index("a", "b") != again.Index("a", "b") {
		t.Fatal("the second start made another key")
	}
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o620} {
		check(t, os.Chmod(path, mode))
		_, err := transfer.OpenVault(path, rand.Reader)
		if err == nil {
			t.Errorf("opened with mode %v", mode)
		} else if strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("the error tells where the data lie: %v", err)
		}
	}
	check(t, os.Chmod(path, 0o600))
	for _, size := range []int{0, 31, 33} {
		check(t, os.WriteFile(path, make([]byte, size), 0o600))
		if _, err := transfer.OpenVault(path, rand.Reader); err == nil {
			t.Errorf("opened a key of %d bytes", size)
		}
	}
}

func TestVaultWithoutRandomnessMakesNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.key")
	if _, err := transfer.OpenVault(path, bytes.NewReader(make([]byte, 5))); err == nil {
		t.Fatal("made a key of nothing")
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("left a key behind")
	}
}

// A card's ID in URLs says nothing, is the same every time, and can't be made up: any other string is no card.
func TestCardIDs(t *testing.T) {
	v, other := newDiary(t).vault, newDiary(t).vault
	card, err := iccid.Serial.Parse(id(42))
	check(t, err)
	name := v.CardID(iccid.Serial, card)
	if name != v.CardID(iccid.Serial, card) {
		t.Fatal("a card has two IDs")
	}
	if strings.Contains(name, id(42)[12:]) || name == v.CardID(iccid.Luhn, card) || name == other.CardID(iccid.Serial, card) {
		t.Fatal("an ID tells its card, or is that of another rule or key")
	}
	rule, got, err := v.Card(name)
	if err != nil || rule != iccid.Serial || got != card {
		t.Fatalf("%s %v %v", rule, got, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(name)
	check(t, err)
	for n := range raw {
		hurt := bytes.Clone(raw)
		hurt[n] ^= 1
		if _, _, err := v.Card(base64.RawURLEncoding.EncodeToString(hurt)); transfer.CodeOf(err) != "CARD_NOT_FOUND" {
			t.Errorf("with byte %d changed: %v", n, err)
		}
	}
	for _, made := range []string{"", "x", "====", name[:len(name)-1], name + "A", id(42), strings.Repeat("A", 200), other.CardID(iccid.Serial, card)} {
		if _, _, err := v.Card(made); transfer.CodeOf(err) != "CARD_NOT_FOUND" {
			t.Errorf("%q: %v", made, err)
		}
	}
}
