package transfer_test

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cardflow/ledger/request"
	"cardflow/transfer"
)

// diary is a journal on a path, with the vault that it is sealed with.
type diary struct {
	t     *testing.T
	path  string
	vault *transfer.Vault
}

func newDiary(t *testing.T) diary {
	dir := t.TempDir()
	return diary{t, filepath.Join(dir, "journal"), must2(transfer.OpenVault(filepath.Join(dir, "data.key"), rand.Reader))(t)}
}

func (b diary) open() (*transfer.Journal, error) { return transfer.OpenJournal(b.path, b.vault) }

// write appends records named first to last and closes the journal.
func (b diary) write(first, last int) {
	b.t.Helper()
	j := must2(b.open())(b.t)
	for n := first; n <= last; n++ {
		check(b.t, j.Append(page(n)))
	}
	check(b.t, j.Close())
}

func page(n int) transfer.Entry {
	return transfer.Entry{Openings: request.Openings{Lots: map[string]request.LotOpening{fmt.Sprintf("lot-%d", n): {Rule: "SERIAL", Salt: bytes.Repeat([]byte{byte(n)}, 32), Canonical: id(n)}}}}
}

// read lists the names of the records in order.
func (b diary) read() []string {
	b.t.Helper()
	j := must2(b.open())(b.t)
	defer j.Close()
	return b.names(j)
}

func (b diary) names(j *transfer.Journal) []string {
	b.t.Helper()
	var names []string
	check(b.t, j.Read(func(o transfer.Entry) error {
		for n := range o.Lots {
			names = append(names, n)
		}
		return nil
	}))
	return names
}

// pages lists where the records of the file begin, and its end.
func (b diary) pages() (bytes []byte, at []int) {
	b.t.Helper()
	file, err := os.ReadFile(b.path)
	check(b.t, err)
	for n := 0; n < len(file); n += 8 + int(binary.BigEndian.Uint32(file[n:])) {
		at = append(at, n)
	}
	return file, append(at, len(file))
}

func TestJournalKeepsOpeningsInOrder(t *testing.T) {
	b := newDiary(t)
	b.write(1, 3)
	b.write(4, 5)
	if got := fmt.Sprint(b.read()); got != "[lot-1 lot-2 lot-3 lot-4 lot-5]" {
		t.Fatal(got)
	}
	file, _ := b.pages()
	if bytes.Contains(file, []byte(id(1))) || bytes.Contains(file, []byte("lot-1")) {
		t.Fatal("openings stand in the journal in the clear")
	}
	info, err := os.Stat(b.path)
	check(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v", info.Mode())
	}
}

// The issue key is derived from the data key and pinned on the ledger: a copy of the journal has no business with it.
func TestJournalHasNoIssueKey(t *testing.T) {
	b := newDiary(t)
	j := must2(b.open())(t)
	defer j.Close()
	o := page(1)
	o.IssueKey = []byte("key")
	check(t, j.Append(o))
	check(t, j.Read(func(o transfer.Entry) error {
		if o.IssueKey != nil {
			t.Error("the issue key is in the journal")
		}
		return nil
	}))
}

// A crash while appending leaves any prefix of the last record, or zeros where it was to stand. Whatever was there
// before stays, and the journal goes on behind it.
func TestJournalCutsATornTail(t *testing.T) {
	b := newDiary(t)
	b.write(1, 3)
	file, at := b.pages()
	for n := at[2]; n < at[3]; n++ {
		check(t, os.WriteFile(b.path, file[:n], 0o600))
		b.write(4, 4)
		if got := fmt.Sprint(b.read()); got != "[lot-1 lot-2 lot-4]" {
			t.Fatalf("cut at byte %d of the last record: %s", n-at[2], got)
		}
	}
	for _, zeros := range []int{1, 7, 8, 9, 16, 4096} {
		check(t, os.WriteFile(b.path, append(bytes.Clone(file), make([]byte, zeros)...), 0o600))
		b.write(4, 4)
		if got := fmt.Sprint(b.read()); got != "[lot-1 lot-2 lot-3 lot-4]" {
			t.Fatalf("%d zeros at the end: %s", zeros, got)
		}
	}
	half := bytes.Clone(file)
	clear(half[at[2]+20:])
	check(t, os.WriteFile(b.path, half, 0o600))
	if got := fmt.Sprint(b.read()); got != "[lot-1 lot-2]" {
		t.Fatalf("zeros in the last record: %s", got)
	}
}

