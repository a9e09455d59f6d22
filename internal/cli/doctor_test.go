package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"payouts/internal/app"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/simulator"
)

const (
	poundsAccount = "a61acaef-ee05-4077-92f3-25543a11bd8d"
	eurosAccount  = "0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11"
	signingKID    = "5f3f3c1e-9a0b-4a52-8d0e-2f6f7f0a9c11"
)

// pem521 is a key on P-521, both halves as openssl writes them.
func pem521(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	half, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: half}))
}

// practice is a whole installation to examine: the provider's simulator
// behind a door that a test can tamper with, a gateway's door, and a Temporal
// server that knows the calls the doctor makes.
type practice struct {
	t           *testing.T
	sim         *simulator.Simulator
	environment map[string]string
	temporal    *temporalStub
	tamper      func(w http.ResponseWriter, r *http.Request, next http.Handler)
	gateway     http.HandlerFunc
}

func newPractice(t *testing.T) *practice {
	t.Helper()
	private, public := pem521(t)
	sim, err := simulator.New(simulator.Options{
		ClientID: "client", ClientSecret: "secret", ClientKeys: map[string]string{signingKID: public},
		MerchantAccounts: []simulator.MerchantAccount{
			{ID: poundsAccount, Currency: "GBP", OpeningBalanceInMinor: 123_456}, {ID: eurosAccount, Currency: "EUR", OpeningBalanceInMinor: 1},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &practice{t: t, sim: sim, temporal: newTemporalStub(),
		tamper:  func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) },
		gateway: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }}
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.tamper(w, r, sim.Handler()) }))
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.gateway(w, r) }))
	t.Cleanup(func() { _ = sim.Close(); provider.Close(); gateway.Close() })
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p.environment = map[string]string{
		"DATABASE_URL":                 "sqlite:" + filepath.Join(dir, "books.db"),
		"SEAL_KEY_FILE":                write("seal", "k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"),
		"MERCHANT_ACCOUNTS":            "GBP=" + poundsAccount + ",EUR=" + eurosAccount,
		"API_TOKENS_FILE":              write("tokens", "game backend "+strings.Repeat("ab", 32)+"\n"),
		"TRUELAYER_API_URL":            provider.URL,
		"TRUELAYER_AUTH_URL":           provider.URL,
		"TRUELAYER_JWKS_URL":           provider.URL + "/.well-known/jwks",
		"TRUELAYER_CLIENT_ID":          "client",
		"TRUELAYER_CLIENT_SECRET_FILE": write("secret", "secret\n"),
		"TRUELAYER_SIGNING_KEY_FILE":   write("key", private),
		"TRUELAYER_SIGNING_KID":        signingKID,
		"GATEWAY_ADDR":                 strings.TrimPrefix(gateway.URL, "http://"),
		"TEMPORAL_ADDRESS":             p.temporal.serve(t),
		"TEMPORAL_CONFIG_FILE":         write("temporal.toml", ""),
		"folder":                       dir, // for tests
	}
	return p
}

func (p *practice) examine(args string) result {
	p.t.Helper()
	var out, errs bytes.Buffer
	code := Starter(p.t.Context(), split("doctor "+args), Terminal{Out: &out, Err: &errs, Getenv: func(name string) string { return p.environment[name] }})
	return result{code, out.String(), errs.String()}
}

