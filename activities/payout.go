// Package activities touches the world for the workflows: each method unpacks
// its input, calls the ledger and the provider, and packs the error. What a
// step means is decided in the ledger.
package activities

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"

	"payouts/internal/payout"
)

// Ledger is what the activities need of the books.
type Ledger interface {
	Position(context.Context, payout.ID) (payout.Position, error)
	OpenSend(ctx context.Context, id payout.ID, tokenExpires time.Time) (payout.Send, payout.Position, error)
	CloseSend(context.Context, payout.Send, payout.Created) (payout.Position, error)
	Read(context.Context, payout.ID) (payout.Asking, error)
	Judge(ctx context.Context, id payout.ID, heard payout.Heard) (payout.Position, error)
	Earlier(context.Context, payout.ID) ([]payout.Ask, error)
	TryAgain(context.Context, payout.ID, []payout.Asked) (payout.Position, error)
	Release(context.Context, payout.ID) (payout.Position, error)
	Freeze(context.Context, payout.ID) (payout.Position, error)
	Return(context.Context, payout.ID) (payout.Position, error)
	OpenCase(context.Context, payout.ID) (payout.Position, error)
	NotLetIn(ctx context.Context, why string) (until time.Time, err error)
}

// Provider is what the activities need of TrueLayer.
type Provider interface {
	Token(context.Context) (payout.Token, error)
	CreatePayout(context.Context, payout.Token, payout.Send) payout.Created
	CreateRefund(context.Context, payout.Token, payout.Send) payout.Created
	GetPayout(ctx context.Context, providerID string) (payout.Word, error)
	GetRefund(ctx context.Context, paymentID, refundID string) (payout.Word, error)
	// Look reads a statement to its end, and calls alive now and then.
	Look(ctx context.Context, look payout.Look, alive func()) (payout.Looked, error)
}

// Payouts are the steps of a payout, and of a refund, which lives the same life.
type Payouts struct {
	Ledger   Ledger
	Provider Provider

	shut atomic.Int64 // until when, in Unix nanoseconds, the brake was last seen to be shut: a hint that spares asking for a token
}

// Input names the payout a step is about. It lies in histories in clear.
type Input struct {
	PayoutID payout.ID `json:"payout_id"`
	Late     bool      `json:"late,omitempty"`   // the payout was final before
	Parked   bool      `json:"parked,omitempty"` // as the run shows it
}

// One try of CreatePayout is a token, one send (payout.Timing.SendFor) and
// keeping the answer; together they stay below its StartToClose.
const (
	tokenWithin = 10 * time.Second
	keepWithin  = 10 * time.Second
)

// CreatePayout sends the latest attempt to the provider, if that is the next
// step, and answers with the position. On a payout that is created already,
// resting, parked or final it sends nothing.
//
//	Repeats: safe; every send is the attempt's stored key and bytes, and has a row in the send log before its first byte leaves
//	Errors:  not_sent and unknown are tried again; the ledger ends that with the key's window
//	Source:  docs/truelayer.md, "Create payout", "Idempotency"
func (a *Payouts) CreatePayout(ctx context.Context, in Input) (payout.Position, error) {
	token, err := a.token(ctx)
	if err != nil {
		// Nothing can be sent. That matters only if something is to be sent.
		at, known := a.Ledger.Position(ctx, in.PayoutID)
		if known != nil || at.Step != payout.StepCreate {
			return at, border(known)
		}
		if braked := new(payout.Braked); errors.As(err, &braked) {
			return payout.Position{}, border(err)
		}
		return payout.Position{}, retry(ctx, in.PayoutID, payout.AnswerNotSent, 0, fmt.Errorf("no access token: %w", err))
	}
	send, at, err := a.Ledger.OpenSend(ctx, in.PayoutID, token.ExpiresAt)
	if err == nil && send.Number == 0 && at.Step == payout.StepCreate {
		// There is something to ask before anything more may be sent.
		if at, err = a.ask(ctx, in.PayoutID); err == nil && at.Step == payout.StepCreate {
			return at, retry(ctx, in.PayoutID, payout.AnswerNotSent, time.Second, errors.New("asked about what was sent before; sending next"))
		}
		return at, err
	}
	if err != nil || send.Number == 0 {
		return at, a.braked(err)
	}
	created := a.create(ctx, token, send)
	// The answer is kept even if this activity was given up meanwhile.
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWithin)
	defer cancel()
	if at, err = a.Ledger.CloseSend(keep, send, created); err != nil {
		return at, border(err)
	}
	if at.Step == payout.StepCreate {
		return at, retry(ctx, in.PayoutID, created.Answer, created.RetryAfter, fmt.Errorf("attempt %d, send %d: %s", send.Attempt, send.Number, created.Detail))
	}
	return at, nil
}

