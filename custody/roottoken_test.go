//go:build cgo

package custody_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/pkcs11"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/gm/cryptoki"
)

// softHSM is a token in files: SoftHSM2, from the package softhsm2.
const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

const tokenPIN = "73914682"

// tokens is where this process's SoftHSM2 keeps its tokens. The library reads its configuration once.
var tokens = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "softhsm-")
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(dir, "tokens"), 0o700),
			os.WriteFile(filepath.Join(dir, "softhsm2.conf"), []byte("directories.tokendir = "+filepath.Join(dir, "tokens")+"\nlog.level = ERROR\n"), 0o600),
			os.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf")))
	}
	if err != nil {
		panic(err)
	}
	return dir
})

var making sync.Mutex

// newToken makes a token with a label of its own.
func newToken(t testing.TB) custody.Token {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	tokens()
	label := strings.ReplaceAll(t.Name(), "/", "-")
	label = label[max(0, len(label)-24):]
	out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", tokenPIN, "--so-pin", "00000000").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v: %s", err, out)
	}
	if lib, err := cryptoki.Library(softHSM); err == nil {
		_ = lib.Finalize() // it looks for tokens when it is initialised
	}
	return custody.Token{Module: softHSM, Label: label, Key: "cardflow-root", PIN: gm.Secret(tokenPIN)}
}

func tokenRoot(t testing.TB, token custody.Token) custody.RootKey {
	t.Helper()
	root, err := custody.MakeTokenRoot(token, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func TestTokenRoot(t *testing.T) {
	token := newToken(t)
	if _, err := custody.TokenRoot(token); !errors.Is(err, custody.ErrToken) {
		t.Errorf("before there is a key: %v", err)
	}
	root := tokenRoot(t, token)
	again, err := custody.TokenRoot(token)
	if err != nil || again.ID() != root.ID() || again.Kind() != custody.InToken {
		t.Fatalf("found again: %v", err)
	}
	if twice := tokenRoot(t, token); twice.ID() != root.ID() {
		t.Error("made again, it is another one")
	}
	other := token
	other.Key = "another"
	if tokenRoot(t, other).ID() == root.ID() {
		t.Error("two keys have one ID")
	}

	key := gm.Secret("0123456789abcdef")
	sealed, err := root.Wrap(t.Context(), rand.Reader, key, []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Unwrap(t.Context(), sealed, []byte("ad")); err != nil || !bytes.Equal(got, key) {
		t.Errorf("unwrap: %v", err)
	}
	if _, err := again.Unwrap(t.Context(), sealed, []byte("da")); !errors.Is(err, gm.ErrOpen) {
		t.Errorf("for other associated data: %v", err)
	}
	if _, err := tokenRoot(t, other).Unwrap(t.Context(), sealed, []byte("ad")); !errors.Is(err, gm.ErrOpen) {
		t.Errorf("by another key: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := root.Unwrap(t.Context(), bad, []byte("ad")); !errors.Is(err, gm.ErrOpen) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := root.Unwrap(t.Context(), sealed[:i], []byte("ad")); !errors.Is(err, gm.ErrOpen) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if got, err := root.Unwrap(t.Context(), sealed, []byte("ad")); err != nil || !bytes.Equal(got, key) {
		t.Errorf("after all of that: %v", err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%s", "%q", "%d"} {
		said := fmt.Sprintf(verb, root) + fmt.Sprintf(verb, token)
		for _, form := range forms([]byte(tokenPIN)) {
			if strings.Contains(said, form) {
				t.Errorf("%s prints the PIN", verb)
			}
		}
	}
}

// FuzzTokenEnvelope: bytes in the place of a key-encryption key's envelope, which only a token opens.
func FuzzTokenEnvelope(f *testing.F) {
	root := tokenRoot(f, newToken(f))
	sealed, err := root.Wrap(f.Context(), rand.Reader, gm.Secret("0123456789abcdef"), []byte("ad"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add(append(bytes.Clone(sealed), 0))
	f.Add(make([]byte, len(sealed)))
	f.Fuzz(func(t *testing.T, put []byte) {
		got, err := root.Unwrap(t.Context(), put, []byte("ad"))
		if right := bytes.Equal(put, sealed); right != (err == nil) || err != nil && (!errors.Is(err, gm.ErrOpen) || got != nil) {
			t.Errorf("%d bytes: %v", len(put), err)
		}
	})
}

// TestTokenRootCannotBeTakenOut: not by whoever has the PIN, either.
func TestTokenRootCannotBeTakenOut(t *testing.T) {
	token := newToken(t)
	tokenRoot(t, token)
	lib := custody.Module(softHSM)
	at := session(t, lib, token)
	if err := lib.FindObjectsInit(at, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, token.Key)}); err != nil {
		t.Fatal(err)
	}
	found, _, err := lib.FindObjects(at, 2)
	if err := errors.Join(err, lib.FindObjectsFinal(at)); err != nil || len(found) != 1 {
		t.Fatalf("%d keys, %v", len(found), err)
	}
	if got, err := lib.GetAttributeValue(at, found[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)}); err == nil {
		t.Errorf("the token gives the key away: %d bytes", len(got[0].Value))
	}
	// A key that somebody made otherwise is none.
	_, err = lib.GenerateKey(at, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32), pkcs11.NewAttribute(pkcs11.CKA_LABEL, "loose"), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte{1}),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true),
		pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
	})
	if err != nil {
		t.Fatal(err)
	}
	token.Key = "loose"
	if _, err := custody.TokenRoot(token); !errors.Is(err, custody.ErrToken) || !strings.Contains(err.Error(), "taken out") {
		t.Errorf("a key that can be taken out: %v", err)
	}
}

