package payout

import (
	"slices"
	"testing"
)

// wantArrows is the design's sentence, said once more: a line per status, so
// that a status without a line fails.
var wantArrows = map[Status][]Status{
	StatusAccepted:   {StatusPending, StatusAuthorized, StatusExecuted, StatusFailed, StatusReturned, StatusParked},
	StatusPending:    {StatusAuthorized, StatusExecuted, StatusFailed, StatusReturned, StatusParked},
	StatusAuthorized: {StatusExecuted, StatusFailed, StatusReturned, StatusParked},
	StatusParked:     {StatusAccepted, StatusPending, StatusAuthorized, StatusExecuted, StatusFailed, StatusReturned},
	StatusExecuted:   {StatusReturned},
	StatusFailed:     {},
	StatusReturned:   {},
}

func TestArrows(t *testing.T) {
	final := []Status{StatusExecuted, StatusFailed, StatusReturned}
	for _, from := range Statuses() {
		want, ok := wantArrows[from]
		if !ok {
			t.Errorf("%s has no line here", from)
		}
		for _, to := range Statuses() {
			if got := from.MayBecome(to); got != slices.Contains(want, to) {
				t.Errorf("%s may become %s: %v", from, to, got)
			}
			if slices.Contains(from.NextStatuses(), to) != from.MayBecome(to) {
				t.Errorf("%s → %s: NextStatuses and MayBecome differ", from, to)
			}
		}
		if from.Final() != slices.Contains(final, from) {
			t.Errorf("%s final is %v", from, from.Final())
		}
	}
	if len(wantArrows) != len(Statuses()) || len(arrows) != len(Statuses()) {
		t.Error("a line for something that is no status")
	}
}

func TestAnUnknownStatusDecidesNothing(t *testing.T) {
	if s := Status("brand_new"); s.Final() || s.MayBecome(StatusFailed) || StatusPending.MayBecome(s) {
		t.Error("a status that is not known decides something")
	}
}

func TestNextStatusesAreACopy(t *testing.T) {
	StatusPending.NextStatuses()[0] = StatusReturned
	if StatusPending.NextStatuses()[0] != StatusAuthorized {
		t.Error("the table was changed from outside")
	}
}

func TestEveryStatusHasAMessageForThePlayer(t *testing.T) {
	for _, s := range Statuses() {
		for _, r := range append(Reasons(), "brand_new") {
			message := PlayerMessage(KindRefund, s, r)
			if message == "" {
				t.Errorf("%s, %s: no message", s, r)
			}
			if r == ReasonBlocked && message == PlayerMessage(KindRefund, s, ReasonUnknown) && (s == StatusFailed || s == StatusReturned) {
				t.Errorf("a blocked player is told %q, but the money is not in the balance", message)
			}
		}
	}
}
