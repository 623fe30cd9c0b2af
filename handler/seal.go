package handler

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"cardflow/custody"
)

// Seals are what ops do to open custody, and to stop it.
type Seals interface {
	SealStatus(ctx context.Context) (custody.SealStatus, error)
	// Unseal clears share.
	Unseal(ctx context.Context, share []byte, actor string) (custody.SealStatus, error)
	Seal(ctx context.Context, actor string) error
}

type sealView struct {
	Sealed    bool      `json:"sealed"`
	StoppedAt time.Time `json:"stoppedAt,omitzero"`
	Root      string    `json:"root"`
	Kind      string    `json:"kind"`
	Set       string    `json:"set,omitempty"`
	Threshold int       `json:"threshold,omitempty"`
	Shares    int       `json:"shares,omitempty"`
	Entered   []int     `json:"entered"`
}

func viewSeal(s custody.SealStatus) sealView {
	v := sealView{s.Sealed, s.Stopped, s.RootID, string(s.Kind), s.Set, s.Threshold, s.Shares, s.Entered}
	if v.Entered == nil {
		v.Entered = []int{}
	}
	return v
}

// showSeal is GET /custody/seal.
func showSeal(c *call) error {
	s, err := c.Custody.SealStatus(c.ctx())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewSeal(s))
}

// shareEntries is how often one person may bring a share: each entry is a row of the audit, and whoever opens custody has
// to append all of them first. Who mistypes has room.
var shareEntries = Rate{Count: 30, Per: 10 * time.Minute}

// unseal is POST /custody/seal/unseal. What came is cleared as far as it is held here.
func unseal(c *call) error {
	defer clear(c.body)
	if err := c.limits.take(c.ctx(), "RATE_LIMITED", "shares:"+c.who.Person, shareEntries); err != nil {
		return err
	}
	in, err := bind[struct {
		Share typed `json:"share"`
	}](c)
	if err != nil {
		return err
	}
	s, err := c.Custody.Unseal(c.ctx(), in.Share, c.who.Person)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewSeal(s))
}

// seal is POST /custody/seal.
func seal(c *call) error {
	if err := c.Custody.Seal(c.ctx(), c.who.Person); err != nil {
		return err
	}
	return showSeal(c)
}

// typed is a string of a request that can be cleared. White space may be escaped in it; no other escape is known.
type typed []byte

// UnmarshalJSON implements json.Unmarshaler.
func (t *typed) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' {
		return &json.UnmarshalTypeError{Value: "value", Type: reflect.TypeFor[string]()}
	}
	*t = make(typed, 0, len(b))
	for i := 1; i < len(b)-1; i++ {
		c := b[i]
		if c == '\\' && (b[i+1] == 'n' || b[i+1] == 'r' || b[i+1] == 't') {
			i, c = i+1, ' '
		}
		*t = append(*t, c)
	}
	return nil
}
