package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"payouts/activities"
	"payouts/internal/payout"
	"payouts/workflows"
)

// The test environment would run each workflow in a world of its own, and
// activities in goroutines of real time. Here one workflow hosts all runs, each
// a coroutine, and an interceptor takes over what they wait for: steps take
// virtual time, one after the other, and can freeze in the middle while all else
// goes on. Retries, time-outs and answers that come too late are as the
// server's.

func (s *storm) worker() worker.Options {
	return worker.Options{Interceptors: []interceptor.WorkerInterceptor{&stormInterceptor{s: s}}}
}

type stormInterceptor struct {
	interceptor.WorkerInterceptorBase
	s *storm
}

func (i *stormInterceptor) InterceptWorkflow(_ workflow.Context, next interceptor.WorkflowInboundInterceptor) interceptor.WorkflowInboundInterceptor {
	in := &stormInbound{s: i.s}
	in.Next = next
	return in
}

type stormInbound struct {
	interceptor.WorkflowInboundInterceptorBase
	s *storm
}

func (in *stormInbound) Init(out interceptor.WorkflowOutboundInterceptor) error {
	own := &stormOutbound{s: in.s}
	own.Next = out
	return in.Next.Init(own)
}

type stormOutbound struct {
	interceptor.WorkflowOutboundInterceptorBase
	s *storm
}

// oneRun is one run of a workflow, and what it cost.
type oneRun struct {
	id                          string
	payout                      *followed
	of                          func(workflow.Context, workflows.Input) (workflows.Outcome, error)
	news                        workflow.Channel
	killed                      bool
	activities, timers, signals int
}

type runKey struct{}

func runOf(ctx workflow.Context) *oneRun { return ctx.Value(runKey{}).(*oneRun) }

// GetSignalChannelWithOptions gives each run its own news.
func (out *stormOutbound) GetSignalChannelWithOptions(ctx workflow.Context, _ string, _ workflow.SignalChannelOptions) workflow.ReceiveChannel {
	return runOf(ctx).news
}

// What people see and ask of a run is tested elsewhere.

func (out *stormOutbound) SetQueryHandlerWithOptions(workflow.Context, string, any, workflow.QueryHandlerOptions) error {
	return nil
}

func (out *stormOutbound) SetUpdateHandler(workflow.Context, string, any, workflow.UpdateHandlerOptions) error {
	return nil
}

func (out *stormOutbound) UpsertTypedSearchAttributes(workflow.Context, ...temporal.SearchAttributeUpdate) error {
	return nil
}

func (out *stormOutbound) NewTimerWithOptions(ctx workflow.Context, d time.Duration, _ workflow.TimerOptions) workflow.Future {
	run := runOf(ctx)
	run.timers++
	w := out.wait(ctx, run)
	out.s.after(d, func() { w.end(nil, nil) })
	return w.future
}

func (out *stormOutbound) ExecuteActivity(ctx workflow.Context, name string, args ...any) workflow.Future {
	run := runOf(ctx)
	if run.activities++; run.activities > 1_000 {
		panic("the run goes in circles")
	}
	st := &step{s: out.s, name: name, in: args[0].(activities.Input), run: run, options: workflow.GetActivityOptions(ctx), wait: out.wait(ctx, run)}
	out.s.after(0, st.try)
	return st.wait.future
}

// wait is what a run waits for: until it ends, is cancelled, or the run is
// killed.
type wait struct {
	run    *oneRun
	future workflow.Future
	set    workflow.Settable
	over   bool
}

func (out *stormOutbound) wait(ctx workflow.Context, run *oneRun) *wait {
	w := &wait{run: run}
	w.future, w.set = workflow.NewFuture(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		w.end(nil, temporal.NewCanceledError())
	})
	return w
}

func (w *wait) dead() bool { return w.over || w.run.killed }

func (w *wait) end(value any, err error) {
	if !w.dead() {
		w.over = true
		w.set.Set(value, err)
	}
}

