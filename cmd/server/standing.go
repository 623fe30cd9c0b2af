package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/transfer"
)

// standing asks database and ledger, whenever somebody looks at the metrics, how things stand: what waits, how far the
// ledger vouches for the audit. All servers say the same.
type standing struct{ service *transfer.Service }

// keysStanding does so for custody, where custody is.
type keysStanding struct{ custody *custody.Custody }

// standingPatience is how long database and ledger may take to answer.
const standingPatience = 2 * time.Second

func gauge(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

var (
	auditRows     = gauge("cardflow_audit_rows", "Rows of custody's audit.")
	auditAnchored = gauge("cardflow_audit_anchored_row", "The newest row of the audit that is anchored on the ledger.")
	auditLag      = gauge("cardflow_audit_anchor_lag_rows", "Rows of the audit after the newest anchor; 0 while nothing waits to be anchored.")
	auditAge      = gauge("cardflow_audit_anchor_age_seconds", "Age of the newest anchor.")

	actsOpen   = gauge("cardflow_acts_open", "Acts that are under way.")
	actsOldest = gauge("cardflow_acts_oldest_seconds", "Since the oldest of them was accepted; 0 if there is none.")

	namesWaiting = gauge("cardflow_real_names_waiting", "Registrations of real names that wait for a carrier's people.")
	namesOldest  = gauge("cardflow_real_names_oldest_seconds", "Since the oldest of them began to wait; 0 if there is none.")

	ledgerBlocks   = gauge("cardflow_ledger_blocks", "Blocks of the ledger.")
	ledgerFollowed = gauge("cardflow_ledger_blocks_followed", "Blocks of the ledger that the database has followed.")

	signedToday   = gauge("cardflow_custody_signatures_today", "Signatures of all keys today, or taken by servers to be made.")
	signedQuota   = gauge("cardflow_custody_signatures_quota", "How many signatures of all keys there may be a day.")
	keysToRewrap  = gauge("cardflow_custody_keys_to_rewrap", "Keys under an older key-encryption key than the newest.")
	auditWaiting  = gauge("cardflow_custody_audit_waiting_rows", "Rows that the audit gets when custody is opened.")
	proposalsOpen = gauge("cardflow_custody_proposals_open", "Proposals that wait for a second person.")
)

// Describe implements prometheus.Collector.
func (standing) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		auditRows, auditAnchored, auditLag, auditAge, actsOpen, actsOldest, namesWaiting, namesOldest, ledgerBlocks, ledgerFollowed,
	} {
		out <- d
	}
}

// Describe implements prometheus.Collector.
func (keysStanding) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{signedToday, signedQuota, keysToRewrap, auditWaiting, proposalsOpen} {
		out <- d
	}
}

// Collect implements prometheus.Collector. What can't be found out is left out: a rule on absent() sees it.
func (m standing) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), standingPatience)
	defer cancel()
	tell := teller(out)
	if a, err := m.service.AnchorState(ctx); err == nil {
		lag := int64(0)
		if a.Moved {
			lag = a.Rows - a.Anchored
		}
		tell(auditRows, float64(a.Rows))
		tell(auditAnchored, float64(a.Anchored))
		tell(auditLag, float64(lag))
		tell(auditAge, a.Age.Seconds())
	}
	if b, err := m.service.Backlog(ctx); err == nil {
		tell(actsOpen, float64(b.Acts))
		tell(actsOldest, b.Oldest.Seconds())
	}
	if b, err := m.service.RealNameBacklog(ctx); err == nil {
		tell(namesWaiting, float64(b.Waiting))
		tell(namesOldest, b.Oldest.Seconds())
	}
	if blocks, known, err := m.service.Followed(ctx); err == nil {
		tell(ledgerBlocks, float64(blocks))
		tell(ledgerFollowed, float64(known))
	}
}

// Collect implements prometheus.Collector.
func (m keysStanding) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), standingPatience)
	defer cancel()
	tell := teller(out)
	if c, err := m.custody.Backlog(ctx); err == nil {
		tell(signedToday, float64(c.Signed))
		tell(signedQuota, float64(c.Quota))
		tell(keysToRewrap, float64(c.Rewrap))
		tell(auditWaiting, float64(c.Waiting))
		tell(proposalsOpen, float64(c.Undecided))
	}
}

func teller(out chan<- prometheus.Metric) func(d *prometheus.Desc, v float64) {
	return func(d *prometheus.Desc, v float64) { out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
}
