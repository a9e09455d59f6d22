package ledgertest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// resolving are the cases of what two people decided: when it may be done, the
// money that it moves, and that it moves once.
var resolving = merged(neverCreated, createdAs, heardAgain, group{
	"release_frozen lets the player have the money": func(h house) {
		id := h.frozen()
		version := h.payout(id).Version
		h.resolved(id, payout.CaseBlocked, payout.ActionReleaseFrozen, nil)
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.books(id, "reserve freeze unfreeze")
		h.moved(id, "unfreeze", "player:"+Player+":frozen", "player:"+Player+":available")
		h.owes(1000, 0, 0)
		h.asks(id)
		told := h.claimed()
		if last := told[len(told)-1]; h.payout(id).Version != version+1 || last.Type != "payout.failed" || last.Version != version+1 || !strings.Contains(string(last.Data), `"money":"released"`) {
			h.Fatalf("the game backend is told %s %d %s, and the version was %d", last.Type, last.Version, last.Data, version)
		}
		h.reconciled(id, says{theirs(id, 1): "failed blocked"})
		h.books(id, "reserve freeze unfreeze")
	},
	"release_frozen of what was sent back": func(h house) {
		id := h.paid()
		h.heard(id, 1, "failed", payout.ReasonBlocked)
		h.stepped(h.Return(h.ctx, id))
		h.owes(0, 0, 1000)
		h.resolved(id, payout.CaseBlocked, payout.ActionReleaseFrozen, nil)
		h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		h.books(id, "reserve settle return unfreeze")
		h.owes(1000, 0, 0)
	},
	"release_frozen waits until the return is booked": func(h house) {
		id := h.paid()
		h.heard(id, 1, "failed", payout.ReasonBlocked)
		_, _, err := h.propose(h.caseOf(id, payout.CaseBlocked), payout.ActionReleaseFrozen)
		h.declined("not frozen yet", err, payout.RefusalNotOffered, "paid")
	},
	"keep_frozen moves nothing and leaves the case open": func(h house) {
		id := h.frozen()
		for n := 1; n <= 2; n++ {
			res := h.carriedOut(id, payout.CaseBlocked, payout.ActionKeepFrozen, nil)
			if res.Number != n || res.Status != ledger.ResolutionDone {
				h.Fatalf("the resolution is %+v", res)
			}
			h.asks(id, payout.CaseBlocked)
		}
		h.stands(id, payout.StatusFailed, payout.MoneyFrozen, payout.StepDone)
		h.books(id, "reserve freeze")
		h.owes(0, 0, 1000)
	},
	"book_return credits the player back": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.unconfirmed(id, says{theirs(id, 1): "executed"}, payout.StatusExecuted, payout.CaseReturnUnconfirmed)
		h.offers(h.caseOf(id, payout.CaseReturnUnconfirmed), payout.ActionBookReturn, payout.ActionDismiss)
		h.resolved(id, payout.CaseReturnUnconfirmed, payout.ActionBookReturn, nil)
		row := h.stands(id, payout.StatusReturned, payout.MoneyReturned, payout.StepDone)
		if row.Reason != payout.ReasonReturned {
			h.Fatalf("the row is %+v", row)
		}
		h.books(id, "reserve settle return")
		h.owes(1000, 0, 0)
		h.asks(id)
		// The provider says so at last: known.
		h.toldLate(id, "e2", theirs(id, 1), "failed")
		h.reconciled(id, says{theirs(id, 1): "failed returned"})
		h.books(id, "reserve settle return")
		h.asks(id)
	},
	"book_return is void when the provider confirms meanwhile": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.unconfirmed(id, says{theirs(id, 1): "executed"}, payout.StatusExecuted, payout.CaseReturnUnconfirmed)
		c := h.caseOf(id, payout.CaseReturnUnconfirmed)
		h.decided(c, payout.ActionBookReturn)
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, id))
		h.reconciled(id, nil)
		h.books(id, "reserve settle return")
		h.owes(1000, 0, 0)
	},
	"dismiss of an unconfirmed return moves nothing": func(h house) {
		id := h.paid()
		h.toldLate(id, "e1", theirs(id, 1), "failed")
		h.unconfirmed(id, says{theirs(id, 1): "executed"}, payout.StatusExecuted, payout.CaseReturnUnconfirmed)
		h.resolved(id, payout.CaseReturnUnconfirmed, payout.ActionDismiss, says{theirs(id, 1): "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle")
		h.asks(id)
	},
	"recover takes from what the player has": func(h house) {
		id := h.exposed()
		h.offers(h.caseOf(id, payout.CaseExposure), payout.ActionRecover, payout.ActionAdjust)
		h.resolved(id, payout.CaseExposure, payout.ActionRecover, nil)
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.books(id, "reserve release expose recover")
		h.moved(id, "recover", "player:"+Player+":available", "house:exposure")
		h.owes(0, 0, 0)
		h.asks(id)
		h.heard(id, 1, "executed", "") // known
		h.books(id, "reserve release expose recover")
		h.asks(id)
	},
	"recover without the balance is refused": func(h house) {
		id := h.exposed()
		_, _, err := h.Debit(h.ctx, credit("spent", 1))
		h.must(err)
		h.offers(h.caseOf(id, payout.CaseExposure), payout.ActionAdjust)
		_, _, err = h.propose(h.caseOf(id, payout.CaseExposure), payout.ActionRecover)
		h.declined("spent", err, payout.RefusalNotOffered, "recover", "£9.99")
		h.books(id, "reserve release expose")
	},
	"recover is void when the balance is spent meanwhile": func(h house) {
		id := h.exposed()
		c := h.caseOf(id, payout.CaseExposure)
		h.decided(c, payout.ActionRecover)
		_, _, err := h.Debit(h.ctx, credit("spent", 1000))
		h.must(err)
		h.reconciled(id, nil)
		h.books(id, "reserve release expose")
		h.owes(0, 0, 0)
		c, err = h.Case(h.ctx, c.ID)
		h.must(err)
		if c.Status != "open" || c.Resolutions[0].Status != ledger.ResolutionVoid || !strings.Contains(c.Resolutions[0].Outcome, "available") {
			h.Fatalf("the case is %+v", c)
		}
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil) // another way out
		h.asks(id)
	},
	"adjust writes an exposure off": func(h house) {
		id := h.exposed()
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.books(id, "reserve release expose adjust")
		h.moved(id, "adjust", "house:fees", "house:exposure")
		h.owes(1000, 0, 0)
		h.asks(id)
	},
	"adjust takes an exposure that came back off the books": func(h house) {
		for name, back := range map[string]func(payout.ID){
			"by a word": func(id payout.ID) { h.heard(id, 1, "failed", payout.ReasonReturned) },
			"by late word": func(id payout.ID) {
				h.toldLate(id, "e-"+string(id), theirs(id, 1), "failed")
				h.reconciled(id, says{theirs(id, 1): "failed returned"})
			},
		} {
			id := h.exposed()
			back(id)
			h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
			_, _, err := h.propose(h.caseOf(id, payout.CaseExposure), payout.ActionRecover)
			h.declined("the house has it", err, payout.RefusalNotOffered, "sent it back")
			h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
			if got := h.booked(id); got != "reserve release expose adjust" {
				h.Fatalf("%s: booked %s", name, got)
			}
			h.moved(id, "adjust", "merchant:"+Merchant, "house:exposure")
			h.asks(id)
		}
		h.owes(2000, 0, 0)
	},
	"each exposure of a payout is made good": func(h house) {
		id := h.second() // both attempts fail, the money goes back, and both were paid
		h.created(id)
		h.heard(id, 2, "failed", payout.ReasonInvalidIBAN)
		h.stepped(h.Release(h.ctx, id))
		h.heard(id, 1, "executed", "")
		h.heard(id, 2, "executed", "")
		h.books(id, "reserve release expose expose")
		res := h.carriedOut(id, payout.CaseExposure, payout.ActionRecover, nil)
		if res.Status != ledger.ResolutionDone {
			h.Fatalf("the resolution is %+v", res)
		}
		h.asks(id, payout.CaseExposure) // one is left
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.books(id, "reserve release expose expose recover adjust")
		h.asks(id)
		h.owes(0, 0, 0)
	},
	"what came back after it was made good is no dead end": func(h house) {
		for _, action := range []payout.Action{payout.ActionRecover, payout.ActionAdjust} {
			id := h.exposed()
			h.resolved(id, payout.CaseExposure, action, nil)
			h.toldLate(id, "e-"+string(id), theirs(id, 1), "failed")
			h.reconciled(id, says{theirs(id, 1): "failed returned"})
			list, _, err := h.Cases(h.ctx, ledger.CaseFilter{PayoutID: id, Status: "open"})
			h.must(err)
			if len(list) == 0 {
				h.Fatalf("%s: the house has money that it does not know of, and nobody is asked", action)
			}
			for _, c := range list {
				if c, err = h.Case(h.ctx, c.ID); err != nil || len(c.Actions) == 0 {
					h.Fatalf("%s: a case %s offers nothing: %v, %v", action, c.Kind, c.NotNow, err)
				}
			}
		}
	},
	"adjust books a second payout that was paid": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "executed", "")
		_, _, err := h.propose(h.caseOf(id, payout.CaseContradiction), payout.ActionAdjust)
		h.declined("nothing was paid twice yet", err, payout.RefusalNotOffered)
		h.reconciled(id, says{"another": "executed"})
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.moved(id, "adjust", "house:fees", "merchant:"+Merchant)
		h.books(id, "reserve settle adjust")
		_, _, err = h.propose(h.caseOf(id, payout.CaseContradiction), payout.ActionAdjust)
		h.declined("it is booked", err, payout.RefusalNotOffered)
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id)
	},
	"adjust books a second payout of an attempt that was not the one paid": func(h house) {
		id := h.second()
		h.created(id)
		n := news("e1", "another", "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		h.reconciled(id, says{theirs(id, 1): "failed scheme_error", theirs(id, 2): "executed", "another": "pending"})
		h.reconciled(id, says{"another": "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.offers(h.caseOf(id, payout.CaseExposure), payout.ActionAdjust)
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.moved(id, "adjust", "house:fees", "merchant:"+Merchant)
	},
	"adjust books every further payout of an attempt, and what came back": func(h house) {
		id := h.tripled()
		h.reconciled(id, says{theirs(id, 1): "executed", "another": "executed", "third": "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.carriedOut(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.books(id, "reserve settle adjust")
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.books(id, "reserve settle adjust adjust")
		if got := h.cases(id); strings.Contains(got, string(payout.CaseExposure)) {
			h.Fatalf("all is booked, and open is %s", got)
		}
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil)
		h.asks(id)

		h.toldLate(id, "e1", "third", "failed") // its bank sends it back
		h.reconciled(id, says{"third": "failed returned"})
		h.resolved(id, payout.CaseContradiction, payout.ActionAdjust, nil)
		h.books(id, "reserve settle adjust adjust adjust")
		h.has(id, "house:fees", -1000) // "another"
		h.has(id, "merchant:"+Merchant, 2000)
		h.asks(id)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"a second payout that nobody decides is none of ours": func(h house) {
		strange := func(id payout.ID, s says) (bound func(*payout.Proposal)) {
			h.Helper()
			_, _, err := h.propose(h.caseOf(id, payout.CaseContradiction), payout.ActionNotOurs, as("another"))
			h.declined("it may be slow", err, payout.RefusalNotOffered, "wait until")
			h.Clock.Advance(payout.NeverCreatedAfter + time.Hour)
			h.reconciled(id, s)
			return as("another")
		}
		id := h.doubled()
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
		not := strange(id, nil)
		_, _, err := h.propose(h.caseOf(id, payout.CaseContradiction), payout.ActionNotOurs, as(theirs(id, 1)))
		h.declined("that is ours", err, payout.RefusalNotOffered, "no undecided further payout")
		h.void(id, payout.CaseContradiction, payout.ActionNotOurs, says{"another": "pending"}, not, "is this payout")
		h.resolved(id, payout.CaseContradiction, payout.ActionNotOurs, nil, not) // 404
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepRelease)
		h.stepped(h.Release(h.ctx, id))
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.owes(1000, 0, 0)
		// It was ours after all: that is told, and booked.
		h.toldLate(id, "e1", "another", "executed")
		h.reconciled(id, says{"another": "executed"})
		h.asks(id, payout.CaseContradiction, payout.CaseExposure)
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil)
	},
	"a payout that is paid asks no more about what is none of ours": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "executed", "")
		h.reconciled(id, says{theirs(id, 1): "executed"})
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepWait)
		h.resolved(id, payout.CaseContradiction, payout.ActionNotOurs, nil, as("another"), func(p *payout.Proposal) { p.ProviderTicket = "T-1" })
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id)
		h.books(id, "reserve settle")
	},
	"what was written off and came back is borne no more": func(h house) {
		id := h.exposed()
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.heard(id, 1, "failed", payout.ReasonReturned)
		h.offers(h.caseOf(id, payout.CaseContradiction), payout.ActionAdjust, payout.ActionDismiss)
		h.resolved(id, payout.CaseContradiction, payout.ActionAdjust, nil)
		h.books(id, "reserve release expose adjust adjust")
		h.has(id, "house:fees", 0)
		h.has(id, "house:exposure", 0)
		h.has(id, "merchant:"+Merchant, 0)
		h.asks(id)
	},
	"an exposure and a second payout of one attempt do not lock each other": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.reconciled(id, says{"another": "failed invalid_iban"})
		h.stepped(h.Release(h.ctx, id))
		h.heard(id, 1, "executed", "")
		h.heardOf(id, "another", "executed", "")
		h.books(id, "reserve release expose")
		for _, action := range []payout.Action{payout.ActionRecover, payout.ActionAdjust, payout.ActionAdjust} {
			list, _, err := h.Cases(h.ctx, ledger.CaseFilter{PayoutID: id, Status: "open", Kind: payout.CaseExposure})
			h.must(err)
			for _, c := range list {
				if c, err = h.Case(h.ctx, c.ID); err != nil {
					h.Fatal(err)
				}
				if slices.ContainsFunc(c.Actions, func(o payout.Offer) bool { return o.Action == action }) {
					h.decided(c, action)
					h.Clock.Advance(time.Second)
					h.judged(id, h.asking(id), nil) // which must not fail for ever
				}
			}
		}
	},
	"a second payout that was taken for the payment is no exposure": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.reconciled(id, says{"another": "executed"})
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{"another": "executed"}, as("another"))
		h.books(id, "reserve settle")
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN) // as it was, and no return
		h.reconciled(id, nil)
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle")
		for _, kind := range []payout.CaseKind{payout.CaseExposure, payout.CaseContradiction} {
			list, _, err := h.Cases(h.ctx, ledger.CaseFilter{PayoutID: id, Status: "open", Kind: kind})
			h.must(err)
			for _, c := range list {
				_, _, err := h.propose(c, payout.ActionAdjust)
				h.declined("paid once", err, payout.RefusalNotOffered)
			}
		}
	},
	"its return is noticed": func(h house) {
		id := h.doubled()
		h.heard(id, 1, "failed", payout.ReasonInvalidIBAN)
		h.reconciled(id, says{"another": "executed"})
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{"another": "executed"}, as("another"))
		h.asks(id)
		h.toldLate(id, "e1", "another", "failed")
		h.reconciled(id, says{theirs(id, 1): "failed invalid_iban", "another": "failed returned"})
		if row := h.payout(id); row.MoneyAt == payout.MoneyPaid && row.Step == payout.StepDone && h.cases(id) == "" {
			h.Fatalf("the money came back, the player has none of it, and nobody is asked\n%s", story(row))
		}
	},
	"a case's money is the payout's": func(h house) {
		id := h.exposed()
		res := h.decided(h.caseOf(id, payout.CaseExposure), payout.ActionAdjust)
		if res.Money != Pounds(1000) {
			h.Fatalf("the resolution is %+v", res)
		}
		h.reconciled(id, nil)
		for _, t := range h.transactions() {
			if t.Kind == ledger.KindAdjust && (t.Money != Pounds(1000) || t.Attempt != 1 || t.Slot != "" || t.Reason != reason || t.EvidenceID == "") {
				h.Fatalf("booked %+v", t)
			}
		}
		if n := h.count("SELECT COUNT(*) FROM evidence WHERE kind = 'person'"); n != 1 {
			h.Fatalf("%d decisions are evidence, want 1", n)
		}
		for _, e := range h.caseOf(id, payout.CaseExposure).Evidence {
			if e.Kind != "person" {
				continue
			}
			if body, err := h.Evidence(h.ctx, e.ID); err != nil || !strings.Contains(string(body), Anna) || !strings.Contains(string(body), Ben) {
				h.Fatalf("the evidence is %s, %v", body, err)
			}
		}
	},
})