// step is an activity that a run waits for, over all its tries.
type step struct {
	s       *storm
	name    string
	in      activities.Input
	run     *oneRun
	options workflow.ActivityOptions
	wait    *wait
	tries   int
}

// try hands the step to a worker.
func (st *step) try() {
	if st.wait.dead() { // the server tries no more
		return
	}
	st.tries++
	w := st.s.begin(st.name, st.in, st.run.payout)
	w.answer = func(at payout.Position, err error) {
		switch {
		case w.late:
		case err != nil:
			st.again(err)
		default:
			st.wait.end(at, nil)
		}
	}
	w.resume()
	if w.state == finished && !w.died {
		return
	}
	limit := st.options.StartToCloseTimeout
	if beat := st.options.HeartbeatTimeout; beat > 0 {
		limit = min(limit, beat)
	}
	st.s.after(limit, func() {
		if w.state != finished || w.died { // the server heard nothing for so long
			w.late = true
			st.again(errors.New("timed out"))
		}
	})
}

// again tries once more after the pause that the policy or the error sets, or
// tells the run that the error is final.
func (st *step) again(err error) {
	policy := st.options.RetryPolicy
	pause := policy.InitialInterval
	for range st.tries - 1 {
		if pause = time.Duration(float64(pause) * policy.BackoffCoefficient); pause >= policy.MaximumInterval {
			pause = policy.MaximumInterval
			break
		}
	}
	if said := new(temporal.ApplicationError); errors.As(err, &said) {
		if said.NonRetryable() {
			st.wait.end(nil, err)
			return
		}
		if said.NextRetryDelay() > 0 {
			pause = said.NextRetryDelay()
		}
		// These name a moment of our clock, and reckon their pause by the real one.
		if words := strings.Fields(said.Message()); said.Type() == "braked" || said.Type() == "in_flight" {
			until, err := time.Parse(time.RFC3339, words[len(words)-1])
			st.s.must(err)
			pause = max(until.Sub(st.s.now()), time.Second)
		}
	}
	st.s.after(pause, st.try)
}

// work is one try of an activity on a worker: a goroutine that runs only while
// all others wait, and that can stop at any call it makes.
type work struct {
	s      *storm
	name   string
	in     activities.Input
	p      *followed
	goOn   chan bool // false: end
	halted chan struct{}
	state  workState
	died   bool // its process is gone
	late   bool // the server gave it up
	spared bool // no accident happens to it
	at     payout.Position
	err    error
	answer func(payout.Position, error)
}

type workState int

const (
	awake workState = iota
	iced
	finished
)

var errDied = errors.New("the worker died")

// begin readies one try of an activity.
func (s *storm) begin(name string, in activities.Input, p *followed) *work {
	w := &work{s: s, name: name, in: in, p: p, goOn: make(chan bool), halted: make(chan struct{}), spared: !s.calm.IsZero()}
	go func() {
		defer func() { w.state = finished; w.halted <- struct{}{} }()
		<-w.goOn
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
		env := suite.NewTestActivityEnvironment()
		env.RegisterActivity(&s.parts)
		var value converter.EncodedValue
		if value, w.err = env.ExecuteActivity(name, in); w.err == nil {
			w.err = value.Get(&w.at)
		}
	}()
	return w
}

// resume lets it go on until it freezes or ends.
func (w *work) resume() {
	before := w.s.work
	w.s.work, w.state = w, awake
	w.goOn <- true
	<-w.halted
	w.s.work = before
	if w.state != finished {
		return
	}
	if w.err == nil {
		w.s.tell("P%d %s → %s, %s in %s, attempt %d %s", w.p.n+1, w.name, w.at.Status, w.at.Step, w.at.Wait.Round(time.Millisecond), w.at.Attempt, w.at.Reason)
	} else {
		w.s.tell("P%d %s: %s", w.p.n+1, w.name, plain(w.err))
	}
	if !w.died && w.answer != nil {
		w.answer(w.at, w.err)
	}
}

