package ledger_test

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

// scopes bound what is explored. Each is explored to its fixpoint.
var scopes = map[string]model{
	sentTwice:   {attempts: 1, sends: [2]int{2}, turns: true},
	runsThatLag: {attempts: 1, sends: [2]int{1}, flaps: true, lags: true, turns: true},
	twoAttempts: {attempts: 2, sends: [2]int{1, 1}, turns: true, oneClaim: true},
	twoThatLag:  {attempts: 2, sends: [2]int{1, 1}, lags: true, oneClaim: true},
}

const (
	sentTwice   = "one attempt, sent twice"
	runsThatLag = "one attempt, runs that lag"
	twoAttempts = "two attempts"
	twoThatLag  = "two attempts, runs that lag"
)

// modelGraph is every state that can be reached, and every move between them.
type modelGraph struct {
	states []modelState
	moves  [][]modelEdge
	from   []int32     // the state before, on a shortest path
	by     []modelMove // the move from there
}

type modelEdge struct {
	move modelMove
	to   int32
}

// explore walks the model breadth first to its fixpoint.
func (m model) explore() *modelGraph {
	g := &modelGraph{}
	index := map[modelState]int32{}
	reach := func(s modelState, from int32, by modelMove) int32 {
		n, known := index[s]
		if !known {
			n = int32(len(g.states))
			index[s] = n
			g.states, g.from, g.by = append(g.states, s), append(g.from, from), append(g.by, by)
		}
		return n
	}
	reach(m.begin(), -1, modelMove{})
	for n := int32(0); int(n) < len(g.states); n++ {
		next := m.next(g.states[n])
		edges := make([]modelEdge, len(next))
		for i, s := range next {
			edges[i] = modelEdge{s.move, reach(s.to, n, s.move)}
		}
		g.moves = append(g.moves, edges)
	}
	return g
}

