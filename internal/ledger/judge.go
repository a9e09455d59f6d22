package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// Read clears the payout's unread flag and answers with what to ask the
// provider: the latest attempt, and every attempt that unapplied news is
// about. It clears before anything is asked, so that news which arrives
// during the asking wakes the run again.
func (l *Ledger) Read(ctx context.Context, id payout.ID) (asking payout.Asking, err error) {
	err = l.inTx(ctx, "read", func(t tx) error {
		asking = payout.Asking{}
		r, err := l.lock(ctx, t, id)
		if err != nil {
			return err
		}
		if _, err := t.exec(ctx, "UPDATE payouts SET unread = 0 WHERE id = ? AND unread = 1", string(id)); err != nil {
			return err
		}
		attempts, err := r.attempts(ctx)
		if err != nil {
			return err
		}
		for _, a := range attempts { // an event that was stored while its id became known has no owner yet
			if a.providerID == "" {
				continue
			}
			if err := r.ownNews(ctx, a); err != nil {
				return err
			}
		}
		named := map[int]bool{r.attempt: !r.final()}
		rows, err := t.rows(ctx, "SELECT id, attempt, provider_payout_id FROM inbox WHERE payout_id = ? AND applied_at IS NULL ORDER BY received_at", string(id))
		byProvider, names := map[string]bool{}, map[int]string{}
		if err := each(rows, err, func(rows *sql.Rows) error {
			var row, provider string
			var attempt int
			err := rows.Scan(&row, &attempt, &provider)
			asking.Inbox, named[attempt], byProvider[provider] = append(asking.Inbox, row), true, true
			if provider != "" {
				names[attempt] = provider
			}
			return err
		}); err != nil {
			return err
		}
		sending := r.step == payout.StepCreate // the earlier attempts are read before the next one is sent
		for _, a := range attempts {
			if _, err := r.learn(ctx, &a); err != nil {
				return err
			}
			if other := names[a.number]; a.providerID != "" && other != "" && other != a.providerID {
				why := fmt.Sprintf("attempt %d has two payouts at the provider: %s and, by news, %s", a.number, a.providerID, other)
				if err := r.doubled(ctx, a.number, other); err != nil {
					return err
				}
				if err := r.doubt(ctx, payout.CaseContradiction, "", why); err != nil {
					return err
				}
			}
			if a.providerID != "" && (named[a.number] || byProvider[a.providerID] || sending) {
				asking.Asks = append(asking.Asks, payout.Ask{Attempt: a.number, ProviderID: a.providerID})
			}
		}
		if asking.Asks, err = r.askDoubles(ctx, asking.Asks); err != nil {
			return err
		}
		asking.Position, err = r.save(ctx)
		return err
	})
	return asking, err
}

// askDoubles adds the further payouts of an attempt that have not ended.
func (r *row) askDoubles(ctx context.Context, asks []payout.Ask) ([]payout.Ask, error) {
	doubles, err := r.doubles(ctx)
	for _, d := range doubles {
		if d.status == doubleOpen {
			asks = append(asks, payout.Ask{Attempt: d.attempt, ProviderID: d.providerID})
		}
	}
	return asks, err
}

// Judge stores what the provider said, decides with the table of this moment
// what it means, and where it was executed settles, all in one transaction.
// by names the step, for the inbox rows it applies.
//
//	Repeats: safe; the same words again change nothing
func (l *Ledger) Judge(ctx context.Context, id payout.ID, words []payout.Asked, inbox []string, by string) (p payout.Position, err error) {
	err = l.inTx(ctx, "judge", func(t tx) error {
		r, err := l.lock(ctx, t, id)
		if err != nil {
			return err
		}
		if r.step == payout.StepReconcile { // the asking is done; the words below may decide more
			r.next(payout.StepWait, r.pause(r.created))
		}
		claims, err := r.apply(ctx, inbox, by)
		if err != nil {
			return err
		}
		for _, said := range words {
			if err := r.hear(ctx, said, claims[said.Word.ProviderID]); err != nil {
				return err
			}
		}
		if len(words) == 0 && r.step == payout.StepWait && !r.final() {
			if err := r.again(ctx); err != nil {
				return err
			}
		}
		if r.step == payout.StepWait && !r.nextStepAt.IsZero() && !r.nextStepAt.After(t.now) {
			r.next(payout.StepWait, r.pause(r.created)) // nothing above said when: not at once, again and again
		}
		p, err = r.save(ctx)
		return err
	})
	return p, err
}

