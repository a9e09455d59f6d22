package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"payouts/activities"
	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
	"payouts/workflows"
)

// flushWithin is how long a program that ends waits for the collector.
const flushWithin = 5 * time.Second

// tracing makes the spans of one program (docs/decisions/0018-traces.md): of
// the request for a payout, of each step of its run, of each call to the
// provider, of each webhook, of each event to the backend. They say what and how long, and which payout; never
// who. nil makes none, at no cost.
type tracing struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	log      *zap.Logger
}

// newTracing begins to send spans to where the configuration says; nil where it
// says nothing. A collector that is down costs spans, and nothing else.
func newTracing(ctx context.Context, c Config, p Program, log *zap.Logger) (*tracing, error) {
	if c.TracesURL == "" {
		return nil, nil //nolint:nilnil // no tracing is one
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.TracesURL))
	if err != nil {
		return nil, fmt.Errorf("OTEL_*: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attribute.String("service.name", "payouts-"+string(p))), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_*: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	// OpenTelemetry has one place in a process for what keeps spans from leaving.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces not sent", zap.Error(err)) }))
	return &tracing{provider.Tracer("payouts"), provider, log}, nil
}

// close sends what is left.
func (t *tracing) close() {
	if t == nil {
		return
	}
	within, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := t.provider.Shutdown(within); err != nil {
		t.log.Warn("traces not sent", zap.Error(err))
	}
}

// traceparent is what the trace of ctx is known by; "" where it is not kept. A
// tracestate is others' text, and is never passed on.
func traceparent(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

// under puts ctx under the trace of a traceparent. One that cannot be read is
// none, as W3C wants it.
func under(ctx context.Context, traceparent string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
}

// asked makes a span of each request for a payout or refund, within the
// caller's trace where it came with one. Other requests begin nothing.
func (t *tracing) asked(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/payouts" && r.URL.Path != "/v1/refunds" {
			next.ServeHTTP(w, r)
			return
		}
		ctx, span := t.tracer.Start(under(r.Context(), r.Header.Get("traceparent")), "POST "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", r.Method), attribute.String("http.route", r.URL.Path)))
		defer span.End()
		seen := &statusSeen{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(seen, r.WithContext(ctx))
		span.SetAttributes(attribute.Int("http.response.status_code", seen.status))
		if seen.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	})
}

type statusSeen struct {
	http.ResponseWriter
	status int
}

func (s *statusSeen) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *statusSeen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// kept is the traceparent that the books keep with what is asked for.
func (t *tracing) kept() func(context.Context) string {
	if t == nil {
		return nil
	}
	return traceparent
}

// runs starts runs within the traces of their payouts, whoever starts them: the
// books know them, so that the sweeper's run and one for late word do too.
func (t *tracing) runs(runs workflows.Client, books *ledger.Ledger) activities.Runs {
	if t == nil {
		return runs
	}
	return tracedRuns{runs, books, t.log}
}

type tracedRuns struct {
	workflows.Client
	books *ledger.Ledger
	log   *zap.Logger
}

func (r tracedRuns) Start(ctx context.Context, d payout.Due) error {
	trace.SpanFromContext(ctx).SetAttributes(payoutID(d.ID)) // of the request, where this is one
	known := traceparent(ctx)
	if known == "" {
		var err error
		if known, err = r.books.Trace(ctx, d.ID); err != nil {
			r.log.Warn("trace not read; the run starts without", zap.String("payout_id", string(d.ID)), zap.Error(err))
		}
	}
	return r.Client.Start(workflows.WithTrace(ctx, known), d)
}

func payoutID(id payout.ID) attribute.KeyValue { return attribute.String("payout_id", string(id)) }

// carry makes a client of Temporal carry traces, and its workers make a span of
// each step.
func (t *tracing) carry(o *client.Options) {
	if t != nil {
		o.ContextPropagators = append(o.ContextPropagators, workflows.TracePropagator())
		o.Interceptors = append(o.Interceptors, &stepTracing{tracing: t})
	}
}

type stepTracing struct {
	interceptor.InterceptorBase
	*tracing
}

func (s *stepTracing) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &stepSpans{interceptor.ActivityInboundInterceptorBase{Next: next}, s.tracing}
}

type stepSpans struct {
	interceptor.ActivityInboundInterceptorBase
	*tracing
}

