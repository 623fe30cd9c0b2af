package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/terminal/protocol"
)

// The child's orders.
const (
	dieDo = "CARDFLOW_TERMINAL_TEST_DO"  // offer, take, pin, scan
	dieAt = "CARDFLOW_TERMINAL_TEST_AT"  // the point at which it is killed
	dieIn = "CARDFLOW_TERMINAL_TEST_DIR" // the terminal's directory
	dieOn = "CARDFLOW_TERMINAL_TEST_ON"  // what it is about: a PIN, a trade, which time
)

func TestMain(m *testing.M) {
	if do := os.Getenv(dieDo); do != "" {
		fmt.Fprintln(os.Stderr, child(do, os.Getenv(dieAt), os.Getenv(dieIn), os.Getenv(dieOn)))
		os.Exit(7)
	}
	status := m.Run()
	cleanUp()
	os.Exit(status)
}

// cleanUp removes what all tests share.
var cleanUp = func() {}

// die ends this process as a power cut would.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// child does what it is told until it is killed.
func child(do, at, dir, on string) error {
	dies := func(point string) {
		if point == at {
			die()
		}
	}
	if do == "scan" {
		state, err := OpenState(StatePath(dir))
		if err != nil {
			return err
		}
		hit, err := strconv.Atoi(on)
		if err != nil {
			return err
		}
		return childScans(state, at, hit)
	}
	sim, err := OpenSoftSIM(StorePath(dir))
	if err != nil {
		return err
	}
	if do == "pin" {
		sim.at = dies
		return errors.Join(errors.New("it lives"), sim.Unlock(gm.Secret(on)))
	}
	if err := sim.Unlock(goodPIN()); err != nil {
		return err
	}
	state, err := OpenState(StatePath(dir))
	if err != nil {
		return err
	}
	state.at = dies
	t, err := New(sim, state, time.Now)
	if err != nil {
		return err
	}
	ctx := context.Background()
	switch do {
	case "offer":
		seg, err := iccid.Luhn.Range(card(0), card(9))
		if err != nil {
			return err
		}
		set, err := iccid.NewSet(iccid.Luhn, seg)
		if err != nil {
			return err
		}
		c, _, err := t.Prepare(ctx, Order{Cards: set})
		if err != nil {
			return err
		}
		if _, err := t.Sell(c, nil); err != nil {
			return err
		}
	case "take":
		in, err := t.OpenOffer(ctx, protocol.ConfirmAsk{Trade: on})
		if err != nil {
			return err
		}
		r := NewReceipt(in.Cards)
		if _, err := r.Box(card(0), card(9)); err != nil {
			return err
		}
		if _, err := t.Take(r, nil, in); err != nil {
			return err
		}
	}
	_, err = t.Send(ctx)
	return errors.Join(errors.New("it lives"), err)
}

// killed runs a child until it is killed at a point.
func killed(t *testing.T, do, at, dir, on string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), dieDo+"="+do, dieAt+"="+at, dieIn+"="+dir, dieOn+"="+on)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("killed at %s: %v\n%s", at, err, out)
	}
}

// reopen opens a terminal again whose process was killed.
func (r *rig) reopen() {
	r.t.Helper()
	var err error
	r.sim, err = OpenSoftSIM(StorePath(r.dir))
	check(r.t, err)
	check(r.t, r.sim.Unlock(goodPIN()))
	state, err := OpenState(StatePath(r.dir))
	check(r.t, err)
	r.t.Cleanup(func() { _ = state.Close() })
	r.Terminal, err = New(r.sim, state, time.Now)
	check(r.t, err)
}

// TestKilled: a terminal that is killed at any point of `out` or `in` carries out what it has signed exactly once, as the same
// bytes; and before it was in the queue, nothing.
func TestKilled(t *testing.T) {
	for _, do := range []string{"offer", "take"} {
		for _, at := range []string{AtQueueing, AtQueued, AtSending, AtSent, AtNoted} {
			t.Run(do+" "+at, func(t *testing.T) {
				g := newGateway(t)
				a, b := newRig(t, g, seller, "SN-0001"), newRig(t, g, buyer, "SN-0002")
				a.give(0, 99)
				r, on, before := a, "", 0
				if do == "take" {
					r, on, before = b, a.sells(box(t, 0, 9), buyer.ID).Trade, 1
				}
				check(t, r.state.Close())
				killed(t, do, at, r.dir, on)
				applied := map[string]int{AtQueueing: 0, AtQueued: 0, AtSending: 0, AtSent: 1, AtNoted: 1}[at]
				if n := len(g.Ledger()) - before; n != applied {
					t.Errorf("%d requests were carried out, not %d", n, applied)
				}
				r.reopen()
				queue, err := r.state.Queue()
				check(t, err)
				want := map[string]string{AtQueued: Waiting, AtSending: Sent, AtSent: Sent, AtNoted: Committed}[at]
				if want == "" && len(queue) != 0 || want != "" && (len(queue) != 1 || queue[0].State != want) {
					t.Fatalf("the queue: %+v", queue)
				}
				_, err = r.Send(t.Context())
				check(t, err)
				after, err := r.state.Queue()
				check(t, err)
				for i, e := range after {
					if e.State != Committed || string(e.Body) != string(queue[i].Body) {
						t.Errorf("it is %s, its bytes the same: %v", e.State, string(e.Body) == string(queue[i].Body))
					}
					for _, sent := range g.Ledger()[e.RequestID].Bytes {
						if sent != string(e.Body) {
							t.Error("it was sent as other bytes")
						}
					}
				}
				if n := len(g.Ledger()) - before; n != len(queue) {
					t.Errorf("%d requests are on the ledger, %d in the queue", n, len(queue))
				}
			})
		}
	}
}

// TestKilledAtPIN: a power cut wins no try: five of them, each before the wrong PIN is known to be wrong, lock the key for good,
// and the last one can't keep the root from being forgotten.
func TestKilledAtPIN(t *testing.T) {
	for _, at := range []string{atCounted, atTried} {
		t.Run(at, func(t *testing.T) {
			s, path := newSIM(t)
			dir := strings.TrimSuffix(path, "/"+StoreFile)
			s.Lock()
			for left := 4; left >= 0; left-- {
				killed(t, "pin", at, dir, "000000")
				s, err := OpenSoftSIM(path)
				check(t, err)
				if s.Tries() != left {
					t.Fatalf("%d tries left, not %d", s.Tries(), left)
				}
			}
			killed(t, "pin", atForgotten, dir, string(goodPIN()))
			s, err := OpenSoftSIM(path)
			check(t, err)
			wants(t, "the right PIN, too late", s.Unlock(goodPIN()), "PIN_LOCKED")
			s, err = OpenSoftSIM(path)
			check(t, err)
			if len(s.file.Root) != 0 {
				t.Error("the root is still there")
			}
		})
	}
	t.Run("the right PIN", func(t *testing.T) {
		s, path := newSIM(t)
		killed(t, "pin", atTried, strings.TrimSuffix(path, "/"+StoreFile), string(goodPIN()))
		check(t, s.Unlock(goodPIN()))
		if s.Tries() != pinTries {
			t.Errorf("%d tries left", s.Tries())
		}
	})
}
