// Package embedded is a ledger in one file for one machine. It runs the contracts in process and promises what a Fabric
// channel promises, down to its surprises, so that whoever works here works there.
//
// A transaction is simulated on a snapshot of the committed state: its own writes are invisible to it, also in ranges
// and in the contracts it calls. What it read stands in a read set with versions. One goroutine puts transactions into
// an order, checks each read set against what the order has made of the state, and commits a block of them with one
// transaction of the file: one group of waiting writers, one flush to disk. An invalid transaction takes its place in the
// block with its ID and its verdict, and leaves nothing else. Blocks are chained by SHA-256.
//
// The promise: whoever was told that his transaction committed will find it, after a crash at any instruction, after a
// power cut, or else Open, a read or Verify says ErrDamaged. Nothing is ever half there, and nothing is lost in silence.
//
// The file is bbolt's. A copy-on-write B+ tree with one writer is what this ledger is: readers get a snapshot for
// nothing (one page number), a commit is two flushes however many writers it carries, there is no log to replay and no
// compaction to wait for when the process starts again, and the whole ledger is one file to copy. A log-structured store
// (pebble) takes more random writes per second than one committer can validate, at the price of a directory of files,
// background work and a recovery of its own. What bbolt does not have is checksums: records and blocks carry their own.
//
// One process at a time holds the file. A ledger whose disk has failed it takes no more writes until it is opened again,
// because only the disk knows then what is on it.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"cardflow/ledger"
	"cardflow/ledger/contract"

	"go.etcd.io/bbolt"
)

// Config says which ledger to open, and as whom.
type Config struct {
	Path         string // of the file; it is created if nothing is there
	Channel      string
	Organisation string // the creator of every transaction: an MSP ID on Fabric
	Contracts    []contract.Contract

	Clock  func() time.Time // stamps proposals; time.Now if nil
	Random io.Reader        // for nonces; crypto/rand if nil

	// TimeWindow is how far the time stamp of a proposal may be from the clock when it is endorsed and again when it
	// is ordered; 2 minutes if 0. It is Fabric's TimeWindowCheck, and stricter: an envelope that was held up after
	// its endorsement is refused here, where its expiry could have passed, and accepted by Fabric.
	TimeWindow time.Duration
	// BlockInterval is the longest a block waits for as many transactions as the block before it had; 2 ms if 0. A
	// lone writer never waits: the block before his had one.
	BlockInterval time.Duration
	// MaxBlockTransactions is the most that one block takes; 500 if 0.
	MaxBlockTransactions int

	Logger *slog.Logger // IDs, numbers and causes only; nothing is logged if nil

	At func(point string) // called at the points of point.go, for the crash suite; nil outside of it
}

// Ledger is an open ledger. It implements ledger.Ledger.
type Ledger struct {
	config    Config
	contracts map[string]contract.Contract
	db        *bbolt.DB
	file      file
	log       *slog.Logger

	random sync.Mutex // Config.Random need not be safe for concurrent use

	queue chan *envelope // unbuffered: a transaction taken from it is in a block or has failed
	quit  chan struct{}  // closed by Close
	done  chan struct{}  // closed when the committer has ended
	once  sync.Once
	err   error // of Close

	mu      sync.RWMutex
	tip     tip
	grown   chan struct{} // closed, and replaced, when a block is added
	stopped error         // why no more writes are taken
}

var _ ledger.Ledger = (*Ledger)(nil)

// tip is the newest block: what the next one is built on.
type tip struct {
	number uint64
	hash   hash
}

// Open opens the ledger in a file, or creates it with its block 0. Errors: ErrInUse, ErrDamaged, ErrForeign, or what the
// operating system says.
func Open(config Config) (*Ledger, error) {
	contracts, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{
		config:    config,
		contracts: contracts,
		log:       config.Logger,
		queue:     make(chan *envelope),
		quit:      make(chan struct{}),
		done:      make(chan struct{}),
		grown:     make(chan struct{}),
	}
	if err := l.openFile(); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", config.Path, err)
	}
	l.log.Info("ledger opened", "channel", config.Channel, "height", l.tip.number+1)
	go l.commitAll()
	return l, nil
}

// complete fills in what was left out, and refuses what can't be meant.
func (c *Config) complete() (map[string]contract.Contract, error) {
	switch {
	case c.Path == "":
		return nil, errors.New("path is empty")
	case c.Channel == "":
		return nil, errors.New("channel is empty")
	case c.Organisation == "":
		return nil, errors.New("organisation is empty")
	case c.TimeWindow < 0 || c.BlockInterval < 0 || c.MaxBlockTransactions < 0:
		return nil, errors.New("time window, block interval and block size must not be negative")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.TimeWindow == 0 {
		c.TimeWindow = 2 * time.Minute
	}
	if c.BlockInterval == 0 {
		c.BlockInterval = 2 * time.Millisecond
	}
	if c.MaxBlockTransactions == 0 {
		c.MaxBlockTransactions = 500
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	contracts := make(map[string]contract.Contract, len(c.Contracts))
	for _, each := range c.Contracts {
		name := each.Name()
		if _, twice := contracts[name]; twice || name == "" || strings.Contains(name, "\x00") || !utf8.ValidString(name) {
			return nil, fmt.Errorf("contract name %q is taken or no name", name)
		}
		contracts[name] = each
	}
	return contracts, nil
}

// Channel is the channel's name.
func (l *Ledger) Channel() string { return l.config.Channel }

// Ready reports whether a write could be taken now: nil, ErrClosed, ErrDamaged or ErrStopped.
func (l *Ledger) Ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-l.quit:
		return ErrClosed
	default:
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.stopped
}

// stop ends the taking of writes until the ledger is opened again. The first cause stays.
func (l *Ledger) stop(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped == nil {
		l.stopped = fmt.Errorf("%w: %w", ErrStopped, cause)
		l.log.Error("ledger stopped", "height", l.tip.number+1, "cause", cause)
	}
	return l.stopped
}

// Close commits the block that is being put together, ends every Blocks, and gives the file back. Whoever was not in
// that block gets NotSent.
func (l *Ledger) Close() error {
	l.once.Do(func() {
		close(l.quit)
		<-l.done
		if err := l.db.Close(); err != nil {
			l.err = fmt.Errorf("close ledger: %w", err)
		}
		l.log.Info("ledger closed", "channel", l.config.Channel)
	})
	return l.err
}