// apply marks inbox rows as applied by this step and answers with the
// statuses they claim, by provider id.
func (r *row) apply(ctx context.Context, inbox []string, by string) (map[string]string, error) {
	claims := map[string]string{}
	for _, id := range inbox {
		var provider, claimed string
		err := r.t.row(ctx, "SELECT provider_payout_id, claimed_status FROM inbox WHERE id = ? AND payout_id = ? AND applied_at IS NULL", id, string(r.id)).Scan(&provider, &claimed)
		if errors.Is(err, sql.ErrNoRows) {
			continue // another run was faster
		}
		if err != nil {
			return nil, err
		}
		if claimed != "" {
			claims[provider] = claimed
		}
		if _, err := r.t.exec(ctx, "UPDATE inbox SET applied_at = ?, applied_by = ? WHERE id = ?", stored(r.t.now), by, id); err != nil {
			return nil, err
		}
	}
	if len(inbox) == 0 {
		return claims, nil
	}
	_, err := r.t.exec(ctx, "UPDATE payouts SET woken_at = NULL WHERE id = ? AND NOT EXISTS (SELECT 1 FROM inbox WHERE payout_id = ? AND applied_at IS NULL)", string(r.id), string(r.id))
	return claims, err
}

// hear judges one word. claimed is what signed news claims about it.
func (r *row) hear(ctx context.Context, said payout.Asked, claimed string) error {
	w := said.Word
	a, err := r.attemptNumber(ctx, said.Attempt)
	if err != nil {
		return err
	}
	evidenceID, err := r.evidence(ctx, a, "get", w)
	if err != nil {
		return err
	}
	if said.ProviderID != "" && said.ProviderID != a.providerID {
		return r.hearDouble(ctx, a, said, evidenceID)
	}
	if field := r.intent(a).Mismatch(w); field != "" {
		return r.doubt(ctx, payout.CaseMismatch, evidenceID, fmt.Sprintf("what the provider says about attempt %d is not what was asked for: %s differs", a.number, field))
	}
	if w.AskedAt.Before(a.askedAt) {
		return nil // asked before something we know already: kept, not believed
	}
	a.askedAt = w.AskedAt
	latest := a.number == r.attempt
	if latest {
		r.providerStatus = w.Status
	}
	switch verdict := payout.ReadVerdict(w.Status); {
	case latest && !a.closed && verdict == payout.VerdictExecuted:
		err = r.settle(ctx, &a, w, evidenceID)
	case latest && !a.closed && verdict == payout.VerdictFailed:
		a.status, a.reason, a.closed = attemptFailed, w.Reason, true
		if !w.Reason.Listed() {
			r.l.log.Warn("failure reason is not listed: drift", zap.String("payout_id", string(r.id)), zap.String("failure_reason", string(w.Reason)))
		}
		err = r.failedAttempt(ctx, a, evidenceID, "failed at the provider: "+string(w.Reason))
	case latest && !a.closed:
		err = r.undecided(ctx, a, w, claimed, evidenceID)
	case verdict == payout.VerdictExecuted && a.status != attemptExecuted:
		err = r.executedLate(ctx, &a, w, evidenceID)
	case latest && verdict == payout.VerdictFailed && a.status == attemptExecuted && r.moneyAt == payout.MoneyPaid:
		err = r.sentBack(ctx, a, evidenceID)
	case latest && verdict == payout.VerdictFailed && a.status != attemptExecuted && r.status == payout.StatusParked && r.moneyAt == payout.MoneyHeld:
		// What made us doubt that it failed is over.
		err = r.failedAttempt(ctx, a, evidenceID, "is failed at the provider after all")
	}
	if err != nil {
		return err
	}
	return r.saveAttempt(ctx, a)
}

// hearDouble judges a word about a further payout of an attempt. It never
// settles or gives back: it only keeps, or lifts, the doubt.
func (r *row) hearDouble(ctx context.Context, a attempt, said payout.Asked, evidenceID string) error {
	in := r.intent(a)
	in.ProviderID = said.ProviderID
	verdict := payout.ReadVerdict(said.Word.Status)
	if verdict == payout.VerdictWait || in.Mismatch(said.Word) != "" {
		return nil // the case is open, the money held, and it is asked about again
	}
	status := doubleFailed
	if verdict == payout.VerdictExecuted {
		status = doubleExecuted
	}
	n, err := r.t.exec(ctx, "UPDATE doubles SET status = ? WHERE provider_payout_id = ? AND status <> ?", status, said.ProviderID, status)
	if err != nil || n == 0 {
		return err
	}
	why := fmt.Sprintf("the second payout of attempt %d, %s, is %s at the provider", a.number, said.ProviderID, said.Word.Status)
	if verdict == payout.VerdictExecuted {
		kind := payout.CaseContradiction
		if r.moneyAt != payout.MoneyHeld {
			kind = payout.CaseExposure
		}
		return r.doubt(ctx, kind, evidenceID, why)
	}
	if err := r.note(ctx, evidenceID, "%s", why); err != nil {
		return err
	}
	latest, err := r.attemptNumber(ctx, r.attempt)
	if err != nil || r.status != payout.StatusParked || !latest.closed || latest.status == attemptExecuted {
		return err
	}
	// That was what kept the money: the attempt's own failure is decided now.
	failed, err := r.evidenceOf(ctx, latest.number, payout.ProviderFailed, evidenceRefused)
	if err != nil {
		return err
	}
	return r.failedAttempt(ctx, latest, failed, "is failed, and so is its second payout")
}

