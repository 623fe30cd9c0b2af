package main

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"gopkg.in/yaml.v3"

	"cardflow/custody"
	"cardflow/transfer"
)

// The files of configs/prometheus and configs/grafana are read by programs that aren't here. What can be known without them
// is held together here: that they ask for numbers that the server has, that each alarm has its rule and each rule its place
// in the manual; and promtool, Prometheus' own, says whether they can be read and when each rule fires.

const (
	rulesFile     = "cardflow.rules.yml"
	rulesTestFile = "cardflow.rules.test.yml"
)

type alertRule struct {
	Record      string
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../configs/prometheus", name))
	check(t, err)
	check(t, yaml.Unmarshal(b, into))
}

func alertRules(t *testing.T) (all []alertRule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alertRule }
	}
	readYAML(t, rulesFile, &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 30 {
		t.Fatalf("only %d rules", len(all))
	}
	return all
}

// panelExprs are what the dashboard asks for, by the title of the panel.
func panelExprs(t *testing.T) map[string][]string {
	t.Helper()
	var board struct {
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	b, err := os.ReadFile("../../configs/grafana/cardflow.json")
	check(t, err)
	check(t, json.Unmarshal(b, &board))
	out := map[string][]string{}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			out[p.Title] = append(out[p.Title], target.Expr)
		}
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("panel %s shows nothing", p.Title)
		}
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			out["variable "+v.Name] = []string{strings.TrimSuffix(strings.TrimPrefix(v.Definition, "label_values("), ", instance)")}
		}
	}
	if len(out) < 20 {
		t.Fatalf("only %d panels", len(out))
	}
	return out
}

var (
	sample     = regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? \S+$`)
	labelled   = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"([^"]*)"`)
	asked      = regexp.MustCompile(`\b(?:(?:cardflow|process|go)_[a-z0-9_]+|cardflow:[a-z0-9:]+)`)
	selector   = regexp.MustCompile(`\b([a-z_:0-9]+)\{([^}]*)\}`)
	grouping   = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	fromScrape = []string{"job", "instance", "le"}
)

// TestAlertsAskForWhatThereIs: no rule and no panel asks for a number, a label or an alarm that the server doesn't have.
func TestAlertsAskForWhatThereIs(t *testing.T) {
	t.Parallel()
	s := openSite(t, demoWorld(t), crowded)
	// Some counters appear with their first event.
	s.staff("xiaowang").offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	s.consumer("小陈")
	s.staff("yunwei").refused(404, "CUSTODY_PROPOSAL_NOT_FOUND", http.MethodPost, "/custody/proposals/none/approve", nil)
	text := string(s.visitor("prometheus").raw(http.MethodGet, s.URL+"/metrics", nil).body)

	has := map[string]map[string][]string{} // metric, label, values
	for _, line := range sample.FindAllStringSubmatch(text, -1) {
		labels := has[line[1]]
		if labels == nil {
			labels = map[string][]string{}
			has[line[1]] = labels
		}
		for _, l := range labelled.FindAllStringSubmatch(line[2], -1) {
			labels[l[1]] = append(labels[l[1]], l[2])
		}
	}
	rules := alertRules(t)
	has["cardflow:alarms:15m"] = map[string][]string{"alarm": slices.Concat(has["cardflow_alarms_total"]["alarm"], has["cardflow_custody_alarms_total"]["code"])}
	has["cardflow:refused:15m"] = map[string][]string{"code": nil}
	for _, r := range rules {
		if _, known := has[r.Record]; r.Record != "" && !known {
			t.Errorf("%s: say here what labels it has", r.Record)
		}
	}

	examine := func(where, expr string) {
		names := asked.FindAllString(expr, -1)
		if len(names) == 0 && !strings.Contains(expr, `up{job`) {
			t.Errorf("%s asks for nothing of this server: %s", where, expr)
		}
		var known []string
		for _, name := range names {
			if has[name] == nil {
				t.Errorf("%s asks for %s, which the server doesn't have", where, name)
			}
			for label := range has[name] {
				known = append(known, label)
			}
		}
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			for _, l := range labelled.FindAllStringSubmatch(m[2], -1) {
				values, there := has[m[1]][l[1]]
				if !there && !slices.Contains(fromScrape, l[1]) {
					t.Errorf("%s: %s has no label %s", where, m[1], l[1])
				}
				if exact := strings.Contains(m[2], l[1]+`="`); l[1] == "alarm" && exact && !slices.Contains(values, l[2]) {
					t.Errorf("%s: there is no alarm %s", where, l[2])
				}
			}
		}
		for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(m[1], ",") {
				if label = strings.TrimSpace(label); !slices.Contains(known, label) && !slices.Contains(fromScrape, label) {
					t.Errorf("%s: groups by %s, which nothing there has", where, label)
				}
			}
		}
	}
	for _, r := range rules {
		examine(r.Alert+r.Record, r.Expr)
	}
	for title, exprs := range panelExprs(t) {
		for _, expr := range exprs {
			examine("panel "+title, expr)
		}
	}
}

