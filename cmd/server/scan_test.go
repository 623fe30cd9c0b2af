package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cardflow/iccid"
	"cardflow/transfer"
	"cardflow/transfer/cardfile"
)

// secrets are what must stand on no block and in no log: needles by what they are.
type secrets struct {
	needles map[string][]string
	last6   map[string]bool // of known cards: six digits mean something only where they stand as a value
}

func (s *secrets) text(what string, values ...string) {
	for _, v := range values {
		if len(v) < 6 {
			panic("too short to be looked for: " + what)
		}
		s.needles[what] = append(s.needles[what], v, strings.ToLower(v), strings.ToUpper(v))
	}
}

// bytes adds a secret that may have been written in many ways.
func (s *secrets) bytes(what string, b []byte) {
	s.needles[what] = append(s.needles[what], string(b))
	s.needles[what+", in hex"] = append(s.needles[what+", in hex"], hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)))
	s.needles[what+", in base64"] = append(s.needles[what+", in base64"],
		base64.RawStdEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b))
}

// card adds a card's number as it is printed, as it is stored on a chip, and without its check digit.
func (s *secrets) card(number string) {
	whole := number
	if len(number) == 20 && iccid.CheckLuhn(number) {
		number = number[:19]
	}
	s.text("ICCID", number)
	swapped := []byte(whole + "F"[:len(whole)%2])
	for i := 0; i < len(swapped); i += 2 {
		swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
	}
	s.text("ICCID in chip order", string(swapped))
	for _, digits := range []string{whole[:18], string(swapped[:18])} {
		packed, err := hex.DecodeString(digits)
		if err != nil {
			panic(err)
		}
		s.needles["ICCID, packed"] = append(s.needles["ICCID, packed"], string(packed))
	}
	s.last6[iccid.Last6(whole)] = true
}

// anyCard is what looks like an ICCID of China, standing by itself: inside a longer run of hex digits it is a piece of
// a hash.
var anyCard = regexp.MustCompile(`(?:^|[^0-9A-Za-z_-])(898[56][0-9A-Fa-f]{15,16})(?:[^0-9A-Za-z_-]|$)`)

// anyValue is six characters that stand as a value, in JSON or in text.
var anyValue = regexp.MustCompile(`["=: ]([0-9A-F]{6})["&, }]`)

// anyToken is what looks like a session's token, in a log.
var anyToken = regexp.MustCompile(`(?:^|[^0-9A-Za-z_-])([0-9A-Za-z_-]{43})(?:[^0-9A-Za-z_-]|$)`)

