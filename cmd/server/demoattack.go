package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/transfer"
	"cardflow/transfer/custodial"
)

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

// signed signs a crafted request with the custodial key of a participant, as a backend that lies could while somebody of
// his is logged in to it.
func (d *demo) signed(owner string, body request.Body) (request.Request, request.Proof, error) {
	key, err := custodial.Signer{Custody: d.app.Custody}.ActiveKey(d.ctx, owner, transfer.SlotAccount)
	if err != nil {
		return request.Request{}, request.Proof{}, err
	}
	who, err := d.app.atConsole(d.ctx, owner)
	if err != nil {
		return request.Request{}, request.Proof{}, err
	}
	act, until := fmt.Sprintf("demo-%d", time.Now().UnixNano()), time.Now().Add(time.Hour).UnixMilli()
	if err := (custodial.Signer{Custody: d.app.Custody}).Authorise(d.ctx, who.Session, act, body, until); err != nil {
		return request.Request{}, request.Proof{}, err
	}
	sig, err := custodial.Signer{Custody: d.app.Custody}.Sign(d.ctx, transfer.Ask{
		Owner: owner, Slot: transfer.SlotAccount, Purpose: body.Function(), Subject: act, Attempt: 1, KeyID: key, NotAfter: until, Actor: "demo",
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
