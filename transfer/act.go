package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Idem is the caller's name for one wish: the same key for the same route is the same wish, however often it arrives.
type Idem struct {
	Key        string
	Route      string // method and route pattern
	BodyDigest string // hex SHA-256 of the body: another body under the same key is a mistake of the caller
}

// Act is a write on its way to the ledger, as the one who asked may see it.
type Act struct {
	ID          string
	Function    string
	State       string // accepted, signed, submitted, committed, failed
	TradeID     string
	TxID        string
	BlockNumber uint64
	Error       *ActError
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// Ended reports whether the act has reached its end.
func (a Act) Ended() bool {
	return a.State == string(model.ActCommitted) || a.State == string(model.ActFailed)
}

// ActError is why an act failed.
type ActError struct {
	Code    string
	Message string
}

// actView shows a row. A prepared act is still "signed" to people: nothing has left.
func actView(a model.Act) Act {
	v := Act{
		ID: a.ID, Function: a.Function, State: string(a.State), TxID: a.TxID, BlockNumber: uint64(a.BlockNumber),
		CreatedAt: a.CreatedAt.Time(), UpdatedAt: a.UpdatedAt.Time(),
	}
	if isTrade(a.Function) {
		v.TradeID = a.Subject
	}
	if a.State == model.ActPrepared {
		v.State = string(model.ActSigned)
	}
	if a.State == model.ActFailed {
		v.TxID = ""
		v.Error = &ActError{Code: a.ErrorCode, Message: MessageOf(a.ErrorCode)}
	}
	return v
}

func isTrade(function string) bool {
	switch function {
	case "Confirm", "Decline", "Cancel", "Release":
		return true
	}
	return false
}

// party is one who signs an act.
type party struct {
	Owner string
	Slot  string
}

// fields is what an act needs besides its body: who signs, and, where the body depends on how things stand when its
// turn comes, what to build it from (see plan.go).
type fields struct {
	Parties []party
	Given   *request.Signature `json:",omitempty"` // of a terminal, which has signed the body (see terminalsubmit.go)
	Sealed  *asked             `json:",omitempty"` // nil in an act that an older version accepted
	Ticket  *request.Ticket    `json:",omitempty"`
	Offer   *offerPlan         `json:",omitempty"`
	Lot     *lotPlan           `json:",omitempty"`
	Enrol   *enrolPlan         `json:",omitempty"`
	Key     *keyPlan           `json:",omitempty"`
	Freeze  *freezePlan        `json:",omitempty"`

	Approval *approvalPlan `json:",omitempty"`
	Outside  *outsidePlan  `json:",omitempty"`
}

// draft is an act before it is accepted.
type draft struct {
	ID       string // "" makes one; system acts have IDs of their own, so that they are accepted once
	Body     request.Body
	Contract string // if Body is to be planned
	Function string
	Actor    string // "" is the first of those who sign
	Person   string
	Subject  string
	Fields   fields
	Deadline model.Millis // if it was not sent by then, it fails; 0: it waits
}

// accept records an act inside the transaction that sets aside what it needs. A crash before that transaction commits
// leaves nothing; after it, the relay finds the act.
func (s *Service) accept(tx *model.Tx, d draft) (model.Act, error) {
	if d.ID == "" {
		d.ID = s.newID()
	}
	a := model.Act{
		ID: d.ID, Function: d.Function, Contract: d.Contract, Actor: d.Actor, Person: d.Person, Subject: d.Subject,
		State: model.ActAccepted, Attempt: 1, NextAt: s.now(), Deadline: d.Deadline, CreatedAt: s.now(), UpdatedAt: s.now(),
	}
	if a.Actor == "" && len(d.Fields.Parties) > 0 {
		a.Actor = d.Fields.Parties[0].Owner
	}
	if d.Body != nil {
		req := request.New(s.Ledger.Channel(), d.Body)
		a.Contract, a.Function, a.Body, a.RequestID = req.Contract, req.Function, req.Args, req.ID()
	}
	if given := d.Fields.Given; given != nil {
		a.KeyID, a.NotAfter = given.KeyID, model.Millis(given.NotAfter)
		if d.Fields.Ticket == nil {
			a.State, a.Proof = model.ActSigned, request.Proof{Signatures: []request.Signature{*given}}.Encode()
		}
	}
	var err error
	if a.FieldsSealed, err = s.sealFields(a, d.Fields); err != nil {
		return a, err
	}
	return a, tx.AddAct(a)
}

// given reports whether a terminal has signed an act: it has one attempt, for nobody here can sign another.
func (s *Service) given(a model.Act) (bool, error) {
	f, err := s.fieldsOf(a)
	return f.Given != nil, err
}

func (s *Service) fieldsOf(a model.Act) (f fields, err error) {
	err = s.Vault.openJSON("act/"+a.ID, a.FieldsSealed, &f)
	if err != nil {
		err = fmt.Errorf("act %s: %w", a.ID, err)
	}
	return f, err
}

// asked is what an act's row says in the open and must not be altered by whoever writes to the database: it decides what
// is signed.
type asked struct {
	Function string
	At       model.Millis
	Body     string // hex SHA-256; empty while there is none
}

func askedIn(a model.Act) asked {
	v := asked{Function: a.Function, At: a.CreatedAt}
	if a.Body != nil {
		sum := sha256.Sum256(a.Body)
		v.Body = hex.EncodeToString(sum[:])
	}
	return v
}

// sealFields seals what an act needs, together with what its row says. Whoever gives an act a body, or takes it away,
// seals it anew.
func (s *Service) sealFields(a model.Act, f fields) ([]byte, error) {
	now := askedIn(a)
	f.Sealed = &now
	return s.Vault.sealJSON("act/"+a.ID, f)
}

// unaltered says whether an act asks for what was asked for. One that doesn't is not signed, and stays as it is for those
// who are called.
func (s *Service) unaltered(a model.Act, f fields) error {
	if f.Sealed == nil || *f.Sealed == askedIn(a) {
		return nil
	}
	s.Metrics.Alarm("act_altered")
	s.Logger.Error("relay: an act is not what was asked for; somebody has written to the database", "act", a.ID, "function", a.Function)
	return fmt.Errorf("act %s is not what was asked for", a.ID)
}

// once runs accept for a wish that was not seen before, and gives the act of one that was: the caller resumes where it
// is, whether it has ended or not.
func (s *Service) once(ctx context.Context, c Caller, idem Idem, accept func(tx *model.Tx) (string, error)) (string, error) {
	if idem.Key == "" {
		return "", fail("IDEMPOTENCY_KEY_REQUIRED")
	}
	var id string
	run := func() error {
		return s.DB.Write(ctx, func(tx *model.Tx) error {
			old, err := tx.Recall(c.actor(), idem.Route, idem.Key)
			if err == nil {
				if old.BodyDigest != idem.BodyDigest {
					return fail("IDEMPOTENCY_KEY_REUSED")
				}
				id = old.ActID
				return nil
			}
			if !errors.Is(err, model.ErrNotFound) {
				return err
			}
			if id, err = accept(tx); err != nil {
				return err
			}
			if _, err = tx.Remember(c.actor(), idem.Route, idem.Key, idem.BodyDigest, id); err == nil {
				s.at(AtAccepting)
			}
			return err
		})
	}
	err := run()
	if errors.Is(err, model.ErrConflict) {
		err = run() // the other of two at once has just been accepted: this one finds it
	}
	// Where two transactions run side by side, the second of two at once may be refused for what the first one did: its
	// trade is busy, its cards are set aside. If the first one was the same wish, that is no refusal.
	var refusal *Error
	if errors.As(err, &refusal) {
		var old model.Idempotency
		again := s.DB.Read(ctx, func(tx *model.Tx) (err error) {
			old, err = tx.Recall(c.actor(), idem.Route, idem.Key)
			return err
		})
		if again == nil && old.BodyDigest == idem.BodyDigest {
			id, err = old.ActID, nil
		}
	}
	if err != nil {
		return "", err
	}
	s.at(AtAccepted)
	s.kick()
	return id, nil
}

// actor is the person, the terminal, or the consumer, whose idempotency keys these are.
func (c Caller) actor() string {
	switch {
	case c.Person != "":
		return c.Person
	case c.Device != "":
		return c.Device
	}
	return c.Participant
}

// Act answers how far an act is, to the one who asked for it and to his organisation.
func (s *Service) Act(ctx context.Context, c Caller, id string) (Act, error) {
	var v Act
	told := false
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		a, err := tx.Act(id)
		if errors.Is(err, model.ErrNotFound) || err == nil && a.Actor != c.Participant {
			return fail("NOT_FOUND")
		}
		if v = actView(a); err == nil {
			told, err = s.toldOf(tx, c, v)
		}
		return err
	})
	if err == nil && told {
		s.seen(ctx, v)
	}
	return v, err
}

