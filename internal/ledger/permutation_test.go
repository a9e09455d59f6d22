package ledger_test

import (
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// Webhooks come in any order, repeatedly, and before or after the provider's
// GET says the same. Every order of up to five signed events, each of them once
// or twice, must come to one end.
func TestOrderOfNewsChangesNothing(t *testing.T) {
	fastDisk(t)
	for name, s := range map[string]newsStory{
		"executed": {
			truth:  []newsSaid{{payout.ProviderExecuted, ""}},
			events: []newsEvent{{1, newsSaid{payout.ProviderExecuted, ""}}, {1, newsSaid{payout.ProviderExecuted, ""}}, {1, newsSaid{}}},
			end:    "executed paid done; attempts executed; booked reserve settle; told payout.executed; cases ",
		},
		"failed: the account cannot be paid": {
			truth:  []newsSaid{{payout.ProviderFailed, payout.ReasonInvalidIBAN}},
			events: []newsEvent{{1, newsSaid{payout.ProviderFailed, payout.ReasonInvalidIBAN}}, {1, newsSaid{payout.ProviderFailed, payout.ReasonInvalidIBAN}}, {1, newsSaid{}}},
			end:    "failed released done; attempts failed; booked reserve release; told payout.failed; cases ",
		},
		"failed: blocked": {
			truth:  []newsSaid{{payout.ProviderFailed, payout.ReasonBlocked}},
			events: []newsEvent{{1, newsSaid{payout.ProviderFailed, payout.ReasonBlocked}}, {1, newsSaid{payout.ProviderFailed, payout.ReasonBlocked}}, {1, newsSaid{}}},
			end:    "failed frozen done; attempts failed; booked reserve freeze; told payout.failed; cases blocked",
		},
		"executed, then sent back": {
			truth: []newsSaid{{payout.ProviderFailed, payout.ReasonReturned}},
			events: []newsEvent{{1, newsSaid{payout.ProviderExecuted, ""}}, {1, newsSaid{payout.ProviderExecuted, ""}}, {1, newsSaid{payout.ProviderFailed, payout.ReasonReturned}},
				{1, newsSaid{payout.ProviderFailed, payout.ReasonReturned}}, {1, newsSaid{}}},
			end: "returned returned done; attempts any; booked reserve settle return; told payout.returned; cases ",
		},
		"sent back, and only the statement shows it": {
			truth:     []newsSaid{{payout.ProviderExecuted, ""}},
			statement: true,
			events:    []newsEvent{{1, newsSaid{payout.ProviderExecuted, ""}}, {1, newsSaid{payout.ProviderFailed, payout.ReasonReturned}}, {1, newsSaid{payout.ProviderFailed, payout.ReasonReturned}}},
			end:       "returned returned done; attempts any; booked reserve settle return; told payout.returned; cases ",
		},
		"no funds, then executed": {
			truth: []newsSaid{{payout.ProviderFailed, payout.ReasonInsufficientFunds}, {payout.ProviderExecuted, ""}},
			events: []newsEvent{{1, newsSaid{payout.ProviderFailed, payout.ReasonInsufficientFunds}}, {1, newsSaid{}}, {2, newsSaid{payout.ProviderExecuted, ""}},
				{2, newsSaid{payout.ProviderExecuted, ""}}},
			end: "executed paid done; attempts failed executed; booked reserve settle; told payout.executed; cases ",
		},
		"no funds twice": {
			truth: []newsSaid{{payout.ProviderFailed, payout.ReasonInsufficientFunds}, {payout.ProviderFailed, payout.ReasonInsufficientFunds}},
			events: []newsEvent{{1, newsSaid{payout.ProviderFailed, payout.ReasonInsufficientFunds}}, {2, newsSaid{payout.ProviderFailed, payout.ReasonInsufficientFunds}},
				{2, newsSaid{}}},
			end: "failed released done; attempts failed failed; booked reserve release; told payout.failed; cases ",
		},
		"given back, then executed after all": {
			truth:  []newsSaid{{payout.ProviderFailed, payout.ReasonInvalidIBAN}},
			after:  newsSaid{payout.ProviderExecuted, ""},
			events: []newsEvent{{1, newsSaid{payout.ProviderFailed, payout.ReasonInvalidIBAN}}, {1, newsSaid{payout.ProviderExecuted, ""}}, {1, newsSaid{payout.ProviderExecuted, ""}}},
			end:    "failed released done; attempts executed; booked reserve release expose; told payout.failed; cases exposure",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.everyOrder(t)
		})
	}
}

