package handler

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"
)

// guard bounds how often one subject (a person, an account) may guess wrong: strictly Count in any window of Per, also
// when guesses arrive at once and at several servers. A right guess forgives nothing.
//
// Counting after the fact would not do: a hundred guesses in parallel would all pass before the first is counted. So a
// guess takes a place before it is looked at, and keeps it if it was wrong. Equal guesses in flight share a place:
// repeating one teaches nothing, and a person whose phone sends a right code five times is not locked out.
type guard struct {
	redis  redis.UniversalClient
	prefix string
	random io.Reader
	mac    []byte // guesses are secrets: Redis sees them under a key of this process
}

// holdPlace is how long a guess keeps its place if this server dies while it looks at it.
const holdPlace = time.Minute

func newGuard(client redis.UniversalClient, prefix string, random io.Reader) (*guard, error) {
	g := &guard{redis: client, prefix: prefix + "guard:", random: random, mac: make([]byte, 32)}
	if _, err := io.ReadFull(random, g.mac); err != nil {
		return nil, fmt.Errorf("randomness: %w", err)
	}
	return g, nil
}

// enterScript answers how many ms the subject must wait; 0 lets the guess in. KEYS: wrong guesses by time, guesses in
// flight by when they are given up. ARGV: window in ms, count, guess, hold in ms.
//
// Redis's clock is the one that all servers share.
var enterScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local window, most = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local wrong = redis.call('ZCARD', KEYS[1])
local flying = redis.call('ZCARD', KEYS[2])
if redis.call('ZSCORE', KEYS[2], ARGV[3]) then flying = flying - 1 end
if wrong >= most then
  local last = redis.call('ZRANGE', KEYS[1], wrong - most, wrong - most, 'WITHSCORES')
  return math.max(1, tonumber(last[2]) + window - now)
end
if wrong + flying >= most then return 1000 end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 0
`)

// leaveScript gives the place up and, for a wrong guess, counts it. ARGV: window in ms, guess, a name for this wrong
// guess or nothing.
var leaveScript = redis.NewScript(`
redis.call('ZREM', KEYS[2], ARGV[2])
if ARGV[3] ~= '' then
  local t = redis.call('TIME')
  redis.call('ZADD', KEYS[1], t[1] * 1000 + math.floor(t[2] / 1000), ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
`)

// enter lets a guess of a subject in, or refuses it with code. The caller must call leave once he knows.
func (g *guard) enter(ctx context.Context, code, subject, guess string, rate Rate) (leave func(wrong bool) error, err error) {
	if rate.Count == 0 {
		return func(bool) error { return nil }, nil
	}
	// Braces: in a cluster both keys lie on one node.
	keys := []string{g.prefix + "{" + subject + "}:wrong", g.prefix + "{" + subject + "}:flying"}
	h := hmac.New(sha256.New, g.mac)
	io.WriteString(h, guess)
	name := hex.EncodeToString(h.Sum(nil)[:16])
	window := rate.Per.Milliseconds()
	wait, err := enterScript.Run(ctx, g.redis, keys, window, rate.Count, name, holdPlace.Milliseconds()).Int64()
	if err != nil {
		return nil, redisDown("guard", err)
	}
	if wait > 0 {
		return nil, &refusal{code: code, retry: time.Duration(wait) * time.Millisecond}
	}
	return func(wrong bool) error {
		var entry string
		if wrong {
			b := make([]byte, 16)
			if _, err := io.ReadFull(g.random, b); err != nil {
				return fmt.Errorf("randomness: %w", err)
			}
			entry = hex.EncodeToString(b)
		}
		// Whoever hangs up after a wrong guess has made it all the same.
		if err := leaveScript.Run(context.WithoutCancel(ctx), g.redis, keys, window, name, entry).Err(); err != nil {
			return redisDown("guard", err)
		}
		return nil
	}, nil
}
