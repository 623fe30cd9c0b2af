package handler

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/transfer"
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
// reach this server. One that is a process of its own may be away: that is this machine's, and other machines have theirs.
func ready(c *call) error {
	v, status := readyView{Status: "ready", Checks: map[string]string{}}, http.StatusOK
	for name, err := range c.server.parts(c.ctx()) {
		v.Checks[name] = "ok"
		if errors.Is(err, custody.ErrSealed) {
			v.Checks[name] = "sealed"
		} else if err != nil {
			v.Checks[name], v.Status, status = "failed", "unready", http.StatusServiceUnavailable
			if errors.Is(err, transfer.ErrCustodyAway) {
				v.Checks[name] = "away"
			}
			c.server.Logger.LogAttrs(c.ctx(), slog.LevelError, "not ready", slog.String("part", name), slog.Any("cause", err))
		}
	}
	return render(c, status, v)
}

// parts asks each part that this server needs how it is: nil is well.
func (s *server) parts(ctx context.Context) map[string]error {
	all := map[string]error{"redis": s.Redis.Ping(ctx).Err()}
	maps.Copy(all, s.Service.Ready(ctx))
	for name, check := range s.Checks {
		all[name] = check(ctx)
	}
	return all
}

// partReady is /readyz for who watches numbers.
var partReady = prometheus.NewDesc("cardflow_ready", "1 while a part that this server needs is well, as in /readyz; a sealed custody is.", []string{"part"}, nil)

// partPatience is how long all parts together may take to answer.
const partPatience = 2 * time.Second

// partMetrics asks the parts whenever somebody looks.
type partMetrics struct{ *server }

// Describe implements prometheus.Collector.
func (partMetrics) Describe(out chan<- *prometheus.Desc) { out <- partReady }

// Collect implements prometheus.Collector.
func (m partMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), partPatience)
	defer cancel()
	for name, err := range m.parts(ctx) {
		well := 1.0
		if err != nil && !errors.Is(err, custody.ErrSealed) {
			well = 0
		}
		out <- prometheus.MustNewConstMetric(partReady, prometheus.GaugeValue, well, name)
	}
}
