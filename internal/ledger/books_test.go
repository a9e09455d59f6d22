package ledger_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

func TestSQLite(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) ledgertest.Books { return ledgertest.SQLite(t) })
}

func TestPostgres(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) ledgertest.Books { return ledgertest.Postgres(t) })
}

// Programs that start together bring an empty database up to date together:
// one migrates, the others wait for it.
func TestManyOpenAnEmptyDatabase(t *testing.T) {
	for name, address := range map[string]func() string{
		"SQLite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "books.db") },
		"Postgres": func() string { return ledgertest.PostgresAddress(t, "") },
	} {
		t.Run(name, func(t *testing.T) {
			if name == "Postgres" {
				ledgertest.NeedPostgres(t)
			}
			options := ledger.Options{URL: address(), Seal: ledgertest.SealKey(), Encode: ledgertest.Encode}
			var wait sync.WaitGroup
			errs := make(chan error, 8)
			for i := range cap(errs) {
				wait.Go(func() {
					l, err := ledger.Open(t.Context(), options)
					if err == nil {
						defer l.Close()
						_, _, err = l.Credit(t.Context(), payout.Movement{Caller: "game", IdempotencyKey: fmt.Sprint(i), PlayerID: "p", Money: ledgertest.Pounds(1), Reason: "x"})
					}
					errs <- err
				})
			}
			wait.Wait()
			for range cap(errs) {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// The two dialects hold the same tables, columns, keys, indexes and guards.
func TestSchemasAgree(t *testing.T) {
	lite := strings.Split(schema(t, ledgertest.SQLite(t).Rows, `
		SELECT 'column ' || m.name || '.' || c.name || CASE WHEN c."notnull" = 1 THEN ' not null' ELSE '' END || CASE c.type WHEN 'BLOB' THEN ' bytes' WHEN 'TEXT' THEN ' text' ELSE ' number' END
			FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'
		UNION SELECT 'key ' || m.name || ' ' || c.pk || ' ' || c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.pk > 0
		UNION SELECT 'index ' || name FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite%'
		UNION SELECT 'trigger ' || tbl_name || ' ' || name FROM sqlite_master WHERE type = 'trigger' AND name NOT IN ('payouts_since', 'transactions_by_people', 'transactions_adjusted')`), "\n") // which PostgreSQL does in payouts_final and transactions_obey
	post := strings.Split(schema(t, ledgertest.Postgres(t).Rows, `
		SELECT 'column ' || table_name || '.' || column_name || CASE WHEN is_nullable = 'NO' THEN ' not null' ELSE '' END || CASE data_type WHEN 'bytea' THEN ' bytes' WHEN 'text' THEN ' text' ELSE ' number' END
			FROM information_schema.columns WHERE table_schema = 'public'
		UNION SELECT 'key ' || table_name || ' ' || ordinal_position || ' ' || column_name FROM information_schema.key_column_usage WHERE constraint_name LIKE '%_pkey'
		UNION SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key'
		UNION SELECT 'trigger ' || tgrelid::regclass || ' ' || tgname FROM pg_trigger WHERE NOT tgisinternal AND tgname NOT LIKE '%_whole'`), "\n") // SQLite has no TRUNCATE
	ours := func(line string) bool { return !strings.Contains(line, "goose_db_version") }
	lite, post = keep(lite, ours), keep(post, ours)
	if len(lite) < 150 {
		t.Fatalf("only %d lines of schema were read", len(lite))
	}
	for _, line := range lite {
		if !slices.Contains(post, line) {
			t.Errorf("only SQLite has %s", line)
		}
	}
	for _, line := range post {
		if !slices.Contains(lite, line) {
			t.Errorf("only PostgreSQL has %s", line)
		}
	}
}

func keep(lines []string, wanted func(string) bool) (kept []string) {
	for _, line := range lines {
		if wanted(line) {
			kept = append(kept, line)
		}
	}
	return kept
}

func schema(t *testing.T, rows *sql.DB, query string) string {
	t.Helper()
	list, err := rows.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	var lines []string
	for list.Next() {
		var line string
		if err := list.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// What the provider says and what it signs holds account numbers: they lie
// sealed, and open with their key only.
func TestBodiesAreSealed(t *testing.T) {
	for name, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(name, func(t *testing.T) {
			b := open(t)
			secret := []byte(`{"iban":"` + ledgertest.AccountNumber + `"}`)
			id := paid(t, b, secret)
			if _, err := b.StoreNews(t.Context(), payout.News{EventID: "e", Type: "payout_executed", ProviderID: "p", Body: secret}); err != nil {
				t.Fatal(err)
			}
			p, err := b.Payout(t.Context(), "", payout.KindPayout, id)
			if err != nil {
				t.Fatal(err)
			}
			evidence := p.Timeline[len(p.Timeline)-1].EvidenceID
			if body, err := b.Evidence(t.Context(), evidence); err != nil || !bytes.Equal(body, secret) {
				t.Fatalf("opened %q, %v", body, err)
			}
			if file, ok := strings.CutPrefix(b.Options.URL, "sqlite:"); ok {
				for _, part := range []string{"", "-wal"} {
					stored, err := os.ReadFile(file + part)
					if err != nil {
						t.Fatal(err)
					}
					if bytes.Contains(stored, []byte(ledgertest.AccountNumber)) {
						t.Errorf("an account number lies in clear in the file%s", part)
					}
					if part == "-wal" && !bytes.Contains(stored, []byte(ledgertest.Reference)) {
						t.Error("not even the reference was found: this looks in the wrong place")
					}
				}
			}
			key := func(c string) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(c, 32))) }
			for _, c := range []struct{ name, file, want string }{
				{"another key under the same id", "test " + key("x"), "sealed body of evidence"},
				{"another id", "other " + key("x"), `key "test", which SEAL_KEY_FILE does not hold`},
			} {
				options := b.Options
				options.Seal = ledgertest.ReadSeal(c.file)
				other, err := ledger.Open(t.Context(), options)
				if err != nil {
					t.Fatal(err)
				}
				if body, err := other.Evidence(t.Context(), evidence); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: opened %q, %v", c.name, body, err)
				}
				other.Close()
			}
			// A body that was moved to another row does not open.
			var first string
			if err := b.Rows.QueryRow("SELECT id FROM evidence WHERE kind = 'create'").Scan(&first); err != nil {
				t.Fatal(err)
			}
			drop := "DROP TRIGGER evidence_stays"
			if name == "Postgres" {
				drop += " ON evidence"
			}
			for _, command := range []string{drop, "UPDATE evidence SET body = (SELECT e.body FROM evidence e WHERE e.id = '" + evidence + "') WHERE id = '" + first + "'"} {
				if _, err := b.Rows.Exec(command); err != nil {
					t.Fatal(err)
				}
			}
			if body, err := b.Evidence(t.Context(), first); err == nil {
				t.Errorf("a moved body opened: %q", body)
			}
		})
	}
}

// paid takes a new payout to executed, with raw as what the provider said.
func paid(t testing.TB, b ledgertest.Books, raw []byte) payout.ID {
	t.Helper()
	b.Fund(t, 1000)
	p, _, err := b.Accept(t.Context(), ledgertest.NewPayout("k", 1000), ledgertest.Merchant, false)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := b.OpenSend(t.Context(), p.ID, b.Clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.CloseSend(t.Context(), s, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-" + string(p.ID), Raw: []byte(`{"id":"x"}`)}); err != nil {
		t.Fatal(err)
	}
	w := payout.Word{ProviderID: "their-" + string(p.ID), Status: "executed", Money: p.Money, AskedAt: b.Clock.Now(), DecidedAt: b.Clock.Now(), Raw: raw}
	if _, err := b.Judge(t.Context(), p.ID, payout.Heard{Words: []payout.Asked{{Attempt: 1, Word: w}}, By: "test"}); err != nil {
		t.Fatal(err)
	}
	return p.ID
}

func TestReadSealNamesEveryMistake(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"empty":      {"", []string{"holds no key"}},
		"comments":   {"# nothing\n\n", []string{"holds no key"}},
		"short":      {"a " + base64.StdEncoding.EncodeToString(make([]byte, 31)), []string{"line 1"}},
		"no id":      {good, []string{"line 1"}},
		"not base64": {"a !!!", []string{"line 1"}},
		"twice":      {"a " + good + "\na " + good, []string{`line 2: key id "a" stands twice`}},
		"several":    {"a x\n#\nb y", []string{"line 1", "line 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ledger.ReadSeal(strings.NewReader(c.file))
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not tell %q", err, want)
				}
			}
		})
	}
	if _, err := ledger.ReadSeal(strings.NewReader("# ours\nnew " + good + "\nold " + good + "\n")); err != nil {
		t.Error(err)
	}
}

