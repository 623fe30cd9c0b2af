package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// inShares is a configuration whose root key people hold.
func inShares(c *Config) { c.Custody.Kind = string(custody.InShares) }

// operating is what a command on the server's own machine is given: answers that somebody types, and the directory.
func operating(t *testing.T, dir, typed string, change ...func(*Config)) (e *environment, out, errs *bytes.Buffer) {
	t.Helper()
	c := DefaultConfig()
	c.DataDir = dir
	engines(t, &c)
	for _, f := range change {
		f(&c)
	}
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return &environment{ctx: soon(t), config: c, logger: slog.New(slog.DiscardHandler), stdin: strings.NewReader(typed), stdout: out, stderr: errs}, out, errs
}

// printed reads the shares that a ceremony printed: two lines each.
func printed(t *testing.T, out io.Reader) (shares []string) {
	t.Helper()
	text, err := io.ReadAll(out)
	check(t, err)
	if shares = sharesIn(text); len(shares) == 0 {
		t.Fatalf("no shares in %q", text)
	}
	return shares
}

func sharesIn(text []byte) (shares []string) {
	for _, found := range regexp.MustCompile(`(?m)^share \d of \d, .*\n((?:[0-9A-Z]{5} ?){8}\n(?:[0-9A-Z]{5} ?){8}\n)`).FindAllSubmatch(text, -1) {
		shares = append(shares, string(found[1]))
	}
	return shares
}

// holder unseals a site as a person does: with his login, by the command line, with what is on his paper.
func (s *site) holder(username, password, typed string) (said string, err error) {
	s.t.Helper()
	e, out, errs := operating(s.t, s.Config.DataDir, password+"\n"+typed, inShares)
	err = unsealCommand{At: At{URL: s.URL, User: username}}.Run(e)
	for _, line := range strings.Fields(typed) {
		if len(line) == 5 && strings.Contains(out.String()+errs.String(), line) {
			s.t.Errorf("the command repeats a share")
		}
	}
	return out.String(), err
}

// toShares moves the root of a running server into shares, as two people do, and answers the shares.
func (s *site) toShares(shares, threshold int) []string {
	s.t.Helper()
	check(s.t, s.Service.AddPerson(soon(s.t), transfer.NewPerson{Username: "ops2", Password: demoPassword, Organisation: transfer.PlatformID, Roles: []string{"ops"}}))
	file := filepath.Join(s.t.TempDir(), "password")
	check(s.t, os.WriteFile(file, []byte(demoPassword), 0o600))
	as := func(name string) acting { return acting{As: name, PasswordFile: file, Server: s.URL} }
	e, out, _ := operating(s.t, s.Config.DataDir, "")
	check(s.t, rootRotateCommand{
		acting: as("yunwei"), SharesFlags: SharesFlags{Shares: shares, Threshold: threshold, Print: true}, To: "shamir", Reason: "投产", Yes: true,
	}.Run(e))
	said := out.String()
	proposal := regexp.MustCompile(`提案 +([0-9a-f]{32})`).FindStringSubmatch(said)
	if proposal == nil {
		s.t.Fatalf("no proposal in %q", said)
	}
	e, _, _ = operating(s.t, s.Config.DataDir, "")
	check(s.t, proposalsApprove{deciding: deciding{acting: as("ops2"), ID: proposal[1], Yes: true}, Wait: time.Minute}.Run(e))
	return printed(s.t, strings.NewReader(said))
}

