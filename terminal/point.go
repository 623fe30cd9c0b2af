package terminal

// The points at which a test kills a terminal that sells, takes in or sends, in the order in which it comes by.
const (
	AtKeeping  = "keeping"  // scans are counted, and not yet on the disk
	AtKept     = "kept"     // they are on the disk
	AtQueueing = "queueing" // a request is signed, and not yet in the queue
	AtQueued   = "queued"   // it is in the queue, and on the disk
	AtSending  = "sending"  // it is marked as being sent, and not yet sent
	AtSent     = "sent"     // its answer is here, and not yet noted
	AtNoted    = "noted"    // its end is on the disk
)

// Watch has a test look on at these points. There is nobody else to call it.
func (s *State) Watch(at func(point string)) { s.at = at }

func (s *State) pass(point string) {
	if s.at != nil {
		s.at(point)
	}
}
