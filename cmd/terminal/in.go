package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cardflow/terminal"
	"cardflow/terminal/protocol"
)

// inCommand is `terminal in`.
type inCommand struct {
	List    bool     `help:"List what is offered, and no more."`
	Trade   []string `help:"Open these trades: their goods are scanned together." placeholder:"TRADE,…" xor:"which"`
	Code    string   `help:"Open a trade by its code, with --last6." placeholder:"CODE" and:"code" xor:"which"`
	Last6   string   `name:"last6" help:"The last six characters of a card in it." placeholder:"XXXXXX" and:"code"`
	Decline string   `help:"Send the goods back without scanning them, for a reason: NOT_MINE, WRONG_CARDS, DAMAGED, CHANGED_MIND, OTHER." placeholder:"REASON"`
	Yes     bool     `help:"Sign without asking if the goods are right; the end of the input is done, too."`
	unfinished
}

// receipt is a receipt at the scanner.
type receipt struct {
	*terminal.Receipt
	e     *environment
	total uint64
}

func (r receipt) box(first, last string) error {
	surplus, twice := len(r.Surplus()), len(r.Twice())
	found, err := r.Box(first, last)
	if err != nil {
		return err
	}
	for _, card := range r.Surplus()[surplus:] {
		r.e.warn("found-surplus", card)
	}
	for _, card := range r.Twice()[twice:] {
		r.e.warn("found-twice", card)
	}
	if found.New > 0 {
		r.e.tell("found-new", r.Count(), r.total)
	}
	return nil
}

func (r receipt) undo() {
	if !r.Undo() {
		r.e.tell("undone-nothing")
		return
	}
	r.e.tell("found-new", r.Count(), r.total)
}

// warn is tell with a bell.
func (e *environment) warn(key string, args ...any) {
	if e.hushed {
		return
	}
	fmt.Fprintln(e.stderr, "\a"+wrapped("✗ "+e.words.say(key, args...)))
}

// Run implements the command.
func (c inCommand) Run(e *environment) error {
	s, err := e.open()
	if err != nil {
		return err
	}
	defer s.close()
	asks := []protocol.ConfirmAsk{{Code: strings.ToUpper(c.Code), ICCIDLast6: c.Last6}}
	if c.Code == "" {
		list, err := c.which(e, s)
		if err != nil || len(list) == 0 {
			return err
		}
		asks = asks[:0]
		for _, trade := range list {
			asks = append(asks, protocol.ConfirmAsk{Trade: trade})
		}
	}
	g := goods{}
	for _, ask := range asks {
		in, err := s.OpenOffer(e.ctx, ask)
		if err != nil {
			return err
		}
		if !e.json {
			e.showIncoming(in)
		}
		g.trades, g.names = append(g.trades, in), append(g.names, in.Trade)
	}
	if c.Decline != "" {
		return c.decline(e, s, g, c.Decline)
	}
	all, err := terminal.Together(g.trades)
	if err != nil {
		return err
	}
	r := receipt{terminal.NewReceipt(all), e, all.Count()}
	slices.Sort(g.names)
	if g.tally, err = e.tally(s, "in/"+strings.Join(g.names, ","), c.unfinished, !c.Yes && !e.json, r); err != nil {
		return err
	}
	if err := e.scan(r, g.tally, c.Yes); err != nil {
		return err
	}
	return c.decide(e, s, g, r)
}

// goods are the trades that are taken in together, and what was scanned for them.
type goods struct {
	trades []terminal.Incoming
	names  []string
	tally  *terminal.Tally // nil if nothing was to be scanned
}

// which are the trades that the command line names, or that a person chooses of what is offered; none if that was all.
func (c inCommand) which(e *environment, s session) ([]string, error) {
	if len(c.Trade) > 0 && !c.List {
		return slices.Compact(slices.Sorted(slices.Values(c.Trade))), nil
	}
	offers, err := s.Offers(e.ctx)
	if err != nil {
		return nil, err
	}
	if c.List || !e.json || len(offers) == 0 {
		if err := e.showOffers(offers); err != nil || c.List || len(offers) == 0 {
			return nil, err
		}
	}
	return e.choose(offers)
}

