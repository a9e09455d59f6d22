package app

import (
	"fmt"
	"testing"

	sdklog "go.temporal.io/sdk/log"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A line of the SDK about a payout's run says payout_id, once.
func TestSDKLinesNamePayouts(t *testing.T) {
	core, seen := observer.New(zap.InfoLevel)
	sdk := sdkLogger(zap.New(core).Named("temporal"))
	for name, test := range map[string]struct {
		with, line []any
		want       string // payout_ids, in their order
	}{
		"an activity":               {[]any{"Namespace", "n", "WorkflowID", "payout/p-1", "Attempt", 1}, nil, "[p-1]"},
		"an activity that says it":  {[]any{"WorkflowID", "payout/p-1"}, []any{"payout_id", "p-1", "error", "e"}, "[p-1]"},
		"a line that says it alone": {nil, []any{"payout_id", "p-1"}, "[p-1]"},
		"late word":                 {nil, []any{"WorkflowID", "payout-return/p-1", "RunID", "r"}, "[p-1]"},
		"a refund":                  {[]any{"WorkflowID", "refund/r-1"}, []any{"RunID", "r"}, "[r-1]"},
		"a refund's late word":      {[]any{"WorkflowID", "refund-return/r-1"}, nil, "[r-1]"},
		"a sweep":                   {[]any{"WorkflowID", "sweep-2026-01-01T00:00:00Z"}, nil, "[]"},
		"no run":                    {[]any{"Namespace", "n"}, nil, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			sdklog.With(sdk, test.with...).Warn("it happens", test.line...)
			sdklog.With(sdk, test.with...).Debug("of no interest", test.line...)
			lines := seen.TakeAll()
			if len(lines) != 1 || lines[0].Message != "it happens" || lines[0].LoggerName != "temporal" {
				t.Fatalf("logged %v", lines)
			}
			ids := []string{}
			for _, f := range lines[0].Context {
				if f.Key == "payout_id" && f.Type == zapcore.StringType {
					ids = append(ids, f.String)
				}
			}
			if got := fmt.Sprint(ids); got != test.want {
				t.Errorf("it is about %s, want %s", got, test.want)
			}
		})
	}
}
