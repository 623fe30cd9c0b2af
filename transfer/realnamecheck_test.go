package transfer_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"cardflow/transfer"
	"cardflow/transfer/realname"
)

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
