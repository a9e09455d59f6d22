package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// MovementRequest is the body of a credit or debit.
type MovementRequest struct {
	_        struct{} `additionalProperties:"false"`
	Amount   int64    `json:"amount_in_minor" minimum:"1" doc:"Minor units (pence, cents): 1000 is ten pounds" example:"1000"`
	Currency string   `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217 code; one that has a merchant account here" example:"GBP"`
	Reason   string   `json:"reason" minLength:"1" maxLength:"200" doc:"Why, for people who read the books; nothing personal" example:"won tournament 12"`
}

// Movement is a credit or debit as it is booked.
type Movement struct {
	ID       string    `json:"id" doc:"The ledger transaction" example:"5b0c7a52-5a65-5d1c-8d2b-0d8a4f2d1c11"`
	Kind     string    `json:"kind" doc:"credit or debit" example:"credit"`
	PlayerID string    `json:"player_id" example:"player-42"`
	Amount   int64     `json:"amount_in_minor" example:"1000"`
	Currency string    `json:"currency" example:"GBP"`
	BookedAt time.Time `json:"booked_at"`
}

// Balances is what the house owes one player.
type Balances struct {
	Balances []ledger.Balance `json:"balances" nullable:"false" doc:"One per currency; empty for a player nobody has named yet"`
}

// SourceRequest is the body that binds a payment source.
type SourceRequest struct {
	_        struct{} `additionalProperties:"false"`
	UserID   string   `json:"user_id" minLength:"1" maxLength:"128" doc:"The provider's id of the user that paid in" example:"f61c0ec7-0f83-414e-8e5f-aace86e0ed35"`
	Currency string   `json:"currency" pattern:"^[A-Z]{3}$" doc:"The currency of the account that paid in" example:"GBP"`
}

// Source is an account that paid in, bound to its player.
type Source struct {
	PlayerID        string `json:"player_id" example:"player-42"`
	PaymentSourceID string `json:"payment_source_id" example:"62d7b5f2-8d3a-4c5d-9a2e-0c8f6a1b7e11"`
	UserID          string `json:"user_id" example:"f61c0ec7-0f83-414e-8e5f-aace86e0ed35"`
	Currency        string `json:"currency" example:"GBP"`
}

// Sources lists the accounts a player can be paid out to.
type Sources struct {
	Items      []Source `json:"items" nullable:"false"`
	NextCursor *string  `json:"next_cursor" doc:"Always null: a player's sources fit one page"`
}

// PlayerPath is the player a path names. It is exported for huma, which fills
// only exported fields.
type PlayerPath struct {
	PlayerID string `path:"player_id" pattern:"^[A-Za-z0-9._:-]{1,128}$" doc:"Your id of the player: 1 to 128 of A-Z a-z 0-9 . _ : - and nothing personal in it" example:"player-42"`
}

