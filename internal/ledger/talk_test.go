package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

const (
	addPlayer    = "INSERT INTO players (id, caller, created_at) VALUES (?, ?, ?)"
	renamePlayer = "UPDATE players SET caller = ? WHERE id = ?"
	allPlayers   = "SELECT COUNT(*) FROM players"
	noPlayer     = "SELECT COUNT(*) FROM players WHERE id = ?"
)

// Writes wait for the next question on PostgreSQL, and answers may come before
// they are asked for. Nobody may see that, on either database.
func TestTransactionsKeepTheirWord(t *testing.T) {
	none := errors.New("changed its mind")
	for name, c := range map[string]struct {
		do      func(context.Context, ledger.Talk) error
		fails   bool
		players int // there afterwards
	}{
		"writes are committed": {players: 2, do: func(ctx context.Context, t ledger.Talk) error {
			return errors.Join(t.Write(ctx, addPlayer, "a", "game", 1), t.Write(ctx, addPlayer, "b", "game", 1))
		}},
		"a write is seen by the next question": {players: 1, do: func(ctx context.Context, t ledger.Talk) error {
			err := t.Write(ctx, addPlayer, "a", "game", 1)
			if n, asked := t.Int(ctx, allPlayers); n != 1 || asked != nil {
				err = errors.Join(err, asked, errors.New("the write is not seen"))
			}
			return err
		}},
		"a failed write takes the commit with it": {fails: true, do: func(ctx context.Context, t ledger.Talk) error {
			_ = t.Write(ctx, addPlayer, "a", "game", 1)
			return t.Write(ctx, addPlayer, "b", nil, 1) // caller is NOT NULL; told with the commit at the latest
		}},
		"what must change a row and does takes nothing with it": {players: 1, do: func(ctx context.Context, t ledger.Talk) error {
			return errors.Join(t.Write(ctx, addPlayer, "a", "game", 1), t.Must(ctx, none, renamePlayer, "other", "a"))
		}},
		"what must change a row and changes none takes the commit with it": {fails: true, do: func(ctx context.Context, t ledger.Talk) error {
			return errors.Join(t.Write(ctx, addPlayer, "a", "game", 1), t.Must(ctx, none, renamePlayer, "other", "b"))
		}},
		"what must change a row and changes none is told with an answer": {fails: true, do: func(ctx context.Context, t ledger.Talk) error {
			err := errors.Join(t.Write(ctx, addPlayer, "a", "game", 1), t.Must(ctx, none, renamePlayer, "other", "b"))
			if _, asked := t.Int(ctx, allPlayers); err == nil && asked == nil {
				return nil // and must fail the test
			}
			return none
		}},
		"what must change a row and changes none is not committed by who does not mind": {fails: true, do: func(ctx context.Context, t ledger.Talk) error {
			_, _ = t.Write(ctx, addPlayer, "a", "game", 1), t.Must(ctx, none, renamePlayer, "other", "b")
			_, _ = t.Int(ctx, allPlayers)
			return nil
		}},
		"what is given up leaves nothing": {fails: true, do: func(ctx context.Context, t ledger.Talk) error {
			_, err := t.Exec(ctx, addPlayer, "a", "game", 1)
			return errors.Join(none, err)
		}},
		"an answer given ahead is none after a write": {players: 1, do: func(ctx context.Context, t ledger.Talk) error {
			t.Ahead(allPlayers)
			_, err := t.Int(ctx, noPlayer, "a")
			err = errors.Join(err, t.Write(ctx, addPlayer, "a", "game", 1))
			if n, asked := t.Int(ctx, allPlayers); n != 1 || asked != nil {
				err = errors.Join(err, asked, errors.New("the answer is from before the write"))
			}
			return err
		}},
		"an answer given ahead is none after a question that changes something": {players: 2, do: func(ctx context.Context, t ledger.Talk) (err error) {
			for want, put := range []func(context.Context, string, ...any) (int, error){t.Ask, t.Int} {
				t.Ahead(allPlayers)
				_, asked := t.Int(ctx, noPlayer, "a")
				_, put := put(ctx, addPlayer+" RETURNING 1", fmt.Sprint(want), "game", 1)
				err = errors.Join(err, asked, put)
				if n, asked := t.Int(ctx, allPlayers); n != want+1 || asked != nil {
					err = errors.Join(err, asked, errors.New("the answer is from before the change"))
				}
			}
			return err
		}},
		"an answer given ahead is none after what has an answer later": {players: 1, do: func(ctx context.Context, t ledger.Talk) error {
			t.Ahead(allPlayers)
			_, err := t.Int(ctx, noPlayer, "a")
			named := ""
			err = errors.Join(err, t.Answer(ctx, addPlayer+" RETURNING id", &named, "a", "game", 1))
			if n, asked := t.Int(ctx, allPlayers); n != 1 || named != "a" || asked != nil {
				err = errors.Join(err, asked, errors.New("the answer is from before the write, or did not come in its turn"))
			}
			return err
		}},
		"what fails and has an answer takes the commit with it": {fails: true, do: func(ctx context.Context, t ledger.Talk) error {
			named := ""
			return t.Answer(ctx, addPlayer+" RETURNING id", &named, "b", nil, 1)
		}},
		"an answer given ahead is the one": {players: 1, do: func(ctx context.Context, t ledger.Talk) error {
			err := t.Write(ctx, addPlayer, "a", "game", 1)
			t.Ahead(noPlayer, "a")
			t.Ahead(noPlayer, "b")
			_, first := t.Int(ctx, allPlayers)
			there, second := t.Int(ctx, noPlayer, "a")
			missing, third := t.Int(ctx, noPlayer, "b")
			if there != 1 || missing != 0 {
				err = errors.Join(err, errors.New("the answers are not those to the questions"))
			}
			return errors.Join(err, first, second, third)
		}},
	} {
		for database, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
			t.Run(name+"/"+database, func(t *testing.T) {
				books := open(t)
				err := ledger.Within(t.Context(), books.Ledger.(*ledger.Ledger), func(talk ledger.Talk) error { return c.do(t.Context(), talk) })
				if (err != nil) != c.fails {
					t.Errorf("ended with %v; want an error: %v", err, c.fails)
				}
				var players int
				if err := books.Rows.QueryRow(allPlayers).Scan(&players); err != nil {
					t.Fatal(err)
				}
				if players != c.players {
					t.Errorf("%d players are there, want %d", players, c.players)
				}
				// The connection is as good as new.
				if err := ledger.Within(t.Context(), books.Ledger.(*ledger.Ledger), func(talk ledger.Talk) error {
					return talk.Write(t.Context(), addPlayer, "later", "game", 1)
				}); err != nil {
					t.Errorf("the next transaction: %v", err)
				}
			})
		}
	}
}

