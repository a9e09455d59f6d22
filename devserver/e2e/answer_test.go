package e2e

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"payouts/internal/simulator"
)

// The provider made the payout and we never heard so: the same key and bytes
// are sent again and find it, or the statement shows it.
func TestCreateAnswerLost(t *testing.T) {
	t.Parallel()
	lostAnswers(open(t, plan{settings: simulator.Settings{WebhooksOff: true}})) // news would save a send, now and then
}

func lostAnswers(h *house) {
	h.t.Helper()
	lost := map[string]simulator.Answer{ // by reference
		"reset":       {Kind: simulator.AnswerAcceptThenReset, Times: 1},
		"502":         {Kind: simulator.AnswerAcceptThen5xx, Times: 1},
		"502 thrice":  {Kind: simulator.AnswerAcceptThen5xx, Times: 3},
		"cut":         {Kind: simulator.AnswerAcceptThenCut, Times: 1},
		"garbled 200": {Kind: simulator.AnswerAcceptThenGarbled, Times: 1},
		"never there": {Kind: simulator.AnswerReset, Times: 1},
		"only 503":    {Kind: simulator.AnswerRefuse, Status: http.StatusServiceUnavailable, Times: 2},
		"key used":    {Kind: simulator.AnswerAcceptThen5xx, Status: http.StatusUnprocessableEntity, Type: "idempotency-key-reuse", Times: 1},
		"429":         {Kind: simulator.AnswerRefuse, Status: http.StatusTooManyRequests, RetryAfter: "1", Times: 1},
	}
	winners, ids := map[string]player{}, map[string]string{}
	for _, reference := range slices.Sorted(maps.Keys(lost)) {
		answer := lost[reference]
		h.script(simulator.Rule{Match: simulator.Match{Reference: reference}, Create: &answer})
		winners[reference] = h.wins(10_00)
		ids[reference] = h.pays(winners[reference], 10_00, reference)
	}
	for reference, answer := range lost {
		got := h.judge(winners[reference], ids[reference], paidOut)
		want := answer.Times + 1
		if answer.Status == http.StatusUnprocessableEntity {
			want = 1 // never again, and the statement shows it
		}
		if sends := got.Attempts[0].Sends; sends != want {
			h.t.Errorf("%s: sent %d times, want %d\n%s", reference, sends, want, got.story())
		}
	}
}

func (h *house) script(r simulator.Rule) {
	h.t.Helper()
	if _, err := h.sim.Script(r); err != nil {
		h.t.Fatal(err)
	}
}

// An event overtakes the answer of the create that it is about.
func TestWebhookBeforeCreateAnswer(t *testing.T) {
	t.Parallel()
	h := open(t, plan{env: far})
	h.script(simulator.Rule{HoldAnswerForWebhook: true, Delay: &simulator.Delay{Authorize: 1, Execute: 1}})
	winner := h.wins(10_00)
	got := h.judge(winner, h.pays(winner, 10_00, "overtaken"), paidOut) // the provider answers only once the webhook is taken
	if sends := got.Attempts[0].Sends; sends != 1 {
		t.Errorf("sent %d times, want once\n%s", sends, got.story())
	}
}
