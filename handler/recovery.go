package handler

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"cardflow/model"
	"cardflow/transfer"
)

// Recoverers are what the platform's operators do for somebody whose key was stolen. That he may trade again takes two people:
// it is proposed as recovery.release.
type Recoverers interface {
	Recover(ctx context.Context, c transfer.Caller, idem transfer.Idem, participant string) (transfer.RecoveryView, error)
	Recoveries(ctx context.Context, c transfer.Caller, state, cursor string, limit int) (transfer.Page[transfer.RecoveryView], error)
	RecoveryOf(ctx context.Context, c transfer.Caller, participant string) (transfer.RecoveryView, error)
}

type recoveryView struct {
	Participant string             `json:"participant"`
	State       string             `json:"state"`
	KeyID       string             `json:"keyId"`
	NewKeyID    string             `json:"newKeyId,omitempty"`
	Actor       string             `json:"actor"`
	Releaser    string             `json:"releaser,omitempty"`
	Steps       []recoveryStepView `json:"steps"` // those that this one takes, in order
	CreatedAt   time.Time          `json:"createdAt"`
	UpdatedAt   time.Time          `json:"updatedAt"`
}

type recoveryStepView struct {
	Name string `json:"name"`
	Done bool   `json:"done"`
}

func viewRecovery(r transfer.RecoveryView) recoveryView {
	v := recoveryView{
		Participant: r.Participant, State: r.State, KeyID: r.KeyID, NewKeyID: r.NewKeyID, Actor: r.Actor, Releaser: r.Releaser,
		Steps: []recoveryStepView{}, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	for _, step := range r.Steps {
		if !step.Not {
			v.Steps = append(v.Steps, recoveryStepView{step.Name, step.Done})
		}
	}
	return v
}

// startRecovery is POST /custody/recoveries. When it answers, the stolen key signs nothing any more.
func startRecovery(c *call) error {
	in, err := bind[struct {
		Participant string `json:"participant"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(required("participant", in.Participant), bounded(64, "participant", in.Participant)); err != nil {
		return err
	}
	r, err := c.Service.Recover(c.ctx(), c.caller(), c.idem(), in.Participant)
	if err != nil {
		return err
	}
	return render(c, http.StatusAccepted, viewRecovery(r))
}

// listRecoveries is GET /custody/recoveries.
func listRecoveries(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	state := c.QueryParam("state")
	if state != "" && !slices.Contains(model.RecoveryMoves.States(), model.RecoveryState(state)) {
		return queryInvalid("state")
	}
	page, err := c.Service.Recoveries(c.ctx(), c.caller(), state, cursor, limit)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[recoveryView]{each(page.Items, viewRecovery), page.Next})
}

// showRecovery is GET /custody/recoveries/{id}: the newest of a participant.
func showRecovery(c *call) error {
	r, err := c.Service.RecoveryOf(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewRecovery(r))
}
