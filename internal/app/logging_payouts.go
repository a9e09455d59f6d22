package app

import (
	"log/slog"
	"slices"
	"strings"

	sdklog "go.temporal.io/sdk/log"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	"go.uber.org/zap/zapcore"
)

// sdkLogger has the Temporal SDK write where all else is written. Stacks of
// its errors are its own, and say nothing about ours.
func sdkLogger(log *zap.Logger) sdklog.Logger {
	return sdklog.NewStructuredLogger(slog.New(zapslog.NewHandler(aboutPayouts{Core: log.Core()}, zapslog.WithName(log.Name()), zapslog.AddStacktraceAt(slog.LevelError+1))))
}

// aboutPayouts gives each line of the Temporal SDK that says which run it is
// about, those of activities and workflows among them, the payout_id that all
// other lines about a payout have.
type aboutPayouts struct {
	zapcore.Core
	said bool // payout_id is among the fields that every line gets
}

// With implements zapcore.Core.
func (c aboutPayouts) With(fields []zapcore.Field) zapcore.Core {
	fields, said := c.name(fields)
	return aboutPayouts{c.Core.With(fields), c.said || said}
}

// Check implements zapcore.Core.
func (c aboutPayouts) Check(entry zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return to.AddCore(entry, c)
	}
	return to
}

// Write implements zapcore.Core.
func (c aboutPayouts) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	fields, _ = c.name(fields)
	return c.Core.Write(entry, fields)
}

const payoutIDField = "payout_id"

// name adds payout_id to fields that say a payout's run, once in a line.
func (c aboutPayouts) name(fields []zapcore.Field) (named []zapcore.Field, said bool) {
	is := func(f zapcore.Field) bool { return f.Key == payoutIDField }
	if c.said {
		return slices.DeleteFunc(slices.Clone(fields), is), false
	}
	if slices.ContainsFunc(fields, is) {
		return fields, true
	}
	for _, f := range fields {
		if id := payoutOf(f); id != "" {
			return append(slices.Clone(fields), zap.String(payoutIDField, id)), true
		}
	}
	return fields, false
}

// payoutOf is the payout or refund that a workflow id is about; "" for none.
func payoutOf(f zapcore.Field) string {
	if f.Key != "WorkflowID" || f.Type != zapcore.StringType {
		return ""
	}
	kind, id, _ := strings.Cut(f.String, "/")
	if slices.Contains([]string{"payout", "refund", "payout-return", "refund-return"}, kind) {
		return id
	}
	return ""
}
