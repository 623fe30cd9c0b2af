package handler_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cardflow/handler"
	"cardflow/transfer"
)

// stream opens the events of an act over a real connection, and returns its lines.
func (r *rig) stream(t *testing.T, token string) (*http.Response, *bufio.Scanner, context.CancelFunc) {
	t.Helper()
	r.want(202, "", r.wish("/trades/trade-1/cancel", token, nil))
	server := httptest.NewServer(r.http)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/api/v1/confirmations/act-1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res, bufio.NewScanner(res.Body), cancel
}

// next is the next line that isn't empty.
func next(t *testing.T, s *bufio.Scanner) string {
	t.Helper()
	for s.Scan() {
		if s.Text() != "" {
			return s.Text()
		}
	}
	return "end"
}

// TestEvents: every state arrives when it happens, heartbeats in between, and the stream ends with the act.
func TestEvents(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	r.clock.auto, r.clock.rung = false, make(chan struct{}, 16)
	res, lines, _ := r.stream(t, token)
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if got := next(t, lines); got != ": open" {
		t.Errorf("%q", got)
	}
	<-r.clock.rung // its end
	<-r.clock.rung // its first heartbeat
	r.service.watched <- transfer.Act{ID: "act-1", Function: "Cancel", State: "signed", CreatedAt: start, UpdatedAt: start}
	if got := next(t, lines); got != "event: state" {
		t.Errorf("%q", got)
	}
	if got := next(t, lines); got != `data: {"confirmationId":"act-1","function":"Cancel","state":"signed","createdAt":"2026-03-01T08:00:00Z","updatedAt":"2026-03-01T08:00:00Z"}` {
		t.Errorf("%q", got)
	}
	r.clock.advance(15 * time.Second)
	if got := next(t, lines); got != ": still here" {
		t.Errorf("%q", got)
	}
	<-r.clock.rung
	r.service.watched <- transfer.Act{ID: "act-1", Function: "Cancel", State: "committed", TxID: "tx", BlockNumber: 0, CreatedAt: start, UpdatedAt: start}
	close(r.service.watched)
	next(t, lines)
	if got := next(t, lines); !strings.Contains(got, `"state":"committed"`) || !strings.Contains(got, `"blockNumber":0`) || !strings.Contains(got, `"txId":"tx"`) {
		t.Errorf("%q", got)
	}
	if got := next(t, lines); got != "end" {
		t.Errorf("after the end: %q", got)
	}
}

// TestEventsEnd by themselves after five minutes, and when the server stops.
func TestEventsEnd(t *testing.T) {
	stopping := make(chan struct{})
	r := newRig(t, func(c *handler.Config) { c.Stopping = stopping })
	token := r.staff("retailer")
	r.clock.auto, r.clock.rung = false, make(chan struct{}, 16)
	_, lines, _ := r.stream(t, token)
	next(t, lines)
	<-r.clock.rung
	<-r.clock.rung
	r.clock.mu.Lock()
	r.clock.bells = r.clock.bells[:1] // the heartbeat aside
	r.clock.mu.Unlock()
	r.clock.advance(5 * time.Minute)
	if got := next(t, lines); got != "end" {
		t.Errorf("%q", got)
	}
	_, lines, _ = r.stream(t, token)
	next(t, lines)
	close(stopping)
	if got := next(t, lines); got != "end" {
		t.Errorf("%q", got)
	}
}

// TestEventsOfSomebodyElse are none.
func TestEventsOfSomebodyElse(t *testing.T) {
	r := newRig(t)
	r.want(202, "", r.wish("/trades/trade-1/cancel", r.staff("retailer"), nil))
	other := r.consumer("小王")
	r.want(404, "NOT_FOUND", get("/confirmations/act-1/events", other))
	r.want(404, "NOT_FOUND", get("/confirmations/act-1", other))
}

// TestEventsOfAClientThatLeaves let go of the service's channel.
func TestEventsOfAClientThatLeaves(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	r.clock.auto = false
	res, lines, cancel := r.stream(t, token)
	next(t, lines)
	cancel()
	_, _ = io.Copy(io.Discard, res.Body)
	// The line of the log is written when the handler has returned.
	r.logs.wait(`"route":"/api/v1/confirmations/{id}/events"`)
}

// TestFailedActSaysWhy, in words for a person.
func TestFailedActSaysWhy(t *testing.T) {
	r := newRig(t)
	token := r.staff("retailer")
	r.want(202, "", r.wish("/trades/trade-1/cancel", token, nil))
	a := r.service.acts["act-1"]
	a.State, a.Error = "failed", &transfer.ActError{Code: "TRADE_ENDED", Message: transfer.MessageOf("TRADE_ENDED")}
	r.service.acts["act-1"] = a
	var v struct {
		State string
		Error struct{ Code, Message string }
	}
	r.want(200, "", get("/confirmations/act-1", token)).into(t, &v)
	if v.State != "failed" || v.Error.Code != "TRADE_ENDED" || v.Error.Message != transfer.MessageOf("TRADE_ENDED") {
		t.Errorf("%+v", v)
	}
}