// session opens a session of the test's own.
func session(t testing.TB, lib *pkcs11.Ctx, token custody.Token) pkcs11.SessionHandle {
	t.Helper()
	at, err := lib.OpenSession(slotOf(t, lib, token), pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lib.CloseSession(at) })
	return at
}

func slotOf(t testing.TB, lib *pkcs11.Ctx, token custody.Token) uint {
	t.Helper()
	slots, err := lib.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		if info, err := lib.GetTokenInfo(slot); err == nil && strings.TrimRight(info.Label, " ") == token.Label {
			return slot
		}
	}
	t.Fatalf("no token %q", token.Label)
	return 0
}

// TestTokenThatGoesAway: its sessions end between two uses; its library is reset; it is taken out and put back.
func TestTokenThatGoesAway(t *testing.T) {
	token := newToken(t)
	root := tokenRoot(t, token)
	key := gm.Secret("0123456789abcdef")
	sealed, err := root.Wrap(t.Context(), rand.Reader, key, []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	opens := func(when string) {
		t.Helper()
		if got, err := root.Unwrap(t.Context(), sealed, []byte("ad")); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%s: %v", when, err)
		}
		if again, err := root.Wrap(t.Context(), rand.Reader, key, []byte("ad")); err != nil || bytes.Equal(again, sealed) {
			t.Errorf("%s, wrap: %v", when, err)
		}
	}
	lib := custody.Module(softHSM)
	if err := lib.CloseAllSessions(slotOf(t, lib, token)); err != nil {
		t.Fatal(err)
	}
	opens("after its sessions ended")
	if err := lib.Finalize(); err != nil {
		t.Fatal(err)
	}
	opens("after its library was reset")

	// Out of its socket.
	dir, away := filepath.Join(tokens(), "tokens"), filepath.Join(tokens(), "away")
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), lib.Finalize()); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Unwrap(t.Context(), sealed, []byte("ad")); !errors.Is(err, custody.ErrToken) {
		t.Errorf("while it is away: %v", err)
	}
	if _, err := root.Wrap(t.Context(), rand.Reader, key, []byte("ad")); !errors.Is(err, custody.ErrToken) {
		t.Errorf("while it is away, wrap: %v", err)
	}
	if err := errors.Join(os.Remove(dir), os.Rename(away, dir), lib.Finalize()); err != nil {
		t.Fatal(err)
	}
	opens("when it is back")
}

