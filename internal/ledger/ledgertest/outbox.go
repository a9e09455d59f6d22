package ledgertest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"payouts/internal/payout"
)

// claimed takes what is due.
func (h house) claimed() []payout.Event {
	h.Helper()
	events, err := h.Claim(h.ctx, "", 1000, time.Minute)
	h.must(err)
	return events
}

var telling = group{
	"each status is told once, in dense versions": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "pending", "")
		h.heard(id, 1, "authorized", "")
		h.heard(id, 1, "pending", "")
		h.heard(id, 1, "failed", payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		h.triedAgain(id)
		h.created(id)
		h.heard(id, 2, "executed", "")
		h.heard(id, 2, "failed", payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, id))
		events := h.claimed()
		var got []string
		slices.SortFunc(events, func(a, b payout.Event) int { return a.Version - b.Version })
		for i, e := range events {
			got = append(got, e.Type)
			if e.Version != i+1 || e.SubjectID != string(id) || e.Caller != Caller || e.ID == "" || e.OccurredAt.IsZero() || e.Tries != 0 {
				h.Fatalf("event %d is %+v", i, e)
			}
			var data struct {
				ID      payout.ID      `json:"id"`
				Player  string         `json:"player_id"`
				Minor   int64          `json:"amount_in_minor"`
				Status  string         `json:"status"`
				Money   payout.MoneyAt `json:"money"`
				Message string         `json:"player_message"`
			}
			h.must(json.Unmarshal(e.Data, &data))
			if data.ID != id || data.Player != Player || data.Minor != 1000 || "payout."+data.Status != e.Type || data.Message == "" || data.Money == "" {
				h.Fatalf("event %s says %s", e.Type, e.Data)
			}
			if strings.Contains(string(e.Data), AccountNumber) {
				h.Fatalf("event %s says %s", e.Type, e.Data)
			}
		}
		want := "payout.accepted payout.pending payout.authorized payout.pending payout.executed payout.returned"
		if strings.Join(got, " ") != want {
			h.Fatalf("told %s\nwant %s", strings.Join(got, " "), want)
		}
		if h.payout(id).Version != len(events) {
			h.Fatalf("version is %d, want %d", h.payout(id).Version, len(events))
		}
	},
	"a case is told": func(h house) {
		id := h.failed(payout.ReasonBlocked)
		h.stepped(h.Freeze(h.ctx, id))
		var found int
		for _, e := range h.claimed() {
			if e.Type == "case.opened" {
				found++
				if e.SubjectID != h.payout(id).CaseID || e.Caller != Caller || !strings.Contains(string(e.Data), string(id)) {
					h.Fatalf("event is %+v %s", e, e.Data)
				}
			}
		}
		if found != 1 {
			h.Fatalf("%d cases told, want 1", found)
		}
	},
	"what is claimed is kept from others for a while": func(h house) {
		id := h.accepted(1000)
		first := h.claimed()
		if len(first) != 1 || first[0].SubjectID != string(id) {
			h.Fatalf("claimed %+v", first)
		}
		if again := h.claimed(); len(again) != 0 {
			h.Fatalf("claimed by two: %+v", again)
		}
		h.Clock.Advance(time.Minute)
		if again := h.claimed(); len(again) != 1 || again[0].ID != first[0].ID {
			h.Fatalf("claimed %+v", again)
		}
	},
	"sent is never claimed again": func(h house) {
		h.accepted(1000)
		h.must(h.Sent(h.ctx, h.claimed()[0].ID))
		h.Clock.Advance(1000 * time.Hour)
		if again := h.claimed(); len(again) != 0 {
			h.Fatalf("claimed %+v", again)
		}
	},
	"sent wins over a slower relay that failed": func(h house) {
		h.accepted(1000)
		e := h.claimed()[0]
		h.must(h.Sent(h.ctx, e.ID))
		h.must(h.NotSent(h.ctx, e.ID, h.Clock.Now(), "timeout"))
		h.Clock.Advance(1000 * time.Hour)
		if again := h.claimed(); len(again) != 0 {
			h.Fatalf("claimed %+v", again)
		}
	},
	"not sent is tried again when it is due": func(h house) {
		h.accepted(1000)
		e := h.claimed()[0]
		for try := 1; try < 4; try++ {
			h.must(h.NotSent(h.ctx, e.ID, h.Clock.Now().Add(time.Hour), "503"))
			h.Clock.Advance(time.Hour - time.Microsecond)
			if early := h.claimed(); len(early) != 0 {
				h.Fatalf("claimed %+v", early)
			}
			h.Clock.Advance(time.Microsecond)
			again := h.claimed()
			if len(again) != 1 || again[0].Tries != try {
				h.Fatalf("claimed %+v", again)
			}
		}
		h.must(h.NotSent(h.ctx, e.ID, time.Time{}, "gave up"))
		h.Clock.Advance(1000 * time.Hour)
		if again := h.claimed(); len(again) != 0 {
			h.Fatalf("claimed %+v", again)
		}
	},
	"one caller's events are claimed beside many of another": func(h house) {
		names := func(want string) {
			h.Helper()
			callers, err := h.EventCallers(h.ctx)
			h.must(err)
			if fmt.Sprint(callers) != want {
				h.Fatalf("events of %v, want %s", callers, want)
			}
		}
		names("[]")
		for range 5 {
			h.accepted(100)
		}
		names("[" + Caller + "]")
		other := NewPayout("k", 100)
		other.Caller, other.PlayerID, other.Beneficiary.PaymentSourceID = "another "+Caller, "player-2", "source-2"
		_, _, err := h.Credit(h.ctx, payout.Movement{Caller: other.Caller, IdempotencyKey: "k", PlayerID: other.PlayerID, Money: Pounds(100), Reason: "winnings"})
		h.must(err)
		theirs, _, err := h.Accept(h.ctx, other, Merchant, true)
		h.must(err)
		names("[" + other.Caller + " " + Caller + "]")

		events, err := h.Claim(h.ctx, other.Caller, 2, time.Minute)
		h.must(err)
		if len(events) != 1 || events[0].SubjectID != string(theirs.ID) || events[0].Caller != other.Caller {
			h.Fatalf("claimed %+v, want the event of %s", events, theirs.ID)
		}
		h.must(h.Sent(h.ctx, events[0].ID))
		names("[" + Caller + "]")
		if events, err := h.Claim(h.ctx, "nobody", 2, time.Minute); err != nil || len(events) != 0 {
			h.Fatalf("claimed %+v, %v", events, err)
		}
		for i, e := range h.claimed() {
			if i >= 5 || e.Caller != Caller {
				h.Fatalf("claimed %+v", e)
			}
			h.must(h.NotSent(h.ctx, e.ID, time.Time{}, "gave up"))
		}
		names("[]")
	},
	"a limit is a limit, the oldest first": func(h house) {
		var want []string
		for range 5 {
			want = append(want, string(h.accepted(100)))
			h.Clock.Advance(time.Second)
		}
		var got []string
		for range 3 {
			events, err := h.Claim(h.ctx, "", 2, time.Minute)
			h.must(err)
			if len(events) > 2 {
				h.Fatalf("claimed %d", len(events))
			}
			for _, e := range events {
				got = append(got, e.SubjectID)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			h.Fatalf("claimed %v, want %v", got, want)
		}
	},
	"many relays claim each event once": func(h house) {
		for range 20 {
			h.accepted(100)
		}
		var wait sync.WaitGroup
		var mu sync.Mutex
		seen := map[string]int{}
		errs := make(chan error, 10)
		for range cap(errs) {
			wait.Go(func() {
				for {
					events, err := h.Claim(h.ctx, "", 3, time.Minute)
					mu.Lock()
					for _, e := range events {
						seen[e.ID]++
					}
					mu.Unlock()
					if err != nil || len(events) == 0 {
						errs <- err
						return
					}
				}
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		for _, e := range h.claimed() { // what a relay skipped since another one looked at it
			seen[e.ID]++
		}
		if len(seen) != 20 {
			h.Fatalf("%d events claimed, want 20", len(seen))
		}
		for id, n := range seen {
			if n != 1 {
				h.Fatalf("event %s was claimed %d times", id, n)
			}
		}
	},
}
