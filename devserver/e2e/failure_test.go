package e2e

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"payouts/internal/simulator"
)

// Each no of the provider branches into the compensation of its reason.
func TestFailures(t *testing.T) {
	t.Parallel()
	h := open(t, plan{})
	const won = 10_00
	credited, frozen := balance{Available: won}, balance{Frozen: won}
	cases := map[string]struct { // by reference
		rule simulator.Rule
		want end
	}{
		"insufficient funds": { // by amount, below
			want: end{status: "failed", money: "released", reason: "insufficient_funds", moves: "reserve release", attempts: 5, accepted: 5, player: balance{Available: 2 * merchantMinor}},
		},
		"scheme error": {
			rule: simulator.Rule{Fail: &simulator.Fail{Stage: simulator.StatusAuthorized, Reason: "scheme_error"}},
			want: end{status: "failed", money: "released", reason: "scheme_error", moves: "reserve release", attempts: 3, accepted: 3, player: credited},
		},
		"server error once": {
			rule: simulator.Rule{Times: 1, Fail: &simulator.Fail{Reason: "server_error"}},
			want: end{status: "executed", money: "paid", moves: "reserve settle", attempts: 2, accepted: 2, executed: 1},
		},
		"invalid iban": {
			rule: simulator.Rule{Fail: &simulator.Fail{Reason: "invalid_iban"}},
			want: end{status: "failed", money: "released", reason: "invalid_iban", moves: "reserve release", accepted: 1, player: credited},
		},
		"a new reason": {
			rule: simulator.Rule{Fail: &simulator.Fail{Reason: "moon_in_scorpio"}},
			want: end{status: "failed", money: "released", reason: "moon_in_scorpio", moves: "reserve release", accepted: 1, player: credited},
		},
		"blocked": {
			rule: simulator.Rule{Fail: &simulator.Fail{Reason: "blocked"}},
			want: end{status: "failed", money: "frozen", reason: "blocked", moves: "reserve freeze", accepted: 1, player: frozen},
		},
		"refused": {
			rule: simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: http.StatusBadRequest}},
			want: end{status: "failed", money: "released", reason: "refused", moves: "reserve release", player: credited},
		},
	}
	winners, ids := map[string]player{}, map[string]string{}
	for _, reference := range slices.Sorted(maps.Keys(cases)) {
		minor, rule := int64(won), cases[reference].rule
		if reference == "insufficient funds" {
			minor = 2 * merchantMinor
		}
		rule.Match.Reference = reference
		h.script(rule)
		winners[reference] = h.wins(minor)
		ids[reference] = h.pays(winners[reference], minor, reference)
	}
	for reference, tc := range cases {
		t.Run(reference, func(t *testing.T) {
			h := h.in(t)
			got := h.judge(winners[reference], ids[reference], tc.want)
			if asksPerson := got.CaseID != nil; asksPerson != (tc.want.money == "frozen") {
				t.Errorf("asks a person: %v\n%s", asksPerson, got.story())
			}
			keys := map[string]bool{}
			for _, a := range got.Attempts {
				keys[a.IdempotencyKey] = true
			}
			if len(keys) != tc.want.attempts && tc.want.attempts > 0 {
				t.Errorf("%d keys for %d attempts", len(keys), tc.want.attempts)
			}
		})
	}
}

// in is the house as a subtest sees it.
func (h *house) in(t testing.TB) *house {
	inner := *h
	inner.t = t
	return &inner
}
