package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/types"

	"cardflow/configs/docker"
)

// deployed is the server of docker-compose.yml, with these values for the deployment's variables.
func deployed(t *testing.T, variables map[string]string) types.ServiceConfig {
	t.Helper()
	return deployedAs(t, "server", variables)
}

func deployedAs(t *testing.T, service string, variables map[string]string) types.ServiceConfig {
	t.Helper()
	p, err := docker.Load(t.Context(), "../..", variables)
	if err != nil {
		t.Fatal(err)
	}
	return p.Services[service]
}

// loaded is the configuration that a container of the service would have: the file that it mounts, its environment, and
// secrets that somebody has written down.
func loaded(t *testing.T, s types.ServiceConfig, secrets map[string]string) (Config, Faults) {
	t.Helper()
	dir := t.TempDir()
	env := docker.Environment(s)
	for _, grant := range s.Secrets {
		text, ok := secrets[grant.Source]
		if !ok {
			t.Fatalf("what is the secret %s?", grant.Source)
		}
		file := filepath.Join(dir, grant.Source)
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range env {
			env[i] = strings.ReplaceAll(env[i], "/run/secrets/"+grant.Source, file)
		}
	}
	c, err := Load(production, env)
	if err == nil {
		return c, nil
	}
	return c, err.(Faults)
}

func someSecrets() map[string]string {
	return map[string]string{"mysql_password": "f8a1", "mysql_server_password": "f8a1", "redis_password": "c77e", "wechat_app_secret": "90ab"}
}

// TestComposeProduction: the deployment is a sound production configuration.
func TestComposeProduction(t *testing.T) {
	c, faults := loaded(t, deployed(t, docker.Required()), someSecrets())
	if got := keysOf(faults); c.Mode != Production || len(got) > 0 || c.Custody.Kind != "shamir" {
		t.Errorf("mode %s, faults %q", c.Mode, got)
	}
	for what, got := range map[string]string{
		"mysql_password": c.Database.Password.Reveal(), "redis_password": c.Redis.Password.Reveal(), "wechat_app_secret": c.WeChat.AppSecret.Reveal(),
	} {
		if want := someSecrets()[what]; got != want {
			t.Errorf("%s is %q in the configuration, want %q", what, got, want)
		}
	}
	if c.Database.Driver != "mysql" || c.Database.CAFile == "" || c.Redis.Embedded || !c.Redis.TLS || c.Redis.CAFile == "" || c.Redis.Username != "cardflow" || c.Ledger.Kind != "fabric" {
		t.Errorf("the engines are not what they are in production: %+v", c)
	}
	keys, faults := loaded(t, deployedAs(t, "custodian", docker.Required()), someSecrets())
	if len(faults) > 0 || keys.Custody.Process != Own || c.Custody.Process != Own || keys.Path(keys.Custody.Socket) != c.Path(c.Custody.Socket) {
		t.Errorf("the custodian at %s, the server asks %s; faults %v", keys.Custody.Socket, c.Custody.Socket, faults)
	}
	if keys.DataDir == c.DataDir || keys.Database.DSN.Reveal() == c.Database.DSN.Reveal() || keys.Custody.ServerUser == "" || c.Custody.ServerUser != "" {
		t.Errorf("custodian and server have data in %s and %s", keys.DataDir, c.DataDir)
	}
	// Without its secrets it is told so.
	_, faults = loaded(t, deployed(t, docker.Required()), map[string]string{"mysql_server_password": "", "redis_password": "", "wechat_app_secret": ""})
	for _, key := range []string{"database.dsn", "redis.password", "wechat.app_secret"} {
		if !slices.Contains(keysOf(faults), key) {
			t.Errorf("an empty secret is no fault in %s: %v", key, faults)
		}
	}
}

