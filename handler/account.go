package handler

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cardflow/ledger/request"
	"cardflow/transfer"
)

// Logins are how people show who they are. It is custody that makes their tokens, and knows who has one: what it signs it
// signs for those. So what they show goes to it, and nothing is decided here.
type Logins interface {
	// LogInConsumer exchanges a WeChat code. It finds the account of the WeChat user, or makes it.
	LogInConsumer(ctx context.Context, code string) (transfer.Session, error)
	// LogInStaff checks a password. Wrong name, wrong password, locked, disabled are all transfer.ErrLogin.
	LogInStaff(ctx context.Context, username, password string) (transfer.Session, transfer.PersonView, error)
	// ChangePassword sets a new password, ends all sessions of the account, and opens another one; transfer.ErrLogin if the
	// old one is wrong.
	ChangePassword(ctx context.Context, c transfer.Caller, old, new string) (transfer.Session, error)
	// LogOut ends a session. One that is over already is no error.
	LogOut(ctx context.Context, c transfer.Caller) error
	// Erase deletes the data of the consumer whose token it is. Asked again with it, it answers the same; see erasure.go.
	Erase(ctx context.Context, token transfer.SessionToken, cards int64) (transfer.Erasure, error)
}

// Accounts are the people behind the logins.
type Accounts interface {
	Profile(ctx context.Context, c transfer.Caller) (transfer.Profile, error)
	// Person is the member of staff behind a caller, as he is now; FORBIDDEN if he may not log in any more.
	Person(ctx context.Context, c transfer.Caller) (transfer.PersonView, error)
	// Erased reports whether a consumer's data were deleted: then no session of his opens anything.
	Erased(ctx context.Context, c transfer.Caller) (bool, error)
	// ErasureAhead answers what deleting the caller's data would mean.
	ErasureAhead(ctx context.Context, c transfer.Caller) (transfer.ErasureView, error)
}

// Password is what a person types. It prints as [secret]; string(p) is the value.
type Password string

// Format keeps passwords out of everything that is printed.
func (Password) Format(f fmt.State, _ rune) { Token("").Format(f, 'v') }

type participantView struct {
	ID    string       `json:"id"`
	Role  request.Role `json:"role"`
	Name  string       `json:"name,omitempty"`
	State string       `json:"state,omitempty"` // pending, registering, registered: whether the ledger knows him
}

type tokenView struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func viewToken(s transfer.Session) tokenView { return tokenView{string(s.Session), s.ExpiresAt} }

type consumerLogin struct {
	tokenView
	Participant participantView `json:"participant"`
	RealName    string          `json:"realName"`
	// Templates are what he may be asked about when he begins to wait: template IDs of subscription messages, by kind.
	Templates map[string]string `json:"templates"`
}

type staffLogin struct {
	tokenView
	Participant        participantView `json:"participant"`
	Person             personView      `json:"person"`
	Roles              []string        `json:"roles"`
	MustChangePassword bool            `json:"mustChangePassword"`
}

type personView struct {
	ID       string `json:"id"`
	Username string `json:"username"`
}

