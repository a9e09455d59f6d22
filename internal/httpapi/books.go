package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// Check is the laws of the books and whether they hold.
type Check struct {
	OK         bool               `json:"ok" doc:"No law is broken"`
	Invariants []ledger.Invariant `json:"invariants" nullable:"false" doc:"Each law, how often it is broken, and examples"`
}

// Transaction moves money from one account to another.
type Transaction struct {
	Position    int64      `json:"position" doc:"Dense, from 1, in the order of the hash chain" example:"17"`
	ID          string     `json:"id"`
	Kind        string     `json:"kind" doc:"credit, debit, reserve, settle, release, freeze, unfreeze, return, expose, recover or adjust" example:"reserve"`
	PayoutID    *string    `json:"payout_id" doc:"null: a credit or debit"`
	Attempt     *int       `json:"attempt" doc:"null: about no attempt"`
	EvidenceID  *string    `json:"evidence_id" doc:"The provider's stored word that this money move rests on"`
	BookedAt    time.Time  `json:"booked_at" doc:"Our clock"`
	EffectiveAt *time.Time `json:"effective_at" doc:"The provider's clock, where it has one"`
	Postings    []Posting  `json:"postings" nullable:"false" doc:"Credit is positive; the sum is zero per currency"`
}

// Posting is one side of a transaction.
type Posting struct {
	Account  string `json:"account" example:"player:player-42:held"`
	Currency string `json:"currency" example:"GBP"`
	Amount   int64  `json:"amount_in_minor" example:"1000"`
}

// TransactionList is one page, by position.
type TransactionList struct {
	Items      []Transaction `json:"items" nullable:"false"`
	NextCursor *string       `json:"next_cursor" doc:"The last position of this page; null when there may be no more. To follow the books, ask again with the last position you have seen as cursor"`
}

type checkOutput struct{ Body Check }

type transactionsInput struct {
	Cursor string `query:"cursor" doc:"Positions after this one; without it from the beginning" example:"17"`
	Limit  string `query:"limit" doc:"Page size, 1 to 200; without it 50" example:"50"`
}

type transactionsOutput struct{ Body TransactionList }

// readers may see what belongs to no one caller.
var readers = []Role{RoleOperator, RoleSupport, RoleAuditor}

func (a *api) books() {
	add(a, route{
		method: http.MethodGet, path: "/v1/ledger/check", name: "check-ledger", tag: "ledger", roles: readers,
		summary: "Do the books hold?", about: "Reads the whole ledger: for people and nightly jobs, not for probes.",
	}, a.check)
	add(a, route{
		method: http.MethodGet, path: "/v1/ledger/transactions", name: "list-transactions", tag: "ledger", roles: readers,
		summary: "Every money move, in order", problems: []kind{invalidRequest},
		about: "Committed transactions get a position a moment later; what is listed once never changes.",
	}, a.transactions)
}

func (a *api) check(ctx context.Context, _ *struct{}) (*checkOutput, error) {
	laws, err := a.Ledger.Check(ctx)
	out := &checkOutput{Check{OK: true, Invariants: []ledger.Invariant{}}}
	for _, law := range laws {
		if law.Examples == nil {
			law.Examples = []string{}
		}
		out.Body.OK = out.Body.OK && law.Violations == 0
		out.Body.Invariants = append(out.Body.Invariants, law)
	}
	return out, err
}

func (a *api) transactions(ctx context.Context, in *transactionsInput) (*transactionsOutput, error) {
	var wrong payout.Problems
	limit, after := limitOf(&wrong, in.Limit), int64(0)
	if in.Cursor != "" {
		var err error
		if after, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil || after < 0 {
			wrong = append(wrong, payout.Problem{Field: "cursor", Want: "a position: a whole number from 0"})
		}
	}
	if err := together(nil, wrong); err != nil {
		return nil, err
	}
	transactions, err := a.Ledger.Transactions(ctx, after, limit)
	if err != nil {
		return nil, invalidParameter(err)
	}
	out := &transactionsOutput{TransactionList{Items: []Transaction{}}}
	for _, t := range transactions {
		out.Body.Items = append(out.Body.Items, transactionView(t))
	}
	if n := len(transactions); n == limit {
		out.Body.NextCursor = orNull(strconv.FormatInt(transactions[n-1].Position, 10))
	}
	return out, nil
}

func transactionView(t ledger.Transaction) Transaction {
	v := Transaction{
		Position: t.Position, ID: t.ID, Kind: string(t.Kind), PayoutID: orNull(string(t.PayoutID)), EvidenceID: orNull(t.EvidenceID),
		BookedAt: t.BookedAt.UTC(), EffectiveAt: timeOrNull(t.EffectiveAt),
		Postings: []Posting{
			{t.From, string(t.Money.Currency), -t.Money.Minor},
			{t.To, string(t.Money.Currency), t.Money.Minor},
		},
	}
	if t.Attempt > 0 {
		v.Attempt = &t.Attempt
	}
	return v
}

// invalidParameter is what the ledger refuses in a list: a parameter, such as
// a cursor that is not one of its own.
func invalidParameter(err error) error {
	var wrong payout.Problems
	if errors.As(err, &wrong) {
		return invalid(wrong)
	}
	return err
}
