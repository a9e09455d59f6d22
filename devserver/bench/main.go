// Command bench measures the orchestrator beside what the same machine could
// do at best: payouts beside a bare workflow of the same shape, ledger
// transactions beside plain inserts, webhooks beside signature verification,
// each pair in the same run and in turns. `make bench` builds the programs and
// runs it; docs/benchmarks.md says how to read it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"payouts/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) { // -h has printed its help
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) > 0 && args[0] == "provider" {
		return runProvider(ctx, args[1:], out)
	}
	if len(args) > 0 && args[0] == "bare" {
		return runBare(ctx, args[1:], in, out)
	}
	if len(args) > 0 && args[0] == "gateway" {
		if code := cli.Gateway(ctx, args[1:], cli.Terminal{Getenv: os.Getenv, Out: out, Err: os.Stderr}); code != 0 {
			return fmt.Errorf("the gateway ended with code %d", code)
		}
		return nil
	}
	b := &bench{out: out, began: time.Now()}
	if err := b.flags(args); err != nil {
		return err
	}
	defer b.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends all programs
	report, err := b.measure(ctx)
	if err != nil {
		return err
	}
	report.table(out)
	return report.write(b.results, out)
}

// size bounds a run in count and time.
type size struct {
	rounds       int           // of each comparison
	roundFor     time.Duration // one round of payouts, and before it
	warm         time.Duration // the time that is not counted
	inFlight     int           // payouts under way at any time
	few, many    int           // payouts stored
	transactions int           // of the ledger, each kind, a round
	webhooks     int           // a round
	steadyFor    time.Duration // at which latencies are measured
	workers      []int
}

var (
	fullSize  = size{rounds: 7, roundFor: 8 * time.Second, warm: 2 * time.Second, inFlight: 48, few: 1_000, many: 100_000, transactions: 1500, webhooks: 1500, steadyFor: 30 * time.Second, workers: []int{1, 2, 4}}
	shortSize = size{rounds: 3, roundFor: 4 * time.Second, warm: time.Second, inFlight: 48, few: 1_000, many: 10_000, transactions: 400, webhooks: 400, steadyFor: 8 * time.Second, workers: []int{1, 4}}
)

// The parts of a run, for -only.
const (
	partPayouts  = "payouts"
	partApart    = "apart"
	partWorkers  = "workers"
	partLatency  = "latency"
	partLedger   = "ledger"
	partWebhooks = "webhooks"
)

var parts = []string{partLedger, partPayouts, partApart, partWorkers, partLatency, partWebhooks}

// bench is one run: what it starts, and where.
type bench struct {
	size      size
	address   string // of a Temporal cluster; "": our own server
	namespace string // prefix of those made there
	bin, self string
	results   string
	only      []string
	databases []string
	after     time.Duration // from a payout's creation at the provider to its execution
	out       io.Writer
	began     time.Time

	dir      string
	key      string // file of the key that signs webhooks
	events   *events
	temporal *process // nil with -address
	provider *process
	postgres *postgres // nil where there is none
	bareRuns *bareRunner
	houses   []*house
	lull     time.Duration // between rounds
	loaded   time.Time     // when the last load ended
}

