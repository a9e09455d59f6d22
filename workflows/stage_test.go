package workflows

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"payouts/activities"
	"payouts/internal/ledger"
	"payouts/internal/payout"
)

const (
	caller  = "game"
	player  = "ada"
	account = "merchant-gbp"
	payIn   = "payment-1" // what a refund is of
)

var (
	credit = payout.Money{Minor: 10_000, Currency: "GBP"}
	amount = payout.Money{Minor: 2_500, Currency: "GBP"}
)

// stage is one payout on real books, with the real activities, a bank that
// follows a script, and virtual time.
type stage struct {
	t      *testing.T
	env    *testsuite.TestWorkflowEnvironment
	clock  atomic.Pointer[testsuite.TestWorkflowEnvironment] // env, for activities that outlive it
	books  *ledger.Ledger
	parts  activities.Payouts // what the activities are made of
	bank   *bank
	id     payout.ID
	kind   payout.Kind
	began  time.Time
	runs   bool                            // a run is open, and takes signals
	wakes  int                             // signals that news was worth
	steps  int                             // activities that its runs began
	around []interceptor.WorkerInterceptor // of the runs that follow
	unsaid []string                        // steps that no line in the history explains
	shown  []string                        // upserts of the search attributes: status, failure reason ("-": taken away)
}

// set builds a stage. Interceptors stand around every activity.
func set(t *testing.T, script []life, webhooks bool, around ...interceptor.WorkerInterceptor) *stage {
	t.Helper()
	return setKind(t, payout.KindPayout, script, webhooks, around...)
}

