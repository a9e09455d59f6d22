package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"payouts/internal/payout"
)

// What a ledger transaction costs is held against plain inserts: the same rows
// with the same bytes, as many as the transaction writes, each by a statement
// of its own, in one transaction with the same durability, through the same
// driver, into tables that have their primary key and nothing else: no further
// index, no reference, no check, no trigger, no question asked before. A row
// that the ledger changes counts as one that it writes.

// writes are the rows that a ledger transaction writes, and the key that each
// has in its plain table.
type writes struct {
	name string
	rows []written
}

type written struct {
	table
	where string // which of the payout's rows there; "": all
	key   string
}

var (
	payoutRow   = written{table{"payouts", "id"}, "", "id"}
	attemptRow  = written{table{"attempts", "payout_id"}, "", "payout_id, number"}
	acceptance  = writes{"accept", []written{payoutRow, attemptRow, {table{"transactions", "payout_id"}, "kind = 'reserve'", "id"}, {table{"idempotency_keys", "result_id"}, "", "caller, endpoint, key"}, {table{"timeline", "payout_id"}, "number = 1", "payout_id, number"}, {table{"outbox", "subject_id"}, "version = 1", "id"}, balanceRow}}
	settlement  = writes{"settle", []written{payoutRow, attemptRow, {table{"evidence", "payout_id"}, "kind = 'get'", "id"}, {table{"transactions", "payout_id"}, "kind = 'settle'", "id"}, {table{"timeline", "payout_id"}, "status = 'executed'", "payout_id, number"}, {table{"outbox", "subject_id"}, "type = 'payout.executed'", "id"}, balanceRow}}
	balanceRow  = written{table{balances, ""}, "", "player_id, currency"}
	plainTables = []writes{acceptance, settlement}
)

const (
	balances = "balances"
	plain    = "plain_"
)

// plainly makes the plain tables and answers with what to write into them for
// each kind of transaction.
func (r *rows) plainly(ctx context.Context, id payout.ID, p player) (map[string]*life, error) {
	lives, made := map[string]*life{}, map[string]bool{}
	for _, w := range plainTables {
		l := &life{}
		for _, row := range w.rows {
			capture := func() (*life, error) { return r.capture(ctx, []table{row.table}, id, row.where) }
			if row.name == balances {
				capture = func() (*life, error) { return r.balance(ctx, id, p) }
			}
			one, err := capture()
			if err != nil {
				return nil, err
			}
			if len(one.tables[0].values) == 0 {
				return nil, fmt.Errorf("%s writes no row of %s", w.name, row.name)
			}
			if name := plain + row.name; !made[name] {
				made[name] = true
				for _, command := range []string{"CREATE TABLE " + name + " AS SELECT * FROM " + row.name + " WHERE 1 = 0", "CREATE UNIQUE INDEX " + name + "_key ON " + name + " (" + row.key + ")"} {
					if _, err := r.raw.ExecContext(ctx, command); err != nil {
						return nil, err
					}
				}
			}
			one.tables = append(l.tables, one.tables...)
			if l.kept != nil {
				for id := range l.kept {
					one.kept[id] = true
				}
			}
			l = one
		}
		lives[w.name] = l
	}
	return lives, nil
}

// balance captures a player's balance, which has no id that a copy could
// change: the payout's stands there instead of the player's.
func (r *rows) balance(ctx context.Context, id payout.ID, p player) (*life, error) {
	l := &life{id: string(id), caller: caller, kept: map[string]bool{merchant: true}}
	c, err := r.read(ctx, balances, "SELECT * FROM balances WHERE player_id = ?", p.id)
	if err != nil {
		return nil, err
	}
	for i, column := range c.columns {
		if column == "player_id" {
			c.values[0][i] = string(id)
		}
	}
	l.tables = []captured{c}
	return l, nil
}

// writePlainly writes one copy.
func (r *rows) writePlainly(ctx context.Context, rows []captured) error {
	tx, err := r.raw.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	for _, c := range rows {
		for _, values := range c.values {
			if _, err := tx.ExecContext(ctx, r.statement(c), values...); err != nil {
				return fmt.Errorf("plain %s: %w", c.table, err)
			}
		}
	}
	return tx.Commit()
}

// statement is the insertion of one row, made once.
func (r *rows) statement(c captured) string {
	if text, ok := r.statements.Load(c.table); ok {
		return text.(string)
	}
	text := r.insertion(plain+c.table, c.columns, 1)
	r.statements.Store(c.table, text)
	return text
}

// hands is how many write at a time: on SQLite they queue for one writer.
const hands = 8

// measured is how fast something was, and the CPU that each took.
type measured struct{ perSecond, cpu float64 } // ms

// metered is many, with the CPU of this process and of the database.
func (b *bench) metered(ctx context.Context, n int, one func(context.Context, int) error) (measured, error) {
	cpu := func() float64 { return used(os.Getpid()) + b.postgres.cpu() }
	before := cpu()
	perSecond, err := many(ctx, n, one)
	return measured{perSecond, (cpu() - before) / float64(n) * 1000}, err
}

// many runs n transactions by several hands and answers with how many a second
// that was.
func many(ctx context.Context, n int, one func(context.Context, int) error) (float64, error) {
	return by(ctx, hands, n, one)
}

