package protocol_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

var update = flag.Bool("update", false, "write testdata/vectors.json again: only when the meaning of signed bytes is meant to change")

// TestVectors: this implementation is the one that the published vectors are of; and they are whole, and refuse what they say.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
		return
	}
	v, err := protocol.ReadVectors()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Check(); err != nil {
		t.Error(err)
	}
	counts := map[bool]int{}
	for _, r := range v.Responses {
		if counts[r.Counts]++; r.Counts == (r.Why != "") {
			t.Errorf("response of request %d, status %d: counts %v, %q", r.Request, r.Status, r.Counts, r.Why)
		}
	}
	if len(v.Requests) < 3 || counts[true] < 3 || counts[false] < 4 || len(v.Submits) < 3 {
		t.Errorf("%d requests, %v answers, %d submits", len(v.Requests), counts, len(v.Submits))
	}
}

// TestVectorsOpen: the openings of the offer in the vectors give its hashes and its code, and its lots are a partition.
func TestVectorsOpen(t *testing.T) {
	v, err := protocol.ReadVectors()
	if err != nil {
		t.Fatal(err)
	}
	in := v.Submits[0].Submit
	var o request.Offer
	if err := request.Decode([]byte(in.Args), &o); err != nil {
		t.Fatal(err)
	}
	open := func(hashes ...string) (sets []iccid.Set) {
		for _, h := range hashes {
			set, got, err := in.Openings.Lots[h].Set()
			if err != nil || got != h {
				t.Errorf("%s is opened to %s, %v", h, got, err)
			}
			sets = append(sets, set)
		}
		return sets
	}
	if err := iccid.Partition(open(o.Inputs...), append(open(o.Outputs[0].Lot), open(o.Remainders...)...)); err != nil {
		t.Error(err)
	}
	c := in.Openings.Codes[o.Outputs[0].Trade]
	if c.Code != request.TradeCode(o.OfferedAt, o.Seller, o.Outputs[0].Lot, c.Salt) || request.CodeHash(o.Outputs[0].Trade, c.Code, c.Salt) != o.Outputs[0].CodeHash {
		t.Errorf("code %s", c.Code)
	}
}

// TestVectorsTell: vectors in which one thing is changed don't check.
func TestVectorsTell(t *testing.T) {
	for name, spoil := range map[string]func(*protocol.Vectors){
		"channel":   func(v *protocol.Vectors) { v.Channel = "other" },
		"device":    func(v *protocol.Vectors) { v.Device.Public = v.Gateway.Public },
		"scalar":    func(v *protocol.Vectors) { v.Device.Scalar = v.Gateway.Scalar },
		"serial":    func(v *protocol.Vectors) { v.Serial.Serial += "0" },
		"ticket":    func(v *protocol.Vectors) { v.Ticket.Participant = "someone-else" },
		"time":      func(v *protocol.Vectors) { v.Requests[1].Time++ },
		"signature": func(v *protocol.Vectors) { v.Requests[1].Signature = v.Requests[2].Signature },
		"status":    func(v *protocol.Vectors) { v.Responses[0].Status++ },
		"counts":    func(v *protocol.Vectors) { v.Responses[0].Counts = false },
		"args":      func(v *protocol.Vectors) { v.Submits[0].Submit.Args += " " },
	} {
		v, err := protocol.ReadVectors()
		if err != nil {
			t.Fatal(err)
		}
		if spoil(&v); v.Check() == nil {
			t.Errorf("another %s goes unnoticed", name)
		}
	}
}

