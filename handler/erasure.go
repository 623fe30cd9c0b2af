package handler

import (
	"errors"
	"net/http"
	"time"

	"cardflow/transfer"
)

// A consumer has his data deleted in two steps: he hears what it means, and what stands in the way; then he says that he wants
// it, and how many cards he leaves behind by it. The second goes to custody with the token and past the sessions here: a session
// is among what is deleted, and whoever got no answer must be able to ask again.

type erasureView struct {
	Cards    int64         `json:"cards"` // that he would leave behind
	Obstacle *actErrorView `json:"obstacle,omitempty"`
}

// showErasure is GET /me/erasure.
func showErasure(c *call) error {
	v, err := c.Service.ErasureAhead(c.ctx(), c.caller())
	if err != nil {
		return err
	}
	out := erasureView{Cards: v.Cards}
	if v.Obstacle != "" {
		out.Obstacle = &actErrorView{v.Obstacle, transfer.MessageOf(v.Obstacle)}
	}
	return render(c, http.StatusOK, out)
}

type erasedView struct {
	Participant string    `json:"participant"`
	Cards       int64     `json:"cards"`
	ErasedAt    time.Time `json:"erasedAt"`
}

// erase is POST /me/erasure.
func erase(c *call) error {
	in, err := bind[struct {
		Cards *int64 `json:"cards"`
	}](c)
	if err != nil {
		return err
	}
	if in.Cards == nil || *in.Cards < 0 {
		return field("cards", "请填写删除后留下的卡数")
	}
	done, err := c.Logins.Erase(c.ctx(), transfer.SessionOf(c.ctx()), *in.Cards)
	if errors.Is(err, transfer.ErrSessionOver) {
		return errNoSession
	}
	if err != nil {
		return err
	}
	c.Set(callerKey, done.Participant)
	if err := c.sessions.end(c.ctx(), Token(transfer.SessionOf(c.ctx()))); err != nil {
		c.server.Logger.Warn("erasure: the session ends by itself", "error", err) // and opens nothing: see call.standing
	}
	return render(c, http.StatusOK, erasedView{done.Participant, done.Cards, done.At})
}
