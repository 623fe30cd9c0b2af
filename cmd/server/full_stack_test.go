//go:build stack

package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cardflow/cmd/stack/local"
)

// TestFull runs two servers and their custodian, each a process of its own, on MariaDB, Redis and a Fabric network, as `make run-full` does. The
// README's walk goes through on the first, unchanged; what one server was told the other one knows; and fsck, while both
// work, finds database and ledger alike.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	full, err := local.StartFull(within(t, 5*patience), local.FullConfig{Dir: dir, Tied: true, Fast: true, BatchTimeout: 100 * time.Millisecond})
	t.Cleanup(func() { check(t, local.StopTree(dir, 20*time.Second)) })
	check(t, err)
	config, custodian := filepath.Join(dir, "server.yaml"), filepath.Join(dir, "custodian.yaml")
	check(t, full.WriteApartConfigs(config, custodian))
	check(t, full.StartCustodian(soon(t), "server", custodian, "--demo"))
	data := func(n int) string { return filepath.Join(dir, fmt.Sprint("server-", n)) }
	serve := func(n int, more ...string) *process {
		p := startProcess(t, slices.Concat([]string{"--config", config, "--data", data(n), "serve"}, more)...)
		if !p.listening() {
			t.Fatalf("server %d does not start:\n%s", n, p.errs)
		}
		return p
	}
	one := serve(1, "--demo")
	two := serve(2)
	walkAt(t, one.url)

	at := func(p *process) *visitor { return &visitor{newClient(p.url, "visitor"), t} }
	shop := at(one)
	check(t, shop.login(soon(t), "xiaowang", demoPassword))
	offer := shop.offers("BEARER", "", cards("898604B7192270274150", "898604B7192270274152"))
	// Logged in at one server, he confirms at the other, and both tell him the same.
	li, elsewhere := at(one), at(two)
	check(t, li.wechat(soon(t), "demo:小李"))
	elsewhere.token = li.token
	elsewhere.done("/trades/"+offer.TradeID+"/confirm", shows(offer))
	if here, there := numbers(li.owns()), numbers(elsewhere.owns()); !slices.Equal(here, there) || !slices.Contains(here, "898604B7192270274152") {
		t.Errorf("he owns %v at one server, %v at the other", here, there)
	}
	for _, v := range []*visitor{li, elsewhere} {
		if a := v.raw(http.MethodGet, strings.TrimSuffix(v.base, "/api/v1")+"/readyz", nil); a.status != http.StatusOK {
			t.Errorf("not ready: %d %s", a.status, a.body)
		}
	}

	// fsck is one more server beside the two, which has custody in itself, and reads everybody's journals.
	fsck := exec.Command("server", "--config", custodian, "--data", data(3), "fsck")
	fsck.Env = append(plainEnvironment(), fmt.Sprintf("CARDFLOW_VAULT_OTHER_JOURNALS=%s,%s,%s",
		filepath.Join(data(1), "journal"), filepath.Join(data(2), "journal"), filepath.Join(dir, "custodian", "journal")))
	out, err := fsck.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "✓ 数据库与账本逐行一致") || !strings.Contains(string(out), "在册卡 1000") {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	two.stop(t)
	one.stop(t)
}
