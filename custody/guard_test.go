package custody_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// signs asks for a signature on a new act.
func (r *rig) signs(c *custody.Custody, trade string) error {
	ask, body := confirm(trade)
	ask.NotAfter = r.clock.now().Add(24 * time.Hour).UnixMilli()
	r.asks(ask, body)
	_, _, err := c.Sign(r.t.Context(), ask, body)
	return err
}

// lower sets a quota to less.
func (r *rig) lower(name string, daily int64) {
	r.t.Helper()
	if _, err := r.LowerQuota(r.t.Context(), "p-li", name, daily); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) quota(name string) custody.Quota {
	r.t.Helper()
	q, err := r.Quota(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	return q
}

// approved has two people want an operation.
func (r *rig) approved(operation, arguments string) custody.Proposal {
	r.t.Helper()
	p, err := r.Propose(r.t.Context(), custody.Draft{Person: "p-li", Name: fmt.Sprintf("wish-%d", r.count(`SELECT COUNT(*) FROM custody_proposals`)),
		Operation: operation, Arguments: []byte(arguments), Reason: "试"})
	if err == nil {
		p, err = r.Approve(r.t.Context(), "p-wang", p.ID)
	}
	if err != nil || p.State != model.ProposalExecuted {
		r.t.Fatalf("%s %s: %+v, %v", operation, arguments, p, err)
	}
	return p
}

const annQuota = "owner:c-0001/account"

// TestDailyQuota: a key signs as often as it may in a day, on all servers together, and no more until midnight in
// Beijing or until the quota is raised; what is asked for again doesn't count.
func TestDailyQuota(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.lower(annQuota, 10)
		servers := []*custody.Custody{r.Custody, r.open()}
		var signed atomic.Int64
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				err := r.signs(servers[i%2], fmt.Sprint("trade-", i))
				if err == nil {
					signed.Add(1)
				} else if !errors.Is(err, custody.ErrDailyQuota) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := signed.Load(); n != 10 {
			t.Errorf("%d signatures of 10", n)
		}
		if q := r.quota(annQuota); q.Used != 10 || q.Daily != 10 || q.Default != 500 || !q.Set || q.ChangedBy.Username != "li" {
			t.Errorf("%+v", q)
		}
		// Again for all: who has his signature gets it, and nothing is counted.
		again := 0
		for i := range 16 {
			if r.signs(r.Custody, fmt.Sprint("trade-", i)) == nil {
				again++
			}
		}
		if again != 10 || r.quota(annQuota).Used != 10 {
			t.Errorf("%d again, %d counted", again, r.quota(annQuota).Used)
		}
		// The audit has one refusal for each act, however often it is asked.
		if n := r.refusals(custody.ErrDailyQuota); n != 6 {
			t.Errorf("%d refusals in the audit", n)
		}
		err := r.signs(r.Custody, "late")
		var later *custody.Later
		if !errors.As(err, &later) || later.After != 10*time.Minute {
			t.Errorf("%v: ask again after %v", err, later)
		}
		r.clock.ahead.Store(8*hour - 60*second) // start is at 16:00 in Beijing
		if err := r.signs(r.Custody, "late"); !errors.As(err, &later) || later.After != time.Minute {
			t.Errorf("%v: ask again after %v", err, later)
		}
		r.clock.ahead.Store(8 * hour)
		if err := r.signs(r.Custody, "late"); err != nil {
			t.Error(err)
		}
		// A clock that goes back frees nothing.
		r.lower(annQuota, 1)
		r.clock.ahead.Store(7 * hour)
		wantErr(t, r.signs(r.Custody, "later"), custody.ErrDailyQuota)
		// Raised by two people, it goes on at once.
		_, err = r.LowerQuota(t.Context(), "p-li", annQuota, 2)
		wantErr(t, err, custody.ErrQuotaRaise)
		r.approved(custody.OperationRaise, `{"name":"`+annQuota+`","daily":2}`)
		if err := r.signs(r.Custody, "later"); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}

// TestRate: a minute's worth at once, then one after the other; nothing waits longer than a minute, whatever the clock did.
func TestRate(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", request.Consumer, custody.Account)
		for i := range 60 {
			if err := r.signs(r.Custody, fmt.Sprint("trade-", i)); err != nil {
				t.Fatalf("signature %d: %v", i, err)
			}
		}
		var later *custody.Later
		err := r.signs(r.Custody, "trade-60")
		if wantErr(t, err, custody.ErrRate); !errors.As(err, &later) || later.After != time.Second {
			t.Errorf("ask again after %+v", later)
		}
		r.clock.ahead.Store(second)
		if err := r.signs(r.Custody, "trade-60"); err != nil {
			t.Error(err)
		}
		wantErr(t, r.signs(r.Custody, "trade-61"), custody.ErrRate)
		// Another server's clock is a little behind: it frees nothing.
		r.clock.ahead.Store(-60 * second)
		wantErr(t, r.signs(r.Custody, "trade-61"), custody.ErrRate)
		// It was ahead all the time: what it wrote stops nobody.
		r.clock.ahead.Store(-10 * hour)
		if err := r.signs(r.Custody, "trade-61"); err != nil {
			t.Error(err)
		}
		if n := r.refusals(custody.ErrRate); n != 2 {
			t.Errorf("%d refusals in the audit", n)
		}
		r.whole()
	})
}

