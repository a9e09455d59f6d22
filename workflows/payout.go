package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"payouts/activities"
	"payouts/internal/payout"
)

// Payout is one payout's life, from the row that was accepted to a status
// that is final.
func Payout(ctx workflow.Context, in Input) (Outcome, error) {
	p := begin(ctx, in, payoutSteps)
	return p.follow(p.create())
}

// follow obeys the ledger's steps, from a position to the end.
func (p *run) follow(at payout.Position) (Outcome, error) {
	for p.err == nil {
		switch p.show(at); at.Step {
		case payout.StepCreate:
			at = p.create()
		case payout.StepWait:
			if at.Status.Final() && !p.late {
				return p.finish(at), nil // what is still to be asked is late word
			}
			at = p.newsOrPoll(at)
		case payout.StepReconcile:
			at = p.reconcile()
		case payout.StepTryAgain:
			at = p.rest(at)
		case payout.StepRelease:
			at = p.release()
		case payout.StepFreeze:
			at = p.freeze()
		case payout.StepReturn:
			at = p.bookReturn()
		case payout.StepPark:
			at = p.openCase()
		case payout.StepDone:
			if !p.hasNews() {
				return p.finish(at), nil
			}
			at = p.reconcile()
		default: // a step of a newer ledger: its own worker will know
			at = p.newsOrPoll(payout.Position{Status: at.Status, Wait: time.Minute})
		}
	}
	p.tell(endFault)
	return Outcome{}, p.err
}

// run is the state of one run: nothing that the database does not know.
type run struct {
	ctx    workflow.Context
	id     payout.ID
	kind   payout.Kind
	steps  steps
	late   bool // the payout was final before this run began
	news   workflow.ReceiveChannel
	look   bool // a person asked to ask the provider now
	cancel bool // somebody asked to cancel, which moves no money
	at     payout.Position
	doing  doing
	due    time.Time     // of the timer that runs, or ran last
	status payout.Status // as the search attribute has it
	reason payout.Reason // as the search attribute has it
	err    error
}

// begin sets up the handlers first: a signal may arrive before the first step.
func begin(ctx workflow.Context, in Input, steps steps) *run {
	// A cancelled context would fail every step that follows, and a cancel is
	// an accident, never a verdict: the run goes on in a context of its own.
	own, _ := workflow.NewDisconnectedContext(ctx)
	p := &run{ctx: own, id: in.PayoutID, kind: in.Kind, steps: steps, status: payout.StatusAccepted}
	if p.kind == "" {
		p.kind = payout.KindPayout
	}
	p.handle()
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		p.cancel = ctx.Err() != nil
		p.tell(p.doing)
	})
	return p
}

// steps are the activities that ask the provider, by kind: they have names of
// their own, so that a person sees at once what a run is about.
type steps struct{ create, poll, reconcile string }

var payoutSteps = steps{activityCreatePayout, activityPollPayout, activityReconcilePayout}

func (p *run) create() payout.Position {
	what := doing(p.steps.create)
	if p.at.Step == "" {
		what = doingStart
	}
	return p.answer(p.begins(p.ctx, p.steps.create, what))
}
func (p *run) reconcile() payout.Position {
	p.read()
	return p.do(p.steps.reconcile)
}
func (p *run) release() payout.Position    { return p.do(activityReleaseHold) } // the player is credited back
func (p *run) freeze() payout.Position     { return p.do(activityFreezeHold) }
func (p *run) bookReturn() payout.Position { return p.do(activityBookReturn) }
func (p *run) openCase() payout.Position   { return p.do(activityOpenCase) } // to a person; the money stays where it is safe

// newsOrPoll waits for news until at.Wait is over, then polls until there is
// something new. Without a wait only news helps.
func (p *run) newsOrPoll(at payout.Position) payout.Position {
	what := doingWait
	if at.Step != payout.StepWait {
		what = doingNewer
	}
	switch {
	case at.Wait == 0:
		p.tell(doingListen)
		p.await(p.hasNews)
	case p.newsWithin(at.Wait, what):
	default:
		ctx, cancel := workflow.WithCancel(p.ctx)
		defer cancel() // a poll that news overtook has no more to say
		poll := p.begins(ctx, p.steps.poll, doing(p.steps.poll))
		if p.await(func() bool { return p.hasNews() || poll.IsReady() }); poll.IsReady() {
			return p.answer(poll)
		}
	}
	return p.reconcile()
}

// rest waits between two attempts; news of an earlier one ends it.
func (p *run) rest(at payout.Position) payout.Position {
	if at.Wait > 0 && p.newsWithin(at.Wait, doingRest) {
		return p.reconcile()
	}
	return p.do(activityTryAgain)
}

// newsWithin waits for news for d at the most and says whether there is some.
func (p *run) newsWithin(d time.Duration, what doing) bool {
	ctx, cancel := workflow.WithCancel(p.ctx)
	defer cancel() // a timer that news overtook would cost a task when it fires
	p.due = workflow.Now(p.ctx).Add(d)
	p.tell(what)
	timer := workflow.NewTimerWithOptions(ctx, d, workflow.TimerOptions{Summary: p.words().Summary})
	p.await(func() bool { return p.hasNews() || timer.IsReady() })
	return p.hasNews()
}

func (p *run) await(condition func() bool) {
	if err := workflow.Await(p.ctx, condition); err != nil {
		p.err = err
	}
}

func (p *run) hasNews() bool { return p.look || p.news.Len() > 0 }

// read takes all news at once: each says only that there is some.
func (p *run) read() {
	p.look = false
	for p.news.ReceiveAsync(nil) {
	}
}

// do runs one step and answers with the position after it.
func (p *run) do(step string) payout.Position { return p.answer(p.begins(p.ctx, step, doing(step))) }

// begins begins a step, and says so.
func (p *run) begins(ctx workflow.Context, step string, what doing) workflow.Future {
	p.tell(what)
	return workflow.ExecuteActivity(withOptions(ctx, step, p.words().Summary), step,
		activities.Input{PayoutID: p.id, Late: p.late, Parked: p.status == payout.StatusParked})
}

func (p *run) answer(step workflow.Future) payout.Position {
	var at payout.Position
	if err := step.Get(p.ctx, &at); err != nil {
		p.err = err
	}
	return at
}
