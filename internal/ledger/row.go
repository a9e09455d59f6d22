package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"payouts/internal/payout"
)

// row is a payout's row inside a transaction that holds its lock. Steps
// change its fields and save once.
type row struct {
	t tx
	l *Ledger

	id                                        payout.ID
	kind                                      payout.Kind
	caller, key, player                       string
	money                                     payout.Money
	merchant, user, source, reference, letter string // letter: metadata as JSON
	payment                                   string // of a refund: the provider's id of the pay-in

	status         payout.Status
	moneyAt        payout.MoneyAt
	reason         payout.Reason
	providerStatus string
	flaps          int
	claimed        string // what signed news says while the provider does not
	claimedAt      time.Time
	attempt        int
	step           payout.Step
	nextStepAt     time.Time
	parkKind       payout.CaseKind // with step park: what to ask a person
	parkWhy        string
	version        int
	created        time.Time
	statusAt       time.Time // since when it is in its status; zero: not known

	knows   bool // tried, further and holds are as stored
	tried   []attempt
	further []double
	holds   holds
	heard   bool // claims are as stored
	claims  []claim

	also     string         // further columns to save: read, applied
	was      payout.Status  // as stored, to see that the status changed
	wasMoney payout.MoneyAt // as stored, to see that the money moved
}

const rowColumns = `id, kind, caller, idempotency_key, player_id, amount_in_minor, currency, merchant_account_id, user_id, payment_source_id,
	reference, metadata, status, money, failure_reason, provider_status, flaps, claimed_status, claimed_at, attempt, step, next_step_at,
	park_kind, park_why, version, created_at, payment_id, status_at`

func (r *row) scan(from interface{ Scan(...any) error }) error {
	var claimedAt, nextStepAt, created, statusAt int64
	err := from.Scan(&r.id, &r.kind, &r.caller, &r.key, &r.player, &r.money.Minor, &r.money.Currency, &r.merchant, &r.user, &r.source,
		&r.reference, &r.letter, &r.status, &r.moneyAt, &r.reason, &r.providerStatus, &r.flaps, &r.claimed, &claimedAt, &r.attempt, &r.step,
		&nextStepAt, &r.parkKind, &r.parkWhy, &r.version, &created, &r.payment, &statusAt)
	r.claimedAt, r.nextStepAt, r.created, r.was = moment(claimedAt), moment(nextStepAt), moment(created), r.status
	r.wasMoney, r.statusAt = r.moneyAt, moment(statusAt)
	if statusAt == 0 && r.status == payout.StatusAccepted {
		r.statusAt = r.created
	}
	return err
}

// lock reads a payout's row and keeps every other transaction from changing
// it until this one ends. What else the caller asks is asked behind that, on the
// same journey.
func (l *Ledger) lock(ctx context.Context, t tx, id payout.ID, more ...question) (*row, error) {
	r := &row{t: t, l: l}
	return r, r.lock(ctx, id, more...)
}

// lock is Ledger.lock for who has questions that the row itself takes the answers
// to.
func (r *row) lock(ctx context.Context, id payout.ID, more ...question) error {
	its := []question{{"SELECT " + rowColumns + " FROM payouts WHERE id = ?" + r.t.d.forUpdate(), []any{string(id)}, r.scanRow}, r.itsAttempts(id)}
	err := r.t.ask(ctx, append(its, more...)...)
	if err == nil && r.id == "" {
		err = fmt.Errorf("payout %s: %w", id, payout.ErrNotFound)
	}
	if err == nil {
		err = r.askDoubled(ctx)
	}
	r.knows = err == nil
	return err
}

func (r *row) scanRow(from scanned) error { return r.scan(from) }

// holds says what there is of a payout in the tables that mostly hold nothing of
// it, so that they are asked only where they do.
type holds struct {
	doubles   bool // further payouts of an attempt
	decisions bool // that two people approved, and no step carried out
	unread    bool // news that no step has applied
	read      bool // news that one has
	cases     bool // open ones, also such as are about no payout
}

