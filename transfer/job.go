package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"cardflow/iccid"
	"cardflow/model"
)

// jobsWait is the hub's word for jobs that wait for a worker.
const jobsWait = "jobs"

// jobOffer is the kind of job that makes a trade for every card of an offer.
const jobOffer = "offer"

// jobWorkers is how many jobs this server does at once.
const jobWorkers = 2

// cardsJob is what an offer job is to do. Its cards are cut into chunks of what one ledger transaction can open: the
// n-th chunk is always the same cards, and its act has an ID of its own.
type cardsJob struct {
	Caller   Caller     // but for Session
	Offer    OfferInput // but for Segments
	Rule     iccid.Rule
	Cards    string       // canonical
	AtOnce   uint64       // cards of a chunk: fixed when the job was accepted
	Seed     []byte       // of the lots' salts: what they will be is what was asked for
	Deadline model.Millis // of its acts
}

// lots draws the lots of a chunk, the same whenever it is asked.
func (j cardsJob) lots(cards iccid.Set) ([]drawn, error) {
	parts, err := eachCard(cards)
	return drawFrom(j.Seed, parts...), err
}

// chunkAct is the ID of a chunk's act.
func chunkAct(job string, n int) string { return fmt.Sprintf("%s-%d", job, n) }

// offerByJob accepts an each-card offer of more cards than one ledger transaction can open. That the cards can be
// offered is checked here, so that the person learns it at once, and again when the turn of each chunk comes. All of them he
// asks for now: he may have gone by then.
func (s *Service) offerByJob(ctx context.Context, c Caller, idem Idem, in OfferInput, set iccid.Set) (OfferResult, error) {
	if set.Count() > MaxEach {
		return OfferResult{}, fail("TOO_MANY_CARDS").With("limit", MaxEach)
	}
	in.Segments = nil
	possible := func(tx *model.Tx) error {
		_, err := s.offerMode(tx, c, in)
		if err == nil {
			_, err = s.offerable(tx, c.Participant, set)
		}
		return err
	}
	seed := s.salt()
	job := cardsJob{
		Caller: c, Offer: in, Rule: set.Rule, Cards: set.Canonical(), AtOnce: uint64(s.Trade.EachAtOnce), Seed: seed[:], Deadline: s.patience(),
	}
	job.Caller.Session = ""
	row := model.Job{
		ID: s.newID(), ParticipantID: c.Participant, Person: c.Person, Kind: jobOffer, State: model.JobQueued,
		Total: int64(set.Count()), CreatedAt: s.now(),
	}
	err := s.authorised(ctx, c, idem, func(tx *model.Tx) (wishes []wish, err error) {
		if err := possible(tx); err != nil {
			return nil, err
		}
		chunks, err := cutCards(set, job.AtOnce)
		for n, cards := range chunks {
			lots, err := job.lots(cards)
			if err != nil {
				return nil, err
			}
			wishes = append(wishes, s.asks(chunkAct(row.ID, n), s.offerAsked(c, in, lots)))
		}
		return wishes, err
	})
	if err != nil {
		return OfferResult{}, err
	}
	if row.ItemsSealed, err = s.Vault.sealJSON("job/"+row.ID, job); err != nil {
		return OfferResult{}, err
	}
	id, err := s.once(ctx, c, idem, func(tx *model.Tx) (string, error) {
		if err := tx.LockParticipant(c.Participant); err != nil {
			return "", err
		}
		if err := possible(tx); err != nil {
			return "", err
		}
		return row.ID, tx.AddJob(row)
	})
	if err != nil {
		return OfferResult{}, err
	}
	s.tell(jobsWait)
	return OfferResult{JobID: id}, nil
}

// runJobs does the jobs that wait, until ctx ends.
func (s *Service) runJobs(ctx context.Context) {
	var workers sync.WaitGroup
	for range jobWorkers {
		workers.Go(func() { s.work(ctx, jobsWait, s.nextJob) })
	}
	workers.Wait()
}

