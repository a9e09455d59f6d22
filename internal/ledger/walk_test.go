package ledger_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// A random walk over the ledger's calls, with any answer the provider could
// give at any time, and people who decide anything. After each step the laws
// hold; a refused call changed nothing; what is final stays. Then the provider
// tells the truth, and everything comes to an end that is true too: see settle.
func TestRandomWalk(t *testing.T) {
	// A walk writes to a disk that syncs; the default of 100 would take a minute.
	for name, value := range map[string]string{"rapid.checks": "12", "rapid.steps": "40", "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() == f.DefValue {
			if err := flag.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		w := &walk{r: r, b: ledgertest.SQLite(t), final: map[payout.ID]payout.Status{}}
		w.b.Fund(t, 5000)
		r.Repeat(map[string]func(*rapid.T){
			"":           func(*rapid.T) { w.lawful(t) },
			"accept":     w.accept,
			"credit":     w.credit,
			"debit":      w.debit,
			"open send":  w.openSend,
			"close send": w.closeSend,
			"news":       w.news,
			"reconcile":  w.reconcile,
			"poll":       w.reconcile,
			"try again":  w.tryAgain,
			"obey":       w.obey,
			"obey more":  w.obey,
			"disobey":    w.disobey,
			"people":     w.people,
			"refuse":     w.refuse,
			"time":       w.time,
		})
		w.settle(t)
	})
}

type walk struct {
	r      *rapid.T
	b      ledgertest.Books
	ids    []payout.ID
	sends  []payout.Send
	events int
	final  map[payout.ID]payout.Status
}

// expected are the refusals that a caller has to live with.
func expected(err error) bool {
	for _, as := range []any{new(*payout.InFlight), new(*payout.KeyConflict), new(*payout.Braked), new(*payout.Refusal)} {
		if errors.As(err, as) {
			return true
		}
	}
	return errors.Is(err, payout.ErrBalanceTooLow) || strings.Contains(err.Error(), "is not visible at the provider") || strings.Contains(err.Error(), "was asked about before")
}

// call runs one call of the ledger; when it is refused, all rows must be as
// before.
func (w *walk) call(r *rapid.T, name string, run func() error) {
	before := w.rows(r)
	err := run()
	if err == nil {
		return
	}
	if !expected(err) {
		r.Fatalf("%s: %v", name, err)
	}
	if after := w.rows(r); after != before {
		r.Fatalf("%s was refused with %v and changed\n%s\nto\n%s", name, err, before, after)
	}
}

