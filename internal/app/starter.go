package app

import (
	"context"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/workflows"
)

// RunStarter serves the API until ctx ends. It takes requests while Temporal
// is down: the sweeper starts what it could not.
func RunStarter(ctx context.Context, c Config, log *zap.Logger) error {
	door, admin, err := openDoors(ctx, "STARTER_ADDR", c.StarterAddr, c.AdminAddr)
	if err != nil {
		return err
	}
	defer door.Close()
	defer admin.Close()
	traces, err := newTracing(ctx, c, Starter, log)
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
	temporal, err := dialTemporal(c, metrics, traces, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	runs := traces.runs(workflows.Client{Temporal: temporal, CasesURL: c.CasesURL}, books)
	api := httpapi.NewAPI(httpapi.Options{
		Ledger: books, Callers: c.Tokens, Limits: c.Limits(), BindFirstUse: c.BindFirstUse, Logger: log, Metrics: httpapi.NewMetrics(metrics),
		Wake: runs.Wake, Now: now,
		Start: func(ctx context.Context, p ledger.Payout) error {
			return runs.Start(ctx, payout.Due{ID: p.ID, Kind: p.Kind, PlayerID: p.PlayerID, Money: p.Money, Status: p.Status})
		},
	})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return door.Serve(ctx, traces.asked(api)) })
	group.Go(func() error {
		return admin.Serve(ctx, httpapi.NewAdmin(metrics, httpapi.ReadyCheck{Name: "database", Ask: books.Ping}))
	})
	log.Info("starter ready", zap.String("api", "http://"+door.Addr()), zap.String("openapi", "http://"+door.Addr()+"/openapi.json"), zap.String("admin", "http://"+admin.Addr()))
	return group.Wait()
}

// openDoors takes both ports of a program before anything else is opened, so
// that a port in use is told at once.
func openDoors(ctx context.Context, variable, addr, adminAddr string) (door, admin *httpapi.Door, err error) {
	if door, err = httpapi.Open(ctx, variable, addr); err != nil {
		return nil, nil, err
	}
	if admin, err = httpapi.Open(ctx, "ADMIN_ADDR", adminAddr); err != nil {
		door.Close()
		return nil, nil, err
	}
	return door, admin, nil
}
