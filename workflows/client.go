package workflows

import (
	"context"
	"errors"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"payouts/internal/payout"
)

// Client is the only way in: it starts and wakes runs.
type Client struct{ Temporal client.Client }

// Start starts the run of a payout that is not final, or finds the one that is
// open. The ledger's row makes a payout single, not the workflow id: a run that
// was terminated must be startable again, so a closed id may be used again.
//
//	Repeats: safe
func (c Client) Start(ctx context.Context, d payout.Due) error {
	_, err := c.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       ID(d.Kind, d.ID),
		TaskQueue:                QueuePayouts,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:            fmt.Sprintf("%s to player %s", d.Money, d.PlayerID),
		TypedSearchAttributes: temporal.NewSearchAttributes(
			AttributePayoutID.ValueSet(string(d.ID)), AttributePlayerID.ValueSet(d.PlayerID), AttributeStatus.ValueSet(string(payout.StatusAccepted)),
			AttributeCurrency.ValueSet(string(d.Money.Currency)), AttributeAmount.ValueSet(d.Money.Minor)),
	}, PayoutWorkflow, Input{PayoutID: d.ID})
	if err != nil {
		return fmt.Errorf("start %s: %w", ID(d.Kind, d.ID), err)
	}
	return nil
}

// Wake signals a run that there is news. A run that is closed needs no waking:
// the row tells whether anything is left to do.
func (c Client) Wake(ctx context.Context, kind payout.Kind, id payout.ID, inboxID string) error {
	err := c.Temporal.SignalWorkflow(ctx, ID(kind, id), "", SignalNews, News{InboxID: inboxID})
	var closed *serviceerror.NotFound
	if err != nil && !errors.As(err, &closed) {
		return fmt.Errorf("wake %s: %w", ID(kind, id), err)
	}
	return nil
}

// Assert makes the namespace ready: search attributes and the sweeper's
// schedule. The worker repeats it, since a namespace can be lost.
//
//	Repeats: safe
func (c Client) Assert(ctx context.Context, namespace string, sweepEvery time.Duration) error {
	if err := c.assertAttributes(ctx, namespace); err != nil {
		return fmt.Errorf("assert search attributes: %w", err)
	}
	if err := c.assertSweep(ctx, sweepEvery); err != nil {
		return fmt.Errorf("assert schedule %s: %w", SweepID, err)
	}
	return nil
}

func (c Client) assertAttributes(ctx context.Context, namespace string) error {
	want := map[string]enumspb.IndexedValueType{
		AttributePayoutID.GetName(): enumspb.INDEXED_VALUE_TYPE_KEYWORD, AttributePlayerID.GetName(): enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		AttributeStatus.GetName(): enumspb.INDEXED_VALUE_TYPE_KEYWORD, AttributeFailureReason.GetName(): enumspb.INDEXED_VALUE_TYPE_KEYWORD,
		AttributeCurrency.GetName(): enumspb.INDEXED_VALUE_TYPE_KEYWORD, AttributeAmount.GetName(): enumspb.INDEXED_VALUE_TYPE_INT,
	}
	known, err := c.Temporal.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return err
	}
	for name := range known.GetCustomAttributes() {
		delete(want, name)
	}
	if len(want) == 0 {
		return nil
	}
	_, err = c.Temporal.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: want})
	var already *serviceerror.AlreadyExists
	if errors.As(err, &already) {
		return nil
	}
	return err
}

func (c Client) assertSweep(ctx context.Context, every time.Duration) error {
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	_, err := c.Temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: SweepID, Spec: spec,
		Action:        &client.ScheduleWorkflowAction{ID: SweepID, Workflow: SweepWorkflow, TaskQueue: QueuePayouts},
		Overlap:       enumspb.SCHEDULE_OVERLAP_POLICY_SKIP, // one sweep at a time finds what the skipped one would have
		CatchupWindow: max(every, 10*time.Second),           // after an outage one sweep is enough
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return err
	}
	handle := c.Temporal.ScheduleClient().GetHandle(ctx, SweepID)
	found, err := handle.Describe(ctx)
	if err != nil {
		return err
	}
	if intervals := found.Schedule.Spec.Intervals; len(intervals) == 1 && intervals[0].Every == every {
		return nil
	}
	return handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		in.Description.Schedule.Spec = &spec
		return &client.ScheduleUpdate{Schedule: &in.Description.Schedule}, nil
	}})
}
