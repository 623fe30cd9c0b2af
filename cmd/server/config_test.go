package main

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"cardflow/custody"
	"cardflow/iccid"
)

const (
	documented = "../../configs/embedded.yaml"
	production = "../../configs/production.yaml"
)

func TestDefaultsNeedNoFile(t *testing.T) {
	c, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Mode != Trial || !c.WeChat.Sandbox || !c.Redis.Embedded || c.Database.Driver != "sqlite" || c.Ledger.Kind != "embedded" {
		t.Errorf("the defaults are not a trial in one process: %+v", c)
	}
	if got, want := c.SQLiteFile(), filepath.Join("data", "cardflow.db"); got != want {
		t.Errorf("SQLite file %q, want %q", got, want)
	}
}

// TestProductionFileLacksSecretsOnly: the documented file is what an operator starts from. Its faults are what he alone
// knows.
func TestProductionFileLacksSecretsOnly(t *testing.T) {
	own := []string{"wechat.app_id", "wechat.app_secret", "database.dsn", "redis.password"}
	_, err := Load(production, nil)
	var faults Faults
	if !errors.As(err, &faults) || !slices.Equal(keysOf(faults), own) {
		t.Errorf("faults %v\nwant those of %q", err, own)
	}
	_, err = Load(production, []string{
		"CARDFLOW_DATABASE_PASSWORD=correct horse", "CARDFLOW_REDIS_PASSWORD=battery staple", "CARDFLOW_WECHAT_APP_ID=wx0123456789abcdef", "CARDFLOW_WECHAT_APP_SECRET=s3cr3t",
	})
	if err != nil {
		t.Errorf("with all secrets: %v", err)
	}
}

// load answers the faults of a file with this text.
func load(t *testing.T, text string, env ...string) Faults {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path, env)
	if err == nil {
		return nil
	}
	return err.(Faults)
}

