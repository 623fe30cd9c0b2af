package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"cardflow/ledger"

	"go.etcd.io/bbolt"
	bolt "go.etcd.io/bbolt/errors"
)

const (
	lockWait    = time.Second // for another process to let go of the file
	initialMap  = 64 << 20    // bytes of address space, so that growth seldom waits for readers
	growth      = 4 << 20     // bytes by which the file grows
	genesisCall = "genesis"   // function of the one entry in block 0, which has no contract
)

// file is what a ledger knows of its file besides what bbolt does.
type file struct{ *os.File }

// openFile opens the file, creates it first if need be, and reads its newest block.
func (l *Ledger) openFile() error {
	if _, err := os.Stat(l.config.Path); errors.Is(err, os.ErrNotExist) {
		if err := l.createFile(); err != nil {
			return fmt.Errorf("create: %w", err)
		}
	}
	if err := l.openTree(l.config.Path, false); err != nil {
		return err
	}
	err := l.file.whole()
	if err == nil {
		err = l.view(l.readTip)
	}
	if err != nil {
		l.db.Close()
	}
	return err
}

// openTree opens bbolt. Of a file that makes no sense bbolt may panic half-way through, which must not leave it locked.
func (l *Ledger) openTree(path string, empty bool) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if err != nil && l.file.File != nil {
			l.file.Close() // bbolt has closed it, unless it panicked
		}
	}()
	defer damaged(&err)
	l.db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         lockWait,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: initialMap,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			if err != nil {
				return nil, err
			}
			// bbolt would make a new tree in an empty file: a ledger that was cut to nothing would begin anew.
			if info, err := f.Stat(); err != nil || info.Size() == 0 && !empty {
				f.Close()
				return nil, errors.Join(err, damage("the file is empty"))
			}
			l.file = file{f}
			return f, nil
		},
	})
	switch system := syscall.Errno(0); {
	case errors.Is(err, bolt.ErrTimeout):
		return ErrInUse
	case errors.Is(err, ErrDamaged), errors.As(err, &system):
		return err
	case err != nil: // bbolt did not like what it read
		return damage("%v", err)
	}
	l.db.AllocSize = growth
	return nil
}

// createFile makes a ledger with its block 0 under another name, and links it to its own when it is whole: a crash on
// the way leaves a stray file, never half a ledger. Of two processes that create it at once one links, and both open it.
func (l *Ledger) createFile() error {
	dir, name := filepath.Split(l.config.Path)
	f, err := os.CreateTemp(dir, name+".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := f.Close(); err != nil {
		return err
	}
	if err := l.openTree(f.Name(), true); err != nil {
		return err
	}
	if err := errors.Join(l.db.Update(l.writeGenesis), l.db.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), l.config.Path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDirectory(filepath.Dir(l.config.Path))
}

// CopyTo writes the file as it is at this moment, while the ledger goes on.
func (l *Ledger) CopyTo(w io.Writer) error {
	return l.db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	})
}

// syncDirectory makes a new name in a directory survive a power cut.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeGenesis writes block 0, whose one entry names channel and organisation. Its ID is random, so that no two ledgers
// have a block in common.
func (l *Ledger) writeGenesis(tx *bbolt.Tx) error {
	for _, name := range [][]byte{blocksTree, entriesTree, txsTree, stateTree, historyTree} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	t, err := treesOf(tx)
	if err != nil {
		return err
	}
	p, err := l.Prepare("", genesisCall, [][]byte{[]byte(l.config.Channel), []byte(l.config.Organisation)})
	if err != nil {
		return err
	}
	e := &envelope{id: txID(p), at: l.now()}
	e.call = appendCall(nil, e.id, e.at, l.config.Organisation, p)
	_, err = t.appendBlock(tip{}, 0, []*envelope{e})
	return err
}

