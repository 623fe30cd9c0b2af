package custody

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cardflow/ledger/request"
	"cardflow/model"
)

// The guards of signing: how much a key may sign. They bound what whoever gets custody to sign for him can do before
// somebody looks, and hold for all servers together: what a key has signed is counted in the database, in the
// transaction that writes down the intent. A signature that is asked for again is not counted again.
//
// Each key has one row, of one size for ever. All this happens while the head of the audit is locked (write), where all
// wait: what counts is how few statements it takes. So of the platform's count, which would be one row more to read and
// write for each signature, a server takes shares in advance (meter).
//
// Days begin at midnight in Beijing.

// Later is a refusal that is over by itself.
type Later struct {
	Cause *Error
	After time.Duration // when to ask again
}

// Error names the code.
func (l *Later) Error() string { return l.Cause.Error() }

// Unwrap makes it the Error that it is.
func (l *Later) Unwrap() error { return l.Cause }

// Timing of refusals that are over by themselves.
const (
	quotaAgain = 10 * time.Minute // a quota may be raised long before midnight
	beijing    = 8 * time.Hour
	aDay       = 24 * time.Hour
	aMinute    = time.Minute
)

// stopping are the functions that stop somebody, or tell on the ledger what was done. They are not held up when all the
// others are: whoever uses up the platform's quota must not keep ops from stopping him.
var stopping = map[string]bool{"SuspendKey": true, "RevokeKey": true, "Freeze": true, "FreezeParticipant": true, "Anchor": true}

// unusually is how many times its busiest day a key must sign to stop itself.
const unusually = 8

// dayOf counts days in Beijing from 1970.
func dayOf(now model.Millis) int64 {
	return (int64(now) + beijing.Milliseconds()) / aDay.Milliseconds()
}

// admit lets a key sign once more, and counts it, or says why not. A stop that it answers (ErrUnusual) is put into the
// row by whoever records the refusal: this transaction leaves nothing.
func (j *judgement) admit(key model.CustodyKey, function string) error {
	c := j.c
	if c.unguarded {
		return nil
	}
	public, err := keyOf(key)
	if err != nil {
		return err
	}
	duty, err := public.Post.duty()
	if err != nil {
		return err
	}
	limits := limitsOf(j.quotas, public.Post, duty)
	place := model.CustodyPlace{Owner: key.Owner, Slot: key.Slot}
	u := used{j.usage[place]}
	u.Owner, u.Slot = key.Owner, key.Slot
	if u.StoppedAt != 0 {
		return fmt.Errorf("%s of %s: %w", key.Slot, key.Owner, ErrKeyStopped)
	}
	now := c.clock()
	today := dayOf(model.MillisOf(now))
	u = roll(u, today)
	if u.Used >= limits.daily {
		return fmt.Errorf("%s of %s, %d a day: %w", key.Slot, key.Owner, limits.daily, &Later{ErrDailyQuota, midnight(now)})
	}
	if u.Used >= limits.usual(u) {
		return fmt.Errorf("%s of %s, %d today: %w", key.Slot, key.Owner, u.Used, ErrUnusual)
	}
	if wait := u.spend(now, limits.minute); wait > 0 {
		return fmt.Errorf("%s of %s, %d a minute: %w", key.Slot, key.Owner, limits.minute, &Later{ErrRate, wait})
	}
	u.Used++
	j.taken, err = c.everybody.take(j.tx, j.taken, today, limits.everybody)
	if errors.Is(err, ErrPlatformQuota) && stopping[function] {
		err = nil
	}
	if errors.Is(err, ErrPlatformQuota) {
		err = fmt.Errorf("%d a day: %w", limits.everybody, &Later{ErrPlatformQuota, midnight(now)})
	}
	if err != nil {
		return err
	}
	j.usage[place], j.used[place] = u.Usage, true
	return nil
}

// midnight is when to ask again after a day's quota: then, or before, in case that it is raised.
func midnight(now time.Time) time.Duration {
	next := (dayOf(model.MillisOf(now))+1)*aDay.Milliseconds() - beijing.Milliseconds()
	return min(time.UnixMilli(next).Sub(now), quotaAgain)
}

// used is what a key has signed.
type used struct{ model.Usage }

// usage takes what a key has signed from where it stands; known says that it has a row.
func usage(read func(owner, slot string) (model.Usage, error), owner, slot string) (u used, known bool, err error) {
	u.Usage, err = read(owner, slot)
	if errors.Is(err, model.ErrNotFound) {
		return used{model.Usage{Owner: owner, Slot: slot}}, false, nil
	}
	return u, true, err
}

// roll begins a new day: the one that ended counts as usual if none was busier, and what was usual fades by an eighth
// for each day. A clock that goes back begins no new day: what was used stays used.
func roll(u used, today int64) used {
	if today > u.Day {
		fade := func(n int64, days int64) int64 {
			for ; days > 0 && n > 0; days-- {
				n = n * 7 / 8
			}
			return n
		}
		if u.Day != 0 {
			u.Usual = max(fade(u.Usual, today-u.Day), fade(u.Used, today-u.Day-1))
		}
		u.Used = 0
	}
	u.Day = today
	return u
}

