package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// writer is the one connection that writes to SQLite, with its statements:
// compiling them would cost more than carrying them out.
type writer struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

// mostPrepared is far above what there is. Beyond it a statement is compiled
// each time.
const mostPrepared = 500

var errClosed = errors.New("the books are closed")

// beginSQLite waits for the writer and for the database's lock.
func (l *Ledger) beginSQLite(ctx context.Context) (_ talk, err error) {
	var w *writer
	select {
	case w = <-l.writer:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.closing:
		return nil, errClosed
	}
	defer func() {
		if err != nil {
			l.writer <- w
		}
	}()
	if w == nil {
		conn, err := l.write.Conn(ctx)
		if err != nil {
			return nil, err
		}
		w = &writer{conn, map[string]*sql.Stmt{}}
	}
	// A reader that turns writer could only fail, so the lock is taken now.
	if _, err := w.exec(ctx, "BEGIN IMMEDIATE", nil); err != nil {
		return nil, err
	}
	return &compiled{writer: w, back: l.writer, open: true}, nil
}

// statement compiles a query, once.
func (w *writer) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := w.prepared[query]; s != nil {
		return s, nil
	}
	if len(w.prepared) >= mostPrepared {
		return nil, nil
	}
	s, err := w.conn.PrepareContext(ctx, query)
	if err == nil {
		w.prepared[query] = s
	}
	return s, err
}

func (w *writer) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	s, err := w.statement(ctx, query) //nolint:sqlclosecheck // it is kept
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return w.conn.ExecContext(ctx, query, args...)
	}
	return s.ExecContext(ctx, args...)
}

// drop closes the connection for good.
func (w *writer) drop() error {
	if w == nil {
		return nil
	}
	var errs []error
	for _, s := range w.prepared {
		errs = append(errs, s.Close())
	}
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn }) // so that it is not used again
	return errors.Join(errs...)
}

// compiled is a transaction on SQLite. Once it has begun it is not interrupted:
// it takes milliseconds, and each interruptible statement costs a goroutine.
type compiled struct {
	*writer
	back  chan *writer
	open  bool
	unmet error // of what had to change one row and did not: nothing is committed any more
}

func (c *compiled) exec(ctx context.Context, query string, args []any) (int64, error) {
	result, err := c.writer.exec(context.WithoutCancel(ctx), query, args)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (c *compiled) later(ctx context.Context, query string, args []any) error {
	_, err := c.exec(ctx, query, args)
	return err
}

func (c *compiled) must(ctx context.Context, none error, query string, args []any) error {
	n, err := c.exec(ctx, query, args)
	if err == nil && n != 1 {
		err, c.unmet = none, none
	}
	return err
}

func (c *compiled) row(ctx context.Context, query string, args []any) scanned {
	ctx = context.WithoutCancel(ctx)
	s, err := c.statement(ctx, query) //nolint:sqlclosecheck // it is kept
	switch {
	case err != nil:
		return broken{err}
	case s == nil:
		return c.conn.QueryRowContext(ctx, query, args...)
	}
	return s.QueryRowContext(ctx, args...)
}

func (c *compiled) rows(ctx context.Context, query string, args []any) (cursor, error) {
	ctx = context.WithoutCancel(ctx)
	s, err := c.statement(ctx, query) //nolint:sqlclosecheck // it is kept
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return c.conn.QueryContext(ctx, query, args...) //nolint:rowserrcheck // each looks
	}
	return s.QueryContext(ctx, args...) //nolint:rowserrcheck // each looks
}

func (c *compiled) ask(ctx context.Context, questions []question) error {
	for _, q := range questions {
		rows, err := c.rows(ctx, q.query, q.args)
		if err := each(rows, err, q.row); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiled) answer(ctx context.Context, q question) error { return c.ask(ctx, []question{q}) }

func (*compiled) ahead(string, []any) {} // there is no journey

func (c *compiled) commit(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), c.unmet); err != nil {
		return err
	}
	_, err := c.exec(ctx, "COMMIT", nil)
	c.open = err != nil
	return err
}

// end rolls back what was not committed, and gives the writer back.
func (c *compiled) end(ctx context.Context) {
	w := c.writer
	if c.open {
		if _, err := c.exec(ctx, "ROLLBACK", nil); err != nil { // nobody knows what it is in the middle of
			_ = w.drop() // the error that led here is told
			w = nil
		}
	}
	c.back <- w
}

// broken is a row that could not be asked for.
type broken struct{ err error }

func (b broken) Scan(...any) error { return fmt.Errorf("prepare: %w", b.err) }
