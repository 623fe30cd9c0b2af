// Package backup puts all that a platform must not lose into one file, and begins anew from it on an empty machine.
//
// # The promise
//
//   - A stolen bundle opens nothing. It is encrypted (age, X25519) for a recovery key of which servers know the public half
//     only: who runs one can make bundles and read none.
//   - A bundle is whole or refused. Each of its chunks is authenticated, so that one which was cut off, altered or put
//     together from two is found, and what it counts at its end is held against what came.
//   - A database that was half restored is no database: no server starts on it, and asking again goes on from there.
//   - What was restored signs nothing until it has been reconciled with the ledger.
//
// A bundle has no root key of custody: its custodial keys stay sealed, and their holders' shares or the token are needed
// beside it.
package backup

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"
	"time"

	"filippo.io/age"

	"cardflow/model"
)

// format is the version of the bundle's layout: two lines of head, and then a tar of the members below, in gzip, in age.
const format = 1

// The members of a bundle, in this order. Those that end in a slash come in chunks, which are numbered.
const (
	manifestName = "bundle.json"
	rowsName     = "rows/" // rows/TABLE/000001: JSON arrays, a line each
	dataKeyName  = "data.key"
	journalName  = "journal/" // whole records of all servers' journals
	ledgerName   = "ledger/"  // the embedded ledger's file, if there is one
	endName      = "end.json"
)

// chunk is how much of a member is held in memory at once, in bytes.
const chunk = 1 << 20

// most bounds any member that is read: a row is never that long.
const most = 128 << 20

// idSize is how long a bundle's ID is, in bytes.
const idSize = 16

// Manifest is what a bundle says of itself at its beginning.
type Manifest struct {
	Format  int           `json:"format"`
	ID      string        `json:"id"` // 32 hex digits
	TakenAt time.Time     `json:"takenAt"`
	Channel string        `json:"channel"` // of the ledger
	Schema  int64         `json:"schema"`  // newest migration of the database
	Tables  []model.Table `json:"tables"`
	Block   int64         `json:"block"`  // the last one that the database had followed; -1: none
	Ledger  bool          `json:"ledger"` // whether the ledger is in it; else it is the network's
}

// Totals are what a bundle has told when it ends.
type Totals struct {
	Rows    map[string]int64 `json:"rows"`    // by table
	Journal int64            `json:"journal"` // bytes
	Ledger  int64            `json:"ledger"`  // bytes
	Digest  string           `json:"digest"`  // SHA-256 over names and contents of all members before
}

// All counts the rows of all tables.
func (t Totals) All() (n int64) {
	for _, rows := range t.Rows {
		n += rows
	}
	return n
}

// Errors of reading. Each comes with its Chinese sentence on the command line.
var (
	// ErrNotForKey: the bundle was not made for this recovery key.
	ErrNotForKey = errors.New("the bundle was not made for this recovery key")
	// ErrNoBundle: the file is no bundle.
	ErrNoBundle = errors.New("the file is no bundle")
	// ErrDamaged: the bundle was cut off or altered.
	ErrDamaged = errors.New("the bundle is damaged")
	// ErrOtherRelease: another release made the bundle.
	ErrOtherRelease = errors.New("another release made the bundle")
)

// writer writes members.
type writer struct {
	age    io.WriteCloser
	gzip   *gzip.Writer
	tar    *tar.Writer
	digest hash.Hash
	totals Totals
	taken  time.Time
}

func newWriter(to io.Writer, recipient age.Recipient, taken time.Time) (*writer, error) {
	w := &writer{digest: sha256.New(), totals: Totals{Rows: map[string]int64{}}, taken: taken}
	var err error
	if w.age, err = age.Encrypt(to, recipient); err != nil {
		return nil, err
	}
	w.gzip, _ = gzip.NewWriterLevel(w.age, gzip.BestSpeed)
	w.tar = tar.NewWriter(w.gzip)
	return w, nil
}

// member writes one member.
func (w *writer) member(name string, content []byte) error {
	sum(w.digest, name, content)
	err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: w.taken, Format: tar.FormatPAX})
	if err == nil {
		_, err = w.tar.Write(content)
	}
	return err
}

func (w *writer) json(name string, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return w.member(name, content)
}

// close ends the bundle with its totals.
func (w *writer) close() error {
	w.totals.Digest = hex.EncodeToString(w.digest.Sum(nil))
	if err := w.json(endName, w.totals); err != nil {
		return err
	}
	return errors.Join(w.tar.Close(), w.gzip.Close(), w.age.Close())
}

// sum adds a member to a digest, in a way that no other members give.
func sum(to hash.Hash, name string, content []byte) {
	fmt.Fprintf(to, "%d:%s%d:", len(name), name, len(content))
	to.Write(content)
}

