package custody_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/model/modeltest"
)

// ceremony makes a root in shares on the rig's empty database. The rig's custody is a server that has just started there.
func (r *rig) ceremony(threshold, shares int) []custody.Share {
	r.t.Helper()
	root, made := split(r.t, threshold, shares)
	config := r.config()
	config.Root = root
	c, err := custody.Init(r.t.Context(), config)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Close()
	r.Custody = r.sealed()
	return made
}

// sealed opens a custody whose root is in shares, as another server would.
func (r *rig) sealed() *custody.Custody {
	r.t.Helper()
	config := r.config()
	config.Root, config.Shares = nil, true
	c, err := custody.Open(r.t.Context(), config)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

// bring enters shares at a server and answers the last status and error.
func bring(ctx context.Context, c *custody.Custody, shares ...custody.Share) (s custody.SealStatus, err error) {
	for _, share := range shares {
		if s, err = c.Unseal(ctx, share.Text(), "holder-"+string(rune('0'+share.Index))); err != nil {
			break
		}
	}
	return s, err
}

// withShares runs a test on a rig with a root of which 3 of 5 shares are needed, sealed.
func withShares(t *testing.T, test func(t *testing.T, r *rig, shares []custody.Share)) {
	t.Helper()
	t.Run(modeltest.Engine(t), func(t *testing.T) {
		t.Parallel()
		r := bareRig(t)
		test(t, r, r.ceremony(3, 5))
	})
}

func TestUnseal(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		s, err := r.SealStatus(t.Context())
		if err != nil || !s.Sealed || s.Kind != custody.InShares || s.Threshold != 3 || s.Shares != 5 || s.Set != shares[0].Set || len(s.Entered) != 0 {
			t.Fatalf("at the start: %+v, %v", s, err)
		}
		post := custody.Post{Owner: "c-0001", Role: custody.Machine, Slot: custody.Account}
		if _, err := r.Ensure(t.Context(), post, "test"); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("a new key while sealed: %v", err)
		}
		if err := r.Ready(t.Context()); !errors.Is(err, custody.ErrSealed) {
			t.Errorf("ready while sealed: %v", err)
		}
		for i, want := range [][]int{{4}, {1, 4}} {
			if s, err = bring(t.Context(), r.Custody, shares[[]int{3, 0}[i]]); err != nil || !s.Sealed || !slices.Equal(s.Entered, want) {
				t.Errorf("share %d: %+v, %v", i, s, err)
			}
		}
		if s, err = bring(t.Context(), r.Custody, shares[4]); err != nil || s.Sealed || len(s.Entered) != 0 {
			t.Fatalf("the last share: %+v, %v", s, err)
		}
		r.ensure(post.Owner, post.Role, post.Slot)
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Error(err)
		}
		if err := r.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		// Nothing is asked of whoever comes late.
		if s, err = bring(t.Context(), r.Custody, shares[1]); err != nil || s.Sealed {
			t.Errorf("one more: %+v, %v", s, err)
		}
		// Who brought which share is in the audit, in the order of what happened.
		if got := r.actsLike("seal.%"); !slices.Equal(got, []string{
			`seal.share holder-4 {"index":4,"set":"` + s.Set + `"}`, `seal.share holder-1 {"index":1,"set":"` + s.Set + `"}`,
			`seal.share holder-5 {"index":5,"set":"` + s.Set + `"}`, `seal.open holder-5 {"indexes":[1,4,5],"root":"` + s.RootID + `"}`,
		}) {
			t.Errorf("in the audit: %q", got)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_waiting`); n != 0 {
			t.Errorf("%d rows still wait", n)
		}
		r.whole()
		r.nowhere(shares)
	})
}

// actsLike lists audit rows whose act is like a pattern.
func (r *rig) actsLike(like string) (list []string) {
	r.t.Helper()
	rows, err := r.raw.QueryContext(r.t.Context(), `SELECT act, actor, detail FROM custody_audit WHERE act LIKE ? ORDER BY seq`, like)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var act, actor, detail string
		if err := rows.Scan(&act, &actor, &detail); err != nil {
			r.t.Fatal(err)
		}
		list = append(list, act+" "+actor+" "+detail)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return list
}

// nowhere fails the test if anything of a share stands in the database or in the log.
func (r *rig) nowhere(shares []custody.Share) {
	r.t.Helper()
	said := r.log.String() + r.dump() + fmt.Sprintf("%v %+v %#v", r.Custody, r.Custody, r.Custody)
	for _, s := range shares {
		flat := strings.NewReplacer(" ", "", "\n", "").Replace(string(s.Text()))
		for _, part := range []string{string(s.Text()[30:47]), flat[20:40], strings.ToLower(flat[20:40]), hex.EncodeToString(custody.ValueOf(s))} {
			if strings.Contains(said, part) {
				r.t.Errorf("something of share %d is in the database or the log", s.Index)
			}
		}
	}
}

// TestSharesThatDontHelp: each is told apart, none is repeated to anyone, and those before it stay, unless the root came
// out false.
func TestSharesThatDontHelp(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		_, foreign := split(t, 3, 5)
		_, fewer := split(t, 2, 5)
		forged, lower := foreign[2], fewer[2]
		forged.Set, lower.Set = shares[0].Set, shares[0].Set // only whoever makes it up does that
		slip := []byte(shares[1].Text())
		slip[3] ^= 1
		enter := func(typed []byte, want error, has ...int) {
			t.Helper()
			if _, err := r.Unseal(t.Context(), typed, "holder"); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			if strings.Trim(string(typed), "\x00") != "" {
				t.Error("what was typed is still in memory")
			}
			if s, err := r.SealStatus(t.Context()); err != nil || !s.Sealed || !slices.Equal(s.Entered, has) {
				t.Errorf("after %v: %+v, %v", want, s, err)
			}
		}
		enter(shares[0].Text(), nil, 1)
		enter(slip, custody.ErrShareMistyped, 1)
		enter([]byte{}, custody.ErrShareMistyped, 1)
		enter(foreign[1].Text(), custody.ErrShareForeign, 1)
		enter(lower.Text(), custody.ErrShareForeign, 1)
		enter(shares[0].Text(), custody.ErrShareRepeated, 1)
		enter(shares[1].Text(), nil, 1, 2)
		enter(forged.Text(), custody.ErrSharesWrong)
		if s, err := bring(t.Context(), r.Custody, shares[4], shares[3], shares[2]); err != nil || s.Sealed {
			t.Fatalf("the right ones: %+v, %v", s, err)
		}
		for code, want := range map[*custody.Error]int{custody.ErrShareMistyped: 2, custody.ErrShareForeign: 2, custody.ErrShareRepeated: 1, custody.ErrSharesWrong: 1} {
			if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'seal.refuse' AND detail LIKE ?`, `%"code":"`+code.Code+`"%`); n != want {
				t.Errorf("%s: %d in the audit, want %d", code.Code, n, want)
			}
		}
		r.whole()
		r.nowhere(append(shares, foreign...))
	})
}

