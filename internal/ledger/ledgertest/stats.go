package ledgertest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// counting is what the books tell machines that watch.
var counting = group{
	"empty books hold nothing open": func(h house) {
		want := ledger.Stats{At: h.Clock.Now(), Cases: map[payout.CaseKind]ledger.Waiting{}, Drifted: map[string]int{}}
		if s := h.stats(); !reflect.DeepEqual(s, want) {
			h.Fatalf("stats are %+v", s)
		}
	},
	"payouts open by kind, status and reason, and how long in that status": func(h house) {
		first := h.accepted(1000)
		h.Clock.Advance(time.Minute)
		second := h.accepted(1000)
		h.opens("payout accepted 2 60s")
		h.Clock.Advance(time.Minute)
		h.created(first)
		h.Clock.Advance(time.Minute)
		h.opens("payout accepted 1 120s, payout pending 1 60s")
		h.heard(first, 1, "pending", "") // a second goes by: asked about, and where it was
		h.opens("payout accepted 1 121s, payout pending 1 61s")
		h.heard(first, 1, "executed", "")
		h.opens("payout accepted 1 122s")
		h.created(second)
		h.heard(second, 1, "failed", payout.ReasonSchemeError) // and rests
		h.opens("payout pending scheme_error 1 1s")
		h.refund(500)
		h.opens("payout pending scheme_error 1 1s, refund accepted 1 0s")
	},
	"how many are in a status for how long": func(h house) {
		within := func(want string) {
			h.Helper()
			var got []string
			for _, o := range h.stats().Open {
				got = append(got, strings.Join(strings.Fields(fmt.Sprint(o.Status, " ", o.Reason, " ", o.Within)), " "))
			}
			slices.Sort(got)
			if strings.Join(got, ", ") != want {
				h.Fatalf("open are %q, want %q", got, want)
			}
		}
		if !slices.Equal(ledger.Bounds()[:4], []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, time.Minute}) || !slices.IsSorted(ledger.Bounds()) || len(ledger.Bounds()) != 12 {
			h.Fatalf("the bounds are %v", ledger.Bounds())
		}
		id := h.accepted(1000)
		within("accepted [1 1 1 1 1 1 1 1 1 1 1 1]")
		h.Clock.Advance(time.Second)
		within("accepted [1 1 1 1 1 1 1 1 1 1 1 1]")
		h.Clock.Advance(time.Microsecond)
		within("accepted [0 1 1 1 1 1 1 1 1 1 1 1]")
		h.Clock.Advance(time.Minute)
		h.accepted(1000)
		within("accepted [1 1 1 1 2 2 2 2 2 2 2 2]")
		h.created(id)
		within("accepted [1 1 1 1 1 1 1 1 1 1 1 1], pending [1 1 1 1 1 1 1 1 1 1 1 1]")
		h.Clock.Advance(time.Minute)
		h.heard(id, 1, "failed", payout.ReasonSchemeError) // and rests: another reason, and the same status
		within("accepted [0 0 0 0 1 1 1 1 1 1 1 1], pending scheme_error [0 0 0 0 1 1 1 1 1 1 1 1]")
		h.Clock.Advance(200 * time.Hour)
		within("accepted [0 0 0 0 0 0 0 0 0 0 0 0], pending scheme_error [0 0 0 0 0 0 0 0 0 0 0 0]")
	},
	"a final payout that is asked about is not open": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "executed", "")
		h.toldLate(id, "late", theirs(id, 1), "failed")
		h.opens("")
		if s := h.stats(); s.Unread.Count != 1 {
			h.Fatalf("unread are %+v", s.Unread)
		}
	},
	"a send is unknown when its deadline is over, or its answer is": func(h house) {
		h.accepted(1000)           // never sent
		refused := h.accepted(900) // certainly not there
		h.answered(h.sent(refused), notLetIn)
		id := h.accepted(1000)
		sentAt := h.Clock.Now()
		h.sent(id)
		h.unknowns(0, time.Time{}, time.Time{})
		h.Clock.Advance(timing.SendFor)
		h.unknowns(0, time.Time{}, time.Time{}) // under way
		h.Clock.Advance(time.Microsecond)
		h.unknowns(1, sentAt, sentAt.Add(timing.KeyWindow))
		other := h.accepted(1000)
		h.answered(h.sent(other), unknown())
		h.unknowns(2, sentAt, sentAt.Add(timing.KeyWindow))
		h.created(id)
		h.created(other)
		h.unknowns(0, time.Time{}, time.Time{})
	},
	"what parked has no window any more": func(h house) {
		sentAt := h.Clock.Now()
		id := h.silent()
		h.unknowns(1, sentAt, time.Time{})
		h.looked(id)
		h.stepped(h.OpenCase(h.ctx, id))
		h.unknowns(1, sentAt, time.Time{})
		s := h.stats()
		if w := s.Cases[payout.CaseUnknownOutcome]; w.Count != 1 || w.Oldest.IsZero() || len(s.Cases) != 1 {
			h.Fatalf("cases are %+v", s.Cases)
		}
		h.opens("payout parked 1 0s")
	},
	"cases by kind, and none that is closed": func(h house) {
		h.frozen()
		opened := h.stats().Cases[payout.CaseBlocked].Oldest
		h.Clock.Advance(time.Hour)
		h.frozen()
		if s := h.stats(); s.Cases[payout.CaseBlocked] != (ledger.Waiting{Count: 2, Oldest: opened}) {
			h.Fatalf("cases are %+v", s.Cases)
		}
		closed := h.frozen()
		h.resolved(closed, payout.CaseBlocked, payout.ActionReleaseFrozen, nil)
		if s := h.stats(); s.Cases[payout.CaseBlocked].Count != 2 {
			h.Fatalf("cases are %+v", s.Cases)
		}
	},
	"exposure, until it is made good": func(h house) {
		id := h.exposed()
		if s := h.stats(); !reflect.DeepEqual(s.Exposure, []payout.Money{Pounds(1000)}) {
			h.Fatalf("exposure is %v", s.Exposure)
		}
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		if s := h.stats(); !reflect.DeepEqual(s.Exposure, []payout.Money{Pounds(0)}) {
			h.Fatalf("exposure is %v", s.Exposure)
		}
	},
	"the brake": func(h house) {
		since := h.Clock.Now()
		h.refusedEntry(0)
		if s := h.stats(); !s.Brake.IsZero() {
			h.Fatalf("shut since %s by one refusal", s.Brake)
		}
		h.refusedEntry(5 * time.Second)
		h.refusedEntry(10 * time.Second)
		if s := h.stats(); !s.Brake.Equal(since) {
			h.Fatalf("shut since %s, want %s", s.Brake, since)
		}
	},
	"drift, with a bound": func(h house) {
		for i := range 25 {
			h.failed(payout.Reason(fmt.Sprintf("new-%02d", i)))
		}
		h.failed("new-24")
		s := h.stats()
		if len(s.Drift) != 20 || s.Drift[0].Value != "new-24" || s.Drift[0].Times != 2 || !reflect.DeepEqual(s.Drifted, map[string]int{"failure_reason": 26}) {
			h.Fatalf("drift is %+v, %v", s.Drift, s.Drifted)
		}
	},
	"events unmatched, unread and unsent, and what has no position": func(h house) {
		at := h.Clock.Now()
		h.told(news("e1", "stranger", "executed"))
		h.Clock.Advance(time.Minute)
		id := h.accepted(1000)
		h.created(id)
		h.told(news("e2", theirs(id, 1), "executed"))
		later := h.Clock.Now()
		s := h.stats()
		if s.Unmatched != (ledger.Waiting{Count: 1, Oldest: at}) || s.Unread != (ledger.Waiting{Count: 1, Oldest: later}) {
			h.Fatalf("unmatched %+v, unread %+v", s.Unmatched, s.Unread)
		}
		if !s.LastNews.Equal(later) {
			h.Fatalf("the last news is of %s, want %s", s.LastNews, later)
		}
		if s.Unsent != (ledger.Waiting{Count: 2, Oldest: later}) || s.Unsealed != (ledger.Waiting{Count: 2, Oldest: later}) || s.Transactions != 0 {
			h.Fatalf("unsent %+v, unsealed %+v, transactions %d", s.Unsent, s.Unsealed, s.Transactions)
		}
		for _, e := range h.claimed() {
			h.must(h.Sent(h.ctx, e.ID))
		}
		h.transactions()
		h.reconciled(id, says{theirs(id, 1): "pending"})
		if s := h.stats(); s.Unsent.Count != 0 || s.Unsealed.Count != 0 || s.Transactions != 2 || s.Unread.Count != 0 {
			h.Fatalf("stats are %+v", s)
		}
	},
}

func (h house) stats() ledger.Stats {
	h.Helper()
	s, err := h.Stats(h.ctx)
	h.must(err)
	return s
}

// opens fails unless exactly these are open: "kind status [reason] count age, …".
func (h house) opens(want string) {
	h.Helper()
	s := h.stats()
	lines := make([]string, len(s.Open))
	for i, o := range s.Open {
		lines[i] = strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %d %.0fs", o.Kind, o.Status, o.Reason, o.Count, s.At.Sub(o.Oldest).Seconds())), " ")
	}
	slices.Sort(lines)
	if got := strings.Join(lines, ", "); got != want {
		h.Fatalf("open are %q, want %q", got, want)
	}
}

// unknowns fails unless so many are unanswered, the oldest since then, and the
// first window ends then.
func (h house) unknowns(count int, oldest, window time.Time) {
	h.Helper()
	s := h.stats()
	if s.Unknown.Count != count || !s.Unknown.Oldest.Equal(oldest) || !s.Window.Equal(window) {
		h.Fatalf("unanswered are %+v, the first window ends %s; want %d since %s, %s", s.Unknown, s.Window, count, oldest, window)
	}
}
