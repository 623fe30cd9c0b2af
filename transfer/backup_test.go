package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"filippo.io/age"

	"cardflow/model"
	"cardflow/transfer/backup"
)

// taken is a bundle of a rig, and the key for it.
func (r *rig) taken() ([]byte, *age.X25519Identity) {
	r.t.Helper()
	key := must2(age.GenerateX25519Identity())(r.t)
	var bundle bytes.Buffer
	_, _, err := backup.Take(r.ctx, &bundle, backup.Kit{Recipient: key.Recipient().String(), Sealed: []byte("sealed"), Set: "0123456789abcdef", Threshold: 3, Shares: 5}, backup.Source{
		DB: r.db, Channel: "test", DataKey: r.path("data.key"), Journals: []string{r.path("journal")}, Ledger: r.file.CopyTo,
	}, nil)
	check(r.t, err)
	return bundle.Bytes(), key
}

// empty is a machine on which there is nothing yet but custody's root key, which no bundle has.
func (r *rig) empty(t *testing.T) (*rig, backup.Place) {
	t.Helper()
	n := rigOn(t)
	n.clock = r.clock
	n.ctx = context.Background()
	check(t, os.WriteFile(n.path("root.key"), must2(os.ReadFile(r.path("root.key")))(t), 0o600))
	n.db = must2(model.Open(n.ctx, n.place.Config))(t)
	t.Cleanup(func() { _ = n.db.Close() })
	must2(n.db.Migrate(n.ctx))(t)
	return n, backup.Place{DB: n.db, Channel: "test", DataKey: n.path("data.key"), Journal: n.path("journal"), Ledger: n.path("ledger")}
}

func restore(r io.Reader, key age.Identity, p backup.Place) error {
	b, err := backup.Open(r)
	if err == nil {
		_, _, err = b.Restore(context.Background(), key, p, nil)
	}
	return err
}

// An empty machine goes on from a bundle: database and ledger agree, what was under way ends, and who had something to
// confirm confirms it.
func TestRestoreOnAnEmptyMachine(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	ann := r.consumer("ann")
	trades := r.each(retailer, 1, 3)
	again := idem("second")
	first, err := r.Confirm(r.ctx, ann, idem("first"), trades[0].TradeID, trades[0].Code, last6(1))
	check(t, err)
	r.await(first, "")
	second, err := r.Confirm(r.ctx, ann, again, trades[1].TradeID, trades[1].Code, last6(2))
	check(t, err)
	bundle, key := r.taken()
	r.await(second, "")

	n, place := r.empty(t)
	check(t, restore(bytes.NewReader(bundle), key, place))
	check(t, n.db.Close())
	n.start(t)
	n.until("it has been reconciled", func() bool {
		var stage model.RestoreStage
		check(t, n.db.Read(n.ctx, func(tx *model.Tx) error {
			s, err := tx.Restoration()
			stage = s.Stage
			return err
		}))
		return stage == model.RestoreReconciled
	})
	n.noneUnfinished()
	same, err := n.Confirm(n.ctx, ann, again, trades[1].TradeID, trades[1].Code, last6(2))
	check(t, err)
	if same.ID != second.ID {
		t.Errorf("asked again, it is another act: %s and %s", second.ID, same.ID)
	}
	act, err := n.Confirm(n.ctx, ann, idem("third"), trades[2].TradeID, trades[2].Code, last6(3))
	check(t, err)
	n.await(act, "")
	n.fsck()
}

// A bundle that is not what it was, or not for here, changes nothing.
func TestBundleThatIsNotRestored(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	r.each(retailer, 1, 20)
	bundle, key := r.taken()
	header := bytes.Index(bundle, []byte("age-encryption.org"))
	stranger := must2(age.GenerateX25519Identity())(t)
	flipped := func(at int) []byte {
		b := slices.Clone(bundle)
		b[at] ^= 1
		return b
	}
	for _, c := range []struct {
		name   string
		bundle []byte
		key    age.Identity
		place  func(*backup.Place)
		before func(*rig)
		want   error
	}{
		{name: "another recovery key", key: stranger, want: backup.ErrNotForKey},
		{name: "empty", bundle: []byte{}, want: backup.ErrNoBundle},
		{name: "no bundle", bundle: []byte("cardflow backup 1\nhello\n"), want: backup.ErrNoBundle},
		{name: "cut in its first line", bundle: bundle[:7], want: backup.ErrNoBundle},
		{name: "cut in its second line", bundle: bundle[:60], want: backup.ErrNoBundle},
		{name: "cut in its header", bundle: bundle[:header+60], want: backup.ErrNoBundle},
		{name: "cut in the middle", bundle: bundle[:len(bundle)/2], want: backup.ErrDamaged},
		{name: "its last byte cut", bundle: bundle[:len(bundle)-1], want: backup.ErrDamaged},
		{name: "cut at the border of a chunk", bundle: bundle[:chunkBorder(bundle)], want: backup.ErrDamaged},
		{name: "one bit altered", bundle: flipped(len(bundle) / 2), want: backup.ErrDamaged},
		{name: "one bit altered in its header", bundle: flipped(header + 3), want: backup.ErrNoBundle},
		{name: "something follows", bundle: append(slices.Clone(bundle), 0), want: backup.ErrDamaged},
		{name: "another channel", place: func(p *backup.Place) { p.Channel = "other" }, want: backup.ErrOtherLedger},
		{name: "a network's ledger", place: func(p *backup.Place) { p.Ledger = "" }, want: backup.ErrOtherLedger},
		{name: "a database in use", want: backup.ErrOccupied, before: func(n *rig) {
			check(t, n.db.Write(n.ctx, func(tx *model.Tx) error { return tx.SetCheckpoint("ledger", 1, "x") }))
		}},
		{name: "a journal that is there", want: backup.ErrOccupied, before: func(n *rig) {
			check(t, os.WriteFile(n.path("journal"), []byte("x"), 0o600))
		}},
		{name: "another data key that is there", want: backup.ErrOccupied, before: func(n *rig) {
			check(t, os.WriteFile(n.path("data.key"), make([]byte, 32), 0o600))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, place := r.empty(t)
			if c.place != nil {
				c.place(&place)
			}
			if c.before != nil {
				c.before(n)
			}
			from, with := c.bundle, c.key
			if from == nil {
				from = bundle
			}
			if with == nil {
				with = key
			}
			if err := restore(bytes.NewReader(from), with, place); !errors.Is(err, c.want) {
				t.Fatalf("it says %v, want %v", err, c.want)
			}
			for _, file := range []string{"ledger", "journal"} {
				if info, err := os.Stat(n.path(file)); err == nil && info.Size() > 1 {
					t.Errorf("%s is there", file)
				}
			}
			// Nobody starts on it, unless nothing was done.
			check(t, n.db.Read(n.ctx, func(tx *model.Tx) error {
				s, err := tx.Restoration()
				if s.Stage == model.RestoreLoaded || s.Stage == model.RestoreReconciled {
					t.Errorf("the database says that it is whole")
				}
				return err
			}))
		})
	}
}

