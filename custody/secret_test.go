package custody_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
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

		places := map[string]string{"log": r.log.String(), "errors and prints": said.String()}
		if r.cfg.Driver == model.SQLite {
			files, err := filepath.Glob(r.cfg.DSN + "*")
			if err != nil || len(files) < 2 {
				t.Fatalf("files of the database: %q, %v", files, err)
			}
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				places[filepath.Base(file)] = string(content)
			}
		} else {
			places["tables"] = r.dump()
		}
		// The search finds what is there.
		key := r.ensure("c-0001", request.Consumer, custody.Account)
		found := false
		for _, content := range places {
			found = found || strings.Contains(content, string(key.Public.Bytes()))
		}
		if !found {
			t.Error("the search doesn't even find a public key")
		}
		for place, content := range places {
			for name, secret := range secrets {
				for _, form := range forms(secret) {
					if strings.Contains(content, form) {
						t.Errorf("the %s stands in %s", name, place)
					}
				}
			}
		}
	})
}

// dump reads every value of the custody's tables.
func (r *rig) dump() string {
	r.t.Helper()
	var out strings.Builder
	for _, table := range []string{"custody_keks", "custody_keys", "custody_signatures", "custody_audit", "custody_audit_head", "custody_sessions", "custody_authorisations", "custody_roots", "custody_waiting", "custody_next_root"} {
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
