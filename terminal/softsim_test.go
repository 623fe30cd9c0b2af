package terminal

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"cardflow/gm"
)

func newSIM(t testing.TB) (*SoftSIM, string) {
	t.Helper()
	path := storeIn(t)
	s, err := createSoftSIM(path, "SN-0001", goodPIN(), quickKDF, rand.Reader)
	check(t, err)
	return s, path
}

// TestSoftSIM: it signs while it is unlocked, also after it was opened again, by the same key.
func TestSoftSIM(t *testing.T) {
	made, path := newSIM(t)
	message := []byte("m")
	sig, err := made.Sign(message)
	check(t, err)
	check(t, gm.Verify(made.Public(), message, sig))
	info, err := os.Stat(path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %s", info.Mode())
	}

	s, err := OpenSoftSIM(path)
	check(t, err)
	if s.Public() != made.Public() || s.Serial() != "SN-0001" || s.Tries() != pinTries {
		t.Errorf("opened again: %s, %d tries", s, s.Tries())
	}
	_, err = s.Sign(message)
	wants(t, "locked", err, "SIM_LOCKED")
	check(t, s.Unlock(goodPIN()))
	sig, err = s.Sign(message)
	check(t, err)
	check(t, gm.Verify(made.Public(), message, sig))
	s.Lock()
	_, err = s.Sign(message)
	wants(t, "locked again", err, "SIM_LOCKED")

	other, _ := newSIM(t)
	if other.Public() == made.Public() {
		t.Error("the same serial number gives the same key")
	}
}

func TestCreateRefuses(t *testing.T) {
	_, taken := newSIM(t)
	for name, c := range map[string]struct {
		path, serial, pin, code string
	}{
		"serial":    {storeIn(t), "sn 1", "314159", "SERIAL_INVALID"},
		"short PIN": {storeIn(t), "SN-0001", "31415", "PIN_LENGTH"},
		"long PIN":  {storeIn(t), "SN-0001", strings.Repeat("1", 65), "PIN_LENGTH"},
		"one there": {taken, "SN-0001", "314159", "STORE_EXISTS"},
	} {
		_, err := createSoftSIM(c.path, c.serial, gm.Secret(c.pin), quickKDF, rand.Reader)
		wants(t, name, err, c.code)
	}
	path := storeIn(t)
	if _, err := createSoftSIM(path, "SN-0001", goodPIN(), quickKDF, noRandom{}); err == nil {
		t.Error("a key without randomness")
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("and it is on the disk")
	}
}

// TestPINCounter: four wrong ones are counted and forgiven by a right one, in whichever process; the fifth is the end.
func TestPINCounter(t *testing.T) {
	_, path := newSIM(t)
	wrong := func(left int) {
		t.Helper()
		s, err := OpenSoftSIM(path)
		check(t, err)
		err = s.Unlock(gm.Secret("000000"))
		if left == 0 {
			wants(t, "the last wrong one", err, "PIN_LOCKED")
			return
		}
		wants(t, "a wrong one", err, "PIN_WRONG")
		if s.Tries() != left {
			t.Errorf("%d tries left, not %d", s.Tries(), left)
		}
	}
	for left := 4; left > 0; left-- {
		wrong(left)
	}
	s, err := OpenSoftSIM(path)
	check(t, err)
	check(t, s.Unlock(goodPIN()))
	if s.Tries() != pinTries {
		t.Errorf("after a right one %d tries", s.Tries())
	}
	for left := 4; left >= 0; left-- {
		wrong(left)
	}
	if s, err = OpenSoftSIM(path); err != nil {
		t.Fatal(err)
	}
	wants(t, "a right one, too late", s.Unlock(goodPIN()), "PIN_LOCKED")
	var f storeFile
	data, err := os.ReadFile(path)
	check(t, err)
	check(t, json.Unmarshal(data, &f))
	if len(f.Root) != 0 {
		t.Error("the root is still there")
	}
}

// TestPINUncounted: where the count can't be written, no PIN is tried.
func TestPINUncounted(t *testing.T) {
	s, path := newSIM(t)
	s.Lock()
	check(t, os.Mkdir(path+".d", 0o700))
	tried := false
	s.at = func(point string) { tried = tried || point == atTried }
	data, err := os.ReadFile(path)
	check(t, err)
	s.path = path + ".d/gone/" + StoreFile // nothing can be written there
	if err := s.Unlock(goodPIN()); err == nil || tried {
		t.Errorf("tried: %v, %v", tried, err)
	}
	now, err := os.ReadFile(path)
	check(t, err)
	if !bytes.Equal(data, now) {
		t.Error("the file has changed")
	}
}

// TestStoreMode: a file that others may read is refused.
func TestStoreMode(t *testing.T) {
	_, path := newSIM(t)
	check(t, os.Chmod(path, 0o640))
	_, err := OpenSoftSIM(path)
	wants(t, "mode 640", err, "STORE_MODE")
	_, err = OpenSoftSIM(path + ".none")
	wants(t, "none", err, "STORE_MISSING")
}

// TestStoreBound: nothing in the file but the counter can be changed and still be unlocked.
func TestStoreBound(t *testing.T) {
	s, path := newSIM(t)
	other, _ := newSIM(t)
	for name, change := range map[string]func(*storeFile){
		"serial": func(f *storeFile) { f.Serial = "SN-0002" },
		"public": func(f *storeFile) { f.Public = other.Public() },
		"passes": func(f *storeFile) { f.KDF.Passes++ },
		"memory": func(f *storeFile) { f.KDF.Memory *= 2 },
		"salt":   func(f *storeFile) { f.KDF.Salt[0] ^= 1 },
		"root":   func(f *storeFile) { f.Root[20] ^= 1 },
	} {
		data, err := s.file.encode()
		check(t, err)
		f, err := parseStore(data)
		check(t, err)
		change(&f)
		data, err = f.encode()
		check(t, err)
		check(t, writeWhole(path, 0o600, data))
		opened, err := OpenSoftSIM(path)
		check(t, err)
		wants(t, name, opened.Unlock(goodPIN()), "PIN_WRONG")
	}
}

// TestNothingPrints: however a SoftSIM is printed, its root, its scalar and its PIN aren't.
func TestNothingPrints(t *testing.T) {
	s, _ := newSIM(t)
	scalar := s.key.Scalar()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, v := range []any{s, []*SoftSIM{s}, s.key, goodPIN()} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(strings.ToLower(text), hex.EncodeToString(scalar)[:16]) || strings.Contains(text, "314159") || strings.Contains(text, hex.EncodeToString(goodPIN())) {
				t.Errorf("%s of %T prints a secret", verb, v)
			}
		}
	}
}

func FuzzStore(f *testing.F) {
	s, _ := newSIM(f)
	data, err := s.file.encode()
	check(f, err)
	f.Add(data)
	f.Add(bytes.Replace(data, []byte(`"tries": 5`), []byte(`"tries": 6`), 1))
	f.Add(bytes.Replace(data, []byte(`"memory": 64`), []byte(`"memory": 4294967295`), 1))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"root":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseStore(data)
		if err != nil {
			return
		}
		again, err := file.encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("what was read is written otherwise: %v", err)
		}
		if k := file.KDF; k.Memory > 1<<20 || k.Passes > 16 || file.Tries > pinTries || file.Tries < 0 {
			t.Errorf("out of bounds: %+v, %d tries", k, file.Tries)
		}
	})
}
