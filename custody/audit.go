package custody

import (
	"context"
	"crypto/hmac"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"cardflow/gm"
	"cardflow/model"
)

// entry is something that happened, before it is a row.
type entry struct {
	actor   string // session, job or program
	act     string
	subject string
	detail  map[string]any // IDs, codes, digests: nothing secret, nothing personal
}

// unrecordable are the errors because of which nothing can be recorded, and that say so better than ErrAuditUnwritable.
var unrecordable = map[*Error]bool{ErrAuditBroken: true, ErrClosed: true, ErrSealed: true, ErrToken: true, ErrRootMismatch: true}

// unable reports whether an error says only that custody can't work now: nothing was refused, nothing can be recorded, and
// the same may succeed later.
func unable(e *Error) bool { return e == ErrAuditUnwritable || unrecordable[e] }

// The acts in the audit.
const (
	actBegin     = "audit.begin"
	actKEK       = "kek.make"
	actKey       = "key.make"
	actRestore   = "key.restore"
	actResume    = "audit.resume"
	actIntent    = "sign.intent"
	actRefuse    = "sign.refuse"
	actClose     = "attempt.close"
	actAdopt     = "sign.adopt"
	actRestored  = "audit.restored"
	actVerify    = "audit.verify"
	actReconcile = "restore.reconcile" // a bundle was restored, and the ledger followed to its end
	actShare     = "seal.share"        // somebody brings a share
	actRefused   = "seal.refuse"       // it was none that helps
	actUnseal    = "seal.open"         // on one server
	actSeal      = "seal.stop"         // on all of them
	actNextRoot  = "root.prepare"      // another root waits for two people
	actDropRoot  = "root.drop"         // it has waited too long
	actRoot      = "root.rotate"       // another root
	actHead      = "audit.reseal"      // the head is under another key-encryption key from here on
	actRewrap    = "kek.rewrap"        // keys under another key-encryption key
	actErase     = "account.erase"     // a consumer had his data deleted

	// Of the life of a key; suspend, resume, revoke and replace stand there under those names, after "key.".
	actPrepare    = "key.prepare"
	actTakeOver   = "key.take"
	actFollow     = "key.follow"
	actDestroy    = "key.destroy"
	actRefuseMove = "key.refuse"
)

// noHash is what the first row has before it.
var noHash = strings.Repeat("0", 64)

// hashRow is the link: SM3 over everything in a row and the hash of the row before it, each with its length before it.
func hashRow(r model.AuditRow) string {
	sum := gm.SM3(bind("cardflow/custody/audit/1", strconv.FormatInt(r.Seq, 10), strconv.FormatInt(int64(r.At), 10),
		r.Actor, r.Act, r.Subject, r.Detail, r.PrevHash))
	return hex.EncodeToString(sum[:])
}

// sealHead is a tag that can't be made without a key-encryption key, so that the chain can't be written anew, or cut,
// by someone who has only the database.
func sealHead(kek gm.Secret, h model.AuditHead) []byte {
	key := gm.Derive(kek, "cardflow/custody/audit/head/1", 32)
	defer key.Clear()
	parts := [][]byte{binary.BigEndian.AppendUint64(nil, uint64(h.Seq)), []byte(h.Hash)}
	// Or who writes to the database could lift a stop without a row of the audit.
	if h.StoppedAt != 0 {
		parts = append(parts, binary.BigEndian.AppendUint64(nil, uint64(h.StoppedAt)))
	}
	tag := gm.HMAC(key, parts...)
	return tag[:]
}

// head fetches the head by read and checks its seal: a row must not be appended to a head that someone else wrote,
// for that would make it good.
func (c *Custody) head(ctx context.Context, tx *model.Tx, read func() (model.AuditHead, error)) (model.AuditHead, error) {
	h, err := read()
	if errors.Is(err, model.ErrNotFound) {
		return h, fmt.Errorf("the audit has no head: %w", ErrAuditBroken)
	}
	if err != nil {
		return h, err
	}
	err = c.keys.use(ctx, tx, h.KEKVersion, func(kek gm.Secret) error {
		if !hmac.Equal(sealHead(kek, h), h.Seal) {
			return fmt.Errorf("the head of the audit (row %d) has a false seal: %w", h.Seq, ErrAuditBroken)
		}
		return nil
	})
	if errors.Is(err, model.ErrNotFound) {
		return h, fmt.Errorf("the head of the audit names an unknown key: %w", ErrAuditBroken)
	}
	return h, err
}

// beginAudit makes the head and the first rows.
func (c *Custody) beginAudit(ctx context.Context, tx *model.Tx, first model.CustodyKEK) error {
	h := model.AuditHead{Hash: noHash, KEKVersion: first.Version}
	err := c.keys.use(ctx, tx, h.KEKVersion, func(kek gm.Secret) error {
		h.Seal = sealHead(kek, h)
		return nil
	})
	if err != nil {
		return err
	}
	if err := tx.AddAuditHead(h); err != nil {
		return err
	}
	if err := c.record(ctx, tx, entry{"custody", actBegin, c.channel, nil}); err != nil {
		return err
	}
	return c.record(ctx, tx, entry{"custody", actKEK, strconv.Itoa(first.Version), map[string]any{"root": first.RootID}})
}

// record appends to the audit within the transaction that makes the entry true: both stand or neither does. The head is
// locked until the transaction ends, by write before anything else: every append of every server queues there.
func (c *Custody) record(ctx context.Context, tx *model.Tx, entries ...entry) error {
	rows := make([]model.AuditWaiting, len(entries))
	for i, e := range entries {
		detail, err := json.Marshal(e.detail) // of a map: in the order of the keys
		if err != nil {
			return err
		}
		rows[i] = model.AuditWaiting{At: c.now(), Actor: e.actor, Act: e.act, Subject: e.subject, Detail: inASCII(string(detail))}
	}
	return c.append(ctx, tx, rows, nil)
}

// inASCII is JSON with escapes for what people write in other letters: MySQL keeps the audit in columns that have none.
func inASCII(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	return b.String()
}

// append is record for rows that are made already. change, if not nil, changes the head beside it.
func (c *Custody) append(ctx context.Context, tx *model.Tx, entries []model.AuditWaiting, change func(*model.AuditHead)) error {
	if len(entries) == 0 {
		return nil
	}
	err := c.tryAppend(ctx, tx, entries, change)
	if e, ok := codeOf(err); err == nil || ok && unrecordable[e] {
		return err
	}
	return fmt.Errorf("%w: %w", ErrAuditUnwritable, err)
}

func (c *Custody) tryAppend(ctx context.Context, tx *model.Tx, entries []model.AuditWaiting, change func(*model.AuditHead)) error {
	h, err := c.head(ctx, tx, tx.LockAuditHead)
	if err != nil {
		return err
	}
	if change != nil {
		change(&h)
	}
	rows := make([]model.AuditRow, len(entries))
	for i, e := range entries {
		row := model.AuditRow{Seq: h.Seq + 1, At: e.At, Actor: e.Actor, Act: e.Act, Subject: e.Subject, Detail: e.Detail, PrevHash: h.Hash}
		row.Hash = hashRow(row)
		h.Seq, h.Hash, rows[i] = row.Seq, row.Hash, row
	}
	err = c.keys.use(ctx, tx, h.KEKVersion, func(kek gm.Secret) error {
		h.Seal = sealHead(kek, h)
		return nil
	})
	if err != nil {
		return err
	}
	return tx.AppendAudit(rows, h)
}

// auditPage is how many rows are read at once.
const auditPage = 200
