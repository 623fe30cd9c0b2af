package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// moody is a custody that a test can seal, or whose keys it can stop.
type moody struct {
	transfer.Signer
	mu     sync.Mutex
	mood   error
	early  bool // it says no before anything is fixed, too
	denied int  // how often it said no
}

func (m *moody) set(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mood = err
}

func (m *moody) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.denied
}

// no is what it says, if it is in the mood.
func (m *moody) no(early bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mood == nil || early && !m.early {
		return nil
	}
	m.denied++
	return errors.Join(m.mood, errWire)
}

func (m *moody) ActiveKey(ctx context.Context, owner, slot string) (string, error) {
	if err := m.no(true); err != nil {
		return "", err
	}
	return m.Signer.ActiveKey(ctx, owner, slot)
}

func (m *moody) Enrol(ctx context.Context, owner string, role request.Role, slot string) (request.NewKey, error) {
	if err := m.no(true); err != nil {
		return request.NewKey{}, err
	}
	return m.Signer.Enrol(ctx, owner, role, slot)
}

func (m *moody) EnrolAll(ctx context.Context, owners []string, role request.Role, slot, actor string) ([]request.NewKey, int, error) {
	if err := m.no(true); err != nil {
		return nil, 0, err
	}
	return m.Signer.EnrolAll(ctx, owners, role, slot, actor)
}

func (m *moody) Sign(ctx context.Context, ask transfer.Ask, body request.Body) (request.Signature, error) {
	if err := m.no(false); err != nil {
		return request.Signature{}, err
	}
	return m.Signer.Sign(ctx, ask, body)
}

func (m *moody) OrderKey(ctx context.Context, keyID, what, actor string) (transfer.KeyWish, error) {
	if err := m.no(false); err != nil {
		return transfer.KeyWish{}, err
	}
	return m.Signer.OrderKey(ctx, keyID, what, actor)
}

func newMoody(t *testing.T, config ...func(*transfer.Config)) (*rig, *moody) {
	m := &moody{}
	return newStockedWith(t, nil, func(c *transfer.Config) {
		m.Signer = c.Signer
		c.Signer = m
		for _, change := range config {
			change(c)
		}
	}), m
}

// While custody is sealed look-ups and accepting go on; what was accepted is signed when it is open again.
func TestSealedCustody(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	m.set(transfer.ErrSealed)
	if _, err := r.Lookup(r.ctx, ann, trade.Code, last6(1)); err != nil {
		t.Errorf("look-up: %v", err)
	}
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.until("custody was asked", func() bool { return m.asked() > 0 })
	if now, err := r.Act(r.ctx, ann, act.ID); err != nil || now.State != "accepted" || now.Error != nil {
		t.Errorf("while it is sealed: %+v, %v", now, err)
	}
	m.set(nil)
	r.await(act, "")
	r.fsck()
}

// A trade that expires while custody is sealed is over, and says so to whoever confirmed it in time.
func TestTradeThatExpiresWhileSealed(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	m.set(transfer.ErrSealed)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.until("custody was asked", func() bool { return m.asked() > 0 })
	r.clock.forward(25 * time.Hour)
	r.await(act, "TRADE_EXPIRED")
	m.set(nil)
	r.until("the trade is released", func() bool { return r.trade(retailer, trade.TradeID).State == "released" })
	r.fsck()
}

// late is a custody to which the way is long.
type late struct {
	transfer.Signer
	way func()
}

func (l late) Authorise(ctx context.Context, session transfer.SessionToken, subject string, body request.Body, notAfter int64) error {
	l.way()
	return l.Signer.Authorise(ctx, session, subject, body, notAfter)
}

// A trade that expires on the way to custody is expired for whoever confirms or refuses it, and no fault.
func TestTradeThatExpiresOnTheWay(t *testing.T) {
	t.Parallel()
	way := func() {}
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.Signer = late{c.Signer, func() { way() }} })
	ann, trade := r.consumer("ann"), r.offer(retailer, 1, 1)
	way = func() { r.clock.forward(24 * time.Hour) }
	_, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	if got := transfer.CodeOf(err); got != "TRADE_EXPIRED" {
		t.Errorf("%s: %v", got, err)
	}
	r.until("the trade is released", func() bool { return r.trade(retailer, trade.TradeID).State == "released" })
	r.fsck()
}

