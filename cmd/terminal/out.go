package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cardflow/ledger/request"
	"cardflow/terminal"
)

// outCommand is `terminal out`.
type outCommand struct {
	To      string        `help:"Participant to whom the cards go; without it, whoever has the trade code." placeholder:"ID"`
	Return  string        `help:"Give the cards of a trade back to whom they came from (with --to)." placeholder:"TRADE"`
	Expires time.Duration `help:"How long the offer stands; without it, the platform's usual time." placeholder:"24h"`
	Offline bool          `help:"Draft from the known stock and keep it in the queue."`
	Yes     bool          `help:"Sign without asking; the end of the input is done, too."`
	unfinished
}

// basket is a basket at the scanner.
type basket struct {
	*terminal.Basket
	e *environment
}

func (b basket) box(first, last string) error {
	err := b.Box(first, last)
	if err == nil {
		b.e.tell("scanned", b.Count())
	}
	return err
}

func (b basket) undo() {
	n := b.Undo()
	if n == 0 {
		b.e.tell("undone-nothing")
		return
	}
	b.e.tell("undone", n, b.Count())
}

// Run implements the command.
func (c outCommand) Run(e *environment) error {
	s, err := e.open()
	if err != nil {
		return err
	}
	defer s.close()
	if !c.Offline {
		if err := e.refreshStock(s); err != nil {
			return err
		}
	}
	stock, err := s.State().Stock()
	if err != nil {
		return err
	}
	b := basket{terminal.NewBasket(stock), e}
	tally, err := e.tally(s, "out", c.unfinished, !c.Yes && !e.json, b)
	if err != nil {
		return err
	}
	if err := e.scan(b, tally, c.Yes); err != nil {
		return err
	}
	cards, err := b.Cards()
	if err != nil {
		return err
	}
	checked, here, err := s.Prepare(e.ctx, terminal.Order{Cards: cards, To: c.To, Reverses: c.Return, ExpiresIn: c.Expires, Offline: c.Offline})
	if err != nil {
		return err
	}
	if !e.json {
		e.showChecked(checked, c.Return, here)
	}
	if !c.Yes {
		if err := e.agrees(e.words.say("ask-sign")); err != nil {
			return err
		}
	}
	entry, err := s.Sell(checked, tally)
	if err != nil {
		return err
	}
	return e.deliver(s, c.Offline, entry)
}

// showChecked shows what will be signed.
func (e *environment) showChecked(c terminal.Checked, reverses string, here bool) {
	fmt.Fprintln(e.stdout, e.words.say("will-sign"))
	to, drafted := c.Offer.Receiver, "drafted-there"
	if c.Offer.Mode == request.Bearer {
		to = e.words.say("to-code")
	}
	if here {
		drafted = "drafted-here"
	}
	e.row("to", to)
	if reverses != "" {
		e.row("returns", reverses)
	}
	e.row("count", fmt.Sprint(c.Count()))
	e.spans(c.Spans(), 20)
	rest := uint64(0)
	for _, r := range c.Rest {
		rest += r.Cards.Count()
	}
	e.row("rest", fmt.Sprint(rest))
	e.row("expires", at(c.Offer.ExpiresAt))
	e.showParts(c.Trade(), c.Parts)
	e.row("drafted", e.words.say(drafted))
}

// showParts shows the trades of an offer, usually one.
func (e *environment) showParts(trade string, parts []terminal.Part) {
	if len(parts) < 2 {
		e.row("trade", trade)
		return
	}
	e.row("parts", e.words.say("in-parts", len(parts)))
	for _, p := range parts {
		fmt.Fprintln(e.stdout, strings.TrimRight(fmt.Sprintf("  %s %6d  %s", p.Trade, p.Count, p.Code), " "))
	}
}

// deliver sends the queue and shows what became of entries. Without a network they stay in the queue, which is no failure.
func (e *environment) deliver(s session, offline bool, entries ...terminal.Entry) (err error) {
	for i := range entries {
		e.tell("queued", entries[i].Sequence)
	}
	away := offline
	for i := range entries {
		if away {
			break
		}
		entries[i], err = s.Deliver(e.ctx, entries[i].Sequence, patience)
		if away = errors.Is(err, terminal.Refusal("OFFLINE")); err != nil && !away {
			return err
		}
	}
	if away {
		e.tell("unsent")
	}
	if e.json {
		var v any = map[string]any{"requests": entries}
		if len(entries) == 1 {
			v = entries[0]
		}
		err = e.print(v)
	} else {
		err = nil
		for _, entry := range entries {
			e.showEntry(entry)
		}
	}
	for _, entry := range entries {
		if err == nil && entry.State == terminal.Failed {
			err = failure(entry)
		}
	}
	return err
}

// patience is how long a command waits for a request's end before it leaves it to the queue.
const patience = 30 * time.Second

func failure(entry terminal.Entry) error {
	why := ""
	if entry.Error != nil {
		if why = entry.Error.Message; why == "" {
			why = entry.Error.Code
		}
	}
	return terminal.Refusal("REQUEST_FAILED").With("why", why)
}

// showEntry shows a request of the queue.
func (e *environment) showEntry(q terminal.Entry) {
	e.row("request", q.RequestID)
	e.row("state", e.words.state(q.State))
	e.row("count", fmt.Sprint(q.Count))
	e.showParts(q.Trade, q.Parts)
	if q.Code != "" && len(q.Parts) == 0 {
		e.row("code", q.Code)
	}
	if q.TxID != "" {
		e.row("tx", q.TxID)
		e.row("block", fmt.Sprint(q.BlockNumber))
	}
	if q.Error != nil {
		e.row("why", q.Error.Code+" "+q.Error.Message)
	}
	if q.State == terminal.Sent {
		e.tell("under-way")
	}
}
