package ledgertest

import (
	"bytes"
	"fmt"
	"maps"
	"sync"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

var judging = mismatches(group{
	"executed is settled": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		w := h.word(id, 1, "executed", "")
		h.Clock.Advance(time.Second)
		p := h.asked(id, w)
		if p.Step != payout.StepDone || p.Status != payout.StatusExecuted || p.Wait != 0 {
			h.Fatalf("position is %+v", p)
		}
		row := h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		if row.Attempts[0].Status != "executed" || row.ProviderStatus != "executed" || row.Reason != "" || !row.NextStepAt.IsZero() {
			h.Fatalf("the row is %+v", row)
		}
		h.owes(0, 0, 0)
		h.books(id, "reserve settle")
		for _, t := range h.transactions() {
			if t.Kind != ledger.KindSettle {
				continue
			}
			if t.From != "player:"+Player+":held" || t.To != "merchant:"+Merchant || t.Money != Pounds(1000) || t.Attempt != 1 || !t.EffectiveAt.Equal(w.Word.DecidedAt) || !t.BookedAt.Equal(h.Clock.Now()) {
				h.Fatalf("booked %+v", t)
			}
			body, err := h.Evidence(h.ctx, t.EvidenceID)
			h.must(err)
			if !bytes.Equal(body, w.Word.Raw) {
				h.Fatalf("the evidence is %s", body)
			}
		}
	},
	"a life goes by its arrows": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "pending", "")
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		h.heard(id, 1, "authorized", "")
		h.stands(id, payout.StatusAuthorized, payout.MoneyHeld, payout.StepWait)
		h.heard(id, 1, "executed", "")
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"a flap is counted and is no move": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "authorized", "")
		version := h.payout(id).Version
		for range 3 {
			h.heard(id, 1, "pending", "")
			p := h.stands(id, payout.StatusAuthorized, payout.MoneyHeld, payout.StepWait)
			if p.ProviderStatus != "pending" || p.Version != version {
				h.Fatalf("the row is %+v", p)
			}
			h.heard(id, 1, "authorized", "")
		}
		if h.payout(id).Version != version {
			h.Fatal("a flap made an event")
		}
		if n := h.count("SELECT flaps FROM payouts WHERE id = '" + string(id) + "'"); n != 3 {
			h.Fatalf("%d flaps counted, want 3", n)
		}
	},
	"settled once, however often": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		w := h.word(id, 1, "executed", "")
		for range 5 {
			h.asked(id, w)
			h.heard(id, 1, "executed", "")
		}
		h.owes(0, 0, 0)
		h.books(id, "reserve settle")
	},
	"settled once, by however many": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		w := h.word(id, 1, "executed", "")
		var wait sync.WaitGroup
		errs := make(chan error, 20)
		for range cap(errs) {
			wait.Go(func() {
				_, err := h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{w}, By: "test"})
				errs <- err
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		h.owes(0, 0, 0)
		h.books(id, "reserve settle")
	},
	"evidence asked earlier never moves a status": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		old := []payout.Asked{h.word(id, 1, "pending", ""), h.word(id, 1, "executed", ""), h.word(id, 1, "failed", payout.ReasonInvalidIBAN)}
		h.heard(id, 1, "authorized", "")
		for _, w := range old {
			p := h.asked(id, w)
			if p.Status != payout.StatusAuthorized || p.Step != payout.StepWait || p.Wait < timing.PollFirst/2 {
				h.Fatalf("%s asked before: position %+v", w.Word.Status, p)
			}
			if row := h.payout(id); row.ProviderStatus != "authorized" {
				h.Fatalf("%s asked before: the row says %s", w.Word.Status, row.ProviderStatus)
			}
		}
		h.books(id, "reserve")
		h.heard(id, 1, "executed", "")
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"every word is kept as evidence": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		old := h.word(id, 1, "pending", "")
		h.heard(id, 1, "authorized", "")
		h.asked(id, old) // not believed, kept all the same
		if n := h.count("SELECT COUNT(*) FROM evidence WHERE kind = 'get' AND payout_id = '" + string(id) + "'"); n != 2 {
			h.Fatalf("%d pieces of evidence, want 2", n)
		}
	},
	"a field that is missing is no mismatch": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		w := h.word(id, 1, "executed", "")
		w.Word.MerchantAccountID, w.Word.UserID, w.Word.PaymentSourceID, w.Word.Reference, w.Word.Metadata = "", "", "", "", nil
		h.asked(id, w)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"a status that is not known means not yet": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		for _, status := range []string{"authorization_required", "attempted", "EXECUTED", ""} {
			p := h.heard(id, 1, status, "")
			if p.Status != payout.StatusPending || p.Step != payout.StepWait || p.Wait <= 0 {
				h.Fatalf("%q: position %+v", status, p)
			}
		}
		h.books(id, "reserve")
	},
	"polls grow apart": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		var last time.Duration
		for range 30 {
			p := h.heard(id, 1, "pending", "")
			if p.Wait < last || p.Wait < timing.PollFirst || p.Wait > timing.PollMax {
				h.Fatalf("waits %s after %s", p.Wait, last)
			}
			last = p.Wait
			h.Clock.Advance(p.Wait)
		}
		if last != timing.PollMax {
			h.Fatalf("the last wait is %s, want %s", last, timing.PollMax)
		}
	},
	"slow asks a person and goes on": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.Clock.Advance(timing.StuckAfter - time.Minute)
		h.heard(id, 1, "pending", "")
		h.asks(id)
		for range 3 {
			h.Clock.Advance(time.Hour)
			p := h.heard(id, 1, "authorized", "")
			if p.Step != payout.StepWait || p.Wait <= 0 {
				h.Fatalf("position is %+v", p)
			}
			h.stands(id, payout.StatusAuthorized, payout.MoneyHeld, payout.StepWait)
			h.asks(id, payout.CaseSlow)
		}
		h.heard(id, 1, "executed", "")
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id)
	},
	"slow asks one thing, so that who proposes meanwhile is not made to do it again": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.Clock.Advance(timing.StuckAfter + time.Minute)
		_, err := h.OpenSlow(h.ctx, 10)
		h.must(err)
		c := h.caseOf(id, payout.CaseSlow)
		_, _, err = h.propose(c, payout.ActionDismiss)
		h.must(err)
		for _, status := range []string{"pending", "pending", "pending"} {
			h.Clock.Advance(time.Hour)
			h.heard(id, 1, status, "")
		}
		if now := h.caseOf(id, payout.CaseSlow); now.Why != c.Why || now.Stale(now.Resolutions[0]) {
			h.Errorf("it asks %q, before %q; the proposal is stale: %t", now.Why, c.Why, now.Stale(now.Resolutions[0]))
		}
	},
	"slow also when the provider cannot be asked": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.Clock.Advance(timing.StuckAfter + time.Minute)
		if p := h.asked(id); p.Step != payout.StepWait || p.Wait <= 0 {
			h.Fatalf("position is %+v", p)
		}
		h.asks(id, payout.CaseSlow)
	},
	"signed news that the provider does not confirm is asked about soon": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.Clock.Advance(time.Hour)
		h.told(news("e1", theirs(id, 1), "executed"))
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		p, err := h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "pending", "")}, Inbox: asking.Inbox, By: "test"})
		h.must(err)
		if p.Step != payout.StepWait || p.Wait > 2*time.Second || p.Wait <= 0 {
			h.Fatalf("position is %+v", p)
		}
		h.Clock.Advance(timing.StuckAfter + time.Minute)
		h.heard(id, 1, "pending", "")
		h.asks(id, payout.CaseContradiction)
		h.books(id, "reserve")
		h.heard(id, 1, "executed", "")
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"a parked payout never polls without a pause": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		wrong := h.word(id, 1, "pending", "")
		wrong.Word.Money.Minor++
		h.asked(id, wrong)
		h.parkedBy(id, payout.CaseMismatch)
		for _, status := range []string{"pending", "authorized"} {
			h.Clock.Advance(timing.PollMax + time.Second)
			if p := h.heard(id, 1, status, ""); p.Step != payout.StepWait || p.Wait < timing.PollFirst {
				h.Fatalf("position is %+v", p)
			}
			h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
		}
	},
	"what is asked of a person is not forgotten before it is asked": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		wrong := h.word(id, 1, "pending", "")
		wrong.Word.Money.Minor++
		h.asked(id, wrong)
		h.heard(id, 1, "pending", "") // by another run, before the case is opened
		h.parkedBy(id, payout.CaseMismatch)
	},
	"conclusive evidence un-parks": func(h house) {
		for status, want := range map[string]payout.Step{"executed": payout.StepDone, "failed": payout.StepRelease} {
			id := h.accepted(1000)
			h.created(id)
			wrong := h.word(id, 1, "pending", "")
			wrong.Word.Money.Minor++
			h.asked(id, wrong)
			h.parkedBy(id, payout.CaseMismatch)
			reason := payout.Reason("")
			if status == "failed" {
				reason = payout.ReasonInvalidIBAN
			}
			if p := h.heard(id, 1, status, reason); p.Step != want || p.Status == payout.StatusParked {
				h.Fatalf("%s: position %+v", status, p)
			}
			h.asks(id)
			h.Lawful(h)
		}
	},
})

