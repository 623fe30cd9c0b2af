package transfer

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"cardflow/iccid"
	"cardflow/ledger/request"
	"cardflow/model"
)

// runs are cards as runs of consecutive ones, in the order in which a file names them.
type runs map[iccid.Rule][]iccid.Segment

func (r runs) add(rule iccid.Rule, c iccid.Card) {
	all := r[rule]
	if n := len(all); n > 0 {
		last := &all[n-1]
		if last.Head == c.Head && last.Width == c.Width && last.Hi < c.Tail && c.Tail-last.Hi == 1 {
			last.Hi = c.Tail
			return
		}
	}
	r[rule] = append(all, iccid.Segment{Head: c.Head, Width: c.Width, Lo: c.Tail, Hi: c.Tail})
}

// sets joins the runs, in whatever order they came, and calls each for sets of at most iccid.MaxSegments.
func (r runs) sets(each func(iccid.Set) error) error {
	for _, rule := range slices.Sorted(maps.Keys(r)) {
		all := r[rule]
		slices.SortFunc(all, func(a, b iccid.Segment) int {
			return cmp.Or(cmp.Compare(a.Head, b.Head), cmp.Compare(a.Width, b.Width), cmp.Compare(a.Lo, b.Lo))
		})
		joined := all[:0]
		for _, s := range all {
			if n := len(joined); n > 0 {
				last := &joined[n-1]
				if last.Head == s.Head && last.Width == s.Width && last.Hi < s.Lo && s.Lo-last.Hi == 1 {
					last.Hi = s.Hi
					continue
				}
			}
			joined = append(joined, s)
		}
		for some := range slices.Chunk(joined, iccid.MaxSegments) {
			set, err := iccid.NewSet(rule, some...)
			if err != nil {
				return err
			}
			if err := each(set); err != nil {
				return err
			}
		}
	}
	return nil
}

// issueStep is the cards that an import issues in one database transaction: at most issueAtOnce sets, each of some lots.
type issueStep []plannedSet

type plannedSet struct {
	Rule  iccid.Rule
	Cards string // canonical
	Seed  []byte // of the lots' salts: what they will be is what custody is told
}

// issueAtOnce bounds a step: 5 sets of 10,000 segments are 50 lots.
const issueAtOnce = 5

// planIssue fixes what the import will issue, in a file of sealed steps. From here on the card file is not looked at
// again: what it says would be judged otherwise, once some of its cards are on the ledger.
func (w *importing) planIssue(cards runs) error {
	path := w.issueFile(w.row.ID)
	f, err := os.OpenFile(path+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("plan of import: %w", err)
	}
	out := bufio.NewWriter(f)
	enc := json.NewEncoder(out)
	var step issueStep
	n := 0
	put := func() error {
		sealed, err := w.Vault.sealJSON(w.stepPlace(n), step)
		if err != nil {
			return err
		}
		step, n = step[:0], n+1
		return enc.Encode(sealed)
	}
	err = cards.sets(func(set iccid.Set) error {
		seed := w.salt()
		step = append(step, plannedSet{Rule: set.Rule, Cards: set.Canonical(), Seed: seed[:]})
		if len(step) < issueAtOnce {
			return nil
		}
		return put()
	})
	if err == nil && len(step) > 0 {
		err = put()
	}
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("plan of import: %w", err)
	}
	return nil
}

func (w *importing) stepPlace(n int) string { return fmt.Sprintf("import/%s/%d", w.row.ID, n) }

// steps reads the plan.
func (w *importing) steps(each func(n int, step issueStep) error) error {
	f, err := os.Open(w.issueFile(w.row.ID))
	if err != nil {
		return fmt.Errorf("plan of import: %w", err)
	}
	defer f.Close()
	in := json.NewDecoder(bufio.NewReader(f))
	for n := 0; ; n++ {
		var sealed []byte
		if err := in.Decode(&sealed); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("plan of import: %w", err)
		}
		var step issueStep
		if err := w.Vault.openJSON(w.stepPlace(n), sealed, &step); err != nil {
			return fmt.Errorf("plan of import: %w", err)
		}
		if err := each(n, step); err != nil {
			return err
		}
	}
}

