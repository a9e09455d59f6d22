package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"payouts/internal/payout"
)

// OpenSlow opens a case `slow` for up to limit payouts that are older than
// STUCK_AFTER, not final, and about which nobody is asked yet, whatever they
// wait for: also one whose provider never lets us in is seen by a person.
// Their steps go on. It answers how many it opened.
//
//	Repeats: safe; one open case of the kind per payout
func (l *Ledger) OpenSlow(ctx context.Context, limit int) (opened int, err error) {
	var ids []payout.ID
	rows, err := l.query(ctx, `SELECT id FROM payouts WHERE due_at IS NOT NULL AND created_at <= ?
		AND NOT EXISTS (SELECT 1 FROM cases WHERE cases.payout_id = payouts.id AND cases.status = 'open') ORDER BY created_at LIMIT ?`,
		stored(l.now().Add(-l.timing.StuckAfter)), limit)
	if err := each(rows, err, func(rows *sql.Rows) error {
		var id payout.ID
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}); err != nil {
		return 0, fmt.Errorf("slow payouts: %w", err)
	}
	for _, id := range ids {
		err := l.inTx(ctx, "open slow case", func(t tx) error {
			r, err := l.lock(ctx, t, id)
			if err != nil || r.final() {
				return err
			}
			return r.openCase(ctx, payout.CaseSlow, fmt.Sprintf("not decided for more than %s; its next step: %s", l.timing.StuckAfter, r.step))
		})
		if err != nil {
			return opened, err
		}
		opened++
	}
	return opened, nil
}
