package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/model"
)

// walker is a custody that can only be asked to verify its audit. A walk may still go on when whoever asked has hung up.
type walker struct {
	keeper
	most atomic.Int64 // anchors that it looks at; 0: all
	mu   sync.Mutex
	walk walked
}

// walked is what came with a call that was answered.
type walked struct {
	given bool
	seen  int64
	last  model.AuditAnchor
	actor string
}

func (w *walker) VerifyAudit(_ context.Context, o custody.VerifyOptions) (custody.AuditReport, error) {
	now := walked{given: o.Anchors != nil, actor: o.Actor}
	if now.given {
		for a, err := range o.Anchors {
			if err != nil {
				return custody.AuditReport{}, err
			}
			now.last = a
			if now.seen++; now.seen == w.most.Load() {
				break
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.walk = now
	return custody.AuditReport{Rows: 7, Anchors: now.seen}, nil
}

func (w *walker) saw() walked {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.walk
}

// TestAnchorsComeWithTheCall: as many as there are, more than any other call may bring; and what keeps the ledger from telling
// them is no fault of the custodian's.
func TestAnchorsComeWithTheCall(t *testing.T) {
	t.Parallel()
	w := &walker{}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := listenSocket(socket)
	check(t, err)
	stop := serveCustodian(custodianHandler(w, nil, prometheus.NewRegistry(), slog.New(slog.DiscardHandler), usualLimits), slog.New(slog.DiscardHandler), usualLimits, l)
	t.Cleanup(func() { check(t, stop()) })
	c := newRemote(bySocket(socket))
	const many = mostCall/1000 + 1 // anchors of 1000 bytes and more
	tx := strings.Repeat("cd", 500)
	anchors := func(fail error) func(func(model.AuditAnchor, error) bool) {
		return func(yield func(model.AuditAnchor, error) bool) {
			for n := range int64(many) {
				a := model.AuditAnchor{Stream: custody.AuditStream, Sequence: n + 1, Digest: strings.Repeat("ab", 32), TxID: tx, BlockNumber: n, At: 1}
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
	if err != nil || report.Rows != 7 || report.Anchors != many || w.saw().last.Sequence != many || w.saw().last.TxID != tx || w.saw().actor != "" {
		t.Errorf("%+v, %v, %+v", report, err, w.saw())
	}
	w.most.Store(3) // it has seen enough
	if report, err = c.VerifyAudit(ctx, custody.VerifyOptions{Anchors: anchors(nil)}); err != nil || report.Anchors != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	w.most.Store(0)
	if report, err = c.VerifyAudit(ctx, custody.VerifyOptions{}); err != nil || w.saw().given || report.Anchors != 0 { // no ledger
		t.Errorf("%+v, %v", report, err)
	}
	if _, err = c.VerifyAudit(ctx, custody.VerifyOptions{Anchors: func(func(model.AuditAnchor, error) bool) {}}); err != nil || !w.saw().given || w.saw().seen != 0 {
		t.Errorf("%+v, %v", w.saw(), err)
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
