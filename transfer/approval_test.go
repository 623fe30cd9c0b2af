package transfer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/realname"
)

// One person, three accounts, thirteen cards at once: he ends up with ten, whatever the order, and the others are told.
func TestCapOfOnePerson(t *testing.T) {
	t.Parallel()
	r := newStrict(t, 13, nil)
	var accounts []transfer.Caller
	for _, name := range []string{"ann", "bob", "cat"} {
		c := r.consumer(name)
		r.approved(c, "李雷", 1)
		accounts = append(accounts, c)
	}
	other := r.consumer("dan")
	r.approved(other, "韩梅梅", 2)
	trades := r.each(retailer, strict, strict+12)
	results := make([]transfer.Act, len(trades))
	var wg sync.WaitGroup
	for i, trade := range trades {
		wg.Go(func() {
			act, err := r.Confirm(r.ctx, accounts[i%len(accounts)], idem("confirm"), trade.TradeID, trade.Code, last6(strict+i))
			if err == nil {
				ctx, cancel := context.WithTimeout(r.ctx, 2*time.Minute)
				defer cancel()
				act, err = r.Await(ctx, act.ID)
			}
			if err != nil {
				t.Error(err)
			}
			results[i] = act
		})
	}
	wg.Wait()
	var left []int
	for i, act := range results {
		switch {
		case act.State == "committed":
		case act.Error != nil && act.Error.Code == "CAP_EXCEEDED":
			left = append(left, i)
		default:
			t.Errorf("card %d: %+v", i, act)
		}
	}
	if len(left) != 3 {
		t.Fatalf("%d of %d were refused", len(left), len(trades))
	}
	// What he may not have, somebody else may; and when he gives one back, he may have another.
	r.confirm(other, trades[left[0]], strict+left[0])
	mine := slices.IndexFunc(results, func(a transfer.Act) bool { return a.State == "committed" })
	act, err := r.Return(r.ctx, accounts[mine%len(accounts)], idem("return"), trades[mine].TradeID, "")
	check(t, err)
	r.await(act, "")
	offers, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Side: "receiver", State: "offered"})
	check(t, err)
	act, err = r.Confirm(r.ctx, retailer, idem("confirm"), offers.Items[0].TradeID, "", "")
	check(t, err)
	r.await(act, "")
	r.confirm(accounts[0], trades[left[1]], strict+left[1])
	act, err = r.Confirm(r.ctx, accounts[1], idem("confirm"), trades[left[2]].TradeID, trades[left[2]].Code, last6(strict+left[2]))
	check(t, err)
	r.await(act, "CAP_EXCEEDED")
	r.fsck()
}

// Two people of the carrier decide, and she takes it back, all at once, at two servers: one of them wins, and what stands
// is the same on the ledger.
func TestRealNameDecidedAtOnce(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	r := newStockedWith(t, nil, func(c *transfer.Config) { shared = *c })
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })
	one, two := r.loggedIn(carrier), r.loggedIn(carrier)
	for i, name := range []string{"ann", "bob", "cat", "dan"} {
		c := r.consumer(name)
		key := idem("real-name")
		var wg sync.WaitGroup
		ids := make([]string, 2)
		for n, s := range []*transfer.Service{r.Service, other} { // a double tap
			wg.Go(func() {
				v, err := s.SubmitRealName(r.ctx, c, key, me("李雷", i))
				if err != nil {
					t.Error(err)
				}
				ids[n] = v.ID
			})
		}
		wg.Wait()
		if ids[0] == "" || ids[0] != ids[1] {
			t.Fatalf("one wish made %v", ids)
		}
		id, wins := ids[0], make(chan string, 4)
		try := func(what string, do func() error) {
			wg.Go(func() {
				switch err := do(); transfer.CodeOf(err) {
				case "APPROVAL_DECIDED", "REAL_NAME_BUSY", "REAL_NAME_NOTHING":
				case "INTERNAL":
					if err != nil {
						t.Errorf("%s: %v", what, err)
						return
					}
					wins <- what
				default:
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		for n, s := range []*transfer.Service{r.Service, other} {
			try(fmt.Sprint("approve ", n), func() error {
				_, err := s.ApproveRealName(r.ctx, []transfer.Caller{one, two}[n], idem("approve"), id)
				return err
			})
		}
		try("refuse", func() error {
			_, err := other.RefuseRealName(r.ctx, two, idem("refuse"), id, "OTHER", "")
			return err
		})
		try("withdraw", func() error {
			_, err := r.WithdrawRealName(r.ctx, c, idem("withdraw"), carrier.Participant)
			return err
		})
		wg.Wait()
		close(wins)
		var list []string
		for w := range wins {
			list = append(list, w)
		}
		// Whoever was approved may take it back after that.
		if n := len(list); n != 1 && !(n == 2 && slices.Contains(list, "withdraw") && !slices.Contains(list, "refuse")) {
			t.Errorf("%s: these went through: %v", name, list)
		}
	}
	r.noneUnfinished()
	r.fsck()
}

// Killed at any boundary while somebody registers and is approved, or takes it back and that is signed: whoever asks again
// ends where he wanted to, on the ledger and here.
func TestRealNameKilledAtEveryBoundary(t *testing.T) {
	t.Parallel()
	r, reaper := newMortal(t)
	ann, boss := r.consumer("ann"), r.loggedIn(carrier)
	wanted := map[bool]string{true: "approved", false: "none"}
	d := deed{name: "real name", do: func(r *rig, _ transfer.Caller, n int, _ transfer.TradeView, key transfer.Idem) (transfer.Act, error) {
		v, err := r.RealNames(r.ctx, ann)
		if err != nil {
			return transfer.Act{}, err
		}
		var mine transfer.RealNameView
		if n%2 == 1 {
			mine, err = r.SubmitRealName(r.ctx, ann, key, me("李雷", 1))
		} else {
			mine, err = r.WithdrawRealName(r.ctx, ann, key, carrier.Participant)
		}
		if err != nil {
			return transfer.Act{}, fmt.Errorf("%s: %w", v.State, err)
		}
		return r.ApproveRealName(r.ctx, boss, transfer.Idem{Key: key.Key + "-approve", Route: "approve", BodyDigest: "x"}, mine.ID)
	}}
	n, k := 0, 1
	for died := true; died; k += stride {
		n++
		key := idem("real-name")
		died = r.dieDoing(reaper, k, d, ann, n, transfer.TradeView{}, key)
		r.clock.forward(30 * time.Second) // whoever had it checked is not waited for any more
		act, err := d.do(r, ann, n, transfer.TradeView{}, key)
		if err != nil {
			t.Fatalf("killed at boundary %d, asked again: %v", k, err)
		}
		r.await(act, "")
		r.stands(ann, wanted[n%2 == 1])
		if n > 1000 {
			t.Fatal("there is no end to the boundaries")
		}
	}
	if k < 30 {
		t.Errorf("there are %d boundaries only", k)
	}
	t.Logf("%d boundaries", k)
	r.noneUnfinished()
	r.onLedger("Approve", (n+1)/2)
	r.onLedger("RevokeApproval", n/2)
	r.fsck()
}

// Put back to a copy in which she waits to be approved, the database learns from the ledger that she was, and lets go of
// who she is.
func TestRealNameAfterARestore(t *testing.T) {
	t.Parallel()
	r := newStrict(t, 2, nil)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	v := r.registers(ann, me("李雷", 1), "pending")
	copied := r.backUp()
	r.approve(v.ID)
	r.approved(bob, "韩梅梅", 2) // whose registration the copy doesn't know at all
	trade := r.offer(retailer, strict, strict)
	r.confirm(ann, trade, strict)
	r.restore(copied)
	r.stands(ann, "approved")
	r.stands(bob, "approved")
	check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		row, err := tx.RealName(v.ID)
		if row.State != model.RealNameApproved || len(row.IdentitySealed) != 0 || row.Person == "" {
			t.Errorf("%+v", row)
		}
		return err
	}))
	bob = r.consumer("bob")
	left, err := r.WithdrawRealName(r.ctx, bob, idem("withdraw"), carrier.Participant)
	check(t, err)
	r.approve(left.ID)
	r.stands(bob, "none")
	r.onLedger("Approve", 2)
	r.onLedger("RevokeApproval", 1)
	r.fsck()
}

