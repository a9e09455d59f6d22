package truelayer

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Told that we are too fast, all calls rest and then go slower; good answers
// bring the rate back, slowly.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(100)
		waiting := make(chan time.Duration, 1)
		for p.limiter.Allow() {
		}
		began := time.Now()
		go func() {
			if err := p.wait(t.Context(), time.Minute); err != nil {
				t.Error(err)
			}
			waiting <- time.Since(began)
		}()
		synctest.Wait()
		p.heard(429, 3*time.Second)
		p.heard(429, 3*time.Second) // an answer to a call already under way
		if got := float64(p.limiter.Limit()); got != 50 {
			t.Errorf("rate %v, want 50", got)
		}
		var busy busyError
		if err := p.wait(t.Context(), time.Second); !errors.As(err, &busy) || busy.wait != 3*time.Second {
			t.Errorf("got %v, want a rest of 3s", err)
		}
		if rested := <-waiting; rested < 3*time.Second {
			t.Errorf("a call that was waiting already went after %s, within the rest", rested)
		}
		time.Sleep(10 * time.Second)
		if saved := p.limiter.Tokens(); saved > 1 {
			t.Errorf("%.0f calls were saved up while they are too fast for them", saved)
		}
		seconds := 0
		for ; float64(p.limiter.Limit()) < 100 && seconds < 1000; seconds++ {
			time.Sleep(time.Second)
			for range 10 {
				p.heard(202, 0)
			}
		}
		if seconds < 15 || seconds > 25 {
			t.Errorf("the full rate is back after %d s, want about 20", seconds)
		}
		for range 100 {
			time.Sleep(2 * time.Minute)
			p.heard(429, time.Hour)
		}
		if got := float64(p.limiter.Limit()); got < 3 || got > 4 {
			t.Errorf("rate %v, want the least, a thirty-second of the full one", got)
		}
		if rest := time.Until(p.resting()); rest != time.Minute {
			t.Errorf("rests %s, want at most a minute", rest)
		}
	})
}

func TestPaceEnds(t *testing.T) {
	p := newPace(2) // a burst of one
	if err := p.wait(context.Background(), 0); err != nil {
		t.Error(err)
	}
	if err := p.wait(context.Background(), 100*time.Millisecond); err == nil {
		t.Error("the budget has no end")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.wait(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A provider that takes a tenth of what we would send: within a minute we send
// what it takes, are rarely told to slow down, and when it takes all again we
// are back at the full rate within a minute.
func TestPaceFindsTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const full, theirs = 100, 10
		p := newPace(full)
		ctx, cancel := context.WithCancel(t.Context())
		slow := true
		var mu sync.Mutex
		var taken, rejected int
		calls := map[int64]int{} // by second
		status := func() int {
			mu.Lock()
			defer mu.Unlock()
			second := time.Now().Unix()
			if calls[second]++; slow && calls[second] > theirs {
				rejected++
				return http.StatusTooManyRequests
			}
			taken++
			return http.StatusOK
		}
		count := func() (int, int) {
			mu.Lock()
			defer mu.Unlock()
			defer func() { taken, rejected = 0, 0 }()
			return taken, rejected
		}
		for range 50 {
			go func() {
				for {
					if err := p.wait(ctx, time.Minute); ctx.Err() != nil {
						return
					} else if err != nil {
						time.Sleep(time.Second)
						continue
					}
					p.heard(status(), 0)
				}
			}()
		}
		time.Sleep(time.Minute)
		count()
		time.Sleep(5 * time.Minute)
		yes, no := count()
		if share := float64(yes) / (5 * 60 * theirs); share < 0.6 {
			t.Errorf("%.2f of their rate is used", share)
		}
		if share := float64(no) / float64(yes+no); share > 0.15 {
			t.Errorf("%.2f of the calls are told to slow down", share)
		}
		t.Logf("%d taken, %d told to slow down", yes, no)
		mu.Lock()
		slow = false
		mu.Unlock()
		time.Sleep(time.Minute)
		count()
		time.Sleep(10 * time.Second)
		if yes, _ := count(); yes < 9*full {
			t.Errorf("%d calls in 10 s, want %d", yes, 10*full)
		}
		cancel()
	})
}
