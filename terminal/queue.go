package terminal

import (
	"encoding/binary"
	"encoding/json"

	"go.etcd.io/bbolt"

	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// States of a request in the queue.
const (
	Waiting   = "waiting"   // signed, never sent
	Sent      = "sent"      // sent at least once; what came of it is not known yet
	Committed = "committed" // it is in a block
	Failed    = "failed"    // it did nothing, and never will
)

// Entry is a request that the terminal has signed, from the signature to its end. Body is what is sent, byte for byte the same
// each time: the platform knows it by its request's ID, so sent twice it is carried out once.
type Entry struct {
	Sequence  uint64          `json:"sequence"`
	RequestID string          `json:"requestId"`
	Function  string          `json:"function"`
	Body      json.RawMessage `json:"body"` // protocol.Submit
	NotAfter  int64           `json:"notAfter"`
	QueuedAt  int64           `json:"queuedAt"` // ms
	State     string          `json:"state"`
	Attempts  int             `json:"attempts"`

	// For people.
	Count  uint64 `json:"count,omitempty"`
	Party  string `json:"party,omitempty"` // the other side
	Trade  string `json:"trade,omitempty"`
	Code   string `json:"code,omitempty"`  // of a BEARER trade
	Parts  []Part `json:"parts,omitempty"` // the trades of an offer that has several; Trade and Code are the first one's
	Reason string `json:"reason,omitempty"`

	// What it does to the stock when it is committed.
	Spends []string            `json:"spends,omitempty"`
	Gains  []protocol.StockLot `json:"gains,omitempty"`

	TxID        string            `json:"txId,omitempty"`
	BlockNumber uint64            `json:"blockNumber,omitempty"`
	EndedAt     int64             `json:"endedAt,omitempty"`
	Error       *protocol.Refusal `json:"error,omitempty"` // why it failed, or why it waits
}

// Ended tells whether anything can still come of it.
func (e Entry) Ended() bool { return e.State == Committed || e.State == Failed }

// keptEntries is how many requests that have ended are kept for looking back.
const keptEntries = 200

func sequenceKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// Enqueue stores signed requests, and forgets the scans that they were made of, if there are any: all or nothing. When it answers, the
// requests are on the disk and will be sent. One that is in the queue already is not stored again: its entry is answered. Errors:
// STOCK_SPENT if another one that hasn't ended spends the same lot.
func (s *State) Enqueue(of *Tally, list ...Entry) ([]Entry, error) {
	s.pass(AtQueueing)
	var queued []Entry
	err := s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketQueue)
		queued = nil
		for _, e := range list {
			e, err := enqueue(b, e)
			if err != nil {
				return err
			}
			queued = append(queued, e)
		}
		if err := of.end(tx); err != nil {
			return err
		}
		return prune(b)
	})
	if err != nil {
		return nil, err
	}
	s.pass(AtQueued)
	return queued, nil
}

func enqueue(b *bbolt.Bucket, e Entry) (Entry, error) {
	spends := map[string]bool{}
	for _, h := range e.Spends {
		spends[h] = true
	}
	known := false
	err := b.ForEach(func(_, data []byte) error {
		var old Entry
		if err := json.Unmarshal(data, &old); err != nil {
			return failf("STATE_CORRUPT", "an entry of the queue makes no sense")
		}
		if old.RequestID == e.RequestID && old.State != Failed {
			e, known = old, true
			return nil
		}
		for _, h := range old.Spends {
			if !old.Ended() && spends[h] {
				return Refusal("STOCK_SPENT").With("request", old.Sequence)
			}
		}
		return nil
	})
	if err != nil || known {
		return e, err
	}
	if e.Sequence, err = b.NextSequence(); err != nil {
		return e, err
	}
	e.State, e.Attempts = Waiting, 0
	return e, put(b, sequenceKey(e.Sequence), e)
}

// Queue lists all entries, oldest first.
func (s *State) Queue() ([]Entry, error) { return all[Entry](s, bucketQueue) }

// change rewrites an entry, and with it the stock: one transaction.
func (s *State) change(sequence uint64, do func(*Entry)) (e Entry, err error) {
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketQueue)
		found, err := get(b, sequenceKey(sequence), &e)
		if err != nil {
			return err
		}
		if !found {
			return failf("STATE_CORRUPT", "entry %d of the queue is gone", sequence)
		}
		if e.Ended() {
			return nil // what has ended stays as it is
		}
		if do(&e); e.State == Committed {
			if err := move(tx, e.Spends, e.Gains); err != nil {
				return err
			}
		}
		return put(b, sequenceKey(sequence), e)
	})
	return e, err
}

// prune forgets the oldest entries that have ended.
func prune(b *bbolt.Bucket) error {
	var ended [][]byte
	err := b.ForEach(func(key, data []byte) error {
		var e Entry
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		if e.Ended() {
			ended = append(ended, append([]byte(nil), key...))
		}
		return nil
	})
	for err == nil && len(ended) > keptEntries {
		err = b.Delete(ended[0])
		ended = ended[1:]
	}
	return err
}

// submission is the entry's body, read.
func (e Entry) submission() (protocol.Submit, request.Request, error) {
	var in protocol.Submit
	if err := json.Unmarshal(e.Body, &in); err != nil {
		return in, request.Request{}, failf("STATE_CORRUPT", "the body of entry %d makes no sense", e.Sequence)
	}
	return in, request.Request{Contract: in.Contract, Function: in.Function, Args: []byte(in.Args)}, nil
}
