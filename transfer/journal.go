package transfer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Journal is an append-only file of sealed entries: openings, fsynced before any transaction that needs them leaves, and
// the accounts and custodial keys of those who come, before anyone is told of them. Nothing else on earth can open a lot
// after the database is lost, or knows whose a pseudonym is: the ledger has only hashes and public keys. So it is never
// rolled back, has a copy elsewhere, and a restore is database copy + journal + replay of the ledger.
//
// Each record is: length (4 bytes, big-endian), CRC-32C of the sealed bytes (4 bytes), sealed bytes. A crash while
// appending leaves a torn end; Open cuts it off, which loses nothing, because its transaction has not left. An end is
// torn only if no whole record follows: anything else is damage, and nothing is cut.
type Journal struct {
	mu     sync.Mutex
	file   *os.File
	vault  *Vault
	broken error // a write that failed half-way: nothing may follow it

	// Group commit: those who wait while one fsync runs share the next.
	waiting *flush
	syncing sync.Mutex
}

type flush struct {
	done chan struct{}
	err  error
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	journalHeader = 8
	journalRecord = 64 << 20 // bytes, at most
)

// OpenJournal opens or makes the journal. One process has it at a time: two would write over each other.
func OpenJournal(path string, vault *Vault) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("journal: another process has it: %w", err), f.Close())
	}
	j := &Journal{file: f, vault: vault}
	end, err := j.walk(func([]byte) error { return nil })
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err == nil {
		err = errors.Join(f.Sync(), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal: %w", err), f.Close())
	}
	return j, nil
}

// Entry is what one record of the journal holds. An account or a key may stand there that never came to be, because its
// transaction failed afterwards; of several accounts of one login the last is the one that did, if any.
type Entry struct {
	request.Openings
	Account *model.Account    `json:"account,omitempty"` // of a consumer
	Key     *model.CustodyKey `json:"key,omitempty"`     // as custody keeps it: sealed
	Erased  string            `json:"erased,omitempty"`  // a consumer whose data were deleted, and whose account is none any more
}

// KeyEntries are the entries of custodial keys.
func KeyEntries(keys []model.CustodyKey) (entries []Entry) {
	for i := range keys {
		entries = append(entries, Entry{Key: &keys[i]})
	}
	return entries
}

// Append seals entries and makes them last. It returns only when they are on the disk; a crash before may leave the first of
// them.
func (j *Journal) Append(entries ...Entry) error {
	var records []byte
	for _, e := range entries {
		if len(e.Lots) == 0 && len(e.Codes) == 0 && e.Account == nil && e.Key == nil && e.Erased == "" {
			continue
		}
		e.IssueKey = nil // it is derived, and has no place in a file that is copied about
		sealed, err := j.vault.sealJSON("journal", e)
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if len(sealed) > journalRecord {
			return fmt.Errorf("journal: a record of %d bytes", len(sealed)) // it could not be read again
		}
		records = binary.BigEndian.AppendUint32(records, uint32(len(sealed)))
		records = binary.BigEndian.AppendUint32(records, crc32.Checksum(sealed, castagnoli))
		records = append(records, sealed...)
	}
	if len(records) == 0 {
		return nil
	}

	j.mu.Lock()
	if j.broken != nil {
		j.mu.Unlock()
		return fmt.Errorf("journal: %w", j.broken)
	}
	if _, err := j.file.Write(records); err != nil {
		j.broken = err // a torn record stands in the middle now: reopening cuts it off
		j.mu.Unlock()
		return fmt.Errorf("journal: %w", err)
	}
	mine := j.waiting
	lead := mine == nil
	if lead {
		mine = &flush{done: make(chan struct{})}
		j.waiting = mine
	}
	j.mu.Unlock()
	if !lead {
		<-mine.done
		return mine.err
	}
	j.syncing.Lock()
	j.mu.Lock()
	j.waiting = nil // whoever writes from here on waits for the next fsync
	err := j.broken // the one before failed: a system tells that once, and then that all is well
	j.mu.Unlock()
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		j.mu.Lock()
		j.broken = err // after a failed fsync nobody knows what the disk has
		j.mu.Unlock()
		err = fmt.Errorf("journal: %w", err)
	}
	j.syncing.Unlock()
	mine.err = err
	close(mine.done)
	return err
}

// Ready reports whether openings could be recorded now.
func (j *Journal) Ready() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// Read calls each for all entries, oldest first.
func (j *Journal) Read(each func(Entry) error) error {
	_, err := j.walk(func(sealed []byte) error {
		var e Entry
		if err := j.vault.openJSON("journal", sealed, &e); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		return each(e)
	})
	return err
}

// walk visits every whole record and returns where the last one ends: there the file ends too, or is torn.
func (j *Journal) walk(each func(sealed []byte) error) (end int64, err error) {
	info, err := j.file.Stat()
	if err != nil {
		return 0, err
	}
	r := bufio.NewReaderSize(io.NewSectionReader(j.file, 0, info.Size()), 1<<20)
	var header [journalHeader]byte
	for {
		_, err := io.ReadFull(r, header[:])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return end, nil // nothing, or less than a header
		}
		if err != nil {
			return end, err
		}
		n := int64(binary.BigEndian.Uint32(header[:]))
		if !fits(n, info.Size()-end) {
			return end, j.torn(end, info.Size())
		}
		sealed := make([]byte, n)
		if _, err := io.ReadFull(r, sealed); err != nil {
			return end, err
		}
		if crc32.Checksum(sealed, castagnoli) != binary.BigEndian.Uint32(header[4:]) {
			return end, j.torn(end, info.Size())
		}
		if err := each(sealed); err != nil {
			return end, err
		}
		end += journalHeader + n
	}
}

// fits reports whether a record of n bytes can stand where room bytes are left. None is empty: a file that a crash
// has filled up with zeros is not one of empty records.
func fits(n, room int64) bool { return 0 < n && n <= journalRecord && journalHeader+n <= room }

// torn finds out what a record that is none means. If nothing but what a crash cut short follows, it is the torn end,
// and no error. If a whole record follows, the file is damaged: whoever cut it here would lose what can't be had again.
func (j *Journal) torn(end, size int64) error {
	rest := make([]byte, min(size-end, 2*journalRecord))
	if _, err := j.file.ReadAt(rest, end); err != nil {
		return err
	}
	for at := 1; at+journalHeader < len(rest); at++ {
		n := int64(binary.BigEndian.Uint32(rest[at:]))
		if !fits(n, int64(len(rest)-at)) {
			continue
		}
		sealed := rest[at+journalHeader:][:n]
		if crc32.Checksum(sealed, castagnoli) == binary.BigEndian.Uint32(rest[at+4:]) {
			return fmt.Errorf("damaged at byte %d, and whole again at byte %d: restore it from its copy", end, end+int64(at))
		}
	}
	return nil
}

// readJournal calls each for all entries of a journal of another server, oldest first, or in a copy of one: which may end
// in the middle of a record, as this one may while the other writes.
func readJournal(path string, vault *Vault, each func(Entry) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("journal of another server: %w", err)
	}
	defer f.Close()
	j := &Journal{file: f, vault: vault}
	if err := j.Read(each); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return nil
}

// CopyJournal copies the whole records of a journal, of which another process may have the file open and go on writing.
// Copies put one behind the other are a journal again.
func CopyJournal(to io.Writer, path string) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	size, err = (&Journal{file: f}).walk(func([]byte) error { return nil })
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	_, err = io.Copy(to, io.NewSectionReader(f, 0, size))
	return size, err
}

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
