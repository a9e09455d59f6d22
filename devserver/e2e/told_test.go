package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"payouts/internal/simulator"
)

// metrics are what a program tells Prometheus, by name and labels.
func (h *house) metrics(program string) map[string]float64 {
	h.t.Helper()
	response, err := wire.Get("http://" + h.env[program] + "/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		h.t.Fatalf("/metrics of the %s: %s %v", program, response.Status, err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		if all[line[:at]], err = strconv.ParseFloat(strings.TrimSpace(line[at:]), 64); err != nil {
			h.t.Fatalf("/metrics of the %s: %q", program, line)
		}
	}
	return all
}

// logged are the lines that a program wrote so far.
func (h *house) logged(program string) (lines []map[string]any) {
	h.t.Helper()
	for text := range strings.Lines(h.up[program].said()) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			h.t.Errorf("the %s writes %q: %v", program, text, err)
			continue
		}
		lines = append(lines, line)
	}
	return lines
}

// told is payouts to which this and that happens, and what is to be told of it.
func told(t *testing.T) (h *house, winner player, ids map[string]string) {
	h = open(t, plan{env: far})
	winner, ids = h.wins(100_00), map[string]string{}
	for _, rule := range []simulator.Rule{
		{Match: simulator.Match{Reference: "KOWALSKI twice"}, Webhooks: []simulator.Webhook{{Event: "payout_executed", Duplicates: 1}}},
		{Match: simulator.Match{Reference: "KOWALSKI failed"}, Fail: &simulator.Fail{Reason: "invalid_iban"}},
		{Match: simulator.Match{Reference: "KOWALSKI lost"}, Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset, Times: 1}},
		{Match: simulator.Match{Reference: "KOWALSKI unheard"}, Get: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: 503, Times: 1}},
		{Match: simulator.Match{Reference: "KOWALSKI slow"}, Delay: &simulator.Delay{Execute: slowly.ExecuteAfter}},
	} {
		h.script(rule)
		ids[rule.Match.Reference] = h.pays(winner, 10_00, rule.Match.Reference)
	}
	slow := h.awaitPayout(ids["KOWALSKI slow"], "pending", soon, func(p payout) bool { return p.Status == "pending" })
	run, err := h.run(slow.WorkflowID)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.temporal.TerminateWorkflow(t.Context(), slow.WorkflowID, "", "an accident"); err != nil {
		t.Fatal(err)
	}
	h.awaitNewRun(slow.WorkflowID, soon, run.GetExecution().GetRunId())
	h.send(slow, simulator.SignForged, "payout_executed")
	if _, err := h.sim.SendWebhook(map[string]any{"type": "payout_executed", "payout_id": uuid.NewString(), "merchant_account_id": merchant,
		"executed_at": "2026-01-01T00:00:00Z"}, simulator.Webhook{}); err != nil {
		t.Fatal(err)
	}
	for reference, id := range ids {
		if reference != "KOWALSKI slow" {
			h.awaitPayout(id, "over", soon, func(p payout) bool { return p.NextStep == "done" })
		}
	}
	return h, winner, ids
}

