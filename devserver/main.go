// Command devserver runs the payout orchestrator on one machine, with nothing
// installed: the Temporal server with its web UI is part of the program.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"payouts/devserver/temporal"
)

// stopLimit is how long a clean stop may take after Ctrl-C; it takes about a second.
const stopLimit = 8 * time.Second

const usage = `usage:
  devserver             everything in one process
  devserver temporal    the Temporal server and its web UI alone
  devserver secrets     make the keys and tokens of a house, once
Each takes -h.
`

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		cancel() // a second Ctrl-C ends the process at once
		time.Sleep(stopLimit)
		fmt.Fprintf(os.Stderr, "devserver: still not stopped after %s, leaving\n", stopLimit)
		os.Exit(1)
	}()
	err := run(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, flag.ErrHelp) { // -h has printed its help
		fmt.Fprintf(os.Stderr, "devserver: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 && args[0] == "temporal" {
		return runTemporal(ctx, args[1:], out)
	}
	if len(args) > 0 && args[0] == "secrets" {
		return runSecrets(args[1:], out)
	}
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		return fmt.Errorf("unknown mode %q\n%s", args[0], usage)
	}
	return runEverything(ctx, args, out)
}

// runTemporal runs the Temporal server alone until ctx ends. Its one line on
// out says that it is ready, and where:
//
//	ready temporal=127.0.0.1:7233 namespace=default ui=http://127.0.0.1:8233
func runTemporal(ctx context.Context, args []string, out io.Writer) error {
	var opts temporal.Options
	flags := flag.NewFlagSet("devserver temporal", flag.ContinueOnError)
	flags.StringVar(&opts.Dir, "dir", "data/temporal", "folder of the database and the log")
	flags.BoolVar(&opts.Memory, "memory", false, "keep nothing on disk but the log")
	flags.StringVar(&opts.FrontendAddr, "addr", "127.0.0.1:7233", "where clients dial; port 0 picks a free one")
	flags.StringVar(&opts.UIAddr, "ui", "", "web UI, for example 127.0.0.1:8233; empty: none")
	flags.StringVar(&opts.MetricsAddr, "metrics", "", "Prometheus, for example 127.0.0.1:9233; empty: none")
	flags.StringVar(&opts.Namespace, "namespace", "default", "made if missing")
	flags.DurationVar(&opts.Retention, "retention", 72*time.Hour, "how long closed runs are kept, when the namespace is made now")
	flags.BoolVar(&opts.TimeSkipping, "time-skipping", false, "let runs ask to skip idle time (tests)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: see devserver temporal -h", flags.Arg(0))
	}
	srv, err := temporal.Start(opts)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ready temporal=%s namespace=%s", srv.HostPort(), srv.Namespace())
	if srv.UIURL() != "" {
		fmt.Fprintf(out, " ui=%s", srv.UIURL())
	}
	if srv.MetricsURL() != "" {
		fmt.Fprintf(out, " metrics=%s", srv.MetricsURL())
	}
	fmt.Fprintln(out)
	<-ctx.Done()
	return srv.Stop()
}
