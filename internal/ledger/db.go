package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"go.uber.org/zap"
	"modernc.org/sqlite"

	"payouts/internal/payout"
)

//go:embed migrations
var migrations embed.FS

// Options is what Open needs.
type Options struct {
	URL    string                                                 // required: sqlite:PATH or postgres://…
	Seal   *Seal                                                  // required: seals the bodies of evidence and inbox
	Encode func(payout.Intent, map[string]string) ([]byte, error) // required: the exact bytes of a create
	Table  payout.Table                                           // nil: payout.Decisions()
	Timing payout.Timing                                          // zero: payout.DefaultTiming()
	Now    func() time.Time                                       // nil: time.Now
	Logger *zap.Logger                                            // nil: none

	Observe func(Attempted)              // told of each transaction when it has ended; nil: nobody. It must not block
	Trace   func(context.Context) string // the W3C traceparent that a request is under, kept with what it asks for; "", nil: none
}

// Attempted is one transaction that committed, or was given up.
type Attempted struct {
	Op    string        // what it was for; a fixed word, such as "judge"
	Tries int           // from 1; more where others were at the same rows
	Took  time.Duration // all tries and the pauses between them
	Err   error         // nil: committed
	Moved []Moved       // by what committed
}

// Moved is a payout or refund that came into a status.
type Moved struct {
	ID     payout.ID
	Kind   payout.Kind
	Status payout.Status
	Reason payout.Reason
	Age    time.Duration // since it was accepted
	Left   payout.Status // where it was before; "" where it is new, or since when it was there is not known
	Stayed time.Duration // in the status that it left
}

// log writes the line by which a payout's life is followed. None is left out.
func (m Moved) log(log *zap.Logger) {
	reason := zap.Skip()
	if m.Reason != "" {
		reason = zap.String("failure_reason", string(m.Reason))
	}
	log.Info("payout moved", zap.String("payout_id", string(m.ID)), zap.String("kind", string(m.Kind)), zap.String("status", string(m.Status)), reason)
}

// Ledger is open books. It is safe for concurrent use, also by several
// processes on one database.
type Ledger struct {
	write  *sql.DB
	read   *sql.DB
	d      dialect
	seal   *Seal
	encode func(payout.Intent, map[string]string) ([]byte, error)
	table  payout.Table
	timing payout.Timing
	now    func() time.Time
	log    *zap.Logger

	writer  chan *writer  // of SQLite, while nobody writes; nil before the first does
	closing chan struct{} // closed when the books are
	close   sync.Once

	observe func(Attempted)
	trace   func(context.Context) string
}

// Open opens the books and brings their schema up to date, under a lock for
// which other programs that start at the same time wait.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	l := &Ledger{seal: o.Seal, encode: o.Encode, table: o.Table, timing: o.Timing, now: o.Now, log: o.Logger, observe: o.Observe, trace: o.Trace,
		writer: make(chan *writer, 1), closing: make(chan struct{})}
	l.writer <- nil
	if l.seal == nil || l.encode == nil {
		return nil, errors.New("open ledger: Seal and Encode are required")
	}
	if l.table == nil {
		l.table = payout.Decisions()
	}
	if l.timing == (payout.Timing{}) {
		l.timing = payout.DefaultTiming()
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = zap.NewNop()
	}
	var err error
	switch scheme, rest, _ := strings.Cut(o.URL, ":"); scheme {
	case "sqlite":
		err = l.openSQLite(ctx, rest)
	case "postgres", "postgresql":
		err = l.openPostgres(ctx, o.URL)
	default:
		err = fmt.Errorf("DATABASE_URL: %.20q…: want sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE", scheme)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

// Close closes the books. A transaction under way ends first on SQLite, where
// it takes milliseconds; other calls under way end with an error.
func (l *Ledger) Close() error {
	var errs []error
	l.close.Do(func() {
		close(l.closing)
		errs = append(errs, (<-l.writer).drop())
	})
	for _, db := range []*sql.DB{l.write, l.read} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Ping says whether the database answers.
func (l *Ledger) Ping(ctx context.Context) error {
	var one int
	return l.read.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// sqliteBusy is how long a transaction waits for another process's; far above
// what a queue of a few milliseconds a turn can reach.
const sqliteBusy = 30 * time.Second

// sqliteCheckpoint is how many pages of 4 KiB the write-ahead log may hold before
// they are written into the file, and synced: 80 MB, which some hundred transactions fill.
// Ids are random, so each touches pages all over the file; the longer the log, the more of
// them are in it twice. SQLite's cache of pages stays small: at the end of a transaction it may
// walk all of it.
const sqliteCheckpoint = 20000

func (l *Ledger) openSQLite(ctx context.Context, path string) error {
	if path == "" {
		return errors.New("DATABASE_URL: sqlite: names no file; want sqlite:PATH, such as sqlite:./data/payouts.db")
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return fmt.Errorf("DATABASE_URL: %s: the folder %s is not there; make it, or choose another path", path, filepath.Dir(path))
	}
	// The books are nobody else's to read; SQLite would make them so.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %s: cannot be opened for writing: %w; choose another path", path, err)
	}
	file.Close()
	pragmas := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", sqliteBusy.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", fmt.Sprintf("wal_autocheckpoint(%d)", sqliteCheckpoint),
	}}
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + pragmas.Encode()
	l.d = dialect{name: "sqlite"}
	// One writer a process. Its transactions begin as beginSQLite says, those of
	// the migration take the lock at once too.
	if l.write, err = sql.Open("sqlite", name+"&_txlock=immediate"); err != nil {
		return err
	}
	l.write.SetMaxOpenConns(1)
	if l.read, err = sql.Open("sqlite", name+"&_pragma=query_only(1)"); err != nil {
		return err
	}
	l.read.SetMaxOpenConns(4)
	migrationLock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %s: cannot write there: %w", path, err)
	}
	defer migrationLock.Close() // which lets go of the lock
	if err := syscall.Flock(int(migrationLock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s for migration: %w", path, err)
	}
	if err := l.migrate(ctx, goose.DialectSQLite3); err != nil {
		return fmt.Errorf("DATABASE_URL: %s: %w; if the file is not a database of ours, move it away", path, err)
	}
	return nil
}