// mismatches adds a case for each field in which the provider may speak of
// something else than we asked for.
func mismatches(g group) group {
	for field, change := range map[string]func(*payout.Word){
		"id":                            func(w *payout.Word) { w.ProviderID = "other" },
		"amount_in_minor":               func(w *payout.Word) { w.Money.Minor++ },
		"currency":                      func(w *payout.Word) { w.Money.Currency = "EUR" },
		"merchant_account_id":           func(w *payout.Word) { w.MerchantAccountID = "other" },
		"beneficiary.user_id":           func(w *payout.Word) { w.UserID = "other" },
		"beneficiary.payment_source_id": func(w *payout.Word) { w.PaymentSourceID = "other" },
		"beneficiary.reference":         func(w *payout.Word) { w.Reference = "other" },
		"metadata.payout_id":            func(w *payout.Word) { w.Metadata["payout_id"] = "other" },
		"metadata.attempt":              func(w *payout.Word) { w.Metadata["attempt"] = "2" },
	} {
		g["a mismatch parks: "+field] = func(h house) {
			for _, status := range []string{"pending", "executed", "failed"} {
				id := h.accepted(1000)
				h.created(id)
				w := h.word(id, 1, status, "")
				w.Word.Metadata = maps.Clone(w.Word.Metadata)
				change(&w.Word)
				h.asked(id, w)
				h.parkedBy(id, payout.CaseMismatch)
				h.books(id, "reserve")
			}
		}
	}
	return g
}

