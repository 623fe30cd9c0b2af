package handler

import (
	"context"
	"net/netip"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

// Rate is so many events in so much time. The zero Rate sets no limit.
type Rate struct {
	Count int
	Per   time.Duration
}

// Limits are the guards against guessing and flooding.
type Limits struct {
	WrongCodes           Rate // wrong trade codes by one person, strictly in any window; meant for small counts
	WrongCodesPerAddress Rate
	WrongCodesPlatform   Rate // by everybody together
	LookupsPerAddress    Rate // right or wrong
	LookupsPlatform      Rate
	LoginsPerAddress     Rate // WeChat's and by password
	LoginsPerAccount     Rate // failed ones by password, strictly in any window
	RequestsPerAddress   Rate
}

// limiter counts by GCRA in Redis, for all servers together: Count at once, then one more every Per/Count.
type limiter struct{ gcra *redis_rate.Limiter }

func newLimiter(client redis.UniversalClient, prefix string) limiter {
	return limiter{redis_rate.NewLimiter(prefixed{client, prefix})}
}

// take lets an event happen, or says when the next may. code is what the person reads then.
func (l limiter) take(ctx context.Context, code, key string, rate Rate) error {
	if rate.Count == 0 {
		return nil
	}
	r, err := l.gcra.Allow(ctx, key, rate.gcra())
	if err != nil {
		return redisDown("limit", err)
	}
	if r.Allowed == 0 {
		return &refusal{code: code, retry: r.RetryAfter}
	}
	return nil
}

// peek refuses when take would, and counts nothing: for events that are counted once it is known how they ended.
func (l limiter) peek(ctx context.Context, code, key string, rate Rate) error {
	if rate.Count == 0 {
		return nil
	}
	r, err := l.gcra.AllowN(ctx, key, rate.gcra(), 0)
	if err != nil {
		return redisDown("limit", err)
	}
	// ResetAfter is how far the theoretical arrival time lies ahead; one more event must not push it beyond Per.
	if over := r.ResetAfter + rate.Per/time.Duration(rate.Count) - rate.Per; over > rounding {
		return &refusal{code: code, retry: over}
	}
	return nil
}

// rounding is what Lua's printing of times may lose.
const rounding = time.Millisecond

func (r Rate) gcra() redis_rate.Limit {
	return redis_rate.Limit{Rate: r.Count, Burst: r.Count, Period: r.Per}
}

// prefixed puts the operator's prefix before redis_rate's own, which can't be set.
type prefixed struct {
	redis.UniversalClient
	prefix string
}

func (p prefixed) keys(keys []string) []string {
	out := make([]string, len(keys))
	for i, k := range keys {
		out[i] = p.prefix + k
	}
	return out
}

func (p prefixed) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return p.UniversalClient.Eval(ctx, script, p.keys(keys), args...)
}

func (p prefixed) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return p.UniversalClient.EvalSha(ctx, sha, p.keys(keys), args...)
}

// addressKey is what a client address counts as. Who has one IPv6 address has the whole /64.
func addressKey(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return "unknown" // no address, no favours: all such clients share one count
	}
	a = a.Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64)
	return p.Addr().String()
}
