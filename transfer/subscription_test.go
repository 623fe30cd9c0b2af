package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"cardflow/model"
	"cardflow/transfer"
)

// postman keeps what it is given to send, and answers what it is told to.
type postman struct {
	mu    sync.Mutex
	sent  []transfer.Message
	fails func(transfer.Message) (transfer.Delivery, error) // nil: it is sent
	cross func()                                            // nil: nothing kills it
}

func (p *postman) Message(_ context.Context, m transfer.Message) (transfer.Delivery, error) {
	if p.cross != nil {
		p.cross()
		defer p.cross()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails != nil {
		if end, err := p.fails(m); end != "" || err != nil {
			return end, err
		}
	}
	p.sent = append(p.sent, m)
	return transfer.MessageSent, nil
}

// said counts messages by event and subject.
func (p *postman) said() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := map[string]int{}
	for _, m := range p.sent {
		n[string(m.Event)+" "+m.Subject]++
	}
	return n
}

// newPosted is a rig with a postman, that sends when a test says so.
func newPosted(t *testing.T, p *postman, change ...func(*transfer.Config)) *rig {
	return newStockedWith(t, nil, func(c *transfer.Config) {
		c.Messenger, c.Trade.SweepInterval = p, time.Hour
		for _, f := range change {
			f(c)
		}
	})
}

func (r *rig) subscribes(c transfer.Caller, kind string) {
	r.t.Helper()
	check(r.t, r.Subscribe(r.ctx, c, idem("subscribe"), kind))
}

// waits counts the messages of a kind that somebody has let be sent, and that nothing has happened for.
func (r *rig) waits(c transfer.Caller, kind string) int64 {
	r.t.Helper()
	return read(r, func(tx *model.Tx) (int64, error) { return tx.SubscriptionsOf(c.Participant, kind) })
}

// posts sends what is due now, after the time in which somebody may still be looking.
func (r *rig) posts() {
	r.t.Helper()
	r.clock.forward(6 * time.Second)
	if answered := must2(r.SendMessages(r.ctx))(r.t); !answered {
		r.t.Fatal("nobody answers")
	}
}

