package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"sync/atomic"
	"time"
)

// client speaks to a server as the mini-program and the console do: over HTTP, with a session of its own. The demo and
// the benchmarks use it.
type client struct {
	base  string // …/api/v1
	http  *http.Client
	token string
	wish  atomic.Int64
	name  string
}

// newClient makes a client of the server at url. It goes through no proxy, whatever the environment says.
func newClient(url, name string) *client {
	return &client{base: url + "/api/v1", name: name, http: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true},
	}}
}

// apiError is an error as the API answers it.
type apiError struct {
	Status  int
	Code    string
	Message string
}

// Error names status and code.
func (e *apiError) Error() string { return fmt.Sprintf("%d %s %s", e.Status, e.Code, e.Message) }

// call sends body as JSON and reads the answer into out. Every write has an idempotency key of its own.
func (c *client) call(ctx context.Context, method, path string, body, out any) error {
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.do(req, out)
}

func (c *client) do(req *http.Request, out any) error {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if req.Method == http.MethodPost && req.Header.Get("Idempotency-Key") == "" {
		req.Header.Set("Idempotency-Key", fmt.Sprintf("%s-%d-%d", c.name, time.Now().UnixNano(), c.wish.Add(1)))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		var e struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(b, &e); err != nil {
			return fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, resp.Status)
		}
		return &apiError{resp.StatusCode, e.Error.Code, e.Error.Message}
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// login logs a member of staff in.
func (c *client) login(ctx context.Context, username, password string) error {
	return c.session(ctx, "/auth/login", map[string]string{"username": username, "password": password})
}

// wechat logs a consumer in through WeChat's sandbox.
func (c *client) wechat(ctx context.Context, code string) error {
	return c.session(ctx, "/wechat/login", map[string]string{"code": code})
}

func (c *client) session(ctx context.Context, path string, body any) error {
	var s struct{ Token string }
	if err := c.call(ctx, http.MethodPost, path, body, &s); err != nil {
		return err
	}
	c.token = s.Token
	return nil
}

// upload sends a card file.
func (c *client) upload(ctx context.Context, path, name string, file io.Reader, out any) error {
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	part, err := m.CreateFormFile("file", name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(part, file); err != nil {
		return err
	}
	if err := m.Close(); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, &b)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", m.FormDataContentType())
	return c.do(req, out)
}

// confirmation is the state of a write on its way.
type confirmation struct {
	ConfirmationID string
	State          string
	TxID           string
	BlockNumber    uint64
	Error          *struct{ Code, Message string }
}

// await follows a confirmation to its end, as the mini-program does: by server-sent events.
func (c *client) await(ctx context.Context, id string) (confirmation, error) {
	var v confirmation
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/confirmations/"+id+"/events", nil)
	if err != nil {
		return v, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, &apiError{Status: resp.StatusCode, Code: "EVENTS"}
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		v = confirmation{}
		if err := json.Unmarshal(data, &v); err != nil {
			return v, err
		}
		switch v.State {
		case "committed":
			return v, nil
		case "failed":
			return v, &apiError{0, v.Error.Code, v.Error.Message}
		}
	}
	if err := lines.Err(); err != nil {
		return v, err
	}
	return v, io.ErrUnexpectedEOF // the server is stopping
}
