package workflows

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/reflect/protoreflect"

	"payouts/activities"
	"payouts/internal/payout"
)

// Histories of runs that truly were, on a Temporal server, with our programs
// and a provider: make record records them. What an old build wrote, this one
// must be able to go on with. They are never recorded anew: a change that
// cannot replay them breaks payouts under way.
const histories = "testdata/histories"

// required are the histories that must be there: every state of a payout's
// life, by every branch that leads there. Add, never take away.
var required = strings.Fields(`
	executed_by_webhook executed_by_polling executed_by_webhook_while_polling executed_with_news_in_its_last_task executed_after_three_days_of_polling
	executed_after_insufficient_funds executed_after_scheme_error executed_after_server_error
	executed_after_news_while_resting executed_once_let_in executed_by_a_versioned_worker executed_and_a_return_announced

	failed_invalid_iban failed_invalid_iban_by_polling failed_invalid_scan failed_scan_conversion failed_blocked
	failed_insufficient_funds failed_scheme_error failed_server_error failed_refused failed_unknown failed_unlisted_reason
	returned_while_open

	unknown_resolved_by_resend unknown_resolved_by_webhook unknown_resolved_by_statement unknown_past_the_window_found_on_the_statement
	parked_unknown_credited_back_by_two_people parked_unknown_found_by_two_people parked_mismatch_cleared_by_news
	parked_mismatch_cleared_by_polling

	cancelled_and_executed_all_the_same looked_at_by_a_person looked_at_while_asking terminated_by_accident adopted_after_terminate
	reset_to_its_beginning reset_to_its_last_task worker_killed_while_waiting

	late_word_returned late_word_returned_on_the_statement late_word_return_unconfirmed late_word_return_booked_by_two_people
	late_word_executed_after_all late_word_success_unconfirmed late_word_frozen_money_released_by_two_people

	refund_executed_by_webhook refund_executed_by_polling refund_failed refund_refused refund_unknown_resolved_by_resend
	refund_late_word_returned

	sweep

	open_creating open_waiting_for_webhook open_polling open_asking open_resting open_parked open_cancel_asked
	open_late_word_asking open_refund_waiting
`)

// recorded reads all histories, by name.
func recorded(t *testing.T) map[string]*historypb.History {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(histories, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no history (%v): run make record", histories, err)
	}
	all := map[string]*historypb.History{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var h historypb.History
		// Payloads that are JSON are written as such, for people.
		how := temporalproto.CustomJSONUnmarshalOptions{DiscardUnknown: true, Metadata: map[string]any{commonpb.EnablePayloadShorthandMetadataKey: true}}
		if err := how.Unmarshal(text, &h); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".json")] = &h
	}
	return all
}

// replay replays a history against workflows.
func replay(t *testing.T, h *historypb.History, register func(worker.WorkflowRegistry)) error {
	t.Helper()
	replayer := worker.NewWorkflowReplayer()
	register(replayer)
	return replayer.ReplayWorkflowHistory(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), h)
}

// This build goes on with every payout that an earlier one began.
func TestHistories(t *testing.T) {
	all := recorded(t)
	for _, name := range required {
		if all[name] == nil {
			t.Errorf("%s/%s.json is missing: run make record", histories, name)
		}
	}
	for name, h := range all {
		t.Run(name, func(t *testing.T) {
			if err := replay(t, h, RegisterWorkflows); err != nil {
				t.Errorf("%s/%s.json: this build cannot go on with a run that an earlier one began, so payouts under way would stand still: %v", histories, name, err)
			}
		})
	}
}

// The histories hold whatever a run can meet: each step in the provider's and
// in our own hands, each reason, each end, each thing that can happen to a run.
func TestHistoriesCoverEverything(t *testing.T) {
	seen := map[string]bool{}
	var ended []Outcome
	for _, h := range recorded(t) {
		for _, e := range h.GetEvents() {
			seen[e.GetEventType().String()] = true
			seen[e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()] = true
			seen[e.GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()] = true
			var at payout.Position
			for _, result := range e.GetActivityTaskCompletedEventAttributes().GetResult().GetPayloads() {
				if json.Unmarshal(result.GetData(), &at) == nil {
					seen["step "+string(at.Step)], seen["status "+string(at.Status)], seen["reason "+string(at.Reason)] = true, true, true
				}
			}
			var out Outcome
			for _, result := range e.GetWorkflowExecutionCompletedEventAttributes().GetResult().GetPayloads() {
				if json.Unmarshal(result.GetData(), &out) == nil {
					ended = append(ended, out)
				}
			}
		}
	}
	want := []string{PayoutWorkflow, RefundWorkflow, LateWordWorkflow, SweepWorkflow,
		"WorkflowExecutionSignaled", "WorkflowExecutionUpdateCompleted", "WorkflowExecutionCancelRequested", "WorkflowExecutionTerminated",
		"WorkflowTaskFailed", "WorkflowTaskTimedOut", "TimerFired", "TimerCanceled", "ActivityTaskCancelRequested", "WorkflowExecutionTimeSkippingTransitioned"}
	want = slices.AppendSeq(want, maps.Keys(options))
	for _, s := range payout.Statuses() {
		want = append(want, "status "+string(s))
	}
	for _, s := range payout.Steps() {
		want = append(want, "step "+string(s))
	}
	for _, r := range payout.Reasons() {
		want = append(want, "reason "+string(r))
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("no history has %s: add a recording of it to devserver/e2e/recordings_test.go, and run make record", w)
		}
	}
	for _, r := range payout.Reasons() {
		if !slices.ContainsFunc(ended, func(o Outcome) bool { return o.Reason == r }) {
			t.Errorf("no history ends for the reason %s", r)
		}
	}
	if !slices.ContainsFunc(ended, func(o Outcome) bool { return o.Reason != "" && !o.Reason.Listed() }) {
		t.Error("no history ends for a reason that is not listed")
	}
}

