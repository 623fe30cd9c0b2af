package docker_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"

	"cardflow/configs/docker"
)

const root = "../.."

func load(t *testing.T, env map[string]string, overrides ...string) *types.Project {
	t.Helper()
	p, err := docker.Load(t.Context(), root, env, overrides...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := docker.Read(root, elem...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// trial are the variables of trial.env.
func trial(t *testing.T) map[string]string {
	t.Helper()
	env, err := dotenv.Parse(strings.NewReader(read(t, "configs", "docker", "trial.env")))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// services are those that there have to be.
var services = func() []string {
	all := []string{"server", "custodian", "mysql", "redis", "material", "channel", "orderer0", "orderer1", "orderer2"}
	for _, org := range organisations {
		all = append(all, "peer-"+org, "identity-"+org, "ownership-"+org)
	}
	slices.Sort(all)
	return all
}()

var organisations = []string{"carrier", "platform", "regulator"}

func TestDeployment(t *testing.T) {
	for name, env := range map[string]map[string]string{"production": docker.Required(), "trial": trial(t)} {
		t.Run(name, func(t *testing.T) {
			p := load(t, env)
			if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, services) {
				t.Fatalf("services are\n%v, want\n%v", got, services)
			}
			for name, s := range p.Services {
				for rule, check := range rules {
					for _, fault := range check(p, s) {
						t.Errorf("%s: %s: %s", name, rule, fault)
					}
				}
			}
			used := map[string]bool{}
			for _, s := range p.Services {
				for _, v := range s.Volumes {
					used[v.Source] = true
				}
				for _, x := range s.Secrets {
					used[x.Source] = true
				}
				for _, c := range s.Configs {
					used[c.Source] = true
				}
				for n := range s.Networks {
					used[n] = true
				}
			}
			for _, names := range [][]string{p.VolumeNames(), p.SecretNames(), p.ConfigNames(), p.NetworkNames()} {
				for _, name := range names {
					if !used[name] && name != "default" {
						t.Errorf("nothing uses %s", name)
					}
				}
			}
		})
	}
}

// TestEachRuleCanFail: a rule that nothing breaks would let the deployment rot in silence.
func TestEachRuleCanFail(t *testing.T) {
	broken := []struct{ name, rule, service, override, want string }{
		{"the newest image", "pinned", "redis", "image: redis:latest", "no version"},
		{"an image without a tag", "pinned", "mysql", "image: mysql", "name:tag"},
		{"a registry", "pinned", "mysql", "image: registry.example/mysql:8.4", "name:tag"},
		{"ours, from anybody", "pinned", "orderer1", "pull_policy: always", "could be pulled"},
		{"theirs, built here", "pinned", "redis", "build: {context: .}", "somebody else's name"},
		{"root", "confined", "redis", `user: "0:0"`, "user"},
		{"a user's name", "confined", "redis", "user: redis", "user"},
		{"root's group", "confined", "mysql", `group_add: ["0"]`, "root's group"},
		{"a root to write to", "confined", "server", "read_only: false", "written to"},
		{"a capability", "confined", "mysql", "cap_add: [SYS_NICE]", "capabilities"},
		{"privileges", "confined", "peer-carrier", "security_opt: !override []", "privileges"},
		{"the host", "confined", "peer-carrier", "pid: host", "host"},
		{"no health check", "watched", "redis", "healthcheck: !reset null", "health check"},
		{"a check that's off", "watched", "redis", "healthcheck: {disable: true}", "health check"},
		{"no restart", "watched", "channel", `restart: unless-stopped`, "health check"},
		{"no limit", "bounded", "server", "deploy: !reset null", "limits"},
		{"no limit of processes", "bounded", "server", "deploy: {resources: !override {limits: {memory: 1G, cpus: '1'}}}", "no limit"},
		{"an endless log", "bounded", "mysql", "logging: {options: !override {}}", "log"},
		{"an endless tmpfs", "bounded", "server", "tmpfs: [/run]", "memory"},
		{"all interfaces", "private", "server", `ports: ["8081:8080"]`, "publishes"},
		{"another port", "private", "mysql", `ports: ["127.0.0.1:3306:3306"]`, "publishes"},
		{"a way out", "private", "mysql", "networks: [edge]", "leads out"},
		{"a password", "secret", "mysql", "environment: {MYSQL_PASSWORD: cardflow}", "MYSQL_PASSWORD"},
		{"a password in the DSN", "secret", "server", "environment: {CARDFLOW_DATABASE_DSN: 'cardflow:cardflow@tcp(mysql:3306)/cardflow'}", "CARDFLOW_DATABASE_DSN"},
		{"a variable of anybody", "secret", "server", "environment: [CARDFLOW_REDIS_DB]", "shell"},
		{"a secret not granted", "secret", "redis", "secrets: !override []", "has not got"},
		{"a secret not read", "secret", "redis", "secrets: [wechat_app_secret]", "does not read"},
		{"the machine's folder", "mounted", "server", "volumes: ['/etc:/host-etc:ro']", "of the machine"},
		{"keys to write to", "mounted", "server", "volumes: ['redis-identity:/keys']", "may change the keys"},
		{"an early owner", "mounted", "mysql", "volumes: ['mysql-identity:/keys:ro']", "become the owner"},
		{"all keys", "mounted", "server", "volumes: ['material:/material:ro']", "everybody's keys"},
		{"the custodian's door", "mounted", "server", "volumes: ['custodian-socket:/door']", "too"},
		{"somebody's data", "mounted", "server", "volumes: ['mysql-data:/theirs:ro']", "too"},
		{"started is enough", "ordered", "server", "depends_on: {mysql: {condition: service_started}}", "only to have been started"},
		{"waits for ever", "ordered", "server", "depends_on: {mysql: {condition: service_completed_successfully}}", "never does"},
		{"a job's health", "ordered", "server", "depends_on: {channel: {condition: service_healthy}}", "never is"},
		{"no keys yet", "ordered", "redis", "depends_on: !reset null", "before it has keys"},
		{"nobody builds it", "built", "peer-carrier", "build: !reset null", "0 services build"},
		{"another stage", "built", "peer-carrier", "build: {target: orderer}", "stage orderer"},
		{"a secret as argument", "built", "peer-carrier", "build: {args: {TOKEN: x}}", "TOKEN"},
	}
	shown := map[string]bool{}
	// Reading takes long, so a deployment is broken in one thing for each service at a time.
	for left := broken; len(left) > 0; {
		now := map[string]int{} // by service
		override := "services:\n"
		rest := slices.Clone(left[:0])
		for i, c := range left {
			if _, taken := now[c.service]; taken {
				rest = append(rest, c)
				continue
			}
			now[c.service] = i
			override += "  " + c.service + ": {" + c.override + "}\n"
		}
		p := load(t, docker.Required(), override)
		for service, i := range now {
			c := left[i]
			shown[c.rule] = true
			found := rules[c.rule](p, p.Services[service])
			if !slices.ContainsFunc(found, func(fault string) bool { return strings.Contains(fault, c.want) }) {
				t.Errorf("%s: faults %q, want one with %q", c.name, found, c.want)
			}
		}
		left = rest
	}
	for rule := range rules {
		if !shown[rule] {
			t.Errorf("nothing shows that the rule %q can fail", rule)
		}
	}
	env := docker.Required()
	env["CARDFLOW_BIND"] = "0.0.0.0"
	p := load(t, env, "services: {server: {depends_on: !override {mysql: {condition: service_healthy}}}}\n")
	if len(private(p, p.Services["server"])) == 0 {
		t.Error("a server that is published everywhere passes")
	}
	if len(watched(p, p.Services["channel"])) == 0 {
		t.Error("a job that nobody waits for passes")
	}
}

// TestRequired: what has no default is asked for by name, with what it is.
func TestRequired(t *testing.T) {
	for name := range docker.Required() {
		env := docker.Required()
		delete(env, name)
		if _, err := docker.Load(t.Context(), root, env); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "the ") {
			t.Errorf("without %s: %v", name, err)
		}
		env[name] = ""
		if _, err := docker.Load(t.Context(), root, env); err == nil {
			t.Errorf("an empty %s is taken", name)
		}
	}
}

var variable = regexp.MustCompile(`\$\{(\w+)`)

// TestVariables: each variable of the file is documented; those of trial.env are variables of the file.
func TestVariables(t *testing.T) {
	file := read(t, docker.File)
	known := map[string]bool{}
	for _, match := range variable.FindAllStringSubmatch(file, -1) {
		known[match[1]] = true
	}
	guide := read(t, "docs", "docker.md")
	for name := range known {
		if !strings.Contains(guide, "`"+name+"`") {
			t.Errorf("docs/docker.md does not tell of %s", name)
		}
	}
	for name := range trial(t) {
		if !known[name] {
			t.Errorf("trial.env sets %s, which is no variable of %s", name, docker.File)
		}
	}
	p := load(t, docker.Required())
	for name := range p.Secrets {
		if !strings.Contains(guide, "`"+name+"`") {
			t.Errorf("docs/docker.md does not tell of the secret %s", name)
		}
	}
}

// TestSecretsStayHere: what holds secrets is neither committed nor sent to a builder.
func TestSecretsStayHere(t *testing.T) {
	kept := map[string]string{".gitignore": read(t, ".gitignore"), ".dockerignore": read(t, ".dockerignore")}
	for name, text := range kept {
		for _, what := range []string{"secrets", ".env"} {
			if !regexp.MustCompile(`(?m)^/?` + regexp.QuoteMeta(what) + `/?$`).MatchString(text) {
				t.Errorf("%s does not name %s", name, what)
			}
		}
	}
	// Everything that git leaves out, the builder is not sent either.
	ignored, err := docker.Ignored(kept[".dockerignore"])
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(kept[".gitignore"]) {
		name := strings.Trim(strings.TrimSpace(line), "/")
		if name == "" || name[0] == '#' {
			continue
		}
		if !ignored(strings.ReplaceAll(name, "*", "x")) || strings.Contains(name, "*") && !ignored("some/where/"+strings.ReplaceAll(name, "*", "x")) {
			t.Errorf(".dockerignore does not name %s", name)
		}
	}
}

// TestHosts: the hosts that Fabric's definition names are here, at the ports that it names, where those who need them are.
func TestHosts(t *testing.T) {
	p := load(t, docker.Required())
	at := map[string]string{} // network and name → service
	for name, s := range p.Services {
		for network, settings := range s.Networks {
			names := []string{name}
			if settings != nil {
				names = append(names, settings.Aliases...)
			}
			for _, alias := range names {
				if other, twice := at[network+" "+alias]; twice {
					t.Errorf("%s and %s are both %s on %s", name, other, alias, network)
				}
				at[network+" "+alias] = name
			}
		}
	}
	named := regexp.MustCompile(`(\w+\.\w+\.cardflow\.example):(\d+)|(?s)Host: (\w+\.\w+\.cardflow\.example)(?:,|\s)\s*Port: (\d+)`)
	found := 0
	for _, file := range []string{"connection.yaml", "configtx.yaml"} {
		for _, match := range named.FindAllStringSubmatch(read(t, "configs", "fabric", file), -1) {
			host, port := match[1]+match[3], match[2]+match[4]
			found++
			service := at["ledger "+host]
			want := "7051"
			if strings.HasPrefix(host, "orderer") {
				want = "7050"
			}
			if service == "" || port != want {
				t.Errorf("%s names %s:%s, which is service %q", file, host, port, service)
			}
		}
	}
	if found != 15 {
		t.Errorf("the definition names %d hosts, not 15", found)
	}
	listens := map[string]string{
		"core.yaml": "listenAddress: 0.0.0.0:7051", "orderer.yaml": "ListenPort: 7050",
	}
	for file, want := range listens {
		if !strings.Contains(read(t, "configs", "fabric", file), want) {
			t.Errorf("%s does not say %q", file, want)
		}
	}
	for _, org := range organisations {
		env := p.Services["peer-"+org].Environment
		host := "peer0." + org + ".cardflow.example"
		for name, want := range map[string]string{
			"CORE_PEER_ID": host, "CORE_PEER_ADDRESS": host + ":7051", "CORE_PEER_GOSSIP_BOOTSTRAP": host + ":7051", "CORE_PEER_GOSSIP_EXTERNALENDPOINT": host + ":7051",
			"CORE_PEER_LOCALMSPID": strings.ToUpper(org[:1]) + org[1:] + "MSP",
		} {
			if value := env[name]; value == nil || *value != want {
				t.Errorf("peer-%s: %s is not %s", org, name, want)
			}
		}
		if at["ledger "+host] != "peer-"+org || at[org+" peer-"+org] == "" {
			t.Errorf("%s is not where it has to be", host)
		}
		for _, contract := range []string{"identity", "ownership"} {
			service := contract + "-" + org
			if at[org+" "+contract+"."+org+".cardflow.example"] != service || len(p.Services[service].Networks) != 1 {
				t.Errorf("%s is not where its peer, and nobody else, finds it", service)
			}
			if value := p.Services[service].Environment["CHAINCODE_CONTRACT"]; value == nil || *value != contract {
				t.Errorf("%s does not serve %s", service, contract)
			}
		}
	}
	for _, need := range []string{"data mysql", "data redis", "data server", "data custodian", "ledger server", "ledger channel"} {
		if at[need] == "" {
			t.Errorf("nobody is %q", need)
		}
	}
	for _, service := range []string{"mysql", "redis"} {
		if len(p.Services[service].Networks) != 1 {
			t.Errorf("%s is on more networks than the server's", service)
		}
	}
}

// TestEngines: what the files of the engines promise is what the service mounts.
func TestEngines(t *testing.T) {
	p := load(t, docker.Required())
	for service, file := range map[string]string{"mysql": "mysql.cnf", "redis": "redis.conf"} {
		text := read(t, "configs", "docker", file)
		var tls string
		for _, v := range p.Services[service].Volumes {
			if v.Source == service+"-identity" {
				tls = v.Target
			}
		}
		for _, name := range []string{"ca.pem", "server.pem", "server.key"} {
			if !strings.Contains(text, tls+"/"+name) {
				t.Errorf("%s does not use %s/%s", file, tls, name)
			}
		}
	}
	for _, want := range []string{"require_secure_transport = ON", "log_bin_trust_function_creators = ON", "sync_binlog                    = 1", "innodb_flush_log_at_trx_commit = 1"} {
		if !strings.Contains(read(t, "configs", "docker", "mysql.cnf"), want) {
			t.Errorf("mysql.cnf lacks %q", want)
		}
	}
	for _, want := range []string{"port 0", "tls-port 6379", "maxmemory-policy noeviction"} {
		if !strings.Contains(read(t, "configs", "docker", "redis.conf"), want+"\n") {
			t.Errorf("redis.conf lacks %q", want)
		}
	}
	// The rights that production.yaml asks for, over two lines of comment, and no others.
	asked := regexp.MustCompile(`~cardflow:\*.*\n.*-@dangerous`).FindString(read(t, "configs", "production.yaml"))
	rights := strings.Join(strings.Fields(strings.ReplaceAll(asked, "#", " ")), " ")
	if rights == "" || !strings.Contains(read(t, "configs", "docker", "redis.sh"), " "+rights+"\"") {
		t.Errorf("redis.sh does not give the rights %q", rights)
	}
}

// TestApart: nobody but the custodian has its data, its user and its user of the database; the server may open its socket, and
// has what it needs for that.
func TestApart(t *testing.T) {
	p := load(t, docker.Required())
	server, custodian := p.Services["server"], p.Services["custodian"]
	user, group, _ := strings.Cut(custodian.User, ":")
	for name, s := range p.Services {
		its, _, _ := strings.Cut(s.User, ":")
		if name != "custodian" && its == user {
			t.Errorf("%s is the custodian's user", name)
		}
	}
	if !strings.HasSuffix(server.User, ":"+group) {
		t.Errorf("the server is %s, and the socket's group is %s", server.User, group)
	}
	for _, secret := range server.Secrets {
		if secret.Source == "mysql_password" {
			t.Error("the server has the password of the custodian's user of the database")
		}
	}
	if *server.Environment["CARDFLOW_DATABASE_DSN"] == *custodian.Environment["CARDFLOW_DATABASE_DSN"] {
		t.Error("both have one user of the database")
	}
	if name, _, _ := strings.Cut(*server.Environment["CARDFLOW_DATABASE_DSN"], "@"); *custodian.Environment["CARDFLOW_CUSTODY_SERVER_USER"] != "'"+name+"'@'%'" {
		t.Errorf("the custodian gives rights to %s, and the server is %s", *custodian.Environment["CARDFLOW_CUSTODY_SERVER_USER"], name)
	}
	for _, folder := range []string{"/var/lib/custodian", "/run/cardflow"} {
		made := false
		for _, c := range stages(t)["server"].Copies {
			made = made || c.Target == folder && slices.Contains(c.Flags, "--chown="+custodian.User)
		}
		if !made {
			t.Errorf("%s would not be the custodian's", folder)
		}
	}
}

// TestServerUser: the first start of MySQL makes the server's user, which may do nothing yet, and refuses a password that
// would say something else to MySQL.
func TestServerUser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	script := read(t, "configs", "docker", "mysql-server-user.sh")
	run := func(password string) (string, error) {
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-euc", "docker_process_sql() { cat; }\n"+script)
		cmd.Env = append(os.Environ(), "CARDFLOW_SERVER_PASSWORD_FILE="+file)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("f8a1-b2.c_3")
	want := "CREATE USER 'cardflow_server'@'%' IDENTIFIED BY 'f8a1-b2.c_3';\nGRANT ALL PRIVILEGES ON cardflow.* TO 'cardflow'@'%' WITH GRANT OPTION;\n"
	if err != nil || out != want {
		t.Errorf("%v\n%s", err, out)
	}
	for _, bad := range []string{"", "a'b", "two words", `back\slash`} {
		if out, err := run(bad); err == nil || strings.Contains(out, "CREATE") {
			t.Errorf("the password %q is taken: %s", bad, out)
		}
	}
}

// TestGrace: nobody is cut off who was promised time.
func TestGrace(t *testing.T) {
	match := regexp.MustCompile(`(?m)^  shutdown_grace: (\S+)$`).FindStringSubmatch(read(t, "configs", "production.yaml"))
	if match == nil {
		t.Fatal("production.yaml has no shutdown_grace")
	}
	grace, err := time.ParseDuration(match[1])
	if err != nil {
		t.Fatal(err)
	}
	if stop := time.Duration(*load(t, docker.Required()).Services["server"].StopGracePeriod); stop < grace+10*time.Second {
		t.Errorf("the server is killed after %s, and lets requests end for %s", stop, grace)
	}
}
