package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"cardflow/terminal"
	"cardflow/terminal/protocol"
)

// enrolCommand is `terminal enrol`.
type enrolCommand struct {
	Server string `required:"" help:"Where the platform is: https://host:port." placeholder:"URL"`
	Ticket string `required:"" help:"The ticket that the administrator's console shows." placeholder:"TEXT"`
	Serial string `required:"" help:"The serial number on the label." placeholder:"SN"`
	Module string `name:"pkcs11" help:"Keep the key's root in a PKCS#11 token: the library of its vendor, with --token." placeholder:"FILE" type:"path" and:"token"`
	Token  string `help:"The token's label." placeholder:"LABEL" and:"token"`
}

// Run implements the command.
func (c enrolCommand) Run(e *environment) error {
	// Before there is a key: a ticket that was cut in copying must not leave one behind.
	if _, err := protocol.ParseTicket(c.Ticket); err != nil {
		return &terminal.Error{Code: "TICKET_INVALID", Err: err}
	}
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return err
	}
	state, err := terminal.OpenState(terminal.StatePath(e.dir))
	if err != nil {
		return err
	}
	defer state.Close()
	sim, err := c.element(e)
	if err != nil {
		return err
	}
	defer sim.Lock()
	d, err := c.enrol(e, sim, state)
	if err != nil {
		return err
	}
	if e.json {
		return e.print(d)
	}
	if d.State == protocol.DeviceEnrolling {
		fmt.Fprintln(e.stdout, e.words.say("enrolling"))
		return nil
	}
	fmt.Fprintln(e.stdout, e.words.say("enrolled", d.Name, d.Participant.Name))
	return nil
}

// enrol shows the ticket, and again while the key is on its way to the ledger, for as long as anybody would wait.
func (c enrolCommand) enrol(e *environment, sim terminal.Store, state *terminal.State) (d protocol.Device, err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for late := time.After(patience); ; {
		if d, err = terminal.Enrol(e.ctx, sim, state, c.Server, c.Ticket, e.now); err != nil || d.State != protocol.DeviceEnrolling {
			return d, err
		}
		select {
		case <-tick.C:
		case <-late:
			return d, nil
		case <-e.ctx.Done():
			return d, nil
		}
	}
}

// element makes the key, or unlocks the one that an enrolment which was cut off has made.
func (c enrolCommand) element(e *environment) (terminal.Store, error) {
	sim, err := terminal.OpenStore(e.dir)
	if err == nil {
		token, inToken := sim.(*terminal.TokenSIM)
		if sim.Serial() != c.Serial || inToken != (c.Module != "") || inToken && (token.Token().Module != c.Module || token.Token().Label != c.Token) {
			return nil, terminal.Refusal("STORE_EXISTS")
		}
		return sim, e.unlock(sim)
	}
	if !errors.Is(err, terminal.Refusal("STORE_MISSING")) {
		return nil, err
	}
	if c.Module != "" {
		return c.token(e)
	}
	pin, err := e.newPIN()
	if err != nil {
		return nil, err
	}
	defer pin.Clear()
	path := terminal.StorePath(e.dir)
	made, err := terminal.CreateSoftSIM(path, c.Serial, pin)
	if err != nil {
		return nil, err
	}
	e.tell("made-key", path)
	return made, nil
}

// token makes the key in a token, whose PIN is asked for once: it has one already.
func (c enrolCommand) token(e *environment) (terminal.Store, error) {
	pin, err := e.pin(e.words.say("ask-pin"))
	if err != nil {
		return nil, err
	}
	defer pin.Clear()
	made, err := terminal.CreateTokenSIM(terminal.TokenPath(e.dir), c.Serial, c.Module, c.Token, pin)
	if err != nil {
		return nil, err
	}
	e.tell("made-in-token", made.Token().Label, made.Token().Serial)
	return made, nil
}