// path tells the shortest way to a state, one move a line.
func (g *modelGraph) path(n int32) string {
	var lines []string
	for ; g.from[n] >= 0; n = g.from[n] {
		lines = append(lines, fmt.Sprintf("  %s\n      → %s", g.by[n], g.states[n]))
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

// modelLaw is what holds in every state.
type modelLaw struct {
	name  string
	holds func(s modelState) bool
}

// paidNow says that the provider paid the attempt and did not get it back.
func (t modelTruth) paidNow() bool { return t.Is == thereExecuted || t.Is == thereTurned }

var modelLaws = []modelLaw{
	{"one attempt at a time is open, the latest", func(s modelState) bool {
		return s.Books.Latest == 0 || s.Books.Try[0].End != endOpen
	}},
	{oneAlive, func(s modelState) bool {
		second := s.World.Truth[1].Is != thereNot || s.onItsWay(1)
		first := s.World.Truth[0].Is
		return !second || !s.onItsWay(0) && (first == thereNot || first == thereFailed || first == thereTurned)
	}},
	{oneKey, func(s modelState) bool { return !s.World.Twice }},
	{paidOnce, func(s modelState) bool {
		return s.World.Truth[0].Is != thereExecuted || s.World.Truth[1].Is != thereExecuted
	}},
	{oneOutcome, func(s modelState) bool {
		return bits.OnesCount8(uint8(s.Books.Booked&(bookedSettle|bookedRelease|bookedFreeze))) <= 1
	}},
	{"status, money and books say one thing", func(s modelState) bool {
		b := s.Books
		outcome := b.Booked & (bookedSettle | bookedRelease | bookedFreeze | bookedReturn)
		switch b.Status {
		case isExecuted:
			return b.Money == moneyPaid && outcome == bookedSettle
		case isReturned:
			return outcome == bookedSettle|bookedReturn && (b.Money == moneyReturned || b.Money == moneyFrozen && b.Cases&askBlocked != 0)
		case isFailed:
			return b.Money == moneyReleased && outcome == bookedRelease || b.Money == moneyFrozen && outcome == bookedFreeze && b.Cases&askBlocked != 0
		}
		return b.Money == moneyHeld && b.Booked == 0
	}},
	{givenBack, func(s modelState) bool {
		if s.Books.Money == moneyHeld || s.Books.Money == moneyPaid {
			return true
		}
		for n, t := range s.World.Truth {
			if t.Is == thereNot && s.onItsWay(int8(n)) || t.Is == therePending || t.Is == thereExecuted {
				return false // but for what the provider failed first and executed then
			}
		}
		return true
	}},
	{wasExecuted, func(s modelState) bool {
		first, second := s.World.Truth[0], s.World.Truth[1]
		if s.Books.Booked&bookedReturn != 0 && !first.back() && !second.back() {
			return false
		}
		return s.Books.Booked&bookedSettle == 0 || first.paidNow() || first.back() || second.paidNow() || second.back()
	}},
	{"an exposure is what the provider executed after it failed", func(s modelState) bool {
		for n, t := range s.World.Truth {
			if s.Books.Booked&(bookedExpose1<<n) != 0 && t.Is != thereTurned {
				return false
			}
		}
		return true
	}},
	{isBooked, func(s modelState) bool {
		b := s.Books
		settled := false
		for n := range b.Try {
			if b.Try[n].End != endExecuted || b.Booked&(bookedExpose1<<n) != 0 || b.Money == moneyHeld {
				continue
			}
			if settled || b.Booked&bookedSettle == 0 {
				return false
			}
			settled = true
		}
		return true
	}},
	{parkedAsks, func(s modelState) bool { return s.Books.Status != isParked || s.Books.Cases != 0 }},
}

// onItsWay says that a request of attempt n may still reach the provider.
func (s modelState) onItsWay(n int8) bool {
	return s.World.Fate[n][0] == onItsWay || s.World.Fate[n][1] == onItsWay
}

// What is final stays, and money only goes where it may.
func lawfulMove(from, to modelBooks) bool {
	status := from.Status == to.Status || !from.Status.final() || from.Status == isExecuted && to.Status == isReturned
	money := from.Money == to.Money || from.Money == moneyHeld || from.Money == moneyPaid && (to.Money == moneyReturned || to.Money == moneyFrozen)
	return status && money && from.Booked&^to.Booked == 0 && from.Latest <= to.Latest
}

// modelPromise is what must be able to happen: from every state in which since
// holds, moves that are allowed lead to one in which until holds.
type modelPromise struct {
	name         string
	since, until func(s modelState) bool
	allowed      func(s modelState, m modelMove) bool
}

// ended says that nothing is left to do but for a person.
func (b modelBooks) ended() bool {
	return b.Status.final() && b.Step == toDone || b.Status == isParked && b.Cases != 0
}

func always(modelState) bool { return true }

// ownMoves are those that need no webhook, and neither luck nor accident: our
// runs ask a provider that does not lag, and time goes by.
func ownMoves(s modelState, m modelMove) bool {
	for n, w := range m.Said {
		if w != silence && w != s.World.Truth[n].now() {
			return false
		}
	}
	switch m.Deed {
	case isLost, arrives, isRefused, answers, asks, judgesLate, triesAgain, releases, freezes, returns, parks, opensSend, aMinute, aWindow, aDay:
		shows := s.World.Truth[0].back() || s.World.Truth[1].back()
		if !s.Books.Try[s.Books.Latest].Known {
			shows = s.World.Truth[s.Books.Latest].Is != thereNot
		}
		return m.Looked == notLooked || shows == (m.Looked != showsNothing)
	}
	return false
}

func (s modelState) exposed() bool {
	for n, t := range s.World.Truth {
		if t.Is == thereTurned && s.Books.Try[n].End != endExecuted {
			return false
		}
	}
	return true
}

var modelPromises = []modelPromise{
	{"no dead end", always, func(s modelState) bool { return s.Books.ended() }, func(modelState, modelMove) bool { return true }},
	{"no webhook is needed", func(s modelState) bool {
		return s.World.Truth[s.Books.Latest].Is != therePending
	}, func(s modelState) bool { return s.Books.ended() || s.World.Truth[s.Books.Latest].Is == therePending }, ownMoves},
	{comesHome, func(s modelState) bool {
		return s.Books.Money == moneyPaid && (s.World.Truth[0].back() || s.World.Truth[1].back())
	}, func(s modelState) bool { return s.Books.Status == isReturned || s.Books.Cases&askContradiction != 0 }, withNews},
	{shows, func(s modelState) bool {
		return s.Books.Booked&(bookedRelease|bookedFreeze) != 0 && !s.exposed()
	}, func(s modelState) bool { return s.exposed() && s.Books.Booked&(bookedExpose1|bookedExpose2) != 0 }, withNews},
	{"what was paid beside the settled shows as an exposure", func(s modelState) bool {
		return s.Books.Money == moneyPaid && s.World.Truth[0].paidNow() && s.World.Truth[1].paidNow() && s.World.Truth[0].Is != s.World.Truth[1].Is
	}, func(s modelState) bool { return s.Books.Booked&(bookedExpose1|bookedExpose2) != 0 }, withNews},
}

// withNews are the moves of a world in which webhooks come and GETs do not lag.
func withNews(s modelState, m modelMove) bool { return m.Deed == delivers || ownMoves(s, m) }

// broken lists the states in which since holds and from which nothing leads on
// to until.
func (g *modelGraph) broken(p modelPromise) (list []int32) {
	back := make([][]int32, len(g.states))
	for n, edges := range g.moves {
		for _, e := range edges {
			if e.to != int32(n) && p.allowed(g.states[n], e.move) {
				back[e.to] = append(back[e.to], int32(n))
			}
		}
	}
	can := make([]bool, len(g.states))
	var queue []int32
	for n, s := range g.states {
		if p.until(s) {
			can[n], queue = true, append(queue, int32(n))
		}
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, before := range back[n] {
			if !can[before] {
				can[before], queue = true, append(queue, before)
			}
		}
	}
	for n, s := range g.states {
		if !can[n] && p.since(s) {
			list = append(list, int32(n))
		}
	}
	return list
}

// breaks lists what a graph breaks, with the shortest path to the first state
// of each kind.
func (g *modelGraph) breaks() map[string]string {
	found := map[string]string{}
	for n, s := range g.states {
		for _, l := range modelLaws {
			if found[l.name] == "" && !l.holds(s) {
				found[l.name] = g.path(int32(n))
			}
		}
		for _, e := range g.moves[n] {
			if found[stays] == "" && !lawfulMove(s.Books, g.states[e.to].Books) {
				found[stays] = g.path(int32(n)) + fmt.Sprintf("\n  %s\n      → %s", e.move, g.states[e.to])
			}
		}
	}
	for _, p := range modelPromises {
		if list := g.broken(p); len(list) > 0 {
			found[p.name] = g.path(list[0])
		}
	}
	return found
}

// The laws that are called by name below.
const (
	stays       = "what is final stays, and money goes only where it may"
	oneAlive    = "no attempt lives at the provider beside the one before"
	oneKey      = "one key is one payout"
	paidOnce    = "paid once, unless the provider contradicts itself"
	oneOutcome  = "settled, or released, or frozen"
	givenBack   = "nothing is given back that was paid, or still may be"
	wasExecuted = "what is settled was executed, what is returned came back"
	isBooked    = "what is known as paid is booked once the money moved"
	parkedAsks  = "parked asks a person"
	comesHome   = "a return is booked, or a person knows"
	shows       = "what was paid although it was given back shows as an exposure"
)

// The design itself: nothing that can happen breaks a law.
func TestModelIsLawful(t *testing.T) {
	wide := maps.Clone(scopes)
	if !testing.Short() { // too many moves for the real ledger
		wide["two attempts, much at once"] = model{attempts: 2, sends: [2]int{2, 1}, turns: true}
	}
	for name, m := range wide {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := m.explore()
			moves := 0
			for _, list := range g.moves {
				moves += len(list)
			}
			t.Logf("%d states, %d moves", len(g.states), moves)
			for law, path := range g.breaks() {
				t.Errorf("%s: broken by\n%s", law, path)
			}
			g.booksKnowOnly(t)
		})
	}
}