// issue accepts the acts that register the cards, step by step, and waits for their ends.
func (w *importing) issue(ctx context.Context) error {
	var acts []string
	var refusal *Error
	err := w.steps(func(n int, step issueStep) error {
		ids, err := w.acceptStep(ctx, n, step)
		if errors.As(err, &refusal) {
			return refusal // somebody has registered some of these cards since the file was read
		}
		acts = append(acts, ids...)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		refusal = fail("CARD_FILE_LOST")
	}
	if err != nil && refusal == nil {
		return err
	}
	w.kick()
	return w.outcome(ctx, acts, refusal)
}

// acceptStep accepts the acts of one step, all or none, and answers their IDs. They follow from the import's, so that
// a step that was accepted before a crash is recognised.
func (w *importing) acceptStep(ctx context.Context, n int, step issueStep) ([]string, error) {
	issues, err := w.issues(n, step)
	if err != nil {
		return nil, err
	}
	var acts []string
	for _, i := range issues {
		for k := range i.lots {
			acts = append(acts, part(i.id, k))
		}
	}
	return acts, w.save(ctx, func(tx *model.Tx) error {
		_, err := tx.Act(acts[0])
		if !errors.Is(err, model.ErrNotFound) {
			return err
		}
		for _, i := range issues {
			if err := w.acceptIssue(tx, i, w.row.CreatedAt+model.Millis(patient.Milliseconds())); err != nil {
				return err
			}
		}
		return nil
	})
}

// issues are the lots of a step, which are the same whenever they are drawn.
func (w *importing) issues(n int, step issueStep) ([]issue, error) {
	c := Caller{Participant: w.row.ParticipantID, Role: request.Carrier, Person: w.row.Person}
	out := make([]issue, len(step))
	for k, p := range step {
		set, err := iccid.ParseCanonical(p.Rule, p.Cards)
		if err != nil {
			return nil, err
		}
		if out[k], err = issueOf(w.setAct(n, k), c, set, p.Seed, w.row.RetailPolicy, w.row.Restrictions); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// authorise tells custody which lots the plan has. Whoever sent the file asked for its cards before they were known; from here
// on they are, and nothing that happens to this database, or to the plan, has others signed for.
func (w *importing) authorise(ctx context.Context) error {
	var parts []Part
	err := w.steps(func(n int, step issueStep) error {
		issues, err := w.issues(n, step)
		for _, i := range issues {
			for k := range i.lots {
				parts = append(parts, Part{part(i.id, k), string(i.cards.Rule), i.lots[k].hash})
			}
		}
		return err
	})
	if err == nil {
		err = w.Signer.AuthoriseParts(ctx, importWish(w.row.ID), wholeIssue(&w.row), parts)
	}
	if errors.Is(err, ErrUnauthorised) {
		return &Error{Code: "NOT_AUTHORISED", Err: err}
	}
	return err
}

// wholeIssue is what an import is asked for as while its cards are not known: an issue of no lot.
func wholeIssue(i *model.Import) request.Issue {
	return request.Issue{Carrier: i.ParticipantID, RetailPolicy: request.RetailPolicy(i.RetailPolicy), Restrictions: i.Restrictions}
}

// planned reports whether the plan is there. It is made when the file has been read, and then stays as it is: custody may
// know of it.
func (w *importing) planned() bool {
	_, err := os.Stat(w.issueFile(w.row.ID))
	return err == nil
}

// importWish is what an import was asked for as, and how the names of its acts begin.
func importWish(id string) string { return "import-" + id }

func (w *importing) setAct(n, k int) string {
	return fmt.Sprintf("%s-%d-%d", importWish(w.row.ID), n, k)
}

// outcome waits for the acts and ends the import. refusal is why there are no more of them.
func (w *importing) outcome(ctx context.Context, acts []string, refusal *Error) error {
	var lots []string
	for n, id := range acts {
		w.note(func(i *model.Import) { i.BytesDone, i.BytesTotal = int64(n), int64(len(acts)) })
		end, err := w.Await(ctx, id)
		if err != nil {
			return err
		}
		if !end.Ended() {
			return ctx.Err()
		}
		if end.Error != nil {
			refusal = fail(end.Error.Code)
			continue
		}
		a, err := w.act(ctx, id)
		if err != nil {
			return err
		}
		lots = append(lots, a.Subject)
	}
	w.note(func(i *model.Import) { i.Lots = lots })
	switch {
	case refusal == nil:
		return w.end(ctx, model.ImportDone)
	case len(lots) == 0:
		return w.refuse(ctx, refusal.Code, "")
	}
	// The details stay: those of the lots that are on the ledger are needed, and the others may still be issued by hand.
	w.note(func(i *model.Import) {
		i.ErrorCode, i.ErrorText = "IMPORT_INCOMPLETE", MessageOf("IMPORT_INCOMPLETE")+"："+refusal.Message()
	})
	return w.end(ctx, model.ImportFailed)
}
