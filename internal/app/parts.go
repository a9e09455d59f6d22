package app

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"payouts/internal/ledger"
	"payouts/internal/truelayer"
)

// openLedger opens the books as the configuration says.
func openLedger(ctx context.Context, c Config, metrics *Metrics, traces *tracing, log *zap.Logger) (*ledger.Ledger, error) {
	return ledger.Open(ctx, ledger.Options{Observe: metrics.Transaction, Trace: traces.kept(),
		URL: c.DatabaseURL, Seal: c.Seal, Encode: truelayer.Body, Table: c.Decisions, Timing: c.Timing, Logger: log.Named("ledger"), Now: now,
	})
}

// newProvider makes a client of the provider as the configuration says. Zero
// for within is the client's own limit of one exchange.
func newProvider(c Config, within time.Duration, metrics *Metrics, traces *tracing, log *zap.Logger) (*truelayer.Client, error) {
	return truelayer.New(truelayer.Options{
		APIURL: c.TrueLayer.APIURL, AuthURL: c.TrueLayer.AuthURL, JWKSURL: c.TrueLayer.JWKSURL, ClientID: c.TrueLayer.ClientID,
		ClientSecret: string(c.TrueLayer.ClientSecret), SigningKeyPEM: []byte(c.TrueLayer.SigningKeyPEM), SigningKID: c.TrueLayer.SigningKID,
		RPS: c.ProviderRPS, HTTPTimeout: within, Logger: log.Named("truelayer"), Now: now,
		Observe: func(ctx context.Context, call truelayer.Call) { metrics.Call(call); traces.call(ctx, call) },
	})
}

// dialTemporal makes a client that connects when it is first used: a program
// starts, and takes requests, while Temporal is down.
func dialTemporal(c Config, metrics *Metrics, traces *tracing, log *zap.Logger) (client.Client, error) {
	options := c.Temporal
	sdk := newSDKMetrics()
	metrics.MustRegister(sdk)
	options.MetricsHandler = sdk.handler()
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, grpc.WithChainUnaryInterceptor(metrics.countRuns))
	traces.carry(&options)
	if options.ConnectionOptions.GrpcCompression == nil { // our messages are about a kilobyte: to pack them costs both sides more than to send them
		options.ConnectionOptions.GrpcCompression = &client.GrpcCompressionNone{}
	}
	options.Logger = sdkLogger(log.Named("temporal"))
	temporal, err := client.NewLazyClient(options)
	if err != nil {
		return nil, fmt.Errorf("TEMPORAL_*: %w", err)
	}
	return temporal, nil
}

// countRuns counts the runs that Temporal says it started, or found open.
func (m *Metrics) countRuns(ctx context.Context, method string, request, answer any, on *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	err := invoke(ctx, method, request, answer, on, options...)
	if asked, ok := request.(*workflowservice.StartWorkflowExecutionRequest); ok && err == nil {
		if got, ok := answer.(*workflowservice.StartWorkflowExecutionResponse); ok {
			m.Run(asked.GetWorkflowType().GetName(), got.GetStarted())
		}
	}
	return err
}

// namespace is the Temporal namespace of the configuration.
func (c Config) namespace() string {
	if c.Temporal.Namespace == "" {
		return client.DefaultNamespace
	}
	return c.Temporal.Namespace
}

// server is the address of Temporal's frontend.
func (c Config) server() string {
	if c.Temporal.HostPort == "" {
		return client.DefaultHostPort
	}
	return c.Temporal.HostPort
}
