package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"cardflow/custody"
	"cardflow/model"
)

// A custodian has no ledger, so the anchors that an audit is held against come with the call. There is one for every five
// minutes that the platform has lived: they come one a line, each when the walk gets to it, and neither side keeps them.

// verifyCallName is the one call whose arguments are not read as a whole.
const verifyCallName = "VerifyAudit"

// verifyCall is its first line.
type verifyCall struct {
	Given bool // there is a ledger, though it may have anchored nothing: lines of anchors follow
	Note  bool // whoever asks is to stand in the audit
}

// longestAnchor bounds a line.
const longestAnchor = 4 << 10

// VerifyAudit implements keeper.
func (c remote) VerifyAudit(ctx context.Context, o custody.VerifyOptions) (custody.AuditReport, error) {
	from, to := io.Pipe()
	var broken error // of the ledger, which is no matter of custody's
	written := make(chan struct{})
	go func() {
		defer close(written)
		out := bufio.NewWriter(to)
		lines := json.NewEncoder(out)
		err := lines.Encode(verifyCall{o.Anchors != nil, o.Actor != ""})
		if o.Anchors != nil {
			for anchor, fault := range o.Anchors {
				if broken = fault; fault != nil {
					err = fault
				}
				if err == nil {
					err = lines.Encode(anchor)
				}
				if err != nil {
					break
				}
			}
		}
		if err == nil {
			err = out.Flush()
		}
		to.CloseWithError(err)
	}()
	report, err := sends[custody.AuditReport](ctx, c, verifyCallName, from)
	from.CloseWithError(errors.New("the walk is over"))
	<-written
	if broken != nil {
		err = broken
	}
	return report, err
}

// verifyRemotely is the call, as the custodian takes it. Who is named in the audit is who has shown his token.
func verifyRemotely(ctx context.Context, k keeper, who caller, arguments io.Reader) (custody.AuditReport, error) {
	in := bufio.NewScanner(arguments)
	in.Buffer(make([]byte, longestAnchor), longestAnchor)
	var a verifyCall
	if err := nextLine(in, &a); err != nil {
		return custody.AuditReport{}, fmt.Errorf("arguments: %w: %w", custody.ErrAsk, err)
	}
	o := custody.VerifyOptions{}
	if a.Note {
		var err error
		if o.Actor, err = who.staff(ctx); err != nil {
			return custody.AuditReport{}, err
		}
	}
	if a.Given {
		o.Anchors = anchorLines(in)
	}
	report, err := k.VerifyAudit(ctx, o)
	if err == nil {
		// The walk may be over before the anchors are, and an answer to what nobody has finished asking may get lost.
		_, err = io.Copy(io.Discard, arguments)
	}
	return report, err
}

// anchorLines reads anchors, as they are asked for.
func anchorLines(in *bufio.Scanner) iter.Seq2[model.AuditAnchor, error] {
	return func(yield func(model.AuditAnchor, error) bool) {
		for {
			var anchor model.AuditAnchor
			err := nextLine(in, &anchor)
			if errors.Is(err, io.EOF) || !yield(anchor, err) || err != nil {
				return
			}
		}
	}
}

func nextLine(in *bufio.Scanner, value any) error {
	if !in.Scan() {
		if err := in.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	return json.Unmarshal(in.Bytes(), value)
}
