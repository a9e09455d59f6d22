package e2e

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"

	"payouts/internal/simulator"
)

// seen is a payout or a refund that a person looks at in Temporal's UI.
type seen struct {
	name     string
	minor    int64
	rule     simulator.Rule
	there    func(payout) bool
	refund   bool
	late     bool     // it is read on the page of its late word
	details  []string // what the page of its run says of it
	history  []string // what the history of its run says
	winner   player
	id       string
	workflow string
}

// casesURL is where this house says that people see what they are asked.
const casesURL = "https://backoffice.example/cases?payout={payout}"

// kind is what it is called. Where the API tells of it, an s is added.
func (s seen) kind() string {
	if s.refund {
		return "refund"
	}
	return "payout"
}

// reference is what the player's bank shows: nothing that Temporal may see.
func (s seen) reference() string { return "Ada " + s.name }

// toSee is a payout in each situation that somebody asks about.
func toSee() []*seen {
	done := func(p payout) bool { return p.NextStep == "done" }
	const create, waits, news = "create at TrueLayer, or read where it stands", "wait for TrueLayer's webhook; then ask TrueLayer", "there is news: ask TrueLayer, reconcile the books"
	return []*seen{
		{name: "executed", minor: 10_00, rule: simulator.Rule{Delay: &simulator.Delay{Execute: aMoment}}, there: done,
			details: []string{"£10.00 to PLAYER", "Executed: TrueLayer took the amount from the merchant account", "Status: executed, attempt 1", "Money: paid: it left for the player's bank",
				"Waits for: Nothing: this run is over.", "Next, by itself: Nothing. Should the bank send it back", "What you can do: starter cases --payout"},
			history: []string{create, waits, news}},
		{name: "waiting", minor: 20_00, there: func(p payout) bool { return p.Status == "authorized" },
			details: []string{"£20.00 to PLAYER", "TrueLayer has attempt 1 and has not decided yet.", "when this asking began, attempt 1", "Money: held: set aside, still the player's",
				"Waits for: TrueLayer's decision", "Next, by itself: TrueLayer is asked again and again", "What you can do: Nothing is needed. The update look"},
			history: []string{create, waits, "ask TrueLayer until it decides; each retry is one poll"}},
		{name: "resting", minor: 30_00, rule: simulator.Rule{Fail: &simulator.Fail{Reason: "scheme_error", After: aMoment}}, there: func(p payout) bool { return p.NextStep == "try_again" },
			details: []string{"£30.00 to PLAYER", "Attempt 1 failed. It rests before attempt 2.", "Status: pending, attempt 1, because of scheme_error (a fault at the payment scheme)",
				"Money: held: set aside, still the player's", "Waits for: The end of the rest.", "Next, by itself: WHEN: all earlier attempts are read once more", "What you can do: Nothing: it goes on by itself."},
			history: []string{create, news, "rest before attempt 2 (scheme_error)"}},
		{name: "parked", minor: 40_00, rule: simulator.Rule{Echo: map[string]any{"amount_in_minor": 1}}, there: func(p payout) bool { return p.Status == "parked" },
			details: []string{"£40.00 to PLAYER", "Parked: machines cannot tell what happened. A person decides.", "Status: parked, attempt 1", "Money: held: set aside, still the player's",
				"Waits for: The decision of two people, or a conclusive word of TrueLayer.", "Next, by itself: WHEN: TrueLayer is asked again", "Case: mismatch, for operations: is what the provider speaks of ours?", "What you can do: starter case CASE (or GET /v1/cases/CASE) shows the evidence"},
			history: []string{create, "park: open a case for a person", "parked: wait for people or news; then ask TrueLayer again"}},
		{name: "credited back", minor: 50_00, rule: simulator.Rule{Fail: &simulator.Fail{Reason: "invalid_iban", After: aMoment}}, there: done,
			details: []string{"£50.00 to PLAYER", "Failed: it ended without paying.", "Status: failed, attempt 1, because of invalid_iban (the account that paid in cannot be paid to)",
				"Money: released: in the player's balance again", "Waits for: Nothing: this run is over.", "What you can do: starter cases --payout"},
			history: []string{create, news, "credit the player back (invalid_iban)"}},
		{name: "frozen", minor: 60_00, rule: simulator.Rule{Fail: &simulator.Fail{Reason: "blocked", After: aMoment}}, there: done,
			details: []string{"£60.00 to PLAYER", "Failed: it ended without paying.", "because of blocked (a regulatory stop)", "Money: frozen: set aside for a regulatory reason",
				"Case: blocked, for compliance: may the frozen money be let go?", "What you can do: starter case CASE (or GET /v1/cases/CASE) shows what a person is asked."},
			history: []string{create, news, "freeze the money for compliance"}},
		{name: "returned", minor: 70_00, late: true, rule: simulator.Rule{Delay: &simulator.Delay{Execute: aMoment}, Return: &simulator.Step{After: simulator.Duration(3 * time.Second)}},
			there:   func(p payout) bool { return p.Status == "returned" && p.NextStep == "done" },
			details: []string{"late word on £70.00 to PLAYER", "Returned: it was executed, and the bank sent it back.", "Money: returned: sent back by the bank, in the player's balance again"},
			history: []string{"late word: ask TrueLayer, reconcile the books", "credit the player what the bank sent back"}},
		{name: "announced", minor: 15_00, late: true, rule: simulator.Rule{Delay: &simulator.Delay{Execute: aMoment}, Return: &simulator.Step{After: simulator.Duration(3 * time.Second), Show: simulator.ShowWebhook}},
			there: func(p payout) bool { return p.Status == "executed" && p.NextStep == "wait" },
			details: []string{"late word on £15.00 to PLAYER", "Signed news claims something about this closed payout that TrueLayer does not confirm yet.", "Money: paid: it left for the player's bank",
				"Waits for: TrueLayer's word, or money on the statement.", "Next, by itself: TrueLayer is asked again and again, for RETURN_ASK_FOR at the most; then a case is opened."},
			history: []string{"late word: ask TrueLayer, reconcile the books", "late word: ask TrueLayer until it confirms; each retry is one poll"}},
		{name: "refund", minor: 25_00, refund: true, there: func(p payout) bool { return p.Status == "authorized" },
			details: []string{"refund of £25.00 to PLAYER", "One refund through TrueLayer: held in the books", "TrueLayer has attempt 1 and has not decided yet.", "Money: held: set aside, still the player's",
				"Waits for: TrueLayer's decision", "Next, by itself: TrueLayer is asked again and again", "What you can do: Nothing is needed. The update look"},
			history: []string{create, waits, "ask TrueLayer until it decides; each retry is one poll", "CreateRefund", "PollRefund"}},
		{name: "bounced refund", minor: 12_00, refund: true, late: true, rule: simulator.Rule{Delay: &simulator.Delay{Execute: aMoment}, Return: &simulator.Step{After: simulator.Duration(3 * time.Second)}},
			there:   func(p payout) bool { return p.Status == "returned" && p.NextStep == "done" },
			details: []string{"late word on refund of £12.00 to PLAYER", "What turned up about a refund after it was executed.", "Returned: it was executed, and the bank sent it back.", "Money: returned: sent back by the bank, in the player's balance again"},
			history: []string{"late word: ask TrueLayer, reconcile the books", "credit the player what the bank sent back", "ReconcileRefund"}},
	}
}

