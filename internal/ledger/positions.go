package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// SealPositions gives up to limit committed transactions the next dense
// positions and chains their hashes, and answers how many. It runs off the hot
// path; on PostgreSQL a lock makes it the only sealer of all processes.
//
//	Repeats: safe; 0 means that everything is sealed
func (l *Ledger) SealPositions(ctx context.Context, limit int) (n int, err error) {
	err = l.inTx(ctx, "seal positions", func(t tx) error {
		n = 0
		if t.d.name == "postgres" {
			if err := t.write(ctx, "SELECT pg_advisory_xact_lock(7023001)"); err != nil {
				return err
			}
		}
		var position int64
		var hash string
		err := t.row(ctx, "SELECT position, hash FROM transactions WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1").Scan(&position, &hash)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		var batch []Transaction
		rows, err := t.rows(ctx, "SELECT "+transactionColumns+" FROM transactions WHERE position IS NULL ORDER BY booked_at, id LIMIT ?", limit)
		if err := each(rows, err, func(rows scanned) error {
			var next Transaction
			err := scanTransaction(rows, &next)
			batch = append(batch, next)
			return err
		}); err != nil {
			return err
		}
		for _, next := range batch {
			position++
			hash = chain(hash, position, next)
			if err := t.write(ctx, "UPDATE transactions SET position = ?, hash = ? WHERE id = ?", position, hash, next.ID); err != nil {
				return err
			}
		}
		n = len(batch)
		return nil
	})
	return n, err
}

// chain is the hash of a transaction at a position, over the hash before it:
// SHA-256 of a JSON list, in hex.
func chain(before string, position int64, t Transaction) string {
	text, err := json.Marshal([]any{before, position, t.ID, t.Kind, t.PayoutID, t.Attempt, t.Slot, t.EvidenceID, t.Reason, t.From, t.To, t.Money.Minor, t.Money.Currency, stored(t.BookedAt), stored(t.EffectiveAt)})
	if err != nil {
		panic(fmt.Sprintf("chain: %v", err)) // texts and numbers always marshal
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
