package workflows

import (
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"payouts/activities"
)

// RegisterWorkflows names the workflows: to a worker, or to a replayer of
// histories. Where workers are versioned, a payout stays with the build that
// began it; a sweep may be ended by any, so that the schedule never waits for
// a build that is gone.
func RegisterWorkflows(r worker.WorkflowRegistry) {
	pinned := workflow.VersioningBehaviorPinned
	r.RegisterWorkflowWithOptions(Payout, workflow.RegisterOptions{Name: PayoutWorkflow, VersioningBehavior: pinned})
	r.RegisterWorkflowWithOptions(Refund, workflow.RegisterOptions{Name: RefundWorkflow, VersioningBehavior: pinned})
	r.RegisterWorkflowWithOptions(LateWord, workflow.RegisterOptions{Name: LateWordWorkflow, VersioningBehavior: pinned})
	r.RegisterWorkflowWithOptions(Sweep, workflow.RegisterOptions{Name: SweepWorkflow, VersioningBehavior: workflow.VersioningBehaviorAutoUpgrade})
}

// Register tells a worker of the queue `payouts` what it can do: the
// workflows, and the steps in the database.
func Register(w worker.Registry, p *activities.Payouts, s *activities.Sweeper) {
	RegisterWorkflows(w)
	w.RegisterActivityWithOptions(p.ReleaseHold, activity.RegisterOptions{Name: activityReleaseHold})
	w.RegisterActivityWithOptions(p.FreezeHold, activity.RegisterOptions{Name: activityFreezeHold})
	w.RegisterActivityWithOptions(p.BookReturn, activity.RegisterOptions{Name: activityBookReturn})
	w.RegisterActivityWithOptions(p.OpenCase, activity.RegisterOptions{Name: activityOpenCase})
	w.RegisterActivityWithOptions(s.Sweep, activity.RegisterOptions{Name: activitySweep})
}

// RegisterProvider tells a worker of the queue `provider` what it can do: the
// steps that ask the provider.
func RegisterProvider(w worker.Registry, p *activities.Payouts) {
	w.RegisterActivityWithOptions(p.CreatePayout, activity.RegisterOptions{Name: activityCreatePayout})
	w.RegisterActivityWithOptions(p.PollPayout, activity.RegisterOptions{Name: activityPollPayout})
	w.RegisterActivityWithOptions(p.ReconcilePayout, activity.RegisterOptions{Name: activityReconcilePayout})
	w.RegisterActivityWithOptions(p.CreateRefund, activity.RegisterOptions{Name: activityCreateRefund})
	w.RegisterActivityWithOptions(p.PollRefund, activity.RegisterOptions{Name: activityPollRefund})
	w.RegisterActivityWithOptions(p.ReconcileRefund, activity.RegisterOptions{Name: activityReconcileRefund})
	w.RegisterActivityWithOptions(p.TryAgain, activity.RegisterOptions{Name: activityTryAgain})
}