// KeyHeader is the idempotency key a request carries.
type KeyHeader struct {
	IdempotencyKey string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"255" doc:"1 to 255 visible ASCII characters, the same for every repeat of one wish, per caller and endpoint" example:"win-2041"`
}

type movementInput struct {
	PlayerPath
	KeyHeader
}

type movementOutput struct {
	Status   int
	Replayed string `header:"Idempotent-Replayed"` // replayedHeader
	Body     Movement
}

type sourceInput struct {
	PlayerPath
	PaymentSourceID string `path:"payment_source_id" doc:"The provider's id of the account that paid in" example:"62d7b5f2-8d3a-4c5d-9a2e-0c8f6a1b7e11"`
}

type sourceOutput struct {
	Status int
	Body   Source
}

func (a *api) players() {
	movement := route{
		method: http.MethodPost, tag: "players", roles: []Role{RoleBackend}, created: true,
		body:     MovementRequest{Amount: 1000, Currency: "GBP", Reason: "won tournament 12"},
		problems: []kind{invalidRequest, notFound, keyReused},
	}
	credit, debit := movement, movement
	credit.path, credit.name, credit.summary = "/v1/players/{player_id}/credits", "credit", "Credit a player"
	credit.about = "Adds winnings to the player's available balance. The first caller that names a player owns it: for others it does not exist."
	credit.problems = append(credit.problems[:3:3], balanceTooLarge)
	debit.path, debit.name, debit.summary = "/v1/players/{player_id}/debits", "debit", "Debit a player"
	debit.about = "Takes from the player's available balance, which never goes below zero. Held and frozen money is not available."
	debit.problems = append(debit.problems[:3:3], balanceTooLow)
	add(a, credit, func(ctx context.Context, in *movementInput) (*movementOutput, error) {
		return a.move(ctx, in, ledger.KindCredit, a.Ledger.Credit)
	})
	add(a, debit, func(ctx context.Context, in *movementInput) (*movementOutput, error) {
		return a.move(ctx, in, ledger.KindDebit, a.Ledger.Debit)
	})

	add(a, route{
		method: http.MethodGet, path: "/v1/players/{player_id}/balances", name: "balances", tag: "players",
		summary: "What a player has", problems: []kind{invalidRequest, notFound},
		about: "available can be paid out; held is set aside for open payouts; frozen is set aside for a regulatory reason. An unknown player has no balances.",
	}, a.balances)
	add(a, route{
		method: http.MethodPut, path: "/v1/players/{player_id}/payment-sources/{payment_source_id}", name: "bind-payment-source", tag: "players",
		summary: "Bind the account that paid in", roles: []Role{RoleBackend}, created: true, body: SourceRequest{UserID: "f61c0ec7-0f83-414e-8e5f-aace86e0ed35", Currency: "GBP"},
		problems: []kind{invalidRequest, notFound, sourceRefused},
		about:    "Payouts are closed loop: money goes back to an account that paid in. Binding says whose it is, once and for ever. 201 when it is bound by this request, 200 when it was bound so before.",
	}, a.bindSource)
	add(a, route{
		method: http.MethodGet, path: "/v1/players/{player_id}/payment-sources", name: "payment-sources", tag: "players",
		summary: "Where a player can be paid out to", problems: []kind{invalidRequest, notFound},
	}, a.sources)
}

func (a *api) move(ctx context.Context, in *movementInput, kind ledger.TransactionKind, book func(context.Context, payout.Movement) (ledger.Transaction, bool, error)) (*movementOutput, error) {
	var body MovementRequest
	shape := decode(bodyFrom(ctx), &body)
	m := payout.Movement{
		Caller: callerFrom(ctx).Name, IdempotencyKey: in.IdempotencyKey, PlayerID: in.PlayerID,
		Money: payout.Money{Minor: body.Amount, Currency: payout.Currency(body.Currency)}, Reason: body.Reason,
	}
	t, replayed, err := once(shape, m.Check(a.Limits),
		func() (ledger.Transaction, bool, error) { return a.Ledger.BookedBefore(ctx, kind, m) },
		func() (ledger.Transaction, bool, error) { return book(ctx, m) })
	if err != nil {
		return nil, err
	}
	status, mark := created(replayed)
	return &movementOutput{status, mark, Movement{
		ID: t.ID, Kind: string(t.Kind), PlayerID: m.PlayerID, Amount: t.Money.Minor, Currency: string(t.Money.Currency), BookedAt: t.BookedAt.UTC(),
	}}, nil
}

// once does what a request with an idempotency key asks for, and answers a
// repeat with what came of it the first time. What is wrong with the meaning
// refuses only a new request: limits, pattern and accounts are configured, and
// may have changed since the request was taken.
func once[T any](shape *Problem, wrong payout.Problems, before, do func() (T, bool, error)) (done T, replayed bool, err error) {
	if shape == nil && len(wrong) == 0 {
		return do()
	}
	noKey := func(p payout.Problem) bool { return p.Field == "Idempotency-Key" } // nothing was ever taken under such a one
	if shape == nil && !slices.ContainsFunc(wrong, noKey) {
		if done, replayed, err = before(); replayed || err != nil {
			return done, replayed, err
		}
	}
	return done, false, together(shape, wrong)
}

// created is the status of a first request or a replay, and the replay's mark.
func created(replayed bool) (status int, mark string) {
	if replayed {
		return http.StatusOK, "true"
	}
	return http.StatusCreated, ""
}

func (a *api) balances(ctx context.Context, in *PlayerPath) (*output[Balances], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	balances, err := a.Ledger.Balances(ctx, callerFrom(ctx).scope(), in.PlayerID)
	if balances == nil {
		balances = []ledger.Balance{}
	}
	return &output[Balances]{Balances{balances}}, err
}

func (a *api) bindSource(ctx context.Context, in *sourceInput) (*sourceOutput, error) {
	var body SourceRequest
	shape := decode(bodyFrom(ctx), &body)
	s := payout.Source{
		Caller: callerFrom(ctx).Name, PlayerID: in.PlayerID, PaymentSourceID: in.PaymentSourceID,
		UserID: body.UserID, Currency: payout.Currency(body.Currency),
	}
	if err := together(shape, s.Check(a.Limits)); err != nil {
		return nil, err
	}
	bound, err := a.Ledger.BindSource(ctx, s)
	status, _ := created(!bound)
	return &sourceOutput{status, sourceView(s)}, err
}

func (a *api) sources(ctx context.Context, in *PlayerPath) (*output[Sources], error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	sources, err := a.Ledger.Sources(ctx, callerFrom(ctx).scope(), in.PlayerID)
	return &output[Sources]{Sources{Items: views(sources, sourceView)}}, err
}

func (in *PlayerPath) check() error {
	var wrong payout.Problems
	payout.CheckPlayer(&wrong, in.PlayerID)
	return together(nil, wrong)
}

func sourceView(s payout.Source) Source {
	return Source{PlayerID: s.PlayerID, PaymentSourceID: s.PaymentSourceID, UserID: s.UserID, Currency: string(s.Currency)}
}
