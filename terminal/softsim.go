package terminal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"cardflow/gm"
	"cardflow/terminal/protocol"
)

// The points at which a test kills the process.
const (
	atCounted   = "pin-counted"   // a try is counted, the PIN not yet tried
	atTried     = "pin-tried"     // the PIN is tried, what came of it not yet written
	atForgotten = "pin-forgotten" // the last try is gone, the root is about to be overwritten
)

// deviceLabel is the label under which the root gives a device's key; the serial number follows it.
const deviceLabel = "cardflow/terminal/device/1/"

// minPIN and maxPIN bound a PIN, in bytes.
const (
	minPIN = 6
	maxPIN = 64
)

// SoftSIM is an SE-SIM in software. Its key is derived from 32 random bytes and the serial number: the serial is printed on
// the label, so without the root it must be good for nothing.
//
// What it promises: without the PIN the file gives no signature. A try is counted, and the count is on the disk, before the
// PIN is tried, so neither a power cut nor a killed process wins one; after five wrong ones the root is overwritten. What it
// can't: whoever copies the file tries PINs on the copy, as fast as Argon2id lets him, and whoever reads the process's memory
// while it is unlocked has the key. A chip doesn't allow either; this is why [Element] is small.
type SoftSIM struct {
	path   string
	random io.Reader
	at     func(point string) // for tests

	mu   sync.Mutex
	file storeFile
	key  *gm.PrivateKey // nil while locked
}

// CreateSoftSIM makes a SoftSIM with a key of its own, and leaves it unlocked. Errors: SERIAL_INVALID, PIN_LENGTH,
// STORE_EXISTS.
func CreateSoftSIM(path, serial string, pin gm.Secret) (*SoftSIM, error) {
	return createSoftSIM(path, serial, pin, usualKDF, rand.Reader)
}

func createSoftSIM(path, serial string, pin gm.Secret, kdf pinKDF, random io.Reader) (*SoftSIM, error) {
	switch {
	case !protocol.ValidSerial(serial):
		return nil, Refusal("SERIAL_INVALID")
	case len(pin) < minPIN || len(pin) > maxPIN:
		return nil, Refusal("PIN_LENGTH").With("min", minPIN).With("max", maxPIN)
	}
	s := &SoftSIM{path: path, random: random}
	unlock, err := s.hold()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil, failf("STORE_EXISTS", "%s: %w", path, errors.Join(err, fs.ErrExist))
	}
	root := make(gm.Secret, rootSize)
	defer root.Clear()
	kdf.Salt = make([]byte, 16)
	for _, b := range [][]byte{root, kdf.Salt} {
		if _, err := io.ReadFull(random, b); err != nil {
			return nil, fmt.Errorf("no randomness: %w", err)
		}
	}
	key, err := gm.DeriveKey(root, deviceLabel+serial)
	if err != nil {
		return nil, err
	}
	f := storeFile{Format: storeFormat, Serial: serial, Public: key.Public(), KDF: kdf, Tries: pinTries}
	sealing := kdf.key(pin)
	defer sealing.Clear()
	if f.Root, err = gm.Seal(sealing, random, root, f.bound()); err != nil {
		return nil, err
	}
	s.file, s.key = f, key
	return s, s.write()
}

// OpenSoftSIM opens one that is there, locked. Errors: STORE_MISSING, STORE_CORRUPT, STORE_MODE.
func OpenSoftSIM(path string) (*SoftSIM, error) {
	s := &SoftSIM{path: path, random: rand.Reader}
	return s, s.read()
}

// read takes the file from the disk.
func (s *SoftSIM) read() error {
	data, err := readOwn(s.path)
	if err != nil {
		return err
	}
	f, err := parseStore(data)
	if err != nil {
		return failf("STORE_CORRUPT", "%s: %w", s.path, err)
	}
	s.file = f
	return nil
}

func (s *SoftSIM) write() error {
	data, err := s.file.encode()
	if err != nil {
		return err
	}
	return writeWhole(s.path, 0o600, data)
}

// hold keeps other processes from counting at the same time: two that read the same count would have two tries for one.
func (s *SoftSIM) hold() (release func(), err error) {
	f, err := os.OpenFile(s.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

// Unlock tries a PIN. Errors: PIN_WRONG with how many tries are left, PIN_LOCKED for good, and whatever keeps the counter from
// being written: then the PIN isn't tried.
func (s *SoftSIM) Unlock(pin gm.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	release, err := s.hold()
	if err != nil {
		return err
	}
	defer release()
	public := s.file.Public
	if err := s.read(); err != nil {
		return err
	}
	if s.file.Public != public {
		return failf("STORE_CORRUPT", "%s holds another key than a moment ago", s.path)
	}
	if s.file.Tries == 0 {
		return errors.Join(Refusal("PIN_LOCKED"), s.forget()) // cut off before it was forgotten
	}
	s.file.Tries--
	if err := s.write(); err != nil {
		return fmt.Errorf("count a try: %w", err)
	}
	s.pass(atCounted)
	sealing := s.file.KDF.key(pin)
	defer sealing.Clear()
	opened, err := gm.Open(sealing, s.file.Root, s.file.bound())
	root := gm.Secret(opened)
	defer root.Clear()
	s.pass(atTried)
	if err != nil {
		if s.file.Tries == 0 {
			return errors.Join(Refusal("PIN_LOCKED"), s.forget())
		}
		return Refusal("PIN_WRONG").With("left", s.file.Tries)
	}
	key, err := gm.DeriveKey(root, deviceLabel+s.file.Serial)
	if err == nil && key.Public() != s.file.Public {
		err = failf("STORE_CORRUPT", "%s: the root gives another key", s.path)
	}
	if err != nil {
		return err
	}
	s.file.Tries = pinTries
	if err := s.write(); err != nil {
		key.Clear()
		return fmt.Errorf("reset the counter: %w", err)
	}
	s.key = key
	return nil
}

// forget overwrites the root for good.
func (s *SoftSIM) forget() error {
	if len(s.file.Root) == 0 {
		return nil
	}
	s.pass(atForgotten)
	s.file.Root = nil
	return s.write()
}

func (s *SoftSIM) pass(point string) {
	if s.at != nil {
		s.at(point)
	}
}

// Tries is how many wrong PINs are left.
func (s *SoftSIM) Tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Tries
}

// Serial implements [Element].
func (s *SoftSIM) Serial() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Serial
}

// Public implements [Element].
func (s *SoftSIM) Public() gm.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.file.Public
}

// Sign implements [Element].
func (s *SoftSIM) Sign(message []byte) (gm.Signature, error) {
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	if key == nil {
		return nil, Refusal("SIM_LOCKED")
	}
	return key.Sign(s.random, message)
}

// Lock implements [Element].
func (s *SoftSIM) Lock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key.Clear()
	s.key = nil
}

// String says whose it is, and nothing of what is in it.
func (s *SoftSIM) String() string { return "[SE-SIM " + s.Serial() + "]" }

// GoString is String.
func (s *SoftSIM) GoString() string { return s.String() }
