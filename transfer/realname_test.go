package transfer_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/realname"
)

// strict is the first of the cards for which a buyer has to register his real name.
const strict = 300_001

// strictly gives the shop n such cards.
func (r *rig) strictly(n int) {
	r.t.Helper()
	res, err := r.Issue(r.ctx, carrier, idem("issue"), transfer.IssueInput{Segments: span(strict, strict+n-1), RetailPolicy: "REAL_NAME"})
	check(r.t, err)
	r.await(res.Acts[0], "")
	r.sell(carrier, retailer, strict, strict+n-1)
}

// newStrict is a stocked rig with such cards and, but for a nil one, a verifier.
func newStrict(t *testing.T, n int, v transfer.Verifier, change ...func(*transfer.Config)) *rig {
	t.Helper()
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		c.RealName.Verifier = v
		for _, f := range change {
			f(c)
		}
	})
	r.strictly(n)
	return r
}

var sandbox = realname.Sandbox{Clock: time.Now}

// me is what somebody gives who registers by his number.
func me(name string, n int) transfer.RealNameInput {
	return transfer.RealNameInput{Carrier: carrier.Participant, Name: name, IDNumber: realname.Example(n), Consent: true}
}

// registers asks for a registration, which must then stand in a state.
func (r *rig) registers(c transfer.Caller, in transfer.RealNameInput, state string) transfer.RealNameView {
	r.t.Helper()
	v, err := r.SubmitRealName(r.ctx, c, idem("real-name"), in)
	check(r.t, err)
	if v.State != state {
		r.t.Fatalf("the registration is %+v, not %s", v, state)
	}
	return v
}

// approve has the carrier approve a registration.
func (r *rig) approve(id string) transfer.Act {
	r.t.Helper()
	act, err := r.ApproveRealName(r.ctx, r.loggedIn(carrier), idem("approve"), id)
	check(r.t, err)
	return r.await(act, "")
}

// approved registers and approves somebody.
func (r *rig) approved(c transfer.Caller, name string, n int) transfer.RealNameView {
	r.t.Helper()
	v := r.registers(c, me(name, n), "pending")
	r.approve(v.ID)
	return r.stands(c, "approved")
}

// stands demands how a consumer stands with the carrier.
func (r *rig) stands(c transfer.Caller, state string) transfer.RealNameView {
	r.t.Helper()
	var v transfer.RealNameView
	r.until("the real name is "+state, func() bool {
		all, err := r.RealNames(r.ctx, c)
		check(r.t, err)
		if len(all.Items) == 0 {
			v = transfer.RealNameView{State: "none"}
		} else {
			v = all.Items[0]
		}
		return v.State == state
	})
	return v
}

