package ledger_test

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

// The real ledger is held to the model: it is led along paths that cover every
// kind of move, with the answers the model gives the provider, and after each
// call its rows must say what the model says.
func TestLedgerIsTheModel(t *testing.T) {
	fastDisk(t)
	for name, m := range scopes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hold(t, m.explore(), m)
		})
	}
}

// wholeModel asks for every single move instead of every kind of move.
func wholeModel() bool { return os.Getenv("LEDGER_MODEL") == "whole" }

// The ledger's waits, far apart, so that the model's clock need not be exact.
const (
	modelRest   = 30 * time.Second
	modelMinute = time.Minute
	modelWindow = 4*time.Hour + time.Minute
	modelDay    = 1001 * time.Hour
)

func (m model) options(o *ledger.Options) {
	again := payout.Policy{Step: payout.StepRelease}
	if m.attempts > 1 {
		again = payout.Policy{Step: payout.StepTryAgain, Attempts: int(m.attempts), RestMin: modelRest, RestMax: modelRest, Then: payout.StepRelease}
	}
	o.Table = payout.Decisions()
	for _, r := range []payout.Reason{payout.ReasonSchemeError, payout.ReasonServerError, payout.ReasonInsufficientFunds} {
		o.Table[r] = again
	}
	o.Timing = payout.DefaultTiming()
	o.Timing.KeyWindow = modelWindow - time.Minute
	o.Timing.ReturnAskFor = modelDay - time.Hour
	o.Timing.StuckAfter, o.Timing.RefundStuckAfter = 10*365*24*time.Hour, 10*365*24*time.Hour
}

// kindOfMove is what paths cover: a move, from books to books, whatever the
// news and the cases are beside it, and whichever of two sends it is about.
type kindOfMove struct {
	from, to modelBooks
	move     modelMove
}

func kindOf(from modelBooks, what modelMove, to modelBooks) kindOfMove {
	if wholeModel() {
		return kindOfMove{from, to, what}
	}
	what.Send = 0
	sending := what.Deed == opensSend || what.Deed == answers || what.Deed == aMinute || what.Deed == aWindow || what.Deed == releases || what.Deed == freezes
	for _, b := range []*modelBooks{&from, &to} {
		for n := range b.Try {
			t := &b.Try[n]
			t.Unread, t.Noted = 0, 0
			if slices.Sort(t.Sends[:]); !sending {
				t.Sends, t.Over = [2]sendRow{}, false
			}
		}
		b.Lagging, b.Cases, b.Asking, b.Aged = modelReading{}, 0, false, false
	}
	if from.Latest == 1 && from.Try[0] == to.Try[0] {
		what.Said[0] = silence // whatever is said that changes nothing
	}
	if from == to {
		what.Said[1] = silence
	}
	return kindOfMove{from, to, what}
}

// hold covers every kind of move of g, the deepest first: each path leads on
// from there as long as there is more to cover near.
func hold(t *testing.T, g *modelGraph, m model) {
	d := &modelDriver{t: t, b: ledgertest.SQLite(t, m.options), g: g, open: map[kindOfMove]bool{}, stood: map[modelBooks]bool{}}
	d.b.Fund(t, 1_000_000_000)
	type first struct { // where a kind of move is found first
		at int32
		by modelEdge
	}
	var todo []first
	for n, edges := range g.moves {
		for _, e := range edges {
			if k := d.kind(int32(n), e); !d.open[k] && !e.move.world() {
				d.open[k] = true
				todo = append(todo, first{int32(n), e})
			}
		}
	}
	kinds := len(todo)
	if testing.Short() { // a sample
		todo = every(todo, 20)
	}
	for _, f := range slices.Backward(todo) {
		if !d.open[d.kind(f.at, f.by)] {
			continue
		}
		d.begin()
		for way := append(g.to(f.at), f.by); way != nil; way = d.further() {
			for _, e := range way {
				d.take(e)
			}
		}
	}
	d.b.Lawful(t)
	t.Logf("%d kinds of moves, %d paths, %d calls", kinds, d.paths, d.calls)
	if len(d.open) > 0 && !testing.Short() {
		t.Errorf("%d kinds of moves were not covered", len(d.open))
	}
}

func every[E any](list []E, nth int) (some []E) {
	for i := 0; i < len(list); i += nth {
		some = append(some, list[i])
	}
	return some
}

// to is a shortest path to a state.
func (g *modelGraph) to(n int32) (path []modelEdge) {
	for ; g.from[n] >= 0; n = g.from[n] {
		path = append(path, modelEdge{g.by[n], n})
	}
	slices.Reverse(path)
	return path
}

