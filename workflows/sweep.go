package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"payouts/activities"
)

// Sweep is one firing of the schedule `sweep`: it finds payouts that nobody is
// working at. What it cannot reach now is due again in the next one, so it does
// not try for long.
func Sweep(ctx workflow.Context) (activities.Swept, error) {
	var done activities.Swept
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: QueuePayouts, StartToCloseTimeout: 5 * time.Minute, Summary: sweepSummary,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, MaximumAttempts: 2},
	}), activitySweep).Get(ctx, &done)
	return done, err
}
