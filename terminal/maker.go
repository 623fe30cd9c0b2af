package terminal

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
)

// Question is what a maker's program is asked, by the name in "ask".
type Question map[string]any

// Maker asks a maker's program: a question, and its answer, both JSON.
type Maker func(ctx context.Context, question []byte) (answer []byte, err error)

// refusedByMaker is the answer to what must be refused.
var refusedByMaker = map[string]any{"refused": true}

// exam collects what a maker's program says wrongly, by the names of questions.
type exam struct {
	ctx    context.Context
	maker  Maker
	names  []string
	faults map[string]error
	gone   error // it answers no more
}

// HoldMaker holds a maker's program against the published vectors, and against inputs drawn for this time, so that nobody passes by
// knowing the vectors by heart. What it is asked stands in docs/terminal-protocol.md. Keys that it is given are published, or
// made for this.
func HoldMaker(ctx context.Context, maker Maker) ([]Verdict, error) {
	v, err := protocol.ReadVectors()
	if err != nil {
		return nil, err
	}
	fresh, err := newPasser()
	if err != nil {
		return nil, err
	}
	defer fresh.Lock()
	other, err := newPasser()
	if err != nil {
		return nil, err
	}
	defer other.Lock()
	e := &exam{ctx: ctx, maker: maker, faults: map[string]error{}}
	e.keys(v, fresh)
	e.signatures(v, fresh)
	e.enrolment(v, fresh)
	if err := errors.Join(e.requests(v), e.answers(v, fresh, other), e.submits(v)); err != nil {
		return nil, err
	}
	e.cards()
	var out []Verdict
	for _, name := range e.names {
		out = append(out, verdict(name, e.faults[name]))
	}
	if e.gone != nil {
		out = append(out, verdict("answers", e.gone))
	}
	return out, nil
}

// ask asks one thing and answers what came; nil if nothing did.
func (e *exam) ask(q Question) map[string]any {
	name := q["ask"].(string)
	if !slices.Contains(e.names, name) {
		e.names = append(e.names, name)
	}
	if e.gone != nil {
		e.fault(name, q, errors.New("not asked any more"))
		return nil
	}
	text, err := json.Marshal(q)
	if err == nil {
		text, err = e.maker(e.ctx, text)
	}
	if err != nil {
		e.gone = err
		e.fault(name, q, err)
		return nil
	}
	var answer map[string]any
	if err := json.Unmarshal(text, &answer); err != nil || answer == nil {
		e.fault(name, q, errors.New("the answer is no JSON object"))
		return nil
	}
	return answer
}

// fault keeps the first fault of a name: the others mostly come of it.
func (e *exam) fault(name string, q Question, err error) {
	if e.faults[name] == nil {
		text, _ := json.Marshal(q)
		e.faults[name] = fmt.Errorf("%w: %s", err, text)
	}
}

// wants asks, and wants these members in the answer.
func (e *exam) wants(q Question, want map[string]any) {
	answer := e.ask(q)
	if answer == nil {
		return
	}
	for member, value := range want {
		if answer[member] != value {
			e.fault(q["ask"].(string), q, fmt.Errorf("%s is %v, not %v", member, answer[member], value))
		}
	}
}

func (e *exam) keys(v protocol.Vectors, fresh passer) {
	for _, k := range []protocol.KeyVector{v.Device, v.Gateway, {Scalar: hex.EncodeToString(fresh.key.Scalar()), Public: fresh.Public(), ID: fresh.Public().KeyID()}} {
		e.wants(Question{"ask": "key", "scalar": k.Scalar}, map[string]any{"public": k.Public.Hex(), "id": k.ID})
	}
}

// signatures: those of the program are verified, and it verifies ours, in their one spelling alone.
func (e *exam) signatures(v protocol.Vectors, fresh passer) {
	for range 8 { // random: their lengths differ
		message := protocol.NewNonce()
		q := Question{"ask": "sign", "scalar": hex.EncodeToString(fresh.key.Scalar()), "message": message.String()}
		answer := e.ask(q)
		if answer == nil {
			break
		}
		var sig gm.Signature
		text, _ := answer["signature"].(string)
		if err := sig.UnmarshalText([]byte(text)); err != nil {
			e.fault("sign", q, err)
		} else if err := gm.Verify(fresh.Public(), message[:], sig); err != nil {
			e.fault("sign", q, err)
		}
	}
	verify := func(public, message, signature string, valid bool) {
		e.wants(Question{"ask": "verify", "public": public, "message": message, "signature": signature}, map[string]any{"valid": valid})
	}
	message := protocol.NewNonce()
	sig, err := fresh.Sign(message[:])
	if err != nil {
		return
	}
	public, good := fresh.Public().Hex(), sig.Hex()
	verify(public, message.String(), good, true)
	verify(v.Device.Public.Hex(), v.Possession.Signing, v.Possession.Signature.Hex(), true)
	verify(public, protocol.NewNonce().String(), good, false)
	verify(v.Device.Public.Hex(), message.String(), good, false)
	for _, bad := range []string{
		"", good + "00", good[:len(good)-2], strings.ToUpper(good), "3081" + good[2:], // trailing, short, another case, a long length
		fmt.Sprintf("30%02x%s00", len(sig)-1, good[4:]),                      // trailing, within
		fmt.Sprintf("30%02x02%02x00%s", len(sig)-1, int(sig[3])+1, good[8:]), // a zero more before r
		strings.Repeat("0", 128),
	} {
		verify(public, message.String(), bad, false)
	}
	for _, bad := range []string{public[2:], "02" + public[2:66], "04" + strings.Repeat("0", 128), public[:len(public)-2] + fmt.Sprintf("%02x", fresh.Public().Bytes()[64]^1)} {
		verify(bad, message.String(), good, false)
	}
}