// modelDriver leads one payout after the other through real books.
type modelDriver struct {
	t     *testing.T
	b     ledgertest.Books
	g     *modelGraph
	open  map[kindOfMove]bool // still to be covered
	stood map[modelBooks]bool // where all that must not act was tried
	paths int
	calls int
	modelPath
}

// modelPath is what is under way with one payout.
type modelPath struct {
	at     int32 // the model's state
	lines  []string
	id     payout.ID
	sends  [2][2]payout.Send
	events int
	late   payout.Heard // of the run that lags
}

func (d *modelDriver) kind(at int32, e modelEdge) kindOfMove {
	return kindOf(d.g.states[at].Books, e.move, d.g.states[e.to].Books)
}

func (d *modelDriver) begin() {
	d.paths++
	p, _, err := d.b.Accept(d.t.Context(), ledgertest.NewPayout(fmt.Sprint("path-", d.paths), 100), ledgertest.Merchant, false)
	d.must(err)
	d.modelPath = modelPath{id: p.ID}
}

// further is a short way from here to a move that is not covered yet, with
// that move at its end; nil: none is near.
func (d *modelDriver) further() []modelEdge {
	type way struct {
		at     int32
		before int
		by     modelEdge
	}
	ways, seen := []way{{at: d.at, before: -1}}, map[int32]bool{d.at: true}
	for i := 0; i < len(ways) && i < 300; i++ {
		for _, e := range d.g.moves[ways[i].at] {
			if !e.move.world() && d.open[d.kind(ways[i].at, e)] {
				list := []modelEdge{e}
				for at := i; ways[at].before >= 0; at = ways[at].before {
					list = append(list, ways[at].by)
				}
				slices.Reverse(list)
				return list
			}
			if !seen[e.to] {
				seen[e.to] = true
				ways = append(ways, way{e.to, i, e})
			}
		}
	}
	return nil
}

// take makes one move, in the ledger too where the ledger hears of it.
func (d *modelDriver) take(e modelEdge) {
	d.t.Helper()
	from, to := d.g.states[d.at], d.g.states[e.to]
	if !e.move.world() {
		delete(d.open, d.kind(d.at, e))
		d.lagBehind(from.Books)
	}
	d.at = e.to
	d.lines = append(d.lines, fmt.Sprintf("  %s\n      → %s", e.move, to))
	if e.move.world() {
		return
	}
	d.calls++
	d.b.Clock.Advance(time.Millisecond)
	d.call(e.move, from.Books, to.Books)
	if got, want := d.rows(), to.Books.rows(); got != want {
		d.fail("the ledger says\n    %s\nwant\n    %s", got, want)
	}
}

// lagBehind takes every step that is not next, as a run would that is doubled
// or lags: none may do anything. Where news lies unread, not even the next may.
func (d *modelDriver) lagBehind(b modelBooks) {
	d.t.Helper()
	bare := kindOf(b, modelMove{Deed: opensSend}, b).from
	bare.Cases = caseKinds(min(b.Try[0].Unread|b.Try[1].Unread, 1)) // unread or not
	if d.stood[bare] {
		return
	}
	d.stood[bare] = true
	before := d.version()
	ctx := d.t.Context()
	for _, own := range []struct {
		step nextStep
		run  func() (payout.Position, error)
	}{
		{toRelease, func() (payout.Position, error) { return d.b.Release(ctx, d.id) }},
		{toFreeze, func() (payout.Position, error) { return d.b.Freeze(ctx, d.id) }},
		{toReturn, func() (payout.Position, error) { return d.b.Return(ctx, d.id) }},
		{toPark, func() (payout.Position, error) { return d.b.OpenCase(ctx, d.id) }},
		{toRest, func() (payout.Position, error) { return d.b.TryAgain(ctx, d.id, nil) }},
	} {
		if b.Step == own.step && (b.Step == toPark || !b.unread()) {
			continue
		}
		d.calls++
		at, err := own.run()
		d.must(err)
		if b.Step == own.step && at.Step != payout.StepReconcile {
			d.fail("%s while news lies unread leads to %s", stepNames[own.step], at.Step)
		}
		if after := d.version(); after != before {
			d.fail("%s is not next, and changed\n    %s\nto\n    %s", stepNames[own.step], before, after)
		}
	}
}

func (d *modelDriver) fail(format string, args ...any) {
	d.t.Helper()
	story := ""
	if p, err := d.b.Payout(d.t.Context(), "", payout.KindPayout, d.id); err == nil {
		for _, m := range p.Timeline {
			story += fmt.Sprintf("    %s: %s\n", m.Status, m.What)
		}
	}
	d.t.Fatalf("path:\n%s\n%s\nits timeline:\n%s", strings.Join(d.lines, "\n"), fmt.Sprintf(format, args...), story)
}

func (d *modelDriver) must(err error) {
	d.t.Helper()
	if err != nil {
		d.fail("%v", err)
	}
}

