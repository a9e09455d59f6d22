package truelayer

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// LongestRetryAfter bounds what the provider may ask us to wait; beyond it a
// typing error of theirs would hold our payouts.
const LongestRetryAfter = 10 * time.Minute

// pace is the one budget of all calls. Told that we are too fast, it halves
// its rate and all calls rest; while answers are good, each second brings back
// a fortieth of the full rate.
type pace struct {
	full    rate.Limit
	limiter *rate.Limiter

	mu      sync.Mutex
	rest    time.Time // no call before this
	changed time.Time // when the rate was last changed
}

// changeAfter is the least time between two changes of the rate: answers to
// calls that were under way together count once.
const changeAfter = time.Second

func newPace(rps float64) *pace {
	return &pace{full: rate.Limit(rps), limiter: rate.NewLimiter(rate.Limit(rps), burst(rate.Limit(rps)))}
}

// busyError: the budget has no call left within the time there is.
type busyError struct{ wait time.Duration }

func (e busyError) Error() string {
	return fmt.Sprintf("rate budget: the next call is free in %s", e.wait.Round(time.Millisecond))
}

// wait blocks until a call may be made. It takes nothing and answers at once
// with a busyError when that would last longer than most.
func (p *pace) wait(ctx context.Context, most time.Duration) error {
	until := time.Now().Add(most)
	for {
		if err := sleep(ctx, time.Until(p.resting()), until); err != nil {
			return err
		}
		r := p.limiter.Reserve()
		if err := sleep(ctx, r.Delay(), until); err != nil {
			r.Cancel()
			return err
		}
		if !p.resting().After(time.Now()) { // else a rest began meanwhile: queue again behind it
			return nil
		}
	}
}

// sleep waits, unless that lasts beyond until: then it answers at once.
func sleep(ctx context.Context, wait time.Duration, until time.Time) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case wait <= 0:
		return nil
	case wait > time.Until(until):
		return busyError{wait}
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *pace) resting() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rest
}

// heard learns from an answer's status.
func (p *pace) heard(status int, retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	due := now.Sub(p.changed) >= changeAfter
	switch limit := p.limiter.Limit(); {
	case status == http.StatusTooManyRequests:
		if until := now.Add(min(max(retryAfter, time.Second), time.Minute)); until.After(p.rest) {
			p.rest = until
		}
		if due {
			p.set(max(limit/2, p.full/32), p.rest)
		}
	case status >= 200 && status < 300 && limit < p.full && due:
		p.set(min(limit+p.full/40, p.full), now)
	}
}

// set changes the rate; below the full one no calls are saved up for later.
func (p *pace) set(limit rate.Limit, at time.Time) {
	p.changed = at
	p.limiter.SetLimit(limit)
	if limit < p.full {
		p.limiter.SetBurst(1)
	} else {
		p.limiter.SetBurst(burst(p.full))
	}
}

// burst is how many calls may go at once after a pause: half a second's.
func burst(full rate.Limit) int { return max(1, int(math.Ceil(float64(full)/2))) }

// retryAfter reads the header: seconds or a date; 0 for nonsense and for the
// past; never more than LongestRetryAfter.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(LongestRetryAfter/time.Second) {
			return LongestRetryAfter // digits only, so too many of them
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), LongestRetryAfter)
}
