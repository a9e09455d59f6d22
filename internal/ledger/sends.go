package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"payouts/internal/payout"
)

// sent is what the send log says about one attempt.
type sent struct {
	count      int       // rows
	unresolved int       // rows that may have reached the provider
	refused    int       // rows among them that it refused
	first      time.Time // when the first unresolved one started
	inFlight   time.Time // the latest deadline of rows without an answer; zero: none
}

// A refusal stays unresolved beside a send that may have been taken: the two
// answers contradict, and only that of all sends together is definitive.
const sendsOf = `SELECT COUNT(*),
		COALESCE(SUM(CASE WHEN COALESCE(answer, '') <> 'not_sent' THEN 1 ELSE 0 END), 0),
		COALESCE(SUM(CASE WHEN answer = 'refused' THEN 1 ELSE 0 END), 0),
		COALESCE(MIN(CASE WHEN COALESCE(answer, '') <> 'not_sent' THEN started_at END), 0),
		COALESCE(MAX(CASE WHEN answer IS NULL THEN deadline_at END), 0)
		FROM sends WHERE payout_id = ? AND attempt = ?`

func (r *row) sent(ctx context.Context, attempt int) (sent, error) {
	var s sent
	var first, inFlight int64
	err := r.t.row(ctx, sendsOf, string(r.id), attempt).Scan(&s.count, &s.unresolved, &s.refused, &first, &inFlight)
	s.first, s.inFlight = moment(first), moment(inFlight)
	return s, err
}

// OpenSend asks for permission to send the latest attempt with a token that
// ends at tokenExpires, and writes the send log's row. Permission is given
// only while the attempt is open and the latest, the payout not final, and a
// resend within KEY_WINDOW of the first send that may have arrived. Without
// permission Send.Number is 0, and the position says what to do instead: with
// StepCreate still, the provider is to be asked first.
//
//	Errors: *payout.Braked while the provider does not let us in
//	Clock: ours; the send must not leave after Send.Deadline
func (l *Ledger) OpenSend(ctx context.Context, id payout.ID, tokenExpires time.Time) (send payout.Send, p payout.Position, err error) {
	err = l.inTx(ctx, "open send", func(t tx) error {
		send = payout.Send{}
		const first = 1 // what is asked ahead of it is asked in vain where a later attempt is sent
		t.ahead(theBrake, brakeName)
		t.ahead(sendsOf, string(id), first)
		r, err := l.lock(ctx, t, id)
		if err != nil {
			return err
		}
		if r.step != payout.StepCreate {
			p, err = r.position(ctx)
			return err
		}
		a, err := r.attemptNumber(ctx, r.attempt)
		if err != nil {
			return err
		}
		if learnt, err := r.learn(ctx, &a); err != nil || learnt {
			if err == nil {
				p, err = r.save(ctx)
			}
			return err
		}
		if ask, err := r.mustAsk(ctx); err != nil || ask {
			p, err = r.askFirst(ctx, err)
			p.Step = payout.StepCreate // that is next still, when the step that sends has asked
			return err
		}
		doubted, err := l.mayAsk(ctx, t)
		if err != nil {
			return err
		}
		s, err := r.sent(ctx, a.number)
		if err != nil {
			return err
		}
		if s.unresolved == 0 {
			s.first = t.now // this one will be
		}
		switch {
		case a.closed:
			return fmt.Errorf("attempt %d is closed while the next step is to send it", a.number)
		case a.keyReused:
			r.lookFirst("the provider knows this attempt's idempotency key with another body: it may have been created by an earlier send")
		case t.now.Before(s.first.Add(-clockSlack)): // nobody knows how old the key is
			r.lookFirst(fmt.Sprintf("sent %d times since %s without a definitive answer, and by our clock, which went back, that is still to come: whether the key lives is not known",
				s.count, s.first.Format(time.RFC3339)))
		case s.unresolved > 0 && t.now.After(s.first.Add(l.timing.KeyWindow)):
			r.lookFirst(fmt.Sprintf("sent %d times since %s without a definitive answer, and the window of %s in which the same key may be sent again is over",
				s.count, s.first.Format(time.RFC3339), l.timing.KeyWindow))
		case tokenExpires.After(s.first.Add(l.timing.KeyLife - payout.KeyMargin)):
			return fmt.Errorf("the access token outlives the idempotency key: it ends %s, the key may be forgotten from %s on; lower KEY_WINDOW",
				tokenExpires.Format(time.RFC3339), s.first.Add(l.timing.KeyLife).Format(time.RFC3339))
		default:
			send = payout.Send{PayoutID: r.id, Kind: r.kind, Attempt: a.number, Number: s.count + 1, Key: a.key, Body: a.body, Deadline: t.now.Add(l.timing.SendFor),
				Doubted: doubted, PaymentID: r.payment}
			if err := t.write(ctx, "INSERT INTO sends (payout_id, attempt, number, started_at, deadline_at, token_expires_at) VALUES (?, ?, ?, ?, ?, ?)",
				string(id), a.number, send.Number, stored(t.now), stored(send.Deadline), stored(tokenExpires)); err != nil {
				return err
			}
		}
		p, err = r.save(ctx)
		return err
	})
	return send, p, err
}

