package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"payouts/internal/payout"
)

// traceOfEvent is the traceparent of the request that what an event tells of
// goes back to: a case's payout may have one.
const traceOfEvent = `COALESCE((SELECT traceparent FROM traces WHERE traces.payout_id = CASE WHEN outbox.type = 'case.opened'
	THEN (SELECT cases.payout_id FROM cases WHERE cases.id = outbox.subject_id) ELSE outbox.subject_id END), '')`

// Claim takes up to limit events of a caller that are due for delivery, and
// keeps other relays from them for hold. An event that is not marked in that
// time is due again: at least once, in the order of version for those who
// sort. An empty caller takes every caller's.
func (l *Ledger) Claim(ctx context.Context, caller string, limit int, hold time.Duration) (events []payout.Event, err error) {
	err = l.inTx(ctx, "claim events", func(t tx) error {
		events = nil
		where, args := "next_try_at <= ?", []any{stored(t.now)}
		if caller != "" {
			where, args = where+" AND caller = ?", append(args, caller)
		}
		rows, err := t.rows(ctx, "SELECT id, caller, subject_id, version, type, occurred_at, data, tries, "+traceOfEvent+" FROM outbox WHERE "+where+" ORDER BY next_try_at, version LIMIT ?"+t.d.skipLocked(),
			append(args, limit)...)
		if err := each(rows, err, func(rows scanned) error {
			var e payout.Event
			var at int64
			err := rows.Scan(&e.ID, &e.Caller, &e.SubjectID, &e.Version, &e.Type, &at, &e.Data, &e.Tries, &e.Traceparent)
			e.OccurredAt = moment(at)
			events = append(events, e)
			return err
		}); err != nil {
			return err
		}
		for _, e := range events {
			if err := t.write(ctx, "UPDATE outbox SET next_try_at = ? WHERE id = ?", stored(t.now.Add(hold)), e.ID); err != nil {
				return err
			}
		}
		return nil
	})
	return events, err
}

// EventCallers lists the callers who have events that are neither delivered
// nor given up.
func (l *Ledger) EventCallers(ctx context.Context) ([]string, error) {
	list, err := l.callers(ctx, "outbox", " AND next_try_at IS NOT NULL")
	if err != nil {
		return nil, fmt.Errorf("callers with events: %w", err)
	}
	return list, nil
}

// Sent marks an event as delivered.
func (l *Ledger) Sent(ctx context.Context, id string) error {
	return l.inTx(ctx, "mark event sent", func(t tx) error {
		return t.write(ctx, "UPDATE outbox SET sent_at = ?, tries = tries + 1, next_try_at = NULL, last_error = '' WHERE id = ?", stored(t.now), id)
	})
}

// NotSent keeps an event for another try at again, or for none when again is
// zero; why is kept for people.
func (l *Ledger) NotSent(ctx context.Context, id string, again time.Time, why string) error {
	return l.inTx(ctx, "mark event unsent", func(t tx) error {
		var next any
		if !again.IsZero() {
			next = stored(again)
		}
		return t.write(ctx, "UPDATE outbox SET tries = tries + 1, next_try_at = ?, last_error = ? WHERE id = ? AND sent_at IS NULL", next, why, id)
	})
}

// DuePayouts lists up to limit payouts that the sweeper must look at, and
// gives each some time until it is due again.
func (l *Ledger) DuePayouts(ctx context.Context, limit int) (due []payout.Due, err error) {
	err = l.inTx(ctx, "due payouts", func(t tx) error {
		rows, err := t.rows(ctx, "SELECT id, kind, player_id, amount_in_minor, currency, status FROM payouts WHERE due_at <= ? ORDER BY due_at LIMIT ?"+t.d.skipLocked(), stored(t.now), limit)
		if due, err = scanDue(rows, err); err != nil {
			return err
		}
		for _, d := range due {
			if err := t.write(ctx, "UPDATE payouts SET due_at = ? WHERE id = ?", stored(t.now.Add(sweepLook*l.timing.SweepEvery)), string(d.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	return due, err
}

// oldest is since when a payout's news, or what people decided, waits.
const oldest = `COALESCE((SELECT MIN(i.received_at) FROM inbox i WHERE i.payout_id = payouts.id AND i.applied_at IS NULL),
	(SELECT MIN(d.decided_at) FROM resolutions d WHERE d.payout_id = payouts.id AND d.status = 'approved'), woken_at)`

// LateNews lists payouts that are final and yet have news, or a decision of
// people, that no step has read: their runs are over, so another one reads it.
// The pauses between two listings of one payout double.
func (l *Ledger) LateNews(ctx context.Context, limit int) (list []payout.Due, err error) {
	err = l.inTx(ctx, "late news", func(t tx) error {
		rows, err := t.rows(ctx, `SELECT id, kind, player_id, amount_in_minor, currency, status FROM payouts
			WHERE woken_at <= ? AND due_at IS NULL AND ? - woken_at >= woken_at - `+oldest+` ORDER BY woken_at LIMIT ?`+t.d.skipLocked(), stored(t.now), stored(t.now), limit)
		if list, err = scanDue(rows, err); err != nil {
			return err
		}
		for _, d := range list {
			if err := t.write(ctx, "UPDATE payouts SET woken_at = ? WHERE id = ?", stored(t.now), string(d.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

func scanDue(rows cursor, err error) (list []payout.Due, _ error) {
	return list, each(rows, err, func(rows scanned) error {
		var d payout.Due
		err := rows.Scan(&d.ID, &d.Kind, &d.PlayerID, &d.Money.Minor, &d.Money.Currency, &d.Status)
		list = append(list, d)
		return err
	})
}

// Unread lists payouts whose news no step has applied, though their runs were
// woken at least age ago: they are to be woken again. The pauses double, so
// that an outage of days wakes a run some fifteen times, not thousands.
func (l *Ledger) Unread(ctx context.Context, age time.Duration, limit int) (list []payout.Stored, err error) {
	err = l.inTx(ctx, "unread", func(t tx) error {
		list = nil
		rows, err := t.rows(ctx, `SELECT id, kind, status, (SELECT MIN(i.id) FROM inbox i WHERE i.payout_id = payouts.id AND i.applied_at IS NULL) FROM payouts
			WHERE woken_at <= ? AND due_at IS NOT NULL AND ? - woken_at >= woken_at - `+oldest+` ORDER BY woken_at LIMIT ?`+t.d.skipLocked(),
			stored(t.now.Add(-age)), stored(t.now), limit)
		if err := each(rows, err, func(rows scanned) error {
			var s payout.Stored
			var inbox sql.NullString // none where people decided something
			var status payout.Status
			err := rows.Scan(&s.PayoutID, &s.Kind, &status, &inbox)
			s.InboxID, s.Late = inbox.String, status.Final()
			list = append(list, s)
			return err
		}); err != nil {
			return err
		}
		for _, s := range list {
			if err := t.write(ctx, "UPDATE payouts SET woken_at = ? WHERE id = ?", stored(t.now), string(s.PayoutID)); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// CountOpen counts payouts that are not final, by status: for the sweeper's report.
func (l *Ledger) CountOpen(ctx context.Context) (map[payout.Status]int, error) {
	counts := map[payout.Status]int{}
	rows, err := l.query(ctx, "SELECT status, COUNT(*) FROM payouts WHERE due_at IS NOT NULL GROUP BY status")
	return counts, each(rows, err, func(rows scanned) error {
		var s payout.Status
		var n int
		err := rows.Scan(&s, &n)
		counts[s] = n
		return err
	})
}
