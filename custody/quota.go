package custody

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cardflow/ledger/request"
	"cardflow/model"
)

// Quotas: how many signatures a day. One that is set stands in the place of a default. Lowering is one person's to
// do, and at once, for that is what somebody does who sees a theft; raising takes two.

// Quota is how many signatures a day something may make.
type Quota struct {
	Name      string // platform, role:ROLE/SLOT, or owner:PARTICIPANT/SLOT
	Daily     int64
	Default   int64 // what would hold without it
	Set       bool  // somebody set it
	ChangedBy Person
	ChangedAt model.Millis
	Used      int64 // today, of a platform's or owner's
	Usual     int64 // an owner's: the busiest day lately
	StoppedAt model.Millis
}

// everybodyQuota is the name of what all keys may make together.
const everybodyQuota = "platform"

// mostDaily bounds every quota.
const mostDaily = 1_000_000_000

func roleQuota(p Post) string  { return fmt.Sprintf("role:%s/%s", p.Role, p.Slot) }
func ownerQuota(p Post) string { return fmt.Sprintf("owner:%s/%s", p.Owner, p.Slot) }

// The dangerous operations of the guards.
const (
	OperationRaise   = "quota.raise"
	OperationRelease = "key.release"
)

// RaiseQuota are the arguments of quota.raise.
type RaiseQuota struct {
	Name  string `json:"name"`
	Daily int64  `json:"daily"`
}

// ReleaseKey are the arguments of key.release: let a key go on that has stopped itself.
type ReleaseKey struct {
	Owner string `json:"owner"`
	Slot  Slot   `json:"slot"`
}

const (
	actQuota   = "quota.set"
	actRelease = "guard.release"
)

func (c *Custody) registerGuards() {
	Operate(c.Dangerous, OperationRaise,
		func(_ context.Context, tx *model.Tx, a RaiseQuota) (string, error) {
			now, err := quotaNamed(tx, a.Name)
			if err != nil {
				return "", err
			}
			if err := dailyFits(a.Daily); err != nil {
				return "", err
			}
			if a.Daily <= now.Daily {
				return "", fmt.Errorf("quota %s, %d to %d: %w", a.Name, now.Daily, a.Daily, ErrQuotaLower)
			}
			return fmt.Sprintf("%s的每日签名上限：%d → %d 次，批准后立即生效", quotaTitle(a.Name), now.Daily, a.Daily), nil
		},
		func(ctx context.Context, x *Execution, a RaiseQuota) error {
			return x.Commit(ctx, func(tx *model.Tx) error {
				now, err := quotaNamed(tx, a.Name)
				if err != nil {
					return err
				}
				if a.Daily <= now.Daily {
					return ErrProposalChanged
				}
				if err := tx.SetQuota(model.Quota{Name: a.Name, Daily: a.Daily, ChangedBy: x.Approver, ChangedAt: c.now()}); err != nil {
					return err
				}
				return x.Record(ctx, tx, actQuota, a.Name, map[string]any{"from": now.Daily, "to": a.Daily})
			})
		})
	Operate(c.Dangerous, OperationRelease,
		func(_ context.Context, tx *model.Tx, a ReleaseKey) (string, error) {
			u, key, err := stoppedKey(tx, a)
			if err != nil {
				return "", err
			}
			text := fmt.Sprintf("恢复 %s 的 %s 密钥 %s\n它在 %s 因签名次数异常自动停用\n停用当天的签名次数从此视为平常", a.Owner, a.Slot, key.ID, u.StoppedAt)
			if key.State == model.CustodySuspended {
				text += "\n它在账本上的停用将一并解除"
			}
			return text, nil
		},
		func(ctx context.Context, x *Execution, a ReleaseKey) error {
			id, err := c.wishID()
			if err != nil {
				return err
			}
			return x.Commit(ctx, func(tx *model.Tx) error {
				u, key, err := stoppedKey(tx, a)
				if err != nil {
					return err
				}
				if key.State == model.CustodySuspended {
					if _, err := c.orderIn(ctx, tx, id, key.ID, model.WishResume, x.Approver); err != nil {
						return err
					}
				}
				u.Usual, u.StoppedAt = max(u.Usual, u.Used), 0
				if err := tx.SaveUsage(u, true); err != nil {
					return err
				}
				return x.Record(ctx, tx, actRelease, a.Owner+"/"+string(a.Slot), map[string]any{"usual": u.Usual})
			})
		})
}

// stoppedKey finds a key that has stopped itself, in the version that its owner has now.
func stoppedKey(tx *model.Tx, a ReleaseKey) (model.Usage, model.CustodyKey, error) {
	u, err := tx.Usage(a.Owner, string(a.Slot))
	if errors.Is(err, model.ErrNotFound) || err == nil && u.StoppedAt == 0 {
		return u, model.CustodyKey{}, fmt.Errorf("%s of %s: %w", clip(string(a.Slot)), clip(a.Owner), ErrNotStopped)
	}
	if err != nil {
		return u, model.CustodyKey{}, err
	}
	key, err := tx.NewestCustodyKey(a.Owner, string(a.Slot))
	return u, key, err
}

