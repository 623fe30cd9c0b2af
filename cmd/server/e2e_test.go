package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image/png"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/yeqown/go-qrcode/v2"

	"cardflow/iccid"
	"cardflow/transfer/cardfile"
	"cardflow/wechat"
	"cardflow/wechat/sandbox"
)

// story is the life of some cards, told over HTTP from the carrier's file to the consumer's receipt and back.
type story struct {
	*site
	carrier, distributor, shop, regulator *visitor
	chen                                  *visitor // who buys
	sold                                  trade    // what he bought
	confirmed                             confirmation
}

// card is the n-th card of the story's file: 898604B7 of China Mobile, which counts in the last digits.
func card(n int) string { return fmt.Sprintf("898604B7192270%06d", 275000+n) }

func TestStory(t *testing.T) {
	t.Parallel()
	s := &story{site: openSite(t, demoWorld(t), crowded)}
	for _, chapter := range []struct {
		name string
		tell func(*story)
	}{
		{"everything is ready", (*story).ready},
		{"staff log in", (*story).staffLogin},
		{"a bad card file changes nothing", (*story).badFile},
		{"a good card file becomes a lot", (*story).goodFile},
		{"cards go down the chain", (*story).chain},
		{"the shop gets a code", (*story).code},
		{"a consumer logs in", (*story).consumerLogin},
		{"a code alone leads nowhere", (*story).lookup},
		{"he confirms and watches", (*story).confirm},
		{"asking twice is harmless", (*story).twice},
		{"his receipt proves it without us", (*story).receipt},
		{"his cards", (*story).myCards},
		{"each sees what is his to see of a trace", (*story).trace},
		{"another declines", (*story).decline},
		{"the shop cancels", (*story).cancel},
		{"he returns what he bought", (*story).giveBack},
		{"statistics", (*story).stats},
		{"the ledger is open to staff", (*story).ledger},
		{"logging out ends one session", (*story).logout},
		{"database and ledger agree", (*story).verdict},
	} {
		if !t.Run(chapter.name, func(t *testing.T) { s.turn(t); chapter.tell(s) }) {
			return
		}
	}
}

// turn hands the story and all its people to the chapter's test.
func (s *story) turn(t *testing.T) {
	s.t = t
	for _, v := range []*visitor{s.carrier, s.distributor, s.shop, s.regulator, s.chen} {
		if v != nil {
			v.t = t
		}
	}
}

func (s *story) ready() {
	v := s.visitor("nobody")
	if a := v.raw(http.MethodGet, s.URL+"/healthz", nil); a.status != http.StatusOK {
		s.t.Errorf("healthz: %d", a.status)
	}
	var ready struct {
		Status string
		Checks map[string]string
	}
	a := v.raw(http.MethodGet, s.URL+"/readyz", nil)
	check(s.t, json.Unmarshal(a.body, &ready))
	parts := slices.Sorted(maps.Keys(ready.Checks))
	if a.status != http.StatusOK || ready.Status != "ready" || !slices.Equal(parts, []string{"custody", "database", "journal", "ledger", "listener", "redis"}) {
		s.t.Errorf("readyz: %d %s", a.status, a.body)
	}
}

func (s *story) staffLogin() {
	stranger := s.visitor("stranger")
	stranger.refused(401, "LOGIN_FAILED", http.MethodPost, "/auth/login", map[string]string{"username": "yidong", "password": "not his"})
	stranger.refused(401, "UNAUTHENTICATED", http.MethodGet, "/lots", nil)
	s.carrier, s.distributor, s.shop, s.regulator = s.staff("yidong"), s.staff("hualian"), s.staff("xiaowang"), s.staff("jianguan")
	var me struct {
		Participant struct{ ID, Role, Name, State string }
		Roles       []string
	}
	s.shop.get("/me", &me)
	if p := me.Participant; p.ID != "xiaowang" || p.Role != "retailer" || p.Name != "小王通讯店" || p.State != "registered" || !slices.Equal(me.Roles, []string{"retailer"}) {
		s.t.Errorf("me: %+v", me)
	}
	s.shop.refused(403, "FORBIDDEN", http.MethodPost, "/lots", map[string]any{"segments": []any{cards(card(0), card(1))}})
}

// importing is how far a card file is.
type importing struct {
	State                    string
	Rows, Accepted, Rejected int
	Progress                 float64
	Lots                     []string
	Error                    *struct{ Code, Message string }
}

