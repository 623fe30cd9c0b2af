package custody

import (
	"encoding/json"

	"cardflow/model"
)

// What is done beside custody, and matters to it: to the directory of those who decide.
const (
	PersonAdded   = "person.add"
	PersonChanged = "person.change"
)

// Note keeps an act for the audit, within the transaction that makes it true. It needs no keys: a server that is open appends
// it within seconds, and else whoever opens custody.
func Note(tx *model.Tx, at model.Millis, actor, act, subject string, detail map[string]any) error {
	b, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	return tx.AddAuditWaiting(model.AuditWaiting{At: at, Actor: actor, Act: act, Subject: subject, Detail: inASCII(string(b))})
}
