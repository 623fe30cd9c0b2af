package sandbox

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault is what goes wrong with the next requests to one path. Delay may stand beside the others; of these the first
// that is set counts.
type Fault struct {
	Path  string `json:"path"`  // such as "/sns/jscode2session"
	Times int    `json:"times"` // how many requests; 0 means 1, negative means until deleted

	Delay    string `json:"delay,omitempty"`    // a Go duration to wait first, or until the client gives up
	Drop     bool   `json:"drop,omitempty"`     // hang up without an answer
	Truncate bool   `json:"truncate,omitempty"` // hang up in the middle of the real answer
	Status   int    `json:"status,omitempty"`   // an HTTP status with a web server's page
	Body     string `json:"body,omitempty"`     // this text, with status 200
	ErrCode  int    `json:"errcode,omitempty"`  // WeChat's number

	// After lets the request take effect first, and spoils only the answer: the code is used up, the message sent.
	After bool `json:"after,omitempty"`

	delay time.Duration
}

// Script adds f; faults of one path come in the order in which they were added.
func (s *Sandbox) Script(f Fault) error {
	if f.Path == "" || !f.Drop && !f.Truncate && f.Status == 0 && f.Body == "" && f.ErrCode == 0 && f.Delay == "" {
		return errors.New(`sandbox: a fault needs "path" and one of errcode, status, delay, drop, truncate, body`)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		return errors.New("sandbox: status must be between 200 and 599")
	}
	if f.Delay != "" {
		d, err := time.ParseDuration(f.Delay)
		if err != nil || d < 0 {
			return errors.New(`sandbox: delay must be a duration such as "1.5s"`)
		}
		f.delay = d
	}
	if f.Times == 0 {
		f.Times = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
	return nil
}

// next takes the fault that meets a request to path, or nil.
func (s *Sandbox) next(path string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.faults, func(f *Fault) bool { return f.Path == path })
	if i < 0 {
		return nil
	}
	f := *s.faults[i]
	if s.faults[i].Times--; s.faults[i].Times == 0 {
		s.faults = slices.Delete(s.faults, i, i+1)
	}
	return &f
}

// faulty answers with a, unless a fault is scripted.
func (s *Sandbox) faulty(a api) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The body is read first: net/http notices that a client has gone only after that, and a Delay waits for it.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "request body too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		perform := func() answer {
			result, err := a(r)
			return s.render(r.URL.Path, result, err)
		}
		f := s.next(r.URL.Path)
		if f == nil {
			perform().write(w)
			return
		}
		s.spoil(w, r, f, perform)
	})
}

// spoil answers r as f has it. http.ErrAbortHandler is net/http's own way to hang up; it isn't logged.
func (s *Sandbox) spoil(w http.ResponseWriter, r *http.Request, f *Fault, perform func() answer) {
	if f.After {
		done := perform()
		perform = func() answer { return done }
	}
	if f.delay > 0 {
		t := time.NewTimer(f.delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Truncate:
		whole := perform()
		w.Header().Set("Content-Type", whole.contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(whole.body)))
		_, _ = w.Write(whole.body[:len(whole.body)/2])
		_ = http.NewResponseController(w).Flush() // or the abort takes the half back
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		answer{f.Status, "text/html", []byte("<html><body>" + http.StatusText(f.Status) + "</body></html>")}.write(w)
	case f.Body != "":
		answer{http.StatusOK, "text/plain", []byte(f.Body)}.write(w)
	case f.ErrCode != 0:
		s.render(r.URL.Path, nil, fail(f.ErrCode)).write(w)
	default:
		perform().write(w)
	}
}

func (s *Sandbox) postFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if read(r, &f) != nil {
		http.Error(w, "sandbox: not a fault", http.StatusBadRequest)
		return
	}
	if err := s.Script(f); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sandbox) deleteFaults(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	w.WriteHeader(http.StatusNoContent)
}
