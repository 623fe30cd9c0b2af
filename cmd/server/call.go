package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cardflow/custody"
	"cardflow/ledger/contract"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// What a custodian takes: a call for each method of keeper, and nothing else. There is none for bytes to be signed, for a
// key, or for a session that nobody has shown to be his.

// caller is who calls, as far as he has shown: the token that a person showed to the web process, if he did.
type caller struct {
	keys  *custody.Custody
	token custody.LoginToken
}

// staff is the member of staff whose token it is. What the web process says about who somebody is counts for nothing.
func (c caller) staff(ctx context.Context) (string, error) {
	s, err := c.keys.Session(ctx, c.token)
	if err == nil && s.Person == "" {
		err = custody.ErrSessionOver
	}
	return s.Person, err
}

// taken is a call that the custodian takes: it reads the arguments and answers a value, or an error.
type taken func(ctx context.Context, k keeper, who caller, arguments []byte) (any, error)

// takes makes a call of a function.
func takes[A, R any](do func(ctx context.Context, k keeper, who caller, a A) (R, error)) taken {
	return func(ctx context.Context, k keeper, who caller, arguments []byte) (any, error) {
		var a A
		if err := json.Unmarshal(arguments, &a); err != nil {
			return nil, fmt.Errorf("arguments: %w: %w", custody.ErrAsk, err)
		}
		return do(ctx, k, who, a)
	}
}

// none is no answer.
type none struct{}

// typedBody is a request, with its type in words.
type typedBody struct {
	Function string
	Args     []byte
}

func typed(body request.Body) typedBody { return typedBody{body.Function(), request.Encode(body)} }

func (t typedBody) body() (request.Body, error) {
	b, err := transfer.DecodeBody(t.Function, t.Args)
	if err != nil {
		err = fmt.Errorf("%w: %w", custody.ErrBody, err)
	}
	return b, err
}

// The arguments of calls.
type (
	enrolCall struct {
		Owner string
		Role  request.Role
		Slot  string
	}
	enrolAllCall struct {
		Owners []string
		Role   request.Role
		Slot   string
	}
	addConsumersCall struct {
		AppID   string
		OpenIDs []string
	}
	authoriseCall struct {
		Session  transfer.SessionToken
		Subject  string
		Body     typedBody
		NotAfter int64
	}
	partsCall struct {
		Asked string
		Terms request.Issue
		Parts []transfer.Part
	}
	deviceCall struct {
		Session  transfer.SessionToken
		Asked    string
		Body     typedBody
		NotAfter int64
	}
	signCall struct {
		Ask  transfer.Ask
		Body typedBody
	}
	closeCall struct {
		Ask transfer.Ask
		Why transfer.AttemptEnd
	}
	evidenceCall struct {
		TxID      string
		Request   request.Request
		Signature request.Signature
	}
	keyCall struct {
		KeyID string
		What  string
		Actor string
	}
	followCall struct {
		TxID string
		Keys []contract.Key
	}
	listCall struct {
		Filter transfer.KeyFilter
		Audit  model.AuditFilter
		State  model.ProposalState
		Office string // whose proposals
		Cursor string
		Limit  int
	}
	decideCall struct {
		ID     string
		Reason string
	}
	quotaCall struct {
		Name  string
		Daily int64
	}
	eraseCall    struct{ Cards int64 }
	shareCall    struct{ Share []byte }
	passwordCall struct {
		Username string
		Old      string
		New      string
	}
)

// The answers of calls that answer several things.
type (
	enrolledAnswer struct {
		Keys map[string]request.NewKey // by owner; none of those whose key was stopped
		Made int
	}
	proposalsAnswer struct {
		Items []custody.Proposal
		Next  string
	}
	staffAnswer struct {
		Session transfer.Session
		Person  transfer.PersonView
	}
	signLogFault struct{ Subject, Problem string }
)

// mostSignLogFaults is how many faults of the sign log one answer names.
const mostSignLogFaults = 10_000

