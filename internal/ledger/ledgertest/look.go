package ledgertest

import (
	"strings"
	"time"

	"payouts/internal/payout"
)

// looking are the cases in which the statement is asked: what nobody answered
// may stand there.
var looking = group{
	"the statement is asked from before the first send": func(h house) {
		id := h.accepted(1000)
		h.Clock.Advance(time.Hour)
		first := h.Clock.Now()
		h.answered(h.sent(id), unknown())
		h.Clock.Advance(time.Hour)
		h.answered(h.sent(id), unknown())
		h.Clock.Advance(timing.KeyWindow)
		h.forbidden(id, payout.StepReconcile)
		asking := h.asking(id)
		look := asking.Look
		if look == nil || look.PayoutID != id || look.Kind != payout.KindPayout || look.MerchantAccountID != Merchant || look.PaymentID != "" || look.From.After(first.Add(-12*time.Hour)) || look.From.Before(first.Add(-48*time.Hour)) {
			h.Fatalf("looks for %+v; first sent at %s", look, first)
		}
		if len(asking.Asks) != 0 || asking.Position.Step != payout.StepReconcile {
			h.Fatalf("asking %+v", asking)
		}
		h.asks(id) // nobody is asked yet
	},
	"what is found is followed": func(h house) {
		for _, status := range []string{"executed", "pending", "some_new_word"} {
			id := h.silent()
			p := h.looked(id, h.outgoing(id, 1, theirs(id, 1), status))
			if p != (payout.Position{Status: payout.StatusPending, Step: payout.StepWait, Wait: timing.PollFirst, Attempt: 1}) {
				h.Fatalf("%s: position %+v", status, p)
			}
			row := h.payout(id)
			if row.ProviderPayoutID != theirs(id, 1) || row.Attempts[0].Status != "created" {
				h.Fatalf("%s: the row is %+v", status, row)
			}
			h.asks(id)
			h.books(id, "reserve") // a line is no verdict
			h.reconciled(id, says{theirs(id, 1): "executed"})
			h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
			if n := h.count("SELECT COUNT(*) FROM evidence WHERE kind = 'statement' AND provider_status = '" + status + "'"); n != 1 {
				h.Fatalf("%s: %d lines kept as evidence", status, n)
			}
		}
	},
	"news about what is found is read": func(h house) {
		id := h.silent()
		h.told(news("e1", theirs(id, 1), "executed")) // nobody's, so far
		if p := h.looked(id, h.outgoing(id, 1, theirs(id, 1), "executed")); p.Step != payout.StepReconcile {
			h.Fatalf("position is %+v", p)
		}
		h.reconciled(id, says{theirs(id, 1): "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"what is not found parks, and says where it was looked for": func(h house) {
		id := h.silent()
		other := h.accepted(500)
		h.created(other)
		h.looked(id, h.outgoing(other, 1, theirs(other, 1), "executed"), payout.Line{ReturnFor: "something", Money: Pounds(1000), At: h.Clock.Now(), Raw: []byte("{}")})
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.stands(other, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		why := h.caseOf(id, payout.CaseUnknownOutcome).Why
		for _, want := range []string{"statement", Merchant, h.Clock.Now().Format("2006-01-02T15:04")} {
			if !strings.Contains(why, want) {
				h.Errorf("the case says %q, and not %q", why, want)
			}
		}
	},
	"nothing parks before the statement was read": func(h house) {
		id := h.silent()
		for range 3 { // it cannot be read
			h.asking(id)
			if p := h.asked(id); p.Step != payout.StepReconcile {
				h.Fatalf("position is %+v", p)
			}
			h.Clock.Advance(time.Hour)
		}
		h.stands(id, payout.StatusAccepted, payout.MoneyHeld, payout.StepReconcile)
		h.asks(id)
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
	},
	"the statement is read by two at once": func(h house) {
		found, lost := h.silent(), h.silent()
		for id, lines := range map[payout.ID][]payout.Line{found: {h.outgoing(found, 1, theirs(found, 1), "executed")}, lost: nil} {
			one, two := h.asking(id), h.asking(id)
			h.judged(id, one, nil, lines...)
			h.judged(id, two, nil, lines...)
		}
		h.stands(found, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		h.asks(found)
		h.parkedBy(lost, payout.CaseUnknownOutcome)
	},
	"what was found by one is not parked by another who read before": func(h house) {
		id := h.silent()
		early := h.asking(id)
		h.Clock.Advance(time.Minute)
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "pending"))
		h.judged(id, early, nil)
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		h.asks(id)
	},
	"a parked payout is looked for each hour, and un-parks": func(h house) {
		id := h.silent()
		h.looked(id)
		p := h.parkedBy(id, payout.CaseUnknownOutcome)
		for range 4 {
			if p.Wait != timing.PollMax {
				h.Fatalf("position is %+v", p)
			}
			h.Clock.Advance(p.Wait)
			p = h.looked(id)
			h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
			h.asks(id, payout.CaseUnknownOutcome)
		}
		h.Clock.Advance(p.Wait)
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "executed"))
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		h.asks(id)
		h.reconciled(id, says{theirs(id, 1): "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"a reused key is looked for at once": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), payout.Created{Answer: payout.AnswerUnknown, KeyReused: true})
		h.forbidden(id, payout.StepReconcile)
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "pending"))
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
	},
	"a line about another attempt is not this one": func(h house) {
		id := h.secondSilent()
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "failed"))
		h.parkedBy(id, payout.CaseUnknownOutcome)
	},
	"a line of this attempt under the id of another is no answer": func(h house) {
		id := h.secondSilent()
		h.looked(id, h.outgoing(id, 2, theirs(id, 1), "executed"))
		h.parkedBy(id, payout.CaseContradiction)
		h.owes(0, 1000, 0)
	},
	"a line that names the payout and no attempt is not nothing": func(h house) {
		for _, attempt := range []int{0, 7} {
			id := h.silent()
			h.looked(id, h.outgoing(id, attempt, theirs(id, 1), "executed"))
			if row := h.payout(id); row.Step == payout.StepPark && row.Attempts[0].ProviderPayoutID == "" {
				if p := h.stepped(h.OpenCase(h.ctx, id)); strings.Contains(h.caseOf(id, payout.CaseUnknownOutcome).Why, "does not show it") {
					h.Fatalf("attempt %d: a line with our payout's id stands there, and it is said that none does: %+v", attempt, p)
				}
			}
		}
	},
	"a second payout of an earlier attempt is found by its line": func(h house) {
		id := h.secondSilent()
		h.looked(id, h.outgoing(id, 1, "another", "executed"), h.outgoing(id, 2, theirs(id, 2), "pending"))
		h.parkedBy(id, payout.CaseContradiction)
		asking := h.asking(id)
		if len(asking.Asks) != 2 || asking.Asks[0].ProviderID != theirs(id, 2) || asking.Asks[1].ProviderID != "another" {
			h.Fatalf("asks %+v", asking.Asks)
		}
		h.judged(id, asking, says{theirs(id, 2): "failed invalid_iban", "another": "executed"})
		h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
		h.owes(0, 1000, 0)
	},
	"two lines of one attempt are two payouts": func(h house) {
		id := h.silent()
		for range 2 {
			lines := []payout.Line{h.outgoing(id, 1, theirs(id, 1), "pending"), h.outgoing(id, 1, "another", "pending")}
			if asking := h.asking(id); asking.Look != nil {
				h.judged(id, asking, nil, lines...)
			}
		}
		h.parkedBy(id, payout.CaseContradiction)
		if asking := h.asking(id); len(asking.Asks) != 2 || asking.Look != nil {
			h.Fatalf("asking %+v", asking)
		}
	},
	"nobody else is looked for": func(h house) {
		resting, frozen, unsent := h.failed(payout.ReasonSchemeError), h.failed(payout.ReasonBlocked), h.accepted(1000)
		h.stepped(h.Freeze(h.ctx, frozen))
		open := h.accepted(1000)
		h.answered(h.sent(open), unknown()) // its window is open
		pending := h.accepted(1000)
		h.created(pending)
		h.told(news("e1", theirs(pending, 1), "failed"))
		refused := h.accepted(1000)
		h.answered(h.sent(refused), refusal(payout.ReasonRefused))
		mismatch := h.accepted(1000)
		h.created(mismatch)
		wrong := h.word(mismatch, 1, "pending", "")
		wrong.Word.Money.Minor++
		h.asked(mismatch, wrong)
		h.parkedBy(mismatch, payout.CaseMismatch)
		paid := h.paid()
		h.told(news("e2", theirs(paid, 1), "executed"))
		for name, id := range map[string]payout.ID{"resting": resting, "frozen": frozen, "unsent": unsent, "open": open, "pending": pending, "refused": refused,
			"mismatch": mismatch, "paid": paid, "released": h.released()} {
			if look := h.asking(id).Look; look != nil {
				h.Errorf("%s: looks for %+v", name, look)
			}
		}
	},
}

// secondSilent is a payout whose second attempt was never answered, when its
// window is over.
func (h house) secondSilent() payout.ID {
	h.Helper()
	id := h.second()
	h.sent(id)
	h.Clock.Advance(timing.KeyWindow + time.Second)
	if p := h.forbidden(id, payout.StepCreate); p.Attempt != 2 { // the first one is asked about before
		h.Fatalf("position is %+v", p)
	}
	h.reconciled(id, says{theirs(id, 1): "failed scheme_error"})
	h.forbidden(id, payout.StepReconcile)
	return id
}
