//go:build cgo

package terminal

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

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
	cleanUp = func() { _ = os.RemoveAll(dir) }
	return dir
})

// newToken makes a token, which is gone when the test has ended.
func newToken(t *testing.T, label string) {
	t.Helper()
	dir := filepath.Join(tokens(), "tokens")
	t.Cleanup(func() { check(t, errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700))) })
	out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", tokenPIN, "--so-pin", "00000000").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util: %v: %s", err, out)
	}
	lookAgain(t)
}

// lookAgain resets the library: it looks for tokens when it is initialised.
func lookAgain(t *testing.T) {
	t.Helper()
	lib, err := cryptoki.Library(softHSM)
	check(t, err)
	check(t, errors.Join(lib.Finalize(), lib.Initialize()))
}

// takeOut takes all tokens out of their sockets, and answers what puts them back.
func takeOut(t *testing.T) (back func()) {
	t.Helper()
	dir, away := filepath.Join(tokens(), "tokens"), filepath.Join(tokens(), "away")
	check(t, errors.Join(os.Rename(dir, away), os.Mkdir(dir, 0o700)))
	lookAgain(t)
	return func() {
		t.Helper()
		check(t, errors.Join(os.RemoveAll(dir), os.Rename(away, dir)))
		lookAgain(t)
	}
}

func newTokenSIM(t *testing.T, path, label, serial string) *TokenSIM {
	t.Helper()
	s, err := CreateTokenSIM(path, serial, softHSM, label, gm.Secret(tokenPIN))
	check(t, err)
	t.Cleanup(s.Lock)
	return s
}

// TestTokenTrades: a terminal whose root is in a token enrols, sells and goes on after it was switched off.
func TestTokenTrades(t *testing.T) {
	newToken(t, "warehouse")
	g, dir := newGateway(t), t.TempDir()
	sim := newTokenSIM(t, TokenPath(dir), "warehouse", "SN-0001")
	state, err := OpenState(StatePath(dir))
	check(t, err)
	defer state.Close()
	_, err = Enrol(t.Context(), sim, state, g.URL, g.Ticket(seller), time.Now)
	check(t, err)
	sim.Lock()
	_, err = sim.Sign([]byte("x"))
	wants(t, "locked", err, "SIM_LOCKED")

	store, err := OpenStore(dir)
	check(t, err)
	if store.Public() != sim.Public() || store.Tries() != TriesUntold {
		t.Fatal("it is another one")
	}
	wants(t, "a wrong PIN", store.Unlock(gm.Secret("00000001")), "TOKEN_PIN_WRONG")
	_, err = store.Sign([]byte("x"))
	wants(t, "after a wrong PIN", err, "SIM_LOCKED")
	check(t, store.Unlock(gm.Secret(tokenPIN)))
	defer store.Lock()
	r := &rig{t: t, g: g, dir: dir}
	r.Terminal, err = New(store, state, time.Now)
	check(t, err)
	r.give(0, 99)
	r.sells(box(t, 0, 9), buyer.ID)
	r.onlyOnce()
	data, err := os.ReadFile(TokenPath(dir))
	check(t, err)
	if strings.Contains(string(data), tokenPIN) {
		t.Error("the PIN is on the disk")
	}

	// Found again by the same serial number it is the same key, by another one another.
	store.Lock()
	again := newTokenSIM(t, filepath.Join(t.TempDir(), TokenFile), "warehouse", "SN-0001")
	again.Lock()
	other := newTokenSIM(t, filepath.Join(t.TempDir(), TokenFile), "warehouse", "SN-0002")
	if again.Public() != sim.Public() || other.Public() == sim.Public() {
		t.Error("a key depends on something else than the root and the serial number")
	}
}

