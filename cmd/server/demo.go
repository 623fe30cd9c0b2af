package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"cardflow/ledger/contract"
)

// demoCommand plays the story on a fresh data directory, over HTTP like everyone else, and checks what it claims.
type demoCommand struct {
	Keep string `help:"Keep the demo's data in this new directory." placeholder:"DIR" type:"path"`
}

// errDemo makes the exit status 1: something that should hold did not.
var errDemo = errors.New("the demo found something that does not hold")

// demo is one play.
type demo struct {
	ctx    context.Context
	app    *App
	out    io.Writer
	failed int
	step   int
	people map[string]*client
}

// Run implements the command.
func (c demoCommand) Run(e *environment) error {
	if e.config.Mode == Production {
		return errors.New("the demo makes people whose password everyone knows: not in production mode")
	}
	dir := c.Keep
	if dir == "" {
		tmp, err := os.MkdirTemp("", "cardflow-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		dir = tmp
	} else if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s is there already: the demo wants a fresh directory", filepath.Base(dir))
	}
	config := e.config
	config.Custody.Process = Inside
	config.DataDir, config.HTTP.Listen = dir, "127.0.0.1:0"
	log, err := openLog(dir)
	if err != nil {
		return err
	}
	defer log.Close()
	start := time.Now()
	app, err := Open(e.ctx, config, newLogger(LogConfig{Level: "debug", Format: "json"}, log))
	if err != nil {
		return err
	}
	d := &demo{ctx: e.ctx, app: app, out: e.stdout, people: map[string]*client{}}
	err = d.play()
	if err == nil {
		err = d.scan(dir)
	}
	if closing := app.Close(e.ctx); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	d.say("")
	if d.failed > 0 {
		d.say("  ✗ 有 %d 项不成立", d.failed)
		return errDemo
	}
	d.say("  ✓ 全部成立，用时 %.1f 秒", time.Since(start).Seconds())
	if c.Keep != "" {
		d.say("    数据保留在 %s", c.Keep)
	}
	return nil
}

func openLog(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, "demo.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// head opens a chapter.
func (d *demo) head(title string) {
	d.step++
	d.say("\n%d. %s", d.step, title)
}

// done reports a step with its transaction.
func (d *demo) done(what, txID string, block uint64) {
	d.say("   ✓ %s TXID %s… 区块 %d", pad(what, 42), txID[:min(16, len(txID))], block)
}

// refused demands that err is a refusal with one of these codes.
func (d *demo) refused(what string, err error, codes ...string) {
	code := codeOf(err)
	for _, c := range codes {
		if code == c {
			d.say("   ✓ %s 拒绝：%s", pad(what, 42), code)
			return
		}
	}
	d.failed++
	d.say("   ✗ %s 应拒绝（%s），实际：%v", pad(what, 42), codes[0], err)
}

func (d *demo) check(ok bool, format string, args ...any) {
	mark := "✓"
	if !ok {
		d.failed++
		mark = "✗"
	}
	d.say("   "+mark+" "+format, args...)
}

func codeOf(err error) string {
	var a *apiError
	if errors.As(err, &a) {
		return a.Code
	}
	return contract.CodeOf(err)
}

// pad fills text to a width of terminal columns: a Chinese character takes two.
func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-columns(s)))
}

func columns(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= 0x1100 && utf8.RuneLen(r) >= 3 {
			n++
		}
	}
	return n
}
