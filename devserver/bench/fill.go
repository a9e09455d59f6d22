package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
	_ "modernc.org/sqlite"             // driver "sqlite"

	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

const (
	caller    = "casino" // of all payouts
	merchant  = "a61acaef-ee05-4077-92f3-25543a11bd8d"
	pence     = 10_00 // of each payout
	players   = 200
	purse     = 1_000_000_000_00 // what each player has won, in minor units
	reference = "Table 7"
)

// player is somebody who won, with an account that is bound.
type player struct{ id, user, source string }

func playerNumber(n int) player {
	id := fmt.Sprintf("player-%d", n%players)
	of := func(what string) string { return uuid.NewSHA1(uuid.NameSpaceURL, []byte(what+id)).String() }
	return player{id, of("user"), of("source")}
}

// rows are books as the bench sees them: through the ledger, and past it.
type rows struct {
	*ledger.Ledger
	raw      *sql.DB
	postgres bool

	statements sync.Map // table → the statement that inserts a row plainly
}

func openRows(ctx context.Context, address string, seal *ledger.Seal) (*rows, error) {
	books, err := ledger.Open(ctx, ledger.Options{URL: address, Seal: seal, Encode: truelayer.Body})
	if err != nil {
		return nil, err
	}
	r := &rows{Ledger: books}
	driver, name := "pgx", address
	if path, lite := strings.CutPrefix(address, "sqlite:"); lite {
		driver, name = "sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_txlock=immediate"
	}
	r.postgres = driver == "pgx"
	if r.raw, err = sql.Open(driver, name); err == nil {
		err = r.raw.PingContext(ctx)
	}
	if err != nil {
		books.Close()
		return nil, err
	}
	atOnce := 16 // as the ledger has it
	if !r.postgres {
		atOnce = 1
	}
	r.raw.SetMaxOpenConns(atOnce)
	r.raw.SetMaxIdleConns(atOnce)
	return r, nil
}

func (r *rows) close() {
	r.raw.Close()
	r.Close()
}

// sql writes the parameters as the database wants them.
func (r *rows) sql(query string) string {
	if !r.postgres {
		return query
	}
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
	}
	return query
}

// wish is what a backend asks for.
func wish(p player) payout.Request {
	return payout.Request{Caller: caller, IdempotencyKey: uuid.NewString(), PlayerID: p.id, Money: payout.Money{Minor: pence, Currency: "GBP"},
		Beneficiary: payout.Beneficiary{UserID: p.user, PaymentSourceID: p.source, Reference: reference}}
}

// fund credits all players and binds their accounts.
func (r *rows) fund(ctx context.Context) error {
	_, err := many(ctx, players, func(ctx context.Context, n int) error {
		p := playerNumber(n)
		if _, _, err := r.Credit(ctx, payout.Movement{Caller: caller, IdempotencyKey: "purse-" + p.id, PlayerID: p.id, Money: payout.Money{Minor: purse, Currency: "GBP"}, Reason: "winnings"}); err != nil {
			return err
		}
		_, err := r.BindSource(ctx, payout.Source{Caller: caller, PlayerID: p.id, PaymentSourceID: p.source, UserID: p.user, Currency: "GBP"})
		return err
	})
	return err
}

// said is the provider's word that a payout was executed, as long as theirs
// are.
func said(p player, id payout.ID, theirs string) payout.Word {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return payout.Word{ProviderID: theirs, Status: payout.ProviderExecuted, Money: payout.Money{Minor: pence, Currency: "GBP"}, MerchantAccountID: merchant, UserID: p.user,
		PaymentSourceID: p.source, Reference: reference, Metadata: map[string]string{payout.MetadataPayoutID: string(id), payout.MetadataAttempt: "1"},
		DecidedAt: now, AskedAt: now, Raw: make([]byte, 600)}
}

