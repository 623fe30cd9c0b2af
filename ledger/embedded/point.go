package embedded

// The points of a transaction's way at which a server dies in the crash suite: Config.At is called with their names.
// Between two of them a crash means the same; what one there leaves stands beside each.
const (
	// AtSent: a transaction has been handed to the committer. It is in a block, or nowhere.
	AtSent = "sent"
	// AtWriting: its block is put together, and the file has nothing of it.
	AtWriting = "writing"
	// AtWritten: the file has the block, and nobody was told.
	AtWritten = "written"
)

// at tells the crash suite where a transaction is.
func (l *Ledger) at(point string) {
	if l.config.At != nil {
		l.config.At("ledger: " + point)
	}
}
