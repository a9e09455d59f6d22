package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"payouts/internal/ledger/ledgertest"
)

// postgres is a PostgreSQL server of the bench's own, which syncs each commit
// to the disk as a real one does.
type postgres struct {
	*process
	folder string // of its data and its socket
	made   int    // databases
}

// errNoPostgres says that there is none on this machine.
var errNoPostgres = errors.New("no initdb on PATH or in /usr/lib/postgresql/*/bin: install PostgreSQL 13 or newer (Debian: apt-get install postgresql)")

func startPostgres(ctx context.Context, dir string) (_ *postgres, err error) {
	programs := ledgertest.PostgresPrograms()
	if programs == "" {
		return nil, errNoPostgres
	}
	// Short, since a socket's path may have some 100 characters only.
	folder, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s := &postgres{folder: folder}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	var as *syscall.SysProcAttr
	if os.Getuid() == 0 { // as which it refuses to run
		owner, err := ledgertest.PostgresUser()
		if err != nil {
			return nil, err
		}
		if err := os.Chown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, err
		}
		as = &syscall.SysProcAttr{Credential: owner}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(programs, "initdb"), "-D", folder+"/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = folder, as
	if said, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, said)
	}
	s.process, err = launchAs(ctx, dir, "postgres", as, folder, os.Environ(), filepath.Join(programs, "postgres"), "-D", folder+"/data", "-k", folder,
		"-c", "listen_addresses=", "-c", "shared_buffers=256MB", "-c", "max_connections=200", "-c", "max_wal_size=4GB")
	if err != nil {
		return nil, err
	}
	return s, s.await(ctx, func() bool { return s.do(ctx, "SELECT 1") == nil })
}

// database makes an empty one and answers with its address.
func (s *postgres) database(ctx context.Context) (string, error) {
	s.made++
	name := fmt.Sprintf("bench%d", s.made)
	return s.address(name), s.do(ctx, "CREATE DATABASE "+name+" TEMPLATE template0")
}

func (s *postgres) do(ctx context.Context, command string) error {
	db, err := sql.Open("pgx", s.address("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, command)
	return err
}

func (s *postgres) address(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {s.folder}, "user": {"postgres"}}.Encode()
}

// cpu is what the server and its connections have used. Zero for none.
func (s *postgres) cpu() float64 {
	if s == nil {
		return 0
	}
	return s.process.cpu()
}

func (s *postgres) stop() {
	if s == nil {
		return
	}
	if s.process != nil {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // ends its connections too
		select {
		case <-s.ended:
		case <-time.After(20 * time.Second):
			s.process.stop()
		}
	}
	os.RemoveAll(s.folder)
}
