package main

import (
	"fmt"

	"cardflow/terminal"
)

// queueCommand is `terminal queue`.
type queueCommand struct {
	List queueListCommand `cmd:"" default:"1" help:"队列 · what was signed, and what came of it: no PIN."`
	Send queueSendCommand `cmd:"" help:"发送 · send what waits."`
}

// queueListCommand is `terminal queue list`.
type queueListCommand struct{}

// Run implements the command.
func (queueListCommand) Run(e *environment) error {
	state, err := terminal.OpenState(terminal.StatePath(e.dir))
	if err != nil {
		return err
	}
	defer state.Close()
	return e.showQueue(state)
}

// queueSendCommand is `terminal queue send`.
type queueSendCommand struct{}

// Run implements the command.
func (queueSendCommand) Run(e *environment) error {
	s, err := e.open()
	if err != nil {
		return err
	}
	defer s.close()
	_, failed := s.Send(e.ctx)
	if err := e.showQueue(s.State()); err != nil {
		return err
	}
	return failed
}

func (e *environment) showQueue(state *terminal.State) error {
	queue, err := state.Queue()
	if err != nil {
		return err
	}
	if e.json {
		if queue == nil {
			queue = []terminal.Entry{}
		}
		return e.print(map[string]any{"requests": queue})
	}
	if len(queue) == 0 {
		fmt.Fprintln(e.stdout, e.words.say("queue-empty"))
		return nil
	}
	widths := []int{4, 8, 8, 10, 16}
	for _, q := range queue {
		what := q.Trade
		if q.Code != "" {
			what = q.Code
		}
		if q.Error != nil {
			what = q.Error.Code
		}
		e.cells(widths, fmt.Sprint(q.Sequence), e.words.state(q.Function), fmt.Sprint(q.Count), e.words.state(q.State), at(q.QueuedAt), padded(what, 22))
	}
	return nil
}
