package custody

// Known finds the error that has a code, for whoever gets it from another process; nil if there is none.
func Known(code string) *Error { return known[code] }

var known = func() map[string]*Error {
	m := map[string]*Error{}
	for _, e := range all {
		m[e.Code] = e
	}
	return m
}()

// all are the errors of error.go.
var all = []*Error{
	ErrRootMismatch, ErrRootFile, ErrNoRoot, ErrRootExists, ErrRootMoved, ErrRootNotPrepared, ErrShareCount, ErrShareMistyped,
	ErrShareForeign, ErrShareRepeated, ErrSharesWrong, ErrShareUnwanted, ErrSealed, ErrToken, ErrPIN, ErrNoPKCS11,
	ErrClosed, ErrUnreconciled, ErrKeyNotFound, ErrKeyNotActive, ErrKeyReplaced, ErrKeyTransition, ErrKeyOvertaken, ErrKeyProtected,
	ErrRecovery, ErrKeyUnfollowed, ErrKeyUnreadable, ErrPost, ErrAsk, ErrBody, ErrOwner, ErrFunction, ErrExpired,
	ErrDigestConflict, ErrAttemptOpen, ErrAttemptClosed, ErrAttemptUnknown, ErrUnnoted, ErrAuditUnwritable,
	ErrDailyQuota, ErrPlatformQuota, ErrRate, ErrUnusual, ErrKeyStopped, ErrSessionOver, ErrUnauthorised,
	ErrAuthorisationConflict, ErrLoginForged, ErrKeyForeign, ErrRights, ErrLoginOld, ErrQuota, ErrQuotaRaise, ErrQuotaLower,
	ErrNotStopped, ErrOperationUnknown, ErrArguments, ErrReason, ErrNotOperator, ErrNotColleague, ErrTwoPeople, ErrNotFrozen, ErrProposalNotFound,
	ErrProposalDecided, ErrProposalExpired, ErrProposalChanged, ErrProposalForged, ErrSelfApproval, ErrApproverNew,
	ErrProposerGone, ErrNotProposer, ErrWish, ErrClockBack, ErrNoRestore, ErrAuditRows, ErrAuditBroken,
}