// ReconcilePayout asks the provider because there is news, stores its words
// and judges them; executed is settled in the same transaction.
//
//	Repeats: safe
func (a *Payouts) ReconcilePayout(ctx context.Context, in Input) (payout.Position, error) {
	return a.ask(ctx, in.PayoutID)
}

// PollPayout asks the provider because there was no news, and again until
// something other than waiting is next, or it is parked, or no longer: its
// retries are the poll schedule.
//
//	Repeats: safe
//	Errors:  undecided (benign), with the pause the ledger set
func (a *Payouts) PollPayout(ctx context.Context, in Input) (payout.Position, error) {
	at, err := a.ask(ctx, in.PayoutID)
	tells := in.Parked != (at.Status == payout.StatusParked) // what people look for in lists
	if err == nil && at.Step == payout.StepWait && at.Wait > 0 && (in.Late || !at.Status.Final()) && !tells {
		return at, undecided(at)
	}
	return at, err
}

// CreateRefund is CreatePayout for a refund. A history says what it is about.
func (a *Payouts) CreateRefund(ctx context.Context, in Input) (payout.Position, error) {
	return a.CreatePayout(ctx, in)
}

// ReconcileRefund is ReconcilePayout for a refund.
func (a *Payouts) ReconcileRefund(ctx context.Context, in Input) (payout.Position, error) {
	return a.ReconcilePayout(ctx, in)
}

// PollRefund is PollPayout for a refund.
func (a *Payouts) PollRefund(ctx context.Context, in Input) (payout.Position, error) {
	return a.PollPayout(ctx, in)
}

// TryAgain begins the next attempt, after reading all earlier ones once more.
//
//	Repeats: safe; the attempt begins once
func (a *Payouts) TryAgain(ctx context.Context, in Input) (payout.Position, error) {
	asks, err := a.Ledger.Earlier(ctx, in.PayoutID)
	if err != nil {
		return payout.Position{}, border(err)
	}
	words, err := a.words(payout.About(ctx, in.PayoutID), asks)
	if err != nil {
		return payout.Position{}, border(err)
	}
	at, err := a.Ledger.TryAgain(ctx, in.PayoutID, words)
	return at, border(err)
}

// ReleaseHold credits the player back. Repeats: safe.
func (a *Payouts) ReleaseHold(ctx context.Context, in Input) (payout.Position, error) {
	at, err := a.Ledger.Release(ctx, in.PayoutID)
	return at, border(err)
}

// FreezeHold sets the money aside where no machine spends it. Repeats: safe.
func (a *Payouts) FreezeHold(ctx context.Context, in Input) (payout.Position, error) {
	at, err := a.Ledger.Freeze(ctx, in.PayoutID)
	return at, border(err)
}

// BookReturn credits the player back what the bank returned. Repeats: safe.
func (a *Payouts) BookReturn(ctx context.Context, in Input) (payout.Position, error) {
	at, err := a.Ledger.Return(ctx, in.PayoutID)
	return at, border(err)
}

// OpenCase parks the payout and asks a person. Repeats: safe.
func (a *Payouts) OpenCase(ctx context.Context, in Input) (payout.Position, error) {
	at, err := a.Ledger.OpenCase(ctx, in.PayoutID)
	return at, border(err)
}

// token gets an access token, unless the provider was seen to let nobody in.
func (a *Payouts) token(ctx context.Context) (payout.Token, error) {
	if shut := (&payout.Braked{Until: time.Unix(0, a.shut.Load())}); shut.Holds(time.Now()) {
		return payout.Token{}, shut
	}
	patience, cancel := context.WithTimeout(ctx, tokenWithin)
	defer cancel()
	token, err := a.Provider.Token(patience)
	return token, a.letIn(ctx, err)
}

