package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"cardflow/gm"
	"cardflow/transfer"
	"cardflow/transfer/custodial"
)

// custodianCommand runs custody in a process of its own, behind a socket, until it is told to stop.
type custodianCommand struct {
	Demo   bool   `help:"Let a server that is started with --demo add the demo's people, whose passwords everyone knows. Not in production mode."`
	Grants string `help:"Only print the statements that give the servers' database user what it needs beside a custodian, such as 'cardflow'@'10.0.0.%'." placeholder:"USER"`
}

// Run implements the command.
func (c custodianCommand) Run(e *environment) error {
	if c.Grants != "" {
		return c.printGrants(e)
	}
	if e.config.Custody.Process != Own {
		return errors.New("custody runs inside of the server: custody.process is not own")
	}
	if c.Demo && e.config.Mode == Production {
		return errors.New("--demo has passwords that everyone knows: not in production mode")
	}
	if e.onDisk != nil {
		e.logger.Warn("keys may get onto a disk", "error", e.onDisk)
	}
	app, err := openCustodian(e.ctx, e.config, e, c.Demo)
	if err != nil {
		return err
	}
	defer func() {
		if err := app.Close(e.ctx); err != nil {
			e.logger.Error("close", "error", err)
		}
	}()
	if !c.Demo {
		if err := (serveCommand{}).firstPerson(e, app); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "CardFlow 密钥托管  %s   (Ctrl-C 停止)\n", strings.TrimSpace(app.Config.Path(app.Config.Custody.Socket)+"  "+app.URL))
	if app.Custody.Sealed() {
		s, err := app.Custody.SealStatus(e.ctx)
		if err != nil {
			return err
		}
		fmt.Fprint(e.stdout, sealedNotice(s))
	}
	<-e.ctx.Done()
	e.logger.Info("stopping")
	return nil
}

// openCustodian opens what a custodian is made of, and its socket.
func openCustodian(ctx context.Context, c Config, e *environment, demo bool) (app *App, err error) {
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	app = &App{custodian: true, demo: demo, Config: c, Logger: e.logger, Registry: prometheus.NewRegistry(), stopping: make(chan struct{}), cancel: cancel}
	defer func() {
		if err != nil {
			err = errors.Join(err, app.Close(context.Background()))
		}
	}()
	for _, open := range []func(context.Context, context.Context) error{
		app.openDatabase, app.grantServer, app.openJournal, app.openCustody, app.openWeChat, app.openAccounts,
	} {
		if err := open(ctx, run); err != nil {
			return app, err
		}
	}
	name, err := transfer.OpenServerName(c.Path("custodian.id"), rand.Reader)
	if err != nil {
		return app, err
	}
	app.Custody.Start()
	app.background(run, func(ctx context.Context) { app.Custody.Run(ctx, name) })
	l, err := listenSocket(c.Path(c.Custody.Socket))
	if err != nil {
		return app, fmt.Errorf("custody.socket: %w", err)
	}
	doors := []net.Listener{l}
	if c.Custody.TLS.Listen != "" {
		if l, err = app.listenTLS(); err != nil {
			return app, errors.Join(err, doors[0].Close())
		}
		doors = append(doors, l)
		app.URL = l.Addr().String()
	}
	k := app.inside(app.Service)
	k.noDemo = !demo
	app.onClose(serveCustodian(custodianHandler(k, app.Custody, app.Registry, e.logger, usualLimits), e.logger, usualLimits, doors...))
	return app, nil
}

// openAccounts makes the use cases of accounts: who may log in; and what two people want done to lots. Nothing else of them runs here.
func (a *App) openAccounts(ctx, _ context.Context) error {
	a.Service = transfer.New(transfer.Config{DB: a.DB, Signer: custodial.Signer{Custody: a.Custody}, Vault: a.vault, Journal: a.Journal, Logger: a.Logger, Server: "custodian"})
	a.Custody.OperateLots(lots{a.Service})
	if err := a.Service.Prepare(ctx); err != nil { // the platform, whose people they are
		return err
	}
	return a.Service.RecoverAccounts(ctx)
}

// stamp is the key by which custody recognises its rows of logins. Where it is a process of its own it is in a file of its
// own, which the web process can't read; else it hangs from the data key. A command beside the servers may have none.
func (a *App) stamp() (gm.Secret, error) {
	vault, err := a.vault, error(nil)
	if a.Config.Custody.Process == Own {
		name := a.Config.Path(a.Config.Custody.StampFile)
		if _, missing := os.Stat(name); missing != nil && (a.tool || a.look) {
			return nil, nil
		}
		vault, err = transfer.OpenVault(name, rand.Reader)
	}
	if vault == nil || err != nil {
		return nil, err
	}
	return vault.Stamp(), nil
}
