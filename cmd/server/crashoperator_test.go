//go:build crash

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"cardflow/model"
)

// What operators do at a machine, by commands of their own, each killed before and after each of its commits, and on disks
// that are full: it leaves nothing that holds up the next try, and nothing that could be taken for whole.

// console runs the server's commands as an operator does.
type console struct {
	*testing.T
	env []string
}

// run answers what a command printed, and its status; -1 if it was killed.
func (c console) run(stdin string, env []string, args ...string) (out string, status int) {
	c.Helper()
	cmd := exec.Command("server", args...)
	cmd.Env = append(append(plainEnvironment(), c.env...), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var said, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &errs
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			c.Fatal(err)
		}
		return said.String() + errs.String(), exit.ExitCode()
	}
	return said.String() + errs.String(), 0
}

// does demands that a command succeeds.
func (c console) does(stdin string, args ...string) string {
	c.Helper()
	out, status := c.run(stdin, nil, args...)
	if status != 0 {
		c.Fatalf("server %s: status %d\n%s", strings.Join(args, " "), status, out)
	}
	return out
}

// killed runs a command that is killed at a point; false: it came through.
func (c console) killed(stdin, point string, hit int, args ...string) bool {
	c.Helper()
	out, status := c.run(stdin, []string{crashAtVariable + "=model: " + point, fmt.Sprint(crashHitVariable, "=", hit)}, args...)
	if status != 0 && (status != -1 || !strings.Contains(out, crashed)) {
		c.Fatalf("server %s: status %d\n%s", strings.Join(args, " "), status, out)
	}
	return status != 0
}

// each kills a command at each of its commits, in what before makes, and lets after try again and look.
func (c console) each(what string, least int, before func() (args []string, stdin string, after func())) {
	c.Helper()
	for _, point := range []string{model.AtCommitting, model.AtCommitted} {
		for hit, died := 1, true; died; hit += form(3, 1) {
			args, stdin, after := before()
			died = c.killed(stdin, point, hit, args...)
			after()
			if c.Failed() {
				c.Fatalf("%s: killed at %q %d", what, point, hit)
			}
			if !died && hit <= least {
				c.Errorf("%s: only %d times at %q", what, hit-1, point)
			}
		}
	}
}

var shareLines = regexp.MustCompile(`(?m)^(?:[0-9A-HJKMNP-TV-Z]{5} ){7}[0-9A-HJKMNP-TV-Z]{5}$`)

// recoveryKey makes one, and answers three of its five shares, one line after the other.
func (c console) recoveryKey(dir string) string {
	c.Helper()
	lines := shareLines.FindAllString(c.does("", "--data", dir, "backup", "init", "--yes", "--print"), -1)
	if len(lines) != 10 {
		c.Fatalf("%d lines of shares", len(lines))
	}
	return strings.Join(lines[2:8], "\n") + "\n"
}

