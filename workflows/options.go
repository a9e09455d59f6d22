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
	// Up to three reads of 30 s in a row.
	activityReconcilePayout: provider(100*time.Second, time.Second, time.Minute),
	// The pause between polls comes from the ledger with each answer; the
	// policy holds for errors only, when the provider cannot be reached.
	activityPollPayout: provider(100*time.Second, 5*time.Second, 5*time.Minute),
	// Reads all earlier attempts, five at the most, 30 s each.
	activityTryAgain: provider(3*time.Minute, time.Second, time.Minute),
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

func books() workflow.ActivityOptions {
	return workflow.ActivityOptions{TaskQueue: QueuePayouts, StartToCloseTimeout: 15 * time.Second, RetryPolicy: &temporal.RetryPolicy{
		InitialInterval: 500 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second}}
}

func withOptions(ctx workflow.Context, activity, summary string) workflow.Context {
	o := options[activity]
	o.Summary = summary
	return workflow.WithActivityOptions(ctx, o)
}
