package transfer_test

import (
	"bytes"
	"context"
	"errors"
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

// fickle is a verifier that a test can silence.
type fickle struct {
	realname.Sandbox
	mu     sync.Mutex
	silent bool
	asked  map[string]int
}

func (f *fickle) Verify(ctx context.Context, check string, who realname.Identity) (realname.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked == nil {
		f.asked = map[string]int{}
	}
	f.asked[check]++
	if f.silent {
		return realname.Answer{}, errors.New("verifier: connection refused")
	}
	return f.Sandbox.Verify(ctx, check, who)
}

func (f *fickle) silence(is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent = is
}

// What the verifier says: no is no at once, with a reason; whatever else, a person decides, also if it says nothing.
func TestVerifier(t *testing.T) {
	t.Parallel()
	f := &fickle{Sandbox: sandbox}
	r := newStockedWith(t, nil, func(c *transfer.Config) {
		c.RealName = transfer.RealNameConfig{Verifier: f, Attempts: 20}
	})
	ann, boss := r.consumer("ann"), r.loggedIn(carrier)
	credential := func(text string) transfer.RealNameInput {
		return transfer.RealNameInput{Carrier: carrier.Participant, Credential: text, Consent: true}
	}
	for _, c := range []struct {
		in            transfer.RealNameInput
		state, reason string
	}{
		{me("李不符", 1), "refused", "MISMATCH"},
		{me("李查无", 1), "refused", "NOT_FOUND"},
		{credential("expired:anything"), "refused", "CREDENTIAL_EXPIRED"},
		{credential("not one at all"), "refused", "CREDENTIAL_INVALID"},
		{credential("bare:李雷"), "refused", "CREDENTIAL_BARE"},
	} {
		if v := r.registers(ann, c.in, c.state); v.Reason != c.reason || v.Message == "" {
			t.Errorf("%+v, want %s", v, c.reason)
		}
	}
	v := r.registers(ann, me("李人工", 1), "pending")
	if got, err := r.Approval(r.ctx, boss, v.ID); err != nil || got.Finding != "UNCLEAR" || got.State != "reviewing" {
		t.Errorf("%+v, %v", got, err)
	}
	_, err := r.RefuseRealName(r.ctx, boss, idem("refuse"), v.ID, "OTHER", "")
	check(t, err)

	// It says nothing: she has registered all the same. It is asked again, and answers; or a person has to look.
	f.silence(true)
	v = r.registers(ann, me("李雷", 1), "pending")
	if got, err := r.Approval(r.ctx, boss, v.ID); err != nil || got.State != "checking" {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = r.ApproveRealName(r.ctx, boss, idem("approve"), v.ID)
	wants(t, "before it was checked", err, "APPROVAL_DECIDED")
	reviewed := func(id, finding string) {
		t.Helper()
		r.until("it is asked again", func() bool {
			r.clock.forward(30 * time.Second)
			got, err := r.Approval(r.ctx, r.loggedIn(carrier), id)
			check(t, err)
			return got.State == "reviewing" && got.Finding == finding
		})
	}
	reviewed(v.ID, "NO_ANSWER")
	f.silence(false)
	_, err = r.RefuseRealName(r.ctx, boss, idem("refuse"), v.ID, "OTHER", "")
	check(t, err)
	f.silence(true)
	v = r.registers(ann, credential("demo:李雷:"+realname.Example(1)), "pending")
	f.silence(false)
	reviewed(v.ID, "CONFIRMED")

	// By credential she is the same person as by number.
	r.approve(v.ID)
	r.stands(ann, "approved")
	r.approved(r.consumer("bob"), "李雷", 1)
	if got, err := r.Approval(r.ctx, r.loggedIn(carrier), v.ID); err != nil || got.Accounts != 2 || got.Method != "CREDENTIAL" {
		t.Errorf("%+v, %v", got, err)
	}
	r.fsck()
}

// A credential that nobody can read any more, because the verifier never answers, is refused, not left to a person.
func TestCredentialWithoutAnswer(t *testing.T) {
	t.Parallel()
	f := &fickle{Sandbox: sandbox, silent: true}
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.RealName.Verifier = f })
	ann := r.consumer("ann")
	v := r.registers(ann, transfer.RealNameInput{Carrier: carrier.Participant, Credential: "demo:李雷:" + realname.Example(1), Consent: true}, "pending")
	r.until("it is refused", func() bool {
		r.clock.forward(30 * time.Second)
		all, err := r.RealNames(r.ctx, ann)
		check(t, err)
		return all.State == "refused" && all.Items[0].Reason == "CREDENTIAL_BARE"
	})
	if n := f.asked[v.ID]; n < 2 || n > 10 {
		t.Errorf("it was asked %d times", n)
	}
	// Without a verifier there is no such way.
	r.Config.RealName.Verifier = nil
	_, err := r.SubmitRealName(r.ctx, ann, idem("real-name"), transfer.RealNameInput{Carrier: carrier.Participant, Credential: "demo:anything", Consent: true})
	wants(t, "a credential that nobody reads", err, "REAL_NAME_METHOD_UNAVAILABLE")
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
