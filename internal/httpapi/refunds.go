package httpapi

import (
	"context"
	"net/http"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// RefundRequest is the body that asks for a refund.
type RefundRequest struct {
	_         struct{} `additionalProperties:"false"`
	PaymentID string   `json:"payment_id" pattern:"^[A-Za-z0-9_-]{1,128}$" doc:"The provider's id of the pay-in" example:"8d4e9c8b-7d4d-4a0e-9b2c-2f1f5f3d6a01"`
	Amount    int64    `json:"amount_in_minor" minimum:"1" doc:"Minor units (pence, cents): 1000 is ten pounds; the pay-in, or a part of it" example:"1000"`
	Currency  string   `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217 code; the pay-in's" example:"GBP"`
	PlayerID  string   `json:"player_id" pattern:"^[A-Za-z0-9._:-]{1,128}$" doc:"Your id of the player who paid in" example:"player-42"`
	Reference string   `json:"reference" minLength:"1" doc:"What the player sees on the bank statement: unless configured otherwise, 1 to 18 of A-Z a-z 0-9 space . -" example:"REFUND 2041"`
}

// Refund is a refund as everybody sees it. Fields without a value are null.
type Refund struct {
	Transfer
	PaymentID string `json:"payment_id" doc:"The provider's id of the pay-in" example:"8d4e9c8b-7d4d-4a0e-9b2c-2f1f5f3d6a01"`
	Reference string `json:"reference" example:"REFUND 2041"`
	Life
}

// RefundList is one page, newest first.
type RefundList Page[Refund]

func (a *api) refunds() {
	add(a, route{
		method: http.MethodPost, path: "/v1/refunds", name: "create-refund", tag: "refunds", roles: []Role{RoleBackend}, created: true,
		summary: "Give a pay-in back",
		about: "Takes the amount from the player's balance and gives it back to the account that paid in, wholly or in part. It lives the life of a payout: once this answers 201 it is carried to its end, whatever breaks. " +
			"A pay-in that has not settled yet is refunded when it has.",
		body:     RefundRequest{PaymentID: "8d4e9c8b-7d4d-4a0e-9b2c-2f1f5f3d6a01", Amount: 1000, Currency: "GBP", PlayerID: "player-42", Reference: "REFUND 2041"},
		problems: []kind{invalidRequest, notFound, keyReused, balanceTooLow},
	}, a.createRefund)
	add(a, route{
		method: http.MethodGet, path: "/v1/refunds/{id}", name: "refund", tag: "refunds", summary: "Read a refund",
		about:    "Where the money is, what happens next and when, each attempt at the provider, and what happened so far.",
		problems: []kind{invalidRequest, notFound},
	}, a.refund)
	add(a, route{
		method: http.MethodGet, path: "/v1/refunds", name: "list-refunds", tag: "refunds", summary: "List refunds, newest first",
		about:    "Items come without attempts and timeline.",
		problems: []kind{invalidRequest},
	}, a.listRefunds)
}

func (a *api) createRefund(ctx context.Context, in *KeyHeader) (*acceptedOutput[Refund], error) {
	var body RefundRequest
	shape := decode(bodyFrom(ctx), &body)
	r := payout.RefundRequest{
		Caller: callerFrom(ctx).Name, IdempotencyKey: in.IdempotencyKey, PlayerID: body.PlayerID, PaymentID: body.PaymentID,
		Money: payout.Money{Minor: body.Amount, Currency: payout.Currency(body.Currency)}, Reference: body.Reference,
	}
	p, replayed, err := once(shape, r.Check(a.Limits),
		func() (ledger.Payout, bool, error) { return a.Ledger.RefundAcceptedBefore(ctx, r) },
		func() (ledger.Payout, bool, error) {
			return a.Ledger.AcceptRefund(ctx, r, a.Limits.MerchantAccounts[r.Money.Currency])
		})
	if err != nil {
		return nil, err
	}
	return accepted(ctx, a, p, replayed, refundView), nil
}

func (a *api) refund(ctx context.Context, in *IDPath) (*output[Refund], error) {
	p, err := a.life(ctx, payout.KindRefund, in)
	return &output[Refund]{refundView(p)}, err
}

func (a *api) listRefunds(ctx context.Context, in *livesInput) (*output[RefundList], error) {
	items, next, err := a.lives(ctx, payout.KindRefund, in)
	return &output[RefundList]{RefundList(page(items, next, refundView))}, err
}

func refundView(p ledger.Payout) Refund {
	return Refund{transferView(p), p.PaymentID, p.Beneficiary.Reference, lifeView(p)}
}
