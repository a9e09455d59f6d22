package workflows

import (
	"fmt"
	"testing"
	"time"

	"payouts/internal/payout"
)

// Where the money of a payout of 2500 is, of a player who won 10000, and what
// was booked for it.
const (
	held     = "available 7500, held 2500 [reserve]"
	paid     = "available 7500, merchant 2500 [reserve settle]"
	credited = "available 10000 [reserve release]"
	frozen   = "available 7500, frozen 2500 [reserve freeze]"
	sentBack = "available 10000 [reserve settle return]"
)

// scenario is a script of the bank and what must have come of it.
type scenario struct {
	script   []life
	status   payout.Status
	reason   payout.Reason
	money    string
	cases    string        // kinds of the open cases
	payouts  int           // at the bank
	takes    time.Duration // with webhooks, at the least
	most     time.Duration // with webhooks, at the most; zero: takes and a moment
	meantime []glance
	webhooks string // "only": nothing comes of it without
	answers  string // "own": the script says itself how the create is answered
	long     bool   // hundreds of sendings: not repeated for every accident
}

// glance is a look at a run that is not over.
type glance struct {
	at     time.Duration
	status payout.Status
	money  string
	cases  string
}

// moment is what a webhook, its signal and its steps may take.
const moment = 2 * time.Second

// say is the life of an attempt that is decided after 20 seconds.
func say(status string, reason payout.Reason) life {
	return life{words: []word{{after: 5 * time.Second, status: "authorized"}, {after: 20 * time.Second, status: status, reason: reason}}}
}

func failed(reason payout.Reason) life { return say(payout.ProviderFailed, reason) }

var executed = say(payout.ProviderExecuted, "")

// refusal is the life of an attempt that the bank refuses at once.
var refusal = life{answers: []answer{{is: refused}}}

// onFailure is what each reason comes to: a reason without a row fails the
// test.
var onFailure = map[payout.Reason]scenario{
	// Rests of 1, 2, 4 and 8 minutes, each up to a tenth more.
	payout.ReasonInsufficientFunds: {script: []life{failed("insufficient_funds")}, status: payout.StatusFailed, money: credited, cases: "shortage", payouts: 5,
		takes: 5*20*time.Second + 15*time.Minute, most: 5*20*time.Second + 15*time.Minute*11/10},
	// Rests of 10 and 20 minutes.
	payout.ReasonSchemeError: {script: []life{failed("scheme_error")}, status: payout.StatusFailed, money: credited, payouts: 3,
		takes: 3*20*time.Second + 30*time.Minute, most: 3*20*time.Second + 33*time.Minute},
	payout.ReasonServerError: {script: []life{failed("server_error")}, status: payout.StatusFailed, money: credited, payouts: 3,
		takes: 3*20*time.Second + 30*time.Minute, most: 3*20*time.Second + 33*time.Minute},
	payout.ReasonInvalidIBAN:    {script: []life{failed("invalid_iban")}, status: payout.StatusFailed, money: credited, payouts: 1, takes: 20 * time.Second},
	payout.ReasonInvalidScan:    {script: []life{failed("invalid_scan")}, status: payout.StatusFailed, money: credited, payouts: 1, takes: 20 * time.Second},
	payout.ReasonScanConversion: {script: []life{failed("scan_conversion")}, status: payout.StatusFailed, money: credited, payouts: 1, takes: 20 * time.Second},
	payout.ReasonBlocked:        {script: []life{failed("blocked")}, status: payout.StatusFailed, money: frozen, cases: "blocked", payouts: 1, takes: 20 * time.Second},
	payout.ReasonReturned:       {script: []life{failed("returned")}, status: payout.StatusReturned, money: sentBack, payouts: 1, takes: 20 * time.Second},
	payout.ReasonUnknown:        {script: []life{failed("unknown")}, status: payout.StatusFailed, money: credited, payouts: 1, takes: 20 * time.Second},
	payout.ReasonRefused:        {script: []life{refusal}, status: payout.StatusFailed, money: credited, payouts: 0, answers: "own"},
}

