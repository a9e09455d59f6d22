package ledgertest

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// Ledger is what is promised: every call of *ledger.Ledger.
type Ledger interface {
	Close() error
	Ping(context.Context) error

	Credit(context.Context, payout.Movement) (ledger.Transaction, bool, error)
	Debit(context.Context, payout.Movement) (ledger.Transaction, bool, error)
	Balances(ctx context.Context, caller, player string) ([]ledger.Balance, error)
	BindSource(context.Context, payout.Source) (bool, error)
	Sources(ctx context.Context, caller, player string) ([]payout.Source, error)
	Accept(ctx context.Context, r payout.Request, merchantAccountID string, bindFirstUse bool) (ledger.Payout, bool, error)
	AcceptedBefore(context.Context, payout.Request) (ledger.Payout, bool, error)
	AcceptRefund(ctx context.Context, r payout.RefundRequest, merchantAccountID string) (ledger.Payout, bool, error)
	RefundAcceptedBefore(context.Context, payout.RefundRequest) (ledger.Payout, bool, error)
	BookedBefore(context.Context, ledger.TransactionKind, payout.Movement) (ledger.Transaction, bool, error)

	Payout(ctx context.Context, caller string, kind payout.Kind, id payout.ID) (ledger.Payout, error)
	Payouts(context.Context, payout.Kind, ledger.Filter) ([]ledger.Payout, string, error)
	Transactions(ctx context.Context, cursor int64, limit int) ([]ledger.Transaction, error)
	Cases(context.Context, ledger.CaseFilter) ([]ledger.Case, string, error)
	Case(ctx context.Context, id string) (ledger.Case, error)
	Propose(context.Context, payout.Proposal) (ledger.Resolution, bool, error)
	Decide(context.Context, payout.Approval) (ledger.Resolution, payout.Stored, error)
	Inbox(context.Context, ledger.InboxFilter) ([]ledger.InboxItem, string, error)
	Audit(ctx context.Context, cursor int64, limit int) ([]ledger.AuditLine, error)
	Drift(context.Context) ([]ledger.Drift, error)
	Evidence(ctx context.Context, id string) ([]byte, error)
	Check(context.Context) ([]ledger.Invariant, error)

	OpenSend(ctx context.Context, id payout.ID, tokenExpires time.Time) (payout.Send, payout.Position, error)
	CloseSend(context.Context, payout.Send, payout.Created) (payout.Position, error)
	Read(context.Context, payout.ID) (payout.Asking, error)
	Judge(ctx context.Context, id payout.ID, heard payout.Heard) (payout.Position, error)
	Earlier(context.Context, payout.ID) ([]payout.Ask, error)
	TryAgain(context.Context, payout.ID, []payout.Asked) (payout.Position, error)
	Release(context.Context, payout.ID) (payout.Position, error)
	Freeze(context.Context, payout.ID) (payout.Position, error)
	Return(context.Context, payout.ID) (payout.Position, error)
	OpenCase(context.Context, payout.ID) (payout.Position, error)

	StoreNews(context.Context, payout.News) (payout.Stored, error)
	Claim(ctx context.Context, caller string, limit int, hold time.Duration) ([]payout.Event, error)
	EventCallers(context.Context) ([]string, error)
	Sent(ctx context.Context, id string) error
	NotSent(ctx context.Context, id string, again time.Time, why string) error
	DuePayouts(ctx context.Context, limit int) ([]payout.Due, error)
	Unread(ctx context.Context, age time.Duration, limit int) ([]payout.Stored, error)
	LateNews(ctx context.Context, limit int) ([]payout.Due, error)
	OpenSlow(ctx context.Context, limit int) (int, error)
	OpenUnmatched(ctx context.Context, limit int) (int, error)
	NotLetIn(ctx context.Context, why string) (until time.Time, err error)
	CountOpen(context.Context) (map[payout.Status]int, error)
	Stats(context.Context) (ledger.Stats, error)
	SealPositions(ctx context.Context, limit int) (int, error)
}

// Books are open books on a database of their own.
type Books struct {
	Ledger
	Clock *Clock // what the books take for the time

	// Options open the same books again, as another process would. A fake
	// leaves them empty, and Rows nil; the cases that need them are skipped.
	Options ledger.Options
	Rows    *sql.DB // the same rows, past the ledger: to look and to tamper
}

// Clock is a time that moves only when a test says so. It is safe for
// concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock starts at a fixed moment, so that what is written can be compared.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 3, 4, 5, 6, 7, 890_000, time.UTC)} }

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the time on and answers with it.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// Encode is a create's body for books that talk to nobody: the intent and the
// caller's metadata as JSON, the same bytes each time.
func Encode(in payout.Intent, metadata map[string]string) ([]byte, error) {
	return json.Marshal(map[string]any{"intent": in, "metadata": metadata})
}

// SealKey is a seal for tests, with one key.
func SealKey() *ledger.Seal { return ReadSeal("test " + strings.Repeat("k", 42) + "g=") }

// ReadSeal is a seal with the keys of a SEAL_KEY_FILE that must be right.
func ReadSeal(file string) *ledger.Seal {
	seal, err := ledger.ReadSeal(strings.NewReader(file))
	if err != nil {
		panic(err)
	}
	return seal
}

// SQLite opens new books in a file of the test's own.
func SQLite(t testing.TB, change ...func(*ledger.Options)) Books {
	t.Helper()
	file := filepath.Join(t.TempDir(), "books.db")
	return open(t, "sqlite:"+file, "sqlite", "file:"+(&url.URL{Path: file}).EscapedPath()+"?_pragma=busy_timeout(10000)", change)
}

// Postgres opens new books in a database of the test's own, in a server that
// is started once per test process and ends with it. Without an installed
// PostgreSQL the test is skipped, or fails where CI is set.
func Postgres(t testing.TB, change ...func(*ledger.Options)) Books {
	t.Helper()
	NeedPostgres(t)
	template, err := migrated()
	if err != nil {
		t.Fatal(err)
	}
	address := PostgresAddress(t, template)
	return open(t, address, "pgx", address, change)
}

func open(t testing.TB, address, driver, rows string, change []func(*ledger.Options)) Books {
	t.Helper()
	clock := NewClock()
	b := Books{Clock: clock, Options: ledger.Options{URL: address, Seal: SealKey(), Encode: Encode, Now: clock.Now}}
	for _, change := range change {
		change(&b.Options)
	}
	l, err := ledger.Open(context.Background(), b.Options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b.Ledger = l
	if b.Rows, err = sql.Open(driver, rows); err != nil {
		t.Fatal(err)
	}
	b.Rows.SetMaxOpenConns(2)
	t.Cleanup(func() { b.Rows.Close() })
	return b
}
