package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"cardflow/custody"
	"cardflow/gm"
	"cardflow/transfer"
)

// Shares and approvals can be brought to the custodian itself, by its socket, on its machine. The server that the network
// reaches then sees neither: whoever has taken it over can't collect shares, or be two people with the sessions of two.

// desk is where people bring shares, and stop signing: the server's API, or the custodian's socket.
type desk interface {
	status(ctx context.Context) (sealState, error)
	// unseal takes the text of a share, none where the root is in none.
	unseal(ctx context.Context, share gm.Secret) (sealState, error)
	seal(ctx context.Context) (sealState, error)
}

// atServer is the server's API.
type atServer struct{ *client }

func (d atServer) status(ctx context.Context) (s sealState, err error) {
	err = d.call(ctx, http.MethodGet, "/custody/seal", nil, &s)
	return s, spoken(err)
}

func (d atServer) seal(ctx context.Context) (s sealState, err error) {
	err = d.call(ctx, http.MethodPost, "/custody/seal", nil, &s)
	return s, spoken(err)
}

func (d atServer) unseal(ctx context.Context, share gm.Secret) (s sealState, err error) {
	body := map[string]json.RawMessage{}
	if share != nil {
		text, err := json.Marshal(string(share))
		if err != nil {
			return s, err
		}
		defer clear(text)
		body["share"] = text
	}
	err = d.call(ctx, http.MethodPost, "/custody/seal/unseal", body, &s)
	return s, spoken(err)
}

// atCustodian is the custodian's socket. Who somebody is the custodian knows by the token in the context.
type atCustodian struct{ remote }

func (d atCustodian) status(ctx context.Context) (sealState, error) {
	s, err := d.SealStatus(ctx)
	return sealStateOf(s), spoken(err)
}

func (d atCustodian) unseal(ctx context.Context, share gm.Secret) (sealState, error) {
	s, err := d.Unseal(ctx, append([]byte(nil), share...), "")
	return sealStateOf(s), spoken(err)
}

func (d atCustodian) seal(ctx context.Context) (sealState, error) {
	if err := d.Seal(ctx, ""); err != nil {
		return sealState{}, spoken(err)
	}
	return d.status(ctx)
}

func sealStateOf(s custody.SealStatus) sealState {
	return sealState{Sealed: s.Sealed, StoppedAt: s.Stopped, Root: s.RootID, Kind: string(s.Kind), Set: s.Set, Threshold: s.Threshold, Shares: s.Shares, Entered: s.Entered}
}

// logInAtCustodian logs a person of ops in at the custodian's socket, for as long as leave isn't called. One who must change
// the password first has to do that at the server.
func logInAtCustodian(e *environment, name, password string) (at remote, ctx context.Context, leave func(), err error) {
	at = newRemote(bySocket(e.config.Path(e.config.Custody.Socket)))
	s, person, err := at.LogInStaff(e.ctx, name, password)
	if errors.Is(err, transfer.ErrLogin) {
		return at, nil, nil, errors.New("用户名或密码不对，或账号被锁定")
	}
	if err != nil {
		return at, nil, nil, spoken(err)
	}
	leave = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(e.ctx), healthPatience)
		defer cancel()
		if err := at.LogOut(ctx, transfer.Caller{Session: s.Session}); err != nil {
			fmt.Fprintf(e.stderr, "server: the session could not be ended, and ends by itself: %v\n", err)
		}
	}
	if person.MustChangePassword {
		leave()
		return at, nil, nil, errors.New("请先修改密码：server people password --as " + name)
	}
	return at, transfer.WithSession(e.ctx, s.Session), leave, nil
}
