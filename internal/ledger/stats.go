package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"payouts/internal/payout"
)

// Stats is what the books hold open at one moment: for machines that watch.
// A zero time says that there is nothing to be old.
type Stats struct {
	At      time.Time
	Open    []OpenPayouts
	Unknown Waiting   // sends that may have arrived and were never answered; since their first send
	Window  time.Time // when the first key window ends among those that are still sent again; zero: none is
	Cases   map[payout.CaseKind]Waiting
	Brake   time.Time // since when the brake is shut; zero: it is open
	Drift   []Drift   // values of the provider that this build does not know, the most frequent first, at most driftMost
	Drifted map[string]int

	Unmatched Waiting   // events that nobody owns
	LastNews  time.Time // when the newest event was stored; zero: none ever
	Unread    Waiting   // events of a payout that no step has read
	Unsent    Waiting   // events to the backend, neither delivered nor given up; counted up to unsentMost of each caller
	Unsealed  Waiting   // transactions without a position

	Transactions int64 // with a position: all of them, but for Unsealed
	Exposure     []payout.Money
}

// Waiting is how many wait, and since when the oldest of them does.
type Waiting struct {
	Count  int
	Oldest time.Time
}

// OpenPayouts are the payouts of one kind that are not final, in one status
// and with one reason.
type OpenPayouts struct {
	Kind   payout.Kind
	Status payout.Status
	Reason payout.Reason
	Count  int
	Oldest time.Time // since when the one that is longest in this status is in it
	Within []int     // how many of them are in it for at most each of Bounds
}

// Bounds are how long payouts may be in a status, the shortest first, so that
// those that went through and those that hang are told apart: 26h is
// STUCK_AFTER where nothing else is configured.
func Bounds() []time.Duration { return slices.Clone(bounds) }

var bounds = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute,
	time.Hour, 4 * time.Hour, 12 * time.Hour, 26 * time.Hour, 72 * time.Hour, 168 * time.Hour}

const (
	driftMost  = 20
	unsentMost = 100_000
)

// notFinal selects payouts by the index on status, in which the executed ones are not.
const notFinal = "p.status <> 'executed' AND p.status IN ('accepted', 'pending', 'authorized', 'parked')"

// exposing selects transactions by the index on the house's exposure.
const exposing = "from_account = 'house:exposure' OR to_account = 'house:exposure'"

// unsent selects a caller's events by the index of those that are neither delivered nor given up.
const unsent = "caller = ? AND next_try_at IS NOT NULL ORDER BY next_try_at LIMIT ?"

// Stats reads what is open, outside of transactions. Its cost grows with what
// is open, not with what the books hold.
func (l *Ledger) Stats(ctx context.Context) (Stats, error) {
	s := Stats{At: l.now().UTC(), Cases: map[payout.CaseKind]Waiting{}, Drifted: map[string]int{}}
	for what, read := range map[string]func(context.Context, *Stats) error{
		"open payouts": l.statsOpen, "unknown outcomes": l.statsUnknown, "cases": l.statsCases, "drift": l.statsDrift,
		"waiting": l.statsWaiting, "transactions": l.statsTransactions,
	} {
		if err := read(ctx, &s); err != nil {
			return Stats{}, fmt.Errorf("stats: %s: %w", what, err)
		}
	}
	return s, nil
}

func (l *Ledger) statsOpen(ctx context.Context, s *Stats) error {
	within, args := "", make([]any, len(bounds))
	for i, b := range bounds {
		within, args[i] = within+", COUNT(CASE WHEN since >= ? THEN 1 END)", stored(s.At.Add(-b))
	}
	rows, err := l.query(ctx, "SELECT kind, status, failure_reason, COUNT(*), MIN(since)"+within+` FROM (
		SELECT p.kind, p.status, p.failure_reason, CASE WHEN p.status_at = 0 THEN p.created_at ELSE p.status_at END AS since FROM payouts p
		WHERE `+notFinal+") unfinished GROUP BY kind, status, failure_reason", args...)
	return each(rows, err, func(rows scanned) error {
		o := OpenPayouts{Within: make([]int, len(bounds))}
		var oldest int64
		into := []any{&o.Kind, &o.Status, &o.Reason, &o.Count, &oldest}
		for i := range o.Within {
			into = append(into, &o.Within[i])
		}
		err := rows.Scan(into...)
		o.Oldest = moment(oldest)
		s.Open = append(s.Open, o)
		return err
	})
}

// statsUnknown reads the send log of what has no id at the provider. A send
// whose deadline has not come is under way, and not unknown yet. CROSS JOIN has
// SQLite begin with the open payouts, not with all attempts that have no id.
func (l *Ledger) statsUnknown(ctx context.Context, s *Stats) error {
	var first, window int64
	err := l.read.QueryRowContext(ctx, l.d.sql(`SELECT COUNT(*), COALESCE(MIN(first), 0), COALESCE(MIN(CASE WHEN step = 'create' THEN first END), 0) FROM (
		SELECT p.step AS step, MIN(s.started_at) AS first FROM payouts p CROSS JOIN attempts a CROSS JOIN sends s
		WHERE `+notFinal+` AND a.payout_id = p.id AND a.number = p.attempt AND a.provider_payout_id IS NULL AND a.closed_at IS NULL
		AND s.payout_id = a.payout_id AND s.attempt = a.number AND COALESCE(s.answer, '') <> 'not_sent' GROUP BY p.id, p.step HAVING SUM(CASE WHEN s.answer IS NOT NULL OR s.deadline_at < ? THEN 1 ELSE 0 END) > 0) unanswered`), stored(s.At)).
		Scan(&s.Unknown.Count, &first, &window)
	s.Unknown.Oldest = moment(first)
	if window != 0 {
		s.Window = moment(window).Add(l.timing.KeyWindow)
	}
	return err
}