// holdsColumns are read with the attempts: behind the lock, so that nobody changes
// it any more, and by a statement of its own, so that what others changed while the lock
// was waited for is seen.
const holdsColumns = `EXISTS (SELECT 1 FROM doubles WHERE doubles.payout_id = attempts.payout_id),
	EXISTS (SELECT 1 FROM resolutions WHERE resolutions.payout_id = attempts.payout_id AND resolutions.status = 'approved'),
	EXISTS (SELECT 1 FROM inbox WHERE inbox.payout_id = attempts.payout_id AND inbox.applied_at IS NULL),
	EXISTS (SELECT 1 FROM inbox WHERE inbox.payout_id = attempts.payout_id AND inbox.applied_at IS NOT NULL),
	EXISTS (SELECT 1 FROM cases WHERE cases.payout_id = attempts.payout_id AND cases.status = 'open') OR EXISTS (SELECT 1 FROM cases WHERE cases.payout_id = '' AND cases.status = 'open')`

func (r *row) itsAttempts(id payout.ID) question {
	return question{"SELECT " + attemptColumns + ", " + holdsColumns + " FROM attempts WHERE payout_id = ? ORDER BY number", []any{string(id)}, func(from scanned) error {
		r.tried = append(r.tried, attempt{})
		return r.tried[len(r.tried)-1].scan(extended{from, []any{&r.holds.doubles, &r.holds.decisions, &r.holds.unread, &r.holds.read, &r.holds.cases}})
	}}
}

// askDoubled reads the further payouts of attempts, where there are any.
func (r *row) askDoubled(ctx context.Context) error {
	if !r.holds.doubles {
		return nil
	}
	return r.t.ask(ctx, r.itsDoubles(r.id))
}

func (r *row) itsDoubles(id payout.ID) question {
	return question{"SELECT provider_payout_id, attempt, status, learnt_at FROM doubles WHERE payout_id = ? ORDER BY learnt_at, provider_payout_id", []any{string(id)}, func(from scanned) error {
		var d double
		var learnt int64
		err := from.Scan(&d.providerID, &d.attempt, &d.status, &learnt)
		d.learnt = moment(learnt)
		r.further = append(r.further, d)
		return err
	}}
}

// forget has attempts and doubles read again: this transaction changed them.
// Nobody else can, while it holds the row's lock.
func (r *row) forget() { r.knows, r.tried, r.further = false, nil, nil }

// remember reads attempts and doubles, unless they are known.
func (r *row) remember(ctx context.Context) error {
	if r.knows {
		return nil
	}
	err := r.t.ask(ctx, r.itsAttempts(r.id))
	if err == nil {
		err = r.askDoubled(ctx)
	}
	r.knows = err == nil
	return err
}

func (r *row) metadata() map[string]string {
	m := map[string]string{}
	_ = json.Unmarshal([]byte(r.letter), &m) // we wrote it
	return m
}

func (r *row) intent(a attempt) payout.Intent {
	return payout.Intent{ID: r.id, Kind: r.kind, Attempt: a.number, ProviderID: a.providerID, Money: r.money, MerchantAccountID: r.merchant,
		UserID: r.user, PaymentSourceID: r.source, Reference: r.reference}
}

// final says that nothing more is to be done.
func (r *row) final() bool { return r.status.Final() && r.step == payout.StepDone }

// become moves the status where an arrow leads, and says whether it did.
func (r *row) become(next payout.Status) bool {
	if r.status == next || !r.status.MayBecome(next) {
		return false
	}
	r.status = next
	return true
}

// next sets what happens after this transaction. A zero wait is "now".
func (r *row) next(step payout.Step, wait time.Duration) {
	r.step, r.nextStepAt = step, r.t.now.Add(wait)
	if step != payout.StepPark && step != payout.StepReconcile {
		r.parkKind, r.parkWhy = "", ""
	}
	if step == payout.StepDone {
		r.nextStepAt = time.Time{}
	}
}

