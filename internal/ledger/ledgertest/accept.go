package ledgertest

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"payouts/internal/payout"
)

var accepting = group{
	"the money is held": func(h house) {
		h.Fund(h, 1500)
		p, replayed, err := h.Accept(h.ctx, NewPayout("k", 1000), Merchant, false)
		h.must(err)
		want := NewPayout("k", 1000)
		if replayed || p.ID != want.ID() || p.Status != payout.StatusAccepted || p.MoneyAt != payout.MoneyHeld || p.Step != payout.StepCreate || p.Version != 1 ||
			p.Money != want.Money || p.Beneficiary != want.Beneficiary || p.MerchantAccountID != Merchant || p.Caller != Caller || p.PlayerID != Player ||
			!p.CreatedAt.Equal(h.Clock.Now()) || !p.UpdatedAt.Equal(h.Clock.Now()) {
			h.Fatalf("accepted as %+v, replayed %v", p, replayed)
		}
		h.owes(500, 1000, 0)
		h.books(p.ID, "reserve")
		row := h.stands(p.ID, payout.StatusAccepted, payout.MoneyHeld, payout.StepCreate)
		if len(row.Attempts) != 1 || row.Attempts[0].Number != 1 || row.Attempts[0].IdempotencyKey != payout.Key(p.ID, 1) || row.Attempts[0].Status != "open" || row.Attempts[0].Sends != 0 {
			h.Fatalf("attempts are %+v", row.Attempts)
		}
		if len(row.Timeline) != 1 {
			h.Fatalf("timeline is %+v", row.Timeline)
		}
	},
	"a replay answers with the payout as it is now": func(h house) {
		h.Fund(h, 1500)
		first, _, err := h.Accept(h.ctx, NewPayout("k", 1000), Merchant, false)
		h.must(err)
		h.created(first.ID)
		h.Clock.Advance(1e9)
		p, replayed, err := h.Accept(h.ctx, NewPayout("k", 1000), Merchant, false)
		h.must(err)
		now := h.payout(first.ID)
		if !replayed || p.ID != first.ID || p.Status != payout.StatusPending || p.ProviderPayoutID != theirs(p.ID, 1) || !p.UpdatedAt.Equal(now.UpdatedAt) ||
			!p.NextStepAt.Equal(now.NextStepAt) || !p.CreatedAt.Equal(first.CreatedAt) || p.Version != now.Version {
			h.Fatalf("replayed %v: %+v, want %+v", replayed, p, now)
		}
		h.owes(500, 1000, 0)
	},
	"what was accepted before is found without accepting": func(h house) {
		h.Fund(h, 9000)
		request := NewPayout("k", 1000)
		if p, found, err := h.AcceptedBefore(h.ctx, request); found || err != nil {
			h.Fatalf("found %+v before it was accepted, %v", p, err)
		}
		first, _, err := h.Accept(h.ctx, request, Merchant, false)
		h.must(err)
		h.created(first.ID)
		request.Metadata = map[string]string{} // none is the same as empty
		p, found, err := h.AcceptedBefore(h.ctx, request)
		h.must(err)
		if !found || p.ID != first.ID || p.Status != payout.StatusPending || p.Version != h.payout(first.ID).Version {
			h.Fatalf("found %v: %+v", found, p)
		}
		request.Money.Minor++
		_, _, err = h.AcceptedBefore(h.ctx, request)
		h.names(err, "amount_in_minor")
		request.Caller = "other game"
		if p, found, err := h.AcceptedBefore(h.ctx, request); found || err != nil {
			h.Fatalf("found %+v of another caller, %v", p, err)
		}
		h.owes(8000, 1000, 0)
	},
	"the same key for another request is refused by the field": func(h house) {
		h.Fund(h, 9000)
		request := NewPayout("k", 1000)
		request.Metadata = map[string]string{"round": "7"}
		_, _, err := h.Accept(h.ctx, request, Merchant, false)
		h.must(err)
		for field, change := range map[string]func(*payout.Request){
			"amount_in_minor":               func(r *payout.Request) { r.Money.Minor++ },
			"currency":                      func(r *payout.Request) { r.Money.Currency = "EUR" },
			"player_id":                     func(r *payout.Request) { r.PlayerID = "player-2" },
			"beneficiary.user_id":           func(r *payout.Request) { r.Beneficiary.UserID = "x" },
			"beneficiary.payment_source_id": func(r *payout.Request) { r.Beneficiary.PaymentSourceID = "x" },
			"beneficiary.reference":         func(r *payout.Request) { r.Beneficiary.Reference = "x" },
			"metadata.round":                func(r *payout.Request) { r.Metadata["round"] = "8" },
			"metadata.table":                func(r *payout.Request) { r.Metadata["table"] = "new" },
			"metadata":                      func(r *payout.Request) { r.Metadata = nil },
		} {
			again := request
			again.Metadata = maps.Clone(request.Metadata)
			change(&again)
			_, _, err := h.Accept(h.ctx, again, Merchant, false)
			h.names(err, field)
		}
		h.owes(8000, 1000, 0)
	},
	"no metadata and empty metadata are the same request": func(h house) {
		h.Fund(h, 1000)
		_, _, err := h.Accept(h.ctx, NewPayout("k", 1000), Merchant, false)
		h.must(err)
		again := NewPayout("k", 1000)
		again.Metadata = map[string]string{}
		_, replayed, err := h.Accept(h.ctx, again, Merchant, false)
		h.must(err)
		if !replayed {
			h.Fatal("not a replay")
		}
	},
	"a balance too low leaves nothing behind": func(h house) {
		h.Fund(h, 999)
		request := NewPayout("k", 1000)
		_, _, err := h.Accept(h.ctx, request, Merchant, false)
		h.refused(err, payout.ErrBalanceTooLow)
		h.owes(999, 0, 0)
		_, err = h.Payout(h.ctx, "", payout.KindPayout, request.ID())
		h.refused(err, payout.ErrNotFound)
		if events, err := h.Claim(h.ctx, "", 10, 0); err != nil || len(events) > 0 {
			h.Fatalf("events %v, %v", events, err)
		}
		h.Fund(h, 1)
		_, replayed, err := h.Accept(h.ctx, request, Merchant, false)
		h.must(err)
		if replayed {
			h.Fatal("the refused request was remembered")
		}
	},
	"an unbound source is refused": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 1000))
		h.must(err)
		_, _, err = h.Accept(h.ctx, NewPayout("k", 1000), Merchant, false)
		h.names(err, "beneficiary.payment_source_id")
		h.owes(1000, 0, 0)
	},
	"a source that is bound otherwise is refused by every field": func(h house) {
		h.Fund(h, 1000)
		_, err := h.BindSource(h.ctx, payout.Source{Caller: Caller, PlayerID: "player-2", PaymentSourceID: "source-2", UserID: "user-2", Currency: "GBP"})
		h.must(err)
		_, err = h.BindSource(h.ctx, payout.Source{Caller: Caller, PlayerID: Player, PaymentSourceID: "source-eur", UserID: User, Currency: "EUR"})
		h.must(err)
		for _, first := range []bool{false, true} {
			r := NewPayout("k", 1000)
			r.Beneficiary.PaymentSourceID = "source-2"
			_, _, err = h.Accept(h.ctx, r, Merchant, first)
			h.names(err, "beneficiary.payment_source_id")
			r = NewPayout("k", 1000)
			r.Beneficiary.UserID = "user-2"
			_, _, err = h.Accept(h.ctx, r, Merchant, first)
			h.names(err, "beneficiary.user_id")
			r = NewPayout("k", 1000)
			r.Beneficiary.PaymentSourceID = "source-eur"
			_, _, err = h.Accept(h.ctx, r, Merchant, first)
			h.names(err, "currency")
			r.Beneficiary.UserID = "user-2"
			_, _, err = h.Accept(h.ctx, r, Merchant, first)
			h.names(err, "beneficiary.user_id", "currency")
		}
		h.owes(1000, 0, 0)
	},
	"another caller's player is not found": func(h house) {
		h.Fund(h, 1000)
		for _, first := range []bool{false, true} {
			r := NewPayout("k", 1000)
			r.Caller = "other game"
			_, _, err := h.Accept(h.ctx, r, Merchant, first)
			h.refused(err, payout.ErrNotFound)
		}
		_, err := h.BindSource(h.ctx, payout.Source{Caller: "other game", PlayerID: Player, PaymentSourceID: "s", UserID: User, Currency: "GBP"})
		h.refused(err, payout.ErrNotFound)
		_, err = h.Sources(h.ctx, "other game", Player)
		h.refused(err, payout.ErrNotFound)
		h.owes(1000, 0, 0)
	},
	"the first use binds a source": func(h house) {
		_, _, err := h.Credit(h.ctx, credit("k", 1500))
		h.must(err)
		_, _, err = h.Accept(h.ctx, NewPayout("k1", 2000), Merchant, true)
		h.refused(err, payout.ErrBalanceTooLow)
		if sources, _ := h.Sources(h.ctx, Caller, Player); len(sources) > 0 {
			h.Fatalf("a refused payout bound %v", sources)
		}
		_, _, err = h.Accept(h.ctx, NewPayout("k1", 1000), Merchant, true)
		h.must(err)
		sources, err := h.Sources(h.ctx, Caller, Player)
		h.must(err)
		if len(sources) != 1 || sources[0].PaymentSourceID != Source || sources[0].UserID != User || sources[0].Currency != "GBP" {
			h.Fatalf("bound %+v", sources)
		}
		_, _, err = h.Accept(h.ctx, NewPayout("k2", 500), Merchant, false)
		h.must(err)
		h.owes(0, 1500, 0)
	},
	"binding so again changes nothing, binding otherwise is refused": func(h house) {
		s := payout.Source{Caller: Caller, PlayerID: Player, PaymentSourceID: Source, UserID: User, Currency: "GBP"}
		for i := range 3 {
			bound, err := h.BindSource(h.ctx, s)
			h.must(err)
			if bound != (i == 0) {
				h.Fatalf("time %d: bound %v", i, bound)
			}
		}
		other := s
		other.PlayerID = "player-2"
		_, err := h.BindSource(h.ctx, other)
		h.names(err, "payment_source_id")
		other = s
		other.UserID, other.Currency = "x", "EUR"
		_, err = h.BindSource(h.ctx, other)
		h.names(err, "user_id", "currency")
	},
	"200 at once against money for 100": func(h house) {
		h.Fund(h, 100_000)
		var wait sync.WaitGroup
		var accepted, tooLow atomic.Int64
		errs := make(chan error, 200)
		for i := range cap(errs) {
			wait.Go(func() {
				_, _, err := h.Accept(h.ctx, NewPayout(fmt.Sprint("k", i), 1000), Merchant, false)
				switch {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, payout.ErrBalanceTooLow):
					tooLow.Add(1)
				default:
					errs <- err
				}
			})
		}
		wait.Wait()
		close(errs)
		for err := range errs {
			h.Error(err)
		}
		if accepted.Load() != 100 || tooLow.Load() != 100 {
			h.Fatalf("%d accepted and %d refused, want 100 and 100", accepted.Load(), tooLow.Load())
		}
		h.owes(0, 100_000, 0)
	},
	"one key at once is one payout": func(h house) {
		h.Fund(h, 1000) // enough for one: the others are replays, not refusals
		var wait sync.WaitGroup
		var fresh atomic.Int64
		errs := make(chan error, 30)
		for range cap(errs) {
			wait.Go(func() {
				_, replayed, err := h.Accept(h.ctx, NewPayout("once", 1000), Merchant, false)
				errs <- err
				if err == nil && !replayed {
					fresh.Add(1)
				}
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		if fresh.Load() != 1 {
			h.Fatalf("%d payouts, want 1", fresh.Load())
		}
		h.owes(0, 1000, 0)
	},
}