// The whole way: refused without, registered, approved, sold, and sold again without being asked once more.
func TestRealName(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	m := &meter{}
	r := newStrict(t, 5, sandbox, func(c *transfer.Config) {
		c.Logger, c.Metrics = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), m
	})
	const name = "欧阳实名"
	number := realname.Example(7)
	ann, boss := r.consumer("ann"), r.loggedIn(carrier)
	trade := r.offer(retailer, strict, strict)

	seen, err := r.Lookup(r.ctx, ann, trade.Code, last6(strict))
	check(t, err)
	if !slices.Equal(seen.Requires, []string{"real_name"}) || seen.CarrierID != carrier.Participant || seen.CarrierName != "中国移动" {
		t.Errorf("she sees %+v", seen)
	}
	_, err = r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(strict))
	wants(t, "without a registration", err, "REAL_NAME_REQUIRED")

	in := transfer.RealNameInput{Carrier: carrier.Participant, Name: name, IDNumber: number, Consent: true}
	v := r.registers(ann, in, "pending")
	_, err = r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(strict))
	wants(t, "while it waits", err, "REAL_NAME_REQUIRED")
	page, err := r.Approvals(r.ctx, boss, true, "", 10)
	check(t, err)
	if len(page.Items) != 1 || page.Items[0].Name != "欧***" || page.Items[0].IDNumber != realname.MaskIDNumber(number) || page.Items[0].Kind != "APPROVE" ||
		page.Items[0].Finding != "CONFIRMED" || page.Items[0].Verifier != "sandbox" || page.Items[0].Consumer != ann.Participant {
		t.Errorf("the carrier sees %+v", page.Items)
	}
	whole, err := r.Approval(r.ctx, boss, v.ID)
	check(t, err)
	if whole.Name != name || whole.IDNumber != number {
		t.Errorf("the approver sees %+v", whole)
	}
	if !strings.Contains(log.String(), "looked at") {
		t.Error("nobody knows that he looked")
	}

	key := idem("approve")
	act, err := r.ApproveRealName(r.ctx, boss, key, v.ID)
	check(t, err)
	again, err := r.ApproveRealName(r.ctx, boss, key, v.ID)
	check(t, err)
	if again.ID != act.ID {
		t.Errorf("asked twice it is %s and %s", act.ID, again.ID)
	}
	r.await(act, "")
	_, err = r.ApproveRealName(r.ctx, boss, idem("approve"), v.ID)
	wants(t, "approved once more", err, "APPROVAL_DECIDED")
	now := r.stands(ann, "approved")
	if now.ValidUntil == nil || now.ValidUntil.Before(time.Now().Add(364*24*time.Hour)) || now.DecidedAt == nil {
		t.Errorf("%+v", now)
	}
	_, err = r.SubmitRealName(r.ctx, ann, idem("real-name"), in)
	wants(t, "registered once more", err, "REAL_NAME_APPROVED")

	// One approval is for all his trades of that carrier.
	r.confirm(ann, trade, strict)
	next := r.offer(retailer, strict+1, strict+2)
	seen, err = r.Lookup(r.ctx, ann, next.Code, last6(strict+1))
	check(t, err)
	if len(seen.Requires) != 0 {
		t.Errorf("she is asked again: %+v", seen)
	}
	r.confirm(ann, next, strict+1)
	// And nobody else's.
	third := r.offer(retailer, strict+3, strict+3)
	_, err = r.Confirm(r.ctx, r.consumer("bob"), idem("confirm"), third.TradeID, third.Code, last6(strict+3))
	wants(t, "somebody else", err, "REAL_NAME_REQUIRED")

	after, err := r.Approval(r.ctx, boss, v.ID)
	check(t, err)
	if after.Name != "" || after.IDNumber != "" || after.State != "approved" || after.Accounts != 1 || after.ConfirmationID != act.ID {
		t.Errorf("afterwards the carrier sees %+v", after)
	}
	if m.count("real name submitted") != 1 || m.count("ended Approve committed") != 1 {
		t.Errorf("counted: %v", m.seen)
	}
	r.onLedger("Approve", 1)
	r.fsck()

	// Who she is stands nowhere any more, and never stood anywhere in the open.
	r.close()
	defer r.open(t)
	blocks, err := os.ReadFile(r.path("ledger"))
	check(t, err)
	journal, err := os.ReadFile(r.path("journal"))
	check(t, err)
	for what, b := range map[string][]byte{"database": r.place.Bytes(t), "ledger": blocks, "journal": journal, "log": []byte(log.String())} {
		for _, secret := range []string{name, number, number[6:14], strings.Trim(fmt.Sprintf("%+q", name), `"`)} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s: holds %q", what, secret)
			}
		}
		if len(b) < 200 {
			t.Errorf("%s: there are %d bytes only", what, len(b))
		}
	}
}

