package model

import "fmt"

// Job is work with many items that outlasts a request.
type Job struct {
	ID            string `gorm:"primaryKey"`
	ParticipantID string
	Person        string `gorm:"serializer:null"`
	Kind          string // what it does, a word of whoever runs it
	State         JobState
	Total         int64 // items
	Done          int64
	Failed        int64
	ItemsSealed   []byte // what is to be done
	Results       []byte // JSON, what the owner may see
	ErrorCode     string `gorm:"serializer:null"`
	LeaseOwner    string `gorm:"serializer:null"`
	LeaseUntil    Millis
	CreatedAt     Millis `gorm:"autoCreateTime:milli"`
	UpdatedAt     Millis `gorm:"autoUpdateTime:milli"`
}

// Job fetches one job. Errors: ErrNotFound.
func (tx *Tx) Job(id string) (Job, error) {
	j, err := one[Job](tx.db.Where("id = ?", id))
	return j, named("job", id, err)
}

// JobsOf lists the jobs of a participant, newest first.
func (tx *Tx) JobsOf(participant, cursor string, limit int) (Page[Job], error) {
	return newestFirst(tx.db.Where("participant_id = ?", participant), "id", cursor, limit,
		func(j Job) newest { return newest{int64(j.CreatedAt), j.ID} })
}

// AddJob stores a new job.
func (tx *Tx) AddJob(j Job) error { return named("job", j.ID, tx.db.Create(&j).Error) }

// MoveJob moves a job between two states and stores what change makes of it; a finished one has no lease. Errors:
// ErrNotFound; ErrState if it isn't in from or the table doesn't allow the move.
func (tx *Tx) MoveJob(id string, from, to JobState, change func(*Job)) (Job, error) {
	j, err := one[Job](tx.locked().Where("id = ?", id))
	if err != nil {
		return j, named("job", id, err)
	}
	if j.State != from || !JobMoves.Can(from, to) {
		return j, fmt.Errorf("job %s: %w: %s, not %s to %s", id, ErrState, j.State, from, to)
	}
	if change != nil {
		change(&j)
	}
	j.ID, j.State = id, to
	if to == JobDone || to == JobFailed {
		j.LeaseOwner, j.LeaseUntil = "", 0
	}
	return j, swapped("job", id, tx.db.Model(&j).Where("state = ?", from).Select("*").Updates(&j))
}

// SaveJob stores progress, for the worker that leases the job. Errors: ErrState if lease or state is somebody else's
// by now.
func (tx *Tx) SaveJob(j Job) error {
	return swapped("job", j.ID, tx.db.Model(&j).Where("state = ? AND lease_owner = ?", j.State, j.LeaseOwner).Select("*").Updates(&j))
}

// LeaseJob takes the oldest unfinished job that nobody has, of these kinds or of any. Errors: ErrNotFound if there
// is none.
func (tx *Tx) LeaseJob(owner string, now, until Millis, kinds ...string) (Job, error) {
	query := free(tx.skipLocked().Where("state IN ?", []JobState{JobQueued, JobRunning}), now, until)
	if len(kinds) > 0 {
		query = query.Where("kind IN ?", kinds)
	}
	j, err := one[Job](query.Order("created_at, id").Limit(1))
	if err != nil {
		return j, named("job", "", err)
	}
	j.LeaseOwner, j.LeaseUntil = owner, until
	return j, lease(tx.db.Model(&Job{}), "job", j.ID, owner, until)
}
