package main

import (
	"errors"
	"fmt"
	"io"

	"cardflow/terminal"
)

// counter is what scans go into: a basket or a receipt.
type counter interface {
	box(first, last string) error // one card if both are the same
	undo()
	Count() uint64 // of cards
}

// scan reads the scanner until done. What it counts is on the disk before the next scan is waited for. At the end of the input it
// is done only if eof says so: a cable that is pulled out has not said so.
func (e *environment) scan(into counter, tally *terminal.Tally, eof bool) error {
	s := terminal.NewScanner(e.lines, func() error { return tally.Keep(e.now()) })
	e.tell("scan")
	var box []string // labels of a box that is being scanned
	inBox := false
	for {
		signal, code, err := s.Next()
		if errors.Is(err, io.EOF) && eof && !inBox {
			return tally.Keep(e.now())
		}
		if err != nil {
			return &terminal.Error{Code: "INPUT_ENDED", Err: err}
		}
		switch signal {
		case terminal.SignalDone:
			if !inBox {
				return tally.Keep(e.now())
			}
			e.refuse(terminal.Refusal("BOX_HALF"))
		case terminal.SignalHelp:
			e.tell("help")
		case terminal.SignalBox:
			inBox, box = true, nil
			e.tell("scan-first")
		case terminal.SignalUndo:
			if inBox {
				inBox, box = false, nil
				continue
			}
			into.undo()
			tally.Undo()
		case terminal.SignalBad:
			e.refuse(terminal.Refusal("LINE_TOO_LONG"))
		case terminal.SignalCode:
			if !inBox {
				e.count(into, tally, code, code)
				continue
			}
			if box = append(box, code); len(box) == 1 {
				e.tell("scan-last")
				continue
			}
			inBox = false
			e.count(into, tally, box[0], box[1])
		}
	}
}

// refuse says what is wrong with a scan, aloud: who scans looks at the cards, and hears the bell.
func (e *environment) refuse(err error) {
	_, message := e.words.sentence(err)
	fmt.Fprintln(e.stderr, "\a"+wrapped("✗ "+message))
}
