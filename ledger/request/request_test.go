package request_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"

	"cardflow/gm"
	"cardflow/ledger/request"

	"pgregory.net/rapid"
)

var random = rand.Reader

// blank is an empty body of every function, by name.
func blank() map[string]request.Body {
	all := map[string]request.Body{}
	for _, b := range []request.Body{
		&request.Init{}, &request.Register{}, &request.RegisterBatch{}, &request.PublishKey{}, &request.RotateKey{}, &request.SuspendKey{},
		&request.ResumeKey{}, &request.RevokeKey{}, &request.SetIssuer{}, &request.SetPolicy{}, &request.Anchor{}, &request.Issue{},
		&request.Offer{}, &request.Return{}, &request.Ticket{}, &request.Confirm{}, &request.Decline{}, &request.Cancel{}, &request.Release{},
		&request.Merge{}, &request.Approve{}, &request.RevokeApproval{}, &request.Freeze{}, &request.Unfreeze{}, &request.Retire{},
		&request.FreezeParticipant{}, &request.UnfreezeParticipant{},
	} {
		all[b.Function()] = b
	}
	return all
}

func testKey(t testing.TB) (*gm.PrivateKey, request.NewKey) {
	t.Helper()
	k, err := gm.GenerateKey(random)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := k.Sign(random, request.PossessionBytes("cards", "retailer-7", k.Public()))
	if err != nil {
		t.Fatal(err)
	}
	return k, newKey(keyVector{Public: k.Public(), Possession: sig})
}

// TestBodiesAreAll finds every type with a Function method in the source: a body that nobody tests is found here.
func TestBodiesAreAll(t *testing.T) {
	known := blank()
	found := 0
	for _, name := range []string{"identity.go", "ownership.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != "Function" {
				continue
			}
			found++
			typeName := f.Recv.List[0].Type.(*ast.Ident).Name
			b, ok := known[typeName]
			if !ok || reflect.TypeOf(b).Elem().Name() != typeName {
				t.Errorf("%s is not tested, or not called after its function", typeName)
			}
		}
	}
	if found != len(known) {
		t.Errorf("%d bodies in the source, %d tested", found, len(known))
	}
}

func TestBodiesComeBack(t *testing.T) {
	_, key := testKey(t)
	for _, body := range bodies(key) {
		data := request.Encode(body)
		into := blank()[body.Function()]
		if err := request.Decode(data, into); err != nil {
			t.Errorf("%s: %v", body.Function(), err)
			continue
		}
		if got := reflect.ValueOf(into).Elem().Interface(); !reflect.DeepEqual(got, body) {
			t.Errorf("%s came back as %+v", body.Function(), got)
		}
		if into.Contract() != body.Contract() || into.Contract() != request.Identity && into.Contract() != request.Ownership {
			t.Errorf("%s belongs to %q", body.Function(), into.Contract())
		}
	}
}