func setKind(t *testing.T, kind payout.Kind, script []life, webhooks bool, around ...interceptor.WorkerInterceptor) *stage {
	t.Helper()
	s := &stage{t: t, kind: kind, began: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	s.open(&suite, around)
	s.bank = &bank{now: s.now, script: script, began: s.began, said: map[int]int{}}
	if webhooks {
		s.bank.tell = func(after time.Duration, n payout.News) {
			s.env.RegisterDelayedCallback(func() { s.deliver(n) }, after)
		}
	}
	seal, err := ledger.ReadSeal(strings.NewReader("one AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	s.must(err)
	s.books, err = ledger.Open(context.Background(), ledger.Options{URL: "sqlite:" + filepath.Join(t.TempDir(), "books.db"), Seal: seal, Encode: encode, Now: s.now})
	s.must(err)
	t.Cleanup(func() { s.books.Close() })
	t.Cleanup(func() {
		if len(s.unsaid) > 0 {
			t.Errorf("no summary tells people what these are for: %q", s.unsaid)
		}
	})
	s.accept()
	s.parts = activities.Payouts{Ledger: s.books, Provider: s.bank}
	return s
}

// open makes a test environment that runs for a minute of real time at the most.
func (s *stage) open(suite *testsuite.WorkflowTestSuite, around []interceptor.WorkerInterceptor) {
	s.env = suite.NewTestWorkflowEnvironment()
	s.env.SetStartTime(s.began)
	s.clock.Store(s.env)
	s.env.SetTestTimeout(time.Minute)
	s.env.SetWorkerOptions(worker.Options{Interceptors: append([]interceptor.WorkerInterceptor{&surroundings{stage: s}}, around...)})
}

// again readies another run of the same payout, when the one before is over.
func (s *stage) again() { s.later(0) }

func (s *stage) now() time.Time { return s.clock.Load().Now() }

func (s *stage) accept() {
	ctx := context.Background()
	_, _, err := s.books.Credit(ctx, payout.Movement{Caller: caller, IdempotencyKey: "winnings", PlayerID: player, Money: credit, Reason: "won"})
	s.must(err)
	if s.kind == payout.KindRefund {
		request := payout.RefundRequest{Caller: caller, IdempotencyKey: "payout-1", PlayerID: player, PaymentID: payIn, Money: amount, Reference: "REFUND 1"}
		_, _, err = s.books.AcceptRefund(ctx, request, account)
		s.must(err)
		s.id = request.ID()
		return
	}
	request := payout.Request{Caller: caller, IdempotencyKey: "payout-1", PlayerID: player, Money: amount,
		Beneficiary: payout.Beneficiary{UserID: "user", PaymentSourceID: "source", Reference: "WIN 1"}}
	_, _, err = s.books.Accept(ctx, request, account, true)
	s.must(err)
	s.id = request.ID()
}

// deliver is the gateway: store, and wake the run where that is worth it.
func (s *stage) deliver(n payout.News) {
	stored, err := s.books.StoreNews(context.Background(), n)
	s.must(err)
	if stored.Wake && s.runs {
		s.wakes++
		s.env.SignalWorkflow(SignalNews, News{InboxID: stored.InboxID})
	}
}

// at does something during the run.
func (s *stage) at(after time.Duration, do func()) { s.env.RegisterDelayedCallback(do, after) }

// run lets the payout live and answers how long it took.
func (s *stage) run() time.Duration {
	s.t.Helper()
	Register(s.env, &s.parts, &activities.Sweeper{})
	RegisterProvider(s.env, &s.parts)
	s.runs = true
	s.env.ExecuteWorkflow(map[payout.Kind]string{payout.KindPayout: PayoutWorkflow, payout.KindRefund: RefundWorkflow}[s.kind], Input{PayoutID: s.id, Kind: s.kind})
	return s.env.Now().Sub(s.began)
}

// lateWord lets time pass after the run and something happen, and then runs
// what the worker starts for late word. It fails where the worker would start nothing.
func (s *stage) lateWord(after time.Duration, happens func()) time.Duration {
	s.t.Helper()
	s.later(after)
	happens()
	late, err := s.books.LateNews(context.Background(), 10)
	s.must(err)
	if len(late) != 1 || late[0].ID != s.id || !late[0].Late() {
		s.t.Fatalf("late news of %+v, want this payout's, %s", late, s.id)
	}
	Register(s.env, &s.parts, &activities.Sweeper{})
	RegisterProvider(s.env, &s.parts)
	s.runs = true
	s.env.ExecuteWorkflow(LateWordWorkflow, Input{PayoutID: s.id, Kind: s.kind})
	return s.env.Now().Sub(s.began)
}

// later readies another run, when the one before is over and time has passed.
func (s *stage) later(after time.Duration) {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	s.runs, s.began = false, s.env.Now().Add(after)
	s.open(&suite, s.around)
}

// ended checks that the run is over, without an error, and says what it said.
func (s *stage) ended() Outcome {
	s.t.Helper()
	if !s.env.IsWorkflowCompleted() {
		s.t.Fatal("the run is not over")
	}
	var outcome Outcome
	if err := s.env.GetWorkflowResult(&outcome); err != nil {
		s.t.Fatalf("the run ended with %v", err)
	}
	return outcome
}

func (s *stage) row() ledger.Payout {
	s.t.Helper()
	p, err := s.books.Payout(context.Background(), caller, s.kind, s.id)
	s.must(err)
	return p
}

// money tells where it is and what was booked for it, and checks every law of
// the books.
func (s *stage) money() string {
	s.t.Helper()
	ctx := context.Background()
	laws, err := s.books.Check(ctx)
	s.must(err)
	for _, law := range laws {
		if law.Violations > 0 {
			s.t.Errorf("the books break %q %d times: %v", law.Statement, law.Violations, law.Examples)
		}
	}
	_, err = s.books.SealPositions(ctx, 1000)
	s.must(err)
	list, err := s.books.Transactions(ctx, 0, 1000)
	s.must(err)
	var booked []string
	sums := map[string]int64{}
	for _, t := range list {
		sums[t.From] -= t.Money.Minor
		sums[t.To] += t.Money.Minor
		if t.PayoutID == s.id {
			booked = append(booked, string(t.Kind))
		}
	}
	balances, err := s.books.Balances(ctx, caller, player)
	s.must(err)
	if len(balances) != 1 {
		s.t.Fatalf("balances: %+v, want one currency", balances)
	}
	var places []string
	add := func(name string, minor int64) {
		if minor != 0 {
			places = append(places, fmt.Sprintf("%s %d", name, minor))
		}
	}
	add("available", balances[0].Available)
	add("held", balances[0].Held)
	add("frozen", balances[0].Frozen)
	add("merchant", sums["merchant:"+account])
	add("exposure", sums["house:exposure"])
	add("fees", sums["house:fees"])
	return fmt.Sprintf("%s %v", strings.Join(places, ", "), booked)
}

// cases lists the kinds of the open cases, sorted.
func (s *stage) cases() string {
	s.t.Helper()
	list, _, err := s.books.Cases(context.Background(), ledger.CaseFilter{Status: "open"})
	s.must(err)
	var kinds []string
	for _, c := range list {
		kinds = append(kinds, string(c.Kind))
	}
	slices.Sort(kinds)
	return strings.Join(kinds, " ")
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// surroundings lift the limit of 10 attempts that the test environment sets
// where an activity has none, note what the search attributes show, and hold
// that people are told what each step is for.
type surroundings struct {
	interceptor.WorkerInterceptorBase
	stage *stage
}

func (w *surroundings) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &inbound{stage: w.stage}
	in.Next = next
	return in
}

type inbound struct {
	interceptor.WorkflowInboundInterceptorBase
	stage *stage
}

func (in *inbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	own := &outbound{stage: in.stage}
	own.Next = out
	return in.Next.Init(own)
}

type outbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	stage *stage
}

func (out *outbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	// No payout here needs more than 40: a run in circles would never end.
	if out.stage.steps++; out.stage.steps > 1_000 {
		panic("the run goes in circles")
	}
	if workflow.GetActivityOptions(ctx).Summary == "" {
		out.stage.unsaid = append(out.stage.unsaid, name)
	}
	policy := *workflow.GetActivityOptions(ctx).RetryPolicy
	if policy.MaximumAttempts == 0 {
		policy.MaximumAttempts = math.MaxInt32
	}
	return out.Next.ExecuteActivity(workflow.WithRetryPolicy(ctx, policy), name, args...)
}

func (out *outbound) NewTimerWithOptions(ctx workflow.Context, d time.Duration, options workflow.TimerOptions) workflow.Future {
	if options.Summary == "" {
		out.stage.unsaid = append(out.stage.unsaid, "a timer of "+d.String())
	}
	return out.Next.NewTimerWithOptions(ctx, d, options)
}

func (out *outbound) UpsertTypedSearchAttributes(ctx workflow.Context, updates ...temporal.SearchAttributeUpdate) error {
	set := temporal.NewSearchAttributes(updates...)
	status, _ := set.GetKeyword(AttributeStatus)
	reason, _ := set.GetKeyword(AttributeFailureReason)
	if status != "" && reason == "" && len(updates) > 1 {
		reason = "-"
	}
	out.stage.shown = append(out.stage.shown, strings.TrimSpace(status+" "+reason))
	return out.Next.UpsertTypedSearchAttributes(ctx, updates...)
}