// sends uploads a card file and waits until it has been worked through.
func (v *visitor) sends(query string, rows iter.Seq[cardfile.Row]) (id string, end importing) {
	v.t.Helper()
	var file bytes.Buffer
	check(v.t, cardfile.WriteXLSX(&file, rows))
	var started struct{ ImportID string }
	check(v.t, v.upload(soon(v.t), "/card-imports"+query, "卡.xlsx", &file, &started))
	until(v.t, "the import to end", func() bool {
		v.get("/card-imports/"+started.ImportID, &end)
		return end.State == "done" || end.State == "failed"
	})
	return started.ImportID, end
}

func (s *story) badFile() {
	row := func(iccid, imsi string) cardfile.Row {
		return cardfile.Row{ICCID: iccid, IMSI: imsi, MSISDN: ""}
	}
	id, end := s.carrier.sends("?issue=true", slices.Values([]cardfile.Row{
		row(card(0), "460040000000001"),                // line 2: sound
		row("898604B719227", ""),                       // 3: too short
		row("8986061701000135000", ""),                 // 4: another carrier's
		row("898604B7192270274000", "460040000000001"), // 5: issued by the demo
		row("89860617010001350001", ""),                // 6: wrong check digit
		row(card(1), "46004"),                          // 7: no IMSI
		row(card(0), "460040000000001"),                // 8: line 2 again
	}))
	if end.State != "failed" || end.Error == nil || end.Error.Code != "CARD_FILE_BAD_ROWS" || !chinese(end.Error.Message) || len(end.Lots) != 0 {
		s.t.Errorf("the bad file ended as %+v, %+v", end, end.Error)
	}
	if end.Rows != 7 || end.Accepted != 1 || end.Rejected != 6 {
		s.t.Errorf("of 7 rows, 6 of them bad: %d rows, %d accepted, %d rejected", end.Rows, end.Accepted, end.Rejected)
	}
	a := s.carrier.raw(http.MethodGet, s.carrier.base+"/card-imports/"+id+"/errors.csv", nil)
	got := map[string]string{}
	lines := strings.Split(strings.TrimSpace(string(a.body)), "\r\n")
	for _, line := range lines[1:] {
		fields := strings.Split(line, ",")
		got[fields[0]] = fields[len(fields)-1]
	}
	want := map[string]string{
		"3": iccid.CodeFormat, "4": "CARD_FILE_MIXED", "5": "CARDS_ISSUED_BEFORE", "6": iccid.CodeCheckDigit, "7": iccid.CodeIMSI, "8": cardfile.CodeDuplicate,
	}
	if a.status != 200 || a.header.Get("Content-Type") != "text/csv; charset=utf-8" || !maps.Equal(got, want) {
		s.t.Errorf("errors.csv: %d %s\n%s\nmeans %v, want %v", a.status, a.header.Get("Content-Type"), a.body, got, want)
	}
	s.carrier.refused(404, "CARD_NOT_FOUND", http.MethodPost, "/cards/find", map[string]string{"iccid": card(0)})
	s.shop.refused(403, "FORBIDDEN", http.MethodGet, "/card-imports/"+id, nil)
}

func (s *story) goodFile() {
	rows := func(yield func(cardfile.Row) bool) {
		for n := range 300 {
			if !yield(cardfile.Row{ICCID: card(n), IMSI: fmt.Sprintf("46004111111%04d", n), MSISDN: fmt.Sprintf("106471111%04d", n)}) {
				return
			}
		}
	}
	_, end := s.carrier.sends("?issue=true&restrictions=DATA_ONLY&retailPolicy=OPEN", rows)
	if end.State != "done" || end.Rows != 300 || end.Accepted != 300 || end.Progress != 1 || len(end.Lots) != 1 {
		s.t.Fatalf("the good file ended as %+v, %+v", end, end.Error)
	}
	var lots items[lot]
	s.carrier.get("/lots", &lots)
	i := slices.IndexFunc(lots.Items, func(l lot) bool { return l.Hash == end.Lots[0] })
	if i < 0 {
		s.t.Fatalf("lot %s is not among %+v", end.Lots[0], lots.Items)
	}
	l := lots.Items[i]
	if l.Status != "OWNED" || l.Count != 300 || len(l.Segments) != 1 || l.Segments[0] != (span{card(0), card(299), 300}) || !slices.Equal(l.Restrictions, []string{"DATA_ONLY"}) {
		s.t.Errorf("the lot is %+v", l)
	}
	if _, again := s.carrier.sends("?issue=true", rows); again.State != "failed" || again.Rejected != 300 {
		s.t.Errorf("the same file once more ended as %+v", again)
	}
}

