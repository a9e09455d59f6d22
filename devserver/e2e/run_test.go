package e2e

import (
	"context"
	"fmt"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
)

// within bounds one call to Temporal.
func (h *house) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(h.t.Context(), 20*time.Second)
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

// awaitRun waits until the latest run of a payout that is done has completed.
func (h *house) awaitRun(p payout) *workflowpb.WorkflowExecutionInfo {
	h.t.Helper()
	var info *workflowpb.WorkflowExecutionInfo
	var err error
	await(h.t, soon, func() bool {
		info, err = h.run(p.WorkflowID)
		return err == nil && info.GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}, func() string {
		return fmt.Sprintf("the run %s is %s (%v), want completed", p.WorkflowID, info.GetStatus(), err)
	})
	return info
}

// awaitOpenRun waits until a payout has an open run other than those named.
func (h *house) awaitOpenRun(workflowID string, limit time.Duration, others ...string) string {
	h.t.Helper()
	var id string
	var err error
	await(h.t, limit, func() bool {
		var info *workflowpb.WorkflowExecutionInfo
		if info, err = h.run(workflowID); err != nil || info.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			return false
		}
		id = info.GetExecution().GetRunId()
		return !slices.Contains(others, id)
	}, func() string { return fmt.Sprintf("%s has no new run: %v", workflowID, err) })
	return id
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