// chunkBorder is where an age file's payload has been encrypted for a whole number of chunks: at its header's end and the
// nonce's, and 64 KiB and a tag further on for each.
func chunkBorder(bundle []byte) int {
	header := bytes.Index(bundle, []byte("\n--- "))
	payload := header + 1 + bytes.IndexByte(bundle[header+1:], '\n') + 1 + 16
	return payload + (64<<10 + 16)
}

// A restore that was killed anywhere goes on from there with the same bundle, and with no other.
func TestRestoreKilledAnywhere(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.issue(1, 100)
	bundle, key := r.taken()
	other, otherKey := r.taken()
	n, place := r.empty(t)
	died := 0
	for at := int64(2000); ; at += int64(len(bundle)) / 9 {
		err := restore(io.MultiReader(io.LimitReader(bytes.NewReader(bundle), at), failing{}), key, place)
		if at >= int64(len(bundle)) {
			if err == nil {
				break
			}
			check(t, restore(bytes.NewReader(bundle), key, place))
			break
		}
		if err == nil {
			t.Fatalf("it is whole, of %d bytes of %d", at, len(bundle))
		}
		died++
		var stage model.RestoreStage
		check(t, n.db.Read(n.ctx, func(tx *model.Tx) error {
			s, err := tx.Restoration()
			stage = s.Stage
			return err
		}))
		if stage == model.RestoreLoading {
			if err := restore(bytes.NewReader(other), otherKey, place); !errors.Is(err, backup.ErrOccupied) {
				t.Errorf("another bundle, in the middle of this one: %v", err)
			}
		}
	}
	if died < 5 {
		t.Errorf("it was killed %d times", died)
	}
	if err := restore(bytes.NewReader(bundle), key, place); !errors.Is(err, backup.ErrOccupied) {
		t.Errorf("once more: %v", err)
	}
	check(t, n.db.Close())
	n.start(t)
	n.fsck()
}

// failing is a disk that has died.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, fmt.Errorf("input/output error") }

// What the one engine gave out the other one takes in, row by row: a drill on a laptop shows what a restore of the real
// database would.
func TestRestoreOnTheOtherEngine(t *testing.T) {
	t.Parallel()
	r := newStocked(t)
	r.confirm(r.consumer("ann"), r.each(retailer, 1, 2)[0], 1)
	bundle, key := r.taken()
	lite := must2(model.Open(t.Context(), model.Config{Driver: model.SQLite, DSN: r.path("lite.db")}))(t)
	t.Cleanup(func() { check(t, lite.Close()) })
	must2(lite.Migrate(t.Context()))(t)
	check(t, restore(bytes.NewReader(bundle), key, backup.Place{
		DB: lite, Channel: "test", DataKey: r.path("lite/data.key"), Journal: r.path("lite/journal"), Ledger: r.path("lite/ledger"),
	}))
	n, place := r.empty(t)
	check(t, restore(bytes.NewReader(bundle), key, place))
	one, other := contents(t, lite), contents(t, n.db)
	if one == "" || one != other {
		t.Errorf("they differ:\n%s\n%s", one, other)
	}
}

// contents are the tables of a database, and a digest of the rows of each.
func contents(t *testing.T, db *model.DB) (all string) {
	t.Helper()
	check(t, db.Read(t.Context(), func(tx *model.Tx) error {
		tables, err := tx.Tables()
		for _, table := range tables {
			digest, rows := sha256.New(), 0
			err = errors.Join(err, tx.EachRow(table, func(row []any) error {
				rows++
				for _, v := range row {
					fmt.Fprintf(digest, "%T %v|", v, v)
				}
				return nil
			}))
			all += fmt.Sprintf("%s: %d rows, %x\n", table.Name, rows, digest.Sum(nil))
		}
		return err
	}))
	return all
}