func (d *modelDriver) theirs(n int8) string { return fmt.Sprintf("their-%s-%d", d.id, n+1) }

// oneOf varies what the model takes for the same, from path to path.
func oneOf[E any](d *modelDriver, list ...E) E { return list[(d.paths+d.calls)%len(list)] }

func (d *modelDriver) call(m modelMove, from, to modelBooks) {
	d.t.Helper()
	ctx := d.t.Context()
	var err error
	switch m.Deed {
	case opensSend:
		var s payout.Send
		s, _, err = d.b.OpenSend(ctx, d.id, d.b.Clock.Now().Add(payout.TokenLife))
		sent := false
		for i, row := range to.Try[to.Latest].Sends {
			if row == sendOpen && from.Try[to.Latest].Sends[i] == noSend {
				d.sends[to.Latest][i], sent = s, true
			}
		}
		if sent != (s.Number > 0) {
			d.fail("permission to send: %v, want %v", s.Number > 0, sent)
		}
	case answers:
		_, err = d.b.CloseSend(ctx, d.sends[m.Attempt][m.Send], d.answer(m))
	case delivers:
		n := payout.News{EventID: fmt.Sprintf("%s/%d", d.id, d.events), ProviderID: d.theirs(m.Attempt), Status: [...]string{"", "executed", "failed"}[m.Claim], Body: []byte("{}")}
		n.Type = "payout_" + n.Status
		if d.events++; !from.Try[m.Attempt].Known || d.events%2 == 0 {
			n.PayoutID, n.Attempt = d.id, int(m.Attempt)+1
		}
		_, err = d.b.StoreNews(ctx, n)
		if again, repeated := d.b.StoreNews(ctx, n); repeated != nil || !again.Repeat || again.Wake {
			d.fail("the same event again: %+v, %v", again, repeated)
		}
	case readsAndDies:
		_, err = d.b.Read(ctx, d.id)
	case asks:
		_, err = d.b.Judge(ctx, d.id, d.ask(m))
	case asksAndLags:
		d.late = d.ask(m)
		d.late.Looked = nil
	case judgesLate:
		_, err = d.b.Judge(ctx, d.id, d.late)
	case triesAgain:
		var earlier []payout.Ask
		earlier, err = d.b.Earlier(ctx, d.id)
		d.must(err)
		_, err = d.b.TryAgain(ctx, d.id, d.words(earlier, m))
	case releases:
		_, err = d.b.Release(ctx, d.id)
	case freezes:
		_, err = d.b.Freeze(ctx, d.id)
	case returns:
		_, err = d.b.Return(ctx, d.id)
	case parks:
		_, err = d.b.OpenCase(ctx, d.id)
	case aMinute:
		d.b.Clock.Advance(modelMinute)
	case aWindow:
		d.b.Clock.Advance(modelWindow)
	case aDay:
		d.b.Clock.Advance(modelDay)
	}
	if from == to && errors.As(err, new(*payout.InFlight)) {
		return
	}
	d.must(err)
}

func (d *modelDriver) answer(m modelMove) payout.Created {
	switch m.Answer {
	case answerCreated:
		return payout.Created{Answer: payout.AnswerCreated, ProviderID: d.theirs(m.Attempt)}
	case answerRefused:
		return payout.Created{Answer: payout.AnswerRefused, Reason: oneOf(d, payout.ReasonRefused, payout.ReasonInvalidIBAN, payout.ReasonReturned, "new_word")}
	case answerDown:
		return payout.Created{Answer: payout.AnswerRefused, Reason: oneOf(d, payout.ReasonServerError, payout.ReasonSchemeError)}
	case answerNotSent:
		return payout.Created{Answer: payout.AnswerNotSent}
	}
	return payout.Created{Answer: payout.AnswerUnknown}
}

// ask reads the news, and has the provider say what the model says.
func (d *modelDriver) ask(m modelMove) payout.Heard {
	d.t.Helper()
	asking, err := d.b.Read(d.t.Context(), d.id)
	d.must(err)
	heard := payout.Heard{Words: d.words(asking.Asks, m), Inbox: asking.Inbox, By: "model"}
	if asking.Look == nil {
		if m.Looked != notLooked {
			d.fail("the statement is not looked at")
		}
		return heard
	}
	now := d.b.Clock.Now()
	heard.Looked = &payout.Looked{AskedAt: now}
	latest := d.g.states[d.at].Books.Latest
	line := payout.Line{Money: ledgertest.Pounds(100), At: now, Raw: []byte("{}")}
	switch m.Looked {
	case showsPayout:
		line.ProviderID, line.PayoutID, line.Attempt, line.Status = d.theirs(latest), d.id, int(latest)+1, payout.ProviderExecuted
		heard.Looked.Lines = []payout.Line{line}
	case showsReturn:
		line.ReturnFor = d.theirs(m.Attempt)
		heard.Looked.Lines = []payout.Line{line}
	}
	return heard
}