// executed is a payout's whole happy life, through the ledger's own calls.
func (r *rows) executed(ctx context.Context, p player) (payout.ID, error) {
	req := wish(p)
	id := req.ID()
	if _, _, err := r.Accept(ctx, req, merchant, false); err != nil {
		return "", err
	}
	theirs, err := r.sent(ctx, id)
	if err != nil {
		return "", err
	}
	if _, err := r.StoreNews(ctx, news(uuid.NewString(), theirs)); err != nil {
		return "", err
	}
	asking, err := r.Read(ctx, id)
	if err != nil {
		return "", err
	}
	heard := payout.Heard{Words: []payout.Asked{{Attempt: 1, Word: said(p, id, theirs)}}, Inbox: asking.Inbox, By: "ReconcilePayout " + uuid.NewString() + "/1"}
	at, err := r.Judge(ctx, id, heard)
	if err == nil && at.Status != payout.StatusExecuted {
		err = fmt.Errorf("payout %s is %s", id, at.Status)
	}
	return id, err
}

func news(event, theirs string) payout.News {
	return payout.News{EventID: event, Type: "payout_executed", ProviderID: theirs, Status: payout.ProviderExecuted, Body: make([]byte, 600),
		Signature: strings.Repeat("s", 450), Timestamp: time.Now().UTC().Format(time.RFC3339)}
}

// fill stores so many executed payouts: one of each player through the
// ledger's own calls, the others as copies of its rows with ids, keys and times
// of their own, past the ledger and under all its constraints and triggers.
// What comes out must pass the ledger's own check.
func (r *rows) fill(ctx context.Context, payouts int, progress func(stored int)) error {
	if err := r.fund(ctx); err != nil {
		return err
	}
	each := max(1, payouts/players)
	var stored atomic.Int64
	if _, err := many(ctx, min(players, payouts), func(ctx context.Context, n int) error {
		p := playerNumber(n)
		id, err := r.executed(ctx, p)
		if err != nil {
			return err
		}
		life, err := r.capture(ctx, tables, id, "")
		if err != nil {
			return err
		}
		if err := r.multiply(ctx, life, each-1, n); err != nil {
			return err
		}
		if _, err := r.raw.ExecContext(ctx, r.sql("UPDATE balances SET available = available - ? WHERE player_id = ?"), int64(each-1)*pence, p.id); err != nil {
			return err
		}
		progress(int(stored.Add(int64(each))))
		return nil
	}); err != nil {
		return err
	}
	// As if the backend had taken all events.
	if _, err := r.raw.ExecContext(ctx, r.sql("UPDATE outbox SET sent_at = occurred_at, tries = 1, next_try_at = NULL")); err != nil {
		return err
	}
	for {
		n, err := r.SealPositions(ctx, 5000)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
	}
	if r.postgres { // as its autovacuum would, sooner or later
		if _, err := r.raw.ExecContext(ctx, "ANALYZE"); err != nil {
			return err
		}
	}
	laws, err := r.Check(ctx)
	for _, law := range laws {
		if law.Violations > 0 {
			return fmt.Errorf("filled books break %s %d times, such as %v", law.ID, law.Violations, law.Examples)
		}
	}
	return err
}

// tables are where the rows of a payout are, in an order that the foreign keys
// allow, and how they name it.
var tables = []table{
	{"payouts", "id"}, {"attempts", "payout_id"}, {"sends", "payout_id"}, {"evidence", "payout_id"}, {"inbox", "payout_id"},
	{"timeline", "payout_id"}, {"transactions", "payout_id"}, {"outbox", "subject_id"}, {"idempotency_keys", "result_id"},
}

type table struct{ name, by string }

// captured is the rows of one payout in one table.
type captured struct {
	table   string
	columns []string
	values  [][]any
}

// life is all rows of one payout.
type life struct {
	tables []captured
	id     string // the payout's
	caller string
	kept   map[string]bool // ids that copies share, such as the player's
}

// capture reads the rows of a payout, of each table those that fit where.
func (r *rows) capture(ctx context.Context, from []table, id payout.ID, where string) (*life, error) {
	if where != "" {
		where = " AND " + where
	}
	l := &life{id: string(id), caller: caller, kept: map[string]bool{merchant: true}}
	for _, t := range from {
		// In order: ids of transactions grow with time, and an outcome needs its hold before it.
		c, err := r.read(ctx, t.name, "SELECT * FROM "+t.name+" WHERE "+t.by+" = ?"+where+" ORDER BY 1", string(id))
		if err != nil {
			return nil, err
		}
		for i, column := range c.columns {
			for _, row := range c.values {
				if text, is := row[i].(string); is && (column == "player_id" || column == "user_id" || column == "payment_source_id") {
					l.kept[text] = true
				}
			}
		}
		l.tables = append(l.tables, c)
	}
	return l, nil
}

