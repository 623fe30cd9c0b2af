package custody

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Dangerous are the operations that take two people. Whoever builds one registers it, before proposals are made or
// carried out; see Operate.
type Dangerous struct {
	mu         sync.RWMutex
	operations map[string]operation
}

// Office is whose people propose an operation and decide on it.
type Office struct {
	Organisation string         // participant
	Roles        []request.Role // of which it must have one, and its people the same
}

// officed are the arguments of an operation that is one organisation's own matter. All others are the platform's, for people
// with the role ops.
type officed interface{ Office() Office }

// operation is one, with the type of its arguments forgotten.
type operation struct {
	canonical func(arguments []byte) (text []byte, office Office, err error)
	describe  func(ctx context.Context, tx *model.Tx, arguments []byte) (string, error)
	execute   func(ctx context.Context, x *Execution, arguments []byte) error
}

// Operate registers an operation whose arguments are an A: a struct of exported fields that encoding/json turns into
// one text and back. If it has a method Office, it is that organisation's people who decide.
//
// describe refuses arguments that make no sense (an *Error) and says, in Chinese, exactly what will happen as things
// stand: one fact a line, nothing that changes by itself from minute to minute. It is asked when the act is proposed,
// approved and begun, and if it says something else than at first, nothing is done. It only reads.
//
// execute does it. It may be asked again for one proposal after a kill at any point: so it either does all it does in
// Execution.Commit, which happens once, or in steps of which each looks first whether it has been done. An *Error that it
// answers ends the proposal as failed, for good; any other error has it asked again later.
func Operate[A any](d *Dangerous, name string,
	describe func(ctx context.Context, tx *model.Tx, a A) (string, error), execute func(ctx context.Context, x *Execution, a A) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, twice := d.operations[name]; twice || !printable.MatchString(name) || len(name) > 64 {
		panic("custody: operation " + name + " is registered twice, or has no name")
	}
	if d.operations == nil {
		d.operations = map[string]operation{}
	}
	d.operations[name] = operation{
		canonical: func(b []byte) (text []byte, office Office, err error) {
			a, err := argumentsOf[A](b)
			if err != nil {
				return nil, office, err
			}
			if o, ok := any(a).(officed); ok {
				if office = o.Office(); office.Organisation == "" {
					return nil, office, fmt.Errorf("arguments that name no organisation: %w", ErrArguments)
				}
			}
			text, err = json.Marshal(a)
			return text, office, err
		},
		describe: func(ctx context.Context, tx *model.Tx, b []byte) (string, error) {
			a, err := argumentsOf[A](b)
			if err != nil {
				return "", err
			}
			return describe(ctx, tx, a)
		},
		execute: func(ctx context.Context, x *Execution, b []byte) error {
			a, err := argumentsOf[A](b)
			if err != nil {
				return err
			}
			return execute(ctx, x, a)
		},
	}
}

// Names lists the operations.
func (d *Dangerous) Names() []string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var names []string
	for name := range d.operations {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (d *Dangerous) find(name string) (operation, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	op, ok := d.operations[name]
	if !ok {
		return op, fmt.Errorf("operation %q: %w", clip(name), ErrOperationUnknown)
	}
	return op, nil
}

// argumentsOf reads one JSON object, and no field that A lacks. What is executed is what was read, and what people are
// shown is that, written anew: of a name that stands twice they see the one that counts.
func argumentsOf[A any](b []byte) (a A, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("arguments: %w: %w", ErrArguments, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return a, fmt.Errorf("arguments: something after them: %w", ErrArguments)
	}
	return a, nil
}

func clip(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return s
}