// Whoever logs in for the first time while custody can't even make a key is registered later.
func TestNewcomerWhileSealed(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	m.early = true
	m.set(transfer.ErrSealed)
	c, err := r.ConsumerFor(r.ctx, "wx1", "openid-late")
	check(t, err)
	r.until("custody was asked", func() bool { return m.asked() > 0 })
	m.set(nil)
	r.until("he is registered", func() bool {
		p, err := r.Profile(r.ctx, c)
		return err == nil && p.State == "registered"
	})
	r.fsck()
}

// A key that was stopped signs nothing: the act says so, and the trade is open again.
func TestStoppedKey(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	ann := r.consumer("ann")
	trade := r.offer(retailer, 1, 1)
	m.set(transfer.ErrKeyStopped)
	act, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(1))
	check(t, err)
	r.await(act, "KEY_STOPPED")
	wants(t, "an offer", r.tryOffer(retailer, span(2, 3)), "KEY_STOPPED")
	m.set(nil)
	r.offer(retailer, 2, 3)
	r.confirm(ann, trade, 1)
	r.fsck()
}

// A request whose deadline passed before custody signed it ends; it would never be signed, and its cards stay set aside.
func TestRequestThatWaitedTooLongForCustody(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	trade := r.offer(retailer, 1, 1)
	m.set(transfer.ErrSealed)
	act, err := r.Cancel(r.ctx, retailer, idem("cancel"), trade.TradeID)
	check(t, err)
	r.until("custody was asked", func() bool { return m.asked() > 0 })
	r.clock.forward(6*24*time.Hour + time.Minute)
	r.await(act, "REQUEST_EXPIRED")
	m.set(nil)
	r.until("the trade is released", func() bool { return r.trade(retailer, trade.TradeID).State == "released" })
	r.offer(retailer, 1, 1)
	r.fsck()
}

// Whoever isn't logged in, as custody sees it, asks for nothing: no act is accepted, and the trade stays open. A login that
// custody finds too old when it is to sign ends the act.
func TestLoginTooOld(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	ann := r.consumer("ann")
	first, second := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
	out := ann
	out.Session = ""
	_, err := r.Confirm(r.ctx, out, idem("out"), first.TradeID, first.Code, last6(1))
	wants(t, "without a session", err, "LOGIN_TOO_OLD")
	out.Session = r.consumer("bob").Session
	_, err = r.Confirm(r.ctx, out, idem("bob's"), first.TradeID, first.Code, last6(1))
	if err == nil {
		t.Error("ann confirmed with bob's session")
	}
	if v := r.trade(retailer, first.TradeID); v.State != "offered" {
		t.Errorf("the trade is %s", v.State)
	}
	r.confirm(ann, first, 1)
	m.set(transfer.ErrLoginOld)
	act, err := r.Confirm(r.ctx, ann, idem("second"), second.TradeID, second.Code, last6(2))
	check(t, err)
	r.await(act, "LOGIN_TOO_OLD")
	m.set(nil)
	r.confirm(ann, second, 2)
	r.fsck()
}

// What a consumer asks for is signed after he has logged out; what he didn't ask for is not, whatever the database says.
func TestSignedAsAuthorised(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	ann := r.consumer("ann")
	first, second := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
	m.set(transfer.ErrSealed)
	act, err := r.Confirm(r.ctx, ann, idem("first"), first.TradeID, first.Code, last6(1))
	check(t, err)
	other, err := r.Confirm(r.ctx, ann, idem("second"), second.TradeID, second.Code, last6(2))
	check(t, err)
	check(t, r.keys.LogOut(r.ctx, custody.LoginToken(ann.Session)))
	r.tamper([]string{fmt.Sprintf("DELETE FROM custody_authorisations WHERE subject = '%s'", other.ID)})
	m.set(nil)
	r.await(act, "")
	r.await(other, "NOT_AUTHORISED")
	if v := r.trade(retailer, second.TradeID); v.State != "offered" {
		t.Errorf("the trade is %s", v.State)
	}
	again := r.loggedIn(ann)
	r.confirm(again, second, 2)
	sold := r.trade(retailer, first.TradeID)
	_, err = r.Return(r.ctx, again, idem("return"), sold.TradeID, "")
	check(t, err)
	r.fsck()
}

