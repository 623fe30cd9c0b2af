package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/cardfile"
)

// demoCommand plays the story on a fresh data directory, over HTTP like everyone else, and checks what it claims.
type demoCommand struct {
	Keep string `help:"Keep the demo's data in this new directory." placeholder:"DIR" type:"path"`
}

// errDemo makes the exit status 1: something that should hold did not.
var errDemo = errors.New("the demo found something that does not hold")

// demo is one play.
type demo struct {
	ctx    context.Context
	app    *App
	out    io.Writer
	failed int
	step   int
	people map[string]*client
}

// Run implements the command.
func (c demoCommand) Run(e *environment) error {
	dir := c.Keep
	if dir == "" {
		tmp, err := os.MkdirTemp("", "cardflow-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	} else if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s is there already: the demo wants a fresh directory", filepath.Base(dir))
	}
	config := e.config
	config.DataDir, config.HTTP.Listen = dir, "127.0.0.1:0"
	log, err := openLog(dir)
	if err != nil {
		return err
	}
	defer log.Close()
	start := time.Now()
	app, err := Open(e.ctx, config, newLogger(LogConfig{Level: "debug", Format: "json"}, log))
	if err != nil {
		return err
	}
	d := &demo{ctx: e.ctx, app: app, out: e.stdout, people: map[string]*client{}}
	err = d.play()
	if err == nil {
		err = d.scan(dir)
	}
	if closing := app.Close(e.ctx); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	d.say("")
	if d.failed > 0 {
		d.say("  ✗ 有 %d 项不成立", d.failed)
		return errDemo
	}
	d.say("  ✓ 全部成立，用时 %.1f 秒", time.Since(start).Seconds())
	if c.Keep != "" {
		d.say("    数据保留在 %s", c.Keep)
	}
	return nil
}

func openLog(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "demo.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// head opens a chapter.
func (d *demo) head(title string) {
	d.step++
	d.say("\n%d. %s", d.step, title)
}

// done reports a step with its transaction.
func (d *demo) done(what, txID string, block uint64) {
	d.say("   ✓ %s TXID %s… 区块 %d", pad(what, 42), txID[:min(16, len(txID))], block)
}

// refused demands that err is a refusal with one of these codes.
func (d *demo) refused(what string, err error, codes ...string) {
	code := codeOf(err)
	for _, c := range codes {
		if code == c {
			d.say("   ✓ %s 拒绝：%s", pad(what, 42), code)
			return
		}
	}
	d.failed++
	d.say("   ✗ %s 应拒绝（%s），实际：%v", pad(what, 42), codes[0], err)
}

func (d *demo) check(ok bool, format string, args ...any) {
	mark := "✓"
	if !ok {
		d.failed++
		mark = "✗"
	}
	d.say("   "+mark+" "+format, args...)
}

func codeOf(err error) string {
	var a *apiError
	if errors.As(err, &a) {
		return a.Code
	}
	return contract.CodeOf(err)
}

// pad fills text to a width of terminal columns: a Chinese character takes two.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-columns(s)))
}

func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= 0x1100 && utf8.RuneLen(r) >= 3 {
			n++
		}
	}
	return n
}

func (d *demo) play() error {
	if err := d.app.seedOrganisations(d.ctx); err != nil {
		return err
	}
	if err := d.app.Listen(); err != nil {
		return err
	}
	for _, o := range demoOrganisations {
		c := newClient(d.app.URL, o.Username)
		if err := c.login(d.ctx, o.Username, demoPassword); err != nil {
			return fmt.Errorf("%s logs in: %w", o.Username, err)
		}
		d.people[o.ID] = c
	}
	d.say("CardFlow 卡流转 演示：一张物联网卡从电信企业到消费者")
	for _, chapter := range []func() error{d.import_, d.chain, d.sale, d.trace, d.refusals, d.verdict} {
		if err := chapter(); err != nil {
			return err
		}
	}
	return nil
}

