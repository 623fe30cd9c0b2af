package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/transfer/cardfile"
	"cardflow/transfer/realname"
)

// Stage is the demo's world: who is there, and what to try first.
type Stage struct {
	Code  string // of an open BEARER trade
	Last6 string // of a card in it
	// Strict are the same of a card whose buyer has to register his real name; empty when all are sold.
	Strict struct{ Code, Last6 string }
}

// demoFile is one carrier's card file of the demo.
type demoFile struct {
	carrier string
	first   string // ICCID, check digit and all
	count   uint32
	imsi    string // prefix of 15 digits
	msisdn  string // prefix of 13 digits
	policy  string
}

// demoFiles are 1,000 cards under three carriers' numbering: hexadecimal ICCIDs with a plain serial, and two with check
// digits.
var demoFiles = []demoFile{
	{"cmcc", "898604B7192270274000", 400, "460040", "10647", "OPEN"},
	{"unicom", "8986061701000135000", 300, "460060", "14608", "OPEN"},
	{"telecom", "8986112223300100200", 300, "460110", "14100", "REAL_NAME"},
}

// strictFile is the one whose cards only those may have whom the carrier knows by name.
var strictFile = demoFiles[2]

// card is the n-th card of a file.
func (f demoFile) card(n uint32) string {
	card, issuer, err := iccid.DefaultPlan().Parse(f.first)
	if err != nil {
		panic("demo: " + err.Error())
	}
	card.Tail += n
	return issuer.Rule.Format(card)
}

// rows yields a file's rows.
func (f demoFile) rows(plan *iccid.Plan) (iter.Seq[cardfile.Row], error) {
	first, issuer, err := plan.Parse(f.first)
	if err != nil {
		return nil, err
	}
	return func(yield func(cardfile.Row) bool) {
		card := first
		for n := range f.count {
			card.Tail = first.Tail + n
			row := cardfile.Row{
				ICCID: issuer.Rule.Format(card),
				IMSI:  fmt.Sprintf("%s%0*d", f.imsi, 15-len(f.imsi), n), MSISDN: fmt.Sprintf("%s%0*d", f.msisdn, 13-len(f.msisdn), n),
			}
			if !yield(row) {
				return
			}
		}
	}, nil
}

// Seed makes the demo's organisations, people and cards. Every step is asked for under a name of its own, so that a
// second start, or one after a crash in the middle, finds what is there and adds what is missing.
func (a *App) Seed(ctx context.Context) (Stage, error) {
	if err := a.seedOrganisations(ctx); err != nil {
		return Stage{}, err
	}
	for _, f := range demoFiles {
		if _, err := a.seedFile(ctx, f); err != nil {
			return Stage{}, fmt.Errorf("card file of %s: %w", f.carrier, err)
		}
	}
	// Half of China Mobile's cards go down the chain, and ten of them to the counter.
	hops := []struct{ from, to string }{{"cmcc", "hualian"}, {"hualian", "xiaowang"}}
	for _, h := range hops {
		if err := a.seedSale(ctx, h.from, h.to, "898604B7192270274000", "898604B7192270274199"); err != nil {
			return Stage{}, fmt.Errorf("%s sells to %s: %w", h.from, h.to, err)
		}
	}
	// And some of China Telecom's straight there, whose buyers it wants to know.
	if err := a.seedSale(ctx, "telecom", "xiaowang", strictFile.card(0), strictFile.card(49)); err != nil {
		return Stage{}, fmt.Errorf("telecom sells to xiaowang: %w", err)
	}
	t, err := a.openTrade(ctx, demoFiles[0], 10)
	if err != nil {
		return Stage{}, fmt.Errorf("a trade to try: %w", err)
	}
	stage := Stage{Code: t.Code, Last6: iccid.Last6(t.Segments[0].Start)}
	strict, err := a.openTrade(ctx, strictFile, 1)
	if err == nil {
		stage.Strict.Code, stage.Strict.Last6 = strict.Code, iccid.Last6(strict.Segments[0].Start)
	} else if !errors.Is(err, errSoldOut) {
		return Stage{}, fmt.Errorf("a trade that asks for a name: %w", err)
	}
	return stage, nil
}

