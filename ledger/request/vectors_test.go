package request_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/request"
)

var update = flag.Bool("update", false, "write testdata/vectors.json again: only when the meaning of signed bytes is meant to change")

const vectorsFile = "testdata/vectors.json"

// vectors are what docs/contract.md publishes: whoever signs elsewhere (a terminal, a chip) can check his bytes by them.
// Signatures are randomised, so they are recorded once and verified ever after.
type vectors struct {
	Channel   string          `json:"channel"`
	Key       keyVector       `json:"key"`
	Requests  []requestVector `json:"requests"`
	TradeCode []codeVector    `json:"tradeCodes"`
	Lots      []lotVector     `json:"lots"`
	IssueKey  issueVector     `json:"issueKey"`
}

type keyVector struct {
	Scalar      string       `json:"scalar"` // hex; of this file only
	Public      gm.PublicKey `json:"public"`
	ID          string       `json:"id"`
	Participant string       `json:"participant"`
	Possessing  string       `json:"possessionBytes"` // hex
	Possession  gm.Signature `json:"possession"`
}

type requestVector struct {
	Contract  string       `json:"contract"`
	Function  string       `json:"function"`
	Args      string       `json:"args"`
	ID        string       `json:"id"`
	NotAfter  int64        `json:"notAfter"`
	Signing   string       `json:"signingBytes"` // hex
	Signature gm.Signature `json:"signature"`
}

type codeVector struct {
	OfferedAt int64  `json:"offeredAt"`
	Seller    string `json:"seller"`
	Lot       string `json:"lot"`
	Salt      string `json:"salt"` // hex
	Code      string `json:"code"`
	Trade     string `json:"trade"`
	CodeHash  string `json:"codeHash"`
}

type lotVector struct {
	Rule      string `json:"rule"`
	Salt      string `json:"salt"` // hex
	Canonical string `json:"canonical"`
	Hash      string `json:"hash"`
}

type issueVector struct {
	Key        string `json:"key"` // hex
	Commitment string `json:"commitment"`
	Rule       string `json:"rule"`
	Cards      string `json:"cards"`
	Mark       string `json:"mark"` // of its first block
}

const notAfter = 1772524800000 // 2026-03-03 08:00 UTC

// bodies has one body of every function, with every member filled in.
func bodies(key request.NewKey) []request.Body {
	lot, other, third := h64("a1"), h64("b2"), h64("c3")
	trade := "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	registration := request.Registration{Participant: "retailer-7", Role: request.Retailer, Key: key}
	offer := request.Offer{
		Seller: "retailer-7", Mode: request.Bearer, OfferedAt: 1772438400000, ExpiresAt: notAfter, Inputs: []string{lot},
		Outputs: []request.Output{{Trade: trade, Lot: other, CodeHash: h64("d4")}}, Remainders: []string{third},
	}
	back := offer
	back.Mode, back.Receiver, back.Outputs = request.Named, "carrier-1", []request.Output{{Trade: trade, Lot: other}}
	at := request.LotAct{Lot: lot, Version: 3, Subset: other, Rest: third}
	whom := request.ParticipantAct{Participant: "consumer-9", Version: 1}
	k := request.KeyAct{Key: key.Public.KeyID(), Version: 2}
	return []request.Body{
		request.Init{Administrators: []request.Registration{registration}, IssueKeyCommitment: h64("e5")},
		request.Register{Registration: registration},
		request.RegisterBatch{Items: []request.Registration{registration}},
		request.PublishKey{Participant: "retailer-7", Version: 1, Key: key},
		request.RotateKey{Participant: "retailer-7", Version: 2, OldKey: key.Public.KeyID(), Key: key},
		request.SuspendKey{KeyAct: k}, request.ResumeKey{KeyAct: k}, request.RevokeKey{KeyAct: k},
		request.SetIssuer{Prefix: "898604", Carrier: "carrier-1", Rule: string(iccid.Serial), Version: 0},
		request.SetPolicy{Name: request.PolicyRealNameCap, Value: 5, Version: 1},
		request.Anchor{Stream: "audit", Sequence: 1 << 63, Digest: h64("f6")},
		request.Issue{Lot: lot, Carrier: "carrier-1", Rule: string(iccid.Luhn), RetailPolicy: request.RealName, Restrictions: []string{"NO_SMS", "NO_VOICE"}},
		offer, request.Return{Offer: back, Reverses: trade},
		request.Ticket{Trade: trade, Receiver: "consumer-9"},
		request.Confirm{Trade: trade, Lot: other, Receiver: "consumer-9"},
		request.Decline{Trade: trade, Receiver: "consumer-9", Reason: "NOT_MINE"},
		request.Cancel{Trade: trade}, request.Release{Trade: trade},
		request.Merge{Owner: "retailer-7", Inputs: []string{lot, other}, Output: third},
		request.Approve{Carrier: "carrier-1", Consumer: "consumer-9", Commitment: h64("07"), ValidUntil: notAfter, Version: 0},
		request.RevokeApproval{Carrier: "carrier-1", Consumer: "consumer-9", Version: 1},
		request.Freeze{LotAct: at}, request.Unfreeze{LotAct: request.LotAct{Lot: lot, Version: 4}}, request.Retire{LotAct: at},
		request.FreezeParticipant{ParticipantAct: whom}, request.UnfreezeParticipant{ParticipantAct: whom},
	}
}

