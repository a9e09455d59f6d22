package workflows

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"payouts/activities"
	"payouts/internal/payout"
)

// Every step repeats, every step fails: the books read as after one call.

// short are the scenarios that are not long.
func short(t *testing.T) map[string]scenario {
	all := scenarios(t)
	maps.DeleteFunc(all, func(_ string, sc scenario) bool { return sc.long })
	return all
}

// around stands around every activity.
type around struct {
	interceptor.WorkerInterceptorBase
	do func(name string, work func() (any, error)) (any, error)
}

func (a *around) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	in := &aroundInbound{do: a.do}
	in.Next = next
	return in
}

type aroundInbound struct {
	interceptor.ActivityInboundInterceptorBase
	do func(name string, work func() (any, error)) (any, error)
}

func (in *aroundInbound) ExecuteActivity(ctx context.Context, input *interceptor.ExecuteActivityInput) (any, error) {
	return in.do(activity.GetInfo(ctx).ActivityType.Name, func() (any, error) { return in.Next.ExecuteActivity(ctx, input) })
}

// losing does the work of the activities that are named, and then loses the
// answer, once each.
func losing(names ...string) (*around, func() []string) {
	var mu sync.Mutex
	var lost []string
	left := map[string]bool{}
	for _, name := range names {
		left[name] = true
	}
	return &around{do: func(name string, work func() (any, error)) (any, error) {
			answer, err := work()
			mu.Lock()
			defer mu.Unlock()
			if err == nil && left[name] {
				delete(left, name)
				lost = append(lost, name)
				return nil, errors.New("the worker died before it could say so")
			}
			return answer, err
		}}, func() []string {
			mu.Lock()
			defer mu.Unlock()
			return lost
		}
}

func everyActivity() []string { return slices.Sorted(maps.Keys(options)) }

func TestAnswerOfEveryActivityLost(t *testing.T) {
	t.Parallel()
	where := map[string]struct {
		kind     payout.Kind
		scenario string
		webhooks bool
	}{
		activityCreatePayout:    {payout.KindPayout, "executed", true},
		activityReconcilePayout: {payout.KindPayout, "executed", true},
		activityPollPayout:      {payout.KindPayout, "executed", false},
		activityCreateRefund:    {payout.KindRefund, "executed", true},
		activityReconcileRefund: {payout.KindRefund, "executed", true},
		activityPollRefund:      {payout.KindRefund, "executed", false},
		activityTryAgain:        {payout.KindPayout, "no funds once, then executed", true},
		activityReleaseHold:     {payout.KindPayout, "failed: invalid_iban", true},
		activityFreezeHold:      {payout.KindPayout, "failed: blocked", true},
		activityBookReturn:      {payout.KindPayout, "failed: returned", true},
		activityOpenCase:        {payout.KindPayout, "no answer for ever, then an event", true},
	}
	for name := range options {
		at, ok := where[name]
		if !ok {
			t.Errorf("%s: name a scenario in which it runs", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc := scenarios(t)[at.scenario]
			decorator, lost := losing(name)
			s := setKind(t, at.kind, sc.script, at.webhooks, decorator)
			s.run()
			sc.check(t, s)
			if len(lost()) != 1 {
				t.Errorf("%s answered %d times, the scenario %q does not use it", name, len(lost()), at.scenario)
			}
		})
	}
	for name, sc := range short(t) {
		t.Run("all of them/"+name, func(t *testing.T) {
			t.Parallel()
			decorator, _ := losing(everyActivity()...)
			s := set(t, sc.script, true, decorator)
			s.run()
			sc.check(t, s)
		})
	}
}

// Two runs of one payout do every step at the same time.
func TestTwoRunsOfOnePayout(t *testing.T) {
	t.Parallel()
	for name, sc := range short(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			twice := &around{do: func(_ string, work func() (any, error)) (any, error) {
				var wait sync.WaitGroup
				wait.Go(func() { work() })
				answer, err := work()
				wait.Wait()
				return answer, err
			}}
			s := set(t, sc.script, true, twice)
			s.run()
			sc.check(t, s)
		})
	}
}

