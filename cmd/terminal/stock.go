package main

import (
	"errors"
	"fmt"

	"cardflow/terminal"
	"cardflow/terminal/protocol"
)

// stockCommand is `terminal stock`.
type stockCommand struct {
	Offline bool `help:"What was known when there last was a network: no PIN."`
}

// Run implements the command.
func (c stockCommand) Run(e *environment) error {
	if c.Offline {
		state, err := terminal.OpenState(terminal.StatePath(e.dir))
		if err != nil {
			return err
		}
		defer state.Close()
		return e.showStock(state)
	}
	s, err := e.open()
	if err != nil {
		return err
	}
	defer s.close()
	if err := e.refreshStock(s); err != nil {
		return err
	}
	return e.showStock(s.State())
}

// refreshStock asks for the stock; without a network it says how old the known one is.
func (e *environment) refreshStock(s session) error {
	err := s.RefreshStock(e.ctx)
	if errors.Is(err, terminal.Refusal("OFFLINE")) {
		p, err := s.State().Profile()
		if err != nil {
			return err
		}
		e.tell("stock-known", at(p.StockAt))
		return nil
	}
	return err
}

func (e *environment) showStock(state *terminal.State) error {
	lots, err := state.Stock()
	if err != nil {
		return err
	}
	total := uint64(0)
	list := make([]protocol.StockLot, 0, len(lots))
	for _, l := range lots {
		list = append(list, l.StockLot)
		total += l.Cards.Count()
	}
	if e.json {
		return e.print(map[string]any{"count": total, "lots": list})
	}
	if total == 0 {
		fmt.Fprintln(e.stdout, e.words.say("stock-empty"))
		return nil
	}
	widths := []int{8, 16}
	e.cells(widths, e.words.say("count"), e.words.say("issuer"), e.words.say("cards"))
	for _, l := range list {
		for i, s := range l.Segments {
			count, issuer := fmt.Sprint(l.Count), l.Issuer.Name
			if i > 0 {
				count, issuer = "", ""
			}
			if i == 20 {
				e.cells(widths, count, issuer, e.words.say("more", len(l.Segments)-i))
				break
			}
			e.cells(widths, count, issuer, span(s))
		}
	}
	fmt.Fprintln(e.stdout, e.words.say("stock-total", total, len(list)))
	return nil
}
