package main

import (
	"bufio"
	"context"
	"errors"
	"os/exec"
	"time"

	"cardflow/terminal"
)

// selftestCommand is `terminal selftest`.
type selftestCommand struct {
	URL     string `arg:"" optional:"" name:"url" help:"Any gateway, tried by a key that it doesn't know: needs no enrolment and no PIN. Without it, this terminal's own gateway."`
	Gateway string `help:"With a URL: the gateway key that a ticket names; else the gateway is believed which keys are its own." placeholder:"KEY-ID"`
	Maker   string `help:"Another terminal's program, run by the shell: it is asked for what the protocol fixes, a line of JSON a question. Only it is tried then." placeholder:"COMMAND"`
	Offline bool   `help:"The vectors only: no PIN, no network."`
}

// Run implements the command.
func (c selftestCommand) Run(e *environment) error {
	verdicts := []terminal.Verdict{terminal.CheckVectors()}
	switch {
	case c.Maker != "":
		var err error
		if verdicts, err = holdMaker(e, c.Maker); err != nil {
			return err
		}
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
	var failed error
	said := map[string]any{"checks": verdicts, "sound": faults == nil}
	if faults != nil {
		failed = &terminal.Error{Code: "SELFTEST_FAILED", Err: faults}
		code, message := e.words.sentence(failed)
		said["error"] = map[string]string{"code": code, "message": message}
	}
	if e.json {
		e.json = false // all is said by this
		return errors.Join(e.print(said), failed)
	}
	for _, v := range verdicts {
		word := "sound"
		if v.Fault != "" {
			word = "unsound"
		}
		e.cells([]int{16, 8}, v.Name, e.words.say(word), v.Fault)
	}
	return failed
}

// holdMaker runs a maker's program, asks it, and ends it by ending its input.
func holdMaker(e *environment, command string) ([]terminal.Verdict, error) {
	ctx, cancel := context.WithTimeout(e.ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stderr, cmd.WaitDelay = e.stderr, 5*time.Second
	questions, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	answers := bufio.NewReaderSize(out, 1<<20)
	verdicts, err := terminal.HoldMaker(ctx, func(_ context.Context, question []byte) ([]byte, error) {
		if _, err := questions.Write(append(question, '\n')); err != nil {
			return nil, err
		}
		line, err := answers.ReadSlice('\n')
		return append([]byte(nil), line...), err
	})
	return verdicts, errors.Join(err, questions.Close(), ended(cmd.Wait()))
}

// ended is nil for a program that has ended, however: what it said is judged.
func ended(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}
