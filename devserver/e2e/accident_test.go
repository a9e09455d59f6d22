package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"payouts/internal/simulator"
)

// waiting asks for a payout and waits until it is at the provider.
func (h *house) waiting(p player, reference string) payout {
	h.t.Helper()
	id := h.pays(p, 10_00, reference)
	return h.awaitPayout(id, "at the provider", soon, func(p payout) bool { return p.Status == "pending" || p.Status == "authorized" })
}

// accidents are what happens to runs. Each answers with an error only where
// the run is closed already.
var accidents = map[string]func(ctx context.Context, h *house, workflowID, runID string) error{
	"terminated": func(ctx context.Context, h *house, workflowID, runID string) error {
		return h.temporal.TerminateWorkflow(ctx, workflowID, runID, "an accident")
	},
	"cancelled": func(ctx context.Context, h *house, workflowID, runID string) error {
		return h.temporal.CancelWorkflow(ctx, workflowID, runID)
	},
	"reset to its beginning": func(ctx context.Context, h *house, workflowID, runID string) error {
		return h.reset(ctx, workflowID, runID, h.tasks(workflowID, runID)[0])
	},
	"reset to its last task": func(ctx context.Context, h *house, workflowID, runID string) error {
		tasks := h.tasks(workflowID, runID)
		return h.reset(ctx, workflowID, runID, tasks[len(tasks)-1])
	},
}

// tasks are the events that a run can be reset to.
func (h *house) tasks(workflowID, runID string) (events []int64) {
	h.t.Helper()
	await(h.t, soon, func() bool {
		for _, event := range h.history(workflowID, runID) {
			if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
				events = append(events, event.GetEventId())
			}
		}
		return len(events) > 0
	}, because("%s has no completed task", workflowID))
	return events
}

func (h *house) reset(ctx context.Context, workflowID, runID string, event int64) error {
	_, err := h.temporal.ResetWorkflowExecution(ctx, &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: h.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: runID},
		Reason: "an accident", WorkflowTaskFinishEventId: event, RequestId: runID,
	})
	return err
}

// Whatever people or accidents do to a run, wherever its payout is, no money
// moves, and the payout is carried to its end.
func TestRunsAreLost(t *testing.T) {
	t.Parallel()
	h := open(t, restful)
	lives, runs := map[string][]life{}, map[string]string{}
	var all []life
	for accident := range accidents {
		lives[accident] = h.live(situations...)
		all = append(all, lives[accident]...)
	}
	h.awaitThere(all)
	for accident, happens := range accidents {
		for _, l := range lives[accident] {
			info, err := h.run(l.workflowID())
			if err != nil {
				t.Fatal(err)
			}
			runs[l.id] = info.GetExecution().GetRunId()
			before := h.balance(l.winner.id)
			ctx, cancel := h.within()
			err = happens(ctx, h, l.workflowID(), runs[l.id])
			cancel()
			if err != nil && (l.open() || !closed(err)) {
				t.Fatalf("%s while %s: %v", accident, l.name, err)
			}
			if has := h.balance(l.winner.id); has != before {
				t.Errorf("%s while %s: the player has %+v, before it was %+v", accident, l.name, has, before)
			}
		}
	}
	for accident := range accidents {
		for _, l := range lives[accident] {
			if l.open() && accident != "cancelled" {
				h.awaitNewRun(l.workflowID(), soon, runs[l.id]) // the sweeper's, where it was terminated
			}
		}
	}
	h.sim.Advance(later)
	for accident := range accidents {
		h.judgeAll(accident, lives[accident], func(h *house, l life, p payout) {
			same := h.awaitRun(p).GetExecution().GetRunId() == runs[l.id]
			// A cancel is an accident too, and does not even end the run.
			if goesOn := accident == "cancelled" || accident == "terminated" && !l.open(); same != goesOn {
				h.t.Errorf("ended by the run that was %s: %v", accident, same)
			}
		})
	}
}

