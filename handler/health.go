package handler

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"cardflow/custody"
)

// Health says how the parts of the service are, by name: nil is well.
type Health interface {
	Ready(ctx context.Context) map[string]error
}

type aliveView struct {
	Status string `json:"status"`
}

type readyView struct {
	Status string            `json:"status"`
	Checks map[string]string `json:"checks"`
}

// alive is GET /healthz: the process answers. It asks nobody else, or a database that is down would have all servers
// restarted.
func alive(c *call) error { return render(c, http.StatusOK, aliveView{"ok"}) }

// ready is GET /readyz: whether this server can do its work. Why a part is down is for the log. A custody that is sealed
// is named, and no reason to send people elsewhere: look-ups, logins and accepting go on, and whoever opens it has to
// reach this server.
func ready(c *call) error {
	found := c.Service.Ready(c.ctx())
	all := map[string]error{"redis": c.Redis.Ping(c.ctx()).Err()}
	for name, err := range found {
		all[name] = err
	}
	for name, check := range c.Checks {
		all[name] = check(c.ctx())
	}
	v, status := readyView{Status: "ready", Checks: map[string]string{}}, http.StatusOK
	for name, err := range all {
		v.Checks[name] = "ok"
		if errors.Is(err, custody.ErrSealed) {
			v.Checks[name] = "sealed"
		} else if err != nil {
			v.Checks[name], v.Status, status = "failed", "unready", http.StatusServiceUnavailable
			c.server.Logger.LogAttrs(c.ctx(), slog.LevelError, "not ready", slog.String("part", name), slog.Any("cause", err))
		}
	}
	return render(c, status, v)
}
