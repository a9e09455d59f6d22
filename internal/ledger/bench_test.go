package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// The base line: one transaction each, one after the other and from many hands
// at once. SQLite syncs to the disk; the suite's PostgreSQL does not.
func benchmark(b *testing.B, run func(b *testing.B, books ledgertest.Books, n int) error) {
	for name, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"SQLite": ledgertest.SQLite, "Postgres": ledgertest.Postgres} {
		b.Run(name, func(b *testing.B) {
			books := open(b)
			books.Fund(b, 1_000_000_000)
			for n := 0; b.Loop(); n++ {
				if err := run(b, books, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAccept(b *testing.B) {
	benchmark(b, func(b *testing.B, books ledgertest.Books, n int) error {
		_, _, err := books.Accept(b.Context(), ledgertest.NewPayout(fmt.Sprint(n), 1), ledgertest.Merchant, false)
		return err
	})
}

func BenchmarkSettle(b *testing.B) {
	benchmark(b, func(b *testing.B, books ledgertest.Books, n int) error {
		b.StopTimer()
		theirs := fmt.Sprint("their-", n)
		p, err := answered(b, books, n, payout.Created{Answer: payout.AnswerCreated, ProviderID: theirs})
		if err != nil {
			return err
		}
		w := payout.Word{ProviderID: theirs, Status: "executed", Money: p.Money, AskedAt: books.Clock.Now(), Raw: []byte("{}")}
		b.StartTimer()
		_, err = books.Judge(b.Context(), p.ID, payout.Heard{Words: []payout.Asked{{Attempt: 1, Word: w}}, By: "benchmark"})
		return err
	})
}

func BenchmarkRelease(b *testing.B) {
	benchmark(b, func(b *testing.B, books ledgertest.Books, n int) error {
		b.StopTimer()
		p, err := answered(b, books, n, payout.Created{Answer: payout.AnswerRefused, Reason: payout.ReasonRefused, Raw: []byte("{}")})
		if err != nil {
			return err
		}
		b.StartTimer()
		at, err := books.Release(b.Context(), p.ID)
		if err == nil && at.Status != payout.StatusFailed {
			err = fmt.Errorf("position is %+v", at)
		}
		return err
	})
}

// answered is a new payout whose create was answered.
func answered(b *testing.B, books ledgertest.Books, n int, c payout.Created) (ledger.Payout, error) {
	p, _, err := books.Accept(b.Context(), ledgertest.NewPayout(fmt.Sprint(n), 1), ledgertest.Merchant, false)
	if err != nil {
		return p, err
	}
	s, _, err := books.OpenSend(b.Context(), p.ID, books.Clock.Now().Add(time.Hour))
	if err != nil {
		return p, err
	}
	_, err = books.CloseSend(b.Context(), s, c)
	return p, err
}

func BenchmarkStoreNews(b *testing.B) {
	var id payout.ID
	var of ledgertest.Books
	benchmark(b, func(b *testing.B, books ledgertest.Books, n int) error {
		if of.Ledger != books.Ledger {
			of, id = books, paid(b, books, []byte("{}"))
		}
		_, err := books.StoreNews(b.Context(), payout.News{EventID: fmt.Sprint(n), Type: "payout_executed", ProviderID: "their-" + string(id), Status: "executed", Body: make([]byte, 600)})
		return err
	})
}

func BenchmarkStoreNewsRepeated(b *testing.B) {
	benchmark(b, func(b *testing.B, books ledgertest.Books, n int) error {
		_, err := books.StoreNews(b.Context(), payout.News{EventID: "one", Type: "payout_executed", ProviderID: "p", Status: "executed", Body: make([]byte, 600)})
		return err
	})
}
