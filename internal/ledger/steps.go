package ledger

import (
	"context"
	"errors"
	"fmt"

	"payouts/internal/payout"
)

// step runs fn when the row's next step is want; otherwise the row's position
// is the answer. That is how every compensation repeats the check of the one
// that judged: a run that lags finds another step there.
func (l *Ledger) step(ctx context.Context, id payout.ID, want payout.Step, fn func(*row) error) (p payout.Position, err error) {
	err = l.inTx(ctx, string(want), func(t tx) error {
		r, err := l.lock(ctx, t, id)
		if err != nil {
			return err
		}
		if r.step != want {
			p, err = r.position(ctx)
			return err
		}
		if want != payout.StepPark { // parking moves nothing; all else waits until the news is read
			if n, err := r.unapplied(ctx); err != nil || n > 0 {
				p, err = r.askFirst(ctx, err)
				return err
			}
		}
		if err := fn(r); err != nil {
			return err
		}
		p, err = r.save(ctx)
		return err
	})
	return p, err
}

// Earlier lists all attempts that have an id at the provider: they are read
// once more before another attempt begins.
//
//	Errors: *payout.Braked while the provider does not let us in
func (l *Ledger) Earlier(ctx context.Context, id payout.ID) (asks []payout.Ask, err error) {
	err = l.inTx(ctx, "earlier", func(t tx) error {
		asks = nil
		r, err := l.lock(ctx, t, id)
		if err != nil {
			return err
		}
		if _, err := l.mayAsk(ctx, t); err != nil {
			return err
		}
		attempts, err := r.attempts(ctx)
		for _, a := range attempts {
			if a.providerID != "" {
				asks = append(asks, r.ask(a.number, a.providerID))
			}
		}
		if err == nil {
			asks, err = r.askDoubles(ctx, asks, nil)
		}
		return err
	})
	return asks, err
}

// TryAgain begins the next attempt, when the rest is over and every earlier
// attempt is failed in words asked just now; any that is not parks the payout.
//
//	Repeats: safe; the attempt begins once
func (l *Ledger) TryAgain(ctx context.Context, id payout.ID, words []payout.Asked) (payout.Position, error) {
	return l.step(ctx, id, payout.StepTryAgain, func(r *row) error {
		if r.nextStepAt.After(r.t.now) {
			return nil // still resting
		}
		attempts, err := r.attempts(ctx)
		if err != nil {
			return err
		}
		if len(words) > 0 {
			if err := l.letIn(ctx, r.t); err != nil {
				return err
			}
		}
		said := map[int]payout.Word{}
		for _, word := range words {
			if word.ProviderID == "" || word.ProviderID == attempts[word.Attempt-1].providerID {
				said[word.Attempt] = word.Word
			}
		}
		for _, a := range attempts {
			if a.providerID == "" {
				if !a.closed {
					return fmt.Errorf("attempt %d is open while the next one is to begin", a.number)
				}
				continue // refused: never created
			}
			w, asked := said[a.number]
			switch overdue := r.t.now.Sub(r.nextStepAt) > earlierFresh; {
			case !asked && overdue:
				return r.doubt(ctx, payout.CaseContradiction, "", fmt.Sprintf("attempt %d failed and cannot be found at the provider any more; no further attempt is made", a.number))
			case !asked:
				return fmt.Errorf("attempt %d is not visible at the provider; it is asked about again", a.number)
			}
			if w.AskedAt.Before(a.askedAt) {
				return fmt.Errorf("attempt %d was asked about before what is known of it; ask again", a.number)
			}
			if payout.ReadVerdict(w.Status) == payout.VerdictFailed && r.differs(a, w) == "" {
				a.askedAt = w.AskedAt
				if a.number == r.attempt && w.Reason == payout.ReasonBlocked && a.reason != w.Reason {
					return r.stoppedResting(ctx, a, w)
				}
				if err := r.saveAttempt(ctx, a); err != nil {
					return err
				}
				continue
			}
			evidenceID, err := r.evidence(ctx, a, "get", w)
			if err != nil {
				return err
			}
			if payout.ReadVerdict(w.Status) == payout.VerdictExecuted && r.differs(a, w) == "" {
				a.askedAt = w.AskedAt
				if err := r.executedLate(ctx, &a, w, evidenceID); err != nil {
					return err
				}
				return r.saveAttempt(ctx, a)
			}
			return r.doubt(ctx, payout.CaseContradiction, evidenceID,
				fmt.Sprintf("attempt %d failed and is now %s at the provider; no further attempt is made", a.number, w.Status))
		}
		if beside, err := r.beside(ctx, r.attempt); err != nil {
			return err
		} else if beside != "" {
			return r.doubt(ctx, payout.CaseContradiction, "", beside+"; no further attempt is made")
		}
		r.attempt++
		if err := r.begin(ctx, r.attempt); err != nil {
			return err
		}
		r.status, r.providerStatus, r.reason = payout.StatusPending, "", ""
		r.next(payout.StepCreate, 0)
		return r.note(ctx, "", "attempt %d begins", r.attempt)
	})
}