func (b *bench) flags(args []string) error {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	short := f.Bool("short", false, "a rough answer in a few minutes: fewer and shorter rounds, fewer stored payouts")
	f.StringVar(&b.address, "address", "", "frontend of a Temporal cluster to run against, without TLS; empty: the embedded server. Namespaces are made there")
	f.StringVar(&b.bin, "bin", "", "folder of the programs worker, starter, gateway and devserver; default: where this program is")
	f.StringVar(&b.results, "out", "data/bench", "folder of bench.json and bench.svg")
	f.StringVar(&b.dir, "dir", "", "folder of databases and logs while it runs, on the disk to measure; default: a temporary one")
	f.DurationVar(&b.after, "provider-pause", 100*time.Millisecond, "how long the provider takes to execute a payout")
	only := f.String("only", strings.Join(parts, ","), "parts to run; apart: payouts once more with Temporal on cores of its own, and webhooks (if they are run) with the gateway on cores of its own")
	databases := f.String("databases", "sqlite,postgres", "databases of the books")
	rounds := f.Int("rounds", 0, "rounds of each comparison; default 7, -short 3")
	roundFor := f.Duration("round", 0, "one round of payouts; default 8s, -short 4s")
	few := f.Int("few", 0, "payouts stored at first; default 1000")
	many := f.Int("many", 0, "payouts stored for growth; default 100000, -short 10000")
	transactions := f.Int("transactions", 0, "ledger transactions of a kind, a round; default 1500, -short 400")
	webhooks := f.Int("webhooks", 0, "webhooks, a round; default 1500, -short 400")
	steadyFor := f.Duration("steady", 0, "how long latencies are measured; default 30s, -short 8s")
	f.DurationVar(&b.lull, "lull", 11*time.Second, "pause between rounds, in which timers fire that the last one left to Temporal; shorter, the next one pays for them")
	inFlight := f.Int("in-flight", 0, "payouts under way at any time; default 48")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: see bench -h", f.Arg(0))
	}
	b.size = fullSize
	if *short {
		b.size = shortSize
	}
	for given, number := range map[*int]*int{rounds: &b.size.rounds, few: &b.size.few, many: &b.size.many, transactions: &b.size.transactions, webhooks: &b.size.webhooks, inFlight: &b.size.inFlight} {
		if *given > 0 {
			*number = *given
		}
	}
	for given, length := range map[*time.Duration]*time.Duration{roundFor: &b.size.roundFor, steadyFor: &b.size.steadyFor} {
		if *given > 0 {
			*length = *given
		}
	}
	if b.size.many <= b.size.few {
		return fmt.Errorf("-many %d: want more than -few %d, to see growth", b.size.many, b.size.few)
	}
	b.only, b.databases = strings.Split(*only, ","), strings.Split(*databases, ",")
	for _, part := range b.only {
		if !slices.Contains(parts, part) {
			return fmt.Errorf("-only %s: want some of %s", part, strings.Join(parts, ","))
		}
	}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.bin == "" {
		b.bin = filepath.Dir(b.self)
	}
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(b.dir, "bench-"); err != nil {
		return err
	}
	b.namespace = "bench-" + uuid.NewString()[:8]
	return nil
}

// say shows progress.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, "%5s  %s\n", time.Since(b.began).Round(time.Second), fmt.Sprintf(format, args...))
}

func (b *bench) wants(part string) bool { return slices.Contains(b.only, part) }

// close ends what was started and removes what was written.
func (b *bench) close() {
	for _, h := range b.houses {
		h.close()
	}
	if b.bareRuns != nil {
		b.bareRuns.stop()
	}
	b.provider.stop()
	b.temporal.stop()
	b.postgres.stop()
	os.RemoveAll(b.dir)
}