// What somebody waits for is told to him, once, if he has let it be told; what he has seen isn't.
func TestMessages(t *testing.T) {
	t.Parallel()
	p, m := &postman{}, &meter{}
	r := newPosted(t, p, func(c *transfer.Config) { c.Metrics = m })
	ann, bob, boss := r.consumer("ann"), r.consumer("bob"), r.loggedIn(carrier)
	want := map[string]int{}
	told := func(what string) {
		t.Helper()
		r.posts()
		if got := p.said(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s: told %v, want %v", what, got, want)
		}
	}
	taken := func(c transfer.Caller, card int) (transfer.TradeView, string) {
		trade := r.offer(retailer, card, card)
		act, err := r.Confirm(r.ctx, c, idem("confirm"), trade.TradeID, trade.Code, last6(card))
		check(t, err)
		r.await(act, "")
		return trade, act.ID
	}
	returned := func(c transfer.Caller, trade transfer.TradeView) string {
		act, err := r.Return(r.ctx, c, idem("return"), trade.TradeID, "")
		check(t, err)
		r.await(act, "")
		page, err := r.Trades(r.ctx, retailer, transfer.TradeFilter{Side: "receiver", State: "offered"})
		check(t, err)
		return page.Items[0].TradeID
	}

	r.subscribes(ann, "confirmation")
	taken(bob, 1)
	told("who has let nothing be told")
	first, act := taken(ann, 2)
	want["confirmation.committed "+act] = 1
	told("a confirmation")
	second, _ := taken(ann, 3)
	told("another one, for which nothing is left")

	// She looks at the end of it: she isn't told, and what she let be told is for the next one.
	r.subscribes(ann, "confirmation")
	_, act = taken(ann, 4)
	if v := must2(r.Act(r.ctx, ann, act))(t); v.State != "committed" {
		t.Fatalf("she sees %+v", v)
	}
	told("what she has seen")
	if n := r.waits(ann, "confirmation"); n != 1 {
		t.Errorf("%d messages wait", n)
	}

	// One that fails: its time was over before a signature could be had.
	trade := r.offer(retailer, 5, 5)
	r.keys.Seal(r.ctx, "test")
	failed, err := r.Confirm(r.ctx, ann, idem("confirm"), trade.TradeID, trade.Code, last6(5))
	check(t, err)
	r.clock.forward(2 * time.Hour)
	check(t, errors.Join(func() error { _, err := r.keys.Unseal(r.ctx, nil, "test"); return err }()))
	_, err = r.Await(r.ctx, failed.ID)
	check(t, err)
	want["confirmation.failed "+failed.ID] = 1
	told("a confirmation that fails")
	ann, boss = r.consumer("ann"), r.loggedIn(carrier)

	// Real names: one that is refused, one that is approved. Asked twice with one key it is one.
	key := idem("subscribe")
	for range 2 {
		check(t, r.Subscribe(r.ctx, ann, key, "real_name"))
	}
	if n := r.waits(ann, "real_name"); n != 1 {
		t.Fatalf("asked twice, %d messages wait", n)
	}
	r.subscribes(ann, "real_name")
	v := r.registers(ann, me("李雷", 1), "pending")
	_, err = r.RefuseRealName(r.ctx, boss, idem("refuse"), v.ID, "OTHER", "")
	check(t, err)
	want["real_name.refused "+v.ID] = 1
	told("a refusal")
	v = r.approved(ann, "李雷", 1)
	want["real_name.approved "+v.ID] = 1
	told("an approval")

	// Returns: one that the shop doesn't take, one that it does, one that she takes back herself.
	for range 3 {
		r.subscribes(ann, "return")
	}
	back := returned(ann, first)
	r.endedByShop(r.Decline(r.ctx, retailer, idem("decline"), back, "", "", "DAMAGED", ""))
	want["return.declined "+back] = 1
	told("a return that is not taken")
	back = returned(ann, first)
	r.endedByShop(r.Confirm(r.ctx, retailer, idem("confirm"), back, "", ""))
	want["return.confirmed "+back] = 1
	told("a return that is taken")
	back = returned(ann, second)
	r.endedByShop(r.Cancel(r.ctx, ann, idem("cancel"), back))
	told("a return that she takes back")

	for _, s := range p.sent {
		if s.Participant != ann.Participant || s.At.IsZero() {
			t.Errorf("told was %+v", s)
		}
	}
	if n := m.count("message confirmation sent") + m.count("message real_name sent") + m.count("message return sent"); n != len(want) {
		t.Errorf("metrics: %v", m.seen)
	}

	// What may wait is bounded, and nobody else lets anything be told.
	for range 8 {
		r.subscribes(bob, "return")
	}
	if n := r.waits(bob, "return"); n != 5 {
		t.Errorf("%d messages wait", n)
	}
	wants(t, "a kind that isn't", r.Subscribe(r.ctx, bob, idem("subscribe"), "weather"), "SUBSCRIPTION_INVALID")
	wants(t, "staff", r.Subscribe(r.ctx, retailer, idem("subscribe"), "return"), "FORBIDDEN")
	wants(t, "without a key", r.Subscribe(r.ctx, bob, transfer.Idem{}, "return"), "IDEMPOTENCY_KEY_REQUIRED")
	r.fsck()
}

func (r *rig) endedByShop(act transfer.Act, err error) {
	r.t.Helper()
	check(r.t, err)
	r.await(act, "")
}

// due has something happen to a consumer n times that he has let be told, as settling does.
func (r *rig) due(c transfer.Caller, n int) {
	r.t.Helper()
	check(r.t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		for i := range n {
			s := model.Subscription{ID: fmt.Sprintf("%s-%d", c.Participant, i), Participant: c.Participant, Kind: "return", CreatedAt: r.now()}
			if err := tx.AddSubscription(s); err != nil {
				return err
			}
			if used, err := tx.UseSubscription(c.Participant, "return", string(transfer.ReturnTaken), fmt.Sprintf("trade-%d", i), r.now(), r.now()); !used || err != nil {
				return errors.Join(err, errors.New("nothing was left to use"))
			}
		}
		return nil
	}))
}

