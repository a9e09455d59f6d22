package app

import (
	"context"
	"net/url"

	"go.uber.org/zap"
)

// traces sends a span to where spans go. Payouts do without, so it never fails.
func (d *doctor) traces(ctx context.Context) Finding {
	if d.config.TracesURL == "" {
		return passed("off: OTEL_EXPORTER_OTLP_ENDPOINT is not set")
	}
	const change = "OTEL_EXPORTER_OTLP_ENDPOINT: name a collector that runs and takes OTLP over HTTP (and OTEL_EXPORTER_OTLP_HEADERS where it asks for a token);\npayouts go on without traces"
	at := d.config.TracesURL
	if u, err := url.Parse(at); err == nil {
		at = u.Redacted()
	}
	t, err := newTracing(ctx, d.config, "doctor", zap.NewNop())
	if err != nil {
		return warned(change, "%s: %v", at, err)
	}
	_, span := t.tracer.Start(ctx, "doctor")
	span.End()
	if !span.SpanContext().IsSampled() {
		return warned("OTEL_TRACES_SAMPLER: take it out, or let it keep some", "%s: this span is not one of those that are kept", at)
	}
	if err := t.provider.ForceFlush(ctx); err != nil {
		return warned(change, "%s did not take a span: %v", at, err)
	}
	return passed("%s took a span", at)
}
