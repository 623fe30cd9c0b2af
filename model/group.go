package model

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"gorm.io/gorm"
)

// group lets writers share a commit, where they would else wait for each other's: on SQLite, which has one writer at a
// time, and on MySQL if all of them lock the same row. Each commit is an fsync; while one is on its way to the disk others
// queue up, and the next commit takes them all. Each keeps a transaction of its own: a savepoint, which is rolled back if
// his function fails and harms nobody else. Nobody is told of success before the common commit is on the disk.
type group struct {
	// commit runs a function in one transaction and commits it.
	commit func(ctx context.Context, fn func(*gorm.DB) error) error
	gather *Gather[*member]
}

// member is one writer who waits.
type member struct {
	ctx  context.Context
	fn   func(*Tx) error
	err  error
	died any  // what fn panicked with
	left bool // fn ended its goroutine, as a test does that fails
}

// groupSize bounds the writers of one commit: one who waits behind all of them waits some tens of milliseconds.
const groupSize = 64

func newGroup(commit func(context.Context, func(*gorm.DB) error) error) *group {
	g := &group{commit: commit}
	g.gather = NewGather(groupSize, g.run)
	return g
}

// errGroupLost makes a writer start over whose group was rolled back for no fault of his.
var errGroupLost = &storeError{text: "the common commit was lost", transient: true}

// write runs fn in a savepoint of a common transaction.
func (g *group) write(ctx context.Context, fn func(*Tx) error) error {
	m := &member{ctx: ctx, fn: fn}
	g.gather.Do(m)
	switch {
	case m.died != nil:
		panic(m.died)
	case m.left:
		runtime.Goexit()
	}
	return m.err
}

// run takes some writers through one transaction.
func (g *group) run(some []*member) {
	ended := false
	defer func() {
		if !ended { // the commit has panicked: nobody knows what stands
			lost(some, &unknownError{errors.New("the common commit has panicked")})
		}
	}()
	// Nobody's context may end the common transaction: a statement that is interrupted half-way takes all of it along
	// (https://www.sqlite.org/c3ref/interrupt.html), or the connection.
	err := g.commit(context.Background(), func(tx *gorm.DB) error {
		for i, m := range some {
			if m.err = m.ctx.Err(); m.err != nil {
				continue
			}
			if len(some) == 1 {
				return m.alone(tx)
			}
			if err := m.run(tx, fmt.Sprintf("w%d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	ended = true
	switch {
	case err == nil:
	case len(some) == 1 || errors.Is(err, ErrUnknown): // what may stand is not begun again
		lost(some, err)
	default:
		lost(some, errors.Join(errGroupLost, err))
	}
}

// lost tells those whose functions did their work why that is not on the disk.
func lost(some []*member, err error) {
	for _, m := range some {
		if m.err == nil && m.died == nil && !m.left {
			m.err = err
		}
	}
}

// run runs one writer's function in a savepoint. An error means that the savepoint, and with it the transaction, is
// gone: a full disk rolls back everything.
func (m *member) run(tx *gorm.DB, name string) error {
	if err := tx.SavePoint(name).Error; err != nil {
		return err
	}
	if !m.did(tx) {
		if err := tx.RollbackTo(name).Error; err != nil {
			return err
		}
	}
	return tx.Exec("RELEASE SAVEPOINT " + name).Error
}

// alone runs the function of a writer who has the transaction for himself.
func (m *member) alone(tx *gorm.DB) error {
	if !m.did(tx) {
		return errors.Join(errFell, m.err)
	}
	return nil
}

// errFell rolls a transaction back.
var errFell = errors.New("the writer has failed")

// did reports whether the function has done its work: it didn't fail, and nobody has left. On MySQL his transaction would
// have ended with his context.
func (m *member) did(tx *gorm.DB) bool {
	m.guarded(&Tx{db: tx.WithContext(context.WithoutCancel(m.ctx))})
	if m.err == nil {
		m.err = m.ctx.Err()
	}
	return m.err == nil && m.died == nil && !m.left
}

// guarded keeps a panic, or the end of a goroutine, to him whose function it was: who leads has the others to serve. So
// the function gets a goroutine of its own.
func (m *member) guarded(tx *Tx) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.left = true
		defer func() {
			if m.died = recover(); m.died != nil {
				m.left = false
			}
		}()
		m.err = m.fn(tx)
		m.left = false
	}()
	<-ended
}
