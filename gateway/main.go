// Command gateway takes the provider's webhooks from the internet. It stores
// news and wakes the run it belongs to, and nothing else.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"payouts/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Gateway(ctx, os.Args[1:], cli.Terminal{Getenv: os.Getenv, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
