package handler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"cardflow/gm"
	"cardflow/handler"
	"cardflow/ledger/request"
	"cardflow/transfer"
)

var _ handler.Service = (*fakeService)(nil)

// The real service fits as well.
var _ handler.Service = (*transfer.Service)(nil)

const (
	oneCode  = "7K3M9QXA" // leads to trade-1
	oneLast6 = "900016"
	oneCard  = "89860112345678900016"
	cardID   = "k-Zm9v"
	lotHash  = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

// fakeService keeps the promises of transfer.Service that handler relies on: one answer to every bad code, one act for
// one wish, trades that end once, acts that only their owner sees.
type fakeService struct {
	mu      sync.Mutex
	clock   *fakeClock
	calls   []string
	slow    map[string]time.Duration // how long a lookup of a code takes
	trades  map[string]*fakeTrade
	acts    map[string]transfer.Act
	owner   map[string]string // act → participant
	wishes  map[string]fakeWish
	people  map[string]*fakePerson
	watched chan transfer.Act
	fail    error // what every call answers, if set
	lookups error // what Person answers, if set
	panics  any
	block   chan struct{}
	uploads []string
	input   any // what the last offer, search, issue or import was given
	custody error
	ready   map[string]error
	// handsets are the terminals that are known, by key ID.
	handsets map[string]gm.PublicKey
	// realName is the state of everybody's registration.
	realName string
	erased   map[string]bool // participants
	obstacle string          // to deleting data
	// deadline, if set, gets the deadline of the next Profile call.
	deadline chan time.Time
}

type fakeTrade struct {
	view  transfer.TradeView
	last6 string
	state string // "" is open, else why the code leads nowhere
}

type fakeWish struct{ digest, act string }

type fakePerson struct {
	caller   transfer.Caller
	password string
	must     bool
	gone     bool // disabled
}

func newFakeService(clock *fakeClock) *fakeService {
	s := &fakeService{
		clock: clock, slow: map[string]time.Duration{}, trades: map[string]*fakeTrade{}, acts: map[string]transfer.Act{}, owner: map[string]string{},
		wishes: map[string]fakeWish{}, people: map[string]*fakePerson{}, watched: make(chan transfer.Act, 8),
		ready: map[string]error{"database": nil, "ledger": nil, "journal": nil},
	}
	for _, role := range []string{"carrier", "distributor", "retailer", "ops", "auditor", "regulator"} {
		org := request.Role(role)
		if role == "ops" || role == "auditor" {
			org = request.Platform
		}
		s.people[role] = &fakePerson{transfer.Caller{Participant: role + "-1", Role: org, Person: "p-" + role, Roles: []string{role}}, passwordOf(role), false, false}
	}
	s.people["ops2"] = &fakePerson{transfer.Caller{Participant: "ops-1", Role: request.Platform, Person: "p-ops2", Roles: []string{"ops"}}, passwordOf("ops2"), false, false}
	s.people["newcomer"] = &fakePerson{transfer.Caller{Participant: "retailer-1", Role: request.Retailer, Person: "p-new", Roles: []string{"retailer"}}, passwordOf("newcomer"), true, false}
	add := func(id, code, why string) {
		s.trades[id] = &fakeTrade{last6: oneLast6, state: why, view: transfer.TradeView{
			TradeID: id, Mode: "BEARER", Code: code, SellerID: "retailer-1", SellerName: "城南手机店", Segments: []transfer.Span{{Start: oneCard, End: oneCard, Count: 1}},
			Count: 1, State: "offered", OfferedAt: start, ExpiresAt: start.Add(24 * time.Hour), LotHash: lotHash,
		}}
	}
	add("trade-1", oneCode, "")
	add("trade-2", "AAAA2222", "expired")
	add("trade-3", "AAAA3333", "cancelled")
	add("trade-4", "AAAA4444", "used by another")
	named := &fakeTrade{view: s.trades["trade-1"].view}
	named.view.TradeID, named.view.Mode, named.view.Code, named.view.ReceiverID, named.view.ReceiverName = "trade-named", "NAMED", "", "distributor-1", "中间商"
	s.trades["trade-named"] = named
	return s
}

func (s *fakeService) note(format string, args ...any) error {
	s.mu.Lock()
	s.calls = append(s.calls, fmt.Sprintf(format, args...))
	block, fail, panics := s.block, s.fail, s.panics
	s.mu.Unlock()
	if block != nil {
		<-block
	}
	if panics != nil {
		panic(panics)
	}
	return fail
}

// called counts the calls of a name.
func (s *fakeService) called(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if c == name || len(c) > len(name) && c[:len(name)+1] == name+" " {
			n++
		}
	}
	return n
}

