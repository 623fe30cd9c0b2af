package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/terminal/protocol"
	"cardflow/terminal/terminaltest"
)

// person works with one terminal.
type person struct {
	t        *testing.T
	dir, pin string
}

func (p person) run(status int, stdin string, args ...string) (stdout, stderr string) {
	p.t.Helper()
	var out, errs bytes.Buffer
	all := append([]string{"--dir", p.dir, "--pin-file", p.pin}, args...)
	if got := run(p.t.Context(), all, strings.NewReader(stdin), &out, &errs); got != status {
		p.t.Fatalf("terminal %s: status %d\n%s%s", strings.Join(args, " "), got, out.String(), errs.String())
	}
	for _, text := range []string{out.String(), errs.String()} {
		for line := range strings.Lines(text) {
			if n := columns(strings.TrimRight(line, "\n")); n > 80 && !strings.Contains(line, `"`) && !strings.HasPrefix(line, "made-key") && !strings.Contains(line, p.dir) {
				p.t.Errorf("%d columns: %s", n, line)
			}
		}
	}
	return out.String(), errs.String()
}

func newPerson(t *testing.T, g *terminaltest.Gateway, of protocol.Party, serial string) person {
	t.Helper()
	dir := t.TempDir()
	p := person{t, filepath.Join(dir, "terminal"), filepath.Join(dir, "pin")}
	if err := os.WriteFile(p.pin, []byte("314159\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.run(0, "", "enrol", "--server", g.URL, "--ticket", g.Ticket(of), "--serial", serial)
	return p
}

func number(n int) string {
	c, err := iccid.Luhn.Parse("898603170000" + fmt.Sprintf("%07d", n))
	if err != nil {
		panic(err)
	}
	return iccid.Luhn.Format(c)
}

var (
	seller = protocol.Party{ID: "distributor-1", Name: "城东通信", Role: request.Distributor}
	buyer  = protocol.Party{ID: "retailer-1", Name: "城南手机店", Role: request.Retailer}
)

// holds insists that a text has all of these in it.
func holds(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

// TestWarehouse: a day at two terminals, as the person there types and scans.
func TestWarehouse(t *testing.T) {
	g := terminaltest.New(t)
	a, b := newPerson(t, g, seller, "SN-0001"), newPerson(t, g, buyer, "SN-0002")
	g.Give(seller.ID, number(0), number(99), iccid.Luhn)

	out, _ := a.run(0, "", "status")
	holds(t, out, "SN-0001", "城东通信", "正常")
	out, _ = a.run(0, "", "--lang", "en", "stock")
	holds(t, out, "100 cards in 1 lots", number(0)+"-"+number(99))
	out, _ = a.run(0, "", "parties")
	holds(t, out, "编号", buyer.ID, "零售商", buyer.Name)

	// A box, a card too many taken out again, one that isn't there, one twice.
	scans := strings.Join([]string{"box", "]C0" + number(0), "]C0" + number(9), number(20), "undo", number(500), number(5), number(21), "done", "y", ""}, "\n")
	out, errs := a.run(0, scans, "out", "--to", buyer.ID)
	holds(t, errs, "已扫 10 张", "不在库存："+number(500), "已经扫过："+number(5), "撤销 1 张，余 10 张", "已扫 11 张")
	holds(t, out, "将要签名", number(0)+"-"+number(9), number(21), "已上链")

	// Whoever says no has signed nothing, and has his scans still.
	_, errs = a.run(1, number(30)+"\ndone\nn\n", "out")
	holds(t, errs, "NOT_AGREED")
	_, errs = a.run(1, "n\n"+number(31)+"\n"+number(32)+"\n", "out")
	holds(t, errs, "1 次扫码还没有签名", "INPUT_ENDED")
	for _, answer := range []string{"", "\n", number(33) + "\n"} { // a code is no answer
		_, errs = a.run(1, answer, "out")
		holds(t, errs, "2 次扫码还没有签名", "SCANS_UNFINISHED")
	}
	_, errs = a.run(1, number(33)+"\n", "out", "--yes")
	holds(t, errs, "SCANS_UNFINISHED", "--continue")
	out, _ = a.run(1, "y\nundo\n"+number(34)+"\ndone\nn\n", "out")
	holds(t, out, number(31), number(34))
	out, _ = a.run(1, "done\n\n", "out", "--continue")
	holds(t, out, number(31), number(34))
	out, _ = a.run(0, "", "queue")
	if strings.Count(out, "\n") != 1 {
		t.Errorf("the queue:\n%s", out)
	}

	// One missing, one foreign, one twice: named, and not confirmed.
	goods := []string{"box", number(0), number(8), number(40), number(3), number(21), "done"}
	out, errs = b.run(1, strings.Join(append(goods, "n", ""), "\n"), "in")
	holds(t, errs, "不在单内："+number(40), "已点过："+number(3))
	holds(t, out, "缺 1 张", number(9), "多 1 张", "重复扫码 1 张")
	_, errs = b.run(1, "undo\n", "in", "--continue") // the foreign card stays, 21 is out
	holds(t, errs, "接着扫：已有 10 张", "已点 9 / 11 张")
	out, errs = b.run(0, strings.Join([]string{"box", number(0), number(9), number(21), "done", "y", ""}, "\n"), "in", "--fresh")
	holds(t, errs, "货与单一致：11 张")
	holds(t, out, "已上链")

	out, _ = b.run(0, "", "trace", number(3))
	holds(t, out, number(3), "现属本单位", "发卡")
	out, _ = b.run(0, "", "selftest")
	holds(t, out, "vectors", "replay", "通过")
	if n := g.Owned(buyer.ID); n != 11 {
		t.Errorf("the buyer has %d cards", n)
	}
}

// TestOfflineQueue: without a network cards are sold by code, and go out when it is back.
func TestOfflineQueue(t *testing.T) {
	g := terminaltest.New(t)
	a := newPerson(t, g, seller, "SN-0001")
	g.Give(seller.ID, number(0), number(99), iccid.Luhn)
	a.run(0, "", "stock")
	g.Locked(func() { g.Lie = func(r *terminaltest.Reply) { r.Cut = true } })
	out, errs := a.run(0, number(7)+"\n", "out", "--yes")
	holds(t, errs, "没有网络")
	holds(t, out, "交易码", "待答复")
	out, _ = a.run(0, "", "stock", "--offline")
	holds(t, out, "没有可转出的卡")
	a.run(1, "", "queue", "send")
	g.Locked(func() { g.Lie = nil })
	out, _ = a.run(0, "", "queue", "send")
	holds(t, out, "已上链")
	if g.Owned(seller.ID) != 99 {
		t.Errorf("the seller has %d", g.Owned(seller.ID))
	}
}

// TestCancel: what nobody has confirmed is taken back, also without a network, where the offer goes out before it.
func TestCancel(t *testing.T) {
	g := terminaltest.New(t)
	a, b := newPerson(t, g, seller, "SN-0001"), newPerson(t, g, buyer, "SN-0002")
	g.Give(seller.ID, number(0), number(99), iccid.Luhn)
	out, _ := a.run(0, "", "cancel")
	holds(t, out, "没有可撤回的交易")
	for n := range 2 {
		a.run(0, number(n)+"\n", "out", "--to", buyer.ID, "--yes")
	}
	b.run(0, "2\n"+number(0)+"\ndone\ny\n", "in") // the older one is confirmed
	a.run(1, "n\n", "cancel")
	out, _ = a.run(0, "y\n", "cancel")
	holds(t, out, number(1), "已上链")
	out, _ = b.run(0, "", "in", "--list")
	holds(t, out, "没有待收的交易")
	_, errs := a.run(1, "", "cancel", strings.Repeat("ab", 16))
	holds(t, errs, "SALE_UNKNOWN")

	a.run(0, "", "stock")
	g.Locked(func() { g.Lie = func(r *terminaltest.Reply) { r.Cut = true } })
	out, _ = a.run(0, number(7)+"\n", "--json", "out", "--yes")
	var sold struct{ Trade string }
	if err := json.Unmarshal([]byte(out), &sold); err != nil {
		t.Fatal(err)
	}
	_, errs = a.run(1, "", "cancel", "7", "--yes")
	holds(t, errs, "TRADE_INVALID")
	out, errs = a.run(0, "", "cancel", sold.Trade, "--yes")
	holds(t, errs, "没有网络")
	holds(t, out, "待发送")
	g.Locked(func() { g.Lie = nil })
	out, _ = a.run(0, "", "queue", "send")
	holds(t, out, "撤回")
	if n := g.Owned(seller.ID); n != 99 {
		t.Errorf("the seller has %d cards", n)
	}
}

// TestScattered: cards that lie too far apart for one trade go out as several, under one signature, and come in together.
func TestScattered(t *testing.T) {
	g := terminaltest.New(t)
	a, b := newPerson(t, g, seller, "SN-0001"), newPerson(t, g, buyer, "SN-0002")
	g.Give(seller.ID, number(0), number(2999), iccid.Luhn)
	var scans strings.Builder
	for n := range 1001 {
		fmt.Fprintln(&scans, number(2*n))
	}
	out, _ := a.run(0, scans.String()+"done\ny\n", "--lang", "en", "out", "--to", buyer.ID)
	holds(t, out, "2, under one signature", "committed")
	if n := len(g.Ledger()); n != 1 {
		t.Errorf("%d requests", n)
	}
	_, errs := b.run(1, "1,1\n", "in")
	holds(t, errs, "CHOICE_INVALID")
	_, errs = b.run(0, "all\n"+scans.String()+"done\ny\n", "in")
	holds(t, errs, "货与单一致：1001 张")
	if n := g.Owned(buyer.ID); n != 1001 {
		t.Errorf("the buyer has %d cards", n)
	}
	g.Give(seller.ID, number(4000), number(4001), iccid.Luhn)
	a.run(0, number(4000)+"\n", "out", "--to", buyer.ID, "--yes")
	a.run(0, number(4001)+"\n", "out", "--to", buyer.ID, "--yes")
	out, _ = b.run(0, "", "--json", "in", "--list")
	var list struct{ Trades []protocol.Trade }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Trades) != 2 {
		t.Fatalf("%v: %s", err, out)
	}
	out, _ = b.run(0, number(4000)+"\n"+number(4001)+"\n", "--json", "in", "--trade", list.Trades[0].Trade+","+list.Trades[1].Trade, "--yes")
	if strings.Count(out, `"committed"`) != 2 {
		t.Errorf("both: %s", out)
	}
}

// TestJSON: every command speaks JSON, errors too.
func TestJSON(t *testing.T) {
	g := terminaltest.New(t)
	a := newPerson(t, g, seller, "SN-0001")
	g.Give(seller.ID, number(0), number(99), iccid.Luhn)
	for _, c := range []struct {
		status int
		stdin  string
		args   []string
	}{
		{0, "", []string{"status"}},
		{0, "", []string{"status", "--offline"}},
		{0, "", []string{"stock"}},
		{0, "", []string{"parties"}},
		{0, number(1) + "\n", []string{"out", "--yes"}},
		{0, "", []string{"in", "--list"}},
		{0, "", []string{"cancel", "--list"}},
		{0, "", []string{"queue", "list"}},
		{0, "", []string{"queue", "send"}},
		{0, "", []string{"trace", number(1)}},
		{0, "", []string{"selftest"}},
		{0, "", []string{"selftest", g.URL}},
		{1, "", []string{"selftest", "--maker", "cat"}},
		{1, "", []string{"selftest", "--maker", "exit 3"}},
		{1, "", []string{"trace", "123"}},
		{1, "", []string{"enrol", "--server", g.URL, "--ticket", "x", "--serial", "SN-0001"}},
	} {
		out, _ := a.run(c.status, c.stdin, append([]string{"--json"}, c.args...)...)
		var v map[string]any
		if err := json.Unmarshal([]byte(out), &v); err != nil || (v["error"] != nil) != (c.status == 1) {
			t.Errorf("%v: %v\n%s", c.args, err, out)
		}
	}
}

// TestPINFile: a file that others may read is refused, and a wrong PIN is counted.
func TestPINFile(t *testing.T) {
	g := terminaltest.New(t)
	a := newPerson(t, g, seller, "SN-0001")
	if err := os.Chmod(a.pin, 0o644); err != nil {
		t.Fatal(err)
	}
	_, errs := a.run(1, "", "stock")
	holds(t, errs, "PIN_FILE_MODE")
	if err := os.WriteFile(a.pin, []byte("000000"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(a.pin, 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs = a.run(1, "", "stock")
	holds(t, errs, "还可以试 4 次")
}

// TestWords: every text is there in both languages, with the same numbers in it.
func TestWords(t *testing.T) {
	for name, list := range map[string]map[string]pair{"says": says, "complaints": complaints, "states": states} {
		for key, p := range list {
			if p.zh == "" || p.en == "" || strings.Count(p.zh, "%") != strings.Count(p.en, "%") {
				t.Errorf("%s %s: %q, %q", name, key, p.zh, p.en)
			}
		}
	}
}

func TestWrapped(t *testing.T) {
	for text, lines := range map[string]int{
		"":                             1,
		"short":                        1,
		strings.Repeat("word ", 40):    3,
		strings.Repeat("卡", 40):        1,
		strings.Repeat("卡", 41):        2,
		strings.Repeat("x", 100):       1, // nowhere to break
		strings.Repeat("卡", 39) + "是。": 2,
	} {
		got := strings.Split(wrapped(text), "\n")
		if len(got) != lines || strings.ReplaceAll(strings.Join(got, ""), " ", "") != strings.ReplaceAll(text, " ", "") {
			t.Errorf("%q: %q", text, got)
		}
		for _, l := range got {
			if columns(l) > screen && strings.Trim(l, "x") != "" {
				t.Errorf("%d columns: %q", columns(l), l)
			}
		}
	}
}
