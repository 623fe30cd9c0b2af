package model

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// A commit over a network has three ends: it is answered with yes, it is answered with no, or the answer doesn't come.
// In the third the change may stand, and whoever guesses either loses it or makes it twice. So every transaction writes,
// as its last statement, a token that nobody has written before, into a row that no other transaction under way uses.
// After a lost answer the row is read under a lock: that waits until the server has made up its mind about the
// transaction that wrote there, and then the row holds the token or it does not.

// mark is a row of the table commits, or of CustodyMarks.
type mark struct {
	Slot  string `gorm:"primaryKey"`
	Token string
	At    Millis
}

// TableName places the record.
func (mark) TableName() string { return "commits" }

// CustodyMarks is the table for commits of whoever must not believe what a server has written: who could write the mark of
// another one's commit could tell him that it stands.
const CustodyMarks = "custody_commits"

// marks are the rows of one DB.
type marks struct {
	table string
	name  string // this DB among all that use the database
	next  atomic.Int64
	free  chan string // slots; as many as there are connections, so one is free whenever a transaction ends
}

func newMarks(table string, conns int) *marks {
	m := &marks{table: cmp.Or(table, mark{}.TableName()), name: rand.Text(), free: make(chan string, conns)}
	for n := range conns {
		m.free <- fmt.Sprintf("%s.%d", m.name, n)
	}
	return m
}

// transact runs fn in one transaction on MySQL. An error that is transient means that nothing of it stands.
func (db *DB) transact(ctx context.Context, fn func(tx *Tx) error) (err error) {
	// Read committed: a compare-and-swap that waited for a row's lock must see what the winner wrote.
	g := db.write.WithContext(ctx).Begin(&sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if g.Error != nil {
		return g.Error
	}
	ended := false
	defer func() {
		if !ended { // an error, a panic, or the end of a goroutine
			g.Rollback()
		}
	}()
	if err := fn(&Tx{db: g}); err != nil {
		return err
	}
	var slot string
	select {
	case slot = <-db.marks.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	// Held until the end is known: the next one's token would hide this one's.
	defer func() { db.marks.free <- slot }()
	m := mark{Slot: slot, Token: fmt.Sprintf("%s.%d", db.marks.name, db.marks.next.Add(1)), At: MillisOf(db.write.NowFunc())}
	if err := g.Table(db.marks.table).Clauses(clause.OnConflict{UpdateAll: true}).Create(&m).Error; err != nil {
		return err
	}
	db.at(AtCommitting)
	ended = true
	err = g.Commit().Error
	if err == nil {
		db.at(AtCommitted)
	}
	if err == nil || errors.Is(err, sql.ErrTxDone) || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err // answered; or rolled back before it was asked, because ctx had ended
	}
	stands, asked := db.stands(ctx, m)
	switch {
	case asked != nil:
		return &unknownError{errors.Join(err, asked)}
	case stands:
		db.log.WarnContext(ctx, "the answer to a commit was lost; it stands", "error", err)
		return nil
	}
	return &storeError{kind: ErrUnavailable, text: "the commit was lost: " + err.Error(), transient: true}
}

// How long the database is asked about a commit: it may be starting again. Whoever waits for the answer may have left
// meanwhile; then it is asked a little longer, for the log.
const (
	askFor   = time.Minute
	askLast  = 3 * time.Second
	askAgain = 100 * time.Millisecond
)

// stands asks until it knows whether the transaction that wrote m has been committed.
func (db *DB) stands(ctx context.Context, m mark) (bool, error) {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), askFor)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(askLast, cancel) })()
	for {
		var found []mark
		err := db.write.WithContext(asking).Transaction(func(g *gorm.DB) (err error) {
			found, err = many[mark]((&Tx{db: g}).locked().Table(db.marks.table).Where("slot = ?", m.Slot))
			return err
		}, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if err == nil {
			return len(found) == 1 && found[0].Token == m.Token, nil
		}
		db.log.WarnContext(ctx, "the answer to a commit was lost, and the database can't be asked yet", "error", err)
		select {
		case <-asking.Done():
			return false, err
		case <-time.After(askAgain):
		}
	}
}

// unknownError is ErrUnknown with what the driver said.
type unknownError struct{ cause error }

func (e *unknownError) Error() string   { return ErrUnknown.Error() + ": " + e.cause.Error() }
func (e *unknownError) Unwrap() []error { return []error{ErrUnknown, ErrUnavailable} }

// marksKept is how long rows of servers that are no more stay: longer than anyone asks about a commit.
const marksKept = 24 * time.Hour

func (db *DB) forgetMarks(ctx context.Context) error {
	if db.marks == nil {
		return nil
	}
	old := MillisOf(db.write.NowFunc().Add(-marksKept))
	for _, table := range []string{mark{}.TableName(), CustodyMarks} {
		if err := db.write.WithContext(ctx).Table(table).Where("at < ?", old).Delete(&mark{}).Error; err != nil {
			return err
		}
	}
	return nil
}
