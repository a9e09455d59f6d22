package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"payouts/internal/payout"
)

// Trace answers with the W3C traceparent of the request that asked for a
// payout; "" where that was not traced.
func (l *Ledger) Trace(ctx context.Context, id payout.ID) (traceparent string, err error) {
	err = l.read.QueryRowContext(ctx, l.d.sql("SELECT traceparent FROM traces WHERE payout_id = ?"), string(id)).Scan(&traceparent)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("trace of payout %s: %w", id, err)
	}
	return traceparent, nil
}

// traced keeps what the request's trace is known by, beside the row, so that
// the sweeper's run, and one for late word weeks later, belong to it too.
func (r *row) traced(ctx context.Context) error {
	if r.l.trace == nil {
		return nil
	}
	traceparent := r.l.trace(ctx)
	if traceparent == "" {
		return nil
	}
	return r.t.write(ctx, "INSERT INTO traces (payout_id, traceparent) VALUES (?, ?)", string(r.id), traceparent)
}
