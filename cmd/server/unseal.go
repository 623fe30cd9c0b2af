package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"cardflow/custody"
	"cardflow/gm"
)

// unsealCommand brings one share to the running server, through its API, or to the custodian, and with the login of whoever
// brings it: each person by himself, so that the audit names each, and by the same rules for all.
type unsealCommand struct {
	At     `embed:""`
	Status bool `help:"Only tell whether it is sealed, and which shares it has."`
	JSON   bool `name:"json" help:"The status as JSON."`
}

// At says which server, and who asks.
type At struct {
	URL  string `help:"The server; without it the one of this configuration on this machine. Each server is unsealed by itself." placeholder:"URL" xor:"where"`
	User string `help:"Who logs in, with the role ops." placeholder:"NAME"`
	// Custodian is for those who don't trust the server with what they type.
	Custodian bool `help:"Go to the custodian on this machine, by its socket and past the server." xor:"where"`
}

// sealState is the answer of /custody/seal.
type sealState struct {
	Sealed    bool      `json:"sealed"`
	StoppedAt time.Time `json:"stoppedAt,omitzero"`
	Root      string    `json:"root"`
	Kind      string    `json:"kind"`
	Set       string    `json:"set,omitempty"`
	Threshold int       `json:"threshold,omitempty"`
	Shares    int       `json:"shares,omitempty"`
	Entered   []int     `json:"entered"`
}

// Run implements the command.
func (c unsealCommand) Run(e *environment) error {
	ask := e.asker()
	at, ctx, logout, err := c.login(e, ask)
	if err != nil {
		return err
	}
	defer logout()
	s, err := at.status(ctx)
	if err != nil {
		return err
	}
	if c.Status || !s.Sealed && s.StoppedAt.IsZero() {
		return c.print(e, s)
	}
	var share gm.Secret
	if s.Kind == string(custody.InShares) {
		if share, err = ask.share(fmt.Sprintf("Your share of set %s (not shown): ", s.Set)); err != nil {
			return err
		}
		defer share.Clear()
	}
	now, err := at.unseal(ctx, share)
	if err != nil {
		return err
	}
	return c.print(e, now)
}

func (c unsealCommand) print(e *environment, s sealState) error {
	if c.JSON {
		b, err := json.Marshal(s)
		if err == nil {
			_, err = fmt.Fprintf(e.stdout, "%s\n", b)
		}
		return err
	}
	_, err := fmt.Fprint(e.stdout, s.text())
	return err
}

func (s sealState) text() string {
	var b strings.Builder
	if !s.StoppedAt.IsZero() {
		fmt.Fprintf(&b, "stopped by hand since %s\n", s.StoppedAt.Local().Format(time.DateTime))
	}
	switch {
	case !s.Sealed && s.StoppedAt.IsZero():
		b.WriteString("open: this server signs\n")
	case s.Kind == string(custody.InShares):
		fmt.Fprintf(&b, "sealed: %d of %d shares of set %s entered", len(s.Entered), s.Threshold, s.Set)
		if len(s.Entered) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Trim(fmt.Sprint(s.Entered), "[]"))
		}
		b.WriteByte('\n')
	default:
		b.WriteString("sealed: server unseal lifts it\n")
	}
	return b.String()
}

// login logs the person in. One who must change the password first does it here: on a first start nobody could, else.
func (a At) login(e *environment, ask *asker) (at desk, ctx context.Context, logout func(), err error) {
	base, err := serverAt(e.config, "--url", a.URL)
	if err != nil {
		return nil, nil, nil, err
	}
	name := a.User
	if name == "" {
		if name, err = ask.line("User name: "); err != nil {
			return nil, nil, nil, err
		}
	}
	password, err := ask.secret("Password (not shown): ")
	if err != nil {
		return nil, nil, nil, err
	}
	defer password.Clear()
	if a.Custodian {
		custodian, ctx, leave, err := logInAtCustodian(e, name, string(password))
		return atCustodian{custodian}, ctx, leave, err
	}
	api := newClient(base, "operator")
	if err := api.login(e.ctx, name, string(password)); err != nil {
		return nil, nil, nil, spoken(err)
	}
	logout = func() { _ = api.call(context.WithoutCancel(e.ctx), http.MethodPost, "/auth/logout", nil, nil) }
	err = api.call(e.ctx, http.MethodGet, "/custody/seal", nil, nil)
	if refused := (*apiError)(nil); errors.As(err, &refused) && refused.Code == "PASSWORD_CHANGE_REQUIRED" {
		err = changeFirst(e, ask, api, name, password)
	}
	if err != nil {
		logout()
		return nil, nil, nil, spoken(err)
	}
	return atServer{api}, e.ctx, logout, nil
}

// changeFirst gives the person a password of his own, and logs in with it.
func changeFirst(e *environment, ask *asker, api *client, name string, old gm.Secret) error {
	fmt.Fprintln(e.stderr, "The password was given for one time: choose your own, at least 10 characters.")
	chosen, err := ask.secret("New password (not shown): ")
	if err != nil {
		return err
	}
	defer chosen.Clear()
	again, err := ask.secret("Once more: ")
	if err != nil {
		return err
	}
	defer again.Clear()
	if !slices.Equal(chosen, again) {
		return errors.New("the two differ; nothing was changed")
	}
	change := map[string]string{"oldPassword": string(old), "newPassword": string(chosen)}
	if err := api.call(e.ctx, http.MethodPost, "/me/password", change, nil); err != nil {
		return err
	}
	return api.login(e.ctx, name, string(chosen)) // a new password may have ended the session
}

// sealCommand is the emergency stop.
type sealCommand struct {
	At   `embed:""`
	Yes  bool `help:"Do it. Without it the command tells what would happen."`
	JSON bool `name:"json" help:"The status afterwards as JSON."`
}

// Run implements the command.
func (c sealCommand) Run(e *environment) error {
	if !c.Yes {
		return would(e.stdout, c.JSON, sealWould)
	}
	at, ctx, logout, err := c.login(e, e.asker())
	if err != nil {
		return err
	}
	defer logout()
	s, err := at.seal(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, s)
	}
	_, err = fmt.Fprint(e.stdout, s.text())
	return err
}

const sealWould = `Nothing was done. With --yes all servers stop signing at once and clear their
keys from memory; a restart does not undo it. People can still look, log in and
hand things in: what needs a signature waits; what expires meanwhile says so.
Unseal each server to go on.
`

// awayNotice is what a server says whose custodian is away when it starts.
const awayNotice = "密钥托管进程（server custodian）不在：查询照常，登录和签名等它启动，启动后自动恢复\n"

// sealedNotice is what a server that starts sealed says to whoever started it.
func sealedNotice(s custody.SealStatus) string {
	if !s.Stopped.IsZero() {
		return "签名已被人工停止，重启不会恢复：请运维人员执行 server unseal\n"
	}
	return fmt.Sprintf("密钥托管已封存：查询、登录、受理照常，签名等待。\n请 %d 位份额持有人（组号 %s，共 %d 份）各自执行 server unseal\n", s.Threshold, s.Set, s.Shares)
}