// What can't be right is refused with a code and a sentence of its own, and nothing of it is kept.
func TestRealNameThatCantBe(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.RealName.Verifier = sandbox })
	ann := r.consumer("ann")
	good := me("李雷", 1)
	change := func(f func(*transfer.RealNameInput)) transfer.RealNameInput {
		in := good
		f(&in)
		return in
	}
	for code, in := range map[string]transfer.RealNameInput{
		"CONSENT_REQUIRED":     change(func(in *transfer.RealNameInput) { in.Consent = false }),
		"NAME_INVALID":         change(func(in *transfer.RealNameInput) { in.Name = "李" }),
		"ID_NUMBER_LENGTH":     change(func(in *transfer.RealNameInput) { in.IDNumber = "110" }),
		"ID_NUMBER_OLD":        change(func(in *transfer.RealNameInput) { in.IDNumber = "110105491231002" }),
		"ID_NUMBER_CHARACTERS": change(func(in *transfer.RealNameInput) { in.IDNumber = "11010519491231OO2X" }),
		"ID_NUMBER_REGION":     change(func(in *transfer.RealNameInput) { in.IDNumber = "00010519491231002X" }),
		"ID_NUMBER_BIRTHDAY":   change(func(in *transfer.RealNameInput) { in.IDNumber = "11010519491331002X" }),
		"ID_NUMBER_CHECKSUM":   change(func(in *transfer.RealNameInput) { in.IDNumber = "110105194912310021" }),
		"CREDENTIAL_FORMAT":    {Carrier: carrier.Participant, Credential: "short", Consent: true},
		"REAL_NAME_METHOD":     change(func(in *transfer.RealNameInput) { in.Credential = "demo:both of them" }),
		"CARRIER_UNKNOWN":      change(func(in *transfer.RealNameInput) { in.Carrier = distributor.Participant }),
	} {
		_, err := r.SubmitRealName(r.ctx, ann, idem("real-name"), in)
		wants(t, code, err, code)
		if text := transfer.MessageOf(code); text == transfer.MessageOf("INTERNAL") {
			t.Errorf("%s has no sentence", code)
		}
	}
	_, err := r.SubmitRealName(r.ctx, ann, transfer.Idem{Route: "x"}, good)
	wants(t, "without a key", err, "IDEMPOTENCY_KEY_REQUIRED")
	for _, c := range []transfer.Caller{retailer, carrier, regulator} {
		_, err := r.SubmitRealName(r.ctx, c, idem("real-name"), good)
		wants(t, "staff", err, "FORBIDDEN")
		_, err = r.RealNames(r.ctx, c)
		wants(t, "staff", err, "FORBIDDEN")
		_, err = r.WithdrawRealName(r.ctx, c, idem("withdraw"), "")
		wants(t, "staff", err, "FORBIDDEN")
	}
	_, err = r.WithdrawRealName(r.ctx, ann, idem("withdraw"), carrier.Participant)
	wants(t, "nothing to take back", err, "REAL_NAME_NOTHING")
	if v := r.stands(ann, "none"); v.ID != "" {
		t.Errorf("%+v", v)
	}
	// There is one carrier, so that it needn't be named.
	in := good
	in.Carrier = ""
	v := r.registers(ann, in, "pending")
	_, err = r.SubmitRealName(r.ctx, ann, idem("real-name"), good)
	wants(t, "another one meanwhile", err, "REAL_NAME_PENDING")

	// The carrier's side is the carrier's.
	for _, c := range []transfer.Caller{ann, retailer, regulator, {Participant: "another", Role: request.Carrier, Person: "p"}} {
		want := "FORBIDDEN"
		if c.Role == request.Carrier {
			want = "APPROVAL_NOT_FOUND"
		}
		_, err := r.Approval(r.ctx, c, v.ID)
		wants(t, "look", err, want)
		_, err = r.ApproveRealName(r.ctx, c, idem("approve"), v.ID)
		wants(t, "approve", err, want)
		_, err = r.RefuseRealName(r.ctx, c, idem("refuse"), v.ID, "OTHER", "")
		wants(t, "refuse", err, want)
		if page, err := r.Approvals(r.ctx, c, false, "", 10); len(page.Items) != 0 || err == nil && c.Role != request.Carrier {
			t.Errorf("%s sees %+v, %v", c.Participant, page.Items, err)
		}
	}
	_, err = r.RefuseRealName(r.ctx, carrier, idem("refuse"), v.ID, "TOO_LATE", "")
	wants(t, "a reason that isn't his", err, "REFUSAL_INVALID")
	_, err = r.RefuseRealName(r.ctx, carrier, idem("refuse"), v.ID, "OTHER", strings.Repeat("x", 2001))
	wants(t, "a book", err, "REFUSAL_INVALID")
	_, err = r.Approvals(r.ctx, carrier, true, "nonsense", 10)
	wants(t, "a cursor", err, "CURSOR_INVALID")
	_, err = r.ApproveRealName(r.ctx, carrier, transfer.Idem{}, v.ID)
	wants(t, "without a key", err, "IDEMPOTENCY_KEY_REQUIRED")
	_, err = r.ApproveRealName(r.ctx, carrier, idem("approve"), v.ID)
	wants(t, "somebody who is not logged in", err, "LOGIN_TOO_OLD")
	r.stands(ann, "pending")
}