// plain is an error for a reader, without what differs each time.
func plain(err error) string {
	why := err.Error()
	if said := new(temporal.ApplicationError); errors.As(err, &said) {
		why = said.Type() + ": " + said.Message()
	}
	why, _, _ = strings.Cut(why, ", trace id")
	why, _, _ = strings.Cut(why, "\n")
	why, _, _ = strings.Cut(why, ": read tcp")
	return why
}

// freeze is called on the work's own goroutine.
func (w *work) freeze(d time.Duration) {
	w.state = iced
	w.s.frozen = append(w.s.frozen, w)
	w.s.after(d, func() {
		if i := slices.Index(w.s.frozen, w); i >= 0 {
			w.s.frozen = slices.Delete(w.s.frozen, i, i+1)
			w.s.tell("P%d %s goes on", w.p.n+1, w.name)
			w.resume()
		}
	})
	w.halted <- struct{}{}
	if !<-w.goOn {
		runtime.Goexit()
	}
}

// stop ends what is frozen for ever.
func (w *work) stop() {
	w.goOn <- false
	<-w.halted
}

// pass is called before and after every call that an activity makes: here its
// accidents happen. An error is the call's.
func (s *storm) pass(call, when string) error {
	w := s.work
	if w.spared {
		return nil
	}
	n := w.p.points
	w.p.points++
	for _, a := range w.p.Accidents {
		if a.Point != n {
			continue
		}
		s.tell("P%d %s: %s %s: %s %s", w.p.n+1, w.name, when, call, a.What, a.For)
		switch a.What {
		case breaks:
			return fmt.Errorf("%s: the connection broke", call)
		case dies:
			w.died = true
			panic(errDied)
		case freezes:
			w.freeze(a.For)
		case overtaken:
			other := s.begin(w.name, w.in, w.p)
			other.spared = true
			other.resume()
		}
	}
	return nil
}

// shaken makes a call with its accidents: before it nothing is done, after it
// all is, and nobody hears of it.
func shaken[T any](s *storm, call string, do func() (T, error)) (T, error) {
	var none T
	if err := s.pass(call, "before"); err != nil {
		return none, err
	}
	got, err := do()
	if broke := s.pass(call, "after"); broke != nil && err == nil {
		return none, broke
	}
	return got, err
}

// shakyBooks are the real books over a connection that has accidents.
type shakyBooks struct {
	activities.Ledger
	s *storm
}

func (b *shakyBooks) OpenSend(ctx context.Context, id payout.ID, expires time.Time) (send payout.Send, _ payout.Position, _ error) {
	at, err := shaken(b.s, "OpenSend", func() (at payout.Position, err error) {
		send, at, err = b.Ledger.OpenSend(ctx, id, expires)
		return at, err
	})
	if err != nil {
		send = payout.Send{}
	}
	return send, at, err
}

func (b *shakyBooks) CloseSend(ctx context.Context, send payout.Send, c payout.Created) (payout.Position, error) {
	return shaken(b.s, "CloseSend", func() (payout.Position, error) { return b.Ledger.CloseSend(ctx, send, c) })
}

func (b *shakyBooks) Read(ctx context.Context, id payout.ID) (payout.Asking, error) {
	return shaken(b.s, "Read", func() (payout.Asking, error) { return b.Ledger.Read(ctx, id) })
}

func (b *shakyBooks) Judge(ctx context.Context, id payout.ID, heard payout.Heard) (payout.Position, error) {
	return shaken(b.s, "Judge", func() (payout.Position, error) { return b.Ledger.Judge(ctx, id, heard) })
}

func (b *shakyBooks) Earlier(ctx context.Context, id payout.ID) ([]payout.Ask, error) {
	return shaken(b.s, "Earlier", func() ([]payout.Ask, error) { return b.Ledger.Earlier(ctx, id) })
}

func (b *shakyBooks) TryAgain(ctx context.Context, id payout.ID, words []payout.Asked) (payout.Position, error) {
	return shaken(b.s, "TryAgain", func() (payout.Position, error) { return b.Ledger.TryAgain(ctx, id, words) })
}

