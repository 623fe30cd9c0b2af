package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"cardflow/custody"
)

// healthCommand asks the server of the same configuration whether it can do its work: for whatever watches over it and
// has no other program at hand, as in a container that holds nothing but this one.
type healthCommand struct {
	Custodian bool `help:"Ask the custodian instead, at its socket."`
	JSON      bool `name:"json" help:"JSON instead of text, also of one that is not ready."`
}

// healthPatience is how long an answer may take: each part is asked in turn.
const healthPatience = 10 * time.Second

// Run implements the command. It is nil if the server is ready.
func (c healthCommand) Run(e *environment) error {
	ctx, cancel := context.WithTimeout(e.ctx, healthPatience)
	defer cancel()
	if c.Custodian {
		err := newRemote(bySocket(e.config.Path(e.config.Custody.Socket))).Ready(ctx)
		if err != nil && !errors.Is(err, custody.ErrSealed) {
			return fmt.Errorf("not ready: %w", err)
		}
		if c.JSON {
			return printJSON(e.stdout, map[string]any{"ready": true, "sealed": err != nil})
		}
		fmt.Fprintln(e.stdout, map[bool]string{true: "ready", false: "sealed"}[err == nil])
		return nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+reachable(e.config.HTTP.Listen)+"/readyz", nil)
	if err != nil {
		return err
	}
	// Not the default transport: a proxy that the environment names is not meant for this.
	response, err := new(http.Transport).RoundTrip(request)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close()
	var found struct{ Checks map[string]string }
	err = json.NewDecoder(response.Body).Decode(&found)
	ready := response.StatusCode == http.StatusOK && err == nil
	if c.JSON {
		if err := printJSON(e.stdout, map[string]any{"ready": ready, "checks": found.Checks}); err != nil || ready {
			return err
		}
	}
	if ready {
		fmt.Fprintln(e.stdout, "ready")
		return nil
	}
	var failed []string
	for part, state := range found.Checks {
		if state != "ok" {
			failed = append(failed, part)
		}
	}
	slices.Sort(failed)
	return fmt.Errorf("not ready: %s (%s)", strings.Join(failed, ", "), response.Status)
}

// reachable is an address at which this machine reaches who listens on one: all interfaces are none to connect to.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}