// rows tells apart any two states of the books.
func (w *walk) rows(r *rapid.T) string {
	var all strings.Builder
	for table, columns := range map[string]string{
		"payouts": "status || money || step || attempt || version || next_step_at || due_at || updated_at || unread", "balances": "available || '/' || held || '/' || frozen",
		"attempts": "status || COALESCE(closed_at, '') || asked_at", "sends": "COALESCE(answer, '')", "evidence": "id", "timeline": "number", "transactions": "id", "cases": "status",
		"outbox": "id", "inbox": "repeats || COALESCE(applied_at, '')", "idempotency_keys": "key", "players": "id", "payment_sources": "id",
		"doubles": "provider_payout_id || status", "resolutions": "case_id || number || status", "audit": "position", "brakes": "refusals || shut_until", "drift": "field || value || times",
	} {
		var line string
		if err := w.b.Rows.QueryRow("SELECT COALESCE(group_concat(" + columns + ", ','), '') FROM " + table).Scan(&line); err != nil {
			r.Fatal(err)
		}
		fmt.Fprintf(&all, "%s: %s\n", table, line)
	}
	lines := strings.Split(all.String(), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (w *walk) lawful(t *testing.T) {
	laws, err := w.b.Check(t.Context())
	if err != nil {
		w.r.Fatal(err)
	}
	for _, law := range laws {
		if law.Violations > 0 {
			w.r.Fatalf("law broken: %s: %s, such as %v", law.ID, law.Statement, law.Examples)
		}
	}
	for _, id := range w.ids {
		p := w.payout(id)
		if was, ok := w.final[id]; ok && p.Status != was && (was != payout.StatusExecuted || p.Status != payout.StatusReturned) {
			w.r.Fatalf("%s was %s and is %s", id, was, p.Status)
		}
		if p.Status.Final() {
			w.final[id] = p.Status
		}
	}
}

func (w *walk) payout(id payout.ID) ledger.Payout {
	p, err := w.b.Payout(w.r.Context(), "", payout.KindPayout, id)
	if errors.Is(err, payout.ErrNotFound) {
		p, err = w.b.Payout(w.r.Context(), "", payout.KindRefund, id)
	}
	if err != nil {
		w.r.Fatal(err)
	}
	return p
}

// one is any payout; without one the step is skipped.
func (w *walk) one(r *rapid.T) payout.ID {
	if len(w.ids) == 0 {
		r.Skip("no payout yet")
	}
	return rapid.SampledFrom(w.ids).Draw(r, "payout")
}

func (w *walk) accept(r *rapid.T) {
	key, pence := fmt.Sprint("p", rapid.IntRange(0, 2).Draw(r, "key")), rapid.Int64Range(1, 2).Draw(r, "pounds")*1000
	refund := rapid.IntRange(0, 3).Draw(r, "kind") == 0
	w.call(r, "accept", func() (err error) {
		var p ledger.Payout
		var replayed bool
		if refund {
			p, replayed, err = w.b.AcceptRefund(r.Context(), ledgertest.NewRefund(key, pence), ledgertest.Merchant)
		} else {
			p, replayed, err = w.b.Accept(r.Context(), ledgertest.NewPayout(key, pence), ledgertest.Merchant, false)
		}
		if err == nil && replayed != slices.Contains(w.ids, p.ID) {
			r.Fatalf("replayed %v", replayed)
		}
		if err == nil && !replayed {
			w.ids = append(w.ids, p.ID)
		}
		return err
	})
}

func (w *walk) movement(r *rapid.T) payout.Movement {
	return payout.Movement{Caller: ledgertest.Caller, IdempotencyKey: fmt.Sprint("m", rapid.IntRange(0, 9).Draw(r, "key")), PlayerID: ledgertest.Player,
		Money: ledgertest.Pounds(rapid.Int64Range(1, 3).Draw(r, "pounds") * 1000), Reason: "walk"}
}

func (w *walk) credit(r *rapid.T) {
	m := w.movement(r)
	w.call(r, "credit", func() error { _, _, err := w.b.Credit(r.Context(), m); return err })
}

func (w *walk) debit(r *rapid.T) {
	m := w.movement(r)
	w.call(r, "debit", func() error { _, _, err := w.b.Debit(r.Context(), m); return err })
}

func (w *walk) openSend(r *rapid.T) {
	id := w.one(r)
	w.call(r, "open send", func() error {
		s, _, err := w.b.OpenSend(r.Context(), id, w.b.Clock.Now().Add(time.Hour))
		if s.Number > 0 {
			w.sends = append(w.sends, s)
		}
		return err
	})
}

// ours is the provider's id of an attempt; the provider makes a second one
// where it forgot the key.
func ours(id payout.ID, n, twin int) string { return fmt.Sprintf("their-%s-%d-%d", id, n, twin) }

var twins = []int{0, 0, 0, 0, 0, 0, 0, 0, 0, 1}

var reasons = append(payout.Reasons(), "brand_new")

func (w *walk) closeSend(r *rapid.T) {
	if len(w.sends) == 0 {
		r.Skip("nothing was sent")
	}
	s := rapid.SampledFrom(w.sends).Draw(r, "send")
	c := payout.Created{Answer: rapid.SampledFrom([]payout.Answer{payout.AnswerCreated, payout.AnswerCreated, payout.AnswerRefused, payout.AnswerNotSent, payout.AnswerUnknown}).Draw(r, "answer")}
	switch c.Answer {
	case payout.AnswerCreated:
		c.ProviderID = ours(s.PayoutID, s.Attempt, rapid.SampledFrom(twins).Draw(r, "twin"))
	case payout.AnswerRefused:
		c.Reason = rapid.SampledFrom(reasons).Draw(r, "reason")
	case payout.AnswerUnknown:
		c.KeyReused = rapid.IntRange(0, 9).Draw(r, "reused") == 0
	case payout.AnswerNotSent:
		c.NotLetIn = rapid.IntRange(0, 3).Draw(r, "let in") == 0
	}
	w.call(r, "close send", func() error { _, err := w.b.CloseSend(r.Context(), s, c); return err })
}

func (w *walk) news(r *rapid.T) {
	id := w.one(r)
	w.events++
	n := payout.News{EventID: fmt.Sprint("e", w.events), Type: "x", Status: rapid.SampledFrom([]string{"", "executed", "failed"}).Draw(r, "claims"), Body: []byte("{}")}
	attempt := rapid.IntRange(1, len(w.payout(id).Attempts)).Draw(r, "attempt")
	n.ProviderID = ours(id, attempt, rapid.SampledFrom(twins).Draw(r, "twin"))
	if rapid.Bool().Draw(r, "metadata") {
		n.PayoutID, n.Attempt = id, attempt
	}
	w.call(r, "news", func() error { _, err := w.b.StoreNews(r.Context(), n); return err })
}

// said is anything the provider could say about what is asked, or nothing.
func (w *walk) said(r *rapid.T, id payout.ID, asks []payout.Ask) (words []payout.Asked) {
	row := w.payout(id)
	for _, a := range asks {
		word := payout.Word{ProviderID: a.ProviderID, Money: row.Money, AskedAt: w.b.Clock.Now(), Raw: []byte("{}"),
			Status: rapid.SampledFrom([]string{"pending", "authorized", "executed", "failed", "failed", "novel"}).Draw(r, "status")}
		if word.Status == "failed" {
			word.Reason = rapid.SampledFrom(reasons).Draw(r, "reason")
		}
		switch rapid.IntRange(0, 14).Draw(r, "oddity") {
		case 0:
			word.Money.Minor++
		case 1:
			word.AskedAt = word.AskedAt.Add(-time.Hour)
		case 2:
			word.Reference = "other"
		case 3:
			continue // not visible
		}
		words = append(words, payout.Asked{Attempt: a.Attempt, ProviderID: a.ProviderID, Word: word})
	}
	return words
}

// looked is anything the statement could show, or no answer at all.
func (w *walk) looked(r *rapid.T, id payout.ID, look *payout.Look) *payout.Looked {
	if look == nil || rapid.IntRange(0, 4).Draw(r, "unreadable") == 0 {
		return nil
	}
	row, found := w.payout(id), payout.Looked{AskedAt: w.b.Clock.Now()}
	for n := range rapid.IntRange(0, len(row.Attempts)).Draw(r, "lines") {
		theirs := ours(id, n+1, rapid.SampledFrom(twins).Draw(r, "twin"))
		line := payout.Line{ProviderID: theirs, PayoutID: id, Attempt: n + 1, Status: "executed", Money: row.Money, At: w.b.Clock.Now(), Raw: []byte("{}")}
		switch rapid.IntRange(0, 4).Draw(r, "line") {
		case 0:
			line = payout.Line{ReturnFor: theirs, Money: row.Money, At: w.b.Clock.Now(), Raw: []byte("{}")}
		case 1:
			line = payout.Line{ReturnFor: theirs, Money: ledgertest.Pounds(1), At: w.b.Clock.Now(), Raw: []byte("{}")}
		}
		found.Lines = append(found.Lines, line)
	}
	return &found
}

func (w *walk) reconcile(r *rapid.T) {
	id := w.one(r)
	var asking payout.Asking
	read := false
	w.call(r, "read", func() (err error) { asking, err = w.b.Read(r.Context(), id); read = err == nil; return err })
	if !read {
		return
	}
	heard := payout.Heard{Words: w.said(r, id, asking.Asks), Looked: w.looked(r, id, asking.Look), Inbox: asking.Inbox, Approved: asking.Approved, Doubted: asking.Doubted, By: "walk"}
	if asking.Look != nil && heard.Looked == nil { // as the activity does
		heard.Inbox, heard.Approved = nil, nil
	}
	w.call(r, "judge", func() error {
		p, err := w.b.Judge(r.Context(), id, heard)
		if err == nil && p.Step == payout.StepWait && p.Wait != 0 && p.Wait < time.Second {
			r.Fatalf("polls without a pause: %+v", p)
		}
		return err
	})
}

// people propose and decide anything that a case offers, and more.
func (w *walk) people(r *rapid.T) {
	list, _, err := w.b.Cases(r.Context(), ledger.CaseFilter{Status: "open"})
	if err != nil {
		r.Fatal(err)
	}
	if len(list) == 0 {
		r.Skip("no case")
	}
	c, err := w.b.Case(r.Context(), rapid.SampledFrom(list).Draw(r, "case").ID)
	if err != nil {
		r.Fatal(err)
	}
	for _, res := range c.Resolutions {
		if res.Status == ledger.ResolutionProposed {
			yes := rapid.IntRange(0, 3).Draw(r, "yes") > 0
			w.call(r, "decide", func() error {
				_, _, err := w.b.Decide(r.Context(), payout.Approval{CaseID: c.ID, Number: res.Number, Approve: yes, Version: res.Version, By: "ben"})
				return err
			})
			return
		}
	}
	action := rapid.SampledFrom(payout.Actions()).Draw(r, "action")
	if len(c.Actions) > 0 && rapid.IntRange(0, 4).Draw(r, "offered") > 0 {
		action = rapid.SampledFrom(c.Actions).Draw(r, "offer").Action
	}
	p := payout.Proposal{CaseID: c.ID, Action: action, Reason: "walk", Version: c.Version, By: "anna"}
	if action == payout.ActionCreatedAs || action == payout.ActionNotOurs {
		n := 1
		if c.PayoutID != "" {
			n = rapid.IntRange(1, len(w.payout(c.PayoutID).Attempts)).Draw(r, "attempt")
		}
		p.ProviderPayoutID = ours(c.PayoutID, n, rapid.SampledFrom(twins).Draw(r, "twin"))
	}
	if rapid.Bool().Draw(r, "ticket") {
		p.ProviderTicket = "TL-1"
	}
	w.call(r, "propose", func() error { _, _, err := w.b.Propose(r.Context(), p); return err })
}

// refuse is the provider not letting us in.
func (w *walk) refuse(r *rapid.T) {
	w.b.Clock.Advance(rapid.SampledFrom([]time.Duration{0, 6 * time.Second}).Draw(r, "time"))
	w.call(r, "not let in", func() error { _, err := w.b.NotLetIn(r.Context(), "401"); return err })
}

func (w *walk) tryAgain(r *rapid.T) {
	id := w.one(r)
	if w.payout(id).Step != payout.StepTryAgain {
		r.Skip("not the step")
	}
	asks, err := w.b.Earlier(r.Context(), id)
	if errors.As(err, new(*payout.Braked)) {
		return
	}
	if err != nil {
		r.Fatal(err)
	}
	words := w.said(r, id, asks)
	w.call(r, "try again", func() error { _, err := w.b.TryAgain(r.Context(), id, words); return err })
}

func (w *walk) step(r *rapid.T, id payout.ID, step payout.Step) {
	w.call(r, string(step), func() (err error) {
		switch step {
		case payout.StepRelease:
			_, err = w.b.Release(r.Context(), id)
		case payout.StepFreeze:
			_, err = w.b.Freeze(r.Context(), id)
		case payout.StepReturn:
			_, err = w.b.Return(r.Context(), id)
		case payout.StepPark:
			_, err = w.b.OpenCase(r.Context(), id)
		}
		return err
	})
}

// obey takes the step the row asks for; disobey takes any.
func (w *walk) obey(r *rapid.T) {
	id := w.one(r)
	w.step(r, id, w.payout(id).Step)
}

func (w *walk) disobey(r *rapid.T) {
	w.step(r, w.one(r), rapid.SampledFrom(payout.Steps()).Draw(r, "step"))
}

func (w *walk) time(r *rapid.T) {
	w.b.Clock.Advance(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, time.Hour, 5 * time.Hour, 30 * time.Hour}).Draw(r, "time"))
	w.call(r, "seal", func() error { _, err := w.b.SealPositions(r.Context(), 5); return err })
	w.call(r, "sweep", func() error {
		_, slow := w.b.OpenSlow(r.Context(), 5)
		_, unmatched := w.b.OpenUnmatched(r.Context(), 5)
		_, late := w.b.LateNews(r.Context(), 5)
		return errors.Join(slow, unmatched, late)
	})
}

