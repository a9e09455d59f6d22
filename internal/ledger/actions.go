package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"payouts/internal/payout"
)

// resolve is what each action does. A *payout.Refusal says that things moved on.
func (r *row) resolve(ctx context.Context, c Case, d Resolution, heard payout.Heard) (outcome string, err error) {
	switch {
	case c.Status != "open":
		return "", payout.Refuse(payout.RefusalClosed, "the case was closed meanwhile: %s", c.ClosedBy)
	case d.Version != r.version:
		return "", payout.Refuse(payout.RefusalStale, "the payout moved on to version %d and is %s", r.version, r.status)
	}
	if err := r.may(ctx, c, d.Action, decision{d.ProviderPayoutID, d.ProviderTicket}); err != nil {
		return "", err
	}
	number, err := r.paidBy(ctx)
	if err != nil {
		return "", err
	}
	a, err := r.attemptNumber(ctx, number)
	if err != nil {
		return "", err
	}
	switch d.Action {
	case payout.ActionNeverCreated:
		if heard.Looked == nil {
			return "", payout.Refuse(payout.RefusalNotOffered, "never_created: the statement was not read once more by the step that carries it out")
		}
		if _, err := r.personSays(ctx, a, d, evidenceRefused); err != nil {
			return "", err
		}
		a.status, a.reason, a.closed = attemptRefused, payout.ReasonRefused, true
		if err := r.saveAttempt(ctx, a); err != nil {
			return "", err
		}
		r.reason, r.status = a.reason, payout.StatusPending
		r.next(payout.StepRelease, 0)
		return "the money is credited back", nil
	case payout.ActionCreatedAs:
		return r.createdAs(ctx, c, d, heard)
	case payout.ActionNotOurs:
		return r.notOurs(ctx, d, heard)
	case payout.ActionReleaseFrozen:
		evidenceID, err := r.personSays(ctx, a, d, string(d.Action))
		if err != nil {
			return "", err
		}
		return r.unfreeze(ctx, a, evidenceID)
	case payout.ActionKeepFrozen:
		return fmt.Sprintf("%s stays frozen", r.money), nil
	case payout.ActionBookReturn:
		evidenceID, err := r.personSays(ctx, a, d, payout.ProviderFailed)
		if err != nil {
			return "", err
		}
		r.reason = payout.ReasonReturned
		if blocked, err := r.saidBlocked(ctx, a.number); err != nil {
			return "", err
		} else if blocked {
			if err := r.stopped(ctx); err != nil {
				return "", err
			}
		}
		return "the return is booked", r.giveBack(ctx, a, evidenceID)
	case payout.ActionRecover:
		return r.recover(ctx, d)
	case payout.ActionAdjust:
		return r.adjust(ctx, d)
	case payout.ActionDismiss:
		return "nothing is done", nil
	}
	return "", fmt.Errorf("action %q is not known", d.Action)
}

// personSays stores two people's decision as evidence, so that the money it
// moves names it.
func (r *row) personSays(ctx context.Context, a attempt, d Resolution, status string) (string, error) {
	body, err := json.Marshal(map[string]any{"case_id": d.CaseID, "number": d.Number, "action": d.Action, "provider_payout_id": d.ProviderPayoutID,
		"provider_ticket": d.ProviderTicket, "reason": d.Reason, "proposed_by": d.ProposedBy, "approved_by": d.DecidedBy})
	if err != nil {
		return "", err
	}
	return r.evidence(ctx, a, "person", payout.Word{ProviderID: d.ProviderPayoutID, Status: status, Reason: a.reason, AskedAt: r.t.now, Raw: body})
}