// TestComposeTrial: with the variables of trial.env it starts, with the same engines.
func TestComposeTrial(t *testing.T) {
	text, err := os.ReadFile("../../configs/docker/trial.env")
	if err != nil {
		t.Fatal(err)
	}
	variables, err := dotenv.Parse(strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	s := deployed(t, variables)
	secrets := someSecrets()
	secrets["wechat_app_secret"] = "" // nobody has one to try it with
	c, faults := loaded(t, s, secrets)
	if len(faults) > 0 || c.Mode != Trial || !c.WeChat.Sandbox || c.Ledger.Kind != "fabric" || c.Database.Driver != "mysql" || c.Redis.Embedded {
		t.Errorf("mode %s, faults %v", c.Mode, faults)
	}
	if command, parsed := commandOf(t, s); command != "serve" || !parsed.Serve.Demo {
		t.Errorf("the command is %s, with demo data %t", command, parsed.Serve.Demo)
	}
	keys := deployedAs(t, "custodian", variables)
	if command, parsed := commandOf(t, keys); command != "custodian" || !parsed.Custodian.Demo {
		t.Errorf("the custodian's command is %s, with demo data %t", command, parsed.Custodian.Demo)
	}
	if c, faults := loaded(t, keys, secrets); len(faults) > 0 || c.Mode != Trial || c.Custody.Process != Own {
		t.Errorf("the custodian's mode is %s, faults %v", c.Mode, faults)
	}
}

// commandOf is what the program would understand of a service's command line.
func commandOf(t *testing.T, s types.ServiceConfig) (string, commands) {
	t.Helper()
	text, err := docker.Read("../..", docker.Dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	stages, err := docker.ParseDockerfile(text)
	if err != nil {
		t.Fatal(err)
	}
	words, err := docker.Command(s, stages)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, words)
}

func parsed(t *testing.T, words []string) (string, commands) {
	t.Helper()
	var c commands
	parser, err := kong.New(&c, kong.Exit(func(int) { t.Errorf("%v only helps", words) }))
	if err != nil {
		t.Fatal(err)
	}
	if words[0] != "/usr/local/bin/server" {
		t.Errorf("the program is %s", words[0])
	}
	k, err := parser.Parse(words[1:])
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return k.Command(), c
}

// TestComposeCommands: the program knows the commands that the deployment gives it, on the file that it mounts.
func TestComposeCommands(t *testing.T) {
	s := deployed(t, docker.Required())
	mounted := ""
	for _, c := range s.Configs {
		if c.Source == "server" {
			mounted = c.Target
		}
	}
	command, c := commandOf(t, s)
	if command != "serve" || c.Config != mounted || c.Serve.Demo {
		t.Errorf("the command is %s with %+v", command, c)
	}
	health, c := parsed(t, s.HealthCheck.Test[1:])
	if s.HealthCheck.Test[0] != "CMD" || health != "health" || c.Config != mounted {
		t.Errorf("its health is asked by %v", s.HealthCheck.Test)
	}
	keys := deployedAs(t, "custodian", docker.Required())
	if command, c := commandOf(t, keys); command != "custodian" || c.Config != mounted || c.Custodian.Demo {
		t.Errorf("the custodian's command is %s with %+v", command, c)
	}
	if health, c := parsed(t, keys.HealthCheck.Test[1:]); health != "health" || !c.Health.Custodian || c.Config != mounted {
		t.Errorf("the custodian's health is asked by %v", keys.HealthCheck.Test)
	}
	of, _ := loaded(t, keys, someSecrets())
	for _, v := range keys.Volumes {
		if !v.ReadOnly && v.Target != of.DataDir && v.Target != filepath.Dir(of.Custody.Socket) {
			t.Errorf("the custodian's data is in %s, and %s is kept", of.DataDir, v.Target)
		}
	}
	config, _ := loaded(t, s, someSecrets())
	if len(s.Ports) != 1 || !strings.HasSuffix(config.HTTP.Listen, ":8080") || s.Ports[0].Target != 8080 {
		t.Errorf("it listens on %s, and %v is published", config.HTTP.Listen, s.Ports)
	}
	for _, v := range s.Volumes {
		if !v.ReadOnly && v.Target != config.DataDir {
			t.Errorf("its data is in %s, and %s is kept", config.DataDir, v.Target)
		}
	}
	if timeout := time.Duration(*s.HealthCheck.Timeout); healthPatience >= timeout {
		t.Errorf("the server may take %s to say how it is, and is given %s", healthPatience, timeout)
	}
}
