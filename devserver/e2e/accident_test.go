package e2e

import (
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"payouts/internal/simulator"
)

// slowly lets a payout wait at the provider until the test moves the
// provider's time on by later.
var slowly = simulator.Settings{AuthorizeAfter: simulator.Duration(time.Millisecond), ExecuteAfter: simulator.Duration(10 * time.Minute)}

const later = 11 * time.Minute

// waiting asks for a payout and waits until it is at the provider.
func (h *house) waiting(p player, reference string) payout {
	h.t.Helper()
	id := h.pays(p, 10_00, reference)
	return h.awaitPayout(id, "at the provider", soon, func(p payout) bool { return p.Status == "pending" || p.Status == "authorized" })
}

// Whatever people or accidents do to a run, no money moves, and the payout is
// carried to its end.
func TestRunsAreLost(t *testing.T) {
	t.Parallel()
	h := open(t, plan{settings: slowly})
	accidents := map[string]func(h *house, workflowID, runID string){
		"terminated": func(h *house, workflowID, runID string) {
			ctx, cancel := h.within()
			defer cancel()
			if err := h.temporal.TerminateWorkflow(ctx, workflowID, runID, "an accident"); err != nil {
				h.t.Fatal(err)
			}
			h.awaitOpenRun(workflowID, soon, runID) // the sweeper's
		},
		"reset": func(h *house, workflowID, runID string) {
			ctx, cancel := h.within()
			defer cancel()
			if _, err := h.temporal.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
				Namespace: h.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
				Reason: "an accident", WorkflowTaskFinishEventId: h.firstTask(workflowID, runID), RequestId: runID,
			}); err != nil {
				h.t.Fatal(err)
			}
			h.awaitOpenRun(workflowID, soon, runID)
		},
		"cancelled": func(h *house, workflowID, runID string) {
			ctx, cancel := h.within()
			defer cancel()
			if err := h.temporal.CancelWorkflow(ctx, workflowID, runID); err != nil {
				h.t.Fatal(err)
			}
			await(h.t, soon, func() bool {
				for _, event := range h.history(workflowID, runID) {
					if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED {
						return true
					}
				}
				return false
			}, because("the cancel did not arrive"))
		},
	}
	winners, waits, runs := map[string]player{}, map[string]payout{}, map[string]string{}
	for name := range accidents {
		winners[name] = h.wins(10_00)
		waits[name] = h.waiting(winners[name], name)
	}
	for name, happens := range accidents {
		t.Run(name, func(t *testing.T) {
			h, p := h.in(t), waits[name]
			runs[name] = h.awaitOpenRun(p.WorkflowID, soon)
			happens(h, p.WorkflowID, runs[name])
			if has := h.balance(winners[name].id); has != (balance{Held: 10_00}) {
				t.Errorf("after the accident the player has %+v, want all of it held", has)
			}
		})
	}
	h.sim.Advance(later)
	for name, p := range waits {
		t.Run(name+" and executed", func(t *testing.T) {
			h := h.in(t)
			h.judge(winners[name], p.ID, paidOut)
			same := h.awaitRun(p).GetExecution().GetRunId() == runs[name]
			if same != (name == "cancelled") { // a cancel is an accident too, and does not even end the run
				t.Errorf("ended by the run that was %s: %v", name, same)
			}
		})
	}
}

// firstTask is the event to reset to for a run that begins anew.
func (h *house) firstTask(workflowID, runID string) int64 {
	h.t.Helper()
	for _, event := range h.history(workflowID, runID) {
		if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			return event.GetEventId()
		}
	}
	h.t.Fatalf("%s has no completed task", workflowID)
	return 0
}

// Temporal is down when a payout is accepted, and the starter dies before it
// could start the run. Later Temporal is there and is lost with all it knew.
func TestTemporalLost(t *testing.T) {
	t.Parallel()
	addr := freeAddress(t)
	h := open(t, plan{temporal: addr, settings: slowly, down: []string{"worker", "gateway"}})
	winner := h.wins(10_00)
	id := h.pays(winner, 10_00, "accepted alone")
	if has := h.balance(winner.id); has != (balance{Held: 10_00}) {
		t.Errorf("the player has %+v, want all of it held", has)
	}
	h.kill("starter")
	h.start("worker")
	h.start("gateway")

	first := ownServer(t, addr)
	h.awaitReady("worker")
	h.restart("starter")
	h.awaitPayout(id, "at the provider", soon, func(p payout) bool { return p.Status == "authorized" })
	h.awaitOpenRun("payout/"+id, soon)

	first.kill()
	ownServer(t, addr)                          // an empty one
	h.awaitOpenRun("payout/"+id, 2*time.Minute) // the worker looks after the namespace once a minute
	h.sim.Advance(later)
	h.judge(winner, id, paidOut)
}

// The gateway is down when the provider sends its webhook, and the starter
// died right after it took the request: the provider sends again, and nobody
// needs the starter.
func TestGatewayAndStarterDown(t *testing.T) {
	t.Parallel()
	h := open(t, plan{env: far, settings: slowly})
	winner := h.wins(10_00)
	id := h.pays(winner, 10_00, "doors shut")
	h.kill("starter")
	h.kill("gateway")
	await(t, soon, func() bool { return len(h.sim.MoneyFacts(simulator.FactAccepted)) == 1 }, because("no create arrived"))
	h.sim.Advance(later)
	await(t, soon, func() bool {
		for _, try := range h.sim.Journal().Webhooks {
			if strings.Contains(try.Err, "refused") && try.Try > 1 {
				return true
			}
		}
		return false
	}, because("no webhook was sent in vain"))
	h.restart("gateway")
	h.restart("starter")
	h.judge(winner, id, paidOut)
}

// A program that is asked to stop ends well, and soon.
func TestProgramsStop(t *testing.T) {
	t.Parallel()
	h := open(t, plan{})
	for name, p := range h.up {
		if err := p.signal(t, stopSignal, 15*time.Second); err != nil {
			t.Errorf("%s ended with %v after SIGTERM, want 0\n%s", name, err, p.tail())
		}
	}
}
