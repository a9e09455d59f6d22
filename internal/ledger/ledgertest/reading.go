package ledgertest

import (
	"encoding/base64"
	"fmt"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

var reading = group{
	"a payout is its caller's": func(h house) {
		id := h.accepted(1000)
		for caller, found := range map[string]bool{Caller: true, "": true, "other game": false} {
			p, err := h.Payout(h.ctx, caller, payout.KindPayout, id)
			if found {
				h.must(err)
				if p.ID != id {
					h.Fatalf("read %+v", p)
				}
			} else {
				h.refused(err, payout.ErrNotFound)
			}
		}
		_, err := h.Payout(h.ctx, "", payout.KindRefund, id)
		h.refused(err, payout.ErrNotFound)
	},
	"lists are newest first, in pages": func(h house) {
		var want []payout.ID
		for i := range 7 {
			want = append([]payout.ID{h.accepted(100)}, want...)
			if i%3 == 0 { // some share a moment
				h.Clock.Advance(time.Second)
			}
		}
		seen := map[payout.ID]bool{}
		var last ledger.Payout
		for cursor, pages := "", 1; ; pages++ {
			items, next, err := h.Payouts(h.ctx, payout.KindPayout, ledger.Filter{Limit: 3, Cursor: cursor})
			h.must(err)
			for _, p := range items {
				if seen[p.ID] || (last.ID != "" && p.CreatedAt.After(last.CreatedAt)) {
					h.Fatalf("page %d holds %+v after %+v", pages, p, last)
				}
				seen[p.ID], last = true, p
			}
			if cursor = next; cursor == "" {
				if pages != 3 {
					h.Fatalf("%d pages, want 3", pages)
				}
				break
			}
		}
		if len(seen) != len(want) {
			h.Fatalf("%d payouts listed, want %d", len(seen), len(want))
		}
	},
	"lists are filtered": func(h house) {
		paid := h.accepted(1000)
		h.created(paid)
		h.heard(paid, 1, "executed", "")
		lost := h.failed(payout.ReasonInvalidIBAN)
		h.stepped(h.Release(h.ctx, lost))
		open := h.accepted(500)
		key := h.payout(open).IdempotencyKey
		for name, c := range map[string]struct {
			f    ledger.Filter
			want int
		}{
			"all": {ledger.Filter{}, 3}, "caller": {ledger.Filter{Caller: Caller}, 3}, "another caller": {ledger.Filter{Caller: "x"}, 0},
			"player": {ledger.Filter{PlayerID: Player}, 3}, "another player": {ledger.Filter{PlayerID: "x"}, 0},
			"status": {ledger.Filter{Status: "executed"}, 1}, "reason": {ledger.Filter{Reason: payout.ReasonInvalidIBAN}, 1}, "key": {ledger.Filter{IdempotencyKey: key}, 1},
			"some": {ledger.Filter{Caller: Caller, PlayerID: Player, Status: "failed", Reason: payout.ReasonInvalidIBAN}, 1}, "none": {ledger.Filter{Status: "failed", Reason: "blocked"}, 0},
		} {
			items, next, err := h.Payouts(h.ctx, payout.KindPayout, c.f)
			h.must(err)
			if len(items) != c.want || items == nil || next != "" {
				h.Fatalf("%s: %d listed, want %d", name, len(items), c.want)
			}
		}
		if items, _, err := h.Payouts(h.ctx, payout.KindRefund, ledger.Filter{}); err != nil || len(items) != 0 {
			h.Fatalf("refunds: %v, %v", items, err)
		}
	},
	"a list that cannot be is refused by the field": func(h house) {
		for _, limit := range []int{-1, 201} {
			_, _, err := h.Payouts(h.ctx, payout.KindPayout, ledger.Filter{Limit: limit})
			h.names(err, "limit")
		}
		inside := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
		for _, cursor := range []string{"x", "!!", "\x00", inside("12"), inside("12/"), inside("12/x"), inside("12/\x00"), inside("\x00/\xff"),
			inside("12/0cd1b0f7-71bc-5d24-b209-95259dadcc2\x00"), inside("x/0cd1b0f7-71bc-5d24-b209-95259dadcc20")} {
			_, _, err := h.Payouts(h.ctx, payout.KindPayout, ledger.Filter{Cursor: cursor})
			h.names(err, "cursor")
		}
	},
	"the sweeper sees each payout that is not done": func(h house) {
		open := h.accepted(500)
		done := h.accepted(1000)
		h.created(done)
		h.heard(done, 1, "executed", "")
		due := func(want ...payout.ID) {
			h.Helper()
			list, err := h.DuePayouts(h.ctx, 10)
			h.must(err)
			got := []payout.ID{}
			for _, d := range list {
				got = append(got, d.ID)
				if d.Kind != payout.KindPayout || d.PlayerID != Player || d.Money.Minor == 0 || d.Money.Currency != "GBP" || d.Status == "" {
					h.Fatalf("due %+v", d)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				h.Fatalf("due %v, want %v", got, want)
			}
		}
		due()
		h.Clock.Advance(timing.SweepEvery)
		due(open)
		due() // it has some time now
		h.Clock.Advance(5 * timing.SweepEvery)
		due(open)
		counts, err := h.CountOpen(h.ctx)
		h.must(err)
		if len(counts) != 1 || counts[payout.StatusAccepted] != 1 {
			h.Fatalf("open are %v", counts)
		}
	},
	"the sweeper does not wait for the end of a long rest": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(5 * timing.SweepEvery)
		list, err := h.DuePayouts(h.ctx, 10)
		h.must(err)
		if len(list) != 1 || list[0].ID != id {
			h.Fatalf("due %+v", list)
		}
	},
	"cases by status": func(h house) {
		id := h.failed(payout.ReasonBlocked)
		h.stepped(h.Freeze(h.ctx, id))
		slow := h.accepted(100)
		h.created(slow)
		h.Clock.Advance(timing.StuckAfter + time.Hour)
		h.heard(slow, 1, "pending", "")
		h.heard(slow, 1, "executed", "")
		for status, want := range map[string]int{"open": 1, "closed": 1, "": 2, "other": 0} {
			list, _, err := h.Cases(h.ctx, ledger.CaseFilter{Status: status})
			h.must(err)
			if len(list) != want || list == nil {
				h.Fatalf("%q: %d cases, want %d", status, len(list), want)
			}
			for _, c := range list {
				if c.ID == "" || c.Why == "" || c.Version < 1 || c.OpenedAt.IsZero() || c.ClosedAt.IsZero() != (c.Status == "open") {
					h.Fatalf("case %+v", c)
				}
			}
		}
	},
	"unknown evidence is not found": func(h house) {
		_, err := h.Evidence(h.ctx, "nothing")
		h.refused(err, payout.ErrNotFound)
	},
	"the timeline tells the whole story": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		h.triedAgain(id)
		h.created(id)
		h.heard(id, 2, "executed", "")
		var statuses []payout.Status
		last := time.Time{}
		for _, m := range h.payout(id).Timeline {
			if m.At.Before(last) || m.What == "" {
				h.Fatalf("moment %+v after %s", m, last)
			}
			last, statuses = m.At, append(statuses, m.Status)
		}
		if want := "[accepted pending pending pending pending executed executed]"; fmt.Sprint(statuses) != want {
			h.Fatalf("%v, want %s\n%s", statuses, want, story(h.payout(id)))
		}
	},
}