// working is a job whose lease this server has.
type working struct {
	held[model.Job]
	results []chunkResult
}

// chunkResult is what became of one chunk. Its trades are those of its act.
type chunkResult struct {
	Act   string `json:"act"`
	Cards int64  `json:"cards"`
	Code  string `json:"code,omitempty"` // why it failed
}

// nextJob takes the oldest job that nobody has as far as it goes.
func (s *Service) nextJob(ctx context.Context) (bool, error) {
	w := &working{held: held[model.Job]{
		Service: s, put: (*model.Tx).SaveJob, until: func(j *model.Job) *model.Millis { return &j.LeaseUntil },
	}}
	err := s.DB.Write(ctx, func(tx *model.Tx) (err error) {
		w.row, err = tx.LeaseJob(s.worker(), s.now(), s.leaseEnd(), jobOffer)
		return err
	})
	if errors.Is(err, model.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := w.carry(ctx, w.run); err != nil {
		return true, fmt.Errorf("job %s: %w", w.row.ID, err)
	}
	return true, nil
}

// run does the job from where it is. The chunks that have ended are counted in Done and Failed, each as a whole; one
// that was accepted before a crash is found by its act's ID.
func (w *working) run(ctx context.Context) error {
	if w.row.State == model.JobQueued {
		if err := w.moveTo(ctx, model.JobRunning); err != nil {
			return err
		}
	}
	var job cardsJob
	if err := w.Vault.openJSON("job/"+w.row.ID, w.row.ItemsSealed, &job); err != nil {
		return err
	}
	if w.row.Results != nil {
		if err := json.Unmarshal(w.row.Results, &w.results); err != nil {
			return err
		}
	}
	set, err := iccid.ParseCanonical(job.Rule, job.Cards)
	if err != nil {
		return err
	}
	chunks, err := cutCards(set, job.AtOnce)
	if err != nil {
		return err
	}
	for n := len(w.results); n < len(chunks); n++ {
		r, err := w.chunk(ctx, job, n, chunks[n])
		if err != nil {
			return err
		}
		if err := w.count(ctx, r); err != nil {
			return err
		}
	}
	defer w.tell(w.row.ID)
	if w.row.Done > 0 {
		return w.moveTo(ctx, model.JobDone)
	}
	w.note(func(j *model.Job) { j.ErrorCode = w.results[0].Code })
	return w.moveTo(ctx, model.JobFailed)
}

// chunk accepts the offer of one chunk, unless that has been done, and waits for its end.
func (w *working) chunk(ctx context.Context, job cardsJob, n int, cards iccid.Set) (chunkResult, error) {
	r := chunkResult{Act: chunkAct(w.row.ID, n), Cards: int64(cards.Count())}
	lots, err := job.lots(cards)
	if err != nil {
		return r, err
	}
	err = w.save(ctx, func(tx *model.Tx) error {
		_, err := tx.Act(r.Act)
		if errors.Is(err, model.ErrNotFound) {
			_, err = w.acceptOffer(tx, job.Caller, r.Act, job.Offer, cards, lots, job.Deadline)
		}
		return err
	})
	var refusal *Error
	if errors.As(err, &refusal) {
		r.Code = refusal.Code // these cards are no longer to be had; the others may be
		return r, nil
	}
	if err != nil {
		return r, err
	}
	w.kick()
	end, err := w.Await(ctx, r.Act)
	switch {
	case err != nil:
		return r, err
	case !end.Ended():
		return r, ctx.Err()
	case end.Error != nil:
		r.Code = end.Error.Code
	}
	return r, nil
}

// count notes the end of a chunk.
func (w *working) count(ctx context.Context, r chunkResult) error {
	w.results = append(w.results, r)
	b, err := json.Marshal(w.results)
	if err != nil {
		return err
	}
	w.note(func(j *model.Job) {
		j.Results = b
		if r.Code == "" {
			j.Done += r.Cards
		} else {
			j.Failed += r.Cards
		}
	})
	return w.save(ctx, nil)
}

// moveTo takes the job to its next state.
func (w *working) moveTo(ctx context.Context, to model.JobState) error {
	return w.move(ctx, func(tx *model.Tx) (model.Job, error) { return tx.MoveJob(w.row.ID, w.row.State, to, nil) })
}

// JobView is how far a job is. For an offer, Results has an item for each ledger transaction: {cards, tradeIds, error}.
type JobView struct {
	ID        string
	Kind      string
	State     string // queued, running, done, failed
	Total     int64  // cards
	Done      int64
	Failed    int64
	Results   json.RawMessage
	Error     *ActError // of one of which nothing succeeded
	CreatedAt time.Time
}

// Ended reports whether the job has reached its end.
func (v JobView) Ended() bool {
	return v.State == string(model.JobDone) || v.State == string(model.JobFailed)
}

// AwaitJob waits for the end of a job. When ctx ends first it answers how far the job is.
func (s *Service) AwaitJob(ctx context.Context, c Caller, id string) (JobView, error) {
	return await(ctx, s.hub, id, func(ctx context.Context) (JobView, bool, error) {
		v, err := s.Job(ctx, c, id)
		return v, v.Ended(), err
	})
}

type jobItem struct {
	Cards    int64     `json:"cards"`
	TradeIDs []string  `json:"tradeIds,omitempty"`
	Error    *jobError `json:"error,omitempty"`
}

type jobError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Job shows how far a job of the caller's organisation is. Errors: JOB_NOT_FOUND, others' too.
func (s *Service) Job(ctx context.Context, c Caller, id string) (JobView, error) {
	var v JobView
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		j, err := tx.Job(id)
		if errors.Is(err, model.ErrNotFound) || err == nil && j.ParticipantID != c.Participant {
			return fail("JOB_NOT_FOUND")
		}
		if err != nil {
			return err
		}
		v = JobView{ID: j.ID, Kind: j.Kind, State: string(j.State), Total: j.Total, Done: j.Done, Failed: j.Failed, CreatedAt: j.CreatedAt.Time()}
		if j.State == model.JobFailed {
			v.Error = &ActError{Code: j.ErrorCode, Message: MessageOf(j.ErrorCode)}
		}
		v.Results, err = s.jobItems(tx, j)
		return err
	})
	return v, err
}

