package ledger

import (
	"context"

	"payouts/internal/payout"
)

// LateNews is what each step that reads asks of the whole inbox.
const LateNews = lateNews

// What is asked of tables that grow for ever, and must be found by an index.
const (
	NotFinal = "SELECT COUNT(*) FROM payouts p WHERE " + notFinal
	Exposing = "SELECT COUNT(*) FROM transactions WHERE " + exposing
	Unsent   = "SELECT occurred_at FROM outbox WHERE " + unsent
	Holds    = "SELECT " + holdsColumns + " FROM attempts WHERE payout_id = 'x'"
)

// Listing is the query of a list's first page.
func Listing(f Filter, ids ...payout.ID) (string, []any) {
	return f.query(payout.KindPayout, page{limit: 50}, ids)
}

// Again says whether a transaction on PostgreSQL that ended so is tried again.
func Again(err error) bool { return dialect{name: "postgres"}.again(err) }

// Talk is what steps use to talk to the database.
type Talk struct{ t tx }

// Within runs fn in one transaction.
func Within(ctx context.Context, l *Ledger, fn func(Talk) error) error {
	return l.inTx(ctx, "test", func(t tx) error { return fn(Talk{t}) })
}

func (t Talk) Write(ctx context.Context, query string, args ...any) error {
	return t.t.write(ctx, query, args...)
}

func (t Talk) Must(ctx context.Context, none error, query string, args ...any) error {
	return t.t.must(ctx, none, query, args...)
}

func (t Talk) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	return t.t.exec(ctx, query, args...)
}

func (t Talk) Ahead(query string, args ...any) { t.t.ahead(query, args...) }

func (t Talk) Answer(ctx context.Context, query string, into *string, args ...any) error {
	return t.t.answer(ctx, question{query, args, func(from scanned) error { return from.Scan(into) }})
}

func (t Talk) Ask(ctx context.Context, query string, args ...any) (n int, err error) {
	err = t.t.ask(ctx, question{query, args, func(from scanned) error { return from.Scan(&n) }})
	return n, err
}

func (t Talk) Int(ctx context.Context, query string, args ...any) (n int, err error) {
	err = t.t.row(ctx, query, args...).Scan(&n)
	return n, err
}