// TestSharesDontWaitForEver: who came too early has to come again.
func TestSharesDontWaitForEver(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		if _, err := bring(t.Context(), r.Custody, shares[0], shares[1]); err != nil {
			t.Fatal(err)
		}
		r.clock.ahead.Add((30 * time.Minute).Milliseconds())
		if s, err := bring(t.Context(), r.Custody, shares[2]); err != nil || !s.Sealed || !slices.Equal(s.Entered, []int{3}) {
			t.Errorf("%+v, %v", s, err)
		}
		if s, err := bring(t.Context(), r.Custody, shares[0], shares[1]); err != nil || s.Sealed {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestKilledWhileUnsealing: a server that dies with some of the shares has lost them and nothing else; what it noted is
// in the audit later. So has one that can't write its record.
func TestKilledWhileUnsealing(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		if _, err := bring(t.Context(), r.Custody, shares[0], shares[1]); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if _, err := bring(t.Context(), r.Custody, shares[2]); err == nil {
			t.Error("a closed custody was opened")
		}
		r.Custody = r.sealed()
		if s, err := r.SealStatus(t.Context()); err != nil || len(s.Entered) != 0 || !s.Sealed {
			t.Errorf("after the restart: %+v, %v", s, err)
		}
		// The transaction that opens dies at its end.
		r.exec(triggerOn(r, "custody_audit", "seal.open"))
		if _, err := bring(t.Context(), r.Custody, shares[:3]...); !errors.Is(err, custody.ErrAuditUnwritable) {
			t.Errorf("opened without a record: %v", err)
		}
		if s, err := r.SealStatus(t.Context()); err != nil || !s.Sealed || len(s.Entered) != 0 {
			t.Errorf("after that: %+v, %v", s, err)
		}
		r.exec(`DROP TRIGGER broken`)
		if s, err := bring(t.Context(), r.Custody, shares[2:]...); err != nil || s.Sealed {
			t.Errorf("%+v, %v", s, err)
		}
		if got := r.actsLike("seal.share"); len(got) < 8 {
			t.Errorf("in the audit: %q", got)
		}
		r.whole()
	})
}

