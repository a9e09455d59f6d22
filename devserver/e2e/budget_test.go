package e2e

import (
	"bufio"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"payouts/internal/simulator"
)

// What a payout may cost Temporal when it is executed and a webhook says so.
const (
	mostEvents  = 24
	mostActions = 6 // billable ones, as the server counts them
)

// cost is what histories and the server's own counter say of something.
type cost struct {
	events, bytes, actions int
	kinds                  map[string]int // of the actions
}

func (c cost) String() string {
	return fmt.Sprintf("%d events of %d bytes, %d actions %v", c.events, c.bytes, c.actions, c.kinds)
}

// costs is what a payout's whole life costs: do starts it, awaits its end and
// names its runs. Nothing else may go on in the house.
func (h *house) costs(do func() (runs []string)) cost {
	h.t.Helper()
	before := h.actions()
	var c cost
	for _, run := range do() {
		h.awaitRun(payout{WorkflowID: run, NextStep: "done"})
		for _, event := range h.history(run, "") {
			c.events++
			c.bytes += proto.Size(event)
		}
	}
	c.kinds = h.actions()
	for kind, n := range before {
		c.kinds[kind] -= n
	}
	maps.DeleteFunc(c.kinds, func(_ string, n int) bool { return n == 0 })
	for _, n := range c.kinds {
		c.actions += n
	}
	if c.actions == 0 {
		h.t.Fatal("the server counted no actions")
	}
	return c
}

// A payout that is executed stays within its budget: the best of twenty, since
// a machine that is busy now and then splits a task in two.
func TestBudget(t *testing.T) {
	t.Parallel()
	environment := map[string]string{"SWEEP_EVERY": "24h"} // sweeps would be counted too
	maps.Copy(environment, far)
	h := open(t, plan{env: environment})
	winner := h.wins(200_00)
	var best cost
	for n := range 20 {
		c := h.costs(func() []string {
			p := h.awaitPayout(h.pays(winner, 10_00, "budget"), "executed", soon, func(p payout) bool { return p.NextStep == "done" })
			return []string{p.WorkflowID}
		})
		if n == 0 || c.events < best.events || c.events == best.events && c.actions < best.actions {
			best = c
		}
	}
	t.Logf("at best %v", best)
	if best.events > mostEvents || best.actions > mostActions {
		t.Errorf("at best %v, want at most %d events and %d actions", best, mostEvents, mostActions)
	}
}

// Each poll costs one action more, and no event: however long a provider takes,
// the history stays short.
func TestCostOfPolling(t *testing.T) {
	t.Parallel()
	h := open(t, plan{env: map[string]string{"SWEEP_EVERY": "24h", "POLL_FIRST": "1s", "POLL_MAX": "2s"}, settings: slowly})
	const polls = 6
	asked := func() (n int) {
		for _, r := range h.sim.Journal().Requests {
			if r.Method == http.MethodGet && strings.HasPrefix(r.Path, "/v3/payouts/") {
				n++
			}
		}
		return n
	}
	winner := h.wins(30_00)
	h.script(simulator.Rule{Webhooks: []simulator.Webhook{{Lost: true}, {Lost: true}}})
	var best cost
	over := func(c cost, polls int) int { return c.actions - 4 - polls } // the start, the create, one timer, one upsert
	least := 1 << 20
	for range 3 { // of which the server's own schedule disturbs one at the most
		before := asked()
		c := h.costs(func() []string {
			id := h.pays(winner, 10_00, "polled")
			await(t, 3*soon, func() bool { return asked()-before >= polls }, func() string { return fmt.Sprintf("asked %d times, want %d", asked()-before, polls) })
			h.sim.Advance(later)
			p := h.awaitPayout(id, "executed", soon, func(p payout) bool { return p.NextStep == "done" })
			return []string{p.WorkflowID}
		})
		n := asked() - before
		t.Logf("%d polls: %v", n, c)
		if over(c, n) < least {
			best, least = c, over(c, n)
		}
	}
	if least > 0 {
		t.Errorf("at best %v, which is %d actions too many", best, least)
	}
	if best.events > mostEvents {
		t.Errorf("at best %v, want at most %d events: a poll is no event", best, mostEvents)
	}
}

// What each way through a life costs is printed; none comes near the limits of
// a history.
func TestCostOfEachPath(t *testing.T) {
	t.Parallel()
	h := open(t, plan{env: map[string]string{"SWEEP_EVERY": "24h", "POLL_FIRST": "2s"},
		settings: simulator.Settings{AuthorizeAfter: simulator.Duration(100 * time.Millisecond), ExecuteAfter: simulator.Duration(300 * time.Millisecond)}})
	fails := func(reason string) simulator.Rule { return simulator.Rule{Fail: &simulator.Fail{Reason: reason}} }
	rows := []string{fmt.Sprintf("%-40s %6s %7s %7s", "path", "events", "bytes", "actions")}
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
		c := h.costs(func() []string {
			p := h.awaitPayout(h.pays(winner, won, winner.id), path.name, 3*soon, func(p payout) bool { return p.Status == path.status && p.NextStep == "done" })
			if path.late {
				return []string{p.WorkflowID, strings.Replace(p.WorkflowID, "payout/", "payout-return/", 1)}
			}
			return []string{p.WorkflowID}
		})
		rows = append(rows, fmt.Sprintf("%-40s %6d %7d %7d", path.name, c.events, c.bytes, c.actions))
		if c.events > path.most {
			t.Errorf("%s: %v, want at most %d events", path.name, c, path.most)
		}
	}
	t.Log("\n" + strings.Join(rows, "\n"))
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
