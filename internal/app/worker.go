package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"payouts/activities"
	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/notify"
	"payouts/workflows"
)

const (
	// assertEvery is how often the worker makes the namespace ready again.
	assertEvery = time.Minute
	// silentFor is after how many periods without a sweep the worker sweeps by
	// itself: the schedule is gone, or Temporal is.
	silentFor = 3
	// providerAtOnce bounds the steps that ask the provider; the calls
	// themselves share PROVIDER_RPS.
	providerAtOnce = 50
	// booksAtOnce is the database's pool: more would only queue there.
	booksAtOnce = 16
	// stopWithin lets a create that has left get its answer. A worker takes it
	// twice at the most: for workflows, then for activities.
	stopWithin = 40 * time.Second
	// sealPage is how many transactions one sealing takes.
	sealPage = 500
)

// RunWorker does the work until ctx ends: the steps of all payouts, the
// sweeper, the relay of events, the sealer of positions.
func RunWorker(ctx context.Context, c Config, log *zap.Logger) error {
	admin, err := httpapi.Open(ctx, "ADMIN_ADDR", c.AdminAddr)
	if err != nil {
		return err
	}
	defer admin.Close()
	traces, err := newTracing(ctx, c, Worker, log)
	if err != nil {
		return err
	}
	defer traces.close()
	metrics := NewMetrics(time.Now)
	books, err := openLedger(ctx, c, metrics, traces, log)
	if err != nil {
		return err
	}
	defer books.Close()
	provider, err := newProvider(c, 0, metrics, traces, log)
	if err != nil {
		return err
	}
	targets := make([]notify.Target, len(c.Events))
	for i, t := range c.Events {
		targets[i] = notify.Target{Caller: t.Caller, URL: t.URL, Secret: string(t.Secret)}
	}
	relay, err := notify.New(notify.Options{Outbox: books, Targets: targets, RetryFor: c.EventsRetryFor, Observe: metrics.Delivery, Trace: traces.delivery(), Logger: log.Named("notify")})
	if err != nil {
		return err
	}
	temporal, err := dialTemporal(c, metrics, traces, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	metrics.Work(NewBooksMetrics(books.Stats, statsFresh, log))
	w := &working{
		runs:    workflows.Client{Temporal: temporal, CasesURL: c.CasesURL},
		payouts: &activities.Payouts{Ledger: books, Provider: provider},
		config:  c, log: log, metrics: metrics,
	}
	w.sweeper = &activities.Sweeper{Ledger: books, Runs: traces.runs(w.runs, books), Log: log, Swept: func(done activities.Swept) {
		w.swept.Store(time.Now().UnixNano())
		metrics.Swept(done)
	}}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return admin.Serve(ctx, httpapi.NewAdmin(metrics, httpapi.ReadyCheck{Name: "database", Ask: books.Ping},
			httpapi.ReadyCheck{Name: "temporal", Ask: func(ctx context.Context) error {
				_, err := temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
				return err
			}}))
	})
	group.Go(func() error { w.work(ctx, temporal); return nil })
	group.Go(func() error { w.keepReady(ctx); return nil })
	group.Go(func() error { w.sweepWhenSilent(ctx); return nil })
	group.Go(func() error { w.startLateWord(ctx); return nil })
	group.Go(func() error { relay.Run(ctx); return nil })
	group.Go(func() error { sealPositions(ctx, books, log); return nil })
	log.Info("worker ready", zap.String("admin", "http://"+admin.Addr()), zap.String("namespace", c.namespace()), zap.Stringer("deployment", c.Deployment))
	return group.Wait()
}

// working is a worker's moving parts.
type working struct {
	runs    workflows.Client
	payouts *activities.Payouts
	sweeper *activities.Sweeper
	config  Config
	log     *zap.Logger
	metrics *Metrics
	swept   atomic.Int64 // when this process last swept, UnixNano
}

// work polls both queues. A worker that ends fatally, as it does when its
// namespace is lost, is begun again.
func (w *working) work(ctx context.Context, temporal client.Client) {
	for ctx.Err() == nil {
		if err := w.session(ctx, temporal); err != nil {
			w.log.Error("temporal worker ended; it begins again", zap.Error(err))
			pause(ctx, 5*time.Second)
		}
	}
}