// settle is the end of a walk: each of the provider's payouts gets a fate, the
// provider tells nothing but that, by events, words and its statement; runs do
// what the rows say, and people what is true. So everything must come to an
// end, and then the books must say what happened.
func (w *walk) settle(t *testing.T) {
	w.b.Clock.Advance(payout.NeverCreatedAfter)
	truth := &truth{walk: w, fate: map[string]string{}}
	for _, id := range w.ids {
		for _, theirs := range truth.known(id) {
			truth.decide(theirs)
			w.events++
			if _, err := w.b.StoreNews(w.r.Context(), payout.News{EventID: fmt.Sprint("end", w.events), Type: "x", ProviderID: theirs, Status: truth.fate[theirs], Body: []byte("{}")}); err != nil {
				w.r.Fatal(err)
			}
		}
	}
	for round := range 60 {
		left := 0
		for i := range w.ids {
			id := w.ids[(i+round)%len(w.ids)] // nobody is always the first
			if !truth.step(id) {
				left++
			}
			truth.resolve(id)
		}
		w.lawful(t)
		if left == 0 {
			break
		}
		if round == 59 {
			w.r.Fatalf("no end:\n%s", truth.story())
		}
		w.b.Clock.Advance(2 * time.Hour)
	}
	for _, id := range w.ids {
		truth.hold(id)
	}
}

