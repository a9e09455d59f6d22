package ledger

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"payouts/internal/payout"
)

const caseColumns = `c.id, c.kind, c.status, c.payout_id, COALESCE(p.kind, ''), COALESCE(p.player_id, ''), COALESCE(p.amount_in_minor, 0), COALESCE(p.currency, ''),
	c.subject, c.why, COALESCE(p.version, c.version), c.version, c.opened_at, COALESCE(c.closed_at, 0), c.closed_by FROM cases c LEFT JOIN payouts p ON p.id = c.payout_id`

func scanCase(from interface{ Scan(...any) error }) (c Case, err error) {
	var opened, closed int64
	err = from.Scan(&c.ID, &c.Kind, &c.Status, &c.PayoutID, &c.PayoutKind, &c.PlayerID, &c.Money.Minor, &c.Money.Currency, &c.Subject, &c.Why, &c.Version, &c.Questions,
		&opened, &closed, &c.ClosedBy)
	c.OpenedAt, c.ClosedAt = moment(opened), moment(closed)
	if c.Status == "closed" && c.ClosedBy == "" {
		c.ClosedBy = "the provider's word"
	}
	return c, err
}

func (t tx) caseOf(ctx context.Context, id string) (Case, error) {
	c, err := scanCase(t.row(ctx, "SELECT "+caseColumns+" WHERE c.id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("case %s: %w", id, payout.ErrNotFound)
	}
	return c, err
}

// Cases lists cases, oldest first, and the cursor of the next page, empty on
// the last.
//
//	Errors: payout.Problems naming limit or cursor
func (l *Ledger) Cases(ctx context.Context, f CaseFilter) (items []Case, next string, err error) {
	page, err := newPage(f.Limit, f.Cursor)
	if err != nil {
		return nil, "", err
	}
	where, args := []string{"1 = 1"}, []any{}
	for _, equal := range []struct{ column, value string }{{"c.status", f.Status}, {"c.kind", string(f.Kind)}, {"c.payout_id", string(f.PayoutID)}} {
		if equal.value != "" {
			where, args = append(where, equal.column+" = ?"), append(args, equal.value)
		}
	}
	if page.after {
		where, args = append(where, "(c.opened_at > ? OR (c.opened_at = ? AND c.id > ?))"), append(args, page.at, page.at, page.id)
	}
	rows, err := l.query(ctx, "SELECT "+caseColumns+" WHERE "+strings.Join(where, " AND ")+" ORDER BY c.opened_at, c.id LIMIT ?", append(args, page.limit+1)...)
	items = []Case{}
	if err := each(rows, err, func(rows scanned) error {
		c, err := scanCase(rows)
		items = append(items, c)
		return err
	}); err != nil {
		return nil, "", fmt.Errorf("list cases: %w", err)
	}
	if len(items) > page.limit {
		items = items[:page.limit]
		last := items[page.limit-1]
		next = cursorOf(stored(last.OpenedAt), last.ID)
	}
	return items, next, nil
}

// Case reads one case with its evidence, what may be proposed now, and what
// was proposed before.
//
//	Errors: payout.ErrNotFound
func (l *Ledger) Case(ctx context.Context, id string) (c Case, err error) {
	err = l.inTx(ctx, "case", func(t tx) error {
		var r *row
		if c, r, err = l.lockCase(ctx, t, id); err != nil {
			return err
		}
		if c.Resolutions, err = t.resolutions(ctx, "case_id = ? ORDER BY number", id); err != nil {
			return err
		}
		if c.Evidence, err = t.heardOf(ctx, c.PayoutID); err != nil || c.Status != "open" {
			return err
		}
		for _, offer := range payout.Offers(c.Kind) {
			err := mayResolve(ctx, c, r, offer.Action, seen{c.Version, c.Questions}, decision{})
			var refused *payout.Refusal
			switch {
			case errors.As(err, &refused):
				c.NotNow = append(c.NotNow, refused.Why)
			case err != nil:
				return err
			default:
				c.Actions = append(c.Actions, offer)
			}
		}
		return nil
	})
	return c, err
}

func (t tx) heardOf(ctx context.Context, id payout.ID) (list []Evidence, err error) {
	rows, err := t.rows(ctx, `SELECT id, attempt, kind, provider_payout_id, provider_status, failure_reason, asked_at, stored_at FROM evidence
		WHERE payout_id = ? ORDER BY stored_at DESC, id DESC LIMIT 100`, string(id))
	return list, each(rows, err, func(rows scanned) error {
		var e Evidence
		var asked, at int64
		err := rows.Scan(&e.ID, &e.Attempt, &e.Kind, &e.ProviderPayoutID, &e.ProviderStatus, &e.Reason, &asked, &at)
		e.AskedAt, e.StoredAt = moment(asked), moment(at)
		list = append(list, e)
		return err
	})
}

// Inbox lists stored events, newest first, and the cursor of the next page.
//
//	Errors: payout.Problems naming limit or cursor
func (l *Ledger) Inbox(ctx context.Context, f InboxFilter) (items []InboxItem, next string, err error) {
	page, err := newPage(f.Limit, f.Cursor)
	if err != nil {
		return nil, "", err
	}
	where, args := []string{"1 = 1"}, []any{}
	if f.PayoutID != "" {
		where, args = append(where, "payout_id = ?"), append(args, string(f.PayoutID))
	}
	if f.Unmatched {
		where = append(where, "payout_id IS NULL AND applied_at IS NULL")
	}
	if page.after {
		where, args = append(where, "(received_at < ? OR (received_at = ? AND id < ?))"), append(args, page.at, page.at, page.id)
	}
	rows, err := l.query(ctx, `SELECT id, event_id, type, provider_payout_id, COALESCE(payout_id, ''), attempt, claimed_status, failure_reason, received_at, repeats,
		COALESCE(applied_at, 0), applied_by FROM inbox WHERE `+strings.Join(where, " AND ")+" ORDER BY received_at DESC, id DESC LIMIT ?", append(args, page.limit+1)...)
	items = []InboxItem{}
	if err := each(rows, err, func(rows scanned) error {
		var i InboxItem
		var received, applied int64
		err := rows.Scan(&i.ID, &i.EventID, &i.Type, &i.ProviderPayoutID, &i.PayoutID, &i.Attempt, &i.ClaimedStatus, &i.Reason, &received, &i.Repeats, &applied, &i.AppliedBy)
		i.ReceivedAt, i.AppliedAt = moment(received), moment(applied)
		items = append(items, i)
		return err
	}); err != nil {
		return nil, "", fmt.Errorf("list inbox: %w", err)
	}
	if len(items) > page.limit {
		items = items[:page.limit]
		last := items[page.limit-1]
		next = cursorOf(stored(last.ReceivedAt), last.ID)
	}
	return items, next, nil
}

// Audit lists what people did, by position, after cursor.
func (l *Ledger) Audit(ctx context.Context, cursor int64, limit int) ([]AuditLine, error) {
	list := []AuditLine{}
	rows, err := l.query(ctx, "SELECT position, at, who, what, case_id, payout_id, detail FROM audit WHERE position > ? ORDER BY position LIMIT ?", cursor, limit)
	return list, each(rows, err, func(rows scanned) error {
		var a AuditLine
		var at int64
		err := rows.Scan(&a.Position, &at, &a.Who, &a.What, &a.CaseID, &a.PayoutID, &a.Detail)
		a.At = moment(at)
		list = append(list, a)
		return err
	})
}

// page is where a list goes on.
type page struct {
	limit int
	after bool
	at    int64 // micros
	id    string
}

func newPage(limit int, cursor string) (p page, err error) {
	if p.limit = limit; limit == 0 {
		p.limit = 50
	}
	if p.limit < 1 || p.limit > 200 {
		return p, payout.Problems{{Field: "limit", Want: "want 1 to 200"}}
	}
	if cursor == "" {
		return p, nil
	}
	p.after = true
	if p.at, p.id, err = readCursor(cursor); err != nil {
		err = payout.Problems{{Field: "cursor", Want: "want the next_cursor of the page before, unchanged"}}
	}
	return p, err
}

func cursorOf(at int64, id string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d/%s", at, id))
}
