package workflows

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"payouts/activities"
	"payouts/internal/payout"
)

// registry notes what a worker is told.
type registry struct {
	worker.Registry
	workflows, activities []string
}

func (r *registry) RegisterWorkflowWithOptions(_ any, o workflow.RegisterOptions) {
	r.workflows = append(r.workflows, o.Name)
}

func (r *registry) RegisterActivityWithOptions(_ any, o activity.RegisterOptions) {
	r.activities = append(r.activities, o.Name)
}

// Histories and other programs hold these names: a change here must break a
// test that nobody may adapt.
func TestWireNames(t *testing.T) {
	var database, provider registry
	Register(&database, &activities.Payouts{}, &activities.Sweeper{})
	RegisterProvider(&provider, &activities.Payouts{})
	for what, check := range map[string]struct{ got, want []string }{
		"queues":                             {[]string{QueuePayouts, QueueProvider}, []string{"payouts", "provider"}},
		"signal query update":                {[]string{SignalNews, QueryState, UpdateLook}, []string{"news", "state", "look"}},
		"schedule":                           {[]string{SweepID}, []string{"sweep"}},
		"workflow ids":                       {[]string{ID(payout.KindPayout, "1"), ID(payout.KindRefund, "1")}, []string{"payout/1", "refund/1"}},
		"workflow ids of late word":          {[]string{LateID(payout.KindPayout, "1"), LateID(payout.KindRefund, "1")}, []string{"payout-return/1", "refund-return/1"}},
		"workflows":                          {database.workflows, []string{"Payout", "Refund", "LateWord", "Sweep"}},
		"activities of the queue payouts":    {database.activities, []string{"ReleaseHold", "FreezeHold", "BookReturn", "OpenCase", "Sweep"}},
		"activities of the queue provider":   {provider.activities, []string{"CreatePayout", "PollPayout", "ReconcilePayout", "CreateRefund", "PollRefund", "ReconcileRefund", "TryAgain"}},
		"no workflows on the queue provider": {provider.workflows, nil},
		"search attributes": {
			[]string{AttributePayoutID.GetName(), AttributePlayerID.GetName(), AttributeStatus.GetName(), AttributeFailureReason.GetName(), AttributeCurrency.GetName(), AttributeAmount.GetName()},
			[]string{"PayoutId", "PlayerId", "PayoutStatus", "FailureReason", "Currency", "AmountInMinor"}},
	} {
		if !slices.Equal(check.got, check.want) {
			t.Errorf("%s: %q, want %q", what, check.got, check.want)
		}
	}
}

// methods lists the exported methods of the structs that hold activities.
func methods(of ...any) (names []string) {
	for _, one := range of {
		for method := range reflect.TypeOf(one).Methods() {
			names = append(names, method.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestEveryActivityIsRegisteredUnderItsOwnName(t *testing.T) {
	var all registry
	Register(&all, &activities.Payouts{}, &activities.Sweeper{})
	RegisterProvider(&all, &activities.Payouts{})
	slices.Sort(all.activities)
	if want := methods(&activities.Payouts{}, &activities.Sweeper{}); !slices.Equal(all.activities, want) {
		t.Errorf("registered: %q\nwant:       %q", all.activities, want)
	}
}

func TestOptions(t *testing.T) {
	timing := payout.DefaultTiming()
	for _, name := range methods(&activities.Payouts{}) {
		o, ok := options[name]
		switch {
		case !ok:
			t.Errorf("%s has no options", name)
			continue
		case o.ScheduleToCloseTimeout != 0 || o.ScheduleToStartTimeout != 0:
			t.Errorf("%s: a limit on the whole time would end in an unknown outcome", name)
		case o.RetryPolicy == nil || o.RetryPolicy.MaximumAttempts != 0 || len(o.RetryPolicy.NonRetryableErrorTypes) > 0:
			t.Errorf("%s: retries end nowhere but in the ledger: %+v", name, o.RetryPolicy)
		case o.StartToCloseTimeout <= 0 || o.WaitForCancellation:
			t.Errorf("%s: %+v", name, o)
		}
		asks := slices.Contains([]string{activityCreatePayout, activityPollPayout, activityReconcilePayout, activityTryAgain,
			activityCreateRefund, activityPollRefund, activityReconcileRefund}, name)
		if queue := map[bool]string{true: QueueProvider, false: QueuePayouts}[asks]; o.TaskQueue != queue {
			t.Errorf("%s is on the queue %q, want %q", name, o.TaskQueue, queue)
		}
		if asks && o.StartToCloseTimeout <= timing.SendFor {
			t.Errorf("%s: %s is not above what one HTTP exchange may take, %s", name, o.StartToCloseTimeout, timing.SendFor)
		}
	}
	if len(options) != len(methods(&activities.Payouts{})) {
		t.Error("options are given to something that is no activity")
	}
	// The safety of KEY_WINDOW is computed with it.
	if got := options[activityCreatePayout].StartToCloseTimeout; got != timing.SendStartToClose {
		t.Errorf("one try of %s may take %s, the timing reckons with %s", activityCreatePayout, got, timing.SendStartToClose)
	}
	// One send and 10 s to keep its answer.
	if got := options[activityCreatePayout].StartToCloseTimeout; got < timing.SendFor+10*time.Second {
		t.Errorf("one try of %s may take %s, too short to send and keep the answer", activityCreatePayout, got)
	}
}

// A run is started in one place, with the two policies that make starting
// safe to repeat.
func TestOnlyTheClientStartsRuns(t *testing.T) {
	var found []string
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "devserver" || strings.HasPrefix(entry.Name(), ".") && entry.Name() != "..") {
			return filepath.SkipDir // another module
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := n.(*ast.SelectorExpr); ok && (name.Sel.Name == "StartWorkflowOptions" || name.Sel.Name == "SignalWithStartWorkflow") {
				found = append(found, path)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(found, []string{"../workflows/client.go"}) {
		t.Errorf("client.StartWorkflowOptions stands in %q; want it in workflows/client.go only", found)
	}
}