// A transaction whose error nobody minds must not look committed: PostgreSQL
// answers such a COMMIT with ROLLBACK and no error.
func TestSwallowedErrorIsNoCommit(t *testing.T) {
	books := ledgertest.Postgres(t)
	err := ledger.Within(t.Context(), books.Ledger.(*ledger.Ledger), func(talk ledger.Talk) error {
		_, _ = talk.Exec(t.Context(), addPlayer, "a", "game", 1)
		_, _ = talk.Exec(t.Context(), addPlayer, "b", nil, 1)
		return nil
	})
	if err == nil {
		t.Error("a transaction that failed says that it committed")
	}
}

// What nothing else hangs on is known once the transaction is committed.
func TestAnswersComeWithTheCommit(t *testing.T) {
	for database, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(database, func(t *testing.T) {
			var first, second string
			if err := ledger.Within(t.Context(), open(t).Ledger.(*ledger.Ledger), func(talk ledger.Talk) error {
				return errors.Join(talk.Answer(t.Context(), addPlayer+" RETURNING id", &first, "a", "game", 1), talk.Write(t.Context(), renamePlayer, "other", "a"),
					talk.Answer(t.Context(), "UPDATE players SET created_at = 2 WHERE id = ? RETURNING caller", &second, "a"))
			}); err != nil || first != "a" || second != "other" {
				t.Errorf("answered with %q and %q, %v", first, second, err)
			}
		})
	}
}

// The books end with what is under way, and twice.
func TestCloseTwice(t *testing.T) {
	books := ledgertest.SQLite(t)
	books.Fund(t, 1)
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	if err := books.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := books.Accept(t.Context(), ledgertest.NewPayout("late", 1), ledgertest.Merchant, false); err == nil {
		t.Error("closed books accept")
	}
}

