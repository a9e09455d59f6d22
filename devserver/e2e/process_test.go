package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// process is a program that runs beside the test. What it says is in a file.
type process struct {
	name   string
	cmd    *exec.Cmd
	output string        // path of what it says
	ended  chan struct{} // closed once it ended
	err    error         // how; valid after ended
}

// launch starts a program with this environment and no other.
func launch(name, output string, environment []string, path string, args ...string) (*process, error) {
	file, err := os.OpenFile(output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the program has its own
	p := &process{name: name, cmd: exec.Command(path, args...), output: output, ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = environment, file, file
	dieWithUs(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// run starts a program that ends with the test, and tells what it said when
// the test fails.
func run(t testing.TB, name, output string, environment []string, path string, args ...string) *process {
	t.Helper()
	p, err := launch(name, output, environment, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s said, last of all:\n%s", name, p.tail())
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the program as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error says that it ended already
	<-p.ended
}

// signal sends a signal and waits for the end.
func (p *process) signal(t testing.TB, sig os.Signal, limit time.Duration) error {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return p.wait(t, limit)
}

// wait waits for the program to end by itself.
func (p *process) wait(t testing.TB, limit time.Duration) error {
	t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(limit):
		t.Fatalf("%s still runs after %s", p.name, limit)
		return nil
	}
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// said is everything that the program said.
func (p *process) said() string {
	text, _ := os.ReadFile(p.output)
	return string(text)
}

// tail is the last of what it said: little, since what the test says stands
// above what several programs do. go test -artifacts keeps all of it.
func (p *process) tail() string {
	const most = 1 << 10
	file, err := os.Open(p.output)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > most {
		_, _ = file.Seek(-most, io.SeekEnd)
	}
	text, _ := io.ReadAll(file)
	return string(bytes.TrimSpace(text))
}

// exitCode is how a program ended: -1 for a signal.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -2
}

// nextPort counts through ports below those that systems give to outgoing
// connections, so that a program that is down finds its port again.
var nextPort atomic.Int32

func init() { nextPort.Store(20_000 + rand.Int32N(10_000)) }

// freeAddress is a loopback address that nobody listens at.
func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", nextPort.Add(1))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// await waits until done says so. It fails with why, asked at the end.
func await(t testing.TB, limit time.Duration, done func() bool, why func() string) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); {
		if time.Now().After(end) {
			t.Fatalf("after %s: %s", limit, why())
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("the test ended: %s", why())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// because is a constant why.
func because(format string, args ...any) func() string {
	return func() string { return fmt.Sprintf(format, args...) }
}

// outputIn names the file of what the n-th run of a program says.
func outputIn(dir, name string, n int) string {
	return filepath.Join(dir, fmt.Sprintf("%s-%d.log", name, n))
}

// stopSignal is how an operating system or a container asks a program to stop.
const stopSignal = syscall.SIGTERM
