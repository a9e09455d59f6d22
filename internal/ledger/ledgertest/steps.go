package ledgertest

import (
	"errors"
	"sync"
	"testing"
	"time"

	"payouts/internal/payout"
)

// calls are the steps a run may ask for, whatever the row says.
var calls = map[payout.Step]func(house, payout.ID) (payout.Position, error){
	payout.StepTryAgain: func(h house, id payout.ID) (payout.Position, error) { return h.TryAgain(h.ctx, id, nil) },
	payout.StepRelease:  func(h house, id payout.ID) (payout.Position, error) { return h.Release(h.ctx, id) },
	payout.StepFreeze:   func(h house, id payout.ID) (payout.Position, error) { return h.Freeze(h.ctx, id) },
	payout.StepReturn:   func(h house, id payout.ID) (payout.Position, error) { return h.Return(h.ctx, id) },
	payout.StepPark:     func(h house, id payout.ID) (payout.Position, error) { return h.OpenCase(h.ctx, id) },
}

// places are rows by the step that is next for them.
var places = map[payout.Step]func(house) payout.ID{
	payout.StepCreate: func(h house) payout.ID { return h.accepted(1000) },
	payout.StepWait: func(h house) payout.ID {
		id := h.accepted(1000)
		h.created(id)
		return id
	},
	payout.StepReconcile: func(h house) payout.ID {
		id := h.accepted(1000)
		h.told(news("e-"+string(id), theirs(id, 1), "executed"))
		h.created(id)
		return id
	},
	payout.StepTryAgain: func(h house) payout.ID { return h.failed(payout.ReasonInsufficientFunds) },
	payout.StepRelease:  func(h house) payout.ID { return h.failed(payout.ReasonInvalidIBAN) },
	payout.StepFreeze:   func(h house) payout.ID { return h.failed(payout.ReasonBlocked) },
	payout.StepReturn:   func(h house) payout.ID { return h.failed(payout.ReasonReturned) },
	payout.StepPark: func(h house) payout.ID {
		id := h.accepted(1000)
		h.answered(h.sent(id), payout.Created{Answer: payout.AnswerUnknown, KeyReused: true})
		h.forbidden(id, payout.StepPark)
		return id
	},
	payout.StepDone: func(h house) payout.ID {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "executed", "")
		return id
	},
}

// failed is a payout whose first attempt failed for reason.
func (h house) failed(reason payout.Reason) payout.ID {
	h.Helper()
	id := h.accepted(1000)
	h.created(id)
	h.heard(id, 1, "failed", reason)
	return id
}