// act reads an act for the service itself.
func (s *Service) act(ctx context.Context, id string) (a model.Act, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		a, err = tx.Act(id)
		return err
	})
	return a, err
}

// Watch yields the act whenever it has moved, and closes after its end or when ctx ends. Whoever moves an act
// tells; what is told on another server and doesn't get here is seen by looking again every second.
func (s *Service) Watch(ctx context.Context, c Caller, id string) (<-chan Act, error) {
	first, err := s.Act(ctx, c, id)
	if err != nil {
		return nil, err
	}
	out := make(chan Act, 1)
	out <- first
	go func() {
		defer close(out)
		last := first
		for !last.Ended() {
			told, stop := s.hub.listen(id)
			now, err := s.Act(ctx, c, id)
			if err == nil && now.State == last.State {
				select {
				case <-told:
				case <-time.After(lookAgain):
				case <-ctx.Done():
				}
				now, err = s.Act(ctx, c, id)
			}
			stop()
			if err != nil {
				return
			}
			if now.State == last.State {
				continue
			}
			last = now
			select {
			case out <- now:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, nil
}

// lookAgain is how often a watcher asks the database about moves that another server may have made.
const lookAgain = time.Second

// Await waits for the end of an act. When ctx ends first it answers how far the act is.
func (s *Service) Await(ctx context.Context, id string) (Act, error) {
	for {
		told, stop := s.hub.listen(id)
		a, err := s.act(context.WithoutCancel(ctx), id)
		if err != nil || a.State.Finished() || ctx.Err() != nil {
			stop()
			return actView(a), err
		}
		select {
		case <-told:
		case <-time.After(lookAgain):
		case <-ctx.Done():
		}
		stop()
	}
}
