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

// News without an owner is looked up by the provider's id: there is much of it,
// since every pay-in is.
func TestLateNewsIsLookedUp(t *testing.T) {
	for database, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(database, func(t *testing.T) {
			books := open(t)
			books.Rows.SetMaxOpenConns(1)
			blob, ready, explain := "BLOB", []string{"ANALYZE"}, "EXPLAIN QUERY PLAN "+strings.ReplaceAll(ledger.LateNews, "?", "'x'")
			if database == "Postgres" {
				blob = "BYTEA"
				ready = append(ready, "SET plan_cache_mode = force_generic_plan", "PREPARE late (TEXT) AS "+strings.ReplaceAll(ledger.LateNews, "?", "$1"))
				explain = "EXPLAIN EXECUTE late ('x')"
			} else {
				ready = nil // nobody analyzes it
			}
			for _, command := range append([]string{`WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000)
				INSERT INTO inbox (id, event_id, digest, type, provider_payout_id, claimed_payout_id, payout_id, attempt, claimed_status, failure_reason, signed_at, signature, received_at, seal_key, body)
				SELECT 'i' || n, 'e' || n, 'd', 'payment_settled', CASE n % 10 WHEN 0 THEN 'p' || n ELSE '' END, '', NULL, 0, '', '', '', '', n, '', CAST('' AS ` + blob + `) FROM s`}, ready...) {
				_, err := books.Rows.Exec(command)
				must(t, err)
			}
			var plan strings.Builder
			width := 1
			if database == "SQLite" {
				width = 4
			}
			each(t, books.Rows, explain, width, func(row []any) { fmt.Fprintln(&plan, row[width-1]) })
			if said := plan.String(); !strings.Contains(said, "inbox_by_provider_payout") || strings.Contains(said, "Seq Scan on inbox") {
				t.Errorf("it is found by\n%s", said)
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
