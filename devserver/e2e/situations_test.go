package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"payouts/internal/simulator"
)

// slowly lets a payout wait at the provider until the test moves the
// provider's time on by later.
var slowly = simulator.Settings{AuthorizeAfter: simulator.Duration(time.Millisecond), ExecuteAfter: simulator.Duration(10 * time.Minute)}

const later = 11 * time.Minute

// restful is a house for situations: an attempt rests long enough for
// something to happen meanwhile.
var restful = plan{settings: slowly, rest: "30s"}

// situation is where a payout can be in its life when something happens to its
// run or to our programs. It stays there until the provider's time moves on by
// later, or for half a minute.
type situation struct {
	name  string
	rules []simulator.Rule              // of the provider: one for each attempt, in their order; none: it goes slowly
	there func(h *house, p payout) bool // it is there; nil: it is over
	end   end                           // once the provider's time has moved on
}

const aMoment = simulator.Duration(100 * time.Millisecond)

var (
	unanswered = &simulator.Answer{Kind: simulator.AnswerAcceptThenTimeout, Times: 1}
	waits      = func(_ *house, p payout) bool { return p.Status == "authorized" }
	creating   = func(h *house, p payout) bool {
		return p.NextStep == "create" && h.truth(simulator.FactAccepted, p) == 1
	}
)

// situations are the whole life of a payout. Those that last stand first.
var situations = []situation{
	{name: "executed", rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}}}, end: paidOut},
	{name: "credited back", rules: []simulator.Rule{{Fail: &simulator.Fail{Reason: "invalid_iban"}}},
		end: end{status: "failed", money: "released", reason: "invalid_iban", moves: "reserve release", accepted: 1, player: balance{Available: won}}},
	{name: "frozen", rules: []simulator.Rule{{Fail: &simulator.Fail{Reason: "blocked"}}},
		end: end{status: "failed", money: "frozen", reason: "blocked", moves: "reserve freeze", accepted: 1, player: balance{Frozen: won}}},
	{name: "parked for good", // the provider speaks of another amount, now and later
		rules: []simulator.Rule{{Echo: map[string]any{"amount_in_minor": 1}}},
		there: func(_ *house, p payout) bool { return p.Status == "parked" },
		end:   end{status: "parked", money: "held", moves: "reserve", accepted: 1, executed: 1, player: balance{Held: won}}},
	{name: "parked until news", // it spoke once of another payout
		rules: []simulator.Rule{{Get: &simulator.Answer{Kind: simulator.AnswerGarbled, Times: 1, ContentType: "application/json",
			Body: `{"id": "another", "status": "pending", "amount_in_minor": 1, "currency": "GBP"}`}}},
		there: func(_ *house, p payout) bool { return p.Status == "parked" }, end: paidOut},
	{name: "waiting", there: waits, end: paidOut},
	{name: "not created", // the provider is down for half a minute
		rules: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: http.StatusServiceUnavailable, RetryAfter: "30", Times: 1}, Delay: &simulator.Delay{Execute: aMoment}}},
		there: func(_ *house, p payout) bool { return p.NextStep == "create" && p.Attempts[0].Sends > 0 }, end: paidOut},
	{name: "create unanswered", rules: []simulator.Rule{{Create: unanswered}}, there: creating, end: paidOut},
	{name: "create unheard of", // nor will there be news
		rules: []simulator.Rule{{Create: unanswered, Webhooks: []simulator.Webhook{{Lost: true}}}}, there: creating, end: paidOut},
	{name: "asking", // there was news, and the provider is slow to say what it is
		rules: []simulator.Rule{{Delay: &simulator.Delay{Execute: aMoment}, Get: &simulator.Answer{Kind: simulator.AnswerTimeout, Times: 1}}},
		there: func(h *house, p payout) bool { return h.truth(simulator.FactExecuted, p) == 1 && h.askedInVain(p) }, end: paidOut},
	{name: "resting",
		rules: []simulator.Rule{{Times: 1, Fail: &simulator.Fail{Reason: "scheme_error", After: aMoment}}, {Delay: &simulator.Delay{Execute: aMoment}}},
		there: func(_ *house, p payout) bool { return p.NextStep == "try_again" },
		end:   end{status: "executed", money: "paid", moves: "reserve settle", attempts: 2, accepted: 2, executed: 1}},
}

// askedInVain says that a question about a payout hangs at the provider.
func (h *house) askedInVain(p payout) bool {
	id := p.Attempts[0].ProviderPayoutID
	return id != nil && slices.ContainsFunc(h.sim.Journal().Requests, func(r simulator.Request) bool {
		return r.Method == http.MethodGet && r.TransferID == *id && r.Shape == simulator.AnswerTimeout && !r.Done
	})
}

// won is what every player of a situation won, and is paid.
const won = 10_00

// life is a payout in a situation.
type life struct {
	situation
	winner player
	id     string
}

func (l life) workflowID() string { return "payout/" + l.id }

// reference is what the provider knows the life by, and its rules.
func (l life) reference() string { return l.winner.id }

// open says that the life is not over, so that it has a run.
func (l life) open() bool { return l.there != nil }

// isThere says that the life is where it is to be.
func (l life) isThere(h *house, p payout) bool {
	if l.open() {
		return l.there(h, p)
	}
	return p.NextStep == "done"
}

// prepare makes a life ready: its player has won, and the provider knows what
// to do with it.
func (h *house) prepare(s situation) life {
	h.t.Helper()
	l := life{situation: s, winner: h.wins(won)}
	for _, rule := range s.rules {
		rule.Match.Reference = l.reference()
		h.script(rule)
	}
	return l
}

// live begins a life in each situation.
func (h *house) live(all ...situation) (lives []life) {
	h.t.Helper()
	for _, s := range all {
		l := h.prepare(s)
		l.id = h.pays(l.winner, won, l.reference())
		lives = append(lives, l)
	}
	return lives
}

// awaitThere waits until every life is where it is to be, all at once.
func (h *house) awaitThere(lives []life) {
	h.t.Helper()
	var missing []string
	await(h.t, soon, func() bool { missing = h.elsewhere(lives); return len(missing) == 0 },
		func() string { return strings.Join(missing, "\n") })
}

// elsewhere names the lives that are not where they are to be.
func (h *house) elsewhere(lives []life) (names []string) {
	h.t.Helper()
	for _, l := range lives {
		if p := h.payout(l.id); !l.isThere(h, p) {
			names = append(names, fmt.Sprintf("%s is not %q: %s, next step %s\n%s", l.id, l.name, p.Status, p.NextStep, p.story()))
		}
	}
	return names
}

// judgeAll holds every life against its end, each in a test of its own, and
// against what more says.
func (h *house) judgeAll(after string, lives []life, more func(h *house, l life, got payout)) {
	h.t.Helper()
	for _, l := range lives {
		h.t.(*testing.T).Run(after+" while "+l.name, func(t *testing.T) {
			h := h.in(t)
			l.end.limit = 2 * time.Minute
			got := h.judge(l.winner, l.id, l.end)
			if more != nil {
				more(h, l, got)
			}
		})
	}
}
