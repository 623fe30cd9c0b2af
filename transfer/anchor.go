package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
)

// dutyAnchor is to write the audit's head to the ledger, from time to time.
const dutyAnchor = "anchor"

// Audit is the audit of custody, as far as it is anchored.
type Audit interface {
	// Stream is its name on the ledger.
	Stream() string
	// Head answers its newest row. Errors: ErrSealed.
	Head(ctx context.Context, since int64) (AuditHead, error)
}

// AuditHead is the end of the audit.
type AuditHead struct {
	Sequence int64 // of the newest row
	Hash     string
	Moved    bool // anything has happened since the row that was asked about, but the anchoring of it
	Pressing bool // something waits for an anchor
}

// AnchorConfig says how often the audit's head goes to the ledger.
type AnchorConfig struct {
	Interval time.Duration // between two anchors, if anything has happened; default 5 min, below 0: only when told to
	// Overdue is how old the newest anchor may become, while something waits to be anchored, before there is an alarm;
	// default three intervals.
	Overdue time.Duration
}

func (c AnchorConfig) withDefaults() AnchorConfig {
	if c.Interval == 0 {
		c.Interval = 5 * time.Minute
	}
	if c.Overdue <= 0 {
		c.Overdue = 3 * c.Interval
	}
	return c
}

// anchor writes the audit's head to the ledger whenever its time has come, until ctx ends.
func (s *Service) anchor(ctx context.Context) {
	var alarmed time.Time
	for ctx.Err() == nil {
		due, err := s.anchorIfDue(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && s.Clock().Sub(alarmed) >= s.Anchor.Interval {
			alarmed = s.Clock()
			s.Metrics.Alarm("anchor")
			s.Logger.Error("the audit can't be anchored", "error", err)
		}
		pause(ctx, min(max(due, s.Relay.Poll), s.Anchor.Interval))
	}
}

// anchorIfDue asks for an anchor if the newest one is old enough, and answers when to look again. An error is one that
// someone should hear of.
func (s *Service) anchorIfDue(ctx context.Context) (again time.Duration, err error) {
	state, err := s.AnchorState(ctx)
	if errors.Is(err, ErrSealed) {
		return s.Relay.Lease, nil // nothing is appended meanwhile, and whoever opens it hears of it elsewhere
	}
	if err != nil {
		return 0, err
	}
	if left := s.Anchor.Interval - state.Age; left > 0 && state.Anchored > 0 && !state.Pressing {
		return min(left, pressed), nil
	}
	if _, err := s.AnchorNow(ctx); err != nil {
		return min(s.Relay.Lease, s.Anchor.Interval), err // soon again: something may be pressing
	}
	if state.Moved && state.Age > s.Anchor.Overdue {
		return s.Relay.Lease, fmt.Errorf("the newest anchor is %s old, and %d rows wait for the next one", state.Age.Round(time.Second), state.Rows-state.Anchored)
	}
	return min(pressed, s.Anchor.Interval), nil // another one may be pressing as soon as this one stands
}

// pressed is how often to look whether something waits for an anchor.
const pressed = 500 * time.Millisecond

// AnchorState is how the anchors stand.
type AnchorState struct {
	Rows     int64         // of the audit
	Anchored int64         // the newest row that the ledger vouches for
	Age      time.Duration // of the newest anchor, or, before the first one, of the ledger as we know it
	Moved    bool          // something has happened that is not anchored
	Pressing bool          // and something waits for that
}

// AnchorState answers how the anchors stand. A database without an audit has none.
func (s *Service) AnchorState(ctx context.Context) (AnchorState, error) {
	if s.Audit == nil {
		return AnchorState{}, nil
	}
	newest, err := s.newestAnchor(ctx)
	if err != nil {
		return AnchorState{}, err
	}
	head, err := s.Audit.Head(ctx, newest.Sequence)
	if err != nil {
		return AnchorState{}, err
	}
	state := AnchorState{Rows: head.Sequence, Anchored: newest.Sequence, Moved: head.Moved, Pressing: head.Pressing}
	since := newest.At
	if newest.Sequence == 0 {
		// The platform is older than its anchors, if only by a moment.
		err := s.DB.Read(ctx, func(tx *model.Tx) error {
			p, err := tx.Participant(PlatformID)
			since = p.RegisteredAt
			return err
		})
		if errors.Is(err, model.ErrNotFound) || since == 0 {
			return state, nil
		}
		if err != nil {
			return state, err
		}
	}
	state.Age = max(0, s.Clock().Sub(since.Time()))
	return state, nil
}

func (s *Service) newestAnchor(ctx context.Context) (a model.AuditAnchor, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		a, err = tx.NewestAuditAnchor(s.Audit.Stream())
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		return model.AuditAnchor{}, nil
	}
	return a, err
}