// import_ brings 1,000 cards of three carriers onto the ledger.
func (d *demo) import_() error {
	d.head("电信企业导入卡文件（共 1,000 张，三家编号规则），登记物权")
	plan, err := d.app.Config.Numbering.Plan()
	if err != nil {
		return err
	}
	for _, f := range demoFiles {
		rows, err := f.rows(plan)
		if err != nil {
			return err
		}
		var file bytes.Buffer
		if err := cardfile.WriteXLSX(&file, rows); err != nil {
			return err
		}
		c := d.people[f.carrier]
		var started struct{ ImportID string }
		if err := c.upload(d.ctx, "/card-imports?issue=true", f.carrier+".xlsx", &file, &started); err != nil {
			return err
		}
		if _, err := d.app.awaitImport(d.ctx, demoCaller(f.carrier), started.ImportID); err != nil {
			return err
		}
		var lots struct {
			Items []struct {
				Count       int
				TxID        string
				BlockNumber uint64
			}
		}
		if err := c.call(d.ctx, http.MethodGet, "/lots", nil, &lots); err != nil {
			return err
		}
		for _, l := range lots.Items {
			d.done(fmt.Sprintf("%s 登记 %d 张", demoName(f.carrier), l.Count), l.TxID, l.BlockNumber)
		}
	}
	return nil
}

func demoName(id string) string {
	for _, o := range demoOrganisations {
		if o.ID == id {
			return o.Name
		}
	}
	return id
}

// tradeAnswer is a trade as the API shows it.
type tradeAnswer struct {
	TradeID string
	Code    string
	State   string
	Count   int
	OfferTx string
	EndTx   string
	LotHash string
}

func (d *demo) offer(from string, body map[string]any) (tradeAnswer, error) {
	var r struct{ Trades []tradeAnswer }
	if err := d.people[from].call(d.ctx, http.MethodPost, "/trades", body, &r); err != nil {
		return tradeAnswer{}, err
	}
	return r.Trades[0], nil
}

func segment(first, last string) []map[string]string {
	return []map[string]string{{"start": first, "end": last}}
}

func (d *demo) chain() error {
	d.head("逐级流转：转出申请与转入确认，两步都由双方签名")
	for _, h := range []struct{ from, to, first, last string }{
		{"cmcc", "hualian", "898604B7192270274000", "898604B7192270274299"},
		{"hualian", "xiaowang", "898604B7192270274000", "898604B7192270274099"},
	} {
		t, err := d.offer(h.from, map[string]any{"mode": "NAMED", "to": h.to, "segments": segment(h.first, h.last)})
		if err != nil {
			return err
		}
		d.tx(fmt.Sprintf("%s 转出 %d 张", demoName(h.from), t.Count), t.OfferTx)
		if err := d.confirm(h.to, t.TradeID, nil, fmt.Sprintf("%s 转入确认", demoName(h.to))); err != nil {
			return err
		}
	}
	return nil
}

// tx reports a step by its transaction, looked up on the ledger.
func (d *demo) tx(what, id string) {
	t, err := d.app.Ledger.Transaction(d.ctx, id)
	if err != nil {
		d.check(false, "%s：账本上没有交易 %s", what, id)
		return
	}
	d.done(what, id, t.BlockNumber)
}

func (d *demo) confirm(who, trade string, body any, what string) error {
	var v confirmation
	if err := d.people[who].call(d.ctx, http.MethodPost, "/trades/"+trade+"/confirm", body, &v); err != nil {
		return err
	}
	v, err := d.people[who].await(d.ctx, v.ConfirmationID)
	if err != nil {
		return err
	}
	d.done(what, v.TxID, v.BlockNumber)
	return nil
}

// soldCard is the card whose life the demo shows.
const soldCard = "898604B7192270274042"

