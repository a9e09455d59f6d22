package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/workflows"
)

// PayoutRequest is the body that asks for a payout.
type PayoutRequest struct {
	_           struct{}          `additionalProperties:"false"`
	PlayerID    string            `json:"player_id" pattern:"^[A-Za-z0-9._:-]{1,128}$" doc:"Your id of the player" example:"player-42"`
	Amount      int64             `json:"amount_in_minor" minimum:"1" doc:"Minor units (pence, cents): 1000 is ten pounds" example:"1000"`
	Currency    string            `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217 code; one that has a merchant account here, and the payment source's" example:"GBP"`
	Beneficiary Beneficiary       `json:"beneficiary" doc:"The account that paid in, by the provider's own ids"`
	Metadata    map[string]string `json:"metadata,omitempty" maxProperties:"8" doc:"Up to 8 pairs of your own, carried to the provider and back; keys up to 40 characters, values up to 500, nothing personal"`
}

// Beneficiary names the account that paid in.
type Beneficiary struct {
	_               struct{} `additionalProperties:"false"`
	UserID          string   `json:"user_id" minLength:"1" maxLength:"128" doc:"The provider's id of the user that paid in" example:"f61c0ec7-0f83-414e-8e5f-aace86e0ed35"`
	PaymentSourceID string   `json:"payment_source_id" minLength:"1" maxLength:"128" doc:"The provider's id of the account that paid in; bound to this player" example:"62d7b5f2-8d3a-4c5d-9a2e-0c8f6a1b7e11"`
	Reference       string   `json:"reference" minLength:"1" doc:"What the player sees on the bank statement: unless configured otherwise, 1 to 18 of A-Z a-z 0-9 space . -" example:"WINNINGS 2041"`
}

// Payout is a payout as everybody sees it. Fields without a value are null.
type Payout struct {
	ID               string            `json:"id" format:"uuid" doc:"Follows from caller and Idempotency-Key, so asking twice is asking once" example:"0cd1b0f7-71bc-5d24-b209-95259dadcc20"`
	PlayerID         string            `json:"player_id" example:"player-42"`
	Amount           int64             `json:"amount_in_minor" example:"1000"`
	Currency         string            `json:"currency" example:"GBP"`
	Beneficiary      BeneficiaryView   `json:"beneficiary"`
	Metadata         map[string]string `json:"metadata" doc:"Your own pairs; empty when there are none"`
	Status           string            `json:"status" doc:"accepted: held, not known to be at the provider. pending: at the provider, or resting between attempts. authorized: sent to the payment scheme. executed: paid (a bank may still send it back). failed: ended without paying, money says where the money is. returned: paid, sent back by the bank, credited. parked: waits for a person, the money stays held. The list may grow." example:"executed"`
	Money            string            `json:"money" doc:"Where the money is: held, paid, released (credited back), frozen or returned (credited back by the bank)" example:"paid"`
	FailureReason    *string           `json:"failure_reason" doc:"Why the latest attempt failed or was refused. The list may grow: treat a value you do not know as a generic failure" example:"insufficient_funds"`
	PlayerMessage    string            `json:"player_message" doc:"What support may tell the player" example:"Your payout was sent to your bank."`
	ProviderStatus   *string           `json:"provider_status" doc:"The provider's own word for the latest attempt" example:"executed"`
	ProviderPayoutID *string           `json:"provider_payout_id" doc:"The provider's id of the latest attempt" example:"5a2f9d1e-0d4f-4b62-8c6e-2e1d5a7b9c01"`
	NextStep         string            `json:"next_step" doc:"What happens next: create, wait, reconcile, try_again, release, freeze, return, park or done" example:"done"`
	NextStepAt       *time.Time        `json:"next_step_at" doc:"When at the latest; null: nothing is timed, only news or a person moves it"`
	CaseID           *string           `json:"case_id" doc:"The open case, when a person is asked"`
	Version          int               `json:"version" doc:"Counts every change, from 1; events carry it" example:"4"`
	CreatedAt        time.Time         `json:"created_at"`
	UpdatedAt        time.Time         `json:"updated_at"`
	WorkflowID       string            `json:"workflow_id" doc:"The run to look at in the Temporal UI" example:"payout/0cd1b0f7-71bc-5d24-b209-95259dadcc20"`
	Attempts         []Attempt         `json:"attempts,omitempty" nullable:"false" doc:"Each try at the provider; only where one payout is asked for by id"`
	Timeline         []Moment          `json:"timeline,omitempty" nullable:"false" doc:"What happened, oldest first; only where one payout is asked for by id"`
}

