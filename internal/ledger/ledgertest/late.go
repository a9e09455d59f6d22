package ledgertest

import (
	"fmt"
	"time"

	"payouts/internal/payout"
)

// lateWords are those that come when a payout, or an attempt, was over.
var lateWords = group{
	"executed after failed, while resting": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.heard(id, 1, "executed", "")
		h.parkedBy(id, payout.CaseContradiction)
		h.owes(0, 1000, 0)
		h.Clock.Advance(time.Hour)
		h.stepped(h.TryAgain(h.ctx, id, []payout.Asked{h.word(id, 1, "failed", payout.ReasonSchemeError)}))
		if row := h.payout(id); len(row.Attempts) != 1 {
			h.Fatalf("attempts are %+v", row.Attempts)
		}
		h.books(id, "reserve")
	},
	"executed after failed, before the release": func(h house) {
		id := h.failed(payout.ReasonInvalidIBAN)
		h.heard(id, 1, "executed", "")
		h.stepped(h.Release(h.ctx, id))
		h.parkedBy(id, payout.CaseContradiction)
		h.stepped(h.Release(h.ctx, id))
		h.owes(0, 1000, 0)
	},
	"executed after the release": func(h house) {
		id := h.failed(payout.ReasonInvalidIBAN)
		h.stepped(h.Release(h.ctx, id))
		version := h.payout(id).Version
		for range 3 {
			p := h.heard(id, 1, "executed", "")
			if p.Step != payout.StepDone || p.Status != payout.StatusFailed {
				h.Fatalf("position is %+v", p)
			}
		}
		row := h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		if row.Version != version {
			h.Fatal("an exposure is no status")
		}
		h.books(id, "reserve release expose")
		h.asks(id, payout.CaseExposure)
		h.owes(1000, 0, 0) // a machine takes nothing back
		for _, t := range h.transactions() {
			if t.Kind == "expose" && (t.From != "house:exposure" || t.To != "merchant:"+Merchant || t.Money != Pounds(1000) || t.Attempt != 1) {
				h.Fatalf("booked %+v", t)
			}
		}
	},
	"executed after the freeze": func(h house) {
		id := h.failed(payout.ReasonBlocked)
		h.stepped(h.Freeze(h.ctx, id))
		h.heard(id, 1, "executed", "")
		h.books(id, "reserve freeze expose")
		h.asks(id, payout.CaseBlocked, payout.CaseExposure)
		h.owes(0, 0, 1000)
	},
	"executed again after a return": func(h house) {
		id := h.failed(payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, id))
		for range 2 {
			h.heard(id, 1, "executed", "")
		}
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.asks(id, payout.CaseContradiction)
		h.books(id, "reserve settle return")
	},
	"the first attempt is executed while the second lives": func(h house) {
		second := func() payout.ID {
			id := h.failed(payout.ReasonSchemeError)
			h.Clock.Advance(time.Hour)
			h.triedAgain(id)
			return id
		}
		h.Run("and the second is executed too", func(h house) {
			id := second()
			h.created(id)
			h.heard(id, 1, "executed", "")
			h.parkedBy(id, payout.CaseContradiction)
			h.heard(id, 2, "pending", "")
			h.heard(id, 2, "executed", "")
			h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
			h.books(id, "reserve settle expose")
			h.asks(id, payout.CaseContradiction, payout.CaseExposure)
			h.heard(id, 1, "executed", "")
			h.heard(id, 1, "failed", payout.ReasonReturned) // the payout's return it is not
			h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
			h.books(id, "reserve settle expose")
		})
		h.Run("and nobody parked yet", func(h house) {
			id := second()
			h.created(id)
			h.heard(id, 1, "executed", "")
			h.heard(id, 2, "executed", "")
			h.books(id, "reserve settle expose")
			h.asks(id, payout.CaseContradiction, payout.CaseExposure)
		})
		h.Run("and both in one breath", func(h house) {
			id := second()
			h.created(id)
			h.Clock.Advance(time.Second)
			h.asked(id, h.word(id, 2, "executed", ""), h.word(id, 1, "executed", ""))
			h.books(id, "reserve settle expose")
			h.asks(id, payout.CaseExposure)
		})
		h.Run("and the second fails", func(h house) {
			id := second()
			h.created(id)
			h.heard(id, 1, "executed", "")
			h.parkedBy(id, payout.CaseContradiction)
			h.heard(id, 2, "failed", payout.ReasonInvalidIBAN)
			h.stepped(h.Release(h.ctx, id))
			h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait) // the first one paid: nothing is given back
			h.owesNothingBack(id)
		})
		h.Run("and the second is still to be created", func(h house) {
			id := second()
			h.heard(id, 1, "executed", "")
			h.forbidden(id, payout.StepPark)
			h.parkedBy(id, payout.CaseContradiction)
			h.forbidden(id, payout.StepWait)
		})
		h.Run("and the second is on its way", func(h house) {
			id := second()
			s := h.sent(id)
			h.heard(id, 1, "executed", "")
			h.answered(s, there(theirs(id, 2)))
			h.parkedBy(id, payout.CaseContradiction)
			h.heard(id, 2, "executed", "")
			h.books(id, "reserve settle expose")
		})
		h.Run("and the second is on its way while parked", func(h house) {
			id := second()
			s := h.sent(id)
			h.heard(id, 1, "executed", "")
			h.parkedBy(id, payout.CaseContradiction)
			if p := h.answered(s, there(theirs(id, 2))); p.Status != payout.StatusParked || p.Wait <= 0 {
				h.Fatalf("position is %+v", p)
			}
		})
		h.Run("and the second is refused", func(h house) {
			id := second()
			s := h.sent(id)
			h.heard(id, 1, "executed", "")
			h.answered(s, refusal(payout.ReasonRefused))
			h.stepped(h.Release(h.ctx, id))
			h.parkedBy(id, payout.CaseContradiction)
			h.owesNothingBack(id)
		})
		h.Run("and the second is returned", func(h house) {
			id := second()
			h.created(id)
			h.heard(id, 2, "failed", payout.ReasonReturned)
			h.heard(id, 1, "executed", "")
			h.stepped(h.Return(h.ctx, id))
			h.parkedBy(id, payout.CaseContradiction)
			h.owesNothingBack(id)
		})
	},
	"failed after executed is a return": func(h house) {
		for reason, money := range map[payout.Reason]payout.MoneyAt{payout.ReasonReturned: payout.MoneyReturned, payout.ReasonUnknown: payout.MoneyReturned, payout.ReasonBlocked: payout.MoneyFrozen} {
			id := h.accepted(1000)
			h.created(id)
			h.heard(id, 1, "executed", "")
			p := h.heard(id, 1, "failed", reason)
			if p.Step != payout.StepReturn || p.Status != payout.StatusExecuted {
				h.Fatalf("position is %+v", p)
			}
			h.heard(id, 1, "failed", reason)
			h.stepped(h.Return(h.ctx, id))
			h.stands(id, payout.StatusReturned, money, payout.StepDone)
			h.heard(id, 1, "failed", reason)
			h.stepped(h.Return(h.ctx, id))
			h.books(id, "reserve settle return")
			if money == payout.MoneyFrozen { // regulatory: it comes back, and nobody spends it
				h.asks(id, payout.CaseBlocked)
			} else {
				h.asks(id)
			}
		}
		h.owes(2000, 0, 1000)
	},
	"a stale executed changes nothing after the release": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		old := h.word(id, 1, "executed", "")
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.stepped(h.Release(h.ctx, id))
		h.asked(id, old)
		h.books(id, "reserve release")
		h.asks(id)
	},
	"a mismatch after the end asks a person and moves nothing": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "executed", "")
		w := h.word(id, 1, "executed", "")
		w.Word.Money.Minor++
		h.asked(id, w)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id, payout.CaseMismatch)
	},
}