// readTip reads the newest block, and checks it and that the ledger is the one that was asked for.
func (l *Ledger) readTip(t trees) error {
	genesis, found, err := t.transaction(version{})
	if err != nil {
		return err
	}
	if !found || genesis.Function != genesisCall || len(genesis.Args) != 2 {
		return damage("block 0 is not that of a ledger")
	}
	if channel, organisation := string(genesis.Args[0]), string(genesis.Args[1]); channel != l.config.Channel || organisation != l.config.Organisation {
		return fmt.Errorf("%w: %q, %q", ErrForeign, channel, organisation)
	}
	last, _ := t.blocks.Cursor().Last()
	if len(last) != 8 {
		return damage("there is no newest block")
	}
	number := binary.BigEndian.Uint64(last)
	if _, err := t.block(number); err != nil {
		return err
	}
	h, _, err := t.header(number)
	if err != nil {
		return err
	}
	if end, _ := t.entries.Cursor().Last(); !bytes.Equal(end, version{number, h.entries - 1}.bytes()) {
		return damage("the last entry is not in the newest block")
	}
	l.tip = tip{number, h.hash()}
	return nil
}

// view reads from a snapshot. A panic of bbolt in it is damage.
func (l *Ledger) view(read func(trees) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if errors.Is(err, ErrDamaged) {
			l.stop(err)
		}
	}()
	defer damaged(&err)
	err = l.db.View(func(tx *bbolt.Tx) error {
		t, err := treesOf(tx)
		if err != nil {
			return err
		}
		return read(t)
	})
	if errors.Is(err, bolt.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// A bbolt file begins with two meta pages, written in turn: the valid one with the higher transaction is the file. bbolt
// takes a broken one for a torn write and falls back on the other, one commit earlier. But a meta fits into a sector, and
// disks do not tear those; a broken one means damage, and falling back would lose a commit in silence.
type meta struct {
	pageSize uint32
	pages    uint64 // in use: the file may not be shorter
	tx       uint64 // of bbolt's, which made it
}

const (
	metaMagic   = 0xED0CDAED
	metaHeader  = 16 // bytes of a page before its content
	metaSummed  = 56 // bytes of a meta that its FNV-1a checksum covers
	smallestBit = 10 // pages have 1 KiB or more
)

// metaAt reads a meta page.
func (f file) metaAt(offset int64) (meta, error) {
	b := make([]byte, metaHeader+metaSummed+8)
	if _, err := f.ReadAt(b, offset); err != nil {
		if errors.Is(err, io.EOF) {
			return meta{}, damage("the file is too short")
		}
		return meta{}, fmt.Errorf("read the file: %w", err)
	}
	b = b[metaHeader:]
	sum := fnv.New64a()
	sum.Write(b[:metaSummed])
	native := binary.NativeEndian
	if native.Uint32(b) != metaMagic || native.Uint64(b[metaSummed:]) != sum.Sum64() {
		return meta{}, damage("the page at %d", offset)
	}
	return meta{pageSize: native.Uint32(b[8:]), pages: native.Uint64(b[40:]), tx: native.Uint64(b[48:])}, nil
}

// newest checks both meta pages and returns the one that counts.
func (f file) newest() (meta, error) {
	first, err := f.metaAt(0)
	if err != nil {
		return meta{}, err
	}
	if first.pageSize < 1<<smallestBit {
		return meta{}, damage("its page size")
	}
	second, err := f.metaAt(int64(first.pageSize))
	if err != nil {
		return meta{}, err
	}
	if second.tx > first.tx {
		return second, nil
	}
	return first, nil
}

// whole checks that nothing of the file is missing at its ends.
func (f file) whole() error {
	m, err := f.newest()
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if uint64(info.Size()) < m.pages*uint64(m.pageSize) {
		return damage("the file has %d bytes of at least %d", info.Size(), m.pages*uint64(m.pageSize))
	}
	return nil
}

// mayHold reports whether a transaction of bbolt's whose commit failed may stand in the file all the same. Only the page
// that would make it the newest decides; if that can't be read, it may.
func (f file) mayHold(tx uint64) bool {
	m, err := f.newest()
	return err != nil || m.tx >= tx
}

// txID is SHA-256(nonce ‖ creator), as on Fabric.
func txID(p ledger.Proposal) hash {
	b := make([]byte, 0, len(p.Nonce)+len(p.Creator))
	b = append(b, p.Nonce...)
	b = append(b, p.Creator...)
	return sha256.Sum256(b)
}

// parseID reads an ID; ok is false for what can't be one, which no block holds.
func parseID(id string) (h hash, ok bool) {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) != len(h) {
		return h, false
	}
	copy(h[:], b)
	return h, h.String() == id
}
