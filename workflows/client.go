package workflows

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"payouts/internal/payout"
)

// Client is the only way in: it starts and wakes runs.
type Client struct {
	Temporal client.Client
	CasesURL string // where people see a payout's cases, with {payout} in it; empty: nowhere but by command and API
}

// Start starts the run of a payout or refund, or finds the one that is open:
// of its life while it is not final, of late word afterwards. The ledger's row
// makes a payout single, not the workflow id: a run that was terminated must be
// startable again, so a closed id may be used again.
//
//	Repeats: safe
func (c Client) Start(ctx context.Context, d payout.Due) error {
	id, kind := ID(d.Kind, d.ID), PayoutWorkflow
	if d.Kind == payout.KindRefund {
		kind = RefundWorkflow
	}
	shown := payout.StatusAccepted // until parked or final
	if d.Late() {
		id, kind, shown = LateID(d.Kind, d.ID), LateWordWorkflow, d.Status
	}
	_, err := c.Temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID:                       id,
		TaskQueue:                QueuePayouts,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		StaticSummary:            summary(d),
		StaticDetails:            c.about(d),
		TypedSearchAttributes: temporal.NewSearchAttributes(
			AttributePayoutID.ValueSet(string(d.ID)), AttributePlayerID.ValueSet(d.PlayerID), AttributeStatus.ValueSet(string(shown)),
			AttributeCurrency.ValueSet(string(d.Money.Currency)), AttributeAmount.ValueSet(d.Money.Minor)),
	}, kind, Input{PayoutID: d.ID, Kind: d.Kind})
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}

// summary is the line that Temporal's UI shows beside a run: "£10.00 to player
// 42". A player whose id says so itself is not named twice.
func summary(d payout.Due) string {
	player := d.PlayerID
	if !strings.HasPrefix(strings.ToLower(player), "player") {
		player = "player " + player
	}
	text := fmt.Sprintf("%s to %s", d.Money, player)
	if d.Kind == payout.KindRefund {
		text = "refund of " + text
	}
	if d.Late() {
		text = "late word on " + text
	}
	return text
}

// about says what a run is, in Markdown that a person reads also while no
// worker is there to say more.
func (c Client) about(d payout.Due) string {
	what := fmt.Sprintf("One %s through TrueLayer: held in the books, created there, awaited, reconciled.", d.Kind)
	if d.Late() {
		what = fmt.Sprintf("What turned up about a %s after it was %s.", d.Kind, d.Status)
	}
	what += fmt.Sprintf(" *Current Details* say what it does now, while a worker runs; `starter show %s` always does. "+
		"Cancel, terminate and reset move no money: the books decide, and the sweeper starts another run where one is missing.", d.ID)
	if c.CasesURL != "" {
		what += fmt.Sprintf("\n\n[What people are asked about it](%s)", strings.ReplaceAll(c.CasesURL, "{payout}", string(d.ID)))
	}
	return what
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

// Stuck counts open runs of ours that no worker goes on with: Temporal marks a
// run whose task failed five times in a row.
func (c Client) Stuck(ctx context.Context, namespace string) (int, error) {
	found, err := c.Temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: namespace,
		Query: fmt.Sprintf("TaskQueue = '%s' AND ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL", QueuePayouts)})
	if err != nil {
		return 0, fmt.Errorf("count stuck runs: %w", err)
	}
	return int(found.GetCount()), nil
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

const (
	sweepNote    = "Finds payouts and refunds that nobody is working at: starts runs that are missing, wakes those with unread news, opens cases that are due. Safe to pause for a while: without it the worker sweeps by itself."
	sweepSummary = "start the runs that are missing, wake those with unread news"
)

func (c Client) assertSweep(ctx context.Context, every time.Duration) error {
	spec := client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: every}}}
	action := &client.ScheduleWorkflowAction{ID: SweepID, Workflow: SweepWorkflow, TaskQueue: QueuePayouts, StaticSummary: sweepSummary}
	_, err := c.Temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: SweepID, Spec: spec, Action: action, Note: sweepNote,
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
	intervals, doing := found.Schedule.Spec.Intervals, found.Schedule.Action.(*client.ScheduleWorkflowAction)
	if len(intervals) == 1 && intervals[0].Every == every && doing.StaticSummary == sweepSummary {
		return nil
	}
	return handle.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		in.Description.Schedule.Spec, in.Description.Schedule.Action = &spec, action
		if !in.Description.Schedule.State.Paused { // whose note says why
			in.Description.Schedule.State.Note = sweepNote
		}
		return &client.ScheduleUpdate{Schedule: &in.Description.Schedule}, nil
	}})
}
