package terminal

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"go.etcd.io/bbolt"
)

// Scan is one scan: the first and the last label of a box, or one card, which is both.
type Scan struct {
	First string `json:"first"`
	Last  string `json:"last,omitempty"` // empty: First
}

// Tally is what was scanned for a piece of work and isn't signed yet, so that a power cut costs nobody his scans. Keep brings it
// to the disk, in one transaction: a process that dies in it leaves the scans as they were when Keep was last called. They
// go when what was made of them is in the queue, in the same transaction, or when a person begins anew.
type Tally struct {
	state *State
	name  []byte
	scans []Scan
	same  int   // that many of the scans are on the disk as they are here
	kept  int   // that many are on the disk
	since int64 // ms: when the first of them was
}

// keptTally is how long scans wait for somebody to go on with them: no offer stands longer.
const keptTally = longestLife

// Tally opens the scans of a piece of work, none if it is new.
func (s *State) Tally(name string) (*Tally, error) {
	t := &Tally{state: s, name: []byte(name)}
	err := s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketScans).Bucket(t.name)
		if b == nil {
			return nil
		}
		return b.ForEach(func(key, data []byte) error {
			if binary.BigEndian.Uint64(key) == 0 {
				return unmarshal(data, &t.since)
			}
			var scan Scan
			err := unmarshal(data, &scan)
			t.scans = append(t.scans, scan)
			return err
		})
	})
	t.same, t.kept = len(t.scans), len(t.scans)
	return t, err
}

func unmarshal(data []byte, into any) error {
	if err := json.Unmarshal(data, into); err != nil {
		return failf("STATE_CORRUPT", "a record of the scans makes no sense")
	}
	return nil
}

// Scans are all of them, in their order.
func (t *Tally) Scans() []Scan { return t.scans }

// Since is when the first of those on the disk was kept, in ms.
func (t *Tally) Since() int64 { return t.since }

// Add adds a scan.
func (t *Tally) Add(first, last string) {
	if last == first {
		last = ""
	}
	t.scans = append(t.scans, Scan{first, last})
}

// Undo forgets the last scan.
func (t *Tally) Undo() {
	if n := len(t.scans); n > 0 {
		t.scans, t.same = t.scans[:n-1], min(t.same, n-1)
	}
}

// Restart forgets all scans. It takes a Keep to have them off the disk, too.
func (t *Tally) Restart() { t.scans, t.same, t.since = nil, 0, 0 }

// Keep brings the scans to the disk. Where nothing has changed it costs nothing.
func (t *Tally) Keep(now time.Time) error {
	if t.same == len(t.scans) && t.kept == len(t.scans) {
		return nil
	}
	t.state.pass(AtKeeping)
	err := t.state.db.Update(func(tx *bbolt.Tx) error {
		all := tx.Bucket(bucketScans)
		if t.kept == 0 || t.since == 0 {
			t.since = now.UnixMilli()
			if err := forgetTallies(all, now.Add(-keptTally).UnixMilli()); err != nil {
				return err
			}
		}
		b, err := all.CreateBucketIfNotExists(t.name)
		if err == nil {
			err = put(b, sequenceKey(0), t.since)
		}
		for i := len(t.scans); err == nil && i < t.kept; i++ {
			err = b.Delete(sequenceKey(uint64(i) + 1))
		}
		for i := t.same; err == nil && i < len(t.scans); i++ {
			err = put(b, sequenceKey(uint64(i)+1), t.scans[i])
		}
		return err
	})
	if err != nil {
		return err
	}
	t.same, t.kept = len(t.scans), len(t.scans)
	t.state.pass(AtKept)
	return nil
}

// forgetTallies forgets scans that nobody has gone on with.
func forgetTallies(all *bbolt.Bucket, before int64) error {
	var old [][]byte
	err := all.ForEachBucket(func(name []byte) error {
		var since int64
		found, err := get(all.Bucket(name), sequenceKey(0), &since)
		if !found || since < before {
			old = append(old, append([]byte(nil), name...))
		}
		return err
	})
	for _, name := range old {
		if err == nil {
			err = all.DeleteBucket(name)
		}
	}
	return err
}

// end forgets the scans in the transaction that stores what was made of them.
func (t *Tally) end(tx *bbolt.Tx) error {
	if t == nil || tx.Bucket(bucketScans).Bucket(t.name) == nil {
		return nil
	}
	return tx.Bucket(bucketScans).DeleteBucket(t.name)
}
