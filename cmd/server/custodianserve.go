package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"cardflow/custody"
)

// The custodian's door is a Unix socket: who may open it is a matter of the file's group, and nobody comes by the network,
// unless a custodian on a machine of its own has a second door for mutual TLS. Through either goes HTTP with JSON: POST /1/Call. The 1 is the protocol's version.
const (
	callPath    = "/1/"
	sessionName = "Cardflow-Session" // the token of whoever asks, in a call that is somebody's
	mostCall    = 8 << 20            // bytes of a call
	mostAnswer  = 64 << 20
	callTime    = 2 * time.Minute // a call ends by itself; one that checks the whole sign log, or the audit, may take longer
)

// doorLimits bound what whoever is at the custodian's door may take of it by doing nothing.
type doorLimits struct {
	head, body time.Duration // that a request takes to come: until its head is there, and all of it
	line       time.Duration // the same, of a line of a call that comes in lines
	answer     time.Duration // that he takes to read an answer
	idle       time.Duration // between two requests: longer than a server keeps a connection that it doesn't use
	stop       time.Duration // that calls under way have to end, when the custodian stops
	most       int           // connections at a door. The next one waits until one of them is closed
}

var usualLimits = doorLimits{head: 5 * time.Second, body: 30 * time.Second, line: callTime, answer: 30 * time.Second, idle: 90 * time.Second, stop: 20 * time.Second, most: 1024}

// custodianHandler answers calls.
func custodianHandler(k keeper, keys *custody.Custody, registry *prometheus.Registry, logger *slog.Logger, limits doorLimits) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("POST "+callPath+"{call}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("call")
		passes("asked " + name)
		answer, err := custodianCall(r, w, k, keys, name, limits)
		passes("did " + name)
		status := http.StatusOK
		if err != nil {
			status = http.StatusUnprocessableEntity
			if !quiet[name] || !errors.Is(err, custody.ErrSealed) {
				logger.Debug("custodian", "call", name, "error", err)
			}
			answer = faultOf(err)
		}
		b, err := json.Marshal(answer)
		if err != nil {
			logger.Error("custodian: answer", "call", name, "error", err)
			http.Error(w, "no answer", http.StatusInternalServerError)
			return
		}
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limits.answer)); err != nil {
			logger.Error("custodian: answer", "call", name, "error", err)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(b) // who has hung up doesn't want it
		clear(b)          // it may hold a token
	})
	return mux
}

// passes tells tests where a call is: it was asked, and nothing was done; it is done, and nobody knows.
func passes(point string) {
	if at != nil {
		at("custodian: " + point)
	}
}

// quiet are the calls that are asked every second.
var quiet = map[string]bool{"Ready": true, "ActiveKey": true}

func custodianCall(r *http.Request, w http.ResponseWriter, k keeper, keys *custody.Custody, name string, limits doorLimits) (any, error) {
	who := caller{keys, custody.LoginToken(r.Header.Get(sessionName))}
	if name == verifyCallName {
		// Its anchors come one by one, as the walk gets to them.
		return verifyRemotely(r.Context(), k, who, &verifyBody{Reader: r.Body, connection: http.NewResponseController(w), line: limits.line})
	}
	call, ok := calls[name]
	if !ok {
		return nil, errUnknownCall
	}
	arguments, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostCall))
	defer clear(arguments) // they may hold a password, a token, or a share
	if err != nil {
		return nil, fmt.Errorf("%w: %w", custody.ErrAsk, err)
	}
	ctx := r.Context()
	if name != "VerifySignLog" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	return call(ctx, k, who, arguments)
}

// listenSocket opens a Unix socket that its owner and its group may use. A file that a custodian has left which was killed
// is in nobody's hands, and removed: nobody answers there. One whose custodian is too busy to answer, or is another user's, is
// in somebody's.
func listenSocket(path string) (net.Listener, error) {
	c, err := net.Dial("unix", path)
	switch {
	case err == nil:
		return nil, errors.Join(fmt.Errorf("%s: a custodian runs there", path), c.Close())
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("a custodian may run there: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket == 0 {
		return nil, fmt.Errorf("%s is there, and is no socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serveCustodian answers calls at doors until stop is called, which lets those under way finish, for a while.
func serveCustodian(h http.Handler, logger *slog.Logger, limits doorLimits, doors ...net.Listener) (stop func() error) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: limits.head, ReadTimeout: limits.body, WriteTimeout: limits.answer, IdleTimeout: limits.idle, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	done := make(chan error, len(doors))
	for _, door := range doors {
		go func() { done <- srv.Serve(netutil.LimitListener(door, limits.most)) }()
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), limits.stop)
		defer cancel()
		err := srv.Shutdown(ctx)
		if err != nil {
			err = errors.Join(fmt.Errorf("calls were cut off: %w", err), srv.Close())
		}
		for range doors {
			if serve := <-done; !errors.Is(serve, http.ErrServerClosed) {
				err = errors.Join(err, serve)
			}
		}
		return err
	}
}

// socketName is short enough for a socket's path on every system.
func socketName(path string) bool { return len(path) <= 100 && !strings.ContainsRune(path, 0) }
