package ledgertest

import (
	"fmt"
	"math"
	"sync"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

func credit(key string, pence int64) payout.Movement {
	return payout.Movement{Caller: Caller, IdempotencyKey: key, PlayerID: Player, Money: Pounds(pence), Reason: "winnings"}
}

var movements = group{
	"a credit is available": func(h house) {
		done, replayed, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		if replayed || done.Kind != ledger.KindCredit || done.Money != Pounds(1500) || done.From != "house:funding" || done.To != "player:"+Player+":available" || !done.BookedAt.Equal(h.Clock.Now()) {
			h.Fatalf("booked %+v, replayed %v", done, replayed)
		}
		h.owes(1500, 0, 0)
	},
	"a debit takes from what is available": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		done, _, err := h.Debit(h.ctx, credit("k", 600)) // the same key at another endpoint is another request
		h.must(err)
		if done.Kind != ledger.KindDebit || done.From != "player:"+Player+":available" || done.To != "house:funding" {
			h.Fatalf("booked %+v", done)
		}
		h.owes(900, 0, 0)
	},
	"what was booked before is found without booking": func(h house) {
		first, _, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		again, found, err := h.BookedBefore(h.ctx, ledger.KindCredit, credit("k", 1500))
		h.must(err)
		if !found || again != first {
			h.Fatalf("found %v: %+v, want %+v", found, again, first)
		}
		_, _, err = h.BookedBefore(h.ctx, ledger.KindCredit, credit("k", 1501))
		h.names(err, "amount_in_minor")
		for kind, key := range map[ledger.TransactionKind]string{ledger.KindCredit: "new", ledger.KindDebit: "k"} {
			if done, found, err := h.BookedBefore(h.ctx, kind, credit(key, 1500)); found || err != nil {
				h.Fatalf("%s: found %+v, %v", kind, done, err)
			}
		}
		h.owes(1500, 0, 0)
	},
	"the same key is one movement": func(h house) {
		first, _, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		for range 3 {
			again, replayed, err := h.Credit(h.ctx, credit("k", 1500))
			h.must(err)
			if !replayed || again != first {
				h.Fatalf("replayed %v: %+v, want %+v", replayed, again, first)
			}
		}
		h.owes(1500, 0, 0)
	},
	"the same key for another request is refused by the field": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		for field, change := range map[string]func(*payout.Movement){
			"amount_in_minor": func(m *payout.Movement) { m.Money.Minor++ },
			"currency":        func(m *payout.Movement) { m.Money.Currency = "EUR" },
			"player_id":       func(m *payout.Movement) { m.PlayerID = "player-2" },
			"reason":          func(m *payout.Movement) { m.Reason = "other" },
		} {
			m := credit("k", 1500)
			change(&m)
			_, _, err := h.Credit(h.ctx, m)
			h.names(err, field)
		}
		h.owes(1500, 0, 0)
		if balances, _ := h.Balances(h.ctx, "", "player-2"); len(balances) > 0 {
			h.Fatalf("a refused credit left %v", balances)
		}
	},
	"keys belong to their caller": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		m := credit("k", 7)
		m.Caller, m.PlayerID = "other game", "player-2"
		_, replayed, err := h.Credit(h.ctx, m)
		h.must(err)
		if replayed {
			h.Fatal("another caller's key was a replay")
		}
	},
	"another caller's player is not found": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		m := credit("k2", 7)
		m.Caller = "other game"
		_, _, err = h.Credit(h.ctx, m)
		h.refused(err, payout.ErrNotFound)
		_, _, err = h.Debit(h.ctx, m)
		h.refused(err, payout.ErrNotFound)
		_, err = h.Balances(h.ctx, "other game", Player)
		h.refused(err, payout.ErrNotFound)
		h.owes(1500, 0, 0)
	},
	"a refused request is not remembered": func(h house) {
		_, _, err := h.Debit(h.ctx, credit("k", 100))
		h.refused(err, payout.ErrBalanceTooLow)
		_, _, err = h.Credit(h.ctx, credit("c", 100))
		h.must(err)
		_, replayed, err := h.Debit(h.ctx, credit("k", 100))
		h.must(err)
		if replayed {
			h.Fatal("a refused debit was remembered")
		}
		h.owes(0, 0, 0)
	},
	"a balance never gets negative": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 100))
		h.must(err)
		_, _, err = h.Debit(h.ctx, credit("d", 101))
		h.refused(err, payout.ErrBalanceTooLow)
		m := credit("e", 1)
		m.Money.Currency = "EUR"
		_, _, err = h.Debit(h.ctx, m)
		h.refused(err, payout.ErrBalanceTooLow)
		m.PlayerID = "nobody"
		_, _, err = h.Debit(h.ctx, m)
		h.refused(err, payout.ErrBalanceTooLow)
		h.owes(100, 0, 0)
	},
	"nothing and less than nothing is no movement": func(h house) {
		for _, pence := range []int64{0, -1, math.MinInt64} {
			_, _, err := h.Credit(h.ctx, credit("k", pence))
			h.names(err, "amount_in_minor")
			_, _, err = h.Debit(h.ctx, credit("k", pence))
			h.names(err, "amount_in_minor")
		}
	},
	"a sum that does not fit is refused": func(h house) {
		const half = math.MaxInt64 / 2
		for i := range 2 {
			_, _, err := h.Credit(h.ctx, credit(fmt.Sprint("k", i), half))
			h.must(err)
		}
		_, _, err := h.Credit(h.ctx, credit("one too many", 2))
		h.refused(err, payout.ErrOverflow)
		_, _, err = h.Credit(h.ctx, credit("k2", math.MaxInt64))
		h.names(err, "amount_in_minor")
		_, _, err = h.Credit(h.ctx, credit("to the brim", 1))
		h.must(err)
		h.owes(math.MaxInt64, 0, 0)
	},
	"what is held counts towards the sum": func(h house) {
		const half = math.MaxInt64 / 2
		h.Fund(h, half)
		_, _, err := h.Accept(h.ctx, NewPayout("k", half), Merchant, false)
		h.must(err)
		_, _, err = h.Credit(h.ctx, credit("k1", half))
		h.must(err)
		_, _, err = h.Credit(h.ctx, credit("k2", 2))
		h.refused(err, payout.ErrOverflow)
		h.owes(half, half, 0)
	},
	"currencies do not mix": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 100))
		h.must(err)
		m := credit("e", 5)
		m.Money.Currency = "EUR"
		_, _, err = h.Credit(h.ctx, m)
		h.must(err)
		balances, err := h.Balances(h.ctx, Caller, Player)
		h.must(err)
		if len(balances) != 2 || balances[0] != (ledger.Balance{Currency: "EUR", Available: 5}) || balances[1] != (ledger.Balance{Currency: "GBP", Available: 100}) {
			h.Fatalf("balances are %+v", balances)
		}
	},
	"an unknown player has no balances": func(h house) {
		balances, err := h.Balances(h.ctx, Caller, "nobody")
		h.must(err)
		if balances == nil || len(balances) != 0 {
			h.Fatalf("balances are %#v; want an empty list", balances)
		}
	},
	"one key at once is one movement": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 500))
		h.must(err)
		// The balance is enough for one: whoever comes second must be told
		// that it is a replay, never that the balance is too low.
		var wait sync.WaitGroup
		errs, fresh := make(chan error, 30), make(chan bool, 30)
		for range cap(errs) {
			wait.Go(func() {
				_, replayed, err := h.Debit(h.ctx, credit("once", 500))
				errs <- err
				fresh <- err == nil && !replayed
			})
		}
		wait.Wait()
		once := 0
		for range cap(errs) {
			h.must(<-errs)
			if <-fresh {
				once++
			}
		}
		if once != 1 {
			h.Fatalf("%d debits were new, want 1", once)
		}
		h.owes(0, 0, 0)
	},
}