// twins are the workflows with one mistake each. They differ from ours in the
// order of what they do only, so nothing but a replay tells them apart.
var twins = map[string]struct {
	register func(worker.WorkflowRegistry)
	of       string // the workflow that it is a twin of
	differs  func(name string, h *historypb.History) bool
}{
	"credits the player back first": {twin(PayoutWorkflow, func(ctx workflow.Context, in Input) (Outcome, error) {
		p := begin(ctx, in, payoutSteps)
		p.release()
		return p.follow(p.create())
	}), PayoutWorkflow, always},
	"creates where all is over": {twin(LateWordWorkflow, func(ctx workflow.Context, in Input) (Outcome, error) {
		p := begin(ctx, in, payoutSteps)
		p.late = true
		return p.follow(p.create())
	}), LateWordWorkflow, always},
	"sweeps twice": {twin(SweepWorkflow, func(ctx workflow.Context) (activities.Swept, error) {
		if done, err := Sweep(ctx); err != nil {
			return done, err
		}
		return Sweep(ctx)
	}), SweepWorkflow, always},
	"refunds as if it were a payout": {twin(RefundWorkflow, Payout), RefundWorkflow, always},
	"polls where it should reconcile": {twin(PayoutWorkflow, func(ctx workflow.Context, in Input) (Outcome, error) {
		p := begin(ctx, in, steps{activityCreatePayout, activityPollPayout, activityPollPayout})
		return p.follow(p.create())
	}), PayoutWorkflow, schedules(activityReconcilePayout)},
	"heeds a cancel": {twin(PayoutWorkflow, func(ctx workflow.Context, in Input) (Outcome, error) {
		p := begin(ctx, in, payoutSteps)
		p.ctx = ctx
		return p.follow(p.create())
	}), PayoutWorkflow, func(name string, _ *historypb.History) bool { return name == "cancelled_and_executed_all_the_same" }},
	"asks before it creates": {twin(PayoutWorkflow, func(ctx workflow.Context, in Input) (Outcome, error) {
		p := begin(ctx, in, payoutSteps)
		return p.follow(p.reconcile())
	}), PayoutWorkflow, always},
	"tells the UI before anything": {twin(PayoutWorkflow, func(ctx workflow.Context, in Input) (Outcome, error) {
		p := begin(ctx, in, payoutSteps)
		p.upsert([]temporal.SearchAttributeUpdate{AttributeStatus.ValueSet("begun")})
		return p.follow(p.create())
	}), PayoutWorkflow, always},
}

func always(string, *historypb.History) bool { return true }

func schedules(activity string) func(string, *historypb.History) bool {
	return func(_ string, h *historypb.History) bool {
		return slices.ContainsFunc(h.GetEvents(), func(e *historypb.HistoryEvent) bool {
			return e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == activity
		})
	}
}

// twin registers one workflow instead of ours.
func twin(name string, broken any) func(worker.WorkflowRegistry) {
	return func(r worker.WorkflowRegistry) {
		r.RegisterWorkflowWithOptions(broken, workflow.RegisterOptions{Name: name})
	}
}

// A workflow with a mistake in it is rejected by every history that it would
// have lived otherwise: a replay that accepts anything protects nothing.
func TestBrokenTwinsAreRejected(t *testing.T) {
	all := recorded(t)
	for what, broken := range twins {
		t.Run(what, func(t *testing.T) {
			rejected := 0
			for name, h := range all {
				if h.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName() != broken.of || !broken.differs(name, h) {
					continue
				}
				if err := replay(t, h, broken.register); err == nil {
					t.Errorf("%s accepts it", name)
				} else if !strings.Contains(err.Error(), "TMPRL1100") {
					t.Errorf("%s rejects it, and not because of what it does: %v", name, err)
				}
				rejected++
			}
			if rejected == 0 {
				t.Error("no history is of a run that would have differed")
			}
		})
	}
}

// A history is held in clear by Temporal, and ours by a repository: nothing in
// it says who a player is.
func TestHistoriesHoldNothingPersonal(t *testing.T) {
	for name, h := range recorded(t) {
		t.Run(name, func(t *testing.T) {
			for _, found := range telling(h) {
				t.Error(found)
			}
		})
	}
}

