package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"payouts/internal/payout"
)

// clockSlack is how far two clocks may be apart without anything being thought of it.
const clockSlack = 5 * time.Minute

// lookEarly is how long before an attempt began a statement is read, so that a
// clock of ours that was ahead hides no payment. A day is more than any wrong time zone.
const lookEarly = 24 * time.Hour

// lookBack is how far a statement is read back when our own clock went back, and
// when something began is not known.
const lookBack = 31 * 24 * time.Hour

// toLook says what the statement is to be asked: where a create's outcome is
// unknown and its key's window over, whether the provider has it after all;
// where signed news says that the bank sent the money back, whether it came.
func (r *row) toLook(ctx context.Context, approved []Resolution) (*payout.Look, error) {
	look := &payout.Look{PayoutID: r.id, Kind: r.kind, MerchantAccountID: r.merchant, PaymentID: r.payment}
	a, err := r.attemptNumber(ctx, r.attempt)
	if err != nil {
		return nil, err
	}
	switch {
	case a.providerID == "" && !a.closed && (r.unknownOutcome() || r.status == payout.StatusParked || has(approved, payout.ActionNeverCreated)):
		s, err := r.sent(ctx, a.number)
		if err != nil {
			return nil, err
		}
		look.From = a.created
		if s.unresolved > 0 && s.first.Before(look.From) {
			look.From = s.first
		}
	case r.claimed == payout.ProviderFailed && r.moneyAt == payout.MoneyPaid:
		look.From = a.created // the return lies after the payout
	default:
		return nil, nil
	}
	if look.From.Add(-clockSlack).After(r.t.now) { // our clock went back
		look.From = r.t.now.Add(-lookBack)
	} else {
		look.From = look.From.Add(-lookEarly)
	}
	return look, nil
}

// unknownOutcome says that the next step decides whether to park: the window
// is over, and the statement is asked first.
func (r *row) unknownOutcome() bool {
	return r.step == payout.StepReconcile && r.parkKind == payout.CaseUnknownOutcome
}

// lookFirst makes the next step a look into the statement, before it parks.
func (r *row) lookFirst(why string) {
	r.park(payout.CaseUnknownOutcome, why)
	r.next(payout.StepReconcile, 0)
}

// looked takes in what a statement shows of this payout.
// parking is why it parks where nothing is found; "" where it does not.
func (r *row) looked(ctx context.Context, found payout.Looked, parking string) error {
	attempts, err := r.attempts(ctx)
	if err != nil {
		return err
	}
	shown := false // something that may be the latest attempt
	for _, line := range found.Lines {
		for i := range attempts {
			a := &attempts[i]
			switch {
			case line.ReturnFor != "" && line.ReturnFor == a.providerID:
				err = r.lineReturn(ctx, *a, line, found.AskedAt)
			case line.PayoutID == r.id && line.Attempt == a.number && line.ProviderID != "" && line.ProviderID != a.providerID:
				err = r.lineFound(ctx, a, line, found.AskedAt)
			}
			if err != nil {
				return err
			}
		}
		if line.PayoutID == r.id && (line.Attempt < 1 || line.Attempt >= r.attempt) {
			shown = true
		}
	}
	latest := attempts[len(attempts)-1]
	switch {
	case latest.providerID != "" || latest.closed:
	case shown: // it may be this one, and it was not taken for it
		if parking != "" && r.step != payout.StepPark {
			r.park(payout.CaseUnknownOutcome, parking+"; the statement of "+r.merchant+" shows this payout's id, but not which attempt it is of")
		}
	default:
		latest.lookedAt = found.AskedAt
		if err := r.saveAttempt(ctx, latest); err != nil {
			return err
		}
		if parking != "" {
			r.park(payout.CaseUnknownOutcome, fmt.Sprintf("%s; the statement of %s was read to its end at %s and does not show it", parking, r.merchant, found.AskedAt.Format(time.RFC3339)))
		}
	}
	return nil
}

// lineFound: the statement shows a payout with our metadata under an id that we
// did not know of this attempt.
func (r *row) lineFound(ctx context.Context, a *attempt, line payout.Line, asked time.Time) error {
	evidenceID, err := r.lineEvidence(ctx, *a, line, line.Status, "", asked)
	if err != nil {
		return err
	}
	if a.providerID == "" {
		if err := r.known(ctx, a, line.ProviderID, evidenceID); err != nil {
			return err
		}
		return r.saveAttempt(ctx, *a)
	}
	if n, err := r.isDouble(ctx, line.ProviderID); err != nil || n {
		return err
	}
	if err := r.doubled(ctx, a.number, line.ProviderID); err != nil {
		return err
	}
	return r.doubt(ctx, payout.CaseContradiction, evidenceID, fmt.Sprintf("attempt %d has two payouts at the provider: %s and, by the statement, %s", a.number, a.providerID, line.ProviderID))
}

