package app

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"payouts/activities"
	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
)

// The judge bites: each of these worlds makes one of the old mistakes.
func TestStormBites(t *testing.T) {
	lost := simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset, Times: 1}}
	for name, c := range map[string]struct {
		attempt simulator.Rule
		life    life
		spoil   func(*storm)
		says    string
	}{
		"a lost answer is a no": {attempt: lost, says: "exposed", spoil: func(s *storm) {
			s.parts.Provider = &spoilt{Provider: s.parts.Provider, created: func(c payout.Created) payout.Created {
				if c.Answer == payout.AnswerUnknown {
					c.Answer, c.Reason = payout.AnswerRefused, payout.ReasonRefused
				}
				return c
			}}
		}},
		"a new key for each send": {attempt: lost, says: "under a key of nobody's", spoil: func(s *storm) {
			s.parts.Provider = &spoilt{Provider: s.parts.Provider, send: func(send payout.Send) payout.Send {
				send.Key += fmt.Sprint("-", send.Number)
				return send
			}}
		}},
		"other bytes for each send": {attempt: lost, says: "with two bodies", spoil: func(s *storm) {
			s.parts.Provider = &spoilt{Provider: s.parts.Provider, send: func(send payout.Send) payout.Send {
				send.Body = append([]byte(strings.Repeat(" ", send.Number)), send.Body...)
				return send
			}}
		}},
		"no window for sending again": {says: "times at the provider", spoil: func(s *storm) {
			timing := stormTiming()
			timing.KeyWindow, timing.KeyLife = 1000*time.Hour, 2000*time.Hour
			s.reopen(timing)
		}, attempt: simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset}}, life: life{Mail: []fate{{Lost: true}, {Lost: true}}}},
		"an event is the truth": {says: "settled, and never executed", spoil: func(s *storm) {
			s.parts.Provider = &spoilt{Provider: s.parts.Provider, word: func(w payout.Word) payout.Word {
				if w.Status == payout.ProviderFailed {
					w.Status, w.Reason = payout.ProviderExecuted, ""
				}
				return w
			}}
		}, attempt: simulator.Rule{Fail: &simulator.Fail{Reason: "invalid_iban"}}},
		"late word is forgotten": {says: "nobody is asked", spoil: func(s *storm) {
			s.sweeps.Ledger = forgetful{s.books}
		}, attempt: simulator.Rule{Return: &simulator.Step{After: simulator.Duration(time.Hour)}}},
		"nobody adopts a run that was killed": {says: "plain to see", spoil: func(s *storm) {
			s.sweeps.Runs = idle{s}
		}, life: life{Runs: []time.Duration{1500 * time.Millisecond}, Mail: []fate{{Lost: true}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := c.life
			l.Attempts = []simulator.Rule{c.attempt}
			s := brew(t, script{Payouts: []life{l}}, c.spoil)
			s.blow()
			if said := strings.Join(s.wrong, "\n"); !strings.Contains(said, c.says) {
				t.Errorf("the judge says %q, want %q\n%s", said, c.says, s.told())
			}
		})
	}
}

// spoilt is a provider whose words, or ours to it, are changed on the way.
type spoilt struct {
	activities.Provider
	send    func(payout.Send) payout.Send
	created func(payout.Created) payout.Created
	word    func(payout.Word) payout.Word
}

func (p *spoilt) CreatePayout(ctx context.Context, token payout.Token, send payout.Send) payout.Created {
	if p.send != nil {
		send = p.send(send)
	}
	c := p.Provider.CreatePayout(ctx, token, send)
	if p.created != nil {
		c = p.created(c)
	}
	return c
}

func (p *spoilt) GetPayout(ctx context.Context, id string) (payout.Word, error) {
	w, err := p.Provider.GetPayout(ctx, id)
	if p.word != nil {
		w = p.word(w)
	}
	return w, err
}

