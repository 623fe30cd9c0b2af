package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cardflow/transfer"
)

// Acts are the writes on their way to the ledger.
type Acts interface {
	Act(ctx context.Context, c transfer.Caller, id string) (transfer.Act, error)
	// Watch yields every change until an end, then closes.
	Watch(ctx context.Context, c transfer.Caller, id string) (<-chan transfer.Act, error)
}

type actView struct {
	ConfirmationID string        `json:"confirmationId"`
	Function       string        `json:"function"`
	State          string        `json:"state"`
	TradeID        string        `json:"tradeId,omitempty"`
	TxID           string        `json:"txId,omitempty"`
	BlockNumber    *uint64       `json:"blockNumber,omitempty"` // only once it is in a block
	Error          *actErrorView `json:"error,omitempty"`
	CreatedAt      time.Time     `json:"createdAt"`
	UpdatedAt      time.Time     `json:"updatedAt"`
}

type actErrorView struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func viewAct(a transfer.Act) actView {
	v := actView{
		ConfirmationID: a.ID, Function: a.Function, State: a.State, TradeID: a.TradeID, TxID: a.TxID,
		Error: viewActError(a.Error), CreatedAt: a.CreatedAt, UpdatedAt: a.UpdatedAt,
	}
	if a.State == "committed" {
		v.BlockNumber = &a.BlockNumber
	}
	return v
}

func viewActError(e *transfer.ActError) *actErrorView {
	if e == nil {
		return nil
	}
	return &actErrorView{Code: e.Code, Message: e.Message}
}

// accepted answers a write that is on its way: ask for it under /confirmations.
func (c *call) accepted(a transfer.Act, err error) error {
	if err != nil {
		return err
	}
	return render(c, http.StatusAccepted, viewAct(a))
}

// showAct is GET /confirmations/{id}.
func showAct(c *call) error {
	a, err := c.Service.Act(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewAct(a))
}

const (
	heartbeat   = 15 * time.Second // proxies give up on a silent connection after 30 s or more
	longestWait = 5 * time.Minute  // then the client asks again: its session may have ended
	slowestRead = 10 * time.Second // of a client, for one event
)

// streamAct is GET /confirmations/{id}/events: every state of the act as a server-sent event, until it has ended.
func streamAct(c *call) error {
	ctx, cancel := context.WithCancel(c.ctx())
	defer cancel()
	acts, err := c.Service.Watch(ctx, c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events back
	c.Response().WriteHeader(http.StatusOK)
	if err := c.event(": open\n\n"); err != nil {
		return nil
	}
	end := c.Clock.After(longestWait)
	beat := c.Clock.After(heartbeat)
	for {
		var text string
		select {
		case a, ok := <-acts:
			if !ok {
				return nil
			}
			data, err := json.Marshal(viewAct(a))
			if err != nil {
				return fmt.Errorf("event: %w", err)
			}
			text = "event: state\ndata: " + string(data) + "\n\n"
		case <-beat:
			text, beat = ": still here\n\n", c.Clock.After(heartbeat)
		case <-end:
			return nil
		case <-c.Stopping:
			return nil
		case <-ctx.Done():
			return nil
		}
		if err := c.event(text); err != nil {
			return nil // nobody reads any more
		}
	}
}

// event writes and flushes. The deadline moves with every event: the server's would end all streams together, and
// without one a client that stops reading would hold its connection for ever. The network's clock is the machine's.
func (c *call) event(text string) error {
	control := http.NewResponseController(c.Response())
	if err := control.SetWriteDeadline(time.Now().Add(slowestRead)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := c.Response().Write([]byte(text)); err != nil {
		return err
	}
	return control.Flush()
}
