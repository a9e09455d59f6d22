package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
)

// asProgram makes this test binary behave as the devserver, so that processes
// can be started, interrupted and killed.
const asProgram = "DEVSERVER_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a devserver running beside the test.
type process struct {
	cmd    *exec.Cmd
	exited chan error
	ready  map[string]string // the fields of its ready line
}

func begin(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan error, 1), ready: map[string]string{}}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(stdout).ReadString('\n')
		line <- text
		p.exited <- cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	select {
	case text := <-line:
		fields := strings.Fields(text)
		if len(fields) == 0 || fields[0] != "ready" {
			t.Fatalf("devserver %v said %q, want a ready line", args, text)
		}
		for _, f := range fields[1:] {
			key, value, _ := strings.Cut(f, "=")
			p.ready[key] = value
		}
	case <-time.After(time.Minute):
		t.Fatalf("devserver %v: no ready line after a minute", args)
	}
	return p
}

// end sends the signal and returns how the process exited.
func (p *process) end(t *testing.T, sig os.Signal) error {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.exited:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("still running 10s after %s", sig)
		return nil
	}
}

func TestTemporalSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dial := func(p *process) client.Client {
		c, err := client.Dial(client.Options{HostPort: p.ready["temporal"]})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	first := begin(t, "temporal", "-dir", dir, "-addr", "127.0.0.1:0", "-ui", "127.0.0.1:0")
	c := dial(first)
	if _, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "payout/1", TaskQueue: "nobody"}, "Idle"); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := first.end(t, syscall.SIGKILL); !errors.As(err, &exit) {
		t.Fatalf("exit after SIGKILL: %v, want a signal", err)
	}
	c.Close()

	second := begin(t, "temporal", "-dir", dir, "-addr", first.ready["temporal"])
	c = dial(second)
	if _, err := c.DescribeWorkflowExecution(ctx, "payout/1", ""); err != nil {
		t.Errorf("the run is gone after a kill: %v", err)
	}
	c.Close()
	if err := second.end(t, os.Interrupt); err != nil {
		t.Errorf("exit after Ctrl-C: %v, want 0", err)
	}
	if conn, err := net.DialTimeout("tcp", second.ready["temporal"], time.Second); err == nil {
		conn.Close()
		t.Errorf("%s still listens", second.ready["temporal"])
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"unknown mode":     {[]string{"temporl"}, `"temporl"`},
		"unknown argument": {[]string{"temporal", "now"}, `"now"`},
		"not loopback":     {[]string{"temporal", "-dir", t.TempDir(), "-addr", "0.0.0.0:0"}, "not loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), tc.args, t.Output())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want it to name %s", err, tc.want)
			}
		})
	}
}