// TestUnusual: a key that signs far more than it ever did stops itself, tells, and goes on when two people say so.
func TestUnusual(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		key := r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("c-0002", request.Consumer, custody.Account)
		day := func(n int64) { r.clock.ahead.Store(n * 24 * hour) }
		// So many signatures of today, made by hand.
		used := func(n int) { r.exec(`UPDATE custody_usage SET used = ? WHERE owner = 'c-0001'`, n) }
		if err := r.signs(r.Custody, "first"); err != nil {
			t.Fatal(err)
		}
		used(99)
		if err := r.signs(r.Custody, "hundredth"); err != nil {
			t.Error(err)
		}
		wantErr(t, r.signs(r.Custody, "more"), custody.ErrUnusual)
		if alarms := r.heard(&r.alarms); len(alarms) != 1 || alarms[0] != custody.ErrUnusual.Code {
			t.Errorf("alarms %q", alarms)
		}
		if q := r.quota(annQuota); q.StoppedAt == 0 {
			t.Errorf("%+v", q)
		}
		// It stays stopped, also tomorrow and on another server; what it has signed is still there for who asks again.
		day(1)
		wantErr(t, r.signs(r.open(), "tomorrow"), custody.ErrKeyNotActive)
		day(0)
		// The ledger is to stop it, too. One person who resumes it doesn't let it sign: that takes two.
		said := func(status custody.LedgerStatus, version int) {
			t.Helper()
			if err := r.Follow(t.Context(), "tx", []custody.LedgerKey{{ID: key.ID, Status: status, Version: version}}); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := r.Wishes(t.Context(), "", 9); err != nil || len(list) != 1 || list[0].What != model.WishSuspend || list[0].Key.ID != key.ID || list[0].Actor != "guard" {
			t.Errorf("wishes %+v, %v", list, err)
		}
		said(custody.LedgerSuspended, 2)
		if _, err := r.Resume(t.Context(), key.ID, "p-li"); err != nil {
			t.Fatal(err)
		}
		said(custody.LedgerActive, 3)
		wantErr(t, r.signs(r.Custody, "resumed"), custody.ErrKeyStopped)
		if _, err := r.Suspend(t.Context(), key.ID, "p-li"); err != nil {
			t.Fatal(err)
		}
		said(custody.LedgerSuspended, 4)
		_, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: "other", Operation: custody.OperationRelease, Arguments: []byte(`{"owner":"c-0002","slot":"account"}`), Reason: "试"})
		wantErr(t, err, custody.ErrNotStopped)
		if p := r.approved(custody.OperationRelease, `{"owner":"c-0001","slot":"account"}`); !strings.Contains(p.Description, "账本上的停用") {
			t.Errorf("%s", p.Description)
		}
		wantErr(t, r.signs(r.Custody, "too-early"), custody.ErrKeyNotActive)
		said(custody.LedgerActive, 5)
		if err := r.signs(r.Custody, "released"); err != nil {
			t.Error(err)
		}
		// What it did is usual now: the next day eight times as much is. It fades by an eighth a day.
		day(1)
		if err := r.signs(r.Custody, "next"); err != nil {
			t.Error(err)
		}
		if q := r.quota(annQuota); q.Usual != 101 || q.Used != 1 {
			t.Errorf("%+v", q)
		}
		day(3)
		if q := r.quota(annQuota); q.Usual != 101*7/8*7/8 || q.Used != 0 {
			t.Errorf("%+v", q)
		}
		r.approved(custody.OperationRaise, `{"name":"`+annQuota+`","daily":1500}`) // three times the default
		if err := r.signs(r.Custody, "granted"); err != nil {
			t.Error(err)
		}
		used(8*77 - 1)
		if err := r.signs(r.Custody, "usual"); err != nil {
			t.Error(err)
		}
		wantErr(t, r.signs(r.Custody, "unusual"), custody.ErrUnusual)
		r.whole()
	})
}