// find answers what of the secrets stands in b.
func (s *secrets) find(b []byte) []string {
	found := map[string]bool{}
	for what, needles := range s.needles {
		for _, n := range needles {
			if !found[what] && bytes.Contains(b, []byte(n)) {
				found[what] = true
			}
		}
	}
	if anyCard.Match(b) {
		found["something like an ICCID"] = true
	}
	for _, m := range anyValue.FindAllSubmatch(b, -1) {
		if s.last6[string(m[1])] {
			found["end of an ICCID"] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// TestNothingLeaks plays the demo, and more on its data with everything that people can type wrong, and then looks at
// every byte of the ledger and of the logs, which were on from debug up.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	s := openSite(t, dir, crowded)
	known := &secrets{needles: map[string][]string{}, last6: map[string]bool{}}
	known.tellAll(s)
	s.misuse(known)
	known.openings(s)
	ledgerFile := s.Config.Path(s.Config.Ledger.File)
	s.close(t)
	for _, name := range []string{"root.key", "data.key"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		known.bytes(name, b)
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		check(t, err)
		return b
	}
	log := []byte(s.log.String())
	for name, b := range map[string][]byte{"the ledger": read(ledgerFile), "the demo's log": read(filepath.Join(dir, "demo.log")), "the log": log} {
		// What is no secret is there to be read, so the file hides nothing from a search.
		if !bytes.Contains(b, []byte("xiaowang")) {
			t.Errorf("%s does not hold what it should", name)
		}
		for _, what := range known.find(b) {
			t.Errorf("%s holds: %s", name, what)
		}
		known.findsPlanted(t, name, b)
	}
	if m := anyToken.FindSubmatch(log); m != nil {
		t.Errorf("the log holds what looks like a token: %s", m[1])
	}
	if !anyToken.MatchString(`{"token":"` + known.needles["token"][0] + `"}`) {
		t.Error("a token does not look like one")
	}
}

// findsPlanted proves that the search finds every kind of secret: in a copy of b that holds one of each.
func (s *secrets) findsPlanted(t *testing.T, name string, b []byte) {
	t.Helper()
	b = bytes.Clone(b)
	kinds := slices.Sorted(maps.Keys(s.needles))
	room := len(b) / (len(kinds) + 2)
	for i, what := range kinds {
		copy(b[i*room:], s.needles[what][0])
	}
	copy(b[len(kinds)*room:], `"89860812345678901234"`)
	for last := range s.last6 {
		copy(b[(len(kinds)+1)*room:], `"`+last+`"`)
		break
	}
	want := slices.Sorted(slices.Values(append(kinds, "something like an ICCID", "end of an ICCID")))
	if got := s.find(b); !slices.Equal(got, want) {
		t.Errorf("planted in %s: %q\nfound: %q", name, want, got)
	}
}

// tellAll adds what the demo and its data hold.
func (s *secrets) tellAll(on *site) {
	plan, err := on.Config.Numbering.Plan()
	check(on.t, err)
	for _, f := range demoFiles {
		rows, err := f.rows(plan)
		check(on.t, err)
		n := 0
		for row := range rows {
			if n++; n%7 == 0 || row.ICCID == soldCard { // of runs: what holds a card is found by its neighbours too
				s.card(row.ICCID)
				s.text("IMSI", row.IMSI)
				s.text("MSISDN", row.MSISDN)
			}
		}
	}
	for _, name := range []string{"小李", "小钱", "小张", "小孙"} {
		s.needles["name"] = append(s.needles["name"], name, strings.Trim(fmt.Sprintf("%+q", name), `"`))
		s.text("openid", on.Sandbox.OpenID(name))
	}
	for _, o := range demoOrganisations {
		if o.Name != "平台" {
			s.needles["organisation"] = append(s.needles["organisation"], o.Name)
		}
	}
	s.text("password", demoPassword)
	s.text("real name", demoPersonName)
	s.text("ID number", demoPersonNumber, demoPersonNumber[:17])
}

// openings adds salts and codes of all lots and trades that ever were, from the journal.
func (s *secrets) openings(on *site) {
	count := 0
	check(on.t, on.Journal.Read(func(o transfer.Entry) error {
		for _, l := range o.Lots {
			s.bytes("salt of a lot", l.Salt)
			count++
		}
		for _, c := range o.Codes {
			s.bytes("salt of a code", c.Salt)
			s.text("trade code", c.Code, c.Code[:4]+"-"+c.Code[4:])
		}
		return nil
	}))
	if count < 10 {
		on.t.Errorf("the journal has %d lots", count)
	}
	s.bytes("issue key", on.Service.Vault.IssueKey())
}

// misuse does what goes right and what goes wrong with secrets of its own, which it adds.
func (s *site) misuse(known *secrets) {
	const (
		number   = "898604B7192270273999"
		wrong    = "her other password 1"
		feedback = "卡上写着别人的号码"
	)
	known.card(number)
	known.text("password", wrong)
	known.text("reason", feedback)
	shop, yidong := s.staff("xiaowang"), s.staff("yidong")
	nobody := s.visitor("nobody")
	nobody.refused(401, "LOGIN_FAILED", http.MethodPost, "/auth/login", map[string]string{"username": "xiaowang", "password": wrong})
	minted, _ := s.Sandbox.Mint("小孙", "login")
	sun := s.visitor("sun")
	check(s.t, sun.wechat(soon(s.t), minted))
	known.text("WeChat code", minted)
	for _, code := range []string{minted, "err:-1", "err:40029", "err:45011", "not a code & more"} {
		if nobody.wechat(soon(s.t), code) == nil {
			s.t.Errorf("the login code %q works", code)
		}
	}
	for _, v := range []*visitor{shop, yidong, sun} {
		known.text("token", v.token)
	}
	// Card files: one that is refused, one that is taken, one that is none.
	row := cardfile.Row{ICCID: number, IMSI: "460048888888888", MSISDN: "1064788888888"}
	known.text("IMSI", row.IMSI)
	known.text("MSISDN", row.MSISDN)
	yidong.sends("?issue=true", slices.Values([]cardfile.Row{row, row, {ICCID: number[:15]}, {ICCID: soldCard}}))
	if _, end := yidong.sends("?issue=true", slices.Values([]cardfile.Row{row})); end.State != "done" {
		s.t.Errorf("the card file ended as %+v", end)
	}
	// Codes, right and wrong, and cards where they don't belong.
	t := shop.offers("BEARER", "", cards("898604B7192270274060", "898604B7192270274061"))
	proof := shows(t)
	sun.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trade-codes/lookup", map[string]string{"code": t.Code, "iccidLast6": "ABCDEF"})
	sun.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trades/"+strings.Repeat("0", 32)+"/confirm", proof)
	sun.post("/trade-codes/lookup", proof, nil)
	for _, path := range []string{"/cards?iccid=" + number, "/cards/" + number + "/trace", "/trades/" + t.Code, "/trades?q=" + t.Code, "/" + number, "/t/" + t.Code + "?" + number} {
		shop.raw(http.MethodGet, shop.base+path, nil)
	}
	nobody.raw(http.MethodGet, s.URL+"/t/"+t.Code, nil)
	for _, body := range []any{map[string]string{number: number}, []string{number, t.Code}, number, map[string]any{"iccid": []string{number}}} {
		shop.raw(http.MethodPost, shop.base+"/cards/find", body, "Idempotency-Key", number, "User-Agent", number, "X-Request-Id", number, "Referer", s.URL+"/t/"+t.Code)
	}
	nobody.raw(http.MethodGet, nobody.base+"/me", nil, "Authorization", "Bearer "+shop.token+"x")
	shop.raw(number, shop.base+"/me", nil)
	body := map[string]string{"reason": "NOT_MINE", "text": feedback}
	maps.Copy(body, proof)
	sun.done("/trades/"+t.TradeID+"/decline", body)
	t = shop.offers("BEARER", "", cards("898604B7192270274060", "898604B7192270274061"))
	sun.done("/trades/"+t.TradeID+"/confirm", shows(t))
	sun.done("/trades/"+t.TradeID+"/return", map[string]string{"reason": feedback})
	sun.owns()
	shop.get("/trades?side=receiver", nil)
}