// TestSealedSite: a root in a file is moved to shares. The server then starts sealed, people look, log in and hand in what
// they want, new ones too; three holders come, and all of it happens.
func TestSealedSite(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	first := openSite(t, dir, crowded)
	sold := first.staff("xiaowang").offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	registered := func(v *visitor) func() bool {
		return func() bool {
			var me struct{ Participant struct{ State string } }
			v.get("/me", &me)
			return me.Participant.State == "registered"
		}
	}
	until(t, "小孙 to be registered", registered(first.consumer("小孙")))
	shares := first.toShares(5, 3)
	first.close(t)

	s := openSite(t, dir, crowded, inShares)
	var ready struct {
		Status string
		Checks map[string]string
	}
	a := s.visitor("nobody").raw(http.MethodGet, s.URL+"/readyz", nil)
	check(t, json.Unmarshal(a.body, &ready))
	if a.status != http.StatusOK || ready.Checks["custody"] != "sealed" {
		t.Errorf("readyz: %d %s", a.status, a.body)
	}
	shop, li, newcomer := s.staff("xiaowang"), s.consumer("小李"), s.consumer("小赵")
	var stock struct{ Total int }
	if shop.get("/inventory", &stock); stock.Total == 0 {
		t.Error("the shop sees nothing")
	}
	if len(li.owns()) == 0 {
		t.Error("小李 sees nothing")
	}
	var waiting confirmation
	li.post("/trades/"+sold.TradeID+"/confirm", shows(sold), &waiting)
	until(t, "an act that waits for custody", func() bool {
		return strings.Contains(s.log.String(), "CUSTODY_SEALED") || waitsForCustody(s, waiting.ConfirmationID)
	})
	if li.get("/confirmations/"+waiting.ConfirmationID, &waiting); waiting.State != "accepted" || waiting.Error != nil {
		t.Errorf("while sealed: %+v", waiting)
	}
	shop.refused(403, "FORBIDDEN", http.MethodGet, "/custody/seal", nil)

	// Somebody's key is stolen just now: that is noted, and asked for again it is the same recovery.
	ops, robbed := s.staff("yunwei"), s.consumerCaller("小孙").Participant
	recover := func() (a answer, steps map[string]bool) {
		a = ops.raw(http.MethodPost, s.URL+"/api/v1/custody/recoveries", map[string]string{"participant": robbed}, "Idempotency-Key", "stolen-1")
		var v struct {
			Error struct{ Code string }
			Steps []struct {
				Name string
				Done bool
			}
		}
		check(t, json.Unmarshal(a.body, &v))
		steps = map[string]bool{}
		for _, step := range v.Steps {
			steps[step.Name] = step.Done
		}
		return a, steps
	}
	if a, _ := recover(); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "CUSTODY_SEALED") {
		t.Errorf("a recovery while sealed: %d %s", a.status, a.body)
	}

	for i, want := range []string{"1 of 3 shares", "2 of 3 shares"} {
		if said, err := s.holder("yunwei", demoPassword, shares[i]); err != nil || !strings.Contains(said, want) {
			t.Fatalf("holder %d: %q, %v", i, said, err)
		}
	}
	if _, err := s.holder("yunwei", demoPassword, shares[1]); err == nil || !strings.Contains(err.Error(), "CUSTODY_SHARE_REPEATED") {
		t.Errorf("a share twice: %v", err)
	}
	if said, err := s.holder("yunwei", demoPassword, strings.ToLower(shares[4])); err != nil || !strings.Contains(said, "open") {
		t.Fatalf("the last holder: %q, %v", said, err)
	}
	if end, err := li.await(soon(t), waiting.ConfirmationID); err != nil || end.TxID == "" {
		t.Errorf("what waited ended as %+v, %v", end, err)
	}
	until(t, "小赵 to be registered", registered(newcomer))
	until(t, "the stolen key to be revoked, and another one to be there", func() bool {
		a, steps := recover()
		return a.status == http.StatusAccepted && steps["stopped"] && steps["frozen"] && steps["revoked"] && steps["replaced"] && !steps["released"]
	})
	s.fsck()
	for _, share := range shares {
		for _, line := range strings.Split(strings.TrimSpace(share), "\n") {
			if strings.Contains(s.log.String(), line) || strings.Contains(s.log.String(), line[12:23]) {
				t.Error("a share stands in the log")
			}
		}
	}
	s.close(t)

	// fsck, beside the servers, asks for shares too.
	e, out, _ := operating(t, dir, shares[0]+shares[2]+shares[3], inShares)
	check(t, fsckCommand{}.Run(e))
	if !strings.Contains(out.String(), "✓") {
		t.Errorf("fsck: %s", out)
	}
}

// waitsForCustody reports whether an act was put off because custody is sealed.
func waitsForCustody(s *site, id string) bool {
	act, err := s.Service.Act(soon(s.t), s.consumerCaller("小李"), id)
	return err == nil && act.State == "accepted" && s.Custody.Sealed()
}

// TestFirstCeremony: from an empty directory. The administrator of the first start logs in while nothing is signed yet;
// when the shares have come the ledger is made usable.
func TestFirstCeremony(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, _, _ := operating(t, dir, "", inShares)
	c := e.config
	if app, err := Open(soon(t), c, e.logger); err == nil {
		t.Error("it starts without a root")
		check(t, app.Close(t.Context()))
	}
	e, out, _ := operating(t, dir, "", inShares)
	check(t, rootInitCommand{SharesFlags: SharesFlags{Shares: 3, Threshold: 2, Print: true}, Yes: true}.Run(e))
	shares := printed(t, out)

	s := openSite(t, dir, crowded, inShares)
	e, out, _ = operating(t, dir, "", inShares)
	check(t, serveCommand{}.firstPerson(e, s.App))
	password := regexp.MustCompile(`一次性密码 (\S+)（`).FindStringSubmatch(out.String())
	if password == nil {
		t.Fatalf("no password in %q", out)
	}
	const own = "a word of my own"
	if said, err := s.holder("admin", password[1], own+"\n"+own+"\n"+shares[2]); err != nil || !strings.Contains(said, "1 of 2 shares") {
		t.Fatalf("the first holder: %q, %v", said, err)
	}
	if said, err := s.holder("admin", own, shares[0]); err != nil || !strings.Contains(said, "open") {
		t.Fatalf("the second holder: %q, %v", said, err)
	}
	until(t, "the platform on the ledger", func() bool { return strings.Contains(s.log.String(), "custody is open") })
	check(t, s.Service.AddOrganisation(soon(t), "shop-1", request.Retailer, "店"))
	s.fsck()
}