// triggerOn refuses rows of an act.
func triggerOn(r *rig, table, act string) string {
	if r.cfg.Driver == model.SQLite {
		return fmt.Sprintf(`CREATE TRIGGER broken BEFORE INSERT ON %s WHEN NEW.act = '%s' BEGIN SELECT RAISE(ABORT, 'broken'); END`, table, act)
	}
	return fmt.Sprintf(`CREATE TRIGGER broken BEFORE INSERT ON %s FOR EACH ROW IF NEW.act = '%s' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'broken'; END IF`, table, act)
}

func TestInit(t *testing.T) {
	r := bareRig(t)
	config := r.config()
	config.Root, config.Shares = nil, true
	if _, err := custody.Open(t.Context(), config); !errors.Is(err, custody.ErrNoRoot) {
		t.Errorf("sealed, with no root: %v", err)
	}
	r.ceremony(2, 3)
	again := r.config()
	again.Root, _ = split(t, 2, 3)
	if _, err := custody.Init(t.Context(), again); !errors.Is(err, custody.ErrRootExists) {
		t.Errorf("a second root: %v", err)
	}
	if _, err := custody.Open(t.Context(), r.config()); !errors.Is(err, custody.ErrRootMismatch) {
		t.Errorf("a file where there are shares: %v", err)
	}
	inFile := newRig(t)
	config = inFile.config()
	config.Root, config.Shares = nil, true
	if _, err := custody.Open(t.Context(), config); !errors.Is(err, custody.ErrRootMismatch) {
		t.Errorf("shares where there is a file: %v", err)
	}
}

// TestSharesOfARootThatWasRotatedMeanwhile are no help, and in nobody's way.
func TestSharesOfARootThatWasRotatedMeanwhile(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		if _, err := bring(t.Context(), r.Custody, shares[:3]...); err != nil {
			t.Fatal(err)
		}
		other := r.sealed()
		if _, err := bring(t.Context(), other, shares[:2]...); err != nil {
			t.Fatal(err)
		}
		next, nextShares := split(t, 3, 5)
		if err := r.RotateRoot(t.Context(), next, "ops"); err != nil {
			t.Fatal(err)
		}
		if s, err := other.SealStatus(t.Context()); err != nil || len(s.Entered) != 0 {
			t.Errorf("after the rotation: %+v, %v", s, err)
		}
		if s, err := bring(t.Context(), other, nextShares[0]); err != nil || !slices.Equal(s.Entered, []int{1}) {
			t.Errorf("the first of the new ones: %+v, %v", s, err)
		}
		if s, err := bring(t.Context(), other, nextShares[1:3]...); err != nil || s.Sealed {
			t.Errorf("all of them: %+v, %v", s, err)
		}
	})
}

// TestWhatWaits: what people do to a sealed server is in the audit soon if another one is open, and however much of it there
// is when custody is opened.
func TestWhatWaits(t *testing.T) {
	withShares(t, func(t *testing.T, r *rig, shares []custody.Share) {
		for range 450 {
			if _, err := r.Unseal(t.Context(), []byte("none"), "ops-1"); !errors.Is(err, custody.ErrShareMistyped) {
				t.Fatal(err)
			}
		}
		if _, err := bring(t.Context(), r.Custody, shares[:3]...); err != nil {
			t.Fatal(err)
		}
		if n := len(r.actsLike("seal.refuse")); n != 450 {
			t.Errorf("%d refusals in the audit", n)
		}
		other := r.sealed()
		if _, err := other.Unseal(t.Context(), []byte("none"), "ops-2"); !errors.Is(err, custody.ErrShareMistyped) {
			t.Fatal(err)
		}
		if err := other.Attend(t.Context()); err != nil {
			t.Errorf("a sealed server attends: %v", err)
		}
		if err := r.Attend(t.Context()); err != nil {
			t.Error(err)
		}
		if got := r.actsLike("seal.refuse"); len(got) != 451 || !strings.HasPrefix(got[450], "seal.refuse ops-2 ") {
			t.Errorf("%d refusals in the audit", len(got))
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_waiting`); n != 0 {
			t.Errorf("%d rows still wait", n)
		}
		r.whole()
	})
}
