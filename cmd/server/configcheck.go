package main

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"cardflow/custody"
	"cardflow/iccid"
)

// checker collects faults. Each method says what is allowed, not what was given.
type checker struct{ faults Faults }

func (v *checker) must(ok bool, key, what string) {
	if !ok {
		v.faults = append(v.faults, Fault{Key: key, What: what})
	}
}

func (v *checker) oneOf(key, got string, allowed ...string) {
	v.must(slices.Contains(allowed, got), key, "must be one of "+strings.Join(allowed, ", "))
}

func (v *checker) between(key string, got, low, high time.Duration) {
	v.must(low <= got && got <= high, key, fmt.Sprintf("must be between %s and %s", shortDuration(low), shortDuration(high)))
}

func (v *checker) number(key string, got, low, high int) {
	v.must(low <= got && got <= high, key, fmt.Sprintf("must be between %d and %d", low, high))
}

func (v *checker) size(key string, got, low, high Size) {
	v.must(low <= got && got <= high, key, fmt.Sprintf("must be between %s and %s", low, high))
}

func (v *checker) url(key, got string) {
	u, err := url.Parse(got)
	v.must(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "",
		key, "must be an address such as https://cards.example.com, without user, query or fragment")
}

// file refuses names that leave the data directory by the back door: a file
// elsewhere is given by its whole path.
func (v *checker) file(key, got string) {
	v.must(got != "" && (filepath.IsAbs(got) || filepath.IsLocal(got)), key, "must be a file name within the data directory, or a whole path")
}

// hostPort answers whether s is host:port; the host may be empty.
func hostPort(s string) bool {
	_, port, err := net.SplitHostPort(s)
	n, bad := strconv.ParseUint(port, 10, 16)
	return err == nil && bad == nil && n <= 65535
}

const day = 24 * time.Hour

var (
	channelName = regexp.MustCompile(`^[a-z][a-z0-9.-]{0,248}$`) // Fabric's rule
	tokenLabel  = regexp.MustCompile(`^[!-~]([ -~]{0,30}[!-~])?$`)
	mspID       = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$`)
	realAppID   = regexp.MustCompile(`^wx[0-9a-f]{16}$`)
	miniPage    = regexp.MustCompile(`^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$`)
	peerName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62})(\.[a-z0-9]([a-z0-9-]{0,62}))*$`)
	digitsOnly  = regexp.MustCompile(`^1[0-9]{0,11}$`)
)

// faults checks every section; the order is the order of the file.
func (c Config) faults() Faults {
	v := new(checker)
	v.oneOf("mode", string(c.Mode), string(Trial), string(Production))
	v.must(c.DataDir != "", "data_dir", "must name a directory")
	c.HTTP.check(v)
	c.Database.check(v)
	c.Redis.check(v)
	c.Ledger.check(v)
	c.WeChat.check(v)
	c.Custody.check(v)
	v.between("audit.anchor_interval", c.Audit.AnchorInterval, time.Second, day)
	v.between("audit.stop_timeout", c.Audit.StopTimeout, 0, time.Minute)
	c.Vault.check(v)
	c.Backup.check(v)
	c.Session.check(v)
	c.Limits.check(v)
	c.Trade.check(v)
	c.RealName.check(v)
	c.Relay.check(v)
	v.file("imports.dir", c.Imports.Dir)
	v.size("imports.max_bytes", c.Imports.MaxBytes, 1<<10, 2<<30)
	v.number("imports.max_rows", c.Imports.MaxRows, 1, 10_000_000)
	v.between("imports.keep", c.Imports.Keep, time.Hour, 3650*day)
	c.Numbering.check(v)
	v.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	v.oneOf("log.format", c.Log.Format, "text", "json")
	if c.Mode == Production {
		for _, risk := range risks {
			v.must(!risk.taken(c), risk.key, risk.what)
		}
	}
	if len(v.faults) == 0 { // compared where each is allowed by itself
		v.must(c.Custody.StepUpAge < c.Custody.LoginAge, "custody.step_up_age", "must be shorter than custody.login_age")
		v.must(c.Relay.AnswerWithin < c.HTTP.WriteTimeout, "relay.answer_within", "must be shorter than http.write_timeout")
	}
	return v.faults
}