// sentBack says that the bank returned what was settled. Where the provider
// paid more than once, what came back may be the other payment: a person books.
func (r *row) sentBack(ctx context.Context, a attempt, evidenceID string) error {
	beside, err := r.beside(ctx, a.number)
	if err != nil {
		return err
	}
	if beside != "" {
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, fmt.Sprintf("attempt %d was sent back by the bank, but %s: nothing is credited by machine", a.number, beside))
	}
	r.reason = payout.ReasonReturned
	r.next(payout.StepReturn, 0)
	return r.note(ctx, evidenceID, "sent back by the bank after it was executed")
}

// settle books the money as paid: the one outcome slot of this payout.
func (r *row) settle(ctx context.Context, a *attempt, w payout.Word, evidenceID string) error {
	if err := r.mustBecome(payout.StatusExecuted); err != nil {
		return err
	}
	if err := r.t.book(ctx, entry{kind: KindSettle, payoutID: r.id, attempt: a.number, slot: "outcome", evidence: evidenceID, money: r.money,
		from: playerAccount(r.player, "held"), to: merchantAccount(r.merchant), at: stored(w.DecidedAt)}); err != nil {
		return err
	}
	if err := r.shift(ctx, "held", ""); err != nil {
		return err
	}
	a.status, a.closed = attemptExecuted, true
	r.moneyAt, r.reason, r.claimed = payout.MoneyPaid, "", ""
	r.next(payout.StepDone, 0)
	if err := r.note(ctx, evidenceID, "executed by the provider"); err != nil {
		return err
	}
	if err := r.note(ctx, evidenceID, "reconciled: the provider's word is what was asked for; %s settled", r.money); err != nil {
		return err
	}
	paid, err := r.paidBeside(ctx, a.number)
	if err != nil {
		return err
	}
	for _, other := range paid { // an earlier attempt paid too
		otherID, err := r.evidenceOf(ctx, other.number, payout.ProviderExecuted, payout.ProviderExecuted)
		if err != nil {
			return err
		}
		if err := r.expose(ctx, other, otherID, 0); err != nil {
			return err
		}
	}
	return r.closeAnswered(ctx)
}

// closeAnswered closes the cases that a definitive word answers. A
// contradiction is not among them: it may be about a second payout at the
// provider, which this word says nothing of.
func (r *row) closeAnswered(ctx context.Context) error {
	return r.closeCases(ctx, payout.CaseSlow, payout.CaseUnknownOutcome, payout.CaseMismatch)
}

// mustBecome is become for a move that must be possible.
func (r *row) mustBecome(next payout.Status) error {
	if r.status != next && !r.become(next) {
		return fmt.Errorf("payout %s: no arrow leads from %s to %s", r.id, r.status, next)
	}
	return nil
}

// failedAttempt asks the decision table what follows a definitive failure.
func (r *row) failedAttempt(ctx context.Context, a attempt, evidenceID, what string) error {
	r.reason, r.claimed = a.reason, ""
	beside, err := r.beside(ctx, a.number)
	if err != nil {
		return err
	}
	if beside != "" {
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, fmt.Sprintf("attempt %d %s, but %s: the money is not given back", a.number, what, beside))
	}
	step, rest := r.l.table.Failure(r.id, a.reason, a.number)
	if step == payout.StepReturn && a.status == attemptRefused {
		step = payout.StepRelease // what was never created was never paid, whatever the refusal says
	}
	r.next(step, rest)
	if step == payout.StepTryAgain || r.status == payout.StatusParked {
		// Resting is pending with a date; a parked payout is decided again.
		r.status = payout.StatusPending
	}
	if step == payout.StepTryAgain {
		what = fmt.Sprintf("%s; attempt %d follows at %s", what, a.number+1, r.nextStepAt.Format(time.RFC3339))
	}
	if err := r.note(ctx, evidenceID, "attempt %d %s", a.number, what); err != nil {
		return err
	}
	return r.closeAnswered(ctx)
}

