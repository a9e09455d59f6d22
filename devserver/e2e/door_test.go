package e2e

import (
	"encoding/json"
	"net/http"
	"sync"
	"testing"
)

// The same request many times at once is one payout.
func TestSameKeyAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, plan{})
	winner := h.wins(100_00)
	const times = 12
	answers, errs := make([]answer, times), make([]error, times)
	var asking sync.WaitGroup
	for i := range times {
		asking.Go(func() {
			answers[i], errs[i] = h.backend.call(http.MethodPost, "/v1/payouts", "one-key", winner.wish(10_00, "at once"))
		})
	}
	asking.Wait()
	ids, made := map[string]bool{}, 0
	for i, a := range answers {
		var p payout
		if errs[i] != nil || json.Unmarshal(a.body, &p) != nil {
			t.Fatalf("answered %s %v", a, errs[i])
		}
		replayed := a.header.Get("Idempotent-Replayed") == "true"
		switch {
		case a.status == http.StatusCreated && !replayed:
			made++
		case a.status == http.StatusOK && replayed:
		default:
			t.Errorf("answered %s, replayed %v: want 201, or 200 replayed", a, replayed)
		}
		ids[p.ID] = true
	}
	if made != 1 || len(ids) != 1 {
		t.Fatalf("%d requests made %d payouts with %d ids, want one", times, made, len(ids))
	}
	want := paidOut
	want.player.Available = 90_00
	for id := range ids {
		h.judge(winner, id, want)
	}
}
