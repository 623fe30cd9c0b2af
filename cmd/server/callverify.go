package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

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

// verifyBody is what comes with the call. Each line has a time of its own to come, and the walk takes as long as it takes.
type verifyBody struct {
	io.Reader
	connection *http.ResponseController
	line       time.Duration
	begins     bool // a line
}

// Read implements io.Reader.
func (b *verifyBody) Read(p []byte) (int, error) {
	if b.begins {
		b.begins = false
		if err := b.connection.SetReadDeadline(time.Now().Add(b.line)); err != nil {
			return 0, err
		}
	}
	return b.Reader.Read(p)
}

// verifyRemotely is the call, as the custodian takes it. Who is named in the audit is who has shown his token.
func verifyRemotely(ctx context.Context, k keeper, who caller, arguments *verifyBody) (custody.AuditReport, error) {
	in := verifyLines{bufio.NewScanner(arguments), arguments}
	in.Buffer(make([]byte, longestAnchor), longestAnchor)
	var a verifyCall
	if err := in.next(&a); err != nil {
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
		o.Anchors = in.anchors()
	}
	report, err := k.VerifyAudit(ctx, o)
	if err == nil {
		// The walk may be over before the anchors are, and an answer to what nobody has finished asking may get lost.
		for line := json.RawMessage(nil); err == nil; {
			err = in.next(&line)
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return report, err
}

// verifyLines are the lines of the call.
type verifyLines struct {
	*bufio.Scanner
	body *verifyBody
}

// anchors reads anchors, as they are asked for.
func (in verifyLines) anchors() iter.Seq2[model.AuditAnchor, error] {
	return func(yield func(model.AuditAnchor, error) bool) {
		for {
			var anchor model.AuditAnchor
			err := in.next(&anchor)
			if errors.Is(err, io.EOF) || !yield(anchor, err) || err != nil {
				return
			}
		}
	}
}

func (in verifyLines) next(value any) error {
	in.body.begins = true
	if !in.Scan() {
		if err := in.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	return json.Unmarshal(in.Bytes(), value)
}
