package custody_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
)

// forms are the ways in which a secret could stand somewhere.
func forms(secret []byte) []string {
	numbers := strings.Trim(fmt.Sprint([]byte(secret)), "[]")
	return []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
		numbers, strings.ReplaceAll(numbers, " ", ","),
	}
}

// TestNoKeyMaterialAnywhere looks for each secret, in every form, in the database's files, the log, the errors and
// whatever prints a custody.
func TestNoKeyMaterialAnywhere(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		secrets := map[string][]byte{}
		var said bytes.Buffer
		for name, p := range posts {
			key := r.ensure(p.owner, p.role, p.slot)
			scalar, err := r.Scalar(t.Context(), key.ID)
			if err != nil {
				t.Fatal(err)
			}
			secrets["scalar of the "+name] = scalar
			for _, function := range []string{"Confirm", "Offer", "Ticket", "Register", "Anchor"} { // some signed, some refused
				b := bodies[function]
				ask := custody.Ask{Owner: p.owner, Slot: p.slot, Subject: function, Attempt: 1, NotAfter: until, Actor: "test"}
				sig, req, err := r.Sign(t.Context(), ask, b.of(p.owner, key.ID))
				fmt.Fprintln(&said, sig, req, err)
			}
			fmt.Fprintf(&said, "%v %+v %#v\n", key, key, key)
			possession, err := r.Possession(t.Context(), key.ID)
			fmt.Fprintf(&said, "%+v %v\n", possession, err)
		}
		session, err := r.LogIn(t.Context(), custody.Login{Participant: "c-0001", Role: request.Consumer}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&said, "%v %+v %#v\n", session, session, session)
		secrets["token"], secrets["stamp"] = []byte(session.Token), r.config().Stamp
		kek, err := r.KEK(1)
		if err != nil {
			t.Fatal(err)
		}
		secrets["key-encryption key"] = kek
		if secrets["root key"], err = os.ReadFile(r.root); err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			fmt.Fprintf(&said, verb+"\n", any(r.Custody))
		}

		r.hunt(secrets, map[string]string{"log": r.log.String(), "errors and prints": said.String()})
	})
}

// hunt fails the test if a secret, in any form, stands in the database or in one of some places more.
func (r *rig) hunt(secrets map[string][]byte, places map[string]string) {
	r.t.Helper()
	if r.cfg.Driver == model.SQLite {
		files, err := filepath.Glob(r.cfg.DSN + "*")
		if err != nil || len(files) < 2 {
			r.t.Fatalf("files of the database: %q, %v", files, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				r.t.Fatal(err)
			}
			places[filepath.Base(file)] = string(content)
		}
	} else {
		places["tables"] = r.dump()
	}
	// The search finds what is there.
	var head string
	if err := r.raw.QueryRowContext(r.t.Context(), `SELECT hash FROM custody_audit_head`).Scan(&head); err != nil {
		r.t.Fatal(err)
	}
	found := false
	for _, content := range places {
		found = found || strings.Contains(content, head)
	}
	if !found {
		r.t.Error("the search doesn't even find the audit's head")
	}
	for place, content := range places {
		for name, secret := range secrets {
			for _, form := range forms(secret) {
				if strings.Contains(content, form) {
					r.t.Errorf("the %s stands in %s", name, place)
				}
			}
		}
	}
}

