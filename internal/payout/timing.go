package payout

import (
	"errors"
	"fmt"
	"time"
)

// Timing holds the waits that decide about money. Zero fields take the
// defaults of DefaultTiming.
type Timing struct {
	KeyWindow        time.Duration // how long the same key and bytes may be sent again
	KeyLife          time.Duration // how long the provider surely remembers a key
	PollFirst        time.Duration // silence before the first poll
	PollMax          time.Duration // the longest pause between polls
	StuckAfter       time.Duration // an undecided payout of this age gets a case `slow`
	RefundStuckAfter time.Duration // the same for a refund, which may wait for its pay-in to settle
	ReturnAskFor     time.Duration // how long a signed but unconfirmed return is asked about
	UnmatchedAfter   time.Duration // an event nobody owns gets a case after this
	SweepEvery       time.Duration // the sweeper's period
	SendFor          time.Duration // one sending, from its row in the send log to its answer
	SendStartToClose time.Duration // the CreatePayout activity's limit for one try; above SendFor
}

// TokenLife is the longest life of an access token (docs/truelayer.md, "Token").
const TokenLife = time.Hour

// KeyMargin is kept between the last moment a send could land and the end of
// the key's life.
const KeyMargin = 5 * time.Minute

// DefaultTiming are the shipped values. KeyLife is the least the provider's
// docs ever named (6 h; the newest say 30 days). SendFor is above the
// provider's gateway cut-off of 29 s, so that its own answer comes first.
func DefaultTiming() Timing {
	return Timing{
		KeyWindow: 4 * time.Hour, KeyLife: 6 * time.Hour,
		PollFirst: 30 * time.Second, PollMax: time.Hour, StuckAfter: 26 * time.Hour, RefundStuckAfter: 7 * 24 * time.Hour,
		ReturnAskFor: 24 * time.Hour, UnmatchedAfter: 15 * time.Minute, SweepEvery: time.Minute,
		SendFor: 35 * time.Second, SendStartToClose: time.Minute,
	}
}

// Check refuses unsafe combinations, all at once, each naming its variable.
func (t Timing) Check() error {
	var errs []error
	positive := func(name string, d time.Duration) {
		if d <= 0 {
			errs = append(errs, fmt.Errorf("%s: %s: want a duration above 0, such as 30s", name, d))
		}
	}
	positive("KEY_WINDOW", t.KeyWindow)
	positive("KEY_LIFE", t.KeyLife)
	positive("POLL_FIRST", t.PollFirst)
	positive("POLL_MAX", t.PollMax)
	positive("STUCK_AFTER", t.StuckAfter)
	positive("REFUND_STUCK_AFTER", t.RefundStuckAfter)
	positive("RETURN_ASK_FOR", t.ReturnAskFor)
	positive("UNMATCHED_AFTER", t.UnmatchedAfter)
	positive("SWEEP_EVERY", t.SweepEvery)
	positive("the create's HTTP deadline", t.SendFor)
	if t.PollMax < t.PollFirst {
		errs = append(errs, fmt.Errorf("POLL_MAX: %s is shorter than POLL_FIRST %s", t.PollMax, t.PollFirst))
	}
	if t.SendStartToClose <= t.SendFor {
		errs = append(errs, fmt.Errorf("the create's activity limit %s must be above its HTTP deadline %s", t.SendStartToClose, t.SendFor))
	}
	// Subtracted from the life, since a sum of huge durations wraps to less.
	if t.KeyWindow > t.KeyLife-TokenLife-t.SendStartToClose-KeyMargin {
		errs = append(errs, fmt.Errorf("KEY_WINDOW: %s is unsafe: window + token life %s + one sending %s + %s must fit KEY_LIFE %s, else a late send could pay twice",
			t.KeyWindow, TokenLife, t.SendStartToClose, KeyMargin, t.KeyLife))
	}
	return errors.Join(errs...)
}

// PollAfter is the pause before the next poll of an attempt of this age: a
// half of the age, so that it grows by half each time, within PollFirst and
// PollMax.
func (t Timing) PollAfter(age time.Duration) time.Duration {
	return min(max(age/2, t.PollFirst), t.PollMax)
}
