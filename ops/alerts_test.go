package ops

import (
	"fmt"
	"testing"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/notify"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
	"payouts/workflows"
)

// fault is what an alert is for.
type fault struct {
	begin  func(h *house) // once
	each   func(h *house) // each minute; nil: nothing
	quiet  time.Duration  // so long it does not fire
	fires  time.Duration  // by then it does
	labels string         // of the alert that fires, where it has some
	jump   time.Duration  // goes by unwatched after begin, before quiet
}

func leave(parts ...string) func(h *house) {
	return func(h *house) {
		for _, p := range parts {
			h.idle[p] = true
		}
	}
}

// faults has one for each alert.
var faults = map[string]fault{
	"PayoutsWorkerGone":  {begin: func(h *house) { delete(h.targets, "worker") }, quiet: 9 * time.Minute, fires: 11 * time.Minute}, // samples live on for five minutes
	"PayoutsGatewayGone": {begin: func(h *house) { delete(h.targets, "gateway") }, quiet: 9 * time.Minute, fires: 11 * time.Minute},
	"PayoutsBooksUnreadable": {begin: func(h *house) {
		leave(paying, hearing, sweeping, sealing, relaying)(h)
		h.must(h.Close())
	}, quiet: 2 * time.Minute, fires: 4 * time.Minute},
	"PayoutsTemporalGone":  {begin: func(h *house) { h.worker.TemporalReady(false) }, quiet: 3 * time.Minute, fires: 5 * time.Minute},
	"PayoutsRunsStuck":     {begin: func(h *house) { h.worker.Stuck(1) }, quiet: 2 * time.Minute, fires: 4 * time.Minute},
	"PayoutsSweeperSilent": {begin: leave(sweeping), quiet: 10 * time.Minute, fires: 13 * time.Minute},
	"PayoutsAPIFaults":     {begin: func(*house) {}, each: func(h *house) { h.ask(h.brokenAPI, 1) }, quiet: 5 * time.Minute, fires: 8 * time.Minute},
	"PayoutsLedgerSlow": {begin: func(*house) {}, each: func(h *house) {
		for range 10 {
			h.worker.Transaction(ledger.Attempted{Op: "judge", Tries: 2, Took: 3 * time.Second})
		}
	}, quiet: 10 * time.Minute, fires: 14 * time.Minute},
	"PayoutsPositionsUnsealed": {begin: leave(sealing), quiet: 5 * time.Minute, fires: 9 * time.Minute},

	"PayoutsExposure":        {begin: (*house).exposed, quiet: 0, fires: time.Minute, labels: `{currency="GBP"}`},
	"PayoutsParked":          {begin: (*house).parked, quiet: 5 * time.Minute, fires: 7 * time.Minute},
	"PayoutsNotSent":         {begin: func(h *house) { h.accepted() }, quiet: 15 * time.Minute, fires: 18 * time.Minute},
	"PayoutsUnknownOutcome":  {begin: unanswered, quiet: 30 * time.Minute, fires: 31 * time.Minute},
	"PayoutsKeyWindowEnding": {begin: unanswered, jump: 2*time.Hour + 50*time.Minute, quiet: 9 * time.Minute, fires: 12 * time.Minute},
	"PayoutsUnreadNews":      {begin: func(h *house) { h.webhook("their-" + string(h.created())) }, quiet: 10 * time.Minute, fires: 13 * time.Minute},
	"PayoutsManyFail": {begin: func(*house) {}, each: func(h *house) {
		for range 3 {
			id := h.created()
			h.heard(id, "failed", payout.ReasonInvalidIBAN)
			_, err := h.Release(h.Context(), id)
			h.must(err)
		}
	}, quiet: 5 * time.Minute, fires: 14 * time.Minute},
	"PayoutsRunsAdopted": {begin: func(*house) {}, each: func(h *house) {
		h.worker.Run(workflows.PayoutWorkflow, true)
		h.worker.Run(workflows.RefundWorkflow, true)
	}, quiet: 4 * time.Minute, fires: 9 * time.Minute},
	"PayoutsCaseOpen": {begin: (*house).parked, quiet: time.Minute, fires: 3 * time.Minute, labels: `{kind="contradiction"}`},
	"PayoutsCaseOld":  {begin: (*house).parked, jump: 23*time.Hour + 50*time.Minute, quiet: 9 * time.Minute, fires: 12 * time.Minute, labels: `{kind="contradiction"}`},

	"PayoutsBrakeShut": {begin: func(h *house) {
		for range 3 {
			_, err := h.NotLetIn(h.Context(), "401")
			h.must(err)
			h.clock = h.clock.Add(6 * time.Second)
		}
		leave(paying)(h)
	}, quiet: time.Minute, fires: 3 * time.Minute},
	"PayoutsProviderFaults": {begin: func(h *house) { h.ill = true }, quiet: 6 * time.Minute, fires: 12 * time.Minute},
	"PayoutsProviderThrottles": {begin: func(*house) {}, each: func(h *house) {
		h.worker.Call(truelayer.Call{Op: "get payout", Answer: payout.AnswerUnknown, Status: 429})
	}, quiet: 15 * time.Minute, fires: 18 * time.Minute},
	"PayoutsNoWebhooks":       {begin: func(h *house) { h.created(); leave(hearing)(h) }, jump: 3*time.Hour + 50*time.Minute, quiet: 14 * time.Minute, fires: 17 * time.Minute},
	"PayoutsWebhooksNotTaken": {begin: func(h *house) { h.store = errIll }, quiet: 5 * time.Minute, fires: 8 * time.Minute},
	"PayoutsWebhooksForged":   {begin: func(h *house) { h.verify = fmt.Errorf("%w: stranger", httpapi.ErrNotAuthentic) }, quiet: 15 * time.Minute, fires: 22 * time.Minute},
	"PayoutsDrift":            {begin: func(h *house) { h.heard(h.created(), "failed", "brand_new") }, quiet: 0, fires: time.Minute, labels: `{field="failure_reason"}`},

	"PayoutsOutboxStuck":  {begin: leave(relaying), quiet: 15 * time.Minute, fires: 18 * time.Minute},
	"PayoutsEventGivenUp": {begin: func(h *house) { h.worker.Delivery(notify.OutcomeGivenUp) }, quiet: 0, fires: time.Minute},
}

