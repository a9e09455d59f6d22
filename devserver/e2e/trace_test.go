package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/proto"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otelpb "go.opentelemetry.io/proto/otlp/common/v1"
)

// collector takes traces by OTLP over HTTP, as any other does.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []span
}

// span is what the scenarios look at of one.
type span struct {
	trace, id, parent string // in hex
	program, name     string
	said              map[string]string // its attributes
}

func collect(t testing.TB) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var batch collectorpb.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(body, &batch)
		}
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" {
			t.Errorf("the collector got %s %s: %v", r.Method, r.URL.Path, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.take(&batch)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) take(batch *collectorpb.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range batch.GetResourceSpans() {
		program := said(of.GetResource().GetAttributes())["service.name"]
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{hex.EncodeToString(s.GetTraceId()), hex.EncodeToString(s.GetSpanId()), hex.EncodeToString(s.GetParentSpanId()),
					program, s.GetName(), said(s.GetAttributes())})
			}
		}
	}
}

func said(attributes []*otelpb.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		all[a.GetKey()] = a.GetValue().GetStringValue()
		if _, text := a.GetValue().GetValue().(*otelpb.AnyValue_StringValue); !text {
			all[a.GetKey()] = a.GetValue().String()
		}
	}
	return all
}

// of are the spans of a trace, oldest exported first.
func (c *collector) of(trace string) []span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.spans), func(s span) bool { return s.trace != trace })
}

// awaitSpans waits until a trace has spans of these names, and answers with one
// of each.
func (c *collector) awaitSpans(t testing.TB, trace string, names ...string) map[string]span {
	t.Helper()
	found := map[string]span{}
	await(t, soon, func() bool {
		for _, s := range c.of(trace) {
			found[s.name] = s
		}
		return !slices.ContainsFunc(names, func(name string) bool { return found[name].id == "" })
	}, func() string {
		return fmt.Sprintf("trace %s has spans %v, want %v", trace, slices.Sorted(maps.Keys(found)), names)
	})
	return found
}

// paysWithin asks for a payout within the caller's own trace.
func (h *house) paysWithin(traceparent string, p player, minor int64, reference string) string {
	h.t.Helper()
	body, err := json.Marshal(p.wish(minor, reference))
	if err != nil {
		h.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.backend.url+"/v1/payouts", bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + h.backend.token, "Content-Type": "application/json", "Idempotency-Key": uuid.NewString(),
		"traceparent": traceparent, "tracestate": "vendor=secret", "baggage": "name=secret"} {
		request.Header.Set(name, value)
	}
	response, err := wire.Do(request)
	if err != nil {
		h.t.Fatal(err)
	}
	defer response.Body.Close()
	var made payout
	if err := json.NewDecoder(response.Body).Decode(&made); err != nil || response.StatusCode != http.StatusCreated {
		h.t.Fatalf("answered %s %v, want 201", response.Status, err)
	}
	return made.ID
}

// traceOf makes a trace as a game backend would: its id, its span's, and the
// header of both.
func traceOf(flags string) (trace, parent, traceparent string) {
	trace, parent = strings.ReplaceAll(uuid.NewString(), "-", ""), strings.ReplaceAll(uuid.NewString(), "-", "")[:16]
	return trace, parent, "00-" + trace + "-" + parent + "-" + flags
}

// headers counts the events of a history that carry a traceparent, and the
// bytes of those headers.
func headers(history []*historypb.HistoryEvent) (events, size int) {
	for _, event := range history {
		for _, header := range []*commonpb.Header{event.GetWorkflowExecutionStartedEventAttributes().GetHeader(),
			event.GetActivityTaskScheduledEventAttributes().GetHeader(), event.GetWorkflowExecutionSignaledEventAttributes().GetHeader()} {
			if header.GetFields()["traceparent"] != nil {
				events, size = events+1, size+proto.Size(header)
			}
		}
	}
	return events, size
}

// hears is a game backend that takes events, and what it is told of traces by
// payout: the traceparent of each event, in the order in which they came.
func hears(t testing.TB) (env map[string]string, of func(payout string) []string) {
	secret := []byte(strings.ReplaceAll(uuid.NewString(), "-", ""))
	verifier, err := standardwebhooks.NewWebhookRaw(secret)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "events.secret")
	if err := os.WriteFile(file, []byte("whsec_"+base64.StdEncoding.EncodeToString(secret)), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	heard := map[string][]string{}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ Data struct{ ID string } }
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = errors.Join(verifier.Verify(body, r.Header), json.Unmarshal(body, &event))
		}
		if err != nil {
			t.Errorf("an event: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		heard[event.Data.ID] = append(heard[event.Data.ID], r.Header.Get("traceparent"))
	}))
	t.Cleanup(backend.Close)
	return map[string]string{"EVENTS_URL": backend.URL, "EVENTS_SECRET_FILE": file}, func(payout string) []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(heard[payout])
	}
}

