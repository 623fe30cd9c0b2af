package main

import (
	"net/http"
	"strings"
	"testing"

	"cardflow/transfer"
)

// TestUnfreeze: a carrier's people let cards go again, two of them, over the API; whether custody is in the server or in a process
// of its own.
func TestUnfreeze(t *testing.T) {
	t.Parallel()
	t.Run("inside", func(t *testing.T) {
		t.Parallel()
		s := openSite(t, demoWorld(t), crowded)
		unfreezes(t, s, s.Service)
	})
	t.Run("apart", func(t *testing.T) {
		t.Parallel()
		a := newApart(t)
		unfreezes(t, openSite(t, a.dir, crowded, a.web), a.custodian.Service)
	})
}

// unfreezes plays it; people are added where accounts are.
func unfreezes(t *testing.T, s *site, accounts *transfer.Service) {
	for _, p := range []transfer.NewPerson{
		{Username: "fuhe", Organisation: "cmcc", Roles: []string{"carrier"}},
		{Username: "waidui", Organisation: "unicom", Roles: []string{"carrier"}},
	} {
		p.Password = demoPassword
		check(t, accounts.AddPerson(soon(t), p))
	}
	carrier, colleague, stranger, ops := s.staff("yidong"), s.staff("fuhe"), s.staff("waidui"), s.staff("zhiban")
	shop := s.staff("xiaowang")
	sold := shop.offers("BEARER", "", cards("898604B7192270274020", "898604B7192270274021"))
	path := "/lots/" + sold.LotHash
	carrier.done(path+"/freeze", nil)

	carrier.refused(404, "LOT_UNKNOWN", http.MethodPost, "/lots/"+strings.Repeat("0", 64)+"/unfreeze", map[string]string{"reason": "已核实"})
	carrier.refused(400, "FIELD_INVALID", http.MethodPost, path+"/unfreeze", map[string]string{})
	var p proposal
	carrier.post(path+"/unfreeze", map[string]string{"reason": "已核实"}, &p)
	if p.State != "proposed" || p.Operation != "lot.unfreeze" {
		t.Fatalf("%+v", p)
	}
	approve := "/custody/proposals/" + p.ID + "/approve"
	carrier.refused(403, "CUSTODY_SELF_APPROVAL", http.MethodPost, approve, nil)
	stranger.refused(403, "CUSTODY_NOT_COLLEAGUE", http.MethodPost, approve, nil)
	ops.refused(403, "CUSTODY_NOT_COLLEAGUE", http.MethodPost, approve, nil)
	stranger.refused(404, "CUSTODY_PROPOSAL_NOT_FOUND", http.MethodGet, "/custody/proposals/"+p.ID, nil)
	colleague.refused(404, "NOT_FOUND", http.MethodGet, "/confirmations/"+p.ID, nil)

	colleague.post(approve, nil, &p)
	until(t, "the ledger to vouch for the approval", func() bool {
		colleague.get("/custody/proposals/"+p.ID, &p)
		return p.State != "approved" && p.State != "executing"
	})
	if p.State != "executed" {
		t.Fatalf("%+v", p)
	}
	if end, err := carrier.await(soon(t), p.ID); err != nil || end.TxID == "" {
		t.Fatalf("%+v, %v", end, err)
	}
	s.consumer("小李").done("/trades/"+sold.TradeID+"/confirm", shows(sold))
}
