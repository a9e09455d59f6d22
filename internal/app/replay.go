package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"payouts/workflows"
)

// ReplayOptions is which runs are replayed.
type ReplayOptions struct {
	Limit int           // of each kind at the most
	Since time.Duration // how long ago a run that is over may have ended
}

// ReplayedKind is how many runs that have something in common were replayed.
type ReplayedKind struct {
	Type     string `json:"type"`                     // such as Payout
	Run      string `json:"run"`                      // of Temporal: Running, Completed, Terminated, …
	Status   string `json:"payout_status,omitempty"`  // as the search attribute has it
	Reason   string `json:"failure_reason,omitempty"` // likewise
	Found    int    `json:"found"`
	Replayed int    `json:"replayed"` // of a limited number that were tried
	Failed   int    `json:"failed"`   // this build cannot go on with them
}

// ReplayFailure is a run that this build cannot go on with.
type ReplayFailure struct {
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	Type       string `json:"type"`
	Run        string `json:"run"`
	Why        string `json:"why"`
}

// Replayed is what came of replaying the runs of a cluster.
type Replayed struct {
	OK       bool            `json:"ok"` // none failed
	Kinds    []ReplayedKind  `json:"kinds"`
	Failures []ReplayFailure `json:"failures"`
	More     bool            `json:"more"` // there were more runs than are listed
}

// TemporalError says why Temporal could not be asked, and what to change.
type TemporalError struct{ Saw, Change string }

func (e *TemporalError) Error() string { return e.Saw + "\n  " + e.Change }

const (
	// listedMost bounds how many runs are listed, of the open ones and of those
	// that are over: a line of each, no history.
	listedMost = 20_000
	listPage   = 1000
)

// Replay takes runs of the cluster, open ones and those that ended lately, a
// number of each kind, and replays their histories against the workflows of
// this build. It reads only.
//
//	Repeats: safe
//	Errors:  *TemporalError where Temporal does not answer
func Replay(ctx context.Context, c Config, o ReplayOptions) (Replayed, error) {
	temporal, err := dialTemporal(c, NewMetrics(time.Now), nil, zap.NewNop())
	if err != nil {
		return Replayed{}, err
	}
	defer temporal.Close()
	r := replaying{temporal: temporal, config: c, done: Replayed{OK: true, Kinds: []ReplayedKind{}, Failures: []ReplayFailure{}}}
	if r.replayer, err = worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: c.Temporal.DataConverter, FailureConverter: c.Temporal.FailureConverter, ContextPropagators: c.Temporal.ContextPropagators,
	}); err != nil {
		return Replayed{}, fmt.Errorf("replayer: %w", err)
	}
	workflows.RegisterWorkflows(r.replayer)
	ours := fmt.Sprintf("TaskQueue = '%s' AND ", workflows.QueuePayouts)
	for _, query := range []string{
		ours + "ExecutionStatus = 'Running'",
		ours + fmt.Sprintf("ExecutionStatus != 'Running' AND CloseTime >= '%s'", time.Now().Add(-o.Since).UTC().Format(time.RFC3339)),
	} {
		runs, err := r.list(ctx, query)
		if err != nil {
			return r.done, r.unanswered(err)
		}
		for _, kind := range byKind(runs) {
			if err := r.kind(ctx, kind, o.Limit); err != nil {
				return r.done, r.unanswered(err)
			}
		}
	}
	return r.done, nil
}

// replaying is one replay of a cluster.
type replaying struct {
	temporal client.Client
	config   Config
	replayer worker.WorkflowReplayer
	done     Replayed
}

// list is the runs that a query finds, newest first.
func (r *replaying) list(ctx context.Context, query string) (runs []*workflowpb.WorkflowExecutionInfo, err error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{Namespace: r.config.namespace(), Query: query, PageSize: listPage}
	for {
		page, err := r.temporal.ListWorkflow(ctx, request)
		if err != nil {
			return nil, err
		}
		runs, request.NextPageToken = append(runs, page.GetExecutions()...), page.GetNextPageToken()
		if len(request.NextPageToken) == 0 {
			return runs, nil
		}
		if len(runs) >= listedMost {
			r.done.More = true
			return runs, nil
		}
	}
}