// TestTokenAway: the token is taken out, before and while it is used, and another one put in its place.
func TestTokenAway(t *testing.T) {
	newToken(t, "shelf")
	path := filepath.Join(t.TempDir(), TokenFile)
	sim := newTokenSIM(t, path, "shelf", "SN-0001")
	back := takeOut(t)
	_, err := sim.Sign([]byte("x"))
	wants(t, "taken out while it is used", err, "TOKEN_GONE")
	wants(t, "unlocked while it is away", sim.Unlock(gm.Secret(tokenPIN)), "TOKEN_MISSING")
	newToken(t, "shelf")
	wants(t, "another one of the same label", sim.Unlock(gm.Secret(tokenPIN)), "TOKEN_OTHER")
	back()
	check(t, sim.Unlock(gm.Secret(tokenPIN)))
	if _, err := sim.Sign([]byte("x")); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	// The token was wiped, and has another root.
	at := sim.at.(*session)
	rw, err := at.lib.OpenSession(slotOf(t, at.lib, sim.file.Token), pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	check(t, err)
	check(t, at.lib.DestroyObject(rw, at.root))
	if _, err = sim.Sign([]byte("x")); err == nil {
		t.Error("it signs without a root")
	}
	sim.Lock()
	wants(t, "without a root", sim.Unlock(gm.Secret(tokenPIN)), "TOKEN_OTHER")
	newTokenSIM(t, filepath.Join(t.TempDir(), TokenFile), "shelf", "SN-0001").Lock()
	wants(t, "another root", sim.Unlock(gm.Secret(tokenPIN)), "TOKEN_OTHER")
	_, err = sim.Sign([]byte("x"))
	wants(t, "locked after all", err, "SIM_LOCKED")
}

func slotOf(t *testing.T, lib *pkcs11.Ctx, token Token) uint {
	t.Helper()
	slot, _, err := find(lib, token)
	check(t, err)
	return slot
}

// TestTokenRefuses: what is no token, and a root that could be taken out.
func TestTokenRefuses(t *testing.T) {
	newToken(t, "loose")
	for name, c := range map[string]struct{ serial, module, label, pin, code string }{
		"no library":    {"SN-0001", "/usr/lib/none.so", "loose", tokenPIN, "TOKEN_MISSING"},
		"no PKCS#11":    {"SN-0001", "/etc/hostname", "loose", tokenPIN, "TOKEN_MISSING"},
		"no such token": {"SN-0001", softHSM, "none", tokenPIN, "TOKEN_MISSING"},
		"no serial":     {"sn 1", softHSM, "loose", tokenPIN, "SERIAL_INVALID"},
		"a wrong PIN":   {"SN-0001", softHSM, "loose", "00000001", "TOKEN_PIN_WRONG"},
	} {
		path := filepath.Join(t.TempDir(), TokenFile)
		_, err := CreateTokenSIM(path, c.serial, c.module, c.label, gm.Secret(c.pin))
		wants(t, name, err, c.code)
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s left a file", name)
		}
	}
	lib, err := cryptoki.Library(softHSM)
	check(t, err)
	at, err := lib.OpenSession(slotOf(t, lib, Token{Label: "loose"}), pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	check(t, err)
	check(t, lib.Login(at, pkcs11.CKU_USER, tokenPIN))
	_, err = lib.CreateObject(at, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_GENERIC_SECRET),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, rootSize)), pkcs11.NewAttribute(pkcs11.CKA_LABEL, rootLabel), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
	})
	check(t, err)
	check(t, errors.Join(lib.Logout(at), lib.CloseSession(at)))
	path := filepath.Join(t.TempDir(), TokenFile)
	_, err = CreateTokenSIM(path, "SN-0001", softHSM, "loose", gm.Secret(tokenPIN))
	wants(t, "a root that came from outside", err, "TOKEN_UNFIT")

	check(t, os.WriteFile(path, []byte(`{"format":"cardflow/token-sim/1"}`), 0o600))
	check(t, os.Chmod(path, 0o620))
	_, err = OpenTokenSIM(path)
	wants(t, "a file that others may write", err, "STORE_MODE")
	check(t, os.Chmod(path, 0o600))
	_, err = CreateTokenSIM(path, "SN-0001", softHSM, "loose", gm.Secret(tokenPIN))
	wants(t, "a file that is there", err, "STORE_EXISTS")
	_, err = OpenStore(filepath.Dir(path))
	wants(t, "a file that makes no sense", err, "STORE_CORRUPT")
}

// TestTokenErrors: what a token says of a PIN is told from what it says of itself; SoftHSM2 never locks a PIN, others do.
func TestTokenErrors(t *testing.T) {
	for code, want := range map[uint]string{
		pkcs11.CKR_PIN_INCORRECT: "TOKEN_PIN_WRONG", pkcs11.CKR_PIN_LEN_RANGE: "TOKEN_PIN_WRONG", pkcs11.CKR_PIN_LOCKED: "TOKEN_PIN_LOCKED",
		pkcs11.CKR_DEVICE_REMOVED: "TOKEN_GONE", pkcs11.CKR_SESSION_HANDLE_INVALID: "TOKEN_GONE", pkcs11.CKR_MECHANISM_INVALID: "TOKEN_UNFIT",
	} {
		wants(t, want, tokenError("ask", pkcs11.Error(code)), want)
	}
	if err := tokenError("ask", Refusal("TOKEN_OTHER")); CodeOf(err) != "TOKEN_OTHER" {
		t.Errorf("a code of ours becomes %v", err)
	}
}
