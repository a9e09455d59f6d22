package ledger

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib" // and driver "pgx"
)

// pipeline is a transaction on PostgreSQL. What needs no answer waits, and goes
// out together with the next question or with the commit: a journey there and
// back costs more than most statements do. The order stays, and after the first
// error nothing of what waited behind it is done, the commit among it.
type pipeline struct {
	conn    *sql.Conn
	waiting *pgx.Batch
	matters map[int]result   // by the place among what waits, where its result matters
	unmet   error            // of the first that had to change one row and did not: nothing is committed any more
	soon    []question       // asked ahead, to be sent with the next question
	known   map[string]*kept // their answers, while nothing is changed
	open    bool             // something was sent and nothing committed
}

// result is what comes of a statement that waited, and whom it is for.
type result struct {
	none error               // of must: unless it changes one row
	row  func(scanned) error // of answer: takes each row
}

// rollbackWithin bounds the farewell of a transaction whose context may be over.
const rollbackWithin = 5 * time.Second

func (l *Ledger) beginPostgres(ctx context.Context) (talk, error) {
	conn, err := l.write.Conn(ctx)
	if err != nil {
		return nil, err
	}
	p := &pipeline{conn: conn, waiting: &pgx.Batch{}, matters: map[int]result{}, known: map[string]*kept{}}
	p.waiting.Queue("BEGIN")
	return p, nil
}

// send sends all that waits, and behind it questions, whose answers are read by
// answered.
func (p *pipeline) send(ctx context.Context, answered func(pgx.BatchResults) error, questions ...question) error {
	batch, before, matters := p.waiting, p.waiting.Len(), p.matters
	for _, q := range questions {
		if !strings.HasPrefix(q.query, "SELECT ") { // it changes something, and what RETURNING says is its answer
			clear(p.known)
		}
		batch.Queue(q.query, q.args...)
	}
	soon := p.soon
	for _, q := range soon {
		batch.Queue(q.query, q.args...)
	}
	p.waiting, p.matters, p.soon, p.open = &pgx.Batch{}, map[int]result{}, nil, true
	return p.conn.Raw(func(connection any) error {
		results := connection.(*stdlib.Conn).Conn().SendBatch(ctx, batch)
		var err error
		for n := 0; n < before && err == nil; n++ {
			of := matters[n]
			if of.row != nil {
				answer := &kept{}
				err = each(answer, answer.read(results), of.row)
				continue
			}
			if _, err = results.Exec(); of.none != nil && isUnmet(err) {
				err, p.unmet = of.none, of.none
			}
		}
		if err == nil {
			err = answered(results)
		}
		for n := 0; n < len(soon) && (err == nil || errors.Is(err, sql.ErrNoRows)); n++ { // that there is no row is an answer too
			answer := &kept{}
			if failed := answer.read(results); failed != nil {
				err = failed
				break
			}
			p.known[soon[n].key()] = answer
		}
		if closed := results.Close(); err == nil {
			err = closed
		}
		return err
	})
}

func (q question) key() string { return fmt.Sprint(append([]any{q.query}, q.args...)...) }

func (p *pipeline) ahead(query string, args []any) {
	p.soon = append(p.soon, question{query: query, args: args})
}

// answered is what was asked ahead and is still true; nil for none.
func (p *pipeline) answered(query string, args []any) *kept {
	if len(p.known) == 0 {
		return nil
	}
	key := question{query: query, args: args}.key()
	answer := p.known[key]
	delete(p.known, key)
	return answer
}

func (p *pipeline) exec(ctx context.Context, query string, args []any) (n int64, err error) {
	clear(p.known)
	err = p.send(ctx, func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		n = tag.RowsAffected()
		return err
	}, question{query: query, args: args})
	return n, err
}

func (p *pipeline) later(_ context.Context, query string, args []any) error {
	clear(p.known)
	p.waiting.Queue(query, args...)
	return nil
}

func (p *pipeline) answer(ctx context.Context, q question) error {
	p.matters[p.waiting.Len()] = result{row: q.row}
	return p.later(ctx, q.query, q.args)
}

