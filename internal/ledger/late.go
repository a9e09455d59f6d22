package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"payouts/internal/payout"
)

// late keeps asking about a closed payout while signed news says something new
// that the provider does not confirm, and asks a person after RETURN_ASK_FOR. A
// further payout of one of its attempts is followed until it is decided.
func (r *row) late(ctx context.Context) error {
	if r.step != payout.StepDone && r.step != payout.StepWait {
		return nil // what is heard leads on already
	}
	since := r.t.now
	if r.claimed != "" {
		since = time.Time{}
	}
	claims, err := r.unconfirmed(ctx, since)
	if err != nil {
		return err
	}
	doubles, err := r.doubles(ctx)
	if err != nil {
		return err
	}
	r.next(payout.StepDone, 0)
	for _, d := range doubles {
		if d.status == doubleOpen {
			r.next(payout.StepWait, r.pause(d.learnt))
		}
	}
	if len(claims) == 0 {
		r.claimed = ""
		return nil
	}
	if r.claimed == "" {
		r.claimed, r.claimedAt = claims[0].status, r.t.now
		if err := r.note(ctx, "", "signed news says %s of attempt %d; the provider is asked until it says so too", claims[0].status, claims[0].attempt); err != nil {
			return err
		}
	}
	if age := r.t.now.Sub(r.claimedAt); age <= r.l.timing.ReturnAskFor {
		r.next(payout.StepWait, min(max(age/2, time.Second), r.l.timing.PollMax))
		return nil
	}
	r.claimed = ""
	for _, c := range claims {
		kind := payout.CaseReturnUnconfirmed
		if c.status == payout.ProviderExecuted {
			kind = payout.CaseContradiction
		}
		why := fmt.Sprintf("a signed event says %s of attempt %d, and for %s the provider does not; the payout is %s and its money %s",
			c.status, c.attempt, r.l.timing.ReturnAskFor, r.status, r.moneyAt)
		if err := r.openCase(ctx, kind, why); err != nil {
			return err
		}
		if err := r.note(ctx, "", "%s", why); err != nil {
			return err
		}
	}
	return nil
}

// claimedExecuted makes a payout that was given back ask on, where signed news said
// that it was executed: the provider's no may be the wrong word of the two.
func (r *row) claimedExecuted(ctx context.Context) error {
	claims, err := r.unconfirmed(ctx, time.Time{})
	if err != nil || len(claims) == 0 {
		return err
	}
	r.claimed, r.claimedAt = claims[0].status, r.t.now
	r.next(payout.StepWait, time.Second)
	return nil
}

// claim is what signed news says of one attempt.
type claim struct {
	attempt int
	status  string
}

// unconfirmed lists what news that was applied since then, or ever, claims of a closed
// payout, and the books do not say.
func (r *row) unconfirmed(ctx context.Context, since time.Time) (list []claim, err error) {
	var all []claim
	rows, err := r.t.rows(ctx, `SELECT DISTINCT i.attempt, i.claimed_status FROM inbox i JOIN attempts a ON a.payout_id = i.payout_id AND a.number = i.attempt
		WHERE i.payout_id = ? AND i.applied_at >= ? AND (i.provider_payout_id = '' OR i.provider_payout_id = a.provider_payout_id) ORDER BY 1, 2`, string(r.id), stored(since))
	if err := each(rows, err, func(rows *sql.Rows) error {
		var c claim
		err := rows.Scan(&c.attempt, &c.status)
		all = append(all, c)
		return err
	}); err != nil {
		return nil, err
	}
	for _, c := range all {
		a, err := r.attemptNumber(ctx, c.attempt)
		if err != nil {
			return nil, err
		}
		fresh := false
		switch payout.ReadVerdict(c.status) {
		case payout.VerdictFailed: // a return
			fresh, err = r.booked(ctx, KindSettle, a.number)
			fresh = fresh && r.moneyAt == payout.MoneyPaid
		case payout.VerdictExecuted:
			fresh = a.status != attemptExecuted && a.reason != payout.ReasonReturned
		}
		if err != nil {
			return nil, err
		}
		if fresh {
			list = append(list, c)
		}
	}
	return list, nil
}