// park makes the next step a question to a person.
func (r *row) park(kind payout.CaseKind, why string) {
	r.next(payout.StepPark, 0)
	r.parkKind, r.parkWhy = kind, why
}

// position is what the row tells its run. The case is looked up where a person
// is asked.
func (r *row) position(ctx context.Context) (payout.Position, error) {
	p := payout.Position{Status: r.status, Step: r.step, Attempt: r.attempt, Reason: r.reason}
	if !r.nextStepAt.IsZero() && (r.step == payout.StepWait || r.step == payout.StepTryAgain) {
		// Never 0: 0 means that there is no timer at all.
		p.Wait = max(r.nextStepAt.Sub(r.t.now), time.Millisecond)
	}
	if r.moneyAt != payout.MoneyHeld {
		p.Money = r.moneyAt
	}
	switch r.status {
	case payout.StatusParked, payout.StatusFailed, payout.StatusReturned:
		err := r.t.row(ctx, "SELECT id, kind FROM cases WHERE payout_id = ? AND status = 'open' ORDER BY opened_at LIMIT 1", string(r.id)).Scan(&p.CaseID, &p.CaseKind)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return p, err
		}
	}
	return p, nil
}

// sweepGrace is how long after its next step is due a payout is given before
// the sweeper asks whether its run still exists; sweepLook is how often it
// asks at the most. Both in sweeper periods.
const (
	sweepGrace = 1
	sweepLook  = 5
)

// dueAt is when the sweeper looks at the row: nil when it needs none.
func (r *row) dueAt() any {
	if r.final() {
		return nil
	}
	at := r.t.now
	if r.nextStepAt.After(at) {
		at = r.nextStepAt
	}
	every := r.l.timing.SweepEvery
	at = at.Add(sweepGrace * every)
	if latest := r.t.now.Add(sweepLook * every); at.After(latest) {
		at = latest
	}
	return stored(at)
}

// What save writes beside the fields.
const (
	read    = ", unread = 0" // what is stored from now on wakes the run again
	applied = `, woken_at = CASE WHEN EXISTS (SELECT 1 FROM inbox WHERE payout_id = payouts.id AND applied_at IS NULL)
		OR EXISTS (SELECT 1 FROM resolutions WHERE payout_id = payouts.id AND status = 'approved') THEN woken_at END`
)

// save writes the row. When the status changed, or the money moved, it counts
// the version up and writes the outbox row, so that neither exists without the
// other. Since when the status is new the database writes itself (status_at).
func (r *row) save(ctx context.Context) (payout.Position, error) {
	if r.status != r.was || r.moneyAt != r.wasMoney {
		r.version++
		if err := r.tell(ctx); err != nil {
			return payout.Position{}, err
		}
		r.moved()
		r.was, r.wasMoney = r.status, r.moneyAt
	}
	err := r.t.write(ctx, `UPDATE payouts SET status = ?, money = ?, failure_reason = ?, provider_status = ?, flaps = ?, claimed_status = ?,
		claimed_at = ?, attempt = ?, step = ?, next_step_at = ?, park_kind = ?, park_why = ?, version = ?, due_at = ?, updated_at = ?`+r.also+` WHERE id = ?`,
		string(r.status), string(r.moneyAt), string(r.reason), r.providerStatus, r.flaps, r.claimed, stored(r.claimedAt), r.attempt,
		string(r.step), stored(r.nextStepAt), string(r.parkKind), r.parkWhy, r.version, r.dueAt(), stored(r.t.now), string(r.id))
	if err != nil {
		return payout.Position{}, err
	}
	return r.position(ctx)
}

