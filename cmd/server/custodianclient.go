package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"cardflow/custody"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// remote is custody in a process of its own, as the web process sees it.
type remote struct{ http *http.Client }

var _ keeper = remote{}

// newRemote speaks to the custodian on connections that dial makes, whether it is there yet or not.
func newRemote(dial func(ctx context.Context) (net.Conn, error)) remote {
	return remote{&http.Client{Transport: &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute, DisableCompression: true,
	}}}
}

// bySocket connects to a Unix socket.
func bySocket(path string) func(ctx context.Context) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 2 * time.Second}
	return func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "unix", path) }
}

// asks makes a call. An error that the custodian answers means here what it meant there. Where there is no answer it is
// transfer.ErrCustodyAway: what was asked for may have been done, and asking again finds out.
func asks[R any](ctx context.Context, c remote, name string, arguments any) (out R, err error) {
	b, err := json.Marshal(arguments)
	if err != nil {
		return out, err
	}
	defer clear(b)
	return sends[R](ctx, c, name, bytes.NewReader(b))
}

// sends makes a call whose arguments are written already, or are being written.
func sends[R any](ctx context.Context, c remote, name string, arguments io.Reader) (out R, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://custodian"+callPath+name, arguments)
	if err != nil {
		return out, err
	}
	r.Header.Set("Content-Type", "application/json")
	if token := transfer.SessionOf(ctx); token != "" {
		r.Header.Set(sessionName, string(token))
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return out, away(ctx, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if err != nil {
		return out, away(ctx, err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return out, json.Unmarshal(body, &out)
	case http.StatusUnprocessableEntity:
		var f fault
		if err := json.Unmarshal(body, &f); err != nil {
			return out, fmt.Errorf("custodian: %s: %w", name, err)
		}
		return out, f.err()
	}
	return out, fmt.Errorf("custodian: %s: status %d", name, answer.StatusCode)
}

// away is what it is not to get an answer. Whoever hung up himself isn't told that custody is away.
func away(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("custodian: %w", ctx.Err())
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the path of the socket
	}
	return fmt.Errorf("%w: %w: %w", transfer.ErrCustodyAway, model.ErrUnavailable, err)
}

// tell makes a call that answers nothing.
func tell(ctx context.Context, c remote, name string, arguments any) error {
	_, err := asks[none](ctx, c, name, arguments)
	return err
}

func (c remote) Enrol(ctx context.Context, owner string, role request.Role, slot string) (request.NewKey, error) {
	return asks[request.NewKey](ctx, c, "Enrol", enrolCall{owner, role, slot})
}

// EnrolAll is in the name of him whose session the call has: what the web process says of that counts for nothing.
func (c remote) EnrolAll(ctx context.Context, owners []string, role request.Role, slot, _ string) (keys []request.NewKey, made int, err error) {
	answer, err := asks[enrolledAnswer](ctx, c, "EnrolAll", enrolAllCall{owners, role, slot})
	for _, owner := range owners {
		keys = append(keys, answer.Keys[owner])
	}
	return keys, answer.Made, err
}

// AddConsumers implements transfer.Accounts.
func (c remote) AddConsumers(ctx context.Context, appID string, openIDs []string) error {
	return tell(ctx, c, "AddConsumers", addConsumersCall{appID, openIDs})
}

func (c remote) Authorise(ctx context.Context, session transfer.SessionToken, subject string, body request.Body, notAfter int64) error {
	return tell(ctx, c, "Authorise", authoriseCall{session, subject, typed(body), notAfter})
}

func (c remote) AuthoriseParts(ctx context.Context, asked string, terms request.Issue, parts []transfer.Part) error {
	return tell(ctx, c, "AuthoriseParts", partsCall{asked, terms, parts})
}

func (c remote) AuthoriseDevice(ctx context.Context, session transfer.SessionToken, asked string, notAfter int64) error {
	return tell(ctx, c, "AuthoriseDevice", deviceCall{Session: session, Asked: asked, NotAfter: notAfter})
}

func (c remote) NameDevice(ctx context.Context, asked string, body request.PublishKey) error {
	return tell(ctx, c, "NameDevice", deviceCall{Asked: asked, Body: typed(body)})
}

func (c remote) ActiveKey(ctx context.Context, owner, slot string) (string, error) {
	return asks[string](ctx, c, "ActiveKey", enrolCall{Owner: owner, Slot: slot})
}

func (c remote) Sign(ctx context.Context, ask transfer.Ask, body request.Body) (request.Signature, error) {
	return asks[request.Signature](ctx, c, "Sign", signCall{ask, typed(body)})
}

func (c remote) CloseAttempt(ctx context.Context, ask transfer.Ask, why transfer.AttemptEnd) error {
	return tell(ctx, c, "CloseAttempt", closeCall{ask, why})
}

func (c remote) Standing(ctx context.Context, req request.Request, sig request.Signature) (transfer.Standing, error) {
	return asks[transfer.Standing](ctx, c, "Standing", evidenceCall{Request: req, Signature: sig})
}

func (c remote) Adopt(ctx context.Context, txID string, req request.Request, sig request.Signature) error {
	return tell(ctx, c, "Adopt", evidenceCall{txID, req, sig})
}

func (c remote) Restore(ctx context.Context, key model.CustodyKey) error {
	return tell(ctx, c, "Restore", key)
}

func (c remote) VerifySignLog(ctx context.Context, find func(subject, problem string)) error {
	found, err := asks[[]signLogFault](ctx, c, "VerifySignLog", none{})
	for _, f := range found {
		find(f.Subject, f.Problem)
	}
	return err
}

func (c remote) Reconciled(ctx context.Context) error { return tell(ctx, c, "Reconciled", none{}) }

func (c remote) OrderKey(ctx context.Context, keyID, what, actor string) (transfer.KeyWish, error) {
	return asks[transfer.KeyWish](ctx, c, "OrderKey", keyCall{keyID, what, actor})
}

func (c remote) KeyWishes(ctx context.Context, after string, limit int) ([]transfer.KeyWish, error) {
	return asks[[]transfer.KeyWish](ctx, c, "KeyWishes", listCall{Cursor: after, Limit: limit})
}

func (c remote) PrepareKey(ctx context.Context, keyID, actor string) (request.NewKey, error) {
	return asks[request.NewKey](ctx, c, "PrepareKey", keyCall{KeyID: keyID, Actor: actor})
}

func (c remote) FollowKeys(ctx context.Context, txID string, keys []contract.Key) error {
	return tell(ctx, c, "FollowKeys", followCall{txID, keys})
}

func (c remote) MendKeys(ctx context.Context, keys []contract.Key) error {
	return tell(ctx, c, "MendKeys", followCall{Keys: keys})
}

func (c remote) Keys(ctx context.Context, f transfer.KeyFilter, cursor string, limit int) (transfer.Page[transfer.KeyView], error) {
	return asks[transfer.Page[transfer.KeyView]](ctx, c, "Keys", listCall{Filter: f, Cursor: cursor, Limit: limit})
}

func (c remote) Key(ctx context.Context, keyID string) (transfer.KeyView, error) {
	return asks[transfer.KeyView](ctx, c, "Key", keyCall{KeyID: keyID})
}

// Stream implements transfer.Audit.
func (remote) Stream() string { return custody.AuditStream }

func (c remote) Head(ctx context.Context, since int64) (transfer.AuditHead, error) {
	return asks[transfer.AuditHead](ctx, c, "Head", since)
}

func (c remote) Audit(ctx context.Context, f model.AuditFilter, cursor string, limit int) (model.Page[model.AuditRow], error) {
	return asks[model.Page[model.AuditRow]](ctx, c, "Audit", listCall{Audit: f, Cursor: cursor, Limit: limit})
}

func (c remote) Propose(ctx context.Context, w custody.Draft) (custody.Proposal, error) {
	return asks[custody.Proposal](ctx, c, "Propose", w)
}

// Approve implements handler.TwoPeople. Who somebody is the custodian knows by his token; so with the others.
func (c remote) Approve(ctx context.Context, _, id string) (custody.Proposal, error) {
	return asks[custody.Proposal](ctx, c, "Approve", decideCall{ID: id})
}

func (c remote) Reject(ctx context.Context, _, id, reason string) (custody.Proposal, error) {
	return asks[custody.Proposal](ctx, c, "Reject", decideCall{id, reason})
}

func (c remote) Withdraw(ctx context.Context, _, id, reason string) (custody.Proposal, error) {
	return asks[custody.Proposal](ctx, c, "Withdraw", decideCall{id, reason})
}

func (c remote) Proposal(ctx context.Context, id string) (custody.Proposal, error) {
	return asks[custody.Proposal](ctx, c, "Proposal", decideCall{ID: id})
}

func (c remote) Proposals(ctx context.Context, organisation string, state model.ProposalState, cursor string, limit int) ([]custody.Proposal, string, error) {
	v, err := asks[proposalsAnswer](ctx, c, "Proposals", listCall{Office: organisation, State: state, Cursor: cursor, Limit: limit})
	return v.Items, v.Next, err
}

func (c remote) Quotas(ctx context.Context) ([]custody.Quota, error) {
	return asks[[]custody.Quota](ctx, c, "Quotas", none{})
}

func (c remote) LowerQuota(ctx context.Context, _, name string, daily int64) (custody.Quota, error) {
	return asks[custody.Quota](ctx, c, "LowerQuota", quotaCall{name, daily})
}

func (c remote) SealStatus(ctx context.Context) (custody.SealStatus, error) {
	return asks[custody.SealStatus](ctx, c, "SealStatus", none{})
}

// Unseal implements handler.Seals.
func (c remote) Unseal(ctx context.Context, share []byte, _ string) (custody.SealStatus, error) {
	defer clear(share)
	return asks[custody.SealStatus](ctx, c, "Unseal", shareCall{share})
}

func (c remote) Seal(ctx context.Context, _ string) error { return tell(ctx, c, "Seal", none{}) }

func (c remote) RootStatus(ctx context.Context) (custody.RootStatus, error) {
	return asks[custody.RootStatus](ctx, c, "RootStatus", none{})
}

// Ready implements keeper.
func (c remote) Ready(ctx context.Context) error { return tell(ctx, c, "Ready", none{}) }

// Sealed implements keeper. A custodian that can't be reached signs nothing either.
func (c remote) Sealed() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := c.SealStatus(ctx)
	return err != nil || s.Sealed
}

// DataKey implements keeper.
func (c remote) DataKey(ctx context.Context) ([]byte, error) {
	return asks[[]byte](ctx, c, "DataKey", none{})
}

// SeedPeople implements keeper.
func (c remote) SeedPeople(ctx context.Context) error { return tell(ctx, c, "SeedPeople", none{}) }

func (c remote) LogInConsumer(ctx context.Context, code string) (transfer.Session, error) {
	return asks[transfer.Session](ctx, c, "LogInConsumer", code)
}

func (c remote) LogInStaff(ctx context.Context, username, password string) (transfer.Session, transfer.PersonView, error) {
	v, err := asks[staffAnswer](ctx, c, "LogInStaff", passwordCall{Username: username, Old: password})
	return v.Session, v.Person, err
}

func (c remote) ChangePassword(ctx context.Context, who transfer.Caller, old, new string) (transfer.Session, error) {
	s, err := asks[transfer.Session](transfer.WithSession(ctx, who.Session), c, "ChangePassword", passwordCall{Old: old, New: new})
	s.Roles = who.Roles
	return s, err
}

func (c remote) LogOut(ctx context.Context, who transfer.Caller) error {
	return tell(transfer.WithSession(ctx, who.Session), c, "LogOut", none{})
}

// Erase implements handler.Logins.
func (c remote) Erase(ctx context.Context, token transfer.SessionToken, cards int64) (transfer.Erasure, error) {
	return asks[transfer.Erasure](transfer.WithSession(ctx, token), c, "Erase", eraseCall{cards})
}

// Message implements transfer.Messenger.
func (c remote) Message(ctx context.Context, m transfer.Message) (transfer.Delivery, error) {
	return asks[transfer.Delivery](ctx, c, "Message", m)
}
