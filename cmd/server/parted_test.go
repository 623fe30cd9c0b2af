package main

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"gopkg.in/yaml.v3"

	"cardflow/custody"
	"cardflow/model"
)

// parted are a server and its custodian, each a process with a directory, a configuration and, where the database has
// users, a user of its own.
type parted struct {
	t         *testing.T
	dir, home string // of the server, of the custodian
	web, keys string // their configurations
}

// newParted takes a world apart, or, if there is none in dir, an empty one.
func newParted(t *testing.T, dir string) *parted {
	t.Helper()
	p := &parted{t: t, dir: dir, home: t.TempDir()}
	for _, name := range []string{"data.key", "root.key"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			copied(t, filepath.Join(dir, name), filepath.Join(p.home, name))
			check(t, os.Remove(filepath.Join(dir, name)))
		}
	}
	check(t, os.MkdirAll(dir, 0o700))
	section := map[string]any{"process": "own", "socket": filepath.Join(p.home, "s")}
	keys := map[string]any{"driver": "sqlite", "dsn": filepath.Join(dir, "cardflow.db")}
	web := keys
	if place := placeOf(t, dir); place != nil {
		user, dsn := serverAccount(t, place.Config.DSN)
		section["server_user"] = user
		keys = map[string]any{"driver": "mysql", "dsn": place.Config.DSN}
		web = map[string]any{"driver": "mysql", "dsn": dsn}
	}
	p.keys = p.write("custodian.yaml", p.home, keys, section)
	p.web = p.write("server.yaml", dir, web, section)
	return p
}

func (p *parted) write(name, data string, database, section map[string]any) string {
	p.t.Helper()
	text, err := yaml.Marshal(map[string]any{"data_dir": data, "database": database, "custody": section})
	check(p.t, err)
	file := filepath.Join(p.home, name)
	check(p.t, os.WriteFile(file, append(text, killedConfig...), 0o600))
	return file
}

// serverAccount makes a database user that may do nothing yet, for a server beside a custodian.
func serverAccount(t *testing.T, dsn string) (user, its string) {
	t.Helper()
	config, err := mysql.ParseDSN(dsn)
	check(t, err)
	db, err := sql.Open("mysql", dsn)
	check(t, err)
	t.Cleanup(func() { db.Close() })
	config.User, config.Passwd = "web"+strings.ToLower(rand.Text()[:12]), rand.Text()
	user = "'" + config.User + "'@'%'"
	_, err = db.ExecContext(soon(t), "CREATE USER "+user+" IDENTIFIED BY '"+config.Passwd+"'")
	check(t, err)
	t.Cleanup(func() {
		if _, err := db.Exec("DROP USER " + user); err != nil {
			t.Error(err)
		}
	})
	return user, config.FormatDSN()
}

// custodian starts the custodian and waits until it answers.
func (p *parted) custodian(args ...string) *process {
	p.t.Helper()
	c := startProcess(p.t, append([]string{"--config", p.keys, "custodian"}, args...)...)
	if !c.keeping() {
		p.t.Fatalf("the custodian does not start:\n%s", c.errs)
	}
	return c
}

// keeping waits until a custodian says that it answers; false if it ended before.
func (p *process) keeping() bool {
	for line := range p.said {
		if strings.Contains(line, "CardFlow 密钥托管") {
			return true
		}
	}
	return false
}

// begin starts the server, and does not wait for it.
func (p *parted) begin(args ...string) *process {
	p.t.Helper()
	return startProcess(p.t, append([]string{"--config", p.web, "serve"}, args...)...)
}

// server starts the server and waits until it serves.
func (p *parted) server(args ...string) *process {
	p.t.Helper()
	s := p.begin(args...)
	if !s.listening() {
		p.t.Fatalf("the server does not start:\n%s", s.errs)
	}
	return s
}

// says is what a server says of its custody: ok, sealed, away, failed.
func says(p *process, state string) bool {
	v := visitor{client: newClient(p.url, "watch")}
	answer, err := v.http.Get(p.url + "/readyz")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	b := make([]byte, 4096)
	n, _ := answer.Body.Read(b)
	return strings.Contains(string(b[:n]), fmt.Sprintf(`"custody":%q`, state)) && (answer.StatusCode == http.StatusOK) == (state == "ok" || state == "sealed")
}

