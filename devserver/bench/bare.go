package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"payouts/workflows"
)

// The bare workflow has the shape of a payout and does nothing: no database,
// no provider, no HTTP, no signatures. It is as fast as this machine and its
// Temporal server let any such workflow be. Worker and client are one process,
// so its CPU is what every Temporal application of this shape pays.

const (
	bareQueue    = "bare"
	bareAsking   = "bare-provider"
	bareWorkflow = "Bare"
	bareCreate   = "Create"
	bareJudge    = "Reconcile"
	bareSignal   = "news"
)

// barePosition has the size of what a payout's steps answer.
type barePosition struct {
	Status  string        `json:"status"`
	Step    string        `json:"step"`
	Attempt int           `json:"attempt"`
	Wait    time.Duration `json:"wait"`
}

type bareInput struct {
	PayoutID string `json:"payout_id"`
}

// bare is a run: create, wait for the signal or a timer, reconcile, one
// upsert.
func bare(ctx workflow.Context, in bareInput) (barePosition, error) {
	news := workflow.GetSignalChannelWithOptions(ctx, bareSignal, workflow.SignalChannelOptions{Description: "There is news."})
	if err := workflow.SetQueryHandler(ctx, "state", func() (bareInput, error) { return in, nil }); err != nil {
		return barePosition{}, err
	}
	var at barePosition
	if err := workflow.ExecuteActivity(bareOptions(ctx, "create at the provider"), bareCreate, in).Get(ctx, &at); err != nil {
		return at, err
	}
	timed, cancel := workflow.WithCancel(ctx)
	timer := workflow.NewTimerWithOptions(timed, at.Wait, workflow.TimerOptions{Summary: "silence before the first poll"})
	if err := workflow.Await(ctx, func() bool { return news.Len() > 0 || timer.IsReady() }); err != nil {
		return at, err
	}
	cancel()
	for news.ReceiveAsync(nil) {
	}
	if err := workflow.ExecuteActivity(bareOptions(ctx, "ask the provider and reconcile"), bareJudge, in).Get(ctx, &at); err != nil {
		return at, err
	}
	return at, workflow.UpsertTypedSearchAttributes(ctx, workflows.AttributeStatus.ValueSet(at.Status))
}

func bareOptions(ctx workflow.Context, summary string) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{TaskQueue: bareAsking, StartToCloseTimeout: time.Minute, Summary: summary,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute}})
}

// order asks the process for one round: a line of JSON on its standard input.
type order struct {
	InFlight int           `json:"in_flight"`
	Warm     time.Duration `json:"warm"`
	For      time.Duration `json:"for"`
}

// A round answers with two lines: `{"begun":true}` when the warm-up is over,
// and its count and time when it is.
type done struct {
	Begun    bool          `json:"begun,omitempty"`
	Executed int           `json:"executed,omitempty"`
	Took     time.Duration `json:"took,omitempty"`
	Drained  bool          `json:"drained,omitempty"`
	Err      string        `json:"err,omitempty"`
}

// runBare is `bench bare`: worker and client of the bare workflow.
func runBare(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("bench bare", flag.ContinueOnError)
	address := flags.String("address", "", "Temporal's frontend")
	namespace := flags.String("namespace", "", "namespace of the bare runs")
	after := flags.Duration("after", 0, "how long after its creation the signal comes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	c, err := client.Dial(client.Options{HostPort: *address, Namespace: *namespace, Logger: silent{},
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}}}) // as our programs have it
	if err != nil {
		return err
	}
	defer c.Close()
	if err := assertAttributes(ctx, c, *namespace); err != nil {
		return err
	}
	b := &bareLoad{client: c, after: *after, waiting: map[string]func(){}}
	// As our worker has it: workflows here, what asks the provider there.
	lifecycle := worker.New(c, bareQueue, worker.Options{})
	lifecycle.RegisterWorkflowWithOptions(bare, workflow.RegisterOptions{Name: bareWorkflow})
	asking := worker.New(c, bareAsking, worker.Options{DisableWorkflowWorker: true})
	asking.RegisterActivityWithOptions(b.create, activity.RegisterOptions{Name: bareCreate})
	asking.RegisterActivityWithOptions(b.reconcile, activity.RegisterOptions{Name: bareJudge})
	for _, w := range []worker.Worker{lifecycle, asking} {
		if err := w.Start(); err != nil {
			return err
		}
		defer w.Stop()
	}
	fmt.Fprintln(out, "ready bare=1")
	say := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		l := load{inFlight: o.InFlight, warm: o.Warm, lasts: o.For, one: b.one, begun: func() { _ = say.Encode(done{Begun: true}) },
			over: func(n int, took time.Duration) { _ = say.Encode(done{Executed: n, Took: took}) }}
		last := done{Drained: true}
		if err := l.run(ctx); err != nil {
			last.Err = err.Error()
		}
		if err := say.Encode(last); err != nil {
			return err
		}
	}
	return nil
}