// AnchorNow asks for an anchor of the audit's head, and answers the act, "" if there is nothing to anchor. What is
// anchored is fixed here, once: an act has one body, and the ledger takes no number of a stream twice. So whoever asks
// again, and whichever server does, there are never two digests for one number.
func (s *Service) AnchorNow(ctx context.Context) (act string, err error) {
	if s.Audit == nil {
		return "", nil
	}
	newest, err := s.newestAnchor(ctx)
	if err != nil {
		return "", err
	}
	head, err := s.Audit.Head(ctx, newest.Sequence)
	switch {
	case err != nil:
		return "", err
	case head.Sequence < newest.Sequence:
		return "", fmt.Errorf("the ledger has anchored row %d of an audit that ends at row %d: it was put back, or cut", newest.Sequence, head.Sequence)
	case !head.Moved:
		return "", nil
	}
	if known, err := s.anchorKeyKnown(ctx); err != nil || !known {
		return "", err // the platform is just being set up
	}
	d := draft{
		Body: request.Anchor{Stream: s.Audit.Stream(), Sequence: uint64(head.Sequence), Digest: head.Hash}, Subject: s.Audit.Stream(),
		Fields: fields{Parties: []party{{PlatformID, SlotAnchor}}},
	}
	err = s.DB.Write(ctx, func(tx *model.Tx) error {
		act = ""
		if err := tx.LockParticipant(PlatformID); err != nil { // two servers at once: the second finds the first one's act
			return err
		}
		open, err := tx.UnfinishedActsOn(d.Subject)
		if err != nil {
			return err
		}
		for _, a := range open {
			if a.Function == "Anchor" {
				act = a.ID // the next one comes when this one has ended
				return nil
			}
		}
		// One that failed is asked for under another name: same number, same digest.
		for n := 0; act == ""; n++ {
			id := fmt.Sprintf("anchor-%d", head.Sequence)
			if n > 0 {
				id = fmt.Sprintf("%s.%d", id, n)
			}
			a, err := tx.Act(id)
			switch {
			case errors.Is(err, model.ErrNotFound):
				act = id
			case err != nil:
				return err
			case a.State != model.ActFailed:
				return nil // it stands on the ledger
			}
		}
		d.ID = act
		_, err = s.accept(tx, d)
		return err
	})
	if errors.Is(err, model.ErrConflict) {
		return "", nil // another server has just asked for it
	}
	if err == nil && act != "" {
		s.kick()
	}
	return act, err
}

// anchorKeyKnown reports whether the ledger has the key that anchors are signed with: an anchor that comes before it is
// refused for good.
func (s *Service) anchorKeyKnown(ctx context.Context) (bool, error) {
	key, err := s.Signer.ActiveKey(ctx, PlatformID, SlotAnchor)
	if err != nil {
		var p model.Participant
		read := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			p, err = tx.Participant(PlatformID)
			return err
		})
		if errors.Is(read, model.ErrNotFound) || read == nil && p.State != model.ParticipantRegistered {
			return false, nil
		}
		return false, err
	}
	_, err = query[contract.Key](ctx, s.Ledger, request.Identity, "GetKey", key)
	switch contract.CodeOf(err) {
	case contract.KeyUnknown, contract.NotInitialised:
		return false, nil
	}
	return err == nil, err
}

// AnchorLast anchors the audit's head and waits until the ledger has it, or ctx ends: a server that is told to stop
// leaves as little as it can that nobody vouches for.
func (s *Service) AnchorLast(ctx context.Context) error {
	act, err := s.AnchorNow(ctx)
	if err != nil || act == "" {
		return err
	}
	end, err := s.Await(ctx, act)
	switch {
	case err != nil:
		return err
	case end.Error != nil:
		return fail(end.Error.Code)
	case !end.Ended():
		return fmt.Errorf("anchor: act %s is still %s: %w", act, end.State, ctx.Err())
	}
	return nil
}

// mirrorAnchor notes an anchor of the audit that the ledger has, and looks whether the audit agrees. Anchors of other
// streams are others' matter.
func (s *Service) mirrorAnchor(tx *model.Tx, t ledger.Transaction, w ledger.Write) error {
	var a contract.AnchorRecord
	if err := json.Unmarshal(w.Value, &a); err != nil {
		return err
	}
	if s.Audit == nil || a.Stream != s.Audit.Stream() || a.Sequence > math.MaxInt64 {
		return nil
	}
	sequence := int64(a.Sequence)
	err := tx.AddAuditAnchor(model.AuditAnchor{
		Stream: a.Stream, Sequence: sequence, Digest: a.Digest, TxID: t.ID, BlockNumber: int64(t.BlockNumber), At: model.MillisOf(t.Time),
	})
	if err != nil {
		return err
	}
	rows, err := tx.AuditRows(sequence-1, 1)
	if err != nil {
		return err
	}
	if len(rows) == 0 || rows[0].Seq != sequence || rows[0].Hash != a.Digest {
		// After a restore to an older copy that is as it should be, and stays so. Else the audit is not what it was.
		s.Metrics.Alarm("audit_fork")
		s.Logger.Error("the ledger has anchored another audit than this one", "row", sequence, "tx", t.ID)
	}
	return nil
}
