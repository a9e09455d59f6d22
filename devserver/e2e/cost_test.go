package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"payouts/internal/simulator"
)

// TestCostOfEachPath prints what each way through a life costs Temporal: the
// events and bytes of its histories, and the billable actions by the server's
// own count. None may come near the history's limit.
func TestCostOfEachPath(t *testing.T) {
	t.Parallel()
	environment := map[string]string{"SWEEP_EVERY": "10m", "POLL_FIRST": "2s"}
	h := open(t, plan{env: environment, settings: simulator.Settings{AuthorizeAfter: simulator.Duration(100 * time.Millisecond), ExecuteAfter: simulator.Duration(300 * time.Millisecond)}})
	fails := func(reason string) simulator.Rule { return simulator.Rule{Fail: &simulator.Fail{Reason: reason}} }
	rows := []string{fmt.Sprintf("%-40s %6s %7s %7s %5s", "path", "events", "bytes", "actions", "runs")}
	for _, path := range []struct {
		name   string
		rule   simulator.Rule
		status string
		late   bool // a run for late word follows
		most   int  // events
	}{
		{name: "executed, by webhook", status: "executed", most: 40},
		{name: "executed, found by polling", rule: simulator.Rule{Webhooks: []simulator.Webhook{{Lost: true}}}, status: "executed", most: 40},
		{name: "answer lost, sent again", rule: simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset, Times: 1}}, status: "executed", most: 40},
		{name: "refused", rule: simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: http.StatusBadRequest}}, status: "failed", most: 40},
		{name: "failed invalid_iban, credited back", rule: fails("invalid_iban"), status: "failed", most: 50},
		{name: "failed blocked, frozen", rule: fails("blocked"), status: "failed", most: 50},
		{name: "failed scheme_error, three attempts", rule: fails("scheme_error"), status: "failed", most: 150},
		{name: "executed, sent back by the bank", rule: simulator.Rule{Return: &simulator.Step{After: simulator.Duration(2 * time.Second)}}, status: "returned", late: true, most: 80},
	} {
		winner := h.wins(won)
		path.rule.Match.Reference = winner.id
		h.script(path.rule)
		before := h.actions()
		p := h.payout(h.pays(winner, won, winner.id))
		p = h.awaitPayout(p.ID, path.status, soon, func(p payout) bool { return p.Status == path.status && p.NextStep == "done" })
		runs := []string{p.WorkflowID}
		if path.late {
			runs = append(runs, strings.Replace(p.WorkflowID, "payout/", "payout-return/", 1))
		}
		events, bytes, actions := 0, 0, 0
		for _, run := range runs {
			late := p
			late.WorkflowID = run
			h.awaitRun(late)
			for _, event := range h.history(run, "") {
				events++
				bytes += proto.Size(event)
			}
		}
		for kind, n := range h.actions() {
			actions += n - before[kind]
		}
		rows = append(rows, fmt.Sprintf("%-40s %6d %7d %7d %5d", path.name, events, bytes, actions, len(runs)))
		if events > path.most {
			t.Errorf("%s: %d events, want at most %d", path.name, events, path.most)
		}
	}
	t.Log("\n" + strings.Join(rows, "\n"))
}