// reopen opens the same books with another timing.
func (s *storm) reopen(timing payout.Timing) {
	var file string
	s.must(s.rows.QueryRow("SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file))
	books, err := ledger.Open(context.Background(), ledger.Options{URL: "sqlite:" + file, Seal: stormSeal(), Encode: truelayer.Body, Timing: timing, Now: s.now})
	s.must(err)
	s.t.Cleanup(func() { _ = books.Close() })
	s.parts.Ledger = &shakyBooks{Ledger: books, s: s}
}

// forgetful are books that do not remember news about what is done.
type forgetful struct{ activities.Overdue }

func (forgetful) LateNews(context.Context, int) ([]payout.Due, error) { return nil, nil }

// idle starts nothing.
type idle struct{ activities.Runs }

func (idle) Start(context.Context, payout.Due) error { return nil }

// A sunny day is judged well, and nothing of it is special.
func TestStormThatIsNone(t *testing.T) {
	weather(t, script{Payouts: []life{{}, {Refund: true}, {Begins: time.Hour}}})
}

// What happens follows from the script alone, so that a seed replays.
func TestStormReplays(t *testing.T) {
	names := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|127\.0\.0\.1:[0-9]+(->)?|pauses? .*`)
	for seed := range 5 {
		sc := rapid.Custom(drawScript).Example(seed)
		var stories [2][]string
		for i := range stories {
			s := brew(t, sc)
			s.blow()
			stories[i] = strings.Split(names.ReplaceAllString(s.told(), "…"), "\n")
		}
		for i, line := range stories[0] {
			if !slices.Contains(stories[1], line) {
				t.Errorf("seed %d, line %d: %q happened once only; the script: %#v", seed, i, line, sc)
				break
			}
		}
	}
}

// The shortest paths to what the storm has found.
func TestStormShortPaths(t *testing.T) {
	steps := func(all ...simulator.Step) []simulator.Step { return all }
	after := func(d time.Duration, status string) simulator.Step {
		return simulator.Step{Status: status, After: simulator.Duration(d), Reason: "unknown"}
	}
	for name, sc := range map[string]script{
		// The sweeper asks about a payout that is old and just not given back yet.
		"slow while it is released": {Payouts: []life{{Attempts: []simulator.Rule{{Path: steps(after(time.Minute, "failed"))}},
			Accidents: []accident{{Point: 18, What: dies}}}}, Jumps: []jump{{50 * time.Second, 80 * time.Hour}}},
		"slow before it is sent, and then decided by people": {Payouts: []life{{Attempts: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerReset}}},
			Accidents: []accident{{Point: 1, What: freezes, For: 40 * time.Second}}}}, Jumps: []jump{{time.Millisecond, 80 * time.Hour}},
			Desk: []shift{{At: stormLasts + 30*time.Hour, Action: payout.ActionNeverCreated}}},
		// The statement answers 404, as of an account that is not ours.
		"nothing is found on the way to the statement": {Payouts: []life{{Attempts: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset},
			Path: steps(after(30*time.Hour, "executed"))}}}},
			Weather: []spell{{For: 3 * time.Hour, Fault: simulator.Fault{Path: "/v3/merchant-accounts/*", Answer: simulator.Answer{Kind: simulator.AnswerRefuse, Status: 404}}}}},
		// The statement tells of the return before the GET tells why.
		"sent back for a regulatory reason, and the GET lags": {Payouts: []life{{Attempts: []simulator.Rule{{Lag: simulator.Duration(time.Minute),
			Path: steps(after(time.Second, "executed"), simulator.Step{Status: "failed", Reason: "blocked", After: simulator.Duration(time.Hour)})}}}}},
		// Events of both payouts of one key are read by one step.
		"two payouts of one attempt, told at once": {Forgets: true, Payouts: []life{{Accidents: []accident{{Point: 3, What: breaks}},
			Mail: []fate{{After: 11 * time.Second}, {After: 10 * time.Second}}}}},
		// The house bears one of two further payouts.
		"three payouts of one attempt": {Forgets: true, Payouts: []life{{Attempts: []simulator.Rule{{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset}}},
			Mail: []fate{{After: time.Hour}, {After: time.Hour}, {After: time.Hour}}}},
			Desk: []shift{{At: 2 * time.Hour, Action: payout.ActionCreatedAs}, {At: 8 * time.Hour, Action: payout.ActionAdjust}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			weather(t, sc)
		})
	}
}