// words are the provider's, about exactly those attempts that the model asks.
func (d *modelDriver) words(asks []payout.Ask, m modelMove) (words []payout.Asked) {
	d.t.Helper()
	var asked [2]bool
	for _, ask := range asks {
		n := int8(ask.Attempt - 1)
		asked[n] = true
		w := payout.Word{ProviderID: ask.ProviderID, Money: ledgertest.Pounds(100), AskedAt: d.b.Clock.Now(), Raw: []byte("{}")}
		switch said := m.Said[n]; said {
		case silence, saysPending: // to ask once more than the model does is no harm
			w.Status = oneOf(d, payout.ProviderPending, "new_word")
		case saysAuthorized:
			w.Status = payout.ProviderAuthorized
		case saysExecuted:
			w.Status = payout.ProviderExecuted
		default:
			w.Status = payout.ProviderFailed
			switch said {
			case saysInvalid:
				w.Reason = oneOf(d, payout.ReasonInvalidIBAN, payout.ReasonInvalidScan, payout.ReasonScanConversion, payout.ReasonUnknown, "new_word")
			case saysDown:
				w.Reason = oneOf(d, payout.ReasonSchemeError, payout.ReasonServerError, payout.ReasonInsufficientFunds)
			case saysBlocked:
				w.Reason = payout.ReasonBlocked
			case saysReturned:
				w.Reason = payout.ReasonReturned
			}
		}
		words = append(words, payout.Asked{Attempt: ask.Attempt, ProviderID: ask.ProviderID, Word: w})
	}
	for n, w := range m.Said {
		if w != silence && !asked[n] {
			d.fail("attempt %d is not asked about", n+1)
		}
	}
	return words
}

// rows are the model's books, and then the ledger's, in the same words.
func (b modelBooks) rows() string {
	var tries, booked []string
	for n := range b.Latest + 1 {
		known := "unknown"
		if b.Try[n].Known {
			known = "known"
		}
		tries = append(tries, fmt.Sprintf("%s %s", [...]string{"open", "refused", "failed", "executed"}[b.Try[n].End], known))
	}
	for i, name := range bookingNames {
		if b.Booked&(1<<i) != 0 {
			booked = append(booked, strings.TrimRight(name, " 12"))
		}
	}
	cases := b.Cases.names()
	slices.Sort(cases)
	return fmt.Sprintf("%s, money %s, next %s; attempts %s; booked %s; cases %s", statusNames[b.Status], moneyNames[b.Money], stepNames[b.Step],
		strings.Join(tries, ", "), strings.Join(booked, " "), strings.Join(cases, " "))
}

// version tells whether anything about the payout changed.
func (d *modelDriver) version() string {
	var changed string
	d.must(d.b.Rows.QueryRow(`SELECT version || ' ' || updated_at || ' ' || unread || ' ' || step || ' ' || (SELECT COUNT(*) FROM timeline t WHERE t.payout_id = p.id)
		FROM payouts p WHERE id = ?`, string(d.id)).Scan(&changed))
	return d.rows() + "; " + changed
}

func (d *modelDriver) rows() string {
	var status, money, next string
	var tries, booked, cases sql.NullString
	d.must(d.b.Rows.QueryRow(`SELECT status, money, CASE WHEN step IN ('wait', 'reconcile') THEN 'ask' ELSE step END,
		(SELECT group_concat(CASE a.status WHEN 'created' THEN 'open' ELSE a.status END || CASE WHEN a.provider_payout_id IS NULL THEN ' unknown' ELSE ' known' END, ', ' ORDER BY a.number)
			FROM attempts a WHERE a.payout_id = p.id),
		(SELECT group_concat(t.kind, ' ' ORDER BY t.booked_at) FROM transactions t WHERE t.payout_id = p.id AND t.slot <> 'hold'),
		(SELECT group_concat(c.kind, ' ' ORDER BY c.kind) FROM cases c WHERE c.payout_id = p.id AND c.status = 'open')
		FROM payouts p WHERE id = ?`, string(d.id)).Scan(&status, &money, &next, &tries, &booked, &cases))
	kinds := strings.Fields(booked.String)
	slices.SortFunc(kinds, func(a, b string) int {
		at := func(kind string) int {
			return slices.IndexFunc(bookingNames[:], func(s string) bool { return strings.HasPrefix(s, kind) })
		}
		return cmp.Compare(at(a), at(b))
	})
	return fmt.Sprintf("%s, money %s, next %s; attempts %s; booked %s; cases %s", status, money, next, tries.String, strings.Join(kinds, " "), cases.String)
}
