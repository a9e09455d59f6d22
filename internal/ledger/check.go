package ledger

import (
	"context"
	"fmt"

	"payouts/internal/payout"
)

// laws are the invariants of the books that one query can tell. Each query
// lists the violations, one name a row.
var laws = []struct{ id, statement, query string }{
	{"balances_are_sums", "every stored balance is the sum of its transactions", `
		WITH sums AS (SELECT account, currency, SUM(amount) AS total FROM (SELECT to_account AS account, currency, amount_in_minor AS amount FROM transactions WHERE to_account LIKE 'player:%'
			UNION ALL SELECT from_account, currency, -amount_in_minor FROM transactions WHERE from_account LIKE 'player:%') moved GROUP BY account, currency)
		SELECT b.player_id || ' ' || b.currency FROM balances b` + sum("available") + sum("held") + sum("frozen") + `
		WHERE b.available <> COALESCE(available.total, 0) OR b.held <> COALESCE(held.total, 0) OR b.frozen <> COALESCE(frozen.total, 0)`},
	{"held_is_open_payouts", "what is held of a player is the sum of the payouts whose money is held", `
		SELECT b.player_id || ' ' || b.currency FROM balances b WHERE b.held <>
		(SELECT COALESCE(SUM(amount_in_minor), 0) FROM payouts p WHERE p.player_id = b.player_id AND p.currency = b.currency AND p.money = 'held')`},
	{"frozen_is_stopped_payouts", "what is frozen of a player is the sum of the payouts whose money is frozen", `
		SELECT b.player_id || ' ' || b.currency FROM balances b WHERE b.frozen <>
		(SELECT COALESCE(SUM(amount_in_minor), 0) FROM payouts p WHERE p.player_id = b.player_id AND p.currency = b.currency AND p.money = 'frozen')`},
	{"every_payout_has_its_hold", "every payout has exactly one hold", `
		SELECT p.id FROM payouts p WHERE (SELECT COUNT(*) FROM transactions t WHERE t.payout_id = p.id AND t.slot = 'hold') <> 1`},
	{"money_is_where_the_row_says", "a payout's transactions have left the money where its row tells", `
		SELECT p.id FROM payouts p WHERE NOT CASE p.money
		WHEN 'held' THEN ` + outcome + ` = 'none'
		WHEN 'paid' THEN ` + outcome + ` = 'settle' AND NOT ` + booked("slot = 'return'") + `
		WHEN 'released' THEN ` + outcome + ` = 'release' OR ` + outcome + ` = 'freeze' AND ` + booked("kind = 'unfreeze'") + `
		WHEN 'frozen' THEN NOT ` + booked("kind = 'unfreeze'") + ` AND (` + outcome + ` = 'freeze' OR ` + booked("slot = 'return' AND to_account LIKE '%:frozen'") + `)
		WHEN 'returned' THEN ` + booked("slot = 'return' AND to_account LIKE '%:available'") + ` OR ` + booked("slot = 'return'") + ` AND ` + booked("kind = 'unfreeze'") + ` END`},
	{"status_fits_money", "a payout's status and where its money is fit", `
		SELECT p.id FROM payouts p WHERE NOT CASE p.status WHEN 'executed' THEN p.money = 'paid' WHEN 'returned' THEN p.money IN ('returned', 'frozen')
		WHEN 'failed' THEN p.money IN ('released', 'frozen') ELSE p.money = 'held' END`},
	{"settled_with_evidence", "every settle, release, freeze and return names stored evidence, and what people moved names theirs", `
		SELECT t.id FROM transactions t WHERE t.kind IN ('settle', 'release', 'freeze', 'return', 'expose', 'unfreeze', 'recover', 'adjust')
		AND NOT EXISTS (SELECT 1 FROM evidence e WHERE e.id = t.evidence_id AND e.payout_id = t.payout_id AND (e.kind = 'person' OR t.kind NOT IN ('unfreeze', 'recover', 'adjust')))`},
	{"settled_attempt_is_executed", "a settled payout's attempt is the executed one", `
		SELECT t.id FROM transactions t JOIN attempts a ON a.payout_id = t.payout_id AND a.number = t.attempt WHERE t.kind = 'settle' AND a.status NOT IN ('executed', 'failed')`},
	{"executed_attempts_are_booked", "once a payout's money moved, every executed attempt is its settle or an exposure", `
		SELECT a.payout_id FROM attempts a JOIN payouts p ON p.id = a.payout_id WHERE a.status = 'executed' AND p.money <> 'held'
		AND NOT EXISTS (SELECT 1 FROM transactions t WHERE t.payout_id = a.payout_id AND t.attempt = a.number AND t.kind IN ('settle', 'expose'))`},
	{"requests_are_remembered", "every payout is what its caller's key was taken for", `
		SELECT p.id FROM payouts p LEFT JOIN idempotency_keys k ON k.caller = p.caller AND k.endpoint = CASE p.kind WHEN 'refund' THEN 'refunds' ELSE 'payouts' END AND k.key = p.idempotency_key
		WHERE COALESCE(k.result_id, '') <> p.id`},
	{"lines_have_payouts", "every line of a timeline is a payout's", `
		SELECT t.payout_id FROM timeline t LEFT JOIN payouts p ON p.id = t.payout_id WHERE p.id IS NULL`},
	{"versions_are_dense", "a payout has one event for each of its versions", `
		SELECT p.id FROM payouts p LEFT JOIN (SELECT subject_id, COUNT(*) AS events FROM outbox GROUP BY subject_id) told ON told.subject_id = p.id
		WHERE p.version <> COALESCE(told.events, 0)`},
	{"parked_has_a_case", "every parked payout has an open case", `
		SELECT p.id FROM payouts p WHERE p.status = 'parked' AND NOT EXISTS (SELECT 1 FROM cases c WHERE c.payout_id = p.id AND c.status = 'open')`},
	{"late_word_is_watched", "news, or a decision of people, about a payout that is done is on the list of late word", `
		SELECT p.id FROM payouts p WHERE p.due_at IS NULL AND p.woken_at IS NULL AND (EXISTS (SELECT 1 FROM inbox i WHERE i.payout_id = p.id AND i.applied_at IS NULL)
		OR EXISTS (SELECT 1 FROM resolutions d WHERE d.payout_id = p.id AND d.status = 'approved'))`},
	{"open_is_watched", "every payout that is not done is on the sweeper's list", `
		SELECT p.id FROM payouts p WHERE p.step <> 'done' AND p.due_at IS NULL`},
}