// loginConsumer is POST /wechat/login.
func loginConsumer(c *call) error {
	in, err := bind[struct {
		Code string `json:"code"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("code", in.Code), bounded(256, "code", in.Code)); err != nil {
		return err
	}
	if err := c.takeLogin(); err != nil {
		return err
	}
	// The platform checks what a code may look like before it sends anything: "abc&appid=…" gets no further.
	login, err := c.Logins.LogInConsumer(c.ctx(), in.Code)
	if err != nil {
		return err
	}
	if err := c.sessions.open(c.ctx(), login, session{}); err != nil {
		return err
	}
	c.Set(callerKey, login.Participant)
	realName, err := c.realName(login.Caller)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, consumerLogin{
		tokenView:   viewToken(login),
		Participant: participantView{ID: login.Participant, Role: login.Role},
		RealName:    realName,
		Templates:   c.templates(),
	})
}

func (c *call) takeLogin() error {
	return c.limits.take(c.ctx(), "RATE_LIMITED", "logins:"+addressKey(c.RealIP()), c.Limits.LoginsPerAddress)
}

// loginStaff is POST /auth/login. Which of the two was wrong, name or password, is not told.
func loginStaff(c *call) error {
	in, err := bind[struct {
		Username string   `json:"username"`
		Password Password `json:"password"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("username", in.Username, "password", string(in.Password)),
		bounded(128, "username", in.Username), bounded(1024, "password", string(in.Password))); err != nil {
		return err
	}
	if err := c.takeLogin(); err != nil {
		return err
	}
	name := account(in.Username)
	leave, err := c.guard.enter(c.ctx(), "RATE_LIMITED", "login:"+name, string(in.Password), c.Limits.LoginsPerAccount)
	if err != nil {
		return err
	}
	epoch, err := c.sessions.epoch(c.ctx(), name)
	if err != nil {
		return errors.Join(leave(false), err)
	}
	login, person, err := c.Logins.LogInStaff(c.ctx(), in.Username, string(in.Password))
	wrong := errors.Is(err, transfer.ErrLogin)
	if leaveErr := leave(wrong); leaveErr != nil {
		return leaveErr
	}
	if wrong {
		return refuse("LOGIN_FAILED")
	}
	if err != nil {
		return err
	}
	if err := c.sessions.open(c.ctx(), login, session{Account: name, MustChange: person.MustChangePassword, Epoch: epoch}); err != nil {
		return err
	}
	c.Set(callerKey, login.Participant)
	return render(c, http.StatusOK, staffLogin{
		tokenView:          viewToken(login),
		Participant:        participantView{ID: login.Participant, Role: login.Role, Name: person.OrganisationName},
		Person:             personView{person.ID, person.Username},
		Roles:              roles(login.Caller),
		MustChangePassword: person.MustChangePassword,
	})
}

func roles(c transfer.Caller) []string {
	if c.Person == "" {
		return []string{"consumer"}
	}
	return append([]string{}, c.Roles...)
}

// logout is POST /auth/logout.
func logout(c *call) error {
	// Custody's first: a token that opens nothing here, and still has something signed, is the worse one.
	if err := c.Logins.LogOut(c.ctx(), c.caller()); err != nil {
		return err
	}
	if err := c.sessions.end(c.ctx(), c.who.token); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

type meView struct {
	Participant        participantView `json:"participant"`
	Person             *personView     `json:"person,omitempty"`
	Roles              []string        `json:"roles"`
	MustChangePassword bool            `json:"mustChangePassword"`
	RealName           string          `json:"realName,omitempty"`
	ExpiresAt          time.Time       `json:"expiresAt"`
}

// me is GET /me.
func me(c *call) error {
	p, err := c.Service.Profile(c.ctx(), c.caller())
	if err != nil {
		return err
	}
	v := meView{
		Participant: participantView{ID: p.ID, Role: request.Role(p.Role), Name: p.Name, State: p.State},
		Roles:       roles(c.caller()), MustChangePassword: c.who.MustChange, ExpiresAt: c.who.ExpiresAt,
	}
	if c.who.Person == "" {
		if v.RealName, err = c.realName(c.caller()); err != nil {
			return err
		}
		return render(c, http.StatusOK, v)
	}
	person, err := c.Service.Person(c.ctx(), c.caller())
	if err != nil {
		return err
	}
	v.Person = &personView{person.ID, person.Username}
	return render(c, http.StatusOK, v)
}

// changePassword is POST /me/password. Every session of the account ends, this one too; the answer has a new token.
func changePassword(c *call) error {
	in, err := bind[struct {
		Old Password `json:"oldPassword"`
		New Password `json:"newPassword"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("oldPassword", string(in.Old), "newPassword", string(in.New)),
		bounded(1024, "oldPassword", string(in.Old), "newPassword", string(in.New))); err != nil {
		return err
	}
	// Who has stolen a session must not guess the password with it either.
	leave, err := c.guard.enter(c.ctx(), "RATE_LIMITED", "login:"+c.who.Account, string(in.Old), c.Limits.LoginsPerAccount)
	if err != nil {
		return err
	}
	login, err := c.Logins.ChangePassword(c.ctx(), c.caller(), string(in.Old), string(in.New))
	wrong := errors.Is(err, transfer.ErrLogin)
	if leaveErr := leave(wrong); leaveErr != nil {
		return leaveErr
	}
	if wrong {
		return refuse("PASSWORD_WRONG")
	}
	if err != nil {
		return err
	}
	// A crash here leaves the old sessions alive until they expire; the person sees an error and changes it again.
	epoch, err := c.sessions.revoke(c.ctx(), c.who.Account)
	if err != nil {
		return err
	}
	if err := c.sessions.open(c.ctx(), login, session{Account: c.who.Account, Epoch: epoch}); err != nil {
		return err
	}
	return render(c, http.StatusOK, viewToken(login))
}