// TestPartedFirstStart: server and custodian may be started in any order, on nothing, and each may go away and come back.
// The server waits for what it needs before it can serve, gets the data key, serves while the custodian is away, says so,
// and goes on by itself.
func TestPartedFirstStart(t *testing.T) {
	t.Parallel()
	p := newParted(t, filepath.Join(t.TempDir(), "data"))
	web := p.begin("--demo")
	until(t, "the server to wait", func() bool { return strings.Contains(web.errs.String(), "waiting for the custodian") })
	keys := p.custodian("--demo")
	if !web.listening() {
		t.Fatalf("the server does not start:\n%s", web.errs)
	}
	if !says(web, "ok") {
		t.Error("it is not ready")
	}
	shop, li := &visitor{newClient(web.url, "shop"), t}, &visitor{newClient(web.url, "li"), t}
	check(t, shop.login(soon(t), "xiaowang", demoPassword))
	check(t, li.wechat(soon(t), "demo:小李"))
	sold := shop.offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	li.done("/trades/"+sold.TradeID+"/confirm", shows(sold))
	for _, name := range []string{"root.key", "custodian.key"} {
		if exists(filepath.Join(p.dir, name)) {
			t.Errorf("%s lies with the server", name)
		}
	}

	keys.kill()
	<-keys.ended
	until(t, "the server to say so", func() bool { return says(web, "away") })
	if got := numbers(li.owns()); len(got) != 2 {
		t.Errorf("he sees %v", got)
	}
	web.stop(t)
	web = p.begin()
	notice := false
	for !notice || web.url == "" {
		line, ok := <-web.said
		if !ok {
			t.Fatalf("without a custodian the server does not start:\n%s", web.errs)
		}
		if found := servedAt.FindString(line); found != "" {
			web.url = found
		}
		notice = notice || strings.Contains(line, "密钥托管进程")
	}
	if !says(web, "away") {
		t.Error("it doesn't say that the custodian is away")
	}
	keys = p.custodian()
	until(t, "the server to be whole again", func() bool { return says(web, "ok") })
	li = &visitor{newClient(web.url, "li"), t}
	check(t, li.wechat(soon(t), "demo:小李"))
	if got := numbers(li.owns()); len(got) != 2 {
		t.Errorf("after all he sees %v", got)
	}

	// Another data key would make other people of all of them.
	web.stop(t)
	check(t, os.WriteFile(filepath.Join(p.dir, "data.key"), make([]byte, 32), 0o600))
	web = p.begin()
	<-web.ended
	if !strings.Contains(web.errs.String(), errDataKeys.Error()) {
		t.Errorf("with another data key it says\n%s", web.errs)
	}
	keys.stop(t)
}