// found is what each filter of docs/temporal-ui.md finds, by its words there.
var found = map[string][]string{
	"payouts and refunds, without the sweeper's runs": {"executed", "waiting", "resting", "parked", "credited back", "frozen", "returned", "returned late",
		"announced", "announced late", "refund", "bounced refund", "bounced refund late"},
	"all of one player":                               {"executed"},
	"every run of one payout or refund":               {"returned", "returned late"},
	"parked: a person is asked, the money stays held": {"parked"},
	"resting before another attempt, by reason":       {"resting"},
	"failed":                                 {"credited back", "frozen"},
	"failed, by reason":                      {"credited back"},
	"frozen, for compliance":                 {"frozen"},
	"sent back by the bank":                  {"returned late", "bounced refund late"},
	"late word, whatever came of it":         {"returned late", "announced late", "bounced refund late"},
	"large ones that are open (minor units)": {"resting", "parked"},
	"open since before some instant":         {},
	"a fault of the programs: a run that failed, or one whose code does not get on": {},
}

// A person who has never read the code sees in Temporal's UI what each payout
// is doing, and finds it by the filters that the documentation names.
func TestTemporalUI(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	server := serverWithUI(t)
	h := open(t, plan{temporal: server.addr, settings: slowly, rest: "30m", env: map[string]string{"POLL_FIRST": "2s", "POLL_MAX": "20m", "CASES_URL": casesURL}})
	all := toSee()
	for _, s := range all {
		s.winner = h.wins(s.minor)
		s.rule.Match.Reference = s.reference()
		h.script(s.rule)
		if s.refund {
			s.id = h.refunds(s.winner, s.minor, s.reference())
		} else {
			s.id = h.pays(s.winner, s.minor, s.reference())
		}
	}
	names := map[string]string{} // of runs, by workflow id
	var private []string
	for _, s := range all {
		p := h.awaitTold(s.kind()+"s", s.id, s.name, 2*soon, s.there)
		s.workflow, names[p.WorkflowID] = p.WorkflowID, s.name
		if s.late {
			s.workflow = s.kind() + "-return/" + s.id
			names[s.workflow] = s.name + " late"
		}
		if s.name != "waiting" {
			h.awaitRun(payout{WorkflowID: s.workflow, NextStep: p.NextStep})
		}
		caseID := ""
		if p.CaseID != nil {
			caseID = *p.CaseID
		}
		for i, text := range s.details {
			s.details[i] = strings.NewReplacer("PLAYER", s.winner.id, "CASE", caseID).Replace(text)
		}
		private = append(private, s.reference(), s.winner.user, s.winner.source)
	}
	private = append(private, "SANDBRIDGE", "SIMULATED", "CLRB", "sort_code") // the bank's own words about the account and its holder

	workflows := server.ui + "/namespaces/default/workflows"
	b.visit(workflows + "?query=" + url.QueryEscape(`WorkflowType != "Sweep"`))
	b.arrangeColumns()
	for _, f := range documentedFilters(t) {
		query := strings.NewReplacer("player-42", all[0].winner.id, "81d0f7bd-5d0e-5c46-8f0c-8a2ab4e1e6d5", all[6].id).Replace(f.query)
		b.visit(workflows + "?query=" + url.QueryEscape(query))
		b.lists(f.what, names, found[f.what])
		b.shoot("list " + slug(f.what))
	}
	// What the list says beside each.
	b.visit(workflows + "?query=" + url.QueryEscape(`PayoutStatus = "failed" AND FailureReason = "invalid_iban"`))
	b.sees("PlayerId", "AmountInMinor", "PayoutStatus", "FailureReason", all[4].winner.id, "5000", "failed", "invalid_iban")

	for _, s := range all {
		page := workflows + "/" + url.PathEscape(s.workflow)
		b.visit(page)
		b.sees(s.workflow)
		b.click("User Metadata")
		text := b.sees(append(dated(s.details), "All runs of this "+s.kind(), "starter show "+s.id)...)
		b.shoot(s.name)
		if at := promised(t, s, text); !at.IsZero() && (time.Until(at) < 10*time.Minute || time.Until(at) > 34*time.Minute) {
			t.Errorf("%s: the next step is said to be at %s, now it is %s", s.name, at, time.Now().UTC())
		}
		b.hides(s.name, private)
		b.click("Event History")
		b.sees(s.history...)
		b.shoot(s.name + " history")
		b.hides(s.name, private)
		for _, event := range h.history(s.workflow, "") {
			if leak := leaks(prototext.Format(event), private); leak != "" {
				t.Errorf("%s: event %d, %s, tells %q", s.name, event.GetEventId(), event.GetEventType(), leak)
			}
		}
	}
	b.visit(workflows + "/" + url.PathEscape(all[6].workflow))
	b.click("User Metadata")
	b.sees("All runs of this payout")
	if link := b.linkInDetails("What people are asked about it"); link != strings.ReplaceAll(casesURL, "{payout}", all[6].id) {
		t.Errorf("the link to its cases leads to %s", link)
	}
	b.visit(b.linkInDetails("All runs of this payout"))
	b.lists("all runs of one payout, by the link on its page", names, []string{"returned", "returned late"})

	b.visit(workflows + "/" + url.PathEscape(all[1].workflow))
	b.click("Pending Activities")
	b.sees("PollPayout", "not decided yet: authorized; asked again in")
	b.shoot("waiting pending")

	b.visit(server.ui + "/namespaces/default/schedules/sweep")
	b.sees("Finds payouts and refunds that nobody is working at")
	b.shoot("sweep")
}

