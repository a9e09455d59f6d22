package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// round is what one contestant did in one round.
type round struct {
	Executed  int                `json:"executed"`
	Seconds   float64            `json:"seconds"`
	PerSecond float64            `json:"per_second"`
	CPU       map[string]float64 `json:"cpu_seconds_per_payout"` // by program
}

// contestant runs payouts, or bare workflows, in rounds.
type contestant struct {
	name    string
	prepare func(context.Context) error // before each round; may be nil
	run     func(context.Context, order, func(), func(int, time.Duration)) error
	cpu     func() map[string]float64 // used so far, by program
	rounds  []round
}

// compete has the contestants take turns, so that noise of the machine hits
// all of them, each time beginning with another one.
func (b *bench) compete(ctx context.Context, what string, all []*contestant, rounds int) error {
	for n := range rounds {
		for i := range all {
			c := all[(n+i)%len(all)]
			if c.prepare != nil {
				if err := c.prepare(ctx); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			b.quiet(ctx)
			var before, after map[string]float64
			var r round
			err := c.run(ctx, order{InFlight: b.size.inFlight, Warm: b.size.warm, For: b.size.roundFor},
				func() { before = c.cpu() },
				func(executed int, took time.Duration) {
					after, r.Executed, r.Seconds = c.cpu(), executed, took.Seconds()
				})
			b.loaded = time.Now()
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if r.Executed == 0 {
				return fmt.Errorf("%s: nothing was executed in %s: give a longer round", c.name, b.size.roundFor)
			}
			r.PerSecond, r.CPU = float64(r.Executed)/r.Seconds, map[string]float64{}
			for name := range after {
				r.CPU[name] = (after[name] - before[name]) / float64(r.Executed)
			}
			c.rounds = append(c.rounds, r)
			b.say("%s, round %d of %d: %-22s %6.1f a second", what, n+1, rounds, c.name, r.PerSecond)
		}
	}
	return nil
}

// silence is how long a payout, and a bare workflow, waits for news before it
// asks. The provider is far faster.
const silence = 9 * time.Second

// quiet waits until Temporal has done what the last round left to it. It sets
// a timer for each wait (silence) and for each workflow task (10 s), and looks at
// each when it is due, although it was cancelled long before: that is work of
// one contestant, and must not be counted as the next one's.
func (b *bench) quiet(ctx context.Context) {
	pause(ctx, time.Until(b.loaded.Add(b.lull)))
	const idle, look = 0.1, 500 * time.Millisecond // of a core
	for limit := time.Now().Add(15 * time.Second); ctx.Err() == nil && time.Now().Before(limit); {
		before := b.temporal.cpu()
		if pause(ctx, look); b.temporal == nil || b.temporal.cpu()-before < idle*look.Seconds() {
			return
		}
	}
}

// payouts is the contestant of a house with so many workers.
func (b *bench) payouts(name string, h *house, workers int) *contestant {
	return &contestant{name: name,
		prepare: func(ctx context.Context) error { return b.workers(ctx, h, workers) },
		run: func(ctx context.Context, o order, begun func(), over func(int, time.Duration)) error {
			return load{inFlight: o.InFlight, warm: o.Warm, lasts: o.For, one: h.pays, begun: begun, over: over}.run(ctx)
		},
		cpu: func() map[string]float64 {
			used := map[string]float64{"starter": h.programs[0].cpu(), "gateway": h.programs[1].cpu(), "provider": b.provider.cpu()}
			for _, w := range h.programs[2:] {
				used["worker"] += w.cpu()
			}
			if b.temporal != nil {
				used["temporal"] = b.temporal.cpu()
			}
			if h.books.postgres {
				used["postgres"] = b.postgres.cpu()
			}
			return used
		}}
}

// bareRunner is the process of the bare workflow.
type bareRunner struct {
	*process
	orders  io.WriteCloser
	answers *bufio.Scanner
}

func (b *bench) startBare(ctx context.Context, address, namespace string) (*bareRunner, error) {
	p := &process{name: "bare", log: filepath.Join(b.dir, "bare.log"), ended: make(chan struct{}),
		cmd: exec.CommandContext(ctx, b.self, "bare", "-address", address, "-namespace", namespace, "-after", b.after.String())}
	p.cmd.Env = os.Environ()
	orders, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer writer.Close() // the process has its own
	p.cmd.Stdout = writer
	if err := p.start(); err != nil {
		return nil, err
	}
	r := &bareRunner{p, orders, bufio.NewScanner(reader)}
	if !r.answers.Scan() || r.answers.Text() != "ready bare=1" {
		return nil, fmt.Errorf("bare does not start; it said:\n%s", p.tail())
	}
	return r, nil
}

func (r *bareRunner) run(_ context.Context, o order, begun func(), over func(int, time.Duration)) error {
	if err := json.NewEncoder(r.orders).Encode(o); err != nil {
		return err
	}
	for r.answers.Scan() {
		var d done
		if err := json.Unmarshal(r.answers.Bytes(), &d); err != nil {
			return err
		}
		switch {
		case d.Err != "":
			return errors.New(d.Err)
		case d.Begun:
			begun()
		case d.Drained:
			return nil
		default:
			over(d.Executed, d.Took)
		}
	}
	return fmt.Errorf("bare ended: %w; it said:\n%s", r.answers.Err(), r.tail())
}

func (b *bench) bare(r *bareRunner) *contestant {
	return &contestant{name: "bare workflow", run: r.run, cpu: func() map[string]float64 {
		used := map[string]float64{"bare": r.cpu()}
		if b.temporal != nil {
			used["temporal"] = b.temporal.cpu()
		}
		return used
	}}
}

// spread is the middle of several measurements, and how far they lie apart.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := sorted[len(sorted)/2]
	if len(sorted)%2 == 0 {
		middle = (middle + sorted[len(sorted)/2-1]) / 2
	}
	return spread{middle, sorted[0], sorted[len(sorted)-1]}
}

// over divides the rounds of two contestants, one by one: the two of a round
// were measured within seconds of each other.
func (c *contestant) over(of *contestant) spread {
	var ratios []float64
	for n := range min(len(c.rounds), len(of.rounds)) {
		ratios = append(ratios, c.rounds[n].PerSecond/of.rounds[n].PerSecond)
	}
	return spreadOf(ratios)
}

func (c *contestant) perSecond() spread {
	var list []float64
	for _, r := range c.rounds {
		list = append(list, r.PerSecond)
	}
	return spreadOf(list)
}

// cpuPer is the middle CPU time of one payout, by program, in milliseconds.
func (c *contestant) cpuPer() map[string]float64 {
	lists := map[string][]float64{}
	for _, r := range c.rounds {
		for name, seconds := range r.CPU {
			lists[name] = append(lists[name], seconds*1000)
		}
	}
	middle := map[string]float64{}
	for name, list := range lists {
		middle[name] = spreadOf(list).Median
	}
	return middle
}