// Damage in the middle is refused, wherever it is: a length that reaches beyond the end would look like a torn tail, and
// cutting there would lose every opening behind it for ever.
func TestJournalRefusesDamageInTheMiddle(t *testing.T) {
	b := newDiary(t)
	b.write(1, 4)
	file, at := b.pages()
	for n := at[1]; n < at[2]; n++ {
		hurt := bytes.Clone(file)
		hurt[n] ^= 0xff
		check(t, os.WriteFile(b.path, hurt, 0o600))
		j, err := b.open()
		if err == nil {
			names := b.names(j)
			j.Close()
			t.Fatalf("byte %d of record 2 is damaged, and the journal opens with %v", n-at[1], names)
		}
		after, err := os.ReadFile(b.path)
		check(t, err)
		if !bytes.Equal(after, hurt) {
			t.Fatalf("byte %d of record 2 is damaged, and opening changed the file", n-at[1])
		}
	}
}

func TestJournalOfAnotherKeyDoesNotOpen(t *testing.T) {
	b := newDiary(t)
	b.write(1, 1)
	other := newDiary(t)
	j := must2(transfer.OpenJournal(b.path, other.vault))(t)
	defer j.Close()
	if err := j.Read(func(transfer.Entry) error { return nil }); err == nil {
		t.Fatal("read with another data key")
	}
}

// Many at once share fsyncs; each is on the disk when its Append returns.
func TestJournalConcurrentAppends(t *testing.T) {
	b := newDiary(t)
	j := must2(b.open())(t)
	const writers, each = 16, 8
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				if err := j.Append(page(w*each + n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	check(t, j.Close())
	seen := map[string]bool{}
	for _, n := range b.read() {
		seen[n] = true
	}
	if len(seen) != writers*each {
		t.Fatalf("%d records of %d", len(seen), writers*each)
	}
}

// After a write that failed nothing more is taken, and readiness says so.
func TestJournalThatCannotWriteTakesNothing(t *testing.T) {
	b := newDiary(t)
	j := must2(b.open())(t)
	check(t, j.Append(page(1)))
	check(t, j.Ready())
	check(t, j.Close()) // every write fails from here on
	if j.Append(page(2)) == nil {
		t.Fatal("took a record that it can't write")
	}
	if j.Ready() == nil {
		t.Fatal("ready, and can't write")
	}
	if j.Append(page(3)) == nil {
		t.Fatal("took a record after a failure")
	}
	if got := fmt.Sprint(b.read()); got != "[lot-1]" {
		t.Fatal(got)
	}
}

// Two processes on one journal would write over each other's records.
func TestJournalIsOneProcesss(t *testing.T) {
	b := newDiary(t)
	j := must2(b.open())(t)
	if _, err := b.open(); err == nil {
		t.Fatal("opened twice")
	}
	check(t, j.Append(page(1)))
	check(t, j.Close())
	if got := fmt.Sprint(b.read()); got != "[lot-1]" {
		t.Fatal(got)
	}
}

func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	vault, err := transfer.OpenVault(filepath.Join(dir, "data.key"), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(make([]byte, 100))
	f.Add([]byte{0, 0, 0, 4, 1, 2, 3, 4, 'a', 'b', 'c', 'd'})
	f.Fuzz(func(t *testing.T, tail []byte) {
		b := diary{t, filepath.Join(t.TempDir(), "journal"), vault}
		b.write(1, 1)
		file, _ := b.pages()
		check(t, os.WriteFile(b.path, append(file, tail...), 0o600))
		j, err := b.open()
		if err != nil {
			return // damage, said aloud
		}
		defer j.Close()
		names := []string{}
		err = j.Read(func(o transfer.Entry) error {
			for n := range o.Lots {
				names = append(names, n)
			}
			return nil
		})
		if err == nil && (len(names) != 1 || names[0] != "lot-1") {
			t.Fatalf("behind one record and %x: %v", tail, names)
		}
	})
}
