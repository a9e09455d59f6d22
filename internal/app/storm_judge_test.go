package app

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/simulator"
)

// The judge holds the books against the simulator's journal: what truly
// happened to money. Of our code it asks only where the books say the money is,
// and whom they ask.

// deed is what one attempt truly came to.
type deed struct {
	transfers                  []simulator.Transfer // one, unless the provider forgets keys
	executed, returned, failed []time.Time
}

func (d deed) exists() bool { return len(d.transfers) > 0 }

// contradicts says that the provider called it failed and paid it later, or
// made two of it.
func (d deed) contradicts() bool {
	return len(d.transfers) > 1 || len(d.failed) > 0 && len(d.executed) > 0 && d.executed[0].After(d.failed[0])
}

// account is what the books have of one payout.
type account struct {
	row    ledger.Payout
	kinds  map[ledger.TransactionKind]int
	out    int      // payments that left the merchant account, less those that came back
	less   int      // amounts that the player has less
	cases  []string // kinds of the open ones
	people []string // actions that people had carried out
}

func (a account) asks(kinds ...payout.CaseKind) bool {
	return slices.ContainsFunc(a.cases, func(c string) bool { return len(kinds) == 0 || slices.Contains(kinds, payout.CaseKind(c)) })
}

func (s *storm) judge() {
	s.judgeLaws()
	want := int64(stormCredit)
	for _, p := range s.payouts {
		a := s.account(p)
		want -= int64(a.less) * p.amount
		s.judgePayout(p, a)
	}
	balances, err := s.books.Balances(context.Background(), stormCaller, stormPlayer)
	if err != nil || len(balances) != 1 {
		s.blame("balances: %+v, %v", balances, err)
	} else if b := balances[0]; b.Available+b.Held+b.Frozen != want {
		s.blame("the player has %d available, %d held, %d frozen, want %d in all", b.Available, b.Held, b.Frozen, want)
	}
	s.judgeHouse()
	s.judgeRuns()
}

// judgeLaws holds the books against their own laws.
func (s *storm) judgeLaws() {
	laws, err := s.books.Check(context.Background())
	if err != nil {
		s.blame("check: %v", err)
	}
	for _, law := range laws {
		if law.Violations > 0 {
			s.blame("law %s is broken %d times: %s, such as %v", law.ID, law.Violations, law.Statement, law.Examples)
		}
	}
}

func (s *storm) account(p *followed) account {
	a := account{kinds: map[ledger.TransactionKind]int{}}
	var err error
	a.row, err = s.books.Payout(context.Background(), "", p.kind, p.id)
	s.must(err)
	s.query(func(scan func(...any)) {
		var kind ledger.TransactionKind
		var minor int64
		var from, to string
		scan(&kind, &minor, &from, &to)
		if a.kinds[kind]++; minor != p.amount {
			s.blame("P%d: %s of %d, want %d", p.n+1, kind, minor, p.amount)
		}
		count := func(prefix string) int {
			n := 0
			if strings.HasPrefix(to, prefix) {
				n++
			}
			if strings.HasPrefix(from, prefix) {
				n--
			}
			return n
		}
		a.out += count("merchant:")
		a.less -= count("player:")
	}, "SELECT kind, amount_in_minor, from_account, to_account FROM transactions WHERE payout_id = ?", string(p.id))
	a.cases = s.texts("SELECT kind FROM cases WHERE payout_id = ? AND status = 'open' ORDER BY kind", string(p.id))
	a.people = s.texts("SELECT action FROM resolutions WHERE payout_id = ? AND status = 'done' ORDER BY ended_at", string(p.id))
	return a
}

func (s *storm) query(each func(scan func(...any)), query string, args ...any) {
	rows, err := s.rows.Query(query, args...) //nolint:sqlclosecheck // closed below
	s.must(err)
	defer rows.Close()
	for rows.Next() {
		each(func(into ...any) { s.must(rows.Scan(into...)) })
	}
	s.must(rows.Err())
}

func (s *storm) texts(query string, args ...any) (list []string) {
	s.query(func(scan func(...any)) {
		var text string
		scan(&text)
		list = append(list, text)
	}, query, args...)
	return list
}