// Who writes to the database makes nobody's cards count as another's: the carrier signs for the number that was given.
func TestRealNameOfAnother(t *testing.T) {
	t.Parallel()
	r := newStrict(t, 1, nil)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	r.approved(bob, "韩梅梅", 2)
	v := r.registers(ann, me("李雷", 1), "pending")
	r.close()
	r.tamper([]string{"UPDATE real_names SET person = '" + strings.Repeat("ab", 32) + "' WHERE id = '" + v.ID + "'"})
	r.open(t)
	r.approve(v.ID)
	r.stands(r.consumer("ann"), "approved")
	check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
		a, err := tx.Approval(carrier.Participant, ann.Participant)
		if want := r.Vault.Index("real-name/"+carrier.Participant, realname.Example(1)); a.Commitment != want {
			t.Errorf("the carrier signed for %s, not %s", a.Commitment, want)
		}
		return err
	}))
	// Nor is an identity taken from somebody else's row.
	cat, dan := r.consumer("cat"), r.consumer("dan")
	one, two := r.registers(cat, me("李雷", 3), "pending"), r.registers(dan, me("李雷", 4), "pending")
	r.close()
	r.tamper([]string{"UPDATE real_names SET identity_sealed = (SELECT x FROM (SELECT identity_sealed AS x FROM real_names WHERE id = '" + two.ID + "') AS y) WHERE id = '" + one.ID + "'"})
	r.open(t)
	if _, err := r.ApproveRealName(r.ctx, r.loggedIn(carrier), idem("approve"), one.ID); err == nil {
		t.Error("an identity of another row was approved")
	}
}

// fsck finds an approval that is not the ledger's, or was lost, and makes it what the ledger says.
func TestFsckOfApprovals(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, nil)
	ann, bob := r.consumer("ann"), r.consumer("bob")
	r.approved(ann, "李雷", 1)
	r.approved(bob, "韩梅梅", 2)
	for want, statement := range map[string]string{
		"APPROVAL person, validity or revocation differ":    "UPDATE approvals SET valid_until = valid_until + 1 WHERE consumer = '" + ann.Participant + "'",
		"APPROVAL has version 7 here and 1 on the ledger":   "UPDATE approvals SET version = 7 WHERE consumer = '" + ann.Participant + "'",
		"APPROVAL is on the ledger and not in the database": "DELETE FROM approvals WHERE consumer = '" + bob.Participant + "'",
		"APPROVAL is here and not on the ledger":            "UPDATE approvals SET consumer = 'nobody' WHERE consumer = '" + bob.Participant + "'",
	} {
		r.close()
		r.tamper([]string{statement})
		r.open(t)
		report, err := r.Check(r.ctx, nil)
		check(t, err)
		if !strings.Contains(problems(report), want) {
			t.Errorf("fsck does not say %q but\n%s", want, problems(report))
		}
		r.repaired()
		r.fsck()
		r.stands(r.consumer("ann"), "approved")
		r.stands(r.consumer("bob"), "approved")
	}
}
