package ledger_test

import (
	"context"
	"testing"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// What a request's trace is known by is kept with what it asked for, once.
func TestTrace(t *testing.T) {
	for name, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		t.Run(name, func(t *testing.T) {
			under := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			b := open(t, func(o *ledger.Options) { o.Trace = func(context.Context) string { return under } })
			l := b.Ledger.(*ledger.Ledger)
			accept := func(key string) payout.ID {
				t.Helper()
				p, _, err := b.Accept(t.Context(), ledgertest.NewPayout(key, 100), ledgertest.Merchant, false)
				must(t, err)
				return p.ID
			}
			is := func(id payout.ID, want string) {
				t.Helper()
				if got, err := l.Trace(t.Context(), id); got != want || err != nil {
					t.Errorf("the trace is %q, %v; want %q", got, err, want)
				}
			}
			b.Fund(t, 1000)
			first := under
			traced := accept("traced")
			under = "00-ffffffffffffffffffffffffffffffff-b7ad6b7169203331-01"
			if accept("traced") != traced { // a replay, in another trace
				t.Fatal("not the same payout")
			}
			is(traced, first)
			under = ""
			is(accept("not traced"), "")
			is("no such payout", "")
			b.Lawful(t)
		})
	}
}