// bareLoad makes bare runs and knows when each is reconciled.
type bareLoad struct {
	client client.Client
	after  time.Duration

	mu      sync.Mutex
	waiting map[string]func() // by id: what to call when it is reconciled
}

// one starts a run and answers once it was reconciled.
func (b *bareLoad) one(ctx context.Context, _ int) error {
	id, over := uuid.NewString(), make(chan struct{})
	b.mu.Lock()
	b.waiting[id] = func() { close(over) }
	b.mu.Unlock()
	_, err := b.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: "bare/" + id, TaskQueue: bareQueue, StaticSummary: "£10.00 to player 42",
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(
			workflows.AttributePayoutID.ValueSet(id), workflows.AttributePlayerID.ValueSet("player-42"), workflows.AttributeStatus.ValueSet("accepted"),
			workflows.AttributeCurrency.ValueSet("GBP"), workflows.AttributeAmount.ValueSet(1000)),
	}, bareWorkflow, bareInput{id})
	if err != nil {
		return err
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// create does nothing, and the provider's news follows.
func (b *bareLoad) create(ctx context.Context, in bareInput) (barePosition, error) {
	id := activity.GetInfo(ctx).WorkflowExecution.ID
	time.AfterFunc(b.after, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := b.client.SignalWorkflow(ctx, id, "", bareSignal, workflows.News{InboxID: in.PayoutID}); err != nil {
			fmt.Fprintln(os.Stderr, "signal:", err)
		}
	})
	return barePosition{"pending", "wait", 1, silence}, nil
}

// reconcile does nothing.
func (b *bareLoad) reconcile(_ context.Context, in bareInput) (barePosition, error) {
	b.mu.Lock()
	over := b.waiting[in.PayoutID]
	delete(b.waiting, in.PayoutID)
	b.mu.Unlock()
	if over != nil {
		over()
	}
	return barePosition{"executed", "done", 1, 0}, nil
}

// assertAttributes registers those search attributes that the upsert needs.
func assertAttributes(ctx context.Context, c client.Client, namespace string) error {
	text, number := enumspb.INDEXED_VALUE_TYPE_KEYWORD, enumspb.INDEXED_VALUE_TYPE_INT
	_, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: map[string]enumspb.IndexedValueType{
		workflows.AttributePayoutID.GetName(): text, workflows.AttributePlayerID.GetName(): text, workflows.AttributeStatus.GetName(): text,
		workflows.AttributeCurrency.GetName(): text, workflows.AttributeAmount.GetName(): number,
	}})
	var already *serviceerror.AlreadyExists
	if errors.As(err, &already) {
		return nil
	}
	return err
}

// silent keeps the SDK's words out of the output.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}

// load is a closed loop: so many are under way at any time, for so long.
type load struct {
	inFlight int
	warm     time.Duration // not counted
	lasts    time.Duration // counted
	one      func(ctx context.Context, n int) error
	begun    func()                          // told when the counting begins
	over     func(n int, took time.Duration) // and when it ends, before those under way are
}

// drainWithin bounds the time that those under way are waited for.
const drainWithin = 2 * time.Minute

// firstWithin bounds by how much a round is longer where nothing ended in its
// time: on half of the cores of a busy machine a short one may see nothing.
const firstWithin = 30 * time.Second

// run runs the loop and waits until nothing is under way.
func (l load) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.warm+l.lasts+drainWithin)
	defer cancel()
	var number, counted atomic.Int64
	var counting, stopped atomic.Bool
	errs := make([]error, l.inFlight)
	var all sync.WaitGroup
	for hand := range l.inFlight {
		all.Go(func() {
			for !stopped.Load() && errs[hand] == nil {
				errs[hand] = l.one(ctx, int(number.Add(1)))
				if counting.Load() && errs[hand] == nil {
					counted.Add(1)
				}
			}
		})
	}
	pause(ctx, l.warm)
	began := time.Now()
	counting.Store(true)
	l.begun()
	pause(ctx, l.lasts)
	for late := time.Now().Add(firstWithin); counted.Load() == 0 && ctx.Err() == nil && time.Now().Before(late); {
		pause(ctx, 50*time.Millisecond)
	}
	counting.Store(false)
	l.over(int(counted.Load()), time.Since(began))
	stopped.Store(true)
	all.Wait()
	return errors.Join(errs...)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
