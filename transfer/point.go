package transfer

// The points of a write's way at which a server dies in the crash suite: [Config.At] is called with their names, in the
// order in which a write comes by. Between two of them a crash means the same; what one there leaves stands beside each.
const (
	// AtAuthorised: custody knows that a consumer asks for something, and nothing of it is written here. Whoever asks again
	// authorises an act of another name; this one never comes to be.
	AtAuthorised = "authorised"
	// AtAccepting: a wish, its act and what it sets aside are written, and not committed. Nothing of it stands; whoever
	// asks again begins anew.
	AtAccepting = "accepting"
	// AtAccepted: they are committed, and nobody knows. Whoever asks again under the same key is told of the act.
	AtAccepted = "accepted"
	// AtLeased: acts are this server's. It takes them up again when it starts; else another one, when the lease ends.
	AtLeased = "leased"
	// AtIntending: body, key and deadline are written, and not committed. They are chosen anew.
	AtIntending = "intending"
	// AtIntended: they are fixed. Custody is asked for a signature over just these bytes.
	AtIntended = "intended"
	// AtSigned: custody has given its signatures, and keeps them. It is asked again, and gives the same.
	AtSigned = "signed"
	// AtStored: the act has them. It gets its transaction.
	AtStored = "stored"
	// AtJournaled: openings are in the journal, and their transaction has no ID yet. The journal gets them once more.
	AtJournaled = "journaled"
	// AtPrepared: the transaction has its ID, and certainly isn't on its way.
	AtPrepared = "prepared"
	// AtEndorsed: it is endorsed, and the row doesn't say that it leaves. It doesn't; the endorsement is lost.
	AtEndorsed = "endorsed"
	// AtLeaving: the row says so. The ledger is asked, doesn't have it, and gets it under the same ID.
	AtLeaving = "leaving"
	// AtHeard: it is in a block, and only this worker knows. The listener finds it there.
	AtHeard = "heard"
	// AtVerdict: the ledger was asked, and has it. The same.
	AtVerdict = "verdict"
	// AtBlock: the listener has a block. It asks for the block after its checkpoint again, which is this one.
	AtBlock = "block"
	// AtSettling: the block's rows are written, its checkpoint is not, and nothing is committed. The same.
	AtSettling = "settling"
	// AtSettled: the block is settled, and nobody has read it. Whoever asks is told what stands.
	AtSettled = "settled"
	// AtCatchingUp: of several blocks that came while nobody listened, some are settled. It goes on after those.
	AtCatchingUp = "catching up"
	// AtVerifying: a registration is this worker's to have checked. The lease ends, and the verifier is asked again.
	AtVerifying = "verifying"
	// AtVerified: what the verifier said is written, and not committed. The same.
	AtVerified = "verified"
	// AtReleasing: releases of what has expired are accepted, and not committed. The next sweep finds it again.
	AtReleasing = "releasing"
	// AtFailing: an act's end and the return of what it had set aside are written, and not committed. It fails again, or
	// not, as things stand then.
	AtFailing = "failing"
	// AtMessaging: a message is given up by its row, and that is not committed. The row is there, and the message is sent later.
	AtMessaging = "messaging"
	// AtMessage: it is committed, and the message may not have been sent. It is lost: nobody is told twice.
	AtMessage = "message"
)

// at tells the crash suite where a write is.
func (s *Service) at(point string) {
	if s.At != nil {
		s.At("transfer: " + point)
	}
}