// read reads whole rows of a table.
func (r *rows) read(ctx context.Context, table, query string, args ...any) (c captured, err error) {
	found, err := r.raw.QueryContext(ctx, r.sql(query), args...)
	if err != nil {
		return c, err
	}
	defer found.Close()
	c.table = table
	if c.columns, err = found.Columns(); err != nil {
		return c, err
	}
	for found.Next() {
		row, to := make([]any, len(c.columns)), make([]any, len(c.columns))
		for i := range row {
			to[i] = &row[i]
		}
		if err := found.Scan(to...); err != nil {
			return c, err
		}
		c.values = append(c.values, row)
	}
	return c, found.Err()
}

var anID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// copied is the same life of another payout, earlier by ago: every id in it is
// a new one, our own follow from each other as they must.
func (l *life) copied(ago time.Duration) []captured {
	key := uuid.NewString()
	id := string(payout.NewID(payout.KindPayout, l.caller, key))
	given := map[string]string{l.id: id, payout.Key(payout.ID(l.id), 1): payout.Key(payout.ID(id), 1)}
	fresh := func(old string) string {
		if l.kept[old] {
			return old
		}
		if given[old] == "" {
			given[old] = uuid.NewString()
		}
		return given[old]
	}
	for _, t := range l.tables { // the key that the id follows from
		if t.table == "payouts" {
			for i, column := range t.columns {
				if text, _ := t.values[0][i].(string); column == "idempotency_key" {
					given[text] = key
				}
			}
		}
	}
	list := make([]captured, len(l.tables))
	for n, t := range l.tables {
		list[n] = captured{t.table, t.columns, make([][]any, len(t.values))}
		for m, row := range t.values {
			values := make([]any, len(row))
			for i, value := range row {
				switch value := value.(type) {
				case string:
					values[i] = anID.ReplaceAllStringFunc(value, fresh)
				case []byte:
					if values[i] = value; t.columns[i] == "body" && t.table == "attempts" { // what is sealed stays sealed
						values[i] = anID.ReplaceAllFunc(value, func(old []byte) []byte { return []byte(fresh(string(old))) })
					}
				case int64:
					if values[i] = value; value > 0 && strings.HasSuffix(t.columns[i], "_at") {
						values[i] = value - ago.Microseconds()
					}
				default:
					values[i] = value
				}
			}
			list[n].values[m] = values
		}
	}
	return list
}

// copiesAtOnce is how many copies one transaction writes.
const copiesAtOnce = 50

func (r *rows) multiply(ctx context.Context, l *life, copies, nth int) error {
	for from := 0; from < copies; from += copiesAtOnce {
		bulk := map[string]*captured{}
		for n := from; n < min(from+copiesAtOnce, copies); n++ {
			for _, t := range l.copied(time.Duration(n*players+nth+1) * time.Second) {
				if bulk[t.table] == nil {
					bulk[t.table] = &captured{table: t.table, columns: t.columns}
				}
				bulk[t.table].values = append(bulk[t.table].values, t.values...)
			}
		}
		tx, err := r.raw.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for _, t := range l.tables {
			if err := r.insert(ctx, tx, *bulk[t.table]); err != nil {
				_ = tx.Rollback() // the insert's error is the one to tell
				return fmt.Errorf("fill %s: %w", t.table, err)
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// insert writes all rows by one statement.
func (r *rows) insert(ctx context.Context, tx *sql.Tx, c captured) error {
	if len(c.values) == 0 {
		return nil
	}
	var args []any
	for _, row := range c.values {
		args = append(args, row...)
	}
	_, err := tx.ExecContext(ctx, r.insertion(c.table, c.columns, len(c.values)), args...)
	return err
}

func (r *rows) insertion(table string, columns []string, rows int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", table, strings.Join(columns, ", "))
	n := 0
	for row := range rows {
		if row > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('(')
		for i := range columns {
			if n++; i > 0 {
				b.WriteString(", ")
			}
			if r.postgres {
				fmt.Fprintf(&b, "$%d", n)
			} else {
				b.WriteByte('?')
			}
		}
		b.WriteByte(')')
	}
	return b.String()
}