// booksKnowOnly what they were told: where equal books are told the same, they
// come to the same, whatever is true outside.
func (g *modelGraph) booksKnowOnly(t *testing.T) {
	type told struct {
		books modelBooks
		move  modelMove
	}
	become := map[told]modelBooks{}
	for n, edges := range g.moves {
		for _, e := range edges {
			if e.move.world() {
				continue
			}
			k, to := told{g.states[n].Books, e.move}, g.states[e.to].Books
			if before, known := become[k]; known && before != to {
				t.Fatalf("%s leads to\n%+v\nand to\n%+v\n%s", e.move, before, to, g.path(int32(n)))
			}
			become[k] = to
		}
	}
}

// Mistakes that houses like this one made. Each is one rule of the model turned
// wrong, and a law or a promise must notice.
const (
	creditOnError     = "credit back because no answer came"
	creditAfterWindow = "credit back because the window is over"
	oneNoIsEnough     = "one refusal decides, whatever else was sent"
	resendForEver     = "send again with a key that the provider forgot"
	slowIsFailed      = "try again because it takes long"
	latestDecides     = "give back because the latest attempt failed"
	settleTwice       = "settle what was given back"
	lastWordWins      = "believe what was asked before"
	closedIsDeaf      = "hear nothing about what is closed"
	paidIsPaid        = "forget that a bank may send it back"
	nobodyIsAsked     = "park and tell nobody"
)

func TestModelNoticesMistakes(t *testing.T) {
	for mistake, noticed := range map[string]struct {
		scope string
		by    []string
	}{
		creditOnError:     {sentTwice, []string{givenBack}},
		creditAfterWindow: {sentTwice, []string{givenBack}},
		oneNoIsEnough:     {sentTwice, []string{givenBack}},
		resendForEver:     {sentTwice, []string{oneKey}},
		slowIsFailed:      {twoAttempts, []string{oneAlive, paidOnce}},
		latestDecides:     {twoAttempts, []string{isBooked}},
		settleTwice:       {sentTwice, []string{oneOutcome, stays}},
		lastWordWins:      {runsThatLag, []string{wasExecuted}},
		closedIsDeaf:      {sentTwice, []string{shows}},
		paidIsPaid:        {sentTwice, []string{comesHome}},
		nobodyIsAsked:     {sentTwice, []string{parkedAsks}},
	} {
		t.Run(mistake, func(t *testing.T) {
			t.Parallel()
			m := scopes[noticed.scope]
			m.mistake = mistake
			broken := m.explore().breaks()
			for _, law := range noticed.by {
				if broken[law] == "" {
					t.Errorf("nobody noticed by %q; broken is only %v", law, slices.Sorted(maps.Keys(broken)))
				}
			}
		})
	}
}
