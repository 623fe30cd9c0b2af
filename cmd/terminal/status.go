package main

import (
	"errors"
	"fmt"
	"strings"

	"cardflow/terminal"
	"cardflow/terminal/protocol"
)

// statusCommand is `terminal status`.
type statusCommand struct {
	Offline bool `help:"Ask nobody: no PIN, no network."`
}

// statusView is the answer.
type statusView struct {
	Device  protocol.Device `json:"device"`
	Server  string          `json:"server"`
	Channel string          `json:"channel"`
	Gateway []string        `json:"gatewayKeys"`
	Tries   int             `json:"pinTries"` // -1: the token counts them
	Waiting int             `json:"waiting"`
	StockAt int64           `json:"stockAt,omitzero"`
	Online  bool            `json:"online"`
}

// Run implements the command.
func (c statusCommand) Run(e *environment) error {
	v, err := c.look(e)
	if err != nil {
		return err
	}
	if e.json {
		return e.print(v)
	}
	online := "no"
	if v.Online {
		online = "yes"
	}
	e.row("name", v.Device.Name)
	e.row("serial", v.Device.Serial)
	e.row("organisation", v.Device.Participant.Name+" ("+v.Device.Participant.ID+")")
	e.row("state", e.words.state(v.Device.State))
	e.row("key", v.Device.KeyID)
	e.row("server", v.Server)
	e.row("channel", v.Channel)
	e.row("gateway-keys", strings.Join(v.Gateway, " "))
	if tries := fmt.Sprint(v.Tries); v.Tries != terminal.TriesUntold {
		e.row("tries", tries)
	} else {
		e.row("tries", e.words.say("tries-untold"))
	}
	e.row("waiting", fmt.Sprint(v.Waiting))
	e.row("stock-at", at(v.StockAt))
	e.row("online", e.words.say(online))
	return nil
}

func (c statusCommand) look(e *environment) (v statusView, err error) {
	if !c.Offline {
		s, err := e.open()
		if err != nil {
			return v, err
		}
		_, err = s.Refresh(e.ctx)
		s.close()
		if err != nil && !errors.Is(err, terminal.Refusal("OFFLINE")) {
			return v, err
		}
		v.Online = err == nil
	}
	sim, err := terminal.OpenStore(e.dir)
	if err != nil {
		return v, err
	}
	state, err := terminal.OpenState(terminal.StatePath(e.dir))
	if err != nil {
		return v, err
	}
	defer state.Close()
	p, err := state.Profile()
	if err != nil {
		return v, err
	}
	pins, err := state.Pins()
	if err != nil {
		return v, err
	}
	queue, err := state.Queue()
	if err != nil {
		return v, err
	}
	v.Device, v.Server, v.Channel, v.StockAt, v.Tries = p.Device, p.Server, p.Channel, p.StockAt, sim.Tries()
	for _, k := range pins {
		v.Gateway = append(v.Gateway, k.KeyID())
	}
	for _, q := range queue {
		if !q.Ended() {
			v.Waiting++
		}
	}
	return v, nil
}
