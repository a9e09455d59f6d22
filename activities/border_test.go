package activities

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

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

// lines are what is logged, by level.
type lines map[string][]string

func (l lines) add(level, phrase string, fields []any) {
	l[level] = append(l[level], fmt.Sprint(append([]any{phrase, " "}, fields...)...))
}
func (l lines) Debug(phrase string, fields ...any) { l.add("debug", phrase, fields) }
func (l lines) Info(phrase string, fields ...any)  { l.add("info", phrase, fields) }
func (l lines) Warn(phrase string, fields ...any)  { l.add("warn", phrase, fields) }
func (l lines) Error(phrase string, fields ...any) { l.add("error", phrase, fields) }

// What is sent again as planned is a warning that names the payout; what is
// broken here stays an error.
func TestExpectedRetriesAreNoErrors(t *testing.T) {
	send := payout.Send{PayoutID: "p-1", Attempt: 1, Number: 2}
	for name, row := range map[string]struct {
		book         book
		bank         bank
		warns, fails int
		says         string
	}{
		"unknown":          {book{at: toSend, send: send}, bank{create: payout.Created{Answer: payout.AnswerUnknown, Detail: "HTTP 503"}}, 1, 0, "HTTP 503"},
		"not sent":         {book{at: toSend, send: send}, bank{create: payout.Created{Answer: payout.AnswerNotSent, Detail: "no key to sign with"}}, 1, 0, "no key to sign with"},
		"no token":         {book{at: toSend}, bank{noToken: errors.New("401")}, 1, 0, "401"},
		"created":          {book{at: waiting, send: send}, bank{create: payout.Created{Answer: payout.AnswerCreated}}, 0, 0, ""},
		"database is gone": {book{err: errors.New("connection refused")}, bank{}, 0, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			logged := lines{}
			suite.SetLogger(logged)
			env := suite.NewTestActivityEnvironment()
			steps := &Payouts{Ledger: &row.book, Provider: &row.bank}
			env.RegisterActivity(steps)
			_, _ = env.ExecuteActivity(steps.CreatePayout, Input{PayoutID: "p-1"}) // judged by what is logged
			if len(logged["warn"]) != row.warns || len(logged["error"]) != row.fails {
				t.Fatalf("logged %v; want %d warnings and %d errors", logged, row.warns, row.fails)
			}
			if said := strings.Join(logged["warn"], ""); row.warns > 0 && (!strings.Contains(said, "p-1") || !strings.Contains(said, row.says)) {
				t.Errorf("warned %q; want the payout and %q named", said, row.says)
			}
		})
	}
}