// deeds are the attempts of a payout at the provider, by their keys.
func (s *storm) deeds(p *followed, attempts int) []deed {
	list := make([]deed, attempts)
	for n := range list {
		d, key := &list[n], payout.Key(p.id, n+1)
		for _, t := range s.transfers() {
			if t.IdempotencyKey == key {
				d.transfers = append(d.transfers, t)
			}
		}
		if len(d.transfers) > 1 && !s.script.Forgets {
			s.blame("P%d: attempt %d exists %d times at the provider", p.n+1, n+1, len(d.transfers))
		}
		for _, f := range s.sim.MoneyFacts("") {
			if f.IdempotencyKey != key {
				continue
			}
			switch f.Kind {
			case simulator.FactExecuted:
				d.executed = append(d.executed, f.At)
			case simulator.FactReturned:
				d.returned = append(d.returned, f.At)
			case simulator.FactFailed:
				d.failed = append(d.failed, f.At)
			}
		}
	}
	return list
}

func (s *storm) judgePayout(p *followed, a account) {
	row, deeds := a.row, s.deeds(p, len(a.row.Attempts))
	var exist, executed, returned int
	var contradicts, silent bool
	for _, d := range deeds {
		exist += len(d.transfers)
		executed, returned = executed+len(d.executed), returned+len(d.returned)
		contradicts = contradicts || d.contradicts()
		silent = silent || s.silent(p, d)
	}
	facts := fmt.Sprintf("at the provider %d exist, %d executed, %d returned; in the books %s, %s, %v, cases %v, people %v", exist, executed, returned,
		row.Status, row.MoneyAt, a.kinds, a.cases, a.people)
	wrong := func(format string, args ...any) { s.blame("P%d: %s: %s", p.n+1, fmt.Sprintf(format, args...), facts) }
	s.tell("P%d: %s", p.n+1, facts)

	if executed > 1 && !contradicts {
		wrong("paid %d times", executed)
	}
	if a.kinds[ledger.KindExpose] > 0 && !contradicts {
		wrong("exposed, and the provider never took a word back")
	}
	// What left and what is booked are one, or somebody is asked; but for what
	// turned up after the end and of which we were never told.
	out, final := executed-returned, row.Status.Final()
	switch {
	case a.out == out || silent || s.unmatched(deeds):
	case !a.asks():
		wrong("%d payments left, %d are booked, and nobody is asked", out, a.out)
	case final && out > a.out && !a.asks(payout.CaseContradiction, payout.CaseExposure):
		wrong("%d payments left, %d are booked, and something else is asked", out, a.out)
	}
	if final && !silent && !a.asks() && a.less > max(out, 0) && row.MoneyAt != payout.MoneyFrozen {
		wrong("the player paid for what was not paid to him")
	}
	switch row.MoneyAt {
	case payout.MoneyPaid:
		if executed == 0 {
			wrong("settled, and never executed")
		}
	case payout.MoneyReleased:
		for n, d := range deeds {
			if d.exists() && len(d.failed)+len(d.executed) == 0 && !slices.Contains(a.people, string(payout.ActionNeverCreated)) {
				wrong("released while attempt %d is alive at the provider", n+1)
			}
		}
		if exist == 0 && len(a.people) == 0 && !s.refused(p) {
			wrong("released although nobody said no")
		}
	case payout.MoneyReturned:
		if executed > a.kinds[ledger.KindExpose] && returned == 0 && !silent && !a.asks(payout.CaseContradiction) {
			wrong("returned to the player, and not to us")
		}
	}
	if last := deeds[len(deeds)-1]; final && len(last.transfers) == 1 && last.transfers[0].FailureReason() == string(payout.ReasonBlocked) &&
		!silent && row.MoneyAt != payout.MoneyFrozen && row.MoneyAt != payout.MoneyPaid && len(a.people) == 0 {
		wrong("stopped for a regulatory reason, and spendable")
	}
	if !final && !a.asks() {
		wrong("not final after weeks of calm, and nobody is asked")
	}
	if final && a.asks(payout.CaseSlow, payout.CaseUnknownOutcome, payout.CaseMismatch) {
		wrong("final, and somebody is still asked what is answered")
	}
	if last := len(deeds) - 1; !final {
		switch d, known := deeds[last], row.Attempts[last].ProviderPayoutID; {
		case len(d.transfers) != 1:
		case known == "" && (d.transfers[0].HeldAside || len(d.executed) > 0):
			wrong("attempt %d stands on the statement, and nobody looked", last+1)
		case known == d.transfers[0].ID && s.plain(p, last) && !a.asks(payout.CaseContradiction) &&
			(d.transfers[0].Status() == simulator.StatusExecuted || d.transfers[0].Status() == simulator.StatusFailed):
			wrong("the provider's word %s is plain to see, and was not taken", d.transfers[0].Status())
		}
	}
	if news := s.texts("SELECT event_id FROM inbox WHERE payout_id = ? AND applied_at IS NULL", string(p.id)); len(news) > 0 {
		wrong("%d events were read by no step", len(news))
	}
	if lines := len(row.Timeline); lines > 200 {
		wrong("%d lines in its timeline", lines)
	}
	for _, t := range s.transfers() {
		if t.Metadata[payout.MetadataPayoutID] == string(p.id) && !slices.ContainsFunc(deeds, func(d deed) bool { return d.exists() && d.transfers[0].IdempotencyKey == t.IdempotencyKey }) {
			wrong("it exists at the provider under a key of nobody's: %s", t.IdempotencyKey)
		}
	}
	s.judgeSends(p, deeds)
	s.judgeEvents(p)
}

