package ledger_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// Books that an older program wrote are brought up to date with every row as it
// was, and their lives go on.
func TestOldBooksAreMigrated(t *testing.T) {
	for name, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(name, func(t *testing.T) {
			now := open(t)
			lives := lived(t, now)

			dialect, driver, address := goose.DialectSQLite3, "sqlite", "sqlite:"+filepath.Join(t.TempDir(), "old.db")
			source := strings.TrimPrefix(address, "sqlite:")
			if name == "Postgres" {
				dialect, driver, address = goose.DialectPostgres, "pgx", ledgertest.PostgresAddress(t, "")
				source = address
			}
			old, err := sql.Open(driver, source)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { old.Close() })
			provider, err := goose.NewProvider(dialect, old, os.DirFS("migrations/"+strings.ToLower(name)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := provider.UpTo(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			before := map[string]string{}
			for _, table := range tables {
				copied(t, now.Rows, old, table, driver == "pgx")
				before[table] = dump(t, old, table, columns(t, old, table))
				if strings.Count(before[table], "\n") == 0 {
					t.Fatalf("no row of %s is tested", table)
				}
			}
			then := map[string][]string{}
			for _, table := range tables {
				then[table] = columns(t, old, table)
			}

			counted := func() (list []string) { // the columns that PostgreSQL has statistics of: without them it plans as if each table were small
				each(t, old, "SELECT tablename || '.' || attname FROM pg_stats WHERE schemaname = 'public' AND tablename <> 'goose_db_version' ORDER BY 1", 1,
					func(row []any) { list = append(list, fmt.Sprint(row[0])) })
				return list
			}
			var known []string
			if driver == "pgx" {
				_, err := old.Exec("ANALYZE")
				must(t, err)
				if known = counted(); len(known) < 100 {
					t.Fatalf("statistics of %v only", known)
				}
			}

			options := now.Options
			options.URL = address
			l, err := ledger.Open(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			old.SetMaxIdleConns(0) // what it prepared for the old tables is over
			if driver == "pgx" {
				still := counted()
				for _, column := range known {
					if !slices.Contains(still, column) {
						t.Errorf("the statistics of %s are gone", column)
					}
				}
			}
			books := ledgertest.Books{Ledger: l, Clock: now.Clock, Options: options, Rows: old}
			for _, table := range tables {
				if after := dump(t, old, table, then[table]); after != before[table] {
					t.Errorf("%s was\n%sand is\n%s", table, before[table], after)
				}
			}
			if was, is := since(t, now.Rows), since(t, old); was != is || strings.Count(is, "\n") != 5 {
				t.Errorf("open payouts came into their status at\n%sand after the migration\n%s", was, is)
			}
			books.Lawful(t)
			for _, command := range []string{"UPDATE evidence SET provider_status = 'x'", "DELETE FROM evidence", "DELETE FROM transactions", "UPDATE payouts SET amount_in_minor = 1"} {
				if _, err := old.Exec(command); err == nil {
					t.Errorf("not refused after the migration: %s", command)
				}
			}
			goOn(t, books, lives)
			books.Lawful(t)
		})
	}
}

// A program that brings the books up to date does so under the hands of an older
// one (docs/upgrade.md): it takes the tables in the order in which the steps, and
// who accepts a payout, take them, so that neither locks the other one out.
func TestBooksAreMigratedUnderAStep(t *testing.T) {
	const locked, held = "SELECT id FROM payouts WHERE id = 'x' FOR NO KEY UPDATE", "UPDATE balances SET held = held WHERE player_id = 'x'"
	touched := []string{locked, held}
	for table, column := range map[string]string{"attempts": "status", "sends": "detail", "transactions": "hash"} {
		touched = append(touched, "UPDATE "+table+" SET "+column+" = "+column+" WHERE payout_id = 'x'")
	}
	touched = append(touched, "INSERT INTO evidence SELECT * FROM evidence WHERE payout_id = 'x'", "INSERT INTO timeline SELECT * FROM timeline WHERE payout_id = 'x'",
		"UPDATE attempts SET status = status WHERE payout_id = 'x'", "UPDATE outbox SET tries = tries WHERE subject_id = 'x'")
	for name, c := range map[string]struct {
		at    int64 // version of the books
		first string
	}{"guards": {4, locked}, "balances": {6, held}, "domains": {7, locked}, "indexes": {10, locked}} {
		t.Run(name, func(t *testing.T) {
			address, old := booksAt(t, c.at)
			step, err := old.BeginTx(t.Context(), nil)
			must(t, err)
			t.Cleanup(func() { _ = step.Rollback() })
			_, err = step.Exec(c.first)
			must(t, err)
			migrated := migrating(t, address)
			locksAwaited(t, old, 1)
			for _, command := range touched {
				if _, err := step.Exec(command); err != nil {
					t.Fatalf("the step: %s: %v", command, err)
				}
			}
			if err := step.Commit(); err != nil {
				t.Errorf("the step: %v", err)
			}
			if err := <-migrated; err != nil {
				t.Errorf("the migration: %v", err)
			}
		})
	}
}

// News takes attempts before payouts, and waits behind the migration for these:
// whichever of the two PostgreSQL gives up begins again.
func TestBooksAreMigratedUnderNews(t *testing.T) {
	address, old := booksAt(t, 7)
	step, err := old.BeginTx(t.Context(), nil)
	must(t, err)
	t.Cleanup(func() { _ = step.Rollback() })
	_, err = step.Exec("SELECT id FROM payouts WHERE id = 'x' FOR NO KEY UPDATE")
	must(t, err)
	migrated := migrating(t, address+"&deadlock_timeout=10ms") // it finds out before the news does, and so is the one that is given up
	locksAwaited(t, old, 1)
	told := make(chan error, 1)
	go func() {
		_, err := old.Exec("SELECT p.id, p.kind, a.number FROM attempts a JOIN payouts p ON p.id = a.payout_id WHERE a.provider_payout_id = 'x'")
		told <- err
	}()
	locksAwaited(t, old, 2)
	must(t, step.Commit())
	if err := <-told; err != nil {
		t.Errorf("the news: %v", err)
	}
	if err := <-migrated; err != nil {
		t.Errorf("the migration: %v", err)
	}
}

// booksAt is empty books on PostgreSQL as of a version.
func booksAt(t *testing.T, version int64) (address string, db *sql.DB) {
	t.Helper()
	address = ledgertest.PostgresAddress(t, "")
	db, err := sql.Open("pgx", address)
	must(t, err)
	t.Cleanup(func() { db.Close() })
	provider, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations/postgres"))
	must(t, err)
	_, err = provider.UpTo(t.Context(), version)
	must(t, err)
	return address, db
}

// migrating brings books up to date beside the test, and says how that ended.
func migrating(t *testing.T, address string) <-chan error {
	migrated := make(chan error, 1)
	go func() {
		l, err := ledger.Open(t.Context(), ledger.Options{URL: address, Seal: ledgertest.SealKey(), Encode: ledgertest.Encode})
		if err == nil {
			err = l.Close()
		}
		migrated <- err
	}()
	return migrated
}

// locksAwaited waits until so many wait for the lock of a table.
func locksAwaited(t *testing.T, db *sql.DB, many int) {
	t.Helper()
	for waiting, until := 0, time.Now().Add(time.Minute); waiting != many; {
		must(t, db.QueryRow("SELECT COUNT(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted").Scan(&waiting))
		if time.Now().After(until) {
			t.Fatalf("%d wait for a table, want %d", waiting, many)
		}
	}
}

// A server that speaks another language says the same.
func TestStaleStatementsAreKnownInEveryLanguage(t *testing.T) {
	for _, said := range []string{"cached plan must not change result type", "gecachter Plan darf den Ergebnistyp nicht ändern"} {
		if !ledger.Again(&pgconn.PgError{Code: "0A000", Message: said, Routine: "RevalidateCachedQuery"}) {
			t.Errorf("not tried again: %s", said)
		}
	}
	if ledger.Again(&pgconn.PgError{Code: "0A000", Message: "FOR UPDATE is not allowed with DISTINCT clause", Routine: "CheckSelectLocking"}) {
		t.Error("what PostgreSQL cannot do is tried again")
	}
}

// A program that is at work while a newer one changes the type of a column finds
// its prepared statements refused, once each: nobody may notice.
func TestTablesChangeUnderAProgram(t *testing.T) {
	books := ledgertest.Postgres(t)
	paid(t, books, []byte("{}")) // with everything prepared
	for _, command := range []string{
		"CREATE DOMAIN any_text AS TEXT", "ALTER TABLE attempts ALTER accepted TYPE any_text", "ALTER TABLE idempotency_keys ALTER request TYPE any_text",
		"ALTER TABLE payouts ALTER park_why TYPE any_text",
	} {
		_, err := books.Rows.Exec(command)
		must(t, err)
	}
	books.Fund(t, 1000)
	p, _, err := books.Accept(t.Context(), ledgertest.NewPayout("later", 1000), ledgertest.Merchant, false)
	must(t, err)
	s, _, err := books.OpenSend(t.Context(), p.ID, books.Clock.Now().Add(time.Hour))
	must(t, err)
	_, err = books.CloseSend(t.Context(), s, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-" + string(p.ID), Raw: []byte("{}")})
	must(t, err)
	must(t, say(t, books, p.ID, "executed", "", nil))
	books.Lawful(t)
}

// tables are those of version 1, each after those it refers to.
var tables = []string{"players", "balances", "payment_sources", "idempotency_keys", "payouts", "attempts", "doubles", "sends", "evidence", "inbox", "waiting_sources",
	"outbox", "cases", "timeline", "transactions"}

// since is when each payout that is not final came into its status.
func since(t *testing.T, db *sql.DB) string {
	t.Helper()
	var b strings.Builder
	each(t, db, "SELECT id, status, status_at FROM payouts WHERE status NOT IN ('executed', 'failed', 'returned') ORDER BY id", 3, func(row []any) { fmt.Fprintf(&b, "%v\n", row) })
	return b.String()
}

// lives are payouts by what became of them so far.
type lives struct{ paid, parked, frozen, resting, open payout.ID }

// lived writes rows of every kind that version 1 knew.
func lived(t *testing.T, b ledgertest.Books) (l lives) {
	t.Helper()
	l.paid = paid(t, b, []byte(`{"status":"executed"}`))
	accepted := func(key string) payout.ID {
		b.Fund(t, 1000)
		p, _, err := b.Accept(t.Context(), ledgertest.NewPayout(key, 1000), ledgertest.Merchant, false)
		must(t, err)
		return p.ID
	}
	sent := func(id payout.ID, c payout.Created) {
		s, _, err := b.OpenSend(t.Context(), id, b.Clock.Now().Add(time.Hour))
		must(t, err)
		_, err = b.CloseSend(t.Context(), s, c)
		must(t, err)
	}
	failed := func(id payout.ID, reason payout.Reason) {
		sent(id, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-" + string(id), Raw: []byte("{}")})
		must(t, say(t, b, id, "failed", reason, nil))
	}
	l.frozen = accepted("frozen")
	failed(l.frozen, payout.ReasonBlocked)
	_, err := b.Freeze(t.Context(), l.frozen)
	must(t, err)
	l.resting = accepted("resting")
	failed(l.resting, payout.ReasonSchemeError)
	doubled := accepted("doubled")
	first, _, err := b.OpenSend(t.Context(), doubled, b.Clock.Now().Add(time.Hour))
	must(t, err)
	sent(doubled, payout.Created{Answer: payout.AnswerCreated, ProviderID: "one", Raw: []byte("{}")})
	_, err = b.CloseSend(t.Context(), first, payout.Created{Answer: payout.AnswerCreated, ProviderID: "two", Raw: []byte("{}")})
	must(t, err)
	polled := accepted("polled")
	sent(polled, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-" + string(polled), Raw: []byte("{}")})
	b.Clock.Advance(time.Minute)
	must(t, say(t, b, polled, "pending", "", nil))
	l.parked = accepted("parked")
	sent(l.parked, payout.Created{Answer: payout.AnswerUnknown, Detail: "no answer"})
	b.Clock.Advance(payout.DefaultTiming().KeyWindow + time.Second)
	_, _, err = b.OpenSend(t.Context(), l.parked, b.Clock.Now().Add(time.Hour))
	must(t, err)
	_, err = b.Judge(t.Context(), l.parked, payout.Heard{Looked: &payout.Looked{AskedAt: b.Clock.Now()}, By: "test"})
	must(t, err)
	_, err = b.OpenCase(t.Context(), l.parked)
	must(t, err)
	for event, id := range map[string]string{"e1": "their-" + string(l.resting), "e2": "stranger"} {
		_, err = b.StoreNews(t.Context(), payout.News{EventID: event, Type: "payout_failed", ProviderID: id, Status: "failed", Body: []byte(`{"event":"` + event + `"}`)})
		must(t, err)
	}
	_, err = b.StoreNews(t.Context(), payout.News{EventID: "e3", Type: "payment_settled", Body: []byte("{}"),
		Source: &payout.SourceNews{PlayerID: "unnamed", PaymentSourceID: "s", UserID: "u", Currency: "GBP"}})
	must(t, err)
	_, err = b.SealPositions(t.Context(), 6) // some are sealed, some not yet
	must(t, err)
	l.open = accepted("open")
	return l
}

// goOn does with the old rows what only the new program can.
func goOn(t *testing.T, b ledgertest.Books, l lives) {
	t.Helper()
	p, err := b.Payout(t.Context(), "", payout.KindPayout, l.paid)
	must(t, err)
	if body, err := b.Evidence(t.Context(), p.Timeline[len(p.Timeline)-1].EvidenceID); err != nil || string(body) != `{"status":"executed"}` {
		t.Errorf("the evidence opens as %q, %v", body, err)
	}
	b.Clock.Advance(time.Minute)
	must(t, say(t, b, l.paid, "failed", payout.ReasonReturned, nil))
	_, err = b.Return(t.Context(), l.paid)
	must(t, err)

	b.Clock.Advance(payout.NeverCreatedAfter)
	for id, action := range map[payout.ID]payout.Action{l.frozen: payout.ActionReleaseFrozen, l.parked: payout.ActionNeverCreated} {
		// What version 1 parked was never looked for: the step does it now.
		_, err := b.Judge(t.Context(), id, payout.Heard{Looked: &payout.Looked{AskedAt: b.Clock.Now()}, By: "test"})
		must(t, err)
		list, _, err := b.Cases(t.Context(), ledger.CaseFilter{PayoutID: id, Status: "open"})
		must(t, err)
		res, _, err := b.Propose(t.Context(), payout.Proposal{CaseID: list[0].ID, Action: action, Reason: "test", Version: list[0].Version, By: "anna"})
		must(t, err)
		_, _, err = b.Decide(t.Context(), payout.Approval{CaseID: res.CaseID, Number: res.Number, Approve: true, Version: res.Version, By: "ben"})
		must(t, err)
		asking, err := b.Read(t.Context(), id)
		must(t, err)
		heard := payout.Heard{Inbox: asking.Inbox, Approved: asking.Approved, By: "test"}
		if asking.Look != nil {
			heard.Looked = &payout.Looked{AskedAt: b.Clock.Now()}
		}
		_, err = b.Judge(t.Context(), id, heard)
		must(t, err)
	}
	_, err = b.Release(t.Context(), l.parked)
	must(t, err)
	asking, err := b.Read(t.Context(), l.resting)
	must(t, err)
	must(t, say(t, b, l.resting, "failed", payout.ReasonSchemeError, asking.Inbox))
	for id, want := range map[payout.ID]string{l.paid: "returned returned", l.frozen: "failed released", l.parked: "failed released", l.resting: "pending held", l.open: "accepted held"} {
		p, err := b.Payout(t.Context(), "", payout.KindPayout, id)
		must(t, err)
		if got := fmt.Sprint(p.Status, " ", p.MoneyAt); got != want {
			t.Errorf("a payout is %s, want %s: %+v", got, want, p.Timeline)
		}
	}
	for {
		n, err := b.SealPositions(t.Context(), 100)
		must(t, err)
		if n == 0 {
			return
		}
	}
}

// say lets the provider say something of a payout's first attempt.
func say(t *testing.T, b ledgertest.Books, id payout.ID, status string, reason payout.Reason, inbox []string) error {
	w := payout.Word{ProviderID: "their-" + string(id), Status: status, Reason: reason, Money: ledgertest.Pounds(1000), AskedAt: b.Clock.Now(), DecidedAt: b.Clock.Now(), Raw: []byte("{}")}
	_, err := b.Judge(t.Context(), id, payout.Heard{Words: []payout.Asked{{Attempt: 1, Word: w}}, Inbox: inbox, By: "test"})
	return err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// columns lists a table's columns.
func columns(t *testing.T, db *sql.DB, table string) []string {
	t.Helper()
	rows, err := db.Query("SELECT * FROM " + table + " WHERE 1 = 0")
	must(t, err)
	defer rows.Close()
	names, err := rows.Columns()
	must(t, err)
	return names
}

// copied copies what a table of version 1 has of a table of today.
func copied(t *testing.T, from, to *sql.DB, table string, numbered bool) {
	t.Helper()
	names := columns(t, to, table)
	order := ""
	if table == "transactions" { // each after its hold
		order = " ORDER BY booked_at, CASE kind WHEN 'credit' THEN 0 WHEN 'reserve' THEN 1 ELSE 2 END"
	}
	places := make([]string, len(names))
	for i := range places {
		places[i] = "?"
		if numbered {
			places[i] = fmt.Sprint("$", i+1)
		}
	}
	each(t, from, "SELECT "+strings.Join(names, ", ")+" FROM "+table+order, len(names), func(row []any) {
		_, err := to.Exec("INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(places, ", ")+")", row...)
		must(t, err)
	})
}

// dump is every row of a table, sorted, in these columns.
func dump(t *testing.T, db *sql.DB, table string, names []string) string {
	t.Helper()
	var b strings.Builder
	each(t, db, "SELECT "+strings.Join(names, ", ")+" FROM "+table+" ORDER BY "+strings.Join(names, ", "), len(names), func(row []any) { fmt.Fprintf(&b, "%v\n", row) })
	return b.String()
}

func each(t *testing.T, db *sql.DB, query string, width int, do func([]any)) {
	t.Helper()
	rows, err := db.Query(query)
	must(t, err)
	defer rows.Close()
	for rows.Next() {
		row, into := make([]any, width), make([]any, width)
		for i := range row {
			into[i] = &row[i]
		}
		must(t, rows.Scan(into...))
		do(row)
	}
	must(t, rows.Err())
}
