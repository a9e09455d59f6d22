package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// What each activity is given. No activity has a limit on its attempts or on
// its whole time: an exhausted retry would be an accident and must never look
// like a verdict. What ends a wait is judged in the ledger.
var options = map[string]workflow.ActivityOptions{
	// A token within 10 s, one send of at most 35 s from its row in the send log
	// (the provider's gateway cuts off at 29 s), 10 s to keep the answer. The same key
	// and bytes again after 1 s, doubling to a minute: an outage of a minute
	// costs little, one of hours is not hammered.
	activityCreatePayout: provider(time.Minute, time.Second, time.Minute),
	// Each asks about up to 20 attempts (the most DECISIONS_FILE allows), 30 s
	// each, with a sign of life between them.
	activityReconcilePayout: asking(time.Second, time.Minute),
	activityTryAgain:        asking(time.Second, time.Minute),
	// The pause between polls comes from the ledger with each answer; this
	// policy holds for errors only, when the provider cannot be reached.
	activityPollPayout: asking(5*time.Second, 5*time.Minute),
	// A refund's are given what a payout's are.
	activityCreateRefund:    provider(time.Minute, time.Second, time.Minute),
	activityReconcileRefund: asking(time.Second, time.Minute),
	activityPollRefund:      asking(5*time.Second, 5*time.Minute),
	// One transaction each. 15 s covers a busy database; a lost one is tried
	// again soon, since a player waits for the money.
	activityReleaseHold: books(),
	activityFreezeHold:  books(),
	activityBookReturn:  books(),
	activityOpenCase:    books(),
}

func provider(one, first, most time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{TaskQueue: QueueProvider, StartToCloseTimeout: one, RetryPolicy: &temporal.RetryPolicy{
		InitialInterval: first, BackoffCoefficient: 2, MaximumInterval: most}}
}

// asking allows for many reads in a row, and notices within 45 s, above the 30 s
// of one read, that the worker is gone.
func asking(first, most time.Duration) workflow.ActivityOptions {
	o := provider(11*time.Minute, first, most)
	o.HeartbeatTimeout = 45 * time.Second
	return o
}

func books() workflow.ActivityOptions {
	return workflow.ActivityOptions{TaskQueue: QueuePayouts, StartToCloseTimeout: 15 * time.Second, RetryPolicy: &temporal.RetryPolicy{
		InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second}}
}

func withOptions(ctx workflow.Context, activity, summary string) workflow.Context {
	o := options[activity]
	o.Summary = summary
	return workflow.WithActivityOptions(ctx, o)
}
