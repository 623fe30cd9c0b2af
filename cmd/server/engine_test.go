package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"cardflow/model"
	"cardflow/model/modeltest"
)

// The tests' servers run on what CARDFLOW_TEST_DATABASE says, and on the Redis that CARDFLOW_TEST_REDIS_ADDR names or the
// one in process. A MySQL database belongs to a data directory and is named after it, so that a server in a process of
// its own finds it by its command line.

const (
	redisAddrVariable     = "CARDFLOW_TEST_REDIS_ADDR"
	redisPasswordVariable = "CARDFLOW_TEST_REDIS_PASSWORD"
)

var places struct {
	sync.Mutex
	byDir map[string]*modeltest.Place
}

// placeOf is the database of a data directory, nil on SQLite: there it is a file in the directory.
func placeOf(t testing.TB, dir string) *modeltest.Place {
	t.Helper()
	if modeltest.Engine(t) == model.SQLite {
		return nil
	}
	dir = absolute(t, dir)
	places.Lock()
	defer places.Unlock()
	if places.byDir == nil {
		places.byDir = map[string]*modeltest.Place{}
	}
	p := places.byDir[dir]
	if p == nil {
		p = modeltest.Named(t, dir)
		places.byDir[dir] = p
	}
	return p
}

func absolute(t testing.TB, dir string) string {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// engines makes a configuration use the run's engines, for a data directory.
func engines(t testing.TB, c *Config) {
	t.Helper()
	if p := placeOf(t, c.DataDir); p != nil {
		c.Database = DatabaseConfig{Driver: p.Config.Driver, DSN: NewSecret(p.Config.DSN)}
	}
	if addr := os.Getenv(redisAddrVariable); addr != "" {
		// A prefix of its own for each start: like the Redis in process, it has forgotten everything.
		c.Redis = RedisConfig{Addr: addr, Password: NewSecret(os.Getenv(redisPasswordVariable)), KeyPrefix: "test-" + rand.Text() + ":"}
	}
}

// server is the command "server" of the tests: the real one, on the run's engines.
func server() {
	env, err := engineVariables(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if _, set := os.LookupEnv(name); !set {
			os.Setenv(name, value)
		}
	}
	if file := os.Getenv(deathVariable); file != "" {
		at = deathIn(file)
	}
	main()
}

// engineVariables are those that make a server with this command line use the run's engines. What its configuration file
// says of an engine stays as it is.
func engineVariables(args []string) (env []string, err error) {
	dir, config := "", ""
	for i, arg := range args {
		switch {
		case i+1 == len(args):
		case arg == "--data", arg == "--keep":
			dir = args[i+1]
		case arg == "--config":
			config = args[i+1]
		}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	own := func(section string) bool {
		text, err := os.ReadFile(config)
		return err == nil && regexp.MustCompile(`(?m)^`+section+`:`).Match(text)
	}
	if os.Getenv(modeltest.EngineVariable) == model.MySQL && !own("database") {
		dsn, err := modeltest.NamedDSN(dir)
		if err != nil {
			return nil, err
		}
		env = append(env, "CARDFLOW_DATABASE_DRIVER=mysql", "CARDFLOW_DATABASE_DSN="+dsn)
	}
	if addr := os.Getenv(redisAddrVariable); addr != "" && !own("redis") {
		env = append(env, "CARDFLOW_REDIS_EMBEDDED=false", "CARDFLOW_REDIS_ADDR="+addr, "CARDFLOW_REDIS_PASSWORD="+os.Getenv(redisPasswordVariable),
			"CARDFLOW_REDIS_KEY_PREFIX=test-"+rand.Text()+":")
	}
	return env, nil
}

// TestRunIsOnItsEngines: a run that meant MySQL and took SQLite would pass, and prove nothing.
func TestRunIsOnItsEngines(t *testing.T) {
	t.Parallel()
	dir := demoWorld(t)
	s := openSite(t, dir)
	if got, want := s.DB.Driver(), modeltest.Engine(t); got != want {
		t.Errorf("a site runs on %s, want %s", got, want)
	}
	if got, want := s.Config.Redis.Embedded, os.Getenv(redisAddrVariable) == ""; got != want {
		t.Errorf("its Redis is in process: %t, want %t", got, want)
	}
	// What a process left shows what it ran on.
	if _, err := os.Stat(filepath.Join(dir, "cardflow.db")); (err == nil) != (modeltest.Engine(t) == model.SQLite) {
		t.Errorf("the demo's SQLite file: %v", err)
	}
	if r := s.fsck(); r.Cards != 1000 {
		t.Errorf("%d cards", r.Cards)
	}
}
