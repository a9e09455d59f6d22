package ledgertest

import (
	"fmt"
	"strings"

	"payouts/internal/payout"
)

// shortages are the cases of a merchant account that cannot pay.
var shortages = group{
	"treasury is told once per account, however many payouts fail": func(h house) {
		for range 4 {
			h.failed(payout.ReasonInsufficientFunds)
		}
		h.short(Merchant)
		other := h.acceptedFrom("merchant-2")
		h.created(other)
		h.heard(other, 1, "failed", payout.ReasonInsufficientFunds)
		h.short(Merchant, "merchant-2")
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseShortage, "open"))
		h.must(err)
		for _, c := range list {
			if c.PayoutID != "" || c.PlayerID != "" || c.Version != 1 || !strings.Contains(c.Why, c.Subject) || c.Kind.Team() != "treasury" {
				h.Fatalf("case %+v", c)
			}
		}
		h.asks(other) // it is no case of the payout's
	},
	"the next execution from the account closes it": func(h house) {
		short, later := h.failed(payout.ReasonInsufficientFunds), h.accepted(1000)
		other := h.acceptedFrom("merchant-2")
		h.created(other)
		h.heard(other, 1, "executed", "") // of another account
		h.short(Merchant)
		h.created(later)
		h.heard(later, 1, "failed", payout.ReasonInvalidIBAN) // not for want of money, and no execution
		h.short(Merchant)
		h.rested(short)
		h.triedAgain(short)
		h.created(short)
		h.short(Merchant)
		h.heard(short, 2, "executed", "")
		h.short()
	},
	"the next shortage is told again": func(h house) {
		h.failed(payout.ReasonInsufficientFunds)
		h.paid()
		h.short()
		h.failed(payout.ReasonInsufficientFunds)
		h.short(Merchant)
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseShortage, ""))
		h.must(err)
		if len(list) != 2 {
			h.Fatalf("cases are %+v", list)
		}
	},
	"attempts used up are told no more often": func(h house) {
		id := h.failed(payout.ReasonInsufficientFunds)
		for n := 2; n <= 5; n++ {
			h.rested(id)
			h.triedAgain(id)
			h.created(id)
			h.heard(id, n, "failed", payout.ReasonInsufficientFunds)
		}
		h.stepped(h.Release(h.ctx, id))
		h.short(Merchant)
		h.owes(1000, 0, 0)
	},
	"an account that is given up is dismissed by two people": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "failed", payout.ReasonInsufficientFunds)
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseShortage, "open"))
		h.must(err)
		c, err := h.Case(h.ctx, list[0].ID)
		h.must(err)
		h.offers(c, payout.ActionDismiss)
		h.decided(c, payout.ActionDismiss)
		h.short()
		h.rested(id)
		h.triedAgain(id)
		h.created(id)
		h.heard(id, 2, "failed", payout.ReasonInsufficientFunds)
		h.short(Merchant) // it is not given up
	},
	"told once, by however many at once": func(h house) {
		var ids []payout.ID
		for range 8 {
			id := h.accepted(100)
			h.created(id)
			ids = append(ids, id)
		}
		errs := make(chan error, len(ids))
		for _, id := range ids {
			words := []payout.Asked{h.word(id, 1, "failed", payout.ReasonInsufficientFunds)}
			go func() {
				_, err := h.Judge(h.ctx, id, payout.Heard{Words: words, By: "test"})
				errs <- err
			}()
		}
		for range ids {
			h.must(<-errs)
		}
		h.short(Merchant)
	},
}

// acceptedFrom is a payout from another merchant account.
func (h house) acceptedFrom(merchant string) payout.ID {
	h.Helper()
	h.Fund(h, 1000)
	p, _, err := h.Accept(h.ctx, NewPayout("from "+merchant, 1000), merchant, false)
	h.must(err)
	return p.ID
}

// short fails unless exactly these merchant accounts are known to be short.
func (h house) short(accounts ...string) {
	h.Helper()
	list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseShortage, "open"))
	h.must(err)
	got := []string{}
	for _, c := range list {
		got = append(got, c.Subject)
	}
	if fmt.Sprint(got) != fmt.Sprint(append([]string{}, accounts...)) {
		h.Fatalf("short are %v, want %v", got, accounts)
	}
}