// truth is what really is at the provider: by its id executed or failed.
type truth struct {
	*walk
	fate map[string]string
}

// decide gives one of the provider's payouts its fate. One that was sent back, or
// that failed and another one of its attempt was taken for it, stays failed: no
// provider pays that.
func (w *truth) decide(theirs string) string {
	if w.fate[theirs] != "" {
		return w.fate[theirs]
	}
	var over int
	if err := w.b.Rows.QueryRow(`SELECT COUNT(*) FROM attempts a JOIN payouts p ON p.id = a.payout_id JOIN transactions t ON t.payout_id = p.id AND t.attempt = a.number LEFT JOIN evidence e ON e.id = t.evidence_id
		WHERE a.provider_payout_id = $1 AND (p.step = 'return' OR t.kind = 'return' OR t.kind = 'adjust' AND t.from_account LIKE 'merchant:%'
		OR t.kind = 'settle' AND e.provider_payout_id NOT IN ('', a.provider_payout_id))`, theirs).Scan(&over); err != nil {
		w.r.Fatal(err)
	}
	var borne int // by the house: nothing books that it came back
	if err := w.b.Rows.QueryRow(`SELECT COUNT(*) FROM doubles d JOIN transactions t ON t.payout_id = d.payout_id AND t.attempt = d.attempt
		WHERE d.provider_payout_id = $1 AND t.kind = 'adjust' AND t.to_account LIKE 'merchant:%'`, theirs).Scan(&borne); err != nil {
		w.r.Fatal(err)
	}
	if w.fate[theirs] = "failed"; borne > 0 {
		w.fate[theirs] = "executed"
	} else if over == 0 {
		w.fate[theirs] = rapid.SampledFrom([]string{"executed", "failed"}).Draw(w.r, "fate")
	}
	return w.fate[theirs]
}

