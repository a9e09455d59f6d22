package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
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
// every step of the document is walked, in its order, and every line in it that
// is for Temporal's command line tool.
type runbook struct {
	t     testing.TB
	steps []runbookStep // those to come
	lines []string      // of this step, those to come
}

type runbookStep struct {
	name  string
	lines []string
}

func openRunbook(t testing.TB) *runbook {
	t.Helper()
	text, err := os.ReadFile("../../docs/upgrade.md")
	if err != nil {
		t.Fatal(err)
	}
	r := &runbook{t: t}
	for section := range strings.SplitSeq(string(text), "\n### ") {
		name, body, _ := strings.Cut(section, "\n")
		r.steps = append(r.steps, runbookStep{name, regexp.MustCompile(`(?m)^temporal .+$`).FindAllString(body, -1)})
	}
	r.steps = r.steps[1:] // what stands before the first
	return r
}

func (r *runbook) step(name string) {
	r.t.Helper()
	r.typed()
	if len(r.steps) == 0 || r.steps[0].name != name {
		r.t.Fatalf("the next step of docs/upgrade.md is not %q: %q", name, r.steps)
	}
	r.t.Log(name)
	r.lines, r.steps = r.steps[0].lines, r.steps[1:]
}

// line is the next line of the step, which begins so.
func (r *runbook) line(begins string) string {
	r.t.Helper()
	if len(r.lines) == 0 || !strings.HasPrefix(r.lines[0], begins) {
		r.t.Fatalf("the next line of the step is not %q: %q", begins, r.lines)
	}
	line := r.lines[0]
	r.lines = r.lines[1:]
	return line
}

// typed holds that all lines of the step were.
func (r *runbook) typed() {
	r.t.Helper()
	if len(r.lines) > 0 {
		r.t.Errorf("nobody types these lines of docs/upgrade.md: %q", r.lines)
	}
}

