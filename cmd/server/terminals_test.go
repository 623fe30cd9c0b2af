package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	enterprise "cardflow/terminal"
	"cardflow/terminal/protocol"
)

// terminalProgram is the terminal's program, built once for all tests.
func terminalProgram(t *testing.T) string {
	t.Helper()
	program, err := buildTerminal()
	check(t, err)
	return program
}

var buildTerminal = sync.OnceValues(func() (program string, err error) {
	if terminalDir, err = os.MkdirTemp("", "terminal-"); err != nil {
		return "", err
	}
	program = filepath.Join(terminalDir, "terminal")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "cardflow/cmd/terminal").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the terminal: %w\n%s", err, out)
	}
	return program, err
})

// deskTerminal is a terminal, and whoever works at it.
type deskTerminal struct {
	*site
	dir, pin string
}

// enrolled gives a terminal to an organisation: its administrator asks for the ticket, somebody at the terminal shows it.
func (s *site) enrolled(admin *visitor, name, serial string) deskTerminal {
	s.t.Helper()
	d := deskTerminal{s, filepath.Join(s.t.TempDir(), "terminal"), filepath.Join(s.t.TempDir(), "pin")}
	check(s.t, os.WriteFile(d.pin, []byte("314159\n"), 0o600))
	var made struct {
		Device device
		Ticket string
	}
	until(s.t, "a gateway key to be on the ledger", func() bool {
		return admin.call(soon(s.t), http.MethodPost, "/devices", map[string]string{"name": name}, &made) == nil
	})
	d.runs(0, "", "enrol", "--server", s.URL, "--ticket", made.Ticket, "--serial", serial)
	if got := d.runs(0, "", "status"); !strings.Contains(got, serial) || !strings.Contains(got, "正常") {
		s.t.Fatalf("enrolled as\n%s", got)
	}
	return d
}

