package main

import (
	"fmt"
	"strings"
)

// traceCommand is `terminal trace`.
type traceCommand struct {
	ICCID string `arg:"" name:"iccid" help:"The card, as printed or scanned."`
}

// Run implements the command.
func (c traceCommand) Run(e *environment) error {
	s, err := e.open()
	if err != nil {
		return err
	}
	defer s.close()
	t, err := s.Trace(e.ctx, c.ICCID)
	if err != nil {
		return err
	}
	if e.json {
		return e.print(t)
	}
	fmt.Fprintln(e.stdout, t.ICCID)
	if t.Mine {
		fmt.Fprintln(e.stdout, e.words.say("trace-mine"))
	}
	for i, h := range t.Hops {
		when := h.ConfirmedAt
		if when == 0 {
			when = h.OfferedAt
		}
		from := strings.TrimSpace(h.From + " → " + h.To)
		if h.From == "" {
			from = h.To
		}
		e.cells([]int{3, 6, 16}, fmt.Sprint(i+1), e.words.state(h.Kind), at(when), padded(from, 50))
		device := h.Device
		if h.EndDevice != "" {
			device += " → " + h.EndDevice
		}
		e.cells([]int{3, 6, 16}, "", "", "", padded(device, 50))
		for n, tx := range h.TxIDs {
			block := ""
			if n == len(h.TxIDs)-1 {
				block = fmt.Sprint(h.BlockNumber)
			}
			e.cells([]int{3, 8}, "", block, tx)
		}
	}
	return nil
}