func (l *Ledger) statsCases(ctx context.Context, s *Stats) error {
	rows, err := l.query(ctx, "SELECT kind, COUNT(*), MIN(opened_at) FROM cases WHERE status = 'open' GROUP BY kind")
	if err := each(rows, err, func(rows scanned) error {
		var kind payout.CaseKind
		var w Waiting
		var oldest int64
		err := rows.Scan(&kind, &w.Count, &oldest)
		w.Oldest = moment(oldest)
		s.Cases[kind] = w
		return err
	}); err != nil {
		return err
	}
	var since sql.NullInt64
	err = l.read.QueryRowContext(ctx, "SELECT MIN(since) FROM brakes WHERE shut_until <> 0").Scan(&since)
	s.Brake = moment(since.Int64)
	return err
}

func (l *Ledger) statsDrift(ctx context.Context, s *Stats) error {
	rows, err := l.query(ctx, "SELECT field, SUM(times) FROM drift GROUP BY field")
	if err := each(rows, err, func(rows scanned) error {
		var field string
		var times int
		err := rows.Scan(&field, &times)
		s.Drifted[field] = times
		return err
	}); err != nil {
		return err
	}
	rows, err = l.query(ctx, "SELECT field, value, times, last_at FROM drift ORDER BY times DESC, field, value LIMIT ?", driftMost)
	return each(rows, err, func(rows scanned) error {
		var d Drift
		var last int64
		err := rows.Scan(&d.Field, &d.Value, &d.Times, &last)
		d.LastAt = moment(last)
		s.Drift = append(s.Drift, d)
		return err
	})
}

func (l *Ledger) statsWaiting(ctx context.Context, s *Stats) error {
	var newest int64
	if err := l.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(received_at), 0) FROM inbox").Scan(&newest); err != nil {
		return err
	}
	s.LastNews = moment(newest)
	for _, q := range []struct {
		into  *Waiting
		query string
		args  []any
	}{
		// The index of what is unapplied: that by payout holds all that was ever about none.
		{&s.Unmatched, "SELECT COUNT(CASE WHEN payout_id IS NULL THEN 1 END), COALESCE(MIN(CASE WHEN payout_id IS NULL THEN received_at END), 0) FROM inbox WHERE applied_at IS NULL", nil},
		{&s.Unread, "SELECT COUNT(payout_id), COALESCE(MIN(CASE WHEN payout_id IS NOT NULL THEN received_at END), 0) FROM inbox WHERE applied_at IS NULL", nil},
		{&s.Unsealed, "SELECT COUNT(*), COALESCE(MIN(booked_at), 0) FROM transactions WHERE position IS NULL", nil},
	} {
		var oldest int64
		if err := l.read.QueryRowContext(ctx, l.d.sql(q.query), q.args...).Scan(&q.into.Count, &oldest); err != nil {
			return err
		}
		q.into.Oldest = moment(oldest)
	}
	return l.statsUnsent(ctx, s)
}

// statsUnsent counts each caller's events up to a bound: those of a caller without
// a target are kept for ever.
func (l *Ledger) statsUnsent(ctx context.Context, s *Stats) error {
	callers, err := l.EventCallers(ctx)
	if err != nil {
		return err
	}
	for _, caller := range callers {
		var count int
		var since int64
		if err := l.read.QueryRowContext(ctx, l.d.sql("SELECT COUNT(*), COALESCE(MIN(occurred_at), 0) FROM (SELECT occurred_at FROM outbox WHERE "+unsent+") unsent"), caller, unsentMost).Scan(&count, &since); err != nil {
			return err
		}
		s.Unsent.Count += count
		if oldest := moment(since); count > 0 && (s.Unsent.Oldest.IsZero() || oldest.Before(s.Unsent.Oldest)) {
			s.Unsent.Oldest = oldest
		}
	}
	return nil
}

func (l *Ledger) statsTransactions(ctx context.Context, s *Stats) error {
	if err := l.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(position), 0) FROM transactions").Scan(&s.Transactions); err != nil {
		return err
	}
	rows, err := l.query(ctx, `SELECT currency, SUM(CASE from_account WHEN 'house:exposure' THEN amount_in_minor ELSE -amount_in_minor END) FROM transactions
		WHERE `+exposing+` GROUP BY currency ORDER BY currency`)
	return each(rows, err, func(rows scanned) error {
		var m payout.Money
		err := rows.Scan(&m.Currency, &m.Minor)
		s.Exposure = append(s.Exposure, m)
		return err
	})
}
