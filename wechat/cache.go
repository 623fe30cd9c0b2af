package wechat

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// cacheTimeout bounds one Redis command: the library's cache interface carries no context.
const cacheTimeout = time.Second

// tokenStore is where access tokens are.
type tokenStore interface {
	// These are what the library asks of its cache.
	Get(key string) any
	Set(key string, val any, ttl time.Duration) error
	IsExist(key string) bool
	Delete(key string) error
	// drop forgets a key if it still has this value.
	drop(ctx context.Context, key, value string) error
}

// redisCache is Redis as the library's cache.Cache. The library ships two of its own: one in memory, which crashes
// under concurrent use, and one on go-redis v8.
//
// Redis is never the truth: when it is down, a read misses and a write is dropped, both logged; the price is one more
// request to WeChat.
type redisCache struct {
	redis  redis.UniversalClient
	prefix string
	log    *slog.Logger
}

// dropIfSame deletes a token only if it is still the rejected one: another server may have put a fresh one there since.
var dropIfSame = redis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`)

func (c *redisCache) drop(ctx context.Context, key, value string) error {
	return dropIfSame.Run(ctx, c.redis, []string{c.prefix + key}, value).Err()
}

// Get gives a string, or untyped nil on a miss. Both matter: the library asks val != nil and then asserts
// val.(string), so a typed nil, a []byte or "" in its place is a panic or an empty token.
func (c *redisCache) Get(key string) any {
	ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
	defer cancel()
	s, err := c.redis.Get(ctx, c.prefix+key).Result()
	if err != nil {
		c.lost("get", err)
		return nil
	}
	return s
}

// Set keeps val for ttl. The library subtracts 300 s from a token's life, which in the last minutes of a stable token
// leaves nothing: such a token is used once and not kept, where Redis would refuse the TTL and the library then fail
// the call that had just got its token.
func (c *redisCache) Set(key string, val any, ttl time.Duration) error {
	if ttl <= 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
	defer cancel()
	if err := c.redis.Set(ctx, c.prefix+key, val, ttl).Err(); err != nil {
		c.lost("set", err)
	}
	return nil
}

// IsExist reports whether key is there.
func (c *redisCache) IsExist(key string) bool { return c.Get(key) != nil }

// Delete forgets key; a missing one is no error.
func (c *redisCache) Delete(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), cacheTimeout)
	defer cancel()
	return c.redis.Del(ctx, c.prefix+key).Err()
}

// lost logs that Redis failed, and not with what: its errors may quote a command, and a command holds a token.
func (c *redisCache) lost(op string, err error) {
	if !errors.Is(err, redis.Nil) {
		c.log.Warn("wechat cache unavailable", slog.String("op", op), slog.Bool("timeout", errors.Is(err, context.DeadlineExceeded)))
	}
}

// memory is a process's own memory as the library's cache, for a process that has no Redis. WeChat gives two who ask for the
// stable token the same one, so that nothing is lost by not sharing it.
type memory struct {
	mu   sync.Mutex
	kept map[string]kept
}

type kept struct {
	value any
	until time.Time
}

// Get gives a value, or untyped nil on a miss.
func (m *memory) Get(key string) any {
	m.mu.Lock()
	defer m.mu.Unlock()
	if k, ok := m.kept[key]; ok && time.Now().Before(k.until) {
		return k.value
	}
	delete(m.kept, key)
	return nil
}

// Set keeps val for ttl.
func (m *memory) Set(key string, val any, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[key] = kept{val, time.Now().Add(ttl)}
	return nil
}

// IsExist reports whether key is there.
func (m *memory) IsExist(key string) bool { return m.Get(key) != nil }

// Delete forgets key; a missing one is no error.
func (m *memory) Delete(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, key)
	return nil
}

func (m *memory) drop(_ context.Context, key, value string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept[key].value == value {
		delete(m.kept, key)
	}
	return nil
}