// fastDisk puts the test's files where syncing costs nothing, if there is such
// a place: what is held here is no matter of disks.
func fastDisk(t *testing.T) {
	if dir, err := os.Stat("/dev/shm"); err == nil && dir.IsDir() {
		t.Setenv("TMPDIR", "/dev/shm")
	}
}

// newsSaid is what an event claims, or what a GET says in the end.
type newsSaid struct {
	status string
	reason payout.Reason
}

// newsEvent is one signed event; without a status it claims nothing.
type newsEvent struct {
	attempt int
	newsSaid
}

// newsStory is what truly becomes of a payout, and the events about it.
type newsStory struct {
	truth     []newsSaid // of each attempt, in the end
	statement bool       // the merchant account's statement shows a return of attempt 1
	after     newsSaid   // what becomes of attempt 1 when all is over
	events    []newsEvent
	end       string
}

// How the events and our runs mix.
type newsMix int

const (
	runAfterEach   newsMix = iota // GET tells the truth from the beginning
	getLags                       // GET says pending until all events are there
	runAtTheEnd                   // all events lie unread when the run looks
	overtakeAnswer                // all events come before the create's answer
	answerLost                    // and that answer never comes
	overtakeHalf                  // some before the answer, the rest while GET lags
	mixes
)

func (m newsMix) String() string {
	return [...]string{"the run after each event", "GET lags", "the run at the end", "events overtake the answer", "events overtake a lost answer", "half of the events overtake the answer"}[m]
}

func (s newsStory) everyOrder(t *testing.T) {
	b := ledgertest.SQLite(t, model{attempts: int8(len(s.truth))}.options)
	b.Fund(t, 1_000_000_000)
	subsets := 1 << len(s.events)
	each := subsets
	switch { // with each order others, so that all come with many
	case testing.Short():
		each = 1
	case wholeModel():
	case len(s.events) == 5:
		each = 2
	case len(s.events) == 4:
		each = 8
	}
	runs := 0
	for n, order := range permutations(len(s.events)) {
		for i := range each {
			runs++
			one := &newsTelling{newsStory: s, t: t, b: b, order: order, twice: (n*each + i) * 5 % subsets, mix: newsMix((n + i) % int(mixes)), name: fmt.Sprint("run-", runs)}
			if got := one.tell(); got != s.end {
				t.Fatalf("%s\n%s\nends as\n    %s\nwant\n    %s\n%s", one, strings.Join(one.lines, "\n"), got, s.end, one.timeline())
			}
		}
	}
	b.Lawful(t)
	t.Logf("%d runs", runs)
}

// permutations lists all permutations of 0 to n-1.
func permutations(n int) (list [][]int) {
	if n == 0 {
		return [][]int{{}}
	}
	for _, shorter := range permutations(n - 1) {
		for at := range n {
			list = append(list, slices.Insert(slices.Clone(shorter), at, n-1))
		}
	}
	return list
}

// newsTelling is one order of one story.
type newsTelling struct {
	newsStory
	t     *testing.T
	b     ledgertest.Books
	name  string
	order []int
	twice int // bit n: event n comes twice
	mix   newsMix
	lines []string

	id   payout.ID
	at   payout.Position
	lags bool
	over bool // what comes after is true now
}

func (r *newsTelling) String() string {
	return fmt.Sprintf("%s, events %v, twice %0*b", r.mix, r.order, len(r.events), r.twice)
}

