package custody_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"cardflow/custody"
	"cardflow/model"
)

// proposes asks for an operation as one of two people.
func (r *rig) proposes(operation, arguments string) (custody.Proposal, error) {
	return r.Propose(r.t.Context(), custody.Draft{Person: "p-li", Name: fmt.Sprintf("wish-%d", r.count(`SELECT COUNT(*) FROM custody_proposals`)),
		Operation: operation, Arguments: []byte(arguments), Reason: "试"})
}

// TestTwoPeopleDestroyAKey: only a revoked one, and with its record.
func TestTwoPeopleDestroyAKey(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		for _, state := range model.CustodyKeyMoves.States() {
			key := r.inState("c-"+string(state), state)
			arguments := fmt.Sprintf(`{"key":%q}`, key.ID)
			if state != model.CustodyRevoked {
				if _, err := r.proposes(custody.OperationDestroy, arguments); !errors.Is(err, custody.ErrKeyTransition) {
					t.Errorf("%s: %v", state, err)
				}
				continue
			}
			p := r.approved(custody.OperationDestroy, arguments)
			if !strings.Contains(p.Description, key.ID) || !strings.Contains(p.Description, key.Owner) {
				t.Errorf("shown was %q", p.Description)
			}
			if r.state(key.ID) != model.CustodyDestroyed || r.count(`SELECT LENGTH(wrapped) FROM custody_keys WHERE id = ?`, key.ID) != 0 {
				t.Errorf("it is %s", r.state(key.ID))
			}
			if n := r.count(`SELECT COUNT(*) FROM custody_audit WHERE act = 'key.destroy' AND actor = 'p-wang' AND subject = ? AND detail LIKE ?`,
				key.ID, "%"+fmt.Sprintf("%x", key.Public.Bytes())+"%"); n != 1 {
				t.Errorf("%d records of it", n)
			}
		}
		if _, err := r.proposes(custody.OperationDestroy, `{"key":"00"}`); !errors.Is(err, custody.ErrKeyNotFound) {
			t.Errorf("an unknown key: %v", err)
		}
		r.whole()
	})
}

// TestDestroyOfAKeyThatChanged: between the two people it has been destroyed already.
func TestDestroyOfAKeyThatChanged(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		key := r.inState("c-0001", model.CustodyRevoked)
		p, err := r.proposes(custody.OperationDestroy, fmt.Sprintf(`{"key":%q}`, key.ID))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.destroy(key.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Approve(t.Context(), "p-wang", p.ID); !errors.Is(err, custody.ErrKeyTransition) && !errors.Is(err, custody.ErrProposalChanged) {
			t.Errorf("approved: %v", err)
		}
	})
}

// TestTwoPeopleRevokeKeys: all of them, those that are dead by then too, and none of the administrators'.
func TestTwoPeopleRevokeKeys(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		var ids []string
		for _, state := range model.CustodyKeyMoves.States() {
			ids = append(ids, r.inState("c-"+string(state), state).ID)
		}
		list := `"` + strings.Join(ids, `","`) + `"`
		p := r.approved(custody.OperationRevoke, `{"keys":[`+list+`]}`)
		for _, id := range ids {
			if state := r.state(id); state != model.CustodyRevoked && state != model.CustodyDestroyed || !strings.Contains(p.Description, id) {
				t.Errorf("%s is %s; shown was %q", id, state, p.Description)
			}
		}
		if n := r.count(`SELECT COUNT(*) FROM custody_wishes WHERE wish = 'revoke' AND actor = 'p-wang'`); n != 3 {
			t.Errorf("the ledger is told of %d", n)
		}
		admin := r.ensure("administrator-1", "administrator", custody.Account)
		for arguments, want := range map[string]*custody.Error{
			`{"keys":[]}`: custody.ErrArguments,
			`{"keys":["` + ids[0] + `","` + ids[0] + `"]}`: custody.ErrArguments,
			`{"keys":["00"]}`:               custody.ErrKeyNotFound,
			`{"keys":["` + admin.ID + `"]}`: custody.ErrKeyProtected,
		} {
			if _, err := r.proposes(custody.OperationRevoke, arguments); !errors.Is(err, want) {
				t.Errorf("%s: %v", arguments, err)
			}
		}
		r.whole()
	})
}

// TestTwoPeopleReleaseARecovery: when there is somebody to be identified, and not before.
func TestTwoPeopleReleaseARecovery(t *testing.T) {
	each(t, func(t *testing.T, r *rig) {
		r.staff()
		arguments := `{"participant":"c-0001"}`
		if _, err := r.proposes(custody.OperationRecover, arguments); !errors.Is(err, custody.ErrRecovery) {
			t.Errorf("there is none: %v", err)
		}
		recovery := model.Recovery{ID: "r1", Participant: "c-0001", State: model.RecoveryStopping, KeyID: "k1", NewKeyID: "k2", Freezes: true, Actor: "p-li", CreatedAt: 1}
		r.write(func(tx *model.Tx) error { return tx.AddRecovery(recovery) })
		if _, err := r.proposes(custody.OperationRecover, arguments); !errors.Is(err, custody.ErrRecovery) {
			t.Errorf("too early: %v", err)
		}
		for _, move := range [][2]model.RecoveryState{{model.RecoveryStopping, model.RecoveryReplacing}, {model.RecoveryReplacing, model.RecoveryWaiting}} {
			r.write(func(tx *model.Tx) error { _, err := tx.MoveRecovery("r1", move[0], move[1], nil); return err })
		}
		p := r.approved(custody.OperationRecover, arguments)
		if !strings.Contains(p.Description, "k1") || !strings.Contains(p.Description, "c-0001") {
			t.Errorf("shown was %q", p.Description)
		}
		if n := r.count(`SELECT COUNT(*) FROM recoveries WHERE state = 'releasing' AND releaser = 'p-wang'`); n != 1 {
			t.Error("it is not released")
		}
		if r.acts("recovery.release", "c-0001") != 1 {
			t.Error("there is no record")
		}
		r.whole()
	})
}