// known lists the provider's ids that the books know of a payout.
func (w *truth) known(id payout.ID) (list []string) {
	rows, err := w.b.Rows.Query("SELECT provider_payout_id FROM attempts WHERE payout_id = $1 AND provider_payout_id IS NOT NULL UNION SELECT provider_payout_id FROM doubles WHERE payout_id = $1", string(id))
	if err != nil {
		w.r.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var theirs string
		if err := rows.Scan(&theirs); err != nil {
			w.r.Fatal(err)
		}
		list = append(list, theirs)
	}
	return list
}

// step is what the run of a payout does next; true when there is nothing to do.
func (w *truth) step(id payout.ID) bool {
	ctx := w.r.Context()
	row := w.payout(id)
	var err error
	switch row.Step {
	case payout.StepCreate:
		var s payout.Send
		for range 2 { // the provider may have to be asked first
			if s, _, err = w.b.OpenSend(ctx, id, w.b.Clock.Now().Add(time.Hour)); err != nil || s.Number > 0 {
				break
			}
			w.ask(id)
		}
		if s.Number == 0 {
			break
		}
		theirs := ours(id, s.Attempt, 0)
		w.decide(theirs)
		_, err = w.b.CloseSend(ctx, s, payout.Created{Answer: payout.AnswerCreated, ProviderID: theirs})
	case payout.StepTryAgain:
		var asks []payout.Ask
		if asks, err = w.b.Earlier(ctx, id); err == nil {
			_, err = w.b.TryAgain(ctx, id, w.words(id, asks))
		}
	case payout.StepRelease:
		_, err = w.b.Release(ctx, id)
	case payout.StepFreeze:
		_, err = w.b.Freeze(ctx, id)
	case payout.StepReturn:
		_, err = w.b.Return(ctx, id)
	case payout.StepPark:
		_, err = w.b.OpenCase(ctx, id)
	}
	if err != nil && !expected(err) {
		w.r.Fatalf("%s: %v", row.Step, err)
	}
	w.ask(id)
	list, _, err := w.b.Cases(ctx, ledger.CaseFilter{Status: "open", PayoutID: id})
	if err != nil {
		w.r.Fatal(err)
	}
	row = w.payout(id)
	return row.Status.Final() && row.Step == payout.StepDone && len(list) == 0
}