func (h HTTPConfig) check(v *checker) {
	v.must(hostPort(h.Listen), "http.listen", "must be host:port, such as 127.0.0.1:8080, or :8080 for all interfaces")
	v.url("http.public_url", h.PublicURL)
	for i, proxy := range h.TrustedProxies {
		_, err := netip.ParsePrefix(proxy)
		v.must(err == nil, fmt.Sprintf("http.trusted_proxies[%d]", i), "must be a network in CIDR form, such as 10.0.0.0/8 or 127.0.0.1/32")
	}
	v.size("http.body_limit", h.BodyLimit, 1<<10, 64<<20)
	v.between("http.read_timeout", h.ReadTimeout, time.Second, 10*time.Minute)
	v.between("http.write_timeout", h.WriteTimeout, time.Second, 10*time.Minute)
	v.between("http.shutdown_grace", h.ShutdownGrace, 0, 10*time.Minute)
}

func (d DatabaseConfig) check(v *checker) {
	v.oneOf("database.driver", d.Driver, "sqlite", "mysql")
	if d.Driver == "mysql" {
		dsn, err := mysql.ParseDSN(d.DSN.Reveal()) // its error may quote the password
		v.must(err == nil && dsn.DBName != "", "database.dsn", "must be set for mysql: user:password@tcp(host:3306)/cardflow")
		v.must(err != nil || !dsn.AllowAllFiles, "database.dsn", "must not have allowAllFiles: it lets the database read this machine's files")
	}
	v.must(!d.Password.IsSet() || d.Driver == "mysql" && passwordOf(d.DSN) == "", "database.password", "must be empty, unless driver is mysql and the DSN has no password: user@tcp(host:3306)/cardflow")
	if d.CAFile != "" {
		v.must(d.Driver == "mysql", "database.ca_file", "must be empty, unless driver is mysql")
		v.file("database.ca_file", d.CAFile)
	}
	v.number("database.max_connections", d.MaxConnections, 0, 1000)
}

func (r RedisConfig) check(v *checker) {
	if r.Embedded {
		v.must(r.Addr == "", "redis.addr", "must be empty while redis.embedded is true: choose one of the two")
		v.must(!r.TLS, "redis.tls", "must be false while redis.embedded is true")
	} else {
		v.must(hostPort(r.Addr), "redis.addr", "must be host:port while redis.embedded is false")
	}
	v.must(!strings.ContainsAny(r.Username, " \t\n"), "redis.username", "must be without spaces")
	v.must(r.Username == "" || !r.Embedded, "redis.username", "must be empty while redis.embedded is true")
	if r.CAFile != "" {
		v.must(r.TLS, "redis.ca_file", "must be empty while redis.tls is false")
		v.file("redis.ca_file", r.CAFile)
	}
	v.number("redis.db", r.DB, 0, 1023)
	v.must(r.KeyPrefix != "" && !strings.ContainsAny(r.KeyPrefix, " *?[]{}\\\n"), "redis.key_prefix", "must be set, without spaces, braces or wildcards, such as cardflow:")
}

func (l LedgerConfig) check(v *checker) {
	v.oneOf("ledger.kind", l.Kind, "embedded", "fabric")
	v.file("ledger.file", l.File)
	v.must(channelName.MatchString(l.Channel), "ledger.channel", "must be a lower-case letter and up to 248 more lower-case letters, digits, dots or hyphens")
	v.between("ledger.block_interval", l.BlockInterval, 0, time.Second)
	v.number("ledger.max_block_txs", l.MaxBlockTxs, 1, 10_000)
	v.between("ledger.time_window", l.TimeWindow, 10*time.Second, 15*time.Minute)
	l.Fabric.check(v, l.Kind == "fabric")
}

