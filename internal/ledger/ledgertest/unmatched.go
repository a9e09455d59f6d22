package ledgertest

import (
	"fmt"
	"strings"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// unmatched are the cases of events about what nobody here asked for.
var unmatched = group{
	"after a while there is one case per id of theirs": func(h house) {
		for i := range 6 {
			h.told(news(fmt.Sprint("e", i), fmt.Sprint("stranger-", i%2), "executed"))
		}
		h.Clock.Advance(timing.UnmatchedAfter - time.Microsecond)
		h.strangers(0)
		h.Clock.Advance(time.Microsecond)
		h.strangers(2, "stranger-0", "stranger-1")
		h.told(news("e7", "stranger-0", "failed"))
		h.Clock.Advance(timing.UnmatchedAfter)
		h.strangers(0, "stranger-0", "stranger-1")
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseUnmatchedEvent, "open"))
		h.must(err)
		for _, c := range list {
			if c.PayoutID != "" || c.Version != 1 || !strings.Contains(c.Why, c.Subject) || !strings.Contains(c.Why, "3") {
				h.Fatalf("case %+v", c)
			}
		}
	},
	"a limit is a limit": func(h house) {
		for i := range 5 {
			h.told(news(fmt.Sprint("e", i), fmt.Sprint("stranger-", i), "executed"))
		}
		h.Clock.Advance(timing.UnmatchedAfter)
		for _, want := range []int{2, 2, 1, 0} {
			if n, err := h.OpenUnmatched(h.ctx, 2); err != nil || n != want {
				h.Fatalf("opened %d, %v; want %d", n, err, want)
			}
		}
	},
	"what is ours is no stranger": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.told(news("e1", theirs(id, 1), "executed"))
		early := h.accepted(1000)
		n := news("e2", theirs(early, 1), "executed")
		n.PayoutID, n.Attempt = early, 1
		h.told(n)
		h.Clock.Advance(time.Hour)
		h.strangers(0)
	},
	"an id that becomes known closes the case, and its news is read": func(h house) {
		for name, learn := range map[string]func(id payout.ID, s payout.Send){
			"by the create's answer": func(id payout.ID, s payout.Send) { h.answered(s, there(theirs(id, 1))) },
			"by the statement": func(id payout.ID, s payout.Send) {
				h.Clock.Advance(timing.KeyWindow)
				h.forbidden(id, payout.StepReconcile)
				h.looked(id, h.outgoing(id, 1, theirs(id, 1), "executed"))
			},
			"by an event with metadata": func(id payout.ID, s payout.Send) {
				n := news("named "+string(id), theirs(id, 1), "executed")
				n.PayoutID, n.Attempt = id, 1
				h.told(n)
				h.asking(id)
			},
		} {
			id := h.accepted(1000)
			s := h.sent(id)
			h.told(news("e-"+string(id), theirs(id, 1), "executed"))
			h.Clock.Advance(timing.UnmatchedAfter + time.Second)
			h.strangers(1, theirs(id, 1))
			learn(id, s)
			h.strangers(0)
			if p := h.reconciled(id, says{theirs(id, 1): "executed"}); p.Status != payout.StatusExecuted {
				h.Fatalf("%s: position %+v", name, p)
			}
			if n := h.count("SELECT COUNT(*) FROM inbox WHERE applied_at IS NULL"); n != 0 {
				h.Fatalf("%s: %d events are unread", name, n)
			}
		}
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseUnmatchedEvent, "closed"))
		h.must(err)
		if len(list) != 3 || list[0].ClosedBy == "" {
			h.Fatalf("cases are %+v", list)
		}
	},
	"an id that becomes known as a second payout closes the case, and its news is read": func(h house) {
		id := h.accepted(1000)
		first, second := h.sent(id), h.sent(id)
		h.answered(first, there(theirs(id, 1)))
		h.told(news("e1", "another", "executed"))
		h.Clock.Advance(timing.UnmatchedAfter)
		h.strangers(1, "another")
		h.answered(second, there("another"))
		h.parkedBy(id, payout.CaseContradiction)
		h.reconciled(id, says{theirs(id, 1): "pending", "another": "executed"})
		h.strangers(0)
		if n := h.count("SELECT COUNT(*) FROM inbox WHERE applied_at IS NULL"); n != 0 {
			h.Fatalf("%d events are unread", n)
		}
	},
	"events about no payout are read at once": func(h house) {
		for i, kind := range []string{"payment_executed", "external_payment_received", "something_new"} {
			s := h.told(payout.News{EventID: fmt.Sprint("e", i), Type: kind, Body: []byte("{}")})
			if s.PayoutID != "" || s.Wake || s.Late {
				h.Fatalf("stored as %+v", s)
			}
			h.applied(fmt.Sprint("e", i), "about no payout")
		}
		h.Clock.Advance(time.Hour)
		h.strangers(0)
	},
	"two people dismiss it": func(h house) {
		h.told(news("e1", "stranger", "executed"))
		h.told(news("e2", "stranger", "failed"))
		h.Clock.Advance(timing.UnmatchedAfter)
		h.strangers(1, "stranger")
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseUnmatchedEvent, "open"))
		h.must(err)
		c, err := h.Case(h.ctx, list[0].ID)
		h.must(err)
		if len(c.Actions) != 1 || c.Actions[0].Action != payout.ActionDismiss || len(c.NotNow) != 0 || c.Status != "open" {
			h.Fatalf("the case is %+v", c)
		}
		res := h.decided(c, payout.ActionDismiss)
		if res.Status != ledger.ResolutionDone || res.EndedAt.IsZero() || res.Outcome == "" || res.Money != (payout.Money{}) {
			h.Fatalf("the resolution is %+v", res)
		}
		h.applied("e1", "dismissed")
		h.applied("e2", "dismissed")
		c, err = h.Case(h.ctx, c.ID)
		h.must(err)
		if c.Status != "closed" || !strings.Contains(c.ClosedBy, Anna) || !strings.Contains(c.ClosedBy, Ben) || c.Actions != nil {
			h.Fatalf("the case is %+v", c)
		}
		h.Clock.Advance(time.Hour)
		h.strangers(0)
		h.told(news("e3", "stranger", "failed")) // it is not over after all
		h.Clock.Advance(timing.UnmatchedAfter)
		h.strangers(1, "stranger")
	},
	"the inbox lists what came, newest first, in pages": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		var want []string
		for i := range 5 {
			event := fmt.Sprint("e", i)
			provider := "stranger"
			if i%2 == 0 {
				provider = theirs(id, 1)
			}
			h.told(news(event, provider, "executed"))
			want = append([]string{event}, want...)
			if i%2 == 0 {
				h.Clock.Advance(time.Second)
			}
		}
		h.told(news("e0", theirs(id, 1), "executed"))
		h.reconciled(id, says{theirs(id, 1): "executed"})
		got := map[string]ledger.InboxItem{}
		last := time.Time{}
		for cursor, pages := "", 1; ; pages++ {
			items, next, err := h.Inbox(h.ctx, ledger.InboxFilter{Limit: 2, Cursor: cursor})
			h.must(err)
			for _, i := range items {
				if _, twice := got[i.EventID]; twice || !last.IsZero() && i.ReceivedAt.After(last) {
					h.Fatalf("page %d holds %+v", pages, i)
				}
				got[i.EventID], last = i, i.ReceivedAt
			}
			if cursor = next; cursor == "" {
				if pages != 3 {
					h.Fatalf("%d pages, want 3", pages)
				}
				break
			}
		}
		if len(got) != len(want) {
			h.Fatalf("%d events listed, want %d", len(got), len(want))
		}
		ours, strange := got["e0"], got["e1"]
		if ours.PayoutID != id || ours.Attempt != 1 || ours.Repeats != 1 || ours.ClaimedStatus != "executed" || ours.AppliedBy != "ReconcilePayout" || ours.AppliedAt.IsZero() || ours.ProviderPayoutID != theirs(id, 1) || ours.Type == "" {
			h.Fatalf("listed %+v", ours)
		}
		if strange.PayoutID != "" || !strange.AppliedAt.IsZero() || strange.AppliedBy != "" {
			h.Fatalf("listed %+v", strange)
		}
		for name, c := range map[string]struct {
			f    ledger.InboxFilter
			want int
		}{
			"of a payout": {ledger.InboxFilter{PayoutID: id}, 3}, "of another": {ledger.InboxFilter{PayoutID: payout.NewID(payout.KindPayout, "x", "y")}, 0},
			"unmatched": {ledger.InboxFilter{Unmatched: true}, 2}, "both": {ledger.InboxFilter{PayoutID: id, Unmatched: true}, 0},
		} {
			items, _, err := h.Inbox(h.ctx, c.f)
			h.must(err)
			if len(items) != c.want || items == nil {
				h.Fatalf("%s: %d listed, want %d", name, len(items), c.want)
			}
		}
		_, _, err := h.Inbox(h.ctx, ledger.InboxFilter{Limit: 201})
		h.names(err, "limit")
		_, _, err = h.Inbox(h.ctx, ledger.InboxFilter{Cursor: "x"})
		h.names(err, "cursor")
	},
}

// strangers fails unless so many cases are opened now, and then these ids of
// the provider's have an open one.
func (h house) strangers(opened int, ids ...string) {
	h.Helper()
	n, err := h.OpenUnmatched(h.ctx, 100)
	h.must(err)
	list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseUnmatchedEvent, "open"))
	h.must(err)
	got := map[string]bool{}
	for _, c := range list {
		got[c.Subject] = true
	}
	for _, id := range ids {
		if !got[id] {
			h.Fatalf("there is no case about %s", id)
		}
	}
	if n != opened || len(list) != len(ids) {
		h.Fatalf("opened %d, and open are %v; want %d and %v", n, got, opened, ids)
	}
}