func dailyFits(n int64) error {
	if n < 0 || n > mostDaily {
		return fmt.Errorf("%d a day: %w", n, ErrQuota)
	}
	return nil
}

// LowerQuota sets a quota to no more than it is, at once. The platform's reaches a server when it has used up the share
// that it holds, at most 64 signatures. Errors: ErrQuotaRaise, ErrQuota, ErrNotOperator.
func (c *Custody) LowerQuota(ctx context.Context, person, name string, daily int64) (Quota, error) {
	var out Quota
	err := c.decide(ctx, person, "", func(tx *model.Tx) error {
		who, _, err := operator(tx, person)
		if err != nil {
			return err
		}
		if err := dailyFits(daily); err != nil {
			return err
		}
		now, err := quotaNamed(tx, name)
		if err != nil {
			return err
		}
		if daily > now.Daily {
			return ErrQuotaRaise
		}
		if err := tx.SetQuota(model.Quota{Name: name, Daily: daily, ChangedBy: who.ID, ChangedAt: c.now()}); err != nil {
			return err
		}
		if err := c.record(ctx, tx, entry{who.ID, actQuota, name, map[string]any{"from": now.Daily, "to": daily}}); err != nil {
			return err
		}
		out, err = c.quotaShown(tx, name)
		return err
	})
	if err != nil {
		return Quota{}, fmt.Errorf("lower a quota: %w", err)
	}
	return out, nil
}

// Quota shows one. Errors: ErrQuota if there can be none of that name.
func (c *Custody) Quota(ctx context.Context, name string) (q Quota, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		q, err = c.quotaShown(tx, name)
		return err
	})
	return q, err
}

// Quotas lists the platform's, those of the roles, and those that somebody set for an owner, by name.
func (c *Custody) Quotas(ctx context.Context) (out []Quota, err error) {
	err = c.db.Read(ctx, func(tx *model.Tx) error {
		set, err := tx.Quotas()
		if err != nil {
			return err
		}
		names := []string{everybodyQuota}
		for role, slots := range duties {
			for slot, d := range slots {
				if d.daily > 0 {
					names = append(names, roleQuota(Post{Role: role, Slot: slot}))
				}
			}
		}
		for _, q := range set {
			names = append(names, q.Name)
		}
		slices.Sort(names)
		out = nil
		for _, name := range slices.Compact(names) {
			q, err := c.quotaShown(tx, name)
			if err != nil {
				return err
			}
			out = append(out, q)
		}
		return nil
	})
	return out, err
}

// quotaNamed finds what holds under a name.
func quotaNamed(tx *model.Tx, name string) (Quota, error) {
	q := Quota{Name: name}
	kind, rest, _ := strings.Cut(name, ":")
	who, slot, ok := strings.Cut(rest, "/")
	switch {
	case name == everybodyQuota:
		q.Default = everybodyDaily
	case kind == "role" && ok && duties[request.Role(who)][Slot(slot)].daily > 0:
		q.Default = duties[request.Role(who)][Slot(slot)].daily
	case kind == "owner" && ok:
		key, err := tx.NewestCustodyKey(who, slot)
		if errors.Is(err, model.ErrNotFound) {
			return q, fmt.Errorf("no key of %q: %w", clip(rest), ErrQuota)
		}
		if err != nil {
			return q, err
		}
		role, err := quotaNamed(tx, roleQuota(Post{Role: request.Role(key.Role), Slot: Slot(key.Slot)}))
		if err != nil {
			return q, err
		}
		q.Default = role.Daily
	default:
		return q, fmt.Errorf("quota %q: %w", clip(name), ErrQuota)
	}
	q.Daily = q.Default
	set, err := tx.QuotasNamed(name)
	if err != nil || len(set) == 0 {
		return q, err
	}
	q.Daily, q.Set, q.ChangedAt, q.ChangedBy.ID = set[0].Daily, true, set[0].ChangedAt, set[0].ChangedBy
	return q, nil
}

// quotaShown adds who changed it, and how much of it is used.
func (c *Custody) quotaShown(tx *model.Tx, name string) (Quota, error) {
	q, err := quotaNamed(tx, name)
	if err != nil {
		return q, err
	}
	if q.Set {
		if q.ChangedBy, err = personOf(tx, q.ChangedBy.ID); err != nil {
			return q, err
		}
	}
	owner, slot := everybodyRow, everybodyRow
	if rest, ok := strings.CutPrefix(name, "owner:"); ok {
		owner, slot, _ = strings.Cut(rest, "/")
	} else if name != everybodyQuota {
		return q, nil
	}
	u, _, err := usage(tx.Usage, owner, slot)
	u = roll(u, dayOf(c.now()))
	q.Used, q.Usual, q.StoppedAt = u.Used, u.Usual, u.StoppedAt
	if owner == everybodyRow {
		q.Usual = 0
	}
	return q, err
}

// quotaTitle is what people call a quota.
func quotaTitle(name string) string {
	kind, rest, _ := strings.Cut(name, ":")
	switch kind {
	case "role":
		return "角色 " + rest + " 每把密钥"
	case "owner":
		return "参与方 " + rest
	}
	return "全平台合计"
}
