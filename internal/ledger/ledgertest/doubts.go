package ledgertest

import (
	"time"

	"payouts/internal/payout"
)

// doubting are the cases in which one word is not enough: money stays where it
// is while anything else of the payout was paid, may be paid, or is unread.
var doubting = group{
	"a second payout by two answers keeps the money until it has failed too": func(h house) {
		id := h.accepted(1000)
		first, second := h.sent(id), h.sent(id)
		h.answered(first, there(theirs(id, 1)))
		h.answered(second, there("another"))
		h.parkedBy(id, payout.CaseContradiction)
		h.Clock.Advance(time.Minute)
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.forbidden(id, payout.StepWait)
		h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)

		h.Clock.Advance(time.Minute)
		if p := h.heardOf(id, "another", "failed", payout.ReasonInvalidIBAN); p.Step != payout.StepRelease {
			h.Fatalf("both have failed, and the position is %+v", p)
		}
		h.stepped(h.Release(h.ctx, id))
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.owes(1000, 0, 0)
	},
	"a second payout that was paid keeps the money for a person": func(h house) {
		id := h.accepted(1000)
		first, second := h.sent(id), h.sent(id)
		h.answered(first, there(theirs(id, 1)))
		h.answered(second, there("another"))
		h.parkedBy(id, payout.CaseContradiction)
		h.Clock.Advance(time.Minute)
		h.heardOf(id, "another", "executed", "")
		h.Clock.Advance(time.Minute)
		h.heard(id, 1, "failed", payout.ReasonInsufficientFunds)
		h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
		h.owes(0, 1000, 0)
	},
	"a second payout by news is asked about": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		n := news("e1", "another", "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 2 || asking.Asks[1] != (payout.Ask{Attempt: 1, ProviderID: "another", Kind: payout.KindPayout}) {
			h.Fatalf("asks %+v", asking.Asks)
		}
		h.Clock.Advance(time.Second)
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "failed", payout.ReasonInvalidIBAN)}, Inbox: asking.Inbox, By: "test"})
		h.must(err)
		h.parkedBy(id, payout.CaseContradiction)
		h.owes(0, 1000, 0)
		// Later events under that id find their payout.
		if again := h.told(news("e2", "another", "executed")); again.PayoutID != id || !again.Wake {
			h.Fatalf("stored as %+v", again)
		}
	},
	"unread news stops the next attempt": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		h.triedAgain(id)
		h.answered(h.sent(id), payout.Created{Answer: payout.AnswerNotSent, Detail: "401"})
		h.told(news("e1", theirs(id, 1), "executed"))
		h.forbidden(id, payout.StepCreate)
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		h.Clock.Advance(time.Second)
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "failed", payout.ReasonSchemeError)}, Inbox: asking.Inbox, By: "test"})
		h.must(err)
		h.sent(id) // read, and still failed: it may leave
	},
	"an earlier attempt is read again before a late send": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		h.triedAgain(id)
		h.answered(h.sent(id), payout.Created{Answer: payout.AnswerNotSent, Detail: "401"})
		h.Clock.Advance(10 * time.Hour) // credentials were out of order
		h.forbidden(id, payout.StepCreate)
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 1 || asking.Asks[0].Attempt != 1 {
			h.Fatalf("asks %+v", asking.Asks)
		}
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "executed", "")}, Inbox: asking.Inbox, By: "test"})
		h.must(err)
		h.forbidden(id, payout.StepPark)
		h.owes(0, 1000, 0)
	},
	"unread news stops a release": func(h house) {
		id := h.failed(payout.ReasonInvalidIBAN)
		h.told(news("e1", theirs(id, 1), "executed"))
		h.Clock.Advance(2 * time.Hour) // the worker was down; its first act is the release
		if p, err := h.Release(h.ctx, id); err != nil || p.Step != payout.StepReconcile {
			h.Fatalf("released: %+v, %v", p, err)
		}
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepRelease)
	},
	"a return beside another paid attempt is for a person": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		h.triedAgain(id)
		h.created(id)
		h.heard(id, 1, "executed", "")
		h.heard(id, 2, "executed", "")
		h.books(id, "reserve settle expose")
		h.heard(id, 2, "failed", payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.owes(0, 0, 0) // the player has attempt 1's money in the bank
	},
	"words asked before what is known begin no attempt and park nothing": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		stale := h.word(id, 1, "pending", "")
		h.Clock.Advance(time.Minute)
		h.heard(id, 1, "failed", payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		if p, err := h.TryAgain(h.ctx, id, []payout.Asked{stale}); err == nil {
			h.Fatalf("believed: %+v", p)
		}
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepTryAgain)
	},
	"what is never sent is told to a person, once, and goes on": func(h house) {
		id := h.accepted(1000)
		for range 30 {
			h.answered(h.sent(id), payout.Created{Answer: payout.AnswerNotSent, Detail: "401"})
			h.Clock.Advance(time.Hour)
			_, err := h.OpenSlow(h.ctx, 10)
			h.must(err)
		}
		h.asks(id, payout.CaseSlow)
		h.sent(id)
	},
	"an event stored while its id became known is found": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.told(news("e1", theirs(id, 1), "executed"))
		if _, err := h.Rows.ExecContext(h.ctx, "UPDATE inbox SET payout_id = NULL"); err != nil { // as that race leaves it
			h.Fatal(err)
		}
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Inbox) != 1 {
			h.Fatalf("asking %+v", asking)
		}
	},
}

// heardOf judges a word about a further payout of attempt 1.
func (h house) heardOf(id payout.ID, providerID, status string, reason payout.Reason) payout.Position {
	h.Helper()
	said := h.word(id, 1, status, reason)
	said.ProviderID, said.Word.ProviderID = providerID, providerID
	p, err := h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{said}, By: "test"})
	h.must(err)
	return p
}

// While a step reads the inbox, news that it did not list must wake the run
// once more, whatever the database lets each see.
func newsDuringReading(h house) {
	id := h.accepted(1000)
	h.created(id)
	h.told(news("e0", theirs(id, 1), "executed"))
	for n := range 40 {
		woken := make(chan payout.Stored, 1)
		go func() {
			s, err := h.StoreNews(h.ctx, news("e"+string(rune('a'+n)), theirs(id, 1), "executed"))
			if err != nil {
				h.t.Error(err)
			}
			woken <- s
		}()
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		s := <-woken
		listed := false
		for _, row := range asking.Inbox {
			listed = listed || row == s.InboxID
		}
		if !listed && !s.Wake {
			h.Fatalf("round %d: the news was neither listed nor does it wake the run", n)
		}
	}
}