// What staff ask for is signed after they have logged out, also where a job makes several acts of it; what nobody at their
// console asked for is not, whatever the database says.
func TestStaffAsAuthorised(t *testing.T) {
	t.Parallel()
	m := &moody{}
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		few(c)
		m.Signer = c.Signer
		c.Signer = m
	})
	first, second, third := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2), r.offer(retailer, 3, 3)
	m.set(transfer.ErrSealed)
	shop := r.console(retailer)
	kept, err := r.Cancel(r.ctx, shop, idem("first"), first.TradeID)
	check(t, err)
	lost, err := r.Cancel(r.ctx, shop, idem("second"), second.TradeID)
	check(t, err)
	other, err := r.Cancel(r.ctx, transfer.Caller{Participant: shop.Participant, Role: shop.Role, Person: shop.Person, Session: r.console(distributor).Session}, idem("third"), third.TradeID)
	check(t, err)
	job, err := r.Offer(r.ctx, shop, idem("job"), each(100, 109))
	check(t, err)
	check(t, r.keys.LogOut(r.ctx, custody.LoginToken(shop.Session)))
	_, err = r.Service.Offer(r.ctx, shop, idem("out"), each(110, 110))
	wants(t, "after he has logged out", err, "LOGIN_TOO_OLD")
	r.tamper([]string{fmt.Sprintf("DELETE FROM custody_authorisations WHERE subject IN ('%s', '%s-1')", lost.ID, job.JobID)})
	m.set(nil)
	r.await(kept, "")
	r.await(lost, "NOT_AUTHORISED")
	r.await(other, "NOT_AUTHORISED")
	j, items := r.jobDone(retailer, job.JobID)
	if j.State != "done" || j.Done != 6 || j.Failed != 4 || items[1].Error == nil || items[1].Error.Code != "NOT_AUTHORISED" {
		t.Errorf("%+v %s", j, j.Results)
	}
	if v := r.trade(retailer, third.TradeID); v.State != "offered" {
		t.Errorf("the trade that another organisation would have cancelled is %s", v.State)
	}
	r.fsck()
}

// A key whose quota is used up lets its acts wait: they go on by themselves, and a trade that is over meanwhile is told
// so when it is, not when the quota is.
func TestQuotaUsedUp(t *testing.T) {
	t.Parallel()
	r, m := newMoody(t)
	ann := r.consumer("ann")
	first, second := r.offer(retailer, 1, 1), r.offer(retailer, 2, 2)
	m.set(&transfer.Wait{After: 10 * time.Minute, Err: errors.New("quota")})
	waits, err := r.Confirm(r.ctx, ann, idem("first"), first.TradeID, first.Code, last6(1))
	check(t, err)
	r.until("custody was asked", func() bool { return m.asked() == 1 })
	r.until("it waits", func() bool { return r.actRow(waits.ID).NextAt > r.now()+9*60*1000 })
	m.set(nil)
	r.clock.forward(10 * time.Minute)
	r.await(waits, "")

	m.set(&transfer.Wait{After: 12 * time.Hour, Err: errors.New("quota")}) // the trade has an hour
	late, err := r.Confirm(r.ctx, ann, idem("second"), second.TradeID, second.Code, last6(2))
	check(t, err)
	r.until("custody was asked", func() bool { return m.asked() == 2 })
	if now, err := r.Act(r.ctx, ann, late.ID); err != nil || now.State != "accepted" {
		t.Errorf("while it waits: %+v, %v", now, err)
	}
	r.clock.forward(time.Hour)
	r.await(late, "TRADE_EXPIRED")
	m.set(nil)
	r.fsck()
}

func (r *rig) now() model.Millis { return model.MillisOf(r.clock.now()) }

func (r *rig) actRow(id string) (a model.Act) {
	r.t.Helper()
	check(r.t, r.db.Read(r.ctx, func(tx *model.Tx) (err error) {
		a, err = tx.Act(id)
		return err
	}))
	return a
}