func h64(two string) string { return string(bytes.Repeat([]byte(two), 32)) }

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	key, err := gm.NewPrivateKey(unhex(t, v.Key.Scalar), v.Key.Public)
	if err != nil || key.Public().KeyID() != v.Key.ID {
		t.Fatalf("key %s: %v", v.Key.ID, err)
	}
	possession := request.PossessionBytes(v.Channel, v.Key.Participant, v.Key.Public)
	if hex.EncodeToString(possession) != v.Key.Possessing || gm.Verify(v.Key.Public, possession, v.Key.Possession) != nil {
		t.Errorf("possession of %s: %x", v.Key.Participant, possession)
	}

	want := bodies(newKey(v.Key))
	if len(v.Requests) != len(want) {
		t.Fatalf("%d requests, want %d", len(v.Requests), len(want))
	}
	for i, x := range v.Requests {
		t.Run(x.Function, func(t *testing.T) {
			r := request.New(v.Channel, want[i])
			if r.Contract != x.Contract || r.Function != x.Function || string(r.Args) != x.Args {
				t.Errorf("%s.%s(%s)", r.Contract, r.Function, r.Args)
			}
			if got := r.ID(); got != x.ID {
				t.Errorf("ID %s, want %s", got, x.ID)
			}
			signing := r.SigningBytes(v.Key.ID, x.NotAfter)
			if got := hex.EncodeToString(signing); got != x.Signing {
				t.Errorf("signing bytes\n%s, want\n%s", got, x.Signing)
			}
			if err := gm.Verify(v.Key.Public, signing, x.Signature); err != nil {
				t.Errorf("signature: %v", err)
			}
			if err := gm.Verify(v.Key.Public, r.SigningBytes(v.Key.ID, x.NotAfter+1), x.Signature); err == nil {
				t.Error("the signature is good for a later deadline too")
			}
		})
	}
	if len(v.TradeCode) < 3 || len(v.Lots) < 2 {
		t.Fatal("vectors are missing")
	}
	for _, x := range v.TradeCode {
		salt := unhex(t, x.Salt)
		if got := request.TradeCode(x.OfferedAt, x.Seller, x.Lot, salt); got != x.Code {
			t.Errorf("code %s, want %s", got, x.Code)
		}
		if got := request.CodeHash(x.Trade, x.Code, salt); got != x.CodeHash {
			t.Errorf("code hash %s, want %s", got, x.CodeHash)
		}
	}
	for _, x := range v.Lots {
		set, hash, err := (request.LotOpening{Rule: x.Rule, Salt: unhex(t, x.Salt), Canonical: x.Canonical}).Set()
		if err != nil || hash != x.Hash || set.Canonical() != x.Canonical {
			t.Errorf("lot %s, want %s: %v", hash, x.Hash, err)
		}
		again, opening := request.OpeningOf(set, [32]byte(unhex(t, x.Salt)))
		if again != x.Hash || opening.Canonical != x.Canonical || opening.Rule != x.Rule {
			t.Errorf("lot made as %s, want %s", again, x.Hash)
		}
	}
	issueKey := unhex(t, v.IssueKey.Key)
	if got := request.IssueKeyCommitment(issueKey); got != v.IssueKey.Commitment {
		t.Errorf("commitment %s, want %s", got, v.IssueKey.Commitment)
	}
	rule := iccid.Rule(v.IssueKey.Rule)
	set, err := iccid.ParseCanonical(rule, v.IssueKey.Cards)
	if err != nil {
		t.Fatal(err)
	}
	if got := request.IssueMark(issueKey, rule, set.Blocks()[0]); got != v.IssueKey.Mark {
		t.Errorf("mark %s, want %s", got, v.IssueKey.Mark)
	}
}

