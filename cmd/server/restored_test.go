package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cardflow/custody"
)

// older takes a copy of a data directory's database, and answers what puts it back.
func older(t *testing.T, dir string) (back func()) {
	t.Helper()
	if p := placeOf(t, dir); p != nil {
		c := p.Copy(t)
		return func() { p.Put(t, c) }
	}
	name := filepath.Join(dir, "cardflow.db")
	b, err := os.ReadFile(name)
	check(t, err)
	return func() { check(t, os.WriteFile(name, b, 0o600)) }
}

// TestRestoreIsDeclaredByHolders: where the root is in shares, too, who put an older copy back says so in the audit, and an
// export is signed. Nothing is changed before he says yes, and nothing is made where nothing is.
func TestRestoreIsDeclaredByHolders(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	first := openSite(t, dir, crowded)
	three := strings.Join(first.toShares(5, 3)[:3], "")
	first.close(t)
	restored := func(dir string, yes bool) (string, error) {
		e, out, _ := operating(t, dir, three, inShares)
		err := auditRestoredCommand{Reason: "恢复了旧副本", Yes: yes}.Run(e)
		return out.String(), err
	}

	misspelt := filepath.Join(t.TempDir(), "misspelt")
	if _, err := restored(misspelt, true); err == nil || exists(misspelt) {
		t.Errorf("where there is nothing: %v, and made: %t", err, exists(misspelt))
	}
	for _, yes := range []bool{false, true} {
		if said, err := restored(dir, yes); !errors.Is(err, custody.ErrNoRestore) || strings.Contains(said, "没有改动") {
			t.Errorf("nothing was put back: %q, %v", said, err)
		}
	}

	back := older(t, dir)
	e, _, _ := operating(t, dir, three, inShares)
	check(t, (auditExport{Out: filepath.Join(t.TempDir(), "export.jsonl")}).Run(e))
	e, _, _ = operating(t, dir, three, inShares, func(c *Config) { c.HTTP.Listen = "127.0.0.1:0" })
	app, err := openBeside(e, false)
	check(t, err)
	check(t, app.Listen())
	check(t, app.Close(e.ctx)) // which anchors
	back()

	verified := func() (string, error) {
		e, out, _ := operating(t, dir, three, inShares)
		err := auditVerifyCommand{}.Run(e)
		return out.String(), err
	}
	if said, err := verified(); !errors.Is(err, errAudit) {
		t.Fatalf("what was put back is whole: %v\n%s", err, said)
	}
	said, err := restored(dir, false)
	if err != nil || !regexp.MustCompile(`✗ (ROLLED_BACK|FORKED)`).MatchString(said) || !strings.Contains(said, "没有改动") {
		t.Errorf("a dry run: %v\n%s", err, said)
	}
	e, out, _ := operating(t, dir, three, inShares)
	check(t, auditRestoredCommand{Reason: "恢复了旧副本", JSON: true}.Run(e))
	if said := out.String(); !strings.Contains(said, `{"declared":false,"findings":[{"kind":"`) {
		t.Errorf("a dry run, as JSON: %s", said)
	}
	if said, err := restored(dir, true); err != nil || !strings.Contains(said, "✓ 已声明") {
		t.Errorf("%v\n%s", err, said)
	}
	if after, err := verified(); err != nil || !strings.Contains(after, "ℹ 已声明为恢复所致") {
		t.Errorf("%v\n%s", err, after)
	}
	if _, err := restored(dir, true); !errors.Is(err, custody.ErrNoRestore) {
		t.Errorf("once more: %v", err)
	}
}
