package transfer_test

import (
	"testing"

	"cardflow/model"
	"cardflow/transfer"
)

// TestDirectory: what shows whose an account is can be entered, changed and forgotten; the mobile number is not kept.
func TestDirectory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	check(t, r.AddPerson(r.ctx, transfer.NewPerson{Username: "Li", Password: secret, Organisation: retailer.Participant, Roles: []string{"retailer"}, StaffNumber: "1007", Mobile: "+86 138-0013-8000"}))
	check(t, r.AddPerson(r.ctx, transfer.NewPerson{Username: "wang", Password: secret, Organisation: retailer.Participant, Roles: []string{"retailer"}}))
	marks := func(username string) (out []string) {
		t.Helper()
		check(t, r.db.Read(r.ctx, func(tx *model.Tx) error {
			p, err := tx.PersonByUsername(username)
			if err != nil {
				return err
			}
			i, err := tx.Identity(p.ID)
			out = i.Marks(p.ParticipantID)
			return err
		}))
		return out
	}
	li := marks("li")
	if len(li) != 2 || li[0] != "staff:"+retailer.Participant+"/1007" || len(marks("wang")) != 0 {
		t.Fatalf("marks %q and %q", li, marks("wang"))
	}
	number, mobile, none, no, yes := "1008", "13800138000", "", false, true
	check(t, r.ChangePerson(r.ctx, "WANG", transfer.PersonChange{StaffNumber: &number, Mobile: &mobile}))
	if wang := marks("wang"); len(wang) != 2 || wang[0] == li[0] || wang[1] != li[1] {
		t.Errorf("one mobile number, written two ways: %q and %q", li, wang)
	}
	upper, lower := "A1007", "a1007"
	check(t, r.ChangePerson(r.ctx, "li", transfer.PersonChange{StaffNumber: &upper}))
	check(t, r.ChangePerson(r.ctx, "wang", transfer.PersonChange{StaffNumber: &lower}))
	if li, wang := marks("li"), marks("wang"); li[0] != wang[0] {
		t.Errorf("one staff number, written two ways: %q and %q", li, wang)
	}
	old := "1007"
	check(t, r.ChangePerson(r.ctx, "li", transfer.PersonChange{StaffNumber: &old}))
	check(t, r.ChangePerson(r.ctx, "wang", transfer.PersonChange{StaffNumber: &number}))
	check(t, r.ChangePerson(r.ctx, "wang", transfer.PersonChange{Mobile: &none}))
	if wang := marks("wang"); len(wang) != 1 {
		t.Errorf("forgotten: %q", wang)
	}
	for range 2 {
		check(t, r.ChangePerson(r.ctx, "wang", transfer.PersonChange{Active: &no}))
	}
	all, err := r.Directory(r.ctx)
	check(t, err)
	var seen []string
	for _, p := range all {
		if p.Username == "li" || p.Username == "wang" {
			seen = append(seen, p.Username+" "+p.State+" "+p.StaffNumber)
		}
	}
	if len(seen) != 2 || seen[0] != "li active 1007" || seen[1] != "wang disabled 1008" {
		t.Errorf("%q", seen)
	}
	check(t, r.ChangePerson(r.ctx, "wang", transfer.PersonChange{Active: &yes}))
	wants(t, "nobody", r.ChangePerson(r.ctx, "nobody", transfer.PersonChange{Active: &no}), "PERSON_UNKNOWN")
	for _, bad := range []string{"1 7", "七", "123456789012345678901234567890123"} {
		wants(t, bad, r.ChangePerson(r.ctx, "li", transfer.PersonChange{StaffNumber: &bad}), "IDENTITY_INVALID")
		wants(t, bad, r.AddPerson(r.ctx, transfer.NewPerson{Username: "new", Password: secret, StaffNumber: bad}), "IDENTITY_INVALID")
	}
	for _, bad := range []string{"1380013800", "23800138000", "138001380001"} {
		wants(t, bad, r.ChangePerson(r.ctx, "li", transfer.PersonChange{Mobile: &bad}), "IDENTITY_INVALID")
	}
}