// byKind sorts runs by what they have in common, since most of a cluster's
// runs have lived the same.
func byKind(runs []*workflowpb.WorkflowExecutionInfo) [][]*workflowpb.WorkflowExecutionInfo {
	kinds := map[ReplayedKind][]*workflowpb.WorkflowExecutionInfo{}
	for _, run := range runs {
		kind := kindOf(run)
		kinds[kind] = append(kinds[kind], run)
	}
	var sorted [][]*workflowpb.WorkflowExecutionInfo
	for _, runs := range kinds {
		sorted = append(sorted, runs)
	}
	name := func(runs []*workflowpb.WorkflowExecutionInfo) string { return fmt.Sprint(kindOf(runs[0])) }
	slices.SortFunc(sorted, func(a, b []*workflowpb.WorkflowExecutionInfo) int { return strings.Compare(name(a), name(b)) })
	return sorted
}

func kindOf(run *workflowpb.WorkflowExecutionInfo) ReplayedKind {
	attribute := func(name string) (text string) {
		if p := run.GetSearchAttributes().GetIndexedFields()[name]; p != nil {
			_ = converter.GetDefaultDataConverter().FromPayload(p, &text) // another type is none of ours
		}
		return text
	}
	return ReplayedKind{Type: run.GetType().GetName(), Run: run.GetStatus().String(),
		Status: attribute(workflows.AttributeStatus.GetName()), Reason: attribute(workflows.AttributeFailureReason.GetName())}
}

// kind replays some runs of a kind, evenly from the newest to the oldest: an
// old build may have begun those.
func (r *replaying) kind(ctx context.Context, runs []*workflowpb.WorkflowExecutionInfo, limit int) error {
	kind := kindOf(runs[0])
	kind.Found = len(runs)
	for _, run := range evenly(runs, limit) {
		history, err := r.history(ctx, run)
		var gone *serviceerror.NotFound
		switch {
		case errors.As(err, &gone):
			continue // forgotten since it was listed
		case err != nil:
			return err
		case !worked(history):
			continue // no build has done anything yet
		}
		kind.Replayed++
		id := run.GetExecution()
		// Without a run id the SDK takes the one that a reset run had first, as a
		// worker would.
		err = r.replayer.ReplayWorkflowHistoryWithOptions(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)), history,
			worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: id.GetWorkflowId()}})
		if err != nil {
			kind.Failed++
			r.done.OK = false
			r.done.Failures = append(r.done.Failures, ReplayFailure{WorkflowID: id.GetWorkflowId(), RunID: id.GetRunId(), Type: kind.Type, Run: kind.Run, Why: replayWhy(err)})
		}
	}
	r.done.Kinds = append(r.done.Kinds, kind)
	return nil
}

// evenly picks at most n of a list, its first and its last among them.
func evenly[T any](all []T, n int) []T {
	if len(all) <= n {
		return all
	}
	picked := all[:1:1]
	for i := 1; i < n; i++ {
		picked = append(picked, all[i*(len(all)-1)/(n-1)])
	}
	return picked
}

func (r *replaying) history(ctx context.Context, run *workflowpb.WorkflowExecutionInfo) (*historypb.History, error) {
	var history historypb.History
	id := run.GetExecution()
	for next := r.temporal.GetWorkflowHistory(ctx, id.GetWorkflowId(), id.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); next.HasNext(); {
		event, err := next.Next()
		if err != nil {
			return nil, err
		}
		history.Events = append(history.Events, event)
	}
	return &history, nil
}

// worked says that a worker has done something in a history.
func worked(h *historypb.History) bool {
	return slices.ContainsFunc(h.GetEvents(), func(e *historypb.HistoryEvent) bool {
		return e.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
	})
}

// replayMessage finds what a failed replay says in the failure that it prints.
var replayMessage = regexp.MustCompile(`message:("(?:[^"\\]|\\.)*")`)

// replayWhy is the cause of a failed replay on one line.
func replayWhy(err error) string {
	text := err.Error()
	if m := replayMessage.FindStringSubmatch(text); m != nil {
		if said, err := strconv.Unquote(m[1]); err == nil {
			text = said
		}
	}
	return strings.Join(strings.Fields(text), " ")
}

// unanswered tells an error of Temporal as what was seen and what to change.
func (r *replaying) unanswered(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	seen := temporalFault(r.config, err)
	change, _, _ := strings.Cut(seen.Change, ";\n") // what follows is about programs that serve
	return &TemporalError{Saw: seen.Saw, Change: change}
}
