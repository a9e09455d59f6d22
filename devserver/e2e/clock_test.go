package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"payouts/internal/simulator"
)

// setAhead moves the clocks of all programs of a house that is movable.
func (h *house) setAhead(ahead time.Duration) {
	h.t.Helper()
	if err := os.Rename(h.file("clock.new", ahead.String()), filepath.Join(h.dir, "clock")); err != nil {
		h.t.Fatal(err)
	}
	h.ahead = ahead
}

// passes lets time pass for the programs and for the provider. Temporal's
// timers run in real time.
func (h *house) passes(d time.Duration) {
	h.t.Helper()
	h.setAhead(h.ahead + d)
	h.sim.Advance(d)
}

const day = 24 * time.Hour

// All programs are down for 73 hours, longer than the provider repeats its
// events and than we wait before two people may decide, with payouts in every
// situation.
func TestOutage(t *testing.T) {
	t.Parallel()
	p := restful
	p.movable = true
	h := open(t, p)
	alone := situation{name: "accepted alone", rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}}}, end: paidOut,
		there: func(_ *house, p payout) bool { return p.NextStep == "create" }}
	slow := situation{name: "slow", rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: simulator.Duration(80 * time.Hour)}}}, there: waits,
		end: end{status: "authorized", money: "held", moves: "reserve", accepted: 1, player: balance{Held: won}}}
	lives := h.live(append(situations, slow)...)
	h.awaitThere(lives)
	h.kill("worker")
	h.kill("gateway")
	lives = append(lives, h.live(alone)...)
	h.kill("starter")
	h.passes(73 * time.Hour)
	await(t, soon, func() bool { return h.sim.PendingWebhooks() == 0 }, because("the provider does not give up its events"))
	for _, program := range []string{"worker", "gateway", "starter"} {
		h.restart(program)
	}
	byName := map[string]life{}
	for i, l := range lives {
		if l.name == "not created" { // a 503 is no certain no, and after so long the key is not sent again
			lives[i].end = end{status: "parked", money: "held", moves: "reserve", player: balance{Held: won}}
		}
		if l.open() {
			h.look(l.workflowID()) // its timers are not over, as they would be
		}
		byName[l.name] = lives[i]
	}
	h.judgeAll("73 hours down", lives, func(h *house, l life, _ payout) {
		want := map[string]string{"not created": "unknown_outcome", "frozen": "blocked", "parked for good": "mismatch", "slow": "slow"}[l.name]
		h.awaitAsked(l.id, want)
	})

	unknown, undecided := byName["not created"], byName["slow"]
	h.decide(unknown.id, "unknown_outcome", "never_created")
	h.passes(8 * time.Hour)
	unknown.end = end{status: "failed", money: "released", reason: "refused", moves: "reserve release", player: balance{Available: won}}
	undecided.end = paidOut
	h.judgeAll("afterwards", []life{unknown, undecided}, func(h *house, l life, _ payout) { h.awaitAsked(l.id, "") })
}

// lateWord is what comes 45 days after a payout was over.
type lateWord struct {
	situation        // with the end that it comes to then
	asks      string // the kind of case that a person has then
	event     string // sent beside what the provider says by itself
}

// lateWords are about payouts that were executed, but for the last one.
var lateWords = []lateWord{
	{situation: backIn45Days("", returned)},
	{situation: backIn45Days(simulator.ShowStatement, returned), event: "payout_failed"}, // its own status never says so
	{situation: backIn45Days(simulator.ShowWebhook, paidOut), asks: "return_unconfirmed"},
	{situation: situation{name: "credited back, paid after all",
		rules: []simulator.Rule{{Path: []simulator.Step{{Status: simulator.StatusFailed, Reason: "invalid_iban"}, {Status: simulator.StatusExecuted, After: simulator.Duration(45 * day)}}}},
		end:   end{status: "failed", money: "released", reason: "invalid_iban", moves: "reserve release expose", accepted: 1, executed: 1, player: balance{Available: won}}},
		asks: "exposure"},
}

var returned = end{status: "returned", money: "returned", reason: "returned", moves: "reserve settle return", accepted: 1, executed: 1, player: balance{Available: won}}

