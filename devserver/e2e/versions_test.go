package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	batchpb "go.temporal.io/api/batch/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"payouts/internal/simulator"
)

const deployment = "payouts"

// runbook is docs/upgrade.md, step by step. A test walks it, and holds that
// every step of the document is walked, in its order.
type runbook struct {
	t     testing.TB
	steps []string
}

func openRunbook(t testing.TB) *runbook {
	t.Helper()
	text, err := os.ReadFile("../../docs/upgrade.md")
	if err != nil {
		t.Fatal(err)
	}
	r := &runbook{t: t}
	for _, m := range regexp.MustCompile(`(?m)^(?:### )(.+)$`).FindAllSubmatch(text, -1) {
		r.steps = append(r.steps, string(m[1]))
	}
	return r
}

func (r *runbook) step(name string) {
	r.t.Helper()
	if len(r.steps) == 0 || r.steps[0] != name {
		r.t.Fatalf("the next step of docs/upgrade.md is not %q: %q", name, r.steps)
	}
	r.t.Log(name)
	r.steps = r.steps[1:]
}

func (r *runbook) end() {
	r.t.Helper()
	if len(r.steps) > 0 {
		r.t.Errorf("nobody walks these steps of docs/upgrade.md: %q", r.steps)
	}
}

// Payouts are in flight while the workers roll forward to another build, and
// back again. Each stays with the build that began it, until it is terminated
// and adopted; each is paid once.
func TestRollForwardAndBack(t *testing.T) {
	t.Parallel()
	docs := openRunbook(t)
	h := open(t, restful)
	zeroth := h.live(begun("without versions", inFlight...)...)
	h.awaitThere(zeroth)

	docs.step("Begin with versions")
	unversioned := h.up["worker"]
	h.env["TEMPORAL_DEPLOYMENT_NAME"] = deployment
	v1 := h.worker("v1")
	h.makeCurrent("v1")
	h.stops(unversioned)
	brief := situation{name: "brief", rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: slowly.ExecuteAfter / 2}}}, there: waits, end: paidOut}
	first := h.live(begun("by v1", append(inFlight, brief)...)...)
	h.awaitThere(first)
	h.awaitBuild("v1", first...)
	for _, l := range zeroth {
		h.look(l.workflowID()) // what is next finds them a version
	}
	h.awaitBuild("v1", zeroth...)

	docs.step("Try the new build against the runs that are there")
	if said, code := h.replayed(); code != 0 {
		t.Fatalf("exit code %d: %s", code, said)
	}

	docs.step("Start its workers beside the old ones")
	v2 := h.worker("v2")
	early := h.live(begun("beside v2", inFlight...)...)
	h.awaitThere(early)
	h.awaitBuild("v1", early...) // nothing goes to v2 yet
	first = slices.Concat(zeroth, early, first)

	docs.step("Let it take some, then all that is new")
	h.ramp("v2", 100)
	ramped := h.live(begun("by v2 as it ramped", inFlight...)...)
	h.awaitThere(ramped)
	h.awaitBuild("v2", ramped...)
	h.makeCurrent("v2")
	second := append(h.live(begun("by v2", inFlight...)...), ramped...)
	h.awaitThere(second)
	h.awaitBuild("v2", second...)
	h.awaitBuild("v1", first...)

	docs.step("Wait until the old build has none")
	last := len(first) - 1 // the brief one ends where it began
	h.sim.Advance(later / 2)
	h.awaitPayout(first[last].id, "executed", soon, func(p payout) bool { return p.NextStep == "done" })
	h.awaitBuild("v1", first[last])

	docs.step("Or drain it: terminate, and the new build adopts")
	h.stops(v1) // too early, so that nobody works at what it began
	rest := first[:last]
	h.drained("v1", rest)
	h.awaitBuild("v2", rest...)

	docs.step("Roll back")
	h.worker("v1")
	midst := h.live(begun("by v2, which is terminated meanwhile", named("create unanswered")...)...)
	h.awaitThere(midst)
	h.awaitBuild("v2", midst...)
	second = slices.Concat(second, rest, midst)
	h.makeCurrent("v1")
	third := h.live(begun("after rolling back", inFlight...)...)
	h.awaitThere(third)
	h.awaitBuild("v1", third...)
	h.drained("v2", second)
	h.awaitBuild("v1", second...)
	h.stops(v2)

	docs.step("See that all is well")
	h.sim.Advance(later)
	h.judgeAll("rolled forward and back", slices.Concat(first[last:], second, third), nil)
	if stuck := h.list("TemporalReportedProblems IS NOT NULL AND ExecutionStatus = 'Running'"); len(stuck) > 0 {
		t.Errorf("these runs stand still: %v", stuck)
	}
	if said, code := h.replayed(); code != 0 {
		t.Errorf("exit code %d: %s", code, said)
	}
	docs.end()
}

