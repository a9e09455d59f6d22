package app

import (
	"context"
	"errors"

	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/simulator"
)

// decide is a shift of the people who decide cases: ann proposes, bob approves.
// They are careful: they do what the books offer and, by what they see at the
// provider, is right. But for never_created: there they trust the books.
func (s *storm) decide(h shift) {
	ctx := context.Background()
	open, _, err := s.books.Cases(ctx, ledger.CaseFilter{Status: "open", Limit: 200})
	s.must(err)
	for _, c := range open {
		c, err := s.books.Case(ctx, c.ID)
		s.must(err)
		p := payout.Proposal{CaseID: c.ID, Action: h.Action, Reason: "looked at it", Version: c.Version, By: "ann"}
		if !offered(c, h.Action) || !s.right(c, &p) {
			continue
		}
		made, _, err := s.books.Propose(ctx, p)
		if !s.taken(err, "%s: %s proposed for %s", s.name(c.PayoutID), p.Action, c.Kind) {
			continue
		}
		s.after(h.Thinks, func() {
			_, wake, err := s.books.Decide(ctx, payout.Approval{CaseID: c.ID, Number: made.Number, Approve: true, Version: made.Version, By: "bob"})
			if s.taken(err, "%s: %s approved for %s", s.name(c.PayoutID), p.Action, c.Kind) && wake.Wake {
				s.must(s.Wake(ctx, wake))
				s.lateSoon()
			}
		})
	}
}

func offered(c ledger.Case, action payout.Action) bool {
	for _, o := range c.Actions {
		if o.Action == action {
			return true
		}
	}
	return false
}

// taken says that a decision was written; a refusal is an answer like any
// other.
func (s *storm) taken(err error, format string, args ...any) bool {
	var refused *payout.Refusal
	switch {
	case errors.As(err, &refused):
		s.tell("refused: %s", refused.Why)
	case err != nil:
		s.blame("people: %v", err)
	default:
		s.tell(format, args...)
	}
	return err == nil
}

// right says that an action fits what is true at the provider, and fills in
// what it needs.
func (s *storm) right(c ledger.Case, p *payout.Proposal) bool {
	owner := s.payout(c.PayoutID)
	if owner == nil {
		return true // about no payout
	}
	a := s.account(owner)
	deeds := s.deeds(owner, len(a.row.Attempts))
	executed, returned := 0, 0
	for _, d := range deeds {
		executed, returned = executed+len(d.executed), returned+len(d.returned)
	}
	switch p.Action {
	case payout.ActionCreatedAs:
		for _, d := range deeds { // the one that was paid, else any
			for _, t := range d.transfers {
				if p.ProviderPayoutID == "" || t.Status() == simulator.StatusExecuted {
					p.ProviderPayoutID = t.ID
				}
			}
		}
		return p.ProviderPayoutID != ""
	case payout.ActionNotOurs:
		return false // the simulator makes nothing that is not ours
	case payout.ActionBookReturn:
		return executed > 0 && executed == returned
	case payout.ActionDismiss:
		return c.Kind == payout.CaseSlow || executed-returned == a.out
	}
	return true
}