// runs runs a command of the terminal's, which must end with a status, and answers what it has said. None of it is wider than a
// terminal, but for where its files are.
func (d deskTerminal) runs(status int, scans string, args ...string) string {
	d.t.Helper()
	cmd := exec.CommandContext(soon(d.t), terminalProgram(d.t), append([]string{"--dir", d.dir, "--pin-file", d.pin}, args...)...)
	cmd.Env, cmd.Stdin = append(plainEnvironment(), "NO_PROXY=*", "no_proxy=*"), strings.NewReader(strings.Join(strings.Fields(scans), "\n")+"\n")
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != status {
		d.t.Fatalf("terminal %s ends with %d, not %d: %v\n%s", strings.Join(args, " "), got, status, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if n := terminalColumns(strings.Trim(line, "\a\n")); n > 80 && !strings.Contains(line, `"`) && !strings.Contains(line, d.dir) {
			d.t.Errorf("%d columns: %s", n, line)
		}
	}
	return string(out)
}

// field is what stands behind a name in what a terminal has said.
func field(t *testing.T, said, name string) string {
	t.Helper()
	for line := range strings.Lines(said) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("no %s in\n%s", name, said)
	return ""
}

// demoCard is the n-th card of those that China Mobile still has in the demo's world.
func demoCard(n int) string { return fmt.Sprintf("898604B719227027%04d", 4300+n) }

// TestTerminals: terminals trade with each other, with people in WeChat, and with organisations at their consoles, through a
// server as it is: commands of the real program on one side, HTTP on the other.
func TestTerminals(t *testing.T) {
	t.Parallel()
	s := openSite(t, demoWorld(t), crowded)
	carrier, shop, watch := s.staff("yidong"), s.staff("xiaowang"), s.staff("jianguan")
	north, counter := s.enrolled(carrier, "一号仓", "SN-2026-000001"), s.enrolled(shop, "柜台", "SN-2026-000002")

	// Terminal → terminal: a box.
	box := fmt.Sprintf("box ]C0%s ]C0%s done y", demoCard(0), demoCard(19))
	said := north.runs(0, box, "out", "--to", "xiaowang")
	boxTrade := field(t, said, "交易号")
	// It is the shop's, and nobody else's: not another's by its number, not his who sells it.
	if said := north.runs(1, "", "in", "--trade", boxTrade); !strings.Contains(said, "TRADE_NOT_FOUND") {
		t.Errorf("the seller opens it as his:\n%s", said)
	}
	other := s.enrolled(s.staff("hualian"), "分仓", "SN-2026-000003")
	if said := other.runs(1, "", "in", "--trade", boxTrade); !strings.Contains(said, "TRADE_NOT_FOUND") {
		t.Errorf("somebody else opens it:\n%s", said)
	}
	counter.runs(0, box, "in", "--trade", boxTrade)

	// Terminal → somebody in WeChat, by a code.
	said = counter.runs(0, demoCard(7)+" done y", "out")
	sold := trade{TradeID: field(t, said, "交易号"), Code: field(t, said, "交易码"), Segments: []span{{demoCard(7), demoCard(7), 1}}}
	li := s.consumer("小李")
	li.refused(404, "TRADE_CODE_NOT_FOUND", http.MethodPost, "/trade-codes/lookup", map[string]string{"code": sold.Code, "iccidLast6": "000000"})
	li.done("/trades/"+sold.TradeID+"/confirm", shows(sold))
	if got := numbers(li.owns()); !slices.Contains(got, demoCard(7)) {
		t.Errorf("he owns %v", got)
	}

	// Back to the terminal that sold it.
	li.done("/trades/"+sold.TradeID+"/return", map[string]string{"reason": "买多了"})
	var waiting items[trade]
	shop.get("/trades?side=receiver&state=offered", &waiting)
	at := slices.IndexFunc(waiting.Items, func(w trade) bool { return w.Reverses == sold.TradeID })
	if at < 0 {
		t.Fatalf("the shop is offered %+v", waiting.Items)
	}
	if said = counter.runs(0, demoCard(7)+" done y", "in", "--trade", waiting.Items[at].TradeID); field(t, said, "退回交易") != sold.TradeID {
		t.Errorf("taken back:\n%s", said)
	}

	// Console → terminal: sent back, unscanned; the next one is taken.
	offer := carrier.offers("NAMED", "xiaowang", cards(demoCard(50), demoCard(59)))
	counter.runs(0, "", "in", "--trade", offer.TradeID, "--decline", "DAMAGED")
	offer = carrier.offers("NAMED", "xiaowang", cards(demoCard(50), demoCard(59)))
	counter.runs(0, fmt.Sprintf("box %s %s done y", demoCard(50), demoCard(59)), "in", "--trade", offer.TradeID)
	// Terminal → console, and a single card from console to terminal by a code.
	said = counter.runs(0, demoCard(59)+" done y", "out", "--to", "hualian")
	s.staff("hualian").done("/trades/"+field(t, said, "交易号")+"/confirm", nil)
	byCode := shop.offers("BEARER", "", cards(demoCard(58), demoCard(58)))
	other.runs(0, demoCard(58)+" done y", "in", "--code", byCode.Code, "--last6", demoCard(58)[14:])

	north.askedTooMuch(t)
	counter.stopped(t, shop)

	// All of it in one trace, as the regulator sees it, and as the terminal does.
	var found struct{ CardID string }
	watch.post("/cards/find", map[string]string{"iccid": demoCard(7)}, &found)
	var trace struct {
		Hops []struct{ Kind, From, To, Device, EndDevice string }
	}
	watch.get("/cards/"+found.CardID+"/trace", &trace)
	var hops []string
	for _, h := range trace.Hops {
		hops = append(hops, fmt.Sprintf("%s %s>%s %s>%s", h.Kind, h.From, h.To, h.Device, h.EndDevice))
	}
	want := []string{
		"ISSUE >中国移动 ACCOUNT>",
		"TRADE 中国移动>小王通讯店 SN-2026-000001>SN-2026-000002",
		"TRADE 小王通讯店>个人用户 SN-2026-000002>WECHAT",
		"RETURN 个人用户>小王通讯店 WECHAT>SN-2026-000002",
	}
	if !slices.Equal(hops, want) {
		t.Errorf("the trace is %q", hops)
	}
	if said := s.enrolled(shop, "新柜台", "SN-2026-000004").runs(0, "", "trace", demoCard(7)); !inOrder(said, "SN-2026-000001 → SN-2026-000002", "SN-2026-000002 → WECHAT", "WECHAT → SN-2026-000002") {
		t.Errorf("the terminal's trace:\n%s", said)
	}
	s.fsck()
}

// askedTooMuch is refused: a wrong PIN is counted, and a clock that is off isn't taken.
func (d deskTerminal) askedTooMuch(t *testing.T) {
	check(t, os.WriteFile(d.pin, []byte("271828\n"), 0o600))
	if said := d.runs(1, "", "stock"); !strings.Contains(said, "还可以试 4 次") {
		t.Errorf("a wrong PIN:\n%s", said)
	}
	check(t, os.WriteFile(d.pin, []byte("314159\n"), 0o600))
	if said := d.runs(0, "", "status"); field(t, said, "PIN 余次") != "5" {
		t.Errorf("after the right one:\n%s", said)
	}

	sim, err := enterprise.OpenSoftSIM(enterprise.StorePath(d.dir))
	check(t, err)
	check(t, sim.Unlock([]byte("314159")))
	defer sim.Lock()
	state, err := enterprise.OpenState(enterprise.StatePath(d.dir))
	check(t, err)
	defer state.Close()
	late, err := enterprise.New(sim, state, func() time.Time { return time.Now().Add(10 * time.Minute) })
	check(t, err)
	if _, err := late.Refresh(soon(t)); !errors.Is(err, enterprise.Refusal("CLOCK_SKEW")) {
		t.Errorf("ten minutes ahead: %v", err)
	}
}

// stopped signs a sale without a network, and is reported lost before it goes out: the platform takes nothing of it any more,
// and, past the platform, the contract neither.
func (d deskTerminal) stopped(t *testing.T, admin *visitor) {
	d.runs(0, demoCard(3)+" done y", "out", "--offline")
	var list items[device]
	admin.get("/devices?state=active", &list)
	at := slices.IndexFunc(list.Items, func(l device) bool { return l.Serial == "SN-2026-000002" })
	if at < 0 {
		t.Fatalf("the shop has %+v", list.Items)
	}
	var lost device
	admin.post("/devices/"+list.Items[at].ID+"/lost", nil, &lost)
	if said := d.runs(1, "", "queue", "send"); !strings.Contains(said, "DEVICE_REFUSED") {
		t.Errorf("the platform takes what a lost terminal has signed:\n%s", said)
	}
	until(t, "the ledger to refuse its key", func() bool {
		admin.get("/devices/"+lost.ID, &lost)
		return lost.Ledger != nil && lost.Ledger.Status != "ACTIVE"
	})

	state, err := enterprise.OpenState(enterprise.StatePath(d.dir))
	check(t, err)
	queue, err := state.Queue()
	check(t, errors.Join(err, state.Close()))
	var signed protocol.Submit
	check(t, json.Unmarshal(queue[len(queue)-1].Body, &signed))
	proof := request.Proof{Signatures: []request.Signature{signed.Signature}}
	p, err := d.Ledger.Prepare(signed.Contract, signed.Function, [][]byte{[]byte(signed.Args), proof.Encode()})
	check(t, err)
	_, err = d.Ledger.Submit(soon(t), p, signed.Openings.Transient(), func() error { return nil })
	if code := contract.CodeOf(err); code != "KEY_INACTIVE" {
		t.Errorf("past the platform the contract says %v", err)
	}
}

// inOrder tells whether a text has all of these in it, one after the other.
func inOrder(text string, parts ...string) bool {
	for _, part := range parts {
		_, rest, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = rest
	}
	return true
}
