package protocol

import (
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"cardflow/gm"
	"cardflow/ledger/request"
)

//go:embed testdata/vectors.json
var vectorsJSON []byte

// Vectors are what docs/terminal-protocol.md publishes: whoever implements the protocol checks his bytes by them. Signatures are
// randomised, so they were recorded once and are verified ever after.
type Vectors struct {
	Channel    string           `json:"channel"`
	Device     KeyVector        `json:"device"`
	Gateway    KeyVector        `json:"gateway"`
	Serial     SerialVector     `json:"serial"`
	Ticket     TicketVector     `json:"ticket"`
	Possession PossessionVector `json:"possession"`
	Requests   []RequestVector  `json:"requests"`
	Responses  []ResponseVector `json:"responses"`
	Submits    []SubmitVector   `json:"submits"`
}

// KeyVector is a key of these vectors, with its private half: it is good for nothing else.
type KeyVector struct {
	Scalar string       `json:"scalar"` // hex
	Public gm.PublicKey `json:"public"`
	ID     string       `json:"id"`
}

// SerialVector is a serial number and what the ledger has of it.
type SerialVector struct {
	Serial string `json:"serial"`
	Salt   string `json:"salt"` // hex
	Hash   string `json:"hash"`
}

// TicketVector is a ticket and its parts.
type TicketVector struct {
	Text        string `json:"text"`
	Participant string `json:"participant"`
	Secret      string `json:"secret"`
	Gateway     string `json:"gateway"`
}

// PossessionVector is what a new key signs with itself.
type PossessionVector struct {
	Participant string       `json:"participant"`
	Signing     string       `json:"signingBytes"` // hex
	Signature   gm.Signature `json:"signature"`
}

// RequestVector is a request to the gateway. The GET has no signature.
type RequestVector struct {
	Method    string       `json:"method"`
	Path      string       `json:"path"`
	KeyID     string       `json:"keyId"`
	Nonce     string       `json:"nonce"`
	Time      int64        `json:"time"`
	Body      string       `json:"body"`
	Signing   string       `json:"signingBytes"` // hex
	Digest    string       `json:"digest"`       // hex SM3 of the signing bytes
	Signature gm.Signature `json:"signature,omitempty"`
}

// ResponseVector is an answer, and whether it counts as that of a request.
type ResponseVector struct {
	Request   int          `json:"request"` // of Requests: whose answer it is to be
	Status    int          `json:"status"`
	Body      string       `json:"body"`
	Gateway   string       `json:"gateway"`
	Signing   string       `json:"signingBytes"` // hex, for this request, status and body
	Signature gm.Signature `json:"signature"`
	Counts    bool         `json:"counts"`
	Why       string       `json:"why,omitempty"` // it doesn't
}

// SubmitVector is a request to the contract as a terminal signs and submits it.
type SubmitVector struct {
	Submit    Submit `json:"submit"`
	RequestID string `json:"requestId"`
	Signing   string `json:"signingBytes"` // hex
}

// ReadVectors are the published ones.
func ReadVectors() (v Vectors, err error) {
	err = json.Unmarshal(vectorsJSON, &v)
	return v, err
}

// Request is the vector's request.
func (r RequestVector) Request(channel string) (Request, error) {
	q := Request{Channel: channel, Method: r.Method, Path: r.Path, KeyID: r.KeyID, Time: r.Time, Body: []byte(r.Body)}
	b, err := hex.DecodeString(r.Nonce)
	if err != nil || len(b) != len(q.Nonce) {
		return q, errors.New("its nonce is none")
	}
	q.Nonce = Nonce(b)
	return q, nil
}

// Check holds this implementation against the vectors, and answers all that differs.
func (v Vectors) Check() error {
	var faults []error
	differs := func(what string, got, want any) {
		if got != want {
			faults = append(faults, fmt.Errorf("%s: %v, not %v", what, got, want))
		}
	}
	fits := func(what string, key gm.PublicKey, message []byte, sig gm.Signature, want bool) {
		differs(what+": the signature fits", gm.Verify(key, message, sig) == nil, want)
	}
	for name, k := range map[string]KeyVector{"device": v.Device, "gateway": v.Gateway} {
		differs(name+" key ID", k.Public.KeyID(), k.ID)
		scalar, err := hex.DecodeString(k.Scalar)
		if _, err2 := gm.NewPrivateKey(scalar, k.Public); err != nil || err2 != nil {
			faults = append(faults, fmt.Errorf("%s key: %w", name, errors.Join(err, err2)))
		}
	}
	salt, err := hex.DecodeString(v.Serial.Salt)
	if err != nil || len(salt) != 32 {
		return errors.New("the serial's salt is none")
	}
	differs("serial hash", SerialHash([32]byte(salt), v.Serial.Serial), v.Serial.Hash)
	t, err := ParseTicket(v.Ticket.Text)
	differs("ticket", fmt.Sprint(t.Participant, t.Secret(), t.Gateway, err), fmt.Sprint(v.Ticket.Participant, v.Ticket.Secret, v.Ticket.Gateway, nil))

	possession := request.PossessionBytes(v.Channel, v.Possession.Participant, v.Device.Public)
	differs("possession", hex.EncodeToString(possession), v.Possession.Signing)
	fits("possession", v.Device.Public, possession, v.Possession.Signature, true)

	requests := make([]Request, len(v.Requests))
	for i, r := range v.Requests {
		name := fmt.Sprintf("request %d", i)
		if requests[i], err = r.Request(v.Channel); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		digest := requests[i].Digest()
		differs(name, hex.EncodeToString(requests[i].SigningBytes()), r.Signing)
		differs(name+" digest", hex.EncodeToString(digest[:]), r.Digest)
		if r.KeyID != "" {
			fits(name, v.Device.Public, requests[i].SigningBytes(), r.Signature, true)
		}
	}
	for i, r := range v.Responses {
		name := fmt.Sprintf("response %d", i)
		if r.Request < 0 || r.Request >= len(requests) {
			return fmt.Errorf("%s is of no request", name)
		}
		answer := Response{Channel: v.Channel, Gateway: r.Gateway, Request: requests[r.Request].Digest(), Status: r.Status, Body: []byte(r.Body)}
		differs(name, hex.EncodeToString(answer.SigningBytes()), r.Signing)
		fits(name, v.Gateway.Public, answer.SigningBytes(), r.Signature, r.Counts)
	}
	for i, s := range v.Submits {
		name := fmt.Sprintf("submit %d", i)
		req := request.Request{Channel: v.Channel, Contract: s.Submit.Contract, Function: s.Submit.Function, Args: []byte(s.Submit.Args)}
		signing := req.SigningBytes(s.Submit.Signature.KeyID, s.Submit.Signature.NotAfter)
		differs(name+" ID", req.ID(), s.RequestID)
		differs(name, hex.EncodeToString(signing), s.Signing)
		fits(name, v.Device.Public, signing, s.Submit.Signature.Bytes, true)
	}
	return errors.Join(faults...)
}