func (s *story) chain() {
	before := s.inventory(s.shop)
	t := s.carrier.offers("NAMED", "hualian", cards(card(0), card(299)))
	if t.Code != "" || t.Receiver.Name != "华联物联" || t.Count != 300 {
		s.t.Errorf("a NAMED trade: %+v", t)
	}
	s.shop.refused(404, "TRADE_NOT_FOUND", http.MethodPost, "/trades/"+t.TradeID+"/confirm", nil)
	var waiting items[trade]
	s.distributor.get("/trades?side=receiver&state=offered", &waiting)
	if !slices.ContainsFunc(waiting.Items, func(w trade) bool { return w.TradeID == t.TradeID }) {
		s.t.Errorf("the receiver does not see the trade among %+v", waiting.Items)
	}
	s.distributor.done("/trades/"+t.TradeID+"/confirm", nil)
	t = s.distributor.offers("NAMED", "xiaowang", cards(card(0), card(99)))
	s.shop.done("/trades/"+t.TradeID+"/confirm", nil)
	if now := s.inventory(s.shop); now != before+100 {
		s.t.Errorf("the shop had %d free cards, got 100, and has %d", before, now)
	}
	s.carrier.refused(409, "CARDS_NOT_OWNED", http.MethodPost, "/trades", map[string]any{"mode": "BEARER", "segments": []any{cards(card(0), card(0))}})
}

// inventory is how many cards somebody could sell.
func (s *story) inventory(v *visitor) int {
	s.t.Helper()
	var in struct{ Total int }
	v.get("/inventory", &in)
	return in.Total
}

func (s *story) code() {
	s.sold = s.shop.offers("BEARER", "", cards(card(10), card(11)), map[string]string{"iccid": card(20)})
	t := s.sold
	if len(t.Code) != 8 || t.Count != 3 || len(t.Segments) != 2 || t.Link != s.URL+"/t/"+t.Code {
		s.t.Fatalf("a BEARER trade: %+v", t)
	}
	base := s.shop.base + "/trades/" + t.TradeID
	a := s.shop.raw(http.MethodGet, base+"/qr.png", nil)
	if a.status != 200 || a.header.Get("Content-Type") != "image/png" {
		s.t.Fatalf("qr.png: %d %s", a.status, a.header.Get("Content-Type"))
	}
	sameQR(s.t, a.body, t.Link)
	a = s.shop.raw(http.MethodGet, base+"/wxacode", nil)
	text, err := sandbox.Scan(a.body)
	check(s.t, err)
	page, scene, _ := strings.Cut(text, "?scene=")
	if scene, err = url.QueryUnescape(scene); err != nil || page != s.Config.WeChat.MiniPage || scene != "c="+t.Code {
		s.t.Errorf("the mini-program code says %q %q", page, scene)
	}
	if a := s.shop.raw(http.MethodGet, s.URL+"/t/"+t.Code, nil); a.status != 200 || bytes.Contains(a.body, []byte(t.Code)) {
		s.t.Errorf("the page behind the link: %d", a.status)
	}
	s.distributor.refused(404, "TRADE_NOT_FOUND", http.MethodGet, "/trades/"+t.TradeID+"/qr.png", nil)
	var seen trade
	s.regulator.get("/trades/"+t.TradeID, &seen)
	if seen.Code != "" || seen.Count != 3 {
		s.t.Errorf("the regulator sees %+v", seen)
	}
}

// sameQR compares a picture with the QR code of a text, module by module.
func sameQR(t *testing.T, picture []byte, text string) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	check(t, err)
	code, err := qrcode.NewWith(text, qrcode.WithErrorCorrectionLevel(qrcode.ErrorCorrectionQuart))
	check(t, err)
	var m modules
	check(t, code.Save(&m))
	side := img.Bounds().Dx() / (len(m) + 8) // four modules of white on each side
	for y := range m {
		for x := range m[y] {
			r, _, _, _ := img.At((x+4)*side+side/2, (y+4)*side+side/2).RGBA()
			if dark := r < 0x8000; dark != m[y][x] {
				t.Fatalf("the picture is not the QR code of the link: module %d, %d", x, y)
			}
		}
	}
}

