package model

import "slices"

// Machine is the transition table of one kind of record: for each state, in the order of a record's life, the states
// it may go to. Staying is no move. The triggers of the migrations say the same; a test compares the two pair by pair.
type Machine[S ~string] []Moves[S]

// Moves is one line of a Machine.
type Moves[S ~string] struct {
	From S
	To   []S // none: From is final
}

// Can reports whether a record may move between two states.
func (m Machine[S]) Can(from, to S) bool {
	i := slices.IndexFunc(m, func(line Moves[S]) bool { return line.From == from })
	return i >= 0 && slices.Contains(m[i].To, to)
}

// States lists all states.
func (m Machine[S]) States() []S {
	states := make([]S, len(m))
	for i, line := range m {
		states[i] = line.From
	}
	return states
}

// ParticipantState says how far the ledger knows a participant.
type ParticipantState string

// The states of a participant.
const (
	ParticipantPending     ParticipantState = "pending"     // known here only
	ParticipantRegistering ParticipantState = "registering" // an act that registers him is under way
	ParticipantRegistered  ParticipantState = "registered"  // the ledger has him and his key
)

// ParticipantMoves: registration is proved by the ledger, whatever was thought here.
var ParticipantMoves = Machine[ParticipantState]{
	{ParticipantPending, []ParticipantState{ParticipantRegistering, ParticipantRegistered}},
	{ParticipantRegistering, []ParticipantState{ParticipantPending, ParticipantRegistered}},
	{ParticipantRegistered, nil},
}

// PersonState says whether a person may log in.
type PersonState string

// The states of a person.
const (
	PersonActive   PersonState = "active"
	PersonDisabled PersonState = "disabled"
)

// PersonMoves: nobody is deleted.
var PersonMoves = Machine[PersonState]{
	{PersonActive, []PersonState{PersonDisabled}},
	{PersonDisabled, []PersonState{PersonActive}},
}

// LotStatus is what the ledger says of a lot, or that it hasn't said it yet.
type LotStatus string

// The states of a lot.
const (
	LotPending   LotStatus = "PENDING"   // an act that makes it is under way
	LotOwned     LotStatus = "OWNED"     // on the ledger, with its owner
	LotInTrade   LotStatus = "IN_TRADE"  // set aside for a receiver
	LotSpent     LotStatus = "SPENT"     // its cards are in its children
	LotRetired   LotStatus = "RETIRED"   // its cards are out of use, for ever
	LotAbandoned LotStatus = "ABANDONED" // the act that would have made it failed
)

// LotMoves: an abandoned lot comes back when the ledger proves that its act went through after all.
var LotMoves = Machine[LotStatus]{
	{LotPending, []LotStatus{LotOwned, LotInTrade, LotSpent, LotRetired, LotAbandoned}},
	{LotOwned, []LotStatus{LotInTrade, LotSpent, LotRetired}},
	{LotInTrade, []LotStatus{LotOwned, LotSpent}},
	{LotSpent, nil},
	{LotRetired, nil},
	{LotAbandoned, []LotStatus{LotOwned, LotInTrade, LotSpent, LotRetired}},
}

// Live reports whether the cards of a lot in this state are in this lot and no other: the lots of a card that the
// ledger knows are all spent but one.
func (s LotStatus) Live() bool { return s == LotOwned || s == LotInTrade || s == LotRetired }

// TradeState is how far a trade is.
type TradeState string

// The states of a trade.
const (
	TradeOffering   TradeState = "offering"   // the offer is on its way to the ledger
	TradeOffered    TradeState = "offered"    // waits for its receiver
	TradeConfirming TradeState = "confirming" // one of four ends is on its way to the ledger
	TradeDeclining  TradeState = "declining"
	TradeCancelling TradeState = "cancelling"
	TradeReleasing  TradeState = "releasing"
	TradeConfirmed  TradeState = "confirmed" // the ends
	TradeDeclined   TradeState = "declined"
	TradeCancelled  TradeState = "cancelled"
	TradeReleased   TradeState = "released"
	TradeFailed     TradeState = "failed" // the offer never reached the ledger
)

