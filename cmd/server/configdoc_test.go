package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"cardflow/iccid"
)

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
		"mode":                                 {"prod", `""`},
		"data_dir":                             {`""`},
		"http.listen":                          {"8080", "localhost", "127.0.0.1:99999", `""`},
		"http.public_url":                      {"cards.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y=1"},
		"http.tls_in_front":                    {"yes", "1"},
		"http.preview_dir":                     {"[a]"},
		"http.trusted_proxies":                 {"10.0.0.0/8"}, // no list
		"http.trusted_proxies[0]":              {"[10.0.0.1]", "[10.0.0.0/33]"},
		"http.body_limit":                      {"1", "1GiB", "1MB", "-1", "99999999999999GiB"},
		"http.read_timeout":                    {"0s", "1h", "15", "soon"},
		"http.write_timeout":                   {"0s", "1h"},
		"http.shutdown_grace":                  {"-1s", "1h"},
		"database.driver":                      {"postgres"},
		"database.dsn":                         {`"[secret]"`},
		"database.ca_file":                     {"ca.pem"}, // for a file
		"database.max_connections":             {"-1", "1001", "many"},
		"database.password":                    {`"[secret]"`, "for a file"},
		"redis.embedded":                       {"TRUE"},
		"redis.addr":                           {"127.0.0.1:6379"}, // while embedded
		"redis.password":                       {`"[secret]"`, "[a, b]"},
		"redis.username":                       {"cardflow"}, // while embedded
		"redis.tls":                            {"true", "yes"},
		"redis.ca_file":                        {"ca.pem"}, // without TLS
		"redis.db":                             {"-1", "1024", "one", "99999999999999999999"},
		"redis.key_prefix":                     {`""`, `"a b"`, `"a*"`},
		"ledger.kind":                          {"none", `""`},
		"ledger.fabric.profile":                {"../connection.yaml"},
		"ledger.fabric.msp_id":                 {`""`, "Platform MSP", "-x"},
		"ledger.fabric.cert_file":              {"../cert.pem"},
		"ledger.fabric.key_file":               {"../key.pem"},
		"ledger.fabric.endorse_timeout":        {"0s", "2m", "soon"},
		"ledger.fabric.broadcast_timeout":      {"10ms", "2m"},
		"ledger.fabric.commit_timeout":         {"0s", "1h"},
		"ledger.fabric.query_timeout":          {"0s", "61s"},
		"ledger.fabric.channel":                {"x"}, // no such key
		"ledger.file":                          {`""`, "../ledger.db"},
		"ledger.channel":                       {"Cards", `""`, "卡"},
		"ledger.block_interval":                {"-1ms", "2s"},
		"ledger.max_block_txs":                 {"0", "100000"},
		"ledger.time_window":                   {"1s", "1h"},
		"wechat.sandbox":                       {"no"},
		"wechat.app_id":                        {`""`},
		"wechat.app_secret":                    {`"[secret]"`},
		"wechat.base_url":                      {"api.weixin.qq.com"},
		"wechat.mini_page":                     {"/pages/trade", "pages/trade?x=1", `""`},
		"wechat.env_version":                   {"prod"},
		"wechat.timeout":                       {"0s", "2m"},
		"wechat.templates.real_name.id":        {"a b", "模板"},
		"wechat.templates.real_name.result":    {"time1", "phrase"},
		"wechat.templates.real_name.time":      {"thing2", "time0"},
		"wechat.templates.real_name.note":      {"phrase1", "thing"},
		"wechat.templates.confirmation.id":     {"a b", "模板"},
		"wechat.templates.confirmation.result": {"time1", "phrase"},
		"wechat.templates.confirmation.time":   {"thing2", "time0"},
		"wechat.templates.confirmation.note":   {"phrase1", "thing"},
		"wechat.templates.return.id":           {"a b", "模板"},
		"wechat.templates.return.result":       {"time1", "phrase"},
		"wechat.templates.return.time":         {"thing2", "time0"},
		"wechat.templates.return.note":         {"phrase1", "thing"},
		"custody.kind":                         {"vault", `""`},
		"custody.process":                      {"outside", `""`},
		"custody.socket":                       {`""`, "../s", "a/name/of/a/socket/that/is/longer/than/what/some/systems/let/a/path/of/a/socket/be/which/is/some/hundred/characters"},
		"custody.stamp_file":                   {`""`, "../custodian.key"},
		"custody.server_user":                  {"cardflow", `"'a'@'b'; DROP DATABASE x"`, `"'a b'@'%'"`},
		"custody.tls.listen":                   {"7443", "a:b"},
		"custody.tls.connect":                  {"7443", ":7443"},
		"custody.tls.ca_file":                  {"../ca.pem"},
		"custody.tls.cert_file":                {"../cert.pem"},
		"custody.tls.key_file":                 {"../key.pem"},
		"custody.tls.peer":                     {"two words", `"*.example.com"`, "Server"},
		"custody.root_key_file":                {`""`, "../../root.key"},
		"custody.pkcs11.module":                {"libpkcs11.so"},
		"custody.pkcs11.token":                 {`"a label of more than 32 characters"`, `"a\tb"`},
		"custody.pkcs11.key":                   {`""`, `" x"`},
		"custody.pkcs11.pin":                   {`"[secret]"`},
		"custody.guards":                       {"maybe"},
		"custody.login_age":                    {"1m", "1000h"},
		"custody.step_up_age":                  {"1s", "-1m", "1000h", "24h"}, // as long as custody.login_age
		"custody.proposal_life":                {"1m", "200h"},
		"audit.anchor_interval":                {"1ms", "25h"},
		"audit.stop_timeout":                   {"-1s", "2m"},
		"vault.data_key_file":                  {`""`, "../data.key"},
		"vault.journal_file":                   {`""`, "../journal"},
		"vault.other_journals":                 {"journal-2"}, // no list
		"vault.other_journals[0]":              {`[""]`, "[../journal]", "[journal]"},
		"backup.kit_file":                      {`""`, "../recovery.json"},
		"session.consumer_ttl":                 {"10000h"},
		"session.staff_ttl":                    {"200h"},
		"session.idle_ttl":                     {"10s", "13h"},
		"limits.wrong_codes":                   {"5", "0 per 10m", "5 per 1ms", "101 per 10m", "5 per 48h", "five per 10m"},
		"limits.wrong_codes_per_address":       {"0 per 10m"},
		"limits.wrong_codes_platform":          {"-1 per 10m"},
		"limits.lookups_per_address":           {"1 per 0s"},
		"limits.lookups_platform":              {"10000001 per 1m"},
		"limits.logins_per_address":            {"1 / 1m"},
		"limits.logins_per_account":            {"per 1m"},
		"limits.requests_per_address":          {`""`},
		"trade.default_expiry":                 {"30s", "200h"},
		"trade.max_expiry":                     {"9000h"},
		"trade.min_expiry":                     {"10ms"},
		"trade.sweep_interval":                 {"1ms", "2h"},
		"real_name.verifier":                   {"somebody"},
		"real_name.validity":                   {"24h", "100000h"},
		"real_name.keep":                       {"1m", "800h"},
		"real_name.attempts":                   {"0", "1001"},
		"relay.workers":                        {"0", "257", "1.5"},
		"relay.lease":                          {"1ms", "1h"},
		"relay.grace":                          {"1s", "48h"},
		"relay.poll_interval":                  {"1ms", "1h"},
		"relay.answer_within":                  {"1ms", "10m", "60s"}, // as long as http.write_timeout
		"relay.backoff_min":                    {"1ms"},
		"relay.backoff_max":                    {"2h", "100ms"},
		"imports.dir":                          {`""`, "../imports"},
		"imports.max_bytes":                    {"0", "3GiB"},
		"imports.max_rows":                     {"0", "10000001"},
		"imports.keep":                         {"1m", "null"},
		"numbering.issuers":                    {"{}", "none"},
		"numbering.issuers[0].prefix":          {`[{prefix: 123, carrier: x, rule: LUHN}]`, `[{carrier: x, rule: LUHN}]`, `[{prefix: 8986, carrier: x, rule: LUHN, prefix: 8987}]`},
		"numbering.issuers[0].carrier":         {`[{prefix: "898613", rule: LUHN}]`},
		"numbering.issuers[0].rule":            {`[{prefix: "898613", carrier: x, rule: luhn}]`},
		"numbering.issuers[0].name":            {`[{prefix: "898613", carrier: x, rule: LUHN, name: y}]`},
		"numbering.issuers[1].prefix":          {`[{prefix: "898613", carrier: x, rule: LUHN}, {prefix: "898613", carrier: y, rule: LUHN}]`},
		"numbering.msisdn_prefixes":            {"[]", "1064"},
		"numbering.msisdn_prefixes[1]":         {`["1064", "86"]`},
		"log.level":                            {"trace"},
		"log.format":                           {"xml"},
		"log.file":                             {"x"}, // no such key
		"http":                                 {"x", "[a]"},
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

func keysOf(faults Faults) []string {
	var keys []string
	for _, fault := range faults {
		keys = append(keys, fault.Key)
	}
	return keys
}
