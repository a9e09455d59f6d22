package activities

import (
	"context"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// Runs is the way to the runs of payouts.
type Runs interface {
	Start(context.Context, payout.Due) error
	Wake(context.Context, payout.Stored) error
}

// Overdue is what the sweeper needs of the books.
type Overdue interface {
	DuePayouts(ctx context.Context, limit int) ([]payout.Due, error)
	Unread(ctx context.Context, age time.Duration, limit int) ([]payout.Stored, error)
	LateNews(ctx context.Context, limit int) ([]payout.Due, error)
	OpenSlow(ctx context.Context, limit int) (int, error)
	OpenUnmatched(ctx context.Context, limit int) (int, error)
}

// Sweeper finds what nobody is working at: payouts without a run, news that no
// step has read.
type Sweeper struct {
	Ledger Overdue
	Runs   Runs
	Log    *zap.Logger
	Swept  func(Swept) // told after each sweep that came to its end; nil: nobody
}

// Swept counts what one sweep did.
type Swept struct {
	Started   int `json:"started"`
	Woken     int `json:"woken"`
	Late      int `json:"late"`      // runs for late word
	Slow      int `json:"slow"`      // cases opened
	Unmatched int `json:"unmatched"` // cases opened
}

const (
	sweepPage = 200
	sweepMost = 50 // pages a sweep; the rest is due again in the next
	// unreadAfter is how long news may wait for its step before its run is
	// woken once more.
	unreadAfter = 30 * time.Second
)

// Sweep starts a run for each payout that is due, where there is none (where
// there is one, starting changes nothing), and wakes runs whose news lies
// unread.
//
//	Repeats: safe
func (s *Sweeper) Sweep(ctx context.Context) (Swept, error) {
	var done Swept
	for range sweepMost {
		due, err := s.Ledger.DuePayouts(ctx, sweepPage)
		if err != nil {
			return done, border(err)
		}
		for _, d := range due {
			if err := s.Runs.Start(ctx, d); err != nil {
				s.Log.Warn("payout not started", zap.String("payout_id", string(d.ID)), zap.Error(err))
				continue
			}
			done.Started++
		}
		if len(due) < sweepPage {
			break
		}
	}
	unread, err := s.Ledger.Unread(ctx, unreadAfter, sweepPage)
	if err != nil {
		return done, border(err)
	}
	for _, u := range unread {
		if err := s.Runs.Wake(ctx, u); err != nil {
			s.Log.Warn("payout not woken", zap.String("payout_id", string(u.PayoutID)), zap.Error(err))
			continue
		}
		done.Woken++
	}
	if done.Late, err = StartLateWord(ctx, s); err != nil {
		return done, border(err)
	}
	if done.Slow, err = s.Ledger.OpenSlow(ctx, sweepPage); err != nil {
		return done, border(err)
	}
	if done.Unmatched, err = s.Ledger.OpenUnmatched(ctx, sweepPage); err != nil {
		return done, border(err)
	}
	if s.Swept != nil {
		s.Swept(done)
	}
	return done, nil
}

// StartLateWord starts a run for each payout that is final and has news. The
// worker calls it each second too, so that a bank's return does not wait for
// the next sweep.
//
//	Repeats: safe; the pauses between two starts for one payout double
func StartLateWord(ctx context.Context, s *Sweeper) (started int, err error) {
	late, err := s.Ledger.LateNews(ctx, sweepPage)
	for _, d := range late {
		if err := s.Runs.Start(ctx, d); err != nil {
			s.Log.Warn("late word not started", zap.String("payout_id", string(d.ID)), zap.Error(err))
			continue
		}
		started++
	}
	return started, err
}
