package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// aShare is what a ceremony gives to a holder: two lines of his paper.
var aShare = regexp.MustCompile(`(?m)^(?:[0-9A-Z]{5} ?){8}$`)

// discreet fails a script if a server that it held has said anything that is in its key files, a share that lies in the script's
// folder, or a password there. It is called when the server has ended.
func discreet(t *testing.T, ts *testscript.TestScript, p *process) {
	known := &secrets{needles: map[string][]string{}, last6: map[string]bool{}}
	for _, file := range []string{ts.Getenv("KEEPER"), ts.Getenv("SERVER"), ts.MkAbs("data/x"), ts.MkAbs("new/x")} {
		for _, name := range []string{"root.key", "data.key", "custodian.key"} {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(file), name)); err == nil && file != "" {
				known.bytes(name, b)
			}
		}
	}
	papers, err := os.ReadDir(ts.MkAbs("."))
	ts.Check(err)
	for _, paper := range papers {
		info, err := paper.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<16 {
			continue
		}
		text, err := os.ReadFile(ts.MkAbs(paper.Name()))
		ts.Check(err)
		for _, line := range aShare.FindAllString(string(text), -1) {
			known.text("share", line, strings.ReplaceAll(line, " ", ""))
		}
		switch paper.Name() {
		case "wang", "li", "first":
			known.text("password", strings.TrimSpace(string(text)))
		}
	}
	said := p.errs.String()
	for line := range p.said { // it has ended
		said += line + "\n"
	}
	for what, needles := range known.needles {
		for _, n := range needles {
			if strings.Contains(said, n) {
				ts.Fatalf("the server has said what is a secret: %s", what)
			}
		}
	}
	if m := anyToken.FindString(said); m != "" {
		ts.Fatalf("the server has said what looks like a token: %s", m)
	}
	if len(known.needles) == 0 {
		t.Error("there is nothing to look for")
	}
}
