package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// startWithin is how long a program may take until it is safe to use.
const startWithin = time.Minute

// process is a program beside the bench, whose CPU and memory are its own.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string // path of what it says
	ended chan struct{}
	err   error // how it ended; valid after ended
}

// launch starts a program with this environment and no other. It ends with ctx.
func launch(ctx context.Context, dir, name string, environment []string, path string, args ...string) (*process, error) {
	return launchAs(ctx, dir, name, nil, "", environment, path, args...)
}

// launchAs is launch as somebody else, in a folder of theirs.
func launchAs(ctx context.Context, dir, name string, as *syscall.SysProcAttr, in string, environment []string, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.CommandContext(ctx, path, args...), log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	p.cmd.SysProcAttr, p.cmd.Dir = as, in
	p.cmd.Env = environment
	return p, p.start()
}

func (p *process) start() error {
	file, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close() // the program has its own
	if p.cmd.Stderr = file; p.cmd.Stdout == nil {
		p.cmd.Stdout = file
	}
	dieWithUs(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w; make build makes the programs", p.name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// stop ends the program at once: nothing here is worth a clean end.
func (p *process) stop() {
	if p == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill() // an error says that it ended already
	<-p.ended
}

// await waits until ready says so, or the program ended.
func (p *process) await(ctx context.Context, ready func() bool) error {
	for limit := time.Now().Add(startWithin); !ready(); {
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %w; it said:\n%s", p.name, p.err, p.tail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(limit) {
			return fmt.Errorf("%s is not ready after %s; it said:\n%s", p.name, startWithin, p.tail())
		}
	}
	return nil
}

// line finds the line that begins with word, once it is whole, and reads its
// fields key=value.
func (p *process) line(word string) (map[string]string, bool) {
	text, _ := os.ReadFile(p.log)
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != word || !strings.HasSuffix(line, "\n") {
			continue
		}
		fields := map[string]string{}
		for _, field := range words[1:] {
			key, value, _ := strings.Cut(field, "=")
			fields[key] = value
		}
		return fields, true
	}
	return nil, false
}

func (p *process) tail() string {
	text, _ := os.ReadFile(p.log)
	return string(text[max(0, len(text)-4096):])
}

// cpu is what the program and those that it started have used so far, in
// seconds. Zero for none.
func (p *process) cpu() float64 {
	if p == nil {
		return 0
	}
	sum := 0.0
	for _, pid := range family(p.cmd.Process.Pid) {
		sum += used(pid)
	}
	return sum
}

// rss is what they occupy in memory, in bytes.
func (p *process) rss() int64 {
	if p == nil {
		return 0
	}
	var sum int64
	for _, pid := range family(p.cmd.Process.Pid) {
		sum += resident(pid)
	}
	return sum
}

// family is a process and the processes it started: PostgreSQL has one for
// each connection. They are found in one look at /proc: more would take so long
// on a full machine that what runs meanwhile would be counted too.
func family(pid int) []int {
	children := map[string][]int{}
	folders, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range folders {
		if fields := stat(path); len(fields) > 1 {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			children[fields[1]] = append(children[fields[1]], child)
		}
	}
	pids := []int{pid}
	for n := 0; n < len(pids); n++ {
		pids = append(pids, children[strconv.Itoa(pids[n])]...)
	}
	return pids
}

// stat is the fields of /proc/<pid>/stat behind the name, which may hold
// anything: state, parent, …
func stat(path string) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	_, behind, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
	return strings.Fields(behind)
}

func resident(pid int) int64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), "VmRSS:"); found {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// nextPort counts through ports below those that systems give to outgoing
// connections: addresses are chosen long before their programs listen there. The
// end-to-end tests, which may run beside this, count above 20,000.
var nextPort atomic.Int32

func init() { nextPort.Store(10_000 + rand.Int32N(8_000)) }

// freeAddress is a loopback address that nobody listens at.
func freeAddress() (string, error) {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", nextPort.Add(1))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address, nil
		}
	}
	return "", errors.New("no port is free")
}