// earlierFresh is how old the last word about an earlier attempt may be when
// the next one is sent: nothing may have turned up meanwhile.
const earlierFresh = 15 * time.Minute

// mustAsk says that the provider is to be asked before the latest attempt is
// sent: news lies unread, or an earlier attempt was asked about long ago.
func (r *row) mustAsk(ctx context.Context) (bool, error) {
	if n, err := r.unapplied(ctx); err != nil || n > 0 {
		return n > 0, err
	}
	if r.attempt == 1 {
		return false, nil
	}
	attempts, err := r.attempts(ctx)
	for _, a := range attempts {
		if a.number < r.attempt && a.providerID != "" && r.t.now.Sub(a.askedAt) > earlierFresh {
			return true, err
		}
	}
	return false, err
}

// askFirst is the row's position, but for the step: the provider is asked, and
// the row's own step stays what it is unless the words decide otherwise.
func (r *row) askFirst(ctx context.Context, err error) (payout.Position, error) {
	if err != nil {
		return payout.Position{}, err
	}
	p, err := r.position(ctx)
	p.Step, p.Wait = payout.StepReconcile, 0
	return p, err
}

// CloseSend writes a send's answer beside it and judges it: created, refused
// (only when no other send of the attempt may have arrived), or still to send.
//
//	Repeats: safe; a send is answered once, later answers change nothing
func (l *Ledger) CloseSend(ctx context.Context, send payout.Send, c payout.Created) (p payout.Position, err error) {
	err = l.inTx(ctx, "close send", func(t tx) error {
		first := false
		if c.Answer == payout.AnswerCreated {
			t.ahead(ownerOfAttempt, c.ProviderID)
		}
		r, err := l.lock(ctx, t, send.PayoutID, question{"UPDATE sends SET answer = ?, answered_at = ?, detail = ? WHERE payout_id = ? AND attempt = ? AND number = ? AND answer IS NULL RETURNING number",
			[]any{string(c.Answer), stored(t.now), c.Detail, string(send.PayoutID), send.Attempt, send.Number}, func(from scanned) error {
				var number int
				first = true
				return from.Scan(&number)
			}})
		if err != nil {
			return err
		}
		a, err := r.attemptNumber(ctx, send.Attempt)
		if err != nil {
			return err
		}
		if first {
			if err := r.answered(ctx, &a, send, c); err != nil {
				return err
			}
			if err := r.saveAttempt(ctx, a); err != nil {
				return err
			}
			switch {
			case c.NotLetIn:
				_, err = l.notLetIn(ctx, t, c.Detail)
			case send.Doubted && (c.Answer == payout.AnswerCreated || c.Answer == payout.AnswerRefused):
				err = l.letIn(ctx, t)
			}
			if err != nil {
				return err
			}
		}
		p, err = r.save(ctx)
		return err
	})
	return p, err
}

func (r *row) answered(ctx context.Context, a *attempt, send payout.Send, c payout.Created) error {
	switch c.Answer {
	case payout.AnswerCreated:
		return r.createdThere(ctx, a, c)
	case payout.AnswerRefused:
		s, err := r.sent(ctx, a.number)
		if err != nil {
			return err
		}
		if s.unresolved > s.refused || a.closed || a.providerID != "" || a.number != r.attempt {
			return r.note(ctx, "", "attempt %d: refused, but an earlier send may have arrived: still unknown", a.number)
		}
		evidenceID, err := r.evidence(ctx, *a, "create", payout.Word{Status: evidenceRefused, Reason: c.Reason, AskedAt: r.t.now, Raw: c.Raw})
		if err != nil {
			return err
		}
		a.status, a.reason, a.closed = attemptRefused, c.Reason, true
		return r.failedAttempt(ctx, *a, evidenceID, "refused by the provider")
	case payout.AnswerUnknown:
		a.keyReused = a.keyReused || c.KeyReused
		if send.Number == 1 {
			return r.note(ctx, "", "attempt %d: sent, no answer yet (%s)", a.number, c.Detail)
		}
	case payout.AnswerNotSent:
		return r.unsent(ctx, a)
	}
	return nil
}

// unsent: one more send turned out never to have left. When that is so of all,
// there is nothing to ask a person: the attempt is sent.
func (r *row) unsent(ctx context.Context, a *attempt) error {
	asked := r.unknownOutcome() || r.step == payout.StepPark && r.parkKind == payout.CaseUnknownOutcome || r.status == payout.StatusParked
	if !asked || a.number != r.attempt || a.closed || a.providerID != "" {
		return nil
	}
	if s, err := r.sent(ctx, a.number); err != nil || s.unresolved > 0 {
		return err
	}
	beside, err := r.beside(ctx, a.number)
	if err != nil || beside != "" {
		return err
	}
	var unknown, others int
	if err := r.t.row(ctx, `SELECT COALESCE(SUM(CASE WHEN kind = ? THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN kind IN (?, ?) THEN 1 ELSE 0 END), 0) FROM cases WHERE payout_id = ? AND status = 'open'`,
		string(payout.CaseUnknownOutcome), string(payout.CaseContradiction), string(payout.CaseMismatch), string(r.id)).Scan(&unknown, &others); err != nil {
		return err
	}
	if others > 0 || r.status == payout.StatusParked && unknown == 0 {
		return nil // a person is asked something else
	}
	if r.status == payout.StatusParked {
		r.status = payout.StatusAccepted
		if a.number > 1 {
			r.status = payout.StatusPending
		}
	}
	r.next(payout.StepCreate, 0)
	if err := r.closeCases(ctx, payout.CaseUnknownOutcome); err != nil {
		return err
	}
	return r.note(ctx, "", "attempt %d: no request of it left after all; it is sent", a.number)
}

