package cli

import (
	"context"
	"fmt"
	"runtime/debug"

	"go.uber.org/zap"

	"payouts/internal/app"
)

// Gateway runs the gateway's command line and returns its exit code.
func Gateway(ctx context.Context, args []string, t Terminal) int {
	return run(ctx, "gateway", "Takes the provider's webhooks: verifies, stores, answers, wakes the payout's run. Nothing else.", &gatewayCommand{}, args, t)
}

type gatewayCommand struct{}

// Help lists the configuration under `gateway --help`.
func (gatewayCommand) Help() string { return app.HelpFor(app.Gateway) }

func (gatewayCommand) Run(ctx context.Context, t Terminal) error {
	return serve(ctx, t, app.Gateway, app.RunGateway)
}

// gcPercent lets garbage grow to four times what is in use before it is
// collected. That is a few MiB in each program; at Go's 100 % collecting takes
// twice the CPU. GOGC overrides it.
const gcPercent = 400

// serve runs a program until ctx ends.
func serve(ctx context.Context, t Terminal, p app.Program, program func(context.Context, app.Config, *zap.Logger) error) error {
	config, err := app.Load(t.Getenv, p)
	if err != nil {
		called := string(p)
		if p == app.Starter {
			called += " serve"
		}
		return usageError{fmt.Errorf("configuration:\n%w\n(%s --help lists the variables)", err, called)}
	}
	log := app.NewLogger(string(p))
	defer log.Sync() //nolint:errcheck // a terminal cannot be synced
	if t.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	go app.GiveBack(ctx)
	return program(ctx, config, log)
}
