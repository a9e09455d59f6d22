package e2e

import (
	"net/http"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"payouts/internal/simulator"
)

// recordings are every state of a payout's life, by every branch that leads
// there. Names say what was lived through; what begins with open_ is under way.
var recordings = []recording{
	// Executed.
	{name: "executed_by_webhook", env: far, end: "executed paid"},
	{name: "executed_by_polling", env: soonPolled, off: true, end: "executed paid"},
	{name: "executed_by_webhook_while_polling", env: soonPolled, slow: true, end: "executed paid", holds: enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, live: func(s *scene) {
		s.untilEvent("", scheduled, "PollPayout")
		s.untilStatus("authorized") // it was asked about, and rests
		s.sim.Advance(later)
	}},
	{name: "executed_with_news_in_its_last_task", env: soonPolled, slow: true, end: "executed paid", holds: enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, live: func(s *scene) {
		s.untilEvent("", scheduled, "PollPayout")
		s.sim.Advance(later) // the poll and the webhook see it at once
	}},
	{name: "executed_after_three_days_of_polling", off: true, rules: executes(simulator.Duration(3 * day)), end: "executed paid", live: func(s *scene) {
		s.untilStep("wait")
		for range 3 {
			asked := s.gets()
			s.sleeps(day+time.Minute, "")
			await(s.t, soon, func() bool { return s.gets() >= asked+10 || s.stands().NextStep == "done" }, because("it is not asked about"))
		}
	}},
	{name: "executed_after_scheme_error", rules: failsOnce("scheme_error"), end: "executed paid", live: func(s *scene) { s.rests(1) }},
	{name: "executed_after_server_error", rules: failsOnce("server_error"), end: "executed paid", live: func(s *scene) { s.rests(1) }},
	{name: "executed_after_insufficient_funds", amount: tooMuch, end: "executed paid", live: func(s *scene) {
		s.until("resting", func(p payout) bool { return p.NextStep == "try_again" })
		s.check(s.sim.TopUp(merchant, tooMuch))
		s.rests(1)
	}},
	{name: "executed_after_news_while_resting", rules: failsOnce("scheme_error"), end: "executed paid", live: func(s *scene) {
		p := s.until("resting", func(p payout) bool { return p.NextStep == "try_again" })
		s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "")
		asked := s.gets()
		s.send(p.payout, simulator.SignNormal, "payout_failed")
		await(s.t, soon, func() bool { return s.gets() > asked }, because("nobody asks"))
		s.rests(1)
	}},
	{name: "executed_once_let_in", env: far, rules: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: http.StatusUnauthorized, Times: 2}}}, end: "executed paid"},
	{name: "executed_by_a_versioned_worker", env: map[string]string{"POLL_FIRST": "10m", "TEMPORAL_DEPLOYMENT_NAME": deployment, "TEMPORAL_WORKER_BUILD_ID": "v1"}, end: "executed paid",
		live: func(s *scene) { s.makeCurrent("v1") }},
	{name: "executed_and_a_return_announced", env: far, live: func(s *scene) {
		s.untilStatus("executed")
		await(s.t, soon, func() bool { return quiet(s.events(""), true) }, because("its run is not over"))
		s.untilStep("wait") // by late word
	}, rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}, Return: &simulator.Step{After: 1, Show: simulator.ShowWebhook},
		Get: &simulator.Answer{Kind: simulator.AnswerNormal, Delay: simulator.Duration(2 * time.Second), Times: 1}}}},

	// Failed, reason by reason.
	{name: "failed_invalid_iban", rules: fails("invalid_iban"), end: "failed released invalid_iban"},
	{name: "failed_invalid_iban_by_polling", env: soonPolled, off: true, rules: fails("invalid_iban"), end: "failed released invalid_iban"},
	{name: "failed_invalid_scan", rules: fails("invalid_scan"), end: "failed released invalid_scan"},
	{name: "failed_scan_conversion", rules: fails("scan_conversion"), end: "failed released scan_conversion"},
	{name: "failed_unknown", rules: fails("unknown"), end: "failed released unknown"},
	{name: "failed_unlisted_reason", rules: fails("moon_in_scorpio"), end: "failed released moon_in_scorpio"},
	{name: "failed_blocked", rules: fails("blocked"), end: "failed frozen blocked"},
	{name: "failed_insufficient_funds", amount: tooMuch, end: "failed released insufficient_funds", live: func(s *scene) {
		for n := range 4 {
			s.rests(n + 1)
		}
	}},
	{name: "failed_scheme_error", rules: fails("scheme_error"), end: "failed released scheme_error", live: func(s *scene) { s.rests(1); s.rests(2) }},
	{name: "failed_server_error", rules: fails("server_error"), end: "failed released server_error", live: func(s *scene) { s.rests(1); s.rests(2) }},
	{name: "failed_refused", rules: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: http.StatusBadRequest}}}, end: "failed released refused"},
	{name: "returned_while_open", env: soonPolled, off: true, end: "returned returned returned",
		rules: []simulator.Rule{{Delay: &simulator.Delay{Authorize: 1, Execute: 1}, Return: &simulator.Step{After: 1}}}},

	// Unknown, and found.
	{name: "unknown_resolved_by_resend", env: soonPolled, off: true, rules: creates(simulator.Answer{Kind: simulator.AnswerAcceptThenReset, Times: 1}), end: "executed paid"},
	{name: "unknown_resolved_by_webhook", env: far, rules: creates(*unanswered), end: "executed paid"},
	{name: "unknown_resolved_by_statement", env: soonPolled, off: true, end: "executed paid",
		rules: creates(simulator.Answer{Kind: simulator.AnswerAcceptThen5xx, Status: http.StatusUnprocessableEntity, Type: "idempotency-key-reuse", Times: 1})},
	{name: "unknown_past_the_window_found_on_the_statement", off: true, rules: creates(simulator.Answer{Kind: simulator.AnswerAcceptThen5xx}), end: "executed paid", live: func(s *scene) {
		s.until("sent", func(p payout) bool { return p.Attempts[0].Sends > 1 })
		s.sleeps(5*time.Hour, "") // KEY_WINDOW is 4
	}},

	// Parked, and out of it.
	{name: "parked_unknown_credited_back_by_two_people", off: true, rules: creates(simulator.Answer{Kind: simulator.AnswerRefuse, Status: http.StatusServiceUnavailable}), end: "failed released refused", live: func(s *scene) {
		s.until("sent", func(p payout) bool { return p.Attempts[0].Sends > 1 })
		s.sleeps(5*time.Hour, "")
		s.untilStatus("parked")
		s.sleeps(73*time.Hour, "") // the least after which two people may decide so
		s.decided("unknown_outcome", "never_created", "")
	}},
	{name: "parked_unknown_found_by_two_people", off: true, end: "executed paid", rules: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThen5xx}, Delay: &simulator.Delay{Execute: simulator.Duration(10 * time.Hour)}}}, live: func(s *scene) {
		_, err := s.sim.AddFault(simulator.Fault{Path: "/v3/merchant-accounts/*", Answer: simulator.Answer{Kind: simulator.AnswerGarbled, ContentType: "application/json", Body: `{"items": []}`}})
		s.check(err) // the statement does not show it yet
		s.until("sent", func(p payout) bool { return p.Attempts[0].Sends > 1 })
		s.sleeps(5*time.Hour, "")
		s.untilStatus("parked")
		s.decided("unknown_outcome", "created_as", s.sim.Payouts()[0].ID)
		s.untilStatus("authorized")
		s.sleeps(6*time.Hour, "")
	}},
	{name: "parked_mismatch_cleared_by_news", slow: true, rules: speaksOnceOfAnother, end: "executed paid", live: func(s *scene) {
		s.look(s.workflowID(""))
		s.untilStatus("parked")
		s.sim.Advance(later)
	}},
	{name: "parked_mismatch_cleared_by_polling", slow: true, off: true, rules: speaksOnceOfAnother, end: "executed paid", live: func(s *scene) {
		s.look(s.workflowID(""))
		s.untilStatus("parked")
		s.sleeps(2*time.Hour, "") // asked each hour
	}},

	// What people and accidents do to a run.
	{name: "cancelled_and_executed_all_the_same", env: far, slow: true, end: "executed paid", live: func(s *scene) {
		s.cancels()
		s.sim.Advance(later)
	}},
	{name: "looked_at_by_a_person", env: far, slow: true, off: true, end: "executed paid", live: func(s *scene) {
		s.untilStep("wait")
		s.look(s.workflowID(""))
		s.untilStatus("authorized")
		s.sim.Advance(later)
		s.look(s.workflowID(""))
	}},
	{name: "looked_at_while_asking", env: far, end: "executed paid",
		rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}, Get: &simulator.Answer{Kind: simulator.AnswerNormal, Delay: simulator.Duration(5 * time.Second), Times: 1}}},
		live: func(s *scene) {
			s.untilEvent("", scheduled, "ReconcilePayout")
			s.look(s.workflowID(""))
		}},
	{name: "terminated_by_accident", env: far, slow: true, end: "executed paid", live: func(s *scene) { s.kept = s.adopted(); s.sim.Advance(later) }},
	{name: "adopted_after_terminate", env: far, slow: true, end: "executed paid", live: func(s *scene) { s.adopted(); s.sim.Advance(later) }},
	{name: "reset_to_its_beginning", env: far, slow: true, end: "executed paid", live: func(s *scene) { s.happens("reset to its beginning"); s.sim.Advance(later) }},
	{name: "reset_to_its_last_task", env: far, slow: true, end: "executed paid", live: func(s *scene) { s.happens("reset to its last task"); s.sim.Advance(later) }},
	{name: "worker_killed_while_waiting", env: far, slow: true, end: "executed paid", live: func(s *scene) {
		s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "")
		s.kill("worker")
		s.sim.Advance(later)
		s.untilEvent("", enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT, "")
		s.restart("worker")
	}},

	// Late word.
	{name: "late_word_returned", which: lateRun, rules: backIn45Days("", end{}).rules, end: "returned returned returned", live: func(s *scene) { s.over(); s.passes(45 * day); s.untilStatus("returned") }},
	{name: "late_word_returned_on_the_statement", which: lateRun, rules: backIn45Days(simulator.ShowStatement, end{}).rules, end: "returned returned returned", live: func(s *scene) {
		s.asksLate("payout_failed", 45*day)
		s.untilStatus("returned")
	}},
	{name: "late_word_return_unconfirmed", which: lateRun, rules: backIn45Days(simulator.ShowWebhook, end{}).rules, end: "executed paid", live: func(s *scene) { s.asksLate("", 45*day) }},
	{name: "late_word_return_booked_by_two_people", which: lateRun, rules: backIn45Days(simulator.ShowWebhook, end{}).rules, end: "returned returned returned", live: func(s *scene) {
		s.asksLate("", 45*day)
		s.untilStep("done")
		s.decided("return_unconfirmed", "book_return", "")
		s.untilStatus("returned")
	}},
	{name: "late_word_executed_after_all", which: lateRun, end: "failed released invalid_iban", live: func(s *scene) { s.over(); s.passes(45 * day); s.awaitAsked(s.id, "exposure") },
		rules: []simulator.Rule{{Path: []simulator.Step{{Status: simulator.StatusFailed, Reason: "invalid_iban"}, {Status: simulator.StatusExecuted, After: simulator.Duration(45 * day)}}}}},
	{name: "late_word_success_unconfirmed", which: lateRun, rules: fails("invalid_iban"), end: "failed released invalid_iban", live: func(s *scene) { s.asksLate("payout_executed", 0) }},
	{name: "late_word_frozen_money_released_by_two_people", which: lateRun, rules: fails("blocked"), end: "failed released blocked", live: func(s *scene) {
		s.over()
		s.decided("blocked", "release_frozen", "")
		s.until("released", func(p payout) bool { return p.Money == "released" })
	}},

	// Refunds.
	{name: "refund_executed_by_webhook", env: far, refund: true, end: "executed paid"},
	{name: "refund_executed_by_polling", env: soonPolled, refund: true, off: true, end: "executed paid"},
	{name: "refund_failed", env: far, refund: true, rules: fails("invalid_iban"), end: "failed released invalid_iban"},
	{name: "refund_refused", env: far, refund: true, rules: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: http.StatusBadRequest}}}, end: "failed released refused"},
	{name: "refund_unknown_resolved_by_resend", env: soonPolled, refund: true, off: true, rules: creates(simulator.Answer{Kind: simulator.AnswerAcceptThenReset, Times: 1}), end: "executed paid"},
	{name: "refund_late_word_returned", which: "refund-return", refund: true, rules: backIn45Days("", end{}).rules, end: "returned returned returned", live: func(s *scene) { s.over(); s.passes(45 * day); s.untilStatus("returned") }},

	// The sweeper.
	{name: "sweep", end: "executed paid", which: "sweep"},

	// Under way.
	{name: "open_creating", env: far, rules: []simulator.Rule{{Create: unanswered, Webhooks: []simulator.Webhook{{Lost: true}}}}, live: func(s *scene) { s.untilEvent("", scheduled, "CreatePayout") }},
	{name: "open_waiting_for_webhook", env: far, slow: true, live: func(s *scene) { s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "") }},
	{name: "open_polling", env: soonPolled, slow: true, live: func(s *scene) { s.untilEvent("", scheduled, "PollPayout") }},
	{name: "open_asking", env: far, rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}, Get: &simulator.Answer{Kind: simulator.AnswerTimeout}}},
		live: func(s *scene) { s.untilEvent("", scheduled, "ReconcilePayout") }},
	{name: "open_resting", rules: fails("scheme_error"), live: func(s *scene) { s.untilStep("try_again") }},
	{name: "open_parked", slow: true, rules: []simulator.Rule{{Echo: map[string]any{"amount_in_minor": 1}}}, live: func(s *scene) {
		s.untilStep("wait")
		s.look(s.workflowID(""))
		s.untilStatus("parked")
		s.untilEvent("", scheduled, "OpenCase")
	}},
	{name: "open_cancel_asked", env: far, slow: true, live: func(s *scene) { s.cancels() }},
	{name: "open_late_word_asking", which: lateRun, rules: backIn45Days(simulator.ShowWebhook, end{}).rules, live: func(s *scene) {
		s.over()
		s.passes(45 * day)
		s.untilStep("wait")
	}},
	{name: "open_refund_waiting", env: far, slow: true, refund: true, live: func(s *scene) { s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "") }},
}