// TestAlarmsHaveRules: each alarm of the server has a rule of its own; and each rule says in Chinese what has happened, how
// urgent it is, and where to read on: there it is written.
func TestAlarmsHaveRules(t *testing.T) {
	t.Parallel()
	rules := alertRules(t)
	alarms := append([]string{}, transfer.Alarms...)
	for _, e := range custody.Alarms() {
		alarms = append(alarms, e.Code)
	}
	of := map[string]string{} // rule, alarm
	for _, alarm := range alarms {
		i := slices.IndexFunc(rules, func(r alertRule) bool { return r.Expr == `cardflow:alarms:15m{alarm="`+alarm+`"} > 0` })
		if i < 0 {
			t.Errorf("the alarm %s has no rule", alarm)
			continue
		}
		of[rules[i].Alert] = alarm
	}
	seen := map[string]bool{}
	for _, r := range rules {
		if r.Record != "" {
			continue
		}
		if seen[r.Alert] {
			t.Errorf("%s twice", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if !strings.ContainsFunc(r.Annotations["summary"], func(c rune) bool { return unicode.Is(unicode.Han, c) }) {
			t.Errorf("%s: summary %q", r.Alert, r.Annotations["summary"])
		}
		said := section(t, r.Annotations["runbook"])
		if !strings.Contains(said, "`"+r.Alert+"`") && (of[r.Alert] == "" || !strings.Contains(said, "`"+of[r.Alert]+"`")) {
			t.Errorf("%s: %q says nothing of it", r.Alert, r.Annotations["runbook"])
		}
	}
}

var (
	heading  = regexp.MustCompile(`(?m)^(#+) (.+)$`)
	unlinked = regexp.MustCompile(`[^\p{L}\p{N} -]`)
)

// section is what a document has under the heading that a link leads to.
func section(t *testing.T, link string) string {
	t.Helper()
	name, anchor, _ := strings.Cut(link, "#")
	b, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Error(err)
		return ""
	}
	text, from, depth := string(b), -1, 0
	for _, m := range heading.FindAllStringSubmatchIndex(text, -1) {
		title := strings.ReplaceAll(unlinked.ReplaceAllString(strings.ToLower(text[m[4]:m[5]]), ""), " ", "-")
		switch {
		case from < 0 && title == anchor:
			from, depth = m[1], m[3]-m[2]
		case from >= 0 && m[3]-m[2] <= depth:
			return text[from:m[0]]
		}
	}
	if from < 0 {
		return ""
	}
	return text[from:]
}

// promtool is of the Debian package prometheus, see .ci/packages.
func promtool(t *testing.T, dir string, arguments ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "promtool", arguments...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
}

// TestAlertsFire: by Prometheus' own tool the rules can be read, and each fires when its test says; so can what the panels ask.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	promtool(t, "../../configs/prometheus", "check", "rules", rulesFile)
	promtool(t, "../../configs/prometheus", "test", "rules", rulesTestFile)

	var tests struct {
		Tests []struct {
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, rulesTestFile, &tests)
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, one := range tests.Tests {
		for _, a := range one.AlertRuleTest {
			(map[bool]map[string]bool{true: fires, false: rests}[len(a.ExpAlerts) > 0])[a.Alertname] = true
		}
	}
	for _, r := range alertRules(t) {
		if r.Alert != "" && !fires[r.Alert] && !strings.HasPrefix(r.Expr, "cardflow:alarms:15m{") { // which are all alike
			t.Errorf("no test shows that %s fires", r.Alert)
		}
	}
	if len(rests) < 10 {
		t.Errorf("tests show only of %d alerts that they don't always fire", len(rests))
	}

	var asRules struct {
		Groups []map[string]any `yaml:"groups"`
	}
	var records []map[string]string
	for _, exprs := range panelExprs(t) {
		for _, expr := range exprs {
			expr = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(expr)
			records = append(records, map[string]string{"record": "panel" + strings.Repeat("x", len(records)), "expr": expr})
		}
	}
	asRules.Groups = []map[string]any{{"name": "panels", "rules": records}}
	b, err := yaml.Marshal(asRules)
	check(t, err)
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "panels.yml"), b, 0o600))
	promtool(t, dir, "check", "rules", "panels.yml")
}
