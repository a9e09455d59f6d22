package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// server is a running Temporal server.
type server struct {
	*process
	addr, metrics, ui string
}

// shared is the Temporal server of this test process, started by the first
// test that needs it; each test has a namespace of its own there.
var shared struct {
	sync.Mutex
	server *server
	err    error
}

func sharedServer(t testing.TB) *server {
	t.Helper()
	binary(t, "devserver")
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = startServer(filepath.Join(folder, "temporal.out"), "-addr", "127.0.0.1:0", "-metrics", "127.0.0.1:0")
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

func endShared() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
		shared.server.kill()
	}
}

// ownServer starts a Temporal server that the test may end. It keeps nothing
// on disk: the next one at this address is an empty one.
func ownServer(t testing.TB, addr string) *server {
	t.Helper()
	binary(t, "devserver")
	return serverOf(t, "-addr", addr)
}

// serverWithUI starts a Temporal server of the test's own with its web UI.
func serverWithUI(t testing.TB) *server {
	t.Helper()
	binary(t, "devserver")
	return serverOf(t, "-addr", "127.0.0.1:0", "-ui", "127.0.0.1:0")
}

func serverOf(t testing.TB, args ...string) *server {
	t.Helper()
	s, err := startServer(filepath.Join(t.TempDir(), "temporal.out"), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	return s
}

func startServer(output string, args ...string) (*server, error) {
	args = append([]string{"temporal", "-memory", "-time-skipping", "-dir", output + ".d"}, args...)
	p, err := launch("temporal", output, os.Environ(), filepath.Join(folder, "devserver"), args...)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if fields, ok := readyLine(p.said()); ok {
			return &server{p, fields["temporal"], fields["metrics"], fields["ui"]}, nil
		}
		if !p.running() || time.Now().After(end) {
			p.kill()
			return nil, fmt.Errorf("temporal is not ready; it said %q", p.said())
		}
	}
}

// readyLine finds `ready key=value …` and reads it.
func readyLine(said string) (map[string]string, bool) {
	lines := bufio.NewScanner(strings.NewReader(said))
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "ready" || !strings.Contains(said, lines.Text()+"\n") {
			continue
		}
		fields := map[string]string{}
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			fields[key] = value
		}
		return fields, true
	}
	return nil, false
}

// dial makes a client for a namespace.
func dial(t testing.TB, addr, namespace string) client.Client {
	t.Helper()
	c, err := client.NewLazyClient(client.Options{HostPort: addr, Namespace: namespace, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// register makes a namespace.
func register(t testing.TB, addr, namespace string) {
	t.Helper()
	c, err := client.NewNamespaceClient(client.Options{HostPort: addr, Logger: silent{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = c.Register(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: namespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)})
	var already *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &already) {
		t.Fatalf("register namespace %s: %v", namespace, err)
	}
}

// silent keeps the SDK's words out of the tests' output.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
