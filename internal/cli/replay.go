package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"payouts/internal/app"
)

type replayCommand struct {
	Limit int           `default:"20" placeholder:"N" help:"Replay at most this many runs of each kind."`
	Since time.Duration `default:"24h" placeholder:"DURATION" help:"Replay runs that ended within this time, beside all kinds of open ones."`
	JSON  bool          `help:"Print one JSON object, for machines."`
}

// Help says what a replay is for.
func (replayCommand) Help() string {
	return `Run it with a new build, before its worker takes traffic: it reads histories of runs from Temporal, open ones and those that ended lately, some of each kind, and replays them against the workflows of this build. A run that does not replay would stand still under this build. Of a run that no worker has touched yet there is nothing to replay. It reads only.

Of the configuration it needs TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and what else says how to reach Temporal. Exit codes: 0 every run was replayed; 1 one was not, and is named; 2 wrong command line or configuration; 3 no answer from Temporal.`
}

// Validate is called by kong.
func (c replayCommand) Validate() error {
	if c.Limit < 1 || c.Since < 0 {
		return errors.New("--limit: want 1 or more; --since: want a duration such as 24h")
	}
	return nil
}

func (c replayCommand) Run(ctx context.Context, t Terminal) error {
	config, err := app.Load(t.Getenv)
	if err != nil {
		return usageError{fmt.Errorf("configuration:\n%w", err)}
	}
	done, err := app.Replay(ctx, config, app.ReplayOptions{Limit: c.Limit, Since: c.Since})
	var unseen *app.TemporalError
	switch {
	case errors.As(err, &unseen):
		return unansweredError{err}
	case err != nil:
		return err
	}
	if c.JSON {
		text, err := json.MarshalIndent(done, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintln(t.Out, string(text))
	} else {
		c.tell(t.Out, done)
	}
	if !done.OK {
		return said{errors.New("not every run can be replayed")}
	}
	return nil
}

// tell prints what was replayed, a line for each kind of run, and then each run
// that this build cannot go on with.
func (c replayCommand) tell(out io.Writer, done app.Replayed) {
	if len(done.Kinds) == 0 {
		fmt.Fprintf(out, "nothing to replay: no run is open, and none ended in the last %s\n", c.Since)
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TYPE\tRUN\tPAYOUT\tREASON\tFOUND\tREPLAYED\tFAILED")
	for _, k := range done.Kinds {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", k.Type, k.Run, or(k.Status, "-"), or(k.Reason, "-"), k.Found, k.Replayed, k.Failed)
	}
	w.Flush()
	if done.More {
		fmt.Fprintln(out, "\nThere are more runs than were looked at; these are the newest.")
	}
	for _, f := range done.Failures {
		fmt.Fprintf(out, "\nfailed  %s (%s, %s, run %s)\n  %s\n", f.WorkflowID, f.Type, f.Run, f.RunID, f.Why)
	}
	if !done.OK {
		fmt.Fprintf(out, "\n%d runs cannot go on under this build. Do not let it take their traffic: docs/upgrade.md.\n", len(done.Failures))
	}
}

// unansweredError is a server that gave no answer.
type unansweredError struct{ error }
