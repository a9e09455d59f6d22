package activities

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// list stands for the ledger's lists of what is overdue: what it gave out is
// not due again.
type list struct {
	due    []payout.Due
	unread []payout.Stored
	err    error
}

func (l *list) DuePayouts(_ context.Context, limit int) ([]payout.Due, error) {
	n := min(limit, len(l.due))
	page := l.due[:n]
	l.due = l.due[n:]
	return page, l.err
}

func (l *list) OpenSlow(context.Context, int) (int, error)          { return 0, nil }
func (l *list) OpenUnmatched(context.Context, int) (int, error)     { return 0, nil }
func (l *list) LateNews(context.Context, int) ([]payout.Due, error) { return nil, nil }

func (l *list) Unread(context.Context, time.Duration, int) ([]payout.Stored, error) {
	return l.unread, l.err
}

// runs stands for Temporal: it refuses the payout that is named.
type runs struct {
	refuses payout.ID
	started map[payout.ID]int
	woken   map[payout.ID]int
}

func (r *runs) Start(_ context.Context, d payout.Due) error {
	if d.ID == r.refuses {
		return errors.New("no connection")
	}
	r.started[d.ID]++
	return nil
}

func (r *runs) Wake(_ context.Context, s payout.Stored) error {
	if s.PayoutID == r.refuses {
		return errors.New("no connection")
	}
	r.woken[s.PayoutID]++
	return nil
}

func TestSweep(t *testing.T) {
	many := func(n int) (due []payout.Due) {
		for i := range n {
			due = append(due, payout.Due{ID: payout.ID(fmt.Sprint(i)), Kind: payout.KindPayout})
		}
		return due
	}
	news := []payout.Stored{{InboxID: "n-1", PayoutID: "0"}, {InboxID: "n-2", PayoutID: "1"}}
	for name, row := range map[string]struct {
		list    list
		refuses payout.ID
		want    Swept
	}{
		"nothing to do":              {list{}, "", Swept{}},
		"some":                       {list{due: many(3), unread: news}, "", Swept{Started: 3, Woken: 2}},
		"exactly one page":           {list{due: many(sweepPage)}, "", Swept{Started: sweepPage}},
		"many pages":                 {list{due: many(5*sweepPage + 1)}, "", Swept{Started: 5*sweepPage + 1}},
		"one is refused, not others": {list{due: many(3), unread: news}, "1", Swept{Started: 2, Woken: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			reached := &runs{refuses: row.refuses, started: map[payout.ID]int{}, woken: map[payout.ID]int{}}
			got, err := (&Sweeper{Ledger: &row.list, Runs: reached, Log: zap.NewNop()}).Sweep(t.Context())
			if err != nil || got != row.want {
				t.Errorf("%+v, %v; want %+v", got, err, row.want)
			}
			if len(reached.started) != row.want.Started || len(reached.woken) != row.want.Woken {
				t.Errorf("%d started, %d woken", len(reached.started), len(reached.woken))
			}
		})
	}
	_, err := (&Sweeper{Ledger: &list{err: errors.New("gone")}, Log: zap.NewNop()}).Sweep(t.Context())
	packed{kind: "unavailable"}.at(t, err)
}
