package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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

// TestDocumentedFileIsTheDefaults starts from a config that differs everywhere, so
// that a key which the file lacks can't hide behind its default.
func TestDocumentedFileIsTheDefaults(t *testing.T) {
	var c Config
	if faults := readFile(&c, documented); len(faults) > 0 {
		t.Fatal(faults)
	}
	want := DefaultConfig()
	// An empty list in the file is no list in the code.
	if c.HTTP.TrustedProxies, c.Numbering.Issuers = nilIfEmpty(c.HTTP.TrustedProxies), nilIfEmpty(c.Numbering.Issuers); !reflect.DeepEqual(c, want) {
		t.Errorf("configs/embedded.yaml says\n%+v\nthe defaults are\n%+v", c, want)
	}
}

func nilIfEmpty[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func TestEveryKeyIsDocumented(t *testing.T) {
	for _, file := range []string{documented, production} {
		t.Run(filepath.Base(file), func(t *testing.T) { everyKeyIsDocumented(t, file) })
	}
}

func everyKeyIsDocumented(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var inFile []string
	var walk func(key string, node *yaml.Node)
	walk = func(key string, node *yaml.Node) {
		for i := 0; i < len(node.Content); i += 2 {
			name, value := node.Content[i], node.Content[i+1]
			dotted := join(key, name.Value)
			if value.Kind == yaml.MappingNode {
				walk(dotted, value)
				continue
			}
			inFile = append(inFile, dotted)
			if name.HeadComment == "" {
				t.Errorf("%s has no comment above it", dotted)
			}
			for part := range iccidFields() {
				if dotted == "numbering.issuers" && !strings.Contains(name.HeadComment, part+":") {
					t.Errorf("the comment on %s doesn't tell of %s", dotted, part)
				}
			}
		}
	}
	walk("", document.Content[0])
	var inCode []string
	eachKey(reflect.ValueOf(&Config{}).Elem(), "", func(key string, _ reflect.Value) { inCode = append(inCode, key) })
	if !slices.Equal(inFile, inCode) { // also the order: they are read side by side
		t.Errorf("keys in the file:\n%v\nin the code:\n%v", inFile, inCode)
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

func iccidFields() map[string]bool {
	fields := map[string]bool{}
	for i := range reflect.TypeFor[iccid.Issuer]().NumField() {
		fields[reflect.TypeFor[iccid.Issuer]().Field(i).Tag.Get("yaml")] = true
	}
	return fields
}

// TestEveryKeyCanBeAFault: for every key a value that is not allowed, in an
// otherwise sound file, gives one fault, and that names the key.
func TestEveryKeyCanBeAFault(t *testing.T) {
	bad := map[string][]string{
		"mode":                            {"prod", `""`},
		"data_dir":                        {`""`},
		"http.listen":                     {"8080", "localhost", "127.0.0.1:99999", `""`},
		"http.public_url":                 {"cards.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y=1"},
		"http.tls_in_front":               {"yes", "1"},
		"http.preview_dir":                {"[a]"},
		"http.trusted_proxies":            {"10.0.0.0/8"}, // no list
		"http.trusted_proxies[0]":         {"[10.0.0.1]", "[10.0.0.0/33]"},
		"http.body_limit":                 {"1", "1GiB", "1MB", "-1", "99999999999999GiB"},
		"http.read_timeout":               {"0s", "1h", "15", "soon"},
		"http.write_timeout":              {"0s", "1h"},
		"http.shutdown_grace":             {"-1s", "1h"},
		"database.driver":                 {"postgres"},
		"database.dsn":                    {`"[secret]"`},
		"database.ca_file":                {"ca.pem"}, // for a file
		"database.max_connections":        {"-1", "1001", "many"},
		"database.password":               {`"[secret]"`, "for a file"},
		"redis.embedded":                  {"TRUE"},
		"redis.addr":                      {"127.0.0.1:6379"}, // while embedded
		"redis.password":                  {`"[secret]"`, "[a, b]"},
		"redis.username":                  {"cardflow"}, // while embedded
		"redis.tls":                       {"true", "yes"},
		"redis.ca_file":                   {"ca.pem"}, // without TLS
		"redis.db":                        {"-1", "1024", "one", "99999999999999999999"},
		"redis.key_prefix":                {`""`, `"a b"`, `"a*"`},
		"ledger.kind":                     {"none", `""`},
		"ledger.fabric.profile":           {"../connection.yaml"},
		"ledger.fabric.msp_id":            {`""`, "Platform MSP", "-x"},
		"ledger.fabric.cert_file":         {"../cert.pem"},
		"ledger.fabric.key_file":          {"../key.pem"},
		"ledger.fabric.endorse_timeout":   {"0s", "2m", "soon"},
		"ledger.fabric.broadcast_timeout": {"10ms", "2m"},
		"ledger.fabric.commit_timeout":    {"0s", "1h"},
		"ledger.fabric.query_timeout":     {"0s", "61s"},
		"ledger.fabric.channel":           {"x"}, // no such key
		"ledger.file":                     {`""`, "../ledger.db"},
		"ledger.channel":                  {"Cards", `""`, "卡"},
		"ledger.block_interval":           {"-1ms", "2s"},
		"ledger.max_block_txs":            {"0", "100000"},
		"ledger.time_window":              {"1s", "1h"},
		"wechat.sandbox":                  {"no"},
		"wechat.app_id":                   {`""`},
		"wechat.app_secret":               {`"[secret]"`},
		"wechat.base_url":                 {"api.weixin.qq.com"},
		"wechat.mini_page":                {"/pages/trade", "pages/trade?x=1", `""`},
		"wechat.env_version":              {"prod"},
		"wechat.timeout":                  {"0s", "2m"},
		"custody.kind":                    {"vault", `""`},
		"custody.process":                 {"outside", `""`},
		"custody.socket":                  {`""`, "../s", "a/name/of/a/socket/that/is/longer/than/what/some/systems/let/a/path/of/a/socket/be/which/is/some/hundred/characters"},
		"custody.stamp_file":              {`""`, "../custodian.key"},
		"custody.server_user":             {"cardflow", `"'a'@'b'; DROP DATABASE x"`, `"'a b'@'%'"`},
		"custody.tls.listen":              {"7443", "a:b"},
		"custody.tls.connect":             {"7443", ":7443"},
		"custody.tls.ca_file":             {"../ca.pem"},
		"custody.tls.cert_file":           {"../cert.pem"},
		"custody.tls.key_file":            {"../key.pem"},
		"custody.tls.peer":                {"two words", `"*.example.com"`, "Server"},
		"custody.root_key_file":           {`""`, "../../root.key"},
		"custody.pkcs11.module":           {"libpkcs11.so"},
		"custody.pkcs11.token":            {`"a label of more than 32 characters"`, `"a\tb"`},
		"custody.pkcs11.key":              {`""`, `" x"`},
		"custody.pkcs11.pin":              {`"[secret]"`},
		"custody.guards":                  {"maybe"},
		"custody.login_age":               {"1m", "1000h"},
		"custody.proposal_life":           {"1m", "200h"},
		"audit.anchor_interval":           {"1ms", "25h"},
		"audit.stop_timeout":              {"-1s", "2m"},
		"vault.data_key_file":             {`""`, "../data.key"},
		"vault.journal_file":              {`""`, "../journal"},
		"vault.other_journals":            {"journal-2"}, // no list
		"vault.other_journals[0]":         {`[""]`, "[../journal]", "[journal]"},
		"backup.kit_file":                 {`""`, "../recovery.json"},
		"session.consumer_ttl":            {"10000h"},
		"session.staff_ttl":               {"200h"},
		"session.idle_ttl":                {"10s", "13h"},
		"limits.wrong_codes":              {"5", "0 per 10m", "5 per 1ms", "101 per 10m", "5 per 48h", "five per 10m"},
		"limits.wrong_codes_per_address":  {"0 per 10m"},
		"limits.wrong_codes_platform":     {"-1 per 10m"},
		"limits.lookups_per_address":      {"1 per 0s"},
		"limits.lookups_platform":         {"10000001 per 1m"},
		"limits.logins_per_address":       {"1 / 1m"},
		"limits.logins_per_account":       {"per 1m"},
		"limits.requests_per_address":     {`""`},
		"trade.default_expiry":            {"30s", "200h"},
		"trade.max_expiry":                {"9000h"},
		"trade.min_expiry":                {"10ms"},
		"trade.sweep_interval":            {"1ms", "2h"},
		"real_name.verifier":              {"somebody"},
		"real_name.validity":              {"24h", "100000h"},
		"real_name.keep":                  {"1m", "800h"},
		"real_name.attempts":              {"0", "1001"},
		"relay.workers":                   {"0", "257", "1.5"},
		"relay.lease":                     {"1ms", "1h"},
		"relay.grace":                     {"1s", "48h"},
		"relay.poll_interval":             {"1ms", "1h"},
		"relay.answer_within":             {"1ms", "10m", "60s"}, // as long as http.write_timeout
		"relay.backoff_min":               {"1ms"},
		"relay.backoff_max":               {"2h", "100ms"},
		"imports.dir":                     {`""`, "../imports"},
		"imports.max_bytes":               {"0", "3GiB"},
		"imports.max_rows":                {"0", "10000001"},
		"imports.keep":                    {"1m", "null"},
		"numbering.issuers":               {"{}", "none"},
		"numbering.issuers[0].prefix":     {`[{prefix: 123, carrier: x, rule: LUHN}]`, `[{carrier: x, rule: LUHN}]`, `[{prefix: 8986, carrier: x, rule: LUHN, prefix: 8987}]`},
		"numbering.issuers[0].carrier":    {`[{prefix: "898613", rule: LUHN}]`},
		"numbering.issuers[0].rule":       {`[{prefix: "898613", carrier: x, rule: luhn}]`},
		"numbering.issuers[0].name":       {`[{prefix: "898613", carrier: x, rule: LUHN, name: y}]`},
		"numbering.issuers[1].prefix":     {`[{prefix: "898613", carrier: x, rule: LUHN}, {prefix: "898613", carrier: y, rule: LUHN}]`},
		"numbering.msisdn_prefixes":       {"[]", "1064"},
		"numbering.msisdn_prefixes[1]":    {`["1064", "86"]`},
		"log.level":                       {"trace"},
		"log.format":                      {"xml"},
		"log.file":                        {"x"}, // no such key
		"http":                            {"x", "[a]"},
	}
	eachKey(reflect.ValueOf(&Config{}).Elem(), "", func(key string, _ reflect.Value) {
		if len(bad[key]) == 0 {
			t.Errorf("no bad value of %s is tried", key)
		}
	})
	for key, values := range bad {
		for _, value := range values {
			path, _, _ := strings.Cut(key, "[")
			sections := strings.Split(path, ".")
			text := value + "\n"
			for i, section := range slices.Backward(sections) {
				text = strings.Repeat("  ", i) + section + ": " + text
				if i > 0 {
					text = "\n" + text
				}
			}
			t.Run(key+"="+value, func(t *testing.T) {
				faults := load(t, text)
				if len(faults) != 1 || faults[0].Key != key || faults[0].What == "" {
					t.Errorf("faults %q, want one on %s", faults, key)
				}
			})
		}
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

func keysOf(faults Faults) []string {
	var keys []string
	for _, fault := range faults {
		keys = append(keys, fault.Key)
	}
	return keys
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

func TestSecretsFromFiles(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for text, want := range map[string]string{
		"hunter2": "hunter2", "hunter2\n": "hunter2", "hunter2\r\n": "hunter2", " a b ": " a b ", "": "", "\n": "",
	} {
		c, err := Load("", []string{"CARDFLOW_REDIS_PASSWORD_FILE=" + file(text)})
		if err != nil || c.Redis.Password.Reveal() != want {
			t.Errorf("a file of %q gives %q, %v; want %q", text, c.Redis.Password.Reveal(), err, want)
		}
	}
	for name, c := range map[string]struct {
		env  []string
		want string // of the one fault
	}{
		"absent":            {[]string{"CARDFLOW_WECHAT_APP_SECRET_FILE=" + filepath.Join(t.TempDir(), "absent")}, "wechat.app_secret: its file cannot be read: no such file"},
		"a folder":          {[]string{"CARDFLOW_WECHAT_APP_SECRET_FILE=" + t.TempDir()}, "wechat.app_secret: its file cannot be read"},
		"two lines":         {[]string{"CARDFLOW_DATABASE_DSN_FILE=" + file("hunter2\nhunter2\n")}, "database.dsn: its file should hold one line"},
		"a dump":            {[]string{"CARDFLOW_DATABASE_DSN_FILE=" + file("[secret]\n")}, "database.dsn: is what a dump prints"},
		"in both":           {[]string{"CARDFLOW_REDIS_PASSWORD_FILE=" + file("hunter2"), "CARDFLOW_REDIS_PASSWORD=hunter2"}, "redis.password: is given twice"},
		"of what is no key": {[]string{"CARDFLOW_REDIS_PASSWD_FILE=" + file("hunter2")}, "names no key"},
		"of no secret":      {[]string{"CARDFLOW_HTTP_LISTEN_FILE=" + file(":1")}, "names no key"},
	} {
		_, err := Load("", c.env)
		var faults Faults
		if !errors.As(err, &faults) || len(faults) != 1 || !strings.Contains(faults[0].String(), c.want) || !strings.Contains(faults[0].Where, "_FILE") {
			t.Errorf("%s: %v, want one fault with %q", name, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret stands in %v", name, err)
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

func TestPasswordOf(t *testing.T) {
	for dsn, want := range map[string]string{
		"u:p@tcp(h:1)/d": "p", "u:p@w:x@tcp(h:1)/d": "p@w:x", "u@tcp(h:1)/d": "", "tcp(h:1)/d": "", "": "", "/d": "",
	} {
		if got := passwordOf(NewSecret(dsn)); got != want {
			t.Errorf("password of %q is %q, want %q", dsn, got, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	const secret = "hunter2"
	c := DefaultConfig()
	c.Database.DSN, c.Database.Password, c.Redis.Password, c.WeChat.AppSecret = NewSecret(secret), NewSecret(secret), NewSecret(secret), NewSecret(secret)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%w", "%20s"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c.Redis.Password)
	}
	fmt.Fprintln(&out, c.Redis, &c.WeChat, []Secret{NewSecret(secret)}, map[string]Secret{"k": NewSecret(secret)})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "config", c, "secret", c.Redis.Password)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "config", c, "secret", c.Redis.Password)
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	out.Write(asYAML)
	for line := range strings.Lines(out.String()) {
		for _, leak := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
			if strings.Contains(line, leak) {
				t.Errorf("a secret stands in %s", line)
			}
		}
	}
	if !strings.Contains(string(asYAML), "app_secret: '[secret]'") {
		t.Errorf("a dump doesn't tell that the secret is set:\n%s", asYAML)
	}
	if c.Redis.Password.Reveal() != secret {
		t.Error("the secret is lost")
	}
}

// TestFaultsRepeatNoValue: a secret in the wrong place is still a secret.
func TestFaultsRepeatNoValue(t *testing.T) {
	text := ""
	for _, line := range []string{"mode: %s", "http: {listen: %[1]s, body_limit: %[1]s, read_timeout: %[1]s, tls_in_front: %[1]s, trusted_proxies: [%[1]s], public_url: %[1]s}",
		"redis: {db: %s, password: [%[1]s]}", "limits: {wrong_codes: %s}", "ledger: {channel: %s-HUNTER2, file: ../%[1]s}", "numbering: {issuers: [{prefix: %[1]s, rule: %[1]s}], msisdn_prefixes: [%[1]s]}", "log: %s"} {
		text += fmt.Sprintf(line, "hunter2") + "\n"
	}
	faults := load(t, text, "CARDFLOW_RELAY_WORKERS=hunter2")
	if len(faults) < 15 {
		t.Errorf("only %d faults: %v", len(faults), faults)
	}
	if strings.Contains(strings.ToLower(faults.Error()), "hunter2") {
		t.Error(faults)
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
