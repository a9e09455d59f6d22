package ledgertest

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// PaymentID is the pay-in that refunds are of.
const PaymentID = "payment-1"

// NewRefund is a request of Player to refund pence of PaymentID, under key.
func NewRefund(key string, pence int64) payout.RefundRequest {
	return payout.RefundRequest{Caller: Caller, IdempotencyKey: key, PlayerID: Player, PaymentID: PaymentID, Money: Pounds(pence), Reference: "REFUND 1"}
}

// refunding are the cases of refunds: a payout's life, asked about by other
// addresses.
var refunding = group{
	"the money is held": func(h house) {
		h.Fund(h, 1500)
		want := NewRefund("k", 1000)
		p, replayed, err := h.AcceptRefund(h.ctx, want, Merchant)
		h.must(err)
		if replayed || p.ID != want.ID() || p.Kind != payout.KindRefund || p.Status != payout.StatusAccepted || p.MoneyAt != payout.MoneyHeld || p.Step != payout.StepCreate || p.Version != 1 ||
			p.Money != want.Money || p.PaymentID != PaymentID || p.Beneficiary != (payout.Beneficiary{Reference: want.Reference}) || p.MerchantAccountID != Merchant || p.Caller != Caller || p.PlayerID != Player {
			h.Fatalf("accepted as %+v, replayed %v", p, replayed)
		}
		h.owes(500, 1000, 0)
		h.books(p.ID, "reserve")
		if _, err := h.Payout(h.ctx, Caller, payout.KindPayout, p.ID); !errors.Is(err, payout.ErrNotFound) {
			h.Fatalf("a refund is found as a payout: %v", err)
		}
		if _, err := h.Payout(h.ctx, "other game", payout.KindRefund, p.ID); !errors.Is(err, payout.ErrNotFound) {
			h.Fatalf("another caller's refund is found: %v", err)
		}
		items, _, err := h.Payouts(h.ctx, payout.KindRefund, ledger.Filter{Caller: Caller})
		h.must(err)
		if len(items) != 1 || items[0].ID != p.ID || items[0].PaymentID != PaymentID {
			h.Fatalf("listed %+v", items)
		}
	},
	"a replay answers with the refund as it is now": func(h house) {
		h.Fund(h, 1500)
		if p, found, err := h.RefundAcceptedBefore(h.ctx, NewRefund("k", 1000)); found || err != nil {
			h.Fatalf("found %+v before it was accepted, %v", p, err)
		}
		first, _, err := h.AcceptRefund(h.ctx, NewRefund("k", 1000), Merchant)
		h.must(err)
		h.created(first.ID)
		again, replayed, err := h.AcceptRefund(h.ctx, NewRefund("k", 1000), Merchant)
		h.must(err)
		found, ok, err := h.RefundAcceptedBefore(h.ctx, NewRefund("k", 1000))
		h.must(err)
		for _, p := range []ledger.Payout{again, found} {
			if !replayed || !ok || p.ID != first.ID || p.Status != payout.StatusPending || p.PaymentID != PaymentID || p.Version != 2 {
				h.Fatalf("replayed %v, found %v: %+v", replayed, ok, p)
			}
		}
		h.owes(500, 1000, 0)
	},
	"the same key for another refund is refused by the field": func(h house) {
		h.Fund(h, 9000)
		_, _, err := h.AcceptRefund(h.ctx, NewRefund("k", 1000), Merchant)
		h.must(err)
		for field, change := range map[string]func(*payout.RefundRequest){
			"amount_in_minor": func(r *payout.RefundRequest) { r.Money.Minor++ },
			"currency":        func(r *payout.RefundRequest) { r.Money.Currency = "EUR" },
			"player_id":       func(r *payout.RefundRequest) { r.PlayerID = "player-2" },
			"payment_id":      func(r *payout.RefundRequest) { r.PaymentID = "payment-2" },
			"reference":       func(r *payout.RefundRequest) { r.Reference = "x" },
		} {
			again := NewRefund("k", 1000)
			change(&again)
			_, _, err := h.AcceptRefund(h.ctx, again, Merchant)
			h.names(err, field)
			_, _, err = h.RefundAcceptedBefore(h.ctx, again)
			h.names(err, field)
		}
		h.owes(8000, 1000, 0)
	},
	"keys of refunds and of payouts are apart": func(h house) {
		h.Fund(h, 3000)
		p, _, err := h.Accept(h.ctx, NewPayout("k", 1000), Merchant, false)
		h.must(err)
		r, replayed, err := h.AcceptRefund(h.ctx, NewRefund("k", 500), Merchant)
		h.must(err)
		if replayed || r.ID == p.ID || r.Attempts != nil || payout.Key(r.ID, 1) == payout.Key(p.ID, 1) {
			h.Fatalf("the payout is %s, the refund %s", p.ID, r.ID)
		}
		h.owes(1500, 1500, 0)
	},
	"a balance too low, and a player of nobody, leave nothing behind": func(h house) {
		_, _, err := h.AcceptRefund(h.ctx, NewRefund("k", 1000), Merchant)
		h.refused(err, payout.ErrBalanceTooLow)
		if n := h.count("SELECT COUNT(*) FROM players"); n != 0 {
			h.Fatal("a refused refund named a player")
		}
		h.Fund(h, 999)
		_, _, err = h.AcceptRefund(h.ctx, NewRefund("k", 1000), Merchant)
		h.refused(err, payout.ErrBalanceTooLow)
		h.owes(999, 0, 0)
		h.Fund(h, 1)
		if _, replayed, err := h.AcceptRefund(h.ctx, NewRefund("k", 1000), Merchant); err != nil || replayed {
			h.Fatalf("replayed %v, %v", replayed, err)
		}
	},
	"another caller's player is not found": func(h house) {
		h.Fund(h, 1000)
		r := NewRefund("k", 1000)
		r.Caller = "other game"
		_, _, err := h.AcceptRefund(h.ctx, r, Merchant)
		h.refused(err, payout.ErrNotFound)
		h.owes(1000, 0, 0)
	},
	"one key at once is one refund": func(h house) {
		h.Fund(h, 1000) // enough for one
		var wait sync.WaitGroup
		var fresh atomic.Int64
		errs := make(chan error, 20)
		for range cap(errs) {
			wait.Go(func() {
				_, replayed, err := h.AcceptRefund(h.ctx, NewRefund("once", 1000), Merchant)
				errs <- err
				if err == nil && !replayed {
					fresh.Add(1)
				}
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		if fresh.Load() != 1 {
			h.Fatalf("%d refunds, want 1", fresh.Load())
		}
		h.owes(0, 1000, 0)
	},
	"a send and every question name the pay-in": func(h house) {
		id := h.refund(1000)
		s := h.sent(id)
		if s.Kind != payout.KindRefund || s.PaymentID != PaymentID || s.Key != payout.Key(id, 1) || !strings.Contains(string(s.Body), `"Kind":"refund"`) {
			h.Fatalf("the send is %+v, its body %s", s, s.Body)
		}
		h.answered(s, there(theirs(id, 1)))
		want := payout.Ask{Attempt: 1, ProviderID: theirs(id, 1), Kind: payout.KindRefund, PaymentID: PaymentID}
		if asking := h.asking(id); len(asking.Asks) != 1 || asking.Asks[0] != want {
			h.Fatalf("asks %+v", asking.Asks)
		}
		asks, err := h.Earlier(h.ctx, id)
		h.must(err)
		if len(asks) != 1 || asks[0] != want {
			h.Fatalf("asks %+v", asks)
		}
		if s := h.told(news("e1", theirs(id, 1), "executed")); s.PayoutID != id || s.Kind != payout.KindRefund {
			h.Fatalf("stored as %+v", s)
		}
	},
	"a statement is asked with the pay-in's refunds": func(h house) {
		id := h.refund(1000)
		h.sent(id)
		h.Clock.Advance(timing.KeyWindow + time.Second)
		h.forbidden(id, payout.StepReconcile)
		if look := h.asking(id).Look; look == nil || look.Kind != payout.KindRefund || look.PaymentID != PaymentID || look.MerchantAccountID != Merchant {
			h.Fatalf("looks for %+v", look)
		}
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "pending"))
		h.reconciled(id, says{theirs(id, 1): "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"every reason ends as a payout's does": func(h house) {
		for reason, want := range outcomes {
			id := h.refund(1000)
			for n, p := 1, (payout.Position{Step: payout.StepCreate}); p.Step != payout.StepDone; {
				switch p.Step {
				case payout.StepCreate:
					h.created(id)
					p = h.heard(id, n, "failed", reason)
				case payout.StepTryAgain:
					h.rested(id)
					p, n = h.triedAgain(id), n+1
				case payout.StepRelease:
					p = h.stepped(h.Release(h.ctx, id))
				case payout.StepFreeze:
					p = h.stepped(h.Freeze(h.ctx, id))
				case payout.StepReturn:
					p = h.stepped(h.Return(h.ctx, id))
				default:
					h.Fatalf("%s: position %+v", reason, p)
				}
			}
			if row := h.stands(id, want.status, want.money, payout.StepDone); len(row.Attempts) != want.attempts {
				h.Fatalf("%s: %d attempts, want %d", reason, len(row.Attempts), want.attempts)
			}
			h.books(id, want.booked)
			h.asks(id, want.cases...)
		}
	},
	"executed is settled, and a return is late word": func(h house) {
		id := h.refund(1000)
		h.created(id)
		h.heard(id, 1, "executed", "")
		h.owes(0, 0, 0)
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.Clock.Advance(time.Second)
		if list, err := h.LateNews(h.ctx, 10); err != nil || len(list) != 1 || list[0].Kind != payout.KindRefund {
			h.Fatalf("late are %+v, %v", list, err)
		}
		h.twice(id, says{theirs(id, 1): "failed returned"})
		h.stepped(h.Return(h.ctx, id))
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.books(id, "reserve settle return")
		h.owes(1000, 0, 0)
	},
	"what is compared is what a refund's word has": func(h house) {
		for field, change := range map[string]func(*payout.Word){
			"amount_in_minor": func(w *payout.Word) { w.Money.Minor++ },
			"reference":       func(w *payout.Word) { w.Reference = "other" },
			"payout_id":       func(w *payout.Word) { w.Metadata["payout_id"] = "other" },
			"attempt":         func(w *payout.Word) { w.Metadata["attempt"] = "2" },
		} {
			id := h.refund(1000)
			h.created(id)
			w := h.word(id, 1, "executed", "")
			change(&w.Word)
			h.asked(id, w)
			h.parkedBy(id, payout.CaseMismatch)
			if why := h.caseOf(id, payout.CaseMismatch).Why; !strings.Contains(why, field) {
				h.Errorf("%s: the case says %q", field, why)
			}
		}
	},
	"a refund may wait for its pay-in to settle": func(h house) {
		refund, paid := h.refund(1000), h.accepted(1000)
		h.created(refund)
		h.created(paid)
		h.Clock.Advance(timing.StuckAfter + time.Minute)
		h.heard(refund, 1, "pending", "")
		h.heard(paid, 1, "pending", "")
		slow := func(opened int, refunds, payouts string) {
			h.Helper()
			n, err := h.OpenSlow(h.ctx, 10)
			h.must(err)
			if n != opened || h.cases(refund) != refunds || h.cases(paid) != payouts {
				h.Fatalf("opened %d; the refund has %q, the payout %q", n, h.cases(refund), h.cases(paid))
			}
		}
		slow(0, "", "slow")
		h.Clock.Advance(timing.RefundStuckAfter)
		slow(1, "slow", "slow")
		h.heard(refund, 1, "executed", "")
		slow(0, "", "slow")
	},
	"its events are a refund's": func(h house) {
		id := h.refund(1000)
		h.created(id)
		h.heard(id, 1, "executed", "")
		var got []string
		for _, e := range h.claimed() {
			var data struct {
				ID payout.ID `json:"id"`
			}
			h.must(json.Unmarshal(e.Data, &data))
			if data.ID != id || e.SubjectID != string(id) {
				h.Fatalf("event %+v", e)
			}
			got = append(got, e.Type)
		}
		if strings.Join(got, " ") != "refund.accepted refund.pending refund.executed" {
			h.Fatalf("told %v", got)
		}
	},
	"due and unread name the kind": func(h house) {
		id := h.refund(1000)
		h.created(id)
		h.told(news("e1", theirs(id, 1), "executed"))
		h.Clock.Advance(time.Hour)
		due, err := h.DuePayouts(h.ctx, 10)
		h.must(err)
		unread, err := h.Unread(h.ctx, time.Minute, 10)
		h.must(err)
		if len(due) != 1 || due[0].Kind != payout.KindRefund || len(unread) != 1 || unread[0].Kind != payout.KindRefund || unread[0].PayoutID != id {
			h.Fatalf("due %+v, unread %+v", due, unread)
		}
	},
}

// refund funds Player with what is asked for and accepts a refund of it.
func (h house) refund(pence int64) payout.ID {
	h.Helper()
	h.Fund(h, pence)
	p, replayed, err := h.AcceptRefund(h.ctx, NewRefund("refund-"+uuid.NewString(), pence), Merchant)
	h.must(err)
	if replayed {
		h.Fatal("a new refund was a replay")
	}
	return p.ID
}