func (a *App) seedOrganisations(ctx context.Context) error {
	for _, o := range demoOrganisations {
		if o.ID != transfer.PlatformID {
			if err := a.Service.AddOrganisation(ctx, o.ID, o.Role, o.Name); err != nil {
				return fmt.Errorf("organisation %s: %w", o.ID, err)
			}
		}
		for _, p := range o.Prefixes {
			if err := a.Service.SetIssuer(ctx, p, o.ID, o.Rule); err != nil {
				return fmt.Errorf("prefix %s: %w", p, err)
			}
		}
	}
	return a.Keeper.SeedPeople(ctx)
}

func demoCaller(id string) transfer.Caller {
	for _, o := range demoOrganisations {
		if o.ID == id {
			return o.caller()
		}
	}
	return transfer.Caller{}
}

// atConsole is that caller, logged in.
func (a *App) atConsole(ctx context.Context, id string) (transfer.Caller, error) {
	c := demoCaller(id)
	for _, o := range demoOrganisations {
		if o.ID != id {
			continue
		}
		if a.Custody == nil {
			s, _, err := a.Keeper.LogInStaff(ctx, o.Username, demoPassword)
			c.Session = s.Session
			return c, err
		}
		var p model.Person
		err := a.DB.Read(ctx, func(tx *model.Tx) (err error) {
			p, err = tx.PersonByUsername(o.Username)
			return err
		})
		if err != nil {
			return c, err
		}
		s, err := openSession(ctx, a.Custody, transfer.Caller{Participant: c.Participant, Role: c.Role, Person: p.ID}, a.Config.Session.StaffTTL)
		c.Session = s.Session
		return c, err
	}
	return c, fmt.Errorf("no %s in the demo", id)
}

func demoWish(name string) transfer.Idem {
	return transfer.Idem{Key: "demo-" + name, Route: "demo", BodyDigest: name}
}

// seedFile imports a carrier's file and waits until its lots are on the ledger.
func (a *App) seedFile(ctx context.Context, f demoFile) (transfer.ImportView, error) {
	plan, err := a.Config.Numbering.Plan()
	if err != nil {
		return transfer.ImportView{}, err
	}
	rows, err := f.rows(plan)
	if err != nil {
		return transfer.ImportView{}, err
	}
	var file bytes.Buffer
	if err := cardfile.WriteXLSX(&file, rows); err != nil {
		return transfer.ImportView{}, err
	}
	who, err := a.atConsole(ctx, f.carrier)
	if err != nil {
		return transfer.ImportView{}, err
	}
	id, err := a.Service.StartImport(ctx, who, demoWish("import-"+f.carrier), transfer.ImportInput{
		FileName: f.carrier + ".xlsx", Body: io.Reader(&file), Issue: true, RetailPolicy: f.policy, Restrictions: []string{"DATA_ONLY"},
	})
	if err != nil {
		return transfer.ImportView{}, err
	}
	return a.awaitImport(ctx, who, id)
}

func (a *App) awaitImport(ctx context.Context, who transfer.Caller, id string) (transfer.ImportView, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := a.Service.Import(ctx, who, id)
		switch {
		case err != nil:
			return v, err
		case v.State == "done":
			return v, nil
		case v.State == "failed":
			return v, fmt.Errorf("%s: %s", v.Error.Code, v.Error.Message)
		}
		select {
		case <-ctx.Done():
			return v, ctx.Err()
		case <-tick.C:
		}
	}
}

// seedSale moves cards between two organisations, offer and confirmation.
func (a *App) seedSale(ctx context.Context, from, to, first, last string) error {
	name := from + "-" + to
	seller, err := a.atConsole(ctx, from)
	if err != nil {
		return err
	}
	buyer, err := a.atConsole(ctx, to)
	if err != nil {
		return err
	}
	o, err := a.Service.Offer(ctx, seller, demoWish("offer-"+name), transfer.OfferInput{
		Mode: "NAMED", To: to, Segments: []transfer.Span{{Start: first, End: last}},
	})
	if err != nil {
		return err
	}
	if _, err := a.awaitOffered(ctx, seller, o.Trades[0]); err != nil {
		return err
	}
	act, err := a.Service.Confirm(ctx, buyer, demoWish("confirm-"+name), o.Trades[0].TradeID, "", "")
	if err != nil {
		return err
	}
	if act, err = a.Service.Await(ctx, act.ID); err == nil && act.Error != nil {
		err = errors.New(act.Error.Code)
	}
	return err
}

