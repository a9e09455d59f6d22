package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.uber.org/zap"

	"payouts/workflows"
)

// workerMakes is the hint for what the worker asserts each minute.
const workerMakes = "start the worker: it makes them, and makes them again each minute where they are lost"

// temporal sees whether the server answers and has our namespace.
func (d *doctor) temporal(ctx context.Context) Finding {
	server, namespace := d.config.server(), d.config.namespace()
	var err error
	if d.dialled, err = dialTemporal(d.config, NewMetrics(time.Now), nil, zap.NewNop()); err != nil {
		return failed("TEMPORAL_*: correct the variables of the Temporal client", "%v", err)
	}
	found, err := d.dialled.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	if err != nil {
		return temporalFault(d.config, err)
	}
	return passed("%s has namespace %s; closed runs are kept for %s", server, namespace,
		short(found.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration()))
}

// temporalFault tells why Temporal gives no answer about our namespace.
func temporalFault(c Config, err error) Finding {
	var (
		missing *serviceerror.NamespaceNotFound
		gone    *serviceerror.NotFound
		denied  *serviceerror.PermissionDenied
	)
	server, namespace := c.server(), c.namespace()
	switch {
	case errors.As(err, &missing), errors.As(err, &gone):
		return failed("TEMPORAL_NAMESPACE: name one that exists, or make it: temporal operator namespace create --namespace "+namespace+" --retention 168h",
			"%s answers and has no namespace %s", server, namespace)
	case errors.As(err, &denied):
		return failed("TEMPORAL_API_KEY, TEMPORAL_TLS_*: want credentials that may use namespace "+namespace, "%s: %v", server, err)
	}
	return failed("TEMPORAL_ADDRESS: name a Temporal server that runs and that this machine may reach (and TEMPORAL_TLS_*, TEMPORAL_API_KEY where it asks for them);\n"+
		"until then payouts are accepted and wait", "%s does not answer: %v", server, err)
}

// searchAttributes sees whether the attributes of a payout's run are
// registered, and with the right type.
func (d *doctor) searchAttributes(ctx context.Context) Finding {
	known, err := d.dialled.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: d.config.namespace()})
	if err != nil {
		return failed("TEMPORAL_*: want credentials that may list search attributes", "%v", err)
	}
	var missing, wrong []string
	want := []temporal.SearchAttributeKey{workflows.AttributePayoutID, workflows.AttributePlayerID, workflows.AttributeStatus,
		workflows.AttributeFailureReason, workflows.AttributeCurrency, workflows.AttributeAmount}
	for _, key := range want {
		switch kind, is := known.GetCustomAttributes()[key.GetName()]; {
		case !is || kind == enumspb.INDEXED_VALUE_TYPE_UNSPECIFIED:
			missing = append(missing, key.GetName())
		case kind != key.GetValueType():
			wrong = append(wrong, fmt.Sprintf("%s is %s, not %s", key.GetName(), kind, key.GetValueType()))
		}
	}
	switch {
	case len(wrong) > 0:
		return failed("TEMPORAL_NAMESPACE: somebody else uses these names; take a namespace of our own", "%s", strings.Join(wrong, "; "))
	case len(missing) > 0:
		return failed(workerMakes, "not registered: %s", strings.Join(missing, ", "))
	}
	return passed("all %d are registered", len(want))
}

// schedule sees whether the sweeper's schedule is there and runs.
func (d *doctor) schedule(ctx context.Context) Finding {
	sweep, err := d.dialled.ScheduleClient().GetHandle(ctx, workflows.SweepID).Describe(ctx)
	var missing *serviceerror.NotFound
	switch {
	case errors.As(err, &missing):
		return failed(workerMakes, "schedule %s is not there", workflows.SweepID)
	case err != nil:
		return failed("TEMPORAL_*: want credentials that may read schedules", "schedule %s: %v", workflows.SweepID, err)
	case sweep.Schedule.State != nil && sweep.Schedule.State.Paused:
		return failed("unpause it in Temporal's UI (Schedules): temporal schedule toggle --schedule-id "+workflows.SweepID+" --unpause",
			"schedule %s is paused: %s", workflows.SweepID, sweep.Schedule.State.Note)
	}
	last := time.Time{}
	if recent := sweep.Info.RecentActions; len(recent) > 0 {
		last = slices.MaxFunc(recent, func(a, b client.ScheduleActionResult) int { return a.ActualTime.Compare(b.ActualTime) }).ActualTime
	}
	every := time.Duration(0)
	if sweep.Schedule.Spec != nil && len(sweep.Schedule.Spec.Intervals) > 0 {
		every = sweep.Schedule.Spec.Intervals[0].Every
	}
	if last.IsZero() {
		return passed("%s fires each %s; not yet", workflows.SweepID, short(every))
	}
	return passed("%s fires each %s, last at %s", workflows.SweepID, short(every), last.UTC().Format(time.RFC3339))
}

// deployment sees whether new payouts go to workers of this build.
func (d *doctor) deployment(ctx context.Context) Finding {
	ours := d.config.Deployment
	if !ours.Versioned() {
		return passed("workers are not versioned: any takes any payout")
	}
	makeCurrent := fmt.Sprintf("start the worker, and make its build current: temporal worker deployment set-current-version --deployment-name %s --build-id %s", ours.Name, ours.BuildID)
	found, err := d.dialled.WorkerDeploymentClient().GetHandle(ours.Name).Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	var unknown *serviceerror.NotFound
	switch current := found.Info.RoutingConfig.CurrentVersion; {
	case err != nil && !errors.As(err, &unknown):
		return failed("TEMPORAL_*: want credentials that may read worker deployments", "deployment %s: %v", ours.Name, err)
	case err != nil:
		return warned(makeCurrent, "Temporal knows no worker of %s yet; new payouts wait until a build is current", ours)
	case current == nil:
		return warned(makeCurrent, "no build of %s is current: new payouts wait, or go to workers without versions", ours.Name)
	case current.BuildID != ours.BuildID:
		return warned("nothing, if it is meant so; else "+makeCurrent, "new payouts go to build %s, not to %s", current.BuildID, ours.BuildID)
	}
	return passed("new payouts go to %s", ours)
}
