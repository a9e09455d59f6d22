package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
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
			at = p.release() // the player is credited back
		case payout.StepFreeze:
			at = p.freeze()
		case payout.StepReturn:
			at = p.bookReturn()
		case payout.StepPark:
			at = p.openCase() // to a person; the money stays where it is safe
		case payout.StepDone:
			if !p.hasNews() {
				return p.finish(at), nil
			}
			at = p.reconcile()
		default: // a step of a newer ledger: its own worker will know
			at = p.newsOrPoll(payout.Position{Status: at.Status, Wait: time.Minute})
		}
	}
	return Outcome{}, p.err
}

// run is the state of one run: nothing that the database does not know.
type run struct {
	ctx    workflow.Context
	id     payout.ID
	steps  steps
	late   bool // the payout was final before this run began
	news   workflow.ReceiveChannel
	look   bool // a person asked to ask the provider now
	cancel bool // somebody asked to cancel, which moves no money
	at     payout.Position
	status payout.Status // as the search attribute has it
	err    error
}

// begin sets up the handlers first: a signal may arrive before the first step.
func begin(ctx workflow.Context, in Input, steps steps) *run {
	// A cancelled context would fail every step that follows, and a cancel is
	// an accident, never a verdict: the run goes on in a context of its own.
	own, _ := workflow.NewDisconnectedContext(ctx)
	p := &run{ctx: own, id: in.PayoutID, steps: steps, status: payout.StatusAccepted}
	p.news = workflow.GetSignalChannelWithOptions(own, SignalNews, workflow.SignalChannelOptions{
		Description: "There is news about this payout: the provider is asked now. It decides nothing by itself."})
	p.handle()
	workflow.Go(ctx, func(ctx workflow.Context) {
		ctx.Done().Receive(ctx, nil)
		p.cancel = ctx.Err() != nil
		p.show(p.at)
	})
	return p
}

// steps are the activities that ask the provider, by kind: they have names of
// their own, so that a person sees at once what a run is about.
type steps struct{ create, poll, reconcile string }

var payoutSteps = steps{activityCreatePayout, activityPollPayout, activityReconcilePayout}

func (p *run) create() payout.Position { return p.do(p.steps.create, "create at the provider") }
func (p *run) reconcile() payout.Position {
	p.read()
	return p.do(p.steps.reconcile, "ask the provider and reconcile")
}
func (p *run) release() payout.Position    { return p.do(activityReleaseHold, "credit the player back") }
func (p *run) freeze() payout.Position     { return p.do(activityFreezeHold, "freeze the money") }
func (p *run) bookReturn() payout.Position { return p.do(activityBookReturn, "book the bank's return") }
func (p *run) openCase() payout.Position   { return p.do(activityOpenCase, "park and open a case") }

// newsOrPoll waits for news until at.Wait is over, then polls until there is
// something new. Without a wait only news helps.
func (p *run) newsOrPoll(at payout.Position) payout.Position {
	switch {
	case at.Wait == 0:
		p.await(p.hasNews)
	case p.newsWithin(at.Wait, "silence before the first poll"):
	default:
		ctx, cancel := workflow.WithCancel(p.ctx)
		defer cancel() // a poll that news overtook has no more to say
		poll := workflow.ExecuteActivity(withOptions(ctx, p.steps.poll, "ask the provider until it decides"), p.steps.poll, activities.Input{PayoutID: p.id, Late: p.late})
		if p.await(func() bool { return p.hasNews() || poll.IsReady() }); poll.IsReady() {
			return p.answer(poll)
		}
	}
	return p.reconcile()
}

// rest waits between two attempts; news of an earlier one ends it.
func (p *run) rest(at payout.Position) payout.Position {
	if at.Wait > 0 && p.newsWithin(at.Wait, fmt.Sprintf("rest before attempt %d", at.Attempt+1)) {
		return p.reconcile()
	}
	return p.do(activityTryAgain, "begin the next attempt")
}

// newsWithin waits for news for d at the most and says whether there is some.
func (p *run) newsWithin(d time.Duration, why string) bool {
	ctx, cancel := workflow.WithCancel(p.ctx)
	defer cancel() // a timer that news overtook would cost a task when it fires
	timer := workflow.NewTimerWithOptions(ctx, d, workflow.TimerOptions{Summary: why})
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
func (p *run) do(step, summary string) payout.Position {
	return p.answer(workflow.ExecuteActivity(withOptions(p.ctx, step, summary), step, activities.Input{PayoutID: p.id, Late: p.late}))
}

func (p *run) answer(step workflow.Future) payout.Position {
	var at payout.Position
	if err := step.Get(p.ctx, &at); err != nil {
		p.err = err
	}
	return at
}

// finish tells the UI how it ended: one upsert, the run's last act.
func (p *run) finish(at payout.Position) Outcome {
	updates := []temporal.SearchAttributeUpdate{AttributeStatus.ValueSet(string(at.Status))}
	if at.Reason != "" {
		updates = append(updates, AttributeFailureReason.ValueSet(string(at.Reason)))
	}
	p.upsert(updates...)
	return Outcome{Status: at.Status, Reason: at.Reason}
}

func (p *run) upsert(updates ...temporal.SearchAttributeUpdate) {
	if err := workflow.UpsertTypedSearchAttributes(p.ctx, updates...); err != nil {
		workflow.GetLogger(p.ctx).Warn("search attributes not set", "payout_id", p.id, "error", err)
	}
}