// TestPlatformQuota: all keys of all servers together, never more; little is lost to what servers hold.
func TestPlatformQuota(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		for i := range 4 {
			r.ensure(fmt.Sprintf("c-000%d", i), request.Consumer, custody.Account)
		}
		r.lower("platform", 40)
		servers := []*custody.Custody{r.Custody, r.open()}
		var signed, refused atomic.Int64
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				ask, body := confirm(fmt.Sprint("trade-", i))
				ask.Owner = fmt.Sprintf("c-000%d", i%4)
				body.Receiver = ask.Owner
				r.asks(ask, body)
				_, _, err := servers[i%2].Sign(t.Context(), ask, body)
				switch {
				case err == nil:
					signed.Add(1)
				case errors.Is(err, custody.ErrPlatformQuota):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := signed.Load(); n > 40 || n < 32 || refused.Load() != 64-n {
			t.Errorf("%d signatures of 40, %d refused", n, refused.Load())
		}
		if q := r.quota("platform"); q.Used != 40 {
			t.Errorf("%+v", q)
		}
		if n := r.refusals(custody.ErrPlatformQuota); int64(n) != refused.Load() || len(r.heard(&r.alarms)) != n {
			t.Errorf("%d refusals in the audit, alarms %v", n, r.heard(&r.alarms))
		}
		// Whoever used it up doesn't keep ops from stopping him.
		r.ensure("admin", request.Administrator, custody.Account)
		ask := custody.Ask{Owner: "admin", Slot: custody.Account, Subject: "stop", Attempt: 1, NotAfter: until, Actor: "test"}
		if _, _, err := r.Sign(t.Context(), ask, request.SuspendKey{KeyAct: request.KeyAct{Key: "k"}}); err != nil {
			t.Error(err)
		}
		ask.Subject = "resume"
		stopped := r.ensure("stopped", request.Retailer, custody.Account)
		for _, what := range []string{model.WishSuspend, model.WishResume} {
			if _, err := r.Order(t.Context(), stopped.ID, what, "test"); err != nil {
				t.Fatal(err)
			}
		}
		_, _, err := r.open().Sign(t.Context(), ask, request.ResumeKey{KeyAct: request.KeyAct{Key: stopped.ID}})
		wantErr(t, err, custody.ErrPlatformQuota)
		r.approved(custody.OperationRaise, `{"name":"platform","daily":1000}`)
		if err := r.signs(r.Custody, "raised"); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}

// TestQuotaOfARole: what holds for a role holds for each of its keys that has no quota of its own.
func TestQuotaOfARole(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("c-0002", request.Consumer, custody.Account)
		r.lower(annQuota, 2)
		r.lower("role:consumer/account", 1)
		for i, want := range []error{nil, nil, custody.ErrDailyQuota} {
			if err := r.signs(r.Custody, fmt.Sprint("ann-", i)); !errors.Is(err, want) {
				t.Errorf("%d: %v, want %v", i, err, want)
			}
		}
		for i, want := range []error{nil, custody.ErrDailyQuota} {
			ask, body := confirm(fmt.Sprint("bob-", i))
			ask.Owner, body.Receiver = "c-0002", "c-0002"
			r.asks(ask, body)
			if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, want) {
				t.Errorf("%d: %v, want %v", i, err, want)
			}
		}
		r.lower("role:consumer/account", 0)
		list, err := r.Quotas(t.Context())
		if err != nil || len(list) != 14 || list[0].Name != annQuota {
			t.Errorf("%d quotas, %v: %+v", len(list), err, list)
		}
		for _, name := range []string{"", "everybody", "role:consumer", "role:nobody/account", "role:platform/gateway", "owner:c-9999/account", "owner:"} {
			_, err := r.Quota(t.Context(), name)
			wantErr(t, err, custody.ErrQuota)
		}
		_, err = r.LowerQuota(t.Context(), "p-audit", "platform", 1)
		wantErr(t, err, custody.ErrNotOperator)
		r.whole()
	})
}

// TestAdmitRolledBack: what was rolled back was not signed, and is not counted against the key.
func TestAdmitRolledBack(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		r.ensure("c-0001", request.Consumer, custody.Account)
		if err := r.signs(r.Custody, "first"); err != nil {
			t.Fatal(err)
		}
		ask, body := confirm("rolled-back")
		r.asks(ask, body)
		r.breakAudit()
		_, _, err := r.Sign(t.Context(), ask, body)
		wantErr(t, err, custody.ErrAuditUnwritable)
		if q := r.quota(annQuota); q.Used != 1 {
			t.Errorf("%+v", q)
		}
		r.exec(`DROP TRIGGER full_disk`)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err = r.Sign(ctx, ask, body)
		wantErr(t, err, context.Canceled)
		if q := r.quota(annQuota); q.Used != 1 {
			t.Errorf("%+v", q)
		}
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Error(err)
		}
		if q := r.quota(annQuota); q.Used != 2 {
			t.Errorf("%+v", q)
		}
	})
}

