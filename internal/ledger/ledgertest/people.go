package ledgertest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// Two operators.
const (
	Anna = "anna"
	Ben  = "ben"
)

// deciders are the cases of two people and a question: who may say what, and
// what is written of it.
var deciders = group{
	"cases are listed by status, kind and payout, oldest first, in pages": func(h house) {
		var want []string
		for range 3 {
			h.frozen()
			h.Clock.Advance(time.Second)
		}
		same := h.frozen()
		h.heard(same, 1, "executed", "") // a second case of one payout
		other := h.frozen()
		h.resolved(other, payout.CaseBlocked, payout.ActionReleaseFrozen, nil)
		for cursor, pages := "", 1; ; pages++ {
			items, next, err := h.Cases(h.ctx, ledger.CaseFilter{Limit: 2, Cursor: cursor})
			h.must(err)
			for _, c := range items {
				want = append(want, fmt.Sprint(c.OpenedAt.UnixMicro()))
				if c.PlayerID != Player || c.Money != Pounds(1000) || c.PayoutKind != payout.KindPayout || c.Version < 1 || c.Actions != nil {
					h.Fatalf("page %d holds %+v", pages, c)
				}
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if len(want) != 6 {
			h.Fatalf("%d cases listed, want 6", len(want))
		}
		for i := range want[1:] {
			if want[i+1] < want[i] {
				h.Fatalf("listed as %v", want)
			}
		}
		for name, c := range map[string]struct {
			f    ledger.CaseFilter
			want int
		}{
			"open": {ledger.CaseFilter{Status: "open"}, 5}, "closed": {ledger.CaseFilter{Status: "closed"}, 1}, "of a kind": {ledger.CaseFilter{Kind: payout.CaseExposure}, 1},
			"of a payout": {ledger.CaseFilter{PayoutID: same}, 2}, "all of it": {ledger.CaseFilter{PayoutID: other, Kind: payout.CaseBlocked, Status: "closed"}, 1},
			"none": {ledger.CaseFilter{PayoutID: other, Status: "open"}, 0},
		} {
			items, _, err := h.Cases(h.ctx, c.f)
			h.must(err)
			if len(items) != c.want || items == nil {
				h.Fatalf("%s: %d cases, want %d", name, len(items), c.want)
			}
		}
		_, _, err := h.Cases(h.ctx, ledger.CaseFilter{Limit: 201})
		h.names(err, "limit")
		_, _, err = h.Cases(h.ctx, ledger.CaseFilter{Cursor: "x"})
		h.names(err, "cursor")
	},
	"a case shows what was heard, what may be done now, and what not yet": func(h house) {
		id := h.silent()
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		c := h.caseOf(id, payout.CaseUnknownOutcome)
		h.offers(c, payout.ActionCreatedAs)
		if len(c.NotNow) != 1 || !strings.HasPrefix(c.NotNow[0], "never_created: wait until") || c.Actions[0].Risk == "" || c.Version != h.payout(id).Version || c.Resolutions != nil {
			h.Fatalf("the case is %+v", c)
		}
		h.Clock.Advance(payout.NeverCreatedAfter)
		h.offers(h.caseOf(id, payout.CaseUnknownOutcome), payout.ActionNeverCreated, payout.ActionCreatedAs)

		stopped := h.failed(payout.ReasonBlocked)
		h.Clock.Advance(time.Second)
		h.stepped(h.Freeze(h.ctx, stopped))
		c = h.caseOf(stopped, payout.CaseBlocked)
		h.offers(c, payout.ActionReleaseFrozen, payout.ActionKeepFrozen)
		if len(c.Evidence) != 2 || c.Evidence[0].Kind != "get" || c.Evidence[0].ProviderStatus != "failed" || c.Evidence[0].Reason != payout.ReasonBlocked || c.Evidence[0].Attempt != 1 ||
			c.Evidence[0].ProviderPayoutID != theirs(stopped, 1) || c.Evidence[0].AskedAt.IsZero() || c.Evidence[1].Kind != "create" || c.Evidence[1].StoredAt.After(c.Evidence[0].StoredAt) {
			h.Fatalf("the evidence is %+v", c.Evidence)
		}
		_, err := h.Case(h.ctx, "none")
		h.refused(err, payout.ErrNotFound)
	},
	"two people decide, and the next step carries it out": func(h house) {
		id := h.frozen()
		c := h.caseOf(id, payout.CaseBlocked)
		res, replayed, err := h.propose(c, payout.ActionReleaseFrozen)
		h.must(err)
		want := ledger.Resolution{CaseID: c.ID, Number: 1, Action: payout.ActionReleaseFrozen, Reason: reason, Money: Pounds(1000), Version: c.Version, Questions: 1, Status: ledger.ResolutionProposed, ProposedBy: Anna, ProposedAt: h.Clock.Now()}
		if replayed || res != want {
			h.Fatalf("proposed %+v, replayed %v; want %+v", res, replayed, want)
		}
		h.Clock.Advance(time.Minute)
		res, wake, err := h.approve(res)
		h.must(err)
		want.Status, want.DecidedBy, want.DecidedAt = ledger.ResolutionApproved, Ben, h.Clock.Now()
		if res != want || wake != (payout.Stored{PayoutID: id, Kind: payout.KindPayout, Late: true, Wake: true}) {
			h.Fatalf("approved %+v, wake %+v; want %+v", res, wake, want)
		}
		h.books(id, "reserve freeze") // deciding moves nothing
		h.owes(0, 0, 1000)
		if shown := h.caseOf(id, payout.CaseBlocked); len(shown.Resolutions) != 1 || shown.Resolutions[0] != want || shown.Status != "open" {
			h.Fatalf("the case is %+v", shown)
		}
		h.reconciled(id, nil)
		h.books(id, "reserve freeze unfreeze")
		c = h.caseOf(id, payout.CaseBlocked)
		done := c.Resolutions[0]
		if done.Status != ledger.ResolutionDone || !done.EndedAt.Equal(h.Clock.Now()) || done.Outcome == "" || c.Status != "closed" || !strings.Contains(c.ClosedBy, Anna) || !strings.Contains(c.ClosedBy, Ben) {
			h.Fatalf("the case is %+v", c)
		}
		if h.cases(id) != "" || c.Actions != nil {
			h.Fatalf("offered %+v", c.Actions)
		}
	},
	"only the step that read it carries it out": func(h house) {
		id := h.frozen()
		before := h.asking(id) // another step, which read before two people decided
		h.decided(h.caseOf(id, payout.CaseBlocked), payout.ActionReleaseFrozen)
		h.judged(id, before, nil)
		h.asked(id)
		h.books(id, "reserve freeze")
		asking := h.asking(id)
		if len(asking.Approved) != 1 {
			h.Fatalf("asking %+v", asking)
		}
		again := h.asking(id)
		for _, a := range []payout.Asking{asking, again, asking} {
			h.judged(id, a, nil)
		}
		h.books(id, "reserve freeze unfreeze")
		h.owes(1000, 0, 0)
	},
	"a decision wakes whoever carries it out, again and again": func(h house) {
		open, closed := h.silent(), h.frozen()
		h.looked(open)
		h.parkedBy(open, payout.CaseUnknownOutcome)
		h.Clock.Advance(payout.NeverCreatedAfter)
		for id, c := range map[payout.ID]struct {
			kind   payout.CaseKind
			action payout.Action
		}{open: {payout.CaseUnknownOutcome, payout.ActionNeverCreated}, closed: {payout.CaseBlocked, payout.ActionReleaseFrozen}} {
			res, _, err := h.propose(h.caseOf(id, c.kind), c.action)
			h.must(err)
			_, wake, err := h.approve(res)
			h.must(err)
			if wake != (payout.Stored{PayoutID: id, Kind: payout.KindPayout, Late: id == closed, Wake: true}) {
				h.Fatalf("wake %+v", wake)
			}
		}
		h.Clock.Advance(time.Minute)
		unread, err := h.Unread(h.ctx, 30*time.Second, 10)
		h.must(err)
		late, err := h.LateNews(h.ctx, 10)
		h.must(err)
		if len(unread) != 1 || unread[0].PayoutID != open || len(late) != 1 || late[0].ID != closed {
			h.Fatalf("unread %+v, late %+v", unread, late)
		}
		h.reconciled(open, nil)
		h.reconciled(closed, nil)
		h.nobodyLate()
		h.Clock.Advance(24 * time.Hour)
		if unread, err := h.Unread(h.ctx, 30*time.Second, 10); err != nil || len(unread) != 0 {
			h.Fatalf("unread %+v, %v", unread, err)
		}
	},
	"what cannot be taken is refused, and nothing is written": func(h house) {
		id, closed := h.frozen(), h.frozen()
		h.resolved(closed, payout.CaseBlocked, payout.ActionReleaseFrozen, nil)
		c, over := h.caseOf(id, payout.CaseBlocked), h.caseOf(closed, payout.CaseBlocked)
		before := len(h.audits())
		nothing := func() {
			h.Helper()
			if now := len(h.audits()); now != before {
				h.Fatalf("%d lines of the audit, want %d", now, before)
			}
		}
		for name, p := range map[string]struct {
			c      ledger.Case
			action payout.Action
			change func(*payout.Proposal)
			kind   payout.RefusalKind
		}{
			"older":        {c, payout.ActionReleaseFrozen, func(p *payout.Proposal) { p.Version-- }, payout.RefusalStale},
			"newer":        {c, payout.ActionReleaseFrozen, func(p *payout.Proposal) { p.Version++ }, payout.RefusalStale},
			"closed":       {over, payout.ActionReleaseFrozen, nil, payout.RefusalClosed},
			"another's":    {c, payout.ActionNeverCreated, nil, payout.RefusalNotOffered},
			"not as it is": {c, payout.ActionCreatedAs, func(p *payout.Proposal) { p.ProviderPayoutID = "x" }, payout.RefusalNotOffered},
		} {
			_, _, err := h.propose(p.c, p.action, func(q *payout.Proposal) {
				if p.change != nil {
					p.change(q)
				}
			})
			h.declined(name, err, p.kind)
			nothing()
		}
		_, _, err := h.propose(ledger.Case{ID: "none", Version: 1}, payout.ActionDismiss)
		h.refused(err, payout.ErrNotFound)
		_, _, err = h.Propose(h.ctx, payout.Proposal{CaseID: c.ID, Action: "guess", ProviderTicket: "\n", By: Anna})
		h.names(err, "action", "provider_ticket", "reason", "version")
		_, _, err = h.propose(c, payout.ActionReleaseFrozen, as("x"))
		h.names(err, "provider_payout_id")
		_, _, err = h.propose(c, payout.ActionCreatedAs)
		h.names(err, "provider_payout_id")
		nothing()

		res, _, err := h.propose(c, payout.ActionReleaseFrozen)
		h.must(err)
		before++
		_, _, err = h.propose(c, payout.ActionKeepFrozen)
		h.declined("open twice", err, payout.RefusalOpen)
		_, _, err = h.propose(c, payout.ActionReleaseFrozen, func(p *payout.Proposal) { p.By = Ben })
		h.declined("the same by another", err, payout.RefusalOpen)
		for name, d := range map[string]struct {
			change func(*payout.Approval)
			kind   payout.RefusalKind
		}{
			"same person":        {func(a *payout.Approval) { a.By = Anna }, payout.RefusalSamePerson},
			"same person, no":    {func(a *payout.Approval) { a.By, a.Approve = Anna, false }, payout.RefusalSamePerson},
			"of another version": {func(a *payout.Approval) { a.Version++ }, payout.RefusalStale},
		} {
			_, _, err := h.approve(res, d.change)
			h.declined(name, err, d.kind)
			nothing()
		}
		_, _, err = h.approve(res, func(a *payout.Approval) { a.Number++ })
		h.refused(err, payout.ErrNotFound)
		_, _, err = h.approve(res, func(a *payout.Approval) { a.CaseID = "none" })
		h.refused(err, payout.ErrNotFound)
		_, _, err = h.approve(res)
		h.must(err)
		before++
		for _, yes := range []bool{true, false} {
			_, _, err = h.approve(res, func(a *payout.Approval) { a.Approve, a.By = yes, "carl" })
			h.declined("decided twice", err, payout.RefusalDecided)
		}
		_, _, err = h.propose(c, payout.ActionKeepFrozen)
		h.declined("while one waits to be carried out", err, payout.RefusalOpen)
		nothing()
		h.books(id, "reserve freeze")
	},
	"the same wish of the same person is one": func(h house) {
		c := h.caseOf(h.frozen(), payout.CaseBlocked)
		first, _, err := h.propose(c, payout.ActionReleaseFrozen)
		h.must(err)
		h.Clock.Advance(time.Minute)
		again, replayed, err := h.propose(c, payout.ActionReleaseFrozen)
		h.must(err)
		if !replayed || again != first || len(h.audits()) != 1 {
			h.Fatalf("replayed %v: %+v, want %+v", replayed, again, first)
		}
		_, _, err = h.propose(c, payout.ActionReleaseFrozen, func(p *payout.Proposal) { p.Reason = "another" })
		h.declined("for another reason", err, payout.RefusalOpen)
		_, _, err = h.approve(first)
		h.must(err)
		_, _, err = h.propose(c, payout.ActionReleaseFrozen)
		h.declined("when it is approved", err, payout.RefusalOpen)
	},
	"what is rejected may be proposed again": func(h house) {
		id := h.frozen()
		c := h.caseOf(id, payout.CaseBlocked)
		res, _, err := h.propose(c, payout.ActionReleaseFrozen)
		h.must(err)
		res, wake, err := h.approve(res, func(a *payout.Approval) { a.Approve = false })
		h.must(err)
		if res.Status != ledger.ResolutionRejected || res.DecidedBy != Ben || res.EndedAt.IsZero() || wake != (payout.Stored{}) {
			h.Fatalf("rejected %+v, wake %+v", res, wake)
		}
		if asking := h.asking(id); len(asking.Approved) != 0 {
			h.Fatalf("asking %+v", asking)
		}
		res, replayed, err := h.propose(c, payout.ActionReleaseFrozen)
		h.must(err)
		if replayed || res.Number != 2 {
			h.Fatalf("proposed %+v, replayed %v", res, replayed)
		}
		_, _, err = h.approve(res)
		h.must(err)
		h.reconciled(id, nil)
		h.books(id, "reserve freeze unfreeze")
		if c := h.caseOf(id, payout.CaseBlocked); len(c.Resolutions) != 2 || c.Resolutions[0].Number != 1 || c.Resolutions[1].Status != ledger.ResolutionDone {
			h.Fatalf("the case is %+v", c)
		}
	},
	"a case that evidence closed can be approved no more": func(h house) {
		id := h.silent()
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.Clock.Advance(payout.NeverCreatedAfter)
		res, _, err := h.propose(h.caseOf(id, payout.CaseUnknownOutcome), payout.ActionNeverCreated)
		h.must(err)
		h.looked(id, h.outgoing(id, 1, theirs(id, 1), "executed"))
		_, _, err = h.approve(res)
		h.declined("closed by the statement", err, payout.RefusalClosed)
		_, _, err = h.approve(res, func(a *payout.Approval) { a.Approve = false }) // which puts it away
		h.must(err)
		h.books(id, "reserve")
	},
	"the second person's yes is checked as the first's": func(h house) {
		id := h.exposed()
		res, _, err := h.propose(h.caseOf(id, payout.CaseExposure), payout.ActionRecover)
		h.must(err)
		_, _, err = h.Debit(h.ctx, credit("spent", 1))
		h.must(err)
		_, _, err = h.approve(res)
		h.declined("the balance is spent", err, payout.RefusalNotOffered, "available")
		_, _, err = h.Credit(h.ctx, credit("won", 1))
		h.must(err)
		_, _, err = h.approve(res)
		h.must(err)
	},
	"what moved on is void, and nothing moves": func(h house) {
		id := h.silent()
		h.looked(id)
		h.parkedBy(id, payout.CaseUnknownOutcome)
		h.Clock.Advance(payout.NeverCreatedAfter)
		h.decided(h.caseOf(id, payout.CaseUnknownOutcome), payout.ActionNeverCreated)
		n := news("e1", theirs(id, 1), "executed")
		n.PayoutID, n.Attempt = id, 1
		h.told(n)
		h.asking(id) // learns the id, and a worker dies
		h.reconciled(id, says{theirs(id, 1): "pending"})
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		h.books(id, "reserve")
		c := h.caseOf(id, payout.CaseUnknownOutcome)
		if res := c.Resolutions[0]; res.Status != ledger.ResolutionVoid || res.Outcome == "" || res.EndedAt.IsZero() || c.Status != "closed" {
			h.Fatalf("the case is %+v", c)
		}
		if strings.Contains(c.ClosedBy, Anna) {
			h.Fatalf("what was void closed the case: %+v", c)
		}
		if asking := h.asking(id); len(asking.Approved) != 0 {
			h.Fatalf("asking %+v", asking)
		}
	},
	"who approves has read what was asked since it was proposed": func(h house) {
		id := h.tripled()
		h.reconciled(id, says{theirs(id, 1): "executed", "another": "executed", "third": "pending"})
		read := h.caseOf(id, payout.CaseExposure)
		early, _, err := h.propose(read, payout.ActionAdjust)
		h.must(err)
		h.reconciled(id, says{"third": "executed"})
		c := h.caseOf(id, payout.CaseExposure)
		if c.Version != early.Version || !strings.Contains(c.Why, "third") || !c.Stale(c.Resolutions[0]) {
			h.Fatalf("the case is %+v", c)
		}
		_, _, err = h.approve(early)
		h.declined("a question more", err, payout.RefusalStale, "read the case again")
		h.books(id, "reserve settle")
		_, _, err = h.Decide(h.ctx, payout.Approval{CaseID: c.ID, Number: early.Number, By: Ben})
		h.must(err)
		asRead := func(p *payout.Proposal) { p.Questions = read.Questions }
		_, _, err = h.propose(read, payout.ActionAdjust, asRead)
		h.declined("proposed by who has not read it", err, payout.RefusalStale, "asks more")
		late, _, err := h.propose(c, payout.ActionAdjust)
		h.must(err)
		_, _, err = h.approve(late, func(a *payout.Approval) { a.Questions = read.Questions })
		h.declined("approved by who has not read it", err, payout.RefusalStale, "asks more")
		_, _, err = h.Decide(h.ctx, payout.Approval{CaseID: c.ID, Number: late.Number, By: Ben})
		h.must(err)
		h.carriedOut(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.resolved(id, payout.CaseExposure, payout.ActionAdjust, nil)
		h.books(id, "reserve settle adjust adjust")
	},
	"what is asked after two people decided is for them to read": func(h house) {
		id := h.tripled()
		h.reconciled(id, says{theirs(id, 1): "executed", "another": "executed", "third": "pending"})
		before := h.asking(id) // another step, which read before two people decided
		h.decided(h.caseOf(id, payout.CaseExposure), payout.ActionAdjust)
		h.judged(id, before, says{"third": "executed"})
		h.reconciled(id, nil)
		h.books(id, "reserve settle")
		if c := h.caseOf(id, payout.CaseExposure); c.Status != "open" || c.Resolutions[0].Status != ledger.ResolutionVoid || !strings.Contains(c.Resolutions[0].Outcome, "asks more") {
			h.Fatalf("the case is %+v", c)
		}
	},
	"what moved on is void though its case is open": func(h house) {
		id := h.secondPaid()
		h.toldLate(id, "e1", theirs(id, 1), "executed")
		h.unconfirmed(id, says{theirs(id, 1): "failed scheme_error", theirs(id, 2): "executed"}, payout.StatusExecuted, payout.CaseContradiction)
		c := h.caseOf(id, payout.CaseContradiction)
		h.decided(c, payout.ActionDismiss)
		h.heard(id, 2, "failed", payout.ReasonReturned)
		h.stepped(h.Return(h.ctx, id))
		h.reconciled(id, nil)
		c, err := h.Case(h.ctx, c.ID)
		h.must(err)
		if c.Resolutions[0].Status != ledger.ResolutionVoid || c.Status != "open" {
			h.Fatalf("the case is %+v", c)
		}
		h.resolved(id, payout.CaseContradiction, payout.ActionDismiss, nil) // as it is now
	},
	"what people did is audited in dense positions, and stays": func(h house) {
		id := h.frozen()
		c := h.caseOf(id, payout.CaseBlocked)
		res, _, err := h.propose(c, payout.ActionKeepFrozen)
		h.must(err)
		_, _, err = h.approve(res, func(a *payout.Approval) { a.Approve = false })
		h.must(err)
		h.resolved(id, payout.CaseBlocked, payout.ActionReleaseFrozen, nil)
		var got []string
		for i, a := range h.audits() {
			got = append(got, a.Who+" "+a.What)
			if a.Position != int64(i+1) || a.CaseID != c.ID || a.PayoutID != id || a.At.IsZero() || a.Detail == "" {
				h.Fatalf("line %d is %+v", i, a)
			}
		}
		if want := "anna propose, ben reject, anna propose, ben approve, ReconcilePayout done"; strings.Join(got, ", ") != want {
			h.Fatalf("audited %s\nwant %s", strings.Join(got, ", "), want)
		}
		if page, err := h.Audit(h.ctx, 2, 2); err != nil || len(page) != 2 || page[0].Position != 3 {
			h.Fatalf("the page is %+v, %v", page, err)
		}
		if page, err := h.Audit(h.ctx, 5, 2); err != nil || len(page) != 0 || page == nil {
			h.Fatalf("the page is %+v, %v", page, err)
		}
		for _, command := range []string{"UPDATE audit SET who = 'nobody'", "UPDATE audit SET position = 99 WHERE position = 5", "DELETE FROM audit"} {
			h.refusesSQL(command)
		}
		if h.dialect() == "postgres" {
			h.refusesSQL("TRUNCATE audit")
			h.refusesSQL("TRUNCATE resolutions")
		}
	},
	"two people is a law of the rows": func(h house) {
		id := h.frozen()
		c := h.caseOf(id, payout.CaseBlocked)
		_, _, err := h.propose(c, payout.ActionReleaseFrozen)
		h.must(err)
		insert := func(number, status, proposed, decided string) string {
			return fmt.Sprintf(`INSERT INTO resolutions (case_id, number, action, provider_payout_id, provider_ticket, reason, payout_id, amount_in_minor, currency, version, status, proposed_by, proposed_at, decided_by)
				VALUES ('%s', %s, 'release_frozen', '', '', 'x', '%s', 1000, 'GBP', 1, '%s', '%s', 1, '%s')`, c.ID, number, id, status, proposed, decided)
		}
		at := " WHERE case_id = '" + c.ID + "' AND number = 1"
		unfreeze := fmt.Sprintf("INSERT INTO transactions (id, kind, payout_id, attempt, from_account, to_account, amount_in_minor, currency, booked_at, effective_at) VALUES ('forged', 'unfreeze', '%s', 1, 'a', 'b', 1000, 'GBP', 1, 1)", id)
		for _, command := range []string{
			"UPDATE resolutions SET status = 'approved'" + at,                        // by nobody
			"UPDATE resolutions SET status = 'approved', decided_by = 'anna'" + at,   // by himself
			"UPDATE resolutions SET status = 'done'" + at,                            // decided by nobody
			"UPDATE resolutions SET action = 'keep_frozen'" + at,                     // another wish
			"UPDATE resolutions SET amount_in_minor = 1" + at,                        // another amount
			"UPDATE resolutions SET version = version + 1" + at,                      // another version
			"UPDATE resolutions SET case_version = case_version + 1" + at,            // other questions
			"UPDATE resolutions SET proposed_by = 'ben'" + at,                        // another person
			"DELETE FROM resolutions" + at,                                           //
			insert("2", "proposed", "carl", ""),                                      // a second one
			insert("2", "rejected", "carl", "carl"), insert("2", "done", "carl", ""), // one's own
			insert("2", "proposed", "", ""), // nobody's
			unfreeze,                        // approved by nobody
			strings.Replace(unfreeze, "'unfreeze'", "'recover'", 1),                                   // of no exposure
			strings.Replace(unfreeze, "'unfreeze'", "'adjust'", 1),                                    //
			strings.Replace(strings.Replace(unfreeze, "'unfreeze'", "'adjust'", 1), "1000", "999", 1), // of another amount
		} {
			h.refusesSQL(command)
		}
		h.tamperedOnce("UPDATE resolutions SET status = 'approved', decided_by = 'ben', decided_at = 1" + at)
		for _, command := range []string{
			"UPDATE resolutions SET decided_by = 'carl'" + at,
			strings.Replace(unfreeze, "1000", "999", 1), strings.Replace(unfreeze, "'unfreeze'", "'recover'", 1), // approved, and not this
		} {
			h.refusesSQL(command)
		}
		h.reconciled(id, nil)
		h.refusesSQL("UPDATE resolutions SET outcome = 'x'" + at)
		h.refusesSQL(unfreeze)
		h.books(id, "reserve freeze unfreeze")
	},
	"one wish and one yes, by however many": func(h house) {
		id := h.frozen()
		c := h.caseOf(id, payout.CaseBlocked)
		proposed := make(chan error, 10)
		for i := range cap(proposed) {
			go func() {
				_, _, err := h.propose(c, payout.ActionReleaseFrozen, func(p *payout.Proposal) { p.By = fmt.Sprint("p", i) })
				proposed <- err
			}()
		}
		h.one(proposed, payout.RefusalOpen)
		res := h.caseOf(id, payout.CaseBlocked).Resolutions[0]
		decided := make(chan error, 10)
		for i := range cap(decided) {
			go func() {
				_, _, err := h.approve(res, func(a *payout.Approval) { a.By, a.Approve = fmt.Sprint("a", i), i%2 == 0 })
				decided <- err
			}()
		}
		h.one(decided, payout.RefusalDecided)
		if lines := h.audits(); len(lines) != 2 || lines[1].Position != 2 {
			h.Fatalf("audited %+v", lines)
		}
	},
	"the audit stays dense, by however many": func(h house) {
		var cases []ledger.Case
		for range 6 {
			cases = append(cases, h.caseOf(h.frozen(), payout.CaseBlocked))
		}
		var wait sync.WaitGroup
		errs := make(chan error, len(cases))
		for _, c := range cases {
			wait.Go(func() {
				res, _, err := h.propose(c, payout.ActionKeepFrozen)
				if err == nil {
					_, _, err = h.approve(res)
				}
				errs <- err
			})
		}
		wait.Wait()
		for range cases {
			h.must(<-errs)
		}
		lines := h.audits()
		if len(lines) != 2*len(cases) || lines[len(lines)-1].Position != int64(len(lines)) {
			h.Fatalf("audited %+v", lines)
		}
	},
	"what answers itself offers nothing": func(h house) {
		h.shut()
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseCredentials, "open"))
		h.must(err)
		for _, action := range payout.Actions() {
			_, _, err := h.propose(list[0], action, func(p *payout.Proposal) {
				if action == payout.ActionCreatedAs || action == payout.ActionNotOurs {
					p.ProviderPayoutID = "x"
				}
			})
			h.declined(string(action), err, payout.RefusalNotOffered)
		}
	},
	"every kind of case about a payout offers something, or its payout goes on": func(h house) {
		for _, kind := range payout.CaseKinds() {
			if kind != payout.CaseCredentials && len(payout.Offers(kind)) == 0 {
				h.Errorf("%s is answered by nothing", kind)
			}
		}
	},
	"a case of a closed payout is no dead end": func(h house) {
		id := h.paid()
		w := h.word(id, 1, "executed", "")
		w.Word.Reference = "other"
		h.asked(id, w)
		h.offers(h.caseOf(id, payout.CaseMismatch), payout.ActionDismiss)
		h.resolved(id, payout.CaseMismatch, payout.ActionDismiss, nil)

		back := h.doubled() // the second payout was paid, and came back before anybody decided
		h.heard(back, 1, "executed", "")
		h.reconciled(back, says{"another": "executed"})
		h.toldLate(back, "e1", "another", "failed")
		h.reconciled(back, says{theirs(back, 1): "executed", "another": "failed returned"})
		if strings.Contains(h.cases(back), string(payout.CaseExposure)) {
			h.offers(h.caseOf(back, payout.CaseExposure), payout.ActionDismiss)
			h.resolved(back, payout.CaseExposure, payout.ActionDismiss, nil)
		}
		h.books(back, "reserve settle")
	},
	"a slow payout that is dismissed is not asked about for a while, and goes on": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		slow := func(want ...payout.CaseKind) {
			h.Helper()
			_, err := h.OpenSlow(h.ctx, 10)
			h.must(err)
			h.heard(id, 1, "pending", "")
			h.asks(id, want...)
		}
		h.Clock.Advance(timing.StuckAfter + time.Minute)
		slow(payout.CaseSlow)
		h.resolved(id, payout.CaseSlow, payout.ActionDismiss, says{theirs(id, 1): "pending"})
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait)
		slow()
		h.Clock.Advance(timing.StuckAfter - time.Hour)
		slow()
		h.Clock.Advance(2 * time.Hour)
		slow(payout.CaseSlow)
		h.heard(id, 1, "executed", "")
		h.asks(id)
	},
	"what a parked payout waits for is not dismissed": func(h house) {
		parked := h.doubled()
		_, _, err := h.propose(h.caseOf(parked, payout.CaseContradiction), payout.ActionDismiss)
		h.declined("parked", err, payout.RefusalNotOffered, "parked")
		h.heard(parked, 1, "executed", "")
		h.resolved(parked, payout.CaseContradiction, payout.ActionDismiss, says{"another": "failed invalid_iban"})
		h.asks(parked)
		h.stands(parked, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
	},
}

