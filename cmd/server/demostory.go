package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"cardflow/iccid"
	"cardflow/transfer/cardfile"
	"cardflow/transfer/realname"
)

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
		d.people[o.ID], d.people[o.Username] = c, c
	}
	d.say("CardFlow 卡流转 演示：一张物联网卡从电信企业到消费者")
	for _, chapter := range []func() error{d.import_, d.chain, d.sale, d.realName, d.trace, d.refusals, d.verdict} {
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
		if err := c.upload(d.ctx, "/card-imports?issue=true&retailPolicy="+f.policy, f.carrier+".xlsx", &file, &started); err != nil {
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
	t := r.Trades[0]
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for t.State == "offering" { // a busy machine answers before the ledger has it
		select {
		case <-d.ctx.Done():
			return t, d.ctx.Err()
		case <-tick.C:
		}
		if err := d.people[from].call(d.ctx, http.MethodGet, "/trades/"+t.TradeID, nil, &t); err != nil {
			return t, err
		}
	}
	return t, nil
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

// The buyer's who registers.
const demoPersonName = "欧阳小钱"

var demoPersonNumber = realname.Example(10)

// realName sells a card whose carrier wants to know the buyer: refused, registered, approved, sold.
func (d *demo) realName() error {
	d.head("要实名登记的卡：登记，电信企业审核，审批上链，然后才能收卡")
	down, err := d.offer("telecom", map[string]any{"mode": "NAMED", "to": "xiaowang", "segments": segment(strictFile.card(0), strictFile.card(9))})
	if err != nil {
		return err
	}
	if err := d.confirm("xiaowang", down.TradeID, nil, "小王通讯店 转入确认"); err != nil {
		return err
	}
	t, err := d.offer("xiaowang", map[string]any{"mode": "BEARER", "segments": segment(strictFile.card(0), strictFile.card(0))})
	if err != nil {
		return err
	}
	approver, qian := d.people["shenhe"], newClient(d.app.URL, "qian")
	if err := qian.wechat(d.ctx, "demo:小钱"); err != nil {
		return err
	}
	d.people["qian"] = qian
	proof := map[string]string{"code": t.Code, "iccidLast6": iccid.Last6(strictFile.card(0))}
	d.refused("小钱 没有实名登记就确认", qian.call(d.ctx, http.MethodPost, "/trades/"+t.TradeID+"/confirm", proof, nil), "REAL_NAME_REQUIRED")
	wrong := demoPersonNumber[:16] + string('0'+('9'-demoPersonNumber[16])) + demoPersonNumber[17:]
	who := map[string]any{"carrier": "telecom", "name": demoPersonName, "idNumber": wrong, "consent": true}
	d.refused("小钱 填错一位身份证号", qian.call(d.ctx, http.MethodPost, "/me/real-name", who, nil), "ID_NUMBER_CHECKSUM")
	who["idNumber"] = demoPersonNumber
	if err := qian.call(d.ctx, http.MethodPost, "/me/real-name", who, nil); err != nil {
		return err
	}
	var list struct {
		Items []struct{ ID, Name, IDNumber, Finding string }
	}
	if err := approver.call(d.ctx, http.MethodGet, "/approvals", nil, &list); err != nil {
		return err
	}
	if len(list.Items) != 1 {
		return fmt.Errorf("%d registrations wait", len(list.Items))
	}
	r := list.Items[0]
	d.check(r.Finding == "CONFIRMED", "中国电信 审核员看到：%s %s，核验一致", r.Name, r.IDNumber)
	var v confirmation
	if err := approver.call(d.ctx, http.MethodPost, "/approvals/"+r.ID+"/approve", nil, &v); err != nil {
		return err
	}
	if v, err = approver.await(d.ctx, v.ConfirmationID); err != nil {
		return err
	}
	d.done("中国电信 审批通过（只有摘要上链）", v.TxID, v.BlockNumber)
	return d.confirm("qian", t.TradeID, proof, "小钱 确认收卡")
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