func (r *newsTelling) tell() string {
	p, _, err := r.b.Accept(r.t.Context(), ledgertest.NewPayout(r.name, 100), ledgertest.Merchant, false)
	r.must(err)
	r.id, r.lags = p.ID, r.mix == getLags || r.mix == overtakeHalf
	overtaking := 0
	switch r.mix {
	case overtakeAnswer, answerLost:
		overtaking = len(r.order)
	case overtakeHalf:
		overtaking = len(r.order) / 2
	}
	// What is about a second attempt cannot come before that is at the provider,
	// and what is true only later not before it is over.
	var now, later []int
	for _, n := range r.order {
		if e := r.events[n]; e.attempt > 1 || r.after != (newsSaid{}) && e.newsSaid == r.after {
			later = append(later, n)
		} else {
			now = append(now, n)
		}
	}
	overtaking = min(overtaking, len(now))
	send, _, err := r.b.OpenSend(r.t.Context(), r.id, r.b.Clock.Now().Add(payout.TokenLife))
	r.must(err)
	for _, n := range now[:overtaking] {
		r.deliver(n)
	}
	answer := payout.Created{Answer: payout.AnswerCreated, ProviderID: r.theirs(1)}
	if r.mix == answerLost && overtaking > 0 {
		answer = payout.Created{Answer: payout.AnswerUnknown}
	}
	r.at, err = r.b.CloseSend(r.t.Context(), send, answer)
	r.must(err)
	r.line("the create is answered: %s", answer.Answer)
	for _, n := range now[overtaking:] {
		r.deliver(n)
		if r.mix != runAtTheEnd {
			r.run()
		}
	}
	if r.after != (newsSaid{}) {
		r.lags = false
		r.rest()
		r.over, r.lags = true, r.mix == getLags || r.mix == overtakeHalf
	}
	for _, n := range later {
		if r.events[n].attempt > 1 {
			r.lags = false // the first attempt must have failed before
			r.rest()
		}
		r.deliver(n)
		if r.mix != runAtTheEnd {
			r.run()
		}
	}
	r.lags = false
	r.rest()
	r.again(1)                                               // the latest repeats of all find a closed payout
	if r.at.Status.Final() && r.at.Step == payout.StepWait { // what news claims is asked about for a while
		r.line("RETURN_ASK_FOR goes by")
		r.b.Clock.Advance(r.b.Options.Timing.ReturnAskFor + time.Second)
		r.run()
	}
	return r.books()
}

// deliver stores an event, and its repeat where it comes twice: at once, or
// when everything is over.
func (r *newsTelling) deliver(n int) {
	r.line("event %d: attempt %d %s", n, r.events[n].attempt, r.events[n].status)
	s, err := r.b.StoreNews(r.t.Context(), r.news(n))
	r.must(err)
	if s.Repeat || s.PayoutID != r.id {
		r.t.Fatalf("%s: stored %+v", r, s)
	}
	if r.twice&(1<<n) != 0 && n%2 == 0 {
		r.repeat(n)
	}
}

func (r *newsTelling) again(odd int) {
	for n := range r.events {
		if r.twice&(1<<n) != 0 && n%2 == odd {
			r.repeat(n)
		}
	}
}

func (r *newsTelling) repeat(n int) {
	s, err := r.b.StoreNews(r.t.Context(), r.news(n))
	r.must(err)
	if !s.Repeat || s.Wake {
		r.t.Fatalf("%s: event %d again: %+v", r, n, s)
	}
}

func (r *newsTelling) news(n int) payout.News {
	e := r.events[n]
	return payout.News{EventID: fmt.Sprintf("%s/%d", r.id, n), Type: "payout_" + e.status, ProviderID: r.theirs(e.attempt), PayoutID: r.id, Attempt: e.attempt,
		Status: e.status, Reason: e.reason, Body: []byte("{}")}
}

func (r *newsTelling) theirs(n int) string { return fmt.Sprintf("their-%s-%d", r.id, n) }

// rest runs until nothing more is to be done, with hours between.
func (r *newsTelling) rest() {
	for range 6 {
		if r.run(); r.at.Step == payout.StepDone {
			return
		}
		r.b.Clock.Advance(2 * time.Hour)
	}
}

// run does what a run does when it is woken once: it asks, and obeys until it
// has to wait.
func (r *newsTelling) run() {
	ctx := r.t.Context()
	r.b.Clock.Advance(time.Second)
	var err error
	asked := r.at.Step == payout.StepCreate || r.at.Step == payout.StepTryAgain
	for range 20 {
		was := r.at.Step
		switch was {
		case payout.StepWait, payout.StepReconcile, payout.StepDone:
			if asked && was != payout.StepReconcile {
				return
			}
			r.at, asked = r.ask(), true
		case payout.StepCreate:
			var send payout.Send
			send, r.at, err = r.b.OpenSend(ctx, r.id, r.b.Clock.Now().Add(payout.TokenLife))
			r.must(err)
			if send.Number > 0 {
				r.at, err = r.b.CloseSend(ctx, send, payout.Created{Answer: payout.AnswerCreated, ProviderID: r.theirs(send.Attempt)})
			} else if r.at.Step == payout.StepCreate {
				r.at = r.ask()
			}
		case payout.StepTryAgain:
			r.b.Clock.Advance(r.at.Wait)
			var earlier []payout.Ask
			earlier, err = r.b.Earlier(ctx, r.id)
			r.must(err)
			r.at, err = r.b.TryAgain(ctx, r.id, r.words(earlier))
		case payout.StepRelease:
			r.at, err = r.b.Release(ctx, r.id)
		case payout.StepFreeze:
			r.at, err = r.b.Freeze(ctx, r.id)
		case payout.StepReturn:
			r.at, err = r.b.Return(ctx, r.id)
		case payout.StepPark:
			r.at, err = r.b.OpenCase(ctx, r.id)
		}
		r.must(err)
		r.line("%s → %s, %s", was, r.at.Status, r.at.Step)
	}
	r.t.Fatalf("%s\n%s\ndoes not come to rest", r, strings.Join(r.lines, "\n"))
}

