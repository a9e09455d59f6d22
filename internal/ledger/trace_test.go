package ledger_test

import (
	"context"
	"maps"
	"testing"
	"time"

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
			untraced := accept("not traced")
			is(untraced, "")
			is("no such payout", "")

			// Events go back to it, those of cases by the payout they are about.
			for _, id := range []payout.ID{traced, untraced} {
				s, _, err := b.OpenSend(t.Context(), id, b.Clock.Now().Add(time.Hour))
				must(t, err)
				_, err = b.CloseSend(t.Context(), s, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-" + string(id), Raw: []byte("{}")})
				must(t, err)
				w := payout.Word{ProviderID: "their-" + string(id), Status: "failed", Reason: payout.ReasonBlocked, Money: ledgertest.Pounds(100), AskedAt: b.Clock.Now(), DecidedAt: b.Clock.Now(), Raw: []byte("{}")}
				_, err = b.Judge(t.Context(), id, payout.Heard{Words: []payout.Asked{{Attempt: 1, Word: w}}, By: "test"})
				must(t, err)
				_, err = b.Freeze(t.Context(), id)
				must(t, err)
			}
			events, err := b.Claim(t.Context(), "", 100, time.Minute)
			must(t, err)
			told := map[string]int{}
			for _, e := range events {
				told[e.Type+" "+e.Traceparent]++
			}
			want := map[string]int{}
			for _, of := range []string{"payout.accepted", "payout.pending", "payout.failed", "case.opened"} {
				want[of+" "+first], want[of+" "] = 1, 1
			}
			if !maps.Equal(told, want) {
				t.Errorf("events of traces are %v, want %v", told, want)
			}
			b.Lawful(t)
		})
	}
}