// ExecuteActivity makes a span of a step whose run carries a trace. Workflows
// make none: they replay.
func (s *stepSpans) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	known := workflows.TraceFrom(ctx)
	if known == "" {
		return s.Next.ExecuteActivity(ctx, in)
	}
	info := activity.GetInfo(ctx)
	attributes := []attribute.KeyValue{attribute.String("workflow_id", info.WorkflowExecution.ID), attribute.String("run_id", info.WorkflowExecution.RunID),
		attribute.Int("try", int(info.Attempt))}
	if len(in.Args) == 1 {
		if about, ok := in.Args[0].(activities.Input); ok {
			attributes = append(attributes, payoutID(about.PayoutID))
		}
	}
	ctx, span := s.tracer.Start(under(ctx, known), info.ActivityType.Name, trace.WithAttributes(attributes...))
	defer span.End()
	out, err := s.Next.ExecuteActivity(ctx, in)
	var packed *temporal.ApplicationError
	switch {
	case err == nil:
	case errors.As(err, &packed) && packed.Category() == temporal.ApplicationErrorCategoryBenign:
		span.SetAttributes(attribute.String("again", packed.Type())) // a day like any other: it is done again
	case packed != nil:
		span.SetStatus(codes.Error, packed.Type()) // its kind; its text may be the provider's
	default:
		span.SetStatus(codes.Error, "")
	}
	return out, err
}

// call makes a span of an exchange with the provider that a step made. Nothing
// of the trace goes to the provider.
func (t *tracing) call(ctx context.Context, c truelayer.Call) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return
	}
	ended := time.Now()
	attributes := []attribute.KeyValue{attribute.String("peer.service", "truelayer"), attribute.String("answer", string(c.Answer))}
	if c.Status > 0 {
		attributes = append(attributes, attribute.Int("http.response.status_code", c.Status))
	}
	_, span := t.tracer.Start(ctx, c.Op, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(ended.Add(-c.Took)), trace.WithAttributes(attributes...))
	if c.Answer == payout.AnswerUnknown || c.Answer == payout.AnswerNotSent {
		span.SetStatus(codes.Error, string(c.Answer))
	}
	span.End(trace.WithTimestamp(ended))
}

// storing makes a span of each webhook within the trace of the payout that it
// is about. What strangers send begins no trace, and no header of theirs is
// read.
func (t *tracing) storing(books *ledger.Ledger) func(context.Context, payout.News) (payout.Stored, error) {
	if t == nil {
		return books.StoreNews
	}
	return func(ctx context.Context, n payout.News) (payout.Stored, error) {
		began := time.Now()
		stored, err := books.StoreNews(ctx, n)
		if err != nil || stored.PayoutID == "" || stored.Repeat {
			return stored, err
		}
		known, unread := books.Trace(ctx, stored.PayoutID)
		if unread != nil {
			t.log.Warn("trace not read; the webhook is not in it", zap.String("payout_id", string(stored.PayoutID)), zap.Error(unread))
		}
		if known == "" {
			return stored, nil
		}
		_, span := t.tracer.Start(under(ctx, known), "webhook", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(began),
			trace.WithAttributes(payoutID(stored.PayoutID), attribute.String("type", n.Type), attribute.Bool("wakes", stored.Wake)))
		span.End()
		return stored, nil
	}
}

// delivery makes a span of each delivery of an event about what was asked for
// within a trace, and has the backend told of it, so that it goes on with the
// trace it began.
func (t *tracing) delivery() func(context.Context, payout.Event) (string, func(status int)) {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, e payout.Event) (string, func(status int)) {
		if e.Traceparent == "" {
			return "", func(int) {}
		}
		ctx, span := t.tracer.Start(under(ctx, e.Traceparent), "event", trace.WithSpanKind(trace.SpanKindClient),
			trace.WithAttributes(attribute.String("type", e.Type), attribute.String("event_id", e.ID), attribute.Int("try", e.Tries+1)))
		if !strings.HasPrefix(e.Type, "case.") {
			span.SetAttributes(payoutID(payout.ID(e.SubjectID)))
		}
		return traceparent(ctx), func(status int) {
			if status > 0 {
				span.SetAttributes(attribute.Int("http.response.status_code", status))
			}
			if status/100 != 2 { // it is tried again
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}
	}
}