// plain says that a GET of the attempt shows what is true.
func (s *storm) plain(p *followed, n int) bool {
	r := p.rule(n)
	return len(r.Echo) == 0 && (r.Get == nil || r.Get.Times > 0)
}

func (p *followed) rule(n int) simulator.Rule {
	if n < len(p.Attempts) {
		return p.Attempts[n]
	}
	return simulator.Rule{}
}

// silent says that something happened to a payout after a final word, and that
// no event about it ever reached us: then nobody asks. A second payout of one
// key is such a thing too.
func (s *storm) silent(p *followed, d deed) bool {
	for n, t := range d.transfers {
		untold := func(kind string, since time.Time) bool {
			return p.told[t.ID+" "+string(p.kind)+kind].Before(since.Add(-time.Second))
		}
		status := t.Status()
		switch {
		case n > 0 && untold("_executed", t.History[0].At) && untold("_failed", t.History[0].At),
			t.ReturnedBy != "" && untold("_failed", d.returned[0]),
			d.contradicts() && status == simulator.StatusExecuted && untold("_executed", t.History[len(t.History)-1].At):
			return true
		}
	}
	return false
}

// unmatched says that a payment is asked about by its own id at the provider: its
// events never named the payout, and no answer told that the id is its. What people
// answered is theirs.
func (s *storm) unmatched(deeds []deed) bool {
	return slices.ContainsFunc(deeds, func(d deed) bool {
		return slices.ContainsFunc(d.transfers, func(t simulator.Transfer) bool {
			return len(s.texts("SELECT id FROM cases WHERE kind = 'unmatched_event' AND subject = ?", t.ID)) > 0
		})
	})
}

// refused says that the provider answered 400 to a create.
func (s *storm) refused(p *followed) bool {
	return slices.ContainsFunc(s.sim.Journal().Requests, func(r simulator.Request) bool {
		for n := range 10 {
			if r.IdempotencyKey == payout.Key(p.id, n+1) && r.Status == http.StatusBadRequest {
				return true
			}
		}
		return false
	})
}