// owesNothingBack fails where the money of a payout is not held.
func (h house) owesNothingBack(id payout.ID) {
	h.Helper()
	if row := h.payout(id); row.MoneyAt != payout.MoneyHeld {
		h.Fatalf("the money is %s\n%s", row.MoneyAt, story(row))
	}
	if got := h.booked(id); got != "reserve" {
		h.Fatalf("booked %q", got)
	}
}

// lateNews is what is told of a payout when it is closed: its run is over, and
// another one reads it.
var lateNews = group{
	"a return that the provider confirms is booked once": func(h house) {
		id := h.paid()
		for event := range 3 {
			h.toldLate(id, fmt.Sprint("e", event), theirs(id, 1), "failed")
			h.twice(id, says{theirs(id, 1): "failed returned"})
			h.stepped(h.Return(h.ctx, id))
			h.stepped(h.Return(h.ctx, id))
		}
		row := h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		if row.Reason != payout.ReasonReturned || row.Version != 4 {
			h.Fatalf("the row is %+v", row)
		}
		h.books(id, "reserve settle return")
		h.owes(1000, 0, 0)
		h.asks(id)
	},
	"a return 45 days later": func(h house) {
		id := h.paid()
		h.Clock.Advance(45 * 24 * time.Hour)
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		if p := h.reconciled(id, says{theirs(id, 1): "failed returned"}); p.Step != payout.StepReturn || p.Status != payout.StatusExecuted {
			h.Fatalf("position is %+v", p)
		}
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
	},
	"a return for a regulatory reason is frozen": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.twice(id, says{theirs(id, 1): "failed blocked"})
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyFrozen, payout.StepDone)
		h.books(id, "reserve settle return")
		h.owes(0, 0, 1000)
		h.asks(id, payout.CaseBlocked)
	},
	"a return that only the statement shows is frozen where signed news says blocked": func(h house) {
		id := h.paid()
		n := news("e1", theirs(id, 1), "failed")
		n.Reason = payout.ReasonBlocked
		h.told(n)
		h.reconciled(id, says{theirs(id, 1): "executed"})
		h.reconciled(id, says{theirs(id, 1): "executed"}, payout.Line{ReturnFor: theirs(id, 1), Money: Pounds(1000), Status: "settled", At: h.Clock.Now(), Raw: []byte("{}")})
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyFrozen, payout.StepDone)
		h.owes(0, 0, 1000)
		h.asks(id, payout.CaseBlocked)
	},
	"a return that turns out to be blocked when the player has it is for a person": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "failed returned"})
		h.stepped(h.Return(h.ctx, id))
		h.toldLate(id, "e2", theirs(id, 1), "failed")
		h.twice(id, says{theirs(id, 1): "failed blocked"})
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.owes(1000, 0, 0)
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil)
		h.asks(id)
	},
	"a return that the provider does not confirm is asked about, ever more rarely, and then a person": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.unconfirmed(id, says{theirs(id, 1): "executed"}, payout.StatusExecuted, payout.CaseReturnUnconfirmed)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle")
		// Told again, it is asked about again, and the case stays one.
		h.toldLate(id, "e2", theirs(id, 1), "failed")
		h.unconfirmed(id, says{theirs(id, 1): "executed"}, payout.StatusExecuted, payout.CaseReturnUnconfirmed)
		// And a word that confirms it ends the case too.
		h.toldLate(id, "e3", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "failed returned"})
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.asks(id)
	},
	"a return that the provider confirms later": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		for range 5 {
			p := h.reconciled(id, says{theirs(id, 1): "executed"})
			h.Clock.Advance(p.Wait)
		}
		if p := h.reconciled(id, says{theirs(id, 1): "failed returned"}); p.Step != payout.StepReturn {
			h.Fatalf("position is %+v", p)
		}
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		if h.asking(id).Look != nil {
			h.Fatal("the statement is still asked")
		}
	},
	"a return that only the statement shows is booked once": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "executed"})
		if look := h.asking(id).Look; look == nil || look.MerchantAccountID != Merchant || look.PayoutID != id || look.From.After(h.payout(id).CreatedAt) {
			h.Fatalf("looks for %+v", look)
		}
		back := payout.Line{ReturnFor: theirs(id, 1), Money: Pounds(1000), Status: "settled", At: h.Clock.Now().Add(-time.Hour), Raw: []byte("{}")}
		other := back
		other.ReturnFor = "somebody else's"
		if p := h.reconciled(id, says{theirs(id, 1): "executed"}, other); p.Step != payout.StepWait {
			h.Fatalf("position is %+v", p)
		}
		if p := h.reconciled(id, says{theirs(id, 1): "executed"}, other, back, back); p.Step != payout.StepReturn {
			h.Fatalf("position is %+v", p)
		}
		h.reconciled(id, says{theirs(id, 1): "executed"}, back) // by another run
		h.stepped(h.Return(h.ctx, id))
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.books(id, "reserve settle return")
		h.asks(id)
		if n := h.count("SELECT COUNT(*) FROM transactions t JOIN evidence e ON e.id = t.evidence_id WHERE t.kind = 'return' AND e.kind = 'statement'"); n != 1 {
			h.Fatal("the return does not name the line")
		}
	},
	"a return of another amount is for a person": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "executed"})
		for range 2 {
			h.reconciled(id, says{theirs(id, 1): "executed"}, payout.Line{ReturnFor: theirs(id, 1), Money: Pounds(999), At: h.Clock.Now(), Raw: []byte("{}")})
		}
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepWait)
		h.books(id, "reserve settle")
		h.asks(id, payout.CaseContradiction)
	},
	"executed after the release is an exposure, once": func(h house) {
		id := h.released()
		for event := range 3 {
			h.toldLate(id, fmt.Sprint("e", event), theirs(id, 1), "executed")
			h.twice(id, says{theirs(id, 1): "executed"})
		}
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.books(id, "reserve release expose")
		h.asks(id, payout.CaseExposure)
		h.owes(1000, 0, 0)
	},
	"executed after the release that the provider never confirms is for a person": func(h house) {
		id := h.released()
		h.toldLate(id, "e1", theirs(id, 1), "executed")
		h.unconfirmed(id, says{theirs(id, 1): "failed invalid_iban"}, payout.StatusFailed, payout.CaseContradiction)
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.books(id, "reserve release")
		h.owes(1000, 0, 0)
	},
	"executed after the release, of what was never created as far as we knew": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), refusal(payout.ReasonRefused))
		h.stepped(h.Release(h.ctx, id))
		n := news("e1", theirs(id, 1), "executed")
		n.PayoutID, n.Attempt = id, 1
		if s := h.told(n); !s.Late || !s.Wake {
			h.Fatalf("stored as %+v", s)
		}
		h.twice(id, says{theirs(id, 1): "executed"})
		h.books(id, "reserve release expose")
		h.asks(id, payout.CaseContradiction, payout.CaseExposure)
	},
	"news that says what the books say is asked about once": func(h house) {
		paid, back, lost := h.paid(), h.paid(), h.released()
		h.heard(back, 1, "failed", payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, back))
		for _, c := range []struct {
			id            payout.ID
			claims, truly string
		}{
			{paid, "executed", "executed"}, {paid, "", "executed"}, {paid, "authorized", "executed"},
			{back, "failed", "failed returned"},
			{lost, "failed", "failed invalid_iban"}, {lost, "", "failed invalid_iban"},
		} {
			before := h.payout(c.id)
			h.toldLate(c.id, fmt.Sprint(c.id, c.claims), theirs(c.id, 1), c.claims)
			if p := h.reconciled(c.id, says{theirs(c.id, 1): c.truly}); p.Step != payout.StepDone || p.Status != before.Status {
				h.Fatalf("%s, claimed %q: position %+v", before.Status, c.claims, p)
			}
			if after := h.payout(c.id); story(after) != story(before) || after.Version != before.Version {
				h.Fatalf("%s, claimed %q: %s", before.Status, c.claims, story(after))
			}
			h.asks(c.id)
		}
		h.nobodyLate()
	},
	"news of a return that comes while it is booked": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "failed returned"})
		h.told(news("e2", theirs(id, 1), "failed"))
		if p := h.stepped(h.Return(h.ctx, id)); p.Step != payout.StepReconcile {
			h.Fatalf("booked while news is unread: %+v", p)
		}
		h.reconciled(id, says{theirs(id, 1): "failed returned"})
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.nobodyLate()
	},
	"an earlier attempt that is paid after all is an exposure": func(h house) {
		id := h.secondPaid()
		h.toldLate(id, "e1", theirs(id, 1), "executed")
		asking := h.asking(id)
		if len(asking.Asks) != 1 || asking.Asks[0].Attempt != 1 {
			h.Fatalf("asks %+v", asking.Asks)
		}
		h.twice(id, says{theirs(id, 1): "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle expose")
		h.asks(id, payout.CaseExposure)
		// It comes back: to the house, and not to the player.
		h.toldLate(id, "e2", theirs(id, 1), "failed")
		h.twice(id, says{theirs(id, 1): "failed returned"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle expose")
		h.asks(id, payout.CaseExposure)
		h.owes(0, 0, 0)
	},
	"an earlier attempt that is said to be paid, and is not": func(h house) {
		id := h.secondPaid()
		h.toldLate(id, "e1", theirs(id, 1), "executed")
		h.unconfirmed(id, says{theirs(id, 1): "failed scheme_error", theirs(id, 2): "executed"}, payout.StatusExecuted, payout.CaseContradiction)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"a second payout of an attempt that is paid after all": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "executed", "")
		h.toldLate(id, "e1", "another", "executed")
		h.twice(id, says{theirs(id, 1): "executed", "another": "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle")
		h.asks(id, payout.CaseContradiction, payout.CaseExposure)
	},
	"a second payout of an attempt that is said to be paid is followed until it is decided": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "executed", "")
		h.toldLate(id, "e1", "another", "executed")
		p := h.reconciled(id, says{theirs(id, 1): "executed", "another": "authorized"})
		if p.Step != payout.StepWait || p.Wait <= 0 {
			h.Fatalf("the event said executed, the provider not yet, and nobody asks again: %+v", p)
		}
		h.reconciled(id, says{theirs(id, 1): "executed", "another": "executed"})
		h.asks(id, payout.CaseContradiction, payout.CaseExposure)
	},
	"a second payout of an attempt that was paid and comes back is noticed": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "executed", "")
		h.toldLate(id, "e1", "another", "executed")
		h.reconciled(id, says{theirs(id, 1): "executed", "another": "executed"})
		h.toldLate(id, "e2", "another", "failed")
		asking := h.asking(id)
		asked := false
		for _, ask := range asking.Asks {
			asked = asked || ask.ProviderID == "another"
		}
		if !asked {
			h.Fatalf("there is news about it, and what is asked is %+v", asking.Asks)
		}
		before := len(h.payout(id).Timeline)
		h.judged(id, asking, says{theirs(id, 1): "executed", "another": "failed returned"})
		if row := h.payout(id); len(row.Timeline) == before {
			h.Fatalf("nobody can see it:\n%s", story(row))
		}
	},
	"executed again after a return that followed it is for a person": func(h house) {
		id := h.paid()
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, id))
		h.toldLate(id, "e1", theirs(id, 1), "executed")
		h.reconciled(id, says{theirs(id, 1): "executed"})
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.asks(id, payout.CaseContradiction)
		h.books(id, "reserve settle return")
	},
	"executed again after a return, and the provider says so later than the event": func(h house) {
		h.Run("it does", func(h house) {
			id := h.paid()
			h.heard(id, 1, "failed", payout.ReasonReturned)
			h.stepped(h.Return(h.ctx, id))
			h.toldLate(id, "a1", theirs(id, 1), "executed")
			if p := h.reconciled(id, says{theirs(id, 1): "failed returned"}); p.Step != payout.StepWait || p.Wait <= 0 {
				h.Fatalf("nobody asks again: %+v", p)
			}
			if p := h.reconciled(id, says{theirs(id, 1): "executed"}); p.Step != payout.StepDone {
				h.Fatalf("position is %+v", p)
			}
			h.asks(id, payout.CaseContradiction)
			h.books(id, "reserve settle return")
		})
		h.Run("it never does: the event was the older word", func(h house) {
			id := h.paid()
			h.heard(id, 1, "failed", payout.ReasonReturned)
			h.stepped(h.Return(h.ctx, id))
			h.toldLate(id, "b1", theirs(id, 1), "executed")
			p := h.reconciled(id, says{theirs(id, 1): "failed returned"})
			for n := 0; p.Step == payout.StepWait; n++ {
				if n > 60 {
					h.Fatal("it is asked for ever")
				}
				h.Clock.Advance(p.Wait)
				p = h.reconciled(id, says{theirs(id, 1): "failed returned"})
			}
			h.asks(id)
			h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		})
		h.Run("the news came before the return", func(h house) {
			id := h.paid()
			h.toldLate(id, "c1", theirs(id, 1), "executed")
			h.reconciled(id, says{theirs(id, 1): "executed"})
			h.heard(id, 1, "failed", payout.ReasonReturned)
			if p, err := h.Return(h.ctx, id); err != nil || p.Step != payout.StepDone {
				h.Fatalf("%+v, %v", p, err)
			}
		})
	},
	"executed again, of a return that the provider confirmed after it was booked": func(h house) {
		const booked, confirmed, again = "executed", "failed returned", "executed"
		h.Run("by the statement", func(h house) {
			id := h.paid()
			h.toldLate(id, "e1", theirs(id, 1), "failed")
			h.reconciled(id, says{theirs(id, 1): booked})
			h.reconciled(id, says{theirs(id, 1): booked}, payout.Line{ReturnFor: theirs(id, 1), Money: Pounds(1000), Status: "settled", At: h.Clock.Now(), Raw: []byte("{}")})
			h.stepped(h.Return(h.ctx, id))
			h.heard(id, 1, "executed", "") // older accounts never change their word
			h.asks(id)
			h.heard(id, 1, "failed", payout.ReasonReturned)
			h.asks(id)
			h.heard(id, 1, "executed", "")
			h.asks(id, payout.CaseContradiction)
			h.books(id, "reserve settle return")
		})
		h.Run("by two people", func(h house) {
			id := h.paid()
			h.toldLate(id, "p1", theirs(id, 1), "failed")
			h.unconfirmed(id, says{theirs(id, 1): booked}, payout.StatusExecuted, payout.CaseReturnUnconfirmed)
			h.resolved(id, payout.CaseReturnUnconfirmed, payout.ActionBookReturn, says{theirs(id, 1): booked})
			h.toldLate(id, "p2", theirs(id, 1), "failed")
			h.reconciled(id, says{theirs(id, 1): confirmed})
			h.asks(id)
			h.toldLate(id, "p3", theirs(id, 1), "executed")
			h.reconciled(id, says{theirs(id, 1): again})
			h.asks(id, payout.CaseContradiction)
		})
	},
	"two claims at once are both asked about": func(h house) {
		id := h.secondPaid()
		h.toldLate(id, "e1", theirs(id, 2), "failed")
		h.reconciled(id, says{theirs(id, 2): "executed"})
		h.told(news("e2", theirs(id, 1), "executed"))
		p := h.reconciled(id, says{theirs(id, 2): "executed", theirs(id, 1): "failed scheme_error"})
		h.Clock.Advance(p.Wait)
		h.reconciled(id, says{theirs(id, 2): "executed", theirs(id, 1): "executed"})
		h.books(id, "reserve settle expose")
	},
	"news while it is asked about is late too": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "executed"})
		if s := h.told(news("e2", theirs(id, 1), "failed")); !s.Late || !s.Wake {
			h.Fatalf("stored as %+v: its own run is over", s)
		}
		h.Clock.Advance(time.Minute)
		list, err := h.Unread(h.ctx, 30*time.Second, 10)
		h.must(err)
		if len(list) != 1 || !list[0].Late {
			h.Fatalf("unread %+v: its own run is over", list)
		}
	},
	"nobody is slow who is asked about late": func(h house) {
		id := h.paid()
		h.Clock.Advance(45 * 24 * time.Hour)
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "executed"})
		_, err := h.OpenSlow(h.ctx, 10)
		h.must(err)
		h.asks(id)
	},
	"the order of two events is not seen in the end": func(h house) {
		// Executed is told, and never true: before the release or after it.
		before, after := h.accepted(1000), h.accepted(1000)
		h.created(before)
		h.created(after)
		h.told(news("b", theirs(before, 1), "executed"))
		h.reconciled(before, says{theirs(before, 1): "failed invalid_iban"})
		h.stepped(h.Release(h.ctx, before))
		h.heard(after, 1, "failed", payout.ReasonInvalidIBAN)
		h.stepped(h.Release(h.ctx, after))
		h.unconfirmed(before, says{theirs(before, 1): "failed invalid_iban"}, payout.StatusFailed, payout.CaseContradiction)
		h.toldLate(after, "a", theirs(after, 1), "executed")
		h.unconfirmed(after, says{theirs(after, 1): "failed invalid_iban"}, payout.StatusFailed, payout.CaseContradiction)
	},
	"whoever has late news is found at once, and then ever more rarely": func(h house) {
		id, open, quiet := h.paid(), h.accepted(1000), h.paid()
		h.created(open)
		h.nobodyLate()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.told(news("e2", theirs(open, 1), "executed")) // its own run is woken
		h.Clock.Advance(time.Second)
		list, err := h.LateNews(h.ctx, 10)
		h.must(err)
		if len(list) != 1 || list[0] != (payout.Due{ID: id, Kind: payout.KindPayout, PlayerID: Player, Money: Pounds(1000), Status: payout.StatusExecuted}) || !list[0].Late() {
			h.Fatalf("late are %+v", list)
		}
		found := 0
		for range 3 * 24 * 60 { // three days of nobody at work
			h.Clock.Advance(time.Minute)
			list, err := h.LateNews(h.ctx, 10)
			h.must(err)
			found += len(list)
		}
		if found < 8 || found > 20 {
			h.Fatalf("found %d times, want about a dozen", found)
		}
		if list, err := h.Unread(h.ctx, 30*time.Second, 10); err != nil || len(list) != 1 || list[0].PayoutID != open {
			h.Fatalf("unread %+v, %v", list, err)
		}
		// Read and not judged, it stays on the list; judged, it leaves it.
		asking := h.asking(id)
		h.Clock.Advance(10 * 24 * time.Hour)
		if list, err := h.LateNews(h.ctx, 10); err != nil || len(list) != 1 {
			h.Fatalf("late are %+v, %v", list, err)
		}
		h.judged(id, asking, says{theirs(id, 1): "executed"})
		h.nobodyLate()
		h.stands(quiet, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"a limit of late news is a limit": func(h house) {
		for i := range 5 {
			id := h.paid()
			h.toldLate(id, fmt.Sprint("e", i), theirs(id, 1), "failed")
		}
		h.Clock.Advance(time.Second)
		seen := map[payout.ID]bool{}
		for range 3 {
			list, err := h.LateNews(h.ctx, 2)
			h.must(err)
			for _, d := range list {
				seen[d.ID] = true
			}
		}
		if len(seen) != 5 {
			h.Fatalf("%d found, want 5", len(seen))
		}
	},
}

// paid is a payout that was executed.
func (h house) paid() payout.ID {
	h.Helper()
	id := h.accepted(1000)
	h.created(id)
	h.heard(id, 1, "executed", "")
	return id
}

// released is a payout that failed, and its player has the money again.
func (h house) released() payout.ID {
	h.Helper()
	id := h.failed(payout.ReasonInvalidIBAN)
	h.stepped(h.Release(h.ctx, id))
	return id
}

// second is a payout whose first attempt failed and whose second is to be sent.
func (h house) second() payout.ID {
	h.Helper()
	id := h.failed(payout.ReasonSchemeError)
	h.rested(id)
	h.triedAgain(id)
	return id
}

// secondPaid is a payout whose second attempt was executed.
func (h house) secondPaid() payout.ID {
	h.Helper()
	id := h.second()
	h.created(id)
	h.heard(id, 2, "executed", "")
	return id
}

// mistaken are a payout at the provider, and a parked one whose create was answered
// with the first one's id.
func (h house) mistaken() (first, second payout.ID) {
	h.Helper()
	first = h.accepted(1000)
	h.created(first)
	second = h.accepted(500)
	h.answered(h.sent(second), there(theirs(first, 1)))
	h.parkedBy(second, payout.CaseContradiction)
	return first, second
}

// tripled is a parked payout whose attempt the provider has three times: also
// under the ids "another" and "third".
func (h house) tripled() payout.ID {
	h.Helper()
	id := h.accepted(1000)
	sends := []payout.Send{h.sent(id), h.sent(id), h.sent(id)}
	for i, providerID := range []string{theirs(id, 1), "another", "third"} {
		h.answered(sends[i], there(providerID))
	}
	return id
}

// doubled is a parked payout whose attempt the provider has twice: also under
// the id "another".
func (h house) doubled() payout.ID {
	h.Helper()
	id := h.accepted(1000)
	first, second := h.sent(id), h.sent(id)
	h.answered(first, there(theirs(id, 1)))
	h.answered(second, there("another"))
	h.parkedBy(id, payout.CaseContradiction)
	return id
}

// toldLate stores news about a closed payout.
func (h house) toldLate(id payout.ID, event, providerID, claims string) {
	h.Helper()
	s := h.told(news(event, providerID, claims))
	if s.PayoutID != id || !s.Late || !s.Wake {
		h.Fatalf("stored as %+v", s)
	}
	if again := h.told(news(event, providerID, claims)); !again.Repeat || again.Wake || again.InboxID != s.InboxID {
		h.Fatalf("the repeat is stored as %+v", again)
	}
}

// twice is what two runs hear that read at the same time, and the first of them
// once more.
func (h house) twice(id payout.ID, s says) {
	h.Helper()
	h.Clock.Advance(time.Second)
	one, two := h.asking(id), h.asking(id)
	first := h.judged(id, one, s)
	for _, asking := range []payout.Asking{two, one} {
		if p := h.judged(id, asking, s); p.Status != first.Status || p.Step != first.Step {
			h.Fatalf("heard again: %+v, want %+v", p, first)
		}
	}
}

// unconfirmed hears the same until nobody asks any more, which must be
// RETURN_ASK_FOR later, after some forty questions, with one case of this kind.
func (h house) unconfirmed(id payout.ID, s says, status payout.Status, kind payout.CaseKind) {
	h.Helper()
	began, asked, last := h.Clock.Now(), 0, time.Duration(0)
	for p := h.reconciled(id, s); p.Step != payout.StepDone; p = h.judged(id, h.asking(id), s) {
		asked++
		if p.Step != payout.StepWait || p.Status != status || p.Wait < max(last, time.Second) || p.Wait > timing.PollMax || asked > 60 {
			h.Fatalf("question %d: position %+v, and the wait before was %s", asked, p, last)
		}
		last = p.Wait
		h.Clock.Advance(p.Wait)
	}
	if age := h.Clock.Now().Sub(began); age < timing.ReturnAskFor || age > timing.ReturnAskFor+2*timing.PollMax || asked < 20 {
		h.Fatalf("asked %d times in %s", asked, age)
	}
	h.asks(id, kind)
	h.nobodyLate()
}

// nobodyLate fails where a closed payout is on the list of late word.
func (h house) nobodyLate() {
	h.Helper()
	h.Clock.Advance(24 * time.Hour)
	if list, err := h.LateNews(h.ctx, 10); err != nil || len(list) != 0 {
		h.Fatalf("late are %+v, %v", list, err)
	}
}
