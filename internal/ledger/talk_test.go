package ledger_test

import (
	"context"
	"errors"
	"testing"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
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
