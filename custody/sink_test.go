package custody_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/model/modeltest"
)

// outage is a way in which the audit can't be written: the answer begins it, and answers how to end it.
type outage func(r *rig) (begin func(), end func())

// outages are those that a test can make on its engine.
func outages(t *testing.T) map[string]outage {
	all := map[string]outage{"rows are refused": func(r *rig) (func(), func()) {
		return r.breakAudit, func() { r.exec(`DROP TRIGGER full_disk`) }
	}}
	if modeltest.Engine(t) == model.MySQL {
		all["the database is away"] = func(r *rig) (func(), func()) {
			w := modeltest.NewWire(t, r.cfg)
			r.cfg = w.Config
			r.db = modeltest.OpenConfig(t, r.cfg)
			return w.Cut, w.Mend
		}
		return all
	}
	all["the database is locked"] = func(r *rig) (func(), func()) {
		r.cfg.LockWait = 5 * time.Millisecond
		r.db = modeltest.OpenConfig(t, r.cfg)
		conn, err := r.raw.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		do := func(statement string) func() {
			return func() {
				if _, err := conn.ExecContext(context.Background(), statement); err != nil {
					t.Error(err)
				}
			}
		}
		return do("BEGIN IMMEDIATE"), do("ROLLBACK")
	}
	return all
}

// TestTheAuditCantBeWritten: nothing is signed, it is said once, readiness is red; and by itself all is as before when the
// audit can be written again, which the audit tells.
func TestTheAuditCantBeWritten(t *testing.T) {
	for name, o := range outages(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := bareRig(t)
			begin, end := o(r)
			var writable []bool
			config := r.config()
			config.Metrics.Writable = func(can bool) { writable = append(writable, can) }
			var err error
			if r.Custody, err = custody.Open(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			r.ensure("c-0001", custody.Machine, custody.Account)
			ask, body := confirm("trade-1")
			if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
				t.Fatal(err)
			}

			begin()
			for i := range 3 {
				ask, body := confirm(fmt.Sprint("during-", i))
				if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAuditUnwritable) {
					t.Errorf("signed: %v", err)
				}
			}
			if err := r.Ready(t.Context()); !errors.Is(err, custody.ErrAuditUnwritable) {
				t.Errorf("ready: %v", err)
			}
			if n := len(r.heard(&r.alarms)); n != 1 || r.heard(&r.alarms)[0] != custody.ErrAuditUnwritable.Code {
				t.Errorf("alarms %q", r.heard(&r.alarms))
			}
			if r.signed.Load() != 1 {
				t.Errorf("%d signatures", r.signed.Load())
			}

			end()
			if err := r.Ready(t.Context()); !errors.Is(err, custody.ErrAuditUnwritable) {
				t.Errorf("ready, tried again at once: %v", err)
			}
			r.clock.ahead.Add(2 * second)
			if err := r.Ready(t.Context()); err != nil {
				t.Errorf("ready, when it is over: %v", err)
			}
			for i := range 3 {
				ask, body := confirm(fmt.Sprint("during-", i))
				if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
					t.Errorf("after: %v", err)
				}
			}
			if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'audit.resume' AND detail LIKE '%"lost":3%'`); n != 1 {
				t.Errorf("%d rows say that it could not be written", n)
			}
			if fmt.Sprint(writable) != "[false true]" {
				t.Errorf("told %v", writable)
			}
			r.whole()
		})
	}
}

// TestSigningFindsThatTheAuditCanBeWritten: nobody has to ask for readiness.
func TestSigningFindsThatTheAuditCanBeWritten(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.ensure("c-0001", custody.Machine, custody.Account)
		r.breakAudit()
		ask, body := confirm("trade-1")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrAuditUnwritable) {
			t.Fatalf("signed: %v", err)
		}
		r.exec(`DROP TRIGGER full_disk`)
		r.clock.ahead.Add(2 * second)
		if _, _, err := r.Sign(t.Context(), ask, body); err != nil {
			t.Fatal(err)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'audit.resume'`); n != 1 {
			t.Errorf("%d rows say that it could not be written", n)
		}
		// A refusal is no failure of the audit.
		body.Receiver = "c-0002"
		ask.Subject = "trade-2"
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrOwner) {
			t.Errorf("signed: %v", err)
		}
		if err := r.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		r.whole()
	})
}