// outcome is what a definitive failure must come to when it is obeyed to the
// end.
type outcome struct {
	attempts int
	status   payout.Status
	money    payout.MoneyAt
	booked   string
	cases    []payout.CaseKind
}

var credited = outcome{1, payout.StatusFailed, payout.MoneyReleased, "reserve release", nil}

// outcomes has a line for each reason, and one that nobody listed.
var outcomes = map[payout.Reason]outcome{
	payout.ReasonInsufficientFunds: {5, payout.StatusFailed, payout.MoneyReleased, "reserve release", nil},
	payout.ReasonSchemeError:       {3, payout.StatusFailed, payout.MoneyReleased, "reserve release", nil},
	payout.ReasonServerError:       {3, payout.StatusFailed, payout.MoneyReleased, "reserve release", nil},
	payout.ReasonInvalidIBAN:       credited,
	payout.ReasonInvalidScan:       credited,
	payout.ReasonScanConversion:    credited,
	payout.ReasonBlocked:           {1, payout.StatusFailed, payout.MoneyFrozen, "reserve freeze", []payout.CaseKind{payout.CaseBlocked}},
	payout.ReasonReturned:          {1, payout.StatusReturned, payout.MoneyReturned, "reserve settle return", nil},
	payout.ReasonUnknown:           credited,
	payout.ReasonRefused:           credited,
	"brand_new_reason":             credited,
}

// deciding walks every line of the decision table, from each status a failure
// can come in, and obeys the steps to the end.
var deciding = func() group {
	g := group{"every reason has a line here": func(h house) {
		for _, reason := range payout.Reasons() {
			if _, ok := outcomes[reason]; !ok {
				h.Errorf("%s has no line", reason)
			}
		}
	}}
	for reason, want := range outcomes {
		for _, before := range []string{"", "pending", "authorized"} {
			g[fmt.Sprintf("%s after %q", reason, before)] = func(h house) {
				id := h.accepted(1000)
				attempts := 0
				for p := (payout.Position{Step: payout.StepCreate}); p.Step != payout.StepDone; {
					switch p.Step {
					case payout.StepCreate:
						attempts++
						h.created(id)
						if before != "" {
							h.heard(id, attempts, before, "")
						}
						p = h.heard(id, attempts, "failed", reason)
						h.owes(0, 1000, 0)
						h.Lawful(h)
					case payout.StepTryAgain:
						if p.Status != payout.StatusPending || p.Wait < time.Minute || p.Wait > 30*time.Minute {
							h.Fatalf("rests as %+v", p)
						}
						h.Clock.Advance(p.Wait)
						p = h.triedAgain(id)
					case payout.StepRelease:
						p = h.stepped(h.Release(h.ctx, id))
					case payout.StepFreeze:
						p = h.stepped(h.Freeze(h.ctx, id))
					case payout.StepReturn:
						p = h.stepped(h.Return(h.ctx, id))
					default:
						h.Fatalf("position is %+v", p)
					}
				}
				if attempts != want.attempts {
					h.Fatalf("%d attempts, want %d", attempts, want.attempts)
				}
				row := h.stands(id, want.status, want.money, payout.StepDone)
				if row.Reason != reason || len(row.Attempts) != attempts {
					h.Fatalf("the row is %+v", row)
				}
				h.books(id, want.booked)
				h.asks(id, want.cases...)
				if want.money == payout.MoneyFrozen {
					h.owes(0, 0, 1000)
				} else {
					h.owes(1000, 0, 0)
				}
			}
		}
	}
	return g
}()

func (h house) stepped(p payout.Position, err error) payout.Position {
	h.Helper()
	h.must(err)
	return p
}

// rested lets the time pass until the rest before the next attempt is over.
func (h house) rested(id payout.ID) {
	h.Helper()
	h.Clock.Advance(h.payout(id).NextStepAt.Sub(h.Clock.Now()))
}

// triedAgain asks about all attempts, which are as failed as they were, and
// begins the next.
func (h house) triedAgain(id payout.ID) payout.Position {
	h.Helper()
	asks, err := h.Earlier(h.ctx, id)
	h.must(err)
	var words []payout.Asked
	for _, a := range asks {
		words = append(words, h.word(id, a.Attempt, "failed", payout.ReasonInsufficientFunds))
	}
	return h.stepped(h.TryAgain(h.ctx, id, words))
}
