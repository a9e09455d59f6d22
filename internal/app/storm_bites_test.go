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
