package ledger

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"payouts/internal/payout"
)

const caseColumn = `COALESCE((SELECT id FROM cases WHERE cases.payout_id = payouts.id AND cases.status = 'open' ORDER BY opened_at LIMIT 1), '')`

const providerIDColumn = `COALESCE((SELECT provider_payout_id FROM attempts WHERE attempts.payout_id = payouts.id AND attempts.number = payouts.attempt), '')`

const viewColumns = rowColumns + ", updated_at, " + caseColumn + ", " + providerIDColumn

func scanView(from interface{ Scan(...any) error }) (Payout, error) {
	var r row
	var updated int64
	var caseID, providerID string
	err := r.scan(extended{from, []any{&updated, &caseID, &providerID}})
	p := r.view()
	p.UpdatedAt, p.CaseID, p.ProviderPayoutID = moment(updated), caseID, providerID
	return p, err
}

// extended scans more columns after those that are asked for.
type extended struct {
	from interface{ Scan(...any) error }
	more []any
}

func (e extended) Scan(into ...any) error { return e.from.Scan(append(into, e.more...)...) }

// Payout reads one payout with its attempts and timeline. An empty caller sees
// every caller's.
//
//	Errors: payout.ErrNotFound
func (l *Ledger) Payout(ctx context.Context, caller string, kind payout.Kind, id payout.ID) (Payout, error) {
	query := "SELECT " + viewColumns + " FROM payouts WHERE id = ? AND kind = ? AND (? = '' OR caller = ?)"
	p, err := scanView(l.read.QueryRowContext(ctx, l.d.sql(query), string(id), string(kind), caller, caller))
	if errors.Is(err, sql.ErrNoRows) {
		return p, fmt.Errorf("%s %s: %w", kind, id, payout.ErrNotFound)
	}
	if err != nil {
		return p, fmt.Errorf("read payout: %w", err)
	}
	rows, err := l.query(ctx, `SELECT a.number, a.idempotency_key, COALESCE(a.provider_payout_id, ''), a.status, a.failure_reason, COUNT(s.number), COALESCE(MIN(s.started_at), 0)
		FROM attempts a LEFT JOIN sends s ON s.payout_id = a.payout_id AND s.attempt = a.number
		WHERE a.payout_id = ? GROUP BY a.payout_id, a.number, a.idempotency_key, a.provider_payout_id, a.status, a.failure_reason ORDER BY a.number`, string(id))
	if err := each(rows, err, func(rows scanned) error {
		var a Attempt
		var first int64
		err := rows.Scan(&a.Number, &a.IdempotencyKey, &a.ProviderPayoutID, &a.Status, &a.Reason, &a.Sends, &first)
		a.FirstSentAt = moment(first)
		p.Attempts = append(p.Attempts, a)
		return err
	}); err != nil {
		return p, fmt.Errorf("read attempts: %w", err)
	}
	rows, err = l.query(ctx, "SELECT at, status, what, evidence_id FROM timeline WHERE payout_id = ? ORDER BY number", string(id))
	if err := each(rows, err, func(rows scanned) error {
		var m Moment
		var at int64
		err := rows.Scan(&at, &m.Status, &m.What, &m.EvidenceID)
		m.At = moment(at)
		p.Timeline = append(p.Timeline, m)
		return err
	}); err != nil {
		return p, fmt.Errorf("read timeline: %w", err)
	}
	return p, nil
}

// Payouts lists payouts, newest first, and the cursor of the next page, empty
// on the last.
//
//	Errors: payout.Problems naming limit or cursor
func (l *Ledger) Payouts(ctx context.Context, kind payout.Kind, f Filter) (items []Payout, next string, err error) {
	page, err := newPage(f.Limit, f.Cursor)
	if err != nil {
		return nil, "", err
	}
	var ids []payout.ID // that the key leads to
	if f.IdempotencyKey != "" {
		callers := []string{f.Caller}
		if f.Caller == "" {
			if callers, err = l.callers(ctx, "payouts", ""); err != nil {
				return nil, "", fmt.Errorf("list payouts: %w", err)
			}
		}
		for _, caller := range callers {
			ids = append(ids, payout.NewID(kind, caller, f.IdempotencyKey))
		}
	}
	query, args := f.query(kind, page, ids)
	rows, err := l.query(ctx, query, args...)
	items = []Payout{}
	if err := each(rows, err, func(rows scanned) error {
		p, err := scanView(rows)
		items = append(items, p)
		return err
	}); err != nil {
		return nil, "", fmt.Errorf("list payouts: %w", err)
	}
	if len(items) > page.limit {
		items = items[:page.limit]
		last := items[page.limit-1]
		next = cursorOf(stored(last.CreatedAt), string(last.ID))
	}
	return items, next, nil
}