// createdThere takes the provider's id into the attempt.
func (r *row) createdThere(ctx context.Context, a *attempt, c payout.Created) error {
	owner, err := r.ownerOf(ctx, c.ProviderID)
	if err != nil {
		return err
	}
	evidenceID, err := r.evidence(ctx, *a, "create", payout.Word{ProviderID: c.ProviderID, Status: evidenceCreated, AskedAt: r.t.now, Raw: c.Raw})
	if err != nil {
		return err
	}
	if a.providerID != "" && a.providerID != c.ProviderID {
		why := fmt.Sprintf("attempt %d has two payouts at the provider: %s and %s", a.number, a.providerID, c.ProviderID)
		if err := r.doubled(ctx, a.number, c.ProviderID); err != nil {
			return err
		}
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, why)
	}
	if a.providerID == c.ProviderID {
		return nil
	}
	return r.knownOf(ctx, a, c.ProviderID, owner, evidenceID)
}

const ownerOfAttempt = "SELECT payout_id FROM attempts WHERE provider_payout_id = ?"

// ownerOf is the payout whose attempt has this id at the provider; "" for none.
func (r *row) ownerOf(ctx context.Context, providerID string) (owner string, err error) {
	err = r.t.row(ctx, ownerOfAttempt, providerID).Scan(&owner)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return owner, err
}

// known says that an attempt is at the provider, under an id.
func (r *row) known(ctx context.Context, a *attempt, providerID, evidenceID string) error {
	owner, err := r.ownerOf(ctx, providerID)
	if err != nil {
		return err
	}
	return r.knownOf(ctx, a, providerID, owner, evidenceID)
}

// knownOf is known where it was asked whose id that is.
func (r *row) knownOf(ctx context.Context, a *attempt, providerID, owner, evidenceID string) error {
	if owner != "" {
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, fmt.Sprintf("attempt %d was answered with %s, which is the provider's id of another attempt, of payout %s", a.number, providerID, owner))
	}
	a.providerID, a.createdThereAt = providerID, r.t.now
	r.heard, r.claims = false, nil
	if a.closed { // a send that was slower than the verdict: somebody must look
		why := fmt.Sprintf("attempt %d was closed as %s and then turned out to exist at the provider as %s", a.number, a.status, providerID)
		return r.doubt(ctx, payout.CaseContradiction, evidenceID, why)
	}
	a.status = attemptCreated
	// Events that overtook the answer find their payout now.
	if err := r.ownNews(ctx, *a); err != nil {
		return err
	}
	unread, err := r.unapplied(ctx) // those among it
	if err != nil {
		return err
	}
	paid, err := r.paidBeside(ctx, a.number)
	if err != nil {
		return err
	}
	parking := r.step == payout.StepPark
	switch answered := len(paid) == 0 && (!parking || r.parkKind == payout.CaseUnknownOutcome); {
	case answered:
		r.become(payout.StatusPending)
		if r.next(payout.StepWait, r.l.timing.PollFirst); unread > 0 {
			r.next(payout.StepReconcile, 0)
		}
	case !parking: // parked, and an id does not answer what is asked; there is something to poll now
		r.next(payout.StepWait, r.l.timing.PollFirst)
	}
	if err := r.closeCases(ctx, payout.CaseUnknownOutcome); err != nil {
		return err
	}
	return r.note(ctx, evidenceID, "created at the provider (attempt %d)", a.number)
}

const toLearn = `SELECT provider_payout_id FROM inbox WHERE payout_id = ? AND attempt = ? AND provider_payout_id <> '' AND applied_at IS NULL
	ORDER BY received_at LIMIT 1`

// learn takes the provider's id from an event that overtook the create's
// answer and names this attempt in its metadata.
func (r *row) learn(ctx context.Context, a *attempt) (bool, error) {
	if a.providerID != "" || !r.holds.unread {
		return false, nil
	}
	var providerID string
	rows, err := r.t.rows(ctx, toLearn, string(r.id), a.number)
	if err := each(rows, err, func(rows scanned) error { return rows.Scan(&providerID) }); err != nil || providerID == "" {
		return false, err
	}
	if err := r.known(ctx, a, providerID, ""); err != nil {
		return false, err
	}
	return true, r.saveAttempt(ctx, *a)
}