var stepping = group{
	"a step that is not next changes nothing": func(h house) {
		for _, next := range payout.Steps() {
			place, ok := places[next]
			if !ok {
				h.Fatalf("no row here has %s as its next step", next)
			}
			id := place(h)
			before := h.payout(id)
			if before.Step != next {
				h.Fatalf("the next step is %s, want %s", before.Step, next)
			}
			for step, call := range calls {
				if step == next {
					continue
				}
				p, err := call(h, id)
				h.must(err)
				if p.Step != next || p.Status != before.Status {
					h.Fatalf("%s while %s is next: position %+v", step, next, p)
				}
			}
			if next != payout.StepCreate {
				h.forbidden(id, next)
			}
			after := h.payout(id)
			if story(after) != story(before) || after.Version != before.Version || after.MoneyAt != before.MoneyAt || !after.UpdatedAt.Equal(before.UpdatedAt) {
				h.Fatalf("%s: before\n%safter\n%s", next, story(before), story(after))
			}
		}
	},
	"a step repeats": func(h house) {
		for _, step := range []payout.Step{payout.StepRelease, payout.StepFreeze, payout.StepReturn, payout.StepPark} {
			id := places[step](h)
			first := h.stepped(calls[step](h, id))
			row := h.payout(id)
			for range 3 {
				if again := h.stepped(calls[step](h, id)); again != first {
					h.Fatalf("%s again: %+v, want %+v", step, again, first)
				}
			}
			if now := h.payout(id); story(now) != story(row) || now.Version != row.Version {
				h.Fatalf("%s again: %+v, want %+v", step, now, row)
			}
		}
	},
	"a step taken by many at once is taken once": func(h house) {
		for step, want := range map[payout.Step]string{payout.StepRelease: "reserve release", payout.StepFreeze: "reserve freeze", payout.StepReturn: "reserve settle return", payout.StepPark: "reserve"} {
			id := places[step](h)
			var wait sync.WaitGroup
			errs := make(chan error, 12)
			for range cap(errs) {
				wait.Go(func() {
					_, err := calls[step](h, id)
					errs <- err
				})
			}
			wait.Wait()
			for range cap(errs) {
				h.must(<-errs)
			}
			h.books(id, want)
		}
	},
	"nothing is given back while a send is on its way": func(h house) {
		for reason, step := range map[payout.Reason]payout.Step{payout.ReasonInvalidIBAN: payout.StepRelease, payout.ReasonBlocked: payout.StepFreeze} {
			id := h.accepted(1000)
			answered, open := h.sent(id), h.sent(id)
			h.answered(answered, there(theirs(id, 1)))
			h.heard(id, 1, "failed", reason)
			_, err := calls[step](h, id)
			var flight *payout.InFlight
			if !errors.As(err, &flight) || !flight.Until.Equal(open.Deadline) {
				h.Fatalf("%s: %v; want *payout.InFlight until %s", step, err, open.Deadline)
			}
			h.stands(id, payout.StatusPending, payout.MoneyHeld, step)
			h.answered(open, there(theirs(id, 1)))
			h.stepped(calls[step](h, id))
			h.Clock.Advance(time.Hour)
		}
	},
	"a send that was never answered is over after its deadline": func(h house) {
		id := h.accepted(1000)
		answered := h.sent(id)
		h.sent(id)
		h.answered(answered, there(theirs(id, 1)))
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.Clock.Advance(timing.SendFor)
		h.stepped(h.Release(h.ctx, id))
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
	},
	"no attempt before the rest is over": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		p := h.payout(id)
		rest := p.NextStepAt.Sub(h.Clock.Now())
		if p.Status != payout.StatusPending || rest < 10*time.Minute || rest > 30*time.Minute {
			h.Fatalf("rests %s as %+v", rest, p)
		}
		h.Clock.Advance(rest - time.Microsecond)
		if p := h.triedAgain(id); p.Step != payout.StepTryAgain || p.Wait <= 0 || p.Attempt != 1 {
			h.Fatalf("position is %+v", p)
		}
		h.Clock.Advance(time.Microsecond)
		p2 := h.triedAgain(id)
		if p2.Step != payout.StepCreate || p2.Attempt != 2 || p2.Status != payout.StatusPending {
			h.Fatalf("position is %+v", p2)
		}
		row := h.payout(id)
		if len(row.Attempts) != 2 || row.Attempts[1].IdempotencyKey != payout.Key(id, 2) || row.Attempts[0].IdempotencyKey == row.Attempts[1].IdempotencyKey || row.ProviderPayoutID != "" || row.Reason != "" {
			h.Fatalf("the row is %+v", row)
		}
		s := h.sent(id)
		if s.Attempt != 2 || s.Number != 1 || s.Key != payout.Key(id, 2) {
			h.Fatalf("the send is %+v", s)
		}
		h.owes(0, 1000, 0)
	},
	"an attempt begins once, by however many": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		words := []payout.Asked{h.word(id, 1, "failed", payout.ReasonSchemeError)}
		var wait sync.WaitGroup
		errs := make(chan error, 12)
		for range cap(errs) {
			wait.Go(func() {
				_, err := h.TryAgain(h.ctx, id, words)
				errs <- err
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		if row := h.payout(id); len(row.Attempts) != 2 {
			h.Fatalf("attempts are %+v", row.Attempts)
		}
	},
	"only one attempt is alive": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		h.triedAgain(id)
		alive := "SELECT COUNT(*) FROM attempts WHERE closed_at IS NULL AND payout_id = '" + string(id) + "'"
		if n := h.count(alive); n != 1 {
			h.Fatalf("%d attempts are alive", n)
		}
		if _, err := h.Rows.Exec("UPDATE attempts SET closed_at = NULL WHERE payout_id = '" + string(id) + "'"); err == nil {
			h.Fatal("a closed attempt was opened again")
		}
	},
	"no attempt without asking about all earlier ones": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		if _, err := h.TryAgain(h.ctx, id, nil); err == nil {
			h.Fatal("an attempt began, and the one before was not asked about")
		}
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepTryAgain)
		h.triedAgain(id)
		h.created(id)
		h.heard(id, 2, "failed", payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		asks, err := h.Earlier(h.ctx, id)
		h.must(err)
		if len(asks) != 2 {
			h.Fatalf("asks %+v", asks)
		}
		if _, err := h.TryAgain(h.ctx, id, []payout.Asked{h.word(id, 2, "failed", payout.ReasonSchemeError)}); err == nil {
			h.Fatal("an attempt began, and the first was not asked about")
		}
	},
	"any earlier attempt that is not failed parks": func(h house) {
		for _, status := range []string{"executed", "authorized", "pending", "new_word"} {
			id := h.failed(payout.ReasonSchemeError)
			h.Clock.Advance(time.Hour)
			h.stepped(h.TryAgain(h.ctx, id, []payout.Asked{h.word(id, 1, status, "")}))
			if row := h.payout(id); len(row.Attempts) != 1 {
				h.Fatalf("%s: attempts are %+v", status, row.Attempts)
			}
			h.parkedBy(id, payout.CaseContradiction)
			h.forbidden(id, payout.StepWait)
			// It polls on, with a pause, while the doubt stands.
			h.Clock.Advance(2 * timing.PollMax)
			if p := h.heard(id, 1, "authorized", ""); p.Status != payout.StatusParked || p.Wait < timing.PollFirst {
				h.Fatalf("%s, then authorized: position %+v", status, p)
			}
			// Failed after all lifts it, unless it was paid.
			h.Clock.Advance(2 * timing.PollMax)
			p := h.heard(id, 1, "failed", payout.ReasonSchemeError)
			if paid := status == "executed"; paid != (p.Status == payout.StatusParked) || paid == (p.Step == payout.StepTryAgain) || p.Wait < timing.PollFirst {
				h.Fatalf("%s, then failed: position %+v", status, p)
			}
			h.books(id, "reserve")
		}
	},
	"an earlier attempt that is another payout parks": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		w := h.word(id, 1, "failed", payout.ReasonSchemeError)
		w.Word.Money.Minor++
		h.stepped(h.TryAgain(h.ctx, id, []payout.Asked{w}))
		if row := h.payout(id); len(row.Attempts) != 1 || row.Step != payout.StepPark {
			h.Fatalf("the row is %+v", row)
		}
	},
	"a refused attempt has nothing to be asked about": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), refusal(payout.ReasonServerError))
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepTryAgain)
		h.Clock.Advance(time.Hour)
		if p := h.triedAgain(id); p.Step != payout.StepCreate || p.Attempt != 2 {
			h.Fatalf("position is %+v", p)
		}
	},
	"a money move names the word that caused it": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		old := h.word(id, 1, "pending", "")
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.asked(id, old) // kept as evidence later, of something else
		h.stepped(h.Release(h.ctx, id))
		if n := h.count("SELECT COUNT(*) FROM transactions t JOIN evidence e ON e.id = t.evidence_id WHERE t.kind = 'release' AND e.provider_status = 'failed'"); n != 1 {
			h.Fatal("the release names other evidence")
		}
	},
}

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
		for _, reason := range []payout.Reason{payout.ReasonReturned, payout.ReasonUnknown, payout.ReasonBlocked} {
			id := h.accepted(1000)
			h.created(id)
			h.heard(id, 1, "executed", "")
			p := h.heard(id, 1, "failed", reason)
			if p.Step != payout.StepReturn || p.Status != payout.StatusExecuted {
				h.Fatalf("position is %+v", p)
			}
			h.heard(id, 1, "failed", reason)
			h.stepped(h.Return(h.ctx, id))
			h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
			h.heard(id, 1, "failed", reason)
			h.stepped(h.Return(h.ctx, id))
			h.books(id, "reserve settle return")
			h.asks(id)
		}
		h.owes(3000, 0, 0)
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

// Run is a case within a case, on the same books.
func (h house) Run(name string, run func(house)) {
	h.Helper()
	h.t.Run(name, func(t *testing.T) {
		inner := h
		inner.TB, inner.t, inner.ctx = t, t, t.Context()
		run(inner)
		inner.Lawful(t)
	})
}
