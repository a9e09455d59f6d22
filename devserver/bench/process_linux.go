package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithUs ends the program when the bench ends in whatever way.
func dieWithUs(cmd *exec.Cmd) {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &attr
}

// allowed is the cores that a thread may run on, the lowest first. A process's
// own id is that of its first thread.
func allowed(id int) ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(id, &set); err != nil {
		return nil, fmt.Errorf("cores of thread %d: %w", id, err)
	}
	var cores []int
	for core := 0; len(cores) < set.Count(); core++ {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores, nil
}

// place lets a process run on these cores only. Linux places threads, and a
// new one runs where its maker does: once a look finds none that was not
// placed, there will be none. A process that ended is placed well.
func place(pid int, cores []int) error {
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	placed := map[string]bool{}
	for found := true; found; {
		found = false
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return err
		}
		for _, thread := range threads {
			if placed[thread.Name()] {
				continue
			}
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(id, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("place thread %d on cores %v: %w", id, cores, err)
			}
			placed[thread.Name()], found = true, true
		}
	}
	return nil
}

// used is the CPU time of a process so far, in seconds. Linux has a clock for
// each process (clock_getcpuclockid) that tells nanoseconds, so that a
// millisecond of work is seen; of its children that ended it tells hundredths
// of a second (USER_HZ). Zero for a process that ended.
func used(pid int) float64 {
	const schedClock, ticks = 2, 100
	var ran unix.Timespec
	if err := unix.ClockGettime(^int32(pid)<<3|schedClock, &ran); err != nil {
		return 0
	}
	sum := float64(ran.Nano()) / 1e9
	if fields := stat(fmt.Sprintf("/proc/%d/stat", pid)); len(fields) >= 15 {
		for _, ended := range fields[13:15] {
			n, _ := strconv.ParseFloat(ended, 64)
			sum += n / ticks
		}
	}
	return sum
}
