package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"payouts/internal/payout"
)

// People decide in rows: one proposes, another one approves, both bound to the
// case and to the version they saw. What moves money is carried out by the
// payout's own step, which looks at everything again. No message decides.

// Propose writes one person's wish to resolve a case.
//
//	Repeats: safe; the same wish of the same person that still waits is answered with, and true
//	Errors:  payout.ErrNotFound, payout.Problems, *payout.Refusal; nothing is written
func (l *Ledger) Propose(ctx context.Context, p payout.Proposal) (res Resolution, replayed bool, err error) {
	if problems := p.Check(); len(problems) > 0 {
		return res, false, problems
	}
	err = l.inTx(ctx, "propose", func(t tx) error {
		c, r, err := l.lockCase(ctx, t, p.CaseID)
		if err != nil {
			return err
		}
		open, err := t.openResolution(ctx, c.ID)
		if err != nil {
			return err
		}
		replayed = false
		if open != nil {
			if open.ProposedBy == p.By && open.Status == ResolutionProposed && open.Action == p.Action && open.ProviderPayoutID == p.ProviderPayoutID &&
				open.ProviderTicket == p.ProviderTicket && open.Reason == p.Reason && open.Version == p.Version {
				res, replayed = *open, true
				return nil
			}
			return payout.Refuse(payout.RefusalOpen, "proposal %d (%s, by %s) is %s; it must end first", open.Number, open.Action, open.ProposedBy, open.Status)
		}
		if err := mayResolve(ctx, c, r, p.Action, seen{p.Version, p.Questions}, decision{providerID: p.ProviderPayoutID, ticket: p.ProviderTicket}); err != nil {
			return err
		}
		var last int
		if err := t.row(ctx, "SELECT COALESCE(MAX(number), 0) FROM resolutions WHERE case_id = ?", c.ID).Scan(&last); err != nil {
			return err
		}
		res = Resolution{CaseID: c.ID, Number: last + 1, Action: p.Action, ProviderPayoutID: p.ProviderPayoutID, ProviderTicket: p.ProviderTicket, Reason: p.Reason,
			Money: c.Money, Version: p.Version, Questions: c.Questions, Status: ResolutionProposed, ProposedBy: p.By, ProposedAt: t.now}
		if _, err := t.exec(ctx, `INSERT INTO resolutions (case_id, number, action, provider_payout_id, provider_ticket, reason, payout_id, amount_in_minor, currency, version,
			case_version, status, proposed_by, proposed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			res.CaseID, res.Number, string(res.Action), res.ProviderPayoutID, res.ProviderTicket, res.Reason, string(c.PayoutID), res.Money.Minor, string(res.Money.Currency),
			res.Version, res.Questions, res.Status, res.ProposedBy, stored(t.now)); err != nil {
			return err
		}
		return t.audit(ctx, p.By, "propose", c, fmt.Sprintf("%d: %s: %s", res.Number, res.Action, p.Reason))
	})
	return res, replayed, err
}

// Decide writes the second person's word. An approved decision about a payout
// is carried out by that payout's next step: wake says whose run to wake. One
// about no payout is carried out here.
//
//	Errors: payout.ErrNotFound, *payout.Refusal; nothing is written
func (l *Ledger) Decide(ctx context.Context, a payout.Approval) (res Resolution, wake payout.Stored, err error) {
	err = l.inTx(ctx, "decide", func(t tx) error {
		wake = payout.Stored{}
		c, r, err := l.lockCase(ctx, t, a.CaseID)
		if err != nil {
			return err
		}
		if res, err = t.resolution(ctx, a.CaseID, a.Number); err != nil {
			return err
		}
		switch {
		case res.Status != ResolutionProposed:
			return payout.Refuse(payout.RefusalDecided, "proposal %d is %s already", res.Number, res.Status)
		case res.ProposedBy == a.By:
			return payout.Refuse(payout.RefusalSamePerson, "%s proposed it: another person decides", a.By)
		}
		res.DecidedBy, res.DecidedAt = a.By, t.now
		if !a.Approve {
			res.Status, res.EndedAt = ResolutionRejected, t.now
			if err := t.saveResolution(ctx, res); err != nil {
				return err
			}
			return t.audit(ctx, a.By, "reject", c, fmt.Sprintf("%d: %s", res.Number, res.Action))
		}
		switch {
		case c.Stale(res): // one proposal is open at a time: this one goes first
			return payout.Refuse(payout.RefusalStale, "the payout moved on, or the case asks more, since %s made proposal %d; reject it, read the case again and propose anew", res.ProposedBy, res.Number)
		case a.Version != res.Version:
			return payout.Refuse(payout.RefusalStale, "the proposal is bound to version %d, and you approve version %d; read the case again", res.Version, a.Version)
		}
		if err := mayResolve(ctx, c, r, res.Action, seen{a.Version, a.Questions}, decision{providerID: res.ProviderPayoutID, ticket: res.ProviderTicket}); err != nil {
			return err
		}
		res.Status = ResolutionApproved
		if err := t.saveResolution(ctx, res); err != nil {
			return err
		}
		if err := t.audit(ctx, a.By, "approve", c, fmt.Sprintf("%d: %s", res.Number, res.Action)); err != nil {
			return err
		}
		if r == nil {
			return l.dismissHouse(ctx, t, c, &res)
		}
		n, err := t.exec(ctx, "UPDATE payouts SET unread = 1, woken_at = ? WHERE id = ?", stored(t.now), string(r.id))
		wake = payout.Stored{PayoutID: r.id, Kind: r.kind, Late: r.status.Final(), Wake: n == 1}
		return err
	})
	return res, wake, err
}

// decision is what a person adds to an action.
type decision struct{ providerID, ticket string }

// seen is what a person looked at: the payout's version, and how much the case
// asked; 0: not known.
type seen struct{ version, questions int }

// mayResolve refuses an action that does not answer the case as things are.
func mayResolve(ctx context.Context, c Case, r *row, action payout.Action, by seen, d decision) error {
	switch {
	case c.Status != "open":
		return payout.Refuse(payout.RefusalClosed, "the case is closed: %s", c.ClosedBy)
	case by.version != c.Version:
		return payout.Refuse(payout.RefusalStale, "the case is at version %d, not %d: something happened since you looked; read it again", c.Version, by.version)
	case c.asksMore(by.questions):
		return payout.Refuse(payout.RefusalStale, "the case asks more than when you looked; read it again")
	case !slices.ContainsFunc(payout.Offers(c.Kind), func(o payout.Offer) bool { return o.Action == action }):
		return payout.Refuse(payout.RefusalNotOffered, "%s does not answer a case of kind %s; %s", action, c.Kind, answers(c.Kind))
	case r == nil:
		return nil // about no payout: only dismiss is offered
	}
	return r.may(ctx, c, action, d)
}

// answers says what people may decide about a kind of case.
func answers(kind payout.CaseKind) string {
	offers := payout.Offers(kind)
	if len(offers) == 0 {
		return "nothing that people decide does"
	}
	names := make([]string, len(offers))
	for i, o := range offers {
		names[i] = string(o.Action)
	}
	return "want " + strings.Join(names, " or ")
}

// Stale says that a proposal of this case can only be rejected: the payout moved
// on, or the case asks more, since it was made.
func (c Case) Stale(d Resolution) bool {
	return c.Status == "open" && d.Status == ResolutionProposed && (d.Version != c.Version || c.asksMore(d.Questions))
}

// asksMore says that the case asked less when it was looked at. 0: that is not known.
func (c Case) asksMore(questions int) bool { return questions != 0 && questions != c.Questions }

// may refuses an action that the payout does not allow now.
func (r *row) may(ctx context.Context, c Case, action payout.Action, d decision) error {
	no := func(format string, args ...any) error {
		return payout.Refuse(payout.RefusalNotOffered, "%s: "+format, append([]any{action}, args...)...)
	}
	switch action {
	case payout.ActionNeverCreated:
		return r.mayNeverHaveBeenCreated(ctx, d.ticket)
	case payout.ActionCreatedAs:
		if r.moneyAt != payout.MoneyHeld {
			return no("the money is %s, not held", r.moneyAt)
		}
		if d.providerID == "" {
			return nil
		}
		_, err := r.meant(ctx, d.providerID)
		return err
	case payout.ActionNotOurs:
		_, err := r.strange(ctx, d)
		return err
	case payout.ActionReleaseFrozen, payout.ActionKeepFrozen:
		if r.moneyAt != payout.MoneyFrozen {
			return no("the money is %s, not frozen", r.moneyAt)
		}
	case payout.ActionBookReturn:
		if r.moneyAt != payout.MoneyPaid {
			return no("the money is %s: only what was paid can come back", r.moneyAt)
		}
	case payout.ActionRecover:
		open, err := r.openExposure(ctx)
		if err != nil {
			return err
		}
		if open == 0 {
			return no("no exposure is open")
		}
		if back, err := r.cameBack(ctx, open); err != nil || back {
			if err == nil {
				err = no("its bank sent it back to the house: nothing is owed (adjust)")
			}
			return err
		}
		var available int64
		if err := r.t.row(ctx, "SELECT available FROM balances WHERE player_id = ? AND currency = ?", r.player, string(r.money.Currency)).Scan(&available); err != nil {
			return err
		}
		if available < r.money.Minor {
			return no("the player has %s available, less than %s", payout.Money{Minor: available, Currency: r.money.Currency}, r.money)
		}
	case payout.ActionAdjust:
		at, err := r.toAdjust(ctx)
		if err != nil {
			return err
		}
		if at == nil {
			return no("nothing in the books is to be adjusted")
		}
	case payout.ActionDismiss:
		if r.status == payout.StatusParked && c.Kind != payout.CaseSlow {
			return no("the payout is parked, and this is what it waits for")
		}
		if at, err := r.toAdjust(ctx); err != nil || at != nil && c.Kind == payout.CaseExposure {
			if err == nil {
				err = no("the exposure is to be made good first")
			}
			return err
		}
	}
	return nil
}

// strange is the further payout that a person means, which the provider has not
// decided for so long that it may be none of ours.
func (r *row) strange(ctx context.Context, d decision) (double, error) {
	no := func(format string, args ...any) (double, error) {
		return double{}, payout.Refuse(payout.RefusalNotOffered, "not_ours: "+format, args...)
	}
	doubles, err := r.doubles(ctx)
	if err != nil {
		return double{}, err
	}
	at := slices.IndexFunc(doubles, func(of double) bool {
		return of.status == doubleOpen && (d.providerID == "" || of.providerID == d.providerID)
	})
	switch {
	case at < 0 && d.providerID == "":
		return no("no further payout of an attempt is undecided")
	case at < 0:
		return no("%s is no undecided further payout of this one", d.providerID)
	}
	began, _, err := r.lastSend(ctx, doubles[at].attempt)
	if err != nil {
		return double{}, err
	}
	if began.Before(doubles[at].learnt) {
		began = doubles[at].learnt
	}
	if after := began.Add(payout.NeverCreatedAfter); r.t.now.Before(after) && d.ticket == "" {
		return no("wait until %s, or enter a ticket of the provider (provider_ticket)", after.Format(time.RFC3339))
	}
	return doubles[at], nil
}

// meant is the attempt that a provider id given by a person is about.
func (r *row) meant(ctx context.Context, providerID string) (attempt, error) {
	attempts, err := r.attempts(ctx)
	if err != nil {
		return attempt{}, err
	}
	doubles, err := r.doubles(ctx)
	if err != nil {
		return attempt{}, err
	}
	latest := attempts[len(attempts)-1]
	found := -1
	for i, a := range attempts {
		if a.providerID == providerID || slices.ContainsFunc(doubles, func(d double) bool { return d.attempt == a.number && d.providerID == providerID }) {
			found = i
		}
	}
	if found < 0 && latest.providerID == "" && !latest.closed {
		found = len(attempts) - 1
	}
	if found < 0 {
		return attempt{}, payout.Refuse(payout.RefusalNotOffered, "created_as: %s is none of the provider's ids of this payout, and no attempt is without one", providerID)
	}
	if found < len(attempts)-1 && !latest.closed {
		if err := r.nowhere(ctx, latest); err != nil {
			return attempt{}, err
		}
	}
	if own := attempts[found]; own.providerID != "" && own.providerID != providerID {
		if last, err := r.lastVerdict(ctx, own); err != nil {
			return attempt{}, err
		} else if last != payout.VerdictFailed {
			return attempt{}, payout.Refuse(payout.RefusalNotOffered, "created_as: %s, the first payout of attempt %d, has not failed; only then can another one stand for it", own.providerID, own.number)
		}
	}
	var owner string
	err = r.t.row(ctx, "SELECT payout_id FROM attempts WHERE provider_payout_id = ? AND payout_id <> ? UNION ALL SELECT payout_id FROM doubles WHERE provider_payout_id = ? AND payout_id <> ?",
		providerID, string(r.id), providerID, string(r.id)).Scan(&owner)
	if err == nil {
		return attempt{}, payout.Refuse(payout.RefusalNotOffered, "created_as: %s is the provider's id of payout %s", providerID, owner)
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return attempt{}, err
	}
	return attempts[found], nil
}

// nowhere refuses to decide about an earlier attempt while the latest may be
// at the provider: sent, and not looked for since the last byte could arrive.
func (r *row) nowhere(ctx context.Context, latest attempt) error {
	if latest.providerID != "" {
		return payout.Refuse(payout.RefusalNotOffered, "created_as: attempt %d is not decided yet; wait until it is", latest.number)
	}
	s, err := r.sent(ctx, latest.number)
	if err != nil || s.unresolved == 0 {
		return err
	}
	_, over, err := r.lastSend(ctx, latest.number)
	if err == nil && !latest.lookedAt.After(over) {
		err = payout.Refuse(payout.RefusalNotOffered, "created_as: attempt %d may be at the provider; the statement is read to its end again after %s", latest.number, over.Format(time.RFC3339))
	}
	return err
}

// approved lists what two people decided about this payout and no step has
// carried out.
const approvedOf = "payout_id = ? AND status = 'approved' ORDER BY decided_at, case_id"

func (r *row) approved(ctx context.Context) ([]Resolution, error) {
	if !r.holds.decisions {
		return nil, nil
	}
	return r.t.resolutions(ctx, approvedOf, string(r.id))
}

func has(list []Resolution, action payout.Action) bool {
	return slices.ContainsFunc(list, func(d Resolution) bool { return d.Action == action })
}

// proposed says that a word is about an id which a person gave.
func proposed(list []Resolution, said payout.Asked) bool {
	return slices.ContainsFunc(list, func(d Resolution) bool { return d.ProviderPayoutID != "" && d.ProviderPayoutID == said.ProviderID })
}

// asked are the cases that two people decided about, as they are before this
// step hears anything.
func (r *row) asked(ctx context.Context, approved []Resolution) (map[string]Case, error) {
	cases := map[string]Case{}
	for _, d := range approved {
		c, err := r.t.caseOf(ctx, d.CaseID)
		if err != nil {
			return nil, err
		}
		cases[d.CaseID] = c
	}
	return cases, nil
}

// carryOut does what two people approved, when it still holds. before is the
// case as it was when the step began: what the step itself heard is no question
// that they missed, since all is looked at again.
func (r *row) carryOut(ctx context.Context, before Case, d Resolution, heard payout.Heard) error {
	if !slices.Contains(heard.Approved, d.name()) {
		return nil // approved after the asking: its own step asks what it needs
	}
	c, err := r.t.caseOf(ctx, d.CaseID)
	if err != nil {
		return err
	}
	d.EndedAt = r.t.now
	var outcome string
	if before.Status == "open" && before.asksMore(d.Questions) {
		err = payout.Refuse(payout.RefusalStale, "the case asks more than when %s proposed this; read it again and propose anew", d.ProposedBy)
	} else {
		outcome, err = r.resolve(ctx, c, d, heard)
	}
	var refused *payout.Refusal
	switch {
	case errors.As(err, &refused):
		d.Status, d.Outcome = ResolutionVoid, refused.Why
		if err := r.note(ctx, "", "%s was approved by two people and not carried out: %s", d.Action, refused.Why); err != nil {
			return err
		}
	case err != nil:
		return err
	default:
		d.Status, d.Outcome = ResolutionDone, outcome
		if err := r.note(ctx, "", "%s, approved by two people: %s", d.Action, outcome); err != nil {
			return err
		}
		by := fmt.Sprintf("%s by %s and %s", d.Action, d.ProposedBy, d.DecidedBy)
		if stays, err := r.asksOn(ctx, c, d); err != nil {
			return err
		} else if !stays {
			if err := r.t.endCase(ctx, d.CaseID, by); err != nil {
				return err
			}
		}
		if d.Action == payout.ActionRecover || d.Action == payout.ActionAdjust {
			if err := r.endExposure(ctx, by); err != nil {
				return err
			}
		}
	}
	if err := r.t.saveResolution(ctx, d); err != nil {
		return err
	}
	return r.t.audit(ctx, heard.By, d.Status, c, fmt.Sprintf("%d: %s: %s", d.Number, d.Action, d.Outcome))
}

// asksOn says that a case stays open after a decision was carried out: frozen
// money is kept, a further exposure is to be made good, or the payout is parked
// all the same and nothing else asks about it.
func (r *row) asksOn(ctx context.Context, c Case, d Resolution) (bool, error) {
	switch {
	case d.Action == payout.ActionKeepFrozen:
		return true, nil
	case c.Kind == payout.CaseExposure:
		left, err := r.toAdjust(ctx)
		return left != nil, err
	case r.status == payout.StatusParked:
		var others int
		err := r.t.row(ctx, "SELECT COUNT(*) FROM cases WHERE payout_id = ? AND status = 'open' AND id <> ?", string(r.id), c.ID).Scan(&others)
		return others == 0, err
	}
	return false, nil
}

// endExposure closes the case of an exposure when nothing is left to be made
// good, whichever case that was decided about.
func (r *row) endExposure(ctx context.Context, by string) error {
	left, err := r.toAdjust(ctx)
	if err != nil || left != nil {
		return err
	}
	_, err = r.t.exec(ctx, "UPDATE cases SET status = 'closed', closed_at = ?, closed_by = ?, version = version + 1 WHERE payout_id = ? AND kind = ? AND status = 'open'",
		stored(r.t.now), by, string(r.id), string(payout.CaseExposure))
	return err
}

// dismissHouse carries out what was decided about a case that is about no
// payout.
func (l *Ledger) dismissHouse(ctx context.Context, t tx, c Case, d *Resolution) error {
	if c.Kind == payout.CaseUnmatchedEvent {
		if _, err := t.exec(ctx, "UPDATE inbox SET applied_at = ?, applied_by = ? WHERE provider_payout_id = ? AND payout_id IS NULL AND applied_at IS NULL",
			stored(t.now), "dismissed", c.Subject); err != nil {
			return err
		}
	}
	if err := t.endCase(ctx, c.ID, fmt.Sprintf("%s by %s and %s", d.Action, d.ProposedBy, d.DecidedBy)); err != nil {
		return err
	}
	d.Status, d.EndedAt, d.Outcome = ResolutionDone, t.now, "nothing is done"
	return t.saveResolution(ctx, *d)
}

func (t tx) endCase(ctx context.Context, id, by string) error {
	// What was decided may have closed it a moment ago.
	_, err := t.exec(ctx, "UPDATE cases SET status = 'closed', closed_at = ?, closed_by = ?, version = version + 1 WHERE id = ? AND (status = 'open' OR closed_at = ?)",
		stored(t.now), by, id, stored(t.now))
	return err
}

func (t tx) saveResolution(ctx context.Context, d Resolution) error {
	_, err := t.exec(ctx, "UPDATE resolutions SET status = ?, decided_by = ?, decided_at = ?, ended_at = ?, outcome = ? WHERE case_id = ? AND number = ?",
		d.Status, d.DecidedBy, stored(d.DecidedAt), stored(d.EndedAt), d.Outcome, d.CaseID, d.Number)
	return err
}

func (t tx) audit(ctx context.Context, who, what string, c Case, detail string) error {
	_, err := t.exec(ctx, `INSERT INTO audit (position, at, who, what, case_id, payout_id, detail)
		SELECT COALESCE(MAX(position), 0) + 1, CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT) FROM audit`,
		stored(t.now), who, what, c.ID, string(c.PayoutID), detail)
	return err
}

// lockCase reads a case, and locks the payout it is about; nil for none.
func (l *Ledger) lockCase(ctx context.Context, t tx, id string) (Case, *row, error) {
	c, err := t.caseOf(ctx, id)
	if err != nil {
		return c, nil, err
	}
	if c.PayoutID == "" {
		err := t.row(ctx, "SELECT status FROM cases WHERE id = ?"+t.d.forUpdate(), id).Scan(&c.Status)
		return c, nil, err
	}
	r, err := l.lock(ctx, t, c.PayoutID)
	if err != nil {
		return c, nil, err
	}
	c, err = t.caseOf(ctx, id) // as it is now that nobody changes it
	return c, r, err
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

const resolutionColumns = `case_id, number, action, provider_payout_id, provider_ticket, reason, amount_in_minor, currency, version, case_version, status, proposed_by, proposed_at,
	decided_by, decided_at, ended_at, outcome`

func scanResolution(from interface{ Scan(...any) error }) (d Resolution, err error) {
	var proposed, decided, ended int64
	err = from.Scan(&d.CaseID, &d.Number, &d.Action, &d.ProviderPayoutID, &d.ProviderTicket, &d.Reason, &d.Money.Minor, &d.Money.Currency, &d.Version, &d.Questions, &d.Status,
		&d.ProposedBy, &proposed, &d.DecidedBy, &decided, &ended, &d.Outcome)
	d.ProposedAt, d.DecidedAt, d.EndedAt = moment(proposed), moment(decided), moment(ended)
	return d, err
}

// name tells a resolution from all others.
func (d Resolution) name() string { return fmt.Sprintf("%s/%d", d.CaseID, d.Number) }

const resolutionsWhere = "SELECT " + resolutionColumns + " FROM resolutions WHERE "

func (t tx) resolutions(ctx context.Context, where string, args ...any) (list []Resolution, err error) {
	rows, err := t.rows(ctx, resolutionsWhere+where, args...)
	return list, each(rows, err, func(rows scanned) error {
		d, err := scanResolution(rows)
		list = append(list, d)
		return err
	})
}

func (t tx) resolution(ctx context.Context, caseID string, number int) (Resolution, error) {
	d, err := scanResolution(t.row(ctx, "SELECT "+resolutionColumns+" FROM resolutions WHERE case_id = ? AND number = ?", caseID, number))
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("proposal %d of case %s: %w", number, caseID, payout.ErrNotFound)
	}
	return d, err
}

func (t tx) openResolution(ctx context.Context, caseID string) (*Resolution, error) {
	list, err := t.resolutions(ctx, "case_id = ? AND status IN ('proposed', 'approved')", caseID)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}