// newKey is the vectors' key as requests carry it.
func newKey(k keyVector) request.NewKey {
	return request.NewKey{
		Public: k.Public, Kind: request.DeviceKey, SerialHash: h64("5e"), Functions: []string{"Offer", "Confirm"}, ValidUntil: notAfter,
		Possession: k.Possession,
	}
}

func writeVectors(t *testing.T) {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := gm.GenerateKey(random)
	must(err)
	sign := func(message []byte) gm.Signature {
		sig, err := key.Sign(random, message)
		must(err)
		return sig
	}
	v := vectors{Channel: "cards", Key: keyVector{
		Scalar: hex.EncodeToString(key.Scalar()), Public: key.Public(), ID: key.Public().KeyID(), Participant: "retailer-7",
	}}
	possession := request.PossessionBytes(v.Channel, v.Key.Participant, v.Key.Public)
	v.Key.Possessing, v.Key.Possession = hex.EncodeToString(possession), sign(possession)
	for _, body := range bodies(newKey(v.Key)) {
		r := request.New(v.Channel, body)
		signing := r.SigningBytes(v.Key.ID, notAfter)
		v.Requests = append(v.Requests, requestVector{r.Contract, r.Function, string(r.Args), r.ID(), notAfter, hex.EncodeToString(signing), sign(signing)})
	}
	for i, seller := range []string{"retailer-7", "carrier-1", "distributor_2.x"} {
		salt := bytes.Repeat([]byte{byte(i), 0xff}, 8)
		c := codeVector{OfferedAt: 1772438400000 + int64(i), Seller: seller, Lot: h64("a1"), Salt: hex.EncodeToString(salt), Trade: "0f1e2d3c4b5a69788796a5b4c3d2e1f0"}
		c.Code = request.TradeCode(c.OfferedAt, c.Seller, c.Lot, salt)
		c.CodeHash = request.CodeHash(c.Trade, c.Code, salt)
		v.TradeCode = append(v.TradeCode, c)
	}
	for _, lot := range []struct {
		rule      iccid.Rule
		canonical string
	}{
		{iccid.Serial, "898604B7192270274511-898604B7192270274512,898604B7192270274514"},
		{iccid.Luhn, "89860617010001351357-89860617010001352348"},
	} {
		rule, canonical := lot.rule, lot.canonical
		set, err := iccid.ParseCanonical(rule, canonical)
		must(err)
		salt := [32]byte(bytes.Repeat([]byte{0x5a}, 32))
		hash, _ := request.OpeningOf(set, salt)
		v.Lots = append(v.Lots, lotVector{string(rule), hex.EncodeToString(salt[:]), canonical, hash})
		issueKey := bytes.Repeat([]byte{0x1c}, 32)
		v.IssueKey = issueVector{hex.EncodeToString(issueKey), request.IssueKeyCommitment(issueKey), string(rule), canonical, request.IssueMark(issueKey, rule, set.Blocks()[0])}
	}
	b, err := json.MarshalIndent(v, "", "  ")
	must(err)
	must(os.WriteFile(vectorsFile, append(b, '\n'), 0o644))
}

// TestDocumentQuotesTheVectors: what docs/contract.md prints is what the file has.
func TestDocumentQuotesTheVectors(t *testing.T) {
	page, err := os.ReadFile("../../docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	quoted := []string{v.Key.Public.Hex(), v.Key.ID, v.TradeCode[0].Code, v.TradeCode[0].CodeHash, v.TradeCode[0].Salt}
	for _, r := range v.Requests {
		if r.Function == "Cancel" {
			quoted = append(quoted, r.Args, r.ID, r.Signing)
		}
	}
	for _, q := range quoted {
		if !bytes.Contains(page, []byte(q)) {
			t.Errorf("%s is not on the page", q)
		}
	}
}
