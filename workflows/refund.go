package workflows

import "go.temporal.io/sdk/workflow"

var refundSteps = steps{activityCreateRefund, activityPollRefund, activityReconcileRefund}

// Refund is the life of one refund of a pay-in: a payout's life, in which the
// provider is asked about refunds.
func Refund(ctx workflow.Context, in Input) (Outcome, error) {
	p := begin(ctx, in, refundSteps)
	return p.follow(p.create())
}
