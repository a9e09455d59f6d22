package ledgertest

import (
	"bytes"
	"time"

	"payouts/internal/payout"
)

// timing is what the books of the suite wait for.
var timing = payout.DefaultTiming()

// clockSlack is how far two clocks may be apart without anything being thought of it.
const clockSlack = 5 * time.Minute

func unknown() payout.Created {
	return payout.Created{Answer: payout.AnswerUnknown, Detail: "no answer", Raw: []byte("{}")}
}

func refusal(reason payout.Reason) payout.Created {
	return payout.Created{Answer: payout.AnswerRefused, Reason: reason, Detail: "400 Invalid Parameters", Raw: []byte(`{"status":400}`)}
}

func there(providerID string) payout.Created {
	return payout.Created{Answer: payout.AnswerCreated, ProviderID: providerID, Raw: []byte(`{"id":"` + providerID + `"}`)}
}

// forbidden fails where a send is permitted.
func (h house) forbidden(id payout.ID, step payout.Step) payout.Position {
	h.Helper()
	before := h.payout(id)
	send, p, err := h.OpenSend(h.ctx, id, h.token())
	h.must(err)
	if send.Number != 0 || send.Body != nil {
		h.Fatalf("permitted to send: %+v", send)
	}
	if p.Step != step {
		h.Fatalf("the step is %s, want %s", p.Step, step)
	}
	after := h.payout(id)
	for i := range after.Attempts {
		if after.Attempts[i].Sends != before.Attempts[i].Sends {
			h.Fatal("a forbidden send is in the send log")
		}
	}
	return p
}

// parkedBy obeys a step that must be park, and fails unless one case of this
// kind is open then and the money held.
func (h house) parkedBy(id payout.ID, kind payout.CaseKind) payout.Position {
	h.Helper()
	if p := h.payout(id); p.Step != payout.StepPark {
		h.Fatalf("the step is %s, want park\n%s", p.Step, story(p))
	}
	p, err := h.OpenCase(h.ctx, id)
	h.must(err)
	h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
	h.asks(id, kind)
	if p.CaseID == "" || p.CaseID != h.payout(id).CaseID {
		h.Fatalf("the position's case is %q, the row's %q", p.CaseID, h.payout(id).CaseID)
	}
	again, err := h.OpenCase(h.ctx, id)
	h.must(err)
	if again != p {
		h.Fatalf("opening the case again answers %+v, want %+v", again, p)
	}
	return p
}