// moved notes a status that is new, for those who count.
func (r *row) moved() {
	if r.status == r.was {
		return
	}
	to := Moved{ID: r.id, Kind: r.kind, Status: r.status, Reason: r.reason, Age: r.t.now.Sub(r.created)}
	if !r.statusAt.IsZero() {
		to.Left, to.Stayed = r.was, r.t.now.Sub(r.statusAt)
	}
	*r.t.moved = append(*r.t.moved, to)
}

// eventData is the data of payout.<status> and refund.<status>: what the game
// backend needs, by our ids and its own, without anything sealed.
type eventData struct {
	ID            payout.ID         `json:"id"`
	PlayerID      string            `json:"player_id"`
	Minor         int64             `json:"amount_in_minor"`
	Currency      payout.Currency   `json:"currency"`
	Status        payout.Status     `json:"status"`
	Money         payout.MoneyAt    `json:"money"`
	Reason        payout.Reason     `json:"failure_reason,omitempty"`
	PlayerMessage string            `json:"player_message"`
	Metadata      map[string]string `json:"metadata,omitempty"`
}

// tell writes the outbox row of the status the payout has now.
func (r *row) tell(ctx context.Context) error {
	data, err := json.Marshal(eventData{r.id, r.player, r.money.Minor, r.money.Currency, r.status, r.moneyAt, r.reason,
		payout.PlayerMessage(r.kind, r.status, r.reason), r.metadata()})
	if err != nil {
		return err
	}
	return r.t.post(ctx, r.caller, string(r.id), r.version, fmt.Sprintf("%s.%s", r.kind, r.status), data)
}

