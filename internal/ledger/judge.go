package ledger

import (
	"context"
	"fmt"
	"slices"
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
		t.ahead(theBrake, brakeName)
		var late []int
		named, byProvider, names := map[int]bool{}, map[string]bool{}, map[int][]string{}
		news := question{"SELECT id, attempt, provider_payout_id FROM inbox WHERE payout_id = ? AND applied_at IS NULL ORDER BY received_at", []any{string(id)}, func(from scanned) error {
			var row, provider string
			var attempt int
			err := from.Scan(&row, &attempt, &provider)
			asking.Inbox, named[attempt], byProvider[provider] = append(asking.Inbox, row), true, true
			if provider != "" && !slices.Contains(names[attempt], provider) {
				names[attempt] = append(names[attempt], provider)
			}
			return err
		}}
		r, err := l.lock(ctx, t, id, news, question{lateNews, []any{string(id)}, func(from scanned) error {
			var number int
			err := from.Scan(&number)
			late = append(late, number)
			return err
		}})
		if err != nil {
			return err
		}
		r.also = read
		attempts, err := r.attempts(ctx)
		if err != nil {
			return err
		}
		if len(late) > 0 { // which is rare: the news is listed again
			for _, a := range attempts {
				if !slices.Contains(late, a.number) {
					continue
				}
				if err := r.ownNews(ctx, a); err != nil {
					return err
				}
			}
			asking.Inbox = nil
			if err := t.ask(ctx, news); err != nil {
				return err
			}
		}
		named[r.attempt] = named[r.attempt] || !r.final()
		// The earlier attempts are read before the next one is sent, and all of them
		// while something is claimed of a closed payout that nobody confirms.
		all := r.step == payout.StepCreate || r.status.Final() && r.claimed != ""
		for _, a := range attempts {
			if _, err := r.learn(ctx, &a); err != nil {
				return err
			}
			for _, other := range names[a.number] {
				if a.providerID == "" || other == a.providerID {
					continue
				}
				why := fmt.Sprintf("attempt %d has two payouts at the provider: %s and, by news, %s", a.number, a.providerID, other)
				if err := r.doubled(ctx, a.number, other); err != nil {
					return err
				}
				if err := r.doubt(ctx, payout.CaseContradiction, "", why); err != nil {
					return err
				}
			}
			if a.providerID != "" && (named[a.number] || byProvider[a.providerID] || all) {
				asking.Asks = append(asking.Asks, r.ask(a.number, a.providerID))
			}
		}
		if asking.Asks, err = r.askDoubles(ctx, asking.Asks, byProvider); err != nil {
			return err
		}
		approved, err := r.approved(ctx)
		if err != nil {
			return err
		}
		if asking.Look, err = r.toLook(ctx, approved); err != nil {
			return err
		}
		for _, decision := range approved {
			asking.Approved = append(asking.Approved, decision.name())
			if id := decision.ProviderPayoutID; id != "" && !slices.ContainsFunc(asking.Asks, func(a payout.Ask) bool { return a.ProviderID == id }) {
				ask := r.ask(r.attempt, id)
				ask.Proposed = true
				asking.Asks = append(asking.Asks, ask)
			}
		}
		if len(asking.Asks) > 0 || asking.Look != nil {
			if asking.Doubted, err = l.mayAsk(ctx, t); err != nil {
				return err
			}
		}
		asking.Position, err = r.save(ctx)
		return err
	})
	return asking, err
}

// lateNews finds the attempts with events that have no owner yet, since they were
// stored while the id became known. It counts for one attempt after the other, so
// that both databases look the id up: joined, SQLite reads all that has no owner,
// and so has every pay-in.
const lateNews = `SELECT number FROM attempts WHERE payout_id = ?
	AND (SELECT COUNT(*) FROM inbox WHERE inbox.provider_payout_id = attempts.provider_payout_id AND inbox.payout_id IS NULL) > 0`

// askDoubles adds the further payouts of an attempt that have not ended, or
// that news is about.
func (r *row) askDoubles(ctx context.Context, asks []payout.Ask, news map[string]bool) ([]payout.Ask, error) {
	doubles, err := r.doubles(ctx)
	for _, d := range doubles {
		if d.status == doubleOpen || news[d.providerID] {
			asks = append(asks, r.ask(d.attempt, d.providerID))
		}
	}
	return asks, err
}

func (r *row) ask(attempt int, providerID string) payout.Ask {
	return payout.Ask{Attempt: attempt, ProviderID: providerID, Kind: r.kind, PaymentID: r.payment}
}