const (
	tooMuch   = 2 * merchantMinor // more than the merchant account has
	lateRun   = "payout-return"
	scheduled = enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
)

// soonPolled asks the provider after a second of silence.
var soonPolled = map[string]string{"POLL_FIRST": "1s"}

func fails(reason string) []simulator.Rule {
	return []simulator.Rule{{Fail: &simulator.Fail{Reason: reason, After: aMoment}}}
}

// failsOnce fails the first attempt; the second is executed.
func failsOnce(reason string) []simulator.Rule {
	return []simulator.Rule{{Times: 1, Fail: &simulator.Fail{Reason: reason, After: aMoment}}, {Delay: &simulator.Delay{Execute: aMoment}}}
}

func executes(after simulator.Duration) []simulator.Rule {
	return []simulator.Rule{{Delay: &simulator.Delay{Execute: after}}}
}

func creates(answer simulator.Answer) []simulator.Rule {
	return []simulator.Rule{{Create: &answer}}
}

var speaksOnceOfAnother = []simulator.Rule{{Get: &simulator.Answer{Kind: simulator.AnswerGarbled, Times: 1, ContentType: "application/json",
	Body: `{"id": "another", "status": "pending", "amount_in_minor": 1, "currency": "GBP"}`}}}

// cancels asks to cancel the run while it waits, and waits until it was told.
func (s *scene) cancels() {
	s.t.Helper()
	s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "")
	s.happens("cancelled")
	s.untilEvent("", enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED, "")
	await(s.t, soon, func() bool { return quiet(s.events(""), false) && len(s.tasks(s.workflowID(""), "")) > 2 }, because("the run does not hear of it"))
}

