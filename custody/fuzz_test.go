package custody_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/ledger/request"
	"cardflow/model"
)

// Whatever reads key material: bytes that somebody has put in the place of what custody wrote. It is refused by name, gives
// nothing away, and nothing panics. See FuzzEnvelope, FuzzParseShare and FuzzVerifyExport, too.

// FuzzCombine: shares whose set and checksum are right, because somebody made them so, and whose values are anything.
func FuzzCombine(f *testing.F) {
	root, shares := split(f, 2, 3)
	f.Add(custody.ValueOf(shares[0]), custody.ValueOf(shares[1]))
	f.Add([]byte{}, []byte{1})
	f.Add(bytes.Repeat([]byte{0xff}, 32), make([]byte, 32))
	f.Add(custody.ValueOf(shares[1]), bytes.Repeat([]byte{0}, 33))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		made := []custody.Share{custody.WithValue(shares[0], one), custody.WithValue(shares[1], two)}
		got, err := custody.Combine(made)
		switch right := bytes.Equal(one, custody.ValueOf(shares[0])) && bytes.Equal(two, custody.ValueOf(shares[1])); {
		case err == nil && got.ID() != root.ID():
			t.Error("another root, of the same set")
		case right != (err == nil):
			t.Errorf("right: %v, %v", right, err)
		case err != nil && !errors.Is(err, custody.ErrSharesWrong):
			t.Errorf("%v", err)
		}
	})
}

// FuzzFileRoot: a file that somebody put where the root key is.
func FuzzFileRoot(f *testing.F) {
	name := filepath.Join(f.TempDir(), "root.key")
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{7}, custody.RootSize))
	f.Add(bytes.Repeat([]byte{7}, custody.RootSize+1))
	f.Add([]byte(strings.Repeat("07", custody.RootSize)))
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		root, err := custody.FileRoot(name, rand.Reader)
		if (err == nil) != (len(content) == custody.RootSize) || err != nil && !errors.Is(err, custody.ErrRootFile) {
			t.Errorf("%d bytes: %v", len(content), err)
		}
		if err != nil && len(content) > 8 && strings.Contains(err.Error(), string(content)) {
			t.Error("the error repeats it")
		}
		if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, content) {
			t.Errorf("it was written over: %v", err)
		}
		if root != nil {
			if sealed, err := root.Wrap(t.Context(), rand.Reader, gm.Secret("0123456789abcdef"), nil); err != nil || len(sealed) == 0 {
				t.Errorf("a root that seals nothing: %v", err)
			}
		}
	})
}

// FuzzKeyRow: what stands beside the envelope in a key's row, and is bound to it.
func FuzzKeyRow(f *testing.F) {
	r := newRig(f)
	key := r.ensure("c-0001", custody.Machine, custody.Account)
	r.unguarded()
	type row struct {
		functions, role, kind, slot string
		public                      []byte
		version                     int
	}
	var was row
	if err := r.raw.QueryRowContext(f.Context(), `SELECT functions, role, kind, slot, public, version FROM custody_keys WHERE id = ?`, key.ID).
		Scan(&was.functions, &was.role, &was.kind, &was.slot, &was.public, &was.version); err != nil {
		f.Fatal(err)
	}
	add := func(x row) { f.Add(x.functions, x.role, x.kind, x.slot, x.public, x.version) }
	add(was)
	for _, functions := range []string{``, `[]`, `null`, `{}`, `["Confirm"`, `["Confirm",1]`, `["Confirm","Offer"]`, `"Confirm"`} {
		x := was
		x.functions = functions
		add(x)
	}
	for _, public := range [][]byte{{}, was.public[:64], bytes.Repeat([]byte{0}, 65), append([]byte{2}, was.public[1:33]...)} {
		x := was
		x.public = public
		add(x)
	}
	f.Fuzz(func(t *testing.T, functions, role, kind, slot string, public []byte, version int) {
		if public == nil {
			public = []byte{}
		}
		if version < 1 || version > 1<<30 {
			version = 1
		}
		if _, err := r.raw.ExecContext(t.Context(), `UPDATE custody_keys SET functions = ?, role = ?, kind = ?, slot = ?, public = ?, version = ? WHERE id = ?`,
			functions, role, kind, slot, public, version, key.ID); err != nil {
			return // the columns take no such thing
		}
		same := functions == was.functions && role == was.role && kind == was.kind && slot == was.slot && bytes.Equal(public, was.public) && version == was.version
		scalar, err := r.Scalar(t.Context(), key.ID)
		if (err == nil) != same && !sameList(functions, was.functions) {
			t.Errorf("functions %q, role %q, kind %q, slot %q, public %x, version %d: %v", functions, role, kind, slot, public, version, err)
		}
		if err != nil && scalar != nil {
			t.Error("refused, and given away")
		}
	})
}

