package httpapi

import (
	"context"
	"net/http"

	"payouts/internal/ledger"
	"payouts/internal/payout"
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
	Transfer
	Beneficiary BeneficiaryView `json:"beneficiary"`
	Life
}

// BeneficiaryView is the beneficiary as it was asked for.
type BeneficiaryView struct {
	UserID          string `json:"user_id"`
	PaymentSourceID string `json:"payment_source_id"`
	Reference       string `json:"reference"`
}

// PayoutList is one page, newest first.
type PayoutList Page[Payout]

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

func (a *api) createPayout(ctx context.Context, in *KeyHeader) (*acceptedOutput[Payout], error) {
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
	return accepted(ctx, a, p, replayed, payoutView), nil
}

func (a *api) payout(ctx context.Context, in *IDPath) (*output[Payout], error) {
	p, err := a.life(ctx, payout.KindPayout, in)
	return &output[Payout]{payoutView(p)}, err
}

func (a *api) listPayouts(ctx context.Context, in *livesInput) (*output[PayoutList], error) {
	items, next, err := a.lives(ctx, payout.KindPayout, in)
	return &output[PayoutList]{PayoutList(page(items, next, payoutView))}, err
}

func payoutView(p ledger.Payout) Payout {
	return Payout{transferView(p), BeneficiaryView{p.Beneficiary.UserID, p.Beneficiary.PaymentSourceID, p.Beneficiary.Reference}, lifeView(p)}
}
