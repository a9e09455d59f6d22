package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"
)

// On one machine our programs take CPU from what they are held against, and a
// ratio mostly tells that they need some. Apart, each side has half of the
// cores to itself: Temporal, as a cluster has machines of its own; and the
// gateway, which verifies on the cores that verification alone gets.
//
// Cores of one machine are not wholly apart: what runs on one is slower while its
// neighbour is busy (Temporal by a quarter, where this was measured), and beside the bare workflow
// the neighbour would mostly be idle. So no core is, for anybody.

// halves are the cores, shared out to two sides.
type halves struct {
	first, second []int
}

func halve() (halves, error) {
	cores, err := allowed(os.Getpid())
	if err != nil {
		return halves{}, err
	}
	if len(cores) < 2 {
		return halves{}, errors.New("two sides want two cores, and here is one")
	}
	return halves{cores[:len(cores)/2], cores[len(cores)/2:]}, nil
}

// apart gives these programs their cores, and all others, the bench too, the
// other ones; it runs, and afterwards everything runs on all cores again. Where
// that cannot be, it says so loudly and does not run.
func (b *bench) apart(ctx context.Context, what string, chosen []*process, theirs, others []int, run func() error) error {
	// Before the bench has its place: a program stays on the cores of who starts it.
	busy, err := launch(ctx, b.dir, "busy beside "+what, os.Environ(), b.self, "busy")
	defer busy.stop()
	if err == nil {
		err = busy.await(ctx, func() bool { _, ready := busy.said(); return ready })
	}
	if err != nil {
		return err
	}
	if err := b.arrange(ctx, chosen, theirs, others); err != nil {
		b.say("!!! NOT MEASURED: %s: %v", what, err)
		_ = b.arrange(ctx, nil, nil, slices.Concat(theirs, others)) // who refuses again has never moved
		return ctx.Err()
	}
	err = run()
	return errors.Join(err, b.arrange(ctx, nil, nil, slices.Concat(theirs, others)))
}

// runBusy is `bench busy`: it takes what nobody else wants of each core, until it
// is killed.
func runBusy(ctx context.Context, out io.Writer) error {
	cores, err := allowed(os.Getpid())
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(len(cores) + 1)
	errs := make(chan error, len(cores))
	for _, core := range cores {
		go func() {
			runtime.LockOSThread()
			errs <- onlyIdly(core)
			for ctx.Err() == nil {
				for range 1 << 20 { //nolint:revive // that is the load
				}
			}
		}()
	}
	for range cores {
		err = errors.Join(err, <-errs)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "ready busy=1")
	<-ctx.Done()
	return nil
}

// arrange places the chosen programs on their cores and all others, the bench
// too, on the other ones.
func (b *bench) arrange(ctx context.Context, chosen []*process, theirs, others []int) error {
	errs := []error{stand(others)} // first: what it starts meanwhile is placed well
	for _, p := range b.programs() {
		cores := others
		if slices.Contains(chosen, p) {
			cores = theirs
		}
		if err := p.place(cores); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	// A Go program looks once a second how many cores it has and takes so many
	// threads (GOMAXPROCS). An idle one looks when it wakes: in the warm-up.
	const noticed = 2 * time.Second
	pause(ctx, noticed)
	return errors.Join(errs...)
}

// programs is everything that runs beside the bench.
func (b *bench) programs() []*process {
	list := []*process{b.provider}
	if b.temporal != nil {
		list = append(list, b.temporal)
	}
	if b.postgres != nil {
		list = append(list, b.postgres.process)
	}
	if b.bareRuns != nil {
		list = append(list, b.bareRuns.process)
	}
	for _, h := range b.houses {
		list = append(list, h.programs...)
	}
	return list
}

// place lets the program and those that it started run on these cores only.
// Those that it starts from now on run where it does.
func (p *process) place(cores []int) error {
	placed := map[int]bool{}
	for found := true; found; {
		found = false
		for _, pid := range family(p.cmd.Process.Pid) {
			if placed[pid] {
				continue
			}
			if err := place(pid, cores); err != nil {
				return err
			}
			placed[pid], found = true, true
		}
	}
	return nil
}

// stand places the bench itself.
func stand(cores []int) error {
	if err := place(os.Getpid(), cores); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	runtime.SetDefaultGOMAXPROCS() // now, and not within a second
	return nil
}

// racePayoutsApart measures payouts beside the bare workflow once more, with
// Temporal on cores of its own.
func (b *bench) racePayoutsApart(ctx context.Context, r *report, few []*house) error {
	const what = "payouts, Temporal on cores of its own"
	if b.temporal == nil {
		b.say("!!! NOT MEASURED: %s: the cluster is elsewhere, so it has them already", what)
		return nil
	}
	h, err := halve()
	if err != nil {
		b.say("!!! NOT MEASURED: %s: %v", what, err)
		return nil
	}
	return b.apart(ctx, what, []*process{b.temporal}, h.first, h.second, func() error {
		bare := b.bare(b.bareRuns)
		var houses []*contestant
		for _, h := range few {
			houses = append(houses, b.payouts(h.name, h, 1))
		}
		if err := b.compete(ctx, partApart, append([]*contestant{bare}, houses...), b.size.rounds); err != nil {
			return err
		}
		r.BareApart, r.PayoutsApart = race(bare, houses)
		return nil
	})
}

// intakeApart measures webhook intake once more: gateways on cores of their
// own, which P-521 alone gets in its turn. Who sends, and the database where
// it is a server, have the others.
func (b *bench) intakeApart(ctx context.Context, r *report, few []*house) error {
	const what = "webhooks, the gateway on cores of its own"
	h, err := halve()
	if err != nil {
		b.say("!!! NOT MEASURED: %s: %v", what, err)
		return nil
	}
	var gateways []*process
	for _, house := range few {
		gateways = append(gateways, house.programs[1])
	}
	return b.apart(ctx, what, gateways, h.second, h.first, func() (err error) {
		r.WebhooksApart, err = b.intake(ctx, partApart, few, func(alone bool) error {
			if alone {
				return stand(h.second)
			}
			return stand(h.first)
		})
		return err
	})
}
