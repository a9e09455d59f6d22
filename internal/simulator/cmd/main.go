// Command simulator runs the payment provider's stand-in as a process.
//
//	go run ./internal/simulator/cmd --client-key KID=public.pem --merchant-accounts GBP=<uuid>:1000000
//
// GET /control/ on its address lists how to script it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"payouts/internal/simulator"
)

type flags struct {
	Addr             string            `env:"SIMULATOR_ADDR" default:"127.0.0.1:4010" help:"Address to listen on."`
	PublicURL        string            `env:"SIMULATOR_PUBLIC_URL" help:"Where others reach it; default http://ADDR. Webhooks name its key set as jku."`
	WebhookURL       string            `env:"SIMULATOR_WEBHOOK_URL" help:"Where events go; none: they are lost."`
	ClientID         string            `env:"SIMULATOR_CLIENT_ID" default:"simulated-client" help:"Client id to accept."`
	ClientSecret     string            `env:"SIMULATOR_CLIENT_SECRET" help:"Client secret to accept."`
	ClientSecretFile string            `env:"SIMULATOR_CLIENT_SECRET_FILE" help:"File with the client secret, instead."`
	ClientKey        map[string]string `env:"SIMULATOR_CLIENT_KEYS" placeholder:"KID=FILE" help:"The client's public signing keys, PEM files by key id."`
	MerchantAccounts []string          `env:"SIMULATOR_MERCHANT_ACCOUNTS" placeholder:"GBP=UUID[:MINOR]" help:"Merchant accounts, with opening balances in minor units."`
	OpeningBalance   int64             `env:"SIMULATOR_OPENING_BALANCE" default:"10000000" help:"Opening balance where an account names none, in minor units."`
	StateFile        string            `env:"SIMULATOR_STATE_FILE" help:"File that keeps everything over a restart."`
	AuthorizeAfter   time.Duration     `env:"SIMULATOR_AUTHORIZE_AFTER" default:"200ms" help:"From pending to authorized."`
	ExecuteAfter     time.Duration     `env:"SIMULATOR_EXECUTE_AFTER" default:"900ms" help:"From authorized to executed."`
	NoFundsAfter     time.Duration     `name:"insufficient-funds-after" env:"SIMULATOR_INSUFFICIENT_FUNDS_AFTER" default:"1s" help:"From created to failed for lack of funds."`
	StrictSources    bool              `env:"SIMULATOR_STRICT_SOURCES" help:"Refuse payouts to sources that never paid in."`
	Verbose          bool              `short:"v" env:"SIMULATOR_VERBOSE" help:"Log every move."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simulator:", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "simulator: "), "\n", "; "))
		os.Exit(1)
	}
}

// run serves until ctx ends. It prints one line when it is ready.
func run(ctx context.Context, args []string, out io.Writer) error {
	var f flags
	parser, err := kong.New(&f, kong.Name("simulator"), kong.Description("A payment provider to practise on."))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil {
		return err
	}
	options, err := f.options()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.Addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use: stop what runs there, or choose another with --addr", f.Addr)
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if options.Settings.PublicURL == "" {
		options.Settings.PublicURL = "http://" + listener.Addr().String()
	}
	sim, err := simulator.New(options)
	if err != nil {
		_ = listener.Close()
		return err
	}
	server := &http.Server{Handler: sim.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	_, _ = fmt.Fprintf(out, "simulator ready at %s (control API: %s/control/)\n", options.Settings.PublicURL, options.Settings.PublicURL)

	select {
	case err = <-served:
		return errors.Join(err, sim.Close())
	case <-ctx.Done():
	}
	err = sim.Close() // first: it lets go of held requests
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(err, server.Shutdown(grace))
}

// options reads files and texts, and reports every mistake at once.
func (f flags) options() (simulator.Options, error) {
	var wrong []error
	o := simulator.Options{
		ClientID: f.ClientID, ClientSecret: f.ClientSecret, ClientKeys: map[string]string{}, StateFile: f.StateFile,
		Settings: simulator.Settings{
			PublicURL: f.PublicURL, WebhookURL: f.WebhookURL, StrictSources: f.StrictSources,
			AuthorizeAfter: simulator.Duration(f.AuthorizeAfter), ExecuteAfter: simulator.Duration(f.ExecuteAfter),
			InsufficientFundsAfter: simulator.Duration(f.NoFundsAfter),
		},
	}
	if f.ClientSecretFile != "" {
		text, err := os.ReadFile(f.ClientSecretFile)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--client-secret-file: %w", err))
		}
		o.ClientSecret = strings.TrimSpace(string(text))
	}
	for kid, path := range f.ClientKey {
		text, err := os.ReadFile(path)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("--client-key: %w", err))
			continue
		}
		o.ClientKeys[kid] = string(text)
	}
	for _, text := range f.MerchantAccounts {
		currency, rest, ok := strings.Cut(text, "=")
		id, balance, named := strings.Cut(rest, ":")
		minor := f.OpeningBalance
		if named {
			var err error
			minor, err = strconv.ParseInt(balance, 10, 64)
			ok = ok && err == nil
		}
		if !ok {
			wrong = append(wrong, fmt.Errorf("--merchant-accounts: %q: write GBP=<uuid> or GBP=<uuid>:<minor units>", text))
			continue
		}
		o.MerchantAccounts = append(o.MerchantAccounts, simulator.MerchantAccount{ID: id, Currency: currency, OpeningBalanceInMinor: minor})
	}
	if len(wrong) > 0 {
		return o, errors.Join(wrong...)
	}
	level := zap.NewProductionConfig()
	level.Sampling = nil
	if f.Verbose {
		level.Level.SetLevel(zap.DebugLevel)
	}
	log, err := level.Build()
	o.Logger = log
	return o, err
}