// reason is why people in cases propose.
const reason = "the provider's support said so"

// propose writes Anna's wish, or what change makes of it.
func (h house) propose(c ledger.Case, action payout.Action, change ...func(*payout.Proposal)) (ledger.Resolution, bool, error) {
	p := payout.Proposal{CaseID: c.ID, Action: action, Reason: reason, Version: c.Version, By: Anna}
	for _, change := range change {
		change(&p)
	}
	return h.Propose(h.ctx, p)
}

// approve writes Ben's yes, or what change makes of it.
func (h house) approve(res ledger.Resolution, change ...func(*payout.Approval)) (ledger.Resolution, payout.Stored, error) {
	a := payout.Approval{CaseID: res.CaseID, Number: res.Number, Approve: true, Version: res.Version, By: Ben}
	for _, change := range change {
		change(&a)
	}
	return h.Decide(h.ctx, a)
}

// as names the provider's id that comes with created_as.
func as(providerID string) func(*payout.Proposal) {
	return func(p *payout.Proposal) { p.ProviderPayoutID = providerID }
}

// ticket names the provider's ticket.
func ticket(p *payout.Proposal) { p.ProviderTicket = "TL-4711" }

// decided is what Anna proposed and Ben approved.
func (h house) decided(c ledger.Case, action payout.Action, change ...func(*payout.Proposal)) ledger.Resolution {
	h.Helper()
	res, _, err := h.propose(c, action, change...)
	h.must(err)
	res, _, err = h.approve(res)
	h.must(err)
	return res
}