// post writes an outbox row. Its id follows from what it is about, so that a
// repeat is seen as one by the game backend too.
func (t tx) post(ctx context.Context, caller, subject string, version int, kind string, data []byte) error {
	id := uuid.NewSHA1(outboxIDs, fmt.Appendf(nil, "%s/%d/%s", subject, version, kind))
	err := t.write(ctx, `INSERT INTO outbox (id, caller, subject_id, version, type, occurred_at, data, next_try_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		id.String(), caller, subject, version, kind, stored(t.now), string(data), stored(t.now))
	return err
}

var outboxIDs = uuid.MustParse("9b0f8f0e-6d1c-5d0e-9a55-6c1f5a1f2d05")

// note writes a line of the timeline.
func (r *row) note(ctx context.Context, evidenceID, format string, args ...any) error {
	return r.t.write(ctx, `INSERT INTO timeline (payout_id, number, at, status, what, evidence_id)
		SELECT CAST(? AS TEXT), COALESCE(MAX(number), 0) + 1, CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT) FROM timeline WHERE payout_id = ?`,
		string(r.id), stored(r.t.now), string(r.status), fmt.Sprintf(format, args...), evidenceID, string(r.id))
}

// noteBoth writes two lines of the timeline, one after the other.
func (r *row) noteBoth(ctx context.Context, evidenceID, first, second string) error {
	return r.t.write(ctx, `INSERT INTO timeline (payout_id, number, at, status, what, evidence_id)
		SELECT CAST(? AS TEXT), last.number + line.column1, CAST(? AS BIGINT), CAST(? AS TEXT), line.column2, CAST(? AS TEXT)
		FROM (SELECT COALESCE(MAX(number), 0) AS number FROM timeline WHERE payout_id = ?) AS last, (VALUES (1, CAST(? AS TEXT)), (2, CAST(? AS TEXT))) AS line`,
		string(r.id), stored(r.t.now), string(r.status), evidenceID, string(r.id), first, second)
}

// attempt is a row of attempts.
type attempt struct {
	number         int
	key            string
	body           []byte
	providerID     string
	status         string
	reason         payout.Reason
	keyReused      bool
	accepted       string // a field in which their word differs, and two people said it is ours all the same
	askedAt        time.Time
	lookedAt       time.Time // when we began the last whole reading of a statement that does not show it
	created        time.Time
	createdThereAt time.Time
	closed         bool
}

const (
	attemptOpen     = "open"     // no id of theirs known
	attemptCreated  = "created"  // at the provider, undecided
	attemptRefused  = "refused"  // a definitive no at creation
	attemptFailed   = "failed"   // a definitive no later
	attemptExecuted = "executed" // paid
)

const attemptColumns = "number, idempotency_key, body, COALESCE(provider_payout_id, ''), status, failure_reason, key_reused, asked_at, created_at, created_there_at, closed_at IS NOT NULL, accepted, looked_at"

func (a *attempt) scan(from interface{ Scan(...any) error }) error {
	var askedAt, created, createdThereAt, lookedAt int64
	err := from.Scan(&a.number, &a.key, &a.body, &a.providerID, &a.status, &a.reason, &a.keyReused, &askedAt, &created, &createdThereAt, &a.closed, &a.accepted, &lookedAt)
	a.askedAt, a.created, a.createdThereAt, a.lookedAt = moment(askedAt), moment(created), moment(createdThereAt), moment(lookedAt)
	return err
}

func (r *row) attemptNumber(ctx context.Context, n int) (attempt, error) {
	attempts, err := r.attempts(ctx)
	if err == nil && (n < 1 || n > len(attempts)) {
		err = sql.ErrNoRows
	}
	if err != nil {
		return attempt{}, fmt.Errorf("attempt %d: %w", n, err)
	}
	return attempts[n-1], nil
}

// attempts reads all attempts, oldest first.
func (r *row) attempts(ctx context.Context) ([]attempt, error) {
	err := r.remember(ctx)
	return slices.Clone(r.tried), err
}

// paidBeside lists the attempts, but for attempt n, that are known as executed.
func (r *row) paidBeside(ctx context.Context, n int) (paid []attempt, err error) {
	attempts, err := r.attempts(ctx)
	for _, a := range attempts {
		if a.number != n && a.status == attemptExecuted {
			paid = append(paid, a)
		}
	}
	return paid, err
}

// double is a further payout that the provider has for one attempt.
type double struct {
	providerID string
	attempt    int
	status     string // open, failed, executed
	learnt     time.Time
}

const (
	doubleOpen     = "open"
	doubleFailed   = "failed"
	doubleExecuted = "executed"
)

func (r *row) doubles(ctx context.Context) ([]double, error) {
	err := r.remember(ctx)
	return slices.Clone(r.further), err
}

// doubled keeps a second provider id of an attempt, to be asked about too, and
// takes the news about it.
func (r *row) doubled(ctx context.Context, number int, providerID string) error {
	r.forget()
	err := r.t.write(ctx, "INSERT INTO doubles (provider_payout_id, payout_id, attempt, status, learnt_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (provider_payout_id) DO NOTHING",
		providerID, string(r.id), number, doubleOpen, stored(r.t.now))
	if err != nil {
		return err
	}
	if r.status.Final() && r.step == payout.StepDone { // the end waits until it is known what became of it
		r.next(payout.StepWait, r.l.timing.PollFirst)
	}
	return r.ownNews(ctx, attempt{number: number, providerID: providerID})
}

// beside says what else of this payout was paid at the provider, or still may
// be, so that attempt n alone decides nothing; "" where there is nothing.
func (r *row) beside(ctx context.Context, n int) (string, error) {
	paid, err := r.paidBeside(ctx, n)
	if err != nil {
		return "", err
	}
	if len(paid) > 0 {
		return fmt.Sprintf("attempt %d was executed", paid[0].number), nil
	}
	doubles, err := r.doubles(ctx)
	for _, d := range doubles {
		if d.status != doubleFailed {
			return fmt.Sprintf("attempt %d has a second payout at the provider, %s, which has not failed", d.attempt, d.providerID), nil
		}
	}
	return "", err
}

// ownNews takes the news about an attempt that was stored before its provider
// id was known.
func (r *row) ownNews(ctx context.Context, a attempt) error {
	r.heard, r.claims = false, nil
	n, err := r.t.exec(ctx, "UPDATE inbox SET payout_id = ?, attempt = ? WHERE provider_payout_id = ? AND payout_id IS NULL", string(r.id), a.number, a.providerID)
	if err != nil || n == 0 {
		return err
	}
	r.holds.unread, r.holds.read = true, true // some of it may have been dismissed
	return r.t.closeCase(ctx, payout.CaseUnmatchedEvent, a.providerID)
}

const unappliedNews = "SELECT COUNT(*) FROM inbox WHERE payout_id = ? AND applied_at IS NULL"

// unapplied counts the news that no step has read.
func (r *row) unapplied(ctx context.Context) (n int, err error) {
	if !r.holds.unread {
		return 0, nil
	}
	err = r.t.row(ctx, unappliedNews, string(r.id)).Scan(&n)
	return n, err
}

func (r *row) saveAttempt(ctx context.Context, a attempt) error {
	if r.knows && a.number <= len(r.tried) {
		a := a
		a.closed = a.closed || r.tried[a.number-1].closed // what is closed stays closed
		r.tried[a.number-1] = a
	}
	var closedAt any
	if a.closed {
		closedAt = stored(r.t.now)
	}
	var providerID any
	if a.providerID != "" {
		providerID = a.providerID
	}
	reused := 0
	if a.keyReused {
		reused = 1
	}
	err := r.t.write(ctx, `UPDATE attempts SET provider_payout_id = ?, status = ?, failure_reason = ?, key_reused = ?, asked_at = ?, created_there_at = ?,
		accepted = ?, looked_at = ?, closed_at = COALESCE(closed_at, CAST(? AS BIGINT)) WHERE payout_id = ? AND number = ?`,
		providerID, a.status, string(a.reason), reused, stored(a.askedAt), stored(a.createdThereAt),
		a.accepted, stored(a.lookedAt), closedAt, string(r.id), a.number)
	return err
}

// begin writes attempt n with its key and the exact bytes of every send.
func (r *row) begin(ctx context.Context, n int) error {
	body, err := r.l.encode(r.intent(attempt{number: n}), r.metadata())
	if err != nil {
		return fmt.Errorf("encode attempt %d: %w", n, err)
	}
	r.forget()
	err = r.t.write(ctx, `INSERT INTO attempts (payout_id, number, idempotency_key, body, status, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		string(r.id), n, payout.Key(r.id, n), body, attemptOpen, stored(r.t.now))
	return err
}