// outcome is what became of a payout's hold.
const outcome = `COALESCE((SELECT t.kind FROM transactions t WHERE t.payout_id = p.id AND t.slot = 'outcome'), 'none')`

// booked says that a payout has such a transaction.
func booked(such string) string {
	return `EXISTS (SELECT 1 FROM transactions t WHERE t.payout_id = p.id AND ` + such + `)`
}

// sum joins the sum of one of a player's accounts, where it has any transactions.
func sum(part string) string {
	return " LEFT JOIN sums " + part + " ON " + part + ".account = 'player:' || b.player_id || ':" + part + "' AND " + part + ".currency = b.currency"
}

// Check holds the books against their laws and tells each law's violations,
// with up to five examples.
func (l *Ledger) Check(ctx context.Context) ([]Invariant, error) {
	var list []Invariant
	for _, law := range laws {
		found := Invariant{ID: law.id, Statement: law.statement, Examples: []string{}}
		rows, err := l.query(ctx, law.query)
		if err := each(rows, err, func(rows scanned) error {
			var name string
			err := rows.Scan(&name)
			found.add(name)
			return err
		}); err != nil {
			return nil, fmt.Errorf("check %s: %w", law.id, err)
		}
		list = append(list, found)
	}
	keys := Invariant{ID: "keys_follow_from_ids", Statement: "every attempt's idempotency key follows from its payout's id and its number", Examples: []string{}}
	rows, err := l.query(ctx, "SELECT payout_id, number, idempotency_key FROM attempts")
	if err := each(rows, err, func(rows scanned) error {
		var id payout.ID
		var n int
		var key string
		err := rows.Scan(&id, &n, &key)
		if err == nil && key != payout.Key(id, n) {
			keys.add(fmt.Sprintf("%s/%d", id, n))
		}
		return err
	}); err != nil {
		return nil, fmt.Errorf("check %s: %w", keys.ID, err)
	}
	sealed := Invariant{ID: "positions_are_chained", Statement: "sealed positions are dense and their hashes chain", Examples: []string{}}
	var position int64
	var hash string
	rows, err = l.query(ctx, "SELECT "+transactionColumns+" FROM transactions WHERE position IS NOT NULL ORDER BY position")
	if err := each(rows, err, func(rows scanned) error {
		var t Transaction
		if err := scanTransaction(rows, &t); err != nil {
			return err
		}
		position++
		if hash = chain(hash, t.Position, t); t.Position != position || t.Hash != hash {
			sealed.add(fmt.Sprint(t.Position))
			position, hash = t.Position, t.Hash
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("check %s: %w", sealed.ID, err)
	}
	return append(list, keys, sealed), nil
}

func (i *Invariant) add(example string) {
	if i.Violations++; len(i.Examples) < 5 {
		i.Examples = append(i.Examples, example)
	}
}