// states is what the checks came to, as "check state", where not ok.
func (r result) states() string {
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^(ok|warning|failed|skipped) +([a-z_]+) `).FindAllStringSubmatch(r.out, -1) {
		if m[1] != "ok" {
			list = append(list, m[2]+" "+m[1])
		}
	}
	return strings.Join(list, ", ")
}

// temporalStub answers the calls that the doctor makes of a Temporal server.
type temporalStub struct {
	workflowservice.UnimplementedWorkflowServiceServer
	operatorservice.UnimplementedOperatorServiceServer
	attributes map[string]enumspb.IndexedValueType
	schedule   *workflowservice.DescribeScheduleResponse // nil: there is none
	namespace  string
	current    string // build of the deployment; "": none
	deployed   bool   // a versioned worker has polled
}

func newTemporalStub() *temporalStub {
	const keyword = enumspb.INDEXED_VALUE_TYPE_KEYWORD
	return &temporalStub{
		namespace: "default",
		attributes: map[string]enumspb.IndexedValueType{"PayoutId": keyword, "PlayerId": keyword, "PayoutStatus": keyword, "FailureReason": keyword,
			"Currency": keyword, "AmountInMinor": enumspb.INDEXED_VALUE_TYPE_INT},
		schedule: &workflowservice.DescribeScheduleResponse{
			Schedule: &schedulepb.Schedule{
				Spec:   &schedulepb.ScheduleSpec{Interval: []*schedulepb.IntervalSpec{{Interval: durationpb.New(time.Minute)}}},
				Action: &schedulepb.ScheduleAction{Action: &schedulepb.ScheduleAction_StartWorkflow{}}, State: &schedulepb.ScheduleState{}},
			Info: &schedulepb.ScheduleInfo{RecentActions: []*schedulepb.ScheduleActionResult{
				{ScheduleTime: timestamppb.New(time.Unix(1_790_000_000, 0)), ActualTime: timestamppb.New(time.Unix(1_790_000_000, 0))}}},
		},
	}
}

func (s *temporalStub) serve(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, s)
	operatorservice.RegisterOperatorServiceServer(server, s)
	var wait sync.WaitGroup
	wait.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() { server.Stop(); wait.Wait() })
	return listener.Addr().String()
}

func (s *temporalStub) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{Capabilities: &workflowservice.GetSystemInfoResponse_Capabilities{}}, nil
}

func (s *temporalStub) DescribeNamespace(_ context.Context, in *workflowservice.DescribeNamespaceRequest) (*workflowservice.DescribeNamespaceResponse, error) {
	if in.Namespace != s.namespace {
		return nil, serviceerror.ToStatus(serviceerror.NewNamespaceNotFound(in.Namespace)).Err()
	}
	return &workflowservice.DescribeNamespaceResponse{Config: &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(72 * time.Hour)}}, nil
}

func (s *temporalStub) ListSearchAttributes(context.Context, *operatorservice.ListSearchAttributesRequest) (*operatorservice.ListSearchAttributesResponse, error) {
	return &operatorservice.ListSearchAttributesResponse{CustomAttributes: s.attributes}, nil
}

func (s *temporalStub) DescribeSchedule(_ context.Context, in *workflowservice.DescribeScheduleRequest) (*workflowservice.DescribeScheduleResponse, error) {
	if s.schedule == nil || in.ScheduleId != "sweep" {
		return nil, serviceerror.ToStatus(serviceerror.NewNotFound("schedule not found")).Err()
	}
	return s.schedule, nil
}

func (s *temporalStub) DescribeWorkerDeployment(_ context.Context, in *workflowservice.DescribeWorkerDeploymentRequest) (*workflowservice.DescribeWorkerDeploymentResponse, error) {
	if !s.deployed {
		return nil, serviceerror.ToStatus(serviceerror.NewNotFound("no Worker Deployment found")).Err()
	}
	routing := &deploymentpb.RoutingConfig{}
	if s.current != "" {
		routing.CurrentDeploymentVersion = &deploymentpb.WorkerDeploymentVersion{DeploymentName: in.DeploymentName, BuildId: s.current}
	}
	return &workflowservice.DescribeWorkerDeploymentResponse{WorkerDeploymentInfo: &deploymentpb.WorkerDeploymentInfo{Name: in.DeploymentName, RoutingConfig: routing}}, nil
}

// nobody is an address that nobody listens at.
func nobody(t *testing.T) string {
	t.Helper()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	return closed.Addr().String()
}

// collector is where one that takes traces answers with this status.
func collector(t *testing.T, status int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(server.Close)
	return server.URL
}

// ofProvider are the checks that need a token.
const ofProvider = "scope skipped, signature skipped, merchant_accounts skipped"

func TestDoctor(t *testing.T) {
	only := func(path string, answer http.HandlerFunc) func(*practice) {
		return func(p *practice) {
			p.tamper = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Path == path {
					answer(w, r)
					return
				}
				next.ServeHTTP(w, r)
			}
		}
	}
	set := func(name, value string) func(*practice) {
		return func(p *practice) { p.environment[name] = value }
	}
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = io.WriteString(w, body) }
	}
	dated := func(by time.Duration) func(*practice) {
		return func(p *practice) {
			p.tamper = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
				next.ServeHTTP(w, r)
			}
		}
	}
	// Workers are versioned, this is build v2.
	deployed := func(current string, polled bool) func(*practice) {
		return func(p *practice) {
			p.environment["TEMPORAL_DEPLOYMENT_NAME"], p.environment["TEMPORAL_WORKER_BUILD_ID"] = "payouts", "v2"
			p.temporal.current, p.temporal.deployed = current, polled
		}
	}
	// A token for another API, granted as if nothing were wrong.
	otherScope := func(p *practice) {
		p.tamper = func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path != "/connect/token" {
				next.ServeHTTP(w, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			form.Set("scope", "paydirect")
			r.Body = io.NopCloser(strings.NewReader(form.Encode()))
			r.ContentLength = int64(len(form.Encode()))
			granted := httptest.NewRecorder()
			next.ServeHTTP(granted, r)
			answer := map[string]any{}
			_ = json.Unmarshal(granted.Body.Bytes(), &answer)
			delete(answer, "scope")
			_ = json.NewEncoder(w).Encode(answer)
		}
	}
	for name, test := range map[string]struct {
		disturb func(*practice)
		code    int
		states  string // of the checks that are not ok
		says    string // parts, divided by …
	}{
		"all is well": {func(*practice) {}, 0, "", "ok       configuration      provider http://…as client client, signing key " + signingKID + "; books on sqlite…" +
			"ok       database           opens, is up to date, can be written; … laws of the books hold…ok       token              granted, for 1h…" +
			"scope              the API takes the token; 2 merchant accounts…/test-signature takes our signature…" +
			"EUR has €0.01 available (€0.01 current); GBP has £1,234.56 available…holds keys on P-521…clock              agrees…" +
			"refuses an unsigned event\n                           → in the Console the webhook URI must lead to POST /webhooks/truelayer…" +
			"traces             off: OTEL_EXPORTER_OTLP_ENDPOINT is not set…" +
			"has namespace default; closed runs are kept for 72h…all 6 are registered…sweep fires each 1m, last at 2026-"},

		"wrong secret": {func(p *practice) {
			_ = os.WriteFile(p.environment["TRUELAYER_CLIENT_SECRET_FILE"], []byte("another"), 0o600)
		}, 1, "token failed, " + ofProvider, "failed   token              invalid_client\n                           → check TRUELAYER_CLIENT_ID and TRUELAYER_CLIENT_SECRET_FILE against the Console…skipped  scope              token failed"},
		"scope not granted": {only("/connect/token", says(400, `{"error":"invalid_scope"}`)), 1, "token failed, " + ofProvider,
			"invalid_scope\n…→ have the scope `payments` (the Payments API) enabled for this client in the Console"},
		"token of another audience": {otherScope, 1, "scope failed, signature skipped, merchant_accounts skipped", "InvalidAudience…→ the API does not take the token…TRUELAYER_AUTH_URL"},
		"token not taken":           {only("/v3/merchant-accounts", says(401, `{}`)), 1, "scope failed, signature skipped, merchant_accounts skipped", "HTTP 401…→ TRUELAYER_API_URL: …one environment"},
		"no right":                  {only("/v3/merchant-accounts", says(403, `{}`)), 1, "scope failed, signature skipped, merchant_accounts skipped", "HTTP 403…→ TRUELAYER_CLIENT_ID: …Payments API"},
		"no token host":             {set("TRUELAYER_AUTH_URL", "http://"+nobody(t)), 1, "token failed, " + ofProvider, "connection refused…→ TRUELAYER_AUTH_URL: want https://auth.truelayer"},

		"signing key not registered": {set("TRUELAYER_SIGNING_KID", "b7d5c1ce-0000-4a52-8d0e-2f6f7f0a9c11"), 1, "signature failed", "HTTP 401…→ TRUELAYER_SIGNING_KID, TRUELAYER_SIGNING_KEY_FILE: …openssl ec -in KEY_FILE -pubout"},
		"another private key": {func(p *practice) {
			private, _ := pem521(p.t)
			_ = os.WriteFile(p.environment["TRUELAYER_SIGNING_KEY_FILE"], []byte(private), 0o600)
		}, 1, "signature failed", "HTTP 401…→ TRUELAYER_SIGNING_KID"},

		"merchant account unknown": {set("MERCHANT_ACCOUNTS", "GBP=11111111-1111-4111-8111-111111111111"), 1, "merchant_accounts failed",
			"GBP=11111111-1111-4111-8111-111111111111 is no account of this client…→ MERCHANT_ACCOUNTS: choose one account for each currency from: GBP=" + poundsAccount + ", EUR=" + eurosAccount},
		"merchant accounts mixed up": {set("MERCHANT_ACCOUNTS", "GBP="+eurosAccount+",EUR="+poundsAccount), 1, "merchant_accounts failed",
			"EUR=" + poundsAccount + " is in GBP; GBP=" + eurosAccount + " is in EUR"},
		"merchant account empty": {func(p *practice) { _ = p.sim.TopUp(eurosAccount, -1) }, 0, "merchant_accounts warning", "EUR has €0.00 available…→ put money on it"},
		"no merchant account":    {only("/v3/merchant-accounts", says(200, `{"items":[]}`)), 1, "merchant_accounts failed", "this client has no merchant account"},

		"JWKS down":            {only("/.well-known/jwks", says(503, "")), 1, "webhook_keys failed", "HTTP 503…→ TRUELAYER_JWKS_URL: want https://webhooks.truelayer.com"},
		"JWKS of another kind": {only("/.well-known/jwks", says(200, `{"keys":[{"kty":"RSA","kid":"x"}]}`)), 1, "webhook_keys failed", "none of 1 keys is on curve P-521"},
		"JWKS elsewhere":       {set("TRUELAYER_JWKS_URL", "http://"+nobody(t)+"/jwks"), 1, "webhook_keys failed", "connection refused"},

		"clock behind a little": {dated(20 * time.Second), 0, "clock warning", "our clock is at least …s behind theirs…→ keep this machine's clock with NTP"},
		"clock behind":          {dated(3 * time.Minute), 1, "clock failed", "our clock is at least …m…behind theirs…NTP"},
		"clock ahead":           {dated(-3 * time.Minute), 1, "clock failed", "our clock is at least …m…ahead of theirs…NTP"},
		"clock within bounds":   {dated(3 * time.Second), 0, "", "agrees with theirs"},

		"gateway not there": {set("GATEWAY_ADDR", nobody(t)), 0, "gateway warning", "nobody answers at …/webhooks/truelayer…→ start the gateway…webhook URI"},
		"gateway is another": {func(p *practice) { p.gateway = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) } }, 1, "gateway failed",
			"with 404, not 401…→ GATEWAY_ADDR"},

		"no collector":       {set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+nobody(t)), 0, "traces warning", "/v1/traces did not take a span: …→ OTEL_EXPORTER_OTLP_ENDPOINT"},
		"collector says no":  {set("OTEL_EXPORTER_OTLP_ENDPOINT", collector(t, http.StatusUnauthorized)), 0, "traces warning", "did not take a span: …401…→ OTEL_EXPORTER_OTLP_ENDPOINT"},
		"collector is there": {set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector(t, http.StatusOK)+"/v1/traces"), 0, "", "traces             http://…/v1/traces took a span"},
		"collector by gRPC": {set("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), 2, "configuration failed, database skipped, token skipped, " + ofProvider +
			", webhook_keys skipped, clock skipped, gateway skipped, traces skipped, temporal skipped, search_attributes skipped, schedule skipped, deployment skipped", "OTEL_EXPORTER_OTLP_PROTOCOL: \"grpc\": want http/protobuf"},

		"Temporal absent": {set("TEMPORAL_ADDRESS", nobody(t)), 1, "temporal failed, search_attributes skipped, schedule skipped, deployment skipped",
			"does not answer: …→ TEMPORAL_ADDRESS: name a Temporal server that runs…skipped  schedule           temporal failed"},
		"namespace unknown": {set("TEMPORAL_NAMESPACE", "payouts"), 1, "temporal failed, search_attributes skipped, schedule skipped, deployment skipped",
			"has no namespace payouts…→ TEMPORAL_NAMESPACE: …temporal operator namespace create --namespace payouts"},
		"worker never ran": {func(p *practice) { p.temporal.attributes, p.temporal.schedule = nil, nil }, 1, "search_attributes failed, schedule failed",
			"not registered: PayoutId, PlayerId, PayoutStatus, FailureReason, Currency, AmountInMinor…→ start the worker: it makes them…schedule sweep is not there…→ start the worker"},
		"search attribute of another type": {func(p *practice) { p.temporal.attributes["AmountInMinor"] = enumspb.INDEXED_VALUE_TYPE_KEYWORD }, 1, "search_attributes failed", "AmountInMinor is Keyword, not Int"},
		"schedule paused": {func(p *practice) {
			p.temporal.schedule.Schedule.State = &schedulepb.ScheduleState{Paused: true, Notes: "by ann"}
		}, 1, "schedule failed", "schedule sweep is paused: by ann…--unpause"},

		"this build is current":  {deployed("v2", true), 0, "", "new payouts go to payouts:v2"},
		"another one is current": {deployed("v1", true), 0, "deployment warning", "new payouts go to build v1, not to v2…→ nothing, if it is meant so…set-current-version --deployment-name payouts --build-id v2"},
		"no build is current":    {deployed("", true), 0, "deployment warning", "no build of payouts is current: new payouts wait…→ start the worker, and make its build current"},
		"no worker of it yet":    {deployed("", false), 0, "deployment warning", "Temporal knows no worker of payouts:v2 yet…→ start the worker"},

		"database unreachable": {set("DATABASE_URL", "postgres://payouts:hush@"+nobody(t)+"/payouts?connect_timeout=2"), 1, "database failed", "cannot reach PostgreSQL…→ DATABASE_URL"},
		"database is no database": {func(p *practice) {
			_ = os.WriteFile(filepath.Join(p.environment["folder"], "books.db"), []byte(strings.Repeat("not a database ", 100)), 0o600)
		}, 1, "database failed", "move it away"},

		"configuration mistaken": {func(p *practice) {
			maps.Copy(p.environment, map[string]string{"DATABASE_URL": "", "TRUELAYER_SIGNING_KEY_FILE": p.environment["SEAL_KEY_FILE"], "KEY_WINDOW": "5h"})
		}, 2, "configuration failed, database skipped, token skipped, " + ofProvider + ", webhook_keys skipped, clock skipped, gateway skipped, traces skipped, temporal skipped, search_attributes skipped, schedule skipped, deployment skipped",
			"mistakes: 3\n…→ DATABASE_URL: is missing…→ KEY_WINDOW…→ TRUELAYER_SIGNING_KEY_FILE: holds no private key"},
		"a mistake is told once": {func(p *practice) {
			maps.Copy(p.environment, map[string]string{"TRUELAYER_CLIENT_ID": "", "TRUELAYER_AUTH_URL": "", "TRUELAYER_JWKS_URL": ""})
		}, 2, "configuration failed, database skipped, token skipped, " + ofProvider + ", webhook_keys skipped, clock skipped, gateway skipped, traces skipped, temporal skipped, search_attributes skipped, schedule skipped, deployment skipped",
			"mistakes: 3\n"},
		"sandbox and live mixed": {set("TRUELAYER_API_URL", "https://api.truelayer.com"), 2, "configuration failed, database skipped, token skipped, " + ofProvider +
			", webhook_keys skipped, clock skipped, gateway skipped, traces skipped, temporal skipped, search_attributes skipped, schedule skipped, deployment skipped",
			"mistakes: 1\n…→ TRUELAYER_API_URL, TRUELAYER_AUTH_URL, TRUELAYER_JWKS_URL: sandbox and live are mixed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPractice(t)
			test.disturb(p)
			r := p.examine("")
			r.expect(t, test.code, test.says, "")
			if got := r.states(); got != test.states {
				t.Errorf("not ok: %q, want %q\n%s", got, test.states, r.out)
			}
			if r.err != "" {
				t.Errorf("says beside it: %s", r.err)
			}
			if strings.Contains(r.out, "hush") || strings.Contains(r.out, "PRIVATE KEY") {
				t.Errorf("tells a secret:\n%s", r.out)
			}
			for _, fact := range p.sim.Journal().Money {
				if fact.Kind == simulator.FactAccepted || fact.Kind == simulator.FactExecuted {
					t.Errorf("money moved: %+v", fact)
				}
			}
		})
	}
}

// For machines: one object with the same findings, and the same exit codes.
func TestDoctorJSON(t *testing.T) {
	p := newPractice(t)
	for _, test := range []struct {
		name, variable, value string
		code                  int
		ok                    bool
		failed                string
	}{
		{"well", "", "", 0, true, ""},
		{"ill", "TRUELAYER_SIGNING_KID", "b7d5c1ce-0000-4a52-8d0e-2f6f7f0a9c11", 1, false, "signature"},
		{"unreadable", "TRUELAYER_SIGNING_KID", "", 2, false, "configuration"},
	} {
		if test.variable != "" {
			p.environment[test.variable] = test.value
		}
		r := p.examine("--json")
		var e app.Examination
		if err := json.Unmarshal([]byte(r.out), &e); err != nil || r.code != test.code || e.OK != test.ok || len(e.Findings) != 14 {
			t.Errorf("%s: exits %d, %v: %s", test.name, r.code, err, r.out)
		}
		for _, f := range e.Findings {
			if (f.State == app.StateFailed) != (f.Check == test.failed) || f.State == app.StateFailed && f.Change == "" || f.Saw == "" {
				t.Errorf("%s: finds %+v", test.name, f)
			}
		}
	}
}

// A database that lets us read only is told before a payout finds out.
func TestDoctorReadOnlyDatabase(t *testing.T) {
	ledgertest.NeedPostgres(t)
	address := ledgertest.PostgresAddress(t, "")
	p := newPractice(t)
	p.environment["DATABASE_URL"] = address
	p.examine("").expect(t, 0, "books on postgres…can be written", "")
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("default_transaction_read_only", "on")
	u.RawQuery = query.Encode()
	p.environment["DATABASE_URL"] = u.String()
	p.examine("").expect(t, 1, "failed   database           it cannot be written…→ DATABASE_URL: name the primary", "")
}
