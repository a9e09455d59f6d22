package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

// Exit codes, for scripts. Wire format: add, never change.
const (
	ExitOK          = 0
	ExitRefused     = 1 // refused, or with --wait: not executed
	ExitUsage       = 2 // the command line or the configuration is wrong
	ExitUnreachable = 3 // no answer from the API, or from Temporal
)

// Terminal is what a command sees of the world.
type Terminal struct {
	Getenv func(string) string
	Out    io.Writer // results
	Err    io.Writer // everything said beside them
}

// usageError is a mistake in how the program was called.
type usageError struct{ error }

// run parses args into commands and runs the one that was asked for.
func run(ctx context.Context, name, about string, commands any, args []string, t Terminal) (code int) {
	helped := false
	parser, err := kong.New(commands, kong.Name(name), kong.Description(about), kong.Writers(t.Out, t.Err),
		kong.Exit(func(int) { helped = true }), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 110}),
		kong.Bind(t), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		panic(fmt.Sprintf("cli: %v", err)) // a fault in this package's structs
	}
	called, err := parser.Parse(args)
	switch {
	case helped:
		return ExitOK
	case err != nil:
		err = usageError{err}
	default:
		err = called.Run()
	}
	if err == nil {
		return ExitOK
	}
	var (
		usage  usageError
		unseen *unreachable
		silent unansweredError
		quiet  said
	)
	if !errors.As(err, &quiet) {
		fmt.Fprintf(t.Err, "%s: %v\n", name, err)
	}
	switch {
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &unseen), errors.As(err, &silent):
		return ExitUnreachable
	}
	return ExitRefused
}

// said is an outcome that was told already.
type said struct{ error }
