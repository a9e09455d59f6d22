// Package workflows is the lifecycle as drawn in docs/lifecycle.md. A run is a
// durable scheduler: it obeys the step that the ledger judged, and any run may
// be lost, doubled or replayed.
package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"

	"payouts/internal/payout"
)

// Wire names. Add, never rename: histories and other programs hold them.
const (
	QueuePayouts  = "payouts"  // workflows and steps in the database
	QueueProvider = "provider" // steps that ask the provider

	PayoutWorkflow   = "Payout"
	RefundWorkflow   = "Refund"
	LateWordWorkflow = "LateWord"
	SweepWorkflow    = "Sweep"

	SignalNews = "news"
	QueryState = "state"
	UpdateLook = "look"
	SweepID    = "sweep" // schedule, and the prefix of its runs

	// Activities: the methods of activities.Payouts and activities.Sweeper.
	activityCreatePayout    = "CreatePayout"
	activityPollPayout      = "PollPayout"
	activityReconcilePayout = "ReconcilePayout"
	activityCreateRefund    = "CreateRefund"
	activityPollRefund      = "PollRefund"
	activityReconcileRefund = "ReconcileRefund"
	activityTryAgain        = "TryAgain"
	activityReleaseHold     = "ReleaseHold"
	activityFreezeHold      = "FreezeHold"
	activityBookReturn      = "BookReturn"
	activityOpenCase        = "OpenCase"
	activitySweep           = "Sweep"
)

// Search attributes. Nothing personal in any of them.
var (
	AttributePayoutID      = temporal.NewSearchAttributeKeyKeyword("PayoutId")
	AttributePlayerID      = temporal.NewSearchAttributeKeyKeyword("PlayerId")
	AttributeStatus        = temporal.NewSearchAttributeKeyKeyword("PayoutStatus")
	AttributeFailureReason = temporal.NewSearchAttributeKeyKeyword("FailureReason")
	AttributeCurrency      = temporal.NewSearchAttributeKeyKeyword("Currency")
	AttributeAmount        = temporal.NewSearchAttributeKeyInt64("AmountInMinor")
)

// ID is the workflow id of a payout or refund: "payout/<id>", "refund/<id>".
func ID(kind payout.Kind, id payout.ID) string { return fmt.Sprintf("%s/%s", kind, id) }

// LateID is the workflow id of late word about a payout or refund that is
// final: "payout-return/<id>", "refund-return/<id>".
func LateID(kind payout.Kind, id payout.ID) string { return fmt.Sprintf("%s-return/%s", kind, id) }

// News is the payload of the signal: which inbox row woke the run. It is for
// people who read histories; the run asks the provider.
type News struct {
	InboxID string `json:"inbox_id"`
}

// Input names the payout that a run is about.
type Input struct {
	PayoutID payout.ID   `json:"payout_id"`
	Kind     payout.Kind `json:"kind,omitempty"` // empty: a payout
}

// Outcome is the result of a run that has nothing left to do.
type Outcome struct {
	Status payout.Status `json:"status"`
	Reason payout.Reason `json:"failure_reason,omitempty"`
}
