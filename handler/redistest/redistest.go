// Package redistest gives tests a Redis: an empty one, whose time they move, and which they can take away.
//
// It is one in process, or, where CARDFLOW_TEST_REDIS_ADDR names a server, a database of its own on that. A real one's
// clock can't be moved: there everything that CardFlow keeps is made older instead.
package redistest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// The variables that name a server for tests. Its databases are emptied.
const (
	AddrVariable     = "CARDFLOW_TEST_REDIS_ADDR"
	PasswordVariable = "CARDFLOW_TEST_REDIS_PASSWORD"
)

// Server is a Redis of one test.
type Server struct {
	t     testing.TB
	mini  *miniredis.Miniredis // nil: a real one
	now   time.Time            // miniredis's
	addr  string
	db    int
	admin *redis.Client

	mu    sync.Mutex
	down  bool
	conns map[*conn]bool
}

// Start starts an empty Redis, until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, addr: os.Getenv(AddrVariable), conns: map[*conn]bool{}}
	if s.addr == "" {
		s.mini = miniredis.RunT(t)
		s.addr, s.now = s.mini.Addr(), time.Now()
		s.mini.SetTime(s.now)
	} else {
		s.claim()
	}
	s.admin = redis.NewClient(&redis.Options{Addr: s.addr, Password: os.Getenv(PasswordVariable), DB: s.db})
	t.Cleanup(func() { _ = s.admin.Close() })
	return s
}

// databases is how many a Redis has by default. The first one says whose the others are.
const databases = 16

// claimed is how long a test may keep a database; whoever is killed leaves it until then.
const claimed = 15 * time.Minute

// claim waits for a database that no other test has, in this process or another, and empties it.
func (s *Server) claim() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), claimed)
	defer cancel()
	book := redis.NewClient(&redis.Options{Addr: s.addr, Password: os.Getenv(PasswordVariable)})
	token := rand.Text()
	for s.db == 0 {
		for n := 1; n < databases && s.db == 0; n++ {
			mine, err := book.SetNX(ctx, fmt.Sprint("redistest:", n), token, claimed).Result()
			if err != nil {
				s.t.Fatalf("the Redis of %s: %v", AddrVariable, err)
			}
			if mine {
				s.db = n
			}
		}
		if s.db == 0 {
			select {
			case <-ctx.Done():
				s.t.Fatal("every database is another test's")
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	own := redis.NewClient(&redis.Options{Addr: s.addr, Password: os.Getenv(PasswordVariable), DB: s.db})
	if err := own.FlushDB(ctx).Err(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		err := own.FlushDB(context.Background()).Err()
		err = errors.Join(err, book.Del(context.Background(), fmt.Sprint("redistest:", s.db)).Err(), own.Close(), book.Close())
		if err != nil {
			s.t.Error(err)
		}
	})
}

// Options are those of a client.
func (s *Server) Options() *redis.Options {
	return &redis.Options{Addr: s.addr, Password: os.Getenv(PasswordVariable), DB: s.db, Dialer: s.dial}
}

// Client makes a client that is closed when the test ends.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(s.Options())
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// conn is a connection that SetDown breaks.
type conn struct {
	net.Conn
	s *Server
}

func (c *conn) Close() error {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	delete(c.s.conns, c)
	return c.Conn.Close()
}

func (s *Server) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("the test's Redis is down")
	}
	raw, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{raw, s}
	s.conns[c] = true
	return c, nil
}

// SetDown takes the Redis away from its clients, or gives it back, with all that it holds.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
	if down {
		for c := range s.conns {
			_ = c.Conn.Close()
		}
	}
}

// Flush makes it forget everything, as a restart does of one that keeps nothing on a disk.
func (s *Server) Flush() { s.must(s.admin.FlushDB(context.Background()).Err()) }

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// older makes all keys of a database older by ARGV[1] ms. What holds times itself is known by its kind: the counts of
// redis_rate are strings of seconds, and sorted sets are guesses by the ms at which they were made.
var older = redis.NewScript(`
local by = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, left = redis.call('TYPE', key).ok, redis.call('PTTL', key)
  if left >= 0 and left <= by then
    redis.call('DEL', key)
  else
    if kind == 'zset' then
      local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
      for i = 1, #all, 2 do redis.call('ZADD', key, tonumber(all[i + 1]) - by, all[i]) end
    elseif kind == 'string' and string.find(key, 'rate:', 1, true) then
      redis.call('SET', key, string.format('%.17g', tonumber(redis.call('GET', key)) - by / 1000), 'KEEPTTL')
    end
    if left >= 0 then redis.call('PEXPIRE', key, left - by) end
  end
end
return 0`)

// Forward moves its clock.
func (s *Server) Forward(d time.Duration) {
	s.t.Helper()
	if s.mini != nil {
		s.now = s.now.Add(d)
		s.mini.SetTime(s.now)
		s.mini.FastForward(d)
		return
	}
	s.must(older.Run(context.Background(), s.admin, nil, d.Milliseconds()).Err())
}

// Keys lists all keys, in order.
func (s *Server) Keys() []string {
	s.t.Helper()
	keys, err := s.admin.Keys(context.Background(), "*").Result()
	s.must(err)
	slices.Sort(keys)
	return keys
}

// Exists reports whether there is a key.
func (s *Server) Exists(key string) bool {
	s.t.Helper()
	n, err := s.admin.Exists(context.Background(), key).Result()
	s.must(err)
	return n == 1
}

// Get is the string at a key, "" if there is none.
func (s *Server) Get(key string) string {
	s.t.Helper()
	value, err := s.admin.Get(context.Background(), key).Result()
	if !errors.Is(err, redis.Nil) {
		s.must(err)
	}
	return value
}

// Set stores a string, for as long as the one that was there.
func (s *Server) Set(key, value string) {
	s.t.Helper()
	s.must(s.admin.Set(context.Background(), key, value, redis.KeepTTL).Err())
}

// TTL is how long a key lives; not positive if it lives for ever.
func (s *Server) TTL(key string) time.Duration {
	s.t.Helper()
	d, err := s.admin.TTL(context.Background(), key).Result()
	s.must(err)
	return d
}

// Dump writes down everything, for tests that look for what must not be there.
func (s *Server) Dump() string {
	s.t.Helper()
	ctx := context.Background()
	var b strings.Builder
	for _, key := range s.Keys() {
		fmt.Fprintln(&b, key)
		switch kind := s.admin.Type(ctx, key).Val(); kind {
		case "string":
			fmt.Fprintln(&b, s.admin.Get(ctx, key).Val())
		case "zset":
			fmt.Fprintln(&b, s.admin.ZRange(ctx, key, 0, -1).Val())
		case "hash":
			all := s.admin.HGetAll(ctx, key).Val()
			for _, field := range slices.Sorted(maps.Keys(all)) {
				fmt.Fprintln(&b, field, all[field])
			}
		case "none": // it has just expired
		default:
			s.t.Fatalf("a %s is new here: write it down too", kind)
		}
	}
	return b.String()
}
