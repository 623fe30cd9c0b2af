package custody

import (
	"slices"

	"cardflow/ledger/request"
	"cardflow/model"
)

// What the system signs of itself is a closed list: that somebody is registered, that a trade has expired, that a ticket was
// shown, where the audit is, and what custody itself wants of the ledger. It has keys of its own for it, which sign in nobody's
// name. Everything else is asked for by somebody who is logged in.
var system = map[request.Role]map[Slot][]string{
	request.Platform: {
		// Those who come; and keys that custody has stopped, or that ops want stopped, and their owners after a theft.
		Registrar: {"Register", "RegisterBatch", "SuspendKey", "ResumeKey", "RevokeKey", "FreezeParticipant", "UnfreezeParticipant"},
		Ticket:    {"Ticket"},
		Release:   {"Release"},
		Anchor:    {"Anchor"},
		Audit:     {"AuditExport"},
	},
	// Two together: the platform, carriers and regulators, their keys, and whoever gets another key.
	request.Administrator: {Account: {"Register", "PublishKey", "RotateKey", "SuspendKey", "ResumeKey", "RevokeKey", "SetIssuer"}},
}

// ofItself reports whether a key signs this without that anybody has asked for it.
func ofItself(key model.CustodyKey, function string) bool {
	return slices.Contains(system[request.Role(key.Role)][Slot(key.Slot)], function)
}