// plan is how a database finds what a query asks for.
func plan(t *testing.T, books ledgertest.Books, query string, args ...any) string {
	t.Helper()
	for _, arg := range args {
		literal := fmt.Sprintf("'%v'", arg)
		if n, is := arg.(int); is {
			literal = fmt.Sprint(n)
		}
		query = strings.Replace(query, "?", literal, 1)
	}
	explain, width := "EXPLAIN "+query, 1
	if books.Options.URL[:6] == "sqlite" {
		explain, width = "EXPLAIN QUERY PLAN "+query, 4
	}
	var b strings.Builder
	each(t, books.Rows, explain, width, func(row []any) { fmt.Fprintln(&b, row[width-1]) })
	return b.String()
}

// News without an owner is looked up by the provider's id: there is much of it,
// since every pay-in is.
func TestLateNewsIsLookedUp(t *testing.T) {
	for database, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(database, func(t *testing.T) {
			books := open(t)
			books.Rows.SetMaxOpenConns(1)
			blob, ready, late := "BLOB", []string{"ANALYZE"}, strings.ReplaceAll(ledger.LateNews, "?", "'x'")
			if database == "Postgres" {
				blob = "BYTEA"
				ready = append(ready, "SET plan_cache_mode = force_generic_plan", "PREPARE late (TEXT) AS "+strings.ReplaceAll(ledger.LateNews, "?", "$1"))
				late = "EXECUTE late ('x')"
			} else {
				ready = nil // nobody analyzes it
			}
			for _, command := range append([]string{`WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000)
				INSERT INTO inbox (id, event_id, digest, type, provider_payout_id, claimed_payout_id, payout_id, attempt, claimed_status, failure_reason, signed_at, signature, received_at, seal_key, body)
				SELECT 'i' || n, 'e' || n, 'd', 'payment_settled', CASE n % 10 WHEN 0 THEN 'p' || n ELSE '' END, '', NULL, 0, '', '', '', '', n, '', CAST('' AS ` + blob + `) FROM s`}, ready...) {
				_, err := books.Rows.Exec(command)
				must(t, err)
			}
			if said := plan(t, books, late); !strings.Contains(said, "inbox_by_provider_payout") || strings.Contains(said, "Seq Scan on inbox") {
				t.Errorf("it is found by\n%s", said)
			}
			if said := plan(t, books, ledger.Holds); strings.Contains(said, "Seq Scan on inbox") || strings.Contains(said, "SCAN inbox") {
				t.Errorf("what there is of a payout is found by\n%s", said)
			}
		})
	}
}

