package local

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// RedisConfig says what a private Redis is for.
type RedisConfig struct {
	Dir  string // all that it consists of; another start on the same folder goes on with its data, ports and passwords
	Tied bool   // see NewProcesses
	// Fast is for data that nobody will miss: it is gone when the server ends. Otherwise at most the last second is.
	Fast bool
}

// Redis is a private Redis server. It speaks TLS at a port of its own.
type Redis struct {
	config    RedisConfig
	processes *Processes
	state     redisState
}

// redisState is what the next start has to know.
type redisState struct {
	Port         int // TLS: the next one
	Password     string
	UserPassword string
}

const redisName = "redis"

// RedisUser is a user who may do what CardFlow's server needs, with keys and channels that begin with "cardflow:", and
// nothing else.
const RedisUser = "cardflow"

// redisRights are what README and configs/production.yaml tell an operator to give.
const redisRights = "~cardflow:* &cardflow:* -@all +@read +@write +@connection +@scripting +@pubsub +time -@dangerous"

// StartRedis starts a Redis and waits until it serves.
func StartRedis(ctx context.Context, c RedisConfig) (*Redis, error) {
	processes, err := NewProcesses(c.Dir, c.Tied)
	if err != nil {
		return nil, err
	}
	c.Dir = processes.dir
	r := &Redis{config: c, processes: processes}
	err = remembered(filepath.Join(c.Dir, "redis.json"), &r.state, func() (err error) {
		r.state.Password, r.state.UserPassword = rand.Text(), rand.Text()
		r.state.Port, err = FreePorts(2)
		return err
	})
	if err == nil {
		err = certify(c.Dir)
	}
	if err != nil {
		return nil, err
	}
	return r, r.Start(ctx)
}

// Start starts the server again after Stop or Kill, at the same address.
func (r *Redis) Start(ctx context.Context) error {
	program, err := found("redis-server", "redis-server")
	if err != nil {
		return err
	}
	lines := []string{
		"bind " + Loopback, fmt.Sprintf("port %d", r.state.Port), fmt.Sprintf("tls-port %d", r.state.Port+1), "protected-mode yes",
		fmt.Sprintf("dir %q", r.config.Dir), "daemonize no", `logfile ""`, `save ""`, "databases 64",
		fmt.Sprintf("tls-ca-cert-file %q", filepath.Join(r.config.Dir, caFile)), "tls-auth-clients no",
		fmt.Sprintf("tls-cert-file %q", filepath.Join(r.config.Dir, certFile)), fmt.Sprintf("tls-key-file %q", filepath.Join(r.config.Dir, keyFile)),
		// What is thrown out for want of room may be the count of somebody's guesses: better to refuse.
		"maxmemory 256mb", "maxmemory-policy noeviction",
		"requirepass " + r.state.Password, fmt.Sprintf("user %s on >%s %s", RedisUser, r.state.UserPassword, redisRights),
	}
	if r.config.Fast {
		lines = append(lines, "appendonly no")
	} else {
		lines = append(lines, "appendonly yes", "appendfsync everysec")
	}
	// In a file, because everybody on the machine can read command lines.
	file := filepath.Join(r.config.Dir, "redis.conf")
	if err := writeFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if err := r.processes.Start(Process{Name: redisName, Path: program, Args: []string{file}, Env: plain()}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return r.processes.WaitFor(ctx, redisName, func() error {
		client := redis.NewClient(&redis.Options{Addr: r.Addr(), Password: r.Password()})
		defer client.Close()
		return client.Ping(ctx).Err()
	})
}

// Addr is host:port without TLS, TLSAddr with it.
func (r *Redis) Addr() string    { return Address(r.state.Port) }
func (r *Redis) TLSAddr() string { return Address(r.state.Port + 1) }

// CA is the file of the certificate that vouches for the server.
func (r *Redis) CA() string { return filepath.Join(r.config.Dir, caFile) }

// Password is that of the default user, who may do anything; UserPassword that of [RedisUser].
func (r *Redis) Password() string     { return r.state.Password }
func (r *Redis) UserPassword() string { return r.state.UserPassword }

// Kill ends the server as a crash does.
func (r *Redis) Kill() error { return r.processes.Kill(redisName) }

// Stop ends it as an operator does.
func (r *Redis) Stop() error { return r.processes.Stop(10*time.Second, redisName) }

// Running reports whether it runs.
func (r *Redis) Running() bool { return r.processes.Running(redisName) }