// TestStepUp: where cards change hands a login must be younger than elsewhere, if the platform wants that; a newer login is
// all that it takes, and staff aren't asked.
func TestStepUp(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		c := r.openAs(func(c *custody.Config) { c.LoginAge, c.StepUpAge = 24*time.Hour, 10*time.Minute })
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("shop", request.Retailer, custody.Account)
		login, at := r.logIn("c-0001"), r.employed("shop", request.Retailer)
		asked := func(login custody.LoginToken, subject string, body request.Body) error {
			return c.Authorise(t.Context(), login, subject, body, until+100*hour)
		}
		ask, body := confirm("t")
		moves := map[string]request.Body{
			"confirmed": body,
			"returned":  request.Return{Offer: request.Offer{Seller: "c-0001", Mode: request.Named, Receiver: "shop"}, Reverses: "t"},
		}
		r.clock.ahead.Store((10 * time.Minute).Milliseconds())
		for name, body := range moves {
			if err := asked(login, name+"-in-time", body); err != nil {
				t.Errorf("%s in time: %v", name, err)
			}
		}
		r.clock.ahead.Store((10*time.Minute + time.Millisecond).Milliseconds())
		for name, body := range moves {
			if err := asked(login, name+"-late", body); !errors.Is(err, custody.ErrLoginOld) {
				t.Errorf("%s late: %v", name, err)
			}
			if err := asked(r.logIn("c-0001"), name+"-again", body); err != nil {
				t.Errorf("%s after another login: %v", name, err)
			}
		}
		if err := asked(login, "declined", request.Decline{Trade: "t", Receiver: "c-0001", Reason: "OTHER"}); err != nil {
			t.Errorf("what moves nothing: %v", err)
		}
		_, shops := confirm("shop-1")
		shops.Receiver = "shop"
		if err := asked(at, "shop-1", shops); err != nil {
			t.Errorf("staff: %v", err)
		}
		// What was asked for in time waits as long as it has to.
		ask.Subject, ask.NotAfter = "confirmed-in-time", until+100*hour
		r.clock.ahead.Store((20 * time.Hour).Milliseconds())
		if _, _, err := c.Sign(t.Context(), ask, body); err != nil {
			t.Errorf("signed later: %v", err)
		}
	})
}

// TestLoginAge: what a consumer asks for is signed if he had logged in lately when he asked, however long it waited since.
func TestLoginAge(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		c := r.openAs(func(c *custody.Config) { c.LoginAge = time.Hour })
		r.ensure("c-0001", request.Consumer, custody.Account)
		r.ensure("shop", request.Retailer, custody.Account)
		login := r.logIn("c-0001")
		asked := func(trade string) error {
			ask, body := confirm(trade)
			return c.Authorise(t.Context(), login, ask.Subject, body, until+100*hour)
		}
		r.clock.ahead.Store((time.Hour).Milliseconds())
		if err := asked("in-time"); err != nil {
			t.Error(err)
		}
		r.clock.ahead.Store((time.Hour + time.Millisecond).Milliseconds())
		if err := asked("too-late"); !errors.Is(err, custody.ErrLoginOld) {
			t.Errorf("too late: %v", err)
		}
		// What was asked for in time waits as long as it has to.
		r.clock.ahead.Store((30 * time.Hour).Milliseconds())
		ask, body := confirm("in-time")
		ask.NotAfter = until + 100*hour
		for range 2 { // a signature that is there is answered
			if _, _, err := c.Sign(t.Context(), ask, body); err != nil {
				t.Error(err)
			}
		}
		// A clock that was wrong when he asked, and staff, who aren't asked.
		r.clock.ahead.Store((-time.Hour).Milliseconds())
		if err := asked("before-the-login"); !errors.Is(err, custody.ErrLoginOld) {
			t.Errorf("before the login: %v", err)
		}
		ask.Owner, body.Receiver, ask.Subject = "shop", "shop", "shop-1"
		at := r.employed("shop", request.Retailer)
		r.clock.ahead.Store((2 * time.Hour).Milliseconds())
		if err := c.Authorise(t.Context(), at, ask.Subject, body, until+100*hour); err != nil {
			t.Error(err)
		}
		if _, _, err := c.Sign(t.Context(), ask, body); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}