// letIn tells the books when the provider did not let us in.
func (a *Payouts) letIn(ctx context.Context, err error) error {
	if !errors.Is(err, payout.ErrNotLetIn) {
		return err
	}
	until, unknown := a.Ledger.NotLetIn(ctx, err.Error())
	if unknown != nil || until.IsZero() {
		return errors.Join(err, unknown)
	}
	a.shut.Store(until.UnixNano())
	return errors.Join(err, &payout.Braked{Until: until})
}

// braked packs an error, and remembers when the brake is shut.
func (a *Payouts) braked(err error) error {
	if braked := new(payout.Braked); errors.As(err, &braked) {
		a.shut.Store(braked.Until.UnixNano())
	}
	return border(err)
}

func (a *Payouts) create(ctx context.Context, token payout.Token, send payout.Send) payout.Created {
	if send.Kind == payout.KindRefund {
		return a.Provider.CreateRefund(ctx, token, send)
	}
	return a.Provider.CreatePayout(ctx, token, send)
}

// ask reads the news, asks the provider and judges.
func (a *Payouts) ask(ctx context.Context, id payout.ID) (payout.Position, error) {
	ctx = payout.About(ctx, id)
	asking, err := a.Ledger.Read(ctx, id)
	if err != nil {
		return payout.Position{}, a.braked(err)
	}
	if nothingToAsk(asking) {
		return asking.Position, nil // another step is next
	}
	info := activity.GetInfo(ctx)
	heard := payout.Heard{Inbox: asking.Inbox, Approved: asking.Approved, Doubted: asking.Doubted,
		By: fmt.Sprintf("%s %s/%d", info.ActivityType.Name, info.WorkflowExecution.RunID, info.Attempt)}
	heard.Words, err = a.words(ctx, asking.Asks)
	if err == nil && asking.Look != nil {
		var looked payout.Looked
		if looked, err = a.Provider.Look(ctx, *asking.Look, func() { activity.RecordHeartbeat(ctx, "statement") }); err == nil {
			heard.Looked = &looked
		} else { // a statement that is closed to us closes no door to payouts, and one that is not there is no payout that is not
			err = fmt.Errorf("look into the statement: %s", err) //nolint:errorlint // what it is must not be taken for more
		}
	}
	if err != nil {
		if len(heard.Words) > 0 { // what was heard counts; the news is read when all is
			heard.Inbox, heard.Approved = nil, nil
			if _, judged := a.Ledger.Judge(ctx, id, heard); judged != nil {
				err = errors.Join(err, judged)
			}
		}
		return payout.Position{}, a.braked(err)
	}
	at, err := a.Ledger.Judge(ctx, id, heard)
	return at, border(err)
}

func nothingToAsk(asking payout.Asking) bool {
	return len(asking.Asks) == 0 && len(asking.Inbox) == 0 && len(asking.Approved) == 0 && asking.Look == nil &&
		asking.Position.Step != payout.StepReconcile && asking.Position.Step != payout.StepWait
}

// words asks about each attempt. One that is not visible yet, soon after its
// creation, is no word at all, nor is an id that people named and the provider takes
// for none: their decision is void then, and does not stand in the way. One that
// cannot be asked about does not keep the others from being heard.
func (a *Payouts) words(ctx context.Context, asks []payout.Ask) ([]payout.Asked, error) {
	var words []payout.Asked
	var silent []error
	for i, ask := range asks {
		if i > 0 { // several reads may take long; a dead worker must not go unnoticed
			activity.RecordHeartbeat(ctx, ask.Attempt)
		}
		word, err := a.get(ctx, ask)
		switch {
		case err == nil:
			words = append(words, payout.Asked{Attempt: ask.Attempt, ProviderID: ask.ProviderID, Word: word})
		case ask.Proposed && errors.Is(err, payout.ErrNoID):
		case !errors.Is(err, payout.ErrNotFound):
			silent = append(silent, fmt.Errorf("ask about attempt %d: %w", ask.Attempt, a.letIn(ctx, err)))
		}
	}
	return words, errors.Join(silent...)
}

func (a *Payouts) get(ctx context.Context, ask payout.Ask) (payout.Word, error) {
	if ask.Kind == payout.KindRefund {
		return a.Provider.GetRefund(ctx, ask.PaymentID, ask.ProviderID)
	}
	return a.Provider.GetPayout(ctx, ask.ProviderID)
}
