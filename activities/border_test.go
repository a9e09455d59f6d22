package activities

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"payouts/internal/payout"
)

// packed is what a workflow and a server see of an activity's error.
type packed struct {
	kind   string
	final  bool
	benign bool
	delay  time.Duration // at the least; a second less is the time the test takes
}

// at checks an error at the border: unwrapped, and packed as it must be.
func (want packed) at(t *testing.T, err error) {
	t.Helper()
	app, ok := err.(*temporal.ApplicationError) //nolint:errorlint // wrapped is what must not be
	if !ok {
		t.Fatalf("error %T %v: a wrapped or plain error loses its kind on the way to the workflow", err, err)
	}
	got := packed{app.Type(), app.NonRetryable(), app.Category() == temporal.ApplicationErrorCategoryBenign, app.NextRetryDelay()}
	if want.delay > 0 && got.delay <= want.delay && got.delay > want.delay-time.Second {
		got.delay = want.delay
	}
	if got != want {
		t.Errorf("error %q is packed as %+v, want %+v", err, got, want)
	}
}

func TestBorder(t *testing.T) {
	unavailable := packed{kind: "unavailable"}
	for name, row := range map[string]struct {
		err  error
		want packed
	}{
		"no such payout":          {fmt.Errorf("release: payout 1: %w", payout.ErrNotFound), packed{kind: "not_found", final: true}},
		"a send is on its way":    {fmt.Errorf("release: %w", &payout.InFlight{Until: time.Now().Add(20 * time.Second)}), packed{kind: "in_flight", benign: true, delay: 20 * time.Second}},
		"a send just ended":       {&payout.InFlight{Until: time.Now().Add(-time.Hour)}, packed{kind: "in_flight", benign: true, delay: time.Second}},
		"the database is gone":    {errors.New("connection refused"), unavailable},
		"time is over":            {fmt.Errorf("judge: %w", context.DeadlineExceeded), unavailable},
		"given up":                {context.Canceled, unavailable},
		"a broken law":            {errors.New("no arrow leads from failed to executed"), unavailable},
		"a problem":               {payout.Problems{{Field: "currency"}}, unavailable},
		"a key conflict":          {&payout.KeyConflict{Field: "amount"}, unavailable},
		"a final error of others": {fmt.Errorf("x: %w", temporal.NewNonRetryableApplicationError("no", "elsewhere", nil)), unavailable},
	} {
		t.Run(name, func(t *testing.T) { row.want.at(t, border(row.err)) })
	}
	if err := border(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}