// stoppedResting: what rests before its next attempt is now called blocked.
func (r *row) stoppedResting(ctx context.Context, a attempt, w payout.Word) error {
	evidenceID, err := r.evidence(ctx, a, "get", w)
	if err != nil {
		return err
	}
	a.reason = w.Reason
	if err := r.failedAttempt(ctx, a, evidenceID, "failed at the provider: "+string(w.Reason)); err != nil {
		return err
	}
	return r.saveAttempt(ctx, a)
}

// lost checks that the latest attempt ended without paying, that no other one
// paid, and that nothing of the payout is on its way, and answers with it.
func (r *row) lost(ctx context.Context) (attempt, error) {
	a, err := r.attemptNumber(ctx, r.attempt)
	if err != nil {
		return a, err
	}
	if !a.closed || (a.status != attemptFailed && a.status != attemptRefused) {
		return a, fmt.Errorf("attempt %d is %s: only a failed or refused one gives the money back", a.number, a.status)
	}
	if beside, err := r.beside(ctx, a.number); err != nil || beside != "" {
		if err == nil {
			err = errors.New(beside + ": the money is not given back")
		}
		return a, err
	}
	s, err := r.sent(ctx, a.number)
	if err == nil && s.inFlight.After(r.t.now) {
		err = &payout.InFlight{Until: s.inFlight}
	}
	return a, err
}

// Release credits the player back: held → available.
//
//	Repeats: safe; the outcome slot is filled once
//	Errors:  *payout.InFlight while a send has no answer
func (l *Ledger) Release(ctx context.Context, id payout.ID) (payout.Position, error) {
	return l.giveUp(ctx, id, payout.StepRelease, KindRelease, "available", payout.MoneyReleased, "credited back to the player")
}

// Freeze sets the money aside where no machine spends it, and opens a case.
//
//	Repeats: safe; the outcome slot is filled once
//	Errors:  *payout.InFlight while a send has no answer
func (l *Ledger) Freeze(ctx context.Context, id payout.ID) (payout.Position, error) {
	return l.giveUp(ctx, id, payout.StepFreeze, KindFreeze, "frozen", payout.MoneyFrozen, "frozen for a regulatory reason")
}

func (l *Ledger) giveUp(ctx context.Context, id payout.ID, step payout.Step, kind TransactionKind, to string, at payout.MoneyAt, what string) (payout.Position, error) {
	return l.step(ctx, id, step, func(r *row) error {
		a, err := r.lost(ctx)
		if err != nil {
			return err
		}
		evidenceID, err := r.evidenceOf(ctx, a.number, payout.ProviderFailed, evidenceRefused)
		if err != nil {
			return err
		}
		if err := r.t.book(ctx, entry{kind: kind, payoutID: r.id, attempt: a.number, slot: "outcome", evidence: evidenceID, money: r.money,
			from: playerAccount(r.player, "held"), to: playerAccount(r.player, to)}); err != nil {
			return err
		}
		if err := r.shift(ctx, "held", to); err != nil {
			return err
		}
		r.moneyAt = at
		if err := r.mustBecome(payout.StatusFailed); err != nil {
			return err
		}
		r.next(payout.StepDone, 0)
		if err := r.note(ctx, evidenceID, "failed: %s; %s %s", r.reason, r.money, what); err != nil {
			return err
		}
		if err := r.late(ctx, true); err != nil {
			return err
		}
		if err := r.closeCases(ctx, payout.CaseSlow); err != nil {
			return err
		}
		if kind == KindFreeze {
			err = r.openCase(ctx, payout.CaseBlocked, "stopped by the provider for a regulatory reason; the money is frozen until compliance decides")
		}
		return err
	})
}

// evidenceOf finds the newest evidence that says one of two words of an
// attempt: what a money move names as its cause.
func (r *row) evidenceOf(ctx context.Context, attempt int, word, orWord string) (string, error) {
	var id string
	err := r.t.row(ctx, "SELECT id FROM evidence WHERE payout_id = ? AND attempt = ? AND provider_status IN (?, ?) ORDER BY stored_at DESC, id DESC LIMIT 1",
		string(r.id), attempt, word, orWord).Scan(&id)
	if err != nil {
		return "", fmt.Errorf("evidence that attempt %d is %s: %w", attempt, word, err)
	}
	return id, nil
}

