package app

import (
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otelpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/notify"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

// received are the spans that a collector was sent.
type received struct {
	mu    sync.Mutex
	spans []*otelpb.Span
}

// traced begins the tracing of a program, to a collector of the test's; sent
// closes it and answers with what the collector was sent.
func traced(t *testing.T) (traces *tracing, sent func() []*otelpb.Span) {
	t.Helper()
	var all received
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var batch collectorpb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &batch)
		}
		if err != nil {
			t.Error(err)
		}
		all.mu.Lock()
		defer all.mu.Unlock()
		for _, of := range batch.GetResourceSpans() {
			for _, scope := range of.GetScopeSpans() {
				all.spans = append(all.spans, scope.GetSpans()...)
			}
		}
	}))
	t.Cleanup(collector.Close)
	traces, err := newTracing(t.Context(), Config{TracesURL: collector.URL + "/v1/traces"}, Starter, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return traces, func() []*otelpb.Span {
		traces.close()
		all.mu.Lock()
		defer all.mu.Unlock()
		return all.spans
	}
}

const (
	theirTrace = "0af7651916cd43dd8448eb211c80319c"
	theirs     = "00-" + theirTrace + "-b7ad6b7169203331-01"
)

// A request for a payout or refund goes on with the caller's trace, or begins
// one; what the books are to keep is ours within it.
func TestAsked(t *testing.T) {
	for name, test := range map[string]struct {
		method, path, traceparent string
		status                    int
		spans                     string // names and what they come to
		theirs, kept              bool
	}{
		"within a trace":       {"POST", "/v1/payouts", theirs, 201, "POST /v1/payouts", true, true},
		"a refund":             {"POST", "/v1/refunds", theirs, 201, "POST /v1/refunds", true, true},
		"without a trace":      {"POST", "/v1/payouts", "", 201, "POST /v1/payouts", false, true},
		"a trace of nonsense":  {"POST", "/v1/payouts", "00-0-0-01", 201, "POST /v1/payouts", false, true},
		"a fault of ours":      {"POST", "/v1/payouts", theirs, 500, "POST /v1/payouts STATUS_CODE_ERROR", true, true},
		"nobody wants it kept": {"POST", "/v1/payouts", "00-" + theirTrace + "-b7ad6b7169203331-00", 201, "", true, false},
		"something else":       {"POST", "/v1/players/p/credits", theirs, 201, "", false, false},
		"a look":               {"GET", "/v1/payouts", theirs, 200, "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			traces, sent := traced(t)
			kept := ""
			door := traces.asked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				kept = traces.kept()(r.Context())
				w.WriteHeader(test.status)
			}))
			r := httptest.NewRequestWithContext(t.Context(), test.method, test.path, nil)
			if test.traceparent != "" {
				r.Header.Set("traceparent", test.traceparent)
			}
			r.Header.Set("tracestate", "vendor=secret")
			w := httptest.NewRecorder()
			door.ServeHTTP(w, r)
			if w.Code != test.status {
				t.Errorf("answered %d", w.Code)
			}
			if (kept != "") != test.kept || test.kept && strings.Contains(kept, theirTrace) != test.theirs || strings.Contains(kept, "b7ad6b7169203331") {
				t.Errorf("the books keep %q", kept)
			}
			var names []string
			for _, s := range sent() {
				name := s.GetName()
				if s.GetStatus().GetCode() != otelpb.Status_STATUS_CODE_UNSET {
					name += " " + s.GetStatus().GetCode().String()
				}
				names = append(names, name)
				if s.GetTraceState() != "" {
					t.Errorf("the caller's tracestate is passed on: %s", s.GetTraceState())
				}
			}
			if got := strings.Join(names, ", "); got != test.spans {
				t.Errorf("spans: %s", got)
			}
		})
	}
}

// A call to the provider is a span where a step made it, as long as it took.
func TestCallSpans(t *testing.T) {
	traces, sent := traced(t)
	within := under(t.Context(), theirs)
	traces.call(within, truelayer.Call{Op: "create payout", Answer: payout.AnswerCreated, Status: 200, Took: time.Second})
	traces.call(within, truelayer.Call{Op: "get payout", Answer: payout.AnswerUnknown, Took: time.Minute})
	traces.call(t.Context(), truelayer.Call{Op: "merchant accounts", Answer: truelayer.AnswerOK, Status: 200, Took: time.Second}) // the doctor's
	spans := sent()
	slices.SortFunc(spans, func(a, b *otelpb.Span) int { return strings.Compare(a.GetName(), b.GetName()) })
	if len(spans) != 2 || spans[0].GetName() != "create payout" || spans[1].GetName() != "get payout" {
		t.Fatalf("spans: %v", spans)
	}
	if took := spans[0].GetEndTimeUnixNano() - spans[0].GetStartTimeUnixNano(); took != uint64(time.Second) {
		t.Errorf("it took %s", time.Duration(took)) //nolint:gosec // a second
	}
	if spans[0].GetStatus().GetCode() != otelpb.Status_STATUS_CODE_UNSET || spans[1].GetStatus().GetMessage() != "unknown" {
		t.Errorf("they came to %v and %v", spans[0].GetStatus(), spans[1].GetStatus())
	}
}