// People send runs what nobody sends them, or with what nobody can read: all
// that it can mean is that the provider is asked.
func TestSpokenToByHand(t *testing.T) {
	t.Parallel()
	h := open(t, restful)
	lives := h.live(named("waiting", "parked for good")...)
	h.awaitThere(lives)
	decision := map[string]string{"action": "never_created", "decision": "approve", "status": "failed"}
	unreadable := converter.NewRawValue(&commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("unheard/of")}, Data: []byte{0xff, 0}})
	runs := map[string]string{}
	for _, l := range lives {
		info, err := h.run(l.workflowID())
		if err != nil {
			t.Fatal(err)
		}
		runs[l.id] = info.GetExecution().GetRunId()
		before := h.balance(l.winner.id)
		for _, with := range []any{nil, 17, decision, unreadable} {
			for _, name := range []string{"news", "look", "approve"} {
				if err := h.temporal.SignalWorkflow(t.Context(), l.workflowID(), "", name, with); err != nil {
					t.Fatal(err)
				}
			}
			if err := h.updates(l.workflowID(), "look", with); err != nil {
				t.Errorf("look with %v while %s: %v", with, l.name, err)
			}
			if h.updates(l.workflowID(), "approve", with) == nil {
				t.Errorf("while %s it took an update that approves something", l.name)
			}
		}
		if has := h.balance(l.winner.id); has != before {
			t.Errorf("while %s: the player has %+v, before it was %+v", l.name, has, before)
		}
	}
	h.kill("worker")
	h.restart("worker") // which plays all of it again
	h.sim.Advance(later)
	h.judgeAll("spoken to by hand", lives, func(h *house, l life, p payout) {
		if run := h.awaitRun(p).GetExecution().GetRunId(); run != runs[l.id] {
			h.t.Errorf("ended by the run %s, want the one that was spoken to, %s", run, runs[l.id])
		}
	})
}

// updates sends a run an update, and waits until it is done or rejected.
func (h *house) updates(workflowID, name string, with any) error {
	ctx, cancel := h.within()
	defer cancel()
	handle, err := h.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: workflowID, UpdateName: name, Args: []any{with}, WaitForStage: client.WorkflowUpdateStageCompleted})
	if err != nil {
		return err
	}
	return handle.Get(ctx, nil)
}

// Temporal is down when a payout is accepted, and the starter dies before it
// could start the run. Later Temporal is there and is lost with all it knew,
// of payouts in every situation.
func TestTemporalLost(t *testing.T) {
	t.Parallel()
	addr := freeAddress(t)
	p := restful
	p.temporal, p.down = addr, []string{"worker", "gateway"}
	h := open(t, p)
	alone := h.live(situation{name: "accepted alone", there: waits, end: paidOut})
	if has := h.balance(alone[0].winner.id); has != (balance{Held: won}) {
		t.Errorf("the player has %+v, want all of it held", has)
	}
	h.kill("starter")
	h.start("worker")
	h.start("gateway")

	first := ownServer(t, addr)
	h.awaitReady("worker")
	h.restart("starter")
	h.awaitThere(alone)
	lives := append(h.live(slices.Repeat(situations, 3)...), alone...)
	h.awaitThere(lives)

	first.kill()
	ownServer(t, addr) // an empty one
	for i, l := range lives {
		if l.open() { // the worker looks after the namespace once a minute
			h.awaitNewRun(l.workflowID(), 2*time.Minute)
		} else {
			lives[i].end.forgotten = true
		}
	}
	h.sim.Advance(later)
	h.judgeAll("Temporal lost", lives, func(h *house, l life, _ payout) {
		if _, err := h.run(l.workflowID()); l.end.forgotten && err == nil {
			h.t.Error("a payout that was over has a run again")
		}
		if !l.end.forgotten { // the search attributes came back too
			await(h.t, soon, func() bool { return len(h.list(fmt.Sprintf("PlayerId = %q", l.winner.id))) == 1 }, because("no list shows %s by its player", l.id))
		}
	})
}

// Each program dies while payouts are in every situation, some of them in the
// midst of what this program does, and is started again.
func TestProgramsKilled(t *testing.T) {
	t.Parallel()
	h := open(t, restful)
	killed := map[string][]life{}
	for _, round := range []struct {
		program string
		kill    func(lives []life) (midst []life)
	}{{"worker", h.killWorker}, {"gateway", h.killGateway}, {"starter", h.killStarter}} {
		lives := h.live(situations...)
		h.awaitThere(lives)
		killed[round.program] = append(lives, round.kill(lives)...)
	}
	for program, lives := range killed {
		h.judgeAll(program+" killed", lives, func(h *house, l life, got payout) {
			want := map[string]int{"create unanswered": 1, "create unheard of": 2}[l.name] // news found it, or the same bytes
			if sends := got.Attempts[0].Sends; want > 0 && sends != want {
				h.t.Errorf("sent %d times, want %d\n%s", sends, want, got.story())
			}
		})
	}
}

