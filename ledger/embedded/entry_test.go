package embedded_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"cardflow/ledger"
	"cardflow/ledger/embedded"

	"pgregory.net/rapid"
)

// TestEntry: what is encoded is decoded, and nothing less than all of it is.
func TestEntry(t *testing.T) {
	text, some := rapid.String(), rapid.SliceOfN(rapid.Byte(), 0, 20)
	write := rapid.Custom(func(rt *rapid.T) ledger.Write {
		w := ledger.Write{Contract: text.Draw(rt, "contract"), Key: text.Draw(rt, "key"), Deleted: rapid.Bool().Draw(rt, "deleted")}
		if !w.Deleted {
			w.Value = some.Draw(rt, "value")
		}
		return w
	})
	rapid.Check(t, func(rt *rapid.T) {
		tx := ledger.Transaction{
			ID:         hex.EncodeToString(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, "id")),
			Time:       time.Unix(rapid.Int64Range(-1<<33, 1<<33).Draw(rt, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(rt, "nanoseconds")).UTC(),
			Creator:    text.Draw(rt, "creator"),
			Contract:   text.Draw(rt, "contract"),
			Function:   text.Draw(rt, "function"),
			Args:       rapid.SliceOf(some).Draw(rt, "args"),
			Validation: ledger.Validation(text.Draw(rt, "validation")),
			Writes:     rapid.SliceOf(write).Draw(rt, "writes"),
		}
		if rapid.Bool().Draw(rt, "has event") {
			tx.Event = &ledger.Event{Name: text.Draw(rt, "name"), Payload: some.Draw(rt, "payload")}
		}
		encoded := embedded.EncodeEntry(tx)
		decoded, err := embedded.DecodeEntry(encoded)
		if err != nil {
			rt.Fatal(err)
		}
		if len(tx.Args) == 0 {
			tx.Args = nil
		}
		if len(tx.Writes) == 0 {
			tx.Writes = nil
		}
		got, err1 := json.Marshal(decoded)
		want, err2 := json.Marshal(tx)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("decoded is %s, want %s, %v", got, want, err)
		}
		for n := range encoded {
			if _, err := embedded.DecodeEntry(encoded[:n]); !errors.Is(err, embedded.ErrDamaged) {
				rt.Fatalf("%d of %d bytes: %v", n, len(encoded), err)
			}
		}
		if _, err := embedded.DecodeEntry(append(encoded, 0)); !errors.Is(err, embedded.ErrDamaged) {
			rt.Fatalf("a byte too many: %v", err)
		}
	})
}

// FuzzDecodeEntry: no bytes make the decoder panic or allocate beyond them, and what it reads it reads the same again.
func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add(embedded.EncodeEntry(ledger.Transaction{
		ID: "35428c5113064155f3df4cd2d86a40d8e3bf6c37c4d08614121cdae35d56ea47", Validation: ledger.Valid,
		Contract: "c", Args: [][]byte{{1}}, Writes: []ledger.Write{{Contract: "c", Key: "k", Value: []byte("v")}, {Key: "d", Deleted: true}},
		Event: &ledger.Event{Name: "e"},
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := embedded.DecodeEntry(b)
		if err != nil {
			if !errors.Is(err, embedded.ErrDamaged) {
				t.Errorf("error is %v, want ErrDamaged", err)
			}
			return
		}
		again, err := embedded.DecodeEntry(embedded.EncodeEntry(tx))
		if err != nil {
			t.Fatal(err)
		}
		one, err1 := json.Marshal(tx)
		other, err2 := json.Marshal(again)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(one, other) {
			t.Errorf("read as %s, and again as %s, %v", one, other, err)
		}
	})
}
