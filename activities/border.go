package activities

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"payouts/internal/payout"
)

// The types of errors that leave an activity. They lie in histories: add,
// never rename.
const (
	errNotFound    = "not_found"   // no such payout: the only error that is final
	errUnavailable = "unavailable" // the database or the provider did not answer
	errInFlight    = "in_flight"   // a send has no answer yet
	errBraked      = "braked"      // the provider does not let us in; nobody asks it for a while
	errUndecided   = "undecided"   // polled, nothing new
)

// border packs an error once, unwrapped: Go types do not survive the trip to
// the workflow, and a wrapped final error would be retried.
func border(err error) error {
	var inFlight *payout.InFlight
	var braked *payout.Braked
	switch {
	case err == nil:
		return nil
	case errors.As(err, &braked):
		return temporal.NewApplicationErrorWithOptions(err.Error(), errBraked, temporal.ApplicationErrorOptions{
			NextRetryDelay: max(time.Until(braked.Until), time.Second) + rand.N(5*time.Second), Category: temporal.ApplicationErrorCategoryBenign})
	case errors.As(err, &inFlight):
		return temporal.NewApplicationErrorWithOptions(err.Error(), errInFlight, temporal.ApplicationErrorOptions{
			NextRetryDelay: max(time.Until(inFlight.Until), time.Second), Category: temporal.ApplicationErrorCategoryBenign})
	case errors.Is(err, payout.ErrNotFound):
		return temporal.NewApplicationErrorWithOptions(err.Error(), errNotFound, temporal.ApplicationErrorOptions{NonRetryable: true})
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), errUnavailable, temporal.ApplicationErrorOptions{})
}

// retry asks for the same send again: what is not created and not refused may
// have arrived, or did not arrive yet. That is a day like any other, so the
// error is benign: the SDK would log each as an error with a stack. Someone
// may want to know all the same, and which payout.
func retry(ctx context.Context, id payout.ID, answer payout.Answer, after time.Duration, err error) error {
	activity.GetLogger(ctx).Warn("payout not created yet; sent again", "payout_id", string(id), "answer", string(answer), "error", err)
	return temporal.NewApplicationErrorWithOptions(err.Error(), string(answer), temporal.ApplicationErrorOptions{
		NextRetryDelay: after, Category: temporal.ApplicationErrorCategoryBenign})
}

// undecided asks for the next poll after the pause the ledger set. People read
// it beside the pending activity: no fault, and where the payout stands.
func undecided(at payout.Position) error {
	said := fmt.Sprintf("not decided yet: %s; asked again in %s", at.Status, at.Wait.Round(time.Second))
	return temporal.NewApplicationErrorWithOptions(said, errUndecided, temporal.ApplicationErrorOptions{
		NextRetryDelay: at.Wait, Category: temporal.ApplicationErrorCategoryBenign, Details: []any{at}})
}
