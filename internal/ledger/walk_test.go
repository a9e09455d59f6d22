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
// give at any time. After each step the laws hold; a refused call changed
// nothing; what is final stays.
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
			"time":       w.time,
		})
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

// call runs one call of the ledger; when it is refused, all rows must be as
// before.
func (w *walk) call(r *rapid.T, name string, run func() error) {
	before := w.rows(r)
	err := run()
	switch {
	case err == nil:
		return
	case errors.Is(err, payout.ErrBalanceTooLow), errors.As(err, new(*payout.InFlight)), errors.As(err, new(*payout.KeyConflict)), strings.Contains(err.Error(), "was not asked about"):
	default:
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
	request := ledgertest.NewPayout(fmt.Sprint("p", rapid.IntRange(0, 3).Draw(r, "key")), rapid.Int64Range(1, 2).Draw(r, "pounds")*1000)
	w.call(r, "accept", func() error {
		p, replayed, err := w.b.Accept(r.Context(), request, ledgertest.Merchant, false)
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

// said is anything the provider could say about what is asked.
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
		}
		words = append(words, payout.Asked{Attempt: a.Attempt, Word: word})
	}
	return words
}

func (w *walk) reconcile(r *rapid.T) {
	id := w.one(r)
	var asking payout.Asking
	w.call(r, "read", func() (err error) { asking, err = w.b.Read(r.Context(), id); return err })
	words := w.said(r, id, asking.Asks)
	w.call(r, "judge", func() error {
		p, err := w.b.Judge(r.Context(), id, words, asking.Inbox, "walk")
		if err == nil && p.Step == payout.StepWait && p.Wait != 0 && p.Wait < time.Second {
			r.Fatalf("polls without a pause: %+v", p)
		}
		return err
	})
}

func (w *walk) tryAgain(r *rapid.T) {
	id := w.one(r)
	if w.payout(id).Step != payout.StepTryAgain {
		r.Skip("not the step")
	}
	asks, err := w.b.Earlier(r.Context(), id)
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
}
