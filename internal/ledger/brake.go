package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// The brake keeps thousands of payouts from asking a provider that does not
// let us in. It shuts after tripAfter refusals in a row that lie at least
// tripOver apart (one revoked token is refused to many at once), and lets one
// call through now and then to try.
const (
	brakeName    = "credentials"
	tripAfter    = 3
	tripOver     = 10 * time.Second
	shutForLeast = 30 * time.Second
	shutForMost  = 5 * time.Minute
)

// NotLetIn notes that the provider refused our credentials, token or
// signature, and answers when to ask again: zero while the brake is not shut.
func (l *Ledger) NotLetIn(ctx context.Context, why string) (until time.Time, err error) {
	err = l.inTx(ctx, "not let in", func(t tx) error {
		until, err = l.notLetIn(ctx, t, why)
		return err
	})
	return until, err
}

func (l *Ledger) notLetIn(ctx context.Context, t tx, why string) (time.Time, error) {
	var since, shut int64
	var refusals int
	if err := t.row(ctx, `INSERT INTO brakes (name, since, last_at, refusals, shut_until, why) VALUES (?, ?, ?, 1, 0, ?)
		ON CONFLICT (name) DO UPDATE SET since = CASE WHEN brakes.since < excluded.since THEN brakes.since ELSE excluded.since END, last_at = excluded.last_at, refusals = brakes.refusals + 1, why = excluded.why RETURNING since, refusals, shut_until`,
		brakeName, stored(t.now), stored(t.now), why).Scan(&since, &refusals, &shut); err != nil {
		return time.Time{}, err
	}
	age := t.now.Sub(moment(since))
	if brake := (&payout.Braked{Until: moment(shut)}); brake.Holds(t.now) {
		return brake.Until, nil
	}
	if refusals < tripAfter || age < tripOver {
		return time.Time{}, nil
	}
	until := t.now.Add(min(max(age/2, shutForLeast), shutForMost))
	if _, err := t.exec(ctx, "UPDATE brakes SET shut_until = ? WHERE name = ?", stored(until), brakeName); err != nil {
		return until, err
	}
	opened, err := t.openCase(ctx, payout.CaseCredentials, "", "", "the provider does not let us in: "+why+"; nothing is sent meanwhile, and nothing is lost")
	if opened != "" {
		l.log.Error("the provider does not let us in; the brake is shut", zap.String("case_id", opened), zap.String("why", why))
	}
	return until, err
}

// mayAsk refuses with *payout.Braked while the brake is shut. doubted says that
// the brake has a row: the first answer is then to be told with letIn.
const theBrake = "SELECT since, shut_until FROM brakes WHERE name = ?"

func (l *Ledger) mayAsk(ctx context.Context, t tx) (doubted bool, err error) {
	var since, shut int64
	switch err := t.row(ctx, theBrake, brakeName).Scan(&since, &shut); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil || shut == 0:
		return true, err
	}
	if brake := (&payout.Braked{Until: moment(shut)}); brake.Holds(t.now) {
		return true, brake
	}
	// This one tries; the others wait for what becomes of it.
	until := t.now.Add(min(max(t.now.Sub(moment(since))/2, shutForLeast), shutForMost))
	n, err := t.exec(ctx, "UPDATE brakes SET shut_until = ? WHERE name = ? AND shut_until = ?", stored(until), brakeName, shut)
	if err == nil && n == 0 {
		err = &payout.Braked{Until: until}
	}
	return true, err
}

// letIn opens the brake: the provider answered as to somebody it knows.
func (l *Ledger) letIn(ctx context.Context, t tx) error {
	n, err := t.exec(ctx, "DELETE FROM brakes WHERE name = ?", brakeName)
	if err != nil || n == 0 {
		return err
	}
	l.log.Info("the provider lets us in again")
	return t.closeCase(ctx, payout.CaseCredentials, "")
}

// drift counts a value of the provider that this build does not list.
func (r *row) drift(ctx context.Context, field, value string) error {
	r.l.log.Warn("a value of the provider is not listed: drift", zap.String("payout_id", string(r.id)), zap.String("field", field), zap.String("value", value))
	_, err := r.t.exec(ctx, `INSERT INTO drift (field, value, times, first_at, last_at) VALUES (?, ?, 1, ?, ?)
		ON CONFLICT (field, value) DO UPDATE SET times = drift.times + 1, last_at = excluded.last_at`, field, value, stored(r.t.now), stored(r.t.now))
	return err
}

// Drift is a value of the provider that this build does not list.
type Drift struct {
	Field, Value string // failure_reason or status, and what it said
	Times        int
	LastAt       time.Time
}

// Drift lists the values of the provider that this build does not know.
func (l *Ledger) Drift(ctx context.Context) ([]Drift, error) {
	list := []Drift{}
	rows, err := l.query(ctx, "SELECT field, value, times, last_at FROM drift ORDER BY field, value")
	return list, each(rows, err, func(rows scanned) error {
		var d Drift
		var last int64
		err := rows.Scan(&d.Field, &d.Value, &d.Times, &last)
		d.LastAt = moment(last)
		list = append(list, d)
		return err
	})
}