// merged is all of these cases.
func merged(groups ...group) group {
	all := group{}
	for _, g := range groups {
		maps.Copy(all, g)
	}
	return all
}

// has fails unless a payout's transactions brought an account so much, in minor
// units.
func (h house) has(id payout.ID, account string, want int64) {
	h.Helper()
	var got int64
	for _, t := range h.transactions() {
		if t.PayoutID != id {
			continue
		}
		switch account {
		case t.To:
			got += t.Money.Minor
		case t.From:
			got -= t.Money.Minor
		}
	}
	if got != want {
		h.Fatalf("%s has %d, want %d\n%s", account, got, want, story(h.payout(id)))
	}
}

// moved fails unless the one transaction of a kind went from there to there.
func (h house) moved(id payout.ID, kind ledger.TransactionKind, from, to string) {
	h.Helper()
	found := 0
	for _, t := range h.transactions() {
		if t.PayoutID == id && t.Kind == kind {
			if found++; t.From != from || t.To != to {
				h.Fatalf("%s went from %s to %s, want from %s to %s", kind, t.From, t.To, from, to)
			}
		}
	}
	if found != 1 {
		h.Fatalf("%d of %s, want 1", found, kind)
	}
}

// lost is a payout parked since nobody knows what became of its create, when
// all that never_created needs is there.
func (h house) lost() payout.ID {
	h.Helper()
	id := h.silent()
	h.looked(id)
	h.parkedBy(id, payout.CaseUnknownOutcome)
	h.Clock.Advance(payout.NeverCreatedAfter)
	return id
}

