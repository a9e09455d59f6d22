package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
)

// within bounds one call to Temporal.
func (h *house) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(h.t.Context(), 20*time.Second)
}

// closed says that Temporal knows of no such run, or that it is over.
func closed(err error) bool {
	var none *serviceerror.NotFound
	return errors.As(err, &none)
}

// run is the latest run of a payout.
func (h *house) run(workflowID string) (*workflowpb.WorkflowExecutionInfo, error) {
	ctx, cancel := h.within()
	defer cancel()
	found, err := h.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if err != nil {
		return nil, err
	}
	return found.GetWorkflowExecutionInfo(), nil
}

// awaitRun waits until the latest run of a payout is as it must be: open while
// something is left to do, else completed.
func (h *house) awaitRun(p payout) *workflowpb.WorkflowExecutionInfo {
	h.t.Helper()
	want := enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	if p.NextStep != "done" {
		want = enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING
	}
	var info *workflowpb.WorkflowExecutionInfo
	var err error
	await(h.t, soon, func() bool {
		info, err = h.run(p.WorkflowID)
		return err == nil && info.GetStatus() == want
	}, func() string {
		return fmt.Sprintf("the run %s is %s (%v), want it %s", p.WorkflowID, info.GetStatus(), err, want)
	})
	return info
}

// awaitNewRun waits until a payout has a run other than those named, open or
// done meanwhile.
func (h *house) awaitNewRun(workflowID string, limit time.Duration, others ...string) {
	h.t.Helper()
	var err error
	await(h.t, limit, func() bool {
		var info *workflowpb.WorkflowExecutionInfo
		info, err = h.run(workflowID)
		return err == nil && !slices.Contains(others, info.GetExecution().GetRunId())
	}, func() string { return fmt.Sprintf("%s has no new run: %v", workflowID, err) })
}

// history is all events of a run; the latest where runID is empty.
func (h *house) history(workflowID, runID string) []*historypb.HistoryEvent {
	h.t.Helper()
	ctx, cancel := h.within()
	defer cancel()
	var events []*historypb.HistoryEvent
	for next := h.temporal.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); next.HasNext(); {
		event, err := next.Next()
		if err != nil {
			h.t.Fatal(err)
		}
		events = append(events, event)
	}
	return events
}
