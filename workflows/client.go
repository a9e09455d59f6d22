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

// Start starts the run of a payout or refund, or finds the one that is open:
// of its life while it is not final, of late word afterwards. The ledger's row
// makes a payout single, not the workflow id: a run that was terminated must be
// startable again, so a closed id may be used again.
//
//	Repeats: safe
func (c Client) Start(ctx context.Context, d payout.Due) error {
	id, kind, summary := ID(d.Kind, d.ID), PayoutWorkflow, "%s to player %s"
	if d.Kind == payout.KindRefund {
		kind, summary = RefundWorkflow, "refund of %s to player %s"
	}
	shown := payout.StatusAccepted // until parked or final
	if d.Late() {
		id, kind, summary, shown = LateID(d.Kind, d.ID), LateWordWorkflow, "late word: "+summary, d.Status
	}
	_, err := c.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       id,
		TaskQueue:                QueuePayouts,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:            fmt.Sprintf(summary, d.Money, d.PlayerID),
		TypedSearchAttributes: temporal.NewSearchAttributes(
			AttributePayoutID.ValueSet(string(d.ID)), AttributePlayerID.ValueSet(d.PlayerID), AttributeStatus.ValueSet(string(shown)),
			AttributeCurrency.ValueSet(string(d.Money.Currency)), AttributeAmount.ValueSet(d.Money.Minor)),
	}, kind, Input{PayoutID: d.ID, Kind: d.Kind})
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}

// Wake signals a run that there is news. A run that is closed needs no waking:
// the row tells whether anything is left to do, and the worker starts another.
func (c Client) Wake(ctx context.Context, s payout.Stored) error {
	ids := []string{ID(s.Kind, s.PayoutID)}
	if s.Late { // whose own run may be about to end
		ids = []string{LateID(s.Kind, s.PayoutID), ids[0]}
	}
	for _, id := range ids {
		err := c.Temporal.SignalWorkflow(ctx, id, "", SignalNews, News{InboxID: s.InboxID})
		var closed *serviceerror.NotFound
		if err == nil {
			return nil
		} else if !errors.As(err, &closed) {
			return fmt.Errorf("wake %s: %w", id, err)
		}
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