func writeVectors(t *testing.T) {
	device, err := gm.DeriveKey(gm.Secret(bytes.Repeat([]byte{0xd1}, 32)), "cardflow/terminal/vectors/device")
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := gm.DeriveKey(gm.Secret(bytes.Repeat([]byte{0x6a}, 32)), "cardflow/terminal/vectors/gateway")
	if err != nil {
		t.Fatal(err)
	}
	sign := func(k *gm.PrivateKey, message []byte) gm.Signature {
		sig, err := k.Sign(rand.Reader, message)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	key := func(k *gm.PrivateKey) protocol.KeyVector {
		return protocol.KeyVector{Scalar: hex.EncodeToString(k.Scalar()), Public: k.Public(), ID: k.Public().KeyID()}
	}
	const channel, participant = "cardflow", "retailer-7"
	v := protocol.Vectors{Channel: channel, Device: key(device), Gateway: key(gateway)}
	salt := [32]byte(bytes.Repeat([]byte{0x5a}, 32))
	v.Serial = protocol.SerialVector{Serial: "SN-2026-000417", Salt: hex.EncodeToString(salt[:]), Hash: protocol.SerialHash(salt, "SN-2026-000417")}
	ticket, err := protocol.NewTicket(participant, strings.Repeat("a2", 13), v.Gateway.ID)
	if err != nil {
		t.Fatal(err)
	}
	v.Ticket = protocol.TicketVector{Text: ticket.Text(), Participant: participant, Secret: ticket.Secret(), Gateway: v.Gateway.ID}
	possession := request.PossessionBytes(channel, participant, device.Public())
	v.Possession = protocol.PossessionVector{Participant: participant, Signing: hex.EncodeToString(possession), Signature: sign(device, possession)}

	submits := vectorSubmits(t, channel, participant, device, sign)
	v.Submits = submits
	submit, err := json.Marshal(submits[1].Submit)
	if err != nil {
		t.Fatal(err)
	}
	const at = 1772438400000
	for i, r := range []protocol.RequestVector{
		{Method: "GET", Path: protocol.PathGateway},
		{Method: "POST", Path: protocol.PathQuery, Time: at, Body: `{"what":"device"}`},
		{Method: "POST", Path: protocol.PathSubmit, Time: at + 1000, Body: string(submit)},
		{Method: "POST", Path: protocol.PathConfirm, Time: at + 2000, Body: `{"code":"KW1DHF39","iccidLast6":"000017"}`},
	} {
		r.Nonce = strings.Repeat("0", 31) + string(rune('1'+i))
		if r.Method == "POST" {
			r.KeyID = v.Device.ID
		}
		q, err := r.Request(channel)
		if err != nil {
			t.Fatal(err)
		}
		digest := q.Digest()
		if r.Signing, r.Digest = hex.EncodeToString(q.SigningBytes()), hex.EncodeToString(digest[:]); r.KeyID != "" {
			r.Signature = sign(device, q.SigningBytes())
		}
		v.Requests = append(v.Requests, r)
	}
	answer := func(of, status int, body string) protocol.Response {
		q, err := v.Requests[of].Request(channel)
		if err != nil {
			t.Fatal(err)
		}
		return protocol.Response{Channel: channel, Gateway: v.Gateway.ID, Request: q.Digest(), Status: status, Body: []byte(body)}
	}
	add := func(of, status int, body string, signed protocol.Response, by *gm.PrivateKey, why string) {
		v.Responses = append(v.Responses, protocol.ResponseVector{
			Request: of, Status: status, Body: body, Gateway: v.Gateway.ID, Signing: hex.EncodeToString(answer(of, status, body).SigningBytes()),
			Signature: sign(by, signed.SigningBytes()), Counts: why == "", Why: why,
		})
	}
	keys := `{"channel":"cardflow","now":1772438400000,"keys":[{"id":"` + v.Gateway.ID + `","public":"` + v.Gateway.Public.Hex() + `","txId":"tx-1"}]}`
	refusal := `{"error":{"code":"REPLAYED","message":"这个请求已经收到过，请终端重新签名后再发送","requestId":"9902e02fb02bb7a9a2bfe2c741ecedf6"}}`
	committed := `{"requestId":"` + submits[1].RequestID + `","state":"committed","txId":"tx-2","blockNumber":7}`
	failed := `{"requestId":"` + submits[1].RequestID + `","state":"failed","error":{"code":"TRADE_ENDED","message":"交易已结束"}}`
	add(0, 200, keys, answer(0, 200, keys), gateway, "")
	add(1, 409, refusal, answer(1, 409, refusal), gateway, "")
	add(2, 200, committed, answer(2, 200, committed), gateway, "")
	add(2, 200, failed, answer(2, 200, failed), gateway, "")
	add(2, 200, refusal, answer(2, 409, refusal), gateway, "its status was changed")
	add(2, 200, committed, answer(2, 200, failed), gateway, "its body was changed")
	add(3, 200, committed, answer(2, 200, committed), gateway, "it is another request's answer")
	add(2, 200, committed, answer(2, 200, committed), device, "it is signed by another key than it names")

	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("testdata/vectors.json", append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// vectorSubmits are an offer to whoever has the code, a confirmation and a refusal.
func vectorSubmits(t *testing.T, channel, participant string, device *gm.PrivateKey, sign func(*gm.PrivateKey, []byte) gm.Signature) []protocol.SubmitVector {
	box, err := iccid.Luhn.Range("8986031700000000000", "8986031700000000099")
	if err != nil {
		t.Fatal(err)
	}
	card, err := iccid.Luhn.Range("8986031700000000017", "8986031700000000017")
	if err != nil {
		t.Fatal(err)
	}
	all, err := iccid.NewSet(iccid.Luhn, box)
	if err != nil {
		t.Fatal(err)
	}
	one, err := iccid.NewSet(iccid.Luhn, card)
	if err != nil {
		t.Fatal(err)
	}
	openings := request.Openings{Lots: map[string]request.LotOpening{}, Codes: map[string]request.CodeOpening{}}
	lot := func(set iccid.Set, salt byte) string {
		hash, opening := request.OpeningOf(set, [32]byte(bytes.Repeat([]byte{salt}, 32)))
		openings.Lots[hash] = opening
		return hash
	}
	const trade, offeredAt = "0f1e2d3c4b5a69788796a5b4c3d2e1f0", 1772438400000
	out, salt := lot(one, 2), bytes.Repeat([]byte{9}, 16)
	code := request.TradeCode(offeredAt, participant, out, salt)
	openings.Codes[trade] = request.CodeOpening{Salt: salt, Code: code}
	offer := request.Offer{
		Seller: participant, Mode: request.Bearer, OfferedAt: offeredAt, ExpiresAt: offeredAt + 86400000, Inputs: []string{lot(all, 1)},
		Outputs:    []request.Output{{Trade: trade, Lot: out, CodeHash: request.CodeHash(trade, code, salt)}},
		Remainders: []string{lot(all.Minus(one), 3)},
	}
	var list []protocol.SubmitVector
	for _, s := range []struct {
		body     request.Body
		openings *request.Openings
	}{
		{offer, &openings},
		{request.Confirm{Trade: trade, Lot: out, Receiver: participant}, nil},
		{request.Decline{Trade: trade, Receiver: participant, Reason: "WRONG_CARDS"}, nil},
	} {
		req := request.New(channel, s.body)
		signing := req.SigningBytes(device.Public().KeyID(), offeredAt+86400000)
		list = append(list, protocol.SubmitVector{RequestID: req.ID(), Signing: hex.EncodeToString(signing), Submit: protocol.Submit{
			Contract: req.Contract, Function: req.Function, Args: string(req.Args), Openings: s.openings,
			Signature: request.Signature{KeyID: device.Public().KeyID(), NotAfter: offeredAt + 86400000, Bytes: sign(device, signing)},
		}})
	}
	return list
}
