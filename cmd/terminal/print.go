package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/text/width"

	"cardflow/terminal/protocol"
)

// print writes JSON to standard output.
func (e *environment) print(v any) error {
	j := json.NewEncoder(e.stdout)
	j.SetEscapeHTML(false)
	j.SetIndent("", "  ")
	return j.Encode(v)
}

// tell writes a line for the person, which isn't the answer: to standard error, so that the answer can be kept.
func (e *environment) tell(key string, args ...any) {
	if e.hushed {
		return
	}
	fmt.Fprintln(e.stderr, wrapped(e.words.say(key, args...)))
}

// row writes one line of a name and what it is, the names 12 columns wide.
func (e *environment) row(key, value string) {
	fmt.Fprintf(e.stdout, "%s %s\n", padded(e.words.say(key), 12), value)
}

// columns is how many columns of a terminal a text takes: Chinese takes two a character.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n++
		if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
			n++
		}
	}
	return n
}

// padded fills a text up to n columns, or cuts it to n with an ellipsis.
func padded(text string, n int) string {
	if c := columns(text); c <= n {
		return text + strings.Repeat(" ", n-c)
	}
	cut, c := "", 0
	for _, r := range text {
		w := columns(string(r))
		if c+w > n-1 {
			break
		}
		cut, c = cut+string(r), c+w
	}
	return cut + "…" + strings.Repeat(" ", n-1-c)
}

// screen is how many columns a terminal has.
const screen = 80

// wrapped breaks a text into lines that a terminal shows whole: between words, and before any Chinese character that may begin
// a line.
func wrapped(text string) string {
	var out strings.Builder
	line, used := "", 0
	flush := func(part string) {
		if n := columns(part); used+n > screen && line != "" {
			out.WriteString(strings.TrimRight(line, " ") + "\n")
			line, used = "", 0
			part = strings.TrimLeft(part, " ")
		}
		line, used = line+part, used+columns(part)
	}
	part := ""
	for _, r := range text {
		wide := columns(string(r)) == 2
		if (r == ' ' || wide && !strings.ContainsRune("，。、：；！？）”", r)) && part != "" {
			flush(part)
			part = ""
		}
		part += string(r)
	}
	flush(part)
	return out.String() + line
}

// cells writes the cells of a table's row, each as wide as its column; the last one may be as long as it likes.
func (e *environment) cells(widths []int, cells ...string) {
	var line []string
	for i, c := range cells {
		if i < len(widths) {
			c = padded(c, widths[i])
		}
		line = append(line, c)
	}
	fmt.Fprintln(e.stdout, strings.TrimRight(strings.Join(line, "  "), " "))
}

// span writes a run of cards: 41 columns at most.
func span(s protocol.Span) string {
	if s.End == "" {
		return s.Start
	}
	return s.Start + "-" + s.End
}

// spans writes runs of cards, one a line, not more than most.
func (e *environment) spans(list []protocol.Span, most int) {
	for i, s := range list {
		if i == most {
			fmt.Fprintf(e.stdout, "  %s\n", e.words.say("more", len(list)-most))
			return
		}
		fmt.Fprintf(e.stdout, "  %s\n", span(s))
	}
}

// at writes a time as the clock on the wall shows it.
func at(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Local().Format("2006-01-02 15:04")
}