func (w *truth) ask(id payout.ID) {
	asking, err := w.b.Read(w.r.Context(), id)
	if err != nil {
		if !expected(err) {
			w.r.Fatal(err)
		}
		return
	}
	heard := payout.Heard{Words: w.words(id, asking.Asks), Inbox: asking.Inbox, Approved: asking.Approved, Doubted: asking.Doubted, By: "end"}
	if asking.Look != nil {
		heard.Looked = &payout.Looked{AskedAt: w.b.Clock.Now()}
		for theirs := range w.fate {
			var attempt, twin int
			if _, err := fmt.Sscanf(theirs, "their-"+string(id)+"-%d-%d", &attempt, &twin); err == nil {
				heard.Looked.Lines = append(heard.Looked.Lines, payout.Line{ProviderID: theirs, PayoutID: id, Attempt: attempt, Status: w.fate[theirs], Money: w.payout(id).Money, At: w.b.Clock.Now(), Raw: []byte("{}")})
			}
		}
	}
	if _, err := w.b.Judge(w.r.Context(), id, heard); err != nil {
		w.r.Fatal(err)
	}
	w.b.Clock.Advance(time.Second)
}

func (w *truth) words(id payout.ID, asks []payout.Ask) (words []payout.Asked) {
	for _, a := range asks {
		word := payout.Word{ProviderID: a.ProviderID, Money: w.payout(id).Money, Status: w.decide(a.ProviderID), AskedAt: w.b.Clock.Now(), DecidedAt: w.b.Clock.Now(), Raw: []byte("{}")}
		if word.Status == "failed" {
			word.Reason = payout.ReasonInvalidIBAN
		}
		words = append(words, payout.Asked{Attempt: a.Attempt, ProviderID: a.ProviderID, Word: word})
	}
	return words
}