// start starts what all houses share.
func (b *bench) start(ctx context.Context) error {
	b.key = filepath.Join(b.dir, "webhooks.pem")
	key, err := newKey(b.key)
	if err != nil {
		return err
	}
	if b.provider, err = launch(ctx, b.dir, "provider", os.Environ(), b.self, "provider", "-key", b.key, "-after", b.after.String()); err != nil {
		return err
	}
	if err := b.provider.await(ctx, func() bool { _, ready := b.provider.line("ready"); return ready }); err != nil {
		return err
	}
	b.events = newEvents(key, "http://"+b.providerAddress())
	if slices.Contains(b.databases, "postgres") {
		b.say("starting PostgreSQL")
		if b.postgres, err = startPostgres(ctx, b.dir); errors.Is(err, errNoPostgres) {
			b.say("!!! NOT MEASURED: PostgreSQL: %v", err)
			b.databases = slices.DeleteFunc(b.databases, func(name string) bool { return name == "postgres" })
		} else if err != nil {
			return err
		}
	}
	if b.address != "" {
		return nil
	}
	b.say("starting Temporal")
	b.temporal, err = launch(ctx, b.dir, "temporal", os.Environ(), filepath.Join(b.bin, "devserver"), "temporal", "-memory", "-dir", filepath.Join(b.dir, "temporal"), "-addr", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return b.temporal.await(ctx, func() bool {
		fields, ready := b.temporal.line("ready")
		b.address = fields["temporal"]
		return ready
	})
}

func (b *bench) providerAddress() string {
	fields, _ := b.provider.line("ready")
	return fields["provider"]
}

// register makes a namespace of this run's own and answers with its name.
func (b *bench) register(ctx context.Context, name string) (string, error) {
	name = b.namespace + "-" + name
	c, err := client.NewNamespaceClient(client.Options{HostPort: b.address, Logger: silent{}})
	if err != nil {
		return "", err
	}
	defer c.Close()
	err = c.Register(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	var already *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &already) {
		return "", fmt.Errorf("make the namespace %s: %w", name, err)
	}
	return name, nil
}

// measure runs the parts.
func (b *bench) measure(ctx context.Context) (*report, error) {
	r := newReport(b)
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	few, full, err := b.stock(ctx)
	if err != nil {
		return nil, err
	}
	if b.wants(partLedger) {
		for i, database := range b.databases {
			if r.Ledger[database], err = b.ledgerSpeeds(ctx, database, few[i].books, full[i].books); err != nil {
				return nil, fmt.Errorf("ledger on %s: %w", database, err)
			}
		}
	}
	if !b.wants(partPayouts) && !b.wants(partApart) && !b.wants(partWorkers) && !b.wants(partLatency) && !b.wants(partWebhooks) {
		return r, nil
	}
	for _, h := range b.houses {
		if err := b.begin(ctx, h); err != nil {
			return nil, err
		}
	}
	if err := b.racePayouts(ctx, r, few, full); err != nil {
		return nil, err
	}
	if b.wants(partWebhooks) {
		for _, h := range b.houses {
			if err := b.workers(ctx, h, 0); err != nil {
				return nil, err
			}
		}
		if r.Webhooks, err = b.intake(ctx, partWebhooks, few, func(bool) error { return nil }); err != nil {
			return nil, err
		}
		if b.wants(partApart) {
			if err := b.intakeApart(ctx, r, few); err != nil {
				return nil, err
			}
		}
	}
	r.judge()
	return r, nil
}

// stock makes two houses for each database, with few and with many payouts
// stored.
func (b *bench) stock(ctx context.Context) (few, full []*house, err error) {
	for _, database := range b.databases {
		for _, stored := range []int{b.size.few, b.size.many} {
			name, address := fmt.Sprintf("%s, %d stored", database, stored), ""
			if database == "postgres" {
				address, err = b.postgres.database(ctx)
			}
			if err != nil {
				return nil, nil, err
			}
			h, err := b.open(ctx, name, address, stored)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			b.houses = append(b.houses, h)
			if stored == b.size.few {
				few = append(few, h)
			} else {
				full = append(full, h)
			}
		}
	}
	return few, full, nil
}

// racePayouts measures payouts beside the bare workflow, also apart, then
// workers, then latencies.
func (b *bench) racePayouts(ctx context.Context, r *report, few, full []*house) error {
	if b.wants(partPayouts) || b.wants(partApart) {
		namespace, err := b.register(ctx, "bare")
		if err != nil {
			return err
		}
		if b.bareRuns, err = b.startBare(ctx, b.address, namespace); err != nil {
			return err
		}
	}
	if b.wants(partPayouts) {
		bare := b.bare(b.bareRuns)
		all := []*contestant{bare}
		for i := range few {
			all = append(all, b.payouts(few[i].name, few[i], 1), b.payouts(full[i].name, full[i], 1))
		}
		if err := b.compete(ctx, "payouts", all, b.size.rounds); err != nil {
			return err
		}
		r.Bare, r.Payouts = race(bare, all[1:])
		for i, database := range b.databases {
			r.Growth[database] = all[2+2*i].over(all[1+2*i])
			r.Memory[database] = few[i].memory()
		}
		if b.temporal != nil {
			r.Memory["temporal"] = map[string]float64{"temporal": mebibytes(b.temporal.rss()), "bare worker": mebibytes(b.bareRuns.rss())}
		}
	}
	if b.wants(partApart) {
		if err := b.racePayoutsApart(ctx, r, few); err != nil {
			return err
		}
	}
	if b.wants(partWorkers) {
		for i, database := range b.databases {
			var all []*contestant
			for _, n := range b.size.workers {
				all = append(all, b.payouts(fmt.Sprintf("%s, %d workers", database, n), few[i], n))
			}
			if err := b.compete(ctx, "workers", all, max(1, b.size.rounds/2)); err != nil {
				return err
			}
			for n, c := range all {
				r.Workers[database] = append(r.Workers[database], workersSpeed{b.size.workers[n], c.perSecond()})
			}
			if err := b.workers(ctx, few[i], 1); err != nil {
				return err
			}
		}
	}
	if b.wants(partLatency) {
		for i, database := range b.databases {
			rate := steadyRate
			if p, ok := r.Payouts[few[i].name]; ok {
				rate = max(1, steadyShare*p.PerSecond.Median)
			}
			b.quiet(ctx)
			l, err := b.steady(ctx, few[i], rate, b.size.steadyFor)
			if err != nil {
				return err
			}
			r.Latency[database] = l
			b.say("latency, %s: at %.0f a second request to held %.0f ms, to executed %.0f ms (medians)", database, rate, l.RequestToHeld.P50, l.RequestToExecuted.P50)
		}
	}
	return nil
}

// Latencies are measured at a share of the highest throughput; where that was
// not measured, at a rate that every machine bears.
const (
	steadyShare = 0.4
	steadyRate  = 4.0
)
