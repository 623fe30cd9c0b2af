package custody_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"path/filepath"
	"testing"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/model/modeltest"
)

// TestAStolenDatabaseOpensNothing: all its rows, and a root key of the thief's own.
func TestAStolenDatabaseOpensNothing(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		thief := r.config()
		var err error
		if thief.Root, err = custody.FileRoot(filepath.Join(t.TempDir(), "thief.key"), rand.Reader); err != nil {
			t.Fatal(err)
		}
		if _, err := custody.Open(t.Context(), thief); !errors.Is(err, custody.ErrRootMismatch) {
			t.Errorf("another root: %v", err)
		}
		// He edits the row that says so.
		r.exec(`UPDATE custody_keks SET root_id = ?`, thief.Root.ID())
		if _, err := custody.Open(t.Context(), thief); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("another root that calls itself this one: %v", err)
		}
		// He exchanges the key-encryption key for one of his own.
		own := ownCustody(r)
		r.exec(`UPDATE custody_keks SET root_id = ?, wrapped = ?`, own.root, own.wrapped)
		thief.Root = own.config.Root
		if _, err := custody.Open(t.Context(), thief); !errors.Is(err, custody.ErrAuditBroken) {
			t.Errorf("another key-encryption key: %v", err)
		}
		// And the head of the audit, too.
		r.unguarded()
		r.exec(`UPDATE custody_audit_head SET seq = ?, hash = ?, seal = ?`, own.seq, own.hash, own.seal)
		c, err := custody.Open(t.Context(), thief)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Scalar(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("the key: %v", err)
		}
		ask, body := confirm("trade-1")
		if _, _, err := c.Sign(t.Context(), ask, body); err == nil {
			t.Error("the thief signs")
		}
	})
}

// spoils is what a thief takes from a custody of his own, to put it into another.
type spoils struct {
	config        custody.Config
	root, hash    string
	wrapped, seal []byte
	seq           int
}

// ownCustody makes a thief's custody, on the same engine.
func ownCustody(r *rig) spoils {
	r.t.Helper()
	own := newRig(r.t)
	s := spoils{config: own.config()}
	s.root = s.config.Root.ID()
	row := own.raw.QueryRowContext(r.t.Context(), `SELECT k.wrapped, h.seq, h.hash, h.seal FROM custody_keks k, custody_audit_head h`)
	if err := row.Scan(&s.wrapped, &s.seq, &s.hash, &s.seal); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// TestEditedRowsDontOpen: whatever is changed in the row of a key by someone who has the database.
func TestEditedRowsDontOpen(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.unguarded()
		for i, edit := range []struct {
			name string
			does func(mine, other string)
			want *custody.Error
		}{
			{"envelopes exchanged", func(mine, other string) { r.swap("wrapped", mine, other) }, custody.ErrKeyUnreadable},
			{"public keys exchanged", func(mine, other string) { r.swap("public", mine, other) }, custody.ErrKeyUnreadable},
			{"more functions", func(mine, _ string) {
				r.exec(`UPDATE custody_keys SET functions = '["Confirm","Decline","Return","Cancel","Offer"]' WHERE id = ?`, mine)
			}, custody.ErrKeyUnreadable},
			{"another order of functions", func(mine, _ string) {
				r.exec(`UPDATE custody_keys SET functions = '["Decline","Confirm","Return","Cancel"]' WHERE id = ?`, mine)
			}, custody.ErrKeyUnreadable},
			{"another role", func(mine, _ string) { r.exec(`UPDATE custody_keys SET role = 'distributor' WHERE id = ?`, mine) }, custody.ErrUnauthorised},
			{"another kind", func(mine, _ string) { r.exec(`UPDATE custody_keys SET kind = 'platform' WHERE id = ?`, mine) }, custody.ErrKeyUnreadable},
			{"another version", func(mine, _ string) { r.exec(`UPDATE custody_keys SET version = 7 WHERE id = ?`, mine) }, custody.ErrKeyUnreadable},
			{"a byte of the envelope", func(mine, other string) {
				var sealed []byte
				if err := r.raw.QueryRowContext(t.Context(), `SELECT wrapped FROM custody_keys WHERE id = ?`, mine).Scan(&sealed); err != nil {
					t.Fatal(err)
				}
				sealed[len(sealed)-1] ^= 1
				r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, sealed, mine)
			}, custody.ErrKeyUnreadable},
			{"no envelope", func(mine, _ string) { r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, []byte{}, mine) }, custody.ErrKeyUnreadable},
			{"a function less", func(mine, _ string) { r.exec(`UPDATE custody_keys SET functions = '["Decline"]' WHERE id = ?`, mine) }, custody.ErrFunction},
			{"a role that isn't", func(mine, _ string) { r.exec(`UPDATE custody_keys SET role = 'god' WHERE id = ?`, mine) }, custody.ErrPost},
		} {
			mine := r.ensure("c-1"+string(rune('a'+i))+"-mine", custody.Machine, custody.Account)
			other := r.ensure("c-1"+string(rune('a'+i))+"-other", custody.Machine, custody.Account)
			edit.does(mine.ID, other.ID)
			ask, body := confirm("trade-" + edit.name[:1] + string(rune('a'+i)))
			ask.Owner, body.Receiver = mine.Owner, mine.Owner
			sig, _, err := r.Sign(t.Context(), ask, body)
			if !errors.Is(err, edit.want) || sig.Bytes != nil {
				t.Errorf("%s: %v, want %v", edit.name, err, edit.want)
			}
		}
		// A row that is given to another owner whole.
		mine := r.ensure("c-3000", custody.Machine, custody.Account)
		r.exec(`UPDATE custody_keys SET owner = 'c-0001' WHERE id = ?`, mine.ID)
		ask, body := confirm("trade-9")
		if _, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("another owner: %v", err)
		}
		r.whole()
	})
}