// neverCreated are the cases of the decision that nothing was ever created.
var neverCreated = func() group {
	g := group{
		"never_created credits the player back": func(h house) {
			id := h.lost()
			h.resolved(id, payout.CaseUnknownOutcome, payout.ActionNeverCreated, nil)
			h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepRelease)
			h.stepped(h.Release(h.ctx, id))
			h.stepped(h.Release(h.ctx, id))
			row := h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
			if row.Attempts[0].Status != "refused" || row.Reason != payout.ReasonRefused {
				h.Fatalf("the row is %+v", row)
			}
			h.books(id, "reserve release")
			h.owes(1000, 0, 0)
			h.asks(id)
			if n := h.count("SELECT COUNT(*) FROM transactions t JOIN evidence e ON e.id = t.evidence_id WHERE t.kind = 'release' AND e.kind = 'person'"); n != 1 {
				h.Fatal("the release does not name what people decided")
			}
			h.forbidden(id, payout.StepDone)
		},
		"never_created, of a create that was answered with another payout's id": func(h house) {
			other, id := h.mistaken()
			h.Clock.Advance(timing.KeyWindow + payout.NeverCreatedAfter)
			c := h.caseOf(id, payout.CaseContradiction)
			_, _, err := h.propose(c, payout.ActionNeverCreated)
			h.declined("not looked for", err, payout.RefusalNotOffered, "never_created", "statement")
			h.looked(id)
			h.resolved(id, payout.CaseContradiction, payout.ActionNeverCreated, nil)
			h.stepped(h.Release(h.ctx, id))
			h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
			h.stands(other, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		},
		"never_created with a ticket needs no three days": func(h house) {
			id := h.silent()
			h.looked(id)
			h.parkedBy(id, payout.CaseUnknownOutcome)
			h.resolved(id, payout.CaseUnknownOutcome, payout.ActionNeverCreated, nil, ticket)
		},
		"never_created of a refund": func(h house) {
			id := h.refund(1000)
			h.sent(id)
			h.Clock.Advance(timing.KeyWindow + time.Second)
			h.forbidden(id, payout.StepReconcile)
			h.looked(id)
			h.parkedBy(id, payout.CaseUnknownOutcome)
			h.Clock.Advance(payout.NeverCreatedAfter)
			h.resolved(id, payout.CaseUnknownOutcome, payout.ActionNeverCreated, nil)
			h.stepped(h.Release(h.ctx, id))
			h.owes(1000, 0, 0)
		},
		"never_created looks once more before it is done": func(h house) {
			id := h.lost()
			c := h.caseOf(id, payout.CaseUnknownOutcome)
			h.decided(c, payout.ActionNeverCreated)
			asking := h.asking(id)
			if asking.Look == nil {
				h.Fatal("nobody looks")
			}
			h.judged(id, asking, nil, h.outgoing(id, 1, theirs(id, 1), "executed"))
			h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
			c, err := h.Case(h.ctx, c.ID)
			h.must(err)
			if c.Status != "closed" || c.Resolutions[0].Status != ledger.ResolutionVoid {
				h.Fatalf("the case is %+v", c)
			}
			h.reconciled(id, says{theirs(id, 1): "executed"})
			h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
			h.books(id, "reserve settle")
		},
		"never_created is not done by a step that did not look": func(h house) {
			id := h.lost()
			h.decided(h.caseOf(id, payout.CaseUnknownOutcome), payout.ActionNeverCreated)
			asking := h.asking(id)
			_, err := h.Judge(h.ctx, id, payout.Heard{Approved: asking.Approved, By: "test"})
			h.must(err)
			if row := h.payout(id); row.Step == payout.StepRelease {
				h.Fatalf("nobody looked, and it is given back\n%s", story(row))
			}
		},
		"never_created and yet there: an exposure": func(h house) {
			id := h.lost()
			h.resolved(id, payout.CaseUnknownOutcome, payout.ActionNeverCreated, nil)
			h.stepped(h.Release(h.ctx, id))
			n := news("e1", theirs(id, 1), "executed")
			n.PayoutID, n.Attempt = id, 1
			if s := h.told(n); !s.Late || !s.Wake {
				h.Fatalf("stored as %+v", s)
			}
			h.twice(id, says{theirs(id, 1): "executed"})
			h.books(id, "reserve release expose")
			h.asks(id, payout.CaseContradiction, payout.CaseExposure)
			h.resolved(id, payout.CaseExposure, payout.ActionRecover, nil)
			h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil)
			h.owes(0, 0, 0)
		},
		"never_created and yet there before the release: the money stays": func(h house) {
			id := h.lost()
			h.resolved(id, payout.CaseUnknownOutcome, payout.ActionNeverCreated, nil)
			n := news("e1", theirs(id, 1), "executed")
			n.PayoutID, n.Attempt = id, 1
			h.told(n)
			h.stepped(h.Release(h.ctx, id))
			h.reconciled(id, says{theirs(id, 1): "executed"})
			h.parkedBy(id, payout.CaseContradiction)
			h.owes(0, 1000, 0)
			h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "executed"}, as(theirs(id, 1)))
			h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
			h.books(id, "reserve settle")
		},
	}
	// Each condition alone keeps it from being done, and is named. Each case is a
	// payout that has all but one; with the ticket where it helps nothing.
	for name, c := range map[string]struct {
		place  func(house) payout.ID
		ticket bool
		says   string
	}{
		"the window is open": {func(h house) payout.ID {
			id := h.accepted(1000)
			h.answered(h.sent(id), payout.Created{Answer: payout.AnswerUnknown, KeyReused: true})
			h.forbidden(id, payout.StepReconcile)
			h.Clock.Advance(timing.KeyWindow - time.Second) // the token is long over
			h.looked(id)
			h.parkedBy(id, payout.CaseUnknownOutcome)
			return id
		}, true, "window"},
		"a token is good": {func(h house) payout.ID { return h.sentLate() }, true, "taken in until"},
		"news is unread": {func(h house) payout.ID {
			id := h.lost()
			n := news("e1", "", "executed")
			n.PayoutID, n.Attempt = id, 1
			h.told(n)
			return id
		}, true, "news"},
		"the statement was not read since": {func(h house) payout.ID {
			id := h.sentLate()
			h.Clock.Advance(payout.NeverCreatedAfter)
			return id
		}, true, "statement"},
		"three days are not over": {func(h house) payout.ID {
			id := h.lost()
			h.Clock.Advance(-timing.KeyWindow - 2*time.Second)
			return id
		}, false, "wait until"},
		"the key was reused": {func(h house) payout.ID {
			id := h.accepted(1000)
			h.answered(h.sent(id), payout.Created{Answer: payout.AnswerUnknown, KeyReused: true})
			h.Clock.Advance(timing.KeyWindow + time.Second)
			h.forbidden(id, payout.StepReconcile)
			h.looked(id)
			h.parkedBy(id, payout.CaseUnknownOutcome)
			h.Clock.Advance(payout.NeverCreatedAfter)
			return id
		}, false, "another body"},
		"an earlier attempt was paid": {func(h house) payout.ID {
			id := h.secondSilent()
			h.looked(id)
			h.parkedBy(id, payout.CaseUnknownOutcome)
			h.heard(id, 1, "executed", "")
			h.Clock.Advance(payout.NeverCreatedAfter)
			return id
		}, true, "attempt 1 was executed"},
		"an earlier attempt has a second payout": {func(h house) payout.ID {
			id := h.secondSilent()
			h.looked(id)
			h.parkedBy(id, payout.CaseUnknownOutcome)
			h.Clock.Advance(payout.NeverCreatedAfter)
			h.looked(id, h.outgoing(id, 1, "another", "pending"))
			return id
		}, true, "second payout"},
	} {
		g["never_created is refused while "+name] = func(h house) {
			id := c.place(h)
			var change []func(*payout.Proposal)
			if c.ticket {
				change = append(change, ticket)
			}
			_, _, err := h.propose(h.caseOf(id, payout.CaseUnknownOutcome), payout.ActionNeverCreated, change...)
			h.declined(name, err, payout.RefusalNotOffered, "never_created", c.says)
			if strings.Contains(err.Error(), ";") && name != "a token is good" { // the statement is read to its end only after that
				h.Errorf("refused for more than one reason: %v", err)
			}
			h.books(id, "reserve")
		}
	}
	g["never_created is refused when its provider id is known"] = func(h house) {
		id := h.lost()
		c := h.caseOf(id, payout.CaseUnknownOutcome)
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "pending"))
		_, _, err := h.propose(c, payout.ActionNeverCreated, ticket, func(p *payout.Proposal) { p.Version = h.payout(id).Version })
		h.declined("known", err, payout.RefusalClosed)
	}
	g["never_created answers no contradiction about what is there"] = func(h house) {
		id := h.doubled()
		_, _, err := h.propose(h.caseOf(id, payout.CaseContradiction), payout.ActionNeverCreated, ticket)
		h.declined("a contradiction", err, payout.RefusalNotOffered)
	}
	return g
}()