func TestDecodeIsStrict(t *testing.T) {
	good := string(request.Encode(request.Confirm{Trade: "t", Lot: "<l>", Receiver: "消费者"}))
	for name, data := range map[string]string{
		"as it is encoded":       good,
		"empty":                  "",
		"null":                   "null",
		"a list":                 "[" + good + "]",
		"a string":               `"x"`,
		"twice":                  good + good,
		"a byte after":           good + "x",
		"a line end":             good + "\n",
		"a space before":         " " + good,
		"a space inside":         strings.Replace(good, ":", ": ", 1),
		"another order":          `{"lot":"<l>","trade":"t","receiver":"消费者"}`,
		"a member left out":      `{"trade":"t","lot":"<l>"}`,
		"a member twice":         strings.Replace(good, `{`, `{"trade":"u",`, 1),
		"an unknown member":      strings.Replace(good, `{`, `{"x":1,`, 1),
		"another case":           strings.Replace(good, `"trade"`, `"Trade"`, 1),
		"an escape not needed":   strings.Replace(good, `"t"`, `"\u0074"`, 1),
		"HTML escapes":           strings.Replace(good, `<l>`, `\u003cl\u003e`, 1),
		"invalid UTF-8":          strings.Replace(good, `"t"`, "\"\xff\"", 1),
		"a null member":          strings.Replace(good, `"t"`, `null`, 1),
		"a number for a text":    strings.Replace(good, `"t"`, `1`, 1),
		"cut off":                good[:len(good)-1],
		"a byte order mark":      "\ufeff" + good,
		"far too large":          strings.Repeat(" ", request.MaxArgs) + good,
		"deep":                   strings.Repeat("[", 100_000),
		"a comment":              good + "//",
		"a comma at the end":     strings.Replace(good, "}", ",}", 1),
		"a NUL byte":             "\x00" + good,
		"UTF-16 surrogate alone": strings.Replace(good, `"t"`, `"\ud800"`, 1),
	} {
		var b request.Confirm
		if err := request.Decode([]byte(data), &b); (err == nil) != (name == "as it is encoded") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, data := range []string{
		`{"carrier":"c","consumer":"p","version":1.0}`, `{"carrier":"c","consumer":"p","version":1e0}`, `{"carrier":"c","consumer":"p","version":01}`,
		`{"carrier":"c","consumer":"p","version":"1"}`, `{"carrier":"c","consumer":"p","version":9223372036854775808}`, `{"carrier":"c","consumer":"p","version":-0}`,
	} {
		var b request.RevokeApproval
		if err := request.Decode([]byte(data), &b); err == nil {
			t.Errorf("%s was read as %+v", data, b)
		}
	}
	// No key at all is neither a key nor a panic.
	for _, data := range []string{
		`{}`, `{"participant":"abc","role":"consumer","key":{"public":null,"kind":"account","possession":""}}`,
		`{"participant":"abc","role":"consumer","key":{"public":"","kind":"account","possession":""}}`,
		`{"participant":"abc","role":"consumer","key":{"kind":"account"}}`,
	} {
		if err := request.Decode([]byte(data), &request.Register{}); err == nil {
			t.Errorf("%s was read", data)
		}
	}
}

func TestProof(t *testing.T) {
	k, _ := testKey(t)
	sig, err := k.Sign(random, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	one := request.Signature{KeyID: k.Public().KeyID(), NotAfter: notAfter, Bytes: sig}
	for _, p := range []request.Proof{
		{}, {Signatures: []request.Signature{one}}, {Signatures: []request.Signature{one, one}, Ticket: &one},
	} {
		got, err := request.DecodeProof(p.Encode())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("proof came back as %+v, %v", got, err)
		}
	}
	for _, data := range []string{
		"", "x", "[]", `{"signatures":[]}x`, `{"signature":[]}`, `{"signatures":[{"keyId":"a","notAfter":1,"signature":"30"}]}`,
		`{"signatures":[{"keyId":"a","notAfter":1.5,"signature":null}]}`, `{"signatures":[{},{},{}]}`,
		`{"signatures":[{"keyId":"a","notAfter":1,"signature":"` + sig.Hex() + `00"}]}`,
	} {
		if _, err := request.DecodeProof([]byte(data)); err == nil {
			t.Errorf("%s was read", data)
		}
	}
}

func TestOpenings(t *testing.T) {
	o := request.Openings{
		Lots:  map[string]request.LotOpening{"h": {Rule: "LUHN", Salt: []byte{1}, Canonical: "89860617010001351357"}},
		Codes: map[string]request.CodeOpening{"t": {Salt: []byte{2}, Code: "7ZZZZZZZ"}}, IssueKey: []byte{3},
	}
	got, err := request.DecodeOpenings(o.Transient())
	if err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("openings came back as %v", err)
	}
	if got, err := request.DecodeOpenings(nil); err != nil || !reflect.DeepEqual(got, request.Openings{}) {
		t.Errorf("no openings: %v", err)
	}
	for _, data := range []string{"", "1", `{"lot":{}}`, `{}{}`, `{"issueKey":"*"}`} {
		if _, err := request.DecodeOpenings(map[string][]byte{request.TransientOpenings: []byte(data)}); err == nil {
			t.Errorf("%s was read", data)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, o)
		if strings.Contains(text, "89860617") || strings.Contains(text, "7ZZZ") {
			t.Errorf("%s prints what it hides", verb)
		}
	}
}

// TestSigningBytesAreWhatTheyClaim builds them a second time, by hand, from docs/contract.md.
func TestSigningBytesAreWhatTheyClaim(t *testing.T) {
	r := request.New("cards", request.Cancel{Trade: "t"})
	field := func(b []byte, s string) []byte {
		return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	digest := gm.SM3([]byte(`{"trade":"t"}`))
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], notAfter)
	var want []byte
	for _, s := range []string{"cardflow/v1", "cards", "ownership", "Cancel", "key", string(at[:]), string(digest[:])} {
		want = field(want, s)
	}
	if got := r.SigningBytes("key", notAfter); !bytes.Equal(got, want) {
		t.Errorf("signing bytes\n%x, want\n%x", got, want)
	}
	want = nil
	for _, s := range []string{"cardflow/v1", "act", "cards", "ownership", "Cancel", string(digest[:])} {
		want = field(want, s)
	}
	id := gm.SM3(want)
	if got := r.ID(); got != hex.EncodeToString(id[:]) {
		t.Errorf("ID %s, want %x", got, id)
	}
}

