package transfer

import (
	"context"

	"cardflow/iccid"
)

func (s *Service) runJobs(ctx context.Context) { <-ctx.Done() }

func (s *Service) offerByJob(ctx context.Context, c Caller, idem Idem, in OfferInput, set iccid.Set) (OfferResult, error) {
	return OfferResult{}, fail("UNAVAILABLE")
}
