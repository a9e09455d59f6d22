package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// waits are how long something took, in milliseconds.
type waits struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
}

func waitsOf(list []float64) waits {
	if len(list) == 0 {
		return waits{}
	}
	slices.Sort(list)
	at := func(q float64) float64 { return list[min(len(list)-1, int(q*float64(len(list))))] }
	return waits{len(list), at(0.50), at(0.99)}
}

// latencies are measured at a steady rate that leaves the machine air: under
// full load they tell only how long the queue is.
type latencies struct {
	PerSecond         float64 `json:"offered_per_second"`
	RequestToHeld     waits   `json:"request_to_held"`     // the caller has its answer
	RequestToExecuted waits   `json:"request_to_executed"` // the provider's own pause among it
	ProviderPause     float64 `json:"provider_pause_ms"`
	WebhookToSettled  waits   `json:"webhook_to_settled"` // from the inbox row to the settled books
}

// steady asks for payouts at a rate, whatever became of those before.
func (b *bench) steady(ctx context.Context, h *house, perSecond float64, lasts time.Duration) (latencies, error) {
	type asked struct {
		id   string
		at   time.Time
		held time.Duration
	}
	var mu sync.Mutex
	var all []asked
	var errs []error
	var under sync.WaitGroup
	within, cancel := context.WithTimeout(ctx, lasts+drainWithin)
	defer cancel()
	every := time.Duration(float64(time.Second) / perSecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := range int(lasts / every) {
		select {
		case <-tick.C:
		case <-within.Done():
		}
		under.Go(func() {
			began := time.Now()
			id, err := h.asks(within, n)
			a := asked{id, began, time.Since(began)}
			if err == nil {
				err = h.awaitExecuted(within, id)
			}
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, a), append(errs, err)
		})
	}
	under.Wait()
	if err := errors.Join(errs...); err != nil {
		return latencies{}, err
	}
	l := latencies{PerSecond: perSecond, ProviderPause: float64(b.after.Microseconds()) / 1000}
	executed, settled, err := h.books.times(ctx, func(yield func(string) bool) {
		for _, a := range all {
			if !yield(a.id) {
				return
			}
		}
	})
	if err != nil {
		return l, err
	}
	var held, toExecuted, toSettled []float64
	for _, a := range all {
		held = append(held, milliseconds(a.held))
		toExecuted = append(toExecuted, milliseconds(executed[a.id].Sub(a.at)))
		toSettled = append(toSettled, settled[a.id])
	}
	l.RequestToHeld, l.RequestToExecuted, l.WebhookToSettled = waitsOf(held), waitsOf(toExecuted), waitsOf(toSettled)
	return l, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// times reads when payouts were executed, and how many milliseconds that was
// after their news was stored. The books' clock is this machine's.
func (r *rows) times(ctx context.Context, ids func(func(string) bool)) (executed map[string]time.Time, settled map[string]float64, err error) {
	executed, settled = map[string]time.Time{}, map[string]float64{}
	for chunk := range slices.Chunk(slices.Collect(ids), 500) {
		args := make([]any, len(chunk))
		for i, id := range chunk {
			args[i] = id
		}
		found, err := r.read(ctx, "transactions", `SELECT t.payout_id, t.booked_at, (SELECT MIN(i.received_at) FROM inbox i WHERE i.payout_id = t.payout_id)
			FROM transactions t WHERE t.slot = 'outcome' AND t.payout_id IN (?`+strings.Repeat(", ?", len(chunk)-1)+")", args...)
		if err != nil {
			return nil, nil, err
		}
		for _, row := range found.values {
			id, _ := row[0].(string)
			at, _ := row[1].(int64)
			received, _ := row[2].(int64)
			executed[id], settled[id] = time.UnixMicro(at), float64(at-received)/1000
		}
	}
	return executed, settled, nil
}
