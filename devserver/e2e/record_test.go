package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"payouts/internal/simulator"
)

// histories is where recorded histories lie; package workflows replays them.
const histories = "../../workflows/testdata/histories"

var record = flag.Bool("record", false, "record the histories that are missing in workflows/testdata/histories (make record)")

// recording is how one history comes about: what a payout lives through, and
// which of its runs is kept. The list stands in recordings_test.go.
type recording struct {
	name   string            // of the file, without .json
	env    map[string]string // as in plan
	fast   bool              // rests of 1s between attempts; otherwise as shipped
	off    bool              // the provider sends no webhooks
	slow   bool              // the provider executes only when its time moves on by later
	rules  []simulator.Rule  // of the provider: one for each attempt, in their order
	refund bool              // a refund of a pay-in, instead of a payout
	amount int64             // default won
	live   func(s *scene)    // what happens to it; nil: nothing, its end is waited for
	which  string            // run is kept, by the prefix of its id; default: its own
	end    string            // status, money and reason that it must have then; empty: it is still under way
	holds  enumspb.EventType // an event that the run must have, where it is a matter of luck: else another is tried
}

// file is where the recording lies.
func (r recording) file() string { return filepath.Join(histories, r.name+".json") }

// Each recording has a name of its own, and a file: when one is missing, make
// record records it.
func TestRecordings(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob(filepath.Join(histories, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range recordings {
		if known[r.file()] {
			t.Errorf("two recordings are called %s", r.name)
		}
		known[r.file()] = true
	}
	for _, file := range found {
		if !known[file] {
			t.Errorf("%s is the history of no recording here: give it one, or the next change of the workflows loses it", file)
		}
	}
	if missing := len(known) - len(found); missing > 0 && !*record {
		t.Errorf("%d histories are missing: run make record", missing)
	}
}

// Record makes the histories that are missing, and touches no other: what an
// old build wrote is what a new one must be able to go on with.
func TestRecord(t *testing.T) {
	if !*record {
		t.Skip("recording is asked for by -record")
	}
	for _, r := range recordings {
		t.Run(r.name, func(t *testing.T) {
			if _, err := os.Stat(r.file()); !errors.Is(err, fs.ErrNotExist) {
				t.Skip("is there already")
			}
			t.Parallel()
			const tries = 10
			for n := range tries {
				kept := false
				t.Run(fmt.Sprint("try ", n+1), func(t *testing.T) { kept = r.keep(newScene(t, r)) })
				if kept || t.Failed() {
					return
				}
			}
			t.Errorf("no run of %d has %s", tries, r.holds)
		})
	}
}

// scene is the payout or refund of one recording, in a house of its own.
type scene struct {
	*house
	recording recording
	winner    player
	id        string
	kept      string // the run that is kept; default: the latest
}

func newScene(t *testing.T, r recording) *scene {
	p := plan{movable: true, env: map[string]string{"POLL_FIRST": "", "POLL_MAX": "", "SWEEP_EVERY": "1s"}, settings: simulator.Settings{WebhooksOff: r.off}}
	if !r.fast {
		p.env["DECISIONS_FILE"] = ""
	}
	if r.slow {
		p.settings = slowly
		p.settings.WebhooksOff = r.off
	}
	maps.Copy(p.env, r.env)
	if r.amount == 0 {
		r.amount = won
	}
	s := &scene{house: open(t, p), recording: r}
	s.winner = s.wins(s.recording.amount)
	for _, rule := range r.rules {
		rule.Match.Reference = s.winner.id
		s.script(rule)
	}
	if r.refund {
		s.id = s.refunds(s.winner, s.recording.amount, s.winner.id)
	} else {
		s.id = s.pays(s.winner, s.recording.amount, s.winner.id)
	}
	return s
}

// workflowID is the id of its own run, or of late word about it.
func (s *scene) workflowID(prefix string) string {
	if prefix == "" {
		prefix = "payout"
		if s.recording.refund {
			prefix = "refund"
		}
	}
	if prefix == "sweep" {
		for _, id := range s.list("WorkflowType = 'Sweep' AND ExecutionStatus = 'Completed'") {
			return id
		}
	}
	return prefix + "/" + s.id
}

// standing is a payout or refund, and when something happens next by itself.
type standing struct {
	payout
	NextStepAt time.Time `json:"next_step_at"`
}

func (s *scene) stands() standing {
	s.t.Helper()
	kind := "payouts"
	if s.recording.refund {
		kind = "refunds"
	}
	var p standing
	if err := s.backend.read("/v1/"+kind+"/"+s.id, &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// until waits until the payout is as done wants it.
func (s *scene) until(what string, done func(payout) bool) standing {
	s.t.Helper()
	var p standing
	await(s.t, 2*time.Minute, func() bool { p = s.stands(); return done(p.payout) }, func() string {
		return fmt.Sprintf("%s: %s, next step %s, attempts %d; want %s\n%s\n%s", s.id, p.Status, p.NextStep, len(p.Attempts), what, p.story(),
			outline(s.events(s.recording.which)))
	})
	return p
}

// untilStep waits until this is what happens next.
func (s *scene) untilStep(step string) {
	s.t.Helper()
	s.until(step, func(p payout) bool { return p.NextStep == step })
}

// untilStatus waits until this is how it stands.
func (s *scene) untilStatus(status string) {
	s.t.Helper()
	s.until(status, func(p payout) bool { return p.Status == status })
}

// untilEvent waits until a run has an event of this kind, for an activity of
// this name, if one is given.
func (s *scene) untilEvent(prefix string, kind enumspb.EventType, activity string) {
	s.t.Helper()
	await(s.t, soon, func() bool {
		return slices.ContainsFunc(s.events(prefix), func(e *historypb.HistoryEvent) bool {
			return e.GetEventType() == kind && (activity == "" || e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == activity)
		})
	}, func() string { return fmt.Sprintf("no %s %s in\n%s", kind, activity, outline(s.events(prefix))) })
}

// events are those of the latest run, none while there is no run.
func (s *scene) events(prefix string) []*historypb.HistoryEvent {
	s.t.Helper()
	if _, err := s.run(s.workflowID(prefix)); closed(err) {
		return nil
	}
	return s.history(s.workflowID(prefix), s.kept)
}

// runID is its latest run.
func (s *scene) runID() string {
	s.t.Helper()
	info, err := s.run(s.workflowID(""))
	if err != nil {
		s.t.Fatal(err)
	}
	return info.GetExecution().GetRunId()
}

// rests waits until attempt n (from 1) has failed, and then until its rest is
// over.
func (s *scene) rests(n int) {
	s.t.Helper()
	p := s.until("resting", func(p payout) bool { return p.NextStep == "try_again" && len(p.Attempts) == n })
	s.untilEvent("", enumspb.EVENT_TYPE_TIMER_STARTED, "")
	s.sleeps(time.Until(p.NextStepAt)-s.ahead+time.Second, "")
}

// sleeps lets time pass for our programs and the provider, and then for a run:
// the server moves its timers and its retries on, one by one.
func (s *scene) sleeps(d time.Duration, prefix string) {
	s.t.Helper()
	s.passes(d)
	ctx, cancel := s.within()
	defer cancel()
	_, err := s.temporal.WorkflowService().UpdateWorkflowExecutionOptions(ctx, &workflowservice.UpdateWorkflowExecutionOptionsRequest{
		Namespace: s.namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: s.workflowID(prefix)},
		WorkflowExecutionOptions: &workflowpb.WorkflowExecutionOptions{TimeSkippingConfig: &commonpb.TimeSkippingConfig{
			Enabled: true, FastForwardConfig: &commonpb.FastForwardConfig{Id: uuid.NewString(), Duration: durationpb.New(d)}}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"time_skipping_config"}},
	})
	if err != nil && !closed(err) {
		s.t.Fatalf("fast-forward: %v", err)
	}
}

// keep lets the payout live, holds it against its end, and writes its run, if
// that has what it is to show.
func (r recording) keep(s *scene) bool {
	s.t.Helper()
	if r.live != nil {
		r.live(s)
	}
	if r.end != "" {
		p := s.until(r.end, func(p payout) bool { return p.NextStep == "done" })
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s", p.Status, p.Money, p.reason())); got != r.end {
			s.t.Fatalf("ended as %q, want %q\n%s", got, r.end, p.story())
		}
		s.lawful()
	}
	var events []*historypb.HistoryEvent
	await(s.t, soon, func() bool {
		events = s.events(r.which)
		return quiet(events, r.end != "")
	}, func() string { return fmt.Sprintf("%s is not quiet:\n%s", s.workflowID(r.which), outline(events)) })
	if r.holds != 0 && !slices.ContainsFunc(events, func(e *historypb.HistoryEvent) bool { return e.GetEventType() == r.holds }) {
		return false
	}
	s.write(events)
	return true
}

// write keeps a history as a file that people can read: an event on each line.
func (s *scene) write(events []*historypb.HistoryEvent) {
	s.t.Helper()
	text := []byte("{\"events\": [\n")
	for i, event := range events {
		forgetMachine(event)
		line, err := temporalproto.CustomJSONMarshalOptions{Metadata: map[string]any{commonpb.EnablePayloadShorthandMetadataKey: true}}.Marshal(event)
		if err != nil {
			s.t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, line); err != nil {
			s.t.Fatal(err)
		}
		if text = append(text, compact.Bytes()...); i < len(events)-1 {
			text = append(text, ',')
		}
		text = append(text, '\n')
	}
	text = append(text, "]}\n"...)
	for what, secret := range map[string]string{"user": s.winner.user, "account": s.winner.source, "folder": s.dir, "machine": hostname(s.t)} {
		if bytes.Contains(text, []byte(secret)) {
			s.t.Fatalf("the history holds the %s %q", what, secret)
		}
	}
	if err := os.MkdirAll(histories, 0o755); err != nil {
		s.t.Fatal(err)
	}
	file, err := os.OpenFile(s.recording.file(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) // never over another
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(text); err != nil {
		s.t.Fatal(err)
	}
	s.t.Logf("%s: %d events, %d bytes", s.recording.name, len(events), len(text))
}

func hostname(t testing.TB) string {
	t.Helper()
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// quiet says that the server waits for nobody in a history, or that it is over.
func quiet(events []*historypb.HistoryEvent, over bool) bool {
	if len(events) == 0 {
		return false
	}
	switch kind := events[len(events)-1].GetEventType(); kind {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		return true
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED, enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED, enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
		return false
	}
	return !over
}

// forgetMachine takes the names of this machine and its processes out of an
// event: nothing replays them.
func forgetMachine(event *historypb.HistoryEvent) {
	event.TaskId = 0
	forget(event.ProtoReflect())
}

var onThisMachine = regexp.MustCompile(`^\S*:[0-9a-f-]{36}$`) // a sticky task queue

func forget(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Name() == "identity":
			m.Set(field, protoreflect.ValueOfString("recorded"))
		case field.Name() == "stack_trace":
			m.Clear(field)
		case field.Kind() == protoreflect.StringKind && !field.IsList() && onThisMachine.MatchString(value.String()):
			m.Set(field, protoreflect.ValueOfString("sticky"))
		case field.Kind() == protoreflect.MessageKind && !field.IsList() && !field.IsMap():
			forget(value.Message())
		}
		return true
	})
}

// outline is a history for people.
func outline(events []*historypb.HistoryEvent) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%3d %s %s\n", e.GetEventId(), e.GetEventType(), e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName())
	}
	return b.String()
}
