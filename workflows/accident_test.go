package workflows

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"payouts/internal/payout"
)

// What happens to runs is an accident, never a verdict: none of it moves money.

func TestCancelMovesNoMoney(t *testing.T) {
	t.Parallel()
	s := set(t, []life{executed}, true)
	s.at(3*time.Second, s.env.CancelWorkflow)
	s.at(4*time.Second, func() {
		if got := s.money(); got != held {
			t.Errorf("money after the cancel: %s, want %s", got, held)
		}
		if got := s.details(); !strings.Contains(got, "**Cancel:** it was asked for and is ignored") {
			t.Errorf("the details do not speak of the cancel:\n%s", got)
		}
	})
	took := s.run()
	sc := scenario{status: payout.StatusExecuted, money: paid, payouts: 1, takes: 20 * time.Second}
	sc.check(t, s)
	sc.checkTime(t, s, took)
}

func TestSilenceOfTheBankNeverGivesMoneyBack(t *testing.T) {
	t.Parallel()
	s := set(t, []life{{answers: []answer{{is: gone}}}}, true)
	s.env.SetWorkflowRunTimeout(100 * time.Hour)
	s.run()
	if err := s.env.GetWorkflowError(); err == nil {
		t.Error("the run ended by itself")
	}
	if row := s.row(); row.Status != payout.StatusParked || s.money() != held || s.cases() != "unknown_outcome" {
		t.Errorf("%s, %s, cases %q; want it parked, the money held, a case of an unknown outcome", row.Status, s.money(), s.cases())
	}
	// A second run adopts it, and asks nobody twice.
	s.again()
	s.env.SetWorkflowRunTimeout(time.Hour)
	s.at(time.Minute, func() {
		if got := s.state().Position; got.Status != payout.StatusParked || got.CaseID == "" {
			t.Errorf("the second run stands at %+v, want parked with its case", got)
		}
	})
	s.run()
	if s.money() != held || s.cases() != "unknown_outcome" || s.bank.count() != 0 {
		t.Errorf("after a second run: %s, cases %q", s.money(), s.cases())
	}
}

func TestStartedOnAFinalRow(t *testing.T) {
	t.Parallel()
	for name, sc := range map[string]scenario{
		"executed": {script: []life{executed}, status: payout.StatusExecuted, money: paid, payouts: 1},
		"failed":   {script: []life{refusal}, status: payout.StatusFailed, reason: payout.ReasonRefused, money: credited},
		"frozen":   {script: []life{failed("blocked")}, status: payout.StatusFailed, reason: "blocked", money: frozen, cases: "blocked", payouts: 1},
		"returned": {script: []life{failed("returned")}, status: payout.StatusReturned, reason: "returned", money: sentBack, payouts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := set(t, sc.script, true)
			s.run()
			before := s.row()
			s.again()
			s.bank.noToken = true // which a run with nothing to do does not need
			took := s.run()
			sc.check(t, s)
			if took != 0 {
				t.Errorf("a run on a final row took %s", took)
			}
			if after := s.row(); after.Version != before.Version || len(after.Timeline) != len(before.Timeline) {
				t.Errorf("a run on a final row changed it: %+v", after)
			}
		})
	}
}

func TestStartedOnARestingRow(t *testing.T) {
	t.Parallel()
	s := set(t, []life{failed("insufficient_funds"), executed}, true)
	s.env.SetWorkflowRunTimeout(40 * time.Second) // the rest lasts from 20 s to at least 80 s
	s.run()
	row := s.row()
	if row.Step != payout.StepTryAgain {
		t.Fatalf("the first run ended at %s, want it at rest", row.Step)
	}
	rest := row.NextStepAt.Sub(s.env.Now())
	s.again()
	took := s.run()
	sc := scenario{status: payout.StatusExecuted, money: paid, payouts: 2, takes: rest + 20*time.Second}
	sc.check(t, s)
	sc.checkTime(t, s, took)
}

// A run that is ended at any second and started again comes to the same.
func TestTerminatedAtAnySecond(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"executed", "no funds once, then executed", "failed: returned", "failed: refused", "failed: blocked"} {
		sc := scenarios(t)[name]
		for _, every := range []time.Duration{500 * time.Millisecond, 7 * time.Second, 25 * time.Second} {
			t.Run(fmt.Sprintf("%s/every %s", name, every), func(t *testing.T) {
				t.Parallel()
				s := set(t, withLostAnswers(sc.script), true)
				if sc.answers == "own" {
					s.bank.script = sc.script
				}
				for ended := false; !ended; {
					s.env.SetWorkflowRunTimeout(every)
					s.run()
					if ended = s.env.GetWorkflowError() == nil; !ended {
						s.again()
					}
				}
				sc.check(t, s)
			})
		}
	}
}

func TestManyEvents(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		events int
		event  func(news payout.News, n int) payout.News
	}{
		"one event repeated": {10_000, func(news payout.News, _ int) payout.News { return news }},
		"all of them new":    {1_000, func(news payout.News, n int) payout.News { news.EventID = fmt.Sprint(n); return news }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := set(t, []life{executed}, true)
			const batches = 10
			stored := 0
			for b := range batches { // within the seconds before the bank executes
				s.at(16*time.Second+time.Duration(b)*400*time.Millisecond, func() {
					news := s.bank.first().event("0", word{status: payout.ProviderExecuted})
					for range row.events / batches {
						s.deliver(row.event(news, stored))
						stored++
					}
				})
			}
			s.run()
			scenario{status: payout.StatusExecuted, money: paid, payouts: 1}.check(t, s)
			if stored != row.events {
				t.Errorf("%d events came before the end, want %d", stored, row.events)
			}
			if s.wakes > batches+1 {
				t.Errorf("%d events were %d signals, want one for each time that they were read", stored, s.wakes)
			}
		})
	}
}

