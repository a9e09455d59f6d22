package workflows

import (
	"context"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

type fields map[string]*commonpb.Payload

func (f fields) Set(key string, value *commonpb.Payload) { f[key] = value }

// A run that was started with a traceparent takes it to its steps. A header
// that cannot be read stops nothing.
func TestTracePropagator(t *testing.T) {
	const theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	begun := func(traceparent string) fields {
		f := fields{}
		if err := TracePropagator().Inject(WithTrace(t.Context(), traceparent), f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	if none := begun(""); len(none) > 0 {
		t.Errorf("without a traceparent the header is %v", none)
	}
	for name, test := range map[string]struct {
		header fields
		want   string
	}{
		"a traceparent": {begun(theirs), theirs},
		"none":          {begun(""), ""},
		"nonsense":      {fields{headerTrace: {Metadata: map[string][]byte{"encoding": []byte("odd")}, Data: []byte("{")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var suite testsuite.WorkflowTestSuite
			suite.SetContextPropagators([]workflow.ContextPropagator{TracePropagator()})
			suite.SetHeader(&commonpb.Header{Fields: test.header})
			env := suite.NewTestWorkflowEnvironment()
			env.RegisterActivityWithOptions(func(ctx context.Context) (string, error) { return TraceFrom(ctx), nil }, activity.RegisterOptions{Name: "step"})
			env.ExecuteWorkflow(func(ctx workflow.Context) (got string, err error) {
				own, _ := workflow.NewDisconnectedContext(ctx) // as a payout's run goes on in
				err = workflow.ExecuteActivity(workflow.WithActivityOptions(own, workflow.ActivityOptions{StartToCloseTimeout: time.Minute}), "step").Get(own, &got)
				return got, err
			})
			var got string
			if err := env.GetWorkflowResult(&got); err != nil || got != test.want {
				t.Errorf("the step has %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
