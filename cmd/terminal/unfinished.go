package main

import (
	"strings"

	"cardflow/terminal"
)

// unfinished is what becomes of scans that a power cut, or whoever went away, has left. A person is asked; a script says it
// beforehand, or nothing is done.
type unfinished struct {
	Continue bool `help:"Go on with the scans that were left unsigned." xor:"unfinished"`
	Fresh    bool `help:"Begin anew; scans that were left unsigned are forgotten." xor:"unfinished"`
}

// tally opens the scans of a piece of work, puts into the counter what was scanned before, and holds it against what is known now:
// what no longer fits is named, and left out.
func (e *environment) tally(s session, work string, how unfinished, asks bool, into counter) (*terminal.Tally, error) {
	t, err := s.State().Tally(work)
	if err != nil {
		return nil, err
	}
	before := t.Scans()
	if len(before) == 0 {
		return t, nil
	}
	if !how.Continue && !how.Fresh {
		if how, err = e.goesOn(t, asks); err != nil {
			return nil, err
		}
	}
	t.Restart()
	if how.Continue {
		e.hushed = true
		for _, scan := range before {
			last := scan.Last
			if last == "" {
				last = scan.First
			}
			e.count(into, t, scan.First, last)
		}
		e.hushed = false
		e.tell("went-on", into.Count())
	}
	return t, t.Keep(e.now())
}

// goesOn asks whether to go on. Whatever is neither a clear yes nor a clear no, as a code from the scanner, leaves everything as
// it is.
func (e *environment) goesOn(t *terminal.Tally, asks bool) (unfinished, error) {
	left := terminal.Refusal("SCANS_UNFINISHED").With("count", len(t.Scans())).With("since", at(t.Since()))
	if !asks {
		return unfinished{}, left
	}
	text, err := e.line(e.words.say("ask-go-on", at(t.Since()), len(t.Scans())))
	if err != nil {
		return unfinished{}, left
	}
	switch text = strings.ToLower(text); {
	case yes[text]:
		return unfinished{Continue: true}, nil
	case no[text]:
		return unfinished{Fresh: true}, nil
	}
	return unfinished{}, left
}

// count puts a scan into the counter, and what the counter has taken into the tally.
func (e *environment) count(into counter, t *terminal.Tally, first, last string) {
	if err := into.box(first, last); err != nil {
		e.refuse(err)
		return
	}
	t.Add(first, last)
}