func TestCrashOperator(t *testing.T) {
	t.Parallel()
	c := console{T: t}
	world := demoWorld(t)
	shares := c.recoveryKey(world)
	bundle := filepath.Join(t.TempDir(), "bundle")
	c.does("", "--data", world, "backup", "create", "--out", bundle)
	fresh := func(from string) string {
		dir := filepath.Join(t.TempDir(), "data")
		if from == "" {
			check(t, os.Mkdir(dir, 0o700))
			copied(t, filepath.Join(world, "root.key"), filepath.Join(dir, "root.key"))
		} else {
			copyTree(t, from, dir)
		}
		return dir
	}

	nothing := 0
	c.each("backup restore", 8, func() ([]string, string, func()) {
		dir := fresh("")
		args := []string{"--data", dir, "backup", "restore", bundle, "--yes"}
		return args, shares, func() {
			out, status := c.run("", nil, "--data", dir, "fsck")
			if status == 0 && strings.Contains(out, "在册卡 1000") {
				return // it was killed behind its end, or not at all
			}
			if strings.Contains(out, "数据库只恢复了一半") { // else nothing is there yet
				if out, status := c.run("", nil, "--data", dir, "serve"); status != 1 || !strings.Contains(out, "数据库只恢复了一半") {
					c.Errorf("a server starts on half of it: %d\n%s", status, out)
				}
			} else {
				nothing++
			}
			c.does(shares, args...)
			if out := c.does("", "--data", dir, "fsck"); !strings.Contains(out, "在册卡 1000") {
				c.Errorf("restored: %s", out)
			}
		}
	})

	if nothing != 1 { // before the first commit
		c.Errorf("%d times there was neither half of it nor all", nothing)
	}

	c.each("root init", 1, func() ([]string, string, func()) {
		dir := fresh("")
		args := []string{"--data", dir, "root", "init", "--yes"}
		return args, "", func() {
			if out, status := c.run("", nil, args...); status != 0 && !strings.Contains(out, "CUSTODY_ROOT_EXISTS") {
				c.Errorf("again: %d\n%s", status, out)
			}
			if out := c.does("", "--data", dir, "root", "status"); !strings.Contains(out, "root key   file") {
				c.Errorf("status: %s", out)
			}
		}
	})

	var list struct {
		Items []struct{ ID, Owner, Role, State string }
	}
	check(t, json.Unmarshal([]byte(strings.SplitN(c.does("", "--data", world, "keys", "list", "--json"), "\n", 2)[0]), &list))
	var key, owner string
	for _, k := range list.Items {
		if k.Role == "consumer" && k.State == "active" {
			key, owner = k.ID, k.Owner
		}
	}
	for _, verb := range []struct {
		args []string
		then string // what the key's list says
	}{
		{[]string{"keys", "suspend", key, "--yes", "--wait", "0s"}, "suspended"},
		{[]string{"keys", "revoke", key, "--yes", "--wait", "0s"}, "revoked"},
		{[]string{"keys", "rotate", key, "--yes", "--wait", "0s"}, "active"}, // until the ledger has the next one
		{[]string{"keys", "recover", owner, "--yes", "--wait", "0s"}, "revoked"},
	} {
		c.each(strings.Join(verb.args[:2], " "), 1, func() ([]string, string, func()) {
			dir := fresh(world)
			args := append([]string{"--data", dir}, verb.args...)
			return args, "", func() {
				if out, status := c.run("", nil, args...); status != 0 && !strings.Contains(out, "已经") && !strings.Contains(out, "CUSTODY_KEY_TRANSITION") {
					c.Errorf("again: %d\n%s", status, out)
				}
				out := c.does("", "--data", dir, "keys", "show", key, "--json")
				if !strings.Contains(out, `"state":"`+verb.then+`"`) {
					c.Errorf("it is %s, and not %s", out, verb.then)
				}
				c.does("", "--data", dir, "audit", "verify")
			}
		})
	}

	// An export is there whole, or not at all.
	c.each("audit export", 1, func() ([]string, string, func()) {
		dir, out := fresh(world), filepath.Join(t.TempDir(), "export.jsonl")
		args := []string{"--data", dir, "audit", "export", "--out", out}
		return args, "", func() {
			if !exists(out) {
				c.does("", args...)
			}
			c.verifies(dir, out)
		}
	})
}

// verifies checks an export as an auditor does.
func (c console) verifies(dir, file string) {
	c.Helper()
	out := c.does("", "--data", dir, "keys", "list", "--owner", "platform", "--json")
	var list struct {
		Items []struct{ ID, Slot string }
	}
	check(c.T, json.Unmarshal([]byte(strings.SplitN(out, "\n", 2)[0]), &list))
	for _, k := range list.Items {
		if k.Slot == "audit" {
			c.does("", "audit", "verify", "--file", file, "--key", k.ID)
			return
		}
	}
	c.Fatal("the platform has no key for exports")
}