// lineReturn: money came in as the return of this attempt, whatever the
// provider's word on the payout is. Older accounts never change that.
func (r *row) lineReturn(ctx context.Context, a attempt, line payout.Line, asked time.Time) error {
	if r.moneyAt != payout.MoneyPaid || a.status != attemptExecuted || r.step == payout.StepReturn {
		return nil
	}
	if line.Money != r.money {
		return r.doubt(ctx, payout.CaseContradiction, "", fmt.Sprintf("the statement shows a return of attempt %d of %s, and %s was paid", a.number, line.Money, r.money))
	}
	evidenceID, err := r.lineEvidence(ctx, a, line, payout.ProviderFailed, payout.ReasonReturned, asked)
	if err != nil {
		return err
	}
	reason := payout.ReasonReturned // a statement tells none
	if blocked, err := r.saidBlocked(ctx, a.number); err != nil {
		return err
	} else if blocked {
		reason = payout.ReasonBlocked
	}
	return r.sentBack(ctx, a, reason, evidenceID)
}

// saidBlocked says that signed news calls attempt n failed for a regulatory
// reason.
func (r *row) saidBlocked(ctx context.Context, n int) (bool, error) {
	var blocked int
	err := r.t.row(ctx, "SELECT COUNT(*) FROM inbox WHERE payout_id = ? AND attempt = ? AND claimed_status = ? AND failure_reason = ?",
		string(r.id), n, payout.ProviderFailed, string(payout.ReasonBlocked)).Scan(&blocked)
	return blocked > 0, err
}

func (r *row) lineEvidence(ctx context.Context, a attempt, line payout.Line, status string, reason payout.Reason, asked time.Time) (string, error) {
	return r.evidence(ctx, a, "statement", payout.Word{ProviderID: line.ProviderID, Status: status, Reason: reason, AskedAt: asked, DecidedAt: line.At, Raw: line.Raw})
}

// isDouble says that a provider id is known as a further payout of an attempt.
func (r *row) isDouble(ctx context.Context, providerID string) (bool, error) {
	doubles, err := r.doubles(ctx)
	for _, d := range doubles {
		if d.providerID == providerID {
			return true, err
		}
	}
	return false, err
}

// lastSend is what decides whether a send may still arrive: when the last one
// of an attempt began, and when no byte of any can be taken in any more.
func (r *row) lastSend(ctx context.Context, attempt int) (began, over time.Time, err error) {
	var started, deadline, expires int64
	err = r.t.row(ctx, "SELECT COALESCE(MAX(started_at), 0), COALESCE(MAX(deadline_at), 0), COALESCE(MAX(token_expires_at), 0) FROM sends WHERE payout_id = ? AND attempt = ? AND COALESCE(answer, '') <> 'not_sent'",
		string(r.id), attempt).Scan(&started, &deadline, &expires)
	return moment(started), moment(max(deadline, expires)), err
}

// mayNeverHaveBeenCreated refuses unless the create surely never arrived.
func (r *row) mayNeverHaveBeenCreated(ctx context.Context, ticket string) error {
	a, err := r.attemptNumber(ctx, r.attempt)
	if err != nil {
		return err
	}
	s, err := r.sent(ctx, a.number)
	if err != nil {
		return err
	}
	began, over, err := r.lastSend(ctx, a.number)
	if err != nil {
		return err
	}
	unread, err := r.unapplied(ctx)
	if err != nil {
		return err
	}
	beside, err := r.beside(ctx, a.number)
	if err != nil {
		return err
	}
	var not []error
	no := func(format string, args ...any) { not = append(not, fmt.Errorf(format, args...)) }
	switch {
	case r.moneyAt != payout.MoneyHeld || r.status != payout.StatusParked:
		no("the payout is %s and its money %s", r.status, r.moneyAt)
	case a.providerID != "" || a.closed:
		no("attempt %d is known at the provider", a.number)
	}
	if beside != "" {
		no("%s", beside)
	}
	if window := s.first.Add(r.l.timing.KeyWindow); s.unresolved > 0 && !r.t.now.After(window) {
		no("the window in which the same key may be sent again is open until %s", window.Format(time.RFC3339))
	}
	if r.t.now.Before(over) {
		no("what was sent may still be taken in until %s", over.Format(time.RFC3339))
	}
	if unread > 0 {
		no("there is news that no step has read")
	}
	if !a.lookedAt.After(over) {
		no("the statement was not read to its end after %s", over.Format(time.RFC3339))
	}
	if a.keyReused && ticket == "" {
		no("the provider knows the idempotency key with another body: enter its ticket (provider_ticket)")
	}
	if after := began.Add(payout.NeverCreatedAfter); r.t.now.Before(after) && ticket == "" {
		no("wait until %s, or enter a ticket of the provider (provider_ticket)", after.Format(time.RFC3339))
	}
	if err := errors.Join(not...); err != nil {
		return payout.Refuse(payout.RefusalNotOffered, "never_created: %s", oneLine(err))
	}
	return nil
}