func (r *newsTelling) ask() payout.Position {
	ctx := r.t.Context()
	asking, err := r.b.Read(ctx, r.id)
	r.must(err)
	if len(asking.Asks) == 0 && len(asking.Inbox) == 0 && asking.Look == nil {
		return asking.Position
	}
	heard := payout.Heard{Words: r.words(asking.Asks), Inbox: asking.Inbox, By: "test"}
	if asking.Look != nil {
		heard.Looked = &payout.Looked{AskedAt: r.b.Clock.Now()}
		if r.statement && !r.lags {
			heard.Looked.Lines = []payout.Line{{ReturnFor: r.theirs(1), Money: ledgertest.Pounds(100), At: r.b.Clock.Now(), Raw: []byte("{}")}}
		}
	}
	at, err := r.b.Judge(ctx, r.id, heard)
	r.must(err)
	return at
}

func (r *newsTelling) words(asks []payout.Ask) (words []payout.Asked) {
	for _, ask := range asks {
		is := r.truth[ask.Attempt-1]
		if r.over && ask.Attempt == 1 && !r.lags {
			is = r.after
		} else if r.lags && !r.over {
			is = newsSaid{payout.ProviderPending, ""}
		}
		r.line("attempt %d is %s %s", ask.Attempt, is.status, is.reason)
		words = append(words, payout.Asked{Attempt: ask.Attempt, ProviderID: ask.ProviderID, Word: payout.Word{ProviderID: ask.ProviderID, Status: is.status, Reason: is.reason,
			Money: ledgertest.Pounds(100), AskedAt: r.b.Clock.Now(), Raw: []byte("{}")}})
	}
	return words
}

// books is what the books come to.
func (r *newsTelling) books() string {
	var row, tries, booked, told, cases sql.NullString
	r.must(r.b.Rows.QueryRow(`SELECT p.status || ' ' || p.money || ' ' || p.step,
		(SELECT group_concat(a.status, ' ' ORDER BY a.number) FROM attempts a WHERE a.payout_id = p.id),
		(SELECT group_concat(t.kind || CASE WHEN t.amount_in_minor = p.amount_in_minor THEN '' ELSE ' of another amount' END, ' ' ORDER BY t.booked_at, t.id) FROM transactions t WHERE t.payout_id = p.id),
		(SELECT o.type FROM outbox o WHERE o.subject_id = p.id ORDER BY o.version DESC LIMIT 1),
		(SELECT group_concat(c.kind, ' ' ORDER BY c.kind) FROM cases c WHERE c.payout_id = p.id AND c.status = 'open')
		FROM payouts p WHERE p.id = ?`, string(r.id)).Scan(&row, &tries, &booked, &told, &cases))
	attempts := tries.String
	if strings.Contains(r.end, "attempts any") { // whether executed was seen before it came back
		attempts = "any"
	}
	return fmt.Sprintf("%s; attempts %s; booked %s; told %s; cases %s", row.String, attempts, booked.String, told.String, cases.String)
}

func (r *newsTelling) timeline() string {
	p, err := r.b.Payout(r.t.Context(), "", payout.KindPayout, r.id)
	r.must(err)
	var lines []string
	for _, m := range p.Timeline {
		lines = append(lines, fmt.Sprintf("    %s: %s", m.Status, m.What))
	}
	return strings.Join(lines, "\n")
}

func (r *newsTelling) line(format string, args ...any) {
	r.lines = append(r.lines, "  "+fmt.Sprintf(format, args...))
}

func (r *newsTelling) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s\n%s\n%v", r, strings.Join(r.lines, "\n"), err)
	}
}
