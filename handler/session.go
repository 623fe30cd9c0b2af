package handler

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"cardflow/ledger/request"
	"cardflow/transfer"
)

// SessionTTL is how long a login lasts without a request, and how long one of staff's may last at all: when a login ends,
// custody has said when it began.
type SessionTTL struct {
	Staff time.Duration
	Idle  time.Duration
}

// Token is what a client shows to prove its login: 256 random bits, made by custody. It is known to the client alone; Redis
// has its SHA-256, so that a copy of Redis logs nobody in.
type Token string

// Format keeps tokens out of everything that is printed; string(t) is the value.
func (Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

const tokenBytes = 32

// session is who is logged in, as Redis keeps it.
type session struct {
	Participant string       `json:"participant"`
	Role        request.Role `json:"role"`
	Person      string       `json:"person,omitempty"`
	Account     string       `json:"account,omitempty"` // the name that a staff member logs in with
	Roles       []string     `json:"roles,omitempty"`
	MustChange  bool         `json:"mustChange,omitempty"` // a first password lets its owner do one thing only: change it
	Epoch       string       `json:"epoch,omitempty"`      // of the account; see sessions.epoch
	LoginAt     time.Time    `json:"loginAt"`              // by password or WeChat code
	ExpiresAt   time.Time    `json:"expiresAt"`
	token       Token        // as it was shown
}

func (s *session) caller() transfer.Caller {
	return transfer.Caller{Participant: s.Participant, Role: s.Role, Person: s.Person, Roles: s.Roles, Session: transfer.SessionToken(s.token)}
}

// sessions keeps logins in Redis, which is never the truth: losing it, all log in again.
type sessions struct {
	redis  redis.UniversalClient
	prefix string
	ttl    SessionTTL
	clock  Clock
	random io.Reader
}

var errNoSession = refuse("UNAUTHENTICATED")

// open stores a login that custody has opened. in is what else is known of it.
func (s *sessions) open(ctx context.Context, login transfer.Session, in session) error {
	in.Participant, in.Role, in.Person, in.Roles = login.Participant, login.Role, login.Person, login.Roles
	in.LoginAt, in.ExpiresAt = login.LoginAt, login.ExpiresAt
	value, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if in.Epoch != "" {
		if err := s.redis.Expire(ctx, s.epochKey(in.Account), s.epochTTL()).Err(); err != nil {
			return redisDown("session", err)
		}
	}
	if err := s.redis.Set(ctx, s.key(Token(login.Session)), value, min(login.ExpiresAt.Sub(login.LoginAt), s.ttl.Idle)).Err(); err != nil {
		return redisDown("session", err)
	}
	return nil
}

// find answers whose token it is, and keeps the session from idling out.
func (s *sessions) find(ctx context.Context, token Token) (*session, error) {
	if raw, err := base64.RawURLEncoding.DecodeString(string(token)); err != nil || len(raw) != tokenBytes {
		return nil, errNoSession
	}
	key := s.key(token)
	// Renewed past its absolute end, a session is still over: ExpiresAt says so.
	value, err := s.redis.GetEx(ctx, key, s.ttl.Idle).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, errNoSession
	}
	if err != nil {
		return nil, redisDown("session", err)
	}
	found := session{token: token}
	if err := json.Unmarshal(value, &found); err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	if !s.clock.Now().Before(found.ExpiresAt) {
		return nil, errNoSession
	}
	if found.Account != "" {
		epoch, err := s.epoch(ctx, found.Account)
		if err != nil {
			return nil, err
		}
		if epoch != found.Epoch {
			return nil, errNoSession
		}
	}
	return &found, nil
}

// end ends the session of a token.
func (s *sessions) end(ctx context.Context, t Token) error {
	if err := s.redis.Del(ctx, s.key(t)).Err(); err != nil {
		return redisDown("session", err)
	}
	return nil
}

// epoch names the present password of an account: a session is good while its name is the account's. Read it before the
// password is checked; then a login that races with a change of password is ended by the change, whichever is stored
// first.
func (s *sessions) epoch(ctx context.Context, account string) (string, error) {
	name, err := s.redis.Get(ctx, s.epochKey(account)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", redisDown("session", err)
	}
	return name, nil
}

// revoke ends all sessions of an account by giving its password a new name. Names are random: one that Redis forgets
// never comes back to revive the sessions that it named.
func (s *sessions) revoke(ctx context.Context, account string) (epoch string, err error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(s.random, b); err != nil {
		return "", fmt.Errorf("session: randomness: %w", err)
	}
	epoch = hex.EncodeToString(b)
	if err := s.redis.Set(ctx, s.epochKey(account), epoch, s.epochTTL()).Err(); err != nil {
		return "", redisDown("session", err)
	}
	return epoch, nil
}

// epochTTL outlasts every session that was opened when it began to run.
func (s *sessions) epochTTL() time.Duration { return s.ttl.Staff + s.ttl.Idle }

func (s *sessions) key(t Token) string {
	h := sha256.Sum256([]byte(t))
	return s.prefix + "session:" + hex.EncodeToString(h[:])
}

func (s *sessions) epochKey(account string) string {
	h := sha256.Sum256([]byte(account))
	return s.prefix + "epoch:" + hex.EncodeToString(h[:])
}

// account is the one spelling of a user name, for counting and revoking.
func account(username string) string { return strings.ToLower(strings.TrimSpace(username)) }

// bearer takes the token from a request.
func bearer(h http.Header) (Token, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", errNoSession
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", errNoSession
	}
	return Token(token), nil
}
