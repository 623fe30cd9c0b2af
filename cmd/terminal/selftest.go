package main

import (
	"errors"

	"cardflow/terminal"
)

// selftestCommand is `terminal selftest`.
type selftestCommand struct {
	URL     string `arg:"" optional:"" name:"url" help:"Any gateway, tried by a key that it doesn't know: needs no enrolment and no PIN. Without it, this terminal's own gateway."`
	Gateway string `help:"With a URL: the gateway key that a ticket names; else the gateway is believed which keys are its own." placeholder:"KEY-ID"`
	Offline bool   `help:"The vectors only: no PIN, no network."`
}

// Run implements the command.
func (c selftestCommand) Run(e *environment) error {
	verdicts := []terminal.Verdict{terminal.CheckVectors()}
	switch {
	case c.Offline:
	case c.URL != "":
		more, err := terminal.Probe(e.ctx, c.URL, c.Gateway, e.now)
		if err != nil {
			return err
		}
		verdicts = append(verdicts, more...)
	default:
		s, err := e.open()
		if err != nil {
			return err
		}
		defer s.close()
		verdicts = append(verdicts, s.SelfTest(e.ctx)...)
	}
	var faults error
	for _, v := range verdicts {
		if v.Fault != "" {
			faults = errors.Join(faults, errors.New(v.Name))
		}
	}
	if e.json {
		if err := e.print(map[string]any{"checks": verdicts, "sound": faults == nil}); err != nil {
			return err
		}
	} else {
		for _, v := range verdicts {
			said := "sound"
			if v.Fault != "" {
				said = "unsound"
			}
			e.cells([]int{16, 8}, v.Name, e.words.say(said), v.Fault)
		}
	}
	if faults != nil {
		return &terminal.Error{Code: "SELFTEST_FAILED", Err: faults}
	}
	return nil
}