// calls are all of them, by name.
var calls = map[string]taken{
	"Enrol": takes(func(ctx context.Context, k keeper, _ caller, a enrolCall) (request.NewKey, error) {
		return k.Enrol(ctx, a.Owner, a.Role, a.Slot)
	}),
	"EnrolAll": takes(func(ctx context.Context, k keeper, who caller, a enrolAllCall) (enrolledAnswer, error) {
		actor, err := who.staff(ctx)
		if err == nil && len(a.Owners) > transfer.MostLogins {
			err = custody.ErrPost
		}
		if err != nil {
			return enrolledAnswer{}, err
		}
		keys, made, err := k.EnrolAll(ctx, a.Owners, a.Role, a.Slot, actor)
		if err != nil {
			return enrolledAnswer{}, err
		}
		answer := enrolledAnswer{map[string]request.NewKey{}, made}
		for i, owner := range a.Owners {
			if !keys[i].Public.IsZero() {
				answer.Keys[owner] = keys[i]
			}
		}
		return answer, nil
	}),
	"AddConsumers": takes(func(ctx context.Context, k keeper, who caller, a addConsumersCall) (none, error) {
		_, err := who.staff(ctx)
		if err == nil && len(a.OpenIDs) > transfer.MostLogins {
			err = custody.ErrPost
		}
		if err != nil {
			return none{}, err
		}
		return none{}, k.AddConsumers(ctx, a.AppID, a.OpenIDs)
	}),
	"Authorise": takes(func(ctx context.Context, k keeper, _ caller, a authoriseCall) (none, error) {
		body, err := a.Body.body()
		if err != nil {
			return none{}, err
		}
		return none{}, k.Authorise(ctx, a.Session, a.Subject, body, a.NotAfter)
	}),
	"AuthoriseParts": takes(func(ctx context.Context, k keeper, _ caller, a partsCall) (none, error) {
		return none{}, k.AuthoriseParts(ctx, a.Asked, a.Terms, a.Parts)
	}),
	"AuthoriseDevice": takes(func(ctx context.Context, k keeper, _ caller, a deviceCall) (none, error) {
		return none{}, k.AuthoriseDevice(ctx, a.Session, a.Asked, a.NotAfter)
	}),
	"NameDevice": takes(func(ctx context.Context, k keeper, _ caller, a deviceCall) (none, error) {
		body, err := a.Body.body()
		if err != nil {
			return none{}, err
		}
		publish, ok := body.(request.PublishKey)
		if !ok {
			return none{}, custody.ErrBody
		}
		return none{}, k.NameDevice(ctx, a.Asked, publish)
	}),
	"ActiveKey": takes(func(ctx context.Context, k keeper, _ caller, a enrolCall) (string, error) {
		return k.ActiveKey(ctx, a.Owner, a.Slot)
	}),
	"Sign": takes(func(ctx context.Context, k keeper, _ caller, a signCall) (request.Signature, error) {
		body, err := a.Body.body()
		if err != nil {
			return request.Signature{}, err
		}
		return k.Sign(ctx, a.Ask, body)
	}),
	"CloseAttempt": takes(func(ctx context.Context, k keeper, _ caller, a closeCall) (none, error) {
		return none{}, k.CloseAttempt(ctx, a.Ask, a.Why)
	}),
	"Standing": takes(func(ctx context.Context, k keeper, _ caller, a evidenceCall) (transfer.Standing, error) {
		return k.Standing(ctx, a.Request, a.Signature)
	}),
	"Adopt": takes(func(ctx context.Context, k keeper, _ caller, a evidenceCall) (none, error) {
		return none{}, k.Adopt(ctx, a.TxID, a.Request, a.Signature)
	}),
	"Restore": takes(func(ctx context.Context, k keeper, _ caller, a model.CustodyKey) (none, error) {
		return none{}, k.Restore(ctx, a)
	}),
	"VerifySignLog": takes(func(ctx context.Context, k keeper, _ caller, _ none) (found []signLogFault, err error) {
		err = k.VerifySignLog(ctx, func(subject, problem string) {
			if len(found) < mostSignLogFaults {
				found = append(found, signLogFault{subject, problem})
			}
		})
		return found, err
	}),
	"Reconciled": takes(func(ctx context.Context, k keeper, _ caller, _ none) (none, error) { return none{}, k.Reconciled(ctx) }),

	// What ops order goes with the token of one of them. A recovery after a theft goes on without: it revokes, and replaces.
	"OrderKey": takes(func(ctx context.Context, k keeper, who caller, a keyCall) (w transfer.KeyWish, err error) {
		if who.token != "" || a.What != model.WishRevoke && a.What != model.WishReplace {
			if a.Actor, err = who.staff(ctx); err == nil {
				err = who.keys.Operates(ctx, a.Actor)
			}
			if err != nil {
				return w, err
			}
		}
		return k.OrderKey(ctx, a.KeyID, a.What, a.Actor)
	}),
	"KeyWishes": takes(func(ctx context.Context, k keeper, _ caller, a listCall) ([]transfer.KeyWish, error) {
		return k.KeyWishes(ctx, a.Cursor, a.Limit)
	}),
	"PrepareKey": takes(func(ctx context.Context, k keeper, _ caller, a keyCall) (request.NewKey, error) {
		return k.PrepareKey(ctx, a.KeyID, a.Actor)
	}),
	"FollowKeys": takes(func(ctx context.Context, k keeper, _ caller, a followCall) (none, error) {
		return none{}, k.FollowKeys(ctx, a.TxID, a.Keys)
	}),
	"MendKeys": takes(func(ctx context.Context, k keeper, _ caller, a followCall) (none, error) {
		return none{}, k.MendKeys(ctx, a.Keys)
	}),
	"Keys": takes(func(ctx context.Context, k keeper, _ caller, a listCall) (transfer.Page[transfer.KeyView], error) {
		return k.Keys(ctx, a.Filter, a.Cursor, a.Limit)
	}),
	"Key": takes(func(ctx context.Context, k keeper, _ caller, a keyCall) (transfer.KeyView, error) {
		return k.Key(ctx, a.KeyID)
	}),

	"Head": takes(func(ctx context.Context, k keeper, _ caller, since int64) (transfer.AuditHead, error) {
		return k.Head(ctx, since)
	}),
	"Audit": takes(func(ctx context.Context, k keeper, _ caller, a listCall) (model.Page[model.AuditRow], error) {
		return k.Audit(ctx, a.Audit, a.Cursor, a.Limit)
	}),

	"Propose": takes(func(ctx context.Context, k keeper, who caller, a custody.Draft) (p custody.Proposal, err error) {
		if a.Person, err = who.staff(ctx); err != nil {
			return p, err
		}
		return k.Propose(ctx, a)
	}),
	"Approve": takes(func(ctx context.Context, k keeper, who caller, a decideCall) (p custody.Proposal, err error) {
		person, err := who.staff(ctx)
		if err != nil {
			return p, err
		}
		return k.Approve(ctx, person, a.ID)
	}),
	"Reject": takes(func(ctx context.Context, k keeper, who caller, a decideCall) (p custody.Proposal, err error) {
		person, err := who.staff(ctx)
		if err != nil {
			return p, err
		}
		return k.Reject(ctx, person, a.ID, a.Reason)
	}),
	"Withdraw": takes(func(ctx context.Context, k keeper, who caller, a decideCall) (p custody.Proposal, err error) {
		person, err := who.staff(ctx)
		if err != nil {
			return p, err
		}
		return k.Withdraw(ctx, person, a.ID, a.Reason)
	}),
	"Proposal": takes(func(ctx context.Context, k keeper, _ caller, a decideCall) (custody.Proposal, error) {
		return k.Proposal(ctx, a.ID)
	}),
	"Proposals": takes(func(ctx context.Context, k keeper, _ caller, a listCall) (v proposalsAnswer, err error) {
		v.Items, v.Next, err = k.Proposals(ctx, a.Office, a.State, a.Cursor, a.Limit)
		return v, err
	}),
	"Quotas": takes(func(ctx context.Context, k keeper, _ caller, _ none) ([]custody.Quota, error) { return k.Quotas(ctx) }),
	"LowerQuota": takes(func(ctx context.Context, k keeper, who caller, a quotaCall) (q custody.Quota, err error) {
		person, err := who.staff(ctx)
		if err != nil {
			return q, err
		}
		return k.LowerQuota(ctx, person, a.Name, a.Daily)
	}),
	"SealStatus": takes(func(ctx context.Context, k keeper, _ caller, _ none) (custody.SealStatus, error) {
		return k.SealStatus(ctx)
	}),
	"Unseal": takes(func(ctx context.Context, k keeper, who caller, a shareCall) (s custody.SealStatus, err error) {
		defer clear(a.Share)
		person, err := who.staff(ctx)
		if err != nil {
			return s, err
		}
		// Where the root is in no shares, whoever may lift a stop is all that there is between.
		if err := who.keys.Operates(ctx, person); err != nil {
			return s, err
		}
		return k.Unseal(ctx, a.Share, person)
	}),
	"RootStatus": takes(func(ctx context.Context, k keeper, _ caller, _ none) (custody.RootStatus, error) {
		return k.RootStatus(ctx)
	}),
	// The emergency stop doesn't wait for a database that can't say who asks: stopping harms nobody's cards.
	"Seal": takes(func(ctx context.Context, k keeper, who caller, _ none) (none, error) {
		person, err := who.staff(ctx)
		if errors.Is(err, custody.ErrSessionOver) || errors.Is(err, custody.ErrLoginForged) {
			return none{}, err
		}
		return none{}, k.Seal(ctx, cmp.Or(person, "web"))
	}),
	"Ready": takes(func(ctx context.Context, k keeper, _ caller, _ none) (none, error) { return none{}, k.Ready(ctx) }),

	"DataKey":    takes(func(ctx context.Context, k keeper, _ caller, _ none) ([]byte, error) { return k.DataKey(ctx) }),
	"SeedPeople": takes(func(ctx context.Context, k keeper, _ caller, _ none) (none, error) { return none{}, k.SeedPeople(ctx) }),

	"LogInConsumer": takes(func(ctx context.Context, k keeper, _ caller, code string) (transfer.Session, error) {
		return k.LogInConsumer(ctx, code)
	}),
	"LogInStaff": takes(func(ctx context.Context, k keeper, _ caller, a passwordCall) (v staffAnswer, err error) {
		v.Session, v.Person, err = k.LogInStaff(ctx, a.Username, a.Old)
		return v, err
	}),
	"ChangePassword": takes(func(ctx context.Context, k keeper, who caller, a passwordCall) (transfer.Session, error) {
		s, err := who.keys.Session(ctx, who.token)
		if err != nil {
			return transfer.Session{}, err
		}
		return k.ChangePassword(ctx, transfer.Caller{Participant: s.Participant, Role: s.Role, Person: s.Person, Session: transfer.SessionToken(who.token)}, a.Old, a.New)
	}),
	"LogOut": takes(func(ctx context.Context, k keeper, who caller, _ none) (none, error) {
		return none{}, k.LogOut(ctx, transfer.Caller{Session: transfer.SessionToken(who.token)})
	}),
	// Whose data goes says the token, and nothing else.
	"Erase": takes(func(ctx context.Context, k keeper, who caller, a eraseCall) (transfer.Erasure, error) {
		return k.Erase(ctx, transfer.SessionToken(who.token), a.Cards)
	}),
	"Message": takes(func(ctx context.Context, k keeper, _ caller, m transfer.Message) (transfer.Delivery, error) {
		return k.Message(ctx, m)
	}),
}

var errUnknownCall = errors.New("no such call: the web process and the custodian are of different versions")
