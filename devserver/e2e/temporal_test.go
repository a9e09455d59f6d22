package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"payouts/internal/simulator"
)

// What a payout may cost Temporal when it is executed and a webhook says so.
const (
	mostEvents  = 24
	mostActions = 6 // billable ones, as the server counts them
)

// A payout that is executed stays within its budget: of several, since a
// machine that is busy now and then splits a task in two.
func TestBudget(t *testing.T) {
	t.Parallel()
	environment := map[string]string{"SWEEP_EVERY": "10m"} // sweeps would be counted too
	for name, value := range far {
		environment[name] = value
	}
	h := open(t, plan{env: environment})
	winner := h.wins(100_00)
	events, actions := 1<<20, 1<<20
	var wherefore string
	for range 6 {
		before := h.actions()
		id := h.pays(winner, 10_00, "budget")
		p := h.awaitPayout(id, "executed", soon, func(p payout) bool { return p.NextStep == "done" })
		h.awaitRun(p)
		history, spent, sum := h.history(p.WorkflowID, ""), h.actions(), 0
		for kind, n := range before {
			spent[kind] -= n
		}
		for _, n := range spent {
			sum += n
		}
		if sum == 0 {
			t.Fatal("the server counted no actions")
		}
		if len(history) < events {
			wherefore = fmt.Sprintf("the server's actions: %v; the events:\n", spent)
			for _, event := range history {
				wherefore += fmt.Sprintf("%3d %s\n", event.GetEventId(), event.GetEventType())
			}
		}
		events, actions = min(events, len(history)), min(actions, sum)
	}
	t.Logf("at best %d events and %d actions", events, actions)
	if events > mostEvents || actions > mostActions {
		t.Errorf("at best %d events and %d actions, want at most %d and %d\n%s", events, actions, mostEvents, mostActions, wherefore)
	}
}

// actions is the server's own count of billable actions in our namespace, by
// kind.
func (h *house) actions() map[string]int {
	h.t.Helper()
	response, err := wire.Get(sharedServer(h.t).metrics)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		h.t.Fatalf("metrics: %s", response.Status)
	}
	counts := map[string]int{}
	lines := bufio.NewScanner(response.Body)
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		name, rest, _ := strings.Cut(lines.Text(), "{")
		if name != "action" && name != "action_total" || !strings.Contains(rest, `namespace="`+h.namespace+`"`) {
			continue
		}
		labels, value, _ := strings.Cut(rest, "} ")
		_, kind, _ := strings.Cut(labels, `action_type="`)
		kind, _, _ = strings.Cut(kind, `"`)
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			h.t.Fatalf("metrics: %q: %v", lines.Text(), err)
		}
		counts[kind] += int(n)
	}
	return counts
}

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
