package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"payouts/internal/app"
)

type doctorCommand struct {
	JSON bool `help:"Print one JSON object, for machines."`
}

// Help says what the doctor looks at.
func (doctorCommand) Help() string {
	return `It reads the environment that worker, starter and gateway get, all three together (docs/configuration.md), and tries it: the books, the provider's token, scope, signature, merchant accounts and webhook keys, the clock, the gateway, and Temporal with what the worker keeps there. It moves no money and writes nothing at the provider. The database it brings up to date, as every program does when it starts.

A line for each check: ok, warning, failed, or skipped because another failed; under it, behind an arrow, what to change. Exit codes: 0 nothing failed; 1 something failed; 2 the configuration cannot be read.`
}

func (c doctorCommand) Run(ctx context.Context, t Terminal) error {
	tell := func(f app.Finding) { tellFinding(t.Out, f) }
	if c.JSON {
		tell = func(app.Finding) {}
	}
	e := app.Examine(ctx, t.Getenv, tell)
	if c.JSON {
		text, err := json.MarshalIndent(e, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(t.Out, string(text))
	}
	switch {
	case !e.Readable():
		unreadable := errors.New("the configuration cannot be read")
		return errors.Join(said{unreadable}, usageError{unreadable})
	case !e.OK:
		return said{errors.New("something failed")}
	}
	return nil
}

// tellFinding prints a finding on one line, and what to change under it.
func tellFinding(w io.Writer, f app.Finding) {
	fmt.Fprintf(w, "%-7s  %-17s  %s\n", f.State, f.Check, strings.ReplaceAll(f.Saw, "\n", "; "))
	if f.Change == "" {
		return
	}
	for _, line := range strings.Split(f.Change, "\n") {
		fmt.Fprintf(w, "%29s%s\n", "→ ", line)
	}
}
