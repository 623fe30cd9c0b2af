package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"cardflow/custody"
	"cardflow/handler"
	"cardflow/transfer"
	"cardflow/transfer/custodial"
)

// keeper is custody as the rest of a server sees it, wherever it runs: in this process (inside), or in one of its own
// (remote). It takes typed requests and what people show to prove who they are, and no more.
type keeper interface {
	transfer.Signer
	transfer.Audit
	handler.Custody
	handler.Logins
	transfer.Accounts
	transfer.Messenger
	// VerifyAudit walks along the audit.
	VerifyAudit(ctx context.Context, o custody.VerifyOptions) (custody.AuditReport, error)
	// Ready tells whether a signature could be made now. custody.ErrSealed: the keys aren't there, and all else goes on.
	Ready(ctx context.Context) error
	// DataKey is the platform's data key, which both sides of the socket have.
	DataKey(ctx context.Context) ([]byte, error)
	// SeedPeople adds the people of the demo, where that was asked for.
	SeedPeople(ctx context.Context) error
	// Sealed: nothing can be signed now, as far as is known here.
	Sealed() bool
}

var errNoDemo = errors.New("custody was not started for a demo: server custodian --demo")

// They are named so that what they are named isn't taken for what they do.
type (
	signer = custodial.Signer
	audit  = custodial.Audit
)

// inside is custody in this process.
type inside struct {
	signer
	audit
	handler.Custody
	door
	keys    *custody.Custody
	people  *transfer.Service
	dataKey string // file
	noDemo  bool   // a custodian's, that was not started for one
}

var _ keeper = inside{}

// inside introduces a custody that was opened in this process to the rest of it. The accounts are those of a service.
func (a *App) inside(service *transfer.Service) inside {
	return inside{
		signer: custodial.Signer{Custody: a.Custody}, audit: custodial.Audit{Custody: a.Custody}, Custody: a.Custody, keys: a.Custody,
		people: service, dataKey: a.Config.Path(a.Config.Vault.DataKeyFile),
		door: door{custody: a.Custody, accounts: service, wechat: a.WeChat, appID: a.Config.WeChat.AppID, ttl: a.Config.Session, templates: a.Config.WeChat.templates()},
	}
}

// signing is what signs for the use cases.
func (a *App) signing() transfer.Signer {
	if a.Custody == nil {
		return a.Keeper
	}
	return custodial.Signer{Custody: a.Custody}
}

// audited is what they anchor.
func (a *App) audited() transfer.Audit {
	if a.Custody == nil {
		return a.Keeper
	}
	return custodial.Audit{Custody: a.Custody}
}

// accounts is where they add people; nil: in their own database.
func (a *App) accounts() transfer.Accounts {
	if a.Custody == nil {
		return a.Keeper
	}
	return nil
}

// VerifyAudit implements keeper.
func (i inside) VerifyAudit(ctx context.Context, o custody.VerifyOptions) (custody.AuditReport, error) {
	return i.keys.VerifyAudit(ctx, o)
}

// DataKey implements keeper.
func (i inside) DataKey(context.Context) ([]byte, error) { return os.ReadFile(i.dataKey) }

// SeedPeople implements keeper. Everybody knows their passwords: nobody gets in who was not asked to.
func (i inside) SeedPeople(ctx context.Context) error {
	if i.noDemo {
		return errNoDemo
	}
	for _, o := range demoOrganisations {
		err := i.people.AddPerson(ctx, transfer.NewPerson{Username: o.Username, Password: demoPassword, Organisation: o.ID, Roles: o.Roles})
		if err != nil && transfer.CodeOf(err) != "PERSON_EXISTS" {
			return fmt.Errorf("person %s: %w", o.Username, err)
		}
	}
	return nil
}

// Ready implements keeper.
func (i inside) Ready(ctx context.Context) error { return i.keys.Ready(ctx) }

// Sealed implements keeper.
func (i inside) Sealed() bool { return i.keys.Sealed() }