func TestAllFaultsAtOnce(t *testing.T) {
	faults := load(t, `
http: {listen: nowhere, body_limit: huge, lisen: ":1"}
relay: {workers: 0}
redis: {embedded: false}
wechat: {sandbox: false}
log: {level: loud}
`, "CARDFLOW_TRADE_MIN_EXPIRY=never", "CARDFLOW_HTTP_PUBLIC_URL=nowhere", "CARDFLOW_LOG_LEVLE=info")
	got := keysOf(faults)
	want := []string{"http.body_limit", "http.lisen", "trade.min_expiry", "", "http.listen", "http.public_url",
		"redis.addr", "wechat.app_id", "wechat.app_secret", "relay.workers", "log.level"}
	if !slices.Equal(got, want) {
		t.Errorf("faults %q\nwant %q", got, want)
	}
	text := faults.Error()
	for _, part := range []string{"11 fault(s)", "server.yaml, line 2", "(CARDFLOW_LOG_LEVLE)", "must be one of debug, info, warn, error"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}

func TestFilesThatAreNone(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no mapping":     {"- a\n", "section"},
		"no YAML":        {"http: [\n", "line"},
		"a tab":          {"http:\n\tlisten: x\n", "line"},
		"two documents":  {"mode: trial\n---\nmode: trial\n", "more than one"},
		"a key twice":    {"mode: trial\nmode: trial\n", "twice"},
		"a section null": {"http:\n", "section"},
	} {
		t.Run(name, func(t *testing.T) {
			if faults := load(t, c.text); len(faults) != 1 || !strings.Contains(faults[0].String(), c.want) {
				t.Errorf("faults %q, want one with %q", faults, c.want)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "absent.yaml"), nil); err == nil || !strings.Contains(err.Error(), "absent.yaml") {
		t.Errorf("an absent file: %v", err)
	}
	for _, text := range []string{"", "# nothing set\n", "---\n"} {
		if faults := load(t, text); faults != nil {
			t.Errorf("the empty file %q: %v", text, faults)
		}
	}
}

func TestEnvironmentWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.yaml")
	text := "http: {listen: ':1', trusted_proxies: [10.0.0.0/8]}\nlimits: {wrong_codes: 4 per 1h}\nredis: {password: file}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path, []string{
		"HOME=elsewhere", "CARDFLOW_DATA_DIR=d=e", "CARDFLOW_HTTP_LISTEN=:2", "CARDFLOW_HTTP_BODY_LIMIT=2MiB",
		"CARDFLOW_HTTP_TRUSTED_PROXIES=127.0.0.1/32, ::1/128", "CARDFLOW_REDIS_PASSWORD=a: [b", "CARDFLOW_REDIS_DB=3",
		"CARDFLOW_TRADE_MIN_EXPIRY=5m", "CARDFLOW_HTTP_TLS_IN_FRONT=true",
		`CARDFLOW_NUMBERING_ISSUERS=[{prefix: 898613, carrier: telecom, rule: LUHN}]`,
		"CARDFLOW_TEST_MYSQL=x", "CARDFLOW_PORT=tcp://10.0.0.1:80", "CARDFLOW_REDIS_SERVICE_HOST=10.0.0.2", "CARDFLOW_REDIS_PORT_6379_TCP_ADDR=10.0.0.2",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.DataDir, want.HTTP.Listen, want.HTTP.BodyLimit, want.HTTP.TLSInFront = "d=e", ":2", 2<<20, true
	want.HTTP.TrustedProxies = []string{"127.0.0.1/32", "::1/128"}
	want.Redis.Password, want.Redis.DB = NewSecret("a: [b"), 3
	want.Trade.MinExpiry = 5 * time.Minute
	want.Limits.WrongCodes = Rate{4, time.Hour}
	want.Numbering.Issuers = []iccid.Issuer{{Prefix: "898613", Carrier: "telecom", Rule: iccid.Luhn}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
	for _, env := range []string{"CARDFLOW_HTTP_LISTN=:1", "CARDFLOW_NUMBERING_ISSUERS=[", "CARDFLOW_NUMBERING_ISSUERS=[{prefix: 1}", "CARDFLOW_REDIS_DB="} {
		if _, err := Load("", []string{env}); err == nil {
			t.Errorf("%s was taken", env)
		}
	}
}

func TestEnvironmentNamesAreDistinct(t *testing.T) {
	seen := map[string]string{}
	eachKey(reflect.ValueOf(&Config{}).Elem(), "", func(key string, _ reflect.Value) {
		name := variable(key)
		for _, name := range []string{name, name + fileSuffix} { // the second names a secret's file
			if other, twice := seen[name]; twice {
				t.Errorf("%s and %s are both %s", key, other, name)
			}
		}
		if foreign.MatchString(name) {
			t.Errorf("%s would be taken for somebody else's", name)
		}
		seen[name] = key
	})
}

func TestProductionNamesEveryRisk(t *testing.T) {
	c := DefaultConfig()
	c.Mode = Production
	parts := []string{"wechat.sandbox", "real_name.verifier", "database.driver", "redis.embedded", "ledger.kind", "custody.kind", "custody.process", "http.tls_in_front", "http.public_url"}
	if got := keysOf(c.faults()); !slices.Equal(got, parts) {
		t.Errorf("risks of a trial %q\nwant %q", got, parts)
	}
	c.Database = DatabaseConfig{Driver: "mysql", DSN: NewSecret("cardflow:cardflow@tcp(db:3306)/cardflow")}
	c.Redis = RedisConfig{Addr: "redis:6379", KeyPrefix: "cardflow:"}
	want := []string{"wechat.sandbox", "real_name.verifier", "ledger.kind", "custody.kind", "custody.process", "http.tls_in_front", "http.public_url", "database.dsn", "redis.password"}
	if got := keysOf(c.faults()); !slices.Equal(got, want) {
		t.Errorf("risks %q\nwant %q", got, want)
	}
	c.WeChat.Sandbox, c.WeChat.AppID, c.WeChat.AppSecret = false, "wx0123456789abcdef", NewSecret("s3cr3t")
	c.RealName.Verifier = "none"
	c.HTTP.TLSInFront, c.HTTP.PublicURL = true, "https://cards.example.com"
	c.Database.DSN = NewSecret("cardflow:p@ss:w0rd@tcp(db:3306)/cardflow")
	c.Redis.Password = NewSecret("another one")
	c.Ledger.Kind = "fabric"
	c.Ledger.Fabric.Profile, c.Ledger.Fabric.CertFile, c.Ledger.Fabric.KeyFile = "connection.yaml", "cert.pem", "key.pem"
	if got := keysOf(c.faults()); !slices.Equal(got, []string{"custody.kind", "custody.process"}) {
		t.Errorf("faults %q", got)
	}
	c.Database.DSN, c.Database.Password = NewSecret("cardflow@tcp(db:3306)/cardflow"), NewSecret("p@ss:w0rd")
	c.Custody.Kind, c.Custody.Process = "shamir", Own
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Custody.Kind, c.Custody.PKCS11 = "pkcs11", PKCS11Config{"/usr/lib/token.so", "cardflow", "cardflow-root", NewSecret("12345678")}
	if err := c.Validate(); err != nil && custody.HasPKCS11 {
		t.Error(err)
	}
	c.Custody.Kind, c.Custody.Guards = "shamir", false
	if got := keysOf(c.faults()); !slices.Equal(got, []string{"custody.guards"}) {
		t.Errorf("faults %q", got)
	}
	c.Mode = Trial
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

// TestPartsNeedEachOther: what one key says makes others necessary, or forbids them. Each case has one fault.
func TestPartsNeedEachOther(t *testing.T) {
	const fabric = "ledger: {kind: fabric, fabric: {profile: c.yaml, cert_file: c.pem, key_file: k.pem}}\n"
	for text, want := range map[string]string{
		fabric: "",
		"ledger: {kind: fabric, fabric: {cert_file: c.pem, key_file: k.pem}}\n":                       "ledger.fabric.profile",
		"ledger: {kind: fabric, fabric: {profile: c.yaml, key_file: k.pem}}\n":                        "ledger.fabric.cert_file",
		"ledger: {kind: fabric, fabric: {profile: c.yaml, cert_file: c.pem}}\n":                       "ledger.fabric.key_file",
		"redis: {embedded: false, addr: 'r:6379', username: u, tls: true, ca_file: ca.pem}\n":         "",
		"redis: {embedded: false, addr: 'r:6379', ca_file: ca.pem}\n":                                 "redis.ca_file",
		"redis: {embedded: false, addr: 'r:6379', username: 'a b'}\n":                                 "redis.username",
		"redis: {embedded: false, addr: 'r:6379', tls: true, ca_file: ../ca.pem}\n":                   "redis.ca_file",
		"database: {driver: mysql, dsn: 'u:p@tcp(h:3306)/d?tls=true', ca_file: /etc/ca.pem}\n":        "",
		"database: {driver: mysql, dsn: 'u:p@tcp(h:3306)/', ca_file: /etc/ca.pem}\n":                  "database.dsn",
		"database: {driver: mysql, dsn: 'u:p@tcp(h:3306)/d?allowAllFiles=true'}\n":                    "database.dsn",
		"database: {driver: mysql, dsn: 'u:p@h:3306'}\n":                                              "database.dsn",
		"database: {driver: mysql, dsn: 'u:p@tcp(h:3306)/d', ca_file: ../ca.pem}\n":                   "database.ca_file",
		"database: {driver: mysql, dsn: 'u@tcp(h:3306)/d', password: hunter2, max_connections: 64}\n": "",
		"custody: {kind: pkcs11, pkcs11: {module: /usr/lib/p.so, token: t, pin: p}}\n":                "",
		"custody: {kind: pkcs11, pkcs11: {token: t, pin: p}}\n":                                       "custody.pkcs11.module",
		"custody: {kind: pkcs11, pkcs11: {module: /usr/lib/p.so, pin: p}}\n":                          "custody.pkcs11.token",
		"custody: {kind: pkcs11, pkcs11: {module: /usr/lib/p.so, token: t}}\n":                        "custody.pkcs11.pin",
	} {
		var got []string
		if faults := load(t, text); faults != nil {
			got = keysOf(faults)
		}
		if fault := strings.Join(got, " "); fault != want {
			t.Errorf("%sfaults %q, want %q", text, fault, want)
		}
	}
}

func TestDumpReadsBack(t *testing.T) {
	want := DefaultConfig()
	want.HTTP.BodyLimit, want.Limits.LookupsPlatform = 1536, Rate{7, 90 * time.Second}
	text, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "dump.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	var got Config
	if faults := readFile(&got, path); len(faults) > 0 {
		t.Fatalf("%v in\n%s", faults, text)
	}
	got.HTTP.TrustedProxies, got.Numbering.Issuers = nilIfEmpty(got.HTTP.TrustedProxies), nilIfEmpty(got.Numbering.Issuers)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read back\n%+v\nfrom\n%s", got, text)
	}
}

func TestPlanTakesTheOperatorsWord(t *testing.T) {
	own := []iccid.Issuer{{Prefix: "898600", Carrier: "cmcc", Rule: iccid.Luhn}, {Prefix: "898699", Carrier: "mvno", Rule: iccid.Serial}}
	plan, err := NumberingConfig{Issuers: own}.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(plan.Issuers()), len(iccid.DefaultPlan().Issuers())+1; got != want {
		t.Errorf("%d issuers, want %d", got, want)
	}
	for _, want := range own {
		if got, err := plan.Issuer(want.Prefix); err != nil || got != want {
			t.Errorf("issuer of %s is %v, %v", want.Prefix, got, err)
		}
	}
}

func TestPath(t *testing.T) {
	c := DefaultConfig()
	c.DataDir = filepath.Join("some", "where")
	abs := filepath.Join(t.TempDir(), "ledger.db")
	if got := c.Path(abs); got != abs {
		t.Errorf("path %q, want %q", got, abs)
	}
	if got, want := c.Path("ledger.db"), filepath.Join("some", "where", "ledger.db"); got != want {
		t.Errorf("path %q, want %q", got, want)
	}
	c.Database.DSN = NewSecret("file:x.db")
	if got := c.SQLiteFile(); got != "file:x.db" {
		t.Errorf("SQLite file %q", got)
	}
}

// TestCommandsKeepQuiet: what a server notes of its day doesn't run into a command's prompts and tables; what is wrong does.
func TestCommandsKeepQuiet(t *testing.T) {
	for _, c := range []struct{ command, level, want string }{
		{"serve", "info", "info"}, {"custodian", "info", "info"}, {"keys list", "info", "warn"}, {"backup restore <file>", "info", "warn"},
		{"fsck", "debug", "debug"}, {"fsck", "error", "error"},
	} {
		if got := beside(c.command, LogConfig{Level: c.level}); got.Level != c.want {
			t.Errorf("%s at %s logs %s", c.command, c.level, got.Level)
		}
	}
}
