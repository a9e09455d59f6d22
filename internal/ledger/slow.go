package ledger

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// OpenSlow opens a case `slow` for up to limit payouts that are older than
// STUCK_AFTER (a refund: REFUND_STUCK_AFTER), not final, and about which nobody
// is asked yet, whatever they wait for: also one whose provider never lets us
// in is seen by a person. Their steps go on. It answers how many it opened.
//
//	Repeats: safe; one open case of the kind per payout
func (l *Ledger) OpenSlow(ctx context.Context, limit int) (opened int, err error) {
	for kind, after := range map[payout.Kind]time.Duration{payout.KindPayout: l.timing.StuckAfter, payout.KindRefund: l.timing.RefundStuckAfter} {
		oldest := stored(l.now().Add(-after))
		ids, err := l.ids(ctx, `SELECT id FROM payouts WHERE due_at IS NOT NULL AND status NOT IN ('executed', 'failed', 'returned') AND kind = ? AND created_at <= ? AND NOT EXISTS (SELECT 1 FROM cases
			WHERE cases.payout_id = payouts.id AND (cases.status = 'open' OR cases.kind = 'slow' AND cases.closed_by <> '' AND cases.closed_at > ?)) ORDER BY created_at LIMIT ?`,
			string(kind), oldest, oldest, limit)
		if err != nil {
			return opened, fmt.Errorf("slow payouts: %w", err)
		}
		for _, id := range ids {
			err := l.inTx(ctx, "open slow case", func(t tx) error {
				r, err := l.lock(ctx, t, payout.ID(id))
				if err != nil || r.status.Final() {
					return err
				}
				return r.openCase(ctx, payout.CaseSlow, fmt.Sprintf("not decided for more than %s; its next step: %s", after, r.step))
			})
			if err != nil {
				return opened, err
			}
			opened++
		}
	}
	return opened, nil
}

// OpenUnmatched opens a case `unmatched_event` for up to limit of the
// provider's payouts about which there are events, and which nobody here asked
// for, for longer than UNMATCHED_AFTER. It answers how many it looked at.
//
//	Repeats: safe; one open case per id of the provider's
func (l *Ledger) OpenUnmatched(ctx context.Context, limit int) (opened int, err error) {
	names, err := l.ids(ctx, `SELECT DISTINCT provider_payout_id FROM inbox i WHERE payout_id IS NULL AND applied_at IS NULL AND received_at <= ? AND provider_payout_id <> ''
		AND NOT EXISTS (SELECT 1 FROM cases WHERE payout_id = '' AND kind = 'unmatched_event' AND subject = i.provider_payout_id AND status = 'open') LIMIT ?`,
		stored(l.now().Add(-l.timing.UnmatchedAfter)), limit)
	if err != nil {
		return 0, fmt.Errorf("unmatched events: %w", err)
	}
	for _, name := range names {
		err := l.inTx(ctx, "open unmatched case", func(t tx) error {
			// The id may have become known since: whoever learnt it took the events.
			var n int
			if err := t.row(ctx, "SELECT COUNT(*) FROM inbox WHERE provider_payout_id = ? AND payout_id IS NULL AND applied_at IS NULL", name).Scan(&n); err != nil || n == 0 {
				return err
			}
			id, err := t.openCase(ctx, payout.CaseUnmatchedEvent, "", name,
				fmt.Sprintf("%d signed events are about %s, which nobody here asked for: was it made in the provider's Console, or by another program with our credentials?", n, name))
			if id != "" {
				opened++
				l.log.Error("events about a payout that nobody here asked for", zap.String("case_id", id), zap.String("provider_payout_id", name))
			}
			return err
		})
		if err != nil {
			return opened, err
		}
	}
	return opened, nil
}

func (l *Ledger) ids(ctx context.Context, query string, args ...any) (list []string, err error) {
	rows, err := l.query(ctx, query, args...)
	return list, each(rows, err, func(rows scanned) error {
		var id string
		err := rows.Scan(&id)
		list = append(list, id)
		return err
	})
}