func (s *Service) jobItems(tx *model.Tx, j model.Job) (json.RawMessage, error) {
	var results []chunkResult
	if j.Results != nil {
		if err := json.Unmarshal(j.Results, &results); err != nil {
			return nil, fmt.Errorf("job %s: results: %w", j.ID, err)
		}
	}
	items := make([]jobItem, len(results))
	for i, r := range results {
		items[i].Cards = r.Cards
		if r.Code != "" {
			items[i].Error = &jobError{r.Code, MessageOf(r.Code)}
			continue
		}
		a, err := tx.Act(r.Act)
		if err != nil {
			return nil, err
		}
		f, err := s.fieldsOf(a)
		if err != nil {
			return nil, err
		}
		items[i].TradeIDs = f.Offer.Trades
	}
	return json.Marshal(items)
}

// cutCards cuts a set into sets of most cards, in order, always in the same way.
func cutCards(set iccid.Set, most uint64) ([]iccid.Set, error) {
	var out []iccid.Set
	var segs []iccid.Segment
	room := most
	for _, seg := range set.Segments() {
		for seg.Count() > 0 {
			piece := seg
			if seg.Count() > room {
				piece.Hi = seg.Lo + uint32(room) - 1
			}
			segs = append(segs, piece)
			room -= piece.Count()
			last := piece.Hi == seg.Hi
			seg.Lo = piece.Hi + 1
			if room == 0 {
				one, err := iccid.NewSet(set.Rule, segs...)
				if err != nil {
					return nil, err
				}
				out, segs, room = append(out, one), nil, most
			}
			if last {
				break
			}
		}
	}
	if len(segs) == 0 {
		return out, nil
	}
	one, err := iccid.NewSet(set.Rule, segs...)
	return append(out, one), err
}