func (b *shakyBooks) Release(ctx context.Context, id payout.ID) (payout.Position, error) {
	return shaken(b.s, "Release", func() (payout.Position, error) { return b.Ledger.Release(ctx, id) })
}

func (b *shakyBooks) Freeze(ctx context.Context, id payout.ID) (payout.Position, error) {
	return shaken(b.s, "Freeze", func() (payout.Position, error) { return b.Ledger.Freeze(ctx, id) })
}

func (b *shakyBooks) Return(ctx context.Context, id payout.ID) (payout.Position, error) {
	return shaken(b.s, "Return", func() (payout.Position, error) { return b.Ledger.Return(ctx, id) })
}

func (b *shakyBooks) OpenCase(ctx context.Context, id payout.ID) (payout.Position, error) {
	return shaken(b.s, "OpenCase", func() (payout.Position, error) { return b.Ledger.OpenCase(ctx, id) })
}

// shakyProvider is the real client on a worker that has accidents.
type shakyProvider struct{ s *storm }

func (p *shakyProvider) Token(ctx context.Context) (payout.Token, error) {
	token, err := p.s.client.Token(ctx)
	p.slowed(err)
	return token, err
}

func (p *shakyProvider) CreatePayout(ctx context.Context, token payout.Token, send payout.Send) payout.Created {
	return p.create(ctx, token, send, p.s.client.CreatePayout)
}

func (p *shakyProvider) CreateRefund(ctx context.Context, token payout.Token, send payout.Send) payout.Created {
	return p.create(ctx, token, send, p.s.client.CreateRefund)
}

func (p *shakyProvider) create(ctx context.Context, token payout.Token, send payout.Send, ask func(context.Context, payout.Token, payout.Send) payout.Created) payout.Created {
	if err := p.s.pass("the create", "before"); err != nil {
		return payout.Created{Answer: payout.AnswerNotSent, Detail: err.Error(), Err: err}
	}
	p.s.follow()
	c := ask(ctx, token, send)
	p.s.tell("  POST attempt %d, send %d → %s (%s)", send.Attempt, send.Number, c.Answer, plain(errors.New(c.Detail)))
	p.slowed(c.Err)
	if err := p.s.pass("the create", "after"); err != nil {
		return payout.Created{Answer: payout.AnswerUnknown, Detail: err.Error(), Err: err}
	}
	return c
}

func (p *shakyProvider) GetPayout(ctx context.Context, id string) (payout.Word, error) {
	return p.get(func() (payout.Word, error) { return p.s.client.GetPayout(ctx, id) })
}

func (p *shakyProvider) GetRefund(ctx context.Context, paymentID, id string) (payout.Word, error) {
	return p.get(func() (payout.Word, error) { return p.s.client.GetRefund(ctx, paymentID, id) })
}

func (p *shakyProvider) get(ask func() (payout.Word, error)) (payout.Word, error) {
	return shaken(p.s, "the GET", func() (payout.Word, error) {
		p.s.follow()
		w, err := ask()
		if err != nil {
			p.s.tell("  GET: %s", plain(err))
		} else {
			p.s.tell("  GET → %s %s", w.Status, w.Reason)
		}
		p.slowed(err)
		return w, err
	})
}

func (p *shakyProvider) Look(ctx context.Context, look payout.Look, alive func()) (payout.Looked, error) {
	return shaken(p.s, "the look", func() (payout.Looked, error) {
		p.s.follow()
		found, err := p.s.client.Look(ctx, look, alive)
		if err != nil {
			p.s.tell("  statement: %s", plain(err))
		} else {
			p.s.tell("  statement → %d lines", len(found.Lines))
		}
		p.slowed(err)
		return found, err
	})
}

// slowed: a client that was told to slow down rests in real time, so another
// process takes over.
func (p *shakyProvider) slowed(err error) {
	if err != nil && strings.Contains(err.Error(), "429") {
		p.s.restart()
	}
}