// Ended reports whether the ledger has ended the trade.
func (s TradeState) Ended() bool {
	return s == TradeConfirmed || s == TradeDeclined || s == TradeCancelled || s == TradeReleased
}

// TradeMoves: which of the ends a trade meets is picked by the ledger and not by whoever was first here.
var TradeMoves = Machine[TradeState]{
	{TradeOffering, []TradeState{TradeOffered, TradeFailed, TradeConfirmed, TradeDeclined, TradeCancelled, TradeReleased}},
	{TradeOffered, []TradeState{TradeConfirming, TradeDeclining, TradeCancelling, TradeReleasing, TradeConfirmed, TradeDeclined, TradeCancelled, TradeReleased}},
	{TradeConfirming, []TradeState{TradeOffered, TradeConfirmed, TradeDeclined, TradeCancelled, TradeReleased}},
	{TradeDeclining, []TradeState{TradeOffered, TradeConfirmed, TradeDeclined, TradeCancelled, TradeReleased}},
	{TradeCancelling, []TradeState{TradeOffered, TradeConfirmed, TradeDeclined, TradeCancelled, TradeReleased}},
	{TradeReleasing, []TradeState{TradeOffered, TradeConfirmed, TradeDeclined, TradeCancelled, TradeReleased}},
	{TradeConfirmed, nil},
	{TradeDeclined, nil},
	{TradeCancelled, nil},
	{TradeReleased, nil},
	{TradeFailed, []TradeState{TradeOffered, TradeConfirmed, TradeDeclined, TradeCancelled, TradeReleased}},
}

// ActState is how far a write to the ledger is.
type ActState string

// The states of an act.
const (
	ActAccepted  ActState = "accepted"  // asked for; nothing is signed
	ActSigned    ActState = "signed"    // the owner's signature is stored
	ActPrepared  ActState = "prepared"  // the transaction ID is fixed; nothing has left yet, or it may be sent again
	ActSubmitted ActState = "submitted" // it left; only the ledger knows
	ActCommitted ActState = "committed" // in a block, valid
	ActFailed    ActState = "failed"    // refused for good
)

// ActMoves: a failed act that turns up in a block has happened.
var ActMoves = Machine[ActState]{
	{ActAccepted, []ActState{ActSigned, ActFailed, ActCommitted}},
	{ActSigned, []ActState{ActPrepared, ActFailed, ActCommitted}},
	{ActPrepared, []ActState{ActSubmitted, ActSigned, ActAccepted, ActFailed, ActCommitted}},
	{ActSubmitted, []ActState{ActPrepared, ActAccepted, ActCommitted, ActFailed}},
	{ActCommitted, nil},
	{ActFailed, []ActState{ActCommitted}},
}

// Finished reports whether no worker has anything left to do.
func (s ActState) Finished() bool { return s == ActCommitted || s == ActFailed }

// ImportState is how far a card file is.
type ImportState string

// The states of an import.
const (
	ImportQueued  ImportState = "queued"
	ImportReading ImportState = "reading"
	ImportIssuing ImportState = "issuing" // its lots are on their way to the ledger
	ImportDone    ImportState = "done"
	ImportFailed  ImportState = "failed"
)

// ImportMoves: reading starts over after a crash, issuing does not.
var ImportMoves = Machine[ImportState]{
	{ImportQueued, []ImportState{ImportReading, ImportFailed}},
	{ImportReading, []ImportState{ImportQueued, ImportIssuing, ImportDone, ImportFailed}},
	{ImportIssuing, []ImportState{ImportDone, ImportFailed}},
	{ImportDone, nil},
	{ImportFailed, nil},
}

// JobState is how far a job is.
type JobState string

// The states of a job.
const (
	JobQueued  JobState = "queued"
	JobRunning JobState = "running"
	JobDone    JobState = "done"
	JobFailed  JobState = "failed"
)

// JobMoves: a running job may be put back.
var JobMoves = Machine[JobState]{
	{JobQueued, []JobState{JobRunning, JobFailed}},
	{JobRunning, []JobState{JobQueued, JobDone, JobFailed}},
	{JobDone, nil},
	{JobFailed, nil},
}