// TestNoKeyMaterialOfALife looks for the same after all that happens to keys in years: many are made at once and kept in a
// journal, some are replaced, stopped and destroyed, the root goes to another file and into shares, and there are new
// key-encryption keys.
func TestNoKeyMaterialOfALife(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		var kept, said bytes.Buffer
		config := r.config()
		config.Keep = func(keys ...model.CustodyKey) error { return json.NewEncoder(&kept).Encode(keys) }
		under := func(root custody.RootKey) *custody.Custody {
			t.Helper()
			config.Root = root
			c, err := custody.Open(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.Close)
			return c
		}
		secrets := map[string][]byte{}
		c := under(config.Root)
		knows := func(id string) {
			t.Helper()
			scalar, err := c.Scalar(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			secrets["scalar of "+id] = scalar
		}
		renews := func(version int) {
			t.Helper()
			if n, err := c.NewKEK(t.Context(), "ops"); err != nil || n != version {
				t.Fatalf("%d, %v", n, err)
			}
			kek, err := c.KEK(version)
			if err != nil {
				t.Fatal(err)
			}
			secrets[fmt.Sprint("key-encryption key ", version)] = kek
			p, err := c.Rewrap(t.Context(), "server-1", false, nil)
			if err != nil || p.Left != 0 {
				t.Fatalf("%+v, %v", p, err)
			}
		}
		first, err := c.KEK(1)
		if err != nil {
			t.Fatal(err)
		}
		secrets["key-encryption key 1"] = first
		if secrets["root key"], err = os.ReadFile(r.root); err != nil {
			t.Fatal(err)
		}

		keys, _, err := c.Provision(t.Context(), owners(20), request.Consumer, custody.Account, "test")
		if err != nil {
			t.Fatal(err)
		}
		id := func(i int) string { return keys[i].Public.KeyID() }
		for i := range keys {
			knows(id(i))
		}
		for i := range 5 {
			if _, err := c.Replace(t.Context(), id(i), "ops-1"); err != nil {
				t.Fatal(err)
			}
			next, err := c.Prepare(t.Context(), id(i), "relay")
			if err != nil {
				t.Fatal(err)
			}
			if i == 4 {
				continue // that one waits through all that follows
			}
			if err := c.Follow(t.Context(), "tx", []custody.LedgerKey{
				{ID: next.ID, Status: custody.LedgerActive, Version: 1}, {ID: id(i), Status: custody.LedgerRotated, Version: 2},
			}); err != nil {
				t.Fatal(err)
			}
			knows(next.ID)
		}
		renews(2)
		if _, err := c.Revoke(t.Context(), id(6), "ops-1"); err != nil {
			t.Fatal(err)
		}
		if err := r.destroy(id(6)); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "next.key")
		next, err := custody.FileRoot(file, r.random)
		if err != nil {
			t.Fatal(err)
		}
		if secrets["next root key"], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		if err := c.RotateRoot(t.Context(), next, "ops"); err != nil {
			t.Fatal(err)
		}
		_, err = custody.Open(t.Context(), r.config())
		fmt.Fprintln(&said, "with the root before:", err)
		c = under(next)
		renews(3)
		if _, err := c.VerifyKeys(t.Context(), func(id, problem string) { t.Errorf("%s %s", id, problem) }); err != nil {
			t.Fatal(err)
		}
		r.exec(`UPDATE custody_keys SET wrapped = substr(wrapped, 1, 20) WHERE id = ?`, id(7))
		_, err = c.Scalar(t.Context(), id(7))
		fmt.Fprintln(&said, "a key that was cut:", err)

		root, shares := split(t, 3, 5)
		if err := c.RotateRoot(t.Context(), root, "ops"); err != nil {
			t.Fatal(err)
		}
		for _, s := range shares {
			secrets[fmt.Sprint("value of share ", s.Index)] = custody.ValueOf(s)
		}
		config.Root, config.Shares = nil, true
		opened, err := custody.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer opened.Close()
		for _, s := range []custody.Share{shares[0], shares[0], shares[3], shares[4]} {
			_, err := bring(t.Context(), opened, s)
			fmt.Fprintln(&said, "a share:", err)
		}
		fmt.Fprintf(&said, "%v %+v %#v\n", opened, opened, shares)
		if s, err := opened.SealStatus(t.Context()); err != nil || s.Sealed {
			t.Fatalf("%+v, %v", s, err)
		}
		if kept.Len() == 0 || len(secrets) < 30 {
			t.Errorf("%d bytes were kept, and there are %d secrets", kept.Len(), len(secrets))
		}
		r.hunt(secrets, map[string]string{"log": r.log.String(), "errors and prints": said.String(), "what was kept": kept.String()})
		r.nowhere(shares)
	})
}

// leaks fails the test if a private key or a key-encryption key of custody's stands in what processes have said, or in the
// database.
func (r *rig) leaks(said string) {
	r.t.Helper()
	secrets := map[string][]byte{}
	for _, id := range r.column(`SELECT id FROM custody_keys WHERE state <> 'destroyed' ORDER BY id LIMIT 50`) {
		scalar, err := r.Scalar(r.t.Context(), id)
		if err != nil {
			r.t.Fatal(err)
		}
		secrets["scalar of "+id] = scalar
	}
	for version := 1; version <= 50; version++ {
		if kek, err := r.KEK(version); err == nil {
			secrets[fmt.Sprint("key-encryption key ", version)] = kek
		}
	}
	if len(secrets) == 0 {
		r.t.Error("there is nothing to look for")
	}
	r.hunt(secrets, map[string]string{"what the processes said": said})
}

// dump reads every value of every table.
func (r *rig) dump() string {
	r.t.Helper()
	var out strings.Builder
	var tables []string
	if err := r.db.Read(r.t.Context(), func(tx *model.Tx) (err error) {
		tables, err = tx.TableNames()
		return err
	}); err != nil {
		r.t.Fatal(err)
	}
	for _, table := range tables {
		rows, err := r.raw.QueryContext(r.t.Context(), "SELECT * FROM "+table)
		if err != nil {
			r.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			r.t.Fatal(err)
		}
		for rows.Next() {
			values, into := make([][]byte, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				r.t.Fatal(err)
			}
			for _, value := range values {
				out.Write(value)
				out.WriteByte('\n')
			}
		}
		if err := rows.Err(); err != nil {
			r.t.Fatal(err)
		}
		rows.Close()
	}
	return out.String()
}
