package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardflow/gm"
	"cardflow/ledger"
)

// receipt is a receipt as its holder has it.
type receipt struct {
	ConfirmationID, TradeID    string
	Seller                     struct{ Name string }
	Buyer                      string
	Segments                   []span
	Count                      int
	LotHash, Rule              string
	Salt, Canonical            string
	Channel, RequestID         string
	Arguments                  string
	KeyID                      string
	NotAfter                   int64
	Signature, TxID, BlockHash string
	BlockNumber                uint64
}

// witness is what the ledger says of a receipt.
type witness struct {
	keyID, keyOwner string
	public          gm.PublicKey
	lotOwner        string
	arguments       string // of the transaction
}

// verify checks a receipt as a stranger would who has only the published formulas and the ledger. It shares no code
// with what made the receipt but the SM2 and SM3 of package gm.
func (r receipt) verify(w witness) error {
	salt, err := hex.DecodeString(r.Salt)
	if err != nil || len(salt) != 32 {
		return fmt.Errorf("salt %q", r.Salt)
	}
	lot := sha256.Sum256([]byte("cardflow/lot/1/" + r.Rule + string(salt) + r.Canonical))
	if hex.EncodeToString(lot[:]) != r.LotHash {
		return errors.New("salt and cards do not give the lot hash")
	}
	var runs []string
	for _, s := range r.Segments {
		if s.Start == s.End {
			runs = append(runs, s.Start)
		} else {
			runs = append(runs, s.Start+"-"+s.End)
		}
	}
	if strings.Join(runs, ",") != r.Canonical {
		return errors.New("the segments are not those of the canonical form")
	}
	var said struct{ Trade, Lot, Receiver string }
	if err := json.Unmarshal([]byte(r.Arguments), &said); err != nil || said.Trade != r.TradeID || said.Lot != r.LotHash || said.Receiver != r.Buyer {
		return fmt.Errorf("what was signed is about something else: %s", r.Arguments)
	}
	digest := gm.SM3([]byte(r.Arguments))
	act := gm.SM3(fields("cardflow/v1", "act", r.Channel, "ownership", "Confirm", string(digest[:])))
	if hex.EncodeToString(act[:]) != r.RequestID {
		return errors.New("the request ID is not that of the arguments")
	}
	sig, err := hex.DecodeString(r.Signature)
	if err != nil {
		return err
	}
	parsed, err := gm.ParseSignature(sig)
	if err != nil {
		return err
	}
	notAfter := binary.BigEndian.AppendUint64(nil, uint64(r.NotAfter))
	if err := gm.Verify(w.public, fields("cardflow/v1", r.Channel, "ownership", "Confirm", r.KeyID, string(notAfter), string(digest[:])), parsed); err != nil {
		return fmt.Errorf("the signature: %w", err)
	}
	switch {
	case w.keyID != r.KeyID || w.keyOwner != r.Buyer:
		return fmt.Errorf("the key is that of %s", w.keyOwner)
	case w.lotOwner != r.Buyer:
		return fmt.Errorf("the lot belongs to %s", w.lotOwner)
	case w.arguments != r.Arguments:
		return errors.New("the ledger has another request")
	}
	return nil
}

// fields joins fields, each with its length before it in four bytes.
func fields(all ...string) []byte {
	var out []byte
	for _, f := range all {
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(f))), f...)
	}
	return out
}

// proves demands that a receipt holds against the ledger, and that no part of it could be another.
func proves(t *testing.T, l ledger.Ledger, r receipt) {
	t.Helper()
	tx, err := l.Transaction(t.Context(), r.TxID)
	check(t, err)
	w := witness{arguments: string(tx.Args[0])}
	var key struct {
		ID, Participant string
		Public          gm.PublicKey
	}
	ask(t, l, &key, "identity", "GetKey", r.KeyID)
	var lot struct{ Owner string }
	ask(t, l, &lot, "ownership", "GetLot", r.LotHash)
	w.keyID, w.keyOwner, w.public, w.lotOwner = key.ID, key.Participant, key.Public, lot.Owner
	if err := r.verify(w); err != nil {
		t.Fatalf("the receipt does not hold: %v\n%+v", err, r)
	}
	for part, of := range map[string]*string{
		"lot hash": &r.LotHash, "rule": &r.Rule, "salt": &r.Salt, "canonical form": &r.Canonical, "buyer": &r.Buyer, "trade": &r.TradeID,
		"channel": &r.Channel, "request ID": &r.RequestID, "arguments": &r.Arguments, "key ID": &r.KeyID, "signature": &r.Signature,
	} {
		was := *of
		*of = changed(was)
		if r.verify(w) == nil {
			t.Errorf("the receipt holds with another %s", part)
		}
		*of = was
	}
	r.NotAfter++
	if r.verify(w) == nil {
		t.Error("the receipt holds with another deadline")
	}
}

// changed is s with another character in its middle.
func changed(s string) string {
	b := []byte(s)
	at := len(b) / 2
	if b[at]++; b[at] == '9'+1 || b[at] == 'f'+1 {
		b[at] -= 2 // still a hex digit
	}
	return string(b)
}

// ask asks the ledger.
func ask(t *testing.T, l ledger.Ledger, out any, contract, function, arg string) {
	t.Helper()
	b, err := l.Query(t.Context(), contract, function, []byte(arg))
	check(t, err)
	check(t, json.Unmarshal(b, out))
}