func TestOpenTellsWhatToDo(t *testing.T) {
	folder := t.TempDir()
	broken := filepath.Join(folder, "broken.db")
	if err := os.WriteFile(broken, bytes.Repeat([]byte("not a database"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ url, want string }{
		"no scheme":        {"payouts.db", "want sqlite:PATH or postgres://"},
		"unknown scheme":   {"mysql://x", "want sqlite:PATH or postgres://"},
		"no path":          {"sqlite:", "names no file"},
		"no folder":        {"sqlite:" + filepath.Join(folder, "none", "x.db"), "the folder"},
		"no database":      {"sqlite:" + broken, "move it away"},
		"a folder":         {"sqlite:" + folder, folder},
		"nobody listening": {"postgres://u:secret@127.0.0.1:1/x?connect_timeout=2", "cannot reach PostgreSQL"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := ledger.Open(context.Background(), ledger.Options{URL: c.url, Seal: ledgertest.SealKey(), Encode: ledgertest.Encode})
			if err == nil {
				l.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v; want it to tell %q and no password", err, c.want)
			}
		})
	}
	if _, err := ledger.Open(context.Background(), ledger.Options{URL: "sqlite:" + filepath.Join(folder, "x.db")}); err == nil {
		t.Error("opened without Seal and Encode")
	}
}

// A path is a path, whatever stands in it.
func TestOddPaths(t *testing.T) {
	for _, name := range []string{"with space.db", "per%cent.db", "what?.db", "sharp#.db", "ünïcode.db"} {
		folder := t.TempDir()
		openFile(t, filepath.Join(folder, name))
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Errorf("%s: %v", (&url.URL{Path: name}).EscapedPath(), err)
		}
	}
}
