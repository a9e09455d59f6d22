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
		h.forbidden(id, payout.StepReconcile)
		h.looked(id)
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
		h.rested(id)
		if _, err := h.TryAgain(h.ctx, id, nil); err == nil {
			h.Fatal("an attempt began, and the one before was not asked about")
		}
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepTryAgain)
		h.triedAgain(id)
		h.created(id)
		h.heard(id, 2, "failed", payout.ReasonSchemeError)
		h.rested(id)
		asks, err := h.Earlier(h.ctx, id)
		h.must(err)
		if len(asks) != 2 {
			h.Fatalf("asks %+v", asks)
		}
		if _, err := h.TryAgain(h.ctx, id, []payout.Asked{h.word(id, 2, "failed", payout.ReasonSchemeError)}); err == nil {
			h.Fatal("an attempt began, and the first was not asked about")
		}
	},
	"an earlier attempt that stays invisible parks": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.rested(id)
		for range 15 {
			if p, err := h.TryAgain(h.ctx, id, nil); err == nil {
				h.Fatalf("position is %+v", p)
			}
			h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepTryAgain)
			h.Clock.Advance(time.Minute)
		}
		h.Clock.Advance(time.Microsecond)
		h.stepped(h.TryAgain(h.ctx, id, nil))
		if row := h.payout(id); len(row.Attempts) != 1 {
			h.Fatalf("attempts are %+v", row.Attempts)
		}
		h.parkedBy(id, payout.CaseContradiction)
		// Once it is seen again, as failed as it was, the rest goes on.
		if p := h.reconciled(id, says{theirs(id, 1): "failed scheme_error"}); p.Step != payout.StepTryAgain || p.Status != payout.StatusPending {
			h.Fatalf("position is %+v", p)
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