// sentBack says that what was executed is failed now: the bank returned it.
// Where the provider paid more than once, what came back may be the other
// payment: a person books.
func (r *row) sentBack(ctx context.Context, a attempt, reason payout.Reason, evidenceID string) error {
	if r.step == payout.StepReturn {
		return nil // known
	}
	switch exposed, err := r.exposed(ctx, a.number); {
	case err != nil:
		return err
	case exposed: // it came back to the house
		switch from, err := r.madeGood(ctx, a.number); {
		case err != nil || from == merchantAccount(r.merchant):
			return err // known
		case from == houseFees:
			return r.openCase(ctx, payout.CaseContradiction, fmt.Sprintf("attempt %d was paid although the money was given back, was written off, and now its bank sent it back: the house has it again", a.number))
		case from != "":
			return r.openCase(ctx, payout.CaseContradiction, fmt.Sprintf("attempt %d was paid although the money was given back, was taken from the player again, and now its bank sent it back: the player is owed %s; credit him, then dismiss this", a.number, r.money))
		}
		return r.openCase(ctx, payout.CaseExposure, fmt.Sprintf("attempt %d was paid although the money was given back, and its bank sent it back: nothing is lost, and the exposure is to be taken off the books (adjust)", a.number))
	case r.moneyAt != payout.MoneyPaid:
		return nil // booked
	}
	beside, err := r.beside(ctx, a.number)
	if err != nil {
		return err
	}
	if beside != "" {
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, fmt.Sprintf("attempt %d was sent back by the bank, but %s: nothing is credited by machine", a.number, beside))
	}
	r.reason = payout.ReasonReturned
	if reason == payout.ReasonBlocked { // regulatory: it comes back, and nobody spends it
		r.reason = reason
		if err := r.openCase(ctx, payout.CaseBlocked, "sent back after it was executed, for a regulatory reason; the money is frozen until compliance decides"); err != nil {
			return err
		}
	}
	r.next(payout.StepReturn, 0)
	return r.note(ctx, evidenceID, "sent back by the bank after it was executed")
}

// executedLate is the worst word: an attempt that was closed as failed turns
// out to be paid. While the hold stands, a person decides. Once the money went
// elsewhere the house is exposed.
func (r *row) executedLate(ctx context.Context, a *attempt, w payout.Word, evidenceID string) error {
	why := fmt.Sprintf("attempt %d was %s and is now executed at the provider (%s)", a.number, a.status, a.providerID)
	a.status, a.closed = attemptExecuted, true // remembered, for whatever ends the payout
	settled, err := r.booked(ctx, KindSettle, a.number)
	if err != nil {
		return err
	}
	if r.moneyAt == payout.MoneyHeld || settled {
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, why)
	}
	return r.expose(ctx, *a, evidenceID, stored(w.DecidedAt))
}

// expose books that the house paid for an attempt whose money went elsewhere:
// once per attempt, never taken back from the player by a machine. at is the
// provider's moment in micros, 0 for now.
func (r *row) expose(ctx context.Context, a attempt, evidenceID string, at int64) error {
	if booked, err := r.exposed(ctx, a.number); err != nil || booked {
		return err
	}
	if err := r.t.book(ctx, entry{kind: KindExpose, payoutID: r.id, attempt: a.number, slot: fmt.Sprintf("exposure/%d", a.number), evidence: evidenceID, money: r.money,
		from: houseExposure, to: merchantAccount(r.merchant), at: at}); err != nil {
		return err
	}
	why := fmt.Sprintf("attempt %d was executed at the provider (%s) although the money is %s; booked as exposure", a.number, a.providerID, r.moneyAt)
	if err := r.note(ctx, evidenceID, "%s", why); err != nil {
		return err
	}
	return r.openCase(ctx, payout.CaseExposure, why)
}

// exposed says that an exposure is booked for attempt n.
func (r *row) exposed(ctx context.Context, n int) (bool, error) {
	return r.booked(ctx, KindExpose, n)
}

func (r *row) booked(ctx context.Context, kind TransactionKind, attempt int) (bool, error) {
	var n int
	err := r.t.row(ctx, "SELECT COUNT(*) FROM transactions WHERE payout_id = ? AND kind = ? AND attempt = ?", string(r.id), string(kind), attempt).Scan(&n)
	return n > 0, err
}