// TestCeremonyStoppedBeforeItsEnd leaves nothing that would be under a root which nobody has.
func TestCeremonyStoppedBeforeItsEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, out, _ := operating(t, dir, "", inShares)
	e.stdout = &brittle{left: 3}
	if err := (rootInitCommand{SharesFlags: SharesFlags{Shares: 5, Threshold: 3, Print: true}, Yes: true}).Run(e); err == nil {
		t.Error("shares that were never shown were taken")
	}
	e, out, _ = operating(t, dir, "", inShares)
	check(t, rootInitCommand{SharesFlags: SharesFlags{Shares: 2, Threshold: 2, Print: true}, Yes: true}.Run(e))
	if got := printed(t, out); len(got) != 2 {
		t.Errorf("%d shares", len(got))
	}
}

// brittle is a terminal that goes away.
type brittle struct{ left int }

func (b *brittle) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// TestKeysWhereTheRootIsInShares: on a machine without a server that is open, a dry run takes no share, and what stops a key
// asks for them.
func TestKeysWhereTheRootIsInShares(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	first := openSite(t, dir, crowded)
	shares := first.toShares(5, 3)
	first.close(t)
	three := shares[0] + shares[2] + shares[3]
	var li keyJSON
	look := func(owner string) keyJSON {
		t.Helper()
		e, out, _ := operating(t, dir, "", inShares)
		check(t, keysList{keysOutput: keysOutput{JSON: true}, Owner: owner, Limit: 1}.Run(e))
		var page struct{ Items []keyJSON }
		check(t, json.Unmarshal(out.Bytes(), &page))
		if len(page.Items) != 1 {
			t.Fatalf("keys of %q: %s", owner, out)
		}
		return page.Items[0]
	}
	shop := look("xiaowang")

	order := keysSuspend{keysOrder{keyID: keyID{shop.ID}, Wait: 1}}
	e, out, _ := operating(t, dir, "", inShares)
	check(t, order.Run(e))
	if !strings.Contains(out.String(), "没有执行") || look("xiaowang").State != "active" {
		t.Errorf("a dry run: %s", out)
	}
	order.Yes = true
	e, _, _ = operating(t, dir, "", inShares)
	if err := order.Run(e); err == nil || look("xiaowang").State != "active" {
		t.Errorf("suspended without shares: %v", err)
	}
	e, _, _ = operating(t, dir, three, inShares)
	check(t, order.Run(e))
	if k := look("xiaowang"); k.State != "suspended" || len(k.Wishes) != 1 {
		t.Errorf("suspended: %+v", k)
	}

	e, out, _ = operating(t, dir, "", inShares)
	check(t, keysList{keysOutput: keysOutput{JSON: true}, Limit: 100}.Run(e))
	var all struct{ Items []keyJSON }
	check(t, json.Unmarshal(out.Bytes(), &all))
	for _, k := range all.Items {
		if k.Role == "consumer" {
			li = k
		}
	}
	stolen := keysRecover{Participant: li.Owner, Wait: 1}
	e, out, _ = operating(t, dir, "", inShares)
	check(t, stolen.Run(e))
	if !strings.Contains(out.String(), "没有执行") {
		t.Errorf("a dry run: %s", out)
	}
	stolen.Yes = true
	e, out, _ = operating(t, dir, three, inShares)
	check(t, stolen.Run(e))
	if k := look(li.Owner); k.State != "revoked" {
		t.Errorf("recovered: %+v, %s", k, out)
	}
}

// TestHalfRestoredHasNoRoot: on a database that a restore has left half-way no command makes a root key, or anything else.
func TestHalfRestoredHasNoRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, _, _ := operating(t, dir, "")
	check(t, migrateCommand{}.Run(e))
	app, err := e.offline()
	check(t, err)
	check(t, app.DB.Write(t.Context(), func(tx *model.Tx) error { return tx.BeginRestore("bundle-1") }))
	check(t, app.Close(t.Context()))
	for name, run := range map[string]func(*environment) error{
		"root init": rootInitCommand{Yes: true}.Run, "root status": rootStatusCommand{}.Run, "root rewrap": rewrapCommand{Yes: true}.Run,
		"people list": peopleList{}.Run,
	} {
		if err := run(e); err == nil || !strings.Contains(err.Error(), "bundle-1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