// modules is a qrcode.Writer that keeps the modules, true for dark.
type modules [][]bool

func (m *modules) Write(q qrcode.Matrix) error { *m = q.Bitmap(); return nil }

func (m *modules) Close() error { return nil }

func (s *story) consumerLogin() {
	code, _ := s.Sandbox.Mint("小陈", "login")
	s.chen = s.visitor("chen")
	var in struct {
		Token       string
		Participant struct{ ID, Role string }
		RealName    string
	}
	s.chen.post("/wechat/login", map[string]string{"code": code}, &in)
	if in.Participant.Role != "consumer" || !strings.HasPrefix(in.Participant.ID, "c-") || in.RealName != "none" {
		s.t.Errorf("logged in as %+v", in)
	}
	s.chen.refused(400, wechat.CodeUsed, http.MethodPost, "/wechat/login", map[string]string{"code": code})
	s.chen.token = in.Token
	var me struct{ Participant struct{ ID, State string } }
	until(s.t, "his registration on the ledger", func() bool {
		s.chen.get("/me", &me)
		return me.Participant.State == "registered"
	})
	if me.Participant.ID != in.Participant.ID {
		s.t.Errorf("logged in as %s and is %s", in.Participant.ID, me.Participant.ID)
	}
	s.chen.refused(403, "FORBIDDEN", http.MethodGet, "/lots", nil)
}

func (s *story) lookup() {
	proof := shows(s.sold)
	for _, wrong := range []map[string]string{
		{"code": s.sold.Code, "iccidLast6": "000000"},
		{"code": "7ZZZ9ZZZ", "iccidLast6": proof["iccidLast6"]},
	} {
		s.chen.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trade-codes/lookup", wrong)
	}
	// As a person types it.
	proof["code"] = strings.ToLower(s.sold.Code[:4]) + " - " + s.sold.Code[4:]
	var seen struct {
		TradeID, State string
		Seller         struct{ Name string }
		Segments       []span
		Count          int
		Restrictions   []string
		Requires       []string
	}
	s.chen.post("/trade-codes/lookup", proof, &seen)
	if seen.TradeID != s.sold.TradeID || seen.Seller.Name != "小王通讯店" || seen.Count != 3 || !slices.Equal(seen.Segments, s.sold.Segments) ||
		!slices.Equal(seen.Restrictions, []string{"DATA_ONLY"}) || len(seen.Requires) != 0 {
		s.t.Errorf("looked up %+v", seen)
	}
}

func (s *story) confirm() {
	v := s.chen
	var c confirmation
	v.post("/trades/"+s.sold.TradeID+"/confirm", shows(s.sold), &c)
	states := v.events(c.ConfirmationID)
	order := []string{"accepted", "signed", "submitted", "committed"}
	last := -1
	for _, state := range states {
		at := slices.Index(order, state.State)
		if at <= last {
			s.t.Errorf("the events are %+v", states)
		}
		last = at
	}
	s.confirmed = states[len(states)-1]
	if s.confirmed.State != "committed" || s.confirmed.TxID == "" || s.confirmed.BlockNumber == 0 {
		s.t.Fatalf("the last event is %+v", s.confirmed)
	}
	var asked confirmation
	v.get("/confirmations/"+c.ConfirmationID, &asked)
	if asked != s.confirmed {
		s.t.Errorf("asked for, it is %+v; the last event was %+v", asked, s.confirmed)
	}
	s.shop.refused(404, "NOT_FOUND", http.MethodGet, "/confirmations/"+c.ConfirmationID, nil)
}

// events reads the server-sent events of a confirmation until the server ends them.
func (v *visitor) events(id string) []confirmation {
	v.t.Helper()
	a := v.raw(http.MethodGet, v.base+"/confirmations/"+id+"/events", nil)
	if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		v.t.Fatalf("events: %d %s", a.status, a.header.Get("Content-Type"))
	}
	var states []confirmation
	lines := bufio.NewScanner(bytes.NewReader(a.body))
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var c confirmation
			check(v.t, json.Unmarshal([]byte(data), &c))
			states = append(states, c)
		}
	}
	if len(states) == 0 {
		v.t.Fatalf("no events in %q", a.body)
	}
	return states
}