// resolve is what two people who know the truth decide about a payout's cases.
func (w *truth) resolve(id payout.ID) {
	ctx := w.r.Context()
	list, _, err := w.b.Cases(ctx, ledger.CaseFilter{Status: "open", PayoutID: id})
	if err != nil {
		w.r.Fatal(err)
	}
	for _, c := range list {
		c, err := w.b.Case(ctx, c.ID)
		if err != nil {
			w.r.Fatal(err)
		}
		for _, res := range c.Resolutions { // what was proposed at random is put away
			if res.Status == ledger.ResolutionProposed {
				if _, _, err := w.b.Decide(ctx, payout.Approval{CaseID: c.ID, Number: res.Number, Version: res.Version, By: "ben"}); err != nil {
					w.r.Fatal(err)
				}
			}
		}
		var paid, all []string
		for _, theirs := range w.known(id) {
			if all = append(all, theirs); w.fate[theirs] == "executed" {
				paid = append(paid, theirs)
			}
		}
		if len(paid) > 0 {
			all = paid
		}
		var wishes []payout.Proposal
		for _, action := range []payout.Action{payout.ActionReleaseFrozen, payout.ActionCreatedAs, payout.ActionNeverCreated, payout.ActionBookReturn, payout.ActionAdjust, payout.ActionDismiss} {
			wish := payout.Proposal{CaseID: c.ID, Action: action, Reason: "end", Version: c.Version, ProviderTicket: "TL-1", By: "anna"}
			switch {
			case !slices.ContainsFunc(payout.Offers(c.Kind), func(o payout.Offer) bool { return o.Action == action }), action == payout.ActionBookReturn && len(paid) > 0:
			case action == payout.ActionCreatedAs:
				for _, wish.ProviderPayoutID = range all {
					wishes = append(wishes, wish)
				}
			default:
				wishes = append(wishes, wish)
			}
		}
		for _, wish := range wishes { // the first that is taken
			res, _, err := w.b.Propose(ctx, wish)
			if err == nil {
				_, _, err = w.b.Decide(ctx, payout.Approval{CaseID: c.ID, Number: res.Number, Approve: true, Version: res.Version, By: "ben"})
			}
			if err == nil {
				break
			}
			if !expected(err) {
				w.r.Fatal(err)
			}
		}
	}
}

// hold holds the books of a payout against the truth: what left by them is what
// left at the provider.
func (w *truth) hold(id payout.ID) {
	paid := 0
	for _, theirs := range w.known(id) {
		if w.fate[theirs] == "executed" {
			paid++
		}
	}
	var booked int
	if err := w.b.Rows.QueryRow(`SELECT COALESCE(SUM(CASE WHEN to_account LIKE 'merchant:%' THEN 1 WHEN from_account LIKE 'merchant:%' THEN -1 ELSE 0 END), 0) FROM transactions WHERE payout_id = $1`, string(id)).Scan(&booked); err != nil {
		w.r.Fatal(err)
	}
	if booked != paid {
		w.r.Fatalf("the provider paid %d times, and by the books %d times:\n%s", paid, booked, w.story())
	}
}

func (w *truth) story() string {
	var b strings.Builder
	for _, id := range w.ids {
		row := w.payout(id)
		fmt.Fprintf(&b, "%s is %s, its money %s, its step %s\n", id, row.Status, row.MoneyAt, row.Step)
		for _, theirs := range w.known(id) {
			fmt.Fprintf(&b, "  %s: %s\n", theirs, w.fate[theirs])
		}
		for _, m := range row.Timeline {
			fmt.Fprintf(&b, "  %s %s: %s\n", m.At.Format("02 15:04:05"), m.Status, m.What)
		}
		list, _, _ := w.b.Cases(w.r.Context(), ledger.CaseFilter{Status: "open", PayoutID: id})
		for _, c := range list {
			c, _ := w.b.Case(w.r.Context(), c.ID)
			fmt.Fprintf(&b, "  case %s: %s; offers %v, not %v, resolutions %+v\n", c.Kind, c.Why, c.Actions, c.NotNow, c.Resolutions)
		}
	}
	return b.String()
}
