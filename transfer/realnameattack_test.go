package transfer_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/realname"
)

// What somebody tries who wants more than a name of his own on the ledger: each attempt is refused with a code, and none
// leaves anything behind. That the parsers refuse all that is no name and no number stands with them.
func TestRealNameAttacked(t *testing.T) {
	t.Parallel()
	r := newStockedWith(t, nil, func(c *transfer.Config) { c.RealName = transfer.RealNameConfig{Verifier: sandbox, Attempts: 100} })
	ann, bob, boss := r.consumer("ann"), r.consumer("bob"), r.loggedIn(carrier)
	asked := idem("real-name")
	v, err := r.SubmitRealName(r.ctx, ann, asked, me("李雷", 1))
	check(t, err)
	back, gone := idem("withdraw"), r.consumer("cat")
	r.registers(gone, me("韩梅梅", 2), "pending")
	_, err = r.WithdrawRealName(r.ctx, gone, back, carrier.Participant)
	check(t, err)
	decided := idem("approve")
	dan := r.consumer("dan")
	done := r.registers(dan, me("林涛", 3), "pending")
	act, err := r.ApproveRealName(r.ctx, boss, decided, done.ID)
	check(t, err)
	r.await(act, "")
	r.stands(dan, "approved")

	other := func(i transfer.Idem) transfer.Idem {
		i.BodyDigest = "another"
		return i
	}
	submit := func(c transfer.Caller, i transfer.Idem, in transfer.RealNameInput) func() error {
		return func() error {
			_, err := r.SubmitRealName(r.ctx, c, i, in)
			return err
		}
	}
	bobs := func(change func(*transfer.RealNameInput)) func() error {
		in := me("李雷", 4)
		change(&in)
		return submit(bob, idem("real-name"), in)
	}
	named := func(name string) func() error { return bobs(func(in *transfer.RealNameInput) { in.Name = name }) }
	numbered := func(number string) func() error {
		return bobs(func(in *transfer.RealNameInput) { in.IDNumber = number })
	}
	shown := func(credential string) func() error {
		return submit(bob, idem("real-name"), transfer.RealNameInput{Carrier: carrier.Participant, Credential: credential, Consent: true})
	}
	with := func(carrier string) func() error {
		return bobs(func(in *transfer.RealNameInput) { in.Carrier = carrier })
	}
	approve := func(c transfer.Caller, i transfer.Idem, id string) func() error {
		return func() error {
			_, err := r.ApproveRealName(r.ctx, c, i, id)
			return err
		}
	}
	refuse := func(c transfer.Caller, id, reason, text string) func() error {
		return func() error {
			_, err := r.RefuseRealName(r.ctx, c, idem("refuse"), id, reason, text)
			return err
		}
	}
	withdraw := func(c transfer.Caller, i transfer.Idem, carrier string) func() error {
		return func() error {
			_, err := r.WithdrawRealName(r.ctx, c, i, carrier)
			return err
		}
	}
	number, rival := realname.Example(4), transfer.Caller{Participant: "another", Role: request.Carrier, Person: "p"}
	wrong := number[:17] + string("0123456789X"[(strings.IndexByte("0123456789X", number[17])+1)%11])
	for _, a := range []struct {
		what, code string
		try        func() error
	}{
		{"a key with another body", "IDEMPOTENCY_KEY_REUSED", submit(ann, other(asked), me("李雷", 2))},
		{"a key of a withdrawal with another body", "IDEMPOTENCY_KEY_REUSED", withdraw(gone, other(back), carrier.Participant)},
		{"a key of an approval with another body", "IDEMPOTENCY_KEY_REUSED", approve(boss, other(decided), done.ID)},
		{"no key", "IDEMPOTENCY_KEY_REQUIRED", withdraw(ann, transfer.Idem{Route: "withdraw", BodyDigest: "x"}, carrier.Participant)},

		{"a name of 51 characters", "NAME_INVALID", named(strings.Repeat("李", 51))},
		{"a name of three megabytes", "NAME_INVALID", named(strings.Repeat("李", 1<<20))},
		{"a name with an end inside", "NAME_INVALID", named("李\x00雷")},
		{"a name that moves a terminal", "NAME_INVALID", named("李\x1b[2J雷")},
		{"a name that deletes", "NAME_INVALID", named("李雷\x7f")},
		{"a name with a character that nobody sees", "NAME_INVALID", named("李\u200b雷")},
		{"a name that is read from right to left", "NAME_INVALID", named("\u202e雷李")},
		{"a name with a mark of byte order", "NAME_INVALID", named("\ufeff李雷")},
		{"a name that is no text", "NAME_INVALID", named("李\xff雷")},
		{"a name that is a statement", "NAME_INVALID", named("李雷'; DROP TABLE real_names;--")},
		{"a wrong checksum", "ID_NUMBER_CHECKSUM", numbered(wrong)},
		{"other people's digits", "ID_NUMBER_CHARACTERS", numbered("١" + number[1:])},
		{"a number with an end inside", "ID_NUMBER_CHARACTERS", numbered(number[:16] + "\x00" + number[17:])},
		{"a number of a megabyte", "ID_NUMBER_LENGTH", numbered(strings.Repeat("1", 1<<20))},
		{"a credential with an end inside", "CREDENTIAL_FORMAT", shown("demo:\x00李雷:" + number)},
		{"a credential of a megabyte", "CREDENTIAL_FORMAT", shown(strings.Repeat("1", 1<<20))},
		{"both ways at once", "REAL_NAME_METHOD", bobs(func(in *transfer.RealNameInput) { in.Credential = "demo:李雷:" + number })},
		{"without consent", "CONSENT_REQUIRED", bobs(func(in *transfer.RealNameInput) { in.Consent = false })},
		{"with a shop", "CARRIER_UNKNOWN", with(retailer.Participant)},
		{"with himself", "CARRIER_UNKNOWN", with(bob.Participant)},
		{"with all carriers", "CARRIER_UNKNOWN", with("' OR '1'='1")},

		{"he takes back what is hers", "REAL_NAME_NOTHING", withdraw(bob, idem("withdraw"), carrier.Participant)},
		{"he takes it back under her key", "REAL_NAME_NOTHING", withdraw(bob, back, carrier.Participant)},
		{"she approves it herself", "FORBIDDEN", approve(ann, idem("approve"), v.ID)},
		{"she refuses it herself", "FORBIDDEN", refuse(ann, v.ID, "OTHER", "")},
		{"another carrier approves it", "APPROVAL_NOT_FOUND", approve(rival, idem("approve"), v.ID)},
		{"another carrier refuses it", "APPROVAL_NOT_FOUND", refuse(rival, v.ID, "OTHER", "")},
		{"all are approved", "APPROVAL_NOT_FOUND", approve(boss, idem("approve"), "' OR '1'='1")},
		{"one by its owner", "APPROVAL_NOT_FOUND", approve(boss, idem("approve"), ann.Participant)},
		{"none", "APPROVAL_NOT_FOUND", approve(boss, idem("approve"), "")},
		{"one that is decided", "APPROVAL_DECIDED", refuse(boss, done.ID, "OTHER", "")},
		{"one that was taken back", "APPROVAL_NOT_FOUND", approve(rival, decided, done.ID)},
		{"a reason of his own", "REFUSAL_INVALID", refuse(boss, v.ID, "other", "")},
		{"a reason with a book", "REFUSAL_INVALID", refuse(boss, v.ID, "OTHER", strings.Repeat("x", 1<<20))},
	} {
		wants(t, a.what, a.try(), a.code)
	}

	// Her key is hers: under it somebody else makes a registration of his own, and is told nothing of hers.
	his, err := r.SubmitRealName(r.ctx, bob, asked, me("李雷", 4))
	check(t, err)
	if his.ID == v.ID {
		t.Error("he was given her registration")
	}
	mine, err := r.SubmitRealName(r.ctx, ann, asked, me("李雷", 1))
	check(t, err)
	if mine.ID != v.ID {
		t.Errorf("asked twice it is %s and %s", v.ID, mine.ID)
	}
	page, err := r.Approvals(r.ctx, boss, false, "", 50)
	check(t, err)
	states := map[string]string{}
	for _, a := range page.Items {
		states[a.ID] = a.State
	}
	if len(states) != 4 || states[v.ID] != string(model.RealNameReviewing) || states[done.ID] != string(model.RealNameApproved) {
		t.Errorf("afterwards there are %v", states)
	}
	r.noneUnfinished()
	r.onLedger("Approve", 1)
	r.onLedger("RevokeApproval", 0)
	r.fsck()
}