// One trace leads from the game backend's request over the run to the calls to
// the provider and the webhook, and back to it with each event, also where nobody but the sweeper could start
// the run. It says which payout, and nothing about whose.
func TestTraced(t *testing.T) {
	t.Parallel()
	traces, addr := collect(t), freeAddress(t)
	environment := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": traces.URL, "OTEL_BSP_SCHEDULE_DELAY": "100"}
	backend, told := hears(t)
	maps.Copy(environment, backend)
	maps.Copy(environment, far)
	h := open(t, plan{env: environment, temporal: addr, down: []string{"worker", "gateway"}})

	// Temporal is down, and the starter dies: the row alone knows the trace.
	winner := h.wins(30_00)
	adoptedTrace, adoptedParent, adoptedHeader := traceOf("01")
	adopted := h.paysWithin(adoptedHeader, winner, 10_00, "ADOPTED")
	traces.awaitSpans(t, adoptedTrace, "POST /v1/payouts")
	h.kill("starter")
	h.start("gateway")
	h.start("worker")
	ownServer(t, addr)
	h.awaitReady("worker")
	h.restart("starter")
	trace, parent, header := traceOf("01")
	atOnce := h.paysWithin(header, winner, 10_00, "AT ONCE")
	unsampledTrace, _, unsampledHeader := traceOf("00")
	unsampled := h.paysWithin(unsampledHeader, winner, 10_00, "UNSAMPLED")

	names := []string{"POST /v1/payouts", "CreatePayout", "create payout", "webhook", "ReconcilePayout", "get payout", "event"}
	for id, its := range map[string]struct{ trace, parent string }{adopted: {adoptedTrace, adoptedParent}, atOnce: {trace, parent}} {
		h.awaitPayout(id, "executed", soon, func(p payout) bool { return p.Status == "executed" })
		spans := traces.awaitSpans(t, its.trace, names...)
		request := spans["POST /v1/payouts"]
		for name, want := range map[string]struct{ parent, program string }{
			"POST /v1/payouts": {its.parent, "payouts-starter"}, "CreatePayout": {request.id, "payouts-worker"}, "create payout": {spans["CreatePayout"].id, "payouts-worker"},
			"webhook": {request.id, "payouts-gateway"}, "ReconcilePayout": {request.id, "payouts-worker"}, "get payout": {spans["ReconcilePayout"].id, "payouts-worker"}, "event": {request.id, "payouts-worker"},
		} {
			if got := spans[name]; got.parent != want.parent || got.program != want.program {
				t.Errorf("%s is of %s under %s, want %s under %s", name, got.program, got.parent, want.program, want.parent)
			}
		}
		for _, name := range []string{"CreatePayout", "webhook", "ReconcilePayout", "event"} {
			if spans[name].said["payout_id"] != id {
				t.Errorf("%s is about %q, want %s", name, spans[name].said["payout_id"], id)
			}
		}
		await(t, soon, func() bool { // accepted, pending, executed
			var sent []string
			for _, s := range traces.of(its.trace) {
				if s.name == "event" {
					sent = append(sent, "00-"+its.trace+"-"+s.id+"-01")
				}
			}
			heard := told(id)
			slices.Sort(sent)
			slices.Sort(heard)
			return len(heard) == 3 && slices.Equal(heard, sent)
		}, func() string {
			return fmt.Sprintf("the backend was told %q of trace %s, and its spans are %v", told(id), its.trace, traces.of(its.trace))
		})
		for _, s := range traces.of(its.trace) {
			text := strings.ToLower(s.name + fmt.Sprint(s.said))
			for _, theirs := range []string{winner.id, winner.user, winner.source, "ADOPTED", "AT ONCE", "secret"} {
				if strings.Contains(text, strings.ToLower(theirs)) {
					t.Errorf("%s says %s: %s", s.name, theirs, text)
				}
			}
		}
	}
	for _, r := range h.sim.Journal().Requests {
		for name := range r.Header {
			if low := strings.ToLower(name); strings.HasPrefix(low, "trace") || low == "baggage" {
				t.Errorf("the provider is told %s", name)
			}
		}
	}

	// What it costs Temporal: no event, and few bytes.
	history := h.history("payout/"+atOnce, "")
	events, size := headers(history)
	t.Logf("%d events, %d headers of %d bytes", len(history), events, size)
	if events != 3 || size > 400 { // the start and two steps; no signal
		t.Errorf("%d events carry a trace, %d bytes; want 3 and few", events, size)
	}

	// Who does not want it recorded gets none.
	h.awaitPayout(unsampled, "executed", soon, func(p payout) bool { return p.Status == "executed" })
	if events, _ := headers(h.history("payout/"+unsampled, "")); events > 0 || len(traces.of(unsampledTrace)) > 0 {
		t.Errorf("an unsampled trace has %d spans and %d headers", len(traces.of(unsampledTrace)), events)
	}
	await(t, soon, func() bool { return len(told(unsampled)) == 3 }, func() string { return fmt.Sprintf("the backend was told %q of it", told(unsampled)) })
	if strings.Join(told(unsampled), "") != "" {
		t.Errorf("the backend is told a trace that nobody records: %q", told(unsampled))
	}
}
