package custody_test

import (
	"crypto/rand"
	"encoding/json"
	"path/filepath"
	"testing"

	"cardflow/custody"
	"cardflow/ledger/contract"
	"cardflow/ledger/embedded"
	"cardflow/ledger/request"
)

// TestTheLedgerTakesWhatCustodySigns begins a ledger with custodial keys only: administrators, the platform and its
// further keys, a consumer, an anchor.
func TestTheLedgerTakesWhatCustodySigns(t *testing.T) {
	r := newRig(t)
	ledger, err := embedded.Open(embedded.Config{
		Path: filepath.Join(t.TempDir(), "ledger.db"), Channel: channel, Organisation: "PlatformMSP", Clock: r.clock.now, Random: rand.Reader,
		Contracts: []contract.Contract{&contract.Identity{Deployer: "PlatformMSP"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ledger.Close()
	submit := func(req request.Request, signatures ...request.Signature) {
		t.Helper()
		p, err := ledger.Prepare(req.Contract, req.Function, [][]byte{req.Args, request.Proof{Signatures: signatures}.Encode()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Submit(t.Context(), p, nil, nil); err != nil {
			t.Fatalf("%s: %v", req.Function, err)
		}
	}
	newKey := func(post custody.Post) request.NewKey {
		t.Helper()
		k, err := r.Possession(t.Context(), r.ensure(post.Owner, post.Role, post.Slot).ID)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	sign := func(owner string, slot custody.Slot, subject string, body request.Body) (request.Signature, request.Request) {
		t.Helper()
		sig, req, err := r.Sign(t.Context(), custody.Ask{Owner: owner, Slot: slot, Subject: subject, Attempt: 1, NotAfter: until, Actor: "test"}, body)
		if err != nil {
			t.Fatal(err)
		}
		return sig, req
	}

	init := request.Init{IssueKeyCommitment: request.IssueKeyCommitment([]byte("issue key"))}
	for _, admin := range []string{"administrator-1", "administrator-2"} {
		post := custody.Post{Owner: admin, Role: request.Administrator, Slot: custody.Account}
		init.Administrators = append(init.Administrators, request.Registration{Participant: admin, Role: post.Role, Key: newKey(post)})
	}
	submit(request.New(channel, init))

	platform := request.Register{Registration: request.Registration{
		Participant: "platform", Role: request.Platform, Key: newKey(custody.Post{Owner: "platform", Role: request.Platform, Slot: custody.Registrar}),
	}}
	one, req := sign("administrator-1", custody.Account, "platform", platform)
	two, _ := sign("administrator-2", custody.Account, "platform", platform)
	submit(req, one, two)

	for i, slot := range []custody.Slot{custody.Ticket, custody.Release, custody.Anchor} {
		post := custody.Post{Owner: "platform", Role: request.Platform, Slot: slot}
		body := request.PublishKey{Participant: "platform", Version: i + 1, Key: newKey(post)}
		one, req := sign("administrator-1", custody.Account, string(slot), body)
		two, _ := sign("administrator-2", custody.Account, string(slot), body)
		submit(req, one, two)
	}
	var batch request.RegisterBatch
	for participant, role := range map[string]request.Role{"c-0001": request.Consumer, "r-0001": request.Retailer, "d-0001": request.Distributor} {
		post := custody.Post{Owner: participant, Role: role, Slot: custody.Account}
		batch.Items = append(batch.Items, request.Registration{Participant: participant, Role: role, Key: newKey(post)})
	}
	sig, req := sign("platform", custody.Registrar, "batch", batch)
	submit(req, sig)

	report := r.whole()
	sig, req = sign("platform", custody.Anchor, "anchor", request.Anchor{Stream: "custody", Sequence: uint64(report.Rows), Digest: report.Hash})
	submit(req, sig)

	answer, err := ledger.Query(t.Context(), request.Identity, "GetParticipant", []byte("platform"))
	var p contract.Participant
	if err != nil || json.Unmarshal(answer, &p) != nil || len(p.Keys) != 4 {
		t.Errorf("platform on the ledger: %s, %v", answer, err)
	}
}
