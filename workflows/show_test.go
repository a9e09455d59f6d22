package workflows

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	sdkpb "go.temporal.io/api/sdk/v1"

	"payouts/internal/payout"
)

// details are what Temporal's UI shows of a run.
func (s *stage) details() string { return s.metadata().CurrentDetails }

func (s *stage) metadata() *sdkpb.WorkflowMetadata {
	s.t.Helper()
	answer, err := s.env.QueryWorkflow("__temporal_workflow_metadata")
	s.must(err)
	var m sdkpb.WorkflowMetadata
	s.must(answer.Get(&m))
	return &m
}

// says checks that the details hold all texts, in this order, each of which
// follows the one before it, with an ellipsis between them.
func says(t *testing.T, details, want string) {
	t.Helper()
	rest := details
	for text := range strings.SplitSeq(want, "…") {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Errorf("the details do not say %q:\n%s", text, details)
			return
		}
		rest = after
	}
}

// What a person reads at each point of a life: where it stands, what it waits
// for, what happens by itself and when, what a person may do.
func TestDetails(t *testing.T) {
	t.Parallel()
	const lines = "- **Status:** "
	for name, row := range map[string]struct {
		script   []life
		webhooks bool
		looks    map[time.Duration]string
		end      string
	}{
		"executed": {[]life{executed}, true, map[time.Duration]string{
			10 * time.Second: "has not decided yet…`pending`, attempt 1\n…**Money:** held: …**Waits for:** TrueLayer's webhook…**Next, by itself:** 2026-01-05 09:00:30 UTC: …The update `look`",
		}, "**Executed: …`executed`, attempt 1\n…**Money:** paid: …**Next, by itself:** Nothing. …`payout-return/"},
		"polled for long": {[]life{{words: []word{{after: 10 * time.Hour, status: "executed"}}}}, false, map[time.Duration]string{
			time.Hour: "has not decided yet…`pending` when this asking began, attempt 1\n…again and again, with pauses that grow up to `POLL_MAX`…*Pending Activities*…`slow`",
		}, "**Executed: "},
		"no answer": {[]life{{answers: []answer{{gone, time.Hour}, {is: created}}, words: executed.words}}, true, map[time.Duration]string{
			time.Minute: "**Beginning: …being read from the books…same idempotency key, so that it cannot pay twice…`KEY_WINDOW`",
		}, "**Executed: "},
		"resting": {[]life{failed("insufficient_funds"), executed}, true, map[time.Duration]string{
			30 * time.Second: "**Attempt 1 failed. It rests before attempt 2.**…because of `insufficient_funds` (the merchant account has too little money)…**Next, by itself:** 2026-01-05 09:01:2…attempt 2 begins with an idempotency key of its own",
			90 * time.Second: "TrueLayer has attempt 2 and has not decided yet",
		}, "**Executed: …`executed`, attempt 2\n"},
		"credited back": {[]life{failed("invalid_iban")}, true, nil,
			"**Failed: …`failed`, attempt 1, because of `invalid_iban` (the account that paid in cannot be paid to)…**Money:** released: in the player's balance again…starter cases --payout"},
		"frozen": {[]life{failed("blocked")}, true, nil,
			"**Failed: …`blocked` (a regulatory stop)…**Money:** frozen: …**Case:** `blocked`, for compliance: may the frozen money be let go?\n…**What you can do:** `starter case …GET /v1/cases/"},
		"polled": {[]life{executed}, false, nil, "**Executed: "},
		"returned while it is open": {[]life{failed("returned")}, true, nil,
			"**Returned: …**Money:** returned: …"},
		"parked": {[]life{{answers: []answer{{is: gone}, {is: keyReused}}, words: []word{{after: 30 * time.Hour, status: "executed"}}}}, true, map[time.Duration]string{
			time.Hour:     "**Parked: machines cannot tell…`parked`, attempt 1\n…**Money:** held: …two people, or a conclusive word of TrueLayer…**Next, by itself:** 2026-01-05 10:…TrueLayer is asked again, or the statement is read again…**Case:** `unknown_outcome`, for operations: did the provider ever get it?\n…`starter case …GET /v1/cases/…One operator proposes",
			3 * time.Hour: "**Parked: …again and again with pauses up to `POLL_MAX`",
		}, ""},
		"a reason that plays with Markdown": {[]life{failed("``# **x** \\[a](b)\n" + payout.Reason(strings.Repeat("y", 900)))}, true, nil,
			"because of `# **x** \\[a](b)yyy…`\n- **Money:** released"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := set(t, row.script, row.webhooks)
			s.env.SetWorkflowRunTimeout(20 * time.Hour)
			looked := 0
			for at, want := range row.looks {
				s.at(at, func() {
					looked++
					says(t, s.details(), "**…"+lines+"…**Waits for:** …**Next, by itself:** …**What you can do:** …\nAs of 2026-01-05 …"+"`starter show "+string(s.id)+"`")
					says(t, s.details(), want)
				})
			}
			s.run()
			if looked != len(row.looks) {
				t.Errorf("looked %d times, want %d", looked, len(row.looks))
			}
			if row.end != "" {
				says(t, s.details(), row.end)
			}
		})
	}
}

