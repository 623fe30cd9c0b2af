package custody

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// What is done to keys and takes two people: what can't be taken back, and what lets somebody trade again.
const (
	OperationDestroy = "key.destroy"
	OperationRevoke  = "keys.revoke"
	OperationRecover = "recovery.release"
)

// DestroyKey are the arguments of key.destroy: wipe the private half of a revoked key.
type DestroyKey struct {
	Key string `json:"key"`
}

// RevokeKeys are the arguments of keys.revoke: stop several keys for ever.
type RevokeKeys struct {
	Keys []string `json:"keys"`
}

// mostRevoked is how many keys one proposal may revoke: as many as a person can look at.
const mostRevoked = 100

// ReleaseRecovery are the arguments of recovery.release: a person has made sure of somebody whose key was stolen, and he
// may trade again.
type ReleaseRecovery struct {
	Participant string `json:"participant"`
}

const actRecovered = "recovery.release"

// platformID is the participant whose registrar freezes consumers after a theft, and lets them go.
const platformID = "platform"

// What two people have allowed by releasing a recovery: so many tries, each an act of its own, in so much time.
const (
	mostReleases = 9
	releaseLife  = 7 * 24 * time.Hour
)

// releaseAct names the act that carries a release to the ledger, as the relay does: the first one, and those that come after one
// that has failed.
func releaseAct(recovery string, n int) string {
	name := "recover-" + recovery + "-release"
	if n > 1 {
		name += fmt.Sprintf("-%d", n)
	}
	return name
}

func (c *Custody) registerKeys() {
	Operate(c.Dangerous, OperationDestroy,
		func(_ context.Context, tx *model.Tx, a DestroyKey) (string, error) {
			row, err := knownKey(tx, a.Key)
			if err != nil {
				return "", err
			}
			if row.State != model.CustodyRevoked {
				return "", transition(row, model.CustodyDestroyed)
			}
			return fmt.Sprintf("销毁密钥 %s\n所有者 %s，%s，第 %d 版，已撤销\n抹去密封的私钥，不可恢复；公钥和指纹保留", row.ID, row.Owner, row.Slot, row.Version), nil
		},
		func(ctx context.Context, x *Execution, a DestroyKey) error {
			return x.Commit(ctx, func(tx *model.Tx) error {
				row, err := wipe(tx, a.Key)
				if err != nil {
					return err
				}
				return x.Record(ctx, tx, actDestroy, row.ID, map[string]any{
					"owner": row.Owner, "from": row.State, "to": model.CustodyDestroyed, "public": hex.EncodeToString(row.Public),
				})
			})
		})
	Operate(c.Dangerous, OperationRevoke,
		func(_ context.Context, tx *model.Tx, a RevokeKeys) (string, error) {
			if len(a.Keys) == 0 || len(a.Keys) > mostRevoked || len(slices.Compact(slices.Sorted(slices.Values(a.Keys)))) != len(a.Keys) {
				return "", fmt.Errorf("1 to %d keys, each once: %w", mostRevoked, ErrArguments)
			}
			var text strings.Builder
			fmt.Fprintf(&text, "撤销 %d 把密钥，永久不再签名：", len(a.Keys))
			for _, id := range a.Keys {
				row, err := knownKey(tx, id)
				if err == nil && row.Role == "administrator" {
					err = fmt.Errorf("key of %s: %w", row.Owner, ErrKeyProtected)
				}
				if err != nil {
					return "", err
				}
				fmt.Fprintf(&text, "\n%s %s", row.ID, row.Owner) // not its state: one that is dead by then is done
			}
			return text.String(), nil
		},
		func(ctx context.Context, x *Execution, a RevokeKeys) error {
			for _, id := range a.Keys {
				if _, err := c.order(ctx, id, model.WishRevoke, x.Approver); err != nil && !errors.Is(err, ErrKeyTransition) {
					return err
				}
			}
			return x.Commit(ctx, nil)
		})
	Operate(c.Dangerous, OperationRecover,
		func(_ context.Context, tx *model.Tx, a ReleaseRecovery) (string, error) {
			r, err := waitingRecovery(tx, a.Participant)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("解冻 %s：已核实本人身份\n失窃密钥 %s，已撤销\n新密钥　 %s\n解冻后他可以继续收卡和退卡", r.Participant, r.KeyID, r.NewKeyID), nil
		},
		func(ctx context.Context, x *Execution, a ReleaseRecovery) error {
			return x.Commit(ctx, func(tx *model.Tx) error {
				r, err := waitingRecovery(tx, a.Participant)
				if err != nil {
					return err
				}
				if _, err := tx.MoveRecovery(r.ID, model.RecoveryWaiting, model.RecoveryReleasing, func(r *model.Recovery) { r.Releaser = x.Approver }); err != nil {
					return err
				}
				body := request.UnfreezeParticipant{ParticipantAct: request.ParticipantAct{Participant: r.Participant}}
				for n := range mostReleases {
					if err := x.Authorise(tx, platformID, releaseAct(r.ID, n+1), body, int64(c.now())+releaseLife.Milliseconds()); err != nil {
						return err
					}
				}
				return x.Record(ctx, tx, actRecovered, r.Participant, map[string]any{"recovery": r.ID, "stolen": r.KeyID, "key": r.NewKeyID})
			})
		})
}

func knownKey(tx *model.Tx, id string) (model.CustodyKey, error) {
	row, err := tx.CustodyKey(id)
	if errors.Is(err, model.ErrNotFound) {
		err = fmt.Errorf("custodial key %q: %w", clip(id), ErrKeyNotFound)
	}
	return row, err
}

func waitingRecovery(tx *model.Tx, participant string) (model.Recovery, error) {
	r, err := tx.LastRecovery(participant)
	if errors.Is(err, model.ErrNotFound) || err == nil && r.State != model.RecoveryWaiting {
		err = fmt.Errorf("recovery of %s: %w", clip(participant), ErrRecovery)
	}
	return r, err
}
