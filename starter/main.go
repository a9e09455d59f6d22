// Command starter takes requests for payouts from game backends (starter
// serve), and is how people ask for payouts and look at them.
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
	code := cli.Starter(ctx, os.Args[1:], cli.Terminal{Getenv: os.Getenv, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
