package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/ledger"
	"cardflow/transfer"
)

// transferMetrics counts what the relay does.
type transferMetrics struct {
	acts     *prometheus.CounterVec
	took     *prometheus.HistogramVec
	failures *prometheus.CounterVec
	alarms   *prometheus.CounterVec
	names    *prometheus.CounterVec
	messages *prometheus.CounterVec
}

func newTransferMetrics(r *prometheus.Registry) *transferMetrics {
	m := &transferMetrics{
		acts:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_acts_total", Help: "Acts that reached an end, by function and outcome."}, []string{"function", "outcome"}),
		took:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cardflow_act_seconds", Help: "From accepting an act to its end.", Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}, []string{"function"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_ledger_failures_total", Help: "Failed submissions, by class."}, []string{"class"}),
		alarms:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_alarms_total", Help: "Things that someone should look at."}, []string{"alarm"}),
	}
	m.names = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_real_names_total", Help: "Registrations of real names, by what has come of them; approvals are acts."}, []string{"event"})
	m.messages = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cardflow_messages_total", Help: "Subscription messages to consumers, by kind and by what has come of them."}, []string{"kind", "outcome"})
	for _, kind := range transfer.MessageKinds {
		for _, end := range transfer.Deliveries {
			m.messages.WithLabelValues(kind, string(end))
		}
	}
	for _, event := range transfer.RealNameEvents {
		m.names.WithLabelValues(event)
	}
	for _, name := range transfer.Alarms {
		m.alarms.WithLabelValues(name) // a rule on a counter that isn't there yet would never fire
	}
	for _, class := range []ledger.Class{ledger.Refused, ledger.NotSent, ledger.Unknown, ledger.Duplicate, ledger.Conflict, ledger.Invalid} {
		m.failures.WithLabelValues(string(class))
	}
	r.MustRegister(m.acts, m.took, m.failures, m.alarms, m.names, m.messages, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
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

// RealName implements transfer.Metrics.
func (m *transferMetrics) RealName(event string) { m.names.WithLabelValues(event).Inc() }

// Message implements transfer.Metrics.
func (m *transferMetrics) Message(kind, end string) { m.messages.WithLabelValues(kind, end).Inc() }

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
