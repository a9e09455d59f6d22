package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sync/errgroup"

	"payouts/devserver/temporal"
	"payouts/internal/app"
	"payouts/internal/httpapi"
	"payouts/internal/simulator"
)

// house is everything in one process: where it is, and what it needs.
type house struct {
	dir                                     string
	temporalAddr, uiAddr, simulatorAddr     string
	starterAddr, gatewayAddr                string
	workerAdmin, starterAdmin, gatewayAdmin string
	quiet                                   bool
	secrets                                 secrets
	log                                     *zap.Logger
}

// merchantBalance is what the simulator's accounts begin with, in minor
// units: enough for many payouts, and less than the demonstration's large one.
const merchantBalance = 1_000_000

func (h *house) flags(args []string) error {
	f := flag.NewFlagSet("devserver", flag.ContinueOnError)
	f.StringVar(&h.dir, "dir", "data", "folder of all that is kept; survives a restart")
	f.StringVar(&h.temporalAddr, "temporal", "127.0.0.1:7233", "Temporal's frontend")
	f.StringVar(&h.uiAddr, "ui", "127.0.0.1:8233", "Temporal's web UI")
	f.StringVar(&h.simulatorAddr, "simulator", "127.0.0.1:4010", "the provider's simulator")
	f.StringVar(&h.starterAddr, "starter", "127.0.0.1:8080", "the API")
	f.StringVar(&h.gatewayAddr, "gateway", "127.0.0.1:8081", "the webhook door")
	f.StringVar(&h.workerAdmin, "worker-admin", "127.0.0.1:8090", "health and metrics of the worker")
	f.StringVar(&h.starterAdmin, "starter-admin", "127.0.0.1:8091", "health and metrics of the starter")
	f.StringVar(&h.gatewayAdmin, "gateway-admin", "127.0.0.1:8092", "health and metrics of the gateway")
	f.BoolVar(&h.quiet, "no-demo", false, "start without the two example payouts (they are made at the first start only)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q: see devserver -h", f.Arg(0))
	}
	return nil
}

