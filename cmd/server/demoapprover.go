package main

import (
	"context"
	"fmt"
	"time"

	"cardflow/transfer"
	"cardflow/transfer/realname"
)

// demoApprovals is how often the demo's approvers look whether anything waits for them.
const demoApprovals = 400 * time.Millisecond

// approveDemo is the demo's carriers at work: for each somebody who is logged in approves what the verifier has confirmed, and
// what its owner takes back, so that one who tries the product needn't be three people. It does what a carrier's own program may
// do over the API. What is not clear waits for whoever logs in as one of them.
func (a *App) approveDemo(ctx context.Context) {
	sessions := map[string]transfer.Caller{}
	tick := time.NewTicker(demoApprovals)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, o := range demoOrganisations {
			if len(o.Prefixes) == 0 {
				continue
			}
			err := a.approveAs(ctx, sessions, o.ID)
			if err != nil && ctx.Err() == nil {
				a.Logger.Warn("demo: approvals", "carrier", o.ID, "error", err)
				delete(sessions, o.ID) // it may be over
			}
		}
	}
}

func (a *App) approveAs(ctx context.Context, sessions map[string]transfer.Caller, carrier string) error {
	page, err := a.Service.Approvals(ctx, demoCaller(carrier), true, "", 20)
	if err != nil {
		return err
	}
	for _, r := range page.Items {
		if r.Kind == "APPROVE" && r.Finding != string(realname.Confirmed) {
			continue
		}
		c, ok := sessions[carrier]
		if !ok {
			if c, err = a.atConsole(ctx, carrier); err != nil {
				return err
			}
			sessions[carrier] = c
		}
		// In a minute another wish: the one before may have failed.
		wish := demoWish(fmt.Sprintf("%s-%s-%d", r.Kind, r.ID, time.Now().Unix()/60))
		if _, err := a.Service.ApproveRealName(ctx, c, wish, r.ID); err != nil && transfer.CodeOf(err) != "APPROVAL_DECIDED" {
			return err
		}
	}
	return nil
}