// Refused with a reason, she tries again; but not all day.
func TestRealNameRefused(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.RealName.Attempts = 3 })
	ann := r.consumer("ann")
	v := r.registers(ann, me("李雷", 1), "pending")
	key := idem("refuse")
	for range 2 { // asked twice
		got, err := r.RefuseRealName(r.ctx, carrier, key, v.ID, "DOCUMENT_INVALID", "照片看不清，请到营业厅办理")
		check(t, err)
		if got.State != "refused" || got.Name != "" || got.IDNumber != "" || got.Decider != carrier.Person {
			t.Errorf("%+v", got)
		}
	}
	other := key
	other.BodyDigest = "y"
	_, err := r.RefuseRealName(r.ctx, carrier, other, v.ID, "OTHER", "")
	wants(t, "another body", err, "IDEMPOTENCY_KEY_REUSED")
	_, err = r.RefuseRealName(r.ctx, carrier, idem("refuse"), v.ID, "OTHER", "")
	wants(t, "refused once more", err, "APPROVAL_DECIDED")
	now := r.stands(ann, "refused")
	if now.Reason != "DOCUMENT_INVALID" || !strings.Contains(now.Message, "证件") || now.Text != "照片看不清，请到营业厅办理" || now.DecidedAt == nil {
		t.Errorf("she reads %+v", now)
	}
	for range 2 {
		v = r.registers(ann, me("李雷", 1), "pending")
		_, err = r.RefuseRealName(r.ctx, carrier, idem("refuse"), v.ID, "OTHER", "")
		check(t, err)
	}
	_, err = r.SubmitRealName(r.ctx, ann, idem("real-name"), me("李雷", 1))
	wants(t, "a fourth time", err, "REAL_NAME_LIMIT")
	// Nor does one person with many accounts.
	for i, name := range []string{"bob", "bob", "bob", "cat", "cat", "cat", "dan", "dan", "dan", "eve"} {
		v, err := r.SubmitRealName(r.ctx, r.consumer(name), idem("real-name"), me("李雷", 1))
		if i == 9 {
			wants(t, "the same person, from another account", err, "REAL_NAME_LIMIT")
			break
		}
		check(t, err)
		_, err = r.RefuseRealName(r.ctx, carrier, idem("refuse"), v.ID, "OTHER", "")
		check(t, err)
	}
	r.clock.forward(25 * time.Hour)
	r.registers(r.consumer("ann"), me("李雷", 1), "pending")
	r.fsck()
}

