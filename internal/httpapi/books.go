package httpapi

import (
	"context"
	"net/http"
	"time"

	"payouts/internal/ledger"
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
type TransactionList Positions[Transaction]

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

func (a *api) check(ctx context.Context, _ *struct{}) (*output[Check], error) {
	laws, err := a.Ledger.Check(ctx)
	out := &output[Check]{Check{OK: true, Invariants: []ledger.Invariant{}}}
	for _, law := range laws {
		if law.Examples == nil {
			law.Examples = []string{}
		}
		out.Body.OK = out.Body.OK && law.Violations == 0
		out.Body.Invariants = append(out.Body.Invariants, law)
	}
	return out, err
}

func (a *api) transactions(ctx context.Context, in *positionsInput) (*output[TransactionList], error) {
	list, err := positions(ctx, in, a.Ledger.Transactions, func(t ledger.Transaction) int64 { return t.Position }, transactionView)
	return &output[TransactionList]{TransactionList(list)}, err
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