// killWorker kills it between the failure of some payouts and their release.
// Then there is news of all, and nobody reads it for a while.
func (h *house) killWorker(lives []life) (midst []life) {
	h.t.Helper()
	failing := situation{name: "failing", rules: []simulator.Rule{{Fail: &simulator.Fail{Reason: "invalid_iban", After: simulator.Duration(time.Minute)}}},
		there: func(_ *house, p payout) bool { return p.Status == "pending" && p.NextStep == "wait" },
		end:   end{status: "failed", money: "released", reason: "invalid_iban", moves: "reserve release", accepted: 1, player: balance{Available: won}}}
	between := func() bool {
		return slices.ContainsFunc(midst, func(l life) bool { return h.payout(l.id).NextStep == "release" })
	}
	const tries = 3 // it takes milliseconds to be released, too
	for n := range tries {
		batch := h.live(slices.Repeat([]situation{failing}, 10)...)
		h.awaitThere(append(batch, lives...))
		midst = append(midst, batch...)
		h.sim.Advance(2 * time.Minute)
		await(h.t, soon, between, because("no payout failed"))
		h.kill("worker")
		if between() {
			break
		}
		if n == tries-1 {
			h.t.Fatal("the worker died, but not between a failure and its release")
		}
		h.restart("worker")
	}
	h.sim.Advance(later)
	await(h.t, soon, func() bool { return h.sim.PendingWebhooks() == 0 }, because("the gateway alone does not take the news"))
	h.restart("worker")
	return midst
}

// killGateway kills it while it takes news of some payouts. News of the others
// comes when it is down, and comes again.
func (h *house) killGateway(lives []life) (midst []life) {
	h.t.Helper()
	sooner := situation{name: "being heard of", rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: slowly.ExecuteAfter / 2}}},
		there: waits, end: paidOut}
	midst = h.live(slices.Repeat([]situation{sooner}, 10)...)
	h.awaitThere(append(midst, lives...))
	before := h.sim.Journal().Webhooks
	h.sim.Advance(later / 2)
	for end := time.Now().Add(soon); len(h.sim.Journal().Webhooks) == len(before); {
		if time.Now().After(end) {
			h.t.Fatalf("no webhook was sent within %s", soon)
		}
		time.Sleep(time.Millisecond) // they are taken within a few of these
	}
	h.kill("gateway")
	h.sim.Advance(later)
	await(h.t, soon, h.knockedInVain, because("no webhook was sent in vain"))
	h.restart("gateway")
	return midst
}

// killStarter kills it while it takes requests. Whoever heard no answer asks
// again with the same key.
func (h *house) killStarter(lives []life) (midst []life) {
	h.t.Helper()
	asked := situation{name: "being asked for", rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}}}, end: paidOut}
	for range 10 {
		midst = append(midst, h.prepare(asked))
	}
	ask := func(l life) (made payout, err error) {
		a, err := h.backend.call(http.MethodPost, "/v1/payouts", "key-of-"+l.winner.id, l.winner.wish(won, l.reference()))
		if err != nil {
			return made, err
		}
		if a.status != http.StatusCreated && a.status != http.StatusOK {
			return made, fmt.Errorf("answered %s", a)
		}
		return made, json.Unmarshal(a.body, &made)
	}
	h.awaitThere(lives)
	first := make(chan payout, len(midst))
	var asking sync.WaitGroup
	for _, l := range midst {
		asking.Go(func() {
			if made, err := ask(l); err == nil {
				first <- made
			}
		})
	}
	select {
	case made := <-first:
		first <- made
	case <-time.After(soon):
		h.t.Fatal("no request was answered")
	}
	h.kill("starter")
	asking.Wait()
	h.t.Logf("%d of %d requests were answered before the starter died", len(first), len(midst))
	h.restart("starter")
	known := map[string]bool{}
	for i, l := range midst {
		made, err := ask(l)
		if err != nil {
			h.t.Fatal(err)
		}
		midst[i].id, known[made.ID] = made.ID, true
	}
	for range len(first) {
		if made := <-first; !known[made.ID] {
			h.t.Errorf("payout %s was answered before the starter died, and is another one now", made.ID)
		}
	}
	h.sim.Advance(later)
	return midst
}

// knockedInVain says that the provider found nobody at our door, twice for
// the same event.
func (h *house) knockedInVain() bool {
	return slices.ContainsFunc(h.sim.Journal().Webhooks, func(try simulator.DeliveryTry) bool {
		return strings.Contains(try.Err, "refused") && try.Try > 1
	})
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
	await(t, soon, h.knockedInVain, because("no webhook was sent in vain"))
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
