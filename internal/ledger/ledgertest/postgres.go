package ledgertest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"

	"payouts/internal/ledger"
)

// server is the PostgreSQL of this test process: started by the first test
// that asks for it.
var server = sync.OnceValues(startServer)

var databases atomic.Int64

// PostgresAddress makes an empty database, or a copy of template, and answers
// with its address. It is dropped after the test. For where there is no
// PostgreSQL, see Postgres.
func PostgresAddress(t testing.TB, template string) string {
	t.Helper()
	NeedPostgres(t)
	socket, err := server()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("test%d", databases.Add(1))
	if template == "" {
		template = "template0"
	}
	admin(t, socket, "CREATE DATABASE "+name+" TEMPLATE "+template+copying())
	t.Cleanup(func() { admin(t, socket, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return address(socket, name)
}

// copying is the faster way to copy a small database, where there is a choice:
// from version 15 on.
var copying = sync.OnceValue(func() string {
	said, err := exec.Command(filepath.Join(PostgresPrograms(), "postgres"), "--version").Output()
	var version int
	if _, scan := fmt.Sscanf(string(said), "postgres (PostgreSQL) %d", &version); err != nil || scan != nil || version < 15 {
		return ""
	}
	return " STRATEGY FILE_COPY"
})

// NeedPostgres skips the test, loudly, where PostgreSQL is not installed; where CI
// is set it fails.
func NeedPostgres(t testing.TB) {
	t.Helper()
	if PostgresPrograms() == "" {
		const missing = "PostgreSQL IS NOT TESTED: no initdb on PATH or in /usr/lib/postgresql/*/bin; install PostgreSQL 13 or newer"
		if os.Getenv("CI") != "" {
			t.Fatal(missing)
		}
		fmt.Fprintln(os.Stderr, "\n*** "+t.Name()+": "+missing+" ***")
		t.Skip(missing)
	}
}

// migrated is a database with empty books, to copy: much faster than to
// migrate for each test.
var migrated = sync.OnceValues(func() (name string, err error) {
	socket, err := server()
	if err != nil {
		return "", err
	}
	db, err := sql.Open("pgx", address(socket, "postgres"))
	if err != nil {
		return "", err
	}
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE migrated TEMPLATE template0"); err != nil {
		return "", err
	}
	books, err := ledger.Open(context.Background(), ledger.Options{URL: address(socket, "migrated"), Seal: SealKey(), Encode: Encode})
	if err != nil {
		return "", err
	}
	return "migrated", books.Close()
})

func address(socket, database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {socket}, "user": {"postgres"}}.Encode()
}

func admin(t testing.TB, socket, command string) {
	t.Helper()
	db, err := sql.Open("pgx", address(socket, "postgres"))
	if err == nil {
		defer db.Close()
		_, err = db.ExecContext(context.Background(), command)
	}
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
}

// PostgresPrograms is the folder of initdb and postgres, the newest; empty where
// none is installed.
func PostgresPrograms() string {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) }))
}

// watch runs the server until its standard input ends, which it does when the
// test process ends in whatever way; then it stops the server and removes its
// folder. So nothing is left behind, also by a test process that was killed.
const watch = `
"$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --no-locale --no-sync >"$2/initdb.log" 2>&1 || exit 1
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
	-c max_connections=1000 -c shared_buffers=64MB -c log_min_messages=fatal >"$2/server.log" 2>&1 &
read -r _
kill -INT $!
wait
rm -rf "$2"`

// startServer starts the server and answers with the folder of its socket.
// What is on its disk is not worth a sync: it dies with the tests.
func startServer() (socket string, err error) {
	// Short, since a socket's path may have some 100 characters only.
	if socket, err = os.MkdirTemp("", "pg"); err != nil {
		return "", err
	}
	watcher := exec.Command("/bin/sh", "-c", watch, "sh", PostgresPrograms(), socket)
	watcher.Dir = socket
	watcher.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C for the tests is not for the server
	if os.Getuid() == 0 {                                     // which refuses to run as root
		if watcher.SysProcAttr.Credential, err = PostgresUser(); err != nil {
			return "", err
		}
		if err := os.Chown(socket, int(watcher.SysProcAttr.Credential.Uid), int(watcher.SysProcAttr.Credential.Gid)); err != nil {
			return "", err
		}
	}
	if _, err := watcher.StdinPipe(); err != nil { // never closed by us
		return "", err
	}
	if err := watcher.Start(); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- watcher.Wait() }()
	for limit := time.Now().Add(time.Minute); ; {
		db, err := sql.Open("pgx", address(socket, "postgres"))
		if err != nil {
			return "", err
		}
		err = db.Ping()
		db.Close()
		if err == nil {
			return socket, nil
		}
		select {
		case <-ended:
			limit = time.Time{}
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(limit) {
			var said bytes.Buffer
			for _, log := range []string{"initdb.log", "server.log"} {
				text, _ := os.ReadFile(filepath.Join(socket, log))
				said.Write(text)
			}
			return "", fmt.Errorf("start PostgreSQL in %s: %w\n%s", socket, err, said.String())
		}
	}
}

// PostgresUser is whom the server runs as where we are root, as which it does not.
func PostgresUser() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32)
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("start PostgreSQL: it does not run as root, and there is no user postgres or nobody to run it as")
}