// swap exchanges a column of two keys.
func (r *rig) swap(column, a, b string) {
	r.t.Helper()
	var of [2][]byte
	for i, id := range []string{a, b} {
		if err := r.raw.QueryRowContext(r.t.Context(), `SELECT `+column+` FROM custody_keys WHERE id = ?`, id).Scan(&of[i]); err != nil {
			r.t.Fatal(err)
		}
	}
	r.exec(`UPDATE custody_keys SET `+column+` = ? WHERE id = ?`, of[1], a)
	r.exec(`UPDATE custody_keys SET `+column+` = ? WHERE id = ?`, of[0], b)
}

// TestOpenTogether: several servers start on one empty database, and each can use what another one makes.
func TestOpenTogether(t *testing.T) {
	t.Run(modeltest.Engine(t), func(t *testing.T) {
		t.Parallel()
		r := bareRig(t)
		config := r.config()
		type opened struct {
			c   *custody.Custody
			err error
		}
		results := make(chan opened)
		const servers = 8
		for range servers {
			go func() {
				c, err := custody.Open(t.Context(), config)
				results <- opened{c, err}
			}()
		}
		var all []*custody.Custody
		for range servers {
			got := <-results
			if got.err != nil {
				t.Fatal(got.err)
			}
			defer got.c.Close()
			all = append(all, got.c)
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_keks`); n != 1 {
			t.Errorf("%d key-encryption keys", n)
		}
		if _, err := all[0].Ensure(t.Context(), custody.Post{Owner: "c-0001", Role: custody.Machine, Slot: custody.Account}, "test"); err != nil {
			t.Fatal(err)
		}
		for i, c := range all {
			ask, body := confirm("trade-" + string(rune('a'+i)))
			if _, _, err := c.Sign(t.Context(), ask, body); err != nil {
				t.Errorf("server %d: %v", i, err)
			}
		}
		if report, err := all[0].VerifyAudit(t.Context(), custody.VerifyOptions{}); err != nil || report.Err() != nil {
			t.Error(err, report.Err())
		}
	})
}

func TestOpenWantsEverything(t *testing.T) {
	r := newRig(t)
	for name, change := range map[string]func(*custody.Config){
		"database":   func(c *custody.Config) { c.DB = nil },
		"root key":   func(c *custody.Config) { c.Root = nil },
		"choice":     func(c *custody.Config) { c.Shares = true },
		"channel":    func(c *custody.Config) { c.Channel = "" },
		"clock":      func(c *custody.Config) { c.Clock = nil },
		"randomness": func(c *custody.Config) { c.Random = nil },
	} {
		config := r.config()
		change(&config)
		if _, err := custody.Open(t.Context(), config); err == nil {
			t.Errorf("opened without a %s", name)
		}
	}
	config := r.config()
	config.Logger, config.Metrics = nil, custody.Metrics{}
	c, err := custody.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask, body := confirm("trade-1")
	body.Receiver = "c-0002"
	r.ensure("c-0001", custody.Machine, custody.Account)
	if _, _, err := c.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrOwner) {
		t.Errorf("without logger and metrics: %v", err)
	}
}

// TestEnvelopesOfOtherVersions: an envelope that was replaced doesn't open in its row any more, nor one of a newer
// key-encryption key before its time.
func TestEnvelopesOfOtherVersions(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.unguarded()
		key := r.ensure("c-0001", custody.Machine, custody.Account)
		envelope := func() (sealed []byte) {
			if err := r.raw.QueryRowContext(t.Context(), `SELECT wrapped FROM custody_keys WHERE id = ?`, key.ID).Scan(&sealed); err != nil {
				t.Fatal(err)
			}
			return sealed
		}
		old := envelope()
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Rewrap(t.Context(), "server-1", false, nil); err != nil {
			t.Fatal(err)
		}
		now := envelope()
		for name, put := range map[string]func(){
			"replayed":               func() { r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, old, key.ID) },
			"of the newer, as older": func() { r.exec(`UPDATE custody_keys SET kek_version = 1 WHERE id = ?`, key.ID) },
		} {
			put()
			if _, err := r.Scalar(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) {
				t.Errorf("%s: %v", name, err)
			}
			r.exec(`UPDATE custody_keys SET wrapped = ?, kek_version = 2 WHERE id = ?`, now, key.ID)
		}
		for cut := range now {
			r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, now[:cut], key.ID)
			if _, err := r.Scalar(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) {
				t.Errorf("cut at %d: %v", cut, err)
			}
		}
		r.exec(`UPDATE custody_keys SET wrapped = ? WHERE id = ?`, now, key.ID)
		// Key-encryption keys, exchanged.
		one, two := r.wrappedKEK(1), r.wrappedKEK(2)
		r.exec(`UPDATE custody_keks SET wrapped = ? WHERE version = 1`, two)
		r.exec(`UPDATE custody_keks SET wrapped = ? WHERE version = 2`, one)
		if _, err := custody.Open(t.Context(), r.config()); !errors.Is(err, custody.ErrKeyUnreadable) {
			t.Errorf("key-encryption keys exchanged: %v", err)
		}
	})
}

func (r *rig) wrappedKEK(version int) (wrapped []byte) {
	r.t.Helper()
	if err := r.raw.QueryRowContext(r.t.Context(), `SELECT wrapped FROM custody_keks WHERE version = ?`, version).Scan(&wrapped); err != nil {
		r.t.Fatal(err)
	}
	return wrapped
}

// FuzzEnvelope: bytes that somebody put in the place of an envelope don't open, whatever they are, and nothing panics;
// neither in the row of a key nor in that of a key-encryption key.
func FuzzEnvelope(f *testing.F) {
	r := newRig(f)
	key := r.ensure("c-0001", custody.Machine, custody.Account)
	var sealed []byte
	if err := r.raw.QueryRowContext(f.Context(), `SELECT wrapped FROM custody_keys WHERE id = ?`, key.ID).Scan(&sealed); err != nil {
		f.Fatal(err)
	}
	r.unguarded()
	root, kek := r.config().Root, r.wrappedKEK(1)
	f.Add([]byte{})
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add(kek)
	f.Add(bytes.Repeat([]byte{0}, 28))
	f.Fuzz(func(t *testing.T, put []byte) {
		if got, err := root.Unwrap(t.Context(), put, []byte("ad")); !errors.Is(err, gm.ErrOpen) || got != nil {
			t.Errorf("as a key-encryption key: %v", err)
		}
		if put == nil {
			put = []byte{} // the column takes no null
		}
		if _, err := r.raw.ExecContext(t.Context(), `UPDATE custody_keys SET wrapped = ? WHERE id = ?`, put, key.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Scalar(t.Context(), key.ID); !errors.Is(err, custody.ErrKeyUnreadable) && !bytes.Equal(put, sealed) {
			t.Errorf("as a key: %v", err)
		}
	})
}