func (d *demo) sale() error {
	d.head("零售商生成交易码，消费者在微信里确认")
	t, err := d.offer("xiaowang", map[string]any{"mode": "BEARER", "segments": segment(soldCard, soldCard)})
	if err != nil {
		return err
	}
	d.tx(fmt.Sprintf("小王通讯店 转出 1 张，交易码 %s", t.Code), t.OfferTx)
	li := newClient(d.app.URL, "li")
	if err := li.wechat(d.ctx, "demo:小李"); err != nil {
		return err
	}
	d.people["li"] = li
	proof := map[string]string{"code": strings.ToLower(t.Code), "iccidLast6": iccid.Last6(soldCard)}
	var seen struct {
		TradeID string
		Seller  struct{ Name string }
		Count   int
	}
	if err := li.call(d.ctx, http.MethodPost, "/trade-codes/lookup", proof, &seen); err != nil {
		return err
	}
	d.check(seen.TradeID == t.TradeID && seen.Count == 1, "小李 输入交易码和卡号后六位，看到：%s，%d 张", seen.Seller.Name, seen.Count)
	if err := d.confirm("li", t.TradeID, proof, "小李 确认收卡（托管 SM2 密钥签名）"); err != nil {
		return err
	}
	d.people["sold"] = &client{name: t.TradeID + " " + t.Code}
	return nil
}

// sold is the trade of the sale and its code.
func (d *demo) sold() (trade, code string) {
	trade, code, _ = strings.Cut(d.people["sold"].name, " ")
	return trade, code
}

func (d *demo) trace() error {
	d.head("溯源：监管者看到这张卡的一生，消费者只看到上一手")
	var card struct{ CardID string }
	watcher := d.people["regulator"]
	if err := watcher.call(d.ctx, http.MethodPost, "/cards/find", map[string]string{"iccid": soldCard}, &card); err != nil {
		return err
	}
	var t traceAnswer
	if err := watcher.call(d.ctx, http.MethodGet, "/cards/"+card.CardID+"/trace", nil, &t); err != nil {
		return err
	}
	t.print(d.out)
	d.check(len(t.Hops) == 4, "监管者看到 %d 步，从登记到消费者，没有断", len(t.Hops))
	var mine traceAnswer
	if err := d.people["li"].call(d.ctx, http.MethodGet, "/cards/"+card.CardID+"/trace", nil, &mine); err != nil {
		return err
	}
	d.check(len(mine.Hops) == 1 && mine.Hops[0].From == "小王通讯店", "小李看到 %d 步：来自 %s", len(mine.Hops), mine.Hops[0].From)
	return nil
}

type traceAnswer struct {
	ICCID string
	Hops  []struct {
		Kind, From, To         string
		OfferedAt, ConfirmedAt time.Time
		Device, EndDevice      string
		TxIDs                  []string
		BlockNumber            uint64
	}
}

// print draws the trace as a table that fits 80 columns.
func (t traceAnswer) print(w io.Writer) {
	fmt.Fprintf(w, "   卡号 %s\n", t.ICCID)
	fmt.Fprintf(w, "   %s %s %s %s %s %s\n", pad("步骤", 6), pad("从", 12), pad("到", 12), pad("时间", 10), pad("设备", 9), "TXID（区块）")
	fmt.Fprintf(w, "   %s\n", strings.Repeat("─", 74))
	for _, h := range t.Hops {
		kind, at, device := "流转", h.ConfirmedAt, h.EndDevice
		switch h.Kind {
		case "ISSUE":
			kind, at, device = "登记", h.OfferedAt, h.Device
		case "RETURN":
			kind = "退回"
		}
		from := h.From
		if from == "" {
			from = "-"
		}
		fmt.Fprintf(w, "   %s %s %s %s %s %s… (%d)\n", pad(kind, 6), pad(from, 12), pad(h.To, 12), pad(at.Local().Format("15:04:05"), 10), pad(device, 9),
			h.TxIDs[len(h.TxIDs)-1][:12], h.BlockNumber)
	}
}

