package transfer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"cardflow/transfer"
)

// logbook collects what is logged, at every level.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logbook) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

// After a story with everything in it, faults included, neither the ledger's file nor the logs hold a card number, a code,
// a salt, an openid or a name, in any spelling; nor does the database, beside the numbers it is searched by.
func TestNothingPersonalOnTheLedgerOrInLogs(t *testing.T) {
	t.Parallel()
	var log logbook
	f := &faulty{}
	r := newStockedWith(t, f.wrap, func(c *transfer.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true}))
	})
	const openid, words, imsi, msisdn = "oXyZ-openid-of-eve-0001", "卡面有划痕-scratched", "460041234567890", "1440212345678"
	eve := r.registered(openid)
	ann := r.consumer("ann")

	_, err := r.Issue(r.ctx, carrier, idem("issue"), transfer.IssueInput{
		Cards: []transfer.CardDetail{{ICCID: id(300_001), IMSI: imsi, MSISDN: msisdn}}, Segments: span(300_010, 300_020), RetailPolicy: "OPEN"})
	check(t, err)
	var codes []string
	keep := func(v transfer.TradeView) transfer.TradeView { codes = append(codes, v.Code); return v }
	f.next("Confirm", 2, notSent)
	f.next("Confirm", 1, lost)
	f.next("Confirm", 1, refusing("TRADE_UNKNOWN"))
	a := keep(r.offer(retailer, 1, 3))
	act := r.confirm(eve, a, 1)
	b := keep(r.offer(retailer, 4, 4))
	d, err := r.Decline(r.ctx, eve, idem("decline"), b.TradeID, b.Code, last6(4), "DAMAGED", words)
	check(t, err)
	r.await(d, "")
	c := keep(r.offer(retailer, 5, 5))
	d, err = r.Cancel(r.ctx, retailer, idem("cancel"), c.TradeID)
	check(t, err)
	r.await(d, "")
	e := keep(r.offer(retailer, 6, 6))
	f.next("Confirm", 1, refusing("CAP_EXCEEDED"))
	d, err = r.Confirm(r.ctx, ann, idem("confirm"), e.TradeID, e.Code, last6(6))
	check(t, err)
	r.await(d, "CAP_EXCEEDED")
	d, err = r.Return(r.ctx, eve, idem("return"), a.TradeID, words)
	check(t, err)
	if d.State != "committed" {
		t.Fatalf("%+v", d)
	}
	r.on(r.Freeze, carrier, r.lotOf(500), span(500, 510), "")
	wants(t, "a bad offer", r.tryOffer(retailer, span(500, 501)), "CARDS_FROZEN")
	wants(t, "a bad card", r.tryOffer(retailer, []transfer.Span{{Start: "89860617010001351350"}}), "ICCID_CHECK_DIGIT")
	_, err = r.Lookup(r.ctx, ann, "00000000", last6(6))
	wants(t, "a wrong code", err, "TRADE_CODE_NOT_FOUND")
	check(t, r.AddPerson(r.ctx, transfer.NewPerson{Username: "zhang.san", Password: "correct horse battery", Organisation: retailer.Participant, Roles: []string{"retailer"}}))
	_, _, err = r.Login(r.ctx, "zhang.san", "wrong horse battery")
	if err == nil {
		t.Error("logged in")
	}
	receipt, err := r.Receipt(r.ctx, eve, act.ID)
	check(t, err)
	r.fsck()
	r.reopen(t)

	// The salts: every one that the journal has.
	var salts [][]byte
	check(t, r.journal.Read(func(o transfer.Entry) error {
		for _, l := range o.Lots {
			salts = append(salts, l.Salt)
		}
		for _, c := range o.Codes {
			salts = append(salts, c.Salt)
		}
		return nil
	}))
	if salt, _ := hex.DecodeString(receipt.Salt); len(salts) < 20 || !contains(salts, salt) {
		t.Fatalf("%d salts, or not that of the receipt", len(salts))
	}
	secrets := map[string][]byte{}
	say := func(what, s string) { secrets[what+" "+s] = []byte(s) }
	for _, n := range []int{1, 2, 3, 4, 5, 6, 500, 510, 100_000, 300_001, 300_010} {
		say("ICCID", id(n))
		say("ICCID without its ends", id(n)[2:19])
	}
	say("range", id(1)[:12])
	say("bad ICCID", "89860617010001351350")
	for _, c := range codes {
		if len(c) != 8 {
			t.Fatalf("code %q", c)
		}
		say("code", c)
	}
	say("openid", openid)
	say("words", words)
	say("words", "scratched")
	say("IMSI", imsi)
	say("number", msisdn)
	for _, name := range []string{"小店", "华联物联", "中国移动", "监管", "zhang.san"} {
		say("name", name)
	}
	say("password", "horse battery")
	for i, s := range salts {
		secrets[fmt.Sprintf("salt %d, raw", i)] = s
		secrets[fmt.Sprintf("salt %d, hex", i)] = []byte(hex.EncodeToString(s))
		secrets[fmt.Sprintf("salt %d, base64", i)] = []byte(strings.TrimRight(base64.StdEncoding.EncodeToString(s), "="))
	}
	file := func(name string) []byte {
		b, err := os.ReadFile(r.path(name))
		check(t, err)
		return b
	}
	r.stop()
	r.Wait()
	chain, logs, journal := file("ledger"), log.bytes(), file("journal")
	if !bytes.Contains(chain, []byte(a.TradeID)) || !bytes.Contains(logs, []byte(`"msg"`)) {
		t.Fatal("this is not the ledger, or there is no log")
	}
	for what, s := range secrets {
		if bytes.Contains(chain, s) {
			t.Errorf("the ledger holds a %s", what)
		}
		if bytes.Contains(logs, s) {
			t.Errorf("the log holds a %s", what)
		}
		if bytes.Contains(journal, s) {
			t.Errorf("the journal holds a %s", what)
		}
	}
	// At rest: what is personal is sealed. Names of organisations and user names are no secret there, and card numbers
	// are what it is searched by.
	database := r.place.Bytes(t)
	for what, s := range secrets {
		switch kind, _, _ := strings.Cut(what, " "); kind {
		case "openid", "words", "IMSI", "number", "code", "password", "salt":
			if bytes.Contains(database, s) {
				t.Errorf("the database holds a %s", what)
			}
		}
	}
}

func contains(list [][]byte, b []byte) bool {
	for _, x := range list {
		if bytes.Equal(x, b) {
			return true
		}
	}
	return false
}
