package ledgertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// together does everything at once.
var together = group{
	"news during a reading is listed or wakes": newsDuringReading,
	"every step of the same payouts, by many": func(h house) {
		const workers, rounds = 8, 25
		var ids []payout.ID
		for range 4 {
			ids = append(ids, h.accepted(1000))
		}
		var wait sync.WaitGroup
		errs := make(chan error, workers)
		for w := range workers {
			wait.Go(func() {
				random := rand.New(rand.NewPCG(uint64(w), 7))
				var err error
				for n := 0; n < rounds && err == nil; n++ {
					err = h.lived(ids[random.IntN(len(ids))], fmt.Sprint(w, "/", n), random)
				}
				errs <- err
			})
		}
		wait.Wait()
		for range cap(errs) {
			if err := <-errs; err != nil {
				h.Error(err)
			}
		}
	},
	"two processes on the same books": func(h house) {
		if h.Options.URL == "" {
			h.Skip("these books cannot be opened twice")
		}
		other, err := ledger.Open(h.ctx, h.Options)
		h.must(err)
		defer other.Close()
		h.Fund(h, 20_000)
		var wait sync.WaitGroup
		errs := make(chan error, 40)
		for i := range cap(errs) {
			books := []Ledger{h.Ledger, other}[i%2]
			wait.Go(func() {
				_, _, err := books.Accept(h.ctx, NewPayout(fmt.Sprint("k", i/2), 1000), Merchant, false)
				errs <- err
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		h.owes(0, 20_000, 0)
	},
}

// lived does one thing of a payout's life, whatever its row says.
func (h house) lived(id payout.ID, name string, random *rand.Rand) error {
	row, err := h.Payout(h.ctx, "", payout.KindPayout, id)
	if err != nil {
		return err
	}
	n := len(row.Attempts)
	switch random.IntN(8) {
	case 0, 1:
		s, _, err := h.OpenSend(h.ctx, id, h.token())
		if err != nil || s.Number == 0 {
			return err
		}
		_, err = h.CloseSend(h.ctx, s, there(theirs(id, s.Attempt)))
		return err
	case 2, 3:
		_, err := h.StoreNews(h.ctx, news(name, theirs(id, n), "executed"))
		return err
	case 4, 5:
		asking, err := h.Read(h.ctx, id)
		if err != nil {
			return err
		}
		status := []string{"pending", "authorized", "executed"}[random.IntN(3)]
		var words []payout.Asked
		for _, a := range asking.Asks {
			words = append(words, h.word(id, a.Attempt, status, ""))
		}
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: words, Inbox: asking.Inbox, By: "test"})
		return err
	case 6:
		_, _, err := h.Credit(h.ctx, credit(name, 5))
		return err
	default:
		for _, call := range calls {
			if _, err := call(h, id); err != nil && !errors.As(err, new(*payout.InFlight)) {
				return err
			}
		}
		return nil
	}
}
