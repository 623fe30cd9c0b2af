package transfer

import (
	"context"
	"time"

	"cardflow/model"
)

// Notice is a line of a consumer's inbox: what he asked for, and what became of it.
type Notice struct {
	ID         string // of the act; one of Confirm has a receipt once it is committed
	Function   string // Confirm, Decline or Return
	State      string // of the act
	SellerName string // from whom the cards came
	Count      int64
	Reply      string // to a return: the state of the offer back to the seller
	Reason     string // why the seller did not take them back
	Error      *ActError
	At         time.Time // of the last that happened
}

// inboxFunctions are the acts of a consumer that he knows of: others are made for him.
var inboxFunctions = []string{"Confirm", "Decline", "Return"}

// Inbox lists what became of the caller's wishes, the newest wish first. Nothing is kept for it: it is read from the acts
// and trades themselves, so that it can't say anything else than they do.
func (s *Service) Inbox(ctx context.Context, c Caller, cursor string, limit int) (Page[Notice], error) {
	var out Page[Notice]
	err := s.DB.Read(ctx, func(tx *model.Tx) error {
		page, err := tx.ListActs(model.ActFilter{Actor: c.Participant, Functions: inboxFunctions}, cursor, limit)
		if err != nil {
			return err
		}
		out = Page[Notice]{Next: page.Next}
		var sellers []string
		for _, a := range page.Items {
			n, seller, err := s.notice(tx, a)
			if err != nil {
				return err
			}
			out.Items = append(out.Items, n)
			sellers = append(sellers, seller)
		}
		names, err := tx.ParticipantNames(sellers)
		if err != nil {
			return err
		}
		for i := range out.Items {
			out.Items[i].SellerName = names[sellers[i]]
		}
		return nil
	})
	return out, cursorError(err)
}

// notice tells what became of an act, and who sold the cards that it is about.
func (s *Service) notice(tx *model.Tx, a model.Act) (n Notice, seller string, err error) {
	v := actView(a)
	n = Notice{ID: v.ID, Function: v.Function, State: v.State, Error: v.Error, At: v.UpdatedAt}
	if a.Function != "Return" {
		t, err := tx.Trade(a.Subject)
		if err != nil {
			return n, "", present(err)
		}
		n.Count = t.Count
		return n, t.Seller, nil
	}
	// It is answered by the seller, long after it was committed. A return that came to nothing has its trade still.
	made, err := tx.TradesOfBatch(a.ID)
	if err != nil {
		return n, "", err
	}
	for _, t := range made {
		n.Count += t.Count
		n.Reply, n.Reason, seller = string(t.State), t.ReasonCode, t.Receiver
		if ended := t.EndedAt.Time(); t.EndedAt > 0 && ended.After(n.At) {
			n.At = ended
		}
	}
	return n, seller, nil
}