// She takes it back, at each stage: nothing is kept, and she buys no such card any more, at once.
func TestWithdrawRealName(t *testing.T) {
	t.Parallel()
	r := newStrict(t, 3, nil)
	ann, boss := r.consumer("ann"), r.loggedIn(carrier)
	back := func() transfer.RealNameView {
		t.Helper()
		v, err := r.WithdrawRealName(r.ctx, ann, idem("withdraw"), carrier.Participant)
		check(t, err)
		if v.State != "none" {
			t.Errorf("%+v", v)
		}
		return v
	}
	v := r.registers(ann, me("李雷", 1), "pending")
	back()
	_, err := r.ApproveRealName(r.ctx, boss, idem("approve"), v.ID)
	wants(t, "approved after it was taken back", err, "APPROVAL_DECIDED")

	v = r.approved(ann, "李雷", 1)
	trade := r.offer(retailer, strict, strict)
	key := idem("withdraw")
	for range 2 {
		_, err = r.WithdrawRealName(r.ctx, ann, key, carrier.Participant)
		check(t, err)
	}
	back() // and under another key
	_, err = r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(strict))
	wants(t, "after it was taken back", err, "REAL_NAME_REQUIRED")
	_, err = r.SubmitRealName(r.ctx, ann, idem("real-name"), me("李雷", 1))
	wants(t, "anew, before the carrier has signed", err, "REAL_NAME_WITHDRAWING")
	page, err := r.Approvals(r.ctx, boss, true, "", 10)
	check(t, err)
	if len(page.Items) != 1 || page.Items[0].Kind != "REVOKE" || page.Items[0].ID != v.ID || page.Items[0].Name != "" {
		t.Fatalf("the carrier sees %+v", page.Items)
	}
	_, err = r.RefuseRealName(r.ctx, boss, idem("refuse"), v.ID, "OTHER", "")
	wants(t, "what she takes back is refused", err, "WITHDRAWAL_BINDING")
	r.approve(v.ID)
	r.stands(ann, "none")
	r.until("nothing is left of it", func() bool {
		var row model.RealName
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) (err error) {
			row, err = tx.RealName(v.ID)
			return err
		}))
		return row.State == model.RealNameWithdrawn && row.Person == "" && len(row.IdentitySealed) == 0
	})
	r.onLedger("RevokeApproval", 1)
	// And begins anew.
	r.approved(ann, "李雷", 1)
	r.confirm(ann, trade, strict)
	r.fsck()
}

// An approval ends; so does the patience with a carrier that doesn't decide.
func TestRealNameInTime(t *testing.T) {
	t.Parallel()
	r := newStrict(t, 2, nil, func(c *transfer.Config) { c.RealName.Validity = 40 * 24 * time.Hour })
	ann := r.consumer("ann")
	r.approved(ann, "李雷", 1)
	r.clock.forward(5 * 24 * time.Hour)
	_, err := r.SubmitRealName(r.ctx, ann, idem("real-name"), me("李雷", 1))
	wants(t, "long before its end", err, "REAL_NAME_APPROVED")
	r.clock.forward(6 * 24 * time.Hour)
	v := r.registers(ann, me("李雷", 1), "approved") // renewed in time: it holds meanwhile
	page, err := r.Approvals(r.ctx, carrier, true, "", 10)
	check(t, err)
	if len(page.Items) != 1 {
		t.Fatalf("the carrier sees %+v", page.Items)
	}
	until := *v.ValidUntil
	r.approve(page.Items[0].ID)
	r.until("it holds longer", func() bool { return r.stands(ann, "approved").ValidUntil.After(until) })

	r.clock.forward(41 * 24 * time.Hour)
	ann = r.consumer("ann")
	if v := r.stands(ann, "expired"); v.ValidUntil == nil {
		t.Errorf("%+v", v)
	}
	trade := r.offer(retailer, strict, strict)
	_, err = r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(strict))
	wants(t, "after its end", err, "REAL_NAME_REQUIRED")
	r.registers(ann, me("李雷", 1), "pending")
	r.clock.forward(8 * 24 * time.Hour)
	if v := r.stands(r.consumer("ann"), "refused"); v.Reason != "TOO_LATE" {
		t.Errorf("%+v", v)
	}
	r.fsck()
}

// lockedBuffer is a log that tests can read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
