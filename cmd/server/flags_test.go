package main

import (
	"testing"

	"github.com/alecthomas/kong"
)

// TestCommandsAreDryAndSpeakJSON: a command that changes what lasts does it with --yes only, and tells without it what it would
// do; and what a command tells it tells as JSON, too. Whoever adds a command sees to both, or says here why not.
func TestCommandsAreDryAndSpeakJSON(t *testing.T) {
	const looks = "it changes nothing"
	wet := map[string]string{
		"serve": "it is the server", "custodian": "it is the custodian", "demo": "it works in a directory of its own", "bench": "it measures in one of its own",
		"proposals list": looks, "proposals show": looks, "quotas list": looks, "people list": looks, "devices list": looks, "audit verify": looks, "audit list": looks,
		"keys list": looks, "keys find": looks, "keys show": looks, "keys recoveries": looks, "config": looks, "root status": looks, "health": looks, "gateway-key list": looks, "completion": looks,
		"audit export": "it writes a new file, and no other", "audit anchors": "it writes a file", "backup create": "it writes a new file, and no other",
		"backup drill":    "it works in a database of its own",
		"fsck":            "its --yes is --repair",
		"migrate":         "serve does it, too, and asks nobody",
		"unseal":          "who has brought a share means it; --status looks",
		"people password": "one's own, and the old one is asked for",
		"devices ticket":  "a ticket is nothing until a terminal shows it, and ends by itself",
	}
	silent := map[string]string{
		"serve": "it logs", "custodian": "it logs", "demo": "it tells people a story", "bench": "it writes figures for docs/performance",
		"people password": "it says that it is done", "audit anchors": "each of its lines is JSON", "completion": "it speaks to a shell",
	}
	parser, err := kong.New(&commands{}, kong.Name("server"), kong.Exit(func(int) {}))
	check(t, err)
	seen := map[string]bool{}
	for _, leaf := range parser.Model.Leaves(false) {
		name := leaf.Path()
		seen[name] = true
		flags := map[string]bool{}
		for _, group := range leaf.AllFlags(false) {
			for _, f := range group {
				flags[f.Name] = true
			}
		}
		if _, excused := wet[name]; excused == flags["yes"] {
			t.Errorf("%s: --yes is %v; excused: %v", name, flags["yes"], excused)
		}
		if _, excused := silent[name]; !excused && !flags["json"] {
			t.Errorf("%s has no --json", name)
		}
	}
	if len(seen) < 40 {
		t.Errorf("%d commands", len(seen))
	}
	for _, excuses := range []map[string]string{wet, silent} {
		for name := range excuses {
			if !seen[name] {
				t.Errorf("%s is excused, and isn't there", name)
			}
		}
	}
}
