package ledger_test

import (
	"testing"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
)

// Books that a newer build brought up to date are opened by an older one, so
// that an upgrade can be rolled back (docs/upgrade.md), and their lives go on: a
// migration only adds, for one release, and what is added has a default.
func TestNewerBooksAreOpened(t *testing.T) {
	for name, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(name, func(t *testing.T) {
			books := open(t)
			lives := lived(t, books)
			for _, newer := range []string{
				"ALTER TABLE payouts ADD COLUMN newer TEXT NOT NULL DEFAULT ''",
				"INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, TRUE)",
			} {
				if _, err := books.Rows.Exec(newer); err != nil {
					t.Fatal(err)
				}
			}
			l, err := ledger.Open(t.Context(), books.Options)
			if err != nil {
				t.Fatalf("an older build does not start: %v", err)
			}
			t.Cleanup(func() { l.Close() })
			older := ledgertest.Books{Ledger: l, Clock: books.Clock, Options: books.Options, Rows: books.Rows}
			goOn(t, older, lives)
			older.Lawful(t)
		})
	}
}