var sending = group{
	"created": func(h house) {
		id := h.accepted(1000)
		p := h.created(id)
		if p != (payout.Position{Status: payout.StatusPending, Step: payout.StepWait, Wait: timing.PollFirst, Attempt: 1}) {
			h.Fatalf("position is %+v", p)
		}
		row := h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		a := row.Attempts[0]
		if row.ProviderPayoutID != theirs(id, 1) || a.ProviderPayoutID != theirs(id, 1) || a.Status != "created" || a.Sends != 1 || !a.FirstSentAt.Equal(h.Clock.Now()) {
			h.Fatalf("the row is %+v", row)
		}
		h.forbidden(id, payout.StepWait)
	},
	"the send is written before it leaves": func(h house) {
		id := h.accepted(1000)
		s := h.sent(id)
		if s.PayoutID != id || s.Kind != payout.KindPayout || s.Attempt != 1 || s.Number != 1 || s.Key != payout.Key(id, 1) || !s.Deadline.Equal(h.Clock.Now().Add(timing.SendFor)) {
			h.Fatalf("the send is %+v", s)
		}
		body, err := Encode(payout.Intent{ID: id, Kind: payout.KindPayout, Attempt: 1, Money: Pounds(1000), MerchantAccountID: Merchant, UserID: User, PaymentSourceID: Source, Reference: Reference}, map[string]string{})
		h.must(err)
		if !bytes.Equal(s.Body, body) {
			h.Fatalf("the body is %s\nwant %s", s.Body, body)
		}
		if a := h.payout(id).Attempts[0]; a.Sends != 1 || a.Status != "open" {
			h.Fatalf("the attempt is %+v", a)
		}
	},
	"unknown is sent again with the same key and bytes": func(h house) {
		id := h.accepted(1000)
		first := h.sent(id)
		for n := 2; n < 6; n++ {
			if p := h.answered(first, unknown()); p.Step != payout.StepCreate || p.Status != payout.StatusAccepted {
				h.Fatalf("position after unknown is %+v", p)
			}
			h.Clock.Advance(time.Minute)
			again := h.sent(id)
			if again.Number != n || again.Attempt != 1 || again.Key != first.Key || !bytes.Equal(again.Body, first.Body) {
				h.Fatalf("sent %+v, then %+v", first, again)
			}
			first = again
		}
		h.owes(0, 1000, 0)
	},
	"refused is credited back": func(h house) {
		id := h.accepted(1000)
		p := h.answered(h.sent(id), refusal(payout.ReasonRefused))
		if p.Step != payout.StepRelease || p.Reason != payout.ReasonRefused {
			h.Fatalf("position is %+v", p)
		}
		if a := h.payout(id).Attempts[0]; a.Status != "refused" || a.Reason != payout.ReasonRefused {
			h.Fatalf("the attempt is %+v", a)
		}
		h.forbidden(id, payout.StepRelease) // the attempt is closed
		h.owes(0, 1000, 0)
		_, err := h.Release(h.ctx, id)
		h.must(err)
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.owes(1000, 0, 0)
		h.books(id, "reserve release")
	},
	"refused for a reason of returns is credited back": func(h house) {
		id := h.accepted(1000)
		if p := h.answered(h.sent(id), refusal(payout.ReasonReturned)); p.Step != payout.StepRelease {
			h.Fatalf("position is %+v", p)
		}
		h.stepped(h.Release(h.ctx, id))
		h.books(id, "reserve release") // never settled: it was never there
	},
	"refused beside a send without an answer is not refused": func(h house) {
		id := h.accepted(1000)
		first := h.sent(id)
		second := h.sent(id)
		if p := h.answered(second, refusal(payout.ReasonRefused)); p.Step != payout.StepCreate || p.Status != payout.StatusAccepted {
			h.Fatalf("position is %+v", p)
		}
		h.owes(0, 1000, 0)
		if p := h.answered(first, there("x")); p.Status != payout.StatusPending {
			h.Fatalf("position is %+v", p)
		}
	},
	"refused after an unknown answer is not refused": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), unknown())
		if p := h.answered(h.sent(id), refusal(payout.ReasonRefused)); p.Step != payout.StepCreate {
			h.Fatalf("position is %+v", p)
		}
		if a := h.payout(id).Attempts[0]; a.Status != "open" {
			h.Fatalf("the attempt is %+v", a)
		}
	},
	"not sent never starts the window": func(h house) {
		id := h.accepted(1000)
		for range 3 {
			h.answered(h.sent(id), payout.Created{Answer: payout.AnswerNotSent, Detail: "connection refused"})
			h.Clock.Advance(100 * time.Hour)
		}
		h.answered(h.sent(id), unknown())
		h.Clock.Advance(timing.KeyWindow)
		h.answered(h.sent(id), payout.Created{Answer: payout.AnswerNotSent})
		h.Clock.Advance(time.Microsecond)
		h.forbidden(id, payout.StepReconcile)
		h.owes(0, 1000, 0)
	},
	"refused after not sent is refused": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), payout.Created{Answer: payout.AnswerNotSent})
		if p := h.answered(h.sent(id), refusal(payout.ReasonRefused)); p.Step != payout.StepRelease {
			h.Fatalf("position is %+v", p)
		}
	},
	"after the window the statement is asked, and then a person": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), unknown())
		h.Clock.Advance(timing.KeyWindow) // the last moment
		h.answered(h.sent(id), unknown())
		h.Clock.Advance(time.Microsecond)
		h.forbidden(id, payout.StepReconcile)
		h.looked(id)
		h.forbidden(id, payout.StepPark)
		h.asks(id)
		if p := h.parkedBy(id, payout.CaseUnknownOutcome); p.Wait != timing.PollMax {
			h.Fatalf("a late answer is to be noticed within POLL_MAX, but the position is %+v", p)
		}
		h.forbidden(id, payout.StepWait)
		h.owes(0, 1000, 0)
		h.books(id, "reserve")
	},
	"when our clock went back nobody knows how old the key is": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), unknown())
		h.Clock.Advance(-clockSlack)
		h.answered(h.sent(id), unknown()) // two machines are never quite of one time
		h.Clock.Advance(-24 * time.Hour)
		h.Clock.Advance(10 * time.Hour) // by the world's; no key surely lives that long
		h.forbidden(id, payout.StepReconcile)
		if look := h.asking(id).Look; look == nil || !look.From.Before(h.Clock.Now().Add(-24*time.Hour)) {
			h.Fatalf("looks for %+v, and it is %s", look, h.Clock.Now())
		}
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.Clock.Advance(15 * time.Hour) // the window by the clock, once more
		h.forbidden(id, payout.StepWait)
	},
	"a send whose worker died is unknown": func(h house) {
		id := h.accepted(1000)
		h.sent(id)
		h.Clock.Advance(timing.KeyWindow + time.Second)
		h.forbidden(id, payout.StepReconcile)
	},
	"an answer after the window counts": func(h house) {
		for name, before := range map[string]func(payout.ID){
			"the look":                    func(payout.ID) {},
			"what was looked up is heard": func(id payout.ID) { h.asking(id) },
			"the case is opened":          func(id payout.ID) { h.looked(id) },
		} {
			id := h.accepted(1000)
			s := h.sent(id)
			h.Clock.Advance(timing.KeyWindow + time.Second)
			h.forbidden(id, payout.StepReconcile)
			before(id)
			h.answered(s, there(theirs(id, 1)))
			if p := h.payout(id); p.Status != payout.StatusPending || p.Step != payout.StepWait || p.CaseID != "" {
				h.Fatalf("an answer before %s: %+v", name, p)
			}
		}
	},
	"an answer un-parks": func(h house) {
		id := h.accepted(1000)
		s := h.sent(id)
		h.Clock.Advance(timing.KeyWindow + time.Second)
		h.forbidden(id, payout.StepReconcile)
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.answered(s, there(theirs(id, 1)))
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		h.asks(id)
	},
	"a reused key is never sent again": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), payout.Created{Answer: payout.AnswerUnknown, KeyReused: true, Detail: "422 Idempotency-Key Reuse"})
		h.forbidden(id, payout.StepReconcile)
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.owes(0, 1000, 0)
	},
	"a token that outlives the key is refused": func(h house) {
		id := h.accepted(1000)
		edge := h.Clock.Now().Add(timing.KeyLife - payout.KeyMargin)
		refuse := func(expires time.Time) {
			h.Helper()
			s, _, err := h.OpenSend(h.ctx, id, expires)
			if err == nil || s.Number != 0 {
				h.Fatalf("sent with a token until %s: %+v", expires, s)
			}
		}
		refuse(edge.Add(time.Microsecond)) // the first send too: it could land when the key is forgotten
		s, _, err := h.OpenSend(h.ctx, id, edge)
		h.must(err)
		h.answered(s, unknown())
		h.Clock.Advance(time.Hour)
		refuse(edge.Add(time.Microsecond))
		s, _, err = h.OpenSend(h.ctx, id, edge)
		h.must(err)
		if s.Number != 2 || h.payout(id).Attempts[0].Sends != 2 {
			h.Fatalf("the send is %+v", s)
		}
	},
	"a send is answered once": func(h house) {
		id := h.accepted(1000)
		s := h.sent(id)
		h.answered(s, unknown())
		h.answered(s, refusal(payout.ReasonRefused))
		h.stands(id, payout.StatusAccepted, payout.MoneyHeld, payout.StepCreate)
		s = h.sent(id)
		h.answered(s, there(theirs(id, 1)))
		before := h.payout(id)
		h.answered(s, there("another"))
		h.answered(s, unknown())
		if after := h.payout(id); story(after) != story(before) || after.ProviderPayoutID != theirs(id, 1) {
			h.Fatalf("the row is %+v", after)
		}
	},
	"created twice under one id is created": func(h house) {
		id := h.accepted(1000)
		first, second := h.sent(id), h.sent(id)
		h.answered(first, there(theirs(id, 1)))
		h.answered(second, there(theirs(id, 1)))
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		h.asks(id)
	},
	"created twice under two ids parks": func(h house) {
		id := h.accepted(1000)
		first, second := h.sent(id), h.sent(id)
		h.answered(first, there(theirs(id, 1)))
		h.answered(second, there("another"))
		h.parkedBy(id, payout.CaseContradiction)
		h.owes(0, 1000, 0)
		// One of the two is paid: that is settled, the question stays, and the
		// other one is followed until it is decided.
		h.heard(id, 1, "executed", "")
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepWait)
		h.asks(id, payout.CaseContradiction)
		h.reconciled(id, says{"another": "pending"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepWait)
		h.reconciled(id, says{"another": "failed invalid_iban"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id, payout.CaseContradiction)
	},
	"created under a second id after the end asks a person": func(h house) {
		id := h.accepted(1000)
		first, second := h.sent(id), h.sent(id)
		h.answered(first, there(theirs(id, 1)))
		h.heard(id, 1, "executed", "")
		h.answered(second, there("another"))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepWait) // it is followed
		h.asks(id, payout.CaseContradiction)
		h.reconciled(id, says{"another": "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id, payout.CaseContradiction, payout.CaseExposure)
	},
	"a return beside a second payout that has not failed is for a person": func(h house) {
		id := h.accepted(1000)
		first, second := h.sent(id), h.sent(id)
		h.answered(first, there(theirs(id, 1)))
		h.heard(id, 1, "executed", "")
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.answered(second, there("another"))
		_, err := h.Return(h.ctx, id)
		h.must(err)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepWait) // it is followed
		h.asks(id, payout.CaseContradiction)
		h.owes(0, 0, 0)
	},
	"an event before the create's answer tells the id": func(h house) {
		id := h.accepted(1000)
		s := h.sent(id)
		n := news("e1", theirs(id, 1), "executed")
		n.PayoutID, n.Attempt = id, 1
		if stored := h.told(n); stored.PayoutID != id || !stored.Wake {
			h.Fatalf("stored as %+v", stored)
		}
		h.forbidden(id, payout.StepReconcile)
		h.answered(s, there(theirs(id, 1)))
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 1 || asking.Asks[0] != (payout.Ask{Attempt: 1, ProviderID: theirs(id, 1), Kind: payout.KindPayout}) || len(asking.Inbox) != 1 {
			h.Fatalf("asking %+v", asking)
		}
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "executed", "")}, Inbox: asking.Inbox, By: "ReconcilePayout"})
		h.must(err)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id)
	},
	"an event un-parks what nobody answered": func(h house) {
		id := h.silent()
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		n := news("e1", theirs(id, 1), "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 1 {
			h.Fatalf("asking %+v", asking)
		}
		h.asks(id)
		h.heard(id, 1, "executed", "")
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"an event without metadata waits for the create's answer": func(h house) {
		id := h.accepted(1000)
		s := h.sent(id)
		if stored := h.told(news("e1", theirs(id, 1), "executed")); stored.PayoutID != "" || stored.Wake {
			h.Fatalf("stored as %+v", stored)
		}
		if p := h.answered(s, there(theirs(id, 1))); p.Step != payout.StepReconcile {
			h.Fatalf("position is %+v", p)
		}
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Inbox) != 1 || len(asking.Asks) != 1 {
			h.Fatalf("asking %+v", asking)
		}
	},
	"an event under a second id parks": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		n := news("e1", "another", "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		h.Clock.Advance(time.Second)
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "pending", "")}, Inbox: asking.Inbox, By: "test"})
		h.must(err)
		h.parkedBy(id, payout.CaseContradiction)
	},
	"a frozen worker cannot reopen a closed attempt": func(h house) {
		id := h.accepted(1000)
		frozen := h.sent(id)
		n := news("e1", theirs(id, 1), "failed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		h.forbidden(id, payout.StepReconcile)
		h.reconciled(id, says{theirs(id, 1): "failed invalid_iban"})
		h.forbidden(id, payout.StepRelease)
		h.Clock.Advance(timing.SendFor)
		_, err := h.Release(h.ctx, id)
		h.must(err)
		h.forbidden(id, payout.StepDone)
		h.answered(frozen, there(theirs(id, 1)))
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.asks(id)
		h.owes(1000, 0, 0)
	},
	"an attempt that was refused and is there all the same keeps the money held": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), refusal(payout.ReasonRefused))
		n := news("e1", theirs(id, 1), "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		_, err := h.Read(h.ctx, id)
		h.must(err)
		_, err = h.Release(h.ctx, id)
		h.must(err)
		h.parkedBy(id, payout.CaseContradiction)
		h.owes(0, 1000, 0)
	},
	"an id that is another payout's asks a person": func(h house) {
		first, _ := h.mistaken()
		h.stands(first, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
	},
	"an unknown payout is not found": func(h house) {
		_, _, err := h.OpenSend(h.ctx, payout.NewID(payout.KindPayout, Caller, "nobody's"), h.token())
		h.refused(err, payout.ErrNotFound)
	},
}
