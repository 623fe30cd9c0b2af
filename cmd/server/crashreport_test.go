//go:build crash

package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashOut is where the figures of the long form go.
var crashOut = flag.String("crash.out", "", "file for the crash suite's figures (Markdown)")

// record is what happened, scene by scene.
type record struct {
	mu    sync.Mutex
	begun time.Time
	lines []*line
}

// line is one scene.
type line struct {
	name    string
	begun   time.Time
	took    time.Duration
	kills   int
	before  count // what had been done when it began
	count   count // what was done in it; when it has ended
	figures []figure
}

// count is what people have done.
type count struct {
	writes     int // that were committed, and of whose end somebody was told
	transfers  int // those of them by which cards changed hands
	unanswered int // requests
}

func (a count) less(b count) count {
	return count{a.writes - b.writes, a.transfers - b.transfers, a.unanswered - b.unanswered}
}

// figure is something that was measured.
type figure struct {
	what string
	took time.Duration
}

var theRecord = sync.OnceValue(func() *record { return &record{begun: time.Now()} })

// recordOf is the record of this run.
func recordOf(testing.TB) *record { return theRecord() }

func (r *record) begin(name string, m *market) *line {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := &line{name: name, begun: time.Now(), before: m.count()}
	r.lines = append(r.lines, l)
	return l
}

func (l *line) end(m *market) { l.took, l.count = time.Since(l.begun), m.count().less(l.before) }

// count is what people have done so far.
func (m *market) count() (c count) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.unanswered = m.unanswered
	for _, f := range m.fates {
		if f.txID == "" {
			continue
		}
		c.writes++
		if f.what == "confirm" || f.what == "take back" {
			c.transfers++
		}
	}
	return c
}

// total is what the whole run comes to.
func (r *record) total() (all line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		all.kills += l.kills
		all.count.writes += l.count.writes
		all.count.transfers += l.count.transfers
		all.count.unanswered += l.count.unanswered
	}
	all.name, all.took = "all", time.Since(r.begun)
	return all
}

// say tells whoever watches what is going on.
func (w *world) say(format string, args ...any) {
	text := fmt.Sprintf("%5.0f s  %-8s  %s", time.Since(w.record.begun).Seconds(), w.name, fmt.Sprintf(format, args...))
	if len(text) > 78 {
		text = text[:77] + "…"
	}
	fmt.Fprintf(os.Stderr, " %s\n", text)
}

// measure notes how long something took.
func (w *world) measure(what string, took time.Duration) {
	w.say("%s: %s", what, seconds(took))
	w.line.figures = append(w.line.figures, figure{what, took})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// measured are the figures of all scenes, under their names in the order in which they came up.
func (r *record) measured() (names []string, times map[string][]time.Duration) {
	times = map[string][]time.Duration{}
	for _, l := range r.lines {
		for _, f := range l.figures {
			if times[f.what] == nil {
				names = append(names, f.what)
			}
			times[f.what] = append(times[f.what], f.took)
		}
	}
	for _, list := range times {
		slices.Sort(list)
	}
	return names, times
}

// table writes what happened, no wider than 80 columns.
func (r *record) table(w io.Writer) {
	fmt.Fprintf(w, "\n  %-40s %5s %6s %9s %6s %5s\n", "scene", "kills", "writes", "transfers", "silent", "time")
	for _, l := range append(slices.Clone(r.lines), new(r.total())) {
		if l.name == "all" {
			fmt.Fprintf(w, "  %s\n", strings.Repeat("─", 76))
		}
		fmt.Fprintf(w, "  %-40s %5d %6d %9d %6d %5s\n", l.name, l.kills, l.count.writes, l.count.transfers, l.count.unanswered, clockTime(l.took))
	}
	names, times := r.measured()
	fmt.Fprintf(w, "\n  %-53s %5s %8s %8s\n", "measured", "times", "median", "longest")
	for _, name := range names {
		list := times[name]
		fmt.Fprintf(w, "  %-53s %5d %8s %8s\n", name, len(list), seconds(list[len(list)/2]), seconds(list[len(list)-1]))
	}
	fmt.Fprintln(w)
}

// clockTime is minutes and seconds.
func clockTime(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

// markdown writes the same for docs/performance.
func (r *record) markdown(w io.Writer) {
	fmt.Fprintf(w, "Measured %s, %d cores, %s; `make crash`.\n\n", time.Now().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	fmt.Fprint(w, "| scene | kills | writes | transfers | requests without an answer | minutes |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, l := range append(slices.Clone(r.lines), new(r.total())) {
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %s |\n", l.name, l.kills, l.count.writes, l.count.transfers, l.count.unanswered, clockTime(l.took))
	}
	names, times := r.measured()
	fmt.Fprint(w, "\n| measured | times | median | longest |\n| --- | ---: | ---: | ---: |\n")
	for _, name := range names {
		list := times[name]
		fmt.Fprintf(w, "| %s | %d | %s | %s |\n", name, len(list), seconds(list[len(list)/2]), seconds(list[len(list)-1]))
	}
}

func init() { afterAll = report }

// report shows what happened, and fails a run in full that was none.
func report(status int) int {
	r := theRecord()
	if len(r.lines) == 0 {
		return status
	}
	r.table(os.Stdout)
	if !*crashAll || status != 0 {
		return status
	}
	if all := r.total(); all.kills < crashKills || all.count.transfers < crashTransfers {
		fmt.Printf("FAIL: %d kills and %d transfers are less than the %d and %d that were promised\n", all.kills, all.count.transfers, crashKills, crashTransfers)
		return 1
	}
	if *crashOut == "" {
		return status
	}
	var text strings.Builder
	r.markdown(&text)
	if err := os.WriteFile(*crashOut, []byte(text.String()), 0o644); err != nil {
		fmt.Println(err)
		return 1
	}
	return status
}
