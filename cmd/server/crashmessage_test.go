//go:build crash

package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cardflow/transfer"
	"cardflow/transfer/realname"
)

// TestCrashMessage: a server dies while it gives up the row of a message, and when it has, before anything is sent. The next one
// sends the first message, and not the second one, which is lost.
func TestCrashMessage(t *testing.T) {
	t.Parallel()
	dir, config := demoWorld(t), filepath.Join(t.TempDir(), "config.yaml")
	check(t, os.WriteFile(config, []byte(crashConfig), 0o600))
	args := []string{"--config", config, "--data", dir, "serve"}
	// refused has somebody refused who has let it be told. A server that dies may do so before it answers.
	refused := func(p *process, n int) error {
		buyer, carrier := &visitor{newClient(p.url, "buyer"), t}, &visitor{newClient(p.url, "yidong"), t}
		check(t, buyer.wechat(soon(t), "demo:消息买家"+string(rune('甲'+n))))
		buyer.post("/me/subscriptions", map[string]string{"kind": "real_name"}, nil)
		buyer.post("/me/real-name", map[string]any{"carrier": "cmcc", "name": "司马实名", "idNumber": realname.Example(500 + n), "consent": true}, nil)
		check(t, carrier.login(soon(t), "yidong", demoPassword))
		var waiting items[approval]
		carrier.get("/approvals", &waiting)
		if len(waiting.Items) != 1 {
			t.Fatalf("the carrier sees %+v", waiting)
		}
		return carrier.call(soon(t), "POST", "/approvals/"+waiting.Items[0].ID+"/refuse", map[string]string{"reason": "OTHER"}, nil)
	}
	for n, point := range messagePoints {
		dying := served(t, []string{crashAtVariable + "=" + point}, args)
		err := refused(dying, 2*n)
		t.Logf("%s: the carrier hears %v", point, err)
		<-dying.ended
		p := served(t, nil, args)
		check(t, refused(p, 2*n+1))
		want := map[string]string{"transfer: " + transfer.AtMessaging: "2", "transfer: " + transfer.AtMessage: "1"}[point]
		until(t, "as many messages as there are to be sent", func() bool {
			answer, err := http.Get(p.url + "/metrics")
			check(t, err)
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			check(t, err)
			return strings.Contains(string(text), `cardflow_messages_total{kind="real_name",outcome="sent"} `+want+"\n")
		})
		p.stop(t)
	}
	fsck(t, 1000, args[:4])
}

// messagePoints are those of a message's way.
var messagePoints = []string{"transfer: " + transfer.AtMessaging, "transfer: " + transfer.AtMessage}
