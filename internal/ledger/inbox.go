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
// its id becomes known.
//
//	Repeats: counted; Wake is true only for the first unread news of a payout
func (l *Ledger) StoreNews(ctx context.Context, n payout.News) (s payout.Stored, err error) {
	digest := sha256.Sum256(n.Body)
	err = l.inTx(ctx, "store news", func(t tx) error {
		s = payout.Stored{}
		id := uuid.Must(uuid.NewV7()).String()
		if s.PayoutID, s.Kind, n.Attempt, err = t.owner(ctx, n); err != nil {
			return err
		}
		var payoutID any
		if s.PayoutID != "" {
			payoutID = string(s.PayoutID)
		}
		key, sealed := l.seal.seal("inbox/"+id, n.Body)
		err := t.row(ctx, `INSERT INTO inbox (id, event_id, digest, type, provider_payout_id, claimed_payout_id, payout_id, attempt, claimed_status, failure_reason,
			signed_at, signature, received_at, seal_key, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (event_id, digest) DO UPDATE SET repeats = inbox.repeats + 1 RETURNING id`,
			id, n.EventID, hex.EncodeToString(digest[:]), n.Type, n.ProviderID, string(n.PayoutID), payoutID, n.Attempt, n.Status, string(n.Reason),
			n.Timestamp, n.Signature, stored(t.now), key, sealed).Scan(&s.InboxID)
		if err != nil {
			return err
		}
		if s.Repeat = s.InboxID != id; s.Repeat || s.PayoutID == "" {
			return nil
		}
		set, err := t.exec(ctx, "UPDATE payouts SET unread = 1, woken_at = ? WHERE id = ? AND unread = 0", stored(t.now), string(s.PayoutID))
		s.Wake = set == 1
		return err
	})
	return s, err
}

// owner finds whose news it is.
func (t tx) owner(ctx context.Context, n payout.News) (id payout.ID, kind payout.Kind, attempt int, err error) {
	if n.ProviderID == "" && n.PayoutID == "" {
		return "", "", 0, nil
	}
	err = t.row(ctx, "SELECT p.id, p.kind, a.number FROM attempts a JOIN payouts p ON p.id = a.payout_id WHERE a.provider_payout_id = ?", n.ProviderID).Scan(&id, &kind, &attempt)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, kind, attempt, err
	}
	// An event that overtook the create's answer names us in its metadata.
	err = t.row(ctx, "SELECT p.id, p.kind, a.number FROM attempts a JOIN payouts p ON p.id = a.payout_id WHERE a.payout_id = ? AND a.number = ?", string(n.PayoutID), n.Attempt).Scan(&id, &kind, &attempt)
	if errors.Is(err, sql.ErrNoRows) {
		return "", "", n.Attempt, nil
	}
	return id, kind, attempt, err
}
