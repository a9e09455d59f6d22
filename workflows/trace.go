package workflows

import (
	"context"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"
)

// headerTrace is the header under which a run, and each of its steps, carries
// what the trace of its payout is known by: a W3C traceparent. Wire format.
const headerTrace = "traceparent"

type traceKey struct{}

// WithTrace makes a run that is started with ctx carry a traceparent; "" none.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	if traceparent == "" {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// TraceFrom is the traceparent that the run of a step carries; "" for none.
func TraceFrom(ctx context.Context) string {
	traceparent, _ := ctx.Value(traceKey{}).(string)
	return traceparent
}

// TracePropagator takes the traceparent of a run's start to its steps. Headers
// are no part of a workflow's commands, so runs replay with it, without it, and
// with another one. A signal carries none: nobody would read it.
func TracePropagator() workflow.ContextPropagator { return tracePropagator{} }

type tracePropagator struct{}

func (tracePropagator) Inject(ctx context.Context, w workflow.HeaderWriter) error {
	return injectTrace(TraceFrom(ctx), w)
}

func (tracePropagator) InjectFromWorkflow(ctx workflow.Context, w workflow.HeaderWriter) error {
	traceparent, _ := ctx.Value(traceKey{}).(string)
	return injectTrace(traceparent, w)
}

func (tracePropagator) Extract(ctx context.Context, r workflow.HeaderReader) (context.Context, error) {
	return WithTrace(ctx, extractTrace(r)), nil
}

func (tracePropagator) ExtractToWorkflow(ctx workflow.Context, r workflow.HeaderReader) (workflow.Context, error) {
	if traceparent := extractTrace(r); traceparent != "" {
		ctx = workflow.WithValue(ctx, traceKey{}, traceparent)
	}
	return ctx, nil
}

func injectTrace(traceparent string, w workflow.HeaderWriter) error {
	if traceparent == "" {
		return nil
	}
	payload, err := converter.GetDefaultDataConverter().ToPayload(traceparent)
	if err == nil {
		w.Set(headerTrace, payload)
	}
	return err
}

// extractTrace reads the header. What cannot be read is no trace, and never a
// reason for a payout to stand still.
func extractTrace(r workflow.HeaderReader) (traceparent string) {
	payload, found := r.Get(headerTrace)
	if !found || converter.GetDefaultDataConverter().FromPayload(payload, &traceparent) != nil {
		return ""
	}
	return traceparent
}
