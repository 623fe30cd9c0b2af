package wechat

// In the package itself, because what the library may see of Redis is nobody else's business.

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cardflow/handler/redistest"
)

func testCache(t *testing.T) (*redisCache, *redistest.Server) {
	server := redistest.Start(t)
	options := server.Options()
	options.MaxRetries = -1
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return &redisCache{client, "p:", slog.New(slog.NewTextHandler(io.Discard, nil))}, server
}

// The library asks val != nil, then asserts val.(string): a typed nil would panic.
func TestCacheMissIsUntypedNilAndHitIsString(t *testing.T) {
	c, server := testCache(t)
	if got := c.Get("k"); got != nil {
		t.Fatalf("a miss gives %T %v", got, got)
	}
	if err := c.Set("k", "v", time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, ok := c.Get("k").(string); !ok || got != "v" {
		t.Errorf("a hit gives %T %v", c.Get("k"), c.Get("k"))
	}
	if !server.Exists("p:k") {
		t.Error("not under its prefix")
	}
	if !c.IsExist("k") || c.IsExist("other") {
		t.Error("IsExist")
	}
	server.Forward(time.Minute)
	if got := c.Get("k"); got != nil {
		t.Errorf("after its time: %v", got)
	}
}

func TestCacheDelete(t *testing.T) {
	c, _ := testCache(t)
	if err := c.Set("k", "v", time.Minute); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Delete("k"); err != nil || c.Get("k") != nil {
			t.Errorf("%v, %v", err, c.Get("k"))
		}
	}
}

func TestCacheKeepsNothingWithoutALife(t *testing.T) {
	c, server := testCache(t)
	for _, ttl := range []time.Duration{0, -time.Second} {
		if err := c.Set("k", "v", ttl); err != nil || server.Exists("p:k") {
			t.Errorf("%s: %v", ttl, err)
		}
	}
}

func TestCacheOfADeadRedisMisses(t *testing.T) {
	c, server := testCache(t)
	server.SetDown(true)
	if err := c.Set("k", "v", time.Minute); err != nil {
		t.Errorf("set: %v", err)
	}
	if got := c.Get("k"); got != nil || c.IsExist("k") {
		t.Errorf("a dead Redis gives %T %v", got, got)
	}
}
