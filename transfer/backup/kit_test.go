package backup

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"cardflow/model"
)

// FuzzKit: a file that somebody calls a recovery kit, and a bundle's head. What is taken can be shown on a terminal, names a
// recipient, and waits for as many shares as there can be.
func FuzzKit(f *testing.F) {
	forger := newForger(f)
	whole, err := json.Marshal(forger.kit())
	must(f, err)
	f.Add(whole)
	f.Add([]byte("{}"))
	f.Add(bytes.Replace(whole, []byte(`3`), []byte(`-3`), 1))
	f.Add(bytes.Replace(whole, []byte("age1"), []byte("age1pq"), 1))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ReadKit(bytes.NewReader(text))
		b, inBundle := Open(strings.NewReader(magic + string(text) + "\n"))
		if (inBundle == nil) != (err == nil) && !bytes.ContainsRune(text, '\n') {
			t.Errorf("as a file: %v, at the head of a bundle: %v", err, inBundle)
		}
		if err != nil {
			return
		}
		if k.Threshold < 2 || k.Threshold > k.Shares || len(k.Set) != 16 || len(k.Sealed) == 0 || strings.ContainsAny(k.Set, "\x1b\r\n") {
			t.Errorf("taken: %+v", k)
		}
		if _, err := k.recipient(); err != nil {
			t.Errorf("nobody can be encrypted for: %v", err)
		}
		if b != nil && b.Kit.Recipient != k.Recipient {
			t.Error("another one at the head of a bundle")
		}
	})
}

// FuzzIdentity: what the holders' shares have opened, and is no recovery key.
func FuzzIdentity(f *testing.F) {
	forger := newForger(f)
	f.Add([]byte(forger.key.String()))
	f.Add([]byte(""))
	f.Add([]byte("AGE-SECRET-KEY-1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := ParseIdentity(text)
		if (err == nil) != (id != nil) {
			t.Errorf("%v, %v", id, err)
		}
		if err != nil && len(text) > 16 && strings.Contains(err.Error(), string(text)) {
			t.Error("the error repeats it")
		}
	})
}

// FuzzRow: a row of a bundle, such as that of a custodial key. What is taken fits its columns, and is what was written.
func FuzzRow(f *testing.F) {
	table := model.Table{Name: "custody_keys", Columns: []model.Column{{Name: "id", Kind: model.KindText}, {Name: "version", Kind: model.KindInt}, {Name: "wrapped", Kind: model.KindBytes}}}
	f.Add([]byte(`["ab",1,"AAEC"]` + "\n"))
	f.Add([]byte(`["ab",1,null]`))
	f.Add([]byte(`["ab",1.5,"AAEC"]`))
	f.Add([]byte(`["ab",99999999999999999999,"AAEC"]`))
	f.Add([]byte(`[1,"ab",{}]`))
	f.Add([]byte(`["ab",1,"AAE"]`))
	f.Add([]byte(`[["ab"],1,"AAEC"]`))
	f.Fuzz(func(t *testing.T, line []byte) {
		row, err := decode(table, line)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v", err)
			}
			return
		}
		for i, v := range row {
			switch v := v.(type) {
			case nil:
			case string, int64:
				if _, text := v.(string); text != (table.Columns[i].Kind == model.KindText) {
					t.Errorf("column %d is %T", i, v)
				}
			case []byte:
				if table.Columns[i].Kind != model.KindBytes || !bytes.Contains(bytes.ReplaceAll(line, []byte(`\`), nil), []byte(base64.StdEncoding.EncodeToString(v)[:len(v)/3*4])) && !bytes.ContainsAny(line, "\\") {
					t.Errorf("column %d is %x", i, v)
				}
			default:
				t.Errorf("column %d is %T", i, v)
			}
		}
	})
}
