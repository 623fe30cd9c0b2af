package handler

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"cardflow/custody"
)

// Roots are what ops and auditors see of the root key and of what is under it.
type Roots interface {
	RootStatus(ctx context.Context) (custody.RootStatus, error)
}

type kekView struct {
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	Keys      int64     `json:"keys"`
}

type nextRootView struct {
	Root      string    `json:"root"`
	Kind      string    `json:"kind"`
	Threshold int       `json:"threshold,omitempty"`
	Shares    int       `json:"shares,omitempty"`
	MadeBy    string    `json:"madeBy"`
	MadeAt    time.Time `json:"madeAt"`
}

type rootView struct {
	Root      string        `json:"root"`
	Kind      string        `json:"kind"`
	Set       string        `json:"set,omitempty"`
	Threshold int           `json:"threshold,omitempty"`
	Shares    int           `json:"shares,omitempty"`
	StoppedAt time.Time     `json:"stoppedAt,omitzero"`
	KEKs      []kekView     `json:"keks"`
	Keys      int64         `json:"keys"`
	Left      int64         `json:"left"`
	Next      *nextRootView `json:"next,omitempty"`
}

func viewRoot(s custody.RootStatus) rootView {
	v := rootView{
		Root: s.Root.ID, Kind: s.Root.Kind, Set: s.Set, Threshold: s.Root.Threshold, Shares: s.Root.Shares, Keys: s.Total, Left: s.Left,
		KEKs: each(s.KEKs, func(k custody.KEKStatus) kekView { return kekView{k.Version, k.CreatedAt.Time(), k.Keys} }),
	}
	if s.Stopped != 0 {
		v.StoppedAt = s.Stopped.Time()
	}
	if n := s.Next; n != nil {
		v.Next = &nextRootView{n.ID, n.Kind, n.Threshold, n.Shares, n.MadeBy, n.MadeAt.Time()}
	}
	return v
}

// showRoot is GET /custody/root.
func showRoot(c *call) error {
	s, err := c.Custody.RootStatus(c.ctx())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewRoot(s))
}

// rotateRoot is POST /custody/root/rotate: a proposal. The new root was made at a machine, where its holders were; no share
// comes by here.
func rotateRoot(c *call) error {
	in, err := bind[struct {
		Root   string `json:"root"`
		Reason string `json:"reason"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("root", in.Root, "reason", in.Reason), bounded(64, "root", in.Root), bounded(4096, "reason", in.Reason)); err != nil {
		return err
	}
	arguments, err := json.Marshal(custody.RotateRoot{Root: in.Root})
	if err != nil {
		return err
	}
	return c.propose(custody.OperationRotateRoot, arguments, in.Reason)
}