func bad(code string) error { return &transfer.Error{Code: code} }

func (s *fakeService) ConsumerFor(ctx context.Context, appID, openID string) (transfer.Caller, error) {
	err := s.note("ConsumerFor %s", appID)
	return transfer.Caller{Participant: "c-" + openID, Role: request.Consumer}, err
}

func (s *fakeService) Login(ctx context.Context, username, password string) (transfer.Caller, transfer.PersonView, error) {
	if err := s.note("Login %s", username); err != nil {
		return transfer.Caller{}, transfer.PersonView{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.people[username]
	if p == nil || p.password != password {
		return transfer.Caller{}, transfer.PersonView{}, transfer.ErrLogin
	}
	return p.caller, s.person(username, p), nil
}

func (s *fakeService) person(username string, p *fakePerson) transfer.PersonView {
	return transfer.PersonView{ID: p.caller.Person, Username: username, Roles: p.caller.Roles, MustChangePassword: p.must,
		OrganisationID: p.caller.Participant, OrganisationName: "单位" + p.caller.Participant, OrganisationRole: string(p.caller.Role)}
}

func (s *fakeService) Person(ctx context.Context, c transfer.Caller) (transfer.PersonView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lookups != nil {
		return transfer.PersonView{}, s.lookups
	}
	for name, p := range s.people {
		if p.caller.Person == c.Person && !p.gone {
			return s.person(name, p), nil
		}
	}
	return transfer.PersonView{}, bad("FORBIDDEN")
}

func (s *fakeService) ChangePassword(ctx context.Context, c transfer.Caller, old, new string) error {
	if err := s.note("ChangePassword"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.people {
		if p.caller.Person == c.Person {
			if len(new) < 10 {
				return bad("PASSWORD_WEAK")
			}
			if old == new {
				return bad("PASSWORD_SAME")
			}
			if p.password != old {
				return transfer.ErrLogin
			}
			p.password, p.must = new, false
			return nil
		}
	}
	return errors.New("no such person")
}

func (s *fakeService) Profile(ctx context.Context, c transfer.Caller) (transfer.Profile, error) {
	if s.deadline != nil {
		d, _ := ctx.Deadline()
		s.deadline <- d
	}
	return transfer.Profile{ID: c.Participant, Role: string(c.Role), Name: "名字", State: "registered"}, s.note("Profile")
}

func (s *fakeService) find(c transfer.Caller, code, last6 string) (*fakeTrade, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.advance(s.slow[code])
	for _, t := range s.trades {
		if code != "" && t.view.Code == code && t.state == "" && t.last6 == last6 {
			return t, nil
		}
	}
	return nil, (&transfer.Error{Code: "TRADE_CODE_NOT_FOUND", Err: errors.New("why it failed")}).With("why", code)
}

func (s *fakeService) Lookup(ctx context.Context, c transfer.Caller, code, last6 string) (transfer.Offered, error) {
	if err := s.note("Lookup"); err != nil {
		return transfer.Offered{}, err
	}
	t, err := s.find(c, code, last6)
	if err != nil {
		return transfer.Offered{}, err
	}
	return transfer.Offered{TradeID: t.view.TradeID, SellerName: t.view.SellerName, Segments: t.view.Segments, Count: 1, ExpiresAt: t.view.ExpiresAt, State: "offered"}, nil
}

// once makes one act for one wish.
func (s *fakeService) once(c transfer.Caller, i transfer.Idem, function, trade string) (transfer.Act, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := c.Participant + c.Person + "|" + i.Route + "|" + i.Key
	if w, ok := s.wishes[key]; ok {
		if w.digest != i.BodyDigest {
			return transfer.Act{}, bad("IDEMPOTENCY_KEY_REUSED")
		}
		return s.acts[w.act], nil
	}
	id := fmt.Sprintf("act-%d", len(s.acts)+1)
	a := transfer.Act{ID: id, Function: function, State: "accepted", TradeID: trade, CreatedAt: s.clock.Now(), UpdatedAt: s.clock.Now()}
	s.acts[id], s.owner[id], s.wishes[key] = a, c.Participant, fakeWish{i.BodyDigest, id}
	return a, nil
}

func (s *fakeService) end(c transfer.Caller, i transfer.Idem, function, id, code, last6 string) (transfer.Act, error) {
	if code == "" && last6 == "" {
		s.mu.Lock()
		t := s.trades[id]
		s.mu.Unlock()
		if t == nil || t.view.ReceiverID != c.Participant {
			return transfer.Act{}, bad("TRADE_NOT_FOUND")
		}
	} else if t, err := s.find(c, code, last6); err != nil {
		return transfer.Act{}, err
	} else if t.view.TradeID != id {
		return transfer.Act{}, bad("TRADE_CODE_NOT_FOUND")
	}
	return s.once(c, i, function, id)
}

func (s *fakeService) Confirm(ctx context.Context, c transfer.Caller, i transfer.Idem, id, code, last6 string) (transfer.Act, error) {
	if err := s.note("Confirm"); err != nil {
		return transfer.Act{}, err
	}
	return s.end(c, i, "Confirm", id, code, last6)
}

func (s *fakeService) Decline(ctx context.Context, c transfer.Caller, i transfer.Idem, id, code, last6, reason, text string) (transfer.Act, error) {
	if err := s.note("Decline %s", reason); err != nil {
		return transfer.Act{}, err
	}
	if !request.Reasons[reason] {
		return transfer.Act{}, bad("REASON_INVALID")
	}
	return s.end(c, i, "Decline", id, code, last6)
}

func (s *fakeService) Return(ctx context.Context, c transfer.Caller, i transfer.Idem, id, reason string) (transfer.Act, error) {
	if err := s.note("Return"); err != nil {
		return transfer.Act{}, err
	}
	return s.once(c, i, "Return", id)
}

func (s *fakeService) Cancel(ctx context.Context, c transfer.Caller, i transfer.Idem, id string) (transfer.Act, error) {
	if err := s.note("Cancel"); err != nil {
		return transfer.Act{}, err
	}
	if _, err := s.GetTrade(ctx, c, id); err != nil {
		return transfer.Act{}, err
	}
	return s.once(c, i, "Cancel", id)
}

func (s *fakeService) Act(ctx context.Context, c transfer.Caller, id string) (transfer.Act, error) {
	if err := s.note("Act"); err != nil {
		return transfer.Act{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner[id] != c.Participant {
		return transfer.Act{}, bad("NOT_FOUND")
	}
	return s.acts[id], nil
}

func (s *fakeService) Watch(ctx context.Context, c transfer.Caller, id string) (<-chan transfer.Act, error) {
	if _, err := s.Act(ctx, c, id); err != nil {
		return nil, err
	}
	return s.watched, nil
}

func (s *fakeService) MyCards(ctx context.Context, c transfer.Caller, cursor string, limit int) (transfer.Page[transfer.OwnedCard], error) {
	if cursor == "broken" {
		return transfer.Page[transfer.OwnedCard]{}, bad("CURSOR_INVALID")
	}
	until := start.Add(time.Hour)
	return transfer.Page[transfer.OwnedCard]{Next: "more", Items: []transfer.OwnedCard{{CardID: cardID, ICCID: oneCard, SellerName: "城南手机店", ConfirmedAt: start, Status: "OWNED",
		TradeID: "trade-0", Confirmation: "act-1", ReturnableUntil: &until}}}, s.note("MyCards %d", limit)
}

func (s *fakeService) Receipt(ctx context.Context, c transfer.Caller, id string) (transfer.Receipt, error) {
	return transfer.Receipt{ConfirmationID: id, Buyer: c.Participant, ConfirmedAt: start}, s.note("Receipt")
}

func (s *fakeService) FindCard(ctx context.Context, c transfer.Caller, iccid string) (transfer.CardView, error) {
	if err := s.note("FindCard"); err != nil {
		return transfer.CardView{}, err
	}
	if iccid != oneCard {
		return transfer.CardView{}, bad("CARD_NOT_FOUND")
	}
	return transfer.CardView{CardID: cardID, ICCID: iccid, IssuerName: "示例电信", OwnerName: "我", Mine: true, Status: "OWNED", LotHash: lotHash, Since: start}, nil
}

func (s *fakeService) Trace(ctx context.Context, c transfer.Caller, id string) (transfer.Trace, error) {
	if id != cardID {
		return transfer.Trace{}, bad("CARD_NOT_FOUND")
	}
	return transfer.Trace{CardID: id, ICCID: oneCard, Hops: []transfer.Hop{{Kind: "ISSUE", To: "示例电信", ConfirmedAt: start, BlockNumber: 3}}}, s.note("Trace")
}

func (s *fakeService) SearchCards(ctx context.Context, c transfer.Caller, f transfer.CardFilter) (transfer.Page[transfer.Holding], error) {
	s.take(f)
	return transfer.Page[transfer.Holding]{Items: []transfer.Holding{{LotHash: lotHash, CardID: cardID, Start: oneCard, End: oneCard, Count: 1, OwnerID: "retailer-1", OwnerName: "店", Status: "OWNED"}}}, s.note("SearchCards")
}

func (s *fakeService) take(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.input = v
}

func (s *fakeService) Offer(ctx context.Context, c transfer.Caller, i transfer.Idem, in transfer.OfferInput) (transfer.OfferResult, error) {
	s.take(in)
	if err := s.note("Offer"); err != nil {
		return transfer.OfferResult{}, err
	}
	if len(in.Segments) == 0 {
		return transfer.OfferResult{}, bad("CARDS_REQUIRED")
	}
	if _, err := s.once(c, i, "Offer", ""); err != nil {
		return transfer.OfferResult{}, err
	}
	if in.Each {
		return transfer.OfferResult{JobID: "job-1"}, nil
	}
	v := s.trades["trade-1"].view
	return transfer.OfferResult{Trades: []transfer.TradeView{v}}, nil
}

func (s *fakeService) Inbox(ctx context.Context, c transfer.Caller, cursor string, limit int) (transfer.Page[transfer.Notice], error) {
	return transfer.Page[transfer.Notice]{Items: []transfer.Notice{{ID: "act-1", Function: "Return", State: "committed", SellerName: "城南手机店", Count: 1, Reply: "declined", Reason: "DAMAGED", At: start}}}, s.note("Inbox")
}

func (s *fakeService) Trades(ctx context.Context, c transfer.Caller, f transfer.TradeFilter) (transfer.Page[transfer.TradeView], error) {
	s.take(f)
	v := s.trades["trade-named"].view
	v.EndedAt, v.EndTx, v.State = start, "tx", "confirmed"
	return transfer.Page[transfer.TradeView]{Items: []transfer.TradeView{v}}, s.note("Trades")
}

func (s *fakeService) GetTrade(ctx context.Context, c transfer.Caller, id string) (transfer.TradeView, error) {
	if err := s.note("GetTrade"); err != nil {
		return transfer.TradeView{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.trades[id]
	if t == nil || !slices.Contains([]string{t.view.SellerID, t.view.ReceiverID}, c.Participant) {
		return transfer.TradeView{}, bad("TRADE_NOT_FOUND")
	}
	v := t.view
	if c.Participant != v.SellerID || t.state != "" {
		v.Code = ""
	}
	return v, nil
}

func (s *fakeService) lot() transfer.LotView {
	return transfer.LotView{Hash: lotHash, IssuerID: "carrier-1", IssuerName: "示例电信", OwnerID: "retailer-1", Status: "OWNED", RetailPolicy: "OPEN",
		Segments: []transfer.Span{{Start: oneCard, End: oneCard, Count: 1}}, Count: 1, Since: start}
}

func (s *fakeService) Lots(ctx context.Context, c transfer.Caller, cursor string, limit int) (transfer.Page[transfer.LotView], error) {
	return transfer.Page[transfer.LotView]{Items: []transfer.LotView{s.lot()}}, s.note("Lots")
}

func (s *fakeService) Inventory(ctx context.Context, c transfer.Caller) (transfer.Inventory, error) {
	return transfer.Inventory{Total: 1, Lines: []transfer.Stock{{IssuerID: "carrier-1", IssuerName: "示例电信", Status: "OWNED", Lots: 1, Cards: 1}}}, s.note("Inventory")
}

func (s *fakeService) Merge(ctx context.Context, c transfer.Caller, i transfer.Idem, lots []string) (transfer.Act, error) {
	s.take(lots)
	if err := s.note("Merge"); err != nil {
		return transfer.Act{}, err
	}
	return s.once(c, i, "Merge", "")
}

func (s *fakeService) Job(ctx context.Context, c transfer.Caller, id string) (transfer.JobView, error) {
	return transfer.JobView{ID: id, Kind: "offer", State: "running", Total: 10, Done: 4, Results: []byte(`[{"cards":4,"tradeIds":["trade-1"]},{"cards":6,"error":{"code":"LOT_FROZEN","message":"x"}}]`), CreatedAt: start}, s.note("Job")
}

func (s *fakeService) Stats(ctx context.Context, c transfer.Caller, days int) (transfer.Stats, error) {
	return transfer.Stats{Lots: 1, Cards: 2, Days: []transfer.Day{{Date: "2026-03-01", Offered: 1}}}, s.note("Stats %d", days)
}

func (s *fakeService) StartImport(ctx context.Context, c transfer.Caller, i transfer.Idem, in transfer.ImportInput) (string, error) {
	if err := s.note("StartImport"); err != nil {
		return "", err
	}
	file, err := io.ReadAll(in.Body)
	if err != nil {
		return "", fmt.Errorf("import: %w", err)
	}
	in.Body = nil
	s.take(in)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uploads = append(s.uploads, string(file))
	return "import-1", nil
}

func (s *fakeService) Import(ctx context.Context, c transfer.Caller, id string) (transfer.ImportView, error) {
	if id != "import-1" {
		return transfer.ImportView{}, bad("IMPORT_NOT_FOUND")
	}
	return transfer.ImportView{ID: id, FileName: "cards.csv", State: "done", Rows: 3, Accepted: 3, Progress: 1, Lots: []string{lotHash}, CreatedAt: start, UpdatedAt: start}, s.note("Import")
}

func (s *fakeService) ImportFaults(ctx context.Context, c transfer.Caller, id string, w io.Writer) error {
	switch id {
	case "import-1":
		_, err := io.WriteString(w, "行,列,值,原因\n")
		return err
	case "import-empty":
		return nil
	case "import-broken":
		_, _ = io.WriteString(w, "行,列")
		return errors.New("disk gone")
	}
	return bad("IMPORT_NOT_FOUND")
}

func (s *fakeService) Issue(ctx context.Context, c transfer.Caller, i transfer.Idem, in transfer.IssueInput) (transfer.IssueResult, error) {
	s.take(in)
	if err := s.note("Issue"); err != nil {
		return transfer.IssueResult{}, err
	}
	a, err := s.once(c, i, "Issue", "")
	return transfer.IssueResult{Lots: []transfer.LotView{s.lot()}, Acts: []transfer.Act{a}}, err
}

func (s *fakeService) onLot(c transfer.Caller, i transfer.Idem, function, lot string, subset []transfer.Span) (transfer.Act, error) {
	s.take(subset)
	if err := s.note("%s", function); err != nil {
		return transfer.Act{}, err
	}
	if lot != lotHash {
		return transfer.Act{}, bad("LOT_UNKNOWN")
	}
	return s.once(c, i, function, "")
}

func (s *fakeService) Retire(ctx context.Context, c transfer.Caller, i transfer.Idem, lot string, subset []transfer.Span) (transfer.Act, error) {
	return s.onLot(c, i, "Retire", lot, subset)
}

func (s *fakeService) Freeze(ctx context.Context, c transfer.Caller, i transfer.Idem, lot string, subset []transfer.Span) (transfer.Act, error) {
	return s.onLot(c, i, "Freeze", lot, subset)
}

func (s *fakeService) MayUnfreeze(ctx context.Context, c transfer.Caller, lot string, subset []transfer.Span) error {
	if lot != lotHash {
		return bad("LOT_UNKNOWN")
	}
	return s.note("MayUnfreeze %s", c.Participant)
}

func (s *fakeService) transaction() transfer.TransactionView {
	return transfer.TransactionView{TxID: "tx-1", BlockNumber: 3, Time: start, Creator: "platform", Contract: "ownership", Function: "Confirm",
		Arguments: []byte(`{"trade":"trade-1"}`), Signers: []string{"k-1"}, Validation: "VALID",
		Writes: []transfer.WriteView{{Contract: "ownership", Key: "trade/1", Value: []byte(`{"state":"CONFIRMED"}`)}, {Contract: "ownership", Key: "x", Deleted: true}}}
}

func (s *fakeService) LedgerTransaction(ctx context.Context, id string) (transfer.TransactionView, error) {
	if id != "tx-1" {
		return transfer.TransactionView{}, bad("NOT_FOUND")
	}
	return s.transaction(), s.note("LedgerTransaction")
}

func (s *fakeService) LedgerBlock(ctx context.Context, n uint64) (transfer.BlockView, error) {
	return transfer.BlockView{Number: n, Hash: "h", PreviousHash: "p", Transactions: []transfer.TransactionView{s.transaction()}}, s.note("LedgerBlock %d", n)
}

func (s *fakeService) Ready(ctx context.Context) map[string]error { return s.ready }