// BeneficiaryView is the beneficiary as it was asked for.
type BeneficiaryView struct {
	UserID          string `json:"user_id"`
	PaymentSourceID string `json:"payment_source_id"`
	Reference       string `json:"reference"`
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

// PayoutList is one page, newest first.
type PayoutList struct {
	Items      []Payout `json:"items" nullable:"false"`
	NextCursor *string  `json:"next_cursor" doc:"Ask again with it as cursor for the next page; null on the last"`
}

type payoutOutput struct {
	Status   int
	Location string `header:"Location" doc:"Where the payout is read"`
	Replayed string `header:"Idempotent-Replayed"` // replayedHeader
	Body     Payout
}

type payoutInput struct {
	ID string `path:"id" format:"uuid" doc:"The payout's id" example:"0cd1b0f7-71bc-5d24-b209-95259dadcc20"`
}

type onePayoutOutput struct{ Body Payout }

type payoutsInput struct {
	PlayerID       string `query:"player_id" doc:"Only this player's" example:"player-42"`
	Status         string `query:"status" doc:"Only with this status" example:"parked"`
	FailureReason  string `query:"failure_reason" doc:"Only with this reason" example:"insufficient_funds"`
	IdempotencyKey string `query:"idempotency_key" doc:"Only what was asked for with this key" example:"win-2041"`
	Limit          string `query:"limit" doc:"Page size, 1 to 200; without it 50" example:"50"`
	Cursor         string `query:"cursor" doc:"next_cursor of the page before"`
}

type payoutsOutput struct{ Body PayoutList }

func (a *api) payouts() {
	add(a, route{
		method: http.MethodPost, path: "/v1/payouts", name: "create-payout", tag: "payouts", roles: []Role{RoleBackend}, created: true,
		summary: "Pay a player out",
		about: "Holds the money and takes the payout on, or refuses, at once. Once this answers 201 the payout is carried to its end, whatever breaks: it is paid, or the player is credited back, or a person is asked. " +
			"The lost answer of a first request is found by sending the same request again.",
		body: PayoutRequest{PlayerID: "player-42", Amount: 1000, Currency: "GBP", Beneficiary: Beneficiary{
			UserID: "f61c0ec7-0f83-414e-8e5f-aace86e0ed35", PaymentSourceID: "62d7b5f2-8d3a-4c5d-9a2e-0c8f6a1b7e11", Reference: "WINNINGS 2041"},
			Metadata: map[string]string{"tournament": "12"}},
		problems: []kind{invalidRequest, notFound, keyReused, balanceTooLow, sourceRefused},
	}, a.createPayout)
	add(a, route{
		method: http.MethodGet, path: "/v1/payouts/{id}", name: "payout", tag: "payouts", summary: "Read a payout",
		about:    "Where the money is, what happens next and when, each attempt at the provider, and what happened so far.",
		problems: []kind{invalidRequest, notFound},
	}, a.payout)
	add(a, route{
		method: http.MethodGet, path: "/v1/payouts", name: "list-payouts", tag: "payouts", summary: "List payouts, newest first",
		about:    "Items come without attempts and timeline.",
		problems: []kind{invalidRequest},
	}, a.listPayouts)
}

func (a *api) createPayout(ctx context.Context, in *KeyHeader) (*payoutOutput, error) {
	var body PayoutRequest
	shape := decode(bodyFrom(ctx), &body)
	r := payout.Request{
		Caller: callerFrom(ctx).Name, IdempotencyKey: in.IdempotencyKey, PlayerID: body.PlayerID,
		Money: payout.Money{Minor: body.Amount, Currency: payout.Currency(body.Currency)},
		Beneficiary: payout.Beneficiary{
			UserID: body.Beneficiary.UserID, PaymentSourceID: body.Beneficiary.PaymentSourceID, Reference: body.Beneficiary.Reference},
		Metadata: body.Metadata,
	}
	p, replayed, err := once(shape, r.Check(a.Limits),
		func() (ledger.Payout, bool, error) { return a.Ledger.AcceptedBefore(ctx, r) },
		func() (ledger.Payout, bool, error) {
			return a.Ledger.Accept(ctx, r, a.Limits.MerchantAccounts[r.Money.Currency], a.BindFirstUse)
		})
	if err != nil {
		return nil, err
	}
	if !replayed {
		a.start(ctx, p)
	}
	status, mark := created(replayed)
	return &payoutOutput{status, "/v1/payouts/" + string(p.ID), mark, payoutView(p)}, nil
}

// start starts the run of what is accepted already. It goes on when the
// caller hangs up, and its failure is no failure of the request.
func (a *api) start(ctx context.Context, p ledger.Payout) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startWithin)
	defer cancel()
	if err := a.Start(ctx, p); err != nil {
		a.Logger.Warn("run not started; the sweeper starts it", zap.String("payout_id", string(p.ID)), zap.Error(err))
	}
}