// An event about what was asked for within a trace says so to the backend, by
// the span of its delivery; any other one says nothing. The signature is what it
// was.
func TestEventsAreTraced(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	traces, sent := traced(t)
	kept := ""
	books := ledgertest.SQLite(t, func(o *ledger.Options) {
		o.Now, o.Trace = time.Now, func(context.Context) string { return kept }
	})
	books.Fund(t, 1000)
	for key, its := range map[string]string{"traced": theirs, "not traced": ""} {
		kept = its
		if _, _, err := books.Accept(t.Context(), ledgertest.NewPayout(key, 100), ledgertest.Merchant, false); err != nil {
			t.Fatal(err)
		}
	}

	taken := make(chan http.Header, 10)
	var busy atomic.Bool // at the first try of what is traced
	busy.Store(true)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		if err != nil {
			t.Errorf("the backend cannot verify: %v", err)
		}
		if r.Header.Get("traceparent") != "" && busy.Swap(false) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		taken <- r.Header
	}))
	t.Cleanup(backend.Close)
	relay, err := notify.New(notify.Options{Outbox: books.Ledger.(*ledger.Ledger), Targets: []notify.Target{{URL: backend.URL, Secret: secret}}, Trace: traces.delivery()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { relay.Run(ctx); close(ended) }()
	var headers []string
	for limit := time.After(20 * time.Second); len(headers) < 3; {
		select {
		case h := <-taken:
			headers = append(headers, h.Get("traceparent"))
			if h.Get("tracestate") != "" || h.Get("baggage") != "" {
				t.Errorf("more than a traceparent is sent: %v", h)
			}
		case <-limit:
			t.Fatalf("the backend got %q", headers)
		}
	}
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if s, err := books.Ledger.(*ledger.Ledger).Stats(t.Context()); err != nil || time.Now().After(limit) {
			t.Fatalf("%d events stay unsent, %v", s.Unsent.Count, err)
		} else if s.Unsent.Count == 0 {
			break
		}
	}
	stop()
	<-ended

	var want []string // by the spans
	for _, s := range sent() {
		if s.GetName() != "event" || hex.EncodeToString(s.GetTraceId()) != theirTrace || hex.EncodeToString(s.GetParentSpanId()) != "b7ad6b7169203331" || s.GetKind() != otelpb.Span_SPAN_KIND_CLIENT {
			t.Errorf("a span is %v", s)
		}
		want = append(want, "00-"+theirTrace+"-"+hex.EncodeToString(s.GetSpanId())+"-01")
		if failed := s.GetStatus().GetCode() == otelpb.Status_STATUS_CODE_ERROR; failed != (len(want) == 1) {
			t.Errorf("try %d came to %v", len(want), s.GetStatus())
		}
	}
	want = append(want, "") // what is not traced has none
	slices.Sort(want)
	if slices.Sort(headers); len(want) != 3 || !slices.Equal(headers, want) {
		t.Errorf("the backend was told %q, the spans are %q", headers, want)
	}
}

// Where no collector is named, nothing is done at all.
func TestTracingOff(t *testing.T) {
	traces, err := newTracing(t.Context(), Config{}, Worker, zap.NewNop())
	if traces != nil || err != nil {
		t.Fatalf("tracing: %v %v", traces, err)
	}
	api := http.NewServeMux()
	if traces.asked(api) != http.Handler(api) || traces.kept() != nil || traces.delivery() != nil {
		t.Error("requests are traced")
	}
	config := Config{}
	traces.carry(&config.Temporal)
	if config.Temporal.ContextPropagators != nil || config.Temporal.Interceptors != nil {
		t.Error("runs are traced")
	}
	if n := testing.AllocsPerRun(100, func() { traces.call(context.Background(), truelayer.Call{}) }); n > 0 {
		t.Errorf("a call costs %v allocations", n)
	}
	traces.close()
}