// judgeSends holds every create that was sent against the second law.
func (s *storm) judgeSends(p *followed, deeds []deed) {
	wrong := func(format string, args ...any) { s.blame("P%d: %s", p.n+1, fmt.Sprintf(format, args...)) }
	timing := stormTiming()
	requests := slices.DeleteFunc(s.sim.Journal().Requests, func(r simulator.Request) bool { return r.Method != http.MethodPost || r.IdempotencyKey == "" })
	for n := range deeds {
		var first time.Time // that may have arrived
		body, sends := "", 0
		for _, r := range requests {
			if r.IdempotencyKey != payout.Key(p.id, n+1) {
				continue
			}
			if surely := r.Status == http.StatusUnauthorized || r.Status == http.StatusForbidden; !surely {
				if sends++; first.IsZero() { // what surely nobody looked at is sent again for ever
					first = r.At
				}
			}
			if body == "" {
				body = r.BodySHA256
			} else if r.BodySHA256 != body {
				wrong("attempt %d was sent with two bodies", n+1)
			}
			if !first.IsZero() && r.At.Sub(first) > timing.KeyWindow+timing.SendFor {
				wrong("attempt %d was sent %s after it may have arrived", n+1, r.At.Sub(first))
			}
			for m, d := range deeds[:n] {
				switch {
				case !d.exists() || s.script.Forgets:
				case len(d.failed) == 0 && len(d.executed) == 0, len(d.failed) > 0 && d.failed[0].After(r.At):
					wrong("attempt %d was sent while attempt %d was alive", n+1, m+1)
				case len(d.executed) > 0:
					// What was read a quarter of an hour ago is believed; that a GET shows it later is the provider's.
					if late := r.At.Sub(d.executed[0]); late > 16*time.Minute+time.Duration(p.rule(m).Lag) && s.plain(p, m) {
						wrong("attempt %d was sent %s after attempt %d was executed", n+1, late, m+1)
					}
				}
			}
		}
		if most := 150 * (2 + len(p.Runs)); sends > most {
			wrong("attempt %d was sent %d times, want at most %d", n+1, sends, most)
		}
	}
	if n := len(deeds) + 1; slices.ContainsFunc(requests, func(r simulator.Request) bool { return r.IdempotencyKey == payout.Key(p.id, n) }) {
		wrong("attempt %d was sent, and the books do not know it", n)
	}
}

// judgeEvents holds what the game backend was told against the arrows.
func (s *storm) judgeEvents(p *followed) {
	var was payout.Status
	for _, kind := range s.texts("SELECT type FROM outbox WHERE subject_id = ? ORDER BY version", string(p.id)) {
		status := payout.Status(strings.TrimPrefix(kind, string(p.kind)+"."))
		again := status == payout.StatusPending && !was.Final() || // a new attempt begins there
			status == was && status.Final() // its money was moved by people
		if was != "" && !was.MayBecome(status) && !again {
			s.blame("P%d: the game backend was told %s after %s", p.n+1, status, was)
		}
		was = status
	}
}

// judgeHouse looks at the cases that are about no payout.
func (s *storm) judgeHouse() {
	if len(s.texts("SELECT event_id FROM inbox WHERE provider_payout_id = ? AND payout_id IS NULL", nobodys)) > 0 &&
		len(s.texts("SELECT id FROM cases WHERE kind = 'unmatched_event' AND subject = ?", nobodys)) == 0 {
		s.blame("events about what nobody asked for, and nobody is asked")
	}
	// A success that the books were told closes these two.
	for _, opened := range s.texts("SELECT opened_at FROM cases WHERE kind = 'shortage' AND status = 'open'") {
		if later := s.texts("SELECT payout_id FROM transactions t WHERE kind = 'settle' AND booked_at > ? AND NOT EXISTS (SELECT 1 FROM transactions r WHERE r.payout_id = t.payout_id AND r.kind = 'return')", opened); len(later) > 0 {
			s.blame("treasury is still asked for money, and %v was paid since", later)
		}
	}
	if len(s.texts("SELECT id FROM cases WHERE kind = 'credentials' AND status = 'open'")) > 0 {
		for _, r := range s.sim.Journal().Requests {
			if r.At.After(s.calm) && strings.HasPrefix(r.Path, "/v3/") && r.Status >= 200 && r.Status < 300 {
				s.blame("the provider let us in at %s, and somebody is still asked about credentials", r.At)
				break
			}
		}
	}
}

// judgeRuns bounds what it all cost.
func (s *storm) judgeRuns() {
	lives := map[*followed]int{}
	for _, run := range s.runs {
		lives[run.payout]++
		// The start, and per step, timer and signal its own events and a task's.
		if events := 5 + 6*run.activities + 5*run.timers + 4*run.signals; events > 500 {
			s.blame("P%d: about %d events in run %s: %d activities, %d timers, %d signals", run.payout.n+1, events, run.id, run.activities, run.timers, run.signals)
		}
	}
	for p, n := range lives {
		if n > 60+p.letters {
			s.blame("P%d: %d runs", p.n+1, n)
		}
	}
	if n := len(s.sim.Journal().Requests); n > 20_000 {
		s.blame("%d requests", n)
	}
}
