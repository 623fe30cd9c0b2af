package transfer_test

import (
	"os"
	"strings"
	"testing"

	"cardflow/ledger/request"
	"cardflow/model"
)

// fsck names a lot that the ledger does not have, and a card that is in two live lots, however many runs there are.
func TestFsckFindsACardInTwoLots(t *testing.T) {
	r := newStocked(t)
	set := r.set(span(5, 5))
	hash, _ := request.OpeningOf(set, [32]byte{9})
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error {
		return tx.AddLot(model.Lot{Hash: hash, Issuer: carrier.Participant, Rule: set.Rule, Owner: retailer.Participant, Status: model.LotOwned, RetailPolicy: "OPEN", SaltSealed: []byte{}}, set.Segments())
	}))
	report, err := r.Check(r.ctx, nil)
	check(t, err)
	var all []string
	for _, f := range report.Findings {
		all = append(all, f.Kind+" "+f.Problem)
	}
	for _, want := range []string{"LOT is OWNED here and not on the ledger", "CARD a card is in two live lots"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("fsck does not say %q but\n%s", want, strings.Join(all, "\n"))
		}
	}
}

// A journal that was lost is missed by fsck, and not on the day on which the database is lost too.
func TestFsckMissesTheJournal(t *testing.T) {
	r := newStocked(t)
	r.close()
	check(t, os.Remove(r.path("journal")))
	r.open(t)
	report, err := r.Check(r.ctx, nil)
	check(t, err)
	if report.Clean() || report.Findings[0].Kind != "JOURNAL" {
		t.Errorf("found %v", report.Findings)
	}
}