// spend takes a signature's share of a minute, or answers how long until there is one: so many in any minute, and a
// key that rested may use them at once. Servers' clocks may differ by some minutes; what is further ahead was written by a
// clock that was wrong, and is forgotten.
func (u *used) spend(now time.Time, perMinute int64) (wait time.Duration) {
	if perMinute <= 0 {
		return aMinute
	}
	at, share := now.UnixMicro(), max(1, aMinute.Microseconds()/perMinute)
	busy := max(u.BusyUntil, at)
	if busy > at+(aMinute+skew).Microseconds() {
		busy = at
	}
	if over := busy + share - at - aMinute.Microseconds(); over > 0 {
		return time.Duration(over) * time.Microsecond
	}
	u.BusyUntil = busy + share
	return 0
}

// limits are what holds for a key now.
type limits struct {
	daily, minute, floor, everybody int64
}

// usual is how many signatures of a day are not unusual: as many as any key in the post may make, or eight times the
// busiest day that this key has had lately.
func (l limits) usual(u used) int64 { return max(l.floor, unusually*u.Usual) }

// quotasSet fetches the quotas of some names that were set.
func quotasSet(tx *model.Tx, names []string) (map[string]int64, error) {
	list, err := tx.QuotasNamed(names...)
	set := make(map[string]int64, len(list))
	for _, q := range list {
		set[q.Name] = q.Daily
	}
	return set, err
}

// limitsOf is what holds for a post: what was set for the owner, else for the role, else the default. Whom two people
// have granted several times the default may sign so many times as much a minute, and before it is unusual.
func limitsOf(set map[string]int64, p Post, d duty) limits {
	l := limits{daily: d.daily, minute: d.minute, floor: d.usual, everybody: everybodyDaily}
	if n, ok := set[everybodyQuota]; ok {
		l.everybody = n
	}
	if n, ok := set[roleQuota(p)]; ok {
		l.daily = n
	}
	if n, ok := set[ownerQuota(p)]; ok {
		l.daily = n
	}
	if l.daily > d.daily && d.daily > 0 {
		times := (l.daily + d.daily - 1) / d.daily
		l.minute, l.floor = d.minute*times, d.usual*times
	}
	return l
}

// stopKey stops a key that signs far more than usual, until two people let it go on: here at once, and on the ledger as
// soon as that can be reached, which then refuses what the key has signed before and not sent. The platform's and the
// administrators' keys are stopped here only: without them nobody could be suspended, or let go on.
func (c *Custody) stopKey(ctx context.Context, tx *model.Tx, owner string, slot Slot) error {
	u, known, err := usage(tx.LockUsage, owner, string(slot))
	if err != nil || u.StoppedAt != 0 {
		return err
	}
	u.StoppedAt = c.now()
	if err := tx.SaveUsage(u.Usage, known); err != nil {
		return err
	}
	key, err := tx.LockNewestCustodyKey(owner, string(slot))
	if err != nil || key.State != model.CustodyActive || key.Role == string(request.Platform) || key.Role == string(request.Administrator) {
		return err
	}
	id, err := c.wishID()
	if err != nil {
		return err
	}
	_, err = c.orderIn(ctx, tx, id, key.ID, model.WishSuspend, guardActor)
	return err
}

// guardActor is who suspends a key that signs far more than usual.
const guardActor = "guard"

// waits are the refusals that are over by themselves. Whoever waits asks often: each act says so in the audit once.
var waits = map[*Error]bool{ErrDailyQuota: true, ErrPlatformQuota: true, ErrRate: true}

// saidBefore reports whether the audit has this refusal of this attempt.
func (c *Custody) saidBefore(tx *model.Tx, e *Error, ask Ask) (bool, error) {
	if !waits[e] || ask.Subject == "" {
		return false, nil
	}
	return tx.AuditSays(ask.Subject, actRefuse, fmt.Sprintf(`"attempt":%d,"code":"%s"`, ask.Attempt, e.Code))
}

// The row of all keys together. No participant has such a name.
const everybodyRow = "*"

// mostShare is how many signatures a server takes in advance from what is left for all.
const mostShare = 64

// share is a part of a day's signatures of all keys that a server has taken.
type share struct{ day, left int64 }

// meter holds the shares that this server has taken and not used. What it holds when it stops is lost for that day, and so
// is a signature of it whose transaction comes to nothing: the count of all keys is never too low, and too high by that.
type meter struct {
	mu sync.Mutex
	share
}

// take takes one signature of what all may make today: from what the transaction has taken already, from what this server
// holds, or else from the row. The answer is what the transaction has left: for put, when it has committed.
func (m *meter) take(tx *model.Tx, taken share, today, daily int64) (share, error) {
	if taken.day == today && taken.left > 0 {
		taken.left--
		return taken, nil
	}
	m.mu.Lock()
	if m.day == today && m.left > 0 {
		m.left--
		m.mu.Unlock()
		return taken, nil
	}
	m.mu.Unlock()
	u, known, err := usage(tx.LockUsage, everybodyRow, everybodyRow)
	if err != nil {
		return taken, err
	}
	u = roll(u, today)
	free := daily - u.Used
	if free <= 0 {
		return taken, ErrPlatformQuota
	}
	// Less where little is left: of several servers none shall sit on what another one could use.
	n := max(1, min(mostShare, free/16))
	u.Used += n
	return share{today, n - 1}, tx.SaveUsage(u.Usage, known)
}

func (m *meter) put(s share) {
	if s.left == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.day != s.day {
		m.share = share{day: s.day}
	}
	m.left += s.left
}