func (e *exam) enrolment(v protocol.Vectors, fresh passer) {
	e.wants(Question{"ask": "serial", "serial": v.Serial.Serial, "salt": v.Serial.Salt}, map[string]any{"hash": v.Serial.Hash})
	salt := protocol.NewNonce()
	e.wants(Question{"ask": "serial", "serial": "7-A", "salt": v.Serial.Salt}, refusedByMaker)
	e.wants(Question{"ask": "serial", "serial": "0-9Z", "salt": salt.String() + salt.String()}, map[string]any{
		"hash": protocol.SerialHash([32]byte(append(salt[:], salt[:]...)), "0-9Z"),
	})
	parts := map[string]any{"participant": v.Ticket.Participant, "secret": v.Ticket.Secret, "gateway": v.Ticket.Gateway}
	e.wants(Question{"ask": "ticket", "text": v.Ticket.Text}, parts)
	e.wants(Question{"ask": "ticket", "text": " " + v.Ticket.Text[:9] + "\r\n\t" + v.Ticket.Text[9:] + "\n"}, parts)
	if dotted, err := protocol.NewTicket("shop.7.a_b", v.Ticket.Secret, salt.String()); err == nil {
		e.wants(Question{"ask": "ticket", "text": dotted.Text()}, map[string]any{"participant": "shop.7.a_b", "secret": v.Ticket.Secret, "gateway": salt.String()})
	}
	for _, bad := range []string{"", "CFT2" + v.Ticket.Text[4:], v.Ticket.Text + "0", strings.ToUpper(v.Ticket.Text)} {
		e.wants(Question{"ask": "ticket", "text": bad}, refusedByMaker)
	}
	e.wants(Question{"ask": "possession", "channel": v.Channel, "participant": v.Possession.Participant, "public": v.Device.Public.Hex()}, map[string]any{"signingBytes": v.Possession.Signing})
	e.wants(Question{"ask": "possession", "channel": "another", "participant": "shop.7", "public": fresh.Public().Hex()}, map[string]any{
		"signingBytes": hex.EncodeToString(request.PossessionBytes("another", "shop.7", fresh.Public())),
	})
}

func (e *exam) requests(v protocol.Vectors) error {
	list := slices.Clone(v.Requests)
	drawn := v.Requests[1]
	drawn.Nonce, drawn.KeyID, drawn.Body, drawn.Time = protocol.NewNonce().String(), protocol.NewNonce().String(), `{"what":"卡"}`, 1<<41+3
	for _, r := range append(list, drawn) {
		req, err := r.Request(v.Channel)
		if err != nil {
			return err
		}
		digest := req.Digest()
		e.wants(Question{
			"ask": "request", "channel": v.Channel, "method": r.Method, "path": r.Path, "keyId": r.KeyID, "nonce": r.Nonce, "time": r.Time, "body": r.Body,
		}, map[string]any{"signingBytes": hex.EncodeToString(req.SigningBytes()), "digest": hex.EncodeToString(digest[:])})
	}
	return nil
}

// answers: which the program counts. The drawn ones are lied about in each way.
func (e *exam) answers(v protocol.Vectors, key, other passer) error {
	ask := func(pinned gm.PublicKey, a protocol.Response, sig gm.Signature, counts bool) {
		e.wants(Question{
			"ask": "answer", "channel": a.Channel, "pinned": []string{pinned.Hex()}, "digest": hex.EncodeToString(a.Request[:]), "status": a.Status, "body": string(a.Body),
			"gateway": a.Gateway, "signature": sig.Hex(),
		}, map[string]any{"counts": counts})
	}
	for _, r := range v.Responses {
		req, err := v.Requests[r.Request].Request(v.Channel)
		if err != nil {
			return err
		}
		ask(v.Gateway.Public, protocol.Response{Channel: v.Channel, Gateway: r.Gateway, Request: req.Digest(), Status: r.Status, Body: []byte(r.Body)}, r.Signature, r.Counts)
	}
	honest := protocol.Response{Channel: "another", Gateway: key.Public().KeyID(), Request: gm.SM3([]byte("a request")), Status: 409, Body: []byte(`{"error":{"code":"LOT_BUSY","message":"忙"}}`)}
	sig, err := key.Sign(honest.SigningBytes())
	if err != nil {
		return err
	}
	ask(key.Public(), honest, sig, true)
	for _, lie := range []func(a *protocol.Response){
		func(a *protocol.Response) { a.Channel = "cardflow" },
		func(a *protocol.Response) { a.Gateway = other.Public().KeyID() },
		func(a *protocol.Response) { a.Request = gm.SM3([]byte("another")) },
		func(a *protocol.Response) { a.Status = 200 },
		func(a *protocol.Response) { a.Body = append(bytes.Clone(a.Body), ' ') },
	} {
		a := honest
		lie(&a)
		ask(key.Public(), a, sig, false)
	}
	ask(other.Public(), honest, sig, false)
	foreign, err := other.Sign(honest.SigningBytes())
	ask(key.Public(), honest, foreign, false)
	return err
}

