package workflows

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"payouts/internal/payout"
)

// temporalSays is a client whose every call ends as told, and which notes what
// it was asked.
type temporalSays struct {
	client.Client
	err     error
	started client.StartWorkflowOptions
	input   []any
	signal  string
}

func (c *temporalSays) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	c.started, c.input = o, append([]any{workflow}, args...)
	return nil, c.err
}

func (c *temporalSays) SignalWorkflow(_ context.Context, id, run, name string, arg any) error {
	c.signal = fmt.Sprintf("%s|%s|%s|%+v", id, run, name, arg)
	return c.err
}

func TestStart(t *testing.T) {
	due := payout.Due{ID: "p-1", Kind: payout.KindPayout, PlayerID: "ada", Money: amount, Status: payout.StatusAccepted}
	c := &temporalSays{}
	if err := (Client{Temporal: c}).Start(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	o := c.started
	if o.ID != "payout/p-1" || o.TaskQueue != "payouts" || fmt.Sprint(c.input) != "[Payout {p-1 payout}]" {
		t.Errorf("started %v as %q on %q", c.input, o.ID, o.TaskQueue)
	}
	// A run that was terminated must be adopted again, and one that is open be found.
	if o.WorkflowIDReusePolicy != enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE || o.WorkflowIDConflictPolicy != enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING {
		t.Errorf("policies %s, %s", o.WorkflowIDReusePolicy, o.WorkflowIDConflictPolicy)
	}
	// A time-out or a retry of the run would be an accident, or repeat all of it.
	if o.WorkflowExecutionTimeout != 0 || o.WorkflowRunTimeout != 0 || o.RetryPolicy != nil || o.EnableEagerStart {
		t.Errorf("options %+v", o)
	}
	for name, row := range map[string]struct {
		due      payout.Due
		id, want string
	}{
		"a refund":                {payout.Due{ID: "r-1", Kind: payout.KindRefund, Status: payout.StatusParked}, "refund/r-1", "[Refund {r-1 refund}]"},
		"late word":               {payout.Due{ID: "p-1", Kind: payout.KindPayout, Status: payout.StatusExecuted}, "payout-return/p-1", "[LateWord {p-1 payout}]"},
		"late word of a refund":   {payout.Due{ID: "r-1", Kind: payout.KindRefund, Status: payout.StatusReturned}, "refund-return/r-1", "[LateWord {r-1 refund}]"},
		"a status of a newer day": {payout.Due{ID: "p-1", Kind: payout.KindPayout, Status: "resting"}, "payout/p-1", "[Payout {p-1 payout}]"},
	} {
		if err := (Client{Temporal: c}).Start(t.Context(), row.due); err != nil || c.started.ID != row.id || fmt.Sprint(c.input) != row.want {
			t.Errorf("%s: started %v as %q (%v), want %s as %q", name, c.input, c.started.ID, err, row.want, row.id)
		}
	}
	for want, row := range map[string]struct {
		kind   payout.Kind
		player string
		money  payout.Money
		status payout.Status
	}{
		"£10.00 to player 42":                     {payout.KindPayout, "42", payout.Money{Minor: 1000, Currency: "GBP"}, payout.StatusAccepted},
		"£1,234.50 to player-42":                  {payout.KindPayout, "player-42", payout.Money{Minor: 123450, Currency: "GBP"}, payout.StatusParked},
		"refund of €0.05 to player ada":           {payout.KindRefund, "ada", payout.Money{Minor: 5, Currency: "EUR"}, payout.StatusAccepted},
		"late word on £10.00 to player 42":        {payout.KindPayout, "42", payout.Money{Minor: 1000, Currency: "GBP"}, payout.StatusExecuted},
		"late word on refund of £10.00 to Player": {payout.KindRefund, "Player", payout.Money{Minor: 1000, Currency: "GBP"}, payout.StatusFailed},
	} {
		due := payout.Due{ID: "p-1", Kind: row.kind, PlayerID: row.player, Money: row.money, Status: row.status}
		if err := (Client{Temporal: c}).Start(t.Context(), due); err != nil || c.started.StaticSummary != want {
			t.Errorf("the summary is %q (%v), want %q", c.started.StaticSummary, err, want)
		}
		if about := c.started.StaticDetails; !strings.Contains(about, "starter show p-1") || !strings.Contains(about, string(row.kind)) {
			t.Errorf("%s: about it is said: %s", want, about)
		}
	}
	err := Client{Temporal: c, CasesURL: "https://backoffice.example/cases?payout={payout}"}.Start(t.Context(), due)
	if about := c.started.StaticDetails; err != nil || !strings.Contains(about, "(https://backoffice.example/cases?payout=p-1)") {
		t.Errorf("where its cases are is not said (%v): %s", err, about)
	}
	c.err = errors.New("no connection")
	if err := (Client{Temporal: c}).Start(t.Context(), due); err == nil || !strings.HasPrefix(err.Error(), "start payout/p-1: ") {
		t.Errorf("error %v", err)
	}
}

func TestWake(t *testing.T) {
	for name, row := range map[string]struct {
		temporal error
		wrong    bool
	}{
		"woken":              {nil, false},
		"the run is closed":  {serviceerror.NewNotFound("workflow execution already completed"), false},
		"Temporal is silent": {serviceerror.NewUnavailable("no connection"), true},
	} {
		t.Run(name, func(t *testing.T) {
			c := &temporalSays{err: row.temporal}
			err := Client{Temporal: c}.Wake(t.Context(), payout.Stored{Kind: payout.KindPayout, PayoutID: "p-1", InboxID: "news-1"})
			if (err != nil) != row.wrong {
				t.Errorf("error %v", err)
			}
			if want := "payout/p-1||news|{InboxID:news-1}"; c.signal != want {
				t.Errorf("signal %s, want %s", c.signal, want)
			}
			err = Client{Temporal: c}.Wake(t.Context(), payout.Stored{Kind: payout.KindRefund, PayoutID: "r-1", InboxID: "news-1", Late: true})
			if (err != nil) != row.wrong {
				t.Errorf("late: error %v", err)
			}
			want := "refund-return/r-1||news|{InboxID:news-1}"
			if name == "the run is closed" { // its own may be about to end, and reads it
				want = "refund/r-1||news|{InboxID:news-1}"
			}
			if c.signal != want {
				t.Errorf("late: signal %s, want %s", c.signal, want)
			}
		})
	}
}