// must lets the database itself say no, so that the commit can leave on the same
// journey: where not exactly one row changes, it divides by zero.
func (p *pipeline) must(ctx context.Context, none error, query string, args []any) error {
	p.matters[p.waiting.Len()] = result{none: none}
	return p.later(ctx, "WITH changed AS ("+query+" RETURNING 1) SELECT 1 / (COUNT(*) = 1)::INT FROM changed", args)
}

func isUnmet(err error) bool {
	var pg *pgconn.PgError
	const divisionByZero = "22012"
	return errors.As(err, &pg) && pg.Code == divisionByZero
}

// row asks when it is scanned.
func (p *pipeline) row(ctx context.Context, query string, args []any) scanned {
	if answer := p.answered(query, args); answer != nil {
		return answer
	}
	return asked(func(to []any) error {
		return p.send(ctx, func(results pgx.BatchResults) error { return results.QueryRow().Scan(flags(to)...) }, question{query: query, args: args})
	})
}

type asked func(to []any) error

func (a asked) Scan(to ...any) error { return a(to) }

// rows takes all rows at once: what follows has the connection for itself.
func (p *pipeline) rows(ctx context.Context, query string, args []any) (cursor, error) {
	if answer := p.answered(query, args); answer != nil {
		return answer, nil
	}
	k := &kept{}
	return k, p.send(ctx, k.read, question{query: query, args: args})
}

func (p *pipeline) ask(ctx context.Context, questions []question) error {
	answers := make([]kept, len(questions))
	if err := p.send(ctx, func(results pgx.BatchResults) error {
		for i := range answers {
			if err := answers[i].read(results); err != nil {
				return err
			}
		}
		return nil
	}, questions...); err != nil {
		return err
	}
	for i, q := range questions {
		if err := each(&answers[i], nil, q.row); err != nil {
			return err
		}
	}
	return nil
}

// kept is rows that have been read.
type kept struct {
	types   *pgtype.Map
	columns []pgconn.FieldDescription
	rows    [][][]byte
	next    int
}

func (k *kept) read(results pgx.BatchResults) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	k.types = rows.Conn().TypeMap()
	for rows.Next() {
		k.columns = rows.FieldDescriptions()
		values := make([][]byte, len(k.columns))
		for i, value := range rows.RawValues() {
			values[i] = bytes.Clone(value) // nil stays nil: that is NULL
		}
		k.rows = append(k.rows, values)
	}
	k.columns = slices.Clone(k.columns)
	return rows.Err()
}

func (k *kept) Next() bool {
	k.next++
	return k.next <= len(k.rows)
}

// Scan takes the row that Next came to, or the first.
func (k *kept) Scan(to ...any) error {
	if k.next == 0 && !k.Next() {
		return sql.ErrNoRows
	}
	return pgx.ScanRow(k.types, k.columns, k.rows[k.next-1], flags(to)...)
}

func (*kept) Err() error   { return nil }
func (*kept) Close() error { return nil }

// flags lets bools be scanned from 0 and 1, as the columns of both databases
// are.
func flags(to []any) []any {
	for i, pointer := range to {
		if yes, is := pointer.(*bool); is {
			to[i] = flag{yes}
		}
	}
	return to
}

type flag struct{ to *bool }

func (f flag) Scan(value any) error {
	switch value := value.(type) {
	case bool:
		*f.to = value
	case int64:
		*f.to = value != 0
	default:
		return fmt.Errorf("%T is no yes or no", value)
	}
	return nil
}

func (p *pipeline) commit(ctx context.Context) error {
	p.soon = nil
	if p.unmet != nil { // and whoever was told may not have minded
		return p.unmet
	}
	err := p.send(ctx, func(results pgx.BatchResults) error {
		tag, err := results.Exec()
		if err == nil && tag.String() != "COMMIT" { // it says ROLLBACK after an error that nobody minded
			err = errors.New("the transaction had failed before its commit")
		}
		return err
	}, question{query: "COMMIT"})
	p.open = err != nil
	return err
}

// end rolls back what was not committed, and gives the connection back.
func (p *pipeline) end(ctx context.Context) {
	if p.open {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWithin)
		defer cancel()
		if _, err := p.conn.ExecContext(ctx, "ROLLBACK"); err != nil { // nobody knows what it is in the middle of
			_ = p.conn.Raw(func(any) error { return driver.ErrBadConn }) // so that it is not used again
			return
		}
	}
	_ = p.conn.Close() // gives it back; an error says that it is closed already
}