// query is what lists a page. An idempotency key is looked for by the ids that
// follow from it and the kind.
func (f Filter) query(kind payout.Kind, page page, ids []payout.ID) (string, []any) {
	where, args := []string{"kind = ?"}, []any{string(kind)}
	if f.IdempotencyKey != "" {
		places := []string{"''"}
		where, args = nil, nil
		for _, id := range ids {
			places, args = append(places, "?"), append(args, string(id))
		}
		where = append(where, "id IN ("+strings.Join(places, ", ")+")")
	}
	for _, equal := range []struct{ column, value string }{
		{"caller", f.Caller}, {"player_id", f.PlayerID}, {"status", string(f.Status)}, {"failure_reason", string(f.Reason)}, {"idempotency_key", f.IdempotencyKey},
	} {
		if equal.value != "" {
			where, args = append(where, equal.column+" = ?"), append(args, equal.value)
		}
	}
	// What the indexes say of themselves.
	if f.Status != "" && f.Status != payout.StatusExecuted {
		where = append(where, "status <> 'executed'")
	}
	if f.Reason != "" {
		where = append(where, "failure_reason <> ''")
	}
	if page.after {
		where, args = append(where, "(created_at < ? OR (created_at = ? AND id < ?))"), append(args, page.at, page.at, page.id)
	}
	return "SELECT " + viewColumns + " FROM payouts WHERE " + strings.Join(where, " AND ") + " ORDER BY created_at DESC, id DESC LIMIT ?", append(args, page.limit+1)
}

// callers lists who has such rows in a table that is indexed by caller: from one to
// the next, since there may be many rows of each.
func (l *Ledger) callers(ctx context.Context, table, such string) ([]string, error) {
	list := []string{}
	for caller := ""; ; list = append(list, caller) {
		var next sql.NullString
		if err := l.read.QueryRowContext(ctx, l.d.sql("SELECT MIN(caller) FROM "+table+" WHERE caller > ?"+such), caller).Scan(&next); err != nil {
			return nil, err
		}
		if !next.Valid {
			return list, nil
		}
		caller = next.String
	}
}

func readCursor(cursor string) (int64, string, error) {
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, "", err
	}
	at, name, _ := strings.Cut(string(text), "/")
	micros, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return 0, "", err
	}
	id, err := payout.ParseID(name)
	return micros, string(id), err
}

const transactionColumns = `id, COALESCE(position, 0), kind, COALESCE(payout_id, ''), attempt, COALESCE(slot, ''), evidence_id, reason, from_account, to_account, amount_in_minor, currency,
	booked_at, effective_at, COALESCE(hash, '')`

func scanTransaction(from interface{ Scan(...any) error }, t *Transaction) error {
	var booked, effective int64
	err := from.Scan(&t.ID, &t.Position, &t.Kind, &t.PayoutID, &t.Attempt, &t.Slot, &t.EvidenceID, &t.Reason, &t.From, &t.To, &t.Money.Minor, &t.Money.Currency,
		&booked, &effective, &t.Hash)
	t.BookedAt, t.EffectiveAt = moment(booked), moment(effective)
	return err
}

// Transactions lists sealed transactions by position, after cursor. What is
// not sealed yet follows later, never in between.
func (l *Ledger) Transactions(ctx context.Context, cursor int64, limit int) ([]Transaction, error) {
	list := []Transaction{}
	rows, err := l.query(ctx, "SELECT "+transactionColumns+" FROM transactions WHERE position > ? ORDER BY position LIMIT ?", cursor, limit)
	return list, each(rows, err, func(rows scanned) error {
		var t Transaction
		err := scanTransaction(rows, &t)
		list = append(list, t)
		return err
	})
}

// Evidence opens the sealed body of one piece of evidence.
//
//	Errors: payout.ErrNotFound; a key that SEAL_KEY_FILE does not hold
func (l *Ledger) Evidence(ctx context.Context, id string) ([]byte, error) {
	var key string
	var sealed []byte
	err := l.read.QueryRowContext(ctx, l.d.sql("SELECT seal_key, body FROM evidence WHERE id = ?"), id).Scan(&key, &sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("evidence %s: %w", id, payout.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return l.seal.open(key, "evidence/"+id, sealed)
}