// What the programs tell Prometheus and write down is true, and every line
// about a payout says which, and nothing about whose.
func TestTold(t *testing.T) {
	t.Parallel()
	h, winner, ids := told(t)
	creates := 0
	for _, r := range h.sim.Journal().Requests {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Path, "/payouts") {
			creates++
		}
	}
	for program, wants := range map[string]map[string]float64{
		"starter": {
			`payouts_moves_total{kind="payout",reason="none",status="accepted"}`: 5, `payouts_ledger_commits_total{op="accept"}`: 5,
			`payouts_http_requests_total{door="api",route="POST /v1/payouts",status="201"}`: 5, `payouts_runs_total{asked="request",outcome="started",workflow="Payout"}`: 5,
		},
		"worker": {
			`payouts_books_up`: 1, `payouts_temporal_ready`: 1, `payouts_brake_shut`: 0,
			`payouts_moves_total{kind="payout",reason="none",status="executed"}`: 3, `payouts_moves_total{kind="payout",reason="invalid_iban",status="failed"}`: 1,
			`payouts_moves_total{kind="refund",reason="none",status="executed"}`: 0, `payouts_end_seconds_count{kind="payout",status="executed"}`: 3,
			`payouts_open{kind="payout",reason="none",status="pending"}`: 1, `payouts_open{kind="payout",reason="none",status="parked"}`: 0,
			`payouts_open_within{kind="payout",le="+Inf",reason="none",status="pending"}`: 1, `payouts_open_within{kind="payout",le="604800",reason="none",status="pending"}`: 1,
			`payouts_status_seconds_count{kind="payout",status="accepted"}`: 5, `payouts_status_seconds_count{kind="payout",status="pending"}`: 4,
			`payouts_runs_total{asked="sweep",outcome="started",workflow="Payout"}`:          1,
			`payouts_provider_calls_total{answer="created",class="2xx",op="create payout"}`:  float64(creates - 1),
			`payouts_provider_calls_total{answer="unknown",class="none",op="create payout"}`: 1,
			`payouts_provider_calls_total{answer="unknown",class="5xx",op="get payout"}`:     1,
			`payouts_provider_call_seconds_count{op="create payout"}`:                        float64(creates),
			`payouts_unknown_outcomes`: 0, `payouts_unmatched_events`: 1, `payouts_unread_news`: 0, `payouts_cases_open{kind="blocked"}`: 0,
			`payouts_drift_total{field="status"}`: 0, `payouts_ledger_rollbacks_total{op="judge"}`: 0,
		},
		"gateway": {
			`payouts_webhooks_total{outcome="unmatched"}`: 1, `payouts_webhooks_total{outcome="repeat"}`: 1,
			`payouts_webhooks_total{outcome="not_stored"}`: 0,
		},
	} {
		var wrong []string
		var has map[string]float64
		await(t, soon, func() bool { // what is on its way is told soon
			wrong, has = nil, h.metrics(program)
			for name, want := range wants {
				if has[name] != want {
					wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, has[name], want))
				}
			}
			return len(wrong) == 0
		}, func() string { return program + ": " + strings.Join(wrong, "\n") })
		of := func(prefix string) bool {
			for name := range has {
				if strings.HasPrefix(name, prefix) {
					return true
				}
			}
			return false
		}
		if !of("temporal_request_total{") || program == "worker" && !of("temporal_activity_execution_latency_seconds_bucket{") {
			t.Errorf("the %s has no metrics of the Temporal SDK", program)
		}
		if _, there := has["payouts_key_window_remaining_seconds"]; there {
			t.Errorf("the %s tells of a key window, and nothing is unanswered", program)
		}
	}

	if h.metrics("gateway")[`payouts_webhooks_total{outcome="not_authentic"}`] < 1 { // it is sent again
		t.Error("the gateway counts no forged webhook")
	}

	said := map[string][]string{} // by payout
	moved := map[string][]string{}
	for _, program := range []string{"worker", "starter", "gateway"} {
		for _, line := range h.logged(program) {
			text := fmt.Sprint(line)
			about, _ := line["payout_id"].(string)
			for reference, id := range ids {
				if strings.Contains(text, id) && about != id {
					t.Errorf("the %s writes about %s and payout_id is %q: %s", program, reference, about, text)
				}
			}
			for _, theirs := range []string{winner.user, winner.source, "KOWALSKI"} {
				if strings.Contains(text, theirs) {
					t.Errorf("the %s writes down %s: %s", program, theirs, text)
				}
			}
			said[about] = append(said[about], fmt.Sprint(line["msg"], " ", line["op"]))
			if line["msg"] == "payout moved" {
				moved[about] = append(moved[about], fmt.Sprint(line["status"]))
			}
		}
	}
	for reference, wants := range map[string][]string{"KOWALSKI lost": {"provider did not say yes create payout", "payout not created yet; sent again <nil>"},
		"KOWALSKI unheard": {"provider did not say yes get payout"}} {
		for _, want := range wants {
			if !slices.Contains(said[ids[reference]], want) {
				t.Errorf("nobody writes %q about %s: %q", want, reference, said[ids[reference]])
			}
		}
	}
	for reference, want := range map[string]string{"KOWALSKI twice": "executed", "KOWALSKI failed": "failed", "KOWALSKI slow": "pending"} {
		got := moved[ids[reference]]
		if !slices.Contains(got, "accepted") || !slices.Contains(got, want) || slices.Contains(got, "executed") != (want == "executed") {
			t.Errorf("%s moved as %v, by the logs", reference, got)
		}
	}
}