// Judge stores what the provider said, decides with the table of this moment
// what it means, settles what was executed, and carries out what two people
// approved, all in one transaction.
//
//	Repeats: safe; the same words again change nothing
func (l *Ledger) Judge(ctx context.Context, id payout.ID, heard payout.Heard) (p payout.Position, err error) {
	err = l.inTx(ctx, "judge", func(t tx) error {
		claims := map[string]string{}
		r := &row{t: t, l: l}
		more := t.apply(id, heard, claims)
		if len(more) > 0 { // else it is seen whether there are any claims
			more = append(more, r.itsClaims(id))
		}
		if err := r.lock(ctx, id, more...); err != nil {
			return err
		}
		r.holds.read = r.holds.read || len(heard.Inbox) > 0
		parking := ""
		if r.unknownOutcome() {
			parking = r.parkWhy
		}
		if r.step == payout.StepReconcile && (parking == "" || heard.Looked != nil) { // the asking is done; what was heard may decide more
			r.next(payout.StepWait, r.pause(r.created))
		}
		if err := r.judge(ctx, heard, claims, parking); err != nil {
			return err
		}
		if heard.Doubted && (len(heard.Words) > 0 || heard.Looked != nil) {
			if err := l.letIn(ctx, t); err != nil {
				return err
			}
		}
		p, err = r.save(ctx)
		return err
	})
	return p, err
}

// judge takes in what was heard: words, the statement, what people approved,
// and what news claims beyond all that, by provider id. parking is why the payout
// parks where the statement shows nothing.
func (r *row) judge(ctx context.Context, heard payout.Heard, claims map[string]string, parking string) error {
	approved, err := r.approved(ctx)
	if err != nil {
		return err
	}
	asked, err := r.asked(ctx, approved)
	if err != nil {
		return err
	}
	for _, said := range heard.Words {
		if proposed(approved, said) {
			continue // a person's id is not believed before it is compared
		}
		if err := r.hear(ctx, said, claims[said.Word.ProviderID]); err != nil {
			return err
		}
	}
	if heard.Looked != nil {
		if err := r.looked(ctx, *heard.Looked, parking); err != nil {
			return err
		}
	}
	for _, decision := range approved {
		if r.unknownOutcome() {
			break // it is not settled yet what is asked
		}
		if err := r.carryOut(ctx, asked[decision.CaseID], decision, heard); err != nil {
			return err
		}
	}
	if r.status.Final() {
		if err := r.late(ctx, !r.was.Final()); err != nil {
			return err
		}
	}
	if len(heard.Words) == 0 && r.step == payout.StepWait && !r.status.Final() {
		if err := r.again(ctx); err != nil {
			return err
		}
	}
	if r.step == payout.StepWait && !r.nextStepAt.IsZero() && !r.nextStepAt.After(r.t.now) {
		r.next(payout.StepWait, r.pause(r.created)) // nothing above said when: not at once, again and again
	}
	if len(heard.Inbox) > 0 || len(approved) > 0 {
		r.also = applied
	}
	return nil
}

// apply marks the news that was read as applied by this step, but for what
// another run was faster with, and takes the statuses that it claims into claims.
func (t tx) apply(id payout.ID, heard payout.Heard, claims map[string]string) (marks []question) {
	for _, news := range heard.Inbox {
		marks = append(marks, question{"UPDATE inbox SET applied_at = ?, applied_by = ? WHERE id = ? AND payout_id = ? AND applied_at IS NULL RETURNING provider_payout_id, claimed_status",
			[]any{stored(t.now), heard.By, news, string(id)}, func(from scanned) error {
				var provider, claimed string
				err := from.Scan(&provider, &claimed)
				if claimed != "" {
					claims[provider] = claimed
				}
				return err
			}})
	}
	return marks
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
	if field := r.differs(a, w); field != "" {
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
	decides := latest && !a.closed && r.moneyAt == payout.MoneyHeld // people may have settled an earlier attempt
	switch verdict := payout.ReadVerdict(w.Status); {
	case decides && verdict == payout.VerdictExecuted:
		err = r.settle(ctx, &a, w, evidenceID)
	case decides && verdict == payout.VerdictFailed:
		a.status, a.reason, a.closed = attemptFailed, w.Reason, true
		if !w.Reason.Listed() {
			if err := r.drift(ctx, "failure_reason", string(w.Reason)); err != nil {
				return err
			}
		}
		err = r.failedAttempt(ctx, a, evidenceID, "failed at the provider: "+string(w.Reason))
	case decides:
		err = r.undecided(ctx, a, w, claimed, evidenceID)
	case !a.closed && verdict == payout.VerdictFailed:
		a.status, a.reason, a.closed = attemptFailed, w.Reason, true
		err = r.note(ctx, evidenceID, "attempt %d failed at the provider: %s", a.number, w.Reason)
	case verdict == payout.VerdictExecuted && a.status != attemptExecuted:
		err = r.executedLate(ctx, &a, w, evidenceID)
	case verdict == payout.VerdictFailed && a.status == attemptExecuted && r.moneyAt != payout.MoneyHeld:
		err = r.sentBack(ctx, a, w.Reason, evidenceID)
	case verdict == payout.VerdictExecuted && r.status == payout.StatusFailed:
		err = r.exposedAgain(ctx, a, evidenceID)
	case verdict == payout.VerdictExecuted && r.status == payout.StatusReturned:
		err = r.paidAgain(ctx, a, evidenceID)
	case verdict == payout.VerdictFailed && a.status == attemptFailed && w.Reason == payout.ReasonBlocked && a.reason != w.Reason:
		a.reason = w.Reason
		switch {
		case latest && r.moneyAt == payout.MoneyHeld: // it is decided again
			err = r.failedAttempt(ctx, a, evidenceID, "failed at the provider: "+string(w.Reason))
		case r.moneyAt == payout.MoneyReleased:
			err = r.spendable(ctx, a, evidenceID)
		}
	case latest && verdict == payout.VerdictFailed && a.status != attemptExecuted && r.status == payout.StatusParked && r.moneyAt == payout.MoneyHeld:
		// What made us doubt that it failed is over.
		err = r.failedAttempt(ctx, a, evidenceID, "is failed at the provider after all")
	}
	if err != nil {
		return err
	}
	return r.saveAttempt(ctx, a)
}

// differs names the first field in which a word is not about this attempt, but
// for the one that people accepted; "" for none.
func (r *row) differs(a attempt, w payout.Word) string {
	if field := r.intent(a).Mismatch(w); field != a.accepted {
		return field
	}
	return ""
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
	r.forget()
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
	if back, err := r.paidTooOften(ctx); err != nil {
		return err
	} else if back != nil { // the house bore it, and has it again
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, fmt.Sprintf("%s: %s %s (adjust)", why, r.money, back.what))
	}
	if err := r.note(ctx, evidenceID, "%s", why); err != nil {
		return err
	}
	return r.undoubted(ctx)
}