// TestServerRights: a server finds out at its start whether the database keeps from it what is the custodian's. In production
// it does not start else; a trial goes on with a warning.
func TestServerRights(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	s := openSite(t, a.dir, a.web)
	production := &App{Config: s.Config, DB: s.DB, Logger: s.Logger}
	production.Config.Mode = Production
	rights := func() string {
		t.Helper()
		err := production.checkRights(soon(t), soon(t))
		if err == nil {
			return ""
		}
		if e := (*custody.Error)(nil); !strings.Contains(err.Error(), "CUSTODY_RIGHTS_TOO_WIDE") || !errors.As(err, &e) || e.Message == "" {
			t.Errorf("refused with %v", err)
		}
		return err.Error()
	}
	warned := strings.Contains(s.log.String(), "CUSTODY_RIGHTS_TOO_WIDE")
	if s.DB.Driver() == model.SQLite {
		if !warned || !strings.Contains(rights(), "SQLite") {
			t.Error("it takes SQLite for a database that keeps something from it")
		}
		return
	}
	if warned || rights() != "" {
		t.Errorf("with the rights that it was given it says %q", rights())
	}
	owner, err := sql.Open("mysql", a.config.Database.DSN.Reveal())
	check(t, err)
	t.Cleanup(func() { owner.Close() })
	user := a.config.Custody.ServerUser
	for _, x := range []struct{ right, on, says string }{
		{"SELECT", "custody_keys", "custody_keys"},
		{"SELECT (digest)", "custody_sessions", "custody_sessions"},
		{"INSERT", "custody_authorisations", "custody_authorisations"},
		{"UPDATE", "custody_commits", "custody_commits"},
		{"SELECT", "identities", "identities"},
		{"SELECT (password_hash)", "people", "SELECT people.password_hash"},
		{"SELECT", "accounts", "SELECT accounts.openid_sealed"},
		{"INSERT", "accounts", "INSERT accounts.id"},
		{"INSERT", "erasures", "INSERT erasures.participant"},
		{"UPDATE", "people", "UPDATE people.id"},
		{"DELETE", "custody_audit", "DELETE custody_audit.seq"},
	} {
		_, err := owner.ExecContext(soon(t), "GRANT "+x.right+" ON "+x.on+" TO "+user)
		check(t, err)
		if got := rights(); !strings.Contains(got, x.says) {
			t.Errorf("with %s on %s it says %q", x.right, x.on, got)
		}
		if !strings.HasPrefix(x.right, "SELECT") || unseen(x.on) { // else it would lose what it needs, too
			_, err = owner.ExecContext(soon(t), "REVOKE "+x.right+" ON "+x.on+" FROM "+user)
			check(t, err)
			if got := rights(); strings.Contains(got, x.says) {
				t.Errorf("without %s on %s it says %q", x.right, x.on, got)
			}
		}
	}
	// Whether what the custodian has committed stands it reads where the server can't write.
	marks := func() (tokens string) {
		t.Helper()
		check(t, owner.QueryRowContext(soon(t), "SELECT COALESCE(GROUP_CONCAT(token ORDER BY slot), '') FROM custody_commits").Scan(&tokens))
		return tokens
	}
	before := marks()
	s.staff("xiaowang") // only the custodian writes who logs in
	if marks() == before {
		t.Error("the custodian marks its commits elsewhere")
	}
	// Whoever has one user for both has no walls.
	s.close(t)
	one := openSite(t, a.dir, func(c *Config) {
		a.web(c)
		c.Database = a.config.Database
	})
	if !strings.Contains(one.log.String(), "CUSTODY_RIGHTS_TOO_WIDE") {
		t.Error("a server with the custodian's user says nothing")
	}
}

// TestPartedRestore: an older copy of the database is put back. fsck, run with the custodian's configuration and the
// server's journal, brings back who has come since: he is himself when he logs in, and has his cards.
func TestPartedRestore(t *testing.T) {
	t.Parallel()
	p := newParted(t, demoWorld(t))
	back := older(t, p.dir)
	keys, web := p.custodian(), p.server()
	shop, he := &visitor{newClient(web.url, "shop"), t}, &visitor{newClient(web.url, "new"), t}
	check(t, shop.login(soon(t), "xiaowang", demoPassword))
	check(t, he.wechat(soon(t), "demo:新来的"))
	sold := shop.offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	he.done("/trades/"+sold.TradeID+"/confirm", shows(sold))
	var before, after struct{ Participant struct{ ID string } }
	he.get("/me", &before)
	web.stop(t)
	keys.stop(t)

	back()
	fsck := exec.Command("server", "--config", p.keys, "fsck")
	fsck.Env = append(plainEnvironment(), "CARDFLOW_LEDGER_FILE="+filepath.Join(p.dir, "ledger.db"), "CARDFLOW_VAULT_OTHER_JOURNALS="+filepath.Join(p.dir, "journal"))
	out, err := fsck.CombinedOutput()
	if !strings.Contains(string(out), "✓ 数据库与账本逐行一致") { // though it finds what has to be declared: rows of the audit that are gone
		t.Errorf("fsck: %v\n%s", err, out)
	}

	keys, web = p.custodian(), p.server()
	he = &visitor{newClient(web.url, "new"), t}
	check(t, he.wechat(soon(t), "demo:新来的"))
	he.get("/me", &after)
	if before != after || len(he.owns()) != 2 {
		t.Errorf("he was %v, is %v, and has %v", before, after, numbers(he.owns()))
	}
	web.stop(t)
	keys.stop(t)
}