// TestCrashOperatorDisk: whatever a command writes to a disk that is full is not there, and is made when there is room.
func TestCrashOperatorDisk(t *testing.T) {
	t.Parallel()
	c := console{T: t}
	world, disk := demoWorld(t), t.TempDir()
	smallDisk(t, disk, 24<<20)
	shares := c.recoveryKey(world)
	bundle := filepath.Join(t.TempDir(), "bundle")
	c.does("", "--data", world, "backup", "create", "--out", bundle)
	kit := filepath.Join(disk, "recovery.json")

	for _, w := range []struct {
		what, makes, stdin string
		args, env          []string
	}{
		{what: "a bundle", makes: "bundle", args: []string{"--data", world, "backup", "create", "--out", filepath.Join(disk, "bundle")}},
		{what: "an export", makes: "export.jsonl", args: []string{"--data", world, "audit", "export", "--out", filepath.Join(disk, "export.jsonl")}},
		{what: "anchors", makes: "anchors.jsonl", args: []string{"--data", world, "audit", "anchors", "--out", filepath.Join(disk, "anchors.jsonl")}},
		{what: "a recovery kit", makes: "recovery.json", env: []string{"CARDFLOW_BACKUP_KIT_FILE=" + kit}, args: []string{"--data", world, "backup", "init", "--yes", "--print"}},
	} {
		for room := 0; room <= 64; room += 32 { // KiB: all of it fails, or the second write does
			free := fillBut(t, disk, room<<10)
			out, status := c.run(w.stdin, w.env, w.args...)
			free()
			if status == 0 { // there was room enough
				check(t, os.Remove(filepath.Join(disk, w.makes)))
				break
			}
			if status != 1 || strings.Contains(out, "panic") {
				t.Errorf("%s, %d KiB of room: status %d\n%s", w.what, room, status, out)
			}
			left, err := os.ReadDir(disk)
			check(t, err)
			if len(left) != 0 {
				t.Errorf("%s, %d KiB of room: it leaves %v", w.what, room, left)
			}
		}
		if out, status := c.run(w.stdin, w.env, w.args...); status != 0 || !exists(filepath.Join(disk, w.makes)) {
			t.Errorf("%s, with room: %d\n%s", w.what, status, out)
		}
		check(t, os.Remove(filepath.Join(disk, w.makes)))
	}

	// A machine whose disk is full while it is restored, several times.
	dir := filepath.Join(disk, "new")
	check(t, os.Mkdir(dir, 0o700))
	copied(t, filepath.Join(world, "root.key"), filepath.Join(dir, "root.key"))
	restore := []string{"--data", dir, "backup", "restore", bundle, "--yes"}
	failed := 0
	for room := 0; ; room += 400 << 10 {
		free := fillBut(t, disk, room)
		out, status := c.run(shares, nil, restore...)
		free()
		if status == 0 {
			break
		}
		if failed++; status != 1 || strings.Contains(out, "panic") {
			t.Fatalf("%d bytes of room: status %d\n%s", room, status, out)
		}
		if out, status := c.run("", nil, "--data", dir, "fsck"); status == 0 {
			t.Errorf("%d bytes of room: it is taken for whole\n%s", room, out)
		}
	}
	if failed < 3 {
		t.Errorf("it failed %d times", failed)
	}
	if out := c.does("", "--data", dir, "fsck"); !strings.Contains(out, "在册卡 1000") {
		t.Errorf("restored: %s", out)
	}
}

// fillBut leaves so many bytes of room, or a little less.
func fillBut(t *testing.T, dir string, room int) (free func()) {
	t.Helper()
	whole := fill(t, dir)
	ballast := filepath.Join(dir, "ballast")
	info, err := os.Stat(ballast)
	check(t, err)
	check(t, syscall.Truncate(ballast, max(0, info.Size()-int64(room))))
	return whole
}