// What a person may send a run says what it does, and that it decides nothing.
func TestWhatMayBeSentIsDescribed(t *testing.T) {
	t.Parallel()
	s := set(t, []life{executed}, true)
	s.run()
	has := s.metadata().Definition
	described := map[string]string{}
	for _, d := range slices.Concat(has.SignalDefinitions, has.QueryDefinitions, has.UpdateDefinitions) {
		if !strings.HasPrefix(d.Name, "__") {
			described[d.Name] = d.Description
		}
	}
	if len(described) != 3 || !strings.Contains(described[SignalNews], "decides nothing") || !strings.Contains(described[UpdateLook], "decides nothing") ||
		!strings.Contains(described[QueryState], "Where it stands") {
		t.Errorf("described: %q", described)
	}
}

// A run that fails says that no money moved by it.
func TestDetailsOfAFault(t *testing.T) {
	t.Parallel()
	s := set(t, []life{executed}, true)
	s.id = "nobody"
	s.run()
	if s.env.GetWorkflowError() == nil {
		t.Fatal("a run without a row did not fail")
	}
	says(t, s.details(), "**This run failed…That moved no money…starter show nobody")
}

// Whatever a run does, it has words for it: in every status, late or not.
func TestEverythingHasWords(t *testing.T) {
	all := slices.Concat(slices.Collect(maps.Keys(said)), slices.Collect(maps.Keys(saidInTheEnd)), slices.Collect(maps.Keys(refundTwins)))
	for activity := range options {
		all = append(all, doing(activity))
	}
	for _, s := range payout.Statuses() {
		if s.Final() {
			all = append(all, doing(s))
		}
	}
	for _, what := range all {
		for _, status := range payout.Statuses() {
			for _, late := range []bool{false, true} {
				p := run{doing: what, late: late, kind: payout.KindPayout, id: "p-1", at: payout.Position{Status: status, Attempt: 1, CaseID: "c-1"}}
				w := p.words()
				if w.Now == "" || w.Waits == "" || w.Next == "" || w.You == "" {
					t.Errorf("%s, %s, late %v: something is not said: %+v", what, status, late, w)
				}
				if text := fmt.Sprint(w); strings.ContainsAny(text, "{}") && !strings.HasPrefix(text, "{") || strings.Count(text, "{") > 1 {
					t.Errorf("%s, %s, late %v: a place is not filled: %+v", what, status, late, w)
				}
				_, acts := options[string(what)]
				if waits := what == doingStart || what == doingWait || what == doingRest; (acts || waits) != (w.Summary != "") && what != doingNewer {
					t.Errorf("%s, %s, late %v: its summary in the history is %q", what, status, late, w.Summary)
				}
			}
		}
	}
}

// How long a refund may take is a setting of its own.
func TestSlownessNamesItsSetting(t *testing.T) {
	for kind, setting := range map[payout.Kind]string{payout.KindPayout: "longer than `STUCK_AFTER`", payout.KindRefund: "longer than `REFUND_STUCK_AFTER`"} {
		p := run{doing: activityPollPayout, kind: kind, at: payout.Position{Status: payout.StatusPending, Attempt: 1}}
		says(t, p.words().Next, setting)
	}
}

// The search attributes move only when a payout rests for a reason, is parked,
// no longer parked, or over: each move costs an action.
func TestSearchAttributes(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"executed":                                        "[executed]",
		"failed: invalid_iban":                            "[failed invalid_iban]",
		"failed: scheme_error":                            "[scheme_error failed scheme_error]",
		"no funds once, then executed":                    "[insufficient_funds executed -]",
		"no funds, then another no":                       "[insufficient_funds failed invalid_iban]",
		"no answer for ever, then an event":               "[parked executed]",
		"no answer for ever, then an event that GET lags": "[parked accepted executed]",
		"no answer for ever, then the statement shows it": "[parked accepted executed]", // found by polling
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := set(t, scenarios(t)[name].script, name != "no answer for ever, then the statement shows it")
			s.run()
			if got := fmt.Sprint(s.shown); got != want {
				t.Errorf("shown: %s, want %s", got, want)
			}
		})
	}
}

// Databases take no longer word for a search attribute.
func TestALongReasonFitsTheList(t *testing.T) {
	for _, r := range []payout.Reason{payout.Reason(strings.Repeat("y", 1000)), payout.Reason(strings.Repeat("é", 500)), "moon"} {
		got := keyword(r)
		if len(got) > 255 || len(got) < min(len(r), 254) || !strings.HasPrefix(string(r), got) {
			t.Errorf("%.20q… of %d bytes became %d bytes", r, len(r), len(got))
		}
	}
}
