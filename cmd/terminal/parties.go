package main

import (
	"fmt"

	"cardflow/terminal/protocol"
)

// partiesCommand is `terminal parties`.
type partiesCommand struct{}

// Run implements the command.
func (partiesCommand) Run(e *environment) error {
	s, err := e.open()
	if err != nil {
		return err
	}
	defer s.close()
	list, err := s.Participants(e.ctx)
	if err != nil {
		return err
	}
	if e.json {
		if list == nil {
			list = []protocol.Party{}
		}
		return e.print(map[string]any{"participants": list})
	}
	if len(list) == 0 {
		fmt.Fprintln(e.stdout, e.words.say("no-parties"))
		return nil
	}
	widths := []int{24, 14}
	e.cells(widths, e.words.say("party-id"), e.words.say("role"), e.words.say("organisation"))
	for _, p := range list {
		e.cells(widths, p.ID, e.words.state(string(p.Role)), padded(p.Name, 38))
	}
	return nil
}