// inFlight are payouts that wait, each for somebody else.
var inFlight = named("waiting", "parked until news")

// named finds situations by name.
func named(names ...string) []situation {
	return slices.DeleteFunc(slices.Clone(situations), func(s situation) bool { return !slices.Contains(names, s.name) })
}

// begun names situations by who began them.
func begun(by string, all ...situation) (list []situation) {
	for _, s := range all {
		s.name += ", begun " + by
		list = append(list, s)
	}
	return list
}

// worker starts a worker of a build beside all others, and waits until it is
// ready and Temporal knows its version.
func (h *house) worker(build string) *process {
	h.t.Helper()
	h.env["TEMPORAL_WORKER_BUILD_ID"] = build
	h.env["worker"] = freeAddress(h.t)
	h.restart("worker")
	return h.up["worker"]
}

// deployed is Temporal's view of our workers.
func (h *house) deployed() client.WorkerDeploymentHandle {
	return h.temporal.WorkerDeploymentClient().GetHandle(deployment)
}

// makeCurrent gives all that is new to a build, as soon as Temporal knows it.
func (h *house) makeCurrent(build string) {
	h.t.Helper()
	h.routed(build, func(ctx context.Context) error {
		_, err := h.deployed().SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{BuildID: build})
		return err
	})
}

// ramp gives some of what is new to a build.
func (h *house) ramp(build string, percent float32) {
	h.t.Helper()
	h.routed(build, func(ctx context.Context) error {
		_, err := h.deployed().SetRampingVersion(ctx, client.WorkerDeploymentSetRampingVersionOptions{BuildID: build, Percentage: percent})
		return err
	})
}

func (h *house) routed(build string, set func(context.Context) error) {
	h.t.Helper()
	var err error
	await(h.t, soon, func() bool {
		ctx, cancel := h.within()
		defer cancel()
		err = set(ctx)
		var unknown *serviceerror.NotFound
		var early *serviceerror.FailedPrecondition
		if err != nil && !errors.As(err, &unknown) && !errors.As(err, &early) {
			h.t.Fatalf("%s: %v", build, err)
		}
		return err == nil
	}, func() string { return fmt.Sprintf("Temporal does not route to %s: %v", build, err) })
}

// awaitBuild waits until the runs of lives are a build's.
func (h *house) awaitBuild(build string, lives ...life) {
	h.t.Helper()
	for _, l := range lives {
		var is string
		await(h.t, soon, func() bool {
			info, err := h.run(l.workflowID())
			if err != nil {
				h.t.Fatal(err)
			}
			is = info.GetVersioningInfo().GetDeploymentVersion().GetBuildId()
			return is == build
		}, func() string {
			return fmt.Sprintf("%s, %s, is with build %q, want %q", l.workflowID(), l.name, is, build)
		})
	}
}

// stops asks a program to stop, and waits until it has.
func (h *house) stops(p *process) {
	h.t.Helper()
	if err := p.signal(h.t, stopSignal, time.Minute); err != nil {
		h.t.Fatal(err)
	}
}

// drained drains a build and waits until all its lives are adopted.
func (h *house) drained(build string, lives []life) {
	h.t.Helper()
	before := map[string]string{}
	for _, l := range lives {
		info, err := h.run(l.workflowID())
		if err != nil {
			h.t.Fatal(err)
		}
		before[l.id] = info.GetExecution().GetRunId()
	}
	h.drain(build)
	for _, l := range lives {
		h.awaitNewRun(l.workflowID(), soon, before[l.id])
	}
}

// drain terminates all runs of a build, as temporal workflow terminate --query
// does.
func (h *house) drain(build string) {
	h.t.Helper()
	query := fmt.Sprintf("TemporalWorkerDeploymentVersion = '%s:%s' AND ExecutionStatus = 'Running'", deployment, build)
	var left []string
	await(h.t, soon, func() bool { // the list of runs is a little late
		if left = h.list(query); len(left) == 0 {
			return true
		}
		ctx, cancel := h.within()
		defer cancel()
		_, err := h.temporal.WorkflowService().StartBatchOperation(ctx, &workflowservice.StartBatchOperationRequest{
			Namespace: h.namespace, JobId: uuid.NewString(), VisibilityQuery: query, Reason: "drained: " + build,
			Operation: &workflowservice.StartBatchOperationRequest_TerminationOperation{TerminationOperation: &batchpb.BatchOperationTermination{}},
		})
		var busy *serviceerror.ResourceExhausted
		if err != nil && !errors.As(err, &busy) {
			h.t.Fatal(err)
		}
		return false
	}, func() string { return fmt.Sprintf("%s still has %s", build, strings.Join(left, " ")) })
}
