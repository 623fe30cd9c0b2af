package handler

import (
	"cardflow/custody"
	"cardflow/transfer"
)

// Custody is what ops do with the custody of keys.
type Custody interface {
	TwoPeople
	Auditing
	Seals
	Roots
}

// keeping says what custody's errors mean to a caller. Those that aren't here are ours.
var keeping = map[*custody.Error]transfer.Kind{
	custody.ErrOperationUnknown: transfer.Invalid,
	custody.ErrArguments:        transfer.Invalid,
	custody.ErrReason:           transfer.Invalid,
	custody.ErrQuota:            transfer.Invalid,
	custody.ErrNotOperator:      transfer.Forbidden,
	custody.ErrNotColleague:     transfer.Forbidden,
	custody.ErrNotFrozen:        transfer.Conflict,
	custody.ErrSelfApproval:     transfer.Forbidden,
	custody.ErrApproverNew:      transfer.Forbidden,
	custody.ErrNotProposer:      transfer.Forbidden,
	custody.ErrProposalNotFound: transfer.NotFound,
	custody.ErrProposalDecided:  transfer.Conflict,
	custody.ErrProposalExpired:  transfer.Conflict,
	custody.ErrProposalChanged:  transfer.Conflict,
	custody.ErrProposalForged:   transfer.Conflict,
	custody.ErrProposerGone:     transfer.Conflict,
	custody.ErrQuotaRaise:       transfer.Conflict,
	custody.ErrQuotaLower:       transfer.Conflict,
	custody.ErrNotStopped:       transfer.Conflict,
	custody.ErrKeyNotFound:      transfer.NotFound,
	custody.ErrKeyTransition:    transfer.Conflict,
	custody.ErrKeyProtected:     transfer.Conflict,
	custody.ErrRecovery:         transfer.Conflict,
	custody.ErrClockBack:        transfer.Unavailable,
	custody.ErrShareMistyped:    transfer.Invalid,
	custody.ErrShareForeign:     transfer.Mismatch,
	custody.ErrSharesWrong:      transfer.Mismatch,
	custody.ErrShareRepeated:    transfer.Conflict,
	custody.ErrShareUnwanted:    transfer.Conflict,
	custody.ErrRootNotPrepared:  transfer.Conflict,
	custody.ErrRootMoved:        transfer.Conflict,
	custody.ErrSealed:           transfer.Unavailable,
	custody.ErrUnreconciled:     transfer.Unavailable,
	custody.ErrRootMismatch:     transfer.Unavailable,
	custody.ErrToken:            transfer.Unavailable,
	custody.ErrPIN:              transfer.Unavailable,
	custody.ErrClosed:           transfer.Unavailable,
	custody.ErrAuditUnwritable:  transfer.Unavailable,
	custody.ErrAuditBroken:      transfer.Unavailable,
}
