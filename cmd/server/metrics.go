package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/transfer"
)

// transferMetrics counts what the relay does.
type transferMetrics struct {
	acts     *prometheus.CounterVec
	took     *prometheus.HistogramVec
	failures *prometheus.CounterVec
	alarms   *prometheus.CounterVec
}

func newTransferMetrics(r *prometheus.Registry) *transferMetrics {
	m := &transferMetrics{
		acts:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_acts_total", Help: "Acts that reached an end, by function and outcome."}, []string{"function", "outcome"}),
		took:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cardflow_act_seconds", Help: "From accepting an act to its end.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}, []string{"function"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_ledger_failures_total", Help: "Failed submissions, by class."}, []string{"class"}),
		alarms:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_alarms_total", Help: "Things that someone should look at."}, []string{"alarm"}),
	}
	for _, name := range transfer.Alarms {
		m.alarms.WithLabelValues(name) // a rule on a counter that isn't there yet would never fire
	}
	r.MustRegister(m.acts, m.took, m.failures, m.alarms, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// ActEnded implements transfer.Metrics.
func (m *transferMetrics) ActEnded(function, outcome string, took time.Duration) {
	m.acts.WithLabelValues(function, outcome).Inc()
	m.took.WithLabelValues(function).Observe(took.Seconds())
}

// LedgerFailure implements transfer.Metrics.
func (m *transferMetrics) LedgerFailure(class string) { m.failures.WithLabelValues(class).Inc() }

// Alarm implements transfer.Metrics.
func (m *transferMetrics) Alarm(name string) { m.alarms.WithLabelValues(name).Inc() }

func newCustodyMetrics(r *prometheus.Registry, sealed func() bool) custody.Metrics {
	signed := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cardflow_custody_sign_seconds", Help: "Signatures made, by function.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}, []string{"function"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_custody_refused_total", Help: "Refusals, by code."}, []string{"code"})
	alarms := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_custody_alarms_total", Help: "What should never happen, by code."}, []string{"code"})
	writable := prometheus.NewGauge(prometheus.GaugeOpts{Name: "cardflow_custody_audit_writable", Help: "1 while the audit can be written; 0: nothing is signed."})
	writable.Set(1)
	for _, e := range custody.Alarms() {
		alarms.WithLabelValues(e.Code) // a rule on a counter that isn't there yet would never fire
	}
	closed := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cardflow_custody_sealed", Help: "1 while this server has no key in memory, so that signatures wait."}, func() float64 {
		if sealed() {
			return 1
		}
		return 0
	})
	r.MustRegister(signed, refused, alarms, writable, closed)
	return custody.Metrics{
		Signed:  func(function string, took time.Duration) { signed.WithLabelValues(function).Observe(took.Seconds()) },
		Refused: func(code string) { refused.WithLabelValues(code).Inc() },
		Alarm:   func(code string) { alarms.WithLabelValues(code).Inc() },
		Writable: func(can bool) {
			writable.Set(map[bool]float64{true: 1}[can])
		},
	}
}

// anchorMetrics asks, whenever somebody looks, how far the ledger vouches for the audit. All servers say the same.
type anchorMetrics struct{ service *transfer.Service }

var (
	auditRows     = prometheus.NewDesc("cardflow_audit_rows", "Rows of custody's audit.", nil, nil)
	auditAnchored = prometheus.NewDesc("cardflow_audit_anchored_row", "The newest row of the audit that is anchored on the ledger.", nil, nil)
	auditLag      = prometheus.NewDesc("cardflow_audit_anchor_lag_rows", "Rows of the audit after the newest anchor; 0 while nothing waits to be anchored.", nil, nil)
	auditAge      = prometheus.NewDesc("cardflow_audit_anchor_age_seconds", "Age of the newest anchor.", nil, nil)
)

// anchorPatience is how long the database may take to answer.
const anchorPatience = 2 * time.Second

// Describe implements prometheus.Collector.
func (anchorMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{auditRows, auditAnchored, auditLag, auditAge} {
		out <- d
	}
}

// Collect implements prometheus.Collector. What can't be found out is left out: a rule on absent() sees it.
func (m anchorMetrics) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), anchorPatience)
	defer cancel()
	state, err := m.service.AnchorState(ctx)
	if err != nil {
		return
	}
	lag := int64(0)
	if state.Moved {
		lag = state.Rows - state.Anchored
	}
	for d, v := range map[*prometheus.Desc]float64{
		auditRows: float64(state.Rows), auditAnchored: float64(state.Anchored), auditLag: float64(lag), auditAge: state.Age.Seconds(),
	} {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}

func newWeChatMetrics(r *prometheus.Registry) func(op, outcome string, d time.Duration) {
	calls := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cardflow_wechat_seconds", Help: "Calls of the WeChat platform, by operation and outcome.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}, []string{"operation", "outcome"})
	r.MustRegister(calls)
	return func(op, outcome string, d time.Duration) { calls.WithLabelValues(op, outcome).Observe(d.Seconds()) }
}

func limitsOf(c LimitsConfig) handler.Limits {
	rate := func(r Rate) handler.Rate { return handler.Rate{Count: r.Count, Per: r.Per} }
	return handler.Limits{
		WrongCodes: rate(c.WrongCodes), WrongCodesPerAddress: rate(c.WrongCodesPerAddress), WrongCodesPlatform: rate(c.WrongCodesPlatform),
		LookupsPerAddress: rate(c.LookupsPerAddress), LookupsPlatform: rate(c.LookupsPlatform),
		LoginsPerAddress: rate(c.LoginsPerAddress), LoginsPerAccount: rate(c.LoginsPerAccount), RequestsPerAddress: rate(c.RequestsPerAddress),
	}
}
