package main

import (
	"errors"
	"fmt"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/model"
	"cardflow/transfer"
)

// lots introduces the use cases to custody, where two people want something done to lots.
type lots struct{ service *transfer.Service }

var _ custody.Lots = lots{}

func unfreezing(u custody.UnfreezeLot, role request.Role) transfer.Unfreezing {
	out := transfer.Unfreezing{Organisation: u.Organisation, Role: role, Lot: u.Lot}
	for _, s := range u.Segments {
		out.Segments = append(out.Segments, transfer.Span{Start: s.Start, End: s.End})
	}
	return out
}

// DescribeUnfreezing implements custody.Lots.
func (l lots) DescribeUnfreezing(tx *model.Tx, u custody.UnfreezeLot, role request.Role) (string, error) {
	text, err := l.service.DescribeUnfreezing(tx, unfreezing(u, role))
	return text, refusedLots(err)
}

// AcceptUnfreezing implements custody.Lots.
func (l lots) AcceptUnfreezing(tx *model.Tx, act, person string, u custody.UnfreezeLot, role request.Role) (request.Body, int64, error) {
	body, until, err := l.service.AcceptUnfreezing(tx, act, person, unfreezing(u, role))
	return body, until, refusedLots(err)
}

// refusedLots gives refusals the meaning that custody acts on: what can't be done is not tried again.
func refusedLots(err error) error {
	if err == nil || errors.Is(err, model.ErrUnavailable) {
		return err
	}
	switch transfer.CodeOf(err) {
	case "INTERNAL":
		return err
	case "LOT_UNKNOWN", "NOT_FROZEN", "CARDS_NOT_OWNED", "LOT_IN_TRADE", "INPUT_SPENT":
		return fmt.Errorf("%w: %w", custody.ErrNotFrozen, err)
	}
	return fmt.Errorf("%w: %w", custody.ErrArguments, err)
}