func (d *demo) refusals() error {
	d.head("该拒绝的都拒绝")
	trade, code := d.sold()
	zhang := newClient(d.app.URL, "zhang")
	if err := zhang.wechat(d.ctx, "demo:小张"); err != nil {
		return err
	}
	_, err := d.offer("xiaowang", map[string]any{"mode": "BEARER", "segments": segment(soldCard, soldCard)})
	d.refused("一卡两卖（接口）", err, "CARDS_NOT_OWNED")
	d.refused("一卡两卖（绕过数据库，直接提交账本）", d.doubleSale(trade), contract.InputSpent)
	d.refused("重复登记同一张卡（直接提交账本）", d.doubleIssue(), contract.AlreadyIssued)
	err = zhang.call(d.ctx, http.MethodPost, "/trade-codes/lookup", map[string]string{"code": "7ZZZ9ZZZ", "iccidLast6": "000000"}, nil)
	d.refused("错误的交易码", err, "TRADE_CODE_NOT_FOUND")
	used := map[string]string{"code": code, "iccidLast6": iccid.Last6(soldCard)}
	err = zhang.call(d.ctx, http.MethodPost, "/trade-codes/lookup", used, nil)
	d.refused("用过的交易码（别人），回答一模一样", err, "TRADE_CODE_NOT_FOUND")
	err = zhang.call(d.ctx, http.MethodPost, "/trades/"+trade+"/confirm", used, nil)
	d.refused("第二个人确认同一笔交易", err, "TRADE_CODE_NOT_FOUND")
	d.refused("篡改已签名的请求（直接提交账本）", d.tampered(), contract.SignatureInvalid)
	return nil
}

// submit sends a crafted transaction straight to the ledger: the database is out of the way.
func (d *demo) submit(r request.Request, proof request.Proof, openings request.Openings) error {
	p, err := d.app.Ledger.Prepare(r.Contract, r.Function, [][]byte{r.Args, proof.Encode()})
	if err != nil {
		return err
	}
	_, err = d.app.Ledger.Submit(d.ctx, p, openings.Transient(), func() error { return nil })
	return err
}

// signed signs a crafted request with the custodial key of a participant, as a backend that lies could.
func (d *demo) signed(owner string, body request.Body) (request.Request, request.Proof, error) {
	key, err := signer{d.app.Custody}.ActiveKey(d.ctx, owner, transfer.SlotAccount)
	if err != nil {
		return request.Request{}, request.Proof{}, err
	}
	sig, err := signer{d.app.Custody}.Sign(d.ctx, transfer.Ask{
		Owner: owner, Slot: transfer.SlotAccount, Purpose: body.Function(), Subject: fmt.Sprintf("demo-%d", time.Now().UnixNano()), Attempt: 1, KeyID: key,
		NotAfter: time.Now().Add(time.Hour).UnixMilli(), Actor: "demo",
	}, body)
	return request.New(d.app.Ledger.Channel(), body), request.Proof{Signatures: []request.Signature{sig}}, err
}

// doubleSale offers the lot that the shop's sale has spent once more, correctly signed.
func (d *demo) doubleSale(trade string) error {
	t, err := d.app.Ledger.Query(d.ctx, request.Ownership, "GetTrade", []byte(trade))
	if err != nil {
		return err
	}
	sold, err := d.app.Ledger.Query(d.ctx, request.Ownership, "GetLot", []byte(between(string(t), `"lot":"`, `"`)))
	if err != nil {
		return err
	}
	lot := between(string(sold), `"parents":["`, `"`) // spent by the sale, and once the shop's
	now := time.Now()
	set, err := iccid.SetOf(iccid.Serial, soldCard)
	if err != nil {
		return err
	}
	hash, opening := request.OpeningOf(set, [32]byte{1})
	r, proof, err := d.signed("xiaowang", request.Offer{
		Seller: "xiaowang", Mode: request.Named, Receiver: "hualian", OfferedAt: now.UnixMilli(), ExpiresAt: now.Add(time.Hour).UnixMilli(),
		Inputs: []string{lot}, Outputs: []request.Output{{Trade: strings.Repeat("ab", 16), Lot: hash}},
	})
	if err != nil {
		return err
	}
	return d.submit(r, proof, request.Openings{Lots: map[string]request.LotOpening{hash: opening}})
}

