package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// openRedis connects to Redis, or runs one in process. That one forgets everything at a restart: people log in again.
func (a *App) openRedis(ctx, run context.Context) error {
	c := a.Config.Redis
	addr := c.Addr
	if c.Embedded {
		m := miniredis.NewMiniRedis()
		if err := m.StartAddr("127.0.0.1:0"); err != nil {
			return fmt.Errorf("redis in process: %w", err)
		}
		a.onClose(func() error { m.Close(); return nil })
		addr = m.Addr()
		go tick(run, m)
	}
	options := &redis.Options{
		Addr: addr, Username: c.Username, Password: c.Password.Reveal(), DB: c.DB,
		// A Redis that hangs must not hold requests up for longer than people wait; they are told to come back.
		DialTimeout: redisPatience, ReadTimeout: redisPatience, WriteTimeout: redisPatience, PoolTimeout: 2 * redisPatience, MaxRetries: 1,
		ContextTimeoutEnabled: true,
	}
	if c.TLS {
		roots, err := a.authority("redis.ca_file", c.CAFile)
		if err != nil {
			return err
		}
		options.TLSConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	quietRedis()
	a.Redis = redis.NewClient(options)
	a.onClose(a.Redis.Close)
	if err := a.Redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return nil
}

// quietRedis keeps go-redis from writing to standard error by itself: what goes wrong comes back as errors.
var quietRedis = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

// Printf implements go-redis's logger.
func (silent) Printf(context.Context, string, ...any) {}

// redisPatience is how long one answer of Redis may take, or one connection.
const redisPatience = 2 * time.Second

// tick moves the clock of a Redis in process, which expires nothing by itself.
func tick(ctx context.Context, m *miniredis.Miniredis) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			m.FastForward(now.Sub(last))
			last = now
		}
	}
}
