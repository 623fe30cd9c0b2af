package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/model"
)

// walker is a custody that can only be asked to verify its audit.
type walker struct {
	keeper
	most  int64 // anchors that it looks at
	given bool
	seen  int64
	last  model.AuditAnchor
	actor string
}

func (w *walker) VerifyAudit(_ context.Context, o custody.VerifyOptions) (custody.AuditReport, error) {
	w.given, w.seen, w.actor = o.Anchors != nil, 0, o.Actor
	if w.given {
		for a, err := range o.Anchors {
			if err != nil {
				return custody.AuditReport{}, err
			}
			w.last = a
			if w.seen++; w.seen == w.most {
				break
			}
		}
	}
	return custody.AuditReport{Rows: 7, Anchors: w.seen}, nil
}

// TestAnchorsComeWithTheCall: as many as there are, more than any other call may bring; and what keeps the ledger from telling
// them is no fault of the custodian's.
func TestAnchorsComeWithTheCall(t *testing.T) {
	t.Parallel()
	w := &walker{}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := listenSocket(socket)
	check(t, err)
	stop := serveCustodian(l, custodianHandler(w, nil, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { check(t, stop()) })
	c := newRemote(bySocket(socket))
	const many = 60_000
	anchors := func(fail error) func(func(model.AuditAnchor, error) bool) {
		return func(yield func(model.AuditAnchor, error) bool) {
			for n := range int64(many) {
				a := model.AuditAnchor{Stream: custody.AuditStream, Sequence: n + 1, Digest: strings.Repeat("ab", 32), TxID: strings.Repeat("cd", 32), BlockNumber: n, At: 1}
				if !yield(a, nil) {
					return
				}
			}
			if fail != nil {
				yield(model.AuditAnchor{}, fail)
			}
		}
	}
	ctx := soon(t)
	report, err := c.VerifyAudit(ctx, custody.VerifyOptions{Anchors: anchors(nil)})
	if err != nil || report.Rows != 7 || report.Anchors != many || w.last.Sequence != many || w.last.TxID != strings.Repeat("cd", 32) || w.actor != "" {
		t.Errorf("%+v, %v, %+v", report, err, w.last)
	}
	w.most = 3 // it has seen enough
	if report, err = c.VerifyAudit(ctx, custody.VerifyOptions{Anchors: anchors(nil)}); err != nil || report.Anchors != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	w.most = 0
	if report, err = c.VerifyAudit(ctx, custody.VerifyOptions{}); err != nil || w.given || report.Anchors != 0 { // no ledger
		t.Errorf("%+v, %v", report, err)
	}
	if _, err = c.VerifyAudit(ctx, custody.VerifyOptions{Anchors: func(func(model.AuditAnchor, error) bool) {}}); err != nil || !w.given || w.seen != 0 {
		t.Errorf("given %v, %d, %v", w.given, w.seen, err)
	}
	gone := errors.New("the ledger is away")
	if _, err = c.VerifyAudit(ctx, custody.VerifyOptions{Anchors: anchors(gone)}); !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
	for what, body := range map[string]string{"nothing": "", "no line of its own": "[]\n", "a line without end": strings.Repeat("x", 1<<20), "no anchor": `{"Given":true}` + "\n{]\n"} {
		if _, err := sends[custody.AuditReport](ctx, c, verifyCallName, io.NopCloser(strings.NewReader(body))); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
