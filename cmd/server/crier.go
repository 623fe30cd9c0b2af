package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// crier carries word of what has moved between servers, by Redis's publish and subscribe. What is told while Redis is
// away, or faster than it takes it, is lost: the servers find it out by looking.
type crier struct {
	redis   redis.UniversalClient
	channel string
	self    string      // begins our messages: we get them back
	words   chan string // to be told
	log     *slog.Logger
}

const (
	cryQueue   = 4096
	cryAtOnce  = 256 // words of one message
	cryTimeout = time.Second
)

func newCrier(client redis.UniversalClient, prefix string, log *slog.Logger) *crier {
	return &crier{redis: client, channel: prefix + "moved", self: rand.Text(), words: make(chan string, cryQueue), log: log}
}

// Cry implements transfer.Crier.
func (c *crier) Cry(names ...string) {
	for _, name := range names {
		select {
		case c.words <- name:
		default:
			return
		}
	}
}

// Hear implements transfer.Crier. It also tells what Cry has been given, while it lasts.
func (c *crier) Hear(ctx context.Context, heard func(names []string)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.tell(ctx)
	}()
	defer func() { <-done }()
	sub := c.redis.Subscribe(ctx, c.channel) // connects again by itself
	defer sub.Close()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-sub.Channel():
			if !ok {
				return
			}
			if names := strings.Split(m.Payload, "\n"); names[0] != c.self {
				heard(names[1:])
			}
		}
	}
}

// tell publishes words, those that have come meanwhile together.
func (c *crier) tell(ctx context.Context) {
	down := false
	for {
		var first string
		select {
		case <-ctx.Done():
			return
		case first = <-c.words:
		}
		message, seen := []string{c.self, first}, map[string]bool{first: true}
		for more := true; more && len(message) <= cryAtOnce; {
			select {
			case word := <-c.words:
				if !seen[word] {
					seen[word] = true
					message = append(message, word)
				}
			default:
				more = false
			}
		}
		try, cancel := context.WithTimeout(ctx, cryTimeout)
		err := c.redis.Publish(try, c.channel, strings.Join(message, "\n")).Err()
		cancel()
		if failed := err != nil && ctx.Err() == nil; failed != down {
			down = failed
			c.log.Warn("wake-ups of other servers", "lost", down, "error", err)
		}
	}
}
