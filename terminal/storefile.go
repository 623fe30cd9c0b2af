package terminal

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/crypto/argon2"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

// storeFormat names the layout of a SoftSIM's file, and the meaning of what is sealed in it.
const storeFormat = "cardflow/se-sim/1"

const (
	rootSize  = 32
	pinTries  = 5
	maxStored = 4096 // bytes of a store file
)

// storeFile is a SoftSIM as it lies on the disk. It has no export: the root leaves it under a PIN only, into the memory of the
// process that signs.
type storeFile struct {
	Format string       `json:"format"`
	Serial string       `json:"serial"`
	Public gm.PublicKey `json:"public"`
	KDF    pinKDF       `json:"argon2id"`
	Root   []byte       `json:"root"`  // sealed under the PIN's key; empty once the PIN is locked
	Tries  int          `json:"tries"` // that are left
}

// pinKDF is how the PIN becomes a key: Argon2id (RFC 9106).
type pinKDF struct {
	Passes  uint32 `json:"passes"`
	Memory  uint32 `json:"memory"` // KiB
	Threads uint8  `json:"threads"`
	Salt    []byte `json:"salt"` // 16 bytes
}

// usualKDF are the second recommended parameters of RFC 9106: 64 MiB, three passes, four lanes.
var usualKDF = pinKDF{Passes: 3, Memory: 64 << 10, Threads: 4}

// key stretches a PIN. The caller clears it.
func (k pinKDF) key(pin gm.Secret) gm.Secret {
	return argon2.IDKey(pin, k.Salt, k.Passes, k.Memory, k.Threads, gm.KeySize)
}

// bound is what the seal of the root is bound to: all of the file but the counter.
func (f storeFile) bound() []byte {
	var out []byte
	numbers := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, f.KDF.Passes), f.KDF.Memory)
	for _, field := range [][]byte{[]byte(f.Format), []byte(f.Serial), f.Public.Bytes(), append(numbers, f.KDF.Threads), f.KDF.Salt} {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(field))), field...)
	}
	return out
}

func (f storeFile) encode() ([]byte, error) {
	b, err := json.MarshalIndent(f, "", "  ")
	return append(b, '\n'), err
}

// parseStore reads what encode wrote, in that one spelling. What it lets through costs at most 1 GiB and 16 passes to unlock.
func parseStore(data []byte) (storeFile, error) {
	var f storeFile
	if len(data) > maxStored {
		return f, fmt.Errorf("%d bytes, more than %d", len(data), maxStored)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return storeFile{}, errors.New("not JSON of a store") // what JSON says of it may quote it
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return storeFile{}, errors.New("data after the value")
	}
	k := f.KDF
	switch {
	case f.Format != storeFormat:
		return storeFile{}, errors.New("another format")
	case !protocol.ValidSerial(f.Serial):
		return storeFile{}, errors.New("the serial number is none")
	case f.Public.IsZero():
		return storeFile{}, errors.New("no public key")
	case k.Passes < 1 || k.Passes > 16 || k.Threads < 1 || k.Threads > 16 || k.Memory < 8*uint32(k.Threads) || k.Memory > 1<<20 || len(k.Salt) != 16:
		return storeFile{}, errors.New("parameters of Argon2id that are out of bounds")
	case f.Tries < 0 || f.Tries > pinTries:
		return storeFile{}, errors.New("a counter that is out of bounds")
	case len(f.Root) != rootSize+gm.SealOverhead && (f.Tries != 0 || len(f.Root) != 0):
		return storeFile{}, errors.New("the sealed root has another size")
	}
	again, err := f.encode()
	if err != nil || !bytes.Equal(again, data) {
		return storeFile{}, errors.New("not as it was written")
	}
	return f, nil
}

// readOwn reads the file of a store, which is nobody's but its owner's. Errors: STORE_MISSING, STORE_MODE.
func readOwn(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Code: "STORE_MISSING", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, failf("STORE_MODE", "%s is %s: only its owner may read it", path, info.Mode())
	}
	return os.ReadFile(path)
}