// shaky are books that fail once in each call: before the work, or after it.
type shaky struct {
	activities.Ledger
	after bool

	mu     sync.Mutex
	failed map[string]bool
}

func once[T any](s *shaky, name string, work func() (T, error)) (T, error) {
	s.mu.Lock()
	first := !s.failed[name]
	s.failed[name] = true
	s.mu.Unlock()
	var none T
	if first && !s.after {
		return none, fmt.Errorf("%s: no connection to the database", name)
	}
	answer, err := work()
	if first && err == nil {
		return none, fmt.Errorf("%s: the connection broke while it was committed", name)
	}
	return answer, err
}

func (s *shaky) OpenSend(ctx context.Context, id payout.ID, expires time.Time) (send payout.Send, _ payout.Position, _ error) {
	at, err := once(s, "OpenSend", func() (at payout.Position, err error) {
		send, at, err = s.Ledger.OpenSend(ctx, id, expires)
		return at, err
	})
	if err != nil {
		send = payout.Send{}
	}
	return send, at, err
}

func (s *shaky) CloseSend(ctx context.Context, send payout.Send, c payout.Created) (payout.Position, error) {
	return once(s, "CloseSend", func() (payout.Position, error) { return s.Ledger.CloseSend(ctx, send, c) })
}

func (s *shaky) Read(ctx context.Context, id payout.ID) (payout.Asking, error) {
	return once(s, "Read", func() (payout.Asking, error) { return s.Ledger.Read(ctx, id) })
}

func (s *shaky) Judge(ctx context.Context, id payout.ID, heard payout.Heard) (payout.Position, error) {
	return once(s, "Judge", func() (payout.Position, error) { return s.Ledger.Judge(ctx, id, heard) })
}

func (s *shaky) Earlier(ctx context.Context, id payout.ID) ([]payout.Ask, error) {
	return once(s, "Earlier", func() ([]payout.Ask, error) { return s.Ledger.Earlier(ctx, id) })
}

func (s *shaky) TryAgain(ctx context.Context, id payout.ID, words []payout.Asked) (payout.Position, error) {
	return once(s, "TryAgain", func() (payout.Position, error) { return s.Ledger.TryAgain(ctx, id, words) })
}

func (s *shaky) Release(ctx context.Context, id payout.ID) (payout.Position, error) {
	return once(s, "Release", func() (payout.Position, error) { return s.Ledger.Release(ctx, id) })
}

func (s *shaky) Freeze(ctx context.Context, id payout.ID) (payout.Position, error) {
	return once(s, "Freeze", func() (payout.Position, error) { return s.Ledger.Freeze(ctx, id) })
}

func (s *shaky) Return(ctx context.Context, id payout.ID) (payout.Position, error) {
	return once(s, "Return", func() (payout.Position, error) { return s.Ledger.Return(ctx, id) })
}

func (s *shaky) OpenCase(ctx context.Context, id payout.ID) (payout.Position, error) {
	return once(s, "OpenCase", func() (payout.Position, error) { return s.Ledger.OpenCase(ctx, id) })
}

// brokenOff is the scenario in which nothing at the bank ever explains a
// sending that was broken off: it may have arrived, so a person must look.
const brokenOff = "failed: refused"

func TestDatabaseFailsOnceInEveryCall(t *testing.T) {
	t.Parallel()
	for name, sc := range short(t) {
		for _, when := range []string{"before the work", "after the commit"} {
			t.Run(name+"/"+when, func(t *testing.T) {
				t.Parallel()
				s := set(t, sc.script, true)
				s.parts.Ledger = &shaky{Ledger: s.books, after: when == "after the commit", failed: map[string]bool{}}
				if name == brokenOff {
					s.env.SetWorkflowRunTimeout(100 * time.Hour)
					if s.run(); s.row().Status != payout.StatusParked || s.money() != held || s.cases() != "unknown_outcome" {
						t.Errorf("%s, %s, cases %q; want it parked, the money held", s.row().Status, s.money(), s.cases())
					}
					return
				}
				s.run()
				sc.check(t, s)
			})
		}
	}
}
