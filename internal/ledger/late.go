package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"payouts/internal/payout"
)

// late keeps asking about a closed payout while signed news says something new
// that the provider does not confirm, and asks a person after RETURN_ASK_FOR. A
// further payout of one of its attempts is followed until it is decided. closing
// says that the payout ends now: then all that news ever claimed counts.
func (r *row) late(ctx context.Context, closing bool) error {
	if r.step != payout.StepDone && r.step != payout.StepWait {
		return nil // what is heard leads on already
	}
	claims, err := r.unconfirmed(ctx)
	if err != nil {
		return err
	}
	fresh := func(c claim) bool { return closing || c.appliedAt.Equal(r.t.now) }
	if r.claimed == "" && !slices.ContainsFunc(claims, fresh) {
		claims = nil // a person knows of them
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
	for i, c := range claims {
		if fresh(c) { // it is asked about from now on
			r.claimedAt = r.t.now
		}
		if fresh(c) && !c.usual {
			if err := r.note(ctx, "", "signed news says %s of attempt %d; the provider is asked until it says so too", c.status, c.attempt); err != nil {
				return err
			}
		}
		if i == 0 || c.status == payout.ProviderFailed {
			r.claimed = c.status // a return is looked for on the statement too
		}
	}
	if age := r.t.now.Sub(r.claimedAt); age <= r.l.timing.ReturnAskFor {
		r.next(payout.StepWait, min(max(age/2, time.Second), r.l.timing.PollMax))
		return nil
	}
	r.claimed = ""
	for _, c := range claims {
		if c.usual {
			continue
		}
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

// claim is what signed news says of one attempt.
type claim struct {
	attempt   int
	status    string
	appliedAt time.Time // of the newest news that says so
	usual     bool      // executed, and then sent back, if the news came in that order; the other way round the provider says so soon
}

// itsClaims asks what applied news ever claimed of each attempt.
func (r *row) itsClaims(id payout.ID) question {
	r.heard = true
	return question{`SELECT i.attempt, i.claimed_status, MAX(i.applied_at) FROM inbox i JOIN attempts a ON a.payout_id = i.payout_id AND a.number = i.attempt
		WHERE i.payout_id = ? AND i.applied_at IS NOT NULL AND (i.provider_payout_id = '' OR i.provider_payout_id = a.provider_payout_id)
		GROUP BY i.attempt, i.claimed_status ORDER BY 1, 2`, []any{string(id)}, func(from scanned) error {
		var c claim
		var applied int64
		err := from.Scan(&c.attempt, &c.status, &applied)
		c.appliedAt = moment(applied)
		r.claims = append(r.claims, c)
		return err
	}}
}

// unconfirmed lists what news ever claimed of a closed payout, and the books do
// not say.
func (r *row) unconfirmed(ctx context.Context) (list []claim, err error) {
	if !r.heard && r.holds.read {
		if err := r.t.ask(ctx, r.itsClaims(r.id)); err != nil {
			return nil, err
		}
	}
	for _, c := range r.claims {
		a, err := r.attemptNumber(ctx, c.attempt)
		if err != nil {
			return nil, err
		}
		fresh := false
		switch payout.ReadVerdict(c.status) {
		case payout.VerdictFailed: // a return
			fresh, err = r.booked(ctx, KindSettle, a.number)
			if fresh = fresh && r.moneyAt == payout.MoneyPaid; fresh {
				last, err := r.lastVerdict(ctx, a)
				if err != nil {
					return nil, err
				}
				fresh = last != payout.VerdictFailed // else it is confirmed, and a person was asked what to book
			}
		case payout.VerdictExecuted:
			fresh, c.usual = a.status != attemptExecuted, a.reason == payout.ReasonReturned
			if !fresh && r.status == payout.StatusReturned {
				fresh, err = r.maybePaidAgain(ctx, a, c.appliedAt)
				c.usual = true
			}
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
	switch exposed, err := r.exposed(ctx, a.number); {
	case err != nil:
		return err
	case exposed: // it came back to the house
		known, err := r.cameBack(ctx, a.number) // before this word
		if err != nil {
			return err
		}
		switch from, err := r.madeGood(ctx, a.number); {
		case err != nil || from == merchantAccount(r.merchant) || from != "" && known:
			return err // nothing new
		case from == houseFees:
			return r.openCase(ctx, payout.CaseContradiction, fmt.Sprintf("attempt %d was paid although the money was given back, was written off, and now its bank sent it back: the house has it again, and bears it no more (adjust)", a.number))
		case from != "":
			return r.openCase(ctx, payout.CaseContradiction, fmt.Sprintf("attempt %d was paid although the money was given back, was taken from the player again, and now its bank sent it back: the player is owed %s; credit him, then dismiss this", a.number, r.money))
		}
		return r.openCase(ctx, payout.CaseExposure, fmt.Sprintf("attempt %d was paid although the money was given back, and its bank sent it back: nothing is lost, and the exposure is to be taken off the books (adjust)", a.number))
	case r.step == payout.StepReturn && reason == payout.ReasonBlocked && r.reason != reason:
		return r.stopped(ctx) // before it is booked
	case r.step == payout.StepReturn:
		return nil // known
	case r.moneyAt == payout.MoneyReturned && reason == payout.ReasonBlocked:
		return r.spendable(ctx, a, evidenceID)
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
		if err := r.stopped(ctx); err != nil {
			return err
		}
	}
	r.next(payout.StepReturn, 0)
	return r.note(ctx, evidenceID, "sent back by the bank after it was executed")
}

// stopped has what comes back frozen.
func (r *row) stopped(ctx context.Context) error {
	r.reason = payout.ReasonBlocked
	return r.openCase(ctx, payout.CaseBlocked, "sent back after it was executed, for a regulatory reason; the money is frozen until compliance decides")
}

// spendable asks a person, once, about money that the player has back, and that
// the provider calls blocked now: a machine takes nothing from a player.
func (r *row) spendable(ctx context.Context, a attempt, evidenceID string) error {
	var unfrozen int // two people decided it already
	err := r.t.row(ctx, "SELECT COUNT(*) FROM transactions WHERE payout_id = ? AND kind = ?", string(r.id), string(KindUnfreeze)).Scan(&unfrozen)
	if err != nil || unfrozen > 0 || r.reason == payout.ReasonBlocked {
		return err
	}
	r.reason = payout.ReasonBlocked
	return r.doubt(ctx, payout.CaseContradiction, evidenceID,
		fmt.Sprintf("the money of attempt %d is the player's again, and the provider now says it was stopped for a regulatory reason (blocked): ask compliance; no machine takes it from the player", a.number))
}

// paidAgain: the provider said that the bank sent it back, and now says executed
// again. Where it never said so, since only the statement showed the return or
// people booked it, that is nothing new: older accounts never change their word.
func (r *row) paidAgain(ctx context.Context, a attempt, evidenceID string) error {
	before, err := r.attemptNumber(ctx, a.number) // without this word
	if err != nil {
		return err
	}
	if last, err := r.lastGet(ctx, before, evidenceID); err != nil || last != payout.VerdictFailed {
		return err
	}
	return r.doubt(ctx, payout.CaseContradiction, evidenceID, fmt.Sprintf("attempt %d was sent back by the bank, which is booked, and is executed again at the provider", a.number))
}

// maybePaidAgain says that news says executed which was read after the return was
// booked, while the provider's last word is that it was sent back: mostly the event
// is the older word.
func (r *row) maybePaidAgain(ctx context.Context, a attempt, news time.Time) (bool, error) {
	var before int
	if err := r.t.row(ctx, "SELECT COUNT(*) FROM transactions WHERE payout_id = ? AND slot = 'return' AND attempt = ? AND booked_at < ?",
		string(r.id), a.number, stored(news)).Scan(&before); err != nil || before == 0 {
		return false, err
	}
	last, err := r.lastGet(ctx, a, "")
	return last == payout.VerdictFailed, err
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

// exposedAgain: what was paid for nothing was made good, came back, and now is
// executed once more. The books have no place for it: a person is asked.
func (r *row) exposedAgain(ctx context.Context, a attempt, evidenceID string) error {
	from, err := r.madeGood(ctx, a.number)
	if err != nil || from == "" {
		return err // none, or its case is open
	}
	if back, err := r.cameBack(ctx, a.number); err != nil || !back { // before this word
		return err
	}
	return r.doubt(ctx, payout.CaseContradiction, evidenceID,
		fmt.Sprintf("attempt %d was paid although the money was given back, came back, and is executed again at the provider: the house paid %s once more", a.number, r.money))
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