// check wants files only where they are used.
func (f FabricConfig) check(v *checker, used bool) {
	for _, file := range []struct{ key, name, what string }{
		{"ledger.fabric.profile", f.Profile, "the connection profile of the network (YAML)"},
		{"ledger.fabric.cert_file", f.CertFile, "the certificate (PEM) of the platform's gateway identity"},
		{"ledger.fabric.key_file", f.KeyFile, "the private key (PEM) of the platform's gateway identity"},
	} {
		if file.name != "" {
			v.file(file.key, file.name)
		} else {
			v.must(!used, file.key, "must name "+file.what+" while ledger.kind is fabric")
		}
	}
	v.must(mspID.MatchString(f.MSPID), "ledger.fabric.msp_id", "must be the ID of an organisation's MSP: letters, digits, dots, hyphens")
	v.between("ledger.fabric.endorse_timeout", f.EndorseTimeout, 100*time.Millisecond, time.Minute)
	v.between("ledger.fabric.broadcast_timeout", f.BroadcastTimeout, 100*time.Millisecond, time.Minute)
	v.between("ledger.fabric.commit_timeout", f.CommitTimeout, 100*time.Millisecond, time.Minute)
	v.between("ledger.fabric.query_timeout", f.QueryTimeout, 100*time.Millisecond, time.Minute)
}

func (w WeChatConfig) check(v *checker) {
	if !w.Sandbox {
		v.must(realAppID.MatchString(w.AppID) && w.AppID != sandboxAppID, "wechat.app_id", "must be the mini-program's app ID (wx and 16 hex digits) while wechat.sandbox is false")
		v.must(w.AppSecret.IsSet(), "wechat.app_secret", "must be set while wechat.sandbox is false")
	} else {
		v.must(w.AppID != "", "wechat.app_id", "must be set; any name will do in the sandbox")
	}
	v.url("wechat.base_url", w.BaseURL)
	v.must(miniPage.MatchString(w.MiniPage), "wechat.mini_page", "must be a page of the mini-program without leading slash or parameters, such as pages/trade/trade")
	v.oneOf("wechat.env_version", w.EnvVersion, "release", "trial", "develop")
	v.between("wechat.timeout", w.Timeout, 100*time.Millisecond, time.Minute)
	w.Templates.check(v)
}

func (c CustodyConfig) check(v *checker) {
	v.oneOf("custody.kind", c.Kind, string(custody.InFile), string(custody.InShares), string(custody.InToken))
	v.oneOf("custody.process", string(c.Process), string(Inside), string(Own))
	v.file("custody.socket", c.Socket)
	v.must(socketName(c.Socket), "custody.socket", "must be at most 100 characters: a socket's path may not be longer")
	v.must(c.ServerUser == "" || databaseUser.MatchString(c.ServerUser), "custody.server_user", "must be given as 'name'@'host', with both quoted, such as 'cardflow_server'@'%'")
	v.file("custody.stamp_file", c.StampFile)
	c.TLS.check(v)
	v.file("custody.root_key_file", c.RootKeyFile)
	v.between("custody.login_age", c.LoginAge, 5*time.Minute, 30*day)
	v.must(c.StepUpAge == 0 || c.StepUpAge >= time.Minute && c.StepUpAge <= 30*day, "custody.step_up_age", "must be 0s, or between 1m and 720h")
	v.between("custody.proposal_life", c.ProposalLife, 10*time.Minute, 7*day)
	used := c.Kind == string(custody.InToken)
	v.must(!used || custody.HasPKCS11, "custody.kind", "must not be pkcs11 in this program: it was built without cgo, and has no PKCS#11; use one that was built with CGO_ENABLED=1")
	v.must(!used && c.PKCS11.Module == "" || filepath.IsAbs(c.PKCS11.Module), "custody.pkcs11.module", "must be the whole path of the token's library while custody.kind is pkcs11")
	v.must(!used && c.PKCS11.Token == "" || tokenLabel.MatchString(c.PKCS11.Token), "custody.pkcs11.token", "must be the token's label, 1 to 32 printable characters, while custody.kind is pkcs11")
	v.must(tokenLabel.MatchString(c.PKCS11.Key), "custody.pkcs11.key", "must be the key's label, 1 to 32 printable characters")
	v.must(!used || c.PKCS11.PIN.IsSet(), "custody.pkcs11.pin", "must be set while custody.kind is pkcs11")
}