// sentLate is a parked payout whose last send, at the end of the window, left
// with a token that is still good.
func (h house) sentLate() payout.ID {
	h.Helper()
	id := h.accepted(1000)
	h.answered(h.sent(id), unknown())
	h.Clock.Advance(timing.KeyWindow)
	h.answered(h.sent(id), unknown())
	h.Clock.Advance(time.Second)
	h.forbidden(id, payout.StepReconcile)
	h.looked(id)
	h.parkedBy(id, payout.CaseUnknownOutcome)
	return id
}

// createdAs are the cases of the decision that the provider has it under an id.
var createdAs = group{
	"created_as is followed": func(h house) {
		for _, status := range []string{"pending", "authorized", "some_new_word"} {
			id := h.lost()
			c := h.caseOf(id, payout.CaseUnknownOutcome)
			h.decided(c, payout.ActionCreatedAs, as(theirs(id, 1)))
			if asking := h.asking(id); len(asking.Asks) != 1 || asking.Asks[0] != (payout.Ask{Attempt: 1, ProviderID: theirs(id, 1), Kind: payout.KindPayout, Proposed: true}) || len(asking.Approved) != 1 {
				h.Fatalf("asking %+v", asking)
			}
			h.reconciled(id, says{theirs(id, 1): status})
			h.stands(id, payout.StatusFor(status), payout.MoneyHeld, payout.StepWait)
			h.asks(id)
			if row := h.payout(id); row.ProviderPayoutID != theirs(id, 1) {
				h.Fatalf("the row is %+v", row)
			}
			h.reconciled(id, says{theirs(id, 1): "executed"})
			h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
			h.books(id, "reserve settle")
		}
	},
	"created_as what was executed is settled, once": func(h house) {
		id := h.lost()
		h.resolved(id, payout.CaseUnknownOutcome, payout.ActionCreatedAs, says{theirs(id, 1): "executed"}, as(theirs(id, 1)))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.reconciled(id, says{theirs(id, 1): "executed"})
		h.heard(id, 1, "executed", "")
		h.books(id, "reserve settle")
		h.owes(0, 0, 0)
		h.asks(id)
	},
	"created_as what failed goes by the table": func(h house) {
		for reason, step := range map[string]payout.Step{"invalid_iban": payout.StepRelease, "scheme_error": payout.StepTryAgain, "blocked": payout.StepFreeze, "returned": payout.StepReturn} {
			id := h.lost()
			h.resolved(id, payout.CaseUnknownOutcome, payout.ActionCreatedAs, says{theirs(id, 1): "failed " + reason}, as(theirs(id, 1)))
			if row := h.payout(id); row.Step != step || row.Status != payout.StatusPending || row.Attempts[0].Status != "failed" {
				h.Fatalf("%s: the row is %+v", reason, row)
			}
			h.books(id, "reserve")
			if step == payout.StepTryAgain {
				h.rested(id)
				h.triedAgain(id)
				h.created(id)
				h.heard(id, 2, "failed", payout.ReasonInvalidIBAN)
				step = payout.StepRelease
			}
			h.stepped(calls[step](h, id))
			if row := h.payout(id); row.Step != payout.StepDone {
				h.Fatalf("%s: the row is %+v", reason, row)
			}
		}
	},
	"created_as an id that the provider does not know is void": func(h house) {
		id := h.lost()
		h.void(id, payout.CaseUnknownOutcome, payout.ActionCreatedAs, nil, as("unheard-of"), "unheard-of")
		h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
		h.asks(id, payout.CaseUnknownOutcome)
		h.resolved(id, payout.CaseUnknownOutcome, payout.ActionCreatedAs, says{theirs(id, 1): "executed"}, as(theirs(id, 1)))
	},
	"created_as another payout's id is refused": func(h house) {
		other, id := h.paid(), h.lost()
		_, _, err := h.propose(h.caseOf(id, payout.CaseUnknownOutcome), payout.ActionCreatedAs, as(theirs(other, 1)))
		h.declined("another's", err, payout.RefusalNotOffered, string(other))
		h.stands(other, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
	"created_as the id of another payout's second payout is refused": func(h house) {
		h.doubled()
		id := h.lost()
		_, _, err := h.propose(h.caseOf(id, payout.CaseUnknownOutcome), payout.ActionCreatedAs, as("another"))
		h.declined("another's", err, payout.RefusalNotOffered)
	},
	"created_as what is not this payout is void": func(h house) {
		for name, change := range map[string]func(*payout.Word){
			"amount_in_minor":               func(w *payout.Word) { w.Money.Minor++ },
			"currency":                      func(w *payout.Word) { w.Money.Currency = "EUR" },
			"beneficiary.payment_source_id": func(w *payout.Word) { w.PaymentSourceID = "other" },
			"metadata.payout_id":            func(w *payout.Word) { w.Metadata["payout_id"] = "other" },
			"metadata.attempt":              func(w *payout.Word) { w.Metadata["attempt"] = "2" },
		} {
			id := h.lost()
			c := h.caseOf(id, payout.CaseUnknownOutcome)
			h.decided(c, payout.ActionCreatedAs, as(theirs(id, 1)))
			h.heardAs(id, theirs(id, 1), "executed", change)
			c, err := h.Case(h.ctx, c.ID)
			h.must(err)
			if c.Resolutions[0].Status != ledger.ResolutionVoid || !strings.Contains(c.Resolutions[0].Outcome, name) || c.Status != "open" {
				h.Fatalf("%s: the case is %+v", name, c)
			}
			h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
			h.books(id, "reserve")
		}
	},
	"created_as what differs is taken where people were asked about that": func(h house) {
		for _, status := range []string{"executed", "pending"} {
			id := h.mismatched(func(w *payout.Word) { w.Reference = "other" })
			c := h.caseOf(id, payout.CaseMismatch)
			h.offers(c, payout.ActionCreatedAs)
			h.decided(c, payout.ActionCreatedAs, as(theirs(id, 1)))
			h.heardAs(id, theirs(id, 1), status, func(w *payout.Word) { w.Reference = "other" })
			h.asks(id)
			if status == "pending" { // followed, and doubted no more
				h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
				h.heardAs(id, theirs(id, 1), "executed", func(w *payout.Word) { w.Reference = "other" })
			}
			h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
			h.books(id, "reserve settle")
			h.asks(id)
			if c := h.caseOf(id, payout.CaseMismatch); !strings.Contains(c.ClosedBy, Anna) {
				h.Errorf("%s: closed by %q", status, c.ClosedBy)
			}
		}
	},
	"created_as what differs and fails is tried again": func(h house) {
		other := func(w *payout.Word) { w.Reference = "other" }
		id := h.mismatched(other)
		h.decided(h.caseOf(id, payout.CaseMismatch), payout.ActionCreatedAs, as(theirs(id, 1)))
		h.heardAs(id, theirs(id, 1), "failed scheme_error", other)
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepTryAgain)
		h.rested(id)
		w := h.word(id, 1, "failed", payout.ReasonSchemeError)
		other(&w.Word)
		if p := h.stepped(h.TryAgain(h.ctx, id, []payout.Asked{w})); p.Step != payout.StepCreate || p.Attempt != 2 {
			h.Fatalf("what people accepted is doubted again: %+v\n%s", p, story(h.payout(id)))
		}
	},
	"created_as what differs in what it is for is void": func(h house) {
		for name, change := range map[string]func(*payout.Word){
			"currency":           func(w *payout.Word) { w.Money.Currency = "EUR" },
			"metadata.payout_id": func(w *payout.Word) { w.Metadata["payout_id"] = "other" },
		} {
			id := h.mismatched(change)
			c := h.caseOf(id, payout.CaseMismatch)
			h.decided(c, payout.ActionCreatedAs, as(theirs(id, 1)))
			h.heardAs(id, theirs(id, 1), "executed", change)
			c, err := h.Case(h.ctx, c.ID)
			h.must(err)
			if c.Resolutions[0].Status != ledger.ResolutionVoid || !strings.Contains(c.Resolutions[0].Outcome, name) {
				h.Fatalf("%s: the case is %+v", name, c)
			}
			h.books(id, "reserve")
		}
	},
	"created_as settles an earlier attempt that was paid after all": func(h house) {
		id := h.second()
		h.created(id)
		h.heard(id, 1, "executed", "")
		h.parkedBy(id, payout.CaseContradiction)
		_, _, err := h.propose(h.caseOf(id, payout.CaseContradiction), payout.ActionCreatedAs, as(theirs(id, 1)))
		h.declined("attempt 2 is open", err, payout.RefusalNotOffered, "attempt 2")
		h.heard(id, 2, "failed", payout.ReasonInvalidIBAN)
		h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "executed", theirs(id, 2): "failed invalid_iban"}, as(theirs(id, 1)))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle")
		for _, t := range h.transactions() {
			if t.Kind == ledger.KindSettle && t.Attempt != 1 {
				h.Fatalf("settled %+v", t)
			}
		}
		h.asks(id)
	},
	"created_as settles one, and the other is an exposure": func(h house) {
		id := h.second()
		h.created(id)
		h.heard(id, 2, "failed", payout.ReasonSchemeError)
		h.rested(id)
		h.triedAgain(id)
		h.created(id)
		h.heard(id, 3, "failed", payout.ReasonInvalidIBAN)
		h.heard(id, 1, "executed", "")
		h.parkedBy(id, payout.CaseContradiction)
		h.heard(id, 2, "executed", "")
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "executed"}, as(theirs(id, 1)))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle expose")
		h.asks(id, payout.CaseExposure)
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
	},
	"created_as an attempt that is failed after all gives back": func(h house) {
		id := h.failed(payout.ReasonInvalidIBAN)
		h.heard(id, 1, "executed", "")
		h.parkedBy(id, payout.CaseContradiction)
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "failed invalid_iban"}, as(theirs(id, 1)))
		h.stepped(h.Release(h.ctx, id))
		h.stands(id, payout.StatusFailed, payout.MoneyReleased, payout.StepDone)
		h.owes(1000, 0, 0)
	},
	"created_as what failed beside a second payout leaves nobody without a case": func(h house) {
		id := h.doubled()
		h.carriedOut(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "failed invalid_iban", "another": "pending"}, as(theirs(id, 1)))
		if row := h.payout(id); row.Status == payout.StatusParked && h.cases(id) == "" {
			h.Fatalf("parked, and nobody is asked\n%s", story(row))
		}
		h.Lawful(h)
		// However it was decided, once both have failed the money goes back.
		h.reconciled(id, says{theirs(id, 1): "failed invalid_iban", "another": "failed invalid_iban"})
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepRelease)
	},
	"created_as a second payout while the first is not decided does not forget the first": func(h house) {
		id := h.doubled()
		h.reconciled(id, says{theirs(id, 1): "pending", "another": "executed"})
		c := h.caseOf(id, payout.CaseContradiction)
		if _, _, err := h.propose(c, payout.ActionCreatedAs, as("another")); err != nil {
			h.declined("the first is not decided", err, payout.RefusalNotOffered)
			return
		}
		h.approveAll(c)
		h.reconciled(id, says{theirs(id, 1): "pending", "another": "executed"})
		h.reconciled(id, says{theirs(id, 1): "executed"})
		if got := h.cases(id); !strings.Contains(got, string(payout.CaseExposure)) {
			h.Fatalf("paid twice, and the open cases are %q\n%s", got, story(h.payout(id)))
		}
	},
	"created_as one of two that were paid leaves the other an exposure": func(h house) {
		id := h.doubled()
		h.reconciled(id, says{theirs(id, 1): "failed invalid_iban", "another": "executed"})
		h.reconciled(id, says{theirs(id, 1): "executed"}) // after all
		h.stands(id, payout.StatusParked, payout.MoneyHeld, payout.StepWait)
		_, _, err := h.propose(h.caseOf(id, payout.CaseContradiction), payout.ActionCreatedAs, as("another"))
		h.declined("the first was paid", err, payout.RefusalNotOffered, theirs(id, 1))
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "executed", "another": "executed"}, as(theirs(id, 1)))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.asks(id, payout.CaseExposure)
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.books(id, "reserve settle adjust")
	},
	"created_as an attempt that failed and is undecided now stays no end": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.rested(id)
		h.stepped(h.TryAgain(h.ctx, id, []payout.Asked{h.word(id, 1, "authorized", "")}))
		h.parkedBy(id, payout.CaseContradiction)
		h.carriedOut(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "authorized"}, as(theirs(id, 1)))
		h.reconciled(id, says{theirs(id, 1): "failed invalid_iban"})
		if row := h.payout(id); row.Step == payout.StepWait && row.Status != payout.StatusParked {
			h.Fatalf("it failed, and it waits for ever: %s, %s\n%s", row.Status, row.Step, story(row))
		}
	},
	"an earlier attempt that was paid is settled though the next was never sent": func(h house) {
		id := h.second()
		h.heard(id, 1, "executed", "")
		h.parkedBy(id, payout.CaseContradiction)
		c := h.caseOf(id, payout.CaseContradiction)
		if len(c.Actions) == 0 {
			h.Fatalf("a dead end: %v", c.NotNow)
		}
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "executed"}, as(theirs(id, 1)))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.books(id, "reserve settle")
	},
	"an earlier attempt that was paid is settled though nobody knows about the next": func(h house) {
		id := h.secondSilent()
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.reconciled(id, says{theirs(id, 2): ""})
		h.heard(id, 1, "executed", "")
		h.Clock.Advance(payout.NeverCreatedAfter)
		h.looked(id)
		var outcomes []string
		for _, kind := range []payout.CaseKind{payout.CaseContradiction, payout.CaseUnknownOutcome} {
			if strings.Contains(h.cases(id), string(kind)) {
				_, _, err := h.propose(h.caseOf(id, kind), payout.ActionCreatedAs, as(theirs(id, 1)), ticket)
				if err == nil {
					h.approveAll(h.caseOf(id, kind))
					h.reconciled(id, says{theirs(id, 1): "executed"})
					h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
					h.books(id, "reserve settle")
					// And if the other one turns up, it is seen.
					n := news("e1", theirs(id, 2), "executed")
					n.PayoutID, n.Attempt = id, 2
					h.told(n)
					h.reconciled(id, says{theirs(id, 1): "executed", theirs(id, 2): "executed"})
					h.books(id, "reserve settle expose")
					return
				}
				outcomes = append(outcomes, fmt.Sprint(kind, ": ", err))
			}
		}
		h.Fatalf("a dead end: %s", strings.Join(outcomes, "\n"))
	},
	"an earlier attempt that is failed after all lets the next go on": func(h house) {
		id := h.second()
		h.heard(id, 1, "executed", "")
		h.parkedBy(id, payout.CaseContradiction)
		h.resolved(id, payout.CaseContradiction, payout.ActionCreatedAs, says{theirs(id, 1): "failed scheme_error"}, as(theirs(id, 1)))
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepCreate)
		if p := h.created(id); p.Attempt != 2 || p.Status != payout.StatusPending {
			h.Fatalf("position is %+v", p)
		}
		h.heard(id, 2, "executed", "")
		h.books(id, "reserve settle")
		h.asks(id)
	},
	"created_as beside an attempt that is created now": func(h house) {
		id := h.lost()
		c := h.caseOf(id, payout.CaseUnknownOutcome)
		h.decided(c, payout.ActionCreatedAs, as("another"))
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "pending")) // the same step finds it
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		if row := h.payout(id); row.ProviderPayoutID != theirs(id, 1) {
			h.Fatalf("the row is %+v", row)
		}
	},
	"created_as of a refund": func(h house) {
		id := h.refund(1000)
		h.sent(id)
		h.Clock.Advance(timing.KeyWindow + time.Second)
		h.forbidden(id, payout.StepReconcile)
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.resolved(id, payout.CaseUnknownOutcome, payout.ActionCreatedAs, says{theirs(id, 1): "executed"}, as(theirs(id, 1)))
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
}

