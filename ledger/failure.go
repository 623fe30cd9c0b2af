package ledger

import (
	"errors"
	"fmt"

	"cardflow/ledger/contract"
)

// Class sorts failures by what the caller may conclude from them.
type Class string

// The classes.
const (
	// Refused: the contract said no while endorsing. This try was not sent.
	Refused Class = "refused"
	// NotSent: endorsers were down, disagreed or were late. This try was not sent; the same proposal may be tried again.
	NotSent Class = "not_sent"
	// Unknown: the transaction may or may not come to stand in a block. Ask by its ID.
	Unknown Class = "unknown"
	// Duplicate: the ID has been seen. An earlier send landed; its first entry is the verdict.
	Duplicate Class = "duplicate"
	// Conflict: in a block, invalid, because something it read had changed. A new transaction may succeed.
	Conflict Class = "conflict"
	// Invalid: in a block, invalid for any other reason. Nothing to retry: someone has to look.
	Invalid Class = "invalid"
)

// Failure is why a transaction did not commit, as far as anyone knows.
type Failure struct {
	Class      Class
	Validation Validation      // Conflict, Invalid
	Refusal    *contract.Error // Refused
	Err        error           // the cause, for engineers
}

// Error names class and cause.
func (f *Failure) Error() string {
	switch {
	case f.Refusal != nil:
		return fmt.Sprintf("%s: %v", f.Class, f.Refusal)
	case f.Validation != "":
		return fmt.Sprintf("%s: %s", f.Class, f.Validation)
	default:
		return fmt.Sprintf("%s: %v", f.Class, f.Err)
	}
}

// Unwrap gives the refusal, or else the cause.
func (f *Failure) Unwrap() error {
	if f.Refusal != nil {
		return f.Refusal
	}
	return f.Err
}

// ClassOf returns the class of an error of Submit or Query. What is no Failure is Unknown: nothing is guessed.
func ClassOf(err error) Class {
	var f *Failure
	if errors.As(err, &f) {
		return f.Class
	}
	return Unknown
}
