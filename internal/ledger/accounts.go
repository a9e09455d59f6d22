package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"

	"payouts/internal/payout"
)

// The house's own accounts. Merchant accounts are "merchant:<id>"; a player
// has three, "player:<id>:available", ":held" and ":frozen".
const (
	houseFunding  = "house:funding"
	houseExposure = "house:exposure"
	houseFees     = "house:fees"
)

func playerAccount(player, part string) string { return "player:" + player + ":" + part }

func merchantAccount(id string) string { return "merchant:" + id }

// entry is a transaction about to be booked.
type entry struct {
	id       string // empty: a new one
	kind     TransactionKind
	payoutID payout.ID
	attempt  int
	slot     string
	evidence string
	from, to string
	money    payout.Money
	reason   string
	at       int64 // effective_at, micros; 0: now
}

// book writes a transaction. The balances of players are changed beside it,
// by the caller, in the same transaction.
func (t tx) book(ctx context.Context, e entry) error {
	if e.id == "" {
		e.id = uuid.Must(uuid.NewV7()).String()
	}
	if e.at == 0 {
		e.at = stored(t.now)
	}
	var payoutID, slot any
	if e.payoutID != "" {
		payoutID = string(e.payoutID)
	}
	if e.slot != "" {
		slot = e.slot
	}
	return t.write(ctx, `INSERT INTO transactions (id, kind, payout_id, attempt, slot, evidence_id, from_account, to_account, amount_in_minor, currency, reason,
		booked_at, effective_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.id, string(e.kind), payoutID, e.attempt, slot, e.evidence, e.from, e.to, e.money.Minor, string(e.money.Currency), e.reason,
		stored(t.now), e.at)
}

const (
	callerOfPlayer = "SELECT caller FROM players WHERE id = ?"
	ownerOfSource  = "SELECT player_id, user_id, currency FROM payment_sources WHERE id = ?"
)

// own makes sure that the player is the caller's: the first caller to name a
// player owns the name; to others the player does not exist.
func (t tx) own(ctx context.Context, player, caller string, create bool) (known bool, err error) {
	if create {
		n, err := t.exec(ctx, `INSERT INTO players (id, caller, created_at) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING`, player, caller, stored(t.now))
		if err == nil && n == 1 {
			err = t.bindWaiting(ctx, player)
		}
		if err != nil {
			return false, err
		}
	}
	var owner string
	err = t.row(ctx, callerOfPlayer, player).Scan(&owner)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil && owner != caller {
		err = fmt.Errorf("player %s: %w", player, payout.ErrNotFound)
	}
	return true, err
}

// takeKey takes a caller's key for what the request makes, id, before anything else
// is looked at. A transaction that is given up gives the key back. Where it was taken
// before, the answer is the id it was taken for, or *payout.KeyConflict when that
// request was another.
func (t tx) takeKey(ctx context.Context, caller, endpoint, key string, request any, id string) (before string, err error) {
	text, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	if err := t.lockKey(ctx, caller, endpoint, key); err != nil {
		return "", err
	}
	n, err := t.exec(ctx, `INSERT INTO idempotency_keys (caller, endpoint, key, request, result_id, created_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (caller, endpoint, key) DO NOTHING`, caller, endpoint, key, string(text), id, stored(t.now))
	if err != nil || n == 1 {
		return "", err
	}
	return t.taken(ctx, caller, endpoint, key, text)
}

// takenKey is takeKey for who only wants to know: "" for a key that nobody took.
func (t tx) takenKey(ctx context.Context, caller, endpoint, key string, request any) (before string, err error) {
	text, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	if err := t.lockKey(ctx, caller, endpoint, key); err != nil {
		return "", err
	}
	before, err = t.taken(ctx, caller, endpoint, key, text)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return before, err
}

// lockKey has the second of two with one key wait for the first to end. Else both
// would find it free, and the second, once the first took the money, would be told
// that the balance is too low for what was accepted; and who only asks would be told
// that nothing was accepted of what just is. SQLite's transactions come one after
// another anyway.
func (t tx) lockKey(ctx context.Context, caller, endpoint, key string) error {
	if t.d.name != "postgres" {
		return nil
	}
	return t.write(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", caller+"\n"+endpoint+"\n"+key)
}

// taken is what a key was taken for.
func (t tx) taken(ctx context.Context, caller, endpoint, key string, request []byte) (id string, err error) {
	var before string
	if err := t.row(ctx, "SELECT request, result_id FROM idempotency_keys WHERE caller = ? AND endpoint = ? AND key = ?", caller, endpoint, key).Scan(&before, &id); err != nil {
		return "", err
	}
	if field := difference([]byte(before), request); field != "" {
		return "", &payout.KeyConflict{Field: field}
	}
	return id, nil
}

// Credit adds winnings to what a player has available.
//
//	Units:   minor units
//	Repeats: safe; the same key answers with the first transaction and true
//	Errors:  *payout.KeyConflict, payout.ErrNotFound (another caller's player), payout.ErrOverflow
func (l *Ledger) Credit(ctx context.Context, m payout.Movement) (Transaction, bool, error) {
	return l.move(ctx, "credits", KindCredit, m, houseFunding, playerAccount(m.PlayerID, "available"))
}

// Debit takes from what a player has available.
//
//	Units:   minor units
//	Repeats: safe; the same key answers with the first transaction and true
//	Errors:  *payout.KeyConflict, payout.ErrNotFound, payout.ErrBalanceTooLow
func (l *Ledger) Debit(ctx context.Context, m payout.Movement) (Transaction, bool, error) {
	return l.move(ctx, "debits", KindDebit, m, playerAccount(m.PlayerID, "available"), houseFunding)
}

func (l *Ledger) move(ctx context.Context, endpoint string, kind TransactionKind, m payout.Movement, from, to string) (done Transaction, replayed bool, err error) {
	if m.Money.Minor <= 0 || m.Money.Minor > math.MaxInt64/2 {
		return done, false, payout.Problems{{Field: "amount_in_minor", Want: "want a positive amount"}}
	}
	err = l.inTx(ctx, endpoint, func(t tx) error {
		id := payout.TransactionID(endpoint, m.Caller, m.IdempotencyKey)
		before, err := t.takeKey(ctx, m.Caller, endpoint, m.IdempotencyKey, m, id)
		if err != nil {
			return err
		}
		if replayed = before != ""; replayed {
			id = before
		} else {
			if _, err := t.own(ctx, m.PlayerID, m.Caller, kind == KindCredit); err != nil {
				return err
			}
			if err := t.available(ctx, kind, m); err != nil {
				return err
			}
			if err := t.book(ctx, entry{id: id, kind: kind, from: from, to: to, money: m.Money, reason: m.Reason}); err != nil {
				return err
			}
		}
		return scanTransaction(t.row(ctx, "SELECT "+transactionColumns+" FROM transactions WHERE id = ?", id), &done)
	})
	return done, replayed, err
}

// available changes a player's available balance by a credit or debit. The
// check and the change are one statement.
func (t tx) available(ctx context.Context, kind TransactionKind, m payout.Movement) error {
	if kind == KindDebit {
		n, err := t.exec(ctx, "UPDATE balances SET available = available - ? WHERE player_id = ? AND currency = ? AND available >= ?",
			m.Money.Minor, m.PlayerID, string(m.Money.Currency), m.Money.Minor)
		if err == nil && n == 0 {
			err = payout.ErrBalanceTooLow
		}
		return err
	}
	if err := t.write(ctx, "INSERT INTO balances (player_id, currency) VALUES (?, ?) ON CONFLICT (player_id, currency) DO NOTHING", m.PlayerID, string(m.Money.Currency)); err != nil {
		return err
	}
	// All three together stay within 64 bits, so that no later move between
	// them can overflow.
	n, err := t.exec(ctx, "UPDATE balances SET available = available + ? WHERE player_id = ? AND currency = ? AND available <= ? - held - frozen",
		m.Money.Minor, m.PlayerID, string(m.Money.Currency), math.MaxInt64-m.Money.Minor)
	if err == nil && n == 0 {
		err = payout.ErrOverflow
	}
	return err
}

// shift moves amount between two of a player's balances, or out of one (to
// empty) or into one (from empty). The database refuses a negative balance.
func (r *row) shift(ctx context.Context, from, to string) error {
	change := map[string]int64{}
	change[from] -= r.money.Minor
	change[to] += r.money.Minor
	return r.t.must(ctx, fmt.Errorf("player %s has no balance in %s", r.player, r.money.Currency),
		"UPDATE balances SET available = available + ?, held = held + ?, frozen = frozen + ? WHERE player_id = ? AND currency = ?",
		change["available"], change["held"], change["frozen"], r.player, string(r.money.Currency))
}

// Balances lists what the house owes a player, by currency. An empty caller
// sees every player.
//
//	Errors: payout.ErrNotFound (another caller's player); an unknown player is an empty list
func (l *Ledger) Balances(ctx context.Context, caller, player string) ([]Balance, error) {
	if err := l.mayRead(ctx, caller, player); err != nil {
		return nil, err
	}
	list := []Balance{}
	rows, err := l.query(ctx, "SELECT currency, available, held, frozen FROM balances WHERE player_id = ? ORDER BY currency", player)
	return list, each(rows, err, func(rows scanned) error {
		var b Balance
		err := rows.Scan(&b.Currency, &b.Available, &b.Held, &b.Frozen)
		list = append(list, b)
		return err
	})
}

func (l *Ledger) mayRead(ctx context.Context, caller, player string) error {
	var owner string
	err := l.read.QueryRowContext(ctx, l.d.sql("SELECT caller FROM players WHERE id = ?"), player).Scan(&owner)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err == nil && caller != "" && owner != caller:
		return fmt.Errorf("player %s: %w", player, payout.ErrNotFound)
	}
	return err
}

// BindSource binds an account that paid in to the player who paid.
//
//	Repeats: safe; binding it so again answers false
//	Errors:  payout.Problems when it is bound to another player or otherwise; payout.ErrNotFound
func (l *Ledger) BindSource(ctx context.Context, s payout.Source) (bound bool, err error) {
	err = l.inTx(ctx, "bind source", func(t tx) error {
		if _, err := t.own(ctx, s.PlayerID, s.Caller, true); err != nil {
			return err
		}
		bound, err = t.bind(ctx, s, "caller")
		return err
	})
	return bound, err
}

func (t tx) bind(ctx context.Context, s payout.Source, by string) (bool, error) {
	n, err := t.exec(ctx, "INSERT INTO payment_sources (id, player_id, user_id, currency, bound_by, bound_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
		s.PaymentSourceID, s.PlayerID, s.UserID, string(s.Currency), by, stored(t.now))
	if err != nil || n == 1 {
		return n == 1, err
	}
	return false, t.bound(ctx, s, "")
}

// bound refuses a source that is not bound exactly so, naming every field.
// prefix stands before the names of fields. What another player's source is
// bound to is not told.
func (t tx) bound(ctx context.Context, s payout.Source, prefix string) error {
	var player, user string
	var currency payout.Currency
	err := t.row(ctx, ownerOfSource, s.PaymentSourceID).Scan(&player, &user, &currency)
	var p payout.Problems
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return payout.Problems{{Field: prefix + "payment_source_id", Want: "is not bound to a player yet; bind it with PUT /v1/players/{player_id}/payment-sources/{payment_source_id}"}}
	case err != nil:
		return err
	case player != s.PlayerID:
		return payout.Problems{{Field: prefix + "payment_source_id", Want: "is not this player's; a payout goes back to the account the player paid in from"}}
	}
	if user != s.UserID {
		p = append(p, payout.Problem{Field: prefix + "user_id", Want: "is not the user this source is bound with"})
	}
	if currency != s.Currency {
		p = append(p, payout.Problem{Field: "currency", Want: fmt.Sprintf("the source is bound in %s, and a payout keeps its source's currency", currency)})
	}
	if len(p) > 0 {
		return p
	}
	return nil
}

// Sources lists the accounts bound to a player.
//
//	Errors: payout.ErrNotFound (another caller's player)
func (l *Ledger) Sources(ctx context.Context, caller, player string) ([]payout.Source, error) {
	if err := l.mayRead(ctx, caller, player); err != nil {
		return nil, err
	}
	list := []payout.Source{}
	rows, err := l.query(ctx, "SELECT id, player_id, user_id, currency FROM payment_sources WHERE player_id = ? ORDER BY bound_at, id", player)
	return list, each(rows, err, func(rows scanned) error {
		var s payout.Source
		err := rows.Scan(&s.PaymentSourceID, &s.PlayerID, &s.UserID, &s.Currency)
		list = append(list, s)
		return err
	})
}

// difference names the first field, in the order of names, that two JSON
// objects do not share, as "a.b"; "" when they are equal.
func difference(a, b []byte) string {
	var x, y map[string]json.RawMessage
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		if string(a) != string(b) {
			return "body"
		}
		return ""
	}
	for _, name := range sortedKeys(x, y) {
		if string(x[name]) == string(y[name]) {
			continue
		}
		if inner := difference(x[name], y[name]); inner != "" && inner != "body" {
			if name == "money" { // the wire has amount and currency at the top
				return inner
			}
			return name + "." + inner
		}
		return name
	}
	return ""
}