// happens lets an accident happen to the run.
func (s *scene) happens(accident string) {
	s.t.Helper()
	s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "")
	ctx, cancel := s.within()
	defer cancel()
	s.check(accidents[accident](ctx, s.house, s.workflowID(""), s.runID()))
}

// adopted terminates the run and waits for another. It answers with the first.
func (s *scene) adopted() string {
	s.t.Helper()
	s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "")
	first := s.runID()
	s.happens("terminated")
	s.awaitNewRun(s.workflowID(""), soon, first)
	return first
}

// over waits until nothing is left to do, and no run is open.
func (s *scene) over() standing {
	s.t.Helper()
	p := s.until("over", func(p payout) bool { return p.NextStep == "done" })
	await(s.t, soon, func() bool { return quiet(s.events(""), true) }, because("its run is not over"))
	return p
}

// asksLate lets time pass until something turns up, or sends it, and then until
// it has been asked about for long enough.
func (s *scene) asksLate(event string, after time.Duration) {
	s.t.Helper()
	p := s.over()
	if after > 0 {
		s.passes(after)
	}
	if event != "" {
		s.send(p.payout, simulator.SignNormal, event)
	}
	s.untilStep("wait")
	s.sleeps(25*time.Hour, s.recording.which) // RETURN_ASK_FOR is 24
}

// decided lets two people resolve its case.
func (s *scene) decided(kind, action, providerID string) {
	s.t.Helper()
	asked := s.awaitAsked(s.id, kind)
	path, body := "/v1/cases/"+asked.ID+"/resolutions", map[string]any{"action": action, "reason": "their support says so", "version": asked.Version}
	if providerID != "" {
		body["provider_payout_id"] = providerID
	}
	s.created(s.operator.call(http.MethodPost, path, "", body))
	s.created(s.second.call(http.MethodPost, path+"/1/approvals", "", map[string]any{"decision": "approve", "version": asked.Version}))
}

func (s *scene) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
