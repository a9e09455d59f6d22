package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/google/uuid"

	"payouts/internal/payout"
)

// StoreNews keeps a verified event. It changes nothing about money: it finds
// the payout it speaks of, by the provider's id or the metadata, and sets that
// payout's unread flag. An event that nobody owns yet is kept and found when
// its id becomes known. The account that a settled pay-in names is bound here:
// that takes no question to the provider, and no run.
//
//	Repeats: counted; Wake is true only for the first unread news of a payout
func (l *Ledger) StoreNews(ctx context.Context, n payout.News) (s payout.Stored, err error) {
	digest := sha256.Sum256(n.Body)
	err = l.inTx(ctx, "store news", func(t tx) error {
		s = payout.Stored{}
		id := uuid.Must(uuid.NewV7()).String()
		its, err := t.owner(ctx, n)
		if err != nil {
			return err
		}
		s.PayoutID, s.Kind = its.id, its.kind
		var payoutID any
		if s.PayoutID != "" {
			payoutID = string(s.PayoutID)
		}
		wakes := s.PayoutID != "" && n.Source == nil
		key, sealed := l.seal.seal("inbox/"+id, n.Body)
		row := question{`INSERT INTO inbox (id, event_id, digest, type, provider_payout_id, claimed_payout_id, payout_id, attempt, claimed_status, failure_reason,
			signed_at, signature, received_at, seal_key, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (event_id, digest) DO UPDATE SET repeats = inbox.repeats + 1 RETURNING id`,
			[]any{id, n.EventID, hex.EncodeToString(digest[:]), n.Type, n.ProviderID, string(n.PayoutID), payoutID, its.attempt, n.Status, string(n.Reason),
				n.Timestamp, n.Signature, stored(t.now), key, sealed}, func(from scanned) error {
				err := from.Scan(&s.InboxID)
				if s.Repeat = s.InboxID != id; wakes && !s.Repeat {
					s.Late, s.Wake = its.status.Final(), !its.unread
				}
				return err
			}}
		if wakes {
			if err := t.answer(ctx, row); err != nil || its.unread {
				return err
			}
			// Not by a repeat, under whose id there is no row.
			return t.write(ctx, "UPDATE payouts SET unread = 1, woken_at = ? WHERE id = ? AND EXISTS (SELECT 1 FROM inbox WHERE inbox.id = ?)", stored(t.now), string(s.PayoutID), id)
		}
		if err := t.ask(ctx, row); err != nil || s.Repeat {
			return err
		}
		switch {
		case n.Source != nil:
			return t.learnSource(ctx, id, *n.Source)
		case n.ProviderID == "" && n.PayoutID == "":
			return t.learnt(ctx, id, "about no payout or refund")
		}
		return nil
	})
	return s, err
}

// owned is the attempt that news is about, and its payout as it is now.
type owned struct {
	id      payout.ID
	kind    payout.Kind
	status  payout.Status
	unread  bool
	attempt int
}

// owner finds whose news it is, and locks that payout, as the steps do, before the
// news is stored: one that is reading just now may have listed the inbox without
// it, and clears the flag when it commits.
func (t tx) owner(ctx context.Context, n payout.News) (its owned, err error) {
	its.attempt = n.Attempt
	if n.ProviderID == "" && n.PayoutID == "" {
		return owned{}, nil
	}
	for _, by := range []struct {
		where string
		args  []any
	}{
		{"a.number FROM attempts a JOIN payouts p ON p.id = a.payout_id WHERE a.provider_payout_id = ?", []any{n.ProviderID}},
		{"d.attempt FROM doubles d JOIN payouts p ON p.id = d.payout_id WHERE d.provider_payout_id = ?", []any{n.ProviderID}},
		// An event that overtook the create's answer names us in its metadata.
		{"a.number FROM attempts a JOIN payouts p ON p.id = a.payout_id WHERE a.payout_id = ? AND a.number = ?", []any{string(n.PayoutID), n.Attempt}},
	} {
		err = t.row(ctx, "SELECT p.id, p.kind, p.status, p.unread, "+by.where+t.d.forUpdate("p"), by.args...).Scan(&its.id, &its.kind, &its.status, &its.unread, &its.attempt)
		if !errors.Is(err, sql.ErrNoRows) {
			return its, err
		}
	}
	return its, nil
}

