package cli

import (
	"context"

	"payouts/internal/app"
)

// Worker runs the worker's command line and returns its exit code.
func Worker(ctx context.Context, args []string, t Terminal) int {
	return run(ctx, "worker", "Does the work: the steps of all payouts, the sweeper, the events to game backends.", &workerCommand{}, args, t)
}

type workerCommand struct{}

// Help lists the configuration under `worker --help`.
func (workerCommand) Help() string { return app.HelpFor(app.Worker) }

func (workerCommand) Run(ctx context.Context, t Terminal) error {
	return serve(ctx, t, app.Worker, app.RunWorker)
}
