package temporal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	databaseFile = "temporal.db"
	lockFile     = "temporal.lock"

	// busyTimeout is how long a connection waits for the one writer. Longer than
	// any write takes, shorter than the 5 s after which a shard gives itself up.
	busyTimeout = 4 * time.Second

	// checkLimit bounds the full check of the file, in bytes. It reads all of it,
	// 60 MB in 0.15 s when warm; a larger file gets a look at its tables only.
	checkLimit = 256 << 20
)

// starts makes each Start's database name its own: the server keeps connections
// by name for the life of the process, and would reuse those to a file that has
// been deleted since.
var starts atomic.Int64

// store is the database of one running server.
type store struct {
	sql  *config.SQL
	path string // empty: in memory
	free func() // lets go of the folder
}

// openStore prepares the database: a new file gets the schema, an old one is
// checked, and the folder is held until close.
func openStore(opts Options) (_ *store, err error) {
	n := starts.Add(1)
	if opts.Memory {
		if opts.Dir != "" {
			if err := makeFolder(opts.Dir); err != nil {
				return nil, err
			}
		}
		return &store{sql: &config.SQL{
			PluginName:        sqlite.PluginName,
			DatabaseName:      fmt.Sprintf("temporal-%d", n),
			ConnectAttributes: map[string]string{"mode": "memory", "cache": "shared"},
		}}, nil
	}
	if err := makeFolder(opts.Dir); err != nil {
		return nil, err
	}
	st := &store{path: filepath.Join(opts.Dir, databaseFile)}
	if st.free, err = holdFolder(opts.Dir); err != nil {
		return nil, err
	}
	if err := st.prepare(); err != nil {
		st.free()
		return nil, err
	}
	st.sql = fileSQL(st.path, n)
	return st, nil
}

// makeFolder makes the folder and proves that files can be made in it.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("temporal: folder %s cannot be made: %w: choose a folder you may write to", dir, reason(err))
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("temporal: folder %s is not writable: %w: choose another folder or change its permissions", dir, reason(err))
	}
	_ = probe.Close()
	_ = os.Remove(probe.Name())
	return nil
}

// holdFolder keeps a second server out of dir until free is called or the
// process dies. Two servers on one file would take each other's runs away.
func holdFolder(dir string) (free func(), err error) {
	path := filepath.Join(dir, lockFile)
	lock, err := sql.Open("sqlite", "file:"+escape(path)+"?_txlock=exclusive&_pragma=busy_timeout(0)")
	if err != nil {
		return nil, fmt.Errorf("temporal: lock file %s: %w", path, err)
	}
	tx, err := lock.Begin() // open for as long as the server runs
	if err != nil {
		_ = lock.Close()
		if strings.Contains(err.Error(), "locked") {
			return nil, fmt.Errorf("temporal: folder %s is in use by another Temporal server: stop that one or choose another folder", dir)
		}
		return nil, fmt.Errorf("temporal: lock file %s: %w: remove it and start again", path, err)
	}
	return func() { _ = tx.Rollback(); _ = lock.Close() }, nil
}

// prepare makes the schema in one transaction, so that a start that dies halfway
// leaves no half of it, or checks the one that is there.
func (st *store) prepare() error {
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_txlock=immediate&_pragma=busy_timeout(%d)", escape(st.path), busyTimeout.Milliseconds()))
	if err != nil {
		return st.unusable(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return st.unusable(err)
	}
	defer func() { _ = tx.Rollback() }()

	var tables, ours int
	if err := tx.QueryRow(`SELECT count(*), coalesce(sum(name IN ('executions', 'shards', 'executions_visibility')), 0)
		FROM sqlite_master WHERE type = 'table'`).Scan(&tables, &ours); err != nil {
		return st.unusable(err)
	}
	if tables == 0 {
		if err := sqliteschema.SetupSchemaOnDB(schemaTx{tx: tx}); err != nil {
			return st.unusable(err)
		}
		if err := tx.Commit(); err != nil {
			return st.unusable(err)
		}
		return nil
	}
	if ours != 3 {
		return st.broken("it holds other tables than Temporal's")
	}
	info, err := os.Stat(st.path)
	if err != nil {
		return st.unusable(err)
	}
	if info.Size() > checkLimit {
		return nil
	}
	var word string
	if err := tx.QueryRow(`PRAGMA quick_check(1)`).Scan(&word); err != nil {
		return st.unusable(err)
	}
	if word != "ok" {
		return st.broken(strings.ReplaceAll(word, "\n", " "))
	}
	return nil
}

// unusable says what to do about an error of the database file.
func (st *store) unusable(err error) error {
	var e *driver.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("temporal: database file %s: %w", st.path, err)
	}
	switch e.Code() & 0xff { // the primary result code
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return st.broken(e.Error())
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("temporal: database file %s is in use by another program: %w: close that program", st.path, err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("temporal: database file %s cannot be opened for writing: %w: change its permissions or choose another folder", st.path, err)
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR:
		return fmt.Errorf("temporal: database file %s: %w: look at the disk's free space and health", st.path, err)
	}
	return fmt.Errorf("temporal: database file %s: %w", st.path, err)
}

func (st *store) broken(how string) error {
	return fmt.Errorf("temporal: database file %s is broken (%s): move it away, with its -wal and -shm files, to start with an empty one, or put a copy back", st.path, how)
}

// createNamespace makes the namespace unless it is there. A namespace that is
// there keeps the retention it has.
func (st *store) createNamespace(cluster, name string, retention time.Duration) error {
	ns, err := sqliteschema.NewNamespaceConfig(cluster, name, false, nil)
	if err != nil {
		return fmt.Errorf("temporal: namespace %s: %w", name, err)
	}
	ns.Detail.Config.Retention = durationpb.New(retention)
	if err := sqliteschema.CreateNamespaces(st.sql, ns); err != nil {
		return fmt.Errorf("temporal: namespace %s: %w", name, err)
	}
	return nil
}

// close folds the write-ahead log into the file, so that one file is the whole
// database, and frees the folder.
func (st *store) close() error {
	if st.path == "" {
		return nil
	}
	defer st.free()
	db, err := sql.Open("sqlite", "file:"+escape(st.path)+"?_pragma=busy_timeout(1000)")
	if err != nil {
		return fmt.Errorf("database file %s: %w", st.path, err)
	}
	defer db.Close()
	if _, err := db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return fmt.Errorf("database file %s: checkpoint: %w", st.path, err)
	}
	return nil
}

// fileSQL is how the server opens the file: through one connection. Measured on
// two cores, 50 runs at a time: one connection 60 runs/s; eight 15 runs/s, with
// "database is locked" in the log, because the server's transactions read before
// they write, and two such cannot both go on.
func fileSQL(path string, n int64) *config.SQL {
	return &config.SQL{
		PluginName:   sqlite.PluginName,
		DatabaseName: escape(path),
		MaxConns:     1,
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			// Survives the death of the process; of the machine, all but the last
			// moments. The money is in another database.
			"synchronous":  "normal",
			"busy_timeout": strconv.FormatInt(busyTimeout.Milliseconds(), 10),
			// Means nothing to SQLite, which ignores what it does not know; see starts.
			"start": strconv.FormatInt(n, 10),
		},
	}
}

// escape makes a path safe inside an SQLite URI.
func escape(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
}

// schemaTx lets the server's schema code write inside our transaction. It only
// ever calls Exec.
type schemaTx struct {
	sqlplugin.AdminDB
	tx *sql.Tx
}

func (s schemaTx) Exec(stmt string, args ...any) error {
	_, err := s.tx.ExecContext(context.Background(), stmt, args...)
	return err
}