type filter struct{ what, query string }

// documentedFilters are those that operators copy.
func documentedFilters(t *testing.T) (list []filter) {
	t.Helper()
	text, err := os.ReadFile("../../docs/temporal-ui.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Filters")
	for _, row := range regexp.MustCompile("(?m)^\\| ([^|`]+) \\| `(.+)` \\|$").FindAllStringSubmatch(section, -1) {
		list = append(list, filter{row[1], row[2]})
		if _, known := found[row[1]]; !known {
			t.Errorf("filter %q: say what it finds", row[1])
		}
	}
	if len(list) != len(found) {
		t.Fatalf("%d filters are documented, %d expected", len(list), len(found))
	}
	return list
}

var instant = regexp.MustCompile(`Next, by itself: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC:`)

// dated leaves out the instant of a text: it is compared by promised.
func dated(texts []string) (list []string) {
	for _, text := range texts {
		before, after, has := strings.Cut(text, "WHEN")
		if list = append(list, before); has {
			list = append(list, after)
		}
	}
	return list
}

// promised is when the page says that the next step is; zero where it is not
// to say any time.
func promised(t *testing.T, s *seen, page string) time.Time {
	t.Helper()
	says := instant.FindStringSubmatch(page)
	if wants := slices.ContainsFunc(s.details, func(d string) bool { return strings.Contains(d, "WHEN") }); wants != (says != nil) {
		t.Errorf("%s: says when the next step is: %v, want %v", s.name, says != nil, wants)
	}
	if says == nil {
		return time.Time{}
	}
	at, err := time.Parse(time.DateTime, says[1])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// leaks is the first private text within one; "" where there is none.
func leaks(text string, private []string) string {
	for _, p := range private {
		if strings.Contains(text, p) {
			return p
		}
	}
	return ""
}

// hides holds that neither what a page shows nor what it is made of is private.
func (b *browser) hides(name string, private []string) {
	b.t.Helper()
	if leak := leaks(b.shown()+b.source(), private); leak != "" {
		b.t.Errorf("%s: the page tells %q", name, leak)
	}
}

// arrangeColumns shows our search attributes in the lists, as the
// documentation says.
func (b *browser) arrangeColumns() {
	b.t.Helper()
	b.click("Configure Columns")
	for _, name := range []string{"PlayerId", "AmountInMinor", "Currency", "PayoutStatus", "FailureReason"} {
		b.click("Add " + name + " column")
	}
	b.click("Remove Run ID column")
	b.click("Remove End column")
	b.click("Close Workflows Table configuration")
}

// lists waits until the list shows exactly the runs of these names.
func (b *browser) lists(what string, names map[string]string, want []string) {
	b.t.Helper()
	const rows = `[...document.querySelectorAll("[data-testid=workflows-summary-configurable-table-row] a")].map(a => a.innerText.trim())`
	var got []string
	want = slices.Sorted(slices.Values(want))
	await(b.t, soon, func() bool {
		got = nil
		for _, text := range does(b, "read the list", evaluate[[]string](rows)) {
			if strings.Contains(text, "/") {
				got = append(got, names[text])
			}
		}
		slices.Sort(got)
		count := does(b, "read the count", evaluate[string](`document.querySelector("[data-testid=workflow-count]")?.innerText ?? ""`))
		return slices.Equal(got, want) && strings.TrimSpace(count) == fmt.Sprint(len(want)) // the count says that an empty list is no list to come
	}, func() string {
		b.shoot("missing")
		return fmt.Sprintf("%s: the list shows %q, want %q; the page:\n%s", what, got, want, b.shown())
	})
}

func slug(text string) string {
	return strings.Trim(regexp.MustCompile(`[^a-z]+`).ReplaceAllString(strings.ToLower(text), "-"), "-")
}