// undoubted: a further payout of an attempt has failed, or is none of ours. Where
// that was what kept the money, the attempt's own failure is decided now.
func (r *row) undoubted(ctx context.Context) error {
	latest, err := r.attemptNumber(ctx, r.attempt)
	if err != nil || r.status != payout.StatusParked || !latest.closed || latest.status == attemptExecuted {
		return err
	}
	failed, err := r.evidenceOf(ctx, latest.number, payout.ProviderFailed, evidenceRefused)
	if err != nil {
		return err
	}
	return r.failedAttempt(ctx, latest, failed, "is failed, and so is its second payout")
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
	if err := r.noteBoth(ctx, evidenceID, "executed by the provider", fmt.Sprintf("reconciled: the provider's word is what was asked for; %s settled", r.money)); err != nil {
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
	if r.holds.cases { // the account pays again
		if err := r.t.closeCase(ctx, payout.CaseShortage, r.merchant); err != nil {
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
	if a.reason == payout.ReasonInsufficientFunds {
		if err := r.short(ctx); err != nil {
			return err
		}
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

// short tells treasury, once per shortage, that a merchant account cannot pay.
func (r *row) short(ctx context.Context) error {
	r.holds.cases = true
	id, err := r.t.openCase(ctx, payout.CaseShortage, "", r.merchant,
		fmt.Sprintf("merchant account %s has too little money in %s: payouts from it fail until treasury puts money in; they are tried again by themselves", r.merchant, r.money.Currency))
	if id != "" {
		r.l.log.Error("a merchant account is short of money", zap.String("case_id", id), zap.String("merchant_account_id", r.merchant), zap.String("currency", string(r.money.Currency)))
	}
	return err
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
	if !payout.ListedStatus(w.Status) {
		if err := r.drift(ctx, "status", w.Status); err != nil {
			return err
		}
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
	kind, why := payout.CaseSlow, fmt.Sprintf("undecided at the provider for more than %s (its status: %s); polling goes on", r.stuckAfter(), r.providerStatus)
	if r.claimed != "" {
		soon := max(r.t.now.Sub(r.claimedAt)/2, time.Second)
		r.next(payout.StepWait, min(soon, r.pause(since)))
		since = r.claimedAt
		kind, why = payout.CaseContradiction, fmt.Sprintf("signed news claims %s, the provider says %s for more than %s; polling goes on", r.claimed, r.providerStatus, r.stuckAfter())
	}
	if r.t.now.Sub(since) > r.stuckAfter() {
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
	known, err := r.asks(ctx, kind, why)
	if err != nil {
		return err
	}
	// At once, not by the step: a word that decides may come before it.
	if err := r.openCase(ctx, kind, why); err != nil {
		return err
	}
	switch {
	case r.status == payout.StatusParked:
		r.next(payout.StepWait, r.pause(r.created))
		// A further question has its time in the timeline. A case that is full keeps none, and would be told of at each reading.
		if asks, err := r.asks(ctx, kind, why); known || err != nil || !asks {
			return err
		}
	case r.step == payout.StepPark:
		return nil
	case r.moneyAt == payout.MoneyHeld:
		r.park(kind, why)
	case known: // what is read, or heard, again and again is told once
		return nil
	}
	return r.note(ctx, evidenceID, "%s", why)
}