// chunks cuts what is written to it into members of some size.
type chunks struct {
	w      *writer
	folder string
	buffer []byte
	count  int
	size   int64
}

// Write implements io.Writer.
func (c *chunks) Write(b []byte) (int, error) {
	c.size += int64(len(b))
	for rest := b; len(rest) > 0; {
		n := min(len(rest), chunk-len(c.buffer))
		c.buffer, rest = append(c.buffer, rest[:n]...), rest[n:]
		if len(c.buffer) == chunk {
			if err := c.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

func (c *chunks) flush() error {
	if len(c.buffer) == 0 {
		return nil
	}
	c.count++
	err := c.w.member(fmt.Sprintf("%s%06d", c.folder, c.count), c.buffer)
	c.buffer = c.buffer[:0]
	return err
}

// reader reads members.
type reader struct {
	Manifest Manifest
	tar      *tar.Reader
	gzip     *gzip.Reader
	digest   hash.Hash
}

// newReader opens a bundle and reads its beginning.
func newReader(from io.Reader, identity Identity) (*reader, error) {
	var none *age.NoIdentityMatchError
	plain, err := age.Decrypt(from, identity)
	switch {
	case errors.As(err, &none):
		return nil, ErrNotForKey
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoBundle, err)
	}
	r := &reader{digest: sha256.New()}
	if r.gzip, err = gzip.NewReader(plain); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r.tar = tar.NewReader(r.gzip)
	name, content, err := r.member()
	if err != nil {
		return nil, err
	}
	if name != manifestName {
		return nil, fmt.Errorf("%w: it begins with %q", ErrDamaged, name)
	}
	if err := json.Unmarshal(content, &r.Manifest); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if id, err := hex.DecodeString(r.Manifest.ID); err != nil || len(id) != idSize {
		return nil, fmt.Errorf("%w: it has no ID", ErrDamaged)
	}
	if r.Manifest.Format != format {
		return nil, fmt.Errorf("%w: its format is %d, and this one reads %d", ErrOtherRelease, r.Manifest.Format, format)
	}
	return r, nil
}

// member reads the next one.
func (r *reader) member() (name string, content []byte, err error) {
	h, err := r.tar.Next()
	if err != nil {
		return "", nil, fmt.Errorf("%w: it ends too soon: %w", ErrDamaged, err)
	}
	if h.Size > most {
		return "", nil, fmt.Errorf("%w: %q has %d bytes", ErrDamaged, h.Name, h.Size)
	}
	content = make([]byte, h.Size)
	if _, err := io.ReadFull(r.tar, content); err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if h.Name != endName {
		sum(r.digest, h.Name, content)
	}
	return h.Name, content, nil
}

// sink is who takes what a bundle holds, in the order in which it comes.
type sink interface {
	rows(table string, lines []byte) error
	dataKey(key []byte) error
	journal(b []byte) error
	ledger(b []byte) error
}

// each reads all members, and answers the totals that they were held against.
func (r *reader) each(to sink) (Totals, error) {
	got := Totals{Rows: map[string]int64{}}
	for {
		name, content, err := r.member()
		if err != nil {
			return got, err
		}
		folder, _ := path.Split(name)
		switch {
		case name == endName:
			got.Digest = hex.EncodeToString(r.digest.Sum(nil))
			return got, r.end(got, content)
		case strings.HasPrefix(name, rowsName):
			table := strings.TrimSuffix(strings.TrimPrefix(folder, rowsName), "/")
			got.Rows[table] += int64(strings.Count(string(content), "\n"))
			err = to.rows(table, content)
		case name == dataKeyName:
			err = to.dataKey(content)
		case folder == journalName:
			got.Journal += int64(len(content))
			err = to.journal(content)
		case folder == ledgerName:
			got.Ledger += int64(len(content))
			err = to.ledger(content)
		default:
			err = fmt.Errorf("%w: a member %q", ErrDamaged, name)
		}
		if err != nil {
			return got, err
		}
	}
}

// end holds what came against what the bundle says was in it, and makes sure that nothing follows.
func (r *reader) end(got Totals, content []byte) error {
	var said Totals
	if err := json.Unmarshal(content, &said); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if got.Digest != said.Digest || got.All() != said.All() || got.Journal != said.Journal || got.Ledger != said.Ledger {
		return fmt.Errorf("%w: it does not hold what it says", ErrDamaged)
	}
	if _, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	// The last chunk of an age file is marked as such: who reads to its end knows that nothing was cut off.
	switch n, err := io.CopyN(io.Discard, r.gzip, 1); {
	case n != 0:
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}
