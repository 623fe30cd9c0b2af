package main

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/custody"
	"cardflow/transfer"
)

// TestAlarmsAreCountedFromTheStart, so that a rule on their increase fires at the first one, and operations.md says what to
// do about each.
func TestAlarmsAreCountedFromTheStart(t *testing.T) {
	registry := prometheus.NewRegistry()
	newTransferMetrics(registry)
	newCustodyMetrics(registry, func() bool { return false })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]bool{}
	for _, f := range families {
		if !strings.HasSuffix(f.GetName(), "alarms_total") {
			continue
		}
		for _, m := range f.GetMetric() {
			counted[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue() == 0
		}
	}
	manual, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	alarms := append([]string{}, transfer.Alarms...)
	for _, e := range custody.Alarms() {
		alarms = append(alarms, e.Code)
	}
	for _, name := range alarms {
		if !counted[name] {
			t.Errorf("%s isn't counted from the start", name)
		}
		if !strings.Contains(string(manual), "`"+name+"`") {
			t.Errorf("docs/operations.md says nothing of %s", name)
		}
	}
}