// One consumer asks at two servers at once, under two keys and two names: one of them is registered, the other is told.
func TestRealNameAskedAtOnce(t *testing.T) {
	t.Parallel()
	var shared transfer.Config
	r := newStockedWith(t, nil, func(c *transfer.Config) { shared = *c })
	other := transfer.New(shared)
	check(t, other.Start(r.ctx))
	t.Cleanup(func() { r.stop(); other.Wait() })
	for i, name := range []string{"ann", "bob", "cat"} {
		c := r.consumer(name)
		var wg sync.WaitGroup
		codes := make([]string, 2)
		for n, s := range []*transfer.Service{r.Service, other} {
			wg.Go(func() {
				if _, err := s.SubmitRealName(r.ctx, c, idem("real-name"), me("李雷", 2*i+n)); err != nil {
					codes[n] = transfer.CodeOf(err)
				}
			})
		}
		wg.Wait()
		slices.Sort(codes)
		if !slices.Equal(codes, []string{"", "REAL_NAME_PENDING"}) {
			t.Errorf("%s: %q", name, codes)
		}
	}
	page, err := r.Approvals(r.ctx, carrier, true, "", 50)
	check(t, err)
	if len(page.Items) != 3 {
		t.Errorf("%d of three wait", len(page.Items))
	}
	r.fsck()
}