// carriedOut is what became of a decision about a payout in its next step.
func (h house) carriedOut(id payout.ID, kind payout.CaseKind, action payout.Action, s says, change ...func(*payout.Proposal)) ledger.Resolution {
	h.Helper()
	c := h.caseOf(id, kind)
	res := h.decided(c, action, change...)
	h.reconciled(id, s)
	c, err := h.Case(h.ctx, c.ID)
	h.must(err)
	return c.Resolutions[res.Number-1]
}

// resolved is carriedOut, which must be done and end the case.
func (h house) resolved(id payout.ID, kind payout.CaseKind, action payout.Action, s says, change ...func(*payout.Proposal)) {
	h.Helper()
	res := h.carriedOut(id, kind, action, s, change...)
	c, err := h.Case(h.ctx, res.CaseID)
	h.must(err)
	if res.Status != ledger.ResolutionDone || res.Outcome == "" {
		h.Fatalf("the resolution is %+v\n%s", res, story(h.payout(id)))
	}
	if c.Status != "closed" || !strings.Contains(c.ClosedBy, Anna) || !strings.Contains(c.ClosedBy, Ben) {
		h.Errorf("the case is %s, closed by %q", c.Status, c.ClosedBy)
	}
}

// void is carriedOut, which must do nothing, for a reason with these words.
func (h house) void(id payout.ID, kind payout.CaseKind, action payout.Action, s says, change func(*payout.Proposal), words ...string) {
	h.Helper()
	before := h.booked(id)
	res := h.carriedOut(id, kind, action, s, change)
	if res.Status != ledger.ResolutionVoid || res.EndedAt.IsZero() {
		h.Fatalf("the resolution is %+v\n%s", res, story(h.payout(id)))
	}
	for _, word := range words {
		if !strings.Contains(res.Outcome, word) {
			h.Errorf("void since %q; want %q in it", res.Outcome, word)
		}
	}
	h.books(id, before)
}

