package ledgertest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"cardflow/gm"
	"cardflow/iccid"
	"cardflow/ledger"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
)

// T is what a stage needs of a test: *testing.T and *rapid.T have it.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Stage is a fresh ledger with the real contracts, two administrators, a platform and a regulator on it. Its methods
// build signed requests by hand, the way a participant does, so that a test can bend each of them before it goes out.
// A Stage belongs to one goroutine.
type Stage struct {
	Ledger    ledger.Ledger
	Random    io.Reader
	Admins    []*Actor // two
	Platform  *Actor   // registrar, ticket, release, anchor
	Regulator *Actor
	IssueKey  []byte // the key whose commitment Init pinned

	names   int
	signers map[*gm.PrivateKey]*signer
}

// NewEmptyStage is a stage on a ledger that nobody has initialised: there is nobody on it yet.
func NewEmptyStage(l ledger.Ledger) *Stage {
	return &Stage{Ledger: l, Random: rand.Reader, signers: map[*gm.PrivateKey]*signer{}}
}

// NewStage initialises the identity contract of a fresh ledger and registers the platform and a regulator.
func NewStage(t T, l ledger.Ledger) *Stage {
	t.Helper()
	s := NewEmptyStage(l)
	s.IssueKey = s.bytes(32)
	body := request.Init{IssueKeyCommitment: request.IssueKeyCommitment(s.IssueKey)}
	for range 2 {
		a := s.Stranger(request.Administrator)
		s.Admins = append(s.Admins, a)
		body.Administrators = append(body.Administrators, s.Registration(a))
	}
	s.Must(t, Signed{Request: request.New(l.Channel(), body)})
	s.Platform = s.Join(t, request.Platform)
	s.Regulator = s.Join(t, request.Regulator)
	return s
}

// Signed is a signed request with its openings: all that goes to a ledger.
type Signed struct {
	Request  request.Request
	Proof    request.Proof
	Openings request.Openings
}

// Sign signs a body by each actor, good for an hour.
func (s *Stage) Sign(body request.Body, by ...*Actor) Signed {
	return s.SignUntil(s.Now().Add(time.Hour), body, by...)
}

// SignUntil signs a body by each actor, good until notAfter.
func (s *Stage) SignUntil(notAfter time.Time, body request.Body, by ...*Actor) Signed {
	c := Signed{Request: request.New(s.Ledger.Channel(), body)}
	for _, a := range by {
		c.Proof.Signatures = append(c.Proof.Signatures, s.Signature(c.Request, a, notAfter))
	}
	return c
}

// Signature is an actor's signature over a request.
func (s *Stage) Signature(r request.Request, by *Actor, notAfter time.Time) request.Signature {
	id, at := by.Key.Public().KeyID(), notAfter.UnixMilli()
	return request.Signature{KeyID: id, NotAfter: at, Bytes: s.sign(by.Key, r.SigningBytes(id, at))}
}

// With returns the request with these lots opened as well.
func (c Signed) With(lots ...Lot) Signed {
	opened := map[string]request.LotOpening{}
	for h, o := range c.Openings.Lots {
		opened[h] = o
	}
	for _, l := range lots {
		opened[l.Hash] = l.Opening
	}
	c.Openings.Lots = opened
	return c
}

// Submit sends a signed request in a transaction of its own.
func (s *Stage) Submit(c Signed) (ledger.Commit, error) {
	return s.SubmitWhile(c, nil)
}

// SubmitWhile sends a signed request, and calls sending when it has been endorsed and is not sent yet: what commits in
// there is a race that this request has lost.
func (s *Stage) SubmitWhile(c Signed, sending func() error) (ledger.Commit, error) {
	p, err := s.Ledger.Prepare(c.Request.Contract, c.Request.Function, [][]byte{c.Request.Args, c.Proof.Encode()})
	if err != nil {
		return ledger.Commit{}, err
	}
	return s.Ledger.Submit(context.Background(), p, c.Openings.Transient(), sending)
}

// Must sends a request that has to commit.
func (s *Stage) Must(t T, c Signed) ledger.Commit {
	t.Helper()
	done, err := s.Submit(c)
	if err != nil {
		t.Fatalf("%s: %v", c.Request.Function, err)
	}
	return done
}

// Refused sends a request that the contract has to refuse with a code.
func (s *Stage) Refused(t T, code string, c Signed) *contract.Error {
	t.Helper()
	_, err := s.Submit(c)
	return mustRefuse(t, c.Request.Function, code, err)
}

func mustRefuse(t T, what, code string, err error) *contract.Error {
	t.Helper()
	var refusal *contract.Error
	if !errors.As(err, &refusal) || refusal.Code != code || ledger.ClassOf(err) != ledger.Refused {
		t.Errorf("%s: got %v, want it refused with %s", what, err, code)
		return &contract.Error{}
	}
	return refusal
}

// Query asks a contract and decodes its answer into the value.
func (s *Stage) Query(t T, into any, contract, function string, args ...string) {
	t.Helper()
	b, err := s.ask(contract, function, args)
	if err != nil {
		t.Fatalf("%s%v: %v", function, args, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s%v: %v", function, args, err)
	}
}

// QueryRefused asks what the contract has to refuse with a code.
func (s *Stage) QueryRefused(t T, code, contract, function string, args ...string) *contract.Error {
	t.Helper()
	_, err := s.ask(contract, function, args)
	return mustRefuse(t, function, code, err)
}

func (s *Stage) ask(contract, function string, args []string) ([]byte, error) {
	var raw [][]byte
	for _, a := range args {
		raw = append(raw, []byte(a))
	}
	return s.Ledger.Query(context.Background(), contract, function, raw...)
}

// Now is the ledger's time.
func (s *Stage) Now() time.Time {
	if l, ok := s.Ledger.(Timed); ok {
		return l.Now()
	}
	return time.Now()
}

// Later moves the ledger's clock, if a test can move it at all: see Timed.
func (s *Stage) Later(d time.Duration) { s.Ledger.(Timed).Advance(d) }

// Lot is a lot with what only its owner knows: the cards and the opening.
type Lot struct {
	Hash    string
	Set     iccid.Set
	Opening request.LotOpening
}

// Lot makes a lot of cards, with a salt of its own: the same cards make another lot each time.
func (s *Stage) Lot(set iccid.Set) Lot {
	hash, opening := request.OpeningOf(set, [32]byte(s.bytes(32)))
	return Lot{hash, set, opening}
}

// Hashes names lots.
func Hashes(lots ...Lot) []string {
	var out []string
	for _, l := range lots {
		out = append(out, l.Hash)
	}
	return out
}

// Name makes a name that no participant of this stage has.
func (s *Stage) Name(prefix string) string {
	s.names++
	return fmt.Sprintf("%s-%d", prefix, s.names)
}

func (s *Stage) bytes(n int) []byte {
	b := make([]byte, n)
	if _, err := io.ReadFull(s.Random, b); err != nil {
		panic(err) // a test without randomness can't go on
	}
	return b
}

func (s *Stage) id() string { return hex.EncodeToString(s.bytes(16)) }

func (s *Stage) sign(k *gm.PrivateKey, message []byte) gm.Signature {
	by, ok := s.signers[k]
	if !ok {
		by = newSigner(k)
		s.signers[k] = by
	}
	return by.sign(message)
}