// by is many with so many hands.
func by(ctx context.Context, hands, n int, one func(context.Context, int) error) (float64, error) {
	var next atomic.Int64
	errs := make([]error, hands)
	var all sync.WaitGroup
	began := time.Now()
	for hand := range hands {
		all.Go(func() {
			for errs[hand] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[hand] = one(ctx, i)
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(began).Seconds(), errors.Join(errs...)
}

// ledgerRound is one round of accept and settle, and, given what to write, of
// the same plainly. All
// payouts of it end executed, so that nothing is left to do.
func (b *bench) ledgerRound(ctx context.Context, r *rows, n int, lives map[string]*life) (map[string]measured, error) {
	got := map[string]measured{}
	var err error
	plainly := func(name string) {
		if lives == nil {
			return
		}
		copies := make([][]captured, n)
		for i := range copies {
			copies[i] = lives[name].copied(0)
		}
		if err == nil {
			got["plain "+name], err = b.metered(ctx, n, func(ctx context.Context, i int) error { return r.writePlainly(ctx, copies[i]) })
		}
	}
	requests := make([]payout.Request, n)
	for i := range requests {
		requests[i] = wish(playerNumber(i))
	}
	plainly(acceptance.name)
	if err == nil {
		got[acceptance.name], err = b.metered(ctx, n, func(ctx context.Context, i int) error {
			_, _, err := r.Accept(ctx, requests[i], merchant, false)
			return err
		})
	}
	heard := make([]payout.Heard, n)
	if err == nil {
		_, err = many(ctx, n, func(ctx context.Context, i int) error {
			theirs, err := r.sent(ctx, requests[i].ID())
			heard[i] = payout.Heard{Words: []payout.Asked{{Attempt: 1, Word: said(playerNumber(i), requests[i].ID(), theirs)}}, By: "bench"}
			return err
		})
	}
	plainly(settlement.name)
	if err == nil {
		got[settlement.name], err = b.metered(ctx, n, func(ctx context.Context, i int) error {
			heard[i].Words[0].Word.AskedAt = time.Now()
			at, err := r.Judge(ctx, requests[i].ID(), heard[i])
			if err == nil && at.Status != payout.StatusExecuted {
				err = fmt.Errorf("payout %s is %s", requests[i].ID(), at.Status)
			}
			return err
		})
	}
	return got, err
}

// ledgerSpeed is how a transaction of the ledger compares with plain inserts
// on one database.
type ledgerSpeed struct {
	Rows   int    `json:"rows"`             // that it writes
	Speed  spread `json:"per_second"`       // with few payouts stored
	Plain  spread `json:"plain_per_second"` //
	Ratio  spread `json:"ratio"`            // round by round
	Full   spread `json:"per_second_full"`  // with many stored
	Growth spread `json:"growth_ratio"`     // many over few

	CPU      spread `json:"cpu_ms"` // of one, with the database's
	PlainCPU spread `json:"plain_cpu_ms"`
	FullCPU  spread `json:"cpu_ms_full"`
}

// ledgerSpeeds measures accept and settle in few and in many stored payouts,
// and plainly, in turns.
func (b *bench) ledgerSpeeds(ctx context.Context, what string, few, full *rows) (map[string]ledgerSpeed, error) {
	p := playerNumber(0)
	id, err := few.executed(ctx, p)
	if err != nil {
		return nil, err
	}
	lives, err := few.plainly(ctx, id, p)
	if err != nil {
		return nil, err
	}
	all, cpu := map[string]map[string][]float64{"few": {}, "full": {}}, map[string]map[string][]float64{"few": {}, "full": {}}
	for n := range b.size.rounds {
		for _, one := range []struct {
			name  string
			books *rows
			lives map[string]*life
		}{{"few", few, lives}, {"full", full, nil}} {
			got, err := b.ledgerRound(ctx, one.books, b.size.transactions, one.lives)
			if err != nil {
				return nil, err
			}
			for name, m := range got {
				all[one.name][name], cpu[one.name][name] = append(all[one.name][name], m.perSecond), append(cpu[one.name][name], m.cpu)
			}
			if one.name == "few" {
				b.say("ledger on %s, round %d of %d: accept %.0f a second (plain inserts %.0f), settle %.0f (%.0f); CPU ms %.2f (%.2f), %.2f (%.2f)", what, n+1, b.size.rounds,
					got["accept"].perSecond, got["plain accept"].perSecond, got["settle"].perSecond, got["plain settle"].perSecond,
					got["accept"].cpu, got["plain accept"].cpu, got["settle"].cpu, got["plain settle"].cpu)
			}
		}
	}
	speeds := map[string]ledgerSpeed{}
	for _, w := range plainTables {
		s := ledgerSpeed{Speed: spreadOf(all["few"][w.name]), Plain: spreadOf(all["few"]["plain "+w.name]), Full: spreadOf(all["full"][w.name])}
		for _, c := range lives[w.name].tables {
			s.Rows += len(c.values)
		}
		s.Ratio = ratio(all["few"][w.name], all["few"]["plain "+w.name])
		s.CPU, s.PlainCPU, s.FullCPU = spreadOf(cpu["few"][w.name]), spreadOf(cpu["few"]["plain "+w.name]), spreadOf(cpu["full"][w.name])
		s.Growth = ratio(all["full"][w.name], all["few"][w.name])
		speeds[w.name] = s
	}
	return speeds, nil
}

func ratio(these, those []float64) spread {
	var list []float64
	for i := range min(len(these), len(those)) {
		list = append(list, these[i]/those[i])
	}
	return spreadOf(list)
}

// sent takes an accepted payout to the provider, as the worker does.
func (r *rows) sent(ctx context.Context, id payout.ID) (theirs string, err error) {
	send, _, err := r.OpenSend(ctx, id, time.Now().Add(time.Hour))
	if err != nil {
		return "", err
	}
	theirs = uuid.NewString()
	_, err = r.CloseSend(ctx, send, payout.Created{Answer: payout.AnswerCreated, ProviderID: theirs, Raw: []byte(`{"id":"` + theirs + `"}`)})
	return theirs, err
}