// mismatched is a payout parked since the provider speaks of it otherwise.
func (h house) mismatched(change func(*payout.Word)) payout.ID {
	h.Helper()
	id := h.accepted(1000)
	h.created(id)
	w := h.word(id, 1, "pending", "")
	change(&w.Word)
	h.asked(id, w)
	h.parkedBy(id, payout.CaseMismatch)
	return id
}

// heardAs is a step in which the provider says this of an id, changed.
func (h house) heardAs(id payout.ID, providerID, said string, change func(*payout.Word)) {
	h.Helper()
	h.Clock.Advance(time.Second)
	asking := h.asking(id)
	heard := payout.Heard{Inbox: asking.Inbox, Approved: asking.Approved, By: "ReconcilePayout"}
	for _, ask := range asking.Asks {
		if ask.ProviderID == providerID {
			w := h.of(id, ask, said)
			change(&w.Word)
			heard.Words = append(heard.Words, w)
		}
	}
	if asking.Look != nil {
		heard.Looked = &payout.Looked{AskedAt: h.Clock.Now()}
	}
	if len(heard.Words) == 0 {
		h.Fatalf("asks %+v, and not %s", asking.Asks, providerID)
	}
	_, err := h.Judge(h.ctx, id, heard)
	h.must(err)
}

// approveAll is Ben's yes to what waits for it in a case.
func (h house) approveAll(c ledger.Case) {
	h.Helper()
	c, err := h.Case(h.ctx, c.ID)
	h.must(err)
	for _, res := range c.Resolutions {
		if res.Status == ledger.ResolutionProposed {
			_, _, err := h.approve(res)
			h.must(err)
		}
	}
}