// undecided keeps waiting: slowness is never a failure.
func (r *row) undecided(ctx context.Context, a attempt, w payout.Word, claimed, evidenceID string) error {
	if r.status == payout.StatusParked { // what a person is asked is not answered by "not yet"
		r.next(payout.StepWait, r.pause(a.createdThereAt))
		return nil
	}
	if r.step == payout.StepPark {
		return nil // nor is it forgotten before it is asked
	}
	if next := payout.StatusFor(w.Status); r.become(next) {
		if err := r.note(ctx, evidenceID, "%s at the provider", w.Status); err != nil {
			return err
		}
	} else if r.status == payout.StatusAuthorized && next == payout.StatusPending {
		r.flaps++ // TrueLayer's own retries; evidence, no event
	}
	if claimed != "" && r.claimed == "" {
		r.claimed, r.claimedAt = claimed, r.t.now
	}
	return r.again(ctx)
}

// again sets the next poll, soon while signed news claims more than the
// provider says yet, and opens a case where it takes too long. Polling goes on.
func (r *row) again(ctx context.Context) error {
	since := r.created
	a, err := r.attemptNumber(ctx, r.attempt)
	if err != nil {
		return err
	}
	if a.createdThereAt.After(since) {
		since = a.createdThereAt
	}
	if a.providerID == "" {
		r.next(payout.StepWait, r.l.timing.PollMax) // nothing to ask about: only news helps, or a late answer
		return nil
	}
	r.next(payout.StepWait, r.pause(since))
	kind, why := payout.CaseSlow, fmt.Sprintf("undecided at the provider for more than %s (its status: %s); polling goes on", r.l.timing.StuckAfter, r.providerStatus)
	if r.claimed != "" {
		soon := max(r.t.now.Sub(r.claimedAt)/2, time.Second)
		r.next(payout.StepWait, min(soon, r.pause(since)))
		since = r.claimedAt
		kind, why = payout.CaseContradiction, fmt.Sprintf("signed news claims %s, the provider says %s for more than %s; polling goes on", r.claimed, r.providerStatus, r.l.timing.StuckAfter)
	}
	if r.t.now.Sub(since) > r.l.timing.StuckAfter {
		return r.openCase(ctx, kind, why)
	}
	return nil
}

// pause is how long to wait before asking about something that is undecided
// since then.
func (r *row) pause(since time.Time) time.Duration { return r.l.timing.PollAfter(r.t.now.Sub(since)) }

// doubt opens a case and parks the payout. Where its money is held no more,
// parking is over and the case stands alone.
func (r *row) doubt(ctx context.Context, kind payout.CaseKind, evidenceID, why string) error {
	// At once, not by the step: a word that decides may come before it.
	if err := r.openCase(ctx, kind, why); err != nil {
		return err
	}
	switch {
	case r.status == payout.StatusParked:
		r.next(payout.StepWait, r.pause(r.created))
		return nil
	case r.step == payout.StepPark:
		return nil
	case r.moneyAt == payout.MoneyHeld:
		r.park(kind, why)
	}
	return r.note(ctx, evidenceID, "%s", why)
}

// executedLate is the worst word: an attempt that was closed as failed turns
// out to be paid. While the hold stands, a person decides. Once the money went
// elsewhere the house is exposed.
func (r *row) executedLate(ctx context.Context, a *attempt, w payout.Word, evidenceID string) error {
	why := fmt.Sprintf("attempt %d was %s and is now executed at the provider (%s)", a.number, a.status, a.providerID)
	a.status = attemptExecuted // remembered, for whatever ends the payout
	var settled int
	if err := r.t.row(ctx, "SELECT COUNT(*) FROM transactions WHERE payout_id = ? AND kind = ? AND attempt = ?", string(r.id), string(KindSettle), a.number).Scan(&settled); err != nil {
		return err
	}
	if r.moneyAt == payout.MoneyHeld || settled > 0 {
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, why)
	}
	return r.expose(ctx, *a, evidenceID, stored(w.DecidedAt))
}

// expose books that the house paid for an attempt whose money went elsewhere:
// once per attempt, never taken back from the player by a machine. at is the
// provider's moment in micros, 0 for now.
func (r *row) expose(ctx context.Context, a attempt, evidenceID string, at int64) error {
	slot := fmt.Sprintf("exposure/%d", a.number)
	var booked int
	if err := r.t.row(ctx, "SELECT COUNT(*) FROM transactions WHERE payout_id = ? AND slot = ?", string(r.id), slot).Scan(&booked); err != nil || booked > 0 {
		return err
	}
	if err := r.t.book(ctx, entry{kind: KindExpose, payoutID: r.id, attempt: a.number, slot: slot, evidence: evidenceID, money: r.money,
		from: houseExposure, to: merchantAccount(r.merchant), at: at}); err != nil {
		return err
	}
	why := fmt.Sprintf("attempt %d was executed at the provider (%s) although the money is %s; booked as exposure", a.number, a.providerID, r.moneyAt)
	if err := r.note(ctx, evidenceID, "%s", why); err != nil {
		return err
	}
	return r.openCase(ctx, payout.CaseExposure, why)
}