// notOurs follows a further payout no more, after asking the provider once
// more whether it is ours. What turns up of it later is heard all the same.
func (r *row) notOurs(ctx context.Context, d Resolution, heard payout.Heard) (string, error) {
	of, err := r.strange(ctx, decision{d.ProviderPayoutID, d.ProviderTicket})
	if err != nil {
		return "", err
	}
	a, err := r.attemptNumber(ctx, of.attempt)
	if err != nil {
		return "", err
	}
	said := "the provider knows none"
	if at := slices.IndexFunc(heard.Words, func(s payout.Asked) bool { return s.ProviderID == of.providerID }); at >= 0 {
		w, in := heard.Words[at].Word, r.intent(a)
		in.ProviderID = of.providerID
		field := in.Mismatch(w)
		if field == "" {
			return "", payout.Refuse(payout.RefusalNotOffered, "not_ours: by the provider's words %s is this payout, %s; it is followed until it is decided", of.providerID, w.Status)
		}
		if _, err := r.evidence(ctx, a, "get", w); err != nil {
			return "", err
		}
		said = field + " differs"
	}
	if _, err := r.personSays(ctx, a, d, string(d.Action)); err != nil {
		return "", err
	}
	r.forget()
	if err := r.t.write(ctx, "UPDATE doubles SET status = ? WHERE provider_payout_id = ?", doubleFailed, of.providerID); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is none of ours (%s)", of.providerID, said), r.undoubted(ctx)
}

// createdAs follows, or settles, what the provider has under an id that people
// gave, after comparing what it says now.
func (r *row) createdAs(ctx context.Context, c Case, d Resolution, heard payout.Heard) (string, error) {
	a, err := r.meant(ctx, d.ProviderPayoutID)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(heard.Words, func(s payout.Asked) bool { return s.ProviderID == d.ProviderPayoutID })
	if at < 0 {
		return "", payout.Refuse(payout.RefusalNotOffered, "the provider knows no payout %s", d.ProviderPayoutID)
	}
	w := heard.Words[at].Word
	in := r.intent(a)
	in.ProviderID = d.ProviderPayoutID
	field := in.Mismatch(w)
	switch essential := []string{"id", "currency", "metadata." + payout.MetadataPayoutID}; {
	case field == "":
	case c.Kind != payout.CaseMismatch || slices.Contains(essential, field) || r.kind == payout.KindPayout && w.Metadata[payout.MetadataPayoutID] == "":
		return "", payout.Refuse(payout.RefusalNotOffered, "%s at the provider is not this payout: %s differs", d.ProviderPayoutID, field)
	default:
		a.accepted = field
	}
	evidenceID, err := r.evidence(ctx, a, "get", w)
	if err != nil {
		return "", err
	}
	verdict := payout.ReadVerdict(w.Status)
	if a.closed && verdict == payout.VerdictWait { // an attempt that ended is polled no more
		return "", payout.Refuse(payout.RefusalNotOffered, "%s is %s at the provider; wait until it is decided", d.ProviderPayoutID, w.Status)
	}
	if a.providerID == "" {
		if err := r.known(ctx, &a, d.ProviderPayoutID, evidenceID); err != nil {
			return "", err
		}
	}
	a.askedAt = w.AskedAt
	r.forget()
	if err := r.t.write(ctx, "UPDATE doubles SET status = ? WHERE provider_payout_id = ?", doubleStatus(w.Status), d.ProviderPayoutID); err != nil {
		return "", err
	}
	outcome := "followed as " + d.ProviderPayoutID
	var latest *attempt // begun after this one, and nowhere
	if a.number < r.attempt {
		if l, err := r.attemptNumber(ctx, r.attempt); err != nil {
			return "", err
		} else if !l.closed {
			latest = &l
		}
	}
	switch verdict {
	case payout.VerdictExecuted:
		if latest != nil { // what turns up of it after all is an exposure
			latest.status, latest.reason, latest.closed = attemptRefused, payout.ReasonRefused, true
			if err := r.saveAttempt(ctx, *latest); err != nil {
				return "", err
			}
		}
		if err := r.settle(ctx, &a, w, evidenceID); err != nil {
			return "", err
		}
		outcome = "settled as " + d.ProviderPayoutID
		if more, err := r.toAdjust(ctx); err != nil {
			return "", err
		} else if more != nil { // what asked about it is answered now
			if err := r.openCase(ctx, payout.CaseExposure, fmt.Sprintf("beside %s, of this payout was paid: %s %s", d.ProviderPayoutID, r.money, more.what)); err != nil {
				return "", err
			}
		}
	case payout.VerdictFailed:
		a.status, a.reason, a.closed = attemptFailed, w.Reason, true
		if err := r.saveAttempt(ctx, a); err != nil {
			return "", err
		}
		if latest != nil { // it goes on where it was
			r.status = payout.StatusPending
			r.next(payout.StepCreate, 0)
			return fmt.Sprintf("%s is failed; attempt %d goes on", d.ProviderPayoutID, latest.number), nil
		}
		if err := r.failedAttempt(ctx, a, evidenceID, "is failed at the provider as "+d.ProviderPayoutID); err != nil {
			return "", err
		}
	default:
		r.become(payout.StatusFor(w.Status))
		r.next(payout.StepWait, r.pause(r.created))
	}
	return outcome, r.saveAttempt(ctx, a)
}

