package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
	"payouts/workflows"
)

// RunGateway takes webhooks until ctx ends. It takes them while Temporal is
// down: the sweeper wakes what it could not.
func RunGateway(ctx context.Context, c Config, log *zap.Logger) error {
	door, admin, err := openDoors(ctx, "GATEWAY_ADDR", c.GatewayAddr, c.AdminAddr)
	if err != nil {
		return err
	}
	defer door.Close()
	defer admin.Close()
	verifier, err := truelayer.NewVerifier(truelayer.VerifierOptions{JWKSURL: c.TrueLayer.JWKSURL, Logger: log.Named("truelayer")})
	if err != nil {
		return err
	}
	traces, err := newTracing(ctx, c, Gateway, log)
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
	temporal, err := dialTemporal(c, metrics, nil, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	webhooks := httpapi.NewWebhooks(httpapi.WebhookOptions{
		Verify: verify(verifier), Store: traces.storing(books), Wake: workflows.Client{Temporal: temporal}.Wake,
		Logger: log, Metrics: httpapi.NewMetrics(metrics),
	})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return door.Serve(ctx, webhooks) })
	group.Go(func() error {
		return admin.Serve(ctx, httpapi.NewAdmin(metrics, httpapi.ReadyCheck{Name: "database", Ask: books.Ping}))
	})
	log.Info("gateway ready", zap.String("webhooks", "http://"+door.Addr()+httpapi.WebhookPath), zap.String("admin", "http://"+admin.Addr()))
	return group.Wait()
}

// verify translates the provider's words for the door.
func verify(v *truelayer.Verifier) func(context.Context, string, string, http.Header, []byte) (payout.News, error) {
	return func(ctx context.Context, method, target string, header http.Header, body []byte) (payout.News, error) {
		event, err := v.Verify(ctx, method, target, header, body)
		if errors.Is(err, truelayer.ErrNotAuthentic) {
			return payout.News{}, fmt.Errorf("%w: %w", httpapi.ErrNotAuthentic, err)
		}
		if err != nil {
			return payout.News{}, err
		}
		return event.News(), nil
	}
}