// Return books that the bank sent the money back: merchant → available, or →
// frozen while a blocked case of the payout is open. What was never seen
// executed is settled first, so that the books show both movements.
//
//	Repeats: safe; the return slot is filled once
func (l *Ledger) Return(ctx context.Context, id payout.ID) (payout.Position, error) {
	return l.step(ctx, id, payout.StepReturn, func(r *row) error {
		number, err := r.paidBy(ctx)
		if err != nil {
			return err
		}
		a, err := r.attemptNumber(ctx, number)
		if err != nil {
			return err
		}
		evidenceID, err := r.evidenceOf(ctx, a.number, payout.ProviderFailed, evidenceRefused)
		if err != nil {
			return err
		}
		if beside, err := r.beside(ctx, a.number); err != nil {
			return err
		} else if beside != "" {
			r.next(payout.StepDone, 0)
			if err := r.doubt(ctx, payout.CaseContradiction, evidenceID, "sent back by the bank, but "+beside+": nothing is credited by machine"); err != nil {
				return err
			}
			return r.late(ctx, false)
		}
		if r.moneyAt == payout.MoneyHeld {
			if err := r.t.book(ctx, entry{kind: KindSettle, payoutID: r.id, attempt: a.number, slot: "outcome", evidence: evidenceID, money: r.money,
				from: playerAccount(r.player, "held"), to: merchantAccount(r.merchant)}); err != nil {
				return err
			}
			if err := r.shift(ctx, "held", ""); err != nil {
				return err
			}
		}
		return r.giveBack(ctx, a, evidenceID)
	})
}

// paidBy is the attempt that was settled; the latest while none is.
func (r *row) paidBy(ctx context.Context) (number int, err error) {
	err = r.t.row(ctx, "SELECT COALESCE(MAX(attempt), 0) FROM transactions WHERE payout_id = ? AND kind = ?", string(r.id), string(KindSettle)).Scan(&number)
	if number == 0 {
		number = r.attempt
	}
	return number, err
}

// giveBack books that the bank sent back what was settled.
func (r *row) giveBack(ctx context.Context, a attempt, evidenceID string) error {
	var blocked int
	if err := r.t.row(ctx, "SELECT COUNT(*) FROM cases WHERE payout_id = ? AND kind = ? AND status = 'open'", string(r.id), string(payout.CaseBlocked)).Scan(&blocked); err != nil {
		return err
	}
	to, at, what := "available", payout.MoneyReturned, "credited back to the player"
	if blocked > 0 {
		to, at, what = "frozen", payout.MoneyFrozen, "frozen"
	}
	if err := r.t.book(ctx, entry{kind: KindReturn, payoutID: r.id, attempt: a.number, slot: "return", evidence: evidenceID, money: r.money,
		from: merchantAccount(r.merchant), to: playerAccount(r.player, to)}); err != nil {
		return err
	}
	if err := r.shift(ctx, "", to); err != nil {
		return err
	}
	if err := r.mustBecome(payout.StatusReturned); err != nil {
		return err
	}
	r.moneyAt, r.claimed = at, ""
	r.next(payout.StepDone, 0)
	if err := r.note(ctx, evidenceID, "returned by the bank; %s %s", r.money, what); err != nil {
		return err
	}
	if err := r.late(ctx, true); err != nil {
		return err
	}
	return r.closeCases(ctx, payout.CaseReturnUnconfirmed, payout.CaseSlow)
}

// OpenCase parks the payout: a case for a person, the money stays held.
//
//	Repeats: safe; one open case of a kind per payout
func (l *Ledger) OpenCase(ctx context.Context, id payout.ID) (payout.Position, error) {
	return l.step(ctx, id, payout.StepPark, func(r *row) error {
		if err := r.openCase(ctx, r.parkKind, r.parkWhy); err != nil {
			return err
		}
		if err := r.mustBecome(payout.StatusParked); err != nil {
			return err
		}
		if err := r.closeCases(ctx, payout.CaseSlow); err != nil { // somebody is asked more exactly now
			return err
		}
		why := r.parkWhy
		r.next(payout.StepWait, l.timing.PollMax)
		return r.note(ctx, "", "parked: %s", why)
	})
}

// Position is where a payout stands, without changing anything.
//
//	Errors: payout.ErrNotFound
func (l *Ledger) Position(ctx context.Context, id payout.ID) (p payout.Position, err error) {
	err = l.inTx(ctx, "position", func(t tx) error {
		r, err := l.lock(ctx, t, id)
		if err == nil {
			p, err = r.position(ctx)
		}
		return err
	})
	return p, err
}