func doubleStatus(providerStatus string) string {
	switch payout.ReadVerdict(providerStatus) {
	case payout.VerdictExecuted:
		return doubleExecuted
	case payout.VerdictFailed:
		return doubleFailed
	}
	return doubleOpen
}

// unfreeze lets the player have what was frozen.
func (r *row) unfreeze(ctx context.Context, a attempt, evidenceID string) (string, error) {
	if err := r.t.book(ctx, entry{kind: KindUnfreeze, payoutID: r.id, attempt: a.number, evidence: evidenceID, money: r.money,
		from: playerAccount(r.player, "frozen"), to: playerAccount(r.player, "available")}); err != nil {
		return "", err
	}
	r.moneyAt = payout.MoneyReleased
	if r.status == payout.StatusReturned {
		r.moneyAt = payout.MoneyReturned
	}
	return fmt.Sprintf("%s is the player's again", r.money), r.shift(ctx, "frozen", "available")
}

// openExposure is an attempt whose exposure nobody made good; 0 for none.
func (r *row) openExposure(ctx context.Context) (number int, err error) {
	err = r.t.row(ctx, `SELECT COALESCE(MIN(attempt), 0) FROM transactions e WHERE payout_id = ? AND kind = ?
		AND NOT EXISTS (SELECT 1 FROM transactions g WHERE g.payout_id = e.payout_id AND g.attempt = e.attempt AND g.to_account = e.from_account)`,
		string(r.id), string(KindExpose)).Scan(&number)
	return number, err
}

// madeGood is the account from which the exposure of attempt n was made good;
// "" while it was not.
func (r *row) madeGood(ctx context.Context, n int) (from string, err error) {
	err = r.t.row(ctx, "SELECT COALESCE(MAX(from_account), '') FROM transactions WHERE payout_id = ? AND attempt = ? AND kind IN (?, ?) AND to_account = ?",
		string(r.id), n, string(KindRecover), string(KindAdjust), houseExposure).Scan(&from)
	return from, err
}

// cameBack says that attempt n is failed by the last that is known of it.
func (r *row) cameBack(ctx context.Context, n int) (bool, error) {
	a, err := r.attemptNumber(ctx, n)
	if err != nil {
		return false, err
	}
	last, err := r.lastVerdict(ctx, a)
	return last == payout.VerdictFailed, err
}

// recover takes from the player's available balance what was paid twice.
func (r *row) recover(ctx context.Context, d Resolution) (string, error) {
	number, err := r.openExposure(ctx)
	if err != nil {
		return "", err
	}
	a, err := r.attemptNumber(ctx, number)
	if err != nil {
		return "", err
	}
	evidenceID, err := r.personSays(ctx, a, d, string(d.Action))
	if err != nil {
		return "", err
	}
	if err := r.t.book(ctx, entry{kind: KindRecover, payoutID: r.id, attempt: number, evidence: evidenceID, money: r.money, reason: d.Reason,
		from: playerAccount(r.player, "available"), to: houseExposure}); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s was taken from the player's available balance", r.money), r.shift(ctx, "available", "")
}

// adjustment is a move between two accounts of the house that makes the books
// say what the provider says.
type adjustment struct {
	attempt  int
	from, to string
	what     string
}

// toAdjust finds what an adjust would book; nil for nothing.
func (r *row) toAdjust(ctx context.Context) (*adjustment, error) {
	number, err := r.openExposure(ctx)
	if err != nil {
		return nil, err
	}
	if number > 0 {
		back, err := r.cameBack(ctx, number)
		if err != nil {
			return nil, err
		}
		if back {
			return &adjustment{number, merchantAccount(r.merchant), houseExposure, "came back to the merchant account; the exposure is off the books"}, nil
		}
		return &adjustment{number, houseFees, houseExposure, "is written off: the house bears it"}, nil
	}
	return r.paidTooOften(ctx)
}