// learnSource binds the account of a settled pay-in to the player whom the
// pay-in names. A source that is bound already stays as it is. For a player
// nobody has named here yet the account waits: whom a player belongs to is for
// a caller to say, never for an event.
func (t tx) learnSource(ctx context.Context, inboxID string, n payout.SourceNews) error {
	source := payout.Source{PlayerID: n.PlayerID, PaymentSourceID: n.PaymentSourceID, UserID: n.UserID, Currency: n.Currency}
	switch {
	case n.PlayerID == "":
		return t.learnt(ctx, inboxID, "not bound: the metadata of the pay-in names no player_id")
	case n.PaymentSourceID == "" || n.UserID == "":
		return t.learnt(ctx, inboxID, "not bound: the event names no source or no user")
	case n.Currency == "":
		return t.learnt(ctx, inboxID, "not bound: the event does not tell the currency")
	}
	if err := t.lockPlayer(ctx, n.PlayerID); err != nil {
		return err
	}
	var caller string
	switch err := t.row(ctx, "SELECT caller FROM players WHERE id = ?", n.PlayerID).Scan(&caller); {
	case err == nil:
		return t.bindLearnt(ctx, inboxID, source)
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	return t.write(ctx, "INSERT INTO waiting_sources (inbox_id, player_id, payment_source_id, user_id, currency) VALUES (?, ?, ?, ?, ?)",
		inboxID, n.PlayerID, n.PaymentSourceID, n.UserID, string(n.Currency))
}

// bindLearnt binds what an event taught, and applies its inbox row.
func (t tx) bindLearnt(ctx context.Context, inboxID string, s payout.Source) error {
	_, err := t.bind(ctx, s, "event")
	var otherwise payout.Problems
	switch {
	case errors.As(err, &otherwise):
		return t.learnt(ctx, inboxID, "not bound: "+otherwise.Error())
	case err != nil:
		return err
	}
	return t.learnt(ctx, inboxID, "bind source")
}

// learnt marks an inbox row as applied: nothing more will come of it.
func (t tx) learnt(ctx context.Context, inboxID, by string) error {
	return t.write(ctx, "UPDATE inbox SET applied_at = ?, applied_by = ? WHERE id = ?", stored(t.now), by, inboxID)
}

// bindWaiting binds, in the order they came, the accounts that paid in for a
// player before anybody named him here.
func (t tx) bindWaiting(ctx context.Context, player string) error {
	if err := t.lockPlayer(ctx, player); err != nil {
		return err
	}
	waiting := map[string]payout.Source{}
	var order []string
	rows, err := t.rows(ctx, `SELECT w.inbox_id, w.payment_source_id, w.user_id, w.currency FROM waiting_sources w JOIN inbox i ON i.id = w.inbox_id
		WHERE w.player_id = ? ORDER BY i.received_at, i.id`, player)
	if err := each(rows, err, func(rows scanned) error {
		var id string
		s := payout.Source{PlayerID: player}
		err := rows.Scan(&id, &s.PaymentSourceID, &s.UserID, &s.Currency)
		waiting[id], order = s, append(order, id)
		return err
	}); err != nil {
		return err
	}
	for _, id := range order {
		if err := t.bindLearnt(ctx, id, waiting[id]); err != nil {
			return err
		}
	}
	return t.write(ctx, "DELETE FROM waiting_sources WHERE player_id = ?", player)
}

// lockPlayer lets one transaction at a time name a player or learn an account
// for a name. Else an event could see no player while the player's first
// credit sees no event, and the account would wait for ever. SQLite's
// transactions come one after another anyway.
func (t tx) lockPlayer(ctx context.Context, player string) error {
	if t.d.name != "postgres" {
		return nil
	}
	return t.write(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 1))", player)
}
