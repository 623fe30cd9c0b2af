package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"cardflow/custody"
)

// rewrapCommand puts all keys under the newest key-encryption key. Servers that run do that by themselves in the background;
// whoever has the lease does it, the other one watches.
type rewrapCommand struct {
	Status bool `help:"Only tell how far it is."`
	JSON   bool `name:"json" help:"The status, or what was done, as JSON."`
	Yes    bool `help:"Do it. Without it the command tells what would happen."`
}

// Run implements the command. Ctrl-C, or worse, stops it between two batches; a server goes on.
func (c rewrapCommand) Run(e *environment) (err error) {
	if c.Status || c.JSON && !c.Yes {
		return e.rootStatus(c.JSON)
	}
	if !c.Yes {
		if err := e.rootStatus(false); err != nil {
			return err
		}
		_, err := fmt.Fprint(e.stdout, rewrapWould)
		return err
	}
	app, err := e.opened()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close(e.ctx)) }()
	began := time.Now()
	p, err := app.Custody.Rewrap(e.ctx, fmt.Sprintf("%s/%d", operator(), os.Getpid()), true, func(p custody.RewrapProgress) {
		bar(e.stderr, "rewrap", float64(p.Done)/float64(max(p.Done+p.Left, 1)))
	})
	if errors.Is(err, custody.ErrRewrapElsewhere) {
		err = c.watch(e.ctx, e, app)
	}
	if terminal(e.stderr) {
		fmt.Fprintln(e.stderr)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(e.stdout, map[string]any{"done": p.Done, "left": p.Left, "unreadable": p.Unreadable, "version": p.Version})
	} else {
		_, err = fmt.Fprintf(e.stdout, "%d keys put under key-encryption key %d in %s\n", p.Done, p.Version, time.Since(began).Round(time.Millisecond))
	}
	if err != nil {
		return err
	}
	if p.Unreadable > 0 {
		return fmt.Errorf("%d keys don't open: the log names them; %w", p.Unreadable, custody.ErrKeyUnreadable)
	}
	return nil
}

// watch shows how far another server is, to its end.
func (c rewrapCommand) watch(ctx context.Context, e *environment, app *App) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		s, err := custody.LookAtRoot(ctx, app.DB)
		if err != nil || s.Left == 0 {
			return err
		}
		bar(e.stderr, "rewrap", 1-float64(s.Left)/float64(s.Total))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

const rewrapWould = `
Nothing was done. With --yes all keys are put under the newest key-encryption
key, while everything else goes on. It may be stopped at any time: servers
finish it in the background. A new one is for server root renew.
`
