package model

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"gorm.io/gorm/clause"
)

// errFull: the disk under the database is full. Small changes may still find room where large ones don't, and reading
// goes on; but whoever sends people to this server has to know.
var errFull = fmt.Errorf("%w: its disk is full", ErrUnavailable)

// room is whether there is room under the database, as far as the last writes of this process know.
type room struct {
	mu     sync.Mutex
	cause  error     // of the last write that found none; nil if one has found some since
	probed time.Time // when it was last tried
}

// probeEvery is how often a full disk is tried again for nobody's sake, however often it is asked about. probePatience is
// how long that may take: some servers answer nothing until they have room.
const (
	probeEvery    = time.Second
	probePatience = 2 * time.Second
)

// noted takes in how a write ended.
func (r *room) noted(err error) {
	if err != nil && !errors.Is(err, errFull) {
		return // it says nothing about room
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cause = err
}

// full is the cause, nil if there is room, and whether it is time to try again.
func (r *room) full(now time.Time) (cause error, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if due = r.cause != nil && now.Sub(r.probed) >= probeEvery; due {
		r.probed = now
	}
	return r.cause, due
}

// Ready reports whether the database answers and, as far as is known, can be written to: ErrUnavailable if not. A disk
// that was full is tried again, so that a server to which nobody is sent any more learns when it has room.
func (db *DB) Ready(ctx context.Context) error {
	if err := db.Ping(ctx); err != nil {
		return err
	}
	cause, due := db.room.full(time.Now())
	if !due {
		return cause
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	err := db.Write(ctx, func(tx *Tx) error {
		m := mark{Slot: "room", Token: rand.Text(), At: MillisOf(tx.db.NowFunc())}
		return tx.db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&m).Error
	})
	if err != nil {
		return errors.Join(cause, err)
	}
	return nil
}