// TestTokenThatAnswersTooLate: who has stopped waiting takes nothing from the answer.
func TestTokenThatAnswersTooLate(t *testing.T) {
	root := tokenRoot(t, newToken(t))
	key := gm.Secret("0123456789abcdef")
	sealed, err := root.Wrap(t.Context(), rand.Reader, key, []byte("ad"))
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 20 {
		if got, err := root.Wrap(gone, rand.Reader, key, []byte("ad")); err == nil && got == nil || err != nil && (got != nil || !errors.Is(err, custody.ErrToken)) {
			t.Errorf("wrap: %d bytes, %v", len(got), err)
		}
		if got, err := root.Unwrap(gone, sealed, []byte("ad")); err == nil && got == nil || err != nil && (got != nil || !errors.Is(err, custody.ErrToken)) {
			t.Errorf("unwrap: %d bytes, %v", len(got), err)
		}
	}
	if got, err := root.Unwrap(t.Context(), sealed, []byte("ad")); err != nil || !bytes.Equal(got, key) {
		t.Errorf("after all of that: %v", err)
	}
}

// TestWrongPIN: it is tried once, and never again, or the token locks.
func TestWrongPIN(t *testing.T) {
	token := newToken(t)
	wrong := token
	wrong.PIN = gm.Secret("00000001")
	if _, err := custody.TokenRoot(wrong); !errors.Is(err, custody.ErrPIN) || strings.Contains(err.Error(), string([]byte(wrong.PIN))) {
		t.Errorf("%v", err)
	}
	if _, err := custody.MakeTokenRoot(wrong, rand.Reader); !errors.Is(err, custody.ErrPIN) {
		t.Errorf("make: %v", err)
	}
	if tries := custody.LoginsTried(wrong, 5); tries != 1 {
		t.Errorf("tried %d times", tries)
	}
	tokenRoot(t, token) // it isn't locked
}

func TestTokenRootRefuses(t *testing.T) {
	token := newToken(t)
	for name, change := range map[string]func(*custody.Token){
		"no library":       func(t *custody.Token) { t.Module = "/usr/lib/none.so" },
		"no PKCS#11":       func(t *custody.Token) { t.Module = "/etc/hostname" },
		"no such token":    func(t *custody.Token) { t.Label = "none" },
		"no key there yet": func(t *custody.Token) { t.Key = "none" },
	} {
		bad := token
		change(&bad)
		if _, err := custody.TokenRoot(bad); !errors.Is(err, custody.ErrToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCustodyOnAToken: the root moves from a file into a token; the token is taken out while others sign, and put back.
func TestCustodyOnAToken(t *testing.T) {
	token := newToken(t)
	r := newRig(t)
	r.ensure("c-0001", custody.Machine, custody.Account)
	if err := r.RotateRoot(t.Context(), tokenRoot(t, token), "ops"); err != nil {
		t.Fatal(err)
	}
	c, err := r.under(tokenRoot(t, token))
	if err != nil {
		t.Fatal(err)
	}
	other, err := r.under(tokenRoot(t, token))
	if err != nil {
		t.Fatal(err)
	}
	r.stillSigns(c, "trade-1")
	r.stillSigns(other, "trade-other-1")
	dir, away := filepath.Join(tokens(), "tokens"), filepath.Join(tokens(), "gone")
	lib := custody.Module(softHSM)
	out := func() {
		t.Helper()
		if err := errors.Join(os.Rename(dir, away), os.Mkdir(dir, 0o700), lib.Finalize()); err != nil {
			t.Fatal(err)
		}
	}
	back := func() {
		t.Helper()
		if err := errors.Join(os.Remove(dir), os.Rename(away, dir), lib.Finalize()); err != nil {
			t.Fatal(err)
		}
	}
	out()
	r.stillSigns(c, "trade-2") // what it takes is in memory
	if _, err := c.NewKEK(t.Context(), "ops"); !errors.Is(err, custody.ErrToken) {
		t.Errorf("a key-encryption key without the token: %v", err)
	}
	r.stillSigns(c, "trade-3")
	back()
	if _, err := c.NewKEK(t.Context(), "ops"); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	// In the middle of a signature: it takes a key-encryption key that only the token opens.
	out()
	ask, body := confirm("trade-other-2")
	if sig, _, err := other.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrToken) || sig.Bytes != nil {
		t.Errorf("without the token: %v", err)
	}
	if n := r.count(`SELECT COUNT(*) FROM custody_signatures WHERE subject = 'trade-other-2' AND signature IS NOT NULL`); n != 0 {
		t.Errorf("%d signatures are stored", n)
	}
	back()
	r.stillSigns(other, "trade-other-2")
	if p, err := c.Rewrap(t.Context(), "server-1", false, nil); err != nil || p.Done != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	r.stillSigns(c, "trade-4")
	r.Custody = c
	r.whole()
}