// The words of evidence that a create's answer is, beside the provider's own.
const (
	evidenceCreated = "created"
	evidenceRefused = "refused"
)

// evidence stores what was heard, sealed, and answers with its id.
func (r *row) evidence(ctx context.Context, a attempt, kind string, w payout.Word) (string, error) {
	id := uuid.Must(uuid.NewV7()).String()
	key, sealed := r.l.seal.seal("evidence/"+id, w.Raw)
	err := r.t.write(ctx, `INSERT INTO evidence (id, payout_id, attempt, kind, provider_payout_id, provider_status, failure_reason, asked_at, decided_at,
		stored_at, seal_key, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, string(r.id), a.number, kind, w.ProviderID, w.Status, string(w.Reason), stored(w.AskedAt), stored(w.DecidedAt), stored(r.t.now), key, sealed)
	return id, err
}

// openCase opens a case. Where one of its kind is open for this payout, that one
// asks this too; but slow is one question, in whatever words.
func (r *row) openCase(ctx context.Context, kind payout.CaseKind, why string) error {
	if kind == payout.CaseSlow { // a person who dismissed it knows for a while
		var dismissed int
		if err := r.t.row(ctx, "SELECT COUNT(*) FROM cases WHERE payout_id = ? AND kind = ? AND closed_by <> '' AND closed_at > ?",
			string(r.id), string(kind), stored(r.t.now.Add(-r.stuckAfter()))).Scan(&dismissed); err != nil || dismissed > 0 {
			return err
		}
	}
	r.holds.cases = true
	id, err := r.t.openCase(ctx, kind, r.id, "", why)
	switch {
	case err != nil, id == "" && kind == payout.CaseSlow:
		return err
	case id == "":
		return r.askToo(ctx, kind, why)
	}
	data, err := json.Marshal(map[string]any{"id": id, "kind": kind, "payout_id": r.id, "why": why})
	if err != nil {
		return err
	}
	return r.t.post(ctx, r.caller, id, 1, "case.opened", data)
}

// longestWhy is where a case asks no more, in bytes: whoever has read so far
// reads the timeline.
const longestWhy = 4000

// asks says that an open case asks this already.
func (r *row) asks(ctx context.Context, kind payout.CaseKind, why string) (bool, error) {
	var open string
	err := r.t.row(ctx, "SELECT why FROM cases WHERE payout_id = ? AND kind = ? AND subject = '' AND status = 'open'", string(r.id), string(kind)).Scan(&open)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return strings.Contains(open, why), err
}

// askToo adds to what the open case of a kind asks.
func (r *row) askToo(ctx context.Context, kind payout.CaseKind, why string) error {
	var id, asks string
	if err := r.t.row(ctx, "SELECT id, why FROM cases WHERE payout_id = ? AND kind = ? AND subject = '' AND status = 'open'", string(r.id), string(kind)).Scan(&id, &asks); err != nil {
		return err
	}
	if strings.Contains(asks, why) || len(asks)+len(why) > longestWhy {
		return nil
	}
	_, err := r.t.exec(ctx, "UPDATE cases SET why = ?, version = version + 1 WHERE id = ?", asks+"\n"+why, id)
	return err
}

// openCase opens a case about a payout, or about something else that subject
// names, and answers with its id; "" when one of its kind is open.
func (t tx) openCase(ctx context.Context, kind payout.CaseKind, id payout.ID, subject, why string) (string, error) {
	caseID := uuid.Must(uuid.NewV7()).String()
	n, err := t.exec(ctx, `INSERT INTO cases (id, kind, status, payout_id, subject, why, version, opened_at) VALUES (?, ?, 'open', ?, ?, ?, 1, ?)
		ON CONFLICT (payout_id, kind, subject) WHERE status = 'open' DO NOTHING`,
		caseID, string(kind), string(id), subject, why, stored(t.now))
	if n == 0 {
		caseID = ""
	}
	return caseID, err
}

// closeCases closes the open cases of these kinds, because evidence answered
// them.
func (r *row) closeCases(ctx context.Context, kinds ...payout.CaseKind) error {
	if !r.holds.cases {
		return nil
	}
	args := []any{stored(r.t.now), string(r.id)}
	for _, kind := range kinds {
		args = append(args, string(kind))
	}
	err := r.t.write(ctx, "UPDATE cases SET status = 'closed', closed_at = ?, version = version + 1 WHERE payout_id = ? AND subject = '' AND status = 'open' AND kind IN (?"+
		strings.Repeat(", ?", len(kinds)-1)+")", args...)
	return err
}

// closeCase closes the open case of a kind about something that is no payout.
func (t tx) closeCase(ctx context.Context, kind payout.CaseKind, subject string) error {
	return t.write(ctx, `UPDATE cases SET status = 'closed', closed_at = ?, version = version + 1 WHERE payout_id = '' AND kind = ? AND subject = ? AND status = 'open'`,
		stored(t.now), string(kind), subject)
}

// stuckAfter is the age at which an undecided payout gets a case `slow`. A
// refund may have to wait until its pay-in settles.
func (r *row) stuckAfter() time.Duration {
	if r.kind == payout.KindRefund {
		return r.l.timing.RefundStuckAfter
	}
	return r.l.timing.StuckAfter
}
