package e2e

import (
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"payouts/internal/simulator"
)

// People find payouts in Temporal's own lists.
func TestVisibility(t *testing.T) {
	t.Parallel()
	h := open(t, plan{})
	h.script(simulator.Rule{Match: simulator.Match{Reference: "bad account"}, Fail: &simulator.Fail{Reason: "invalid_iban"}})
	h.script(simulator.Rule{Match: simulator.Match{Reference: "slow"}, Delay: &simulator.Delay{Authorize: slowly.ExecuteAfter}})
	good, bad, slow := h.wins(10_00), h.wins(20_00), h.wins(30_00)
	for _, tc := range []struct {
		id    string
		query string
		step  string
	}{
		{h.pays(good, 10_00, "good"), fmt.Sprintf("PayoutStatus = 'executed' AND PlayerId = '%s' AND AmountInMinor = 1000 AND Currency = 'GBP'", good.id), "done"},
		{h.pays(bad, 20_00, "bad account"), "PayoutStatus = 'failed' AND FailureReason = 'invalid_iban' AND PlayerId = '" + bad.id + "'", "done"},
		{h.pays(slow, 30_00, "slow"), "PayoutStatus = 'accepted' AND PlayerId = '" + slow.id + "'", "wait"},
	} {
		p := h.awaitPayout(tc.id, tc.step, soon, func(p payout) bool { return p.NextStep == tc.step })
		await(t, soon, func() bool {
			found := h.list(tc.query + " AND PayoutId = '" + tc.id + "'")
			return len(found) == 1 && found[0] == p.WorkflowID
		}, because("%s finds no run", tc.query))
		for player, amount := range map[string]string{good.id: "£10.00", bad.id: "£20.00", slow.id: "£30.00"} {
			if summary := h.summary(p.WorkflowID); strings.Contains(summary, player) != strings.Contains(summary, amount) {
				t.Errorf("the summary of %s is %q, want amount and player", p.WorkflowID, summary)
			}
		}
		if summary := h.summary(p.WorkflowID); !strings.Contains(summary, "£") || !strings.Contains(summary, "player") {
			t.Errorf("the summary of %s is %q, want amount and player", p.WorkflowID, summary)
		}
	}
}

func (h *house) list(query string) (ids []string) {
	h.t.Helper()
	ctx, cancel := h.within()
	defer cancel()
	found, err := h.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: h.namespace, Query: query})
	if err != nil {
		h.t.Fatalf("%s: %v", query, err)
	}
	for _, e := range found.GetExecutions() {
		ids = append(ids, e.GetExecution().GetWorkflowId())
	}
	return ids
}

// summary is the line that Temporal's UI shows beside a run.
func (h *house) summary(workflowID string) string {
	h.t.Helper()
	ctx, cancel := h.within()
	defer cancel()
	found, err := h.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
	if err != nil {
		h.t.Fatal(err)
	}
	var text string
	if err := converter.GetDefaultDataConverter().FromPayload(found.GetExecutionConfig().GetUserMetadata().GetSummary(), &text); err != nil {
		h.t.Fatal(err)
	}
	return text
}
