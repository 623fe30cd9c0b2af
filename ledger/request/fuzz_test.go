package request_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"cardflow/gm"
	"cardflow/ledger/request"
)

// FuzzDecode reads arguments as the body of each function. What is read is written again as the same bytes, and nothing
// panics.
func FuzzDecode(f *testing.F) {
	_, key := testKey(f)
	functions := slices.Sorted(maps.Keys(blank()))
	for _, body := range bodies(key) {
		f.Add(uint8(slices.Index(functions, body.Function())), request.Encode(body))
	}
	for i, s := range []string{"", "{}", "null", `{"trade":null}`, `{"items":[{"key":{}}]}`, `{"key":{"public":null}}`, `{"inputs":null}`} {
		f.Add(uint8(i), []byte(s))
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		body := blank()[functions[int(which)%len(functions)]]
		if err := request.Decode(data, body); err != nil {
			return
		}
		if got := request.Encode(body); !bytes.Equal(got, data) {
			t.Errorf("%q is written as %q", data, got)
		}
	})
}

func FuzzDecodeProof(f *testing.F) {
	k, _ := testKey(f)
	sig, err := k.Sign(random, []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	s := request.Signature{KeyID: "key", NotAfter: 1, Bytes: sig}
	f.Add(request.Proof{Signatures: []request.Signature{s, s}, Ticket: &s}.Encode())
	f.Add([]byte(`{"signatures":[{"signature":null}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := request.DecodeProof(data)
		if err != nil {
			return
		}
		if len(p.Signatures) > 2 {
			t.Fatalf("%d signatures", len(p.Signatures))
		}
		for _, s := range p.Signatures {
			if again, err := gm.ParseSignature(s.Bytes); s.Bytes != nil && (err != nil || !bytes.Equal(again, s.Bytes)) {
				t.Errorf("a signature in another spelling: %x", []byte(s.Bytes))
			}
		}
	})
}

// FuzzDecodeOpenings also opens what it reads: an opening is the word of a relay that may lie.
func FuzzDecodeOpenings(f *testing.F) {
	f.Add([]byte(`{"lots":{"h":{"rule":"LUHN","salt":"` + "WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=" + `","canonical":"89860617010001351357-89860617010001352348"}}}`))
	f.Add([]byte(`{"codes":{"t":{"salt":"AA==","code":"7ZZZZZZZ"}},"issueKey":"AAAA"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := request.DecodeOpenings(map[string][]byte{request.TransientOpenings: data})
		if err != nil {
			return
		}
		for _, l := range o.Lots {
			set, hash, err := l.Set()
			if err != nil {
				continue
			}
			again, opening := request.OpeningOf(set, [32]byte(l.Salt))
			if again != hash || opening.Canonical != l.Canonical || opening.Rule != l.Rule {
				t.Errorf("an opening in another spelling: %q", l.Canonical)
			}
		}
	})
}
