package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
)

// TestPlace holds that a program, what it started before and what it starts
// later run on the cores given and on no others.
func TestPlace(t *testing.T) {
	h, err := halve()
	if err != nil {
		t.Skip(err)
	}
	p := &process{name: "sh", log: filepath.Join(t.TempDir(), "log"), ended: make(chan struct{}), cmd: exec.Command("sh", "-c", "sleep 60 & read line; sleep 60")}
	later, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, pid := range family(p.cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // an error says that it ended already
		}
		<-p.ended
	}()
	grown := func(size int) {
		t.Helper()
		if err := p.await(t.Context(), func() bool { return len(family(p.cmd.Process.Pid)) == size }); err != nil {
			t.Fatal(err)
		}
	}
	grown(2)
	if err := p.place(h.second); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(later)
	grown(3)
	for _, pid := range family(p.cmd.Process.Pid) {
		if got, err := allowed(pid); err != nil || !slices.Equal(got, h.second) {
			t.Errorf("process %d runs on cores %v, want %v (%v)", pid, got, h.second, err)
		}
	}
}

// TestStand holds that every thread of the bench moves, and that Go uses as
// many as it has cores then.
func TestStand(t *testing.T) {
	h, err := halve()
	if err != nil {
		t.Skip(err)
	}
	runtime.SetDefaultGOMAXPROCS() // -cpu may have set another
	procs := runtime.GOMAXPROCS(0)
	for _, cores := range [][]int{h.second, slices.Concat(h.first, h.second)} {
		if err := stand(cores); err != nil {
			t.Fatal(err)
		}
		threads, err := filepath.Glob("/proc/self/task/*")
		if err != nil || len(threads) < 2 {
			t.Fatalf("threads of the test: %v, %v", threads, err)
		}
		for _, thread := range threads {
			id, _ := strconv.Atoi(filepath.Base(thread))
			if got, err := allowed(id); err == nil && !slices.Equal(got, cores) { // an error says that the thread ended
				t.Errorf("thread %d runs on cores %v, want %v", id, got, cores)
			}
		}
		if got := runtime.GOMAXPROCS(0); got > len(cores) {
			t.Errorf("on cores %v Go uses %d", cores, got)
		}
	}
	if got := runtime.GOMAXPROCS(0); got != procs {
		t.Errorf("Go uses %d cores afterwards, want %d as before", got, procs)
	}
}

// TestUsed holds that little work is seen, in this process, in another one and in
// one that ended.
func TestUsed(t *testing.T) {
	before := used(os.Getpid())
	for began := before; used(os.Getpid())-began < 1e-3; {
	}
	if ran := used(os.Getpid()) - before; ran > 1 {
		t.Errorf("a millisecond of work is told as %g s", ran)
	}
	p := &process{name: "sh", log: filepath.Join(t.TempDir(), "log"), ended: make(chan struct{}), cmd: exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done & wait; read line")}
	if _, err := p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if err := p.await(t.Context(), func() bool { return used(p.cmd.Process.Pid) >= 0.01 }); err != nil {
		t.Errorf("the work of a child that ended is not told: %v", err)
	}
	if got := used(1 << 22); got != 0 { // above every id
		t.Errorf("a process that is not there used %g s", got)
	}
}