func (c BackupConfig) check(v *checker) { v.file("backup.kit_file", c.KitFile) }

func (c VaultConfig) check(v *checker) {
	v.file("vault.data_key_file", c.DataKeyFile)
	v.file("vault.journal_file", c.JournalFile)
	for i, name := range c.OtherJournals {
		v.file(fmt.Sprintf("vault.other_journals[%d]", i), name)
		v.must(name != c.JournalFile, fmt.Sprintf("vault.other_journals[%d]", i), "must be another server's journal, not this one's")
	}
}

func (s SessionConfig) check(v *checker) {
	v.between("session.consumer_ttl", s.ConsumerTTL, time.Minute, 90*day)
	v.between("session.staff_ttl", s.StaffTTL, time.Minute, 7*day)
	v.between("session.idle_ttl", s.IdleTTL, time.Minute, 90*day)
	shorter := min(s.ConsumerTTL, s.StaffTTL)
	v.must(s.IdleTTL <= shorter, "session.idle_ttl", "must not be longer than session.consumer_ttl or session.staff_ttl: it would never be reached")
}

func (l LimitsConfig) check(v *checker) {
	eachKey(reflect.ValueOf(&l).Elem(), "limits", func(key string, value reflect.Value) {
		rate := value.Interface().(Rate)
		v.must(1 <= rate.Count && rate.Count <= 10_000_000 && time.Second <= rate.Per && rate.Per <= day,
			key, "must be 1 to 10000000 events in 1s to 24h, such as 5 per 10m")
	})
	v.must(l.WrongCodes.Count <= 100, "limits.wrong_codes", "must not let one person try more than 100 codes: codes could be guessed")
}

func (t TradeConfig) check(v *checker) {
	v.between("trade.min_expiry", t.MinExpiry, time.Second, 365*day)
	v.between("trade.max_expiry", t.MaxExpiry, time.Second, 365*day)
	v.must(t.MinExpiry <= t.MaxExpiry, "trade.max_expiry", "must not be shorter than trade.min_expiry")
	v.must(t.MinExpiry <= t.DefaultExpiry && t.DefaultExpiry <= t.MaxExpiry, "trade.default_expiry", "must lie between trade.min_expiry and trade.max_expiry")
	v.between("trade.sweep_interval", t.SweepInterval, 100*time.Millisecond, time.Hour)
}

func (r RealNameConfig) check(v *checker) {
	v.oneOf("real_name.verifier", r.Verifier, "sandbox", "none")
	v.between("real_name.validity", r.Validity, 31*day, 3650*day)
	v.between("real_name.keep", r.Keep, time.Hour, 30*day)
	v.number("real_name.attempts", r.Attempts, 1, 1000)
}

func (r RelayConfig) check(v *checker) {
	v.number("relay.workers", r.Workers, 1, 256)
	v.between("relay.lease", r.Lease, time.Second, 10*time.Minute)
	v.between("relay.grace", r.Grace, time.Minute, 24*time.Hour)
	v.between("relay.poll_interval", r.PollInterval, 10*time.Millisecond, time.Minute)
	v.between("relay.backoff_min", r.BackoffMin, 10*time.Millisecond, time.Minute)
	v.between("relay.backoff_max", r.BackoffMax, 10*time.Millisecond, time.Hour)
	v.between("relay.answer_within", r.AnswerWithin, 100*time.Millisecond, 5*time.Minute)
	v.must(r.BackoffMin <= r.BackoffMax, "relay.backoff_max", "must not be shorter than relay.backoff_min")
}