// Two servers that send at once send each message once.
func TestTwoServersSendOnce(t *testing.T) {
	t.Parallel()
	p := &postman{}
	var shared transfer.Config
	r := newPosted(t, p, func(c *transfer.Config) { shared = *c })
	other := transfer.New(shared)
	const n = 60
	r.due(r.consumer("ann"), n)
	var wg sync.WaitGroup
	for _, s := range []*transfer.Service{r.Service, other, r.Service, other} {
		wg.Go(func() {
			if _, err := s.SendMessages(r.ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	said := p.said()
	if len(said) != n || len(p.sent) != n {
		t.Errorf("%d messages were sent, about %d things", len(p.sent), len(said))
	}
}

// Where nobody answers one message is lost, and the others wait; what is refused, or too old, is over.
func TestMessagesThatAreNotSent(t *testing.T) {
	t.Parallel()
	p, m := &postman{}, &meter{}
	r := newPosted(t, p, func(c *transfer.Config) { c.Metrics = m })
	ann := r.consumer("ann")
	r.due(ann, 4)
	away := errors.New("no answer")
	ends := map[string]transfer.Delivery{"trade-1": transfer.MessageRefused, "trade-2": transfer.MessageFailed}
	p.fails = func(m transfer.Message) (transfer.Delivery, error) {
		if m.Subject == "trade-0" {
			return "", away
		}
		return ends[m.Subject], nil
	}
	if answered, err := r.SendMessages(r.ctx); answered || err != nil {
		t.Fatalf("answered is %t %v", answered, err)
	}
	if answered, err := r.SendMessages(r.ctx); !answered || err != nil {
		t.Fatalf("answered is %t %v", answered, err)
	}
	if said := p.said(); len(said) != 1 || said["return.confirmed trade-3"] != 1 {
		t.Errorf("sent was %v", said)
	}
	r.due(r.consumer("bob"), 1)
	r.clock.forward(25 * time.Hour)
	if answered, err := r.SendMessages(r.ctx); !answered || err != nil {
		t.Fatalf("answered is %t %v", answered, err)
	}
	for _, end := range transfer.Deliveries {
		if n := m.count("message return " + string(end)); n != 1 {
			t.Errorf("%s: %d times", end, n)
		}
	}
	if left := read(r, func(tx *model.Tx) ([]model.Subscription, error) { return tx.SubscriptionsDue(r.now(), 10) }); len(left) > 0 {
		t.Errorf("left is %+v", left)
	}
}

// Killed at any boundary between the consent and the message, the service that is started next sends it, or it is lost: no
// refusal is told twice.
func TestMessagesKilledAtEveryBoundary(t *testing.T) {
	t.Parallel()
	r, reaper := newMortal(t)
	p := &postman{cross: reaper.cross}
	mortal := r.config
	var given atomic.Bool // up by its row, or about to be
	r.config = func(c *transfer.Config) {
		mortal(c)
		c.RealName.Verifier, c.Messenger, c.At = nil, p, func(point string) {
			if point == "transfer: "+transfer.AtMessaging {
				given.Store(true)
			}
			reaper.cross()
		}
	}
	r.reopen(t)
	ann, boss := r.consumer("ann"), r.loggedIn(carrier)
	var id string // of what is to be told
	refused := func(r *rig, key transfer.Idem) error {
		named := func(route string) transfer.Idem {
			return transfer.Idem{Key: key.Key + route, Route: route, BodyDigest: "x"}
		}
		if err := r.Subscribe(r.ctx, ann, named("subscribe"), "real_name"); err != nil {
			return err
		}
		v, err := r.SubmitRealName(r.ctx, ann, named("real-name"), me("李雷", 1))
		if err == nil {
			id = v.ID
			_, err = r.RefuseRealName(r.ctx, boss, named("refuse"), v.ID, "OTHER", "")
		}
		return err
	}
	lost := 0
	// killing kills deeds at one boundary after the other, to the last.
	killing := func(step int, before, do func(r *rig, key transfer.Idem) error) (k int) {
		d := deed{name: "message", do: func(r *rig, _ transfer.Caller, _ int, _ transfer.TradeView, key transfer.Idem) (transfer.Act, error) {
			return transfer.Act{}, do(r, key)
		}}
		k = 1
		for died := true; died; k += step {
			key := idem("message")
			check(t, before(r, key))
			given.Store(false)
			died = r.dieDoing(reaper, k, d, ann, 0, transfer.TradeView{}, key)
			if err := do(r, key); err != nil { // whatever he was told, he asks again
				t.Fatalf("killed at boundary %d, asked again: %v", k, err)
			}
			_, err := r.SendMessages(r.ctx)
			check(t, err)
			switch told := p.said()["real_name.refused "+id]; {
			case told > 1 || told == 0 && !(died && given.Load()):
				t.Fatalf("killed at boundary %d: told %d times", k, told)
			case told == 0:
				lost++
			}
			if k > 1000 {
				t.Fatal("there is no end to the boundaries")
			}
		}
		return k
	}
	nothing := func(*rig, transfer.Idem) error { return nil }
	all := killing(2*stride, nothing, refused)
	sending := killing(1, refused, func(r *rig, _ transfer.Idem) error {
		_, err := r.SendMessages(r.ctx)
		return err
	})
	t.Logf("%d boundaries to the message, %d to its end, %d messages lost", all, sending, lost)
	if all < 15 || sending < 5 {
		t.Error("there are few boundaries only")
	}
}

// What WeChat takes: at most 5 Chinese characters as a result, 20 characters as a note, its own way to write a time; and no
// more is said than that something is over.
func TestMessageTexts(t *testing.T) {
	t.Parallel()
	subject := strings.Repeat("0a", 16)
	at := time.Date(2026, 11, 27, 16, 5, 0, 0, time.UTC)
	events := []transfer.Event{
		transfer.RealNameApproved, transfer.RealNameRefused, transfer.ConfirmationDone, transfer.ConfirmationFailed, transfer.ReturnTaken, transfer.ReturnDeclined,
		transfer.ReturnExpired,
	}
	for _, e := range events {
		text, ok := transfer.Message{Participant: "c-1", Event: e, Subject: subject, At: at}.Text()
		if !ok || !slices.Contains(transfer.MessageKinds, e.Kind()) {
			t.Errorf("%s: %+v, %t", e, text, ok)
		}
		if n := utf8.RuneCountInString(text.Result); n == 0 || n > 5 || strings.ContainsFunc(text.Result, func(r rune) bool { return !unicode.Is(unicode.Han, r) }) {
			t.Errorf("%s: result %q", e, text.Result)
		}
		if n := utf8.RuneCountInString(text.Note); n == 0 || n > 20 {
			t.Errorf("%s: note %q has %d characters", e, text.Note, n)
		}
		if text.Time != "2026年11月28日 00:05" {
			t.Errorf("%s: time %q", e, text.Time)
		}
		if page, query, _ := strings.Cut(text.Page, "?"); !strings.HasPrefix(page, "pages/") || query != "" && query != "id="+subject {
			t.Errorf("%s: page %q", e, text.Page)
		}
	}
	for _, m := range []transfer.Message{
		{Event: "return.cancelled", Subject: subject}, {Event: "", Subject: subject}, {Event: transfer.ConfirmationDone, Subject: "K7QX9M2D"},
		{Event: transfer.ConfirmationDone, Subject: subject + "&code=1"},
	} {
		if text, ok := m.Text(); ok {
			t.Errorf("%+v is told as %+v", m, text)
		}
	}
}