func (e *exam) submits(v protocol.Vectors) error {
	for _, s := range v.Submits {
		q := Question{"ask": "submit", "channel": v.Channel, "function": s.Submit.Function, "args": s.Submit.Args, "keyId": s.Submit.Signature.KeyID, "notAfter": s.Submit.Signature.NotAfter}
		e.wants(q, map[string]any{"requestId": s.RequestID, "signingBytes": s.Signing})
		for _, bad := range []string{strings.Replace(s.Submit.Args, ":", ": ", 1), s.Submit.Args + " ", strings.Replace(s.Submit.Args, "{", `{"more":"",`, 1)} {
			q["args"] = bad
			e.wants(q, refusedByMaker)
		}
	}
	another := request.Request{Channel: "another", Contract: request.Ownership, Function: "Cancel", Args: request.Encode(request.Cancel{Trade: protocol.NewNonce().String()})}
	id := protocol.NewNonce().String()
	e.wants(Question{"ask": "submit", "channel": "another", "function": "Cancel", "args": string(another.Args), "keyId": id, "notAfter": 1<<41 + 7}, map[string]any{
		"requestId": another.ID(), "signingBytes": hex.EncodeToString(another.SigningBytes(id, 1<<41+7)),
	})
	return nil
}

// cards: canonical forms, lots and codes.
func (e *exam) cards() {
	type run struct {
		Start string `json:"start"`
		End   string `json:"end"`
	}
	n := func(head string, i int) string { return fmt.Sprintf("%s%07d", head, i) }
	luhn := func(i int) string {
		return iccid.Luhn.Format(iccid.Card{Head: "898603170000", Width: 7, Tail: uint32(i)})
	}
	salt, more := protocol.NewNonce(), protocol.NewNonce()
	full := [32]byte(append(salt[:], more[:]...))
	for _, c := range []struct {
		rule iccid.Rule
		runs []run
	}{
		{iccid.Serial, []run{{n("898604B719227", 7), n("898604B719227", 9)}, {n("898604B719227", 1), n("898604B719227", 6)}}},
		{iccid.Serial, []run{{n("8986060000000", 9999999), n("8986060000000", 9999999)}, {n("8986060000001", 0), n("8986060000001", 0)}}},
		{iccid.Serial, []run{{n("898606000000", 1), n("898606000000", 1)}, {n("8986060000000", 2), n("8986060000000", 3)}}},   // 19 characters, and 20
		{iccid.Serial, []run{{n("898604B719227", 1), n("898604B719227", 5)}, {n("898604B719227", 5), n("898604B719227", 6)}}}, // one twice
		{iccid.Serial, []run{{n("898604B719227", 5), n("898604B719227", 4)}}},
		{iccid.Luhn, []run{{luhn(10), luhn(99)}, {luhn(0), luhn(9)}, {luhn(101), luhn(101)}}},
		{iccid.Luhn, []run{{luhn(10)[:19] + "x", luhn(99)}}},
	} {
		q := Question{"ask": "cards", "rule": c.rule, "segments": c.runs}
		var segments []iccid.Segment
		var err error
		for _, r := range c.runs {
			s, wrong := c.rule.Range(r.Start, r.End)
			segments, err = append(segments, s), errors.Join(err, wrong)
		}
		set, wrong := iccid.NewSet(c.rule, segments...)
		if err != nil || wrong != nil {
			e.wants(q, refusedByMaker)
			continue
		}
		e.wants(q, map[string]any{"canonical": set.Canonical()})
		hash, o := request.OpeningOf(set, full)
		lot := Question{"ask": "lot", "rule": o.Rule, "salt": base64.StdEncoding.EncodeToString(o.Salt), "canonical": o.Canonical}
		e.wants(lot, map[string]any{"lot": hash})
		lot["canonical"] = o.Canonical + ","
		e.wants(lot, refusedByMaker)

		trade := protocol.NewNonce().String()
		code := request.TradeCode(1772438400000, "shop.7", hash, salt[:])
		e.wants(Question{"ask": "code", "offeredAt": 1772438400000, "seller": "shop.7", "lot": hash, "trade": trade, "salt": base64.StdEncoding.EncodeToString(salt[:])}, map[string]any{
			"code": code, "codeHash": request.CodeHash(trade, code, salt[:]),
		})
	}
}
