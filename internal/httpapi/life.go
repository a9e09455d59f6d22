package httpapi

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/workflows"
)

// Transfer is what a payout and a refund have in common: whose money it is,
// and how much.
type Transfer struct {
	ID       string `json:"id" format:"uuid" doc:"Follows from caller and Idempotency-Key, so asking twice is asking once" example:"0cd1b0f7-71bc-5d24-b209-95259dadcc20"`
	PlayerID string `json:"player_id" example:"player-42"`
	Amount   int64  `json:"amount_in_minor" example:"1000"`
	Currency string `json:"currency" example:"GBP"`
}

// Life is where a payout or a refund stands; both live the same one.
type Life struct {
	Metadata         map[string]string `json:"metadata" doc:"Your own pairs; empty when there are none"`
	Status           string            `json:"status" doc:"accepted: held, not known to be at the provider. pending: at the provider, or resting between attempts. authorized: sent to the payment scheme. executed: paid (a bank may still send it back). failed: ended without paying, money says where the money is. returned: paid, sent back by the bank, credited. parked: waits for a person, the money stays held. The list may grow." example:"executed"`
	Money            string            `json:"money" doc:"Where the money is: held, paid, released (credited back), frozen or returned (credited back by the bank)" example:"paid"`
	FailureReason    *string           `json:"failure_reason" doc:"Why the latest attempt failed or was refused. The list may grow: treat a value you do not know as a generic failure" example:"insufficient_funds"`
	PlayerMessage    string            `json:"player_message" doc:"What support may tell the player" example:"Your payout was sent to your bank."`
	ProviderStatus   *string           `json:"provider_status" doc:"The provider's own word for the latest attempt" example:"executed"`
	ProviderPayoutID *string           `json:"provider_payout_id" doc:"The provider's id of the latest attempt" example:"5a2f9d1e-0d4f-4b62-8c6e-2e1d5a7b9c01"`
	NextStep         string            `json:"next_step" doc:"What happens next: create, wait, reconcile, try_again, release, freeze, return, park or done. With done and a case_id a person decides" example:"done"`
	NextStepAt       *time.Time        `json:"next_step_at" doc:"When at the latest; null: nothing is timed, only news or a person moves it"`
	CaseID           *string           `json:"case_id" doc:"The open case, when a person is asked"`
	Version          int               `json:"version" doc:"Counts every change, from 1; events carry it" example:"4"`
	CreatedAt        time.Time         `json:"created_at"`
	UpdatedAt        time.Time         `json:"updated_at"`
	WorkflowID       string            `json:"workflow_id" doc:"The run to look at in the Temporal UI" example:"payout/0cd1b0f7-71bc-5d24-b209-95259dadcc20"`
	Attempts         []Attempt         `json:"attempts,omitempty" nullable:"false" doc:"Each try at the provider; only where one is asked for by id"`
	Timeline         []Moment          `json:"timeline,omitempty" nullable:"false" doc:"What happened, oldest first; only where one is asked for by id"`
}

// Attempt is one try at the provider.
type Attempt struct {
	Number           int        `json:"number" doc:"From 1" example:"1"`
	IdempotencyKey   string     `json:"idempotency_key" doc:"What the provider knows this attempt by"`
	ProviderPayoutID *string    `json:"provider_payout_id" doc:"null: no answer with an id yet"`
	Status           string     `json:"status" doc:"open, created, refused, failed or executed" example:"executed"`
	FailureReason    *string    `json:"failure_reason"`
	FirstSentAt      *time.Time `json:"first_sent_at" doc:"null: never sent"`
	Sends            int        `json:"sends" doc:"How often it was sent, each time with the same key and bytes" example:"1"`
}

// Moment is one line of a timeline.
type Moment struct {
	At         time.Time `json:"at"`
	Status     string    `json:"status" example:"pending"`
	What       string    `json:"what" doc:"For people; do not parse it" example:"created at the provider"`
	EvidenceID *string   `json:"evidence_id" doc:"The stored word of the provider behind it"`
}

// acceptedOutput is the answer to a request for a payout or a refund.
type acceptedOutput[V any] struct {
	Status   int
	Location string `header:"Location" doc:"Where it is read"`
	Replayed string `header:"Idempotent-Replayed"` // replayedHeader
	Body     V
}

type livesInput struct {
	PlayerID       string `query:"player_id" doc:"Only this player's" example:"player-42"`
	Status         string `query:"status" doc:"Only with this status" example:"parked"`
	FailureReason  string `query:"failure_reason" doc:"Only with this reason" example:"insufficient_funds"`
	IdempotencyKey string `query:"idempotency_key" doc:"Only what was asked for with this key" example:"win-2041"`
	PageInput
}