var errSoldOut = errors.New("the shop has sold out")

// openTrade finds the counter's open BEARER trade of a file's cards, or makes one of the next free ones.
func (a *App) openTrade(ctx context.Context, f demoFile, most uint64) (transfer.TradeView, error) {
	shop, err := a.atConsole(ctx, "xiaowang")
	if err != nil {
		return transfer.TradeView{}, err
	}
	page, err := a.Service.Trades(ctx, shop, transfer.TradeFilter{Side: "seller", State: "offered", Limit: 50})
	if err != nil {
		return transfer.TradeView{}, err
	}
	for _, t := range page.Items {
		if t.Code != "" && t.ExpiresAt.After(time.Now().Add(time.Minute)) && strings.HasPrefix(t.Segments[0].Start, f.first[:6]) {
			return t, nil
		}
	}
	lots, err := a.Service.SearchCards(ctx, shop, transfer.CardFilter{Start: f.card(0), End: f.card(f.count - 1), Status: "OWNED", Limit: 1})
	if err != nil {
		return transfer.TradeView{}, err
	}
	if len(lots.Items) == 0 {
		return transfer.TradeView{}, errSoldOut
	}
	first := lots.Items[0]
	card, issuer, err := iccid.DefaultPlan().Parse(first.Start)
	if err != nil {
		return transfer.TradeView{}, err
	}
	card.Tail += uint32(min(first.Count, most)) - 1
	o, err := a.Service.Offer(ctx, shop, transfer.Idem{Key: fmt.Sprint("demo-", time.Now().UnixNano()), Route: "demo"}, transfer.OfferInput{
		Mode: "BEARER", Segments: []transfer.Span{{Start: first.Start, End: issuer.Rule.Format(card)}}, ExpiresIn: a.Config.Trade.MaxExpiry,
	})
	if err != nil {
		return transfer.TradeView{}, err
	}
	return a.awaitOffered(ctx, shop, o.Trades[0])
}

// awaitOffered waits until an offer is on the ledger: a busy machine answers before.
func (a *App) awaitOffered(ctx context.Context, seller transfer.Caller, t transfer.TradeView) (transfer.TradeView, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for t.State == "offering" {
		select {
		case <-ctx.Done():
			return t, ctx.Err()
		case <-tick.C:
		}
		var err error
		if t, err = a.Service.GetTrade(ctx, seller, t.TradeID); err != nil {
			return t, err
		}
	}
	return t, nil
}

// roleTitles are what people call the roles.
var roleTitles = map[request.Role]string{
	request.Carrier: "电信企业", request.Distributor: "中间流转企业", request.Retailer: "零售商", request.Regulator: "监管者", request.Platform: "运维",
}

// print tells a stranger what he can try.
func (s Stage) print(w io.Writer, url string, preview bool) {
	previewLine := ""
	if preview {
		previewLine = fmt.Sprintf("    小程序    %s/preview/   （在浏览器里试用）\n", url)
	}
	fmt.Fprintf(w, `
  CardFlow 卡流转 正在运行（演示数据，仅供试用）

    接口      %s/api/v1
    接口文档  %s/docs
    健康状态  %s/readyz
%s
  工作人员账号（密码都是 %s）
`, url, url, url, previewLine, demoPassword)
	for _, o := range demoOrganisations {
		fmt.Fprintf(w, "    %-10s %s%s\n", o.Username, pad(o.Name, 14), cmp.Or(o.Title, roleTitles[o.Role]))
	}
	strict := ""
	if s.Strict.Code != "" {
		strict = fmt.Sprintf("    交易码 %s   卡号后六位 %s   （要先实名登记；姓名任意，身份证号如\n      %s，电信企业自动审核）\n", s.Strict.Code, s.Strict.Last6, realname.Example(1))
	}
	fmt.Fprintf(w, `
  消费者用微信登录；这里用沙箱代替微信，登录码写 demo:任意名字
    交易码 %s   卡号后六位 %s   （小王通讯店正在出售的卡）
%s
    curl -s %s/api/v1/wechat/login \
      -H 'Content-Type: application/json' -d '{"code":"demo:小李"}'

  README.zh-CN.md 里有一条从售卡到溯源的完整路线，每条命令都可以直接复制。
  按 Ctrl-C 停止；数据保留，下次启动还在。

`, s.Code, s.Last6, strict, url)
}