func backIn45Days(show string, end end) situation {
	return situation{name: "executed, returned " + show, end: end,
		rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}, Return: &simulator.Step{After: simulator.Duration(45 * day), Show: show}}}}
}

// There is news 45 days after payouts were over, and Temporal has forgotten
// them.
func TestLateWord(t *testing.T) {
	t.Parallel()
	p := restful
	p.movable = true
	h := open(t, p)
	var lives []life
	for _, w := range lateWords {
		lives = append(lives, h.live(w.situation)...)
	}
	h.awaitThere(lives)
	for i, l := range lives {
		h.forget(l.workflowID())
		lives[i].end.forgotten = true
	}
	h.passes(45 * day)
	for i, l := range lives {
		if w := lateWords[i]; w.event != "" {
			h.send(h.payout(l.id), simulator.SignNormal, w.event)
		}
		if l.end.status == "executed" {
			h.awaitPayout(l.id, "asked about", soon, func(p payout) bool { return p.NextStep == "wait" })
		}
	}
	h.passes(25 * time.Hour) // RETURN_ASK_FOR is 24
	for i, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			h := h.in(t)
			h.awaitPayout(l.id, l.end.status, soon, func(p payout) bool { return p.Status == l.end.status && p.NextStep == "done" })
			h.awaitAsked(l.id, lateWords[i].asks)
			p := h.judge(l.winner, l.id, l.end)
			if _, err := h.run(p.WorkflowID); err == nil {
				t.Errorf("there is a run %s again", p.WorkflowID)
			}
			p.WorkflowID = "payout-return/" + l.id
			h.awaitRun(p)
		})
	}
}

// look asks a run to ask the provider now, unless it is over.
func (h *house) look(workflowID string) {
	h.t.Helper()
	ctx, cancel := h.within()
	defer cancel()
	if _, err := h.temporal.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: workflowID, UpdateName: "look", WaitForStage: client.WorkflowUpdateStageAccepted}); err != nil && !closed(err) {
		h.t.Fatal(err)
	}
}

// forget deletes all that Temporal knows of a payout, as it does some time
// after the run's end.
func (h *house) forget(workflowID string) {
	h.t.Helper()
	ctx, cancel := h.within()
	defer cancel()
	if _, err := h.temporal.WorkflowService().DeleteWorkflowExecution(ctx, &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: h.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: workflowID}}); err != nil {
		h.t.Fatal(err)
	}
	await(h.t, soon, func() bool {
		_, err := h.run(workflowID)
		return closed(err)
	}, because("%s is not forgotten", workflowID))
}

// question is an open case of a payout.
type question struct {
	ID, Kind string
	Version  int
}

// awaitAsked waits until people are asked about a payout what they are to be
// asked, a kind of case or "", and nothing else, except why it is slow.
func (h *house) awaitAsked(id, kind string) (asked question) {
	h.t.Helper()
	var open struct{ Items []question }
	await(h.t, soon, func() bool {
		if err := h.operator.read("/v1/cases?status=open&payout_id="+id, &open); err != nil {
			h.t.Fatal(err)
		}
		others := slices.DeleteFunc(slices.Clone(open.Items), func(q question) bool {
			if q.Kind == kind {
				asked = q
			}
			return q.Kind == kind || kind != "" && q.Kind == "slow"
		})
		return asked.Kind == kind && len(others) == 0
	}, func() string {
		return fmt.Sprintf("people are asked %+v, want %q\n%s", open.Items, kind, h.payout(id).story())
	})
	return asked
}

// decide lets two people resolve the case of a payout.
func (h *house) decide(id, kind, action string) {
	h.t.Helper()
	asked := h.awaitAsked(id, kind)
	path := "/v1/cases/" + asked.ID + "/resolutions"
	h.created(h.operator.call(http.MethodPost, path, "", map[string]any{"action": action, "reason": "their support says so", "version": asked.Version}))
	h.created(h.second.call(http.MethodPost, path+"/1/approvals", "", map[string]any{"decision": "approve", "version": asked.Version}))
}