// scenarios are the rows above, by name, and more.
func scenarios(t *testing.T) map[string]scenario {
	t.Helper()
	all := map[string]scenario{
		"executed":         {script: []life{executed}, status: payout.StatusExecuted, money: paid, payouts: 1, takes: 20 * time.Second},
		"executed at once": {script: []life{{words: []word{{status: "executed"}}}}, status: payout.StatusExecuted, money: paid, payouts: 1},
		"no funds once, then executed": {script: []life{failed("insufficient_funds"), executed}, status: payout.StatusExecuted, money: paid, payouts: 2,
			takes: 40*time.Second + time.Minute, most: 40*time.Second + 66*time.Second},
		"no funds, then another no": {script: []life{failed("insufficient_funds"), failed("invalid_iban")}, status: payout.StatusFailed, reason: "invalid_iban", money: credited, cases: "shortage", payouts: 2,
			takes: 40*time.Second + time.Minute, most: 40*time.Second + 66*time.Second},
		"no funds, then refused": {script: []life{failed("insufficient_funds"), refusal}, status: payout.StatusFailed, reason: payout.ReasonRefused, money: credited, cases: "shortage", payouts: 1,
			takes: 20*time.Second + time.Minute, most: 20*time.Second + 66*time.Second, answers: "own"},
		"a reason not listed": {script: []life{failed("moon_phase")}, status: payout.StatusFailed, reason: "moon_phase", money: credited, payouts: 1, takes: 20 * time.Second},
		"silence for three days": {script: []life{{words: []word{{after: 73 * time.Hour, status: "executed"}}}}, status: payout.StatusExecuted, money: paid, payouts: 1, takes: 73 * time.Hour,
			meantime: []glance{{25 * time.Hour, payout.StatusPending, held, ""}, {28 * time.Hour, payout.StatusPending, held, "slow"}, {72 * time.Hour, payout.StatusPending, held, "slow"}}},
		"flapping for a day": {script: []life{flapping(24 * time.Hour)}, status: payout.StatusExecuted, money: paid, payouts: 1, takes: 24 * time.Hour,
			meantime: []glance{{23 * time.Hour, payout.StatusAuthorized, held, ""}}},
		"GET lags the event": {script: []life{{words: []word{{after: 20 * time.Second, status: "executed", lag: 20 * time.Second}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: 40 * time.Second, most: 44 * time.Second},
		"GET lags a late event": {script: []life{{words: []word{{after: 10 * time.Hour, status: "executed", lag: 10 * time.Minute}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: 10*time.Hour + 10*time.Minute, most: 10*time.Hour + 15*time.Minute},
		"news overtakes the answer": {script: []life{{answers: []answer{{is: lost}, {is: gone}}, words: []word{{after: 500 * time.Millisecond, status: "executed"}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: time.Second, most: 10 * time.Second, webhooks: "only", answers: "own"},
		"not sent for seven hours": {script: []life{{answers: []answer{{notSent, 7 * time.Hour}, {is: created}}, words: executed.words}},
			long: true, status: payout.StatusExecuted, money: paid, payouts: 1, takes: 7*time.Hour + 20*time.Second, most: 7*time.Hour + 2*time.Minute, answers: "own",
			meantime: []glance{{6*time.Hour + 30*time.Minute, payout.StatusAccepted, held, ""}}},
		"not sent after one that may have arrived": {script: []life{{answers: []answer{{is: lost}, {notSent, time.Hour}, {is: created}}, words: []word{{after: 2 * time.Hour, status: "executed"}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: 2 * time.Hour, answers: "own", most: 2*time.Hour + 5*time.Minute},
		"no answer for three hours": {script: []life{{answers: []answer{{lost, 3 * time.Hour}, {is: created}}, words: []word{{after: 4 * time.Hour, status: "executed"}}}},
			long: true, status: payout.StatusExecuted, money: paid, payouts: 1, takes: 4 * time.Hour, answers: "own", most: 4*time.Hour + 5*time.Minute},
		"no answer for ever, then an event": {script: []life{{answers: []answer{{is: lost}}, words: []word{{after: 6 * time.Hour, status: "executed"}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: 6 * time.Hour, webhooks: "only", answers: "own",
			meantime: []glance{{3 * time.Hour, payout.StatusAccepted, held, ""}, {5 * time.Hour, payout.StatusParked, held, "unknown_outcome"}}},
		"no answer for ever, then the statement shows it": {script: []life{{answers: []answer{{is: lost}, {is: gone}}, words: []word{{after: 6 * time.Hour, status: "executed"}}}},
			long: true, status: payout.StatusExecuted, money: paid, payouts: 1, takes: 6 * time.Hour, most: 7*time.Hour + 5*time.Minute, answers: "own",
			meantime: []glance{{5 * time.Hour, payout.StatusParked, held, "unknown_outcome"}}},
		"no answer for four hours, and the statement has it already": {script: []life{{answers: []answer{{is: lost}, {is: gone}}, words: []word{{after: time.Hour, status: "executed"}}}},
			long: true, status: payout.StatusExecuted, money: paid, payouts: 1, takes: time.Hour, most: 4*time.Hour + 5*time.Minute, answers: "own"},
		"no answer for ever, then an event that GET lags": {script: []life{{answers: []answer{{is: lost}}, words: []word{{after: 6 * time.Hour, status: "executed", lag: 10 * time.Minute}}}},
			long: true, status: payout.StatusExecuted, money: paid, payouts: 1, takes: 6*time.Hour + 10*time.Minute, most: 6*time.Hour + 20*time.Minute, webhooks: "only", answers: "own",
			meantime: []glance{{5 * time.Hour, payout.StatusParked, held, "unknown_outcome"}, {6*time.Hour + 5*time.Minute, payout.StatusPending, held, ""}}},
		"no answer for ever, then an event of its failure": {script: []life{{answers: []answer{{is: lost}}, words: []word{{after: 6 * time.Hour, status: "failed", reason: "invalid_iban"}}}},
			long: true, status: payout.StatusFailed, reason: "invalid_iban", money: credited, payouts: 1, takes: 6 * time.Hour, webhooks: "only", answers: "own",
			meantime: []glance{{5 * time.Hour, payout.StatusParked, held, "unknown_outcome"}}},
		"the key is known with another body": {script: []life{{answers: []answer{{is: lost}, {is: keyReused}}, words: []word{{after: time.Hour, status: "executed"}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: time.Hour, webhooks: "only", answers: "own",
			meantime: []glance{{30 * time.Minute, payout.StatusParked, held, "unknown_outcome"}}},
		"refused after one that may have arrived": {script: []life{{answers: []answer{{is: lost}, {is: refused}}, words: []word{{after: 6 * time.Hour, status: "executed"}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: 6 * time.Hour, webhooks: "only", answers: "own",
			meantime: []glance{{3 * time.Hour, payout.StatusAccepted, held, ""}, {5 * time.Hour, payout.StatusParked, held, "unknown_outcome"}}},
	}
	for _, status := range []string{"", "submitted", "EXECUTED", "failed ", "attempt_failed"} {
		all[fmt.Sprintf("a status not listed: %q", status)] = scenario{script: []life{{words: []word{{after: time.Second, status: status}, {after: 10 * time.Minute, status: "executed"}}}},
			status: payout.StatusExecuted, money: paid, payouts: 1, takes: 10 * time.Minute, meantime: []glance{{9 * time.Minute, payout.StatusPending, held, ""}}}
	}
	for _, reason := range payout.Reasons() {
		sc, ok := onFailure[reason]
		if !ok {
			t.Errorf("reason %q has no row: say what it comes to", reason)
		}
		sc.reason = reason
		all["failed: "+string(reason)] = sc
	}
	return all
}

// flapping is the life of an attempt that is authorized and pending in turns,
// and executed in the end.
func flapping(length time.Duration) life {
	var l life
	for after := time.Minute; after < length; after += time.Hour {
		l.words = append(l.words, word{after: after, status: "authorized"}, word{after: after + 30*time.Minute, status: "pending"})
	}
	l.words = append(l.words, word{after: length, status: "executed"})
	return l
}

// check compares what came of a scenario with what must.
func (sc scenario) check(t *testing.T, s *stage) {
	t.Helper()
	outcome, row := s.ended(), s.row()
	if outcome.Status != sc.status || outcome.Reason != sc.reason {
		t.Errorf("the run says %s %q, want %s %q", outcome.Status, outcome.Reason, sc.status, sc.reason)
	}
	if row.Status != sc.status || row.Reason != sc.reason {
		t.Errorf("the row says %s %q, want %s %q", row.Status, row.Reason, sc.status, sc.reason)
	}
	if got := s.money(); got != sc.money {
		t.Errorf("money: %s\nwant:  %s", got, sc.money)
	}
	if got := s.cases(); got != sc.cases {
		t.Errorf("open cases %q, want %q", got, sc.cases)
	}
	if got := s.bank.count(); got != sc.payouts {
		t.Errorf("%d payouts at the bank, want %d", got, sc.payouts)
	}
	if t.Failed() {
		for _, m := range row.Timeline {
			t.Logf("%12s %-10s %s", m.At.Sub(s.began), m.Status, m.What)
		}
	}
}

func (sc scenario) checkTime(t *testing.T, s *stage, took time.Duration) {
	t.Helper()
	if low, high := sc.span(s.bank.tell != nil); took < low || took > high {
		t.Errorf("it took %s, want %s to %s", took, low, high)
	}
}

// span is how long the run may take. Without webhooks each attempt is seen
// decided later: by half of its age, within POLL_FIRST and POLL_MAX. A lost
// answer costs each attempt a second.
func (sc scenario) span(webhooks bool) (low, high time.Duration) {
	timing := payout.DefaultTiming()
	attempts := time.Duration(max(sc.payouts, 1))
	high = max(sc.takes, sc.most) + attempts*moment
	if !webhooks {
		high += attempts*timing.PollFirst + min(high/2, attempts*timing.PollMax)
	}
	return sc.takes, high
}

func (g glance) check(t *testing.T, s *stage) {
	t.Helper()
	if row := s.row(); row.Status != g.status {
		t.Errorf("after %s: status %s, want %s", g.at, row.Status, g.status)
	}
	if got := s.money(); got != g.money {
		t.Errorf("after %s: money: %s\nwant: %s", g.at, got, g.money)
	}
	if got := s.cases(); got != g.cases {
		t.Errorf("after %s: open cases %q, want %q", g.at, got, g.cases)
	}
}

// withLostAnswers is the script in which the first answer to each create is
// lost, and the same key finds the payout.
func withLostAnswers(script []life) []life {
	var lossy []life
	for _, l := range script {
		lossy = append(lossy, life{answers: []answer{{is: lost}, {is: created}}, words: l.words})
	}
	return lossy
}

func TestPayout(t *testing.T) { testLives(t, payout.KindPayout, scenarios(t)) }

// A refund lives the same life: every row of the table, and the unknown.
func TestRefund(t *testing.T) {
	all := map[string]scenario{}
	for name, sc := range scenarios(t) {
		if _, row := onFailure[sc.reason]; row || sc.status == payout.StatusExecuted && !sc.long && len(sc.meantime) == 0 {
			all[name] = sc
		}
	}
	// A refund of a pay-in that has not settled waits; nobody is asked for a week.
	all["the pay-in settles after five days"] = scenario{script: []life{{words: []word{{after: 5 * 24 * time.Hour, status: "executed"}}}}, status: payout.StatusExecuted, money: paid,
		payouts: 1, takes: 5 * 24 * time.Hour, meantime: []glance{{4 * 24 * time.Hour, payout.StatusPending, held, ""}}}
	all["the pay-in settles after eight days"] = scenario{script: []life{{words: []word{{after: 8 * 24 * time.Hour, status: "executed"}}}}, status: payout.StatusExecuted, money: paid,
		payouts: 1, takes: 8 * 24 * time.Hour, meantime: []glance{{6 * 24 * time.Hour, payout.StatusPending, held, ""}, {7*24*time.Hour + 2*time.Hour, payout.StatusPending, held, "slow"}}}
	testLives(t, payout.KindRefund, all)
}

func testLives(t *testing.T, kind payout.Kind, all map[string]scenario) {
	t.Helper()
	t.Parallel()
	for name, sc := range all {
		for _, by := range []string{"by webhook", "by poll only"} {
			for _, answers := range []string{"first answer", "answer lost"} {
				if (sc.webhooks == "only" && by == "by poll only") || (sc.answers == "own" && answers == "answer lost") {
					continue
				}
				t.Run(name+"/"+by+"/"+answers, func(t *testing.T) {
					t.Parallel()
					script := sc.script
					if answers == "answer lost" {
						script = withLostAnswers(script)
					}
					s := setKind(t, kind, script, by == "by webhook")
					seen := 0
					for _, g := range sc.meantime {
						s.at(g.at, func() { g.check(t, s); seen++ })
					}
					took := s.run()
					sc.check(t, s)
					sc.checkTime(t, s, took)
					if seen != len(sc.meantime) {
						t.Errorf("the run was over after %d of %d glances", seen, len(sc.meantime))
					}
				})
			}
		}
	}
}