// The test above bites.
func TestPersonalIsNoticed(t *testing.T) {
	signal := func(payload string) *historypb.HistoryEvent {
		return &historypb.HistoryEvent{Attributes: &historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes{
			WorkflowExecutionSignaledEventAttributes: &historypb.WorkflowExecutionSignaledEventAttributes{Input: &commonpb.Payloads{Payloads: []*commonpb.Payload{
				{Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)}, Data: []byte(payload)}}}}}}
	}
	for payload, noticed := range map[string]bool{
		`{"inbox_id": "01a1fa88-f090-79a4-8892-3b91190feb75"}`:               false,
		`"£10.00 to player player-42"`:                                       false,
		`{"inbox_id": "01a1fa88", "account_holder_name": "A. N. Other"}`:     true,
		`{"inbox_id": "GB29NWBK60161331926819"}`:                             true,
		`"£10.00 to GB29 NWBK 6016 1331 9268 19"`:                            true,
		`"£10.00 to 60-16-13 31926819"`:                                      true,
		`"£10.00 to account 31926819"`:                                       true,
		`"£10.00 to player@example.com"`:                                     true,
		`"open /home/somebody/books.db: no such file"`:                       true,
		`{"status": "pending", "step": "wait", "attempt": 1, "name": "Ada"}`: true,
	} {
		if found := telling(&historypb.History{Events: []*historypb.HistoryEvent{signal(payload)}}); (len(found) > 0) != noticed {
			t.Errorf("%s: found %v, want something found: %v", payload, found, noticed)
		}
	}
}

// telling names what in a history may be personal.
func telling(h *historypb.History) (found []string) {
	each(h.ProtoReflect(), func(where string, m protoreflect.Message) {
		if p, is := m.Interface().(*commonpb.Payload); is {
			if why := unknownShape(p); why != "" {
				found = append(found, where+": "+why)
			}
		}
	}, func(where, text string) {
		for what, pattern := range personal {
			if like := pattern.FindString(text); like != "" {
				found = append(found, fmt.Sprintf("%s holds %q, which looks like %s", where, like, what))
			}
		}
	})
	return found
}

// personal is what people and their accounts look like in text.
var personal = map[string]*regexp.Regexp{
	"an IBAN":               regexp.MustCompile(`\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,}`),
	"a sort code":           regexp.MustCompile(`\b\d{2}-\d{2}-\d{2}\b(?:[^T:\d-]|$)`),
	"an account number":     regexp.MustCompile(`(?:^|[^0-9a-f:.-])\d{8}(?:[^0-9a-f:.-]|$)`),
	"an e-mail address":     regexp.MustCompile(`\b[\w.+-]+@[\w-]+\.\w+`),
	"a path of a machine":   regexp.MustCompile(`(?:^|\s)/(?:home|root|tmp|Users|work)/`),
	"the key of an account": regexp.MustCompile(`(?i)account_?holder|beneficiary|sort_?code|account_?number`),
}

// shapes are all that may be in a payload.
var shapes = []any{Input{}, News{}, payout.Position{}, Outcome{}, State{}, activities.Input{}, activities.Swept{}, "", int64(0)}

// unknownShape says why a payload is none of those that we know to hold
// nothing personal.
func unknownShape(p *commonpb.Payload) string {
	if len(p.GetData()) == 0 {
		return ""
	}
	if string(p.GetMetadata()[converter.MetadataEncoding]) != converter.MetadataEncodingJSON {
		return fmt.Sprintf("a payload that is %s", p.GetMetadata()[converter.MetadataEncoding])
	}
	for _, shape := range shapes {
		d := json.NewDecoder(bytes.NewReader(p.GetData()))
		d.DisallowUnknownFields()
		if d.Decode(reflect.New(reflect.TypeOf(shape)).Interface()) == nil && !d.More() {
			return ""
		}
	}
	return fmt.Sprintf("a payload of no known shape: %s", p.GetData())
}

// each walks a message: the messages in it, and all that is text.
func each(m protoreflect.Message, message func(where string, m protoreflect.Message), text func(where, text string)) {
	var walk func(where string, m protoreflect.Message)
	value := func(where string, field protoreflect.FieldDescriptor, v protoreflect.Value) {
		switch field.Kind() {
		case protoreflect.MessageKind:
			walk(where, v.Message())
		case protoreflect.StringKind:
			text(where, v.String())
		case protoreflect.BytesKind:
			text(where, string(v.Bytes()))
		}
	}
	walk = func(where string, m protoreflect.Message) {
		message(where, m)
		m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			where := where + "." + string(field.Name())
			switch {
			case field.IsMap():
				v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
					value(where+"."+k.String(), field.MapValue(), v)
					return true
				})
			case field.IsList():
				for i := range v.List().Len() {
					value(fmt.Sprintf("%s[%d]", where, i), field, v.List().Get(i))
				}
			default:
				value(where, field, v)
			}
			return true
		})
	}
	walk("history", m)
}