func (n NumberingConfig) check(v *checker) {
	seen := map[string]bool{}
	for i, issuer := range n.Issuers {
		key := fmt.Sprintf("numbering.issuers[%d]", i)
		if issuer.Rule != iccid.Serial && issuer.Rule != iccid.Luhn {
			v.must(false, key+".rule", "must be SERIAL or LUHN")
			issuer.Rule = iccid.Serial // to judge the rest by itself
		}
		if issuer.Carrier == "" {
			v.must(false, key+".carrier", "must be the carrier's key, such as cmcc, unicom or telecom")
			issuer.Carrier = "some"
		}
		_, err := iccid.NewPlan([]iccid.Issuer{issuer})
		v.must(err == nil, key+".prefix", "must begin with 89 and have 3 to 12 characters, digits and A to F")
		v.must(!seen[issuer.Prefix], key+".prefix", "stands in the list twice")
		seen[issuer.Prefix] = true
	}
	v.must(len(n.MSISDNPrefixes) > 0, "numbering.msisdn_prefixes", "must name at least one prefix")
	for i, prefix := range n.MSISDNPrefixes {
		v.must(digitsOnly.MatchString(prefix), fmt.Sprintf("numbering.msisdn_prefixes[%d]", i), "must be up to 12 digits that begin with 1")
	}
}

// risks are what production refuses: a trial's conveniences, each of which would
// hand somebody the keys. A new convenience adds its line here.
var risks = []struct {
	key   string
	what  string
	taken func(Config) bool
}{
	{"wechat.sandbox", "must be false in production: anyone can log in as anyone through the sandbox",
		func(c Config) bool { return c.WeChat.Sandbox }},
	{"real_name.verifier", "must be none in production: the sandbox confirms whoever comes",
		func(c Config) bool { return c.RealName.Verifier == "sandbox" }},
	{"database.driver", "must be mysql in production: an SQLite file is one server's alone, and when its disk is lost, so is every custodial key",
		func(c Config) bool { return c.Database.Driver == "sqlite" }},
	{"redis.embedded", "must be false in production: the Redis in this process forgets who guessed codes at every restart, and no other server sees it",
		func(c Config) bool { return c.Redis.Embedded }},
	{"ledger.kind", "must be fabric in production: a ledger in one file of yours convinces nobody but you",
		func(c Config) bool { return c.Ledger.Kind == "embedded" }},
	{"custody.kind", "must be shamir or pkcs11 in production: whoever has a root key's file and the database has every key",
		func(c Config) bool { return c.Custody.Kind == string(custody.InFile) }},
	{"custody.process", "must be own in production: whoever gets code into a server has the keys that are in its memory; see docs/custody.md, A process of its own",
		func(c Config) bool { return c.Custody.Process == Inside }},
	{"custody.guards", "must be true in production: without its guards custody signs as much as it is asked to",
		func(c Config) bool { return !c.Custody.Guards }},
	{"http.preview_dir", "must be empty in production: people open the mini-program in WeChat",
		func(c Config) bool { return c.HTTP.PreviewDir != "" }},
	{"http.tls_in_front", "must be true in production: put a TLS terminator in front, then say so here",
		func(c Config) bool { return !c.HTTP.TLSInFront }},
	{"http.public_url", "must be an https address in production",
		func(c Config) bool { return !strings.HasPrefix(c.HTTP.PublicURL, "https://") }},
	{"database.dsn", "has no password or a well-known one; set another in the database, and here or in database.password",
		func(c Config) bool {
			return c.Database.Driver == "mysql" && wellKnown(passwordOf(c.Database.DSN)) && wellKnown(c.Database.Password.Reveal())
		}},
	{"redis.password", "is empty or well-known; set another in Redis and here",
		func(c Config) bool { return !c.Redis.Embedded && wellKnown(c.Redis.Password.Reveal()) }},
}

// passwordOf answers the password in a MySQL DSN, user:password@net(addr)/name. The
// password may hold an @; the address can't.
func passwordOf(dsn Secret) string {
	account := dsn.Reveal()
	account = account[:max(0, strings.LastIndex(account, "@"))]
	_, password, _ := strings.Cut(account, ":")
	return password
}

// wellKnown reports whether a password is one that every scanner tries first.
func wellKnown(password string) bool {
	switch strings.ToLower(password) {
	case "", "root", "admin", "password", "passwd", "secret", "changeme", "example", "test", "demo",
		"mysql", "redis", "cardflow", "123456", "12345678", "root123", "admin123":
		return true
	}
	return false
}
