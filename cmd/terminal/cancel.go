package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"cardflow/terminal"
	"cardflow/terminal/protocol"
)

// cancelCommand is `terminal cancel`.
type cancelCommand struct {
	Trade string `arg:"" optional:"" help:"The trade to take back; without it, what can be taken back is listed and chosen from."`
	List  bool   `help:"List what can be taken back, and no more."`
	Yes   bool   `help:"Sign without asking."`
}

// Run implements the command.
func (c cancelCommand) Run(e *environment) error {
	s, err := e.open()
	if err != nil {
		return err
	}
	defer s.close()
	sales, err := s.Sales(e.ctx)
	away := errors.Is(err, terminal.Refusal("OFFLINE"))
	if err != nil && (!away || c.List || c.Trade == "") {
		return err
	}
	if c.List || c.Trade == "" && (!e.json || len(sales) == 0) {
		if err := e.showSales(sales); err != nil || c.List || len(sales) == 0 {
			return err
		}
	}
	chosen := []string{c.Trade}
	if c.Trade == "" {
		if chosen, err = e.choose(sales); err != nil {
			return err
		}
	}
	var list []protocol.Trade
	for _, id := range chosen {
		i := slices.IndexFunc(sales, func(t protocol.Trade) bool { return t.Trade == id })
		switch {
		case i >= 0:
			list = append(list, sales[i])
		case away: // the queue may hold the offer itself
			list = append(list, protocol.Trade{Trade: id})
		default:
			return terminal.Refusal("SALE_UNKNOWN")
		}
	}
	return c.cancel(e, s, away, list)
}

// cancel shows what is taken back, asks, signs and sends.
func (c cancelCommand) cancel(e *environment, s session, away bool, list []protocol.Trade) error {
	if !e.json {
		for _, t := range list {
			e.row("trade", t.Trade)
			e.row("count", fmt.Sprint(t.Count))
			e.spans(t.Segments, 20)
		}
	}
	if !c.Yes {
		if err := e.agrees(e.words.say("ask-cancel")); err != nil {
			return err
		}
	}
	var entries []terminal.Entry
	for _, t := range list {
		entry, err := s.Cancel(t)
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	return e.deliver(s, away, entries...)
}

func (e *environment) showSales(sales []protocol.Trade) error {
	if e.json {
		return e.print(map[string]any{"trades": sales})
	}
	if len(sales) == 0 {
		fmt.Fprintln(e.stdout, e.words.say("no-sales"))
		return nil
	}
	widths := []int{3, 20, 8, 16}
	e.cells(widths, "#", e.words.say("to"), e.words.say("count"), e.words.say("expires"), e.words.say("trade"))
	for i, t := range sales {
		to := e.words.say("to-code")
		if t.Code != "" {
			to = t.Code
		}
		if t.Receiver != nil {
			to = t.Receiver.Name
		}
		e.cells(widths, strconv.Itoa(i+1), to, fmt.Sprint(t.Count), at(t.ExpiresAt), padded(t.Trade, 20))
	}
	return nil
}