func (a *api) payout(ctx context.Context, in *payoutInput) (*onePayoutOutput, error) {
	id, err := payout.ParseID(in.ID)
	if err != nil {
		return nil, invalid(payout.Problems{{Field: "id", Want: "a UUID such as 0cd1b0f7-71bc-5d24-b209-95259dadcc20"}})
	}
	p, err := a.Ledger.Payout(ctx, callerFrom(ctx).scope(), payout.KindPayout, id)
	return &onePayoutOutput{payoutView(p)}, err
}

func (a *api) listPayouts(ctx context.Context, in *payoutsInput) (*payoutsOutput, error) {
	var wrong payout.Problems
	f := ledger.Filter{
		Caller: callerFrom(ctx).scope(), PlayerID: in.PlayerID, Status: payout.Status(in.Status), Reason: payout.Reason(in.FailureReason),
		IdempotencyKey: in.IdempotencyKey, Limit: limitOf(&wrong, in.Limit), Cursor: in.Cursor,
	}
	if f.PlayerID != "" {
		payout.CheckPlayer(&wrong, f.PlayerID)
	}
	if f.Status != "" && !slices.Contains(payout.Statuses(), f.Status) {
		wrong = append(wrong, payout.Problem{Field: "status", Want: anyOf(payout.Statuses())})
	}
	if _, fine := clean(in.FailureReason); !fine || len(in.FailureReason) > 100 {
		wrong = append(wrong, payout.Problem{Field: "failure_reason", Want: "a reason such as insufficient_funds"})
	}
	if in.IdempotencyKey != "" {
		payout.CheckKey(&wrong, in.IdempotencyKey)
		if n := len(wrong); n > 0 && wrong[n-1].Field == "Idempotency-Key" {
			wrong[n-1] = payout.Problem{Field: "idempotency_key", Want: "1 to 255 visible ASCII characters"}
		}
	}
	if err := together(nil, wrong); err != nil {
		return nil, err
	}
	payouts, next, err := a.Ledger.Payouts(ctx, payout.KindPayout, f)
	if err != nil {
		return nil, invalidParameter(err)
	}
	out := &payoutsOutput{PayoutList{Items: []Payout{}, NextCursor: orNull(next)}}
	for _, p := range payouts {
		out.Body.Items = append(out.Body.Items, payoutView(p))
	}
	return out, nil
}

func payoutView(p ledger.Payout) Payout {
	v := Payout{
		ID: string(p.ID), PlayerID: p.PlayerID, Amount: p.Money.Minor, Currency: string(p.Money.Currency),
		Beneficiary: BeneficiaryView{p.Beneficiary.UserID, p.Beneficiary.PaymentSourceID, p.Beneficiary.Reference},
		Metadata:    p.Metadata, Status: string(p.Status), Money: string(p.MoneyAt), FailureReason: orNull(string(p.Reason)),
		PlayerMessage: payout.PlayerMessage(p.Status, p.Reason), ProviderStatus: orNull(p.ProviderStatus),
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

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// anyOf lists values for people: "a, b or c".
func anyOf[T ~string](values []T) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " or " + names[n]
	}
	return strings.Join(names, "")
}