// runEverything runs Temporal, the simulator of the provider, worker, starter
// and gateway in this process until ctx ends.
func runEverything(ctx context.Context, args []string, out io.Writer) error {
	h := &house{}
	if err := h.flags(args); err != nil {
		return err
	}
	if err := h.free(); err != nil {
		return err
	}
	var err error
	if h.secrets, err = ready(filepath.Join(h.dir, "secrets")); err != nil {
		return err
	}
	var closeLog func()
	if h.log, closeLog, err = fileLog(filepath.Join(h.dir, "house.log")); err != nil {
		return err
	}
	defer closeLog()

	say(out, "starting Temporal and its web UI")
	server, err := temporal.Start(temporal.Options{Dir: filepath.Join(h.dir, "temporal"), FrontendAddr: h.temporalAddr, UIAddr: h.uiAddr})
	if err != nil {
		return err
	}
	// Last to stop: the worker says good-bye to it.
	defer func() {
		if err := server.Stop(); err != nil {
			say(out, "Temporal did not stop cleanly: %v", err)
		}
	}()

	// The programs end before Temporal does, whatever ends first.
	group, running := errgroup.WithContext(ctx)
	say(out, "starting the simulator of the provider")
	sim, err := h.simulator()
	if err != nil {
		return err
	}
	defer sim.Close()
	door := &http.Server{Addr: h.simulatorAddr, Handler: sim.Handler(), ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		if err := door.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("simulator: %w", err)
		}
		return nil
	})
	context.AfterFunc(running, func() { door.Close() })

	say(out, "starting worker, starter and gateway")
	for _, program := range []struct {
		name app.Program
		run  func(context.Context, app.Config, *zap.Logger) error
	}{{app.Worker, app.RunWorker}, {app.Starter, app.RunStarter}, {app.Gateway, app.RunGateway}} {
		config, err := app.Load(h.getenv(program.name), program.name)
		if err != nil {
			return fmt.Errorf("configuration of %s: %w", program.name, err)
		}
		group.Go(func() error {
			if err := program.run(running, config, h.log.Named(string(program.name))); err != nil {
				return fmt.Errorf("%s: %w", program.name, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		if err := h.waitReady(running); err != nil || running.Err() != nil {
			return err
		}
		say(out, "ready")
		h.demonstrateOnce(running, sim, out)
		if running.Err() == nil {
			h.sayWhere(out)
		}
		return nil
	})
	err = group.Wait()
	if ctx.Err() != nil {
		say(out, "stopping")
		if errors.Is(err, context.Canceled) {
			err = nil
		}
	}
	return err
}

func say(out io.Writer, format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

// free tells every port that is taken, at once and before anything starts.
func (h *house) free() error {
	var errs []error
	for flagName, addr := range map[string]string{"temporal": h.temporalAddr, "ui": h.uiAddr, "simulator": h.simulatorAddr, "starter": h.starterAddr, "gateway": h.gatewayAddr,
		"worker-admin": h.workerAdmin, "starter-admin": h.starterAdmin, "gateway-admin": h.gatewayAdmin} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			errs = append(errs, fmt.Errorf("port %s is in use or not ours: stop what runs there, or choose another with make run ARGS=\"-%s 127.0.0.1:PORT\"", addr, flagName))
			continue
		}
		l.Close()
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// getenv is the environment of one program: this house's, and from the real
// one only where events go.
func (h *house) getenv(p app.Program) func(string) string {
	ours := map[string]string{
		"DATABASE_URL": "sqlite:" + filepath.Join(h.dir, "payouts.db"), "SEAL_KEY_FILE": h.secrets.path(sealFile), "API_TOKENS_FILE": h.secrets.path(tokensFile),
		"TRUELAYER_API_URL": "http://" + h.simulatorAddr, "TRUELAYER_AUTH_URL": "http://" + h.simulatorAddr, "TRUELAYER_JWKS_URL": "http://" + h.simulatorAddr + "/.well-known/jwks",
		"TRUELAYER_CLIENT_ID": h.secrets.clientID, "TRUELAYER_CLIENT_SECRET_FILE": h.secrets.path(clientFile),
		"TRUELAYER_SIGNING_KEY_FILE": h.secrets.path(signingFile), "TRUELAYER_SIGNING_KID": h.secrets.signingKID,
		"MERCHANT_ACCOUNTS": h.merchantAccounts(), "DECISIONS_FILE": h.secrets.path(decisionsFile),
		"POLL_FIRST": "2s", "POLL_MAX": "30s", "SWEEP_EVERY": "30s",
		"STARTER_ADDR": h.starterAddr, "GATEWAY_ADDR": h.gatewayAddr, "TEMPORAL_ADDRESS": h.temporalAddr,
		"ADMIN_ADDR": map[app.Program]string{app.Worker: h.workerAdmin, app.Starter: h.starterAdmin, app.Gateway: h.gatewayAdmin}[p],
	}
	return func(name string) string {
		if strings.HasPrefix(name, "EVENTS_") {
			return os.Getenv(name)
		}
		return ours[name]
	}
}

func (h *house) merchantAccounts() string {
	var pairs []string
	for _, currency := range slices.Sorted(maps.Keys(h.secrets.merchants)) {
		pairs = append(pairs, currency+"="+h.secrets.merchants[currency])
	}
	return strings.Join(pairs, ",")
}

func (h *house) simulator() (*simulator.Simulator, error) {
	var accounts []simulator.MerchantAccount
	for currency, id := range h.secrets.merchants {
		accounts = append(accounts, simulator.MerchantAccount{ID: id, Currency: currency, OpeningBalanceInMinor: merchantBalance})
	}
	return simulator.New(simulator.Options{
		ClientID: h.secrets.clientID, ClientSecret: h.secrets.clientSecret, ClientKeys: map[string]string{h.secrets.signingKID: h.secrets.publicKeyPEM},
		MerchantAccounts: accounts, StateFile: filepath.Join(h.dir, "simulator.json"), Logger: h.log.Named("simulator"),
		Settings: simulator.Settings{
			PublicURL: "http://" + h.simulatorAddr, WebhookURL: "http://" + h.gatewayAddr + "/webhooks/truelayer",
			AuthorizeAfter: simulator.Duration(time.Second), ExecuteAfter: simulator.Duration(4 * time.Second), // slow enough to watch
		},
	})
}

// waitReady waits until all three programs say that they are safe to use.
func (h *house) waitReady(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, addr := range []string{h.workerAdmin, h.starterAdmin, h.gatewayAdmin} {
		for !httpapi.IsReady(within, addr) {
			select {
			case <-ctx.Done():
				return nil
			case <-within.Done():
				return fmt.Errorf("not ready after a minute: http://%s/readyz says why, and %s", addr, filepath.Join(h.dir, "house.log"))
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// fileLog keeps the programs' logs out of the way of what people read here.
func fileLog(path string) (*zap.Logger, func(), error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot write %s: %w; choose another folder with -dir", path, err)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey, encoding.EncodeTime = "at", zapcore.RFC3339NanoTimeEncoder
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(encoding), zapcore.Lock(file), zap.InfoLevel)), func() { file.Close() }, nil
}
