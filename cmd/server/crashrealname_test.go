//go:build crash

package main

import (
	"os"
	"path/filepath"
	"testing"

	"cardflow/transfer"
	"cardflow/transfer/realname"
)

// TestCrashRealName: a server dies while a real name is being checked, and when it knows what the verifier said. Another one
// asks again by itself; the registration comes before the carrier's people once, and is approved once.
func TestCrashRealName(t *testing.T) {
	t.Parallel()
	dir, config := demoWorld(t), filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(crashConfig), 0o600))
	args := []string{"--config", config, "--data", dir, "serve"}
	for n, point := range realNamePoints {
		name := "实名买家" + string(rune('甲'+n))
		dying := served(t, []string{crashAtVariable + "=" + point}, args)
		buyer := &visitor{newClient(dying.url, "buyer"), t}
		check(t, buyer.wechat(soon(t), "demo:"+name))
		in := map[string]any{"carrier": "cmcc", "name": "司马实名", "idNumber": realname.Example(400 + n), "consent": true}
		if err := buyer.call(soon(t), "POST", "/me/real-name", in, nil); err == nil {
			t.Fatalf("%s: it was answered", point)
		}
		<-dying.ended

		p := served(t, nil, args)
		carrier := &visitor{newClient(p.url, "yidong"), t}
		check(t, carrier.login(soon(t), "yidong", demoPassword))
		var waiting items[approval]
		until(t, "the registration to come before the carrier", func() bool {
			carrier.get("/approvals", &waiting)
			return len(waiting.Items) > 0
		})
		if len(waiting.Items) != 1 || waiting.Items[0].Finding != "CONFIRMED" {
			t.Errorf("%s: the carrier sees %+v", point, waiting)
		}
		carrier.done("/approvals/"+waiting.Items[0].ID+"/approve", nil)
		until(t, "nothing to be left to decide", func() bool {
			carrier.get("/approvals", &waiting)
			return len(waiting.Items) == 0
		})
		p.stop(t)
	}
	fsck(t, 1000, args[:4])
}

// realNamePoints are those of a registration's way.
var realNamePoints = []string{"transfer: " + transfer.AtVerifying, "transfer: " + transfer.AtVerified}

// served starts a server and waits until it serves.
func served(t *testing.T, env, args []string) *process {
	t.Helper()
	p := startProcessWith(t, env, args...)
	if !p.listening() {
		t.Fatalf("the server does not start:\n%s", p.errs)
	}
	return p
}
