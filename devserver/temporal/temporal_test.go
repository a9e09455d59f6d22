package temporal

import (
	"bytes"
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
)

// start runs a server for one test and shows its log if the test fails.
func start(t *testing.T, opts Options) *Server {
	t.Helper()
	if opts.FrontendAddr == "" {
		opts.FrontendAddr = "127.0.0.1:0"
	}
	srv, err := Start(opts)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := srv.Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() && opts.Dir != "" {
			log, _ := os.ReadFile(filepath.Join(opts.Dir, LogFile))
			t.Logf("server log:\n%s", log)
		}
	})
	return srv
}

func dial(t *testing.T, srv *Server) client.Client {
	t.Helper()
	c, err := client.Dial(client.Options{HostPort: srv.HostPort(), Namespace: srv.Namespace(), Logger: silent{}})
	if err != nil {
		t.Fatalf("dial %s: %v", srv.HostPort(), err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// startIdle starts a run that no worker will ever pick up.
func startIdle(t *testing.T, c client.Client, id string) client.WorkflowRun {
	t.Helper()
	run, err := c.ExecuteWorkflow(within(t), client.StartWorkflowOptions{ID: id, TaskQueue: "nobody"}, "Idle")
	if err != nil {
		t.Fatalf("start run %s: %v", id, err)
	}
	return run
}

// listed polls visibility until it shows n runs.
func listed(t *testing.T, c client.Client, query string, n int) {
	t.Helper()
	ctx, got := within(t), -1
	for ctx.Err() == nil {
		page, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
		if err != nil {
			t.Fatalf("list %q: %v", query, err)
		}
		if got = len(page.Executions); got == n {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("list %q: %d runs, want %d", query, got, n)
}

func TestRunsSurviveARestart(t *testing.T) {
	// Characters that mean something else inside a database URI.
	dir := filepath.Join(t.TempDir(), "100% our#data?")

	first := start(t, Options{Dir: dir})
	c := dial(t, first)
	run := startIdle(t, c, "payout/1")
	listed(t, c, `WorkflowId = "payout/1"`, 1)
	c.Close()
	if err := first.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if wal, err := os.Stat(filepath.Join(dir, databaseFile+"-wal")); err == nil && wal.Size() > 0 {
		t.Errorf("stop left %d bytes in the write-ahead log, want all in the database", wal.Size())
	}

	second := start(t, Options{Dir: dir})
	c = dial(t, second)
	listed(t, c, `WorkflowId = "payout/1"`, 1)
	is, err := c.DescribeWorkflowExecution(within(t), "payout/1", "")
	if err != nil {
		t.Fatalf("describe after restart: %v", err)
	}
	if got := is.WorkflowExecutionInfo.Execution.RunId; got != run.GetRunID() {
		t.Errorf("run after restart: %s, want %s", got, run.GetRunID())
	}
	if err := c.SignalWorkflow(within(t), "payout/1", "", "news", nil); err != nil {
		t.Errorf("signal after restart: %v", err)
	}
}

func TestADeletedFolderStartsEmpty(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := start(t, Options{Dir: dir})
	c := dial(t, first)
	startIdle(t, c, "payout/1")
	c.Close()
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	second := start(t, Options{Dir: dir})
	c = dial(t, second)
	listed(t, c, "", 0)
	startIdle(t, c, "payout/2")
	c.Close()
	if err := second.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := rows(t, filepath.Join(dir, databaseFile)); got != 1 {
		t.Errorf("runs in the file on disk: %d, want 1", got)
	}
}

// rows counts the runs in a database file.
func rows(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+escape(path)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) FROM executions_visibility WHERE workflow_type_name = 'Idle'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestServesUIMetricsAndNamespace(t *testing.T) {
	srv := start(t, Options{
		Dir: t.TempDir(), UIAddr: "127.0.0.1:0", MetricsAddr: "127.0.0.1:0",
		Namespace: "payouts", Retention: 100 * time.Hour, TimeSkipping: true,
	})
	c := dial(t, srv)
	startIdle(t, c, "payout/1")
	ns, err := c.WorkflowService().DescribeNamespace(within(t), &workflowservice.DescribeNamespaceRequest{Namespace: "payouts"})
	if err != nil {
		t.Fatal(err)
	}
	if got := ns.Config.WorkflowExecutionRetentionTtl.AsDuration(); got != 100*time.Hour {
		t.Errorf("retention: %s, want 100h", got)
	}
	for what, want := range map[string]string{
		srv.UIURL() + "/":                          "<htmllang=",
		srv.UIURL() + "/api/v1/namespaces/payouts": `"name":"payouts"`,
		srv.MetricsURL():                           "action_total{", // what Temporal Cloud would bill
	} {
		status, body := get(t, what)
		if status != http.StatusOK || !strings.Contains(strings.ReplaceAll(body, " ", ""), want) {
			t.Errorf("GET %s: %d, want 200 and %q in: %.300s", what, status, want, body)
		}
	}
	began := time.Now()
	if err := srv.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stop took %s, want at most 5s", took)
	}
	for _, url := range []string{srv.UIURL(), srv.MetricsURL(), "http://" + srv.HostPort()} {
		addr := strings.Split(strings.TrimPrefix(url, "http://"), "/")[0]
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			conn.Close()
			t.Errorf("%s still listens after Stop", addr)
		}
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestMemoryLeavesNoFile(t *testing.T) {
	srv := start(t, Options{Memory: true})
	startIdle(t, dial(t, srv), "payout/1")
	if srv.UIURL() != "" || srv.MetricsURL() != "" {
		t.Errorf("UI %q and metrics %q, want neither", srv.UIURL(), srv.MetricsURL())
	}
	other := start(t, Options{Memory: true})
	listed(t, dial(t, other), "", 0)
}

// Everything a person can get wrong is answered in one line that names the
// place and what to do.
func TestMistakesAreNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy := taken.Addr().String()

	root := t.TempDir()
	write := func(name string, body []byte) string {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, databaseFile), body, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	file := filepath.Join(root, "file")
	if err := os.WriteFile(file, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := write("garbage", bytes.Repeat([]byte("not a database\n"), 1000))
	good := filledDatabase(t)
	halved := write("halved", good[:len(good)/2])
	scribbled := bytes.Clone(good)
	copy(scribbled[len(scribbled)/2:], bytes.Repeat([]byte("x"), 16<<10))
	scratched := write("scratched", scribbled)
	foreign := filepath.Join(root, "foreign")
	if err := os.MkdirAll(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(foreign, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`CREATE TABLE customers (id INTEGER)`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	folder := filepath.Join(root, "folder")
	if err := os.MkdirAll(filepath.Join(folder, databaseFile), 0o700); err != nil {
		t.Fatal(err)
	}
	inUse := t.TempDir()
	start(t, Options{Dir: inUse})

	for name, tc := range map[string]struct {
		opts Options
		want []string
	}{
		"frontend port in use":   {Options{Dir: root, FrontendAddr: busy}, []string{busy, "in use", "choose another port"}},
		"UI port in use":         {Options{Dir: root, UIAddr: busy}, []string{"web UI", busy, "in use"}},
		"metrics port in use":    {Options{Dir: root, MetricsAddr: busy}, []string{"metrics", busy, "in use"}},
		"address of the world":   {Options{Dir: root, FrontendAddr: "0.0.0.0:7233"}, []string{"FrontendAddr", "not loopback", "127.0.0.1"}},
		"address without a port": {Options{Dir: root, UIAddr: "127.0.0.1"}, []string{"UIAddr", "127.0.0.1:7233"}},
		"every mistake at once":  {Options{UIAddr: "x", Retention: time.Hour}, []string{"Dir", "UIAddr", "Retention"}},
		"folder below a file":    {Options{Dir: filepath.Join(file, "data")}, []string{filepath.Join(file, "data"), "not a directory", "choose a folder"}},
		"folder in use":          {Options{Dir: inUse}, []string{inUse, "in use by another Temporal server"}},
		"not a database":         {Options{Dir: garbage}, []string{garbage, databaseFile, "broken", "move it away"}},
		"half a database":        {Options{Dir: halved}, []string{halved, databaseFile, "broken", "move it away"}},
		"scratched database":     {Options{Dir: scratched}, []string{scratched, databaseFile, "broken", "move it away"}},
		"folder for a database":  {Options{Dir: folder}, []string{folder, databaseFile, "cannot be opened", "permissions"}},
		"somebody else's":        {Options{Dir: foreign}, []string{foreign, databaseFile, "other tables", "move it away"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.opts.FrontendAddr == "" {
				tc.opts.FrontendAddr = "127.0.0.1:0"
			}
			srv, err := Start(tc.opts)
			if err == nil {
				srv.Stop()
				t.Fatal("it started")
			}
			t.Log(err)
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if lines := strings.Count(err.Error(), "\n"); lines > 0 && name != "every mistake at once" {
				t.Errorf("%d lines, want one", lines+1)
			}
		})
	}
}

// filledDatabase is the bytes of a good database file.
func filledDatabase(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	st, err := openStore(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.close(); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(filepath.Join(dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	return body
}
