package ledgertest

import (
	"strings"

	"payouts/internal/payout"
)

// heardAgain are the cases of words that come once more, that come after what
// they speak of was decided, or that are not believed.
var heardAgain = group{
	"recover of what came back is refused": func(h house) {
		id := h.exposed()
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.offers(h.caseOf(id, payout.CaseExposure), payout.ActionAdjust) // the house lost nothing, so the player owes nothing
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.has(id, "house:exposure", 0)
		h.owes(1000, 0, 0)
	},
	"recover is void when it comes back meanwhile": func(h house) {
		id := h.exposed()
		h.decided(h.caseOf(id, payout.CaseExposure), payout.ActionRecover)
		h.told(news("e1", theirs(id, 1), "failed"))
		h.reconciled(id, says{theirs(id, 1): "failed returned"})
		h.books(id, "reserve release expose")
		h.owes(1000, 0, 0)
	},
	"the player is credited once for what came back after it was recovered": func(h house) {
		id := h.exposed()
		h.resolved(id, payout.CaseExposure, payout.ActionRecover, nil)
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil) // he is credited
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.asks(id)
	},
	"nobody is asked again about what is borne no more": func(h house) {
		id := h.exposed()
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.resolved(id, payout.CaseContradiction, payout.ActionAdjust, nil)
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.asks(id)
	},
	"an exposure that came back and leaves again is for a person": func(h house) {
		id := h.exposed()
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.heard(id, 1, "executed", "")
		h.asks(id, payout.CaseContradiction)
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil)
		h.heard(id, 1, "executed", "") // known
		h.asks(id)
	},
	"a return that turns out to be blocked before it is booked is frozen": func(h house) {
		id := h.paid()
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.heard(id, 1, "failed", payout.ReasonBlocked)
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyFrozen, payout.StepDone)
		h.asks(id, payout.CaseBlocked)
		h.owes(0, 0, 1000)
	},
	"a return that people book is frozen where signed news says blocked": func(h house) {
		id := h.paid()
		n := news("e1", theirs(id, 1), "failed")
		n.Reason = payout.ReasonBlocked
		h.told(n)
		h.unconfirmed(id, says{theirs(id, 1): "executed"}, payout.StatusExecuted, payout.CaseReturnUnconfirmed)
		h.resolved(id, payout.CaseReturnUnconfirmed, payout.ActionBookReturn, nil)
		h.stands(id, payout.StatusReturned, payout.MoneyFrozen, payout.StepDone)
		h.asks(id, payout.CaseBlocked)
	},
	"a return in words that are not believed can be booked by people": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		other := func(w *payout.Word) { w.Reference = "SOMETHING ELSE" }
		h.heardAs(id, theirs(id, 1), "failed returned", other)
		for h.payout(id).Step == payout.StepWait {
			h.Clock.Advance(timing.PollMax)
			h.heardAs(id, theirs(id, 1), "failed returned", other)
		}
		h.asks(id, payout.CaseMismatch, payout.CaseReturnUnconfirmed) // the mismatch alone offers nothing that gives it to the player
		h.resolved(id, payout.CaseReturnUnconfirmed, payout.ActionBookReturn, nil)
		h.owes(1000, 0, 0)
	},
	"a question is not lost in one that is open": func(h house) {
		id := h.paid()
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, id))
		h.heard(id, 1, "executed", "") // a contradiction
		h.asks(id, payout.CaseContradiction)
		h.heard(id, 1, "failed", payout.ReasonBlocked)
		h.asks(id, payout.CaseContradiction)
		if c := h.caseOf(id, payout.CaseContradiction); !strings.Contains(c.Why, "blocked") {
			h.Fatalf("compliance is asked nothing: %s", c.Why)
		}
	},
	"a failure that turns out to be blocked before the money is given back is frozen": func(h house) {
		for _, first := range []payout.Reason{payout.ReasonInvalidIBAN, payout.ReasonSchemeError, payout.ReasonReturned} {
			id := h.failed(first)
			h.heard(id, 1, "failed", payout.ReasonBlocked)
			h.stepped(h.Freeze(h.ctx, id))
			h.stands(id, payout.StatusFailed, payout.MoneyFrozen, payout.StepDone)
			h.asks(id, payout.CaseBlocked)
		}
		h.owes(0, 0, 3000)
	},
	"a failure that turns out to be blocked when the next attempt is to begin is frozen": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.rested(id)
		for range 2 {
			h.stepped(h.TryAgain(h.ctx, id, []payout.Asked{h.word(id, 1, "failed", payout.ReasonBlocked)}))
		}
		h.stepped(h.Freeze(h.ctx, id))
		h.stands(id, payout.StatusFailed, payout.MoneyFrozen, payout.StepDone)
		h.owes(0, 0, 1000)
	},
	"a failure that turns out to be blocked when the player has it is for a person, once": func(h house) {
		id := h.released()
		h.heard(id, 1, "failed", payout.ReasonBlocked)
		h.asks(id, payout.CaseContradiction)
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil)
		h.heard(id, 1, "failed", payout.ReasonBlocked)
		h.asks(id)
		h.owes(1000, 0, 0)
	},
	"what a parked payout is asked about too stands in its timeline, once": func(h house) {
		id := h.doubled()
		n := news("e1", "third", "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		for range 3 { // the provider does not answer
			h.asking(id)
		}
		var told int
		for _, m := range h.payout(id).Timeline {
			if strings.Contains(m.What, "third") {
				told++
			}
		}
		if asks := h.caseOf(id, payout.CaseContradiction).Why; told != 1 || !strings.Contains(asks, "third") {
			h.Fatalf("told %d times; the case asks %q\n%s", told, asks, story(h.payout(id)))
		}
	},
	"what is read again and again is told once": func(h house) {
		id := h.paid()
		n := news("e1", "another", "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		h.asking(id)
		told := len(h.payout(id).Timeline)
		for range 10 { // the provider does not answer
			h.asking(id)
		}
		if row := h.payout(id); len(row.Timeline) != told {
			h.Fatalf("told %d times\n%s", len(row.Timeline)-told, story(row))
		}
	},
}
