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
// its rate and rests; each good answer brings back a twentieth.
type pace struct {
	full    rate.Limit
	limiter *rate.Limiter

	mu     sync.Mutex
	rest   time.Time // no call before this
	slowed time.Time // when the rate was last halved
}

func newPace(rps float64) *pace {
	return &pace{full: rate.Limit(rps), limiter: rate.NewLimiter(rate.Limit(rps), max(1, int(math.Ceil(rps/2))))}
}

// busyError: the budget has no call left within the time there is.
type busyError struct{ wait time.Duration }

func (e busyError) Error() string {
	return fmt.Sprintf("rate budget: the next call is free in %s", e.wait.Round(time.Millisecond))
}

// wait blocks until a call may be made. It takes nothing and answers at once
// with a busyError when that would last longer than most.
func (p *pace) wait(ctx context.Context, most time.Duration) error {
	p.mu.Lock()
	rest := max(0, time.Until(p.rest))
	p.mu.Unlock()
	r := p.limiter.Reserve()
	wait := rest + r.Delay()
	if wait == 0 {
		return ctx.Err()
	}
	if wait > most {
		r.Cancel()
		return busyError{wait}
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return context.Cause(ctx)
	}
}

// heard learns from an answer's status.
func (p *pace) heard(status int, retryAfter time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case status == http.StatusTooManyRequests:
		now := time.Now()
		if until := now.Add(min(max(retryAfter, time.Second), time.Minute)); until.After(p.rest) {
			p.rest = until
		}
		if now.Sub(p.slowed) >= time.Second { // answers to calls that were already under way count once
			p.slowed = now
			p.limiter.SetLimit(max(p.limiter.Limit()/2, p.full/16))
		}
	case status >= 200 && status < 300 && p.limiter.Limit() < p.full:
		p.limiter.SetLimit(min(p.limiter.Limit()+p.full/20, p.full))
	}
}

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
