//go:build crash

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// restored: the database is put back to a copy that was taken while writes were on their way. What the ledger knows is known
// again, with the openings that the journals have; what the copy had as accepted ends as people were told.
func (w *world) restored() {
	for range form(1, 3) {
		w.restoredOnce()
	}
}

func (w *world) restoredOnce() {
	w.Helper()
	w.dieTogether(form(40, 150))
	w.database(func() { w.copyDatabase() })
	known := map[*fate]bool{}
	for _, f := range w.market.fates {
		known[f] = true
	}

	// Everybody goes on, and all that was accepted comes to its end, until the database is lost.
	w.dieTogether(form(60, 250))
	w.say("the database will be lost: %s", w.market)
	w.judge()
	w.database(func() { w.putBack() })
	back := time.Now()
	w.declaresRestore()
	w.fsck(fsckFindsNothing) // which lets the listener catch up: until then not all that there is can be seen
	w.measure("an older database is back, and has caught up", time.Since(back))
	for _, f := range w.market.fates {
		f.lost = f.lost || !known[f] // what was accepted after the copy, the database has no row of
		f.checked = f.lost
	}
	servers := w.together()
	w.during(servers, func() {
		w.hears(form(30, 150))
	})
	w.stop(servers...)
}

// declaresRestore says in custody's audit, as an operator does, what was lost with the database: if the ledger has anchored
// any of it.
func (w *world) declaresRestore() {
	w.Helper()
	args, env := w.args(1), plainEnvironment()
	if w.full != nil {
		args, env = w.args(3), append(env, "CARDFLOW_VAULT_OTHER_JOURNALS="+strings.Join(w.journals(3), ","))
	}
	cmd := exec.Command("server", append(args, "audit", "restored", "--yes", "--reason", "an older copy was put back")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "CUSTODY_NO_RESTORE") {
		w.Fatalf("server audit restored: %v\n%s", err, out)
	}
}

// dieTogether lets everybody work at all servers, and kills these in the middle of it: after so many answers, or when the
// first of them has come to some point.
func (w *world) dieTogether(answers int) {
	w.Helper()
	at := w.points()[rand.IntN(len(w.points()))]
	servers := w.together(append(at.env, crashAtVariable+"="+at.point, fmt.Sprint(crashHitVariable, "=", answers/2+rand.IntN(answers)))...)
	ctx, stop := context.WithCancel(servers[0].living(context.Background()))
	w.market.at(servers...)
	w.market.run(ctx, answers, stop)
	for _, p := range servers {
		p.kill()
		w.died(p)
	}
}

// together are two servers, each of which reads the journal of the other; embedded there is one. The first has an
// environment of its own.
func (w *world) together(env ...string) (servers []*process) {
	w.Helper()
	if w.full == nil {
		return []*process{w.start(1, nil, env...)}
	}
	for n := range 2 {
		servers = append(servers, w.start(n+1, nil, append(env, "CARDFLOW_VAULT_OTHER_JOURNALS="+strings.Join(w.journals(n+1), ","))...))
		env = nil
	}
	return servers
}

// database does something to the database's files while nobody has them open.
func (w *world) database(do func()) {
	w.Helper()
	if w.full == nil {
		do()
		return
	}
	check(w, w.full.MariaDB.Stop())
	do()
	check(w, w.full.MariaDB.Start(soon(w.T)))
}

// databaseFiles are what a database consists of.
func (w *world) databaseFiles() []string {
	if w.full != nil {
		return []string{filepath.Join(w.full.Dir, "mariadb", "data")}
	}
	files, err := filepath.Glob(filepath.Join(w.data(1), "cardflow.db*"))
	check(w, err)
	return files
}

func (w *world) copyDatabase() {
	w.Helper()
	check(w, os.RemoveAll(filepath.Join(w.dir, "copy")))
	check(w, os.Mkdir(filepath.Join(w.dir, "copy"), 0o700))
	for _, file := range w.databaseFiles() {
		copyTree(w, file, filepath.Join(w.dir, "copy", filepath.Base(file)))
	}
}

func (w *world) putBack() {
	w.Helper()
	files := w.databaseFiles()
	for _, file := range files {
		check(w, os.RemoveAll(file))
	}
	copies, err := filepath.Glob(filepath.Join(w.dir, "copy", "*"))
	check(w, err)
	for _, file := range copies {
		copyTree(w, file, filepath.Join(filepath.Dir(files[0]), filepath.Base(file)))
	}
}
