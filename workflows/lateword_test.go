package workflows

import (
	"context"
	"testing"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

const (
	day     = 24 * time.Hour
	exposed = "available 10000, merchant 2500, exposure -2500 [reserve release expose]"
	// never is a lag that outlasts every patience.
	never = 1000 * day
)

// closed is a payout that lived by a script to its end.
func closed(t *testing.T, kind payout.Kind, script life, want string) *stage {
	t.Helper()
	s := setKind(t, kind, []life{script}, true)
	s.run()
	if s.ended(); s.money() != want {
		t.Fatalf("before: %s, want %s", s.money(), want)
	}
	return s
}

// adds gives the first payout at the bank another word, and tells it by an
// event. GET says so after lag.
func (s *stage) adds(status string, reason payout.Reason, lag time.Duration) {
	p := s.bank.first()
	w := word{after: s.now().Sub(p.created), status: status, reason: reason, lag: lag}
	s.bank.mu.Lock()
	p.words = append(p.words, w)
	s.bank.mu.Unlock()
	s.deliver(p.event(status+" late", w))
}

var lateWords = map[string]struct {
	life        life
	before      string
	news        func(*stage)
	want        scenario
	least, most time.Duration // how long it takes
}{
	"the bank sends it back 45 days later": {life: executed, before: paid,
		news: func(s *stage) { s.adds("failed", payout.ReasonReturned, 0) },
		want: scenario{status: payout.StatusReturned, reason: payout.ReasonReturned, money: sentBack}},
	"GET lags the event by an hour": {life: executed, before: paid,
		news: func(s *stage) { s.adds("failed", payout.ReasonReturned, time.Hour) },
		want: scenario{status: payout.StatusReturned, reason: payout.ReasonReturned, money: sentBack}, least: time.Hour, most: 2 * time.Hour},
	"only an event ever says so": {life: executed, before: paid,
		news: func(s *stage) { s.adds("failed", payout.ReasonReturned, never) },
		want: scenario{status: payout.StatusExecuted, money: paid, cases: "return_unconfirmed"}, least: day, most: day + 2*time.Hour},
	"an old account: GET never says so, the statement does": {life: executed, before: paid,
		news: func(s *stage) {
			s.adds("failed", payout.ReasonReturned, never)
			s.at(time.Hour, func() { s.bank.cameBack = []string{s.bank.first().id} })
		},
		want: scenario{status: payout.StatusReturned, reason: payout.ReasonReturned, money: sentBack}, least: time.Hour, most: 2 * time.Hour},
	"sent back for a regulatory reason": {life: executed, before: paid,
		news: func(s *stage) { s.adds("failed", payout.ReasonBlocked, 0) },
		want: scenario{status: payout.StatusReturned, reason: payout.ReasonBlocked, money: "available 7500, frozen 2500 [reserve settle return]", cases: "blocked"}},
	"executed after the player was credited back": {life: failed("invalid_iban"), before: credited,
		news: func(s *stage) { s.adds("executed", "", 0) },
		want: scenario{status: payout.StatusFailed, reason: "invalid_iban", money: exposed, cases: "exposure"}},
	"executed after that, by an event only": {life: failed("invalid_iban"), before: credited,
		news: func(s *stage) { s.adds("executed", "", never) },
		want: scenario{status: payout.StatusFailed, reason: "invalid_iban", money: credited, cases: "contradiction"}, least: day, most: day + 2*time.Hour},
	"executed after it was frozen": {life: failed("blocked"), before: frozen,
		news: func(s *stage) { s.adds("executed", "", 0) },
		want: scenario{status: payout.StatusFailed, reason: "blocked", money: "available 7500, frozen 2500, merchant 2500, exposure -2500 [reserve freeze expose]", cases: "blocked exposure"}},
	"nothing new": {life: executed, before: paid,
		news: func(s *stage) { s.adds("executed", "", 0) },
		want: scenario{status: payout.StatusExecuted, money: paid}},
	"an old event comes last": {life: failed("returned"), before: sentBack,
		news:  func(s *stage) { s.adds("executed", "", never) },
		want:  scenario{status: payout.StatusReturned, reason: payout.ReasonReturned, money: sentBack},
		least: day, most: 25 * time.Hour}, // it may be no old one: TrueLayer is asked as long as about anything it does not say itself
	"it comes back after it was exposed": {life: failed("invalid_iban"), before: credited,
		news: func(s *stage) {
			s.adds("executed", "", 0)
			s.at(time.Second, func() { s.adds("failed", payout.ReasonReturned, 0) })
		},
		want: scenario{status: payout.StatusFailed, reason: "invalid_iban", money: exposed, cases: "exposure"}, most: time.Minute},
}

func TestLateWord(t *testing.T) {
	t.Parallel()
	for _, kind := range []payout.Kind{payout.KindPayout, payout.KindRefund} {
		for name, row := range lateWords {
			for _, answers := range []string{"first answer", "every answer lost once"} {
				t.Run(string(kind)+"/"+name+"/"+answers, func(t *testing.T) {
					t.Parallel()
					s := closed(t, kind, row.life, row.before)
					if answers != "first answer" {
						decorator, _ := losing(everyActivity()...)
						s.around = append(s.around, decorator)
					}
					took := s.lateWord(45*day, func() { row.news(s) })
					row.want.payouts = 1
					row.want.check(t, s)
					if took < row.least || took > row.most+time.Minute {
						t.Errorf("it took %s, want %s to %s", took, row.least, row.most)
					}
				})
			}
		}
	}
}

// decide lets two people resolve the open case of a kind.
func (s *stage) decide(kind payout.CaseKind, p payout.Proposal) {
	s.t.Helper()
	ctx := context.Background()
	list, _, err := s.books.Cases(ctx, ledger.CaseFilter{Status: "open", Kind: kind})
	s.must(err)
	if len(list) != 1 {
		s.t.Fatalf("open cases of kind %s: %+v, want one", kind, list)
	}
	p.CaseID, p.Version, p.By, p.Reason = list[0].ID, list[0].Version, "grace", "asked the provider's support"
	res, _, err := s.books.Propose(ctx, p)
	s.must(err)
	_, wake, err := s.books.Decide(ctx, payout.Approval{CaseID: p.CaseID, Number: res.Number, Approve: true, Version: p.Version, By: "linus"})
	s.must(err)
	if !wake.Wake {
		s.t.Fatal("nobody is woken")
	}
	if !wake.Late {
		s.env.SignalWorkflow(SignalNews, News{})
	}
}

// What people decided about a closed payout is carried out by late word.
func TestPeopleDecideAboutAClosedPayout(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		life   life
		before string
		news   func(*stage) // first: nil for none
		kind   payout.CaseKind
		action payout.Action
		want   scenario
	}{
		"compliance lets go": {life: failed("blocked"), before: frozen, kind: payout.CaseBlocked, action: payout.ActionReleaseFrozen,
			want: scenario{status: payout.StatusFailed, reason: "blocked", money: "available 10000 [reserve freeze unfreeze]"}},
		"compliance keeps it": {life: failed("blocked"), before: frozen, kind: payout.CaseBlocked, action: payout.ActionKeepFrozen,
			want: scenario{status: payout.StatusFailed, reason: "blocked", money: frozen, cases: "blocked"}},
		"compliance lets go of what came back": {life: executed, before: paid, kind: payout.CaseBlocked, action: payout.ActionReleaseFrozen,
			news: func(s *stage) { s.adds("failed", payout.ReasonBlocked, 0) },
			want: scenario{status: payout.StatusReturned, reason: "blocked", money: "available 10000 [reserve settle return unfreeze]"}},
		"a return that nobody confirmed is booked": {life: executed, before: paid, kind: payout.CaseReturnUnconfirmed, action: payout.ActionBookReturn,
			news: func(s *stage) { s.adds("failed", payout.ReasonReturned, never) },
			want: scenario{status: payout.StatusReturned, reason: payout.ReasonReturned, money: sentBack}},
		"a return that nobody confirmed is dismissed": {life: executed, before: paid, kind: payout.CaseReturnUnconfirmed, action: payout.ActionDismiss,
			news: func(s *stage) { s.adds("failed", payout.ReasonReturned, never) },
			want: scenario{status: payout.StatusExecuted, money: paid}},
		"the player gives back what was paid twice": {life: failed("invalid_iban"), before: credited, kind: payout.CaseExposure, action: payout.ActionRecover,
			news: func(s *stage) { s.adds("executed", "", 0) },
			want: scenario{status: payout.StatusFailed, reason: "invalid_iban", money: "available 7500, merchant 2500 [reserve release expose recover]"}},
		"the house bears what was paid twice": {life: failed("invalid_iban"), before: credited, kind: payout.CaseExposure, action: payout.ActionAdjust,
			news: func(s *stage) { s.adds("executed", "", 0) },
			want: scenario{status: payout.StatusFailed, reason: "invalid_iban", money: "available 10000, merchant 2500, fees -2500 [reserve release expose adjust]"}},
	} {
		for _, answers := range []string{"first answer", "every answer lost once"} {
			t.Run(name+"/"+answers, func(t *testing.T) {
				t.Parallel()
				s := closed(t, payout.KindPayout, row.life, row.before)
				if row.news != nil {
					s.lateWord(day, func() { row.news(s) })
				}
				if answers != "first answer" {
					decorator, _ := losing(everyActivity()...)
					s.around = append(s.around, decorator)
				}
				s.lateWord(day, func() { s.decide(row.kind, payout.Proposal{Action: row.action}) })
				row.want.payouts = 1
				row.want.check(t, s)
			})
		}
	}
}

