// Command worker does the work: it runs the lifecycle of every payout, asks
// the provider, keeps the books and tells the game backends.
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
	code := cli.Worker(ctx, os.Args[1:], cli.Terminal{Getenv: os.Getenv, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