// paidTooOften finds what the house bears, or bears no more, because the
// provider paid one attempt more than once; nil for nothing.
func (r *row) paidTooOften(ctx context.Context) (*adjustment, error) {
	if r.moneyAt == payout.MoneyHeld {
		return nil, nil
	}
	attempts, err := r.attempts(ctx)
	if err != nil {
		return nil, err
	}
	doubles, err := r.doubles(ctx)
	if err != nil {
		return nil, err
	}
	paid, again := 0, map[int]int{} // payments that left; those of further payouts, by attempt
	for _, a := range attempts {
		last, err := r.lastVerdict(ctx, a)
		if err != nil {
			return nil, err
		}
		if last == payout.VerdictExecuted {
			paid++
		}
	}
	for _, d := range doubles {
		if d.status == doubleExecuted {
			paid++
			again[d.attempt]++
		}
	}
	merchant, booked := merchantAccount(r.merchant), 0 // by the books
	borne, writtenOff := map[int]int{}, map[int]int{}  // by attempt; what was written off is borne too
	rows, err := r.t.rows(ctx, "SELECT attempt, from_account, to_account FROM transactions WHERE payout_id = ?", string(r.id))
	if err := each(rows, err, func(rows scanned) error {
		var n int
		var from, to string
		err := rows.Scan(&n, &from, &to)
		switch merchant {
		case to:
			booked++
		case from:
			booked--
		}
		switch houseFees {
		case from:
			if borne[n]++; to == houseExposure {
				writtenOff[n] = 1
			}
		case to:
			borne[n]--
		}
		return err
	}); err != nil {
		return nil, err
	}
	for _, a := range attempts {
		switch n := a.number; {
		case paid > booked && again[n] > borne[n]-writtenOff[n]:
			return &adjustment{n, houseFees, merchant, "was paid once more by the provider; the house bears it"}, nil
		case paid < booked && borne[n] > 0:
			return &adjustment{n, merchant, houseFees, "came back to the merchant account; the house bears it no more"}, nil
		}
	}
	return nil, nil
}

// lastVerdict is the last that was heard and believed, or decided by people, of
// an attempt's payout: executed, failed, or VerdictWait for neither. What was
// asked after a.askedAt was not believed.
func (r *row) lastVerdict(ctx context.Context, a attempt) (payout.Verdict, error) {
	// Money that came in has no id, and is back whatever a GET says.
	return r.verdict(ctx, a, "ORDER BY CASE WHEN kind = 'statement' AND provider_payout_id = '' THEN 0 ELSE 1 END, asked_at DESC, stored_at DESC, id DESC")
}

// lastGet is lastVerdict by the provider's answers alone, without the one that is
// stored as but; "" for no such.
func (r *row) lastGet(ctx context.Context, a attempt, but string) (payout.Verdict, error) {
	return r.verdict(ctx, a, "AND kind = 'get' AND id <> ? ORDER BY asked_at DESC, stored_at DESC, id DESC", but)
}

func (r *row) verdict(ctx context.Context, a attempt, newest string, args ...any) (payout.Verdict, error) {
	var status string
	err := r.t.row(ctx, `SELECT provider_status FROM evidence WHERE payout_id = ? AND attempt = ? AND provider_payout_id IN (?, '') AND provider_status IN (?, ?)
		AND (kind <> 'get' OR asked_at <= ?) `+newest+" LIMIT 1",
		append([]any{string(r.id), a.number, a.providerID, payout.ProviderExecuted, payout.ProviderFailed, stored(a.askedAt)}, args...)...).Scan(&status)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return payout.ReadVerdict(status), err
}

func (r *row) adjust(ctx context.Context, d Resolution) (string, error) {
	at, err := r.toAdjust(ctx)
	if err != nil {
		return "", err
	}
	a, err := r.attemptNumber(ctx, at.attempt)
	if err != nil {
		return "", err
	}
	evidenceID, err := r.personSays(ctx, a, d, string(d.Action))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s", r.money, at.what), r.t.book(ctx, entry{kind: KindAdjust, payoutID: r.id, attempt: at.attempt, evidence: evidenceID,
		money: r.money, reason: d.Reason, from: at.from, to: at.to})
}
