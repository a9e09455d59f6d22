package ledgertest

import (
	"fmt"
	"time"

	"payouts/internal/payout"
)

// drifting counts what the provider says and this build does not know.
var drifting = group{
	"nothing drifts while every value is known": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		for _, status := range []string{"pending", "authorized", "pending", "executed"} {
			h.heard(id, 1, status, "")
		}
		for _, reason := range payout.Reasons() {
			h.failed(reason)
		}
		h.drifts("")
	},
	"reasons and statuses that are not listed are counted": func(h house) {
		h.failed("brand_new")
		h.failed("brand_new")
		h.failed("another_new")
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "attempted", "")
		h.Clock.Advance(time.Hour)
		h.heard(id, 1, "attempted", "")
		h.drifts("failure_reason another_new 1, failure_reason brand_new 2, status attempted 2")
		list, err := h.Drift(h.ctx)
		h.must(err)
		if !list[2].LastAt.Equal(h.Clock.Now()) {
			h.Fatalf("last seen at %s, and it is %s", list[2].LastAt, h.Clock.Now())
		}
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait) // it goes on
	},
	"counted by many at once": func(h house) {
		errs := make(chan error, 10)
		for range cap(errs) {
			id := h.accepted(100)
			h.created(id)
			words := []payout.Asked{h.word(id, 1, "failed", "brand_new")}
			go func() {
				_, err := h.Judge(h.ctx, id, payout.Heard{Words: words, By: "test"})
				errs <- err
			}()
		}
		for range cap(errs) {
			h.must(<-errs)
		}
		h.drifts("failure_reason brand_new 10")
	},
}

// drifts fails unless exactly this was counted: "field value times, …".
func (h house) drifts(want string) {
	h.Helper()
	list, err := h.Drift(h.ctx)
	h.must(err)
	got := ""
	for i, d := range list {
		if i > 0 {
			got += ", "
		}
		got += fmt.Sprint(d.Field, " ", d.Value, " ", d.Times)
	}
	if got != want || list == nil {
		h.Fatalf("drifts are %q, want %q", got, want)
	}
}