func (l *Ledger) openPostgres(ctx context.Context, address string) error {
	l.d = dialect{name: "postgres", numbered: new(sync.Map)}
	var err error
	if l.write, err = sql.Open("pgx", address); err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	l.write.SetMaxOpenConns(16)
	l.write.SetMaxIdleConns(16)
	l.read = l.write
	if err := l.write.PingContext(ctx); err != nil {
		return fmt.Errorf("DATABASE_URL: cannot reach PostgreSQL: %w", err)
	}
	return l.migrate(ctx, goose.DialectPostgres)
}

// migrate begins again where a program at work and it locked each other out, as
// news may: it looks its payout up by an attempt, and steps the other way round.
func (l *Ledger) migrate(ctx context.Context, d goose.Dialect) error {
	files, err := fs.Sub(migrations, "migrations/"+l.d.name)
	if err != nil {
		return err
	}
	options := []goose.ProviderOption{goose.WithVerbose(false)}
	if d == goose.DialectPostgres {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // asks each second for five minutes
		if err != nil {
			return err
		}
		options = append(options, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(d, l.write, files, options...)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for try := 1; ; try++ {
		_, err := provider.Up(ctx)
		if err == nil {
			return nil
		}
		if try == tries || !l.d.again(err) {
			return fmt.Errorf("migrate: %w", err)
		}
	}
}

// dialect is what the two databases say differently.
type dialect struct {
	name     string
	numbered *sync.Map // query with ? → query with $1…; nil where ? is understood
}

func (d dialect) sql(query string) string {
	if d.numbered == nil {
		return query
	}
	if done, ok := d.numbered.Load(query); ok {
		return done.(string)
	}
	var b strings.Builder
	n := 0
	for _, r := range query {
		if r == '?' {
			n++
			fmt.Fprintf(&b, "$%d", n)
			continue
		}
		b.WriteRune(r)
	}
	d.numbered.Store(query, b.String())
	return b.String()
}

// forUpdate locks the rows a query reads. SQLite's transactions hold the
// write lock already. NO KEY, so that rows that only refer to the locked one,
// such as a piece of news, do not wait for it: waiting for each other's keys
// and rows they would lock one another out. of is whose rows, where several tables are read.
func (d dialect) forUpdate(of ...string) string {
	if d.name != "postgres" {
		return ""
	}
	return " FOR NO KEY UPDATE" + strings.Join(append([]string{""}, of...), " OF ")
}

// skipLocked is forUpdate for a list of work: rows that another process is at
// are left to it.
func (d dialect) skipLocked() string {
	if d.name == "postgres" {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// again says whether a transaction failed only because another one was at the
// same rows, or a newer program has just changed a table: the second try sees what
// the other did.
func (d dialect) again(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "23505", "40001", "40P01": // unique, serialization, deadlock
			return true
		}
		return stale(pg)
	}
	var lite *sqlite.Error
	const busy, primary = 5, 0xff
	return errors.As(err, &lite) && lite.Code()&primary == busy
}

// stale says that what was prepared no longer fits the tables. The driver
// prepares it anew the next time. The message is in the language of the server;
// which of its functions says it is not.
func stale(err *pgconn.PgError) bool {
	const notSupported = "0A000"
	return err.Code == notSupported && err.Routine == "RevalidateCachedQuery"
}

// talk is a transaction's own connection to its database.
type talk interface {
	exec(ctx context.Context, query string, args []any) (rows int64, err error)
	later(ctx context.Context, query string, args []any) error            // in its turn, before the answer to anything that follows
	must(ctx context.Context, none error, query string, args []any) error // later, and the commit does not happen unless it changes one row
	answer(ctx context.Context, q question) error                         // later, and its rows are taken when they come: with the commit at the latest
	row(ctx context.Context, query string, args []any) scanned
	rows(ctx context.Context, query string, args []any) (cursor, error)
	ask(ctx context.Context, questions []question) error
	ahead(query string, args []any) // it will be asked soon, before the next change: the answer may come with that to another question
	commit(ctx context.Context) error
	end(ctx context.Context) // rolls back what was not committed
}

// question is a query whose rows are taken one by one.
type question struct {
	query string
	args  []any
	row   func(scanned) error
}

// scanned is a row that was asked for. It must be scanned, once and before
// anything else is asked.
type scanned interface{ Scan(to ...any) error }

// cursor is rows that were asked for, to be read to their end.
type cursor interface {
	scanned
	Next() bool
	Err() error
	Close() error
}

// tx is a transaction in the dialect of its database.
type tx struct {
	talk  talk
	d     dialect
	now   time.Time // one moment for all that one transaction writes
	moved *[]Moved
}

// exec changes rows and says how many.
func (t tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return t.talk.exec(ctx, t.d.sql(query), args)
}

// write is exec where nobody needs to know how many. Its error may only come
// with a later call, or with the commit, which does not happen then.
func (t tx) write(ctx context.Context, query string, args ...any) error {
	return t.talk.later(ctx, t.d.sql(query), args)
}

// must is write for what changes exactly one row. Where it does not, the error is none.
func (t tx) must(ctx context.Context, none error, query string, args ...any) error {
	return t.talk.must(ctx, none, t.d.sql(query), args)
}

// answer is write for what says something that nothing else in the transaction
// hangs on: it may only be known once that is committed, so taking it must not fail.
func (t tx) answer(ctx context.Context, q question) error {
	q.query = t.d.sql(q.query)
	return t.talk.answer(ctx, q)
}

func (t tx) row(ctx context.Context, query string, args ...any) scanned {
	return t.talk.row(ctx, t.d.sql(query), args)
}

func (t tx) rows(ctx context.Context, query string, args ...any) (cursor, error) {
	return t.talk.rows(ctx, t.d.sql(query), args)
}

// ahead says what will be asked next, word for word. It changes nothing but
// the number of journeys.
func (t tx) ahead(query string, args ...any) { t.talk.ahead(t.d.sql(query), args) }

// ask puts several questions at once, answered in their order.
func (t tx) ask(ctx context.Context, questions ...question) error {
	for i := range questions {
		questions[i].query = t.d.sql(questions[i].query)
	}
	return t.talk.ask(ctx, questions)
}

// inTx runs fn in one transaction: all of it or nothing. Where another
// transaction was at the same rows it runs fn again, so fn keeps no state.
func (l *Ledger) inTx(ctx context.Context, op string, fn func(tx) error) error {
	began := time.Now()
	tries, moved, err := l.tried(ctx, fn)
	if l.observe != nil {
		l.observe(Attempted{op, tries, time.Since(began), err, moved})
	}
	for _, m := range moved {
		m.log(l.log)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// tries is how often a transaction, or a migration, begins at the most.
const tries = 8

func (l *Ledger) tried(ctx context.Context, fn func(tx) error) (try int, moved []Moved, err error) {
	for try = 1; ; try++ {
		if moved, err = l.once(ctx, fn); err == nil || try == tries || !l.d.again(err) {
			return try, moved, err
		}
		select { // a short, growing, uneven pause, so that equals do not meet again
		case <-ctx.Done():
			return try, nil, ctx.Err()
		case <-time.After(time.Duration(1+rand.IntN(4<<try)) * time.Millisecond):
		}
	}
}

func (l *Ledger) once(ctx context.Context, fn func(tx) error) (moved []Moved, err error) {
	begun, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer begun.end(ctx)
	// Cut to what is stored, so that what is written and what is read are equal.
	if err := fn(tx{begun, l.d, l.now().UTC().Truncate(time.Microsecond), &moved}); err != nil {
		return nil, err
	}
	if err := begun.commit(ctx); err != nil {
		return nil, err
	}
	return moved, nil
}

func (l *Ledger) begin(ctx context.Context) (talk, error) {
	if l.d.name == "postgres" {
		return l.beginPostgres(ctx)
	}
	return l.beginSQLite(ctx)
}

// query reads outside of transactions, from a snapshot of its own.
func (l *Ledger) query(ctx context.Context, query string, args ...any) (cursor, error) {
	return l.read.QueryContext(ctx, l.d.sql(query), args...) //nolint:rowserrcheck // each looks
}

// stored is a time as the books keep it: microseconds, 0 for none.
func stored(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func moment(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// each reads all rows of a query with scan.
func each(rows cursor, err error, scan func(scanned) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
