package handler

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what operators watch. Labels are patterns, never paths: their number is fixed by the table of routes.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	refused  *prometheus.CounterVec // terminals' envelopes
	submits  *prometheus.CounterVec
}

// envelopeCodes are why a terminal's envelope is refused.
var envelopeCodes = []string{"ENVELOPE_INVALID", "CLOCK_SKEW", "DEVICE_REFUSED", "REPLAYED"}

// What becomes of what terminals submit, as far as they are told at once.
const (
	submitCommitted = "committed"
	submitFailed    = "failed"    // by the ledger
	submitUnderWay  = "under_way" // its terminal asks again
	submitRefused   = "refused"   // before anything was accepted
	submitError     = "error"
)

func newMetrics(registry *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		registry: registry,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cardflow_http_requests_total", Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cardflow_http_request_seconds", Help: "Time to answer a request, in seconds.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route", "method"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "cardflow_http_requests_in_flight", Help: "Requests being answered.",
		}),
	}
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cardflow_terminal_refused_total", Help: "Requests of terminals whose envelope was refused, by code.",
	}, []string{"code"})
	for _, code := range envelopeCodes {
		m.refused.WithLabelValues(code) // a rule on a counter that isn't there yet would never fire
	}
	m.submits = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cardflow_terminal_submits_total", Help: "Signed requests that terminals have submitted, by what they were told.",
	}, []string{"end"})
	for _, end := range []string{submitCommitted, submitFailed, submitUnderWay, submitRefused, submitError} {
		m.submits.WithLabelValues(end)
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.inFlight, m.refused, m.submits} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route, method).Observe(took.Seconds())
}

// envelope counts a refusal of a terminal's envelope, if it is one.
func (m *metrics) envelope(err error) {
	if code := problemOf(err).code; slices.Contains(envelopeCodes, code) {
		m.refused.WithLabelValues(code).Inc()
	}
}

// submitted counts what a terminal was told of what it has submitted.
func (m *metrics) submitted(state string, err error) {
	end := submitUnderWay
	switch {
	case err != nil && problemOf(err).status < http.StatusInternalServerError:
		end = submitRefused
	case err != nil:
		end = submitError
	case state == submitCommitted || state == submitFailed:
		end = state
	}
	m.submits.WithLabelValues(end).Inc()
}

// showMetrics is GET /metrics.
func showMetrics(c *call) error {
	promhttp.HandlerFor(c.metrics.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(c.Response(), httpGet(c.Request()))
	return nil
}

// httpGet keeps promhttp from compressing: what stands in front of the server does that.
func httpGet(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Del("Accept-Encoding")
	return r
}
