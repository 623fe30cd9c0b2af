package terminal

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	bolt "go.etcd.io/bbolt/errors"
)

// State is what a terminal remembers between two commands: who it is, which gateway keys it has pinned, what it has signed
// that hasn't ended, what was scanned and not yet signed, and what it knew of its stock when it last had a network. Not in it is
// the key.
//
// It is one bbolt file. Each change is one transaction that is on the disk when it answers; a process that is killed leaves
// the file as it was before or after, never between; and while one process has it open, no other one can, so nothing is
// queued or sent twice by two of them.
type State struct {
	db *bbolt.DB
	at func(point string) // for tests
}

var (
	bucketProfile = []byte("profile")
	bucketGateway = []byte("gateway")
	bucketQueue   = []byte("queue")
	bucketStock   = []byte("stock")
	bucketScans   = []byte("scans") // a bucket for each piece of work
)

// patience is how long a command waits for another one that has the state open.
const patience = 2 * time.Second

// OpenState opens the file, or makes it. Errors: STATE_BUSY while another process has it; STATE_CORRUPT.
func OpenState(path string) (s *State, err error) {
	defer func() {
		if p := recover(); p != nil { // bbolt on a file that makes no sense
			s, err = nil, failf("STATE_CORRUPT", "%s: %v", path, p)
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: patience})
	switch {
	case errors.Is(err, bolt.ErrTimeout):
		return nil, &Error{Code: "STATE_BUSY", Err: err}
	case errors.Is(err, bolt.ErrInvalid), errors.Is(err, bolt.ErrChecksum), errors.Is(err, bolt.ErrVersionMismatch):
		return nil, failf("STATE_CORRUPT", "%s: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketProfile, bucketGateway, bucketQueue, bucketStock, bucketScans} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &State{db: db}, nil
}

// Close closes the file.
func (s *State) Close() error { return s.db.Close() }

// put stores a value under a key.
func put(b *bbolt.Bucket, key []byte, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

// get reads the value of a key; found is false if there is none.
func get(b *bbolt.Bucket, key []byte, into any) (found bool, err error) {
	data := b.Get(key)
	if data == nil {
		return false, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, failf("STATE_CORRUPT", "a record makes no sense")
	}
	return true, nil
}

// all reads a bucket in the order of its keys.
func all[T any](s *State, bucket []byte) (list []T, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(_, data []byte) error {
			var v T
			if err := json.Unmarshal(data, &v); err != nil {
				return failf("STATE_CORRUPT", "a record of %s makes no sense", bucket)
			}
			list = append(list, v)
			return nil
		})
	})
	return list, err
}
