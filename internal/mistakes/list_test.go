package mistakes

// Mistake is one wrong line, and the test that must notice.
type Mistake struct {
	Name string // what somebody might do, and lose money by
	File string // from the root of the module
	Was  string // stands exactly once in the file
	Is   string // what stands there by mistake
	Pkg  string // of the test
	Test string // as go test -run takes it
}

// All is the list in docs/decisions/0013-deliberate-mistakes.md.
var All = []Mistake{
	{
		Name: "credit back on create error",
		File: "internal/ledger/sends.go",
		Was:  "		first := false\n		if c.Answer == payout.AnswerCreated {",
		Is:   "		if c.Answer == payout.AnswerUnknown {\n			c.Answer = payout.AnswerRefused\n		}\n		first := false\n		if c.Answer == payout.AnswerCreated {",
		Pkg:  "./internal/ledger", Test: "TestSQLite/send/unknown_is_sent_again",
	}, {
		Name: "credit back on cancel",
		File: "workflows/payout.go",
		Was:  "	own, _ := workflow.NewDisconnectedContext(ctx)",
		Is:   "	own := ctx",
		Pkg:  "./workflows", Test: "TestCancelMovesNoMoney",
	}, {
		Name: "new key per retry",
		File: "internal/ledger/sends.go",
		Was:  "Number: s.count + 1, Key: a.key,",
		Is:   "Number: s.count + 1, Key: payout.Key(r.id, 1000*a.number+s.count),",
		Pkg:  "./workflows", Test: "TestPayout/executed/by_webhook/answer_lost",
	}, {
		Name: "new key on 422",
		File: "internal/ledger/sends.go",
		Was:  "		case a.keyReused:\n			r.lookFirst(",
		Is:   "		case a.keyReused:\n			a.key = payout.Key(r.id, 99)\n			send = payout.Send{PayoutID: r.id, Kind: r.kind, Attempt: a.number, Number: s.count + 1, Key: a.key, Body: a.body, Deadline: t.now.Add(l.timing.SendFor)}\n		case false:\n			r.lookFirst(",
		Pkg:  "./internal/ledger", Test: "TestSQLite/send/a_reused_key_is_never_sent_again",
	}, {
		Name: "resend without a window",
		File: "internal/ledger/sends.go",
		Was:  "case s.unresolved > 0 && t.now.After(s.first.Add(l.timing.KeyWindow)):",
		Is:   "case false:",
		Pkg:  "./internal/ledger", Test: "TestSQLite/send/after_the_window_the_statement_is_asked",
	}, {
		Name: "workflow forgets returns",
		File: "internal/ledger/late.go",
		Was:  "	r.next(payout.StepReturn, 0)\n",
		Is:   "	r.next(payout.StepDone, 0)\n",
		Pkg:  "./workflows", Test: "TestLateWord/payout/the_bank_sends_it_back_45_days_later",
	}, {
		Name: "late word is never looked for",
		File: "internal/ledger/outbox.go",
		Was:  "WHERE woken_at <= ? AND due_at IS NULL AND",
		Is:   "WHERE woken_at <= ? AND 1 = 0 AND",
		Pkg:  "./workflows", Test: "TestLateWord/payout/the_bank_sends_it_back_45_days_later",
	}, {
		Name: "signal before store",
		File: "internal/httpapi/webhook.go",
		Was:  "	stored, err := h.Store(r.Context(), news)\n",
		Is:   "	h.wake(r.Context(), payout.Stored{PayoutID: news.PayoutID, Kind: payout.KindPayout, Wake: true})\n	stored, err := h.Store(r.Context(), news)\n",
		Pkg:  "./internal/httpapi", Test: "TestWebhook",
	}, {
		Name: "missing return after 401",
		File: "internal/httpapi/webhook.go",
		Was:  "		h.refuse(w, webhookNotAuthentic, notAuthentic.problem(\"nothing was stored\"))\n		return\n",
		Is:   "		h.refuse(w, webhookNotAuthentic, notAuthentic.problem(\"nothing was stored\"))\n",
		Pkg:  "./internal/httpapi", Test: "TestWebhook",
	}, {
		Name: "event trusted without a GET",
		File: "internal/ledger/judge.go",
		Was:  "	a.askedAt = w.AskedAt\n	latest := a.number == r.attempt\n",
		Is:   "	a.askedAt = w.AskedAt\n	if claimed != \"\" {\n		w.Status = claimed\n	}\n	latest := a.number == r.attempt\n",
		Pkg:  "./internal/ledger", Test: "TestSQLite/judge/signed_news_that_the_provider_does_not_confirm",
	}, {
		Name: "status rank instead of the arrows",
		File: "internal/payout/status.go",
		Was:  "func (s Status) MayBecome(next Status) bool { return slices.Contains(arrows[s], next) }",
		Is:   "func (s Status) MayBecome(next Status) bool {\n	return slices.Index(Statuses(), next) > slices.Index(Statuses(), s)\n}",
		Pkg:  "./internal/payout", Test: "TestArrows",
	}, {
		Name: "uniqueness by workflow id alone",
		File: "internal/ledger/accept.go",
		Was:  "		if replayed = before != \"\"; replayed {\n",
		Is:   "		if replayed = before != \"\"; false {\n",
		Pkg:  "./internal/ledger", Test: "TestSQLite/accept/one_key_at_once_is_one_payout",
	}, {
		Name: "balance check outside the transaction",
		File: "internal/ledger/accept.go",
		Was:  "WHERE player_id = ? AND currency = ? AND available >= ?\",\n		m.Minor, m.Minor, player, string(m.Currency), m.Minor)",
		Is:   "WHERE player_id = ? AND currency = ?\",\n		m.Minor, m.Minor, player, string(m.Currency))",
		Pkg:  "./internal/ledger", Test: "TestSQLite/accept/(200_at_once|a_balance_too_low)",
	}, {
		Name: "two attempts alive",
		File: "internal/ledger/steps.go",
		Was:  "		r.attempt++\n		if err := r.begin(ctx, r.attempt); err != nil {",
		Is:   "		r.attempt++\n		if err := r.begin(ctx, r.attempt); err != nil {\n			return err\n		}\n		r.attempt++\n		if err := r.begin(ctx, r.attempt); err != nil {",
		Pkg:  "./internal/ledger", Test: "TestSQLite/steps/(only_one_attempt_is_alive|an_attempt_begins_once)",
	}, {
		Name: "another attempt without reading the earlier ones",
		File: "internal/ledger/steps.go",
		Was:  "			if payout.ReadVerdict(w.Status) == payout.VerdictFailed && r.differs(a, w) == \"\" {\n				a.askedAt",
		Is:   "			if true {\n				a.askedAt",
		Pkg:  "./internal/ledger", Test: "TestSQLite/steps/any_earlier_attempt_that_is_not_failed_parks",
	}, {
		Name: "money moves while news lies unread",
		File: "internal/ledger/row.go",
		Was:  "	if !r.holds.unread {\n		return 0, nil\n",
		Is:   "	if true {\n		return 0, nil\n",
		Pkg:  "./internal/ledger", Test: "TestSQLite/doubt/unread_news_stops_(a_release|the_next_attempt)",
	}, {
		Name: "settle and release both possible",
		File: "internal/ledger/steps.go",
		Was:  "kind: kind, payoutID: r.id, attempt: a.number, slot: \"outcome\",",
		Is:   "kind: kind, payoutID: r.id, attempt: a.number, slot: \"outcome/\" + string(kind),",
		Pkg:  "./internal/ledger", Test: "TestSQLite/steps/a_step_repeats",
	}, {
		Name: "a run in its last task swallows news",
		File: "workflows/payout.go",
		Was:  "			if !p.hasNews() {\n				return p.finish(at), nil\n			}\n			at = p.reconcile()",
		Is:   "			return p.finish(at), nil",
		Pkg:  "./workflows", Test: "TestNewsWhileItEnds",
	}, {
		Name: "StartToClose shorter than the HTTP deadline",
		File: "workflows/options.go",
		Was:  "	activityCreatePayout: provider(time.Minute, time.Second, time.Minute),",
		Is:   "	activityCreatePayout: provider(30*time.Second, time.Second, time.Minute),",
		Pkg:  "./workflows", Test: "TestOptions",
	}, {
		Name: "reject-duplicate start policy",
		File: "workflows/client.go",
		Was:  "enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,",
		Is:   "enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,",
		Pkg:  "./workflows", Test: "TestStart",
	}, {
		Name: "a person approves his own proposal",
		File: "internal/ledger/resolve.go",
		Was:  "		case res.ProposedBy == a.By:",
		Is:   "		case false:",
		Pkg:  "./internal/ledger", Test: "TestSQLite/people",
	}, {
		Name: "who approves has not read what was asked since",
		File: "internal/ledger/resolve.go",
		Was:  "return questions != 0 && questions != c.Questions }",
		Is:   "return false }",
		Pkg:  "./internal/ledger", Test: "TestSQLite/people",
	}, {
		Name: "never created, without reading the statement",
		File: "internal/ledger/look.go",
		Was:  "	if !a.lookedAt.After(over) {",
		Is:   "	if false {",
		Pkg:  "./internal/ledger", Test: "TestSQLite/(people|resolve)",
	}, {
		Name: "a late success is taken back from the player by machine",
		File: "internal/ledger/late.go",
		Was:  "		from: houseExposure, to: merchantAccount(r.merchant), at: at}); err != nil {",
		Is:   "		from: playerAccount(r.player, \"available\"), to: merchantAccount(r.merchant), at: at}); err != nil {",
		Pkg:  "./workflows", Test: "TestLateWord/payout/executed_after_the_player_was_credited_back",
	},
}