func unanswered(h *house) {
	h.answered(h.sent(h.accepted()), payout.Created{Answer: payout.AnswerUnknown, Detail: "no answer", Raw: []byte("{}")})
}

// A house without faults is silent.
func TestNobodyCries(t *testing.T) {
	h := newHouse(t)
	for range 45 {
		h.minute()
		if len(h.firing) > 0 {
			t.Fatalf("after %d minutes it fires: %s", h.n, firing(h.watch))
		}
	}
}

// Every alert fires on the fault it is for, and not before.
func TestAlerts(t *testing.T) {
	for _, r := range rules(t) {
		f, known := faults[r.Alert]
		if !known {
			t.Errorf("%s: no fault is made for it", r.Alert)
			continue
		}
		t.Run(r.Alert, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.pass(6 * time.Minute)
			if len(h.firing) > 0 {
				t.Fatalf("without the fault it fires: %s", firing(h.watch))
			}
			f.begin(h)
			h.clock = h.clock.Add(f.jump)
			if f.jump > 0 && !h.idle[hearing] {
				h.webhook("about nothing of ours") // it was heard of, unwatched
			}
			h.worker.Swept(swept)
			began := h.clock
			for h.clock.Sub(began) < f.fires {
				if f.each != nil {
					f.each(h)
				}
				h.minute()
				if h.firing[r.Alert] && h.clock.Sub(began) <= f.quiet {
					t.Fatalf("it fires after %s already", h.clock.Sub(began))
				}
			}
			if !h.firing[r.Alert+or(f.labels, "{}")] {
				t.Fatalf("it does not fire after %s; these do: %s", f.fires, firing(h.watch))
			}
		})
	}
}

// A gateway that is started again does not hide that no webhook comes.
func TestSilenceOutlivesTheGateway(t *testing.T) {
	h := newHouse(t)
	h.pass(6 * time.Minute)
	h.created()
	h.idle[hearing] = true
	h.clock = h.clock.Add(3*time.Hour + 50*time.Minute)
	h.worker.Swept(swept)
	h.gateway()
	h.pass(17 * time.Minute)
	if !h.firing["PayoutsNoWebhooks"] {
		t.Errorf("it fires: %s", firing(h.watch))
	}
}

// Compliance may keep money frozen for weeks: that it is, is told, and nobody
// gets up for it.
func TestFrozenMoneyPagesNobody(t *testing.T) {
	h := newHouse(t)
	h.pass(6 * time.Minute)
	id := h.created()
	h.heard(id, "failed", payout.ReasonBlocked)
	_, err := h.Freeze(h.Context(), id)
	h.must(err)
	h.clock = h.clock.Add(72 * time.Hour)
	h.webhook("about nothing of ours") // heard of, unwatched
	h.worker.Swept(swept)
	h.pass(10 * time.Minute)
	if got := firing(h.watch); got != `PayoutsCaseOpen PayoutsCaseOpen{kind="blocked"}` {
		t.Errorf("after three days it fires: %s", got)
	}
}
