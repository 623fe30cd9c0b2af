package model

// The points of a transaction at which a process dies in the crash suite: Config.At is called with their names. What a crash
// there leaves stands beside each.
const (
	// AtCommitting: everything is written, and not committed. Nothing of it stands.
	AtCommitting = "committing"
	// AtCommitted: it stands, and whoever wrote it doesn't know.
	AtCommitted = "committed"
)

// at tells the crash suite where a transaction is.
func (db *DB) at(point string) {
	if db.atPoint != nil {
		db.atPoint("model: " + point)
	}
}