// declined fails unless err is a refusal of this kind that says these words.
func (h house) declined(name string, err error, kind payout.RefusalKind, words ...string) {
	h.Helper()
	var refusal *payout.Refusal
	if !errors.As(err, &refusal) || refusal.Kind != kind || refusal.Why == "" {
		h.Fatalf("%s: %v (%+v); want it %s", name, err, refusal, kind)
	}
	for _, word := range words {
		if !strings.Contains(refusal.Why, word) {
			h.Errorf("%s: refused with %q; want %q in it", name, refusal.Why, word)
		}
	}
}

// offers fails unless exactly these actions are offered now.
func (h house) offers(c ledger.Case, want ...payout.Action) {
	h.Helper()
	got := []payout.Action{}
	for _, o := range c.Actions {
		got = append(got, o.Action)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		h.Fatalf("offered are %v, and not %v; want %v", got, c.NotNow, want)
	}
}

// one fails unless one of these is nil and all others are refusals of this kind.
func (h house) one(errs chan error, kind payout.RefusalKind) {
	h.Helper()
	taken := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			taken++
		} else {
			h.declined("beside another", err, kind)
		}
	}
	if taken != 1 {
		h.Fatalf("%d taken, want 1", taken)
	}
}

func (h house) audits() []ledger.AuditLine {
	h.Helper()
	lines, err := h.Audit(h.ctx, 0, 1000)
	h.must(err)
	return lines
}

// refusesSQL fails where the database lets a command through.
func (h house) refusesSQL(command string) {
	h.Helper()
	if h.Rows == nil {
		h.Skip("these books have no rows")
	}
	if _, err := h.Rows.ExecContext(h.ctx, command); err == nil {
		h.Errorf("not refused: %s", command)
	}
}

// frozen is a payout whose money is frozen.
func (h house) frozen() payout.ID {
	h.Helper()
	id := h.failed(payout.ReasonBlocked)
	h.stepped(h.Freeze(h.ctx, id))
	return id
}

// exposed is a payout that was paid although its player has the money again.
func (h house) exposed() payout.ID {
	h.Helper()
	id := h.released()
	h.heard(id, 1, "executed", "")
	h.asks(id, payout.CaseExposure)
	return id
}
