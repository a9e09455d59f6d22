package payout

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestDefaultTimingIsSafe(t *testing.T) {
	if err := DefaultTiming().Check(); err != nil {
		t.Error(err)
	}
}

func TestTimingRefusesUnsafeCombinations(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Timing)
		want   string // "": safe
	}{
		"window to the limit":       {func(t *Timing) { t.KeyWindow = t.KeyLife - TokenLife - t.SendStartToClose - KeyMargin }, ""},
		"window above the limit":    {func(t *Timing) { t.KeyWindow = t.KeyLife - TokenLife - t.SendStartToClose - KeyMargin + 1 }, "KEY_WINDOW"},
		"window as long as life":    {func(t *Timing) { t.KeyWindow = t.KeyLife }, "KEY_WINDOW"},
		"window that wraps the sum": {func(t *Timing) { t.KeyWindow = math.MaxInt64 }, "KEY_WINDOW"},
		"life too short":            {func(t *Timing) { t.KeyLife = time.Hour }, "KEY_WINDOW"},
		"thirty days of life":       {func(t *Timing) { t.KeyLife, t.KeyWindow = 720*time.Hour, 700*time.Hour }, ""},
		"slow activity":             {func(t *Timing) { t.SendStartToClose = time.Hour }, "KEY_WINDOW"},
		"activity below deadline":   {func(t *Timing) { t.SendStartToClose = t.SendFor }, "activity limit"},
		"no deadline":               {func(t *Timing) { t.SendFor = 0 }, "HTTP deadline"},
		"polls that shrink":         {func(t *Timing) { t.PollMax = t.PollFirst - 1 }, "POLL_MAX"},
		"no window":                 {func(t *Timing) { t.KeyWindow = 0 }, "KEY_WINDOW"},
		"no life":                   {func(t *Timing) { t.KeyLife = 0 }, "KEY_LIFE"},
		"no first poll":             {func(t *Timing) { t.PollFirst = 0 }, "POLL_FIRST"},
		"no longest poll":           {func(t *Timing) { t.PollMax = 0 }, "POLL_MAX"},
		"never stuck":               {func(t *Timing) { t.StuckAfter = -1 }, "STUCK_AFTER"},
		"no return":                 {func(t *Timing) { t.ReturnAskFor = 0 }, "RETURN_ASK_FOR"},
		"no unmatched":              {func(t *Timing) { t.UnmatchedAfter = 0 }, "UNMATCHED_AFTER"},
		"no sweep":                  {func(t *Timing) { t.SweepEvery = 0 }, "SWEEP_EVERY"},
	} {
		t.Run(name, func(t *testing.T) {
			timing := DefaultTiming()
			c.change(&timing)
			switch err := timing.Check(); {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v does not name %s", err, c.want)
			}
		})
	}
	if err := (Timing{}).Check(); err == nil || strings.Count(err.Error(), "want a duration above 0") < 8 {
		t.Errorf("not every mistake is told at once: %v", err)
	}
}

func TestPollsGrowByHalf(t *testing.T) {
	timing := DefaultTiming()
	for age, want := range map[time.Duration]time.Duration{-time.Hour: timing.PollFirst, 0: timing.PollFirst, time.Minute: timing.PollFirst, time.Hour: 30 * time.Minute, 24 * time.Hour: timing.PollMax, math.MaxInt64: timing.PollMax} {
		if got := timing.PollAfter(age); got != want {
			t.Errorf("at %s it waits %s, want %s", age, got, want)
		}
	}
}
