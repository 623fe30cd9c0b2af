//go:build unix

package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"cardflow/ledger"
	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"
)

func init() { childOf["fill"] = fillDisk }

// fillDisk is a child: it writes until the file may not grow any more, and says what became of each transaction.
func fillDisk(path string) error {
	l, err := embedded.Open(childConfig(path))
	if err != nil {
		return err
	}
	commit, err := submit(l, ledgertest.Put("before", "1"))
	if err != nil {
		return err
	}
	fmt.Println("committed", commit.TxID)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // the limit is to be an error, as a full disk is
	limit := uint64(info.Size())
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		return err
	}
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := 0; ; i++ {
				p, err := l.Prepare(ledgertest.Outer, ledgertest.Script,
					[][]byte{ledgertest.Put(fmt.Sprint(worker, i), strings.Repeat("full", 16_000))})
				if err != nil {
					fmt.Println("error", err)
					return
				}
				if _, err := l.Submit(context.Background(), p, nil, nil); err != nil {
					fmt.Println(ledger.ClassOf(err), p.TxID)
					return
				}
				fmt.Println("committed", p.TxID)
			}
		})
	}
	all.Wait()
	if err := l.Ready(context.Background()); !errors.Is(err, embedded.ErrStopped) {
		return fmt.Errorf("Ready: %w, want ErrStopped", err)
	}
	if _, err := submit(l, ledgertest.Put("after", "1")); ledger.ClassOf(err) != ledger.NotSent || !errors.Is(err, embedded.ErrStopped) {
		return fmt.Errorf("Submit: %w, want NotSent, ErrStopped", err)
	}
	if _, err := l.Transaction(context.Background(), commit.TxID); err != nil {
		return fmt.Errorf("reading goes on: %w", err)
	}
	return l.Close()
}

func TestDiskFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	cmd, lines := startChild(t, "fill", path)
	told := map[string]string{}
	for lines.Scan() {
		what, id, _ := strings.Cut(lines.Text(), " ")
		told[id] = what
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the child failed: %v, %v", err, told)
	}
	l := open(t, embedded.Config{Path: path})
	if err := l.Verify(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for id, what := range told {
		count[what]++
		_, err := l.Transaction(context.Background(), id)
		switch {
		case what == "committed" && err != nil:
			t.Errorf("a committed transaction: %v", err)
		case what == string(ledger.NotSent) && !errors.Is(err, ledger.ErrNotFound):
			t.Errorf("a transaction that was not sent is in a block, %v", err)
		case what != "committed" && what != string(ledger.NotSent):
			t.Errorf("the child says %s", what) // a file that can't grow is a certain failure
		}
	}
	if count["committed"] < 2 || count[string(ledger.NotSent)] != 8 {
		t.Errorf("of the transactions %v, want some committed and 8 not sent", count)
	}
	mustSubmit(t, l, ledgertest.Put("after", strings.Repeat("room", 100_000)))
}

// A disk that is gone tells nothing: what was to be written may be on it.
func TestDiskGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	l, err := embedded.Open(childConfig(path))
	if err != nil {
		t.Fatal(err)
	}
	commit := mustSubmit(t, l, ledgertest.Put("a", "1"))
	if last, next, err := l.MayHold(); err != nil || !last || next {
		t.Errorf("the file may hold the last commit: %t, the next one: %t, %v", last, next, err)
	}
	if err := l.PullDisk(); err != nil {
		t.Fatal(err)
	}
	if last, next, err := l.MayHold(); err == nil || !last || !next {
		t.Errorf("a file that can't be read may hold the last commit: %t, the next one: %t, %v", last, next, err)
	}
	_, err = submit(l, ledgertest.Put("a", "2"))
	wantClass(t, err, ledger.Unknown)
	if err := l.Ready(context.Background()); !errors.Is(err, embedded.ErrStopped) {
		t.Errorf("Ready: %v, want ErrStopped", err)
	}
	_, err = submit(l, ledgertest.Put("a", "3"))
	wantClass(t, err, ledger.NotSent)
	if height, err := l.Height(context.Background()); err != nil || height != 2 {
		t.Errorf("height is %d, %v", height, err)
	}
	if err := l.Close(); err == nil {
		t.Error("Close says nothing of the disk")
	}
	l = open(t, embedded.Config{Path: path})
	if tx, err := l.Transaction(context.Background(), commit.TxID); err != nil || tx.Validation != ledger.Valid {
		t.Errorf("what was committed is %+v, %v", tx, err)
	}
}