// A parked payout is no dead end: people decide, and its run carries it out.
func TestPeopleDecideAboutAParkedPayout(t *testing.T) {
	t.Parallel()
	lostForEver := []life{{answers: []answer{{is: gone}}}}
	taken := []life{{answers: []answer{{is: lost}, {is: gone}}, words: []word{{after: 3 * day, lag: time.Hour, status: "executed"}}}} // and no webhook, and nothing on the statement
	for name, row := range map[string]struct {
		script   []life
		at       time.Duration
		proposal payout.Proposal
		want     scenario
		takes    time.Duration
	}{
		"never created, after three days": {script: lostForEver, at: 80 * time.Hour, proposal: payout.Proposal{Action: payout.ActionNeverCreated},
			want: scenario{status: payout.StatusFailed, reason: payout.ReasonRefused, money: credited}, takes: 80 * time.Hour},
		"never created, by a ticket": {script: lostForEver, at: 8 * time.Hour, proposal: payout.Proposal{Action: payout.ActionNeverCreated, ProviderTicket: "TL-1234"},
			want: scenario{status: payout.StatusFailed, reason: payout.ReasonRefused, money: credited}, takes: 8 * time.Hour},
		"created as": {script: taken, at: 8 * time.Hour, proposal: payout.Proposal{Action: payout.ActionCreatedAs, ProviderPayoutID: "bank-1"},
			want: scenario{status: payout.StatusExecuted, money: paid, payouts: 1}, takes: 3 * day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := set(t, row.script, false)
			s.at(row.at, func() { s.decide(payout.CaseUnknownOutcome, row.proposal) })
			took := s.run()
			row.want.check(t, s)
			if took < row.takes || took > row.takes+2*time.Hour {
				t.Errorf("it took %s, want %s", took, row.takes)
			}
		})
	}
}
