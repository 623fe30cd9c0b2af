package main

import (
	"context"
	"errors"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
	"cardflow/wechat"
)

// fault is an error on its way from the custodian to the web process: what it means there, and a text for engineers. What
// has no meaning on the other side is a text only.
type fault struct {
	Text     string         `json:"text"`
	Is       []string       `json:"is,omitempty"`       // of sentinels
	Custody  string         `json:"custody,omitempty"`  // code of a custody.Error
	Transfer string         `json:"transfer,omitempty"` // of a transfer.Error
	Details  map[string]any `json:"details,omitempty"`  // of that
	WeChat   *wechat.Error  `json:"wechat,omitempty"`
	After    time.Duration  `json:"after,omitempty"` // of a refusal that is over by itself
}

// sentinels are the errors that are told apart by identity.
var sentinels = map[string]error{
	"key_stopped": transfer.ErrKeyStopped, "key_replaced": transfer.ErrKeyReplaced, "sealed": transfer.ErrSealed, "login_old": transfer.ErrLoginOld,
	"session_over": transfer.ErrSessionOver, "too_late": transfer.ErrTooLate, "unauthorised": transfer.ErrUnauthorised, "login": transfer.ErrLogin,
	"cursor": model.ErrCursor, "not_found": model.ErrNotFound, "conflict": model.ErrConflict, "unavailable": model.ErrUnavailable,
	"cancelled": context.Canceled, "deadline": context.DeadlineExceeded,
}

func faultOf(err error) fault {
	f := fault{Text: err.Error()}
	for name, s := range sentinels {
		if errors.Is(err, s) {
			f.Is = append(f.Is, name)
		}
	}
	var kept *custody.Error
	if errors.As(err, &kept) {
		f.Custody = kept.Code
	}
	var refusal *transfer.Error
	if errors.As(err, &refusal) {
		f.Transfer, f.Details = refusal.Code, refusal.Details
	}
	_ = errors.As(err, &f.WeChat)
	var wait *transfer.Wait
	if errors.As(err, &wait) {
		f.After = wait.After
	}
	return f
}

// told is a fault as it arrives: the same to errors.Is and errors.As as the error that it was.
type told struct {
	text   string
	causes []error
}

// Error is for engineers.
func (t *told) Error() string { return "custodian: " + t.text }

// Unwrap gives what it means.
func (t *told) Unwrap() []error { return t.causes }

func (f fault) err() error {
	t := &told{text: f.Text}
	for _, name := range f.Is {
		if s, ok := sentinels[name]; ok {
			t.causes = append(t.causes, s)
		}
	}
	if e := custody.Known(f.Custody); e != nil {
		t.causes = append(t.causes, e)
	}
	if f.Transfer != "" {
		t.causes = append(t.causes, &transfer.Error{Code: f.Transfer, Details: f.Details})
	}
	if f.WeChat != nil {
		t.causes = append(t.causes, f.WeChat)
	}
	if f.After > 0 {
		return &transfer.Wait{After: f.After, Err: t}
	}
	return t
}