// sameList tells whether two texts are one list of functions, written in two ways.
func sameList(a, b string) bool {
	var one, two []string
	return json.Unmarshal([]byte(a), &one) == nil && json.Unmarshal([]byte(b), &two) == nil && slices.Equal(one, two)
}

// FuzzNextRoot: the row of a root that waits for two people. Nothing that custody hasn't written takes over.
func FuzzNextRoot(f *testing.F) {
	r := newRig(f)
	r.staff()
	next := r.prepared("next.key")
	var keks string
	var seal []byte
	if err := r.raw.QueryRowContext(f.Context(), `SELECT keks, seal FROM custody_next_root`).Scan(&keks, &seal); err != nil {
		f.Fatal(err)
	}
	f.Add(keks, seal)
	f.Add(strings.Replace(keks, `:1`, `:2`, 1), seal)
	f.Add(`[]`, seal)
	f.Add(`null`, []byte{})
	f.Add(`{"`, seal[:len(seal)-1])
	n := 0
	f.Fuzz(func(t *testing.T, put string, sealed []byte) {
		if sealed == nil {
			sealed = []byte{}
		}
		if _, err := r.raw.ExecContext(t.Context(), `UPDATE custody_next_root SET keks = ?, seal = ?`, put, sealed); err != nil {
			return
		}
		n++
		p, err := r.Propose(t.Context(), custody.Draft{Person: "p-li", Name: fmt.Sprint("wish-", n), Operation: custody.OperationRotateRoot, Arguments: []byte(toRoot(next)), Reason: "试"})
		if same := put == keks && bytes.Equal(sealed, seal); same != (err == nil) || err != nil && !errors.Is(err, custody.ErrRootNotPrepared) {
			t.Errorf("as it was: %v; %v", same, err)
		}
		if err == nil {
			if _, err := r.Withdraw(t.Context(), "p-li", p.ID, "试"); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzAnchors: a file of anchors that an auditor was given.
func FuzzAnchors(f *testing.F) {
	var file bytes.Buffer
	if err := custody.WriteAnchor(&file, model.AuditAnchor{Stream: custody.AuditStream, Sequence: 7, Digest: strings.Repeat("ab", 32), TxID: "tx", BlockNumber: 3, At: 5}); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"sequence":1}{"sequence":2}`))
	f.Add([]byte(`{"sequence":1e400}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := custody.ReadAnchors(bytes.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		for _, a := range list {
			if a.Sequence < 1 {
				t.Errorf("%+v", a)
			}
			if err := custody.WriteAnchor(&out, a); err != nil {
				t.Error(err)
			}
		}
		if again, err := custody.ReadAnchors(&out); err != nil || !slices.Equal(again, list) {
			t.Errorf("written again it is another one: %v", err)
		}
	})
}

// FuzzLoginToken: what somebody sends for the token of a login.
func FuzzLoginToken(f *testing.F) {
	r := newRig(f)
	r.ensure("c-0001", request.Consumer, custody.Account)
	s, err := r.LogIn(f.Context(), custody.Login{Participant: "c-0001", Role: request.Consumer}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(s.Token))
	f.Add("")
	f.Add(string(s.Token)[1:])
	f.Add(string(s.Token) + "=")
	f.Add(strings.Repeat("A", 100_000))
	f.Fuzz(func(t *testing.T, token string) {
		_, err := r.Session(t.Context(), custody.LoginToken(token))
		if right := token == string(s.Token); right != (err == nil) || err != nil && (!errors.Is(err, custody.ErrSessionOver) || len(token) > 8 && strings.Contains(err.Error(), token)) {
			t.Errorf("%v", err)
		}
	})
}

// TestSuccessorEnvelopes: the envelope of a key that waits to take over opens in its own row only, and whole. It is not
// signed with when it has taken over, whoever exchanged it, nor rewrapped; and that of the key before it doesn't open in the
// row of the next version.
func TestSuccessorEnvelopes(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.unguarded()
		var n int
		for name, edit := range map[string]func(old, next, other string){
			"of another owner's": func(_, next, other string) {
				r.exec(`UPDATE custody_successors SET wrapped = ? WHERE id = ?`, r.bytes(`SELECT wrapped FROM custody_successors WHERE id = ?`, other), next)
			},
			"of the version before": func(old, next, _ string) {
				r.exec(`UPDATE custody_successors SET wrapped = ? WHERE id = ?`, r.bytes(`SELECT wrapped FROM custody_keys WHERE id = ?`, old), next)
			},
			"of the version before, with its public key": func(old, next, _ string) {
				r.exec(`UPDATE custody_successors SET wrapped = ?, public = ? WHERE id = ?`, r.bytes(`SELECT wrapped FROM custody_keys WHERE id = ?`, old),
					r.bytes(`SELECT public FROM custody_keys WHERE id = ?`, old), next)
			},
			"cut": func(_, next, _ string) {
				sealed := r.bytes(`SELECT wrapped FROM custody_successors WHERE id = ?`, next)
				r.exec(`UPDATE custody_successors SET wrapped = ? WHERE id = ?`, sealed[:len(sealed)-1], next)
			},
			"with more functions": func(_, next, _ string) {
				r.exec(`UPDATE custody_successors SET functions = '["Confirm","Decline","Return","Cancel","Offer","Issue"]' WHERE id = ?`, next)
			},
		} {
			n++
			waits := func(owner string) (old, next string) {
				old = r.ensure(owner, custody.Machine, custody.Account).ID
				if _, err := r.Replace(t.Context(), old, "ops-1"); err != nil {
					t.Fatal(err)
				}
				k, err := r.Prepare(t.Context(), old, "relay")
				if err != nil {
					t.Fatal(err)
				}
				return old, k.ID
			}
			owner := fmt.Sprintf("c-%04d", n)
			old, next := waits(owner)
			_, other := waits(owner + "-other")
			edit(old, next, other)
			if err := r.Follow(t.Context(), "tx", []custody.LedgerKey{{ID: next, Status: custody.LedgerActive, Version: 1}, {ID: old, Status: custody.LedgerRotated, Version: 2}}); err != nil {
				t.Errorf("%s: what the ledger says must be followed: %v", name, err)
			}
			ask, body := confirmBy(owner)
			if sig, _, err := r.Sign(t.Context(), ask, body); !errors.Is(err, custody.ErrKeyUnreadable) || sig.Bytes != nil {
				t.Errorf("%s: it signs: %v", name, err)
			}
		}
		if _, err := r.NewKEK(t.Context(), "ops"); err != nil {
			t.Fatal(err)
		}
		if p, err := r.Rewrap(t.Context(), "server-1", false, nil); err != nil || p.Unreadable != int64(n) {
			t.Errorf("rewrapped: %+v, %v", p, err)
		}
		r.whole()
	})
}

func (r *rig) bytes(query string, args ...any) (value []byte) {
	r.t.Helper()
	if err := r.raw.QueryRowContext(r.t.Context(), query, args...).Scan(&value); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return value
}