// TestEverythingIsSigned changes one thing at a time: each gives other bytes.
func TestEverythingIsSigned(t *testing.T) {
	r := request.New("cards", request.Cancel{Trade: "t"})
	seen := map[string]string{string(r.SigningBytes("key", 1)): "the request"}
	ids := map[string]string{r.ID(): "the request"}
	add := func(what string, r request.Request, key string, at int64, act bool) {
		b := string(r.SigningBytes(key, at))
		if other, twice := seen[b]; twice {
			t.Errorf("%s signs as %s", what, other)
		}
		seen[b] = what
		if _, twice := ids[r.ID()]; twice == act {
			t.Errorf("%s: another act %v, another ID %v", what, act, !twice)
		}
		ids[r.ID()] = what
	}
	add("another channel", request.Request{Channel: "cardx", Contract: r.Contract, Function: r.Function, Args: r.Args}, "key", 1, true)
	add("another contract", request.Request{Channel: r.Channel, Contract: "identity", Function: r.Function, Args: r.Args}, "key", 1, true)
	add("another function", request.Request{Channel: r.Channel, Contract: r.Contract, Function: "Release", Args: r.Args}, "key", 1, true)
	add("other arguments", request.New("cards", request.Cancel{Trade: "u"}), "key", 1, true)
	add("another key", r, "kez", 1, false)
	add("another deadline", r, "key", 2, false)
	add("a moved border", request.Request{Channel: "cardsown", Contract: "ership", Function: r.Function, Args: r.Args}, "key", 1, true)
}

// TestLengthPrefixIsInjective: no two lists of fields give the same bytes.
func TestLengthPrefixIsInjective(t *testing.T) {
	fields := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 4, 'a'}), 0, 6), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := fields.Draw(t, "a"), fields.Draw(t, "b")
		if rapid.Bool().Draw(t, "alike") { // the same bytes cut elsewhere
			joined := bytes.Join(a, nil)
			cut := rapid.IntRange(0, len(joined)).Draw(t, "cut")
			b = [][]byte{joined[:cut], joined[cut:]}
		}
		same := len(a) == len(b)
		for i := 0; same && i < len(a); i++ {
			same = bytes.Equal(a[i], b[i])
		}
		if got := bytes.Equal(request.LengthPrefixed(a...), request.LengthPrefixed(b...)); got != same {
			t.Fatalf("%q and %q: equal bytes %v", a, b, got)
		}
		// And they can be read back.
		data, back := request.LengthPrefixed(a...), [][]byte(nil)
		for len(data) > 0 {
			n := binary.BigEndian.Uint32(data)
			back, data = append(back, data[4:4+n]), data[4+n:]
		}
		if len(back) != len(a) {
			t.Fatalf("%d fields, %d came back", len(a), len(back))
		}
	})
}

func TestCRC40(t *testing.T) {
	if got := request.CRC40([]byte("123456789")); got != 0xd4164fc646 {
		t.Errorf("check value %010x, want d4164fc646", got)
	}
	if got := request.CRC40(nil); got != 0xffffffffff {
		t.Errorf("of nothing %010x", got)
	}
}

// TestTradeCodeIsThePapers computes a code bit by bit, as paper §2.4.2 and docs/contract.md say.
func TestTradeCodeIsThePapers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64().Draw(t, "at")
		seller, lot := rapid.String().Draw(t, "seller"), rapid.StringMatching("[0-9a-f]{64}").Draw(t, "lot")
		salt := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "salt")
		code := request.TradeCode(at, seller, lot, salt)
		var time8 [8]byte
		binary.BigEndian.PutUint64(time8[:], uint64(at))
		crc := crcByBits(request.LengthPrefixed(time8[:], []byte(seller), []byte(lot), salt))
		value := uint64(0)
		for _, c := range code {
			digit := strings.IndexRune("0123456789ABCDEFGHJKMNPQRSTVWXYZ", c)
			if digit < 0 {
				t.Fatalf("%q in a code", c)
			}
			value = value<<5 | uint64(digit)
		}
		if len(code) != 8 || value != crc {
			t.Fatalf("code %s is %010x, want %010x", code, value, crc)
		}
		if again := request.TradeCode(at, seller, lot, append([]byte{salt[0] ^ 1}, salt[1:]...)); again == code {
			t.Fatal("the salt makes no difference")
		}
	})
}

// crcByBits divides the message by the polynomial, one bit at a time: initial value 0, all bits inverted at the end.
func crcByBits(data []byte) uint64 {
	var remainder uint64
	for _, b := range append(bytes.Clone(data), 0, 0, 0, 0, 0) {
		for bit := 7; bit >= 0; bit-- {
			remainder = remainder<<1 | uint64(b>>bit&1)
			if remainder>>40 == 1 {
				remainder ^= 1<<40 | 0x0004820009
			}
		}
	}
	return remainder ^ 0xffffffffff
}

func TestCodeHashKeepsBorders(t *testing.T) {
	salt := bytes.Repeat([]byte{7}, 16)
	m := hmac.New(sha256.New, salt)
	m.Write([]byte("\x00\x00\x00\x02ab\x00\x00\x00\x01c"))
	if got := request.CodeHash("ab", "c", salt); got != hex.EncodeToString(m.Sum(nil)) {
		t.Errorf("code hash %s", got)
	}
	if request.CodeHash("ab", "c", salt) == request.CodeHash("a", "bc", salt) {
		t.Error("a border moved and the hash did not")
	}
}

func TestEncodeRefusesNoKey(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a body without a public key was encoded")
		}
	}()
	request.Encode(request.Register{})
}