// Whatever is listed or counted of tables that grow for ever is found by an index
// that does not grow with what nobody asks for.
func TestListsAreLookedUp(t *testing.T) {
	key := payout.NewID(payout.KindPayout, "game", "k7")
	for database, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(database, func(t *testing.T) {
			books := open(t)
			commands := []string{
				"INSERT INTO players (id, caller, created_at) SELECT 'p1', 'game', 1 UNION ALL SELECT 'p2', 'other', 1",
				`WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 50000)
				INSERT INTO payouts (id, kind, caller, idempotency_key, player_id, amount_in_minor, currency, merchant_account_id, user_id, payment_source_id, reference, metadata,
					status, money, failure_reason, attempt, step, due_at, version, created_at, updated_at)
				SELECT 'id' || n, 'payout', CASE n % 50 WHEN 0 THEN 'other' ELSE 'game' END, 'k' || n, CASE n % 50 WHEN 0 THEN 'p2' ELSE 'p1' END, 1, 'GBP', 'm', 'u', 's', 'r', '{}',
					CASE n % 1000 WHEN 0 THEN 'failed' WHEN 1 THEN 'pending' ELSE 'executed' END, 'paid', CASE n % 1000 WHEN 0 THEN 'blocked' ELSE '' END,
					1, 'done', CASE n % 1000 WHEN 1 THEN n END, 1, n, n FROM s`,
				`INSERT INTO transactions (id, kind, from_account, to_account, amount_in_minor, currency, booked_at, effective_at)
				SELECT id, 'credit', 'house:funding', 'player:p:available', 1, 'GBP', 1, 1 FROM payouts`,
				`INSERT INTO outbox (id, caller, subject_id, version, type, occurred_at, data, next_try_at)
				SELECT id, caller, id, 1, 'payout.executed', 1, '{}', due_at FROM payouts`,
			}
			primary := "sqlite_autoindex_payouts_1"
			if database == "Postgres" { // SQLite is analyzed by nobody
				commands, primary = append(commands, "ANALYZE"), "payouts_pkey"
			}
			for _, command := range commands {
				_, err := books.Rows.Exec(command)
				must(t, err)
			}
			for by, f := range map[string]ledger.Filter{
				"payouts_newest": {}, "payouts_newest ": {Status: payout.StatusExecuted}, "payouts_by_caller": {Caller: "other"}, "payouts_by_caller ": {Caller: "other", Status: payout.StatusExecuted},
				"payouts_by_player": {PlayerID: "p2"}, "payouts_by_status": {Status: payout.StatusFailed}, "payouts_by_status ": {Status: payout.StatusPending},
				"payouts_by_reason": {Reason: payout.ReasonBlocked}, primary: {IdempotencyKey: "k7"}, primary[:len(primary)-1]: {Caller: "game", IdempotencyKey: "k7"}, // by its caller and key, where SQLite has an index of them
			} {
				var ids []payout.ID
				if f.IdempotencyKey != "" {
					ids = append(ids, key)
				}
				query, args := ledger.Listing(f, ids...)
				if said := plan(t, books, query, args...); !strings.Contains(said, strings.TrimSpace(by)) {
					t.Errorf("%+v: want %s, and it is found by\n%s", f, by, said)
				}
			}
			for by, query := range map[string]string{"payouts_by_status": ledger.NotFinal, "transactions_exposure": ledger.Exposing, "outbox_unsent_by_caller": ledger.Unsent} {
				if said := plan(t, books, query, "game", 100000); !strings.Contains(said, by) {
					t.Errorf("want %s, and it is found by\n%s", by, said)
				}
			}
			if items, _, err := books.Payouts(t.Context(), payout.KindPayout, ledger.Filter{IdempotencyKey: "k7"}); err != nil || len(items) != 0 { // its id is not what follows from its key
				t.Errorf("a forged id is listed by its key: %v, %v", items, err)
			}
		})
	}
}

// An event that was stored while its id became known has no owner: the next step
// that reads takes it over, beside what it has anyway.
func TestLateNewsIsTakenOver(t *testing.T) {
	for database, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(database, func(t *testing.T) {
			books := open(t)
			books.Fund(t, 1000)
			p, _, err := books.Accept(t.Context(), ledgertest.NewPayout("k", 1000), ledgertest.Merchant, false)
			must(t, err)
			s, _, err := books.OpenSend(t.Context(), p.ID, books.Clock.Now().Add(time.Hour))
			must(t, err)
			_, err = books.CloseSend(t.Context(), s, payout.Created{Answer: payout.AnswerCreated, ProviderID: "theirs", Raw: []byte("{}")})
			must(t, err)
			for _, event := range []string{"e1", "e2", "e3"} {
				_, err := books.StoreNews(t.Context(), payout.News{EventID: event, Type: "payout_executed", ProviderID: "theirs", Status: "executed", Body: []byte("{}")})
				must(t, err)
				books.Clock.Advance(time.Second)
			}
			_, err = books.Rows.Exec("UPDATE inbox SET payout_id = NULL, attempt = 0 WHERE event_id <> 'e2'")
			must(t, err)
			asking, err := books.Read(t.Context(), p.ID)
			must(t, err)
			if len(asking.Inbox) != 3 || !slices.IsSorted(asking.Inbox) || len(slices.Compact(asking.Inbox)) != 3 || len(asking.Asks) != 1 {
				t.Errorf("asks %+v", asking)
			}
			var owned int
			must(t, books.Rows.QueryRow("SELECT COUNT(*) FROM inbox WHERE payout_id = '"+string(p.ID)+"' AND attempt = 1").Scan(&owned))
			if owned != 3 {
				t.Errorf("%d of 3 events have their owner", owned)
			}
		})
	}
}
