package custody_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Everything that custody does, by a process of its own that is killed at each of its steps: before each commit, after it,
// and between the steps of a signature. What it leaves is whole, and the next server goes on from there.

// job is what a process does until it is killed.
type job struct {
	What   string
	Round  string // names what it works on: the steps before have been at other things
	Hit    int    // the point at which it dies, of all that it comes by
	Driver string
	DSN    string
	Root   string // the root key's file; empty: it is in shares
	Ahead  int64  // of the tests' clock
	Shares []string
	Dir    string // for what isn't in the database
}

// jobVariable tells a process of this test that it is one.
const jobVariable = "CUSTODY_TEST_JOB"

// TestProcessKilled kills a process at each point of each chore.
func TestProcessKilled(t *testing.T) {
	for what, c := range chores {
		t.Run(what, func(t *testing.T) {
			if what == "unseal" {
				withShares(t, func(t *testing.T, r *rig, shares []custody.Share) { r.killedAt(what, c, shares[1:4]...) })
				return
			}
			each(t, func(t *testing.T, r *rig) { r.killedAt(what, c) })
		})
	}
}

func (r *rig) killedAt(what string, c chore, shares ...custody.Share) {
	if c.rig != nil {
		c.rig(r)
	}
	var said strings.Builder
	for n := 1; ; n++ {
		j := job{What: what, Round: fmt.Sprintf("c-round%04d", n), Hit: n, Driver: r.cfg.Driver, DSN: r.cfg.DSN, Root: r.root, Ahead: r.clock.ahead.Load(), Dir: r.t.TempDir()}
		for _, s := range shares {
			j.Root, j.Shares = "", append(j.Shares, string(s.Text()))
		}
		if c.before != nil {
			c.before(r, j.Round)
		}
		point, out := r.dies(j)
		said.WriteString(out)
		c.after(r, j)
		if r.t.Failed() {
			r.t.Fatalf("%s: killed at point %d, %q", what, n, point)
		}
		if point == "" {
			if n <= c.points {
				r.t.Errorf("%s: %d points only", what, n-1)
			}
			break
		}
	}
	if got := slices.DeleteFunc(r.heard(&r.alarms), func(code string) bool {
		return code == custody.ErrDigestConflict.Code || code == custody.ErrUnauthorised.Code // which it asks for
	}); len(got) > 0 {
		r.t.Errorf("alarms %q", got)
	}
	r.whole()
	if !strings.Contains(said.String(), "killed at ") {
		r.t.Errorf("the processes say nothing: %q", said.String())
	}
	r.leaks(said.String())
}

// dies has a process do a job, and answers at which point it was killed, "" if it came through, and what it said.
func (r *rig) dies(j job) (point, said string) {
	r.t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(r.t.Context(), os.Args[0], "-test.run", "^TestJobThatIsKilled$", "-test.v")
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	out, err := cmd.CombinedOutput()
	if state := cmd.ProcessState; err != nil {
		if status, ok := state.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
			r.t.Fatalf("%s: %v\n%s", j.Round, err, out)
		}
		_, after, _ := strings.Cut(string(out), "killed at ")
		point, _, _ := strings.Cut(after, "\n")
		return point, string(out)
	}
	return "", string(out)
}

// TestJobThatIsKilled is the process that is killed. In a run of the tests it has nothing to do.
func TestJobThatIsKilled(t *testing.T) {
	text := os.Getenv(jobVariable)
	if text == "" {
		return
	}
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, cfg: model.Config{Driver: j.Driver, DSN: j.DSN, Logger: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))}, root: j.Root, clock: &clock{}, random: &random{}, log: &buffer{}}
	r.clock.ahead.Store(j.Ahead)
	dying := make(chan struct{}, 1)
	dying <- struct{}{}
	hit := 0
	at := func(point string) {
		<-dying
		if hit++; hit == j.Hit {
			fmt.Println("killed at " + point)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		dying <- struct{}{}
	}
	r.cfg.At = func(point string) {
		if r.Custody != nil { // what opens it is the next chore's
			at(point)
		}
	}
	var err error
	if r.db, err = model.Open(t.Context(), r.cfg); err != nil {
		t.Fatal(err)
	}
	config := custody.Config{DB: r.db, Shares: true, Channel: channel, Clock: r.clock.now, Random: r.random, Logger: r.cfg.Logger}
	if j.Root != "" {
		config = r.config()
	}
	config.At = at
	config.Keep = func(keys ...model.CustodyKey) error {
		f, err := os.OpenFile(filepath.Join(j.Dir, "kept"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		for _, k := range keys {
			_, failed := fmt.Fprintln(f, k.ID)
			err = errors.Join(err, failed)
		}
		return errors.Join(err, f.Sync(), f.Close())
	}
	c, err := custody.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	r.Custody = c
	if err := chores[j.What].do(r, j); err != nil {
		t.Fatal(err)
	}
}

// confirmBy is what an owner signs, once.
func confirmBy(owner string) (custody.Ask, request.Confirm) {
	ask, body := confirm("trade-" + owner)
	ask.Owner, body.Receiver = owner, owner
	return ask, body
}

func ownersOf(round string) (list []string) {
	for i := range 250 {
		list = append(list, fmt.Sprintf("%s.%03d", round, i))
	}
	return list
}

// roundOf is the number of a round, from 1.
func roundOf(j job) int { return j.Hit }

func (j job) nextRootFile() string { return filepath.Join(j.Dir, "next.key") }

func (j job) nextRoot(t testing.TB) custody.RootKey {
	t.Helper()
	root, err := custody.FileRoot(j.nextRootFile(), &random{})
	if err != nil {
		t.Fatal(err)
	}
	return root
}
