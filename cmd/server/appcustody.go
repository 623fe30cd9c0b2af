package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
)

// openKeeper finds the way to custody: in this process, or in its own.
func (a *App) openKeeper(ctx, run context.Context) error {
	if a.apart {
		return nil // openJournal has found it
	}
	return a.openCustody(ctx, run)
}

var errServersConfig = errors.New("there is no root key here: beside a custodian this takes the custodian's configuration, and its user")

// openCustody opens custody, or finds it sealed, if the root is in shares or signing was stopped.
func (a *App) openCustody(ctx, _ context.Context) error {
	if c := a.Config; c.Custody.Process == Own && !a.custodian && custody.RootKind(c.Custody.Kind) == custody.InFile && !exists(c.Path(c.Custody.RootKeyFile)) {
		return errServersConfig // rather than to make a root that nobody wants
	}
	if err := a.rootIsThere(ctx); err != nil {
		return err
	}
	root, err := a.Config.root()
	if err != nil {
		return err
	}
	c := a.custodyConfig()
	c.Root, c.Shares, c.Tool, c.Look = root, root == nil, a.tool || a.look, a.look
	c.Founds = !a.custodian || a.demo
	c.Metrics = newCustodyMetrics(a.Registry, func() bool { return a.Custody != nil && a.Custody.Sealed() })
	c.Keep = func(keys ...model.CustodyKey) error {
		if a.Journal == nil { // a command beside a server, which has the journal: that makes the keys
			return errors.New("there is no journal")
		}
		return a.Journal.Append(transfer.KeyEntries(keys)...)
	}
	if c.Stamp, err = a.stamp(); err != nil {
		return fmt.Errorf("custody.stamp_file: %w", err)
	}
	c.ProposalLife, c.Unguarded = a.Config.Custody.ProposalLife, !a.Config.Custody.Guards
	c.LoginAge, c.StepUpAge = a.Config.Custody.LoginAge, a.Config.Custody.StepUpAge
	if a.Custody, err = custody.Open(ctx, c); err != nil {
		return err
	}
	a.Registry.MustRegister(keysStanding{a.Custody})
	a.onClose(func() error { a.Custody.Close(); return nil })
	return nil
}

// rootIsThere refuses to begin where the database is under a root in a file, and the file isn't there: one that would be
// made now can't be it, and would lie where the right one belongs.
func (a *App) rootIsThere(ctx context.Context) error {
	name := a.Config.Path(a.Config.Custody.RootKeyFile)
	if a.Config.Custody.Kind != string(custody.InFile) || exists(name) {
		return nil
	}
	_, err := custody.LookAtRoot(ctx, a.DB)
	switch {
	case err == nil:
		return fmt.Errorf("no root key at %s: %w", name, custody.ErrRootMismatch)
	case errors.Is(err, custody.ErrNoRoot):
		return nil
	}
	return err
}

// custodyConfig is what every custody of this configuration has.
func (a *App) custodyConfig() custody.Config {
	return custody.Config{DB: a.DB, Channel: a.Config.Ledger.Channel, Clock: time.Now, Random: rand.Reader, Logger: a.Logger, At: at, Anchored: true}
}

// root is the root key as it is configured; nil if it is in shares.
func (c Config) root() (custody.RootKey, error) {
	switch custody.RootKind(c.Custody.Kind) {
	case custody.InShares:
		return nil, nil
	case custody.InToken:
		return custody.TokenRoot(c.Custody.PKCS11.token())
	}
	return custody.FileRoot(c.Path(c.Custody.RootKeyFile), rand.Reader)
}

func (c PKCS11Config) token() custody.Token {
	return custody.Token{Module: c.Module, Label: c.Token, Key: c.Key, PIN: []byte(c.PIN.Reveal())}
}
