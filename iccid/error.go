package iccid

import "log/slog"

// The codes an [Error] can carry. They are stable: interfaces and tests depend on them.
const (
	CodeFormat          = "ICCID_FORMAT"            // not an ICCID
	CodeNibbleSwapped   = "ICCID_NIBBLE_SWAPPED"    // chip byte order; Hint has the readable form
	CodeCheckDigit      = "ICCID_CHECK_DIGIT"       // last digit is not the Luhn digit
	CodeIssuerUnknown   = "ICCID_ISSUER_UNKNOWN"    // no prefix of the plan fits
	CodeRuleUnknown     = "ICCID_RULE_UNKNOWN"      // neither SERIAL nor LUHN
	CodePlanInvalid     = "ICCID_PLAN_INVALID"      // a numbering plan contradicts itself
	CodeRangeReversed   = "ICCID_RANGE_REVERSED"    // start after end
	CodeRangeMixed      = "ICCID_RANGE_MIXED"       // start and end aren't in one number space
	CodeRangeOverflow   = "ICCID_RANGE_OVERFLOW"    // the range runs over the last 7 digits
	CodeDuplicate       = "ICCID_DUPLICATE"         // a card twice
	CodeEmpty           = "ICCID_EMPTY"             // a set without cards
	CodeNotCanonical    = "ICCID_NOT_CANONICAL"     // the right cards in another form
	CodeTooManySegments = "ICCID_TOO_MANY_SEGMENTS" // more than MaxSegments
	CodePartition       = "PARTITION_MISMATCH"      // outputs and inputs aren't the same cards
	CodeRuleMismatch    = "RULE_MISMATCH"           // sets under different numbering rules
	CodeIMSI            = "IMSI_FORMAT"
	CodeMSISDN          = "MSISDN_FORMAT"
)

// Error is every error of this package. Code is stable; Message is a Chinese
// sentence for the person and holds no ICCID. Value is what was refused and Hint,
// where there is one, what was probably meant: both may go back to the person who
// typed it, neither into a log, so Error, %v, %#v and slog leave them out.
type Error struct {
	Code    string
	Message string
	Hint    string
	Value   string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// GoString keeps Value and Hint out of %#v.
func (e *Error) GoString() string { return e.Error() }

// LogValue keeps Value and Hint out of structured logs.
func (e *Error) LogValue() slog.Value { return slog.StringValue(e.Error()) }

func newError(code, message, value string) *Error {
	const most = 64 // an error must not carry a whole upload around
	if len(value) > most {
		value = value[:most]
	}
	return &Error{Code: code, Message: message, Value: value}
}