// decide says how the goods compare, and signs what the person says to that.
func (c inCommand) decide(e *environment, s session, g goods, r receipt) error {
	if !r.Right() {
		if err := e.showDifferences(r); err != nil {
			return err
		}
		if c.Yes || e.json {
			return terminal.Refusal("GOODS_WRONG")
		}
		if err := e.agrees(e.words.say("ask-differ")); err != nil {
			return err
		}
		e.tell("reasons")
		reason, err := e.line(e.words.say("ask-reason"))
		if err != nil {
			return err
		}
		return c.decline(e, s, g, strings.ToUpper(reason))
	}
	e.tell("goods-right", r.total)
	if !c.Yes {
		if err := e.agrees(e.words.say("ask-take")); err != nil {
			return err
		}
	}
	entries, err := s.Take(r.Receipt, g.tally, g.trades...)
	if err != nil {
		return err
	}
	return e.deliver(s, false, entries...)
}

func (c inCommand) decline(e *environment, s session, g goods, reason string) error {
	entries, err := s.Decline(reason, g.tally, g.trades...)
	if err != nil {
		return err
	}
	return e.deliver(s, false, entries...)
}

func (e *environment) showOffers(offers []protocol.Trade) error {
	if e.json {
		return e.print(map[string]any{"trades": offers})
	}
	if len(offers) == 0 {
		fmt.Fprintln(e.stdout, e.words.say("no-offers"))
		return nil
	}
	widths := []int{3, 20, 8, 16}
	e.cells(widths, "#", e.words.say("from"), e.words.say("count"), e.words.say("expires"), e.words.say("trade"))
	for i, o := range offers {
		e.cells(widths, strconv.Itoa(i+1), o.Seller.Name, fmt.Sprint(o.Count), at(o.ExpiresAt), padded(o.Trade, 20))
	}
	return nil
}

// choose asks which of the offers are opened: one, several with commas between them, or all.
func (e *environment) choose(offers []protocol.Trade) (list []string, err error) {
	if len(offers) == 1 {
		return []string{offers[0].Trade}, nil
	}
	text, err := e.line(e.words.say("ask-choose"))
	if err != nil {
		return nil, err
	}
	if text = strings.ReplaceAll(strings.ToLower(text), "，", ","); text == "all" || text == "全部" {
		for _, o := range offers {
			list = append(list, o.Trade)
		}
		return list, nil
	}
	for _, part := range strings.Split(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > len(offers) || slices.Contains(list, offers[n-1].Trade) {
			return nil, errors.Join(terminal.Refusal("CHOICE_INVALID"), err)
		}
		list = append(list, offers[n-1].Trade)
	}
	return list, nil
}

func (e *environment) showIncoming(in terminal.Incoming) {
	e.row("trade", in.Trade)
	e.row("from", in.Seller.Name)
	e.row("offered", at(in.OfferedAt))
	e.row("expires", at(in.ExpiresAt))
	if in.Reverses != "" {
		e.row("returns", in.Reverses)
	}
	e.row("count", fmt.Sprint(in.Count))
	e.spans(in.Segments, 20)
}

// differences is how the goods differ from what is offered.
type differences struct {
	Count   uint64          `json:"count"` // of the right cards that are there
	Missing []protocol.Span `json:"missing"`
	Surplus []string        `json:"surplus"`
	Twice   []string        `json:"twice"`
}

func (e *environment) showDifferences(r receipt) error {
	missing, err := r.Missing()
	if err != nil {
		return err
	}
	d := differences{r.Count(), terminal.Spans(missing), r.Surplus(), r.Twice()}
	if e.json {
		return e.print(d)
	}
	fmt.Fprintln(e.stdout, e.words.say("goods-wrong"))
	if !missing.Empty() {
		fmt.Fprintln(e.stdout, e.words.say("missing", missing.Count()))
		e.spans(d.Missing, 50)
	}
	e.showCards("surplus", d.Surplus)
	e.showCards("twice", d.Twice)
	return nil
}

// showCards names cards under a heading that counts them; none, and there is nothing to say.
func (e *environment) showCards(heading string, cards []string) {
	if len(cards) == 0 {
		return
	}
	fmt.Fprintln(e.stdout, e.words.say(heading, len(cards)))
	spans := make([]protocol.Span, 0, len(cards))
	for _, card := range cards {
		spans = append(spans, protocol.Span{Start: card})
	}
	e.spans(spans, 50)
}