// doubleIssue issues a card that was issued before, under another salt.
func (d *demo) doubleIssue() error {
	set, err := iccid.SetOf(iccid.Serial, soldCard)
	if err != nil {
		return err
	}
	hash, opening := request.OpeningOf(set, [32]byte{2})
	r, proof, err := d.signed("cmcc", request.Issue{Lot: hash, Carrier: "cmcc", Rule: string(set.Rule), RetailPolicy: request.Open})
	if err != nil {
		return err
	}
	return d.submit(r, proof, request.Openings{
		Lots: map[string]request.LotOpening{hash: opening}, IssueKey: d.app.Service.Vault.IssueKey(),
	})
}

// tampered changes the reason in a refusal that its receiver has signed.
func (d *demo) tampered() error {
	t, err := d.offer("xiaowang", map[string]any{"mode": "NAMED", "to": "hualian", "segments": segment("898604B7192270274050", "898604B7192270274050")})
	if err != nil {
		return err
	}
	r, proof, err := d.signed("hualian", request.Decline{Trade: t.TradeID, Receiver: "hualian", Reason: "OTHER"})
	if err != nil {
		return err
	}
	r.Args = bytes.Replace(r.Args, []byte("OTHER"), []byte("DAMAGED"), 1)
	return d.submit(r, proof, request.Openings{})
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

func (d *demo) verdict() error {
	d.head("核对：数据库与账本逐行比较，审计链与区块链重算")
	if err := d.app.Service.CatchUp(d.ctx); err != nil {
		return err
	}
	start := time.Now()
	if err := d.app.Ledger.Verify(d.ctx, nil); err != nil {
		d.check(false, "账本：%v", err)
	}
	audit, err := d.app.Custody.VerifyAudit(d.ctx)
	if err != nil {
		d.check(false, "审计：%v", err)
	}
	r, err := d.app.Service.Check(d.ctx, nil)
	if err != nil {
		return err
	}
	printReport(d.out, r, audit.Rows, time.Since(start))
	d.check(r.Clean() && r.Cards == 1000, "1,000 张卡，一张不多，一张不少")
	return nil
}

// scan looks for what must stand on no block and in no log: ICCIDs, the code, salts, names.
func (d *demo) scan(dir string) error {
	_, code := d.sold()
	secrets := map[string]string{"卡号": soldCard, "交易码": code, "消费者": "小李"}
	err := d.app.DB.Read(d.ctx, func(tx *model.Tx) error {
		lots, err := tx.AllLots("", 500)
		if err != nil {
			return err
		}
		for i, l := range lots {
			salt, err := d.app.Service.Vault.Open("lot/"+l.Hash, l.SaltSealed)
			if err != nil {
				return err
			}
			secrets[fmt.Sprintf("盐 %d", i)] = string(salt)
			secrets[fmt.Sprintf("盐 %d（十六进制）", i)] = hex.EncodeToString(salt)
		}
		return nil
	})
	if err != nil {
		return err
	}
	files := []string{d.app.Config.Path(d.app.Config.Ledger.File), filepath.Join(dir, "demo.log")}
	found := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for what, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				found++
				d.check(false, "%s 里有%s", filepath.Base(name), what)
			}
		}
		for _, f := range demoFiles {
			if bytes.Contains(b, []byte(f.first[:13])) {
				found++
				d.check(false, "%s 里有号段 %s", filepath.Base(name), f.carrier)
			}
		}
	}
	d.check(found == 0, "区块与日志的每个字节里都没有卡号、交易码、盐和姓名")
	return nil
}
