package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// lesson is one step of the README's walk: what to paste, and what it says comes back.
type lesson struct{ script, answer string }

// Where the walk's requests go; the README spells it out once.
const walkBase = "http://127.0.0.1:8080"

var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// walk reads the lessons of a README: each sh block with the text block that follows it.
func walk(t *testing.T, name string) (lessons []lesson) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", name))
	check(t, err)
	answered := true
	for _, m := range fence.FindAllStringSubmatch(string(b), -1) {
		switch language, text := m[1], m[2]; {
		case language == "sh":
			if !answered {
				t.Fatalf("%s: no answer is shown for\n%s", name, lessons[len(lessons)-1].script)
			}
			lessons, answered = append(lessons, lesson{script: text}), false
		case language == "text" && !answered:
			lessons[len(lessons)-1].answer, answered = text, true
		}
	}
	if len(lessons) < 8 || !answered {
		t.Fatalf("%s has %d steps; the last one is answered: %t", name, len(lessons), answered)
	}
	return lessons
}

// varies finds in a shown answer what is different each time: identifiers, hashes, codes, times, block numbers. … stands
// for what was left out.
var varies = regexp.MustCompile(`…|交易码 +[0-9A-Z]{8}|\n {5}\d+ +|\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?|[0-9a-f]{16,}|\d{4}-\d\d-\d\dT[\d:.]+Z|(?:"code":"|/t/)[0-9A-Z]{8}"|c-[a-z2-7]{26}|"(?:n|blockN)umber":\d+|"cardId":"[\w-]+`)

// pattern is what an answer must look like to be the one that is shown.
func pattern(shown string) *regexp.Regexp {
	expr, rest := strings.Builder{}, strings.TrimSpace(shown)
	expr.WriteString(`(?s)^\s*`)
	last := 0
	for _, at := range varies.FindAllStringIndex(rest, -1) {
		expr.WriteString(regexp.QuoteMeta(rest[last:at[0]]))
		switch found := rest[at[0]:at[1]]; {
		case found == "…":
			expr.WriteString(`.*`)
		case strings.HasPrefix(found, "交易码"):
			expr.WriteString(`交易码 +[0-9A-HJKMNP-TV-Z]{8}`)
		case strings.HasPrefix(found, "\n"):
			expr.WriteString(`\n {5}\d+ +`)
		case strings.Contains(found, "-") && strings.Contains(found, " "):
			expr.WriteString(`\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)?`)
		case strings.HasPrefix(found, `"code"`), strings.HasPrefix(found, "/t/"):
			expr.WriteString(strings.TrimSuffix(found, found[len(found)-9:]) + `[0-9A-HJKMNP-TV-Z]{8}"`)
		case strings.HasPrefix(found, `"cardId"`):
			expr.WriteString(`"cardId":"[\w-]+`)
		case strings.HasPrefix(found, "c-"):
			expr.WriteString(`c-[a-z2-7]{26}`)
		case strings.HasSuffix(found, "Z"):
			expr.WriteString(`\d{4}-\d\d-\d\dT[\d:.]+Z`)
		case strings.HasPrefix(found, `"`):
			expr.WriteString(found[:strings.Index(found, ":")] + `:\d+`)
		default:
			expr.WriteString(`[0-9a-f]{16,}`)
		}
		last = at[1]
	}
	expr.WriteString(regexp.QuoteMeta(rest[last:]) + `\s*$`)
	return regexp.MustCompile(expr.String())
}

// TestReadmesWalkTheSameWay: the Chinese README has the commands and answers of the English one, word for word.
func TestReadmesWalkTheSameWay(t *testing.T) {
	english, chinese := walk(t, "README.md"), walk(t, "README.zh-CN.md")
	if !slices.Equal(english, chinese) {
		for i := range min(len(english), len(chinese)) {
			if english[i] != chinese[i] {
				t.Errorf("step %d differs:\n%s%s\n%s%s", i+1, english[i].script, english[i].answer, chinese[i].script, chinese[i].answer)
			}
		}
		t.Errorf("%d steps in README.md, %d in README.zh-CN.md", len(english), len(chinese))
	}
}

// TestReadmeWalk pastes the README's walk into a shell, against the server that `make run` starts, and holds every
// answer against the one that the README shows.
func TestReadmeWalk(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	check(t, os.WriteFile(config, []byte("http: {listen: \"127.0.0.1:0\"}\n"), 0o600))
	p := startProcess(t, "--config", config, "--data", filepath.Join(dir, "data"), "serve", "--demo")
	if !p.listening() {
		t.Fatalf("the server does not start:\n%s", p.errs)
	}
	walkAt(t, p.url)
	p.stop(t)
}

// walkAt pastes the README's walk into a shell, for a server at an address, and holds every answer against the one that is
// shown. The shell is in a directory that has the programs in bin, as `make run` leaves them.
func walkAt(t *testing.T, url string) {
	t.Helper()
	const border = "<<<end of a step>>>"
	lessons := walk(t, "README.md")
	var script strings.Builder
	for _, l := range lessons {
		fmt.Fprintf(&script, "%secho '%s'\n", strings.ReplaceAll(l.script, walkBase, url), border)
	}
	// Some forty commands, each a process.
	ctx, cancel := context.WithTimeout(t.Context(), 8*patience)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "-u", "-c", script.String())
	shell.Env = append(plainEnvironment(), "NO_PROXY=*", "no_proxy=*")
	shell.Dir = t.TempDir()
	server, err := exec.LookPath("server")
	check(t, err)
	check(t, os.Mkdir(filepath.Join(shell.Dir, "bin"), 0o700))
	check(t, os.Symlink(server, filepath.Join(shell.Dir, "bin", "server")))
	check(t, os.Symlink(terminalProgram(t), filepath.Join(shell.Dir, "bin", "terminal")))
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	answers := strings.Split(string(out), border)
	if len(answers) != len(lessons)+1 {
		t.Fatalf("%d answers to %d steps:\n%s", len(answers)-1, len(lessons), out)
	}
	for i, l := range lessons {
		if !pattern(strings.ReplaceAll(l.answer, walkBase, url)).MatchString(answers[i]) {
			t.Errorf("step %d:\n%s\nanswers\n%s\nand the README shows\n%s", i+1, l.script, answers[i], l.answer)
		}
	}
}

// TestShownAnswersCanBeWrong: an answer that only resembles the shown one is not taken for it.
func TestShownAnswersCanBeWrong(t *testing.T) {
	shown := pattern("{\"txId\":\"e0df51f02daa8009…\",\"code\":\"T6QZT3D4\",\"state\":\"committed\",\"blockNumber\":32,…}\n")
	for answer, right := range map[string]bool{
		`{"txId":"0123456789abcdef01","code":"AAAA0000","state":"committed","blockNumber":7,"x":1}`: true,
		`{"txId":"0123456789abcdef01","code":"AAAA0000","state":"failed","blockNumber":7,"x":1}`:    false,
		`{"txId":"","code":"AAAA0000","state":"committed","blockNumber":7,"x":1}`:                   false,
		`{"txId":"0123456789abcdef01","code":"AAAA","state":"committed","blockNumber":7,"x":1}`:     false,
		`{"txId":"0123456789abcdef01","code":"AAAA0000","state":"committed","blockNumber":,"x":1}`:  false,
		`{"error":{"code":"NOT_FOUND"}}`: false,
	} {
		if shown.MatchString(answer) != right {
			t.Errorf("%s: taken for the shown answer: %t", answer, !right)
		}
	}
}