func (w *working) session(ctx context.Context, temporal client.Client) error {
	fatal := make(chan error, 2)
	options := worker.Options{WorkerStopTimeout: stopWithin, OnFatalError: func(err error) { fatal <- err }, DeploymentOptions: w.config.Deployment.options()}
	options.MaxConcurrentActivityExecutionSize = booksAtOnce
	lifecycle := worker.New(temporal, workflows.QueuePayouts, options)
	workflows.Register(lifecycle, w.payouts, w.sweeper)
	options.MaxConcurrentActivityExecutionSize, options.DisableWorkflowWorker = providerAtOnce, true
	asking := worker.New(temporal, workflows.QueueProvider, options)
	workflows.RegisterProvider(asking, w.payouts)
	if err := lifecycle.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := asking.Start(); err != nil {
		lifecycle.Stop()
		return fmt.Errorf("start: %w", err)
	}
	defer stopAll(lifecycle, asking)
	select {
	case err := <-fatal:
		return err
	case <-ctx.Done():
		return nil
	}
}

// stopAll stops workers at once: each lets its steps under way finish, and
// their times must not add up beyond what a process is given to end.
func stopAll(workers ...interface{ Stop() }) {
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(w.Stop)
	}
	all.Wait()
}

// keepReady asserts search attributes and schedules, now and every minute: a
// namespace can be lost and made again.
func (w *working) keepReady(ctx context.Context) {
	said := false
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, 15*time.Second)
		err := w.runs.Assert(within, w.config.namespace(), w.config.Timing.SweepEvery)
		cancel()
		w.metrics.TemporalReady(err == nil)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			w.log.Warn("temporal namespace not ready; tried again", zap.Error(err))
			said = false
			pause(ctx, 2*time.Second)
			continue
		case !said:
			w.log.Info("temporal namespace ready", zap.String("namespace", w.config.namespace()))
			said = true
		}
		w.countStuck(ctx)
		pause(ctx, assertEvery)
	}
}

// countStuck tells of runs that no build goes on with, while there are some.
func (w *working) countStuck(ctx context.Context) {
	within, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	switch stuck, err := w.runs.Stuck(within, w.config.namespace()); {
	case ctx.Err() != nil:
	case err != nil:
		w.log.Warn("stuck runs not counted", zap.Error(err))
	default:
		if w.metrics.Stuck(stuck); stuck > 0 {
			w.log.Error("runs are stuck: no build goes on with them", zap.Int("runs", stuck))
		}
	}
}

// sweepWhenSilent sweeps without the schedule when that has been silent.
func (w *working) sweepWhenSilent(ctx context.Context) {
	silence := silentFor * w.config.Timing.SweepEvery
	w.swept.Store(time.Now().UnixNano())
	for pause(ctx, w.config.Timing.SweepEvery); ctx.Err() == nil; pause(ctx, w.config.Timing.SweepEvery) {
		if time.Since(time.Unix(0, w.swept.Load())) < silence {
			continue
		}
		within, cancel := context.WithTimeout(ctx, time.Minute)
		done, err := w.sweeper.Sweep(within)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.log.Warn("sweep without the schedule did not finish", zap.Error(err))
		} else if done.Started > 0 || done.Woken > 0 {
			w.log.Info("swept without the schedule", zap.Int("started", done.Started), zap.Int("woken", done.Woken))
		}
	}
}

// startLateWord looks each second for news about payouts that are final.
func (w *working) startLateWord(ctx context.Context) {
	for pause(ctx, time.Second); ctx.Err() == nil; pause(ctx, time.Second) {
		started, err := activities.StartLateWord(ctx, w.sweeper)
		w.metrics.Late(started)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("late word not looked for", zap.Error(err))
			pause(ctx, 5*time.Second)
		}
	}
}

// sealPositions gives committed transactions their places, off the hot path.
func sealPositions(ctx context.Context, books *ledger.Ledger, log *zap.Logger) {
	for ctx.Err() == nil {
		n, err := books.SealPositions(ctx, sealPage)
		switch {
		case err != nil && !errors.Is(err, context.Canceled):
			log.Error("positions not sealed", zap.Error(err))
			pause(ctx, 5*time.Second)
		case n < sealPage:
			pause(ctx, time.Second)
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
