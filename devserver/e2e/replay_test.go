package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"payouts/internal/app"
)

// replayed is what starter replay says, and its exit code.
func (h *house) replayed(args ...string) (said string, code int) {
	h.t.Helper()
	p := h.launched("starter", append([]string{"replay"}, args...)...)
	code = exitCode(p.wait(h.t, soon))
	return p.said(), code
}

func (h *house) replayedJSON() (all app.Replayed, code int) {
	h.t.Helper()
	p := h.launched("starter", "replay", "--json")
	code = exitCode(p.wait(h.t, soon))
	if err := json.Unmarshal([]byte(p.said()), &all); err != nil {
		h.t.Fatalf("%v: %s", err, p.said())
	}
	return all, code
}

// Before a build takes traffic it replays runs of the cluster: it goes on with
// its own, in every situation, and names those of a build that did otherwise.
func TestReplay(t *testing.T) {
	t.Parallel()
	h := open(t, restful)
	if said, code := h.replayed(); code != 0 {
		t.Fatalf("exit code %d on a cluster without payouts:\n%s", code, said)
	}
	h.awaitThere(h.live(situations...))
	var all app.Replayed
	kinds := map[string]int{}
	await(t, soon, func() bool { // the list of runs is a little late
		var code int
		if all, code = h.replayedJSON(); code != 0 || !all.OK {
			t.Fatalf("exit code %d: %+v", code, all)
		}
		clear(kinds)
		for _, k := range all.Kinds {
			kinds[strings.Join(strings.Fields(strings.Join([]string{k.Type, k.Run, k.Status, k.Reason}, " ")), " ")] += k.Replayed
		}
		return kinds["Payout Completed executed"] > 0 && kinds["Payout Completed failed invalid_iban"] > 0 && kinds["Payout Completed failed blocked"] > 0 &&
			kinds["Payout Running accepted"] >= 3 && kinds["Payout Running parked"] == 2 && kinds["Sweep Completed"] > 0
	}, func() string { return fmt.Sprintf("it replayed %v", kinds) })

	h.kill("worker")
	h.another(func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Hour) }, workflow.RegisterOptions{Name: "Payout"})
		r.RegisterWorkflowWithOptions(func(ctx workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "Forgotten"})
	}, map[string]string{"payout/of-another-build": "Payout", "forgotten/1": "Forgotten"})
	await(t, soon, func() bool {
		all, _ = h.replayedJSON()
		return len(all.Failures) == 2
	}, func() string { return fmt.Sprintf("it replayed %+v", all) })
	said, code := h.replayed("--limit", "1000", "--since", "1h")
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	for _, want := range []string{"payout/of-another-build (Payout, Running", "TMPRL1100", "forgotten/1 (Forgotten, Completed", "unable to find workflow type", "2 runs cannot go on"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	t.Log(said)
}

// A run that another build began, and that ours cannot go on with, is told to
// Prometheus, until it is terminated.
func TestStuckRunIsTold(t *testing.T) {
	t.Parallel()
	h := open(t, plan{down: []string{"worker"}})
	const id = "payout/of-another-build"
	h.another(func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(func(ctx workflow.Context) error { return workflow.Sleep(ctx, time.Second) }, workflow.RegisterOptions{Name: "Payout"})
	}, map[string]string{id: "Payout"})
	h.start("worker")
	h.awaitReady("worker")
	stuck := func(want float64) func() bool {
		return func() bool { return h.metrics("worker")["payouts_runs_stuck"] == want }
	}
	await(t, 5*time.Minute, stuck(1), because("nobody tells of it"))
	ctx, cancel := h.within()
	defer cancel()
	if err := h.temporal.TerminateWorkflow(ctx, id, "", "stuck"); err != nil {
		t.Fatal(err)
	}
	await(t, 2*time.Minute, stuck(0), because("it is told of when it is over"))
}

// another lets a worker of another build begin runs, by id and type.
func (h *house) another(register func(worker.Registry), runs map[string]string) {
	h.t.Helper()
	other := worker.New(h.temporal, "payouts", worker.Options{})
	register(other)
	if err := other.Start(); err != nil {
		h.t.Fatal(err)
	}
	defer other.Stop()
	for id, kind := range runs {
		ctx, cancel := h.within()
		_, err := h.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: "payouts"}, kind)
		cancel()
		if err != nil {
			h.t.Fatal(err)
		}
		await(h.t, soon, func() bool {
			for _, e := range h.history(id, "") {
				if e.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
					return true
				}
			}
			return false
		}, because("%s does not begin", id))
	}
}

// A cluster that does not answer is no cluster whose runs all replay.
func TestReplayWithoutTemporal(t *testing.T) {
	t.Parallel()
	h := open(t, plan{temporal: freeAddress(t), down: []string{"worker", "starter", "gateway"}})
	said, code := h.replayed()
	if code != 3 || !strings.Contains(said, "TEMPORAL_ADDRESS: name a Temporal server that runs") || !strings.Contains(said, h.env["TEMPORAL_ADDRESS"]+" does not answer") {
		t.Errorf("exit code %d: %s", code, said)
	}
	h.env["TEMPORAL_ADDRESS"], h.env["TEMPORAL_NAMESPACE"] = sharedServer(t).addr, "nowhere"
	if said, code := h.replayed(); code != 3 || !strings.Contains(said, "TEMPORAL_NAMESPACE: name one that exists") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if said, code := h.replayed("--since", "yesterday"); code != 2 || !strings.Contains(said, "--since") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