// The bank sends the money back in the moment in which the run sees it paid:
// news that comes while the run ends is not lost.
func TestNewsWhileItEnds(t *testing.T) {
	t.Parallel()
	var s *stage
	var first sync.Once
	s = set(t, []life{executed}, true, &around{do: func(name string, work func() (any, error)) (any, error) {
		answer, err := work()
		if name == activityReconcilePayout {
			first.Do(func() { s.deliver(s.bank.sendBack()) })
		}
		return answer, err
	}})
	s.run()
	scenario{status: payout.StatusReturned, reason: payout.ReasonReturned, money: sentBack, payouts: 1}.check(t, s)
}

// What a run costs: each activity and each timer is paid for.
func TestCost(t *testing.T) {
	t.Parallel()
	t.Run("the happy path asks once", func(t *testing.T) {
		t.Parallel()
		s := set(t, []life{executed}, true)
		if s.run(); s.steps != 2 {
			t.Errorf("%d activities, want the create and one question", s.steps)
		}
	})
	t.Run("many signals are one question", func(t *testing.T) {
		t.Parallel()
		s := set(t, []life{executed}, true)
		s.at(10*time.Second, func() {
			for n := range 100 {
				s.env.SignalWorkflow(SignalNews, News{InboxID: fmt.Sprint(n)})
			}
		})
		if s.run(); s.steps > 4 {
			t.Errorf("%d activities, want the create, a question or two, and the last one", s.steps)
		}
	})
	t.Run("polling for days is one activity", func(t *testing.T) {
		t.Parallel()
		s := set(t, []life{{words: []word{{after: 73 * time.Hour, status: "executed"}}}}, false)
		if s.run(); s.steps != 2 {
			t.Errorf("%d activities, want the create and one poll", s.steps)
		}
	})
}

func TestLook(t *testing.T) {
	t.Parallel()
	// Decided after a minute, seen by poll after an hour or so, unless a
	// person asks.
	s := set(t, []life{{words: []word{{after: 10 * time.Hour, status: "authorized"}, {after: 10*time.Hour + time.Minute, status: "executed"}}}}, false)
	s.at(10*time.Hour+2*time.Minute, func() { s.env.UpdateWorkflowNoRejection(UpdateLook, "look-1", t) })
	took := s.run()
	sc := scenario{status: payout.StatusExecuted, money: paid, payouts: 1, takes: 10*time.Hour + 2*time.Minute}
	sc.check(t, s)
	if took > sc.takes+moment {
		t.Errorf("it took %s, want the look at %s to end it", took, sc.takes)
	}
}

// People may send a run anything by hand, with anything in it: all that it can
// mean is that the bank is asked.
func TestNonsenseSentByHand(t *testing.T) {
	t.Parallel()
	decision := map[string]string{"action": "never_created", "decision": "approve", "status": "failed"}
	unreadable := converter.NewRawValue(&commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("unheard/of")}, Data: []byte{0xff, 0}})
	for name, sc := range map[string]scenario{
		"executed":       {script: []life{executed}, status: payout.StatusExecuted, money: paid, payouts: 1},
		"failed":         {script: []life{failed("invalid_iban")}, status: payout.StatusFailed, reason: "invalid_iban", money: credited, payouts: 1},
		"rests, is paid": {script: []life{failed("insufficient_funds"), executed}, status: payout.StatusExecuted, money: paid, payouts: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := set(t, sc.script, true)
			for at := range 5 {
				s.at(time.Duration(1+7*at)*time.Second, func() {
					before := s.money()
					for _, with := range []any{nil, 17, decision, unreadable} {
						s.env.SignalWorkflow(SignalNews, with)
						s.env.SignalWorkflow("approve", with)
						s.env.UpdateWorkflowNoRejection(UpdateLook, fmt.Sprintf("look-%d-%v", at, with), t, with)
					}
					if got := s.money(); got != before {
						t.Errorf("money after what was sent by hand: %s, before %s", got, before)
					}
				})
			}
			s.run()
			sc.check(t, s)
		})
	}
}

func (s *stage) state() State {
	s.t.Helper()
	answer, err := s.env.QueryWorkflow(QueryState)
	s.must(err)
	var state State
	s.must(answer.Get(&state))
	return state
}

func TestState(t *testing.T) {
	t.Parallel()
	s := set(t, []life{failed("insufficient_funds"), executed}, true)
	for at, want := range map[time.Duration]payout.Position{
		10 * time.Second:  {Status: payout.StatusPending, Step: payout.StepWait, Attempt: 1},
		30 * time.Second:  {Status: payout.StatusPending, Step: payout.StepTryAgain, Attempt: 1, Reason: payout.ReasonInsufficientFunds},
		100 * time.Second: {Status: payout.StatusPending, Step: payout.StepWait, Attempt: 2},
	} {
		s.at(at, func() {
			got := s.state()
			if got.Position.Wait <= 0 {
				t.Errorf("after %s: waits for %s, want a time", at, got.Position.Wait)
			}
			got.Position.Wait = 0
			if got.PayoutID != s.id || got.Position != want {
				t.Errorf("after %s: %+v, want %+v", at, got, want)
			}
		})
	}
	s.run()
	if got := s.state().Position; got.Status != payout.StatusExecuted || got.Step != payout.StepDone {
		t.Errorf("in the end: %+v", got)
	}
}
