package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/embedded"
	"cardflow/ledger/ledgertest"
)

// A test that kills the process, or fills its disk, starts this binary again as a child, which does what childOf says
// with the ledger at the path in the environment and never runs a test.
const (
	childVariable = "LEDGER_TEST_CHILD"
	pathVariable  = "LEDGER_TEST_PATH"
)

func TestMain(m *testing.M) {
	if child := childOf[os.Getenv(childVariable)]; child != nil {
		if err := child(os.Getenv(pathVariable)); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var childOf = map[string]func(path string) error{"write": writeForEver}

func childConfig(path string) embedded.Config {
	return embedded.Config{Path: path, Channel: "cards", Organisation: "PlatformMSP", Contracts: ledgertest.Probes()}
}

// startChild starts a child and returns the lines that it prints.
func startChild(t *testing.T, name, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+name, pathVariable+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// writeForEver is a child: it writes, deletes and conflicts with itself as fast as it can, and says what was
// acknowledged. It ends when it is killed.
func writeForEver(path string) error {
	fmt.Println("opening")
	l, err := embedded.Open(childConfig(path))
	if err != nil {
		return err
	}
	fmt.Println("open")
	failed := make(chan error)
	for worker := range 8 {
		go func() {
			for {
				if err := writeOnce(l, worker); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

func writeOnce(l *embedded.Ledger, worker int) error {
	own, shared := fmt.Sprint("own ", worker), fmt.Sprint("shared ", rand.IntN(4))
	value := strings.Repeat(strconv.Itoa(rand.Int()), 1+rand.IntN(50))
	steps := [][]byte{ledgertest.Get(shared), ledgertest.Put(own, value), ledgertest.Put(shared, value)}
	if rand.IntN(4) == 0 {
		steps = append(steps, ledgertest.Delete(own), ledgertest.Call(ledgertest.Inner, ledgertest.Range("", ""), ledgertest.Put(own, value)))
	}
	commit, err := submit(l, steps...)
	switch {
	case err == nil:
		_, err = fmt.Println("committed", commit.TxID)
		return err
	case ledger.ClassOf(err) == ledger.Conflict:
		return nil
	}
	return err
}

// TestKilled kills a process that writes, at moments that nobody chose, again and again on one file, and each time on a
// new one while it is created. Whatever it had acknowledged must be there, and nothing may be half there.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	acknowledged := map[string]bool{}
	for round := range 20 {
		after, delay := 1+rand.IntN(60), time.Duration(rand.IntN(int(10*time.Millisecond)))
		killChild(t, path, after, delay, acknowledged)
		checkAfterCrash(t, path, acknowledged)
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	if len(acknowledged) < 20 {
		t.Errorf("only %d transactions were acknowledged", len(acknowledged))
	}
	for round := range 6 {
		path := filepath.Join(dir, fmt.Sprint("new ", round))
		killChild(t, path, 0, time.Duration(rand.IntN(int(4*time.Millisecond))), map[string]bool{})
		checkAfterCrash(t, path, nil)
	}
}

// killChild lets a child write until it has acknowledged so many, and kills it a moment later.
func killChild(t *testing.T, path string, after int, delay time.Duration, acknowledged map[string]bool) {
	t.Helper()
	cmd, lines := startChild(t, "write", path)
	var once sync.Once
	kill := func() {
		once.Do(func() {
			time.AfterFunc(delay, func() {
				if err := cmd.Process.Kill(); err != nil {
					t.Errorf("kill: %v", err)
				}
			})
		})
	}
	count := 0
	for lines.Scan() { // until the pipe ends with the child
		switch word, id, _ := strings.Cut(lines.Text(), " "); word {
		case "opening":
			if after == 0 {
				kill()
			}
		case "open":
		case "committed":
			acknowledged[id] = true
			if count++; count >= after {
				kill()
			}
		default:
			t.Errorf("the child says %s", lines.Text())
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Errorf("the child ended by itself: %v", err)
	}
}

// checkAfterCrash opens what a crash has left.
func checkAfterCrash(t *testing.T, path string, acknowledged map[string]bool) {
	t.Helper()
	l, err := embedded.Open(childConfig(path))
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	defer l.Close()
	if err := l.Verify(context.Background(), nil); err != nil {
		t.Error(err)
	}
	for id := range acknowledged {
		if tx, err := l.Transaction(context.Background(), id); err != nil || tx.Validation != ledger.Valid {
			t.Errorf("an acknowledged transaction is %s, %v", tx.Validation, err)
		}
	}
	state, err := stateOf(l)
	if err != nil {
		t.Fatal(err)
	}
	if replayed := replay(t, l); state != replayed {
		t.Errorf("the state is not what the blocks say: %d and %d bytes", len(state), len(replayed))
	}
	mustSubmit(t, l, ledgertest.Put("after the crash", "1"))
}

// replay makes the state from the blocks.
func replay(t *testing.T, l *embedded.Ledger) string {
	t.Helper()
	height, err := l.Height(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]map[string]string{ledgertest.Outer: {}, ledgertest.Inner: {}}
	for number := uint64(1); number < height; number++ {
		b, err := l.Block(context.Background(), number)
		if err != nil {
			t.Fatal(err)
		}
		for _, tx := range b.Transactions {
			for _, w := range tx.Writes {
				if state[w.Contract][w.Key] = string(w.Value); w.Deleted {
					delete(state[w.Contract], w.Key)
				}
			}
		}
	}
	s := ""
	for _, contract := range []string{ledgertest.Outer, ledgertest.Inner} {
		for _, key := range slices.Sorted(maps.Keys(state[contract])) {
			s += fmt.Sprintf("%s %q = %q\n", contract, key, state[contract][key])
		}
	}
	return s
}
