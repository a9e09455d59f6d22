package app

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"
)

// A sample reaches from the newest to the oldest run, and never repeats one.
func TestEvenly(t *testing.T) {
	for _, all := range []int{0, 1, 2, 3, 7, 1000} {
		list := make([]int, all)
		for i := range list {
			list[i] = i
		}
		for _, n := range []int{1, 2, 3, 20, 1000} {
			got := evenly(list, n)
			distinct := slices.Compact(slices.Clone(got))
			if len(got) != min(n, all) || len(distinct) != len(got) || !slices.IsSorted(got) {
				t.Errorf("%d of %d: %v", n, all, got)
			}
			if n > 1 && all > 0 && (got[0] != 0 || got[len(got)-1] != all-1) {
				t.Errorf("%d of %d: %v leaves out the newest or the oldest", n, all, got)
			}
		}
	}
}

// Runs are of one kind when they have lived the same, as far as one can see.
func TestByKind(t *testing.T) {
	run := func(kind string, status enumspb.WorkflowExecutionStatus, attributes map[string]string) *workflowpb.WorkflowExecutionInfo {
		fields := map[string]*commonpb.Payload{}
		for name, value := range attributes {
			p, err := converter.GetDefaultDataConverter().ToPayload(value)
			if err != nil {
				t.Fatal(err)
			}
			fields[name] = p
		}
		return &workflowpb.WorkflowExecutionInfo{Type: &commonpb.WorkflowType{Name: kind}, Status: status, SearchAttributes: &commonpb.SearchAttributes{IndexedFields: fields}}
	}
	running, completed := enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED
	runs := []*workflowpb.WorkflowExecutionInfo{
		run("Payout", completed, map[string]string{"PayoutStatus": "executed", "PlayerId": "player-1"}),
		run("Payout", completed, map[string]string{"PayoutStatus": "executed", "PlayerId": "player-2"}),
		run("Payout", completed, map[string]string{"PayoutStatus": "failed", "FailureReason": "blocked"}),
		run("Payout", completed, map[string]string{"PayoutStatus": "failed", "FailureReason": "refused"}),
		run("Payout", running, map[string]string{"PayoutStatus": "executed"}),
		run("Sweep", completed, nil),
	}
	var got []string
	for _, kind := range byKind(runs) {
		k := kindOf(kind[0])
		got = append(got, fmt.Sprint(k.Type, " ", k.Run, " ", k.Status, k.Reason, " ", len(kind)))
	}
	want := []string{"Payout Completed executed 2", "Payout Completed failedblocked 1", "Payout Completed failedrefused 1", "Payout Running executed 1", "Sweep Completed  1"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What the SDK says of a failed replay is told on one line, without the rest
// of the failure that it prints.
func TestReplayWhy(t *testing.T) {
	for said, want := range map[string]string{
		`replay workflow failed with failure: message:"[TMPRL1100] unknown \"step\"\nat 7"  source:"GoSDK"  stack_trace:"message:\"no\""`: `[TMPRL1100] unknown "step" at 7`,
		"unable to find workflow type: X.\n Supported types: [Y]":                                                                         "unable to find workflow type: X. Supported types: [Y]",
		`message:"broken`: `message:"broken`,
	} {
		if got := replayWhy(errors.New(said)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A replay needs to know where Temporal is, and nothing else.
func TestLoadTemporalOnly(t *testing.T) {
	environment := map[string]string{"TEMPORAL_ADDRESS": "temporal:7233", "TEMPORAL_NAMESPACE": "payouts", "DATABASE_URL": "nothing that is read", "TEMPORAL_WORKER_BUILD_ID": "v2"}
	c, err := load(environment)
	if err != nil || c.server() != "temporal:7233" || c.namespace() != "payouts" {
		t.Errorf("loaded %s %s: %v", c.server(), c.namespace(), err)
	}
	if c, err := load(map[string]string{}); err != nil || c.server() != "localhost:7233" || c.namespace() != "default" {
		t.Errorf("loaded %s %s: %v", c.server(), c.namespace(), err)
	}
}