func (r *runbook) end() {
	r.t.Helper()
	r.typed()
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
	h.types(docs.line(setCurrent+"v1"), func() { h.makeCurrent("v1") })
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
	h.types(docs.line("temporal worker deployment describe --name payouts"), nil)
	early := h.live(begun("beside v2", inFlight...)...)
	h.awaitThere(early)
	h.awaitBuild("v1", early...) // nothing goes to v2 yet
	first = slices.Concat(zeroth, early, first)

	docs.step("Let it take some, then all that is new")
	h.types(docs.line("temporal worker deployment set-ramping-version --deployment-name payouts --build-id v2 --percentage 10"), func() { h.ramp("v2", 10) })
	h.ramp("v2", 100)
	ramped := h.live(begun("by v2 as it ramped", inFlight...)...)
	h.awaitThere(ramped)
	h.awaitBuild("v2", ramped...)
	h.types(docs.line(setCurrent+"v2"), func() { h.makeCurrent("v2") })
	second := append(h.live(begun("by v2", inFlight...)...), ramped...)
	h.awaitThere(second)
	h.awaitBuild("v2", second...)
	h.awaitBuild("v1", first...)

	docs.step("Wait until the old build has none")
	last := len(first) - 1 // the brief one ends where it began
	h.sim.Advance(later / 2)
	h.awaitPayout(first[last].id, "executed", soon, func(p payout) bool { return p.NextStep == "done" })
	h.awaitBuild("v1", first[last])
	rest := first[:last]
	h.types(docs.line("temporal worker deployment describe-version --deployment-name payouts --build-id v1"), nil)
	left := docs.line("temporal workflow count --query")
	h.types(left, nil)
	var still []string
	await(t, soon, func() bool { still = h.list(queried(t, left)); return len(still) == len(rest) }, func() string {
		return fmt.Sprintf("%s counts %d runs, want %d: %v", left, len(still), len(rest), still)
	})

	docs.step("Or drain it: terminate, and the new build adopts")
	h.stops(v1) // too early, so that nobody works at what it began
	h.drained(docs.line("temporal workflow terminate --query"), rest)
	h.awaitBuild("v2", rest...)

	docs.step("Roll back")
	h.worker("v1")
	midst := h.live(begun("by v2, which is terminated meanwhile", named("create unanswered")...)...)
	h.awaitThere(midst)
	h.awaitBuild("v2", midst...)
	second = slices.Concat(second, rest, midst)
	h.types(docs.line(setCurrent+"v1"), func() { h.makeCurrent("v1") })
	third := h.live(begun("after rolling back", inFlight...)...)
	h.awaitThere(third)
	h.awaitBuild("v1", third...)
	h.drained(docs.line("temporal workflow terminate --query"), second)
	h.awaitBuild("v1", second...)
	h.stops(v2)

	docs.step("See that all is well")
	h.sim.Advance(later)
	h.judgeAll("rolled forward and back", slices.Concat(first[last:], second, third), nil)
	stand := docs.line("temporal workflow list --query")
	h.types(stand, nil)
	if stuck := h.list(queried(t, stand)); len(stuck) > 0 {
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

const setCurrent = "temporal worker deployment set-current-version --deployment-name payouts --build-id "

// types types a line of the document for Temporal's command line tool, says yes,
// and waits until that works. Where the tool is not installed, instead is done;
// nil: nothing, since the line only looks.
func (h *house) types(line string, instead func()) {
	h.t.Helper()
	if !hasTool() {
		if instead != nil {
			instead()
		}
		return
	}
	var said string
	var err error
	await(h.t, soon, func() bool { said, err = h.tool(line); return err == nil }, func() string {
		return fmt.Sprintf("%s: %v\n%s", line, err, said)
	})
	h.t.Logf("%s\n%s", line, said)
}

func hasTool() bool {
	_, err := exec.LookPath("temporal")
	return err == nil
}

func (h *house) tool(line string) (said string, err error) {
	ctx, cancel := h.within()
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-c", line)
	shell.Env = append(os.Environ(), "TEMPORAL_ADDRESS="+h.env["TEMPORAL_ADDRESS"], "TEMPORAL_NAMESPACE="+h.namespace)
	shell.Stdin = strings.NewReader("y\n")
	out, err := shell.CombinedOutput()
	return string(out), err
}

// queried is the query in a line of the document.
func queried(t testing.TB, line string) string {
	t.Helper()
	query := regexp.MustCompile(`--query "([^"]+)"`).FindStringSubmatch(line)
	if query == nil {
		t.Fatalf("no query in %s", line)
	}
	return query[1]
}

// drained drains a build by a line of the document, and waits until all its
// lives are adopted.
func (h *house) drained(line string, lives []life) {
	h.t.Helper()
	before := map[string]string{}
	for _, l := range lives {
		info, err := h.run(l.workflowID())
		if err != nil {
			h.t.Fatal(err)
		}
		before[l.id] = info.GetExecution().GetRunId()
	}
	h.drain(line)
	for _, l := range lives {
		h.awaitNewRun(l.workflowID(), soon, before[l.id])
	}
}

// drain terminates all runs that a line of the document does.
func (h *house) drain(line string) {
	h.t.Helper()
	query := queried(h.t, line)
	var left []string
	await(h.t, soon, func() bool { // the list of runs is a little late
		if left = h.list(query); len(left) == 0 {
			return true
		}
		if hasTool() {
			h.types(line, nil)
			return false
		}
		ctx, cancel := h.within()
		defer cancel()
		_, err := h.temporal.WorkflowService().StartBatchOperation(ctx, &workflowservice.StartBatchOperationRequest{
			Namespace: h.namespace, JobId: uuid.NewString(), VisibilityQuery: query, Reason: "drained",
			Operation: &workflowservice.StartBatchOperationRequest_TerminationOperation{TerminationOperation: &batchpb.BatchOperationTermination{}},
		})
		var busy *serviceerror.ResourceExhausted
		if err != nil && !errors.As(err, &busy) {
			h.t.Fatal(err)
		}
		return false
	}, func() string { return fmt.Sprintf("after %s there is still %s", line, strings.Join(left, " ")) })
}