// accepted answers with what was taken on, now or before, and starts its run.
func accepted[V any](ctx context.Context, a *api, p ledger.Payout, replayed bool, view func(ledger.Payout) V) *acceptedOutput[V] {
	if !replayed {
		a.afterwards(ctx, "run not started; the sweeper starts it", p.ID, func(ctx context.Context) error { return a.Start(ctx, p) })
	}
	status, mark := created(replayed)
	return &acceptedOutput[V]{status, "/v1/" + string(p.Kind) + "s/" + string(p.ID), mark, view(p)}
}

// afterwards asks Temporal for what follows from what is committed already. It
// goes on when the caller hangs up, and its failure is no failure of the
// request: the sweeper finds what is left to do.
func (a *api) afterwards(ctx context.Context, otherwise string, id payout.ID, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startWithin)
	defer cancel()
	if err := do(ctx); err != nil {
		a.Logger.Warn(otherwise, zap.String("payout_id", string(id)), zap.Error(err))
	}
}

// life reads one payout or refund of those the caller sees.
func (a *api) life(ctx context.Context, kind payout.Kind, in *IDPath) (p ledger.Payout, err error) {
	var wrong payout.Problems
	id := in.read(&wrong)
	if err := together(nil, wrong); err != nil {
		return p, err
	}
	return a.Ledger.Payout(ctx, callerFrom(ctx).scope(), kind, payout.ID(id))
}

// lives lists the payouts or refunds that the caller sees.
func (a *api) lives(ctx context.Context, kind payout.Kind, in *livesInput) (items []ledger.Payout, next string, err error) {
	var wrong payout.Problems
	f := ledger.Filter{
		Caller: callerFrom(ctx).scope(), PlayerID: in.PlayerID, Status: payout.Status(in.Status), Reason: payout.Reason(in.FailureReason),
		IdempotencyKey: in.IdempotencyKey, Limit: limitOf(&wrong, in.Limit), Cursor: in.Cursor,
	}
	if f.PlayerID != "" {
		payout.CheckPlayer(&wrong, f.PlayerID)
	}
	if f.Status != "" && !slices.Contains(payout.Statuses(), f.Status) {
		wrong = append(wrong, payout.Problem{Field: "status", Want: "want " + anyOf(payout.Statuses())})
	}
	if _, fine := clean(in.FailureReason); !fine || len(in.FailureReason) > 100 {
		wrong = append(wrong, payout.Problem{Field: "failure_reason", Want: "want a reason such as insufficient_funds"})
	}
	if in.IdempotencyKey != "" {
		payout.CheckKey(&wrong, in.IdempotencyKey)
		if n := len(wrong); n > 0 && wrong[n-1].Field == "Idempotency-Key" {
			wrong[n-1] = payout.Problem{Field: "idempotency_key", Want: "want 1 to 255 visible ASCII characters"}
		}
	}
	if err := together(nil, wrong); err != nil {
		return nil, "", err
	}
	items, next, err = a.Ledger.Payouts(ctx, kind, f)
	return items, next, invalidParameter(err)
}

func transferView(p ledger.Payout) Transfer {
	return Transfer{ID: string(p.ID), PlayerID: p.PlayerID, Amount: p.Money.Minor, Currency: string(p.Money.Currency)}
}

func lifeView(p ledger.Payout) Life {
	v := Life{
		Metadata: p.Metadata, Status: string(p.Status), Money: string(p.MoneyAt), FailureReason: orNull(string(p.Reason)),
		PlayerMessage: payout.PlayerMessage(p.Kind, p.Status, p.Reason), ProviderStatus: orNull(p.ProviderStatus),
		ProviderPayoutID: orNull(p.ProviderPayoutID), NextStep: string(p.Step), NextStepAt: timeOrNull(p.NextStepAt),
		CaseID: orNull(p.CaseID), Version: p.Version, CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
		WorkflowID: workflows.ID(p.Kind, p.ID),
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	for _, t := range p.Attempts {
		v.Attempts = append(v.Attempts, Attempt{
			Number: t.Number, IdempotencyKey: t.IdempotencyKey, ProviderPayoutID: orNull(t.ProviderPayoutID), Status: t.Status,
			FailureReason: orNull(string(t.Reason)), FirstSentAt: timeOrNull(t.FirstSentAt), Sends: t.Sends,
		})
	}
	for _, m := range p.Timeline {
		v.Timeline = append(v.Timeline, Moment{m.At.UTC(), string(m.Status), m.What, orNull(m.EvidenceID)})
	}
	return v
}
